"""Quality checks of images: what was measured, against which limits, and what came of it."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, delete, func, select

from trap_ops.records.images import Check, CheckResult
from trap_ops.store.images import LATEST_FIRST
from trap_ops.store.outcomes import ACCEPTED, DONE
from trap_ops.store.rows import id_list, insert_rows
from trap_ops.store.schema import image, outcome, qualitycheck


def save_checks(
    connection: Connection, checks: Mapping[int, Sequence[Check]], names: Iterable[str]
) -> None:
    """Write the checks of images, by image id.

    They replace all earlier ones of these images that have one of the names.
    """
    with id_list(connection, image.c.id, list(checks)) as judged:
        connection.execute(
            delete(qualitycheck).where(
                qualitycheck.c.check_name.in_(list(names)),
                qualitycheck.c.image.in_(select(judged.c.id)),
            )
        )
    rows = [(image_id, check) for image_id, of_image in checks.items() for check in of_image]
    insert_rows(
        connection,
        qualitycheck,
        {
            "image": [image_id for image_id, _ in rows],
            "check_name": [check.name for _, check in rows],
            "result": [str(check.result) for _, check in rows],
            "measured": [check.measured for _, check in rows],
            "limit_low": [check.low for _, check in rows],
            "limit_high": [check.high for _, check in rows],
            "unit": [check.unit for _, check in rows],
            "comment": [check.comment[:512] for _, check in rows],
        },
    )


def checks_of(connection: Connection, ids: Sequence[int]) -> dict[int, list[Check]]:
    """Checks of some images by image id, in order of their names."""
    with id_list(connection, image.c.id, ids) as wanted:
        query = (
            select(qualitycheck)
            .join(wanted, wanted.c.id == qualitycheck.c.image)
            .order_by(qualitycheck.c.image, qualitycheck.c.check_name)
        )
        rows = connection.execute(query).all()
    found: dict[int, list[Check]] = {}
    for row in rows:
        found.setdefault(row.image, []).append(
            Check(
                name=row.check_name,
                result=CheckResult(row.result),
                measured=_number(row.measured),
                low=_number(row.limit_low),
                high=_number(row.limit_high),
                unit=row.unit,
                comment=row.comment,
            )
        )
    return found


def warned_images(connection: Connection, dataset_id: int) -> int:
    """Count the accepted images of a dataset that a check warns of."""
    warned = select(qualitycheck.c.image).where(qualitycheck.c.result == str(CheckResult.WARNED))
    query = select(func.count()).where(
        image.c.dataset == dataset_id, image.c.verdict == ACCEPTED, image.c.id.in_(warned)
    )
    return connection.execute(query).scalar_one()


def latest_rms(
    connection: Connection,
    dataset_id: int,
    before: datetime,
    number: int,
    band: int,
    stokes: int,
    region: int | None = None,
) -> list[float]:
    """Rms of the latest images that their own checks accepted, in canonical order.

    Of one band and Stokes, and of one sky region or all of them, before a time; at most so many.
    """
    query = (
        select(image.c.rms_qc)
        .join(outcome, outcome.c.image == image.c.id)
        .where(
            image.c.dataset == dataset_id,
            image.c.taustart_ts < before,
            image.c.band == band,
            image.c.stokes == stokes,
            outcome.c.dataset == dataset_id,
            outcome.c.stage == "judge_quality",
            outcome.c.result == ACCEPTED,
        )
        .order_by(*LATEST_FIRST)
        .limit(number)
    )
    if region is not None:
        query = query.where(image.c.skyrgn == region)
    return [_number(value) for value in connection.execute(query).scalars()][::-1]


def latest_measured(
    connection: Connection,
    dataset_id: int,
    check_name: str,
    number: int,
    band: int,
    stokes: int,
    region: int | None = None,
) -> list[tuple[float, float]]:
    """What a check measured, and the rms, of the latest images that are associated.

    In canonical order; of one band and Stokes, and of one sky region or all of them; at most so
    many. Images of which the check measured nothing do not count.
    """
    query = (
        select(qualitycheck.c.measured, image.c.rms_qc)
        .join(image, image.c.id == qualitycheck.c.image)
        .join(outcome, outcome.c.image == image.c.id)
        .where(
            image.c.dataset == dataset_id,
            image.c.band == band,
            image.c.stokes == stokes,
            qualitycheck.c.check_name == check_name,
            qualitycheck.c.measured.is_not(None),
            outcome.c.dataset == dataset_id,
            outcome.c.stage == "associate",
            outcome.c.result == DONE,
        )
        .order_by(*LATEST_FIRST)
        .limit(number)
    )
    if region is not None:
        query = query.where(image.c.skyrgn == region)
    found = [(_number(row.measured), _number(row.rms_qc)) for row in connection.execute(query)]
    return found[::-1]


def count_associated(
    connection: Connection, dataset_id: int, most: int, band: int, stokes: int
) -> int:
    """Count the associated images of a band and Stokes, up to a number."""
    query = (
        select(image.c.id)
        .join(outcome, outcome.c.image == image.c.id)
        .where(
            image.c.dataset == dataset_id,
            image.c.band == band,
            image.c.stokes == stokes,
            outcome.c.dataset == dataset_id,
            outcome.c.stage == "associate",
            outcome.c.result == DONE,
        )
        .order_by(*LATEST_FIRST)
        .limit(most)
    )
    return len(connection.execute(query).all())


def forget_checks(connection: Connection, dataset_id: int, names: Collection[str]) -> None:
    """Delete the checks with these names of all images of a dataset."""
    mine = select(image.c.id).where(image.c.dataset == dataset_id)
    connection.execute(
        delete(qualitycheck).where(
            qualitycheck.c.check_name.in_(list(names)), qualitycheck.c.image.in_(mine)
        )
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else value

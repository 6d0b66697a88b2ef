"""Quality checks of images: what was measured, against which limits, and what came of it."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, delete, func, select

from trap_ops.records.images import Check, CheckResult
from trap_ops.store.hints import unindexed
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
            # With a join SQLite goes through all images in their order, to save sorting.
            .where(qualitycheck.c.image.in_(select(wanted.c.id)))
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
    query = _latest(dataset_id, "judge_quality", ACCEPTED, band, stokes, region)
    query = query.with_only_columns(image.c.rms_qc).where(image.c.taustart_ts < before)
    found = connection.execute(query.limit(number)).scalars()
    return [_number(value) for value in found][::-1]


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
    made = (
        select(qualitycheck.c.measured)
        .where(
            qualitycheck.c.image == image.c.id,
            qualitycheck.c.check_name == check_name,
        )
        .scalar_subquery()
    )
    query = _latest(dataset_id, "associate", DONE, band, stokes, region)
    query = query.where(made.is_not(None))
    query = query.with_only_columns(made.label("measured"), image.c.rms_qc)
    rows = connection.execute(query.limit(number)).all()
    return [(_number(row.measured), _number(row.rms_qc)) for row in rows][::-1]


def count_associated(
    connection: Connection, dataset_id: int, most: int, band: int, stokes: int
) -> int:
    """Count the associated images of a band and Stokes, up to a number."""
    query = _latest(dataset_id, "associate", DONE, band, stokes).limit(most)
    return len(connection.execute(query).all())


def _latest(
    dataset_id: int, stage: str, result: str, band: int, stokes: int, region: int | None = None
) -> Select[Any]:
    """Images that came out of a stage so, the latest one first, of one band and Stokes.

    Without a join or an index of other columns, a database goes back in time until it has
    enough; else it would fetch and sort all images of the band. PostgreSQL makes a join of EXISTS.
    """
    came_out = select(outcome.c.image).where(
        outcome.c.image == image.c.id, outcome.c.stage == stage, outcome.c.result == result
    )
    query = select(image.c.id).where(
        image.c.dataset == dataset_id,
        unindexed(image.c.band) == band,
        image.c.stokes == stokes,
        came_out.limit(1).scalar_subquery().is_not(None),
    )
    if region is not None:
        query = query.where(unindexed(image.c.skyrgn) == region)
    return query.order_by(*LATEST_FIRST)


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

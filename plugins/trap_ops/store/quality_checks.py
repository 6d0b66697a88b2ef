"""Quality checks of images: what was measured, against which limits, and what came of it."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence

from sqlalchemy import Connection, delete, func, select

from trap_ops.records.images import Check, CheckResult
from trap_ops.store.outcomes import ACCEPTED
from trap_ops.store.rows import id_list, insert_rows
from trap_ops.store.schema import image, qualitycheck


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


def checks_of(connection: Connection, dataset_id: int) -> dict[int, list[Check]]:
    """Checks of the images of a dataset by image id, in order of their names."""
    query = (
        select(qualitycheck)
        .join(image)
        .where(image.c.dataset == dataset_id)
        .order_by(qualitycheck.c.image, qualitycheck.c.check_name)
    )
    found: dict[int, list[Check]] = {}
    for row in connection.execute(query):
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


def measured_by_image(
    connection: Connection, dataset_id: int, names: Collection[str]
) -> dict[int, dict[str, float]]:
    """Return what checks with these names measured, by image id and name; NaN where nothing."""
    query = (
        select(qualitycheck.c.image, qualitycheck.c.check_name, qualitycheck.c.measured)
        .join(image)
        .where(image.c.dataset == dataset_id, qualitycheck.c.check_name.in_(list(names)))
    )
    found: dict[int, dict[str, float]] = {}
    for row in connection.execute(query):
        found.setdefault(row.image, {})[row.check_name] = _number(row.measured)
    return found


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

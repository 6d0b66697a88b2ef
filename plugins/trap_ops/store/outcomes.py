"""What became of every unit of work: an image, or a file that never became one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, or_, select, text, update

from trap_ops.records.names import one_line
from trap_ops.store.hints import unindexed
from trap_ops.store.rows import fetch_columns, id_list
from trap_ops.store.runs import hostname, now
from trap_ops.store.schema import dataset, image, outcome

DONE, ACCEPTED, REJECTED = "done", "accepted", "rejected"
# As the partial indexes of the table say it: SQLite takes them for no bound value.
_IS_REJECTED = text("outcome.result = 'rejected'")
_IS_TO_DO_AGAIN = text("outcome.input_hash = ''")


@dataclass(frozen=True)
class Outcome:
    """Result of one stage on one unit.

    Attributes
    ----------
    stage : str
    unit : str
        Id of an image as text, or path of a file.
    image : int or None
    result : str
        ``done``, ``accepted`` or ``rejected``.
    input_hash : str
        Of all that the result depends on: with the same hash the work need not be done again.
        Empty: the next run tries again (a file could not be read, which may pass).
    reason, message : str
        Why a unit was rejected: a short word, and the sentence for the user.
    seconds : float
    """

    stage: str
    unit: str
    image: int | None
    result: str
    input_hash: str
    reason: str = ""
    message: str = ""
    seconds: float = 0.0


def save_outcomes(
    connection: Connection, dataset_id: int, run_id: int, outcomes: Sequence[Outcome]
) -> None:
    """Write outcomes; each replaces an earlier one of the same stage and unit."""
    for stage in {item.stage for item in outcomes}:
        of_stage = [item for item in outcomes if item.stage == stage]
        for first in range(0, len(of_stage), 500):
            units = [item.unit for item in of_stage[first : first + 500]]
            connection.execute(
                delete(outcome).where(
                    outcome.c.dataset == dataset_id,
                    outcome.c.stage == stage,
                    outcome.c.unit.in_(units),
                )
            )
    if outcomes:
        connection.execute(
            insert(outcome),
            [
                {
                    "dataset": dataset_id,
                    "run": run_id,
                    "host": hostname(),
                    "finished_ts": now(),
                    **vars(item),
                }
                for item in outcomes
            ],
        )


def forget_outcomes(
    connection: Connection, dataset_id: int, stage: str, images: Iterable[int] | None = None
) -> None:
    """Delete the outcomes of a stage, for some images or for all: the work is to be done again."""
    connection.execute(update(dataset).where(dataset.c.id == dataset_id).values(settled_ts=None))
    condition = (outcome.c.dataset == dataset_id) & (outcome.c.stage == stage)
    if images is None:
        connection.execute(delete(outcome).where(condition))
        return
    with id_list(connection, outcome.c.image, list(images)) as wanted:
        chosen = select(wanted.c.id)
        connection.execute(delete(outcome).where(condition, outcome.c.image.in_(chosen)))


def forget_files(connection: Connection, dataset_id: int) -> None:
    """Delete the outcomes of files that are no images: each run says anew which it met."""
    connection.execute(
        delete(outcome).where(outcome.c.dataset == dataset_id, outcome.c.image.is_(None))
    )


def finished_images(
    connection: Connection, dataset_id: int, stage: str, images: Iterable[int]
) -> set[int]:
    """Those of some images for which a stage has a result that stays."""
    outcomes = image_outcomes(connection, dataset_id, stage, images)
    return {image_id for image_id, (_, input_hash) in outcomes.items() if input_hash}


def image_outcomes(
    connection: Connection, dataset_id: int, stage: str, images: Iterable[int]
) -> dict[int, tuple[str, str]]:
    """Result and input hash of a stage on those of some images that have one, by image id."""
    with id_list(connection, outcome.c.image, list(images)) as wanted:
        query = (
            select(outcome.c.image, outcome.c.result, outcome.c.input_hash)
            # Found by their image: the key has all images of the stage.
            .where(
                outcome.c.image.in_(select(wanted.c.id)),
                unindexed(outcome.c.dataset) == dataset_id,
                outcome.c.stage == stage,
            )
        )
        return {row.image: (row.result, row.input_hash) for row in connection.execute(query)}


def registered_images(connection: Connection, dataset_id: int, run_id: int) -> list[int]:
    """Images that a run has added to its dataset, by id."""
    query = select(outcome.c.image).where(
        outcome.c.dataset == dataset_id,
        outcome.c.run == run_id,
        outcome.c.stage == "register_images",
        outcome.c.image.is_not(None),
    )
    return list(connection.execute(query.order_by(outcome.c.image)).scalars())


def has_outcomes(connection: Connection, dataset_id: int, stage: str) -> bool:
    """Whether a stage has worked on any image of a dataset."""
    query = select(outcome.c.image).where(
        outcome.c.dataset == dataset_id, outcome.c.stage == stage, outcome.c.image.is_not(None)
    )
    return connection.execute(query.limit(1)).first() is not None


def work_left(connection: Connection, dataset_id: int, since: datetime | None) -> bool:
    """Whether images that start then or later are not through all stages.

    Or if, of all images, there is one that a stage could not work on for a reason that may pass.
    """
    mine = (outcome.c.dataset == dataset_id) & (outcome.c.image == image.c.id)
    through = or_(
        outcome.c.stage == "associate",
        outcome.c.stage.in_(["judge_quality", "extract_sources"]) & (outcome.c.result == REJECTED),
    )
    left = select(image.c.id).where(
        image.c.dataset == dataset_id, ~select(outcome.c.image).where(mine, through).exists()
    )
    if since is not None:
        left = left.where(image.c.taustart_ts >= since)
    again = select(outcome.c.image).where(
        outcome.c.dataset == dataset_id, _IS_TO_DO_AGAIN, outcome.c.image.is_not(None)
    )
    queries = (left, again)
    return any(connection.execute(query.limit(1)).first() is not None for query in queries)


@dataclass(frozen=True)
class RejectedUnit:
    """An image or file that is not used, and why: by the stage that says most about it."""

    name: str
    stage: str
    reason: str
    message: str
    path: str = ""


def rejected_units(
    connection: Connection, dataset_id: int, run_id: int | None = None
) -> list[RejectedUnit]:
    """Images and files of a dataset that are not used, each once, in order of their names.

    All, or those that a run rejected.
    """
    query = (
        select(
            outcome.c.unit,
            outcome.c.stage,
            outcome.c.reason,
            outcome.c.message,
            image.c.file_name,
            image.c.url,
        )
        .outerjoin(image, image.c.id == outcome.c.image)
        .where(outcome.c.dataset == dataset_id, _IS_REJECTED)
        .where(outcome.c.stage != "fit_forced")
        .order_by(outcome.c.finished_ts, outcome.c.stage)
    )
    if run_id is not None:
        query = query.where(outcome.c.run == run_id)
    first: dict[str, RejectedUnit] = {}
    for row in connection.execute(query):
        name = one_line(row.file_name or row.unit.rsplit("/", 1)[-1])
        message = row.message if name in row.message else f"{name}: {row.message}"
        # The stage that met the fault says more than those that only pass it on.
        path = one_line(row.url or row.unit)
        first.setdefault(row.unit, RejectedUnit(name, row.stage, row.reason, message, path))
    return sorted(first.values(), key=lambda unit: unit.name)


def images_of_run(connection: Connection, run_id: int) -> list[int]:
    """Ids of the images that a run has worked on."""
    query = select(outcome.c.image).where(outcome.c.run == run_id, outcome.c.image.is_not(None))
    return sorted(connection.execute(query.distinct()).scalars())


def all_outcomes(
    connection: Connection, dataset_id: int, ids: Sequence[int]
) -> dict[str, list[Any]]:
    """Return outcomes as columns, by unit and stage, for the report.

    Those of some images, and of the files that the latest run of their dataset could not use.
    """
    query = select(
        outcome.c.unit,
        outcome.c.stage,
        outcome.c.image,
        outcome.c.result,
        outcome.c.reason,
        outcome.c.message,
        outcome.c.seconds,
        outcome.c.run,
    ).order_by(outcome.c.unit, outcome.c.stage)
    files = query.where(outcome.c.dataset == dataset_id, outcome.c.image.is_(None), _IS_REJECTED)
    with id_list(connection, outcome.c.image, ids) as wanted:
        of_images = query.join(wanted, wanted.c.id == outcome.c.image)
        found = fetch_columns(connection, of_images)
    of_files = fetch_columns(connection, files)
    return {name: [*values, *of_files[name]] for name, values in found.items()}

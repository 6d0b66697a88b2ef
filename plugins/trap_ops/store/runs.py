"""Runs, the lock that keeps two of them apart, and how long their stages took."""

from __future__ import annotations

import getpass
import json
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError
from sqlalchemy import ColumnElement, Connection, Row, delete, func, insert, select, update

from trap_ops.config.load import canonical_json
from trap_ops.config.model import Configuration
from trap_ops.errors import ConfigError, StaleWorker, StoreError
from trap_ops.records.runs import (
    RunIdentity,
    RunRecord,
    RunRequest,
    StageReport,
    counts_in_words,
)
from trap_ops.store.database import Store
from trap_ops.store.rows import fetch_columns
from trap_ops.store.schema import dataset, datasetlock, outcome, run, stagerun

RUNNING, FAILED, FINISHED, ABANDONED = "running", "failed", "finished", "abandoned"
# A run in one of these has nothing left to do: it holds its dataset only while a stage is tried.
ENDED = frozenset({FINISHED, ABANDONED})


def now() -> datetime:
    """Return the time as the tables keep it: UTC without a zone."""
    return datetime.now(UTC).replace(tzinfo=None)


def hostname() -> str:
    """Return the name of this machine."""
    return socket.gethostname()


def current_user() -> str:
    """Return who runs this process; empty where the system does not know."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


def create_run(
    store: Store,
    connection: Connection,
    request: RunRequest,
    dataset_id: int,
    configuration_name: str,
    configuration: Configuration,
    fingerprint: str,
    versions: Mapping[str, str],
) -> int:
    """Write a run that has just been planned; a run of the same key starts again.

    Returns
    -------
    int
        Id of the run.

    Raises
    ------
    ConfigError
        If the run of this key is one of another dataset.
    """
    asked = asdict(request)
    del asked["run_key"]
    values = {
        "dataset": dataset_id,
        "state": RUNNING,
        "requested_by": request.user[:100],
        "started_ts": now(),
        "finished_ts": None,
        "host": hostname(),
        "request": json.dumps(asked, sort_keys=True),
        "configuration_name": configuration_name,
        "configuration": canonical_json(configuration),
        "fingerprint": fingerprint,
        "versions": json.dumps(dict(versions), sort_keys=True),
        "message": "",
    }
    known = planned_run(connection, request)
    if known is not None:
        connection.execute(update(run).where(run.c.id == known.id).values(values))
        return known.id
    new_id = int(store.allocate(connection, run, 1)[0])
    connection.execute(insert(run).values(id=new_id, run_key=request.run_key, **values))
    return new_id


def planned_run(connection: Connection, request: RunRequest) -> RunIdentity | None:
    """Return the run of a request if it was planned before, None if not.

    Raises
    ------
    ConfigError
        If the run of this key is one of another dataset: results of both would be mixed.
    """
    row = _run_row(connection, request.run_key)
    if row is None:
        return None
    known = _identity(row)
    if known.dataset_name != request.dataset:
        msg = (
            f"run {known.key!r} belongs to dataset {known.dataset_name!r}, not to "
            f"{request.dataset!r}: start a new run for that one"
        )
        raise ConfigError(msg, run_key=known.key, dataset=known.dataset_name)
    return known


def find_run(connection: Connection, run_key: str) -> RunIdentity:
    """Find a run by its key, whatever code has planned it.

    Raises
    ------
    StoreError
        If there is no such run; the message lists the latest ones.
    """
    return _identity(_known_row(connection, run_key))


def load_run(connection: Connection, run_key: str) -> RunRecord:
    """Read a run by its key, with its settings.

    Raises
    ------
    StoreError
        If there is no such run; the message lists the latest ones.
    StaleWorker
        If other code has planned it, with settings that this code cannot read.
    """
    row = _known_row(connection, run_key)
    try:
        configuration = Configuration.model_validate_json(row.configuration)
    except ValidationError as error:
        first = error.errors()[0]
        msg = (
            f"run {run_key!r} was planned by other code, whose settings this code cannot read "
            f"({'.'.join(map(str, first['loc']))}: {first['msg']}): use the version that planned "
            f"it, or do the run again with this one: `trap-manage replan {run_key}`"
        )
        raise StaleWorker(msg, run_key=run_key) from error
    return RunRecord(
        **vars(_identity(row)),
        configuration_name=row.configuration_name,
        configuration=configuration,
        fingerprint=row.fingerprint,
    )


def _run_row(connection: Connection, run_key: str) -> Row[Any] | None:
    query = select(run, dataset.c.description).join(dataset).where(run.c.run_key == run_key)
    return connection.execute(query).first()


def _known_row(connection: Connection, run_key: str) -> Row[Any]:
    row = _run_row(connection, run_key)
    if row is None:
        query = select(run.c.run_key).order_by(run.c.id.desc()).limit(5)
        latest = list(connection.execute(query).scalars())
        msg = (
            f"there is no run {run_key!r} in the results database: its task register_images has "
            f"not run, or ran with another TRAP_DB; the latest runs here: {latest or 'none'}"
        )
        raise StoreError(msg, run_key=run_key)
    return row


def _identity(row: Row[Any]) -> RunIdentity:
    return RunIdentity(row.id, row.run_key, row.dataset, row.description, row.state)


def set_state(connection: Connection, run_id: int, state: str, message: str = "") -> None:
    """Set the state of a run; a final one also sets when it ended."""
    values: dict[str, Any] = {"state": state, "message": message}
    values["finished_ts"] = None if state == RUNNING else now()
    connection.execute(update(run).where(run.c.id == run_id).values(values))


def note_failure(connection: Connection, run_key: str, message: str) -> None:
    """Mark a run as failed, if it is running, so that everybody can read the reason.

    Raises
    ------
    StoreError
        If there is no such run.
    """
    found = find_run(connection, run_key)
    if found.state == RUNNING:
        set_state(connection, found.id, FAILED, message)


def set_report(connection: Connection, run_id: int, path: str) -> None:
    """Note where the report of a run is."""
    connection.execute(update(run).where(run.c.id == run_id).values(report=path))


def report_of(connection: Connection, run_id: int) -> str | None:
    """Path of the report of a run, None before it is written."""
    return connection.execute(select(run.c.report).where(run.c.id == run_id)).scalar()


def failure_of(connection: Connection, run_key: str) -> str:
    """Why a run has failed; empty if it has not, or is not planned."""
    query = select(run.c.message).where(run.c.run_key == run_key)
    return connection.execute(query).scalar() or ""


def failed_run(connection: Connection, run_key: str) -> dict[str, str]:
    """Dataset, user and message of a run; empty if it is not planned."""
    row = _run_row(connection, run_key)
    if row is None:
        return {}
    return {"dataset": row.description, "user": row.requested_by, "message": row.message}


def latest_run(connection: Connection, dataset_id: int) -> str:
    """Key of the latest run of a dataset.

    Raises
    ------
    StoreError
        If it has none.
    """
    query = select(run.c.run_key).where(run.c.dataset == dataset_id)
    found = connection.execute(query.order_by(run.c.started_ts.desc()).limit(1)).scalar()
    if found is None:
        msg = f"dataset {dataset_id} has no runs"
        raise StoreError(msg, dataset=dataset_id)
    return str(found)


@dataclass(frozen=True)
class LockHolder(RunIdentity):
    """The run that has a dataset: who started it, where, and since when (UTC).

    Attributes
    ----------
    message : str
        Why it failed.
    requested_by, host : str
    taken_ts : datetime
    ended_ts : datetime or None
        When it ended or failed.
    """

    message: str
    requested_by: str
    host: str
    taken_ts: datetime
    ended_ts: datetime | None

    @property
    def age_min(self) -> float:
        """Minutes since it took the dataset."""
        return (now() - self.taken_ts).total_seconds() / 60.0


def lock_holder(connection: Connection, dataset_name: str) -> LockHolder | None:
    """Return the run that has a dataset, None if it is free or there is no such dataset."""
    holders = _holders(connection, dataset.c.description == dataset_name)
    return holders[0] if holders else None


def lock_holders(connection: Connection) -> list[LockHolder]:
    """Return all runs that have a dataset, the first one first."""
    return _holders(connection)


def _holders(connection: Connection, *conditions: ColumnElement[bool]) -> list[LockHolder]:
    query = (
        select(run, dataset.c.description, datasetlock.c.taken_ts)
        .join(datasetlock, datasetlock.c.run == run.c.id)
        .join(dataset, dataset.c.id == datasetlock.c.dataset)
        .where(*conditions)
        .order_by(run.c.id)
    )
    return [
        LockHolder(
            **vars(_identity(row)),
            message=row.message,
            requested_by=row.requested_by,
            host=row.host,
            taken_ts=row.taken_ts,
            ended_ts=row.finished_ts,
        )
        for row in connection.execute(query)
    ]


def give_up_own_failure(connection: Connection, dataset_name: str) -> LockHolder | None:
    """Give up the failed run of this user on this host that has a dataset, if that is so.

    Not if several of its batches have begun and not ended: but for the one that failed they may
    still be at work.

    Returns
    -------
    LockHolder or None
        The run that was given up.
    """
    holder = lock_holder(connection, dataset_name)
    if holder is None or not _is_own_failure(connection, holder):
        return None
    give_up(connection, holder, f"given up for another run, after it had failed: {holder.message}")
    return holder


def _is_own_failure(connection: Connection, holder: LockHolder) -> bool:
    own = (current_user(), hostname())
    if (
        holder.state != FAILED
        or not holder.requested_by
        or (holder.requested_by, holder.host) != own
    ):
        return False
    begun = select(func.count()).select_from(stagerun)
    open_ones = begun.where(stagerun.c.run == holder.id, stagerun.c.finished_ts.is_(None))
    return connection.execute(open_ones).scalar_one() <= 1


# What somebody who needs the dataset can do about its holder, by the holder's state.
_WHAT_TO_DO = {
    RUNNING: "wait for it, or, if its process is no longer there, give it up",
    FAILED: "run its failed task again, or give it up",
    FINISHED: "one of its tasks is tried again or was killed in that; wait, or free the dataset",
    ABANDONED: "one of its tasks is tried again or was killed in that; wait, or free the dataset",
}


def take_lock(connection: Connection, record: RunIdentity) -> None:
    """Take the dataset's lock for a run, or see that the run has it.

    Raises
    ------
    StoreError
        If another run has it; the message names that run, who started it, where and when.
    """
    holder = lock_holder(connection, record.dataset_name)
    if holder is None:
        connection.execute(
            insert(datasetlock).values(dataset=record.dataset, run=record.id, taken_ts=now())
        )
        return
    if holder.id == record.id:
        return
    raise in_use(holder)


def check_free(connection: Connection, dataset_name: str) -> None:
    """Check that no run has a dataset, but one that :func:`give_up_own_failure` would give up.

    Raises
    ------
    StoreError
        As :func:`take_lock`.
    """
    holder = lock_holder(connection, dataset_name)
    if holder is not None and not _is_own_failure(connection, holder):
        raise in_use(holder)


def in_use(holder: LockHolder) -> StoreError:
    """Return an error that says who has a dataset, and what somebody who needs it can do."""
    msg = (
        f"dataset {holder.dataset_name!r} is in use by run {holder.key!r} of "
        f"{holder.requested_by or 'an unknown user'} on {holder.host} ({holder.state}, since "
        f"{holder.age_min:.0f} min): {_WHAT_TO_DO[holder.state]} with "
        f"`trap-manage abandon {holder.key}`"
    )
    return StoreError(msg, holder=holder.key, age_min=holder.age_min)


def give_up(connection: Connection, found: RunIdentity, message: str) -> bool:
    """End a run that will not go on, unless it has finished; return whether it had its dataset."""
    if found.state != FINISHED:
        set_state(connection, found.id, ABANDONED, message)
    return release_lock(connection, found.id)


def release_lock(connection: Connection, run_id: int) -> bool:
    """Release the lock that a run holds; return whether it did."""
    gone = connection.execute(delete(datasetlock).where(datasetlock.c.run == run_id))
    return gone.rowcount > 0


def planned_batches(connection: Connection, run_id: int, stage: str) -> list[list[int]]:
    """Batches that a stage of this run gave to the mapped task behind it when it ran before."""
    query = select(stagerun.c.batches).where(*_same(run_id, stage, ""))
    text = connection.execute(query).scalar()
    batches: list[list[int]] = json.loads(text) if text else []
    return batches


def end_stage(
    connection: Connection,
    run_id: int,
    stage: str,
    batch: str,
    report: StageReport,
) -> None:
    """Note that a stage, or one of its batches, is done."""
    connection.execute(
        update(stagerun)
        .where(*_same(run_id, stage, batch))
        .values(
            finished_ts=now(),
            seconds=report.seconds,
            counts=json.dumps(report.counts),
            batches=json.dumps(report.batches or []),
        )
    )


def _same(run_id: int, stage: str, batch: str) -> tuple[ColumnElement[bool], ...]:
    return (stagerun.c.run == run_id, stagerun.c.stage == stage, stagerun.c.batch == batch)


def stage_times(connection: Connection, run_id: int) -> list[dict[str, Any]]:
    """Stages of a run in order of their start: name, batch, times (None: not done), counts."""
    query = (
        select(
            stagerun.c.stage,
            stagerun.c.batch,
            stagerun.c.started_ts,
            stagerun.c.finished_ts,
            stagerun.c.seconds,
            stagerun.c.host,
            stagerun.c.counts,
        )
        .where(stagerun.c.run == run_id)
        .order_by(stagerun.c.started_ts, stagerun.c.batch)
    )
    return [
        {**row._mapping, "counts": json.loads(row.counts)}  # noqa: SLF001 - SQLAlchemy's public name
        for row in connection.execute(query)
    ]


@dataclass(frozen=True)
class StageProgress:
    """How far a stage of a run is: what it did so far in words, seconds, whether it is done."""

    name: str
    what: str
    seconds: float
    done: bool


def progress(connection: Connection, run_id: int) -> list[StageProgress]:
    """Stages of a run that have begun, in order, with their counts so far."""
    query = select(stagerun).where(stagerun.c.run == run_id).order_by(stagerun.c.started_ts)
    batches: dict[str, list[Any]] = {}
    for row in connection.execute(query):
        batches.setdefault(row.stage, []).append(row)
    done_units = (
        select(outcome.c.stage, func.count().label("number"))
        .where(outcome.c.run == run_id)
        .group_by(outcome.c.stage)
    )
    units = {row.stage: row.number for row in connection.execute(done_units)}
    found = []
    for name, rows in batches.items():
        counts: dict[str, int] = {}
        for row in rows:
            for what, number in json.loads(row.counts).items():
                counts[what] = counts.get(what, 0) + number
        # A mapped stage is done when the next one has begun: how many batches it has is not stored.
        is_last = name == next(reversed(batches))
        mapped = rows[0].batch != ""
        done = all(row.finished_ts is not None for row in rows) and not (mapped and is_last)
        found.append(
            StageProgress(
                name,
                counts_in_words(counts) if done else f"{units.get(name, 0)} images so far",
                sum(row.seconds or (now() - row.started_ts).total_seconds() for row in rows),
                done,
            )
        )
    return found


def runs_of(connection: Connection, dataset_id: int) -> dict[str, list[Any]]:
    """Runs of a dataset as columns, the first one first."""
    return fetch_columns(
        connection, select(run).where(run.c.dataset == dataset_id).order_by(run.c.id)
    )

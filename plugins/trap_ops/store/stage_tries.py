"""Tries of a stage: which one is at work, and which have been given up for lost."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, insert, select, update

from trap_ops.errors import Superseded
from trap_ops.store.runs import hostname, now
from trap_ops.store.schema import stagerun


@dataclass(frozen=True)
class StageTry:
    """A stage of a run, or one of its batches, as one process tries it.

    Attributes
    ----------
    run : int
    stage, batch : str
    host : str
    started_ts : datetime
        UTC. With the host it tells one try from the next.
    ended : bool
        Whether it has succeeded, or said that it failed.
    finished : bool
        Whether it has succeeded.
    """

    run: int
    stage: str
    batch: str
    host: str
    started_ts: datetime
    ended: bool = False
    finished: bool = False

    @property
    def in_words(self) -> str:
        """Where and when it began."""
        return f"at {self.started_ts:%Y-%m-%d %H:%M:%S} UTC on {self.host}"


def begin_stage(
    connection: Connection, run_id: int, stage: str, batch: str
) -> tuple[StageTry, StageTry | None]:
    """Note that a stage, or one of its batches, begins, or begins once more.

    Returns
    -------
    StageTry
        The new one. What an earlier one still writes is refused from now on: see
        :func:`check_current`.
    StageTry or None
        The one before it, if there was one.
    """
    begun: dict[str, Any] = {"started_ts": now(), "finished_ts": None, "host": hostname()}
    before = _current_try(connection, run_id, stage, batch)
    if before is None:
        connection.execute(insert(stagerun).values(run=run_id, stage=stage, batch=batch, **begun))
    else:
        again = update(stagerun).where(*_same(run_id, stage, batch))
        connection.execute(again.values(seconds=None, **begun))
    return StageTry(run_id, stage, batch, begun["host"], begun["started_ts"]), before


def check_current(connection: Connection, own: StageTry) -> None:
    """Check in a transaction that no later try has taken the place of one.

    Until the transaction ends no other can: it waits.

    Raises
    ------
    Superseded
        If one has.
    """
    query = select(stagerun.c.host, stagerun.c.started_ts)
    query = query.where(*_same(own.run, own.stage, own.batch)).with_for_update(read=True)
    found = connection.execute(query).first()
    if found is None or tuple(found) != (own.host, own.started_ts):
        later = f"at {found.started_ts:%H:%M:%S} UTC on {found.host}" if found else "elsewhere"
        msg = (
            f"this try of {own.stage}, begun {own.in_words}, seemed to be lost: another one was "
            f"begun {later} in its place. This one writes nothing any more, and nothing is to do"
        )
        raise Superseded(msg, stage=own.stage, batch=own.batch)


def fail_stage(connection: Connection, own: StageTry, seconds: float) -> None:
    """Note that a try has ended without success."""
    failed = update(stagerun).where(*_same(own.run, own.stage, own.batch))
    failed = failed.where(stagerun.c.host == own.host, stagerun.c.started_ts == own.started_ts)
    connection.execute(failed.values(seconds=seconds))


def _current_try(connection: Connection, run_id: int, stage: str, batch: str) -> StageTry | None:
    """The try that is noted; nobody else can begin another one before this transaction ends."""
    query = select(stagerun).where(*_same(run_id, stage, batch)).with_for_update()
    row = connection.execute(query).first()
    if row is None:
        return None
    return StageTry(
        run_id,
        stage,
        batch,
        row.host,
        row.started_ts,
        # A process that was killed could not even say how long it took.
        ended=row.seconds is not None,
        finished=row.finished_ts is not None,
    )


def _same(run_id: int, stage: str, batch: str) -> tuple[ColumnElement[bool], ...]:
    return (stagerun.c.run == run_id, stagerun.c.stage == stage, stagerun.c.batch == batch)

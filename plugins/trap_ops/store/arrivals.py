"""Image files that scheduled runs were given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, FromClause, and_, delete, func, or_, select

from trap_ops.records.arrivals import ArrivedFile
from trap_ops.store.rows import Values, insert_rows, staged
from trap_ops.store.runs import ABANDONED, FAILED, now
from trap_ops.store.schema import arrival, run

_KEY = ("path", "size_bytes", "modified_ns")
# States of runs that do not go on by themselves, and may have left something undone.
_UNDONE = (FAILED, ABANDONED)


@dataclass(frozen=True)
class Dispatch:
    """The run that a file was given to last.

    Attributes
    ----------
    run_key : str
    state : str
        As in ``run``; empty if that run was not planned.
    dispatched_ts : datetime
        UTC.
    attempts : int
        How often the file was given to a run.
    """

    run_key: str
    state: str
    dispatched_ts: datetime
    attempts: int


def dispatches(connection: Connection, files: Sequence[ArrivedFile]) -> dict[ArrivedFile, Dispatch]:
    """What became of those of some files that a run was given, as they are now."""
    with staged(connection, [arrival.c[name] for name in _KEY], _columns(files)) as asked:
        query = (
            select(
                *(arrival.c[name] for name in _KEY),
                arrival.c.run_key,
                arrival.c.dispatched_ts,
                arrival.c.attempts,
                func.coalesce(run.c.state, "").label("state"),
            )
            .select_from(arrival)
            .join(asked, _same_file(asked))
            .outerjoin(run, run.c.run_key == arrival.c.run_key)
        )
        return {
            ArrivedFile(row.path, row.size_bytes, row.modified_ns): Dispatch(
                row.run_key, row.state, row.dispatched_ts, row.attempts
            )
            for row in connection.execute(query)
        }


def open_dispatch(connection: Connection, dataset_name: str, holder: str) -> Dispatch | None:
    """Return the latest run that was given files of a dataset and has not ended.

    Parameters
    ----------
    connection : sqlalchemy.Connection
    dataset_name : str
    holder : str
        Key of the run that has the dataset, which may be a failed one; empty if it is free.
    """
    still = or_(run.c.id.is_(None), run.c.run_key == holder)
    query = (
        select(
            arrival.c.run_key,
            func.coalesce(run.c.state, "").label("state"),
            func.max(arrival.c.dispatched_ts).label("dispatched_ts"),
            func.max(arrival.c.attempts).label("attempts"),
        )
        .outerjoin(run, run.c.run_key == arrival.c.run_key)
        .where(arrival.c.dataset_name == dataset_name, still)
        .group_by(arrival.c.run_key, run.c.state)
        .order_by(func.max(arrival.c.dispatched_ts).desc())
        .limit(1)
    )
    row = connection.execute(query).first()
    if row is None:
        return None
    return Dispatch(row.run_key, row.state, row.dispatched_ts, row.attempts)


def latest_dispatch(connection: Connection) -> datetime | None:
    """When files were given to a run last."""
    return connection.execute(select(func.max(arrival.c.dispatched_ts))).scalar()


def save_dispatch(
    connection: Connection,
    series: str,
    dataset_name: str,
    run_key: str,
    files: Sequence[ArrivedFile],
) -> None:
    """Note that a run is given some files, now."""
    before = dispatches(connection, files)
    columns = _columns(files)
    with staged(connection, [arrival.c[name] for name in _KEY], columns) as asked:
        same = select(asked.c.path).where(_same_file(asked)).exists()
        connection.execute(delete(arrival).where(same))
    attempts = [before[file].attempts + 1 if file in before else 1 for file in files]
    insert_rows(
        connection,
        arrival,
        {
            **columns,
            "series": series,
            "dataset_name": dataset_name,
            "run_key": run_key,
            "dispatched_ts": now(),
            "attempts": attempts,
        },
    )


def latencies_s(connection: Connection, series: str, latest: int) -> list[float]:
    """Seconds from the last change of a file to the end of the run that has it, latest files."""
    query = (
        select(arrival.c.modified_ns, run.c.finished_ts)
        .join(run, run.c.run_key == arrival.c.run_key)
        .where(arrival.c.series == series, run.c.finished_ts.is_not(None))
        .where(run.c.state.not_in(_UNDONE))
        .order_by(arrival.c.modified_ns.desc())
        .limit(latest)
    )
    epoch = datetime(1970, 1, 1)  # noqa: DTZ001 - as the tables keep times: UTC without a zone
    return [
        (row.finished_ts - epoch).total_seconds() - row.modified_ns * 1e-9
        for row in connection.execute(query)
    ]


def _same_file(asked: FromClause) -> ColumnElement[bool]:
    return and_(*(arrival.c[name] == asked.c[name] for name in _KEY))


def _columns(files: Sequence[ArrivedFile]) -> dict[str, Values]:
    return {
        "path": [file.path for file in files],
        "size_bytes": [file.size_bytes for file in files],
        "modified_ns": [file.modified_ns for file in files],
    }

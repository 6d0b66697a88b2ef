"""Is a dataset consistent? All invariants, one after the other, on one view of the database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from trap_ops.store import datasets
from trap_ops.store.database import Store
from trap_ops.store.dataset_rows import count_rows
from trap_ops.store.invariants import INVARIANTS, Breaches, Invariant, Scope
from trap_ops.store.runs import FINISHED, lock_holder
from trap_ops.store.schema import run


@dataclass(frozen=True)
class BrokenInvariant:
    """A rule that some rows do not keep.

    Attributes
    ----------
    invariant : Invariant
    breaches : Breaches
        How many rows, and the first ones by their natural names.
    """

    invariant: Invariant
    breaches: Breaches


@dataclass(frozen=True)
class Consistency:
    """What came of checking a dataset.

    Attributes
    ----------
    dataset : str
    checked : int
        Invariants that were checked.
    rows : int
        Rows of the dataset in all tables.
    broken : sequence of BrokenInvariant
    unfinished : str
        Why those invariants that hold between runs only were left out; empty: they were not.
    """

    dataset: str
    checked: int
    rows: int
    broken: Sequence[BrokenInvariant]
    unfinished: str = ""


def check_datasets(store: Store, names: Sequence[str] = ()) -> Iterator[Consistency]:
    """Check some datasets, or all, one after the other.

    Raises
    ------
    StoreError
        If there is no dataset of a name; none is checked then.
    """
    with store.read() as connection:
        chosen = {name: datasets.dataset_id(connection, name) for name in names} or {
            item.name: item.id for item in datasets.list_datasets(connection)
        }
    for name, dataset_id in chosen.items():
        with store.read() as connection:
            yield _check(connection, name, dataset_id)


def _check(connection: Connection, name: str, dataset_id: int) -> Consistency:
    unfinished = _why_unfinished(connection, name, dataset_id)
    chosen = [item for item in INVARIANTS if not (unfinished and item.when_finished)]
    scope = Scope(connection, dataset_id)
    found = [BrokenInvariant(item, item.check(scope)) for item in chosen]
    return Consistency(
        name,
        len(chosen),
        sum(count_rows(connection, dataset_id).values()),
        [item for item in found if item.breaches.number],
        unfinished,
    )


def _why_unfinished(connection: Connection, name: str, dataset_id: int) -> str:
    """Say why a dataset cannot be complete now; nothing if it should be."""
    holder = lock_holder(connection, name)
    if holder is not None:
        return f"run {holder.key} has the dataset ({holder.state})"
    query = select(run.c.run_key, run.c.state).where(run.c.dataset == dataset_id)
    latest = connection.execute(query.order_by(run.c.started_ts.desc()).limit(1)).first()
    if latest is None:
        return "it has no runs"
    if latest.state != FINISHED:
        return f"its latest run, {latest.run_key}, is {latest.state}"
    return ""

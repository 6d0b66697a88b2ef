"""Invariant of the counters that ids come from; they serve all datasets."""

from __future__ import annotations

from sqlalchemy import Integer, func, select

from trap_ops.store.invariants.invariant import Breaches, Invariant, Scope
from trap_ops.store.schema import idblock, metadata, rejectreason, runningcatalog

# The numbers of reasons are fixed; a sky source has the id of its founding measurement.
_WITHOUT_COUNTER = (rejectreason, runningcatalog)


def _counters(scope: Scope) -> Breaches:
    connection = scope.connection
    known = {row.table_name: row.next_id for row in connection.execute(select(idblock))}
    wrong = []
    for table in metadata.sorted_tables:
        if "id" not in table.c or not isinstance(table.c.id.type, Integer):
            continue
        if table in _WITHOUT_COUNTER:
            continue
        largest = connection.execute(select(func.max(table.c.id))).scalar()
        if largest is not None and known.get(table.name, 0) <= largest:
            wrong.append(f"{table.name}: next id {known.get(table.name)}, largest {largest}")
    return Breaches(len(wrong), wrong)


INVARIANTS = (Invariant("next-ids", "the next id of a table is above its largest", _counters),)

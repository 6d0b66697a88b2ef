"""What PostgreSQL must know of the tables, and forget, to stay as quick as it was."""

from __future__ import annotations

import logging

from sqlalchemy import text

from trap_ops.errors import StoreUnavailable
from trap_ops.store.database import Store
from trap_ops.store.schema import metadata

logger = logging.getLogger(__name__)

# PostgreSQL's own limits, but for dead rows: it would wait for a fifth of the table.
_FEW_ROWS = 1000
_FEW_BYTES = 100_000
_CHANGED_SHARE = 0.1
_DEAD_SHARE = 0.05


def tidy(store: Store) -> list[str]:
    """Vacuum and analyse the tables that have changed much; return their names.

    PostgreSQL's autovacuum does so too, but a minute or more later, in which a run has finished or
    has gone on with plans for empty tables; and it can be switched off. The cost of a table's
    turn grows with the table, but so does the number of changes between two turns. SQLite needs
    none of it.
    """
    if store.is_sqlite:
        return []
    names = list(metadata.tables)
    # Without rows by its own knowledge, but of some size: never analysed, as after a restore.
    query = text(
        "SELECT s.relname FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid "
        "WHERE s.schemaname = current_schema() AND s.relname = ANY(:names) "
        "AND (s.n_mod_since_analyze > :few + :changed * s.n_live_tup "
        "OR s.n_dead_tup > :few + :dead * s.n_live_tup "
        "OR c.reltuples <= 0 AND pg_relation_size(c.oid) > :bytes) ORDER BY s.relname"
    )
    limits = {
        "few": _FEW_ROWS, "changed": _CHANGED_SHARE, "dead": _DEAD_SHARE, "bytes": _FEW_BYTES
    }  # fmt: skip
    try:
        with store.read() as connection:
            stale = list(connection.execute(query, {"names": names, **limits}).scalars())
        if stale:
            with store.outside_transactions() as connection:
                for name in stale:
                    # Another run may be at it: then this one goes on.
                    connection.exec_driver_sql(f'VACUUM (ANALYZE, SKIP_LOCKED) "{name}"')
    except StoreUnavailable as error:
        # Nothing is lost, and what needs the database next says so itself.
        logger.warning("the tables of the results database were not tidied: %s", error)
        return []
    return stale

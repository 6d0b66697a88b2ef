"""Columns in and out of tables in bulk, on SQLite and PostgreSQL."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import (
    ARRAY,
    Column,
    Connection,
    FromClause,
    MetaData,
    Row,
    Select,
    String,
    Table,
    Text,
    bindparam,
    cast,
    column,
    func,
    update,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import TypeEngine

from trap_ops.errors import StoreUnavailable

_MANY = (np.ndarray, list, tuple)
# A statement that carries so many rows is still quick to make and to read.
_FEW_ROWS = 1000

Values = npt.NDArray[Any] | Sequence[Any] | float | int | str | bool | datetime | bytes | None


def insert_rows(connection: Connection, table: Table, columns: Mapping[str, Values]) -> int:
    """Write columns in bulk: COPY on PostgreSQL, executemany on SQLite.

    Parameters
    ----------
    connection : sqlalchemy.Connection
    table : sqlalchemy.Table
    columns : mapping
        Arrays or sequences of one length, and scalars that hold for every row. NaN becomes NULL.

    Returns
    -------
    int
        Number of rows.
    """
    rows = list(zip(*_lists(columns, sqlite=connection.dialect.name == "sqlite"), strict=True))
    if not rows:
        return 0
    names = ", ".join(f'"{table.c[name].name}"' for name in columns)
    if connection.dialect.name == "sqlite":
        marks = ", ".join("?" * len(columns))
        # Names come from the schema, values are bound.
        statement = f'INSERT INTO "{table.name}" ({names}) VALUES ({marks})'  # noqa: S608
        connection.exec_driver_sql(statement, rows)
        return len(rows)
    buffer = io.StringIO()
    for row in rows:
        buffer.write("\t".join(map(_copy_text, row)))
        buffer.write("\n")
    buffer.seek(0)
    driver_connection = connection.connection.driver_connection
    if driver_connection is None:
        msg = "the connection to the results database is gone"
        raise StoreUnavailable(msg)
    with driver_connection.cursor() as cursor:
        cursor.copy_expert(f'COPY "{table.name}" ({names}) FROM STDIN', buffer)
    return len(rows)


def update_rows(
    connection: Connection,
    table: Table,
    keys: Sequence[str],
    columns: Mapping[str, Values],
) -> int:
    """Change rows in bulk, by key columns that are among ``columns``.

    Returns
    -------
    int
        Number of rows changed.
    """
    names = list(columns)
    with staged(connection, [table.c[name] for name in names], columns) as new:
        match = [table.c[key] == new.c[key] for key in keys]
        values = {name: new.c[name] for name in names if name not in keys}
        return connection.execute(update(table).values(values).where(*match)).rowcount


@contextmanager
def staged(
    connection: Connection, like: Sequence[Column[Any]], columns: Mapping[str, Values]
) -> Iterator[FromClause]:
    """The given rows as something to join with, named as the columns of ``like``.

    A few rows go to PostgreSQL with each statement: temporary tables cost it more, and leave dead
    rows in its own catalogue. Many rows, and all on SQLite, are in a temporary table, which is gone
    afterwards.
    """
    postgresql = connection.dialect.name == "postgresql"
    if postgresql and _length(columns) <= _FEW_ROWS:
        yield _rows_in_statement(like, columns)
        return
    table = _staging_table(tuple((c.name, c.type) for c in like))
    table.create(connection)
    try:
        insert_rows(connection, table, columns)
        if postgresql:
            # Of a table it knows nothing of PostgreSQL expects thousands of rows, and reads all of
            # the tables that are joined with it.
            connection.exec_driver_sql(f'ANALYZE "{table.name}"')
        yield table
    finally:
        if connection.in_transaction() and not connection.invalidated:
            _drop_quietly(connection, table)


def _rows_in_statement(like: Sequence[Column[Any]], columns: Mapping[str, Values]) -> FromClause:
    """Rows as arrays that PostgreSQL unnests."""
    values = dict(zip(columns, _lists(columns, sqlite=False), strict=True))
    arrays = []
    for of in like:
        # A cast to a length would cut texts; without one they are refused where they are stored.
        kind = ARRAY(Text() if isinstance(of.type, String) else of.type)
        plain = [v.item() if isinstance(v, np.generic) else v for v in values[of.name]]
        arrays.append(cast(bindparam(None, plain, type_=kind), kind))
    unnested = func.unnest(*arrays).table_valued(*(column(of.name, of.type) for of in like))
    return unnested.render_derived(name="staged_rows")


@lru_cache(maxsize=256)
def _staging_table(columns: tuple[tuple[str, TypeEngine[Any]], ...]) -> Table:
    """One object for equal columns: SQLAlchemy compiles a statement once for the same tables."""
    return Table(
        "staged_rows",
        MetaData(),
        *(Column(name, kind) for name, kind in columns),
        prefixes=["TEMPORARY"],
    )


@contextmanager
def id_list(
    connection: Connection, column: Column[Any], ids: npt.ArrayLike | Sequence[int]
) -> Iterator[FromClause]:
    """Ids in a column ``id``, to join with instead of a long IN list."""
    with staged(connection, [Column("id", column.type)], {"id": np.asarray(ids)}) as table:
        yield table


def fetch_columns(connection: Connection, query: Select[Any]) -> dict[str, list[Any]]:
    """Run a query and return its columns by name."""
    result = connection.execute(query)
    names = list(result.keys())
    rows: Sequence[Row[Any]] = result.all()
    if not rows:
        return {name: [] for name in names}
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))


def floats(values: Iterable[float | None]) -> npt.NDArray[np.float64]:
    """Return a column as floats; NULL becomes NaN."""
    return np.array(list(values), dtype=np.float64)


def integers(values: Iterable[int]) -> npt.NDArray[np.int64]:
    """Return a column without NULL as integers."""
    return np.array(list(values), dtype=np.int64)


def times(values: Iterable[datetime | None]) -> npt.NDArray[np.datetime64]:
    """Return a column of times; NULL becomes NaT."""
    return np.array(list(values), dtype="datetime64[us]")


def _lists(columns: Mapping[str, Values], *, sqlite: bool) -> list[list[Any]]:
    """Columns of one length, as the driver takes them."""
    length = _length(columns)
    return [
        _plain(value, sqlite=sqlite)
        if isinstance(value, _MANY)
        else _plain([value], sqlite=sqlite) * length
        for value in columns.values()
    ]


def _length(columns: Mapping[str, Values]) -> int:
    lengths = {name: len(value) for name, value in columns.items() if isinstance(value, _MANY)}
    if len(set(lengths.values())) > 1:
        msg = f"columns of different length: {lengths}"
        raise ValueError(msg)
    return next(iter(lengths.values()), 1)


def _plain(value: Any, *, sqlite: bool) -> list[Any]:  # noqa: ANN401 - any column
    """Values as the driver takes them: Python scalars, None for NaN."""
    if isinstance(value, np.ndarray):
        plain: list[Any] = value.tolist()
        if value.dtype.kind == "f" and np.isnan(value).any():
            plain = [None if item != item else item for item in plain]  # noqa: PLR0124 - NaN
        return plain
    if any(isinstance(item, float) and math.isnan(item) for item in value):
        value = [None if isinstance(v, float) and math.isnan(v) else v for v in value]
    if sqlite and any(isinstance(item, datetime) for item in value):
        # Always with microseconds: times are compared as text.
        return [v.isoformat(" ", "microseconds") if isinstance(v, datetime) else v for v in value]
    return list(value)


def _copy_text(value: Any) -> str:  # noqa: ANN401 - any column value
    if value is None:
        return "\\N"
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, float):
        return repr(float(value))  # Of a NumPy scalar, repr names the type too.
    if isinstance(value, bytes):
        return "\\\\x" + value.hex()
    if isinstance(value, str):
        for special, escaped in (
            ("\\", "\\\\"),
            ("\t", "\\t"),
            ("\n", "\\n"),
            ("\r", "\\r"),
        ):
            value = value.replace(special, escaped)
        return str(value)
    return str(value)


def _drop_quietly(connection: Connection, table: Table) -> None:
    """Drop a temporary table; a transaction that has failed already takes it away itself."""
    try:
        table.drop(connection)
    except DBAPIError:
        return

"""The results database as a page: tables, columns, keys, and what they hold (docs/schema.md)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Column, Index, Table, UniqueConstraint
from sqlalchemy.dialects import postgresql

from trap_ops.errors import ConfigError
from trap_ops.records.names import one_line
from trap_ops.store.schema import metadata
from trap_ops.store.schema.descriptions import describe, load_descriptions

_HEAD = """# Tables and columns

Made by `make docs` from the schema (`plugins/trap_ops/store/schema`); `bin/trap-manage schema`
prints it too, and `bin/trap-manage schema varmetric` one table of it. How the tables hang together,
what their codes mean, and SQL for what people ask is in [results.md](results.md).

Angles are J2000; times are UTC without a zone. Types are those of PostgreSQL; SQLite keeps times as
text, and truth values as 0 and 1. *NULL* says that a column may have no value. In the column *key*,
"primary" is the primary key, an arrow leads to the table whose `id` it holds, "unique" has each
value once, and "index" has an index.
"""


def schema_page(names: Sequence[str] = ()) -> str:
    """Describe the tables of the results database as Markdown.

    Parameters
    ----------
    names : sequence of str
        Tables; all, with a head, if there are none.

    Raises
    ------
    ConfigError
        If there is no such table.
    StoreError
        If a column has no description.
    """
    order: dict[str, str] = load_descriptions()["tables"]
    unknown = [name for name in names if name not in order]
    if unknown:
        msg = f"there is no table {one_line(unknown[0])!r}; there are: {', '.join(order)}"
        raise ConfigError(msg, names=unknown)
    parts = [_table(metadata.tables[name], order[name]) for name in names or order]
    return "\n".join(parts if names else [_HEAD, _list(order), *parts])


def _list(order: dict[str, str]) -> str:
    rows = [f"| [`{name}`](#{name}) | {sentence} |" for name, sentence in order.items()]
    return "\n".join(["| table | a row is |", "|---|---|", *rows, ""])


def _table(table: Table, sentence: str) -> str:
    lines = [
        f"## `{table.name}`",
        "",
        sentence,
        "",
        "| column | type | NULL | key | unit | meaning |",
        "|---|---|---|---|---|---|",
    ]
    for column in table.columns:
        said = describe(column)
        null = "NULL" if column.nullable else ""
        cells = (f"`{column.name}`", _type(column), null, _keys(column), said.unit, said.meaning)
        lines.append(f"| {' | '.join(cells)} |")
    lines.append("")
    for what, several in (("Unique together", _uniques(table)), ("Indexes", _indexes(table))):
        if several:
            lines += [f"{what}: {'; '.join(several)}.", ""]
    return "\n".join(lines)


def _type(column: Column[Any]) -> str:
    return str(column.type.compile(postgresql.dialect())).lower()  # type: ignore[no-untyped-call]


def _keys(column: Column[Any]) -> str:
    words = ["primary"] if column.primary_key else []
    for key in sorted(column.foreign_keys, key=lambda key: key.target_fullname):
        target = key.column.table.name
        words.append(f"→ [`{target}`](#{target})")
    words += ["unique"] if column.unique else []
    words += ["index"] if column.index else []
    return ", ".join(words)


def _named(columns: Sequence[Any], condition: object = None) -> str:
    names = ", ".join(f"`{column.name}`" for column in columns)
    return names if condition is None else f"{names} where `{condition}`"


def _uniques(table: Table) -> list[str]:
    """Columns that are unique together."""
    found = [
        _named(list(constraint.columns))
        for constraint in table.constraints
        if isinstance(constraint, UniqueConstraint) and len(constraint.columns) > 1
    ]
    return sorted(found)


def _indexes(table: Table) -> list[str]:
    """Indexes of several columns, or of some rows."""
    of_one_column = {f"ix_{table.name}_{column.name}" for column in table.columns if column.index}
    indexes: list[Index] = [index for index in table.indexes if index.name not in of_one_column]
    return sorted(
        _named(list(index.columns), index.dialect_options["postgresql"]["where"])
        for index in indexes
    )

"""What tables and columns hold, in words: ``descriptions.toml``, where it is said once."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import Column

from trap_ops.errors import StoreError

SOURCE = Path(__file__).with_suffix(".toml")


@dataclass(frozen=True)
class Description:
    """What a column holds; ``unit`` is empty for plain numbers and words."""

    unit: str
    meaning: str


@lru_cache(maxsize=1)
def load_descriptions() -> dict[str, Any]:
    """Everything in the file: ``tables``, ``like``, ``everywhere`` and ``columns``."""
    return tomllib.loads(SOURCE.read_text(encoding="utf-8"))


def describe(column: Column[Any]) -> Description:
    """Return what a column of the schema holds.

    Its own words come first, then those for its name in every table, then those of the tables that
    its table is like.

    Raises
    ------
    StoreError
        If it has none.
    """
    said, table = load_descriptions(), column.table.name
    places = [
        said["columns"].get(table, {}),
        said["everywhere"],
        *(said["columns"][other] for other in said["like"].get(table, ())),
    ]
    found = next((place[column.name] for place in places if column.name in place), None)
    if found is None:
        msg = f"column {table}.{column.name} has no description: write one into {SOURCE.name}"
        raise StoreError(msg, table=table, column=column.name)
    unit, meaning = ("", found) if isinstance(found, str) else found
    return Description(unit, meaning)

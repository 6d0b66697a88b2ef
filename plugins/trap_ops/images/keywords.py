"""Keywords as the configuration lists them: ``KEY`` or ``KEY:unit``, the first usable one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from trap_ops.images.cards import Header


def split_unit(entry: str) -> tuple[str, str]:
    """Keyword and unit of an entry; the unit is empty if it has none."""
    key, _, unit = entry.partition(":")
    return key.upper(), unit


def number_of(header: Header, entry: str, per_unit: Mapping[str, float]) -> float | None:
    """Number that a header has for an entry, in the unit of the quantity."""
    key, unit = split_unit(entry)
    value = header.number(key)
    return None if value is None else value * (per_unit[unit] if unit else 1.0)


def first_number(
    header: Header,
    entries: Sequence[str],
    per_unit: Mapping[str, float],
    usable: Callable[[float], bool] = lambda _: True,
) -> float | None:
    """First number that a header has and that can be used."""
    for entry in entries:
        value = number_of(header, entry, per_unit)
        if value is not None and usable(value):
            return value
    return None


def first_text(header: Header, entries: Sequence[str]) -> str:
    """First text that a header has; empty if it has none."""
    return next((text for entry in entries if (text := header.text(entry.upper()))), "")

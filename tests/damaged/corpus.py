"""The whole corpus of damaged files."""

from __future__ import annotations

from damaged.contents import damaged_contents
from damaged.files import Damaged
from damaged.packed import damaged_packed
from damaged.places import damaged_places, odd_names
from damaged.structure import damaged_structures
from damaged.values import damaged_values


def corpus() -> list[Damaged]:
    """Every damaged file, and the readable ones that look damaged; no name twice."""
    made = [
        *damaged_structures(),
        *damaged_values(),
        *damaged_contents(),
        *damaged_packed(),
        *damaged_places(),
        *odd_names(),
    ]
    names = [case.name for case in made]
    assert len(set(names)) == len(names), sorted({n for n in names if names.count(n) > 1})
    return made

"""What LOFAR's images keep in sub-tables of their CASA table: times, stations, subbands.

The layout is that of "CASA Image description for LOFAR", version 0.03.00; which column is read for
what, SCIENCE.md 1.4. What a table lacks has no card.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u

from trap_ops.errors import ImageError
from trap_ops.images.casa_cards import date_of_mjd
from trap_ops.records.arrays import FloatArray

_SECONDS_PER_DAY = 86400.0
# A subband is the clock's frequency over this.
_SUBBANDS_PER_CLOCK = 1024


def lofar_cards(path: Path, keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Return the cards that LOFAR's FITS images have, as far as the sub-tables say them.

    Raises
    ------
    ImageError
        If a column that must have one value has several.
    """
    groups = keywords.get("ATTRGROUPS", {})
    cards: dict[str, Any] = {}
    if "LOFAR_OBSERVATION" in groups:
        with _table(path, "LOFAR_OBSERVATION") as observation:
            cards |= _of_observation(observation)
            if "LOFAR_ANTENNA" in groups and "NVIS_USED" in observation.colnames():
                with _table(path, "LOFAR_ANTENNA") as antennas:
                    names = [str(name) for name in antennas.getcol("NAME")]
                cards |= _stations(names, np.asarray(observation.getcol("NVIS_USED")))
    if "LOFAR_ORIGIN" in groups:
        with _table(path, "LOFAR_ORIGIN") as origin:
            cards |= _of_origin(origin)
    return cards


@contextmanager
def _table(path: Path, name: str) -> Iterator[Any]:
    from casacore.tables import table as open_table  # noqa: PLC0415 - an optional package

    options = {"option": "usernoread"}
    with open_table(str(path / name), ack=False, lockoptions=options) as table:
        yield table


def _of_observation(table: Any) -> dict[str, Any]:  # noqa: ANN401 - casacore has no types
    cards: dict[str, Any] = {}
    if "OBSERVATION_START" in table.colnames():
        start = float(_seconds(table, "OBSERVATION_START").min())
        cards |= {"DATE-OBS": date_of_mjd(start / _SECONDS_PER_DAY), "TIMESYS": "UTC"}
    if "ANTENNA_SET" in table.colnames():
        cards["ANTENNA"] = str(_single(table, "ANTENNA_SET"))
    if "CLOCK_FREQUENCY" in table.colnames():
        unit = _unit(table, "CLOCK_FREQUENCY", "Hz")
        clock = u.Quantity(float(_single(table, "CLOCK_FREQUENCY")), unit).to_value(u.Hz)
        cards["SUBBANDW"] = float(clock) / _SUBBANDS_PER_CLOCK
    return cards


def _of_origin(table: Any) -> dict[str, Any]:  # noqa: ANN401 - as above
    cards: dict[str, Any] = {}
    columns = table.colnames()
    if "START" in columns and "END" in columns:
        cards["TAU_TIME"] = union_length(_seconds(table, "START"), _seconds(table, "END"))
    if "NUM_CHAN" in columns:
        cards["SUBBANDS"] = int(_single(table, "NUM_CHAN"))
    return cards


def union_length(starts: FloatArray, ends: FloatArray) -> float:
    """Length of the union of intervals, (n,) each, in their unit: what overlaps counts once."""
    order = np.argsort(starts)
    starts, ends = starts[order], np.maximum.accumulate(ends[order])
    before = np.concatenate(([starts[0]], ends[:-1]))
    return float(np.maximum(ends - np.maximum(starts, before), 0.0).sum())


def _stations(names: list[str], visibilities: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Numbers of core, remote and other stations with visibilities, by the first two letters."""
    per_antenna = visibilities.reshape(*visibilities.shape[:2], -1).sum(axis=2)
    used = (per_antenna > 0).any(axis=0)
    kinds = [name[:2] for name, seen in zip(names, used.tolist(), strict=True) if seen]
    core, remote = kinds.count("CS"), kinds.count("RS")
    return {"NCORE": core, "NREMOTE": remote, "NINTL": len(kinds) - core - remote}


def _seconds(table: Any, column: str) -> FloatArray:  # noqa: ANN401 - as above
    values = np.ravel(np.asarray(table.getcol(column), dtype=np.float64))
    return np.asarray(u.Quantity(values, _unit(table, column, "s")).to_value(u.s))


def _unit(table: Any, column: str, usual: str) -> str:  # noqa: ANN401 - as above
    if "QuantumUnits" not in table.colkeywordnames(column):
        return usual
    return str(table.getcolkeyword(column, "QuantumUnits")[0])


def _single(table: Any, column: str) -> Any:  # noqa: ANN401 - as above
    values = sorted(set(np.ravel(table.getcol(column)).tolist()))
    if len(values) != 1:
        msg = f"its column {column} has {len(values)} different values, and one is needed"
        raise ImageError(msg, reason="bad header")
    return values[0]

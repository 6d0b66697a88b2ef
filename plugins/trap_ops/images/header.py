"""What a header says of the telescope and of the unit of the pixels."""

from __future__ import annotations

import re

from trap_ops.config.headers import HZ_PER_UNIT, HeaderConfig
from trap_ops.errors import ImageError
from trap_ops.images.assumed import Assumed
from trap_ops.images.cards import Header
from trap_ops.images.keywords import first_number, first_text
from trap_ops.records.images import ArrayInfo

# Jy/beam as people and the FITS standard write it, blanks left out. mJy and MJy differ by nine
# powers of ten, so the prefix keeps its case.
_JY = r"([muU]?)(?i:jy)"
_PER_BEAM = r"(?i:beam)(?:\^|\*\*)?(?:-1|\(-1\))"
_BRIGHTNESS = re.compile(rf"{_JY}(?:/(?i:beam)|[.*]?{_PER_BEAM})|{_PER_BEAM}[.*]?{_JY}")
_JY_PER_PREFIX = {"": 1.0, "m": 1e-3, "u": 1e-6}
# Characters, of column image.telescope.
_TELESCOPE_MAX = 64
# Of column image.antenna_set and of 32-bit counts.
_ANTENNA_SET_MAX = 64
_COUNT_MAX = 1e6


def read_telescope(header: Header, rules: HeaderConfig) -> str:
    """Return the name of the telescope, as much of it as can be kept; empty if absent."""
    return first_text(header, rules.telescope)[:_TELESCOPE_MAX]


def read_unit(header: Header, rules: HeaderConfig, assumed: Assumed) -> tuple[float, list[str]]:
    """Return the factor from pixel values to Jy/beam, and notes on what was missing.

    Raises
    ------
    ImageError
        If the unit is not a brightness per beam.
    """
    unit = assumed.fill("unit", first_text(header, rules.unit) or None)
    if unit is None:
        return 1.0, [f"no {' or '.join(rules.unit)}: pixels taken as Jy/beam"]
    match = _BRIGHTNESS.fullmatch(unit.replace(" ", ""))
    if match is None:
        msg = f"its pixels are in {unit!r}; Jy/beam, mJy/beam or uJy/beam are needed"
        raise ImageError(msg, reason="unit", unit=unit)
    prefix = match[1] or match[2] or ""
    return _JY_PER_PREFIX[prefix.lower()], []


def read_array(header: Header, rules: HeaderConfig, assumed: Assumed) -> ArrayInfo:
    """Return the stations of LOFAR that made an image, as far as the header says."""

    def count(name: str, entries: tuple[str, ...]) -> int | None:
        found = first_number(header, entries, {}, lambda value: 0 <= value <= _COUNT_MAX)
        return assumed.fill(name, None if found is None else round(found))

    width = first_number(header, rules.subband_width_hz, HZ_PER_UNIT, lambda value: value > 0)
    antennas = first_text(header, rules.antenna_set)[:_ANTENNA_SET_MAX]
    return ArrayInfo(
        antenna_set=assumed.fill("antenna_set", antennas or None),
        n_core=count("n_core", rules.n_core),
        n_remote=count("n_remote", rules.n_remote),
        n_international=count("n_international", rules.n_international),
        subbands=count("subbands", rules.subbands),
        subband_width_hz=assumed.fill("subband_width_hz", width),
    )

"""Frequency and bandwidth of an image, by its spectral axis or by keywords."""

from __future__ import annotations

import math
import re

import numpy as np
from astropy.wcs import WCS

from trap_ops.config.headers import HZ_PER_UNIT, HeaderConfig
from trap_ops.errors import ImageError
from trap_ops.images.assumed import Assumed
from trap_ops.images.cards import Header
from trap_ops.images.keywords import first_number, split_unit

_DEFAULT_BANDWIDTH_HZ = 1e6
# No telescope has others; a header that does is wrong.
_RANGE_HZ = (1e3, 1e16)
# Axes beyond the first two are looked for up to this number.
AXES = range(3, 10)
_UNITS = {
    **{unit.upper(): ("Hz", factor) for unit, factor in HZ_PER_UNIT.items()},
    "M/S": ("m/s", 1.0),
    "KM/S": ("m/s", 1e3),
    "M S-1": ("m/s", 1.0),
    "KM S-1": ("m/s", 1e3),
    "M": ("m", 1.0),
    "CM": ("m", 1e-2),
    "MM": ("m", 1e-3),
}
# Spectral coordinates of FITS (paper III) and AIPS, and their units.
_UNIT_OF_CODE = {
    "FREQ": "Hz",
    **dict.fromkeys(("VRAD", "VOPT", "VELO", "FELO"), "m/s"),
    **dict.fromkeys(("WAVE", "AWAV"), "m"),
}
# The axis is not linear in its own coordinate: VOPT-F2W, FREQ-LOG.
_ALGORITHM = re.compile(r"[A-Z]{4}-(?:[A-Z]2[A-Z]|LOG)")
# VELREF counts optical velocities up to this number, radio ones beyond it (AIPS).
_VELREF_RADIO = 256


def read_frequency(
    header: Header,
    rules: HeaderConfig,
    assumed: Assumed,
    channel: int = 0,
    of_channels: int = 1,
) -> tuple[float, float, list[str]]:
    """Return centre frequency and bandwidth in Hz, and notes on what was missing.

    The spectral axis comes first, at a channel counted from 0, then, where there is only one, the
    keywords (SCIENCE.md D10).

    Raises
    ------
    ImageError
        If there is no frequency, or it cannot be one.
    """
    found = spectral_axis(header, channel)
    of_keywords = None
    if found is None and of_channels == 1:
        of_keywords = first_number(header, rules.frequency_hz, HZ_PER_UNIT, lambda f: f > 0)
    frequency = assumed.fill("freq_eff_hz", found[0] if found is not None else of_keywords)
    if frequency is None:
        keys = ", ".join(split_unit(entry)[0] for entry in rules.frequency_hz)
        msg = f"its header has no frequency: no spectral axis that can be read, none of {keys}"
        raise ImageError(msg, reason="no frequency")
    width = found[1] if found is not None else 0.0
    if not width:
        width = abs(first_number(header, rules.bandwidth_hz, HZ_PER_UNIT, bool) or 0.0)
    width = assumed.fill("freq_bw_hz", width or None) or 0.0
    lowest, highest = _RANGE_HZ
    if not (lowest <= frequency <= highest and width <= 2.0 * frequency):
        msg = (
            f"its frequency is not one: {frequency:g} Hz with a bandwidth of {width:g} Hz; "
            f"frequencies are from {lowest:g} to {highest:g} Hz, and no band reaches below 0"
        )
        raise ImageError(msg, reason="bad frequency", frequency_hz=frequency, width_hz=width)
    if width > 0:
        return frequency, width, []
    return frequency, _DEFAULT_BANDWIDTH_HZ, ["no bandwidth: taken as 1 MHz"]


def is_spectral(ctype: str) -> bool:
    """Whether CTYPE is of a spectral axis that can be read."""
    return ctype[:4] in _UNIT_OF_CODE


def spectral_axis(header: Header, channel: int) -> tuple[float, float] | None:
    """Frequency and width in Hz of a channel, from 0; None without an axis that can be read."""
    for axis in AXES:
        ctype = header.text(f"CTYPE{axis}").upper()
        if is_spectral(ctype):
            found = _of_axis(header, axis, ctype, channel)
            if found is not None:
                return found
    return None


def _of_axis(header: Header, axis: int, ctype: str, channel: int) -> tuple[float, float] | None:
    value = header.number(f"CRVAL{axis}")
    wanted = _UNIT_OF_CODE[ctype[:4]]
    unit, factor = _UNITS.get(header.text(f"CUNIT{axis}").upper(), ("", 0.0))
    if not header.text(f"CUNIT{axis}"):
        unit, factor = wanted, 1.0
    if value is None or unit != wanted:
        return None
    reference = header.number(f"CRPIX{axis}")
    place = 1.0 + channel - (1.0 if reference is None else reference)
    step = step_of(header, axis) * factor
    if wanted == "Hz" and not _ALGORITHM.match(ctype):
        if value <= 0:
            return None
        return value * factor + place * step, abs(step)
    return _converted(header, ctype, (value * factor, step, place))


def step_of(header: Header, axis: int) -> float:
    """Increment of an axis by its own pixels: CDELT (with PC), or CD."""
    step = header.number(f"CDELT{axis}")
    turn = header.number(f"PC{axis}_{axis}")
    whole = header.number(f"CD{axis}_{axis}")
    if whole is not None:
        return whole
    return (step or 0.0) * (1.0 if turn is None else turn)


def _converted(
    header: Header, ctype: str, linear: tuple[float, float, float]
) -> tuple[float, float] | None:
    """Frequency and width on an axis of velocities or wavelengths, by wcslib (FITS paper III)."""
    value, step, place = linear
    rest = first_number(header, ("RESTFRQ", "RESTFREQ"), HZ_PER_UNIT, lambda f: f > 0)
    if rest is None and ctype[0] in "VF" and not ctype.startswith("FREQ"):
        return None
    wcs = WCS(naxis=1)
    wcs.wcs.ctype = [_standard(header, ctype)]
    wcs.wcs.cunit = [_UNIT_OF_CODE[ctype[:4]]]
    wcs.wcs.crpix, wcs.wcs.crval, wcs.wcs.cdelt = [0.0], [value], [step or 1.0]
    wcs.wcs.restfrq = rest or 0.0
    try:
        wcs.wcs.set()
        wcs.wcs.sptr("FREQ-???")
        middle, low, high = wcs.wcs_pix2world(np.array([place, place - 0.5, place + 0.5]), 1)[0]
    except Exception:  # noqa: BLE001 - wcslib has errors of its own for every kind of nonsense
        return None
    width = abs(float(high - low)) if step else 0.0
    return (float(middle), width) if math.isfinite(middle + width) and middle > 0 else None


def _standard(header: Header, ctype: str) -> str:
    """CTYPE as paper III has it; AIPS writes VELO-LSR, FELO-HEL, and the kind in VELREF."""
    if _ALGORITHM.match(ctype):
        return ctype
    if ctype.startswith("FELO"):
        return "VOPT-F2W"
    kind = header.number("VELREF")
    if ctype.startswith("VELO") and kind:
        return "VRAD" if kind > _VELREF_RADIO else "VOPT"
    return ctype[:4]

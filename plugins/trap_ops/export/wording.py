"""Numbers, positions, times and reasons as people read them. Plain text, nothing is escaped."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime

from trap_ops.records.sky import FitKind
from trap_ops.science.coordinates import wrap_ra

NOTHING = "\N{EN DASH}"
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
# Smaller ones do not fit a double, and stand in the tables as 0.
_SMALLEST = 1e-300

FIT_KINDS = {
    int(FitKind.FORWARD): "forward",
    int(FitKind.BACKWARD): "backward",
    int(FitKind.MONITOR): "monitored",
}
# The short words of table forcedfit: science/forced_fits, images/fits, science/sky_history. Other
# reasons why a file cannot be used speak for themselves.
NOT_MEASURED = {
    "outside_image": "the position is outside the image",
    "edge": "too close to the edge of the image, or beyond the radius that is used",
    "masked": "pixels without data at the position",
    "no such file": "the file has gone; the next run tries again",
    "unreadable file": "the file cannot be read; the next run tries again",
    "file changed": "the file has changed since it was registered; the next run tries again",
    "expired": "not asked for any more: not seen in too many images",
    "founded_this_step": "the source was first seen in this very time step",
}
_STOKES = {1: "I", 2: "Q", 3: "U", 4: "V"}


def superscript(exponent: int) -> str:
    """Return an exponent as it stands after a 10."""
    return str(exponent).translate(_SUPERSCRIPTS)


def scientific(value: float, digits: int = 2) -> str:
    """Return a number as a mantissa and a power of ten, e.g. 1.2 times 10 to the -7."""
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{mantissa}\N{MULTIPLICATION SIGN}10{superscript(int(exponent))}"


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with so many significant digits; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if value == 0.0:
        return "0"
    if not 1e-3 <= abs(value) < 1e5:
        return scientific(value, digits).replace("-", "\N{MINUS SIGN}", 1)
    # The exponent after rounding: 9.996 has one digit more than 9.99.
    exponent = int(f"{value:.{digits - 1}e}".split("e")[1])
    text = f"{value:.{max(digits - 1 - exponent, 0)}f}"
    return text.replace("-", "\N{MINUS SIGN}")


def probability(value: float | None) -> str:
    """Return a chance or an expected number."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if value < _SMALLEST:
        return f"< {scientific(_SMALLEST, 1)}"
    return scientific(value) if value < 1e-3 else f"{value:.2g}"


def count_kind(number: int, kind: str) -> str:
    """So many candidates of a kind; an adjective has no plural."""
    return f"{number} {kind}" if kind in {"fading", "vanished"} else count(number, kind)


def flux_unit(fluxes_jy: Iterable[float]) -> tuple[str, float]:
    """Return the unit that suits some fluxes, and how many of it are 1 Jy."""
    largest = max((abs(flux) for flux in fluxes_jy if math.isfinite(flux)), default=0.0)
    return ("Jy", 1.0) if largest >= 1.0 else ("mJy", 1e3)


def with_error(value: float, error: float) -> str:
    """Return a measurement and its error, both to the error's second digit."""
    if not (math.isfinite(error) and error > 0.0):
        return number(value)
    places = min(max(1 - math.floor(math.log10(error)), 0), 9)
    # Adding zero takes the sign from what is rounded to minus zero.
    rounded = round(value, places) + 0.0
    return f"{rounded:.{places}f} ± {error:.{places}f}".replace("-", "\N{MINUS SIGN}")


def sexagesimal(ra_deg: float, dec_deg: float) -> tuple[str, str]:
    """Return a position in hours and degrees, rounded to 0.01 s and 0.1 arcsec."""
    # In whole last digits, so that 59.999 s becomes the next minute and 24 h is 0 h.
    hundredths = round(float(wrap_ra(ra_deg)) / 15.0 * 360_000.0) % 8_640_000
    minutes, hundredths = divmod(hundredths, 6000)
    tenths = round(abs(dec_deg) * 36_000.0)
    arcmin, tenths = divmod(tenths, 600)
    sign = "\N{MINUS SIGN}" if dec_deg < 0.0 else "+"
    return (
        f"{minutes // 60:02d}:{minutes % 60:02d}:{hundredths / 100:05.2f}",
        f"{sign}{arcmin // 60:02d}:{arcmin % 60:02d}:{tenths / 10:04.1f}",
    )


def utc(time: datetime | None) -> str:
    """Return a time as ``2026-01-01 12:00:00``, with milliseconds only where it has any."""
    if time is None:
        return NOTHING
    return time.isoformat(" ", "milliseconds").removesuffix(".000")


def duration(seconds: float | None) -> str:
    """Return a time span in the units that people count it in."""
    if seconds is None:
        return NOTHING
    if seconds < 60.0:
        return f"{seconds:.2f} s" if seconds < 10.0 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def frequency(hertz: float) -> str:
    """Return a frequency with its unit."""
    for factor, unit in ((1e9, "GHz"), (1e6, "MHz"), (1e3, "kHz")):
        if abs(hertz) >= factor:
            return f"{hertz / factor:.6g} {unit}"
    return f"{hertz:.6g} Hz"


def stokes(code: int) -> str:
    """Return the name of a Stokes parameter."""
    return f"Stokes {_STOKES.get(code, code)}"


def count(how_many: int, what: str, plural: str = "") -> str:
    """Return a number and its noun: ``1 image``, ``2 images``."""
    return f"{how_many} {what if how_many == 1 else plural or what + 's'}"

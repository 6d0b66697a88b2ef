"""Positions on the sphere: wrapping, unit vectors, separations. All angles in degrees."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from trap_ops.errors import ConfigError
from trap_ops.records.arrays import FloatArray
from trap_ops.records.runs import MonitorPosition


def wrap_ra(ra_deg: npt.ArrayLike) -> FloatArray:
    """Right ascensions in [0, 360).

    A value a hair below zero, whose remainder would round to 360, becomes 0. NaN stays NaN.
    """
    wrapped = np.mod(np.asarray(ra_deg, dtype=np.float64), 360.0)
    return np.where(wrapped >= 360.0, 0.0, wrapped)


def ra_difference(first_deg: npt.ArrayLike, second_deg: npt.ArrayLike) -> FloatArray:
    """``first - second`` in (-180, 180], the short way round. Shapes broadcast; NaN stays NaN."""
    difference = np.asarray(first_deg, dtype=np.float64) - np.asarray(second_deg, dtype=np.float64)
    # Only differences beyond half a turn are moved, so that small ones keep every bit.
    wrapped = np.where(
        np.abs(difference) > 180.0,
        difference - 360.0 * np.round(difference / 360.0),
        difference,
    )
    return np.where(wrapped == -180.0, 180.0, wrapped)


def unit_vectors(ra_deg: npt.ArrayLike, dec_deg: npt.ArrayLike) -> FloatArray:
    """Cartesian unit vectors, shape (..., 3): x towards RA 0, z towards the north pole."""
    ra = np.radians(np.asarray(ra_deg, dtype=np.float64))
    dec = np.radians(np.asarray(dec_deg, dtype=np.float64))
    cos_dec = np.cos(dec)
    return np.stack([cos_dec * np.cos(ra), cos_dec * np.sin(ra), np.sin(dec)], axis=-1)


def separation(
    ra1_deg: npt.ArrayLike,
    dec1_deg: npt.ArrayLike,
    ra2_deg: npt.ArrayLike,
    dec2_deg: npt.ArrayLike,
) -> FloatArray:
    """Angle between two directions in degrees, from the chord, so exact for small angles too."""
    return separation_of_vectors(unit_vectors(ra1_deg, dec1_deg), unit_vectors(ra2_deg, dec2_deg))


def separation_of_vectors(first: FloatArray, second: FloatArray) -> FloatArray:
    """Angle in degrees between unit vectors of shape (..., 3)."""
    difference = first - second
    # Component by component: a sum over an axis of three may be grouped differently per shape.
    chord = np.sqrt(difference[..., 0] ** 2 + difference[..., 1] ** 2 + difference[..., 2] ** 2)
    return np.degrees(2.0 * np.arcsin(np.minimum(chord / 2.0, 1.0)))


def ra_inflation(angle_deg: npt.ArrayLike, dec_deg: npt.ArrayLike) -> FloatArray:
    """Half width in right ascension of a circle on the sky (function ``alpha`` of SCIENCE.md 2.3).

    180 where the circle reaches within 0.1 deg of a pole.
    """
    angle, dec = np.broadcast_arrays(
        np.asarray(angle_deg, dtype=np.float64), np.asarray(dec_deg, dtype=np.float64)
    )
    theta, delta = np.radians(angle), np.radians(dec)
    product = np.cos(delta - theta) * np.cos(delta + theta)
    with np.errstate(divide="ignore"):
        half = np.degrees(np.abs(np.arctan(np.sin(theta) / np.sqrt(np.abs(product)))))
    return np.where(np.abs(dec) + angle > 89.9, 180.0, half)


def parse_position(text: str) -> MonitorPosition:
    """Read a position as people write it: ``RA Dec [name]``.

    Parameters
    ----------
    text : str
        Both in decimal degrees, or right ascension in hours and declination in degrees, each with
        colons (``08:13:36 -20:06:00``). A comma may stand between them.

    Raises
    ------
    ConfigError
        If it cannot be read.
    """
    # A comma in the name is part of it.
    words = re.match(r"\s*([^\s,]+)[\s,]+([^\s,]+)(?:\s*,\s*|\s+|$)(.*)", text, re.DOTALL)
    ra_word, dec_word, name = words.groups() if words else ("", "", "")
    try:
        ra, dec = _angle(ra_word, hours=":" in ra_word), _angle(dec_word, hours=False)
    except ValueError as error:
        msg = (
            f"position {text!r} cannot be read: write right ascension, declination and, "
            "if you like, a name, e.g. '123.4 -20.1 my source' or '08:13:36 -20:06:00'"
        )
        raise ConfigError(msg, text=text) from error
    return MonitorPosition(ra, dec, name.strip())


def _angle(word: str, *, hours: bool) -> float:
    """Degrees of a number or of sexagesimal digits; a minus sign counts for all of them."""
    parts = [float(part) for part in word.lstrip("+-").split(":")]
    if len(parts) > 3 or any(part < 0 for part in parts) or any(p >= 60 for p in parts[1:]):
        raise ValueError(word)
    value = sum(part / 60.0**place for place, part in enumerate(parts)) * (15.0 if hours else 1.0)
    return -value if word.startswith("-") else value


def sexagesimal_name(ra_deg: float, dec_deg: float) -> str:
    """IAU-style name of a position, e.g. ``J123456.7-012345``: truncated, as the IAU asks."""
    # A hair below 24 h may be lifted to 24 h, which is 0 h.
    tenths = int(float(wrap_ra(ra_deg)) / 15.0 * 36000.0 + 1e-6) % 864000
    arcsec = int(abs(dec_deg) * 3600.0 + 1e-6)
    hours, rest = divmod(tenths, 36000)
    minutes, tenths = divmod(rest, 600)
    degrees, rest_arcsec = divmod(arcsec, 3600)
    arcmin, arcsec = divmod(rest_arcsec, 60)
    sign = "-" if dec_deg < 0 else "+"
    return (
        f"J{hours:02d}{minutes:02d}{tenths // 10:02d}.{tenths % 10}"
        f"{sign}{degrees:02d}{arcmin:02d}{arcsec:02d}"
    )

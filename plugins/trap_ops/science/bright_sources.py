"""Distance of pointings from the Sun, the Moon, Jupiter and the brightest radio sources."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from trap_ops.records.arrays import FloatArray
from trap_ops.records.images import ImageRow
from trap_ops.science.coordinates import separation_of_vectors, unit_vectors

# Right ascension and declination in radians, J2000 (SCIENCE.md 3.4).
_FIXED = {
    "CasA": (6.123487680622104, 1.0265153995604648),
    "CygA": (5.233686575770755, 0.7109409582180791),
    "TauA": (1.4596748493730913, 0.38422502335921294),
    "HerA": (4.4119087330382163, 0.087135562905816893),
    "VirA": (3.276086511413598, 0.21626589533567378),
}
_MOVING = ("Sun", "Moon", "Jupiter")
BRIGHT_SOURCES = (*_FIXED, *_MOVING)
# Years for which the theory of the Earth's motion in astropy holds.
_FIRST_YEAR, _LAST_YEAR = 1900, 2100
# TDB runs ahead of UTC by 32 to 70 s since 1960. Half a minute is 0.005 deg of the Moon.
_TDB_MINUS_UTC_S = 64.0


def bright_separations(images: Sequence[ImageRow]) -> dict[str, FloatArray]:
    """Angle between the centre of each image and each bright source at the image's start.

    Parameters
    ----------
    images : sequence of ImageRow

    Returns
    -------
    dict of numpy.ndarray, (n,)
        Degrees, by name. NaN for the Sun, the Moon and Jupiter where the ephemeris does not hold:
        before 1900 and after 2100.

    Notes
    -----
    Directions are those from the centre of the Earth. From its surface the Moon is up to 1 deg
    elsewhere, the others less than 0.01 deg. The time that light takes is left out: it is worth
    less than 0.01 deg. So is aberration, which moves the stars around in the same way.
    """
    centres = unit_vectors(
        [image.centre_ra_deg for image in images], [image.centre_dec_deg for image in images]
    ).reshape(-1, 3)
    found = {
        name: separation_of_vectors(centres, unit_vectors(np.degrees(ra), np.degrees(dec)))
        for name, (ra, dec) in _FIXED.items()
    }
    starts = sorted({image.start for image in images if _holds(image)})
    places = {start: number for number, start in enumerate(starts)}
    rows = [number for number, image in enumerate(images) if image.start in places]
    at = [places[images[number].start] for number in rows]
    days = np.array([start.toordinal() + 1721424.5 for start in starts])
    seconds = [s.hour * 3600 + s.minute * 60 + s.second + s.microsecond / 1e6 for s in starts]
    directions = moving_directions(days, np.array(seconds) / 86400.0) if starts else {}
    for name in _MOVING:
        found[name] = np.full(len(images), np.nan)
        if rows:
            found[name][rows] = separation_of_vectors(centres[rows], directions[name][at])
    return found


def _holds(image: ImageRow) -> bool:
    return _FIRST_YEAR <= image.start.year < _LAST_YEAR


def moving_directions(
    days: FloatArray, fractions: FloatArray, names: Sequence[str] = _MOVING
) -> dict[str, FloatArray]:
    """Directions of Sun, Moon and planets from the centre of the Earth.

    Parameters
    ----------
    days, fractions : numpy.ndarray, (n,)
        Julian dates in UTC, in two parts.
    names : sequence of str
        By default Sun, Moon and Jupiter.

    Returns
    -------
    dict of numpy.ndarray, (n, 3)
        Unit vectors in the axes of ICRS, by name. From the theories in astropy (ERFA: epv00,
        moon98, plan94), which need no file and no network.
    """
    # Slow to import, and only judging needs it.
    from astropy.coordinates import get_body_barycentric  # noqa: PLC0415
    from astropy.time import Time  # noqa: PLC0415
    from astropy.utils import iers  # noqa: PLC0415

    found = {}
    # TDB needs no leap seconds; whatever asks for them all the same finds no way to the network.
    with iers.conf.set_temp("auto_download", False), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seen = Time(days, fractions + _TDB_MINUS_UTC_S / 86400.0, format="jd", scale="tdb")
        earth = _position_au(get_body_barycentric("earth", seen, ephemeris="builtin"))
        for name in names:
            body = get_body_barycentric(name.lower(), seen, ephemeris="builtin")
            there = _position_au(body) - earth
            # Component by component, so that no result depends on the number of rows.
            length = np.sqrt(there[:, 0] ** 2 + there[:, 1] ** 2 + there[:, 2] ** 2)
            found[name] = there / length[:, np.newaxis]
    return found


def _position_au(cartesian: Any) -> FloatArray:  # noqa: ANN401 - astropy has no types
    return np.asarray(cartesian.xyz.to_value("au").T, dtype=np.float64)

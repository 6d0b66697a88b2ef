"""Where the pixels of a made-up image are on the sky, by formulas of its own: no WCS library.

Projections are those of Calabretta & Greisen 2002 (A&A 395, 1077), NCP that of AIPS memo 27. Angles
on the sphere, and frames, are those of :mod:`astropy.coordinates`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import FK5, ICRS, SkyCoord, SkyOffsetFrame
from numpy.typing import NDArray
from scipy.optimize import brentq

FloatArray = NDArray[np.float64]
PIXEL_DEG = 5.0 / 3600.0
# Where positions are stated, from 0: near the corners and inside, never at the reference pixel.
_SAMPLED_PX = np.array([[1.0, 1.0], [30.0, 2.0], [2.5, 21.0], [29.0, 22.0], [11.25, 7.5]])

# Distance from the reference point in the plane as a function of the angle, both in radians.
_ZENITHAL: dict[str, Callable[[FloatArray], FloatArray]] = {
    "SIN": np.sin,
    "TAN": np.tan,
    "ARC": lambda angle: angle,
    "STG": lambda angle: 2.0 * np.tan(angle / 2.0),
    "ZEA": lambda angle: 2.0 * np.sin(angle / 2.0),
}


@dataclass(frozen=True)
class SkyPosition:
    """A place in an image and on the sky: pixels from 0, ICRS degrees."""

    x_px: float
    y_px: float
    ra_deg: float
    dec_deg: float


@dataclass(frozen=True)
class Placing:
    """How an image lies on the sky.

    Attributes
    ----------
    lon_deg, lat_deg : float
        Of the reference point, in ``frame``.
    projection : str
        As in CTYPE.
    frame : astropy.coordinates.BaseCoordinateFrame
    crpix : tuple of float
        Reference pixel, from 1.
    cdelt_deg : tuple of float
        Pixel sizes with sign.
    turn_deg : float
        CROTA2.
    lonpole_deg : float
        Of zenithal projections.
    slant : tuple of float
        PV2_1 and PV2_2 of SIN.
    """

    lon_deg: float = 123.0
    lat_deg: float = 10.0
    projection: str = "SIN"
    # What an equinox of 2000 without more means (FITS standard 4.0, section 8.3).
    frame: Any = field(default_factory=lambda: FK5(equinox="J2000"))
    crpix: tuple[float, float] = (17.0, 13.0)
    cdelt_deg: tuple[float, float] = (-PIXEL_DEG, PIXEL_DEG)
    turn_deg: float = 0.0
    lonpole_deg: float = 180.0
    slant: tuple[float, float] = (0.0, 0.0)

    @property
    def matrix_deg(self) -> FloatArray:
        """Degrees in the plane per pixel, (2, 2); the CD matrix."""
        turn = np.radians(self.turn_deg)
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        return np.asarray(rotation @ np.diag(self.cdelt_deg), dtype=np.float64)

    @property
    def north_deg(self) -> float:
        """Direction of the frame's north at the reference point, from ICRS north through east."""
        if self.frame.name == "icrs":
            return 0.0
        origin = self._origin()
        # A great circle stays one in another frame.
        north = origin.directional_offset_by(0.0 * u.deg, 1.0 * u.deg)
        return float(origin.icrs.position_angle(north.icrs).wrap_at(180 * u.deg).deg)

    def cards(self) -> dict[str, Any]:
        """Keywords of the first two axes, in the plainest form."""
        lon, lat = ("GLON", "GLAT") if self.frame.name == "galactic" else ("RA--", "DEC-")
        return {
            "CTYPE1": f"{lon}-{self.projection}",
            "CTYPE2": f"{lat}-{self.projection}",
            "CRVAL1": self.lon_deg,
            "CRVAL2": self.lat_deg,
            "CRPIX1": self.crpix[0],
            "CRPIX2": self.crpix[1],
            "CDELT1": self.cdelt_deg[0],
            "CDELT2": self.cdelt_deg[1],
            "CUNIT1": "deg",
            "CUNIT2": "deg",
        }

    def positions(self) -> tuple[SkyPosition, ...]:
        """Some places all over the image."""
        origin = self._origin()
        near = self.matrix_deg @ (_SAMPLED_PX + 1.0 - self.crpix).T
        angle, distance = np.arctan2(near[0], near[1]), np.hypot(near[0], near[1])
        sky = origin.directional_offset_by(angle * u.rad, distance * u.deg)
        plane = np.degrees(self._project(origin, sky))
        pixels = np.linalg.solve(self.matrix_deg, plane).T + self.crpix - 1.0
        icrs = sky.transform_to(ICRS())
        return tuple(
            SkyPosition(float(x), float(y), float(ra), float(dec))
            for (x, y), ra, dec in zip(pixels, icrs.ra.deg, icrs.dec.deg, strict=True)
        )

    def _origin(self) -> SkyCoord:
        return SkyCoord(self.lon_deg % 360.0 * u.deg, self.lat_deg * u.deg, frame=self.frame)

    def _project(self, origin: SkyCoord, sky: SkyCoord) -> FloatArray:
        """East and north in the plane of projection, radians, (2, n)."""
        if self.projection in _ZENITHAL:
            return self._project_zenithal(origin, sky)
        if self.projection == "NCP":
            delta = (sky.spherical.lon - origin.spherical.lon).rad
            lat, lat_0 = sky.spherical.lat.rad, origin.spherical.lat.rad
            north = (np.cos(lat_0) - np.cos(lat) * np.cos(delta)) / np.sin(lat_0)
            return np.stack([np.cos(lat) * np.sin(delta), north])
        native = sky.transform_to(SkyOffsetFrame(origin=origin))
        lon, lat = native.lon.wrap_at(180 * u.deg).rad, native.lat.rad
        return np.stack(_ALL_SKY[self.projection](lon, lat))

    def _project_zenithal(self, origin: SkyCoord, sky: SkyCoord) -> FloatArray:
        angle = origin.separation(sky).rad
        distance = _ZENITHAL[self.projection](angle)
        direction = np.radians(self.lonpole_deg) - origin.position_angle(sky).rad
        plane = distance * np.stack([np.sin(direction), -np.cos(direction)])
        return np.asarray(plane + np.outer(self.slant, 1.0 - np.cos(angle)), dtype=np.float64)


def _aitoff(lon: FloatArray, lat: FloatArray) -> tuple[FloatArray, FloatArray]:
    gamma = np.sqrt(2.0 / (1.0 + np.cos(lat) * np.cos(lon / 2.0)))
    return 2.0 * gamma * np.cos(lat) * np.sin(lon / 2.0), gamma * np.sin(lat)


def _mollweide(lon: FloatArray, lat: FloatArray) -> tuple[FloatArray, FloatArray]:
    half_pi = np.pi / 2.0
    auxiliary = np.array(
        [
            brentq(
                lambda a, wanted=one: 2.0 * a + np.sin(2.0 * a) - np.pi * np.sin(wanted),
                -half_pi,
                half_pi,
                xtol=1e-15,
            )
            for one in lat
        ]
    )
    root = np.sqrt(2.0)
    return 2.0 * root / np.pi * lon * np.cos(auxiliary), root * np.sin(auxiliary)


# Functions of longitude and latitude about the reference point, all in radians. HPX within the
# equatorial belt.
_ALL_SKY: dict[str, Callable[[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]] = {
    "CAR": lambda lon, lat: (lon, lat),
    "CEA": lambda lon, lat: (lon, np.sin(lat)),
    "SFL": lambda lon, lat: (lon * np.cos(lat), lat),
    "MER": lambda lon, lat: (lon, np.log(np.tan(np.pi / 4.0 + lat / 2.0))),
    "AIT": _aitoff,
    "MOL": _mollweide,
    "HPX": lambda lon, lat: (lon, 3.0 * np.pi / 8.0 * np.sin(lat)),
}

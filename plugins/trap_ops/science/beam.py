"""The restoring beam as a Gaussian in pixels.

A Gaussian is carried as its covariance matrix over (x, y) pixel offsets: then rotation, non-square
pixels and convolution are all plain matrix algebra. x is FITS axis 1, y is FITS axis 2.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trap_ops.records.arrays import FloatArray, IntArray

FWHM_PER_SIGMA = 2.0 * math.sqrt(2.0 * math.log(2.0))


@dataclass(frozen=True)
class PixelEllipse:
    """A Gaussian ellipse on the pixel grid.

    Attributes
    ----------
    fwhm_major_px, fwhm_minor_px : float
        Full widths at half maximum.
    theta_deg : float
        Angle of the major axis from the +y axis towards -x, in [0, 180).
    """

    fwhm_major_px: float
    fwhm_minor_px: float
    theta_deg: float


def beam_covariance(
    bmaj_deg: float, bmin_deg: float, bpa_deg: float, pixel_matrix_deg: npt.ArrayLike
) -> FloatArray:
    """Covariance of the beam over pixel offsets (x, y).

    Parameters
    ----------
    bmaj_deg, bmin_deg : float
        Full widths at half maximum, degrees on the sky.
    bpa_deg : float
        Position angle of the major axis, from north through east.
    pixel_matrix_deg : array_like, (2, 2)
        Degrees (east, north) per pixel (x, y): the CD matrix, or PC times CDELT.

    Returns
    -------
    numpy.ndarray, (2, 2)
        Pixels squared, of the Gaussian's sigma, not of its full width.

    Notes
    -----
    The beam is taken constant in the (l, m) plane, so the matrix at the reference point applies to
    the whole image, as for every interferometer image in SIN projection.
    """
    angle = math.radians(bpa_deg)
    major = np.array([math.sin(angle), math.cos(angle)])
    minor = np.array([math.cos(angle), -math.sin(angle)])
    sky = (bmaj_deg / FWHM_PER_SIGMA) ** 2 * np.outer(major, major) + (
        bmin_deg / FWHM_PER_SIGMA
    ) ** 2 * np.outer(minor, minor)
    to_pixels = np.linalg.inv(np.asarray(pixel_matrix_deg, dtype=np.float64))
    return np.asarray(to_pixels @ sky @ to_pixels.T)


def ellipse_of_covariance(covariance: npt.ArrayLike) -> PixelEllipse:
    """Axes and angle of a (2, 2) covariance over (x, y) pixel offsets."""
    values, vectors = np.linalg.eigh(np.asarray(covariance, dtype=np.float64))
    x, y = vectors[:, 1]
    return PixelEllipse(
        fwhm_major_px=FWHM_PER_SIGMA * math.sqrt(max(float(values[1]), 0.0)),
        fwhm_minor_px=FWHM_PER_SIGMA * math.sqrt(max(float(values[0]), 0.0)),
        # Twice: the remainder of a hair below zero is 180 itself.
        theta_deg=math.degrees(math.atan2(-x, y)) % 180.0 % 180.0,
    )


def area_of_covariance(covariance: npt.ArrayLike) -> float:
    """Solid angle of a unit-peak Gaussian in pixels: 2 pi sqrt(det)."""
    return 2.0 * math.pi * math.sqrt(float(np.linalg.det(np.asarray(covariance))))


def fwhm_of_covariance(covariance: npt.ArrayLike) -> float:
    """Geometric mean of the full widths at half maximum of a Gaussian, pixels."""
    return FWHM_PER_SIGMA * math.sqrt(math.sqrt(float(np.linalg.det(np.asarray(covariance)))))


def axis_ends(x: FloatArray, y: FloatArray, covariance_px: FloatArray) -> tuple[IntArray, IntArray]:
    """Columns and rows of the pixels around the four ends of Gaussians' axes (HWHM), (n, 16) each.

    Four pixels an end, one end after another.

    Parameters
    ----------
    x, y : numpy.ndarray, (n,)
    covariance_px : numpy.ndarray, (n, 2, 2)
    """
    values, vectors = np.linalg.eigh(covariance_px)
    half = np.sqrt(values) * (FWHM_PER_SIGMA / 2.0)
    columns, rows = [], []
    for axis in (0, 1):
        for sign in (-1.0, 1.0):
            end_x = x + sign * half[:, axis] * vectors[:, 0, axis]
            end_y = y + sign * half[:, axis] * vectors[:, 1, axis]
            for round_x, round_y in itertools.product((np.floor, np.ceil), repeat=2):
                columns.append(round_x(end_x).astype(np.intp))
                rows.append(round_y(end_y).astype(np.intp))
    return np.stack(columns, axis=1), np.stack(rows, axis=1)

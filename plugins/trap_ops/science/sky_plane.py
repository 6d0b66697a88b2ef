"""From pixels to the sky: positions, errors and axes, through the image's WCS."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from astropy.wcs import WCS

from trap_ops.records.arrays import FloatArray, Mask
from trap_ops.science.beam import FWHM_PER_SIGMA
from trap_ops.science.coordinates import unit_vectors, wrap_ra

# Half the step of the numerical derivatives of a projection, pixels.
_STEP_PX = 0.5
# Pixels are placed on the sky in pieces, which bounds memory.
_CHUNK_PIXELS = 1 << 18


@dataclass(frozen=True)
class SkyMeasurements:
    """Positions and axes on the sky; all arrays have shape (n,), NaN off the sky.

    Attributes
    ----------
    ra_deg, dec_deg : numpy.ndarray
    ra_fit_err_deg : numpy.ndarray
        Difference of the coordinate right ascension, not of the angle on the sky; at most 180.
    dec_fit_err_deg : numpy.ndarray
    error_radius_arcsec : numpy.ndarray
        Largest distance to the corners of the box of one sigma in x and y; infinite off the sky.
    semimajor_arcsec, semiminor_arcsec : numpy.ndarray
        Half widths at half maximum.
    pa_deg : numpy.ndarray
        Position angle of the major axis, north through east, [0, 180).
    semimajor_err_arcsec, semiminor_err_arcsec, pa_err_deg : numpy.ndarray
        Errors of these; of the angle at most 90. NaN for axes of no length, or without errors.
    """

    ra_deg: FloatArray
    dec_deg: FloatArray
    ra_fit_err_deg: FloatArray
    dec_fit_err_deg: FloatArray
    error_radius_arcsec: FloatArray
    semimajor_arcsec: FloatArray
    semiminor_arcsec: FloatArray
    pa_deg: FloatArray
    semimajor_err_arcsec: FloatArray
    semiminor_err_arcsec: FloatArray
    pa_err_deg: FloatArray


def to_sky(
    wcs: WCS,
    x: FloatArray,
    y: FloatArray,
    position_covariance: FloatArray,
    shape_covariance: FloatArray,
    shape_error: FloatArray | None = None,
) -> SkyMeasurements:
    """Positions, position errors and axes of sources on the sky.

    Parameters
    ----------
    wcs : astropy.wcs.WCS
        Two celestial axes, degrees.
    x, y : numpy.ndarray, (n,)
        0-based pixels.
    position_covariance, shape_covariance : numpy.ndarray, (n, 2, 2)
        Of (x, y), pixels squared; the second one of the source's Gaussian.
    shape_error : numpy.ndarray, (n, 3, 3), optional
        Covariance of the elements xx, xy, yy of the latter.

    Notes
    -----
    The projection is linearised at every source, in its own tangent plane (east, north), so that
    rotation, non-square pixels, RA 0 and the poles need no special care (SCIENCE, 4.9).
    """
    ra, dec, jacobian = linearise(wcs, x, y)
    transposed = jacobian.swapaxes(1, 2)
    position = jacobian @ position_covariance @ transposed
    shape = jacobian @ shape_covariance @ transposed
    sigma = np.sqrt(np.einsum("nii->ni", position_covariance))
    corners = np.stack([sigma * [1.0, 1.0], sigma * [1.0, -1.0]], axis=1)
    arms = (jacobian[:, None] @ corners[:, :, :, None])[:, :, :, 0]
    radius = np.sqrt((arms**2).sum(axis=2)).max(axis=1) * 3600.0
    on_sky = np.isfinite(jacobian).all(axis=(1, 2)) & np.isfinite(ra + dec)
    shape = np.where(on_sky[:, None, None], shape, np.eye(2))
    values, vectors = np.linalg.eigh(shape)
    # What rounding leaves of an axis without length.
    values = np.where(values > 1e-12 * values[:, 1:], values, 0.0)
    half = np.sqrt(np.maximum(values, 0.0)) * (FWHM_PER_SIGMA / 2.0 * 3600.0)
    # Twice: the remainder of a hair below zero is 180 itself.
    angle = np.degrees(np.arctan2(vectors[:, 0, 1], vectors[:, 1, 1])) % 180.0 % 180.0
    nan = np.where(on_sky, 0.0, np.nan)
    errors = _axis_errors(values, transposed @ vectors, shape_error)
    with np.errstate(invalid="ignore", divide="ignore"):
        ra_error = np.minimum(np.sqrt(position[:, 0, 0]) / np.cos(np.radians(dec)), 180.0)
    return SkyMeasurements(
        ra_deg=ra,
        dec_deg=dec,
        ra_fit_err_deg=ra_error,
        dec_fit_err_deg=np.sqrt(position[:, 1, 1]),
        error_radius_arcsec=np.where(on_sky, radius, np.inf),
        semimajor_arcsec=half[:, 1] + nan,
        semiminor_arcsec=half[:, 0] + nan,
        pa_deg=angle + nan,
        semimajor_err_arcsec=errors[0] + nan,
        semiminor_err_arcsec=errors[1] + nan,
        pa_err_deg=errors[2] + nan,
    )


def _axis_errors(
    values: FloatArray, back: FloatArray, shape_error: FloatArray | None
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Errors of half widths (arcsec) and angle (deg) to first order.

    ``dv_i = v_i^T dM v_i`` for eigenvalues and ``v_1^T dM v_2 / (v_1 - v_2)`` for the angle; M is
    linear in the elements on the pixel plane, to which ``back`` (n, 2, 2) takes the eigenvectors.
    """
    if shape_error is None:
        none = np.full(len(values), np.nan)
        return none, none, none
    minor, major = back[:, :, 0], back[:, :, 1]

    def spread(one: FloatArray, other: FloatArray) -> FloatArray:
        mixed = one[:, 0] * other[:, 1] + one[:, 1] * other[:, 0]
        gradient = np.stack([one[:, 0] * other[:, 0], mixed, one[:, 1] * other[:, 1]], axis=1)
        variance = (gradient[:, None, :] @ shape_error @ gradient[:, :, None])[:, 0, 0]
        return np.asarray(np.sqrt(variance))

    half = FWHM_PER_SIGMA / 2.0 * 3600.0
    with np.errstate(invalid="ignore", divide="ignore"):
        length = np.where(values > 0.0, 2.0 * np.sqrt(values), np.nan)
        turn = np.degrees(spread(major, minor) / (values[:, 1] - values[:, 0]))
    turn = np.where(np.isnan(length[:, 1]), np.nan, np.minimum(turn, 90.0))
    return (
        half * spread(major, major) / length[:, 1],
        half * spread(minor, minor) / length[:, 0],
        turn,
    )


def to_pixels(
    wcs: WCS, ra_deg: npt.ArrayLike, dec_deg: npt.ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """0-based pixel positions of directions, (n,) each; NaN where the projection has none.

    A direction on the far side of the sky has none: wcslib checks the bounds of each projection.
    """
    ra, dec = np.asarray(ra_deg, dtype=np.float64), np.asarray(dec_deg, dtype=np.float64)
    if len(ra) == 0:
        return np.empty(0), np.empty(0)
    x, y = wcs.wcs_world2pix(ra, dec, 0)
    return np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)


def linearise(wcs: WCS, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Position, and derivatives (east, north) by (x, y) in degrees per pixel, (n, 2, 2)."""
    n = len(x)
    if n == 0:
        return np.empty(0), np.empty(0), np.empty((0, 2, 2))
    all_x = np.concatenate([x, x + _STEP_PX, x - _STEP_PX, x, x])
    all_y = np.concatenate([y, y, y, y + _STEP_PX, y - _STEP_PX])
    world_ra, world_dec = wcs.wcs_pix2world(all_x, all_y, 0)
    ra, dec = wrap_ra(world_ra[:n]), np.asarray(world_dec[:n], dtype=np.float64)
    vectors = unit_vectors(world_ra, world_dec).reshape(5, n, 3)
    ra_rad, dec_rad = np.radians(ra), np.radians(dec)
    zero = np.zeros(n)
    east = np.stack([-np.sin(ra_rad), np.cos(ra_rad), zero], axis=1)
    north = np.stack(
        [
            -np.sin(dec_rad) * np.cos(ra_rad),
            -np.sin(dec_rad) * np.sin(ra_rad),
            np.cos(dec_rad),
        ],
        axis=1,
    )
    step = np.stack([vectors[1] - vectors[2], vectors[3] - vectors[4]], axis=2)
    jacobian = np.stack(
        [(east[:, :, None] * step).sum(axis=1), (north[:, :, None] * step).sum(axis=1)],
        axis=1,
    )
    return ra, dec, np.degrees(jacobian / (2.0 * _STEP_PX))


def circles_mask(
    wcs: WCS, shape: tuple[int, int], circles: Sequence[tuple[float, float, float]]
) -> Mask:
    """Pixels whose centres are in circles on the sky.

    Parameters
    ----------
    wcs : astropy.wcs.WCS
        The celestial axes.
    shape : (int, int)
        Of the image, (ny, nx).
    circles : sequence of (float, float, float)
        Right ascension and declination of the centre, and radius, degrees.

    Returns
    -------
    numpy.ndarray of bool, (ny, nx)
        False off the sky.
    """
    ny, nx = shape
    mask = np.zeros(shape, dtype=bool)
    centres = [
        (unit_vectors(np.array([ra]), np.array([dec]))[0], math.cos(math.radians(radius)))
        for ra, dec, radius in circles
    ]
    if not centres:
        return mask
    columns = np.arange(nx, dtype=np.float64)
    step = max(1, _CHUNK_PIXELS // nx)
    for first in range(0, ny, step):
        rows = np.arange(first, min(first + step, ny), dtype=np.float64)
        x, y = (axis.ravel() for axis in np.meshgrid(columns, rows))
        vectors = unit_vectors(*wcs.wcs_pix2world(x, y, 0))
        for centre, cosine in centres:
            inside = (vectors * centre).sum(axis=1) >= cosine
            mask[first : first + len(rows)] |= inside.reshape(len(rows), nx)
    return mask

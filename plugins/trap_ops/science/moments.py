"""Sources from the moments of their pixels: what there is where no fit converges."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trap_ops.records.arrays import FloatArray, Mask

# Points of the quadrature over a pixel, along each side.
_POINTS = 8
# Shapes thinner than this fraction of the beam's area are a row of pixels: the beam's serves.
_LEAST_AREA = 1e-3


@dataclass(frozen=True)
class Moments:
    """Sources from their moments; all arrays (b,) unless said.

    Attributes
    ----------
    x, y : numpy.ndarray
        Centre of brightness, pixels.
    position_covariance, shape_covariance : numpy.ndarray, (b, 2, 2)
        Of the position; of the Gaussian with these moments, pixels squared.
    peak, peak_err, flux, flux_err : numpy.ndarray
        Units of the image; the flux times beams.
    """

    x: FloatArray
    y: FloatArray
    position_covariance: FloatArray
    shape_covariance: FloatArray
    peak: FloatArray
    peak_err: FloatArray
    flux: FloatArray
    flux_err: FloatArray


def measure_moments(
    value: FloatArray,
    x: FloatArray,
    y: FloatArray,
    used: Mask,
    threshold: FloatArray,
    rms: FloatArray,
    beam_covariance_px: npt.ArrayLike,
    *,
    force_beam: bool,
) -> Moments:
    """Measure sources by the sums over their pixels.

    Parameters
    ----------
    value : numpy.ndarray, (b, p)
        Pixel minus background, units of the image; any number where it is not used.
    x, y : numpy.ndarray, (b, p)
        Pixels.
    used : numpy.ndarray of bool, (b, p)
        Pixels of the source, above the threshold. At least one in each row.
    threshold : numpy.ndarray, (b,)
        Above which the pixels are, units of the image, above zero.
    rms : numpy.ndarray, (b,)
    beam_covariance_px : array_like, (2, 2)
    force_beam : bool
        Take the beam's shape; then the integrated flux is the peak.

    Notes
    -----
    The brightest pixel is raised by what a beam loses by sampling, on average; the widths by what
    the threshold t cuts off: ``1 + q ln q / (1 - q)`` of the variance is left, ``q = t / P``.
    Errors are those of radio-pyse and TraP: with the shape's area a, the beam's area B, both as
    products of the axes' half widths, ``rho^2 = 4 a / (B ln 2) ((P - t) / (rms ln(P / t)))^2``
    (SCIENCE, 4.4 and 4.6). Shapes of a single row of pixels are the beam's.
    """
    beam = np.asarray(beam_covariance_px, dtype=np.float64)
    light = np.where(used, value, 0.0)
    total = light.sum(axis=1)
    mean_x, mean_y = (light * x).sum(axis=1) / total, (light * y).sum(axis=1) / total
    u, v = x - mean_x[:, None], y - mean_y[:, None]
    shape = np.empty((len(value), 2, 2))
    shape[:, 0, 0] = (light * u * u).sum(axis=1) / total
    shape[:, 1, 1] = (light * v * v).sum(axis=1) / total
    shape[:, 0, 1] = shape[:, 1, 0] = (light * u * v).sum(axis=1) / total
    gain, gain_variance = sampling_gain(beam)
    peak = gain * light.max(axis=1)
    q = threshold / peak
    shape /= (1.0 + q * np.log(q) / (1.0 - q))[:, None, None]
    thin = np.linalg.det(shape) < _LEAST_AREA**2 * np.linalg.det(beam)
    shape[thin | force_beam] = beam
    ratio = np.sqrt(np.linalg.det(shape) / np.linalg.det(beam))
    contrast = (peak - threshold) / (rms * np.log(peak / threshold))
    rho2 = 4.0 * ratio / math.log(2.0) * contrast**2
    relative2 = (rms**2 + gain_variance * peak**2) / peak**2
    shape_relative2 = np.where(force_beam, 0.0, 4.0 / (ratio * rho2))
    return Moments(
        x=mean_x,
        y=mean_y,
        position_covariance=4.0 * shape / rho2[:, None, None],
        shape_covariance=shape,
        peak=peak,
        peak_err=peak * np.sqrt(relative2),
        flux=peak * ratio,
        flux_err=peak * ratio * np.sqrt(relative2 + shape_relative2),
    )


def sampling_gain(beam_covariance_px: npt.ArrayLike) -> tuple[float, float]:
    """Peak of a beam over its brightest pixel, mean and variance over positions in the pixel."""
    points, weights = np.polynomial.legendre.leggauss(_POINTS)
    weight = weights[:, None] * weights / 4.0
    offset = np.stack(np.broadcast_arrays(points[:, None] / 2.0, points / 2.0), axis=-1)
    inverse = np.linalg.inv(np.asarray(beam_covariance_px, dtype=np.float64))
    gain = np.exp(0.5 * ((offset @ inverse) * offset).sum(axis=-1))
    mean = float((weight * gain).sum())
    return mean, float((weight * gain**2).sum()) - mean**2

"""Autocorrelation of the noise: measurement errors depend on it, and images differ.

White noise smoothed with the beam has an autocorrelation sqrt(2) wider than the beam; natural
weighting gives the beam itself, with negative sidelobes in real images. Errors of integrated fluxes
differ by 1.3 times between the two, so it is measured in every image.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import fft

from trap_ops.records.arrays import FloatArray, Image, Mask
from trap_ops.records.images import Autocorrelation
from trap_ops.science.beam import FWHM_PER_SIGMA, area_of_covariance

# Lags up to so many beams are measured: the longest within a footprint of an unresolved source.
_MAX_LAG_BEAMS = 2.0
# With fewer beams than this the measurement is noisier than the guess that replaces it.
_MIN_BEAMS = 400


def correlation_at(
    correlation: Autocorrelation, dx: npt.NDArray[np.integer], dy: npt.NDArray[np.integer]
) -> FloatArray:
    """Correlation at integer pixel offsets of any shape; 0 beyond the measured lags."""
    side = correlation.values.shape[0]
    reach = side // 2
    place = (dy + reach) * side + (dx + reach)
    values = correlation.values.ravel().take(place, mode="clip")
    inside = (np.abs(dx) <= reach) & (np.abs(dy) <= reach)
    return values if inside.all() else np.where(inside, values, 0.0)


def gaussian_autocorrelation(
    beam_covariance_px: npt.ArrayLike, scale: float, *, measured: bool = False
) -> Autocorrelation:
    """Autocorrelation ``exp(-d^T A^-1 d / 2)`` with ``A = scale * beam covariance``.

    ``scale`` 1 is natural weighting, 2 is white noise smoothed with the beam (FINDERS, section 6).
    """
    covariance = np.asarray(beam_covariance_px, dtype=np.float64)
    reach = max_lag(covariance)
    inverse = np.linalg.inv(covariance * scale)
    lag = np.arange(-reach, reach + 1, dtype=np.float64)
    dx, dy = lag[None, :], lag[:, None]
    exponent = inverse[0, 0] * dx**2 + 2 * inverse[0, 1] * dx * dy + inverse[1, 1] * dy**2
    return Autocorrelation(np.exp(-exponent / 2.0), measured)


def measure_autocorrelation(
    residual: Image, valid: Mask, beam_covariance_px: npt.ArrayLike
) -> Autocorrelation:
    """Autocorrelation of an image's noise from one Fourier transform.

    Parameters
    ----------
    residual : numpy.ndarray of float32, (ny, nx)
        Pixels minus background, divided by the local rms. Values outside ``valid`` are ignored.
    valid : numpy.ndarray of bool, (ny, nx)
        True where there is noise only: no source, no mask.
    beam_covariance_px : array_like, (2, 2)
        Sets the largest lag, and stands in where fewer than 400 beams are valid.
    """
    covariance = np.asarray(beam_covariance_px, dtype=np.float64)
    n_valid = np.count_nonzero(valid)
    if n_valid < _MIN_BEAMS * area_of_covariance(covariance):
        return gaussian_autocorrelation(covariance, 1.0)
    noise = np.where(valid, residual, np.float32(0.0))
    noise -= valid * np.float32(noise.sum(dtype=np.float64) / n_valid)
    reach = max_lag(covariance)
    shape = tuple(fft.next_fast_len(n + reach, real=True) for n in noise.shape)
    correlation = _correlation(noise, shape, reach)
    overlap = _correlation(valid.astype(np.float32), shape, reach)
    ratio = correlation / np.maximum(overlap, 1.0)
    ratio /= ratio[reach, reach]
    # Exactly symmetric under d -> -d, which the transform gives only to rounding.
    return Autocorrelation((ratio + ratio[::-1, ::-1]) / 2.0, measured=True)


def max_lag(beam_covariance_px: npt.ArrayLike) -> int:
    """Largest lag in pixels, along either axis, of a measured autocorrelation."""
    widest = math.sqrt(float(np.diag(np.asarray(beam_covariance_px)).max()))
    return math.ceil(_MAX_LAG_BEAMS * FWHM_PER_SIGMA * widest)


def _correlation(values: Image, shape: tuple[int, ...], reach: int) -> FloatArray:
    spectrum = fft.rfft2(values, s=shape)
    power = spectrum.real**2 + spectrum.imag**2
    # Back to lags along y first: only a few of these rows are wanted, and power is real, so that
    # those of lags below zero follow from the others.
    rows = fft.ihfft(power, axis=0)[: reach + 1]
    rows = np.concatenate([rows[:0:-1].conj(), rows])
    lags = np.arange(-reach, reach + 1)
    return np.asarray(fft.irfft(rows, n=shape[1], axis=1)[:, lags], dtype=np.float64)

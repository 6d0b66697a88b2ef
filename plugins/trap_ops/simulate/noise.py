"""Noise as interferometer images have it: correlated on the scale of the beam."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

NoiseKind = Literal["beam-smoothed", "natural"]


def correlated_noise(
    shape: tuple[int, int],
    beam_covariance_px: npt.ArrayLike,
    kind: NoiseKind,
    rng: np.random.Generator,
) -> npt.NDArray[np.float32]:
    """Gaussian noise of unit variance, mean 0 and a beam-shaped correlation.

    Parameters
    ----------
    shape : (int, int)
        ``(ny, nx)``.
    beam_covariance_px : array_like, (2, 2)
        Covariance of the beam over pixel offsets (x, y).
    kind : {"beam-smoothed", "natural"}
        ``beam-smoothed``: white noise convolved with the beam, whose autocorrelation is sqrt(2)
        wider than the beam. ``natural``: the autocorrelation is the beam itself, as natural
        weighting gives it.
    rng : numpy.random.Generator

    Returns
    -------
    numpy.ndarray of float32, ``shape``
        Periodic at the edges. The variance is one in the mean over realisations; it is not forced
        to one in each.
    """
    ny, nx = shape
    kernel = np.asarray(beam_covariance_px, dtype=np.float64)
    if kind == "natural":
        kernel = kernel / 2.0
    ky = np.fft.fftfreq(ny)[:, None]
    kx = np.fft.rfftfreq(nx)[None, :]
    exponent = kernel[0, 0] * kx**2 + 2.0 * kernel[0, 1] * kx * ky + kernel[1, 1] * ky**2
    transfer = np.exp(-2.0 * np.pi**2 * exponent)
    # Parseval: the variance of the filtered noise is the mean of the squared transfer function.
    # Columns of the half-spectrum stand for two, except the first and an even axis' last.
    weight = np.full(transfer.shape[1], 2.0)
    weight[0] = 1.0
    if nx % 2 == 0:
        weight[-1] = 1.0
    variance = float((transfer**2 * weight).sum()) / (ny * nx)
    white = rng.standard_normal(shape, dtype=np.float32)
    filtered = np.fft.irfft2(np.fft.rfft2(white) * transfer, s=shape)
    return np.asarray(filtered / np.sqrt(variance), dtype=np.float32)

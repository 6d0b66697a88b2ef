"""Gaussians on the pixels of an image."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from trap_ops.records.arrays import FloatArray


def add_gaussians(
    pixels: npt.NDArray[np.float32],
    x: FloatArray,
    y: FloatArray,
    peak: FloatArray,
    covariance: npt.ArrayLike,
) -> None:
    """Add Gaussians to an image in place, each sampled at the pixel centres.

    Parameters
    ----------
    pixels : numpy.ndarray of float32, (ny, nx)
    x, y : numpy.ndarray, (n,)
        Centres in 0-based pixels; those outside the image still shine into it.
    peak : numpy.ndarray, (n,)
    covariance : array_like, (2, 2) or (n, 2, 2)
        Over pixel offsets (x, y).
    """
    ny, nx = pixels.shape
    covariances = np.broadcast_to(np.asarray(covariance, dtype=np.float64), (len(x), 2, 2))
    for px, py, amplitude, matrix in zip(x, y, peak, covariances, strict=True):
        if amplitude == 0.0 or not math.isfinite(px + py):
            continue
        # Out to 6 sigma: what is cut off is below 2e-8 of the peak.
        reach_x, reach_y = (6.0 * np.sqrt(np.diag(matrix))).tolist()
        x0, x1 = max(math.ceil(px - reach_x), 0), min(math.floor(px + reach_x), nx - 1)
        y0, y1 = max(math.ceil(py - reach_y), 0), min(math.floor(py + reach_y), ny - 1)
        if x0 > x1 or y0 > y1:
            continue
        dx = np.arange(x0, x1 + 1)[None, :] - px
        dy = np.arange(y0, y1 + 1)[:, None] - py
        inverse = np.linalg.inv(matrix)
        exponent = inverse[0, 0] * dx**2 + 2 * inverse[0, 1] * dx * dy + inverse[1, 1] * dy**2
        pixels[y0 : y1 + 1, x0 : x1 + 1] += (amplitude * np.exp(-exponent / 2)).astype(np.float32)

"""What the quality checks need of an image's pixels: rms, range, fraction without data."""

from __future__ import annotations

import math

import numpy as np

from trap_ops.records.arrays import Image
from trap_ops.records.images import ImageQuality


def measure(data: Image, clip_sigma: float, fraction: int) -> ImageQuality:
    """Measure an image's quality.

    Parameters
    ----------
    data : numpy.ndarray of float32, (ny, nx)
        NaN and Inf take no part in rms, minimum and maximum.
    clip_sigma, fraction : float, int
        See :func:`central_rms`.
    """
    finite = np.isfinite(data)
    count = int(finite.sum())
    if count == 0:
        return ImageQuality(math.nan, 1.0, math.nan, math.nan)
    valid = data if count == data.size else data[finite]
    return ImageQuality(
        rms_jy=central_rms(data, clip_sigma, fraction),
        nan_fraction=1.0 - count / data.size,
        min_jy=float(valid.min()),
        max_jy=float(valid.max()),
    )


def central_rms(data: Image, clip_sigma: float, fraction: int) -> float:
    """Rms of the central sub-image about its median, after clipping (SCIENCE.md 3.1).

    Parameters
    ----------
    data : numpy.ndarray, (ny, nx)
    clip_sigma : float
        Pixels further than so many standard deviations from the median go, until none does.
    fraction : int
        The sub-image goes from n // 2 - n // fraction to n // 2 + n // fraction (exclusive).

    Returns
    -------
    float
        NaN if there is no finite pixel. Not corrected for the clipping, as in the classic pipeline:
        of Gaussian noise, a clip at 4 sigma takes 0.05% off.

    Notes
    -----
    Equivalent to repeating the clip on the pixels themselves; here it is a window on sorted values,
    with mean and variance of each window by themselves. Differences of running sums would not do:
    next to one wild pixel the others vanish in them.
    """
    ny, nx = data.shape
    part = data[
        ny // 2 - ny // fraction : ny // 2 + ny // fraction,
        nx // 2 - nx // fraction : nx // 2 + nx // fraction,
    ]
    values = np.sort(part[np.isfinite(part)].ravel()).astype(np.float64)
    if len(values) == 0:
        return math.nan
    while True:
        n = len(values)
        median = float(values[(n - 1) // 2] + values[n // 2]) / 2.0
        limit = clip_sigma * float(values.std())
        low = int(np.searchsorted(values, median - limit, side="left"))
        high = int(np.searchsorted(values, median + limit, side="right"))
        if (low, high) == (0, n) or low >= high:
            return float(np.sqrt(((values - median) ** 2).mean()))
        values = values[low:high]

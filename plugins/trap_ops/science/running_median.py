"""Medians of light curves that grow, exactly, from the fluxes about the median alone.

With each new point the median moves by half a rank at most, so a window of fluxes about it serves
for long. Where fluxes go on rising or falling the median leaves the window in the end; then the
whole light curve is needed once.
"""

from __future__ import annotations

import numpy as np

from trap_ops.records.arrays import FloatArray, Ids, IntArray, Mask
from trap_ops.records.light_curves import MedianWindow
from trap_ops.science.variability import rounds

WIDTH = 33


def empty_window(n: int) -> MedianWindow:
    """Return the windows of n light curves without points."""
    return MedianWindow(np.full((n, WIDTH), np.nan), np.zeros(n, dtype=np.int64))


def window_of(curve: IntArray, flux_jy: FloatArray, n: int) -> MedianWindow:
    """Fluxes about the median of n whole light curves; ``curve`` is that of each flux, (m,)."""
    ordered = flux_jy[np.lexsort((flux_jy, curve))]
    count = np.bincount(curve, minlength=n)
    below = np.maximum((count - WIDTH) // 2, 0)
    first = np.cumsum(count) - count + below
    column = np.arange(WIDTH)
    filled = column < np.minimum(count, WIDTH)[:, np.newaxis]
    at = np.where(filled, first[:, np.newaxis] + column, len(ordered))
    return MedianWindow(np.append(ordered, np.nan)[at], below)


def insert(window: MedianWindow, count: Ids, curve: IntArray, flux_jy: FloatArray) -> None:
    """Add fluxes to light curves, in place.

    Parameters
    ----------
    window : MedianWindow
    count : numpy.ndarray of int, (n,)
        Number of fluxes that each curve has before this.
    curve : numpy.ndarray of int, (m,)
        Light curve of each flux.
    flux_jy : numpy.ndarray, (m,)
    """
    count = count.copy()
    for points in rounds(curve):
        curves = curve[points]
        _insert_one(window, count, curves, flux_jy[points])
        count[curves] += 1


def _insert_one(window: MedianWindow, count: Ids, curves: IntArray, flux: FloatArray) -> None:
    """Add one flux to each of some light curves; no curve twice."""
    held, below = window.flux_jy[curves], window.below[curves]
    size = np.isfinite(held).sum(axis=1)
    above = count[curves] - below - size
    last = held[np.arange(len(curves)), np.maximum(size - 1, 0)]
    lower = (below > 0) & (flux < held[:, 0])
    higher = (above > 0) & (flux > last)
    inside = ~lower & ~higher
    window.below[curves] += lower
    wide = np.sort(np.column_stack([held, flux])[inside], axis=1)
    size, below = size[inside] + 1, below[inside]
    # Of a window that is too wide the end farther from the median goes.
    middle = count[curves][inside] / 2.0 - below
    drop_first = (size > WIDTH) & (middle > (size - 1) / 2.0)
    kept = np.where(drop_first[:, np.newaxis], wide[:, 1:], wide[:, :-1])
    window.flux_jy[curves[inside]] = kept
    window.below[curves[inside]] += drop_first


def medians(window: MedianWindow, count: Ids) -> tuple[FloatArray, Mask]:
    """Medians, and where they are not known from the window.

    Parameters
    ----------
    window : MedianWindow
    count : numpy.ndarray of int, (n,)
        Number of fluxes of each curve.

    Returns
    -------
    median : numpy.ndarray, (n,)
        Mean of the two middle fluxes if their number is even; NaN without any, or if not known.
    lost : numpy.ndarray of bool, (n,)
        Whether the whole light curve is needed.
    """
    size = np.isfinite(window.flux_jy).sum(axis=1)
    low, high = (count - 1) // 2 - window.below, count // 2 - window.below
    known = (count > 0) & (low >= 0) & (high < size)
    row = np.arange(len(count))
    low, high = np.where(known, low, 0), np.where(known, high, 0)
    middle = (window.flux_jy[row, low] + window.flux_jy[row, high]) / 2.0
    return np.where(known, middle, np.nan), (count > 0) & ~known

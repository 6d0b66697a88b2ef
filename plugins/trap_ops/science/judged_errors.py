"""Errors that light curves are judged with: those of the measurements and a systematic one.

The systematic error is a fraction of the source's flux, as errors of the flux scale are: what every
image has of them is no noise, and does not get less in brighter sources.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import numpy as np

from trap_ops.records.arrays import FloatArray, IntArray
from trap_ops.records.light_curves import FluxSums, MeasuredPoints, Points
from trap_ops.science.variability import add_point, empty_sums, rounds

_Points = TypeVar("_Points", Points, MeasuredPoints)


def judged_errors(
    before: FluxSums,
    curve: IntArray,
    flux_jy: FloatArray,
    error_jy: FloatArray,
    fraction: float,
) -> FloatArray:
    """Errors of points with the systematic one, (m,): with a fraction of 0 as they are, to the bit.

    Parameters
    ----------
    before : FluxSums
        Sums over all points before these, with the errors that these were judged with; they stay
        as they are.
    curve : numpy.ndarray of int, (m,)
        Light curve of each point; points of one curve in canonical order.
    flux_jy, error_jy : numpy.ndarray, (m,)
    fraction : float

    Notes
    -----
    It is the fraction of the weighted mean of the points *before*, and of a first point's own flux.
    Not of each point's own flux: low points would get small errors and large weights, so that the
    mean is too low by twice the fraction squared, and a dip stands out more than it is. Not of the
    mean of all points: that is not known when one is added, and each new one would change the
    errors of all others. A mean of points before knows nothing of the error of the point that it is
    used for, so weights and deviations are independent, and it is as good as known after a few.

    Equivalent to this for each light curve::

        for i in range(len(flux)):
            mean = sum(w[:i] * flux[:i]) / sum(w[:i]) if i else flux[0]
            judged[i] = sqrt(error[i] ** 2 + (fraction * mean) ** 2)
            w[i] = 1 / judged[i] ** 2
    """
    if fraction == 0.0:
        return error_jy
    sums = before.take(np.arange(len(before.count)))
    judged = np.array(error_jy, dtype=np.float64)
    for points in rounds(curve):
        curves = curve[points]
        mean = sums.weighted_mean[curves]
        known = (sums.count[curves] > 0) & np.isfinite(mean)
        systematic = fraction * np.where(known, mean, flux_jy[points])
        judged[points] = np.sqrt(error_jy[points] ** 2 + systematic**2)
        add_point(sums, curves, flux_jy[points], judged[points])
    return judged


def judged_points(points: _Points, fraction: float) -> _Points:
    """Points of whole light curves, backward fits included, with the errors they are judged with.

    In canonical order within each curve. Of peaks nothing is changed.
    """
    if fraction == 0.0:
        return points
    keys = np.stack([points.source, points.band, points.stokes], axis=1)
    curves, curve = np.unique(keys, axis=0, return_inverse=True)
    errors = judged_errors(
        empty_sums(len(curves)), curve.reshape(-1), points.flux_jy, points.flux_err_jy, fraction
    )
    return replace(points, flux_err_jy=errors)

"""Robust centres of measurements with errors."""

from __future__ import annotations

import math

import numpy as np

from trap_ops.records.arrays import FloatArray

# Of a normal distribution: standard deviation over median absolute deviation.
SIGMA_PER_MAD = 1.482602218505602


def weighted_median(values: FloatArray, weights: FloatArray) -> float:
    """Value with half of the weight on either side; of equal weights the usual median.

    Parameters
    ----------
    values, weights : numpy.ndarray, (n,)
        At least one; no NaN; weights above 0.
    """
    order = np.argsort(values, kind="stable")
    ordered = weights[order]
    # Each value stands in the middle of its own weight.
    below = np.cumsum(ordered) - 0.5 * ordered
    return float(np.interp(0.5 * float(ordered.sum()), below, values[order]))


def robust_centre(values: FloatArray, sigma: FloatArray) -> tuple[float, float]:
    """Weighted median and its error.

    Parameters
    ----------
    values : numpy.ndarray, (n,)
        At least one; no NaN.
    sigma : numpy.ndarray, (n,)
        Their errors, up to a common factor.

    Returns
    -------
    centre, error : float
        The error is 0 for one value.

    Notes
    -----
    With weights 1 / sigma the variance of the median of normal values is pi/2 times that of the
    weighted mean, ``pi/2 / sum(1 / sigma^2)``. The common factor is measured: the median absolute
    deviation of the values in units of their sigma, corrected for few values with n / (n - 0.8)
    (Croux & Rousseeuw 1992, Computational Statistics 1, 411). Outliers, such as variable sources,
    so move neither much.
    """
    centre = weighted_median(values, 1.0 / sigma)
    factor = SIGMA_PER_MAD * float(np.median(np.abs(values - centre) / sigma))
    factor *= len(values) / (len(values) - 0.8)
    return centre, factor * math.sqrt(math.pi / 2.0 / float((1.0 / sigma**2).sum()))

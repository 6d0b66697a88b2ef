"""Variability of light curves: V, eta and the chance of eta (SCIENCE.md 7 with D16).

Sums are kept about the running mean (Welford), so nothing cancels for bright sources or long light
curves; one more point needs only the sums, never the points before it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import chdtrc, gammaincc, gammaln

from trap_ops.records.arrays import FloatArray, Ids, IntArray
from trap_ops.records.light_curves import FluxSums


def empty_sums(n: int) -> FluxSums:
    """Return the sums of light curves without points."""
    return FluxSums(np.zeros(n, dtype=np.int64), *(np.zeros(n) for _ in range(5)))


def add_point(sums: FluxSums, curves: IntArray, flux_jy: FloatArray, error_jy: FloatArray) -> None:
    """Add one point to each of some light curves, in place; no curve twice."""
    weight = 1.0 / error_jy**2
    count = sums.count[curves] + 1
    mean, weighted_mean = sums.mean[curves], sums.weighted_mean[curves]
    new_mean = mean + (flux_jy - mean) / count
    sum_weight = sums.sum_weight[curves] + weight
    new_weighted = weighted_mean + weight / sum_weight * (flux_jy - weighted_mean)
    sums.count[curves] = count
    sums.mean[curves] = new_mean
    sums.m2[curves] += (flux_jy - mean) * (flux_jy - new_mean)
    sums.weighted_mean[curves] = new_weighted
    # Not by the difference from the new mean, which is all rounding where the weights differ much.
    share = sums.sum_weight[curves] / sum_weight * weight
    sums.weighted_m2[curves] += share * (flux_jy - weighted_mean) ** 2
    sums.sum_weight[curves] = sum_weight


def variation(sums: FluxSums) -> FloatArray:
    """V: sample standard deviation over mean flux, (n,).

    0 with fewer than two points. Negative where the mean is; a mean of exactly 0 counts as 1e-6 Jy.
    """
    several = sums.count > 1
    deviation = np.sqrt(sums.m2 / np.where(several, sums.count - 1, 1))
    divisor = np.where(sums.mean == 0.0, 1e-6, sums.mean)
    return np.where(several, deviation / divisor, 0.0)


def eta(sums: FluxSums) -> FloatArray:
    """eta: reduced chi-squared of a constant flux, (n,); 0 with fewer than two points."""
    several = sums.count > 1
    return np.where(several, sums.weighted_m2 / np.where(several, sums.count - 1, 1), 0.0)


def p_value(sums: FluxSums) -> FloatArray:
    """Chance of this eta or a larger one for a steady source, (n,); NaN with fewer than two points.

    eta (N - 1) follows a chi-squared law of N - 1 degrees of freedom if the errors are right.
    """
    freedom = np.where(sums.count > 1, sums.count - 1, 1).astype(np.float64)
    return np.where(sums.count > 1, chdtrc(freedom, sums.weighted_m2), np.nan)


def log10_p_value(eta_value: FloatArray, count: Ids, error_uncertainty: float = 0.0) -> FloatArray:
    """Decimal logarithm of the p-value, (n,), also where that is too small for a float.

    Parameters
    ----------
    eta_value : numpy.ndarray, (n,)
    count : numpy.ndarray of int, (n,)
        Number of points; NaN results with fewer than two.
    error_uncertainty : float
        Fraction to which the errors of a source's points are known, all together.

    Notes
    -----
    With errors that are all off by a factor of relative uncertainty t, eta has the relative
    variance 2/k + 4 t^2 for k = N - 1; that is the chi-squared law of 1 / (1/k + 2 t^2) degrees of
    freedom. However long a light curve is, it cannot tell less than 2 t from 1.

    Far out the tail of chi-squared is ``exp(-y) y^a / Gamma(a)``, y = x/2 and a = k/2, over
    ``y + 1 - a + ...`` (the continued fraction of the incomplete gamma function, DLMF 8.9.2), whose
    first step is exact to a per mille there, however many points there are.
    """
    several = count > 1
    freedom = np.where(several, count - 1, 1)
    half = freedom / (1.0 + 2.0 * freedom * error_uncertainty**2) / 2.0
    x = np.maximum(eta_value, 0.0) * half
    with np.errstate(divide="ignore"):
        near = np.log10(gammaincc(half, x))
        # The maxima keep the logarithms real near the mean, where this is not used.
        far = -x + half * np.log(np.maximum(x, 1.0)) - gammaln(half)
        far -= np.log(np.maximum(x + 1.0 - half, 1.0))
    tail = np.where(np.isfinite(near) & (near > -290.0), near, far / np.log(10.0))
    return np.where(several, tail, np.nan)


def weighted_mean_error(sums: FluxSums) -> FloatArray:
    """Error of the weighted mean flux in Jy, (n,); NaN without a point."""
    return 1.0 / np.sqrt(np.where(sums.count > 0, sums.sum_weight, np.nan))


@dataclass(frozen=True)
class RunningStatistics:
    """V, eta and number of points of a light curve up to and including each point, (m,) each."""

    v: FloatArray
    eta: FloatArray
    count: Ids


def add_points(
    sums: FluxSums, curve: IntArray, flux_jy: FloatArray, error_jy: FloatArray
) -> RunningStatistics:
    """Add points to light curves in the order given, and note the statistics after each.

    Parameters
    ----------
    sums : FluxSums
        Changed in place.
    curve : numpy.ndarray of int, (m,)
        Light curve of each point.
    flux_jy, error_jy : numpy.ndarray, (m,)
        Errors are finite and positive.

    Notes
    -----
    Equivalent to adding one point after the other; here all curves get their first point at once,
    then all their second, and so on.
    """
    v, running_eta = np.zeros(len(curve)), np.zeros(len(curve))
    count = np.zeros(len(curve), dtype=np.int64)
    for points in rounds(curve):
        curves = curve[points]
        add_point(sums, curves, flux_jy[points], error_jy[points])
        now = sums.take(curves)
        v[points], running_eta[points], count[points] = (
            variation(now),
            eta(now),
            now.count,
        )
    return RunningStatistics(v, running_eta, count)


def rounds(curve: IntArray) -> list[npt.NDArray[np.intp]]:
    """Split points into rounds in which no curve occurs twice, keeping the order within curves."""
    if len(curve) == 0:
        return []
    by_curve = np.argsort(curve, kind="stable")
    sorted_curve = curve[by_curve]
    starts = np.flatnonzero(np.r_[True, sorted_curve[1:] != sorted_curve[:-1]])
    lengths = np.diff(np.r_[starts, len(curve)])
    turn = np.arange(len(curve)) - np.repeat(starts, lengths)
    by_turn = np.argsort(turn, kind="stable")
    boundaries = np.cumsum(np.bincount(turn))[:-1]
    return np.split(by_curve[by_turn], boundaries)

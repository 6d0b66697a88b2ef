"""What the scatter of steady sources says of the errors that their light curves are judged with."""

from __future__ import annotations

import math
from dataclasses import dataclass

from trap_ops.records.arrays import FloatArray, Ids


@dataclass(frozen=True)
class CurveScatter:
    """Chi-squared sums of light curves in one band and Stokes; all arrays (n,).

    Attributes
    ----------
    count : numpy.ndarray of int
        Points, 2 or more.
    chi2 : numpy.ndarray
        Weighted sum of squared deviations from the weighted mean.
    sum_weight : numpy.ndarray
        Sum of the weights 1/error^2, Jy^-2.
    flux_jy : numpy.ndarray
        Weighted mean.
    """

    count: Ids
    chi2: FloatArray
    sum_weight: FloatArray
    flux_jy: FloatArray

    def __len__(self) -> int:
        """Count the light curves."""
        return len(self.count)


@dataclass(frozen=True)
class ErrorModel:
    """Scatter of steady sources: (slope x error)^2 + (floor x flux)^2; NaN with too few curves.

    Attributes
    ----------
    curves : int
        Light curves that it was fitted to.
    systematic : float
        What is configured: ``variability.systematic_flux_error``.
    variable : float
        Fraction of them that vary more than this.
    slope, slope_err : float
        Of the errors of the measurements, without the systematic one.
    floor, floor_err : float
        Fraction of the flux, with whatever systematic error is configured. The errors of slope and
        floor are upwards: down to nothing is less.
    false_rate : float
        Share of steady sources with this scatter that get a p-value below 0.001, which should be
        0.001.
    false_rate_low, false_rate_high : float
        The same at the ends of the range that the fit leaves open (2 standard errors).
    """

    curves: int
    systematic: float
    variable: float = math.nan
    slope: float = math.nan
    slope_err: float = math.nan
    floor: float = math.nan
    floor_err: float = math.nan
    false_rate: float = math.nan
    false_rate_low: float = math.nan
    false_rate_high: float = math.nan

    @property
    def measured(self) -> bool:
        """Whether there were enough light curves."""
        return math.isfinite(self.slope)

    @property
    def too_many(self) -> bool:
        """Whether more than twice as many steady sources as should have such p-values, for sure."""
        return self.false_rate_low > 0.002

    @property
    def too_few(self) -> bool:
        """Whether less than half as many have, for sure."""
        return self.false_rate_high < 0.0005

    @property
    def misleading(self) -> bool:
        """Whether p-values are not what they say."""
        return self.too_many or self.too_few


def significance(value: float, error: float) -> float:
    """Of a slope or floor, against nothing: of its square, which is what is normal."""
    return value**2 / ((value + error) ** 2 - value**2)


def upper_limit(value: float, error: float, sigma: float = 2.0) -> float:
    """Limit of a slope or floor: what is normal is its square, with this error at the value."""
    variance_err = (value + error) ** 2 - value**2
    return math.sqrt(value**2 + sigma * variance_err)

"""Is the scatter of steady sources what their errors say? Slope and floor of the errors, fitted.

For a steady source of N points chi-squared about the weighted mean follows a chi-squared law of
N - 1 degrees of freedom, times lambda = (slope^2 e^2 + floor^2 S^2) / j^2, with its flux S, the
error e of a measurement, and the error j that it is judged with (of which the sums give the
harmonic mean of the squares). Slope and floor are those of the largest likelihood over all light
curves of a band, each with its own law, few points or many. Sources that vary have a law of their
own in it: lambda up to a thousand times larger, any factor as likely as any other on a logarithmic
scale. They have no influence then, without a cut that steady sources could fall victim to.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import chdtrc, chdtri, gammainc, gammaln

from trap_ops.records.arrays import FloatArray
from trap_ops.records.error_model import CurveScatter, ErrorModel

# With fewer light curves no slope is told from variability.
MIN_CURVES = 20
# The p-value whose share among steady sources is told.
FALSE_P = 0.001
_LOG_WIDEST = np.log(1000.0)
# Bounds of the fraction of sources that vary.
_VARIABLE = (1e-3, 0.5)
_STEPS = 200
# What is known before, so that light curves that do not tell slope from floor give wide errors and
# no nonsense: squares of slope and floor, and how sure.
_BEFORE = np.array([1.0, 0.0, 0.0])
_SURE = (10.0, 0.1)
# Where a search begins: the best of these, on so many light curves.
_SLOPES = (0.5, 0.7, 1.0, 1.4, 2.0, 3.0)
_FLOORS = (0.0, 0.003, 0.01, 0.02, 0.05, 0.1, 0.2)
_START_CURVES = 2000


@dataclass(frozen=True)
class _Data:
    """Light curves as the likelihood needs them, (n,): lambda is alpha a + beta b.

    Parameters are (alpha, beta, fraction that varies), alpha = slope^2 and beta = (floor/unit)^2.
    """

    freedom: FloatArray
    chi2: FloatArray
    a: FloatArray
    b: FloatArray
    constant: FloatArray
    unit: float

    def ratio(self, at: FloatArray) -> FloatArray:
        """Lambda of each light curve."""
        return np.asarray(at[0] * self.a + at[1] * self.b)

    @property
    def precision(self) -> FloatArray:
        """Of what is known before, of each parameter."""
        return np.array([_SURE[0] ** -2.0, (_SURE[1] / self.unit**2) ** -2.0, 0.0])

    def take(self, items: slice) -> _Data:
        """Return some of the light curves."""
        return _Data(
            self.freedom[items],
            self.chi2[items],
            self.a[items],
            self.b[items],
            self.constant[items],
            self.unit,
        )


def fit_error_model(curves: CurveScatter, systematic: float) -> ErrorModel:
    """Fit slope and floor of the errors to the light curves of a band and Stokes.

    Parameters
    ----------
    curves : CurveScatter
        Of sources that may be steady. Those without any scatter are left out.
    systematic : float
        Systematic error that they are judged with, as a fraction of the flux.

    Returns
    -------
    ErrorModel
        Without numbers for fewer than 20 light curves.

    Notes
    -----
    The squares of slope and floor are fitted, and may come out below zero: then the slope or floor
    is 0, and its error says how large it may be. Errors follow from the curvature of the likelihood
    and its scatter from source to source (the sandwich). Two things are not in them: errors of the
    flux scale are common to all sources of an image, so with few images a floor is that of these
    images; and where errors differ much within a light curve its law is a little wider.
    """
    data = _prepared(curves, systematic)
    n = len(data.chi2)
    if n < MIN_CURVES:
        return ErrorModel(n, systematic)
    at = _climb(data, _start(data))
    covariance = _covariance(data, at)
    errors = np.sqrt(np.diag(covariance))
    slope, slope_err = _root(at[0], errors[0])
    floor, floor_err = _root(at[1], errors[1])
    rate, low, high = _false_rates(data, at, covariance)
    return ErrorModel(
        curves=n,
        systematic=systematic,
        variable=float(at[2]),
        slope=slope,
        slope_err=slope_err,
        floor=data.unit * floor,
        floor_err=data.unit * floor_err,
        false_rate=rate,
        false_rate_low=low,
        false_rate_high=high,
    )


def _prepared(curves: CurveScatter, systematic: float) -> _Data:
    with np.errstate(invalid="ignore", divide="ignore"):
        # Flux over judged error, squared: the error is that of the harmonic mean of the squares.
        bright = curves.flux_jy**2 * curves.sum_weight / curves.count
    usable = (curves.count > 1) & (curves.chi2 > 0.0) & np.isfinite(curves.chi2)
    usable &= np.isfinite(bright)
    bright, half = bright[usable], (curves.count[usable] - 1) / 2.0
    unit2 = float(1.0 / np.median(bright)) if np.any(bright > 0.0) else 1.0
    return _Data(
        freedom=2.0 * half,
        chi2=curves.chi2[usable],
        # What the measurements have of the variance that is judged with.
        a=1.0 - np.minimum(systematic**2 * bright, 1.0),
        b=bright * unit2,
        constant=half * np.log(2.0) + gammaln(half),
        unit=float(np.sqrt(unit2)),
    )


def _likelihood(data: _Data, at: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Logarithm of the likelihood of each light curve, (n,), and its derivatives, (n, 3)."""
    ratio = data.ratio(at)
    x = data.chi2 / ratio
    half = data.freedom / 2.0
    log_steady = (half - 1.0) * np.log(x) - x / 2.0 - data.constant - np.log(ratio)
    with np.errstate(divide="ignore"):
        # The law of chi-squared with lambda log-uniform from the steady one on upwards.
        log_variable = np.log(gammainc(half, x / 2.0)) - np.log(data.chi2 * _LOG_WIDEST)
    variable = at[2]
    log_sum = np.logaddexp(np.log1p(-variable) + log_steady, np.log(variable) + log_variable)
    steady = np.exp(log_steady - log_sum)
    by_ratio = (1.0 - variable) * (x - data.freedom) / 2.0 - variable / _LOG_WIDEST
    by_ratio *= steady / ratio
    by_variable = np.exp(log_variable - log_sum) - steady
    return log_sum, np.stack([by_ratio * data.a, by_ratio * data.b, by_variable], axis=1)


def _start(data: _Data) -> FloatArray:
    few = data.take(slice(None, None, -(-len(data.chi2) // _START_CURVES)))
    tried = [
        np.array([slope**2, (floor / data.unit) ** 2, 0.05])
        for slope in _SLOPES
        for floor in _FLOORS
    ]
    # Where all of the variance is systematic there is none without a floor.
    allowed = [at for at in tried if np.all(data.ratio(at) > 0.0)]
    return max(allowed, key=lambda at: float(_likelihood(few, at)[0].sum()))


def _total(data: _Data, at: FloatArray, values: FloatArray) -> float:
    """Logarithm of the likelihood of all, with what is known before."""
    return float(values.sum() - 0.5 * (data.precision * (at - _BEFORE) ** 2).sum())


def _uphill(data: _Data, at: FloatArray, slopes: FloatArray) -> FloatArray:
    """Return the derivatives of that."""
    return np.asarray(slopes.sum(axis=0) - data.precision * (at - _BEFORE))


def _climb(data: _Data, at: FloatArray) -> FloatArray:
    """Go uphill to the largest likelihood, by the scatter of its derivatives (Berndt et al.)."""
    values, slopes = _likelihood(data, at)
    for _ in range(_STEPS):
        step, gain = _step(data, at, slopes)
        higher = _higher(data, at, _total(data, at, values), step) if gain > 1e-12 else None
        if higher is None:
            break
        at = higher
        values, slopes = _likelihood(data, at)
    return at


def _higher(data: _Data, at: FloatArray, height: float, step: FloatArray) -> FloatArray | None:
    """Where the step, or the half or quarter of it, leads uphill; None if nowhere."""
    for factor in 0.5 ** np.arange(20):
        trial = at + factor * step
        trial[2] = np.clip(trial[2], *_VARIABLE)
        if (
            np.all(data.ratio(trial) > 0.0)
            and _total(data, trial, _likelihood(data, trial)[0]) > height
        ):
            return np.asarray(trial)
    return None


def _step(data: _Data, at: FloatArray, slopes: FloatArray) -> tuple[FloatArray, float]:
    """Step uphill, and how much steeper it is than noise; none across a bound."""
    gradient = _uphill(data, at, slopes)
    free = [0, 1] if _held(at, float(gradient[2])) else [0, 1, 2]
    step = np.zeros(3)
    step[free] = np.linalg.solve(_scatter(data, slopes, free), gradient[free])
    return step, float(gradient @ step)


def _scatter(data: _Data, slopes: FloatArray, free: list[int]) -> FloatArray:
    """Scatter of the derivatives from source to source, with what is known before."""
    chosen = slopes[:, free]
    return np.asarray(chosen.T @ chosen + np.diag(data.precision[free]))


def _held(at: FloatArray, uphill: float) -> bool:
    """Whether the fraction that varies is at a bound that it would cross."""
    return bool((at[2] <= _VARIABLE[0] and uphill < 0) or (at[2] >= _VARIABLE[1] and uphill > 0))


def _covariance(data: _Data, at: FloatArray) -> FloatArray:
    """Covariance of alpha and beta, (2, 2)."""
    slopes = _likelihood(data, at)[1]
    held = _held(at, float(slopes[:, 2].sum())) or at[2] in _VARIABLE
    free = [0, 1] if held else [0, 1, 2]
    scatter = _scatter(data, slopes, free)
    typical = np.sqrt(np.diag(np.linalg.inv(scatter)))
    curvature = np.zeros((len(free), len(free)))
    for row, (parameter, size) in enumerate(zip(free, typical, strict=True)):
        # Small against the error, and never out of bounds.
        delta = np.zeros(3)
        delta[parameter] = 1e-3 * size
        while np.any(data.ratio(at - delta) <= 0.0):
            delta /= 2.0
        ahead, behind = (
            _uphill(data, at + sign * delta, _likelihood(data, at + sign * delta)[1])[free]
            for sign in (1.0, -1.0)
        )
        curvature[row] = (behind - ahead) / (2.0 * delta[parameter])
    inverse = np.linalg.inv((curvature + curvature.T) / 2.0)
    return np.asarray((inverse @ scatter @ inverse)[:2, :2])


def _root(square: float, error: float) -> tuple[float, float]:
    """Root of a number that should be positive, and its error upwards."""
    least = max(float(square), 0.0)
    return float(np.sqrt(least)), float(np.sqrt(least + error) - np.sqrt(least))


def _false_rates(data: _Data, at: FloatArray, covariance: FloatArray) -> tuple[float, float, float]:
    """Share of steady sources with a p-value below 0.001: best, and 2 errors to either side."""
    # Lambda of each curve with its error: both parameters are 2 errors off the way that it grows.
    parts = np.stack([data.a, data.b], axis=1)
    spread = np.sqrt(np.einsum("ni,ij,nj->n", parts, covariance, parts))
    limit = chdtri(data.freedom, FALSE_P)
    ratio = data.ratio(at)
    best, low, high = (
        float(np.mean(chdtrc(data.freedom, limit / np.maximum(ratio + sigma * spread, 1e-9))))
        for sigma in (0.0, -2.0, 2.0)
    )
    return best, low, high

"""Slope and floor of the errors against simulated light curves, of which they are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import chi2 as chi2_law

from trap_ops.records.error_model import CurveScatter, ErrorModel, significance, upper_limit
from trap_ops.science import error_model
from trap_ops.science.error_model import MIN_CURVES, fit_error_model
from trap_ops.science.judged_errors import judged_errors
from trap_ops.science.variability import add_points, empty_sums, p_value


def drawn(
    seed: int,
    n: int,
    points: tuple[int, int],
    slope: float,
    floor: float,
    systematic: float = 0.0,
    *,
    variable: float = 0.08,
    unlike: float = 0.0,
) -> CurveScatter:
    """Sums of light curves of 8 to 1000 sigma; some vary by 1 to 100 errors.

    ``unlike`` is how much errors differ within a light curve (logarithm).
    """
    rng = np.random.default_rng([seed, 21])
    count = rng.integers(points[0], points[1] + 1, n)
    curve = np.repeat(np.arange(n), count)
    error = np.exp(unlike * rng.standard_normal(len(curve)))
    level = np.exp(rng.uniform(np.log(8.0), np.log(1000.0), n))
    amplitude = np.exp(rng.uniform(0.0, np.log(100.0), n)) * (rng.random(n) < variable)
    flux = level[curve] + slope * error * rng.standard_normal(len(curve))
    flux += floor * level[curve] * rng.standard_normal(len(curve))
    flux += amplitude[curve] * rng.standard_normal(len(curve))
    return summed(curve, flux, error, n, systematic)


def summed(
    curve: np.ndarray, flux: np.ndarray, error: np.ndarray, n: int, systematic: float = 0.0
) -> CurveScatter:
    sums = empty_sums(n)
    add_points(sums, curve, flux, judged_errors(sums, curve, flux, error, systematic))
    return CurveScatter(sums.count, sums.weighted_m2, sums.sum_weight, sums.weighted_mean)


def pulls(model: ErrorModel, slope: float, floor: float) -> tuple[float, float]:
    """Deviations of the squares, which are what is normal, over their errors."""
    slope_err2 = (model.slope + model.slope_err) ** 2 - model.slope**2
    floor_err2 = (model.floor + model.floor_err) ** 2 - model.floor**2
    return (model.slope**2 - slope**2) / slope_err2, (model.floor**2 - floor**2) / floor_err2


SIZES = [
    (40, (15, 25), 0.0),
    (150, (5, 30), 0.0),
    (1000, (2, 6), 0.0),
    (800, (20, 20), 0.0),
    (800, (20, 40), 0.3),
    (3000, (10, 100), 0.0),
]
TRUTHS = [
    (1.0, 0.02, 0.0),
    (1.3, 0.01, 0.0),
    (1.0, 0.03, 0.03),
    (0.9, 0.01, 0.03),
]


@pytest.mark.parametrize("truth", TRUTHS)
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_slope_and_floor_are_found_within_their_errors(
    size: tuple[int, tuple[int, int], float], truth: tuple[float, float, float]
) -> None:
    """With 8 per cent of variables, in 16 skies, or 8 of many sources: pulls of mean 0 and width 1.

    Variables that are not told from steady ones may move them by less than an error.
    """
    n, points, unlike = size
    slope, floor, systematic = truth
    skies = 16 if n < 3000 else 8
    fits = [
        fit_error_model(drawn(seed, n, points, slope, floor, systematic, unlike=unlike), systematic)
        for seed in range(skies)
    ]
    found = np.array([pulls(model, slope, floor) for model in fits])
    assert (np.abs(found.mean(axis=0)) < 0.6 + 2.5 / np.sqrt(skies)).all(), found.mean(axis=0)
    assert (np.std(found, axis=0) < 1.65).all(), found.std(axis=0)
    assert (np.std(found, axis=0) > 0.55).all(), found.std(axis=0)
    # Errors are no excuse: with many sources they are small.
    slopes, floors = (np.array([getattr(m, k) for m in fits]) for k in ("slope", "floor"))
    assert np.median(slopes) == pytest.approx(slope, abs=0.02 + 0.3 / np.sqrt(n))
    assert np.median(floors) == pytest.approx(floor, rel=0.01 + 0.3 / np.sqrt(n))


@pytest.mark.parametrize("variable", [0.0, 0.05, 0.1])
def test_no_floor_is_made_up_where_there_is_none(variable: float) -> None:
    fits = [
        fit_error_model(drawn(seed, 500, (10, 30), 1.0, 0.0, variable=variable), 0.0)
        for seed in range(40)
    ]
    significant = [m for m in fits if significance(m.floor, m.floor_err) > 2.0]
    assert len(significant) <= 4
    limits = np.array([upper_limit(m.floor, m.floor_err) for m in fits])
    assert (limits < 0.003).all()
    # Not all at the bound: half of them are above it by chance.
    assert 6 <= sum(m.floor > 0.0 for m in fits) <= 34
    assert not [m for m in fits if m.misleading]
    assert np.mean([m.variable for m in fits]) == pytest.approx(variable, abs=0.02)


def test_a_floor_is_found_just_above_its_limit() -> None:
    """A floor of 0.4 per cent in 500 sources is seen, with its error."""
    fits = [fit_error_model(drawn(seed, 500, (10, 30), 1.0, 0.004), 0.0) for seed in range(20)]
    assert np.mean([m.floor for m in fits]) == pytest.approx(0.004, rel=0.1)
    assert all(significance(m.floor, m.floor_err) > 3.0 for m in fits)


def test_bright_variables_and_transients_do_not_move_it() -> None:
    steady = drawn(3, 500, (20, 20), 1.1, 0.02, variable=0.0)
    clean = fit_error_model(steady, 0.0)
    chi2 = steady.chi2.copy()
    chi2[::10] *= np.geomspace(30.0, 1e7, 50)
    found = fit_error_model(replace(steady, chi2=chi2), 0.0)
    assert found.slope == pytest.approx(clean.slope, abs=0.5 * clean.slope_err)
    assert found.floor == pytest.approx(clean.floor, abs=0.5 * clean.floor_err)
    assert found.variable == pytest.approx(0.1, abs=0.02)


def test_the_share_of_false_p_values_is_what_is_said() -> None:
    """From 20,000 light curves with the errors that were fitted to 2,000 others."""
    for slope, floor, systematic in ((1.0, 0.0, 0.0), (1.15, 0.0, 0.0), (1.0, 0.01, 0.0),
                                     (1.0, 0.0, 0.02)):  # fmt: skip
        truth = (10, 20), slope, floor, systematic
        model = fit_error_model(drawn(5, 2000, *truth, variable=0.0), systematic)
        many = drawn(6, 20_000, *truth, variable=0.0)
        p = p_value(_sums(many))
        share = np.mean(p < 0.001)
        slack = 4.0 * np.sqrt(share / 20_000 + 1e-9)
        assert model.false_rate_low - slack <= share <= model.false_rate_high + slack
        assert model.false_rate == pytest.approx(share, rel=0.4, abs=0.0003)
        assert model.too_many == (share > 0.0015)
        assert model.too_few == (share < 0.0004)


def test_its_range_has_the_truth_in_it() -> None:
    """In 40 skies of 150 sources of 15 points, whose errors are too small by 5 per cent."""
    limit = chi2_law.isf(0.001, 14)
    share = chi2_law.sf(limit / 1.05**2, 14)
    fits = [fit_error_model(drawn(s, 150, (15, 15), 1.05, 0.0), 0.0) for s in range(40)]
    inside = [m.false_rate_low <= share <= m.false_rate_high for m in fits]
    assert sum(inside) >= 34
    assert not all(m.false_rate_low <= 0.001 <= m.false_rate_high for m in fits)


def _sums(curves: CurveScatter):
    sums = empty_sums(len(curves))
    sums.count[:], sums.weighted_m2[:] = curves.count, curves.chi2
    return sums


def test_too_few_light_curves_give_no_numbers() -> None:
    few = drawn(1, MIN_CURVES - 1, (20, 20), 1.0, 0.0)
    model = fit_error_model(few, 0.01)
    assert (model.curves, model.measured, model.misleading) == (19, False, False)
    assert (model.systematic, np.isnan(model.floor), np.isnan(model.false_rate)) == (
        0.01, True, True,
    )  # fmt: skip
    assert fit_error_model(drawn(1, MIN_CURVES, (20, 20), 1.0, 0.0), 0.0).measured
    none = drawn(1, 0, (2, 3), 1.0, 0.0)
    assert fit_error_model(none, 0.0).curves == 0


def test_what_is_no_light_curve_does_not_count() -> None:
    good = drawn(2, 60, (10, 10), 1.0, 0.01)
    count, chi2, weight = good.count.copy(), good.chi2.copy(), good.sum_weight.copy()
    count[0], chi2[1], chi2[2], weight[3] = 1, 0.0, np.nan, np.inf
    spoilt = CurveScatter(count, chi2, weight, good.flux_jy)
    kept = CurveScatter(**{name: value[4:] for name, value in vars(good).items()})
    assert fit_error_model(spoilt, 0.0) == fit_error_model(kept, 0.0)
    assert fit_error_model(kept, 0.0).curves == 56


def test_sources_that_are_all_bright_or_all_faint_leave_one_of_them_open() -> None:
    """What cannot be told has an error that says so."""
    rng = np.random.default_rng(8)
    curve = np.tile(np.arange(300), 20)
    noise, scale = rng.standard_normal((2, len(curve)))
    bright = summed(curve, 1e4 * (1.0 + 0.02 * scale) + noise, np.ones(len(curve)), 300)
    model = fit_error_model(bright, 0.0)
    assert model.floor == pytest.approx(0.02, rel=0.05)
    assert upper_limit(model.slope, model.slope_err) > 1.0
    faint = summed(curve, 3.0 + noise, np.ones(len(curve)), 300)
    model = fit_error_model(faint, 0.0)
    assert model.slope == pytest.approx(1.0, abs=0.1)
    assert upper_limit(model.floor, model.floor_err) > 0.03


def test_units_of_flux_and_order_of_sources_do_not_matter() -> None:
    curves = drawn(4, 300, (5, 40), 1.1, 0.02)
    right = fit_error_model(curves, 0.0)
    in_mjy = replace(curves, sum_weight=curves.sum_weight * 1e-6, flux_jy=curves.flux_jy * 1e3)
    order = np.random.default_rng(1).permutation(300)
    mixed = CurveScatter(**{name: value[order] for name, value in vars(curves).items()})
    for other in (in_mjy, mixed):
        found = fit_error_model(other, 0.0)
        assert vars(found) == pytest.approx(vars(right), rel=1e-4)


def test_laws_are_those_of_scipy_and_add_up_to_one() -> None:
    """The likelihood of a steady and of a variable source, and its derivatives."""
    freedom, ratio = 9.0, 1.7

    def of(x: float, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        curves = CurveScatter(np.array([10]), np.array([x]), np.array([10.0]), np.array([2.0]))
        return error_model._likelihood(error_model._prepared(curves, 0.0), at)

    # With one curve the unit is its error over its flux: lambda is alpha + beta.
    steady = np.array([1.2, 0.5, 1e-12])
    for x in (0.5, 9.0, 60.0):
        expected = chi2_law.logpdf(x / ratio, freedom) - np.log(ratio)
        assert of(x, steady)[0][0] == pytest.approx(expected, rel=1e-9)

    def mixed(x: float) -> float:
        return float(np.exp(of(x, np.array([1.2, 0.5, 0.3]))[0][0]))

    # Up to far below the widest law, all of the steady ones and their part of the others.
    top = 1.7 * 9.0 * 100.0
    share = quad(mixed, 0.0, 40.0, limit=200)[0] + quad(mixed, 40.0, top, limit=200)[0]
    inside = 0.7 + 0.3 * _share_below(top, freedom, ratio)
    assert share == pytest.approx(inside, rel=1e-4)
    at, step = np.array([1.2, 0.5, 0.3]), 1e-6
    slopes = of(30.0, at)[1][0]
    for i in range(3):
        ahead, behind = (of(30.0, at + sign * step * np.eye(3)[i])[0][0] for sign in (1, -1))
        assert slopes[i] == pytest.approx((ahead - behind) / (2.0 * step), rel=1e-5)


def _share_below(x: float, freedom: float, ratio: float) -> float:
    """Part of sources with lambda log-uniform over a factor of 1000 that are below chi-squared x.

    By adding up over lambda.
    """
    factors = np.exp((np.arange(20_000) + 0.5) / 20_000 * np.log(1000.0))
    return float(np.mean(chi2_law.cdf(x / (ratio * factors), freedom)))

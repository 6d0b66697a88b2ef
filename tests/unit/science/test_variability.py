"""V, eta and p-values against plain sums and scipy."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from trap_ops.records.light_curves import FluxSums
from trap_ops.science.variability import (
    add_points,
    empty_sums,
    eta,
    log10_p_value,
    p_value,
    rounds,
    variation,
    weighted_mean_error,
)


def curves(n: int, points: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Curve, flux and error of points in mixed order."""
    rng = np.random.default_rng(seed)
    curve = rng.permutation(np.repeat(np.arange(n), points))
    return curve, rng.normal(3.0, 1.0, len(curve)), rng.uniform(0.1, 2.0, len(curve))


def plain(flux: np.ndarray, error: np.ndarray) -> tuple[float, float]:
    """V and eta as SCIENCE.md 7 writes them."""
    n, weight = len(flux), error**-2.0
    v = np.sqrt(n / (n - 1) * ((flux**2).mean() - flux.mean() ** 2)) / flux.mean()
    mean = (weight * flux).mean() / weight.mean()
    return v, (weight * (flux - mean) ** 2).sum() / (n - 1)


def test_v_and_eta_are_those_of_the_definitions() -> None:
    curve, flux, error = curves(20, 15)
    sums = empty_sums(20)
    add_points(sums, curve, flux, error)
    for i in range(20):
        mine = curve == i
        assert (variation(sums)[i], eta(sums)[i]) == pytest.approx(
            plain(flux[mine], error[mine]), rel=1e-10
        )
    weight = np.bincount(curve, error**-2.0)
    assert weighted_mean_error(sums) == pytest.approx(weight**-0.5)


def test_statistics_after_each_point_are_those_of_the_points_up_to_it() -> None:
    curve, flux, error = curves(5, 8)
    after = add_points(empty_sums(5), curve, flux, error)
    for i in range(len(curve)):
        mine = np.flatnonzero(curve[: i + 1] == curve[i])
        assert after.count[i] == len(mine)
        if len(mine) > 1:
            expected = plain(flux[mine], error[mine])
            assert (after.v[i], after.eta[i]) == pytest.approx(expected, rel=1e-9)
        else:
            assert (after.v[i], after.eta[i]) == (0.0, 0.0)


def test_pieces_give_the_bits_of_one_go() -> None:
    curve, flux, error = curves(7, 9)
    whole, pieces = empty_sums(7), empty_sums(7)
    add_points(whole, curve, flux, error)
    for part in np.array_split(np.arange(len(curve)), 5):
        add_points(pieces, curve[part], flux[part], error[part])
    for name, value in vars(whole).items():
        np.testing.assert_array_equal(getattr(pieces, name), value)


def test_a_bright_steady_source_does_not_cancel() -> None:
    """Sums of squares would lose all digits: 1e5 Jy with noise of 1e-4 Jy."""
    noise = np.random.default_rng(2).normal(0.0, 1e-4, 1000)
    sums = empty_sums(1)
    add_points(sums, np.zeros(1000, dtype=int), 1e5 + noise, np.full(1000, 1e-4))
    exact = (1e5 + noise) - 1e5
    assert eta(sums)[0] == pytest.approx(exact.var(ddof=1) / 1e-8, rel=1e-6)


def exact(flux: Sequence[float], error: Sequence[float]) -> tuple[Fraction, Fraction]:
    """Weighted mean and eta (N - 1), without rounding."""
    weights = [1 / Fraction(e) ** 2 for e in error]
    fluxes = [Fraction(f) for f in flux]
    mean = sum(w * f for w, f in zip(weights, fluxes, strict=True)) / sum(weights)
    return mean, sum(w * (f - mean) ** 2 for w, f in zip(weights, fluxes, strict=True))


@pytest.mark.parametrize(("spread", "digits"), [(1, 14), (10, 13), (1e3, 11), (1e5, 9), (1e7, 7)])
def test_errors_of_any_ratio_cost_no_digits_but_those_of_the_flux(
    spread: float, digits: int
) -> None:
    """Noisy points before and after sharp ones, whose errors are so many times smaller.

    Of the sharp ones the flux itself, a few times the noisy error, has so many digits less.
    """
    rng = np.random.default_rng(7)
    for _ in range(300):
        n = int(rng.integers(2, 30))
        error = rng.choice([1.0, 1.0 / spread], n) * rng.uniform(0.5, 2.0, n)
        flux = 3.0 + error * rng.normal(size=n)
        sums = empty_sums(1)
        add_points(sums, np.zeros(n, dtype=np.int64), flux, error)
        mean, chi2 = exact(flux.tolist(), error.tolist())
        assert sums.weighted_mean[0] == pytest.approx(float(mean), rel=1e-15)
        assert sums.weighted_m2[0] == pytest.approx(float(chi2), rel=10.0**-digits)


def test_eta_of_steady_sources_is_chi_squared_and_p_uniform() -> None:
    n, points = 4000, 8
    rng = np.random.default_rng(3)
    error = rng.uniform(0.5, 3.0, n * points)
    flux = rng.normal(10.0, error)
    sums = empty_sums(n)
    add_points(sums, np.tile(np.arange(n), points), flux, error)
    assert eta(sums).mean() == pytest.approx(1.0, abs=4 * np.sqrt(2 / 7 / n))
    assert stats.kstest(p_value(sums), "uniform").pvalue > 1e-3


def test_p_is_the_tail_of_chi_squared() -> None:
    count = np.array([2, 5, 30, 1000])
    value = np.array([3.0, 1.2, 0.8, 1.1])
    zero = np.zeros(4)
    sums = FluxSums(count, zero, zero, zero, zero, value * (count - 1))
    expected = stats.chi2.sf(value * (count - 1), count - 1)
    assert p_value(sums) == pytest.approx(expected, rel=1e-10)
    assert log10_p_value(value, count) == pytest.approx(np.log10(expected), rel=1e-10)


@pytest.mark.parametrize("count", [2, 3, 10, 24, 100, 1000, 100_000])
def test_far_tails_go_on_where_floats_end(count: int) -> None:
    """Against the logarithm of scipy, which has it as long as it is not too far out."""
    x = np.linspace(1.0, 4000.0, 200) + count
    expected = stats.chi2.logsf(x, count - 1) / np.log(10.0)
    known = np.isfinite(expected)
    found = log10_p_value(x / (count - 1), np.full(len(x), count))
    np.testing.assert_allclose(found[known], expected[known], rtol=2e-3)
    far = log10_p_value(np.array([1e3, 1e4, 1e6, 1e8]), np.full(4, count))
    assert np.isfinite(far).all()
    assert (np.diff(far) < 0).all()


def test_one_point_says_nothing() -> None:
    sums = empty_sums(2)
    add_points(sums, np.array([1]), np.array([5.0]), np.array([1.0]))
    assert variation(sums).tolist() == [0.0, 0.0]
    assert eta(sums).tolist() == [0.0, 0.0]
    assert np.isnan(p_value(sums)).all()
    assert np.isnan(log10_p_value(eta(sums), sums.count)).all()
    assert np.isnan(weighted_mean_error(sums)[0])
    assert weighted_mean_error(sums)[1] == 1.0


@pytest.mark.parametrize("count", [5, 24, 300, 10_000])
def test_chances_hold_where_errors_are_a_little_off(count: int) -> None:
    """Each source has errors of its own, 3 per cent off; as many reach a chance as it says."""
    rng = np.random.default_rng(count)
    n, off = 200_000, 0.03
    scale = 1.0 + off * rng.standard_normal(n)
    value = rng.chisquare(count - 1, n) / (count - 1) * scale**2
    log_p = log10_p_value(value, np.full(n, count), off)
    exact = log10_p_value(value, np.full(n, count))
    for limit in (0.1, 0.01, 0.001):
        reached = (log_p < np.log10(limit)).mean()
        # The square of a normal factor is a little skew, which the law leaves out.
        assert 0.8 * limit < reached < 1.4 * limit, limit
        if count == 10_000:
            assert (exact < np.log10(limit)).mean() > 0.2


def test_v_of_a_negative_and_of_no_mean() -> None:
    sums = empty_sums(2)
    flux = np.array([-1.0, -3.0, -1.0, 1.0])
    add_points(sums, np.array([0, 0, 1, 1]), flux, np.ones(4))
    assert variation(sums) == pytest.approx([np.sqrt(2.0) / -2.0, np.sqrt(2.0) / 1e-6])


@given(st.lists(st.integers(0, 5), max_size=40))
def test_rounds_keep_order_and_never_repeat_a_curve(curve: list[int]) -> None:
    parts = rounds(np.array(curve, dtype=int))
    for part in parts:
        assert len(set(np.array(curve)[part])) == len(part)
    turn = {int(i): number for number, part in enumerate(parts) for i in part}
    assert sorted(turn) == list(range(len(curve)))
    for which in set(curve):
        assert [turn[i] for i, c in enumerate(curve) if c == which] == list(
            range(curve.count(which))
        )

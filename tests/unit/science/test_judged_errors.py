"""The systematic flux error: which flux it is a fraction of, and the bias that is left."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest

from trap_ops.records.light_curves import FluxSums, Points
from trap_ops.science.judged_errors import judged_errors, judged_points
from trap_ops.science.variability import add_points, empty_sums, eta, p_value


def slowly(flux: np.ndarray, error: np.ndarray, fraction: float) -> np.ndarray:
    """One light curve, point by point."""
    judged = np.empty(len(flux))
    for i in range(len(flux)):
        weight = judged[:i] ** -2.0
        mean = (weight * flux[:i]).sum() / weight.sum() if i else flux[0]
        judged[i] = np.sqrt(error[i] ** 2 + (fraction * mean) ** 2)
    return judged


def drawn(
    seed: int, n: int, points: int, scale_error: float, snr: tuple[float, float] = (30.0, 300.0)
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Steady sources whose flux scale is off by as much in each point: curve, flux, error, truth.

    Points come as images do: the first ones of all curves, then the second ones.
    """
    rng = np.random.default_rng([seed, 11])
    curve = np.tile(np.arange(n), points)
    truth = np.exp(rng.uniform(*np.log(snr), n))
    error = rng.uniform(0.7, 1.5, len(curve))
    flux = truth[curve] * (1.0 + scale_error * rng.standard_normal(len(curve)))
    return curve, flux + error * rng.standard_normal(len(curve)), error, truth


def summed(curve: np.ndarray, flux: np.ndarray, error: np.ndarray, n: int) -> FluxSums:
    sums = empty_sums(n)
    add_points(sums, curve, flux, error)
    return sums


def test_without_a_systematic_error_nothing_changes_to_the_bit() -> None:
    curve, flux, error, _ = drawn(1, 5, 7, 0.0)
    assert judged_errors(empty_sums(5), curve, flux, error, 0.0) is error


def test_it_is_the_slow_form() -> None:
    curve, flux, error, _ = drawn(2, 20, 12, 0.1, (0.1, 300.0))
    flux[::7] *= -1.0
    judged = judged_errors(empty_sums(20), curve, flux, error, 0.05)
    for i in range(20):
        mine = curve == i
        assert judged[mine] == pytest.approx(slowly(flux[mine], error[mine], 0.05), rel=1e-12)
    assert (judged > error).all()


def test_pieces_are_judged_as_the_whole_to_the_bit() -> None:
    curve, flux, error, _ = drawn(3, 30, 12, 0.1)
    whole = judged_errors(empty_sums(30), curve, flux, error, 0.05)
    sums = empty_sums(30)
    for first in range(0, len(curve), 77):
        part = slice(first, first + 77)
        judged = judged_errors(sums, curve[part], flux[part], error[part], 0.05)
        add_points(sums, curve[part], flux[part], judged)
        assert (judged == whole[part]).all()


def test_points_of_several_bands_have_errors_of_their_own_mean() -> None:
    curve, flux, error, _ = drawn(4, 6, 9, 0.1)
    none = np.zeros(len(curve), dtype=np.int64)
    points = Points(
        link=none, source=curve // 4, band=curve // 2 % 2, stokes=1 + curve % 2, kind=none,
        start=none, flux_jy=flux, flux_err_jy=error, peak_jy=flux, peak_err_jy=error,
    )  # fmt: skip
    judged = judged_points(points, 0.05)
    right = judged_errors(empty_sums(6), curve, flux, error, 0.05)
    assert (judged.flux_err_jy == right).all()
    assert judged.peak_err_jy is error
    assert judged_points(points, 0.0) is points


@pytest.mark.parametrize(("scale_error", "share"), [(0.02, 0.0015), (0.05, 0.0018), (0.1, 0.0035)])
def test_the_bias_that_is_left(scale_error: float, share: float) -> None:
    """Of 20,000 bright steady sources of 20 points: mean flux, eta, and share below p = 0.001."""
    n, points = 20_000, 20
    curve, flux, error, truth = drawn(5, n, points, scale_error)
    judged = judged_errors(empty_sums(n), curve, flux, error, scale_error)
    sums = summed(curve, flux, judged, n)
    bias = np.mean(sums.weighted_mean / truth) - 1.0
    noise = np.std(sums.weighted_mean / truth) / np.sqrt(n)
    # The first point has its own flux as a measure, one part in N of what all would leave.
    assert abs(bias) < 4.0 * noise + 2.0 * scale_error**2 / points
    assert np.mean(eta(sums)) == pytest.approx(1.0, abs=0.01 + 0.5 * scale_error**2)
    p = p_value(sums)
    assert np.mean(p < 0.001) < share
    # A fraction of each point's own flux, the plain choice, is worse in all of that.
    own = summed(curve, flux, np.hypot(error, scale_error * flux), n)
    assert np.mean(own.weighted_mean / truth) - 1.0 < -(scale_error**2)
    assert np.mean(p_value(own) < 0.001) > np.mean(p < 0.001)


def test_chances_are_uniform_with_the_right_term() -> None:
    n = 10_000
    curve, flux, error, _ = drawn(6, n, 30, 0.03, (8.0, 300.0))
    judged = judged_errors(empty_sums(n), curve, flux, error, 0.03)
    assert kstest(p_value(summed(curve, flux, judged, n)), "uniform").pvalue > 0.01
    assert np.mean(p_value(summed(curve, flux, error, n)) < 0.001) > 0.3


def test_dips_and_rises_stand_out_alike() -> None:
    """With own fluxes a dip has a small error, and a burst a large one."""
    n = 20_000
    curve, flux, error, truth = drawn(7, n, 20, 0.05, (100.0, 300.0))
    judged = judged_errors(empty_sums(n), curve, flux, error, 0.05)
    later = np.arange(len(curve)) >= 10 * n
    deviation = ((flux - truth[curve]) / judged)[later]
    low, high = np.mean(deviation < -3.0), np.mean(deviation > 3.0)
    assert low == pytest.approx(0.00135, rel=0.3)
    assert high == pytest.approx(0.00135, rel=0.3)
    own = ((flux - truth[curve]) / np.hypot(error, 0.05 * flux))[later]
    assert np.mean(own < -3.0) > 3.0 * np.mean(own > 3.0)

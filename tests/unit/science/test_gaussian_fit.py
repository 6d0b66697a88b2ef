"""Batched Gaussian fits: exact on exact data, as scipy's on noise, errors by Monte Carlo."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import least_squares

from trap_ops.science.gaussian_fit import (
    Stamps,
    fit_errors,
    fit_gaussians,
    model,
)

SIGMA = 2.5
SIZE = 15
# Steps of differences: of the amplitude, the position and the inverse covariance.
STEP = np.array([1e-2, 1e-3, 1e-3, 1e-4, 1e-4, 1e-4])
OPTIONS = {"max_shift_px": 4.0, "sigma_limits_px": (0.5, 20.0)}


def stamps_of(value: np.ndarray) -> Stamps:
    y, x = (np.mgrid[0:SIZE, 0:SIZE] - SIZE // 2).reshape(2, -1).astype(float)
    shape = value.shape
    return Stamps(value, np.broadcast_to(x, shape), np.broadcast_to(y, shape), np.ones(shape))


def truths(n: int, k: int = 1, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    parameters = np.empty((n, k, 6))
    parameters[..., 0] = rng.uniform(20.0, 100.0, (n, k))
    parameters[..., 1:3] = rng.uniform(-0.8, 0.8, (n, k, 2))
    parameters[..., 1] += (np.arange(k) - (k - 1) / 2) * 7.0
    parameters[..., 3] = rng.uniform(0.7, 1.3, (n, k)) / SIGMA**2
    parameters[..., 4] = rng.uniform(-0.2, 0.2, (n, k)) / SIGMA**2
    parameters[..., 5] = rng.uniform(0.7, 1.3, (n, k)) / SIGMA**2
    return parameters


def images(parameters: np.ndarray) -> np.ndarray:
    empty = stamps_of(np.zeros((len(parameters), SIZE**2)))
    return model(parameters, empty)


def guess(truth: np.ndarray) -> np.ndarray:
    start = truth.copy()
    start[..., 0] *= 0.8
    start[..., 1:3] = np.round(start[..., 1:3])
    start[..., 3:] = [1 / SIGMA**2, 0.0, 1 / SIGMA**2]
    return start


def test_the_model_is_a_sum_of_gaussians() -> None:
    truth = truths(3, k=2)
    y, x = np.mgrid[0:SIZE, 0:SIZE] - SIZE // 2
    for found, components in zip(images(truth), truth, strict=True):
        expected = np.zeros((SIZE, SIZE))
        for amplitude, x0, y0, qxx, qxy, qyy in components:
            offset = np.stack([x - x0, y - y0], axis=-1)
            inverse = np.array([[qxx, qxy], [qxy, qyy]])
            exponent = np.einsum("...i,ij,...j", offset, inverse, offset)
            expected += amplitude * np.exp(-exponent / 2)
        np.testing.assert_allclose(found, expected.ravel(), rtol=1e-12)


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("shape_free", [True, False])
def test_exact_data_give_back_the_truth(k: int, shape_free: bool) -> None:
    truth = truths(20, k)
    start = guess(truth)
    if not shape_free:
        start[..., 3:] = truth[..., 3:]
    fit = fit_gaussians(stamps_of(images(truth)), start, shape_free=shape_free, **OPTIONS)
    assert fit.converged.all()
    np.testing.assert_allclose(fit.parameters, truth, rtol=1e-4, atol=1e-5)
    assert fit.chi2.max() < 1e-6


@pytest.mark.parametrize("shape_free", [True, False])
def test_noisy_data_give_the_least_squares_of_scipy(shape_free: bool) -> None:
    truth = truths(8)
    data = images(truth) + np.random.default_rng(5).normal(0.0, 1.0, (8, SIZE**2))
    stamps, start = stamps_of(data), guess(truth)
    n = 6 if shape_free else 3
    fit = fit_gaussians(stamps, start, shape_free=shape_free, **OPTIONS)
    for i in range(8):

        def residual(free: np.ndarray, i: int = i) -> np.ndarray:
            parameters = start[i : i + 1].copy()
            parameters[0, 0, :n] = free
            return model(parameters, stamps.take(np.array([i])))[0] - data[i]

        other = least_squares(residual, start[i, 0, :n], xtol=1e-12, ftol=1e-12, x_scale="jac")
        assert fit.chi2[i] == pytest.approx(2 * other.cost, rel=1e-7)
        np.testing.assert_allclose(fit.parameters[i, 0, :n], other.x, rtol=1e-3, atol=1e-4)


def test_a_fit_does_not_know_its_batch_mates() -> None:
    truth = truths(30)
    data = images(truth) + np.random.default_rng(6).normal(0.0, 1.0, (30, SIZE**2))
    stamps, start = stamps_of(data), guess(truth)
    together = fit_gaussians(stamps, start, shape_free=True, **OPTIONS)
    order = np.random.default_rng(7).permutation(30)
    for part in (order[:1], order[1:12], order[12:]):
        alone = fit_gaussians(stamps.take(part), start[part], shape_free=True, **OPTIONS)
        np.testing.assert_array_equal(alone.parameters, together.parameters[part])
        np.testing.assert_array_equal(alone.chi2, together.chi2[part])


def test_a_fit_that_runs_away_stays_where_it_may_be() -> None:
    noise = np.random.default_rng(8).normal(0.0, 1.0, (20, SIZE**2))
    start = guess(truths(20))
    start[..., 0] = 1.0
    fit = fit_gaussians(stamps_of(noise), start, shape_free=True, **OPTIONS)
    shift = np.hypot(*(fit.parameters - start)[:, 0, 1:3].T)
    assert shift.max() <= 4.0
    q = fit.parameters[:, 0, 3:]
    sigma2 = 1 / np.linalg.eigvalsh(np.stack([q[:, :2], q[:, 1:]], axis=1))
    assert sigma2.min() >= 0.5**2
    assert np.isfinite(fit.parameters).all()


def test_pixels_that_do_not_tell_a_shape_end_no_batch() -> None:
    """Pixels on a diagonal say nothing of what is across it: after many good steps, too."""
    along = np.arange(-4.0, 5.0)
    value = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        value.append(rng.normal(size=9) + 30 * np.exp(-np.abs(along) / rng.uniform(0.5, 3.0)))
    place = np.broadcast_to(along, (len(value), 9))
    stamps = Stamps(np.array(value), place, place, np.ones(place.shape))
    start = np.tile([20.0, 0.3, -0.2, 0.25, 0.0, 0.25], (len(value), 1, 1))
    fit = fit_gaussians(
        stamps, start, shape_free=True, max_shift_px=5.0, sigma_limits_px=(0.1, 50.0)
    )
    assert np.isfinite(fit.parameters).all()
    assert (fit.chi2 <= (stamps.value**2).sum(axis=1)).all()


def correlated(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise stamps with a Gaussian correlation of the beam's width, and that correlation."""
    y, x = (np.mgrid[0:SIZE, 0:SIZE]).reshape(2, -1)
    distance2 = (x[:, None] - x) ** 2 + (y[:, None] - y) ** 2
    correlation = np.exp(-distance2 / (2 * SIGMA**2))
    values, vectors = np.linalg.eigh(correlation)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    return np.random.default_rng(seed).normal(0.0, 1.0, (n, SIZE**2)) @ root.T, correlation


@pytest.mark.parametrize("shape_free", [True, False])
def test_errors_are_the_scatter_in_correlated_noise(shape_free: bool) -> None:
    n = 1500
    noise, correlation = correlated(n, 9)
    truth = np.tile([[[100.0, 0.2, -0.3, 1 / SIGMA**2, 0.0, 1 / SIGMA**2]]], (n, 1, 1))
    stamps = stamps_of(images(truth) + noise)
    fit = fit_gaussians(stamps, truth, shape_free=shape_free, **OPTIONS)
    parameters = 6 if shape_free else 3
    errors = fit_errors(truth[:1], stamps.take(np.array([0])), correlation, shape_free=shape_free)
    scatter = fit.parameters[:, 0, :parameters].std(axis=0)
    # 1500 draws: 1.8 per cent each; four sigma.
    np.testing.assert_allclose(scatter, np.sqrt(np.diag(errors.covariance[0])), rtol=0.075)
    assert fit.chi2.mean() == pytest.approx(errors.expected_chi2[0], rel=0.05)


@pytest.mark.parametrize("shape_free", [True, False])
@pytest.mark.parametrize(
    ("white", "radius_px", "k"),
    [(w, radius, 1) for w in (True, False) for radius in (3.0, 4.5, 100.0)] + [(False, 100.0, 2)],
)
def test_the_mean_excess_is_that_of_many_fits(
    white: bool, radius_px: float, k: int, shape_free: bool
) -> None:
    """Noise comes with its negative: odd orders, which have no mean but much scatter, cancel."""
    n = 4000
    noise, correlation = correlated(n // 2, 10)
    if white:
        noise = np.random.default_rng(10).normal(0.0, 1.0, noise.shape)
        correlation = np.eye(SIZE**2)
    noise = np.concatenate([noise, -noise])
    # So bright that the fourth order is small, so faint that the second is seen.
    peak = (12.0 if white else 25.0) * k**2
    inverse = 1 / SIGMA**2
    both = [[peak, 0.3, -0.2, 1.1 * inverse, 0.1 * inverse, inverse]]
    both += [[0.8 * peak, -4.0, 4.5, inverse, 0.0, 0.9 * inverse]]
    truth = np.tile([both[:k]], (n, 1, 1))
    empty = stamps_of(noise)
    weight = (np.hypot(empty.x, empty.y) <= radius_px).astype(float)
    stamps = Stamps((model(truth, empty) + noise) * weight, empty.x, empty.y, weight)
    fit = fit_gaussians(stamps, truth, shape_free=shape_free, tolerance=1e-12, **OPTIONS)
    one = stamps.take(np.array([0]))
    excess = fit_errors(truth[:1], one, correlation, shape_free=shape_free).excess.ravel()
    deviation = (fit.parameters - truth)[:, :, : 6 if shape_free else 3].reshape(n, -1)
    pairs = (deviation[: n // 2] + deviation[n // 2 :]) / 2
    error = pairs.std(axis=0) / np.sqrt(n // 2)
    assert (abs(excess) > 4 * error).any()
    # Four sigma, and a twentieth for the fourth order.
    assert (abs(pairs.mean(axis=0) - excess) < 4 * error + 0.05 * abs(excess)).all()


@pytest.mark.parametrize("n_per", [3, 6])
@pytest.mark.parametrize("k", [1, 2])
def test_the_mean_excess_is_box_formula_from_differences(k: int, n_per: int) -> None:
    """The definition, with derivatives by differences and no use of what they are."""
    truth = truths(3, k, seed=11)
    correlation = correlated(1, 1)[1]
    for item in truth:
        one = stamps_of(np.zeros((1, SIZE**2)))
        one = Stamps(one.value, one.x, one.y, (one.x + 2 * one.y < 6).astype(float))
        free = [(c, i) for c in range(k) for i in range(n_per)]

        def moved(*steps: tuple[tuple[int, int], float], item: np.ndarray = item) -> np.ndarray:
            parameters = item.copy()
            for place, factor in steps:
                parameters[place] += factor * STEP[place[1]]
            return model(parameters[None], one)[0]  # noqa: B023 - used in this turn only

        jacobian = np.array([(moved((a, 1)) - moved((a, -1))) / (2 * STEP[a[1]]) for a in free])
        second = np.array(
            [
                [
                    (
                        moved((a, 1), (b, 1)) - moved((a, 1), (b, -1))
                        - moved((a, -1), (b, 1)) + moved((a, -1), (b, -1))
                    ) / (4 * STEP[a[1]] * STEP[b[1]])
                    for b in free
                ]
                for a in free
            ]
        )  # fmt: skip
        inverse = np.linalg.inv(jacobian @ jacobian.T)
        covariance = inverse @ jacobian @ correlation @ jacobian.T @ inverse
        with_residual = inverse @ jacobian @ correlation - covariance @ jacobian
        right = np.einsum("ijp,jp->i", second, with_residual)
        right -= 0.5 * jacobian @ np.einsum("ijp,ij->p", second, covariance)
        made = fit_errors(item[None], one, correlation, shape_free=n_per == 6)
        found = made.excess.ravel()
        expected = inverse @ right
        scale = np.sqrt(np.diag(covariance))
        np.testing.assert_allclose(found / scale, expected / scale, rtol=1e-3, atol=1e-6)


def test_pixels_that_say_nothing_give_nan_errors() -> None:
    stamps = stamps_of(np.zeros((1, SIZE**2)))
    blind = Stamps(stamps.value, stamps.x, stamps.y, np.zeros((1, SIZE**2)))
    errors = fit_errors(truths(1), blind, np.eye(SIZE**2), shape_free=True)
    assert np.isnan(errors.covariance).all()
    assert np.isnan(errors.excess).all()


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("shape_free", [True, False])
def test_joint_fits_of_noisy_data_are_those_of_scipy(k: int, shape_free: bool) -> None:
    """Components that overlap, on stamps of which a part has no weight."""
    truth = truths(6, k, seed=k)
    truth[..., 1] *= 0.8
    rng = np.random.default_rng(5)
    weight = (rng.random((6, SIZE**2)) > 0.1).astype(float)
    data = (images(truth) + rng.normal(0.0, 1.0, (6, SIZE**2))) * weight
    whole = stamps_of(data)
    stamps, start = Stamps(whole.value, whole.x, whole.y, weight), guess(truth)
    n = 6 if shape_free else 3
    # Three that overlap, with shapes, crawl.
    fit = fit_gaussians(stamps, start, shape_free=shape_free, max_iterations=400, **OPTIONS)
    assert fit.converged.all()
    for i in range(6):

        def residual(free: np.ndarray, i: int = i) -> np.ndarray:
            parameters = start[i : i + 1].copy()
            parameters[0, :, :n] = free.reshape(k, n)
            made = np.zeros(SIZE**2)
            for amplitude, x0, y0, qxx, qxy, qyy in parameters[0]:
                u, v = stamps.x[i] - x0, stamps.y[i] - y0
                made += amplitude * np.exp(-(qxx * u**2 + 2 * qxy * u * v + qyy * v**2) / 2)
            return (made - data[i])[weight[i] > 0.0]

        begin = start[i, :, :n].ravel()
        other = least_squares(residual, begin, xtol=1e-12, ftol=1e-12, x_scale="jac")
        assert fit.chi2[i] == pytest.approx(2 * other.cost, rel=1e-7)
        found = fit.parameters[i, :, :n].ravel()
        # Where chi-squared is flat to 1e-9: shapes are of the order 1e-2.
        np.testing.assert_allclose(found, other.x, rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("shape_free", [True, False])
def test_the_covariance_is_that_of_sums_over_pairs_of_pixels(k: int, shape_free: bool) -> None:
    """Every derivative by a difference, every sum by a loop, two items with their own noise."""
    parameters = truths(2, k, seed=6)
    rng = np.random.default_rng(7)
    n_pixels = 40
    x, y = rng.integers(-6, 7, (2, 2, n_pixels)).astype(float)
    weight = (rng.random((2, n_pixels)) > 0.2).astype(float)
    stamps = Stamps(np.zeros((2, n_pixels)), x, y, weight)
    correlation = np.empty((2, n_pixels, n_pixels))
    for i in range(2):
        for p in range(n_pixels):
            for q in range(n_pixels):
                distance2 = (x[i, p] - x[i, q]) ** 2 + (y[i, p] - y[i, q]) ** 2
                correlation[i, p, q] = np.exp(-distance2 / (6.0 + i))
    errors = fit_errors(parameters, stamps, correlation, shape_free=shape_free)
    found, expected = errors.covariance, errors.expected_chi2
    n = 6 if shape_free else 3
    for i in range(2):
        columns = []
        for component in range(k):
            for number in range(n):
                step = 1e-6 * max(abs(parameters[i, component, number]), 1e-2)
                high, low = parameters[i : i + 1].copy(), parameters[i : i + 1].copy()
                high[0, component, number] += step
                low[0, component, number] -= step
                one = stamps.take(np.array([i]))
                columns.append((model(high, one) - model(low, one))[0] / (2.0 * step))
        normal = np.zeros((k * n, k * n))
        middle = np.zeros((k * n, k * n))
        for a, first in enumerate(columns):
            for b, second in enumerate(columns):
                normal[a, b] = sum(first[p] * second[p] for p in range(n_pixels))
                middle[a, b] = sum(
                    first[p] * correlation[i, p, q] * second[q]
                    for p in range(n_pixels)
                    for q in range(n_pixels)
                )
        inverse = np.linalg.inv(normal)
        wanted = inverse @ middle @ inverse
        size = np.sqrt(np.outer(np.diag(wanted), np.diag(wanted)))
        # Differences are good to 1e-8, and the inverse makes ten to a thousand times more of it.
        np.testing.assert_allclose(found[i] / size, wanted / size, atol=1e-5)
        absorbed = np.trace(inverse @ middle)
        assert expected[i] == pytest.approx(weight[i].sum() - absorbed, rel=1e-6)

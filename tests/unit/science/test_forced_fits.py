"""Fluxes at given positions: truth, errors, what cannot be measured, upper limits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from trap_ops.records.images import Autocorrelation, NoiseGrid, NoiseModel
from trap_ops.science.background import noise_at
from trap_ops.science.beam import FWHM_PER_SIGMA, beam_covariance, fwhm_of_covariance
from trap_ops.science.component_fits import HELD_RADIUS_FWHM
from trap_ops.science.footprints import MAX_GROUP, group_components, make_footprint
from trap_ops.science.forced_fits import ForcedFits, fit_positions, upper_limits
from trap_ops.science.masks import blank_pixels
from trap_ops.science.model_image import add_gaussians
from trap_ops.science.noise import correlation_at, gaussian_autocorrelation
from trap_ops.simulate.noise import NoiseKind, correlated_noise

BEAM = beam_covariance(7.0, 5.0, 30.0, [[-1.0, 0.0], [0.0, 1.0]])
SIZE = 512


def noise_model(kind: NoiseKind = "natural", rms: float = 1.0, level: float = 0.0) -> NoiseModel:
    grid = NoiseGrid(np.full((1, 1), level), np.full((1, 1), rms), 256.0, 256.0, 512.0, 512.0)
    scale = 1.0 if kind == "natural" else 2.0
    return NoiseModel(grid, gaussian_autocorrelation(BEAM, scale), rms, rms)


def fit(
    data: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    noise: NoiseModel | None = None,
    margin_px: int = 0,
    radius_px: float = 0.0,
    *,
    joint: bool = False,
) -> ForcedFits:
    blank = blank_pixels(data, fwhm_of_covariance(BEAM))
    return fit_positions(
        data, blank, x, y, noise or noise_model(), BEAM, margin_px=margin_px, radius_px=radius_px,
        joint=joint,
    )  # fmt: skip


def positions(step: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Positions at all fractions of a pixel, far from each other."""
    y, x = np.mgrid[16 : SIZE - 16 : step, 16 : SIZE - 16 : step].reshape(2, -1).astype(float)
    return np.stack([x, y]) + np.random.default_rng(1).uniform(-0.5, 0.5, (2, len(x)))


def test_a_point_source_without_noise_has_its_flux() -> None:
    x, y = positions()
    flux = np.random.default_rng(2).uniform(-5.0, 50.0, len(x))
    data = np.full((SIZE, SIZE), 3.0, dtype=np.float32)
    add_gaussians(data, x, y, flux, BEAM)
    found = fit(data, x, y, noise_model(level=3.0))
    np.testing.assert_allclose(found.peak, flux, atol=2e-5)
    assert found.background == pytest.approx(3.0)
    assert found.chisq.max() < 1e-6
    assert set(found.reason) == {""}


@pytest.mark.parametrize("kind", ["natural", "beam-smoothed"])
def test_errors_are_the_scatter_of_empty_sky(kind: NoiseKind) -> None:
    x, y = positions(16)
    pulls = []
    for seed in range(4):
        data = correlated_noise((SIZE, SIZE), BEAM, kind, np.random.default_rng(seed))
        found = fit(data * 2, x, y, noise_model(kind, 2.0))
        pulls.append(found.peak / found.peak_err)
    pull = np.concatenate(pulls)
    # 3844 positions: 1.1 per cent in the scatter, 1.6 in the mean; four sigma.
    assert pull.std() == pytest.approx(1.0, abs=0.046)
    assert pull.mean() == pytest.approx(0.0, abs=0.065)


def test_a_measurement_does_not_know_its_batch_mates() -> None:
    data = correlated_noise((SIZE, SIZE), BEAM, "natural", np.random.default_rng(3))
    x, y = positions()
    together = fit(data, x, y)
    order = np.random.default_rng(4).permutation(len(x))
    for part in (order[:1], order[1:100], order[100:]):
        alone = fit(data, x[part], y[part])
        for name in ("peak", "peak_err", "snr", "chisq", "reduced_chisq"):
            np.testing.assert_array_equal(getattr(alone, name), getattr(together, name)[part])


def test_what_cannot_be_measured_says_why() -> None:
    data = correlated_noise((SIZE, SIZE), BEAM, "natural", np.random.default_rng(5))
    data[100, 100] = np.nan
    data[200:210, 200:210] = 0.0
    x = np.array([-1.0, np.nan, 0.0, 4.0, 100.0, 101.0, 205.0, 256.0, 300.0])
    y = np.array([50.0, 50.0, 50.0, 50.0, 100.0, 101.0, 205.0, 256.0, 511.6])
    found = fit(data, x, y)
    assert found.reason.tolist() == [
        "outside_image", "outside_image", "edge", "", "masked", "masked", "masked", "",
        "outside_image",
    ]  # fmt: skip
    missing = found.reason != ""
    for name in ("peak", "peak_err", "background", "rms", "snr", "chisq"):
        assert (np.isnan(getattr(found, name)) == missing).all(), name


def test_margin_and_radius_bound_what_is_measured() -> None:
    data = np.ones((SIZE, SIZE), dtype=np.float32)
    x, y = np.array([255.5, 30.0, 478.0]), np.array([255.5, 255.5, 255.5])
    found = fit(data, x, y, margin_px=40, radius_px=0.0)
    assert found.reason.tolist() == ["", "edge", "edge"]
    found = fit(data, x, y, margin_px=0, radius_px=225.0)
    assert found.reason.tolist() == ["", "edge", ""]


def test_a_pixel_without_data_further_out_takes_no_part() -> None:
    data = np.full((SIZE, SIZE), 1.0, dtype=np.float32)
    x, y = np.array([100.0]), np.array([100.0])
    add_gaussians(data, x, y, np.array([10.0]), BEAM)
    data[102, 100] = np.nan
    found = fit(data, x, y, noise_model(level=1.0))
    assert found.peak[0] == pytest.approx(10.0, abs=1e-5)


@pytest.mark.parametrize("distance_px", [0.0, 1.0, 1.4, 2.0, 3.0])
def test_a_blank_border_of_zeros_is_as_one_of_nan(distance_px: float) -> None:
    """Imagers write either; a source beside one must not lose its light into the other."""
    data = correlated_noise((SIZE, SIZE), BEAM, "natural", np.random.default_rng(6))
    x, y = np.array([100.0 + distance_px]), np.array([250.3])
    add_gaussians(data, x, y, np.array([100.0]), BEAM)
    found = []
    for value in (0.0, np.nan):
        data[:, :100] = value
        found.append(fit(data, x, y))
    zeros, nans = found
    assert zeros.reason[0] == nans.reason[0] == ("masked" if distance_px < 0.5 else "")
    assert zeros.peak[0] == pytest.approx(nans.peak[0], nan_ok=True, rel=1e-12)
    if distance_px >= 0.5:
        assert abs(zeros.peak[0] - 100.0) < 4.0 * zeros.peak_err[0]


def test_a_wide_beam_needs_its_nearest_pixels_too() -> None:
    """Its footprint is thinned out, so the neighbours of the centre are not in it."""
    beam = beam_covariance(40.0, 40.0, 0.0, [[-1.0, 0.0], [0.0, 1.0]])
    data = np.ones((SIZE, SIZE), dtype=np.float32)
    data[200, 201] = np.nan
    noise = replace(noise_model(), correlation=gaussian_autocorrelation(beam, 1.0))
    x, y = np.array([200.0, 300.0]), np.array([200.0, 300.0])
    found = fit_positions(data, ~np.isfinite(data), x, y, noise, beam, margin_px=0, radius_px=0.0)
    assert found.reason.tolist() == ["masked", ""]


def test_goodness_of_fit_counts_independent_pixels() -> None:
    """SCIENCE 4.8: chi-squared times the beam's pi a b (half widths) over the number of pixels."""
    data = correlated_noise((SIZE, SIZE), BEAM, "natural", np.random.default_rng(7))
    x, y = positions(64)
    found = fit(data, x, y)
    major, minor = np.sqrt(np.linalg.eigvalsh(BEAM)) * FWHM_PER_SIGMA / 2.0
    n_pixels = len(make_footprint(BEAM, HELD_RADIUS_FWHM))
    np.testing.assert_allclose(
        found.reduced_chisq, found.chisq * np.pi * major * minor / n_pixels, rtol=1e-12
    )


def test_no_positions_is_no_work() -> None:
    found = fit(np.ones((9, 9), np.float32), np.empty(0), np.empty(0))
    assert len(found.peak) == 0


def test_upper_limits_are_for_what_is_no_detection() -> None:
    peak = np.array([-9.0, -3.0, -2.0, 0.0, 2.5, 3.0, 50.0, np.nan])
    nan = np.nan
    limits = upper_limits(peak, np.ones(8), 3.0, signed=False)
    np.testing.assert_array_equal(limits, [3.0, 3.0, 3.0, 3.0, 5.5, nan, nan, nan])
    limits = upper_limits(peak, np.ones(8), 3.0, signed=True)
    np.testing.assert_array_equal(limits, [nan, nan, 5.0, 3.0, 5.5, nan, nan, nan])


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("sigma", [2.0, 3.0])
def test_true_fluxes_are_above_their_limits_no_more_often_than_noise_allows(
    sigma: float, signed: bool
) -> None:
    n = 400_000
    rng = np.random.default_rng(1)
    allowed = norm.sf(sigma)
    least = allowed + 4.0 * np.sqrt(allowed / n)
    for true_flux in (-4.0, -1.0, 0.0, 0.5, 2.0, 3.0, 6.0):
        if true_flux < 0.0 and not signed:
            continue
        error = rng.uniform(0.5, 2.0, n)
        peak = true_flux * error + error * rng.standard_normal(n)
        limits = upper_limits(peak, error, sigma, signed=signed)
        assert (np.nan_to_num(limits, nan=np.inf) < abs(true_flux) * error).mean() < least
        # And no limit is below what an image without any source can tell.
        assert np.nanmin(limits / error) >= sigma * (1.0 - 1e-12)


def neighbours(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Groups of n positions half a beam to 1.5 beams apart, far from each other; their fluxes."""
    rng = np.random.default_rng(n)
    x, y = positions(64)
    angle = rng.uniform(0, 2 * np.pi, len(x))[:, None] + np.arange(n) * 2 * np.pi / n
    reach = rng.uniform(2.0, 4.0, len(x))[:, None] * (1.0 if n > 2 else 0.8)
    return (
        (x[:, None] + reach * np.cos(angle)).ravel(),
        (y[:, None] + reach * np.sin(angle)).ravel(),
        rng.uniform(-5.0, 60.0, n * len(x)),
    )


@pytest.mark.parametrize("n", [2, 3, 5])
def test_positions_near_each_other_are_told_apart_if_fitted_together(n: int) -> None:
    x, y, flux = neighbours(n)
    data = np.full((SIZE, SIZE), 3.0, dtype=np.float32)
    add_gaussians(data, x, y, flux, BEAM)
    noise = noise_model(level=3.0)
    together, apart = fit(data, x, y, noise, joint=True), fit(data, x, y, noise)
    np.testing.assert_allclose(together.peak, flux, atol=2e-3)
    assert np.abs(apart.peak - flux).max() > 5.0
    # Least squares do not weigh correlated pixels by what they say, so single errors may be lower.
    assert together.peak_err.mean() > apart.peak_err.mean()


def test_errors_of_joint_fits_are_their_scatter() -> None:
    x, y, flux = neighbours(2)
    pulls = []
    for seed in range(16):
        data = correlated_noise((SIZE, SIZE), BEAM, "natural", np.random.default_rng(seed))
        add_gaussians(data, x, y, flux, BEAM)
        found = fit(data, x, y, joint=True)
        pulls.append((found.peak - flux) / found.peak_err)
    pull = np.concatenate(pulls)
    # 1568 values: 1.8 per cent in the scatter, 2.5 in the mean; four sigma.
    assert len(pull) > 1500
    assert pull.std() == pytest.approx(1.0, abs=0.072)
    assert pull.mean() == pytest.approx(0.0, abs=0.1)


def test_joint_fits_change_nothing_for_what_is_alone_or_the_same() -> None:
    data = correlated_noise((SIZE, SIZE), BEAM, "natural", np.random.default_rng(3))
    x, y = positions()
    data[int(y[40]) + 2, int(x[40])] = np.nan
    alone = fit(data, x, y)
    for name in ("peak", "peak_err"):
        both = getattr(fit(data, x, y, joint=True), name)
        np.testing.assert_array_equal(both, getattr(alone, name))
    twice = fit(data, np.append(x, x[3]), np.append(y, y[3] + 1e-3), joint=True)
    assert twice.peak[3] == alone.peak[3]
    assert twice.peak[-1] == pytest.approx(alone.peak[3], rel=1e-2)
    assert fit(data, np.empty(0), np.empty(0), joint=True).peak.shape == (0,)


def test_joint_fits_stop_at_margins_and_holes() -> None:
    data = np.zeros((SIZE, SIZE), dtype=np.float32)
    x, y, flux = np.array([20.2, 24.9]), np.array([14.0, 14.3]), np.array([30.0, 20.0])
    data += correlated_noise((SIZE, SIZE), BEAM, "natural", np.random.default_rng(1)) * 1e-3
    add_gaussians(data, x, y, flux, BEAM)
    # What lies beyond the margin is wrong, and must have no part.
    data[:10] = 1e6
    data[17, 18] = np.nan
    found = fit(data, x, y, noise_model(rms=1e-3), margin_px=10, joint=True)
    np.testing.assert_allclose(found.peak, flux, atol=0.01)


@pytest.mark.parametrize("joint", [False, True])
def test_no_error_is_nothing_whatever_the_noise_is_said_to_be(joint: bool) -> None:
    """A measured correlation need not be positive definite."""
    model = noise_model()
    against = np.full_like(model.correlation.values, -1.0)
    reach = len(against) // 2
    against[reach, reach] = 1.0
    model = replace(model, correlation=Autocorrelation(against, measured=True))
    data = correlated_noise((SIZE, SIZE), BEAM, "natural", np.random.default_rng(3))
    x, y, _ = neighbours(2)
    found = fit(data, x, y, model, joint=joint)
    plain = fit(data, x, y, replace(model, correlation=white()), joint=joint)
    np.testing.assert_allclose(found.peak_err, 0.5 * plain.peak_err)


def white() -> Autocorrelation:
    """Correlation of pixels that know nothing of each other."""
    values = np.zeros((3, 3))
    values[1, 1] = 1.0
    return Autocorrelation(values, measured=True)


def test_no_position_depends_on_the_fraction_of_a_pixel() -> None:
    """The fault of the classic finder: 3 to 35 per cent of the flux."""
    for beam_px in (2.4, 3.2, 6.0):
        beam = beam_covariance(beam_px, beam_px, 0.0, [[-1.0, 0.0], [0.0, 1.0]])
        grid = NoiseGrid(np.zeros((1, 1)), np.ones((1, 1)), 0.0, 0.0, 1.0, 1.0)
        model = NoiseModel(grid, gaussian_autocorrelation(beam, 1.0), 1.0, 1.0)
        fraction = np.linspace(-0.5, 0.49, 12)
        dx, dy = (axis.ravel() for axis in np.meshgrid(fraction, fraction))
        y, x = np.mgrid[20:500:40, 20:500:40].reshape(2, -1).astype(float)
        data = np.zeros((SIZE, SIZE), dtype=np.float32)
        add_gaussians(data, x + dx, y + dy, np.full(144, 1000.0), beam)
        blank = np.zeros(data.shape, dtype=bool)
        found = fit_positions(data, blank, x + dx, y + dy, model, beam, margin_px=0, radius_px=0.0)
        np.testing.assert_allclose(found.peak, 1000.0, rtol=1e-6)


SLOPE = NoiseModel(
    NoiseGrid(
        np.random.default_rng(2).normal(0.0, 3.0, (6, 7)),
        np.random.default_rng(3).uniform(0.5, 2.0, (6, 7)),
        40.0, 30.0, 80.0, 90.0,
    ),
    gaussian_autocorrelation(BEAM, 1.3), 0.5, 2.0,
)  # fmt: skip


def slow_fit(
    data: np.ndarray, x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Peaks, errors and chi-squared of point sources fitted together, by least squares of numpy.

    Pixels are taken within half a full width of the pixel that a position is on, once each.
    """
    inverse = np.linalg.inv(BEAM)

    def beam(u: float, v: float) -> float:
        return float(np.exp(-0.5 * np.array([u, v]) @ inverse @ np.array([u, v])))

    places = list(zip(x.tolist(), y.tolist(), strict=True))
    background, rms = noise_at(SLOPE.grid, x, y)
    unit = float(rms.mean())
    pixels: dict[tuple[int, int], float] = {}
    corners = [(round(px), round(py)) for px, py in places]
    limit = np.exp(-0.5 * (HELD_RADIUS_FWHM * FWHM_PER_SIGMA) ** 2)
    for row in range(min(y.astype(int)) - 9, max(y.astype(int)) + 10):
        for column in range(min(x.astype(int)) - 9, max(x.astype(int)) + 10):
            nearness = [beam(column - cx, row - cy) for cx, cy in corners]
            nearest = int(np.argmax(nearness))
            cx, cy = corners[nearest]
            inside = nearness[nearest] >= limit or max(abs(column - cx), abs(row - cy)) <= 1
            if inside and np.isfinite(data[row, column]):
                pixels[column, row] = (float(data[row, column]) - background.mean()) / unit
    design = np.array([[beam(c - px, r - py) for px, py in places] for c, r in pixels])
    values = np.array(list(pixels.values()))
    peak, *_ = np.linalg.lstsq(design, values, rcond=None)
    correlation = np.array(
        [
            [float(correlation_at(SLOPE.correlation, np.array(a - c), np.array(b - d)))
             for c, d in pixels]
            for a, b in pixels
        ]
    )  # fmt: skip
    solver = np.linalg.pinv(design)
    covariance = solver @ correlation @ solver.T
    chisq = float(((values - design @ peak) ** 2).sum())
    return peak * unit, np.sqrt(np.diag(covariance)) * unit, np.full(len(x), chisq)


def test_a_forced_fit_is_least_squares_of_its_pixels() -> None:
    data = correlated_noise((SIZE, SIZE), BEAM, "natural", np.random.default_rng(8))
    x, y = np.array([100.3, 200.0, 331.6, 60.5]), np.array([90.2, 400.0, 222.4, 300.4])
    add_gaussians(data, x, y, np.array([10.0, -4.0, 30.0, 0.5]), BEAM)
    data[93, 101] = data[224, 330] = np.nan
    found = fit(data, x, y, SLOPE)
    assert set(found.reason) == {""}
    for i in range(len(x)):
        peak, error, chisq = slow_fit(data, x[i : i + 1], y[i : i + 1])
        assert found.peak[i] == pytest.approx(peak[0], rel=1e-10)
        assert found.peak_err[i] == pytest.approx(error[0], rel=1e-10)
        assert found.chisq[i] == pytest.approx(chisq[0], rel=1e-10)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_joint_forced_fits_are_least_squares_of_their_pixels(n: int) -> None:
    """Also where the noise differs from one position to the next, and pixels are missing."""
    x, y, flux = (axis[: 3 * n] for axis in neighbours(n))
    data = correlated_noise((SIZE, SIZE), BEAM, "natural", np.random.default_rng(9))
    add_gaussians(data, x, y, flux, BEAM)
    data[np.rint(y[::2]).astype(int) + 2, np.rint(x[::2]).astype(int)] = np.nan
    found = fit(data, x, y, SLOPE, joint=True)
    group = group_components(x, y, BEAM)
    assert np.bincount(group).max() == n <= MAX_GROUP
    measured = 0
    for number in range(group.max() + 1):
        mine = np.flatnonzero((group == number) & (found.reason == ""))
        if len(mine) < n:
            continue
        peak, error, chisq = slow_fit(data, x[mine], y[mine])
        np.testing.assert_allclose(found.chisq[mine], chisq, rtol=1e-9)
        np.testing.assert_allclose(found.peak[mine], peak, rtol=1e-9)
        np.testing.assert_allclose(found.peak_err[mine], error, rtol=1e-9)
        measured += 1
    assert measured > 0

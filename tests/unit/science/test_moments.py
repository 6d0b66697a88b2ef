"""Moments against the worked numbers of the classic finder, and on drawn Gaussians."""

from __future__ import annotations

import numpy as np
import pytest

from trap_ops.science.beam import FWHM_PER_SIGMA
from trap_ops.science.moments import measure_moments, sampling_gain

PER_HALF_WIDTH = FWHM_PER_SIGMA / 2.0


def covariance(semimajor: float, semiminor: float, theta: float) -> np.ndarray:
    """Half widths, and the angle from +y towards -x."""
    major = np.array([-np.sin(theta), np.cos(theta)])
    minor = np.array([np.cos(theta), np.sin(theta)])
    return (
        semimajor**2 * np.outer(major, major) + semiminor**2 * np.outer(minor, minor)
    ) / PER_HALF_WIDTH**2


BEAM = covariance(2.7, 2.3, 0.2)
SHAPE = covariance(3.0, 2.5, 0.3)
Y, X = (np.mgrid[-20:21, -20:21]).reshape(2, 1, -1).astype(float)


def drawn(shape: np.ndarray, x: float = 0.0, y: float = 0.0) -> np.ndarray:
    offset = np.stack([X - x, Y - y], axis=-1)
    return np.exp(-0.5 * ((offset @ np.linalg.inv(shape)) * offset).sum(axis=-1))


@pytest.mark.parametrize(
    ("axes", "mean", "variance"),
    [
        ((1.46255645752, 1.30175183614, 1.51619779602), 1.0638043, 0.00174390),
        ((1.56219151815, 1.25084762573, 1.49080535398), 1.0632838, 0.00177651),
        ((2.7, 2.3, 0.2), 1.0190960, 1.52985e-4),
    ],
)
def test_what_a_beam_loses_by_sampling(
    axes: tuple[float, float, float], mean: float, variance: float
) -> None:
    assert sampling_gain(covariance(*axes)) == pytest.approx((mean, variance), rel=1e-5)


def test_widths_are_those_of_the_whole_source() -> None:
    """Cut at 0.06 its axes are (2.6995, 2.2705), without the correction for that."""
    value = drawn(SHAPE)
    gain = sampling_gain(BEAM)[0]
    made = measure_moments(
        value / gain, X, Y, value > 0.06, np.array([0.06]), np.array([0.02]), BEAM,
        force_beam=False,
    )  # fmt: skip
    axes = np.sqrt(np.linalg.eigvalsh(made.shape_covariance[0])) * PER_HALF_WIDTH
    np.testing.assert_allclose(axes, [2.5068, 2.9803], rtol=2e-4)


def test_errors_are_the_classic_ones() -> None:
    """One source of peak 1 and axes (3, 2.5), given by sums that have just these moments."""
    gain = sampling_gain(BEAM)[0]
    left = 1.0 + 0.06 * np.log(0.06) / 0.94
    # Four points have the variance of the source in both axes; a fifth one has its peak.
    root = np.linalg.cholesky(SHAPE * left)
    corners = np.array([[1, 0], [-1, 0], [0, 1], [0, -1], [0, 0]]) @ root.T
    value = np.array([[0.5, 0.5, 0.5, 0.5, 1.0]]) / gain
    # Weighted: each pair has 1 / 3 of the light.
    corners *= np.sqrt(3.0)
    made = measure_moments(
        value, corners[None, :, 0] + 7.0, corners[None, :, 1] - 2.0, np.ones((1, 5), dtype=bool),
        np.array([0.06]), np.array([0.02]), BEAM, force_beam=False,
    )  # fmt: skip
    np.testing.assert_allclose(made.shape_covariance[0], SHAPE, rtol=1e-9)
    assert (made.x[0], made.y[0]) == pytest.approx((7.0, -2.0))
    assert (made.peak[0], made.peak_err[0]) == pytest.approx((1.0, 0.023515632), rel=1e-6)
    assert (made.flux[0], made.flux_err[0]) == pytest.approx((1.207729469, 0.057360891), rel=1e-6)
    errors = np.sqrt(np.diag(made.position_covariance[0]))
    np.testing.assert_allclose(errors, [0.098121295, 0.113994382], rtol=1e-6)


@pytest.mark.parametrize("force_beam", [True, False])
def test_sources_without_noise(force_beam: bool) -> None:
    value = np.concatenate([40.0 * drawn(BEAM, 0.3, -0.4), 90.0 * drawn(BEAM, -0.2, 0.1)])
    x, y = np.broadcast_to(X, value.shape), np.broadcast_to(Y, value.shape)
    made = measure_moments(
        value, x, y, value > 3.0, np.full(2, 3.0), np.ones(2), BEAM, force_beam=force_beam
    )
    np.testing.assert_allclose(made.x, [0.3, -0.2], atol=0.02)
    np.testing.assert_allclose(made.y, [-0.4, 0.1], atol=0.02)
    # The sampling is corrected on average only.
    np.testing.assert_allclose(made.peak, [40.0, 90.0], rtol=0.03)
    np.testing.assert_allclose(made.flux, [40.0, 90.0], rtol=0.05)
    if force_beam:
        np.testing.assert_array_equal(made.flux, made.peak)
        np.testing.assert_array_equal(made.shape_covariance, [BEAM, BEAM])


@pytest.mark.parametrize("pixels", [[(0, 0)], [(0, 0), (1, 0), (2, 0)]])
def test_what_has_no_width_has_the_beams(pixels: list[tuple[int, int]]) -> None:
    used = np.zeros(X.shape, dtype=bool)
    for x, y in pixels:
        used |= (x == X) & (y == Y)
    made = measure_moments(
        np.full(X.shape, 10.0), X, Y, used, np.array([3.0]), np.ones(1), BEAM, force_beam=False
    )
    np.testing.assert_array_equal(made.shape_covariance, [BEAM])
    assert made.x[0] == np.mean([x for x, _ in pixels])
    assert np.isfinite([made.flux_err[0], made.peak_err[0]]).all()

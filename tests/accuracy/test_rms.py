"""Rms of an image's centre on simulated images of known noise: what it is off by, and when."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.stats import norm

from trap_ops.science.quality import central_rms

SIGMA = 2.5e-3
CLIP = 4.0
# The centre has 256 x 256 pixels.
SIZE = 512


def clipped(sigma: float, clip: float) -> float:
    """Rms that Gaussian noise has after repeated clipping: of a normal cut at its own clip."""
    ratio = 1.0
    for _ in range(100):
        edge = clip * ratio
        ratio = np.sqrt(1.0 - 2.0 * edge * norm.pdf(edge) / (2.0 * norm.cdf(edge) - 1.0))
    return float(sigma * ratio)


def white(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(0.0, SIGMA, (SIZE, SIZE))


def correlated(rng: np.random.Generator, width_px: float = 1.5) -> np.ndarray:
    """Noise smoothed with a beam of 3.5 pixels, of standard deviation SIGMA."""
    made = gaussian_filter(rng.normal(0.0, 1.0, (SIZE, SIZE)), width_px, mode="wrap")
    # Noise-equivalent area of the smoothing.
    impulse = np.zeros((65, 65))
    impulse[32, 32] = 1.0
    return made * SIGMA / np.sqrt((gaussian_filter(impulse, width_px) ** 2).sum())


def ratios(make: Callable[[np.random.Generator], np.ndarray], clip: float = CLIP) -> np.ndarray:
    """Measured over true rms in 12 images."""
    return np.array(
        [
            central_rms(make(np.random.default_rng(seed)).astype(np.float32), clip, 4) / SIGMA
            for seed in range(12)
        ]
    )


@pytest.mark.parametrize(("clip", "low_by"), [(2.5, 0.0), (3.0, 0.01515), (4.0, 0.00054)])
def test_bias_of_clipping_is_the_analytic_one(clip: float, low_by: float) -> None:
    """No correction is made, as in the classic pipeline; at 4 sigma none is needed."""
    expected = clipped(1.0, clip)
    if low_by:
        assert 1.0 - expected == pytest.approx(low_by, abs=1e-5)
    found = ratios(white, clip)
    # An rms of n pixels is known to 1 in sqrt(2 n); 12 images of 65536 pixels.
    assert found.mean() == pytest.approx(expected, abs=4.0 / np.sqrt(2 * 65536 * 12) * 1.5)
    assert found.std() < 2.0 / np.sqrt(2 * 65536)


def test_correlated_noise_is_as_true_but_less_certain() -> None:
    found = ratios(correlated)
    assert found.mean() == pytest.approx(clipped(1.0, CLIP), abs=0.005)
    assert 1.0 / np.sqrt(2 * 65536) < found.std() < 0.02


def add_sources(image: np.ndarray, rng: np.random.Generator, number: int) -> np.ndarray:
    """Point sources of 5 to 500 sigma, in a beam of 3.5 pixels (FWHM)."""
    y, x = np.mgrid[-8:9, -8:9]
    beam = np.exp(-(x**2 + y**2) / (2.0 * 1.5**2))
    for peak in SIGMA * 5.0 * 100.0 ** rng.random(number):
        top, left = rng.integers(0, SIZE - 17, 2)
        image[top : top + 17, left : left + 17] += peak * beam
    return image


@pytest.mark.parametrize(
    ("per_beam", "low", "high"),
    # A source in 200 beams of 14 pixels; in 40; in 10: crowded.
    [(200, 1.0, 1.05), (40, 1.03, 1.3), (10, 1.3, 8.0)],
)
def test_sources_raise_it(per_beam: int, low: float, high: float) -> None:
    number = int(SIZE**2 / 14.0 / per_beam)
    found = ratios(lambda rng: add_sources(correlated(rng), rng, number))
    assert low < np.median(found) < high


def test_a_smooth_background_adds_its_variance() -> None:
    """A slope of s a pixel over n pixels has the variance (s n)^2 / 12."""
    slope = SIGMA / 128.0
    plane = slope * np.arange(SIZE)
    found = ratios(lambda rng: white(rng) + plane)
    assert found.mean() == pytest.approx(np.sqrt(1.0 + (256 / 128) ** 2 / 12.0), rel=0.005)


def test_a_constant_level_changes_nothing() -> None:
    assert ratios(lambda rng: white(rng) + 0.5).mean() == pytest.approx(ratios(white).mean())


def test_pixels_without_data_take_no_part() -> None:
    def cut(rng: np.random.Generator) -> np.ndarray:
        image = white(rng)
        y, x = np.indices(image.shape) - SIZE / 2
        image[x**2 + y**2 > 110**2] = np.nan
        image[rng.random(image.shape) < 0.1] = np.inf
        return image

    assert ratios(cut).mean() == pytest.approx(clipped(1.0, CLIP), abs=0.002)


def test_interference_in_stripes_is_seen() -> None:
    """A ripple of 2 sigma amplitude doubles the variance and two: no clip hides it."""
    ripple = 2.0 * SIGMA * np.sin(np.arange(SIZE) / 3.0)
    assert ratios(lambda rng: white(rng) + ripple).mean() == pytest.approx(np.sqrt(3.0), rel=0.01)

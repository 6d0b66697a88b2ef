"""Autocorrelation of the noise, measured and simulated, against theory."""

from __future__ import annotations

import numpy as np
import pytest

from trap_ops.science.beam import beam_covariance
from trap_ops.science.noise import (
    correlation_at,
    gaussian_autocorrelation,
    max_lag,
    measure_autocorrelation,
)
from trap_ops.simulate.noise import NoiseKind, correlated_noise

PIXELS = np.array([[-1.0, 0.0], [0.0, 1.0]])
BEAM = beam_covariance(7.0, 5.0, 30.0, PIXELS)
SCALES: dict[NoiseKind, float] = {"natural": 1.0, "beam-smoothed": 2.0}


def made(kind: NoiseKind, seed: int = 1, size: int = 768) -> np.ndarray:
    return correlated_noise((size, size), BEAM, kind, np.random.default_rng(seed))


@pytest.mark.parametrize("kind", SCALES)
def test_measured_is_that_of_theory(kind: NoiseKind) -> None:
    data = made(kind)
    measured = measure_autocorrelation(data, np.ones(data.shape, dtype=bool), BEAM)
    theory = gaussian_autocorrelation(BEAM, SCALES[kind])
    assert measured.measured
    # Some 15 000 beams: 0.8 per cent a lag, and neighbouring lags go together.
    assert np.abs(measured.values - theory.values).max() < 0.04
    other = gaussian_autocorrelation(BEAM, 3.0 - SCALES[kind])
    assert np.abs(measured.values - other.values).max() > 0.1


def test_it_is_one_at_zero_and_symmetric() -> None:
    data = made("natural")
    values = measure_autocorrelation(data, np.ones(data.shape, dtype=bool), BEAM).values
    centre = max_lag(BEAM)
    assert values.shape == (2 * centre + 1, 2 * centre + 1)
    assert values[centre, centre] == 1.0
    np.testing.assert_array_equal(values, values[::-1, ::-1])


def test_what_is_not_valid_is_not_seen() -> None:
    data = made("natural")
    valid = np.random.default_rng(2).random(data.shape) > 0.3
    spoilt = np.where(valid, data, np.float32(np.nan))
    found = measure_autocorrelation(spoilt, valid, BEAM).values
    np.testing.assert_array_equal(measure_autocorrelation(data, valid, BEAM).values, found)
    whole = measure_autocorrelation(data, np.ones_like(valid), BEAM).values
    assert np.abs(found - whole).max() < 0.03


def test_an_offset_is_not_correlation() -> None:
    data = made("natural")
    valid = np.ones(data.shape, dtype=bool)
    found = measure_autocorrelation(data + np.float32(5.0), valid, BEAM).values
    assert found == pytest.approx(measure_autocorrelation(data, valid, BEAM).values, abs=1e-4)


def test_few_beams_say_less_than_the_guess() -> None:
    data = made("beam-smoothed", size=64)
    found = measure_autocorrelation(data, np.ones(data.shape, dtype=bool), BEAM)
    assert not found.measured
    np.testing.assert_array_equal(found.values, gaussian_autocorrelation(BEAM, 1.0).values)


def test_correlation_is_looked_up_by_offset_and_zero_beyond() -> None:
    correlation = gaussian_autocorrelation(BEAM, 1.0)
    dx, dy = np.array([0, 2, -2, 2, 999]), np.array([0, 1, -1, -1, 0])
    inverse = np.linalg.inv(BEAM)
    offset = np.stack([dx, dy], axis=1)
    expected = np.exp(-0.5 * np.einsum("ni,ij,nj->n", offset, inverse, offset))
    expected[4] = 0.0
    assert correlation_at(correlation, dx, dy) == pytest.approx(expected, rel=1e-12)


def slow_autocorrelation(residual: np.ndarray, valid: np.ndarray, reach: int) -> np.ndarray:
    """Mean product of the valid pairs at each lag, over that at lag 0."""
    ny, nx = residual.shape
    noise = residual - residual[valid].mean()
    made = np.empty((2 * reach + 1, 2 * reach + 1))
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            here = slice(max(dy, 0), ny + min(dy, 0)), slice(max(dx, 0), nx + min(dx, 0))
            there = slice(max(-dy, 0), ny + min(-dy, 0)), slice(max(-dx, 0), nx + min(-dx, 0))
            both = valid[here] & valid[there]
            made[dy + reach, dx + reach] = (noise[here] * noise[there])[both].mean()
    return made / made[reach, reach]


@pytest.mark.parametrize("shape", [(150, 211), (200, 128)])
def test_measured_is_the_mean_product_of_pairs(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(4)
    data = correlated_noise(shape, BEAM, "natural", rng) + np.float32(0.3)
    valid = rng.random(shape) > 0.3
    valid[40:60, 50:90] = False
    beam = BEAM / 3.0
    found = measure_autocorrelation(data, valid, beam)
    assert found.measured
    wanted = slow_autocorrelation(data.astype(float), valid, max_lag(beam))
    # The transform and its spectrum are float32.
    np.testing.assert_allclose(found.values, wanted, atol=2e-6)

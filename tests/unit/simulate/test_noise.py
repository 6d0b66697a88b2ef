"""Simulated noise: variance one, the promised correlation, reproducible."""

from __future__ import annotations

import numpy as np
import pytest

from trap_ops.science.beam import beam_covariance
from trap_ops.simulate.noise import NoiseKind, correlated_noise

BEAM = beam_covariance(9.0, 5.0, 60.0, [[-1.0, 0.0], [0.0, 1.0]])


@pytest.mark.parametrize(("kind", "scale"), [("natural", 1.0), ("beam-smoothed", 2.0)])
@pytest.mark.parametrize("shape", [(256, 256), (255, 301)])
def test_correlation_and_variance_over_many_draws(
    kind: NoiseKind, scale: float, shape: tuple[int, int]
) -> None:
    rng = np.random.default_rng(1)
    draws = [correlated_noise(shape, BEAM, kind, rng).astype(float) for _ in range(12)]
    assert np.mean([draw.var() for draw in draws]) == pytest.approx(1.0, abs=0.03)
    inverse = np.linalg.inv(BEAM * scale)
    for dx, dy in ((1, 0), (0, 1), (3, 2), (-3, 2), (4, -4)):
        measured = np.mean([(draw * np.roll(draw, (dy, dx), axis=(0, 1))).mean() for draw in draws])
        offset = np.array([dx, dy])
        expected = np.exp(-0.5 * offset @ inverse @ offset)
        # Some 15 000 beams in all.
        assert measured == pytest.approx(expected, abs=0.03), (dx, dy)


def test_the_seed_decides() -> None:
    first, again, other = (
        correlated_noise((64, 64), BEAM, "natural", np.random.default_rng(seed))
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).all()

"""Simulated light curves: variables vary enough to be found, transients are new and short."""

from __future__ import annotations

import numpy as np
import pytest

from trap_ops.simulate.sky import SimulatedSky, transient_light_curves, variable_light_curves


@pytest.mark.parametrize("n_epochs", [6, 24, 100])
def test_variables_change_by_tens_of_per_cent(n_epochs: int) -> None:
    mean = np.geomspace(0.01, 1.0, 60)
    flux, shape = variable_light_curves(mean, n_epochs, np.random.default_rng(1))
    assert flux.shape == (n_epochs, 60)
    assert (flux > 0.0).all()
    assert shape == ["sinusoid", "flare", "step"] * 20
    factor = flux / mean
    assert np.ptp(factor, axis=0).min() > 0.3
    for kind in range(3):
        own = factor[:, kind::3]
        if kind == 0:
            assert own.min() >= 0.4
            assert own.max() <= 1.6
        elif kind == 1:
            assert own.min() >= 1.0
            assert own.max() <= 3.0
        else:
            assert set(np.unique(own.round(9))) == {0.4, 1.0, 1.8}
            assert (own[0] == 1.0).all()


@pytest.mark.parametrize("n_epochs", [2, 3, 24])
def test_transients_are_off_at_first_and_on_for_a_while(n_epochs: int) -> None:
    for seed in range(30):
        flux = transient_light_curves(
            np.array([1.0, 2.0, 3.0]), n_epochs, np.random.default_rng(seed)
        )
        on = flux > 0.0
        assert not on[0].any()
        # One burst each: it goes on once.
        assert (np.diff(on.astype(int), axis=0) == 1).sum(axis=0).tolist() == [1, 1, 1]
        longest = max(1, n_epochs // 3)
        assert (on.sum(axis=0) <= np.minimum(longest, [1, 3, 5])).all()
        np.testing.assert_allclose(flux.max(axis=0), [1.0, 2.0, 3.0])


def test_flux_follows_the_spectral_index() -> None:
    sky = SimulatedSky(
        ["a", "b"], ["steady", "steady"], np.zeros(2), np.zeros(2),
        np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([0.0, -0.7]),
    )  # fmt: skip
    np.testing.assert_allclose(sky.flux_at(1, 300e6, 150e6), [3.0, 4.0 * 2.0**-0.7])
    np.testing.assert_array_equal(sky.flux_at(0, 150e6, 150e6), [1.0, 2.0])

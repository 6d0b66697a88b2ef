"""Errors of measurements: their scatter, and propagation by loops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from astropy.wcs import WCS

from trap_ops.science import component_fits, measurement
from trap_ops.science.sources import blind_sources
from unit.science.made_peaks import BEAM, faint, measure


def test_errors_of_turned_and_resolved_shapes_are_their_scatter() -> None:
    turn = np.array([[1.5, -0.6], [-0.6, 1.2]])
    shape = turn @ BEAM @ turn.T
    pulls = []
    for seed in range(12):
        data, peaks = faint(seed, 60.0, shape)
        found = measure(data, replace(peaks, n_pixels=np.full(81, 150)), force_beam=False)
        ratio = np.sqrt(np.linalg.det(shape) / np.linalg.det(BEAM))
        pulls.append((found.flux - 60.0 * ratio) / found.flux_err)
    pull = np.concatenate(pulls)
    # 972 values: 2.3 per cent; four sigma.
    assert pull.std() == pytest.approx(1.0, abs=0.1)
    assert abs(pull.mean()) < 0.2


def test_errors_of_axes_and_angles_are_their_scatter_on_the_sky() -> None:
    """Pixels oblong and turned on the sky; of what is fitted, and of what is left of the beam."""
    turn = np.array([[1.9, -0.5], [-0.5, 1.7]])
    shape = turn @ BEAM @ turn.T
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---SIN", "DEC--SIN"], [30.0, 60.0], [128, 128]
    wcs.wcs.cd = np.array([[-3.0, 1.0], [0.5, 4.0]]) / 3600.0
    made = []
    for seed in range(12):
        data, peaks = faint(seed, 60.0, shape)
        found = measure(data, replace(peaks, n_pixels=np.full(81, 250)), force_beam=False)
        made.append(blind_sources(found, wcs, BEAM, 0.0, 0.0))
    for prefix in ("", "deconvolved_"):
        for name, unit in (("semimajor", "arcsec"), ("semiminor", "arcsec"), ("pa", "deg")):
            value, error = (
                np.concatenate([vars(part)[f"{prefix}{name}{kind}_{unit}"] for part in made])
                for kind in ("", "_err")
            )
            pull = (value - np.median(value)) / error
            # 972 values: 2.3 per cent; four sigma, and a per cent for what is not linear.
            assert pull.std() == pytest.approx(1.0, abs=0.1), (prefix, name)
    points = blind_sources(measure(*faint(1, 20.0), force_beam=False), wcs, BEAM, 0.0, 0.0)
    for name in ("semimajor", "semiminor"):
        size = vars(points)[f"deconvolved_{name}_arcsec"]
        assert ((size == 0.0) | (size > 0.05)).all()
        assert 5 < (size == 0.0).sum() < 81
        error = vars(points)[f"deconvolved_{name}_err_arcsec"]
        np.testing.assert_array_equal(np.isnan(error), size == 0.0)
    held = measure(*faint(1, 60.0, shape))
    assert np.isnan(blind_sources(held, wcs, BEAM, 0.0, 0.0).semimajor_err_arcsec).all()


def slow_variance(function: Callable[[np.ndarray], float], at: np.ndarray, of: np.ndarray) -> float:
    """Propagated error squared: every derivative by a difference, every sum by a loop."""
    slopes = []
    for number in range(len(at)):
        step = np.zeros(len(at))
        step[number] = 1e-5 * max(abs(at[number]), 1e-2)
        slopes.append((function(at + step) - function(at - step)) / (2.0 * step[number]))
    return sum(slopes[i] * of[i, j] * slopes[j] for i in range(len(at)) for j in range(len(at)))


def slow_mean(
    function: Callable[[np.ndarray], float], at: np.ndarray, of: np.ndarray, excess: np.ndarray
) -> float:
    """Mean of a function to second order, of parameters with this covariance and mean excess."""
    steps = np.diag(1e-4 * np.maximum(np.abs(at), 1e-2))
    size = np.diag(steps)
    total = 0.0
    for i, a in enumerate(steps):
        total += excess[i] * (function(at + a) - function(at - a)) / (2.0 * size[i])
        for j, b in enumerate(steps):
            corners = function(at + a + b) - function(at + a - b)
            corners += function(at - a - b) - function(at - a + b)
            total += 0.5 * of[i, j] * corners / (4.0 * size[i] * size[j])
    return total


def test_errors_of_flux_and_size_are_propagated_from_all_parameters() -> None:
    """From the whole covariance, of shapes that are turned against the beam."""
    rng = np.random.default_rng(2)
    n = 12
    parameters = np.empty((n, 6))
    parameters[:, 0], parameters[:, 1:3] = rng.uniform(5.0, 50.0, n), rng.uniform(0.0, 99.0, (n, 2))
    for row in parameters:
        turn = np.eye(2) + rng.uniform(-0.4, 0.4, (2, 2))
        inverse = np.linalg.inv(turn @ BEAM @ turn.T)
        row[3:] = inverse[0, 0], inverse[0, 1], inverse[1, 1]
    root = rng.normal(size=(n, 6, 6)) * np.array([1.0, 0.1, 0.1, 1e-3, 1e-3, 1e-3])[:, None]
    covariance = root @ root.swapaxes(1, 2)
    no = np.zeros(n, dtype=bool)
    excess = rng.normal(size=(n, 6)) * np.array([1.0, 0.1, 0.1, 1e-3, 1e-3, 1e-3])
    fits = component_fits.ComponentFits(
        parameters, covariance, excess, np.ones(n), np.ones(n), ~no, no, no, no, no
    )

    def area_ratio(p: np.ndarray) -> float:
        return float(1.0 / np.sqrt((p[3] * p[5] - p[4] ** 2) * np.linalg.det(BEAM)))

    flux = np.array([row[0] * area_ratio(row) for row in parameters])
    variance, raised = measurement._flux_moments(fits, flux)
    significance = measurement._resolved_significance(fits, BEAM)
    for i, row in enumerate(parameters):
        wanted = slow_variance(lambda p: p[0] * area_ratio(p), row, covariance[i])
        assert variance[i] == pytest.approx(wanted, rel=1e-6)
        mean = slow_mean(lambda p: p[0] * area_ratio(p), row, covariance[i], excess[i])
        assert raised[i] == pytest.approx(mean, rel=1e-4)
        error = np.sqrt(slow_variance(lambda p: np.log(area_ratio(p)), row, covariance[i]))
        assert significance[i] == pytest.approx(np.log(area_ratio(row)) / error, rel=1e-6)

"""Peaks in simulated images of 256 x 256 pixels, and their measurement."""

from __future__ import annotations

import numpy as np
import pytest

from trap_ops.records.images import NoiseGrid
from trap_ops.science.beam import beam_covariance
from trap_ops.science.detection import Peaks
from trap_ops.science.measurement import Measurements, measure_peaks
from trap_ops.science.model_image import add_gaussians
from trap_ops.science.noise import gaussian_autocorrelation
from trap_ops.simulate.noise import correlated_noise

BEAM = beam_covariance(7.0, 5.0, 30.0, [[-1.0, 0.0], [0.0, 1.0]])
SIZE = 256
# Background 2, rms 1 everywhere.
GRID = NoiseGrid(np.full((1, 1), 2.0), np.full((1, 1), 1.0), 128.0, 128.0, 256.0, 256.0)
KINDS = pytest.mark.parametrize("force_beam", [True, False])


def sky(sources: list[tuple[float, float, float]], shape: np.ndarray = BEAM) -> np.ndarray:
    """Pixels without noise of sources (x, y, peak) above a background of 2."""
    data = np.full((SIZE, SIZE), 2.0, dtype=np.float32)
    x, y, peak = np.array(sources, dtype=float).T
    add_gaussians(data, x, y, peak, shape)
    return data


def peaks_at(data: np.ndarray, places: list[tuple[int, int]]) -> Peaks:
    x, y = np.array(places).T
    value = data[y, x].astype(float) - 2.0
    return Peaks(x, y, value, value, np.arange(len(x)), np.full(len(x), 30))


def measure(
    data: np.ndarray,
    peaks: Peaks,
    mask: np.ndarray | None = None,
    *,
    force_beam: bool = True,
    grid: NoiseGrid = GRID,
    smoothed: bool = False,
) -> Measurements:
    return measure_peaks(
        data, mask, grid, peaks, BEAM, gaussian_autocorrelation(BEAM, 2.0 if smoothed else 1.0),
        detection_sigma=8.0, analysis_sigma=3.0, force_beam=force_beam, split_blends=True,
        resolved_limit_sigma=4.0,
    )  # fmt: skip


def faint(seed: int, peak: float, shape: np.ndarray = BEAM) -> tuple[np.ndarray, Peaks]:
    """Noise with 81 equal sources, and the pixels that they are in."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[20:240:27, 20:240:27].reshape(2, -1) + rng.uniform(-0.5, 0.5, (2, 81))
    data = correlated_noise((SIZE, SIZE), BEAM, "natural", rng) + np.float32(2.0)
    add_gaussians(data, x, y, np.full(81, peak), shape)
    places = list(zip(np.rint(x).astype(int), np.rint(y).astype(int), strict=True))
    return data, peaks_at(data, places)

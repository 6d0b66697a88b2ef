"""Rms of an image, its range and what is missing of it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from trap_ops.science.quality import central_rms, measure


def slow_rms(values: np.ndarray, clip: float) -> float:
    """Clip the pixels themselves until none goes; rms about the median."""
    kept = values.astype(np.float64)
    while True:
        near = np.abs(kept - np.median(kept)) <= clip * kept.std()
        if near.all():
            return float(np.sqrt(((kept - np.median(kept)) ** 2).mean()))
        kept = kept[near]


@pytest.mark.parametrize("seed", range(5))
def test_rms_is_that_of_clipping_pixel_by_pixel(seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = rng.normal(3.0, 2.0, (160, 200)).astype(np.float32)
    data[rng.random(data.shape) < 0.02] += 100.0
    data[rng.random(data.shape) < 0.02] = np.nan
    part = data[60:100, 75:125]
    expected = slow_rms(part[np.isfinite(part)], 4.0)
    assert central_rms(data, 4.0, 8) == pytest.approx(expected, rel=1e-9)
    assert expected == pytest.approx(2.0, rel=0.06)


@pytest.mark.parametrize("wild", [-1e5, -1e6, 1e6, -1e12, 3e38])
def test_one_wild_pixel_leaves_the_rms_as_it_is(wild: float) -> None:
    """It goes in the first clip, whatever its size; the others must not vanish beside it."""
    data = np.random.default_rng(3).normal(0.0, 1e-3, (256, 256)).astype(np.float32)
    before = central_rms(data, 4.0, 8)
    data[130, 127] = wild
    part = data[96:160, 96:160].astype(np.float64)
    assert central_rms(data, 4.0, 8) == pytest.approx(slow_rms(part, 4.0), rel=1e-9)
    assert central_rms(data, 4.0, 8) == pytest.approx(before, rel=1e-3)


def test_the_centre_alone_decides() -> None:
    data = np.random.default_rng(0).normal(0.0, 1.0, (128, 128)).astype(np.float32)
    before = central_rms(data, 4.0, 8)
    data[:48] = data[80:] = 1e6
    assert central_rms(data, 4.0, 8) == before
    assert math.isnan(central_rms(np.full((64, 64), np.nan), 4.0, 8))


def test_minimum_maximum_and_fraction_without_data() -> None:
    data = np.zeros((10, 10), dtype=np.float32)
    data[0, 0], data[9, 9], data[0, 1:4], data[0, 4] = -2.0, 5.0, np.nan, np.inf
    found = measure(data, 4.0, 8)
    assert (found.min_jy, found.max_jy) == (-2.0, 5.0)
    assert found.nan_fraction == pytest.approx(0.04)
    assert measure(np.full((4, 4), np.nan, dtype=np.float32), 4.0, 8).nan_fraction == 1.0


@pytest.mark.parametrize(
    ("shape", "fraction", "part"), [((800, 800), 4, (400, 400)), ((1000, 1024), 8, (250, 256))]
)
def test_size_of_the_central_part(
    shape: tuple[int, int], fraction: int, part: tuple[int, int]
) -> None:
    """As the classic system has it: 400 x 400 of 800 x 800, and 256 x 250 of 1024 x 1000."""
    (ny, nx), (py, px) = shape, part
    data = np.full(shape, np.nan, dtype=np.float32)
    rows, columns = slice((ny - py) // 2, (ny + py) // 2), slice((nx - px) // 2, (nx + px) // 2)
    # Half of the pixels that count are 1, the others -1, in a chessboard; a border of 1000 around.
    data[rows.start - 1 : rows.stop + 1, columns.start - 1 : columns.stop + 1] = 1000.0
    data[rows, columns] = 1.0 - 2.0 * (np.indices(part).sum(axis=0) % 2)
    assert central_rms(data, 1e9, fraction) == 1.0
    # The corners are in it.
    for row, column in ((rows.start, columns.start), (rows.stop - 1, columns.stop - 1)):
        data[row, column] = 1e4
        assert central_rms(data, 1e9, fraction) > 10.0
        data[row, column] = 1.0

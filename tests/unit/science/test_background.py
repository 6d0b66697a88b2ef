"""Background and noise of an image, per cell and between cells."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import RegularGridInterpolator
from scipy.stats import truncnorm

from trap_ops.records.images import NoiseGrid
from trap_ops.science.background import noise_at, noise_grid, upsample

CELL = 32


def noise(ny: int, nx: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, 1.0, (ny, nx)).astype(np.float32)


def slow_clip(values: np.ndarray) -> tuple[float, float]:
    """Keep what is within 2.5 sigma of the median until that changes nothing."""
    kept, first = np.sort(values.astype(np.float64)), True
    while True:
        sigma = kept.std() / (1.0 if first else truncnorm(-2.5, 2.5).std())
        median = float(np.median(kept))
        again = kept[np.abs(kept - median) <= 2.5 * sigma]
        if len(again) == len(kept):
            return median, sigma
        kept, first = again, False


def test_a_cell_is_clipped_as_the_slow_way_does() -> None:
    cell = noise(CELL, CELL)
    cell[3:6, 3:6] += 50.0
    grid = noise_grid(cell, None, CELL)
    median, sigma = slow_clip(cell.ravel())
    assert grid.rms.shape == (1, 1)
    assert grid.background[0, 0] == pytest.approx(median, abs=1e-6)
    assert grid.rms[0, 0] == pytest.approx(sigma, rel=1e-5)


def test_rms_of_white_noise_is_right_and_sources_do_not_raise_it() -> None:
    data = noise(512, 512)
    clean = noise_grid(data, None, 64).rms.mean()
    # 4096 pixels a cell, 64 cells: 0.2 per cent.
    assert clean == pytest.approx(1.0, abs=0.01)
    data[::32, ::32] += 1000.0
    assert noise_grid(data, None, 64).rms.mean() == pytest.approx(clean, abs=0.005)


def test_a_large_offset_and_a_slope_are_background_not_noise() -> None:
    data = noise(256, 256) + np.float32(1000.0)
    grid = noise_grid(data, None, 64)
    # float32 at 1000 has steps of 6e-5.
    assert grid.background == pytest.approx(1000.0, abs=0.1)
    assert grid.rms == pytest.approx(1.0, abs=0.06)


def test_noise_that_grows_is_followed() -> None:
    factor = 1.0 + np.arange(512) / 512.0
    grid = noise_grid((noise(512, 512) * factor).astype(np.float32), None, 64)
    x = np.arange(64, 448, dtype=float)
    rms = noise_at(grid, x, np.full_like(x, 256.0))[1]
    assert np.abs(rms / factor[64:448] - 1.0).max() < 0.05


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1e30])
def test_masked_pixels_take_no_part_whatever_their_value(bad: float) -> None:
    data = noise(128, 128)
    mask = np.zeros(data.shape, dtype=bool)
    mask[:40, :50] = True
    mask[100, ::3] = True
    spoilt = data.copy()
    spoilt[mask] = bad
    expected, found = noise_grid(data, mask, CELL), noise_grid(spoilt, mask, CELL)
    np.testing.assert_array_equal(found.rms, expected.rms)
    np.testing.assert_array_equal(found.background, expected.background)
    assert np.isfinite(found.rms).all()


def test_partly_masked_cells_use_what_is_left() -> None:
    cell = noise(CELL, CELL)
    mask = np.zeros(cell.shape, dtype=bool)
    mask[:, : CELL // 2] = True
    grid = noise_grid(cell, mask, CELL)
    median, sigma = slow_clip(cell[~mask])
    assert (grid.background[0, 0], grid.rms[0, 0]) == pytest.approx((median, sigma), rel=1e-5)


def test_a_cell_of_few_pixels_is_not_believed() -> None:
    """A tenth of nine of 25 cells is left, and that is ten times as noisy."""
    data = noise(320, 320, seed=7)
    mask = np.zeros(data.shape, dtype=bool)
    mask[64:256, 64:256] = np.random.default_rng(7).random((192, 192)) > 0.1
    data[64:256, 64:256] *= 10.0
    made = noise_grid(data, mask, 64.0)
    assert made is not None
    np.testing.assert_allclose(made.rms, 1.0, rtol=0.05)


def test_nothing_to_measure_is_none() -> None:
    data = noise(64, 64)
    assert noise_grid(data, np.ones(data.shape, dtype=bool), CELL) is None
    assert noise_grid(np.zeros((64, 64), dtype=np.float32), None, CELL) is None


@pytest.mark.parametrize("cell", [1e-3, 0.5, 1.0])
def test_cells_of_less_than_a_pixel_have_no_noise(cell: float) -> None:
    assert noise_grid(noise(60, 50), None, cell) is None


@pytest.mark.parametrize("shape", [(5, 300), (31, 31), (100, 77), (256, 256)])
def test_between_nodes_it_is_bilinear_and_beyond_them_constant(shape: tuple[int, int]) -> None:
    grid = noise_grid(noise(*shape), None, CELL)
    ny, nx = shape
    node_x = grid.x0 + grid.step_x * np.arange(grid.rms.shape[1])
    node_y = grid.y0 + grid.step_y * np.arange(grid.rms.shape[0])
    y, x = np.mgrid[0:ny, 0:nx].reshape(2, -1)
    if len(node_x) > 1 and len(node_y) > 1:
        inside = np.clip(y, node_y[0], node_y[-1]), np.clip(x, node_x[0], node_x[-1])
        expected = RegularGridInterpolator((node_y, node_x), grid.rms)(np.stack(inside, axis=1))
        np.testing.assert_allclose(noise_at(grid, x, y)[1], expected, rtol=1e-12)
    rows = upsample(grid.rms, grid, 0, ny, nx)
    np.testing.assert_allclose(rows.ravel(), noise_at(grid, x, y)[1], rtol=1e-6)
    if ny > 8:
        np.testing.assert_allclose(upsample(grid.rms, grid, 3, 7, nx), rows[3:7], rtol=1e-6)


def test_a_position_is_measured_alike_alone_and_among_others() -> None:
    grid = noise_grid(noise(256, 256), None, CELL)
    x, y = np.random.default_rng(1).uniform(0, 255, (2, 50))
    together = np.stack(noise_at(grid, x, y))
    alone = np.hstack([np.stack(noise_at(grid, x[i : i + 1], y[i : i + 1])) for i in range(50)])
    np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize("loud", [1e-3, 1e30])
def test_the_noise_is_nowhere_zero_or_less(loud: float) -> None:
    """Where a part of an image is next to nothing, or another one absurd."""
    rms = np.full((4, 4), 1e-20)
    rms[1:3, :2] = loud
    grid = NoiseGrid(np.zeros((4, 4)), rms, 8.0, 8.0, 16.0, 16.0)
    y, x = np.mgrid[0:64, 0:64]
    assert noise_at(grid, x, y)[1].min() >= 1e-20 * (1.0 - 1e-9)


def test_a_grid_of_one_node_is_flat() -> None:
    grid = NoiseGrid(np.array([[2.0]]), np.array([[3.0]]), 5.0, 5.0, 10.0, 10.0)
    background, rms = noise_at(grid, np.array([-3.0, 5.0, 99.0]), np.array([0.0, 5.0, 99.0]))
    assert background.tolist() == [2.0] * 3
    assert rms.tolist() == [3.0] * 3


def test_one_huge_pixel_falsifies_no_cell() -> None:
    """Running sums from the lowest value on would drown in it."""
    clean = noise_grid(noise(CELL, CELL), None, CELL)
    for garbage in (-1e5, -1e12, -1e30, 1e30):
        data = noise(CELL, CELL)
        data[7, 7] = garbage
        grid = noise_grid(data, None, CELL)
        median, sigma = slow_clip(np.delete(data.ravel(), 7 * CELL + 7))
        assert grid.background[0, 0] == pytest.approx(median, abs=1e-3), garbage
        assert grid.rms[0, 0] == pytest.approx(sigma, rel=1e-3), garbage
        assert grid.rms[0, 0] == pytest.approx(clean.rms[0, 0], rel=0.01), garbage


def test_cells_cover_the_unmasked_part_of_an_image() -> None:
    """SCIENCE 4.1: the bounding box of the unmasked pixels is cut into cells."""
    data = noise(300, 200)
    mask = np.ones(data.shape, dtype=bool)
    mask[100:228, 40:168] = False
    inside = noise_grid(data[100:228, 40:168], None, CELL)
    grid = noise_grid(data, mask, CELL)
    np.testing.assert_array_equal(grid.rms, inside.rms)
    np.testing.assert_array_equal(grid.background, inside.background)
    assert (grid.x0, grid.y0) == (inside.x0 + 40, inside.y0 + 100)


@pytest.mark.parametrize("radius", [20.0, 60.0, 120.0])
def test_a_circle_in_a_wide_cell_is_measured(radius: float) -> None:
    data = noise(512, 512)
    y, x = np.mgrid[0:512, 0:512] - 255.5
    grid = noise_grid(data, np.hypot(x, y) >= radius, 360.0)
    n_pixels = np.pi * radius**2
    assert grid.rms[0, 0] == pytest.approx(1.0, abs=5.0 / np.sqrt(2.0 * n_pixels))


def test_sparse_pixels_serve_where_there_are_no_better_cells() -> None:
    data = noise(256, 256)
    mask = np.random.default_rng(1).uniform(size=data.shape) > 0.1
    grid = noise_grid(data, mask, 64)
    # 410 pixels a cell.
    assert np.abs(grid.rms - 1.0).max() < 5.0 / np.sqrt(2.0 * 400)


def test_single_nodes_are_smoothed_away() -> None:
    """A 3 x 3 median over the nodes: one cell with other noise does not stand out."""
    data = noise(256, 256)
    data[96:128, 96:128] *= 5.0
    grid = noise_grid(data, None, CELL)
    assert grid.rms.max() < 1.2


def slow_grid(
    data: np.ndarray, used: np.ndarray, cell_px: float, stride: int
) -> tuple[np.ndarray, np.ndarray]:
    """One cell after the other, then one node after the other."""
    axes = []
    for axis in (0, 1):
        inside = np.flatnonzero(used.any(axis=1 - axis))
        n = int(inside[-1] - inside[0]) + 1
        n_cells = int(n // cell_px)
        side = n // n_cells // stride * stride
        first = int(inside[0]) + (n - n_cells * side) // 2
        axes.append(
            [slice(first + i * side, first + (i + 1) * side, stride) for i in range(n_cells)]
        )
    rough = np.array(
        [[slow_clip(data[rows, columns][used[rows, columns]]) for columns in axes[1]]
         for rows in axes[0]]
    )  # fmt: skip
    smooth = np.empty_like(rough)
    n_rows, n_columns = rough.shape[:2]
    if min(n_rows, n_columns) < 3:  # Too few for a median.
        return rough[:, :, 0], rough[:, :, 1]
    for row in range(n_rows):
        for column in range(n_columns):
            near = [
                rough[min(max(row + dy, 0), n_rows - 1), min(max(column + dx, 0), n_columns - 1)]
                for dy in (-1, 0, 1)
                for dx in (-1, 0, 1)
            ]
            smooth[row, column] = np.median(near, axis=0)
    return smooth[:, :, 0], smooth[:, :, 1]


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("shape", [(150, 203), (128, 97), (128, 110)])
def test_a_grid_is_that_of_cells_one_by_one(shape: tuple[int, int], stride: int) -> None:
    """With sources, a slope, holes, and a border that is not used."""
    rng = np.random.default_rng(shape[1] + stride)
    data = noise(*shape, seed=shape[0]) * np.linspace(1.0, 2.0, shape[1], dtype=np.float32)
    data += np.linspace(0.0, 3.0, shape[0], dtype=np.float32)[:, None]
    data[rng.random(shape) < 0.02] += 40.0
    used = rng.random(shape) > 0.15
    used[:5] = used[:, -8:] = False
    grid = noise_grid(data, ~used, CELL, stride)
    background, rms = slow_grid(data, used, CELL, stride)
    assert grid.rms.shape == (int((shape[0] - 5) // CELL), int((shape[1] - 8) // CELL))
    # Values are float32, their sums are not.
    np.testing.assert_allclose(grid.background, background, atol=1e-6)
    np.testing.assert_allclose(grid.rms, rms, rtol=1e-6)

"""Background and rms of an image on a grid of cells, and between its nodes.

Every cell is sorted once; a clip is then a window on the sorted values, whose mean and spread
follow from sums of blocks, so that iterating costs a few look-ups for all cells together.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from trap_ops.records.arrays import FloatArray, Image, IntArray, Mask
from trap_ops.records.images import NoiseGrid

CLIP_SIGMA = 2.5
# Standard deviation of a unit Gaussian cut at +-CLIP_SIGMA.
_TRUNCATED_STD = math.sqrt(
    1.0
    - 2.0
    * CLIP_SIGMA
    * math.exp(-(CLIP_SIGMA**2) / 2.0)
    / math.sqrt(2.0 * math.pi)
    / math.erf(CLIP_SIGMA / math.sqrt(2.0))
)
_MAX_PASSES = 30
# A cell with fewer valid pixels than this says little: its neighbours stand in, or, where no cell
# has so many, those with the least number of pixels serve.
_MIN_CELL_FRACTION = 0.2
_MIN_CELL_PIXELS = 9
# Cells are sorted in chunks of so many pixels, which bounds memory for any image.
_CHUNK_PIXELS = 1 << 20


def noise_at(grid: NoiseGrid, x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Background and rms at pixel positions of any shape."""
    gy, gx = grid.rms.shape
    ix, fx = _cell_fraction((np.asarray(x, dtype=np.float64) - grid.x0) / grid.step_x, gx)
    iy, fy = _cell_fraction((np.asarray(y, dtype=np.float64) - grid.y0) / grid.step_y, gy)
    corner = iy * gx + ix
    right, below = int(gx > 1), gx * int(gy > 1)
    left = 1.0 - fx

    def between(nodes: FloatArray) -> FloatArray:
        # Gathered from flat nodes: three times as fast as by two indices.
        flat = nodes.ravel()
        # Sums of shares: a difference of very unlike nodes would round to zero, or below it.
        upper = flat.take(corner) * left + flat.take(corner + right) * fx
        lower = flat.take(corner + below) * left + flat.take(corner + below + right) * fx
        return np.asarray(upper * (1.0 - fy) + lower * fy)

    return between(grid.background), between(grid.rms)


def nodes_around(
    grid: NoiseGrid, x: npt.ArrayLike, y: npt.ArrayLike
) -> tuple[IntArray, FloatArray]:
    """Nodes that :func:`noise_at` lies between, and the weight of each, (n, 4) each.

    Nodes are counted row by row. The weights serve all grids of this shape, whatever their values.
    """
    gy, gx = grid.rms.shape
    ix, fx = _cell_fraction((np.asarray(x, dtype=np.float64) - grid.x0) / grid.step_x, gx)
    iy, fy = _cell_fraction((np.asarray(y, dtype=np.float64) - grid.y0) / grid.step_y, gy)
    corner = iy * gx + ix
    right, below = int(gx > 1), gx * int(gy > 1)
    nodes = [corner, corner + right, corner + below, corner + below + right]
    weights = [(1.0 - fx) * (1.0 - fy), fx * (1.0 - fy), (1.0 - fx) * fy, fx * fy]
    return np.stack(nodes, axis=-1), np.stack(weights, axis=-1)


def upsample(nodes: FloatArray, grid: NoiseGrid, first: int, last: int, nx: int) -> Image:
    """Values between the nodes of a grid, in the image rows ``first`` to ``last`` (exclusive).

    Parameters
    ----------
    nodes : numpy.ndarray, (cells in y, cells in x)
        Background or rms of the grid, or what follows linearly from them.
    grid : NoiseGrid
        Says where the nodes are.
    first, last, nx : int

    Returns
    -------
    numpy.ndarray of float32, (last - first, nx)
        Bilinear; beyond the outermost nodes as at these.
    """
    gy, gx = nodes.shape
    weights_x = _node_weights(0, nx, grid.x0, grid.step_x, gx)
    weights_y = _node_weights(first, last, grid.y0, grid.step_y, gy)
    # Only the nodes about these rows: the others have no weight, but would cost as much.
    ends, _ = _cell_fraction((np.array([first, last - 1.0]) - grid.y0) / grid.step_y, gy)
    used = slice(ends[0], ends[1] + 2)
    # In the precision of the pixels: four times as fast.
    return np.asarray(weights_y[:, used] @ (nodes[used].astype(np.float32) @ weights_x.T))


def noise_grid(data: Image, mask: Mask | None, cell_px: float, stride: int = 1) -> NoiseGrid | None:
    """Measure background and rms per cell by iterated clipping, then smooth the nodes.

    Parameters
    ----------
    data : numpy.ndarray of float32, (ny, nx)
        Where ``mask`` is true, any value including NaN and Inf is allowed.
    mask : numpy.ndarray of bool, (ny, nx), or None
        True where a pixel must not be used.
    cell_px : float
        Least side of a cell, which has a pixel at least. An image smaller than that is one cell.
    stride : int
        Take every so many-th pixel along both axes: neighbours within a beam say little new.

    Returns
    -------
    NoiseGrid or None
        None if no cell has enough valid pixels.

    Notes
    -----
    The cells cover the bounding box of the unmasked pixels.

    Per cell: window of the sorted values within 2.5 sigma of the median, sigma corrected for the
    truncation, until the window stays. The background is the median of the window. Nodes of empty
    cells take the mean of their neighbours'. A 3 x 3 median over the nodes halves their scatter.
    """
    box = _bounding_box(mask, data.shape)
    if box is None:
        return None
    return _grid(data, mask, box, cell_px, stride, _MIN_CELL_FRACTION) or _grid(
        data, mask, box, cell_px, stride, 0.0
    )


def _bounding_box(mask: Mask | None, shape: tuple[int, int]) -> tuple[slice, slice] | None:
    """Rows and columns of the unmasked pixels."""
    if mask is None:
        return slice(0, shape[0]), slice(0, shape[1])
    rows, columns = (np.flatnonzero(~mask.all(axis=axis)) for axis in (1, 0))
    if len(rows) == 0:
        return None
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _grid(
    data: Image,
    mask: Mask | None,
    box: tuple[slice, slice],
    cell_px: float,
    stride: int,
    min_fraction: float,
) -> NoiseGrid | None:
    gx, x_first, size_x = _cells(box[1], cell_px, stride)
    gy, y_first, size_y = _cells(box[0], cell_px, stride)
    used = (
        slice(y_first, y_first + gy * size_y, stride),
        slice(x_first, x_first + gx * size_x, stride),
    )
    per_cell = -(-size_y // stride) * -(-size_x // stride)
    background = np.empty((gy, gx))
    rms = np.empty((gy, gx))
    rows_per_chunk = max(1, _CHUNK_PIXELS // (gx * per_cell))
    values = data[used]
    masked = None if mask is None else mask[used]
    height = -(-size_y // stride)
    for first in range(0, gy, rows_per_chunk):
        last = min(first + rows_per_chunk, gy)
        rows = slice(first * height, last * height)
        cells = _cells_of(values[rows], last - first, gx)
        if masked is not None:
            cells[_cells_of(masked[rows], last - first, gx)] = np.inf
        median, sigma = _clipped(cells, min_fraction)
        background[first:last] = median.reshape(-1, gx)
        rms[first:last] = sigma.reshape(-1, gx)
    valid = np.isfinite(rms) & (rms > 0.0)
    if not valid.any():
        return None
    if not valid.all():
        background, rms = _filled(background, valid), _filled(rms, valid)
    if min(gx, gy) >= 3:
        background = ndimage.median_filter(background, size=3, mode="nearest")
        rms = ndimage.median_filter(rms, size=3, mode="nearest")
    return NoiseGrid(
        background=background,
        rms=rms,
        x0=x_first + (size_x - 1) / 2.0,
        y0=y_first + (size_y - 1) / 2.0,
        step_x=float(size_x),
        step_y=float(size_y),
    )


def _filled(nodes: FloatArray, valid: Mask) -> FloatArray:
    """Nodes, where those without a value have the mean of their neighbours', ring by ring."""
    ny, nx = nodes.shape
    value = np.pad(np.where(valid, nodes, 0.0), 1)
    known = np.pad(valid, 1).astype(np.float64)
    while not known[1:-1, 1:-1].all():
        total, count = np.zeros((ny, nx)), np.zeros((ny, nx))
        for dy, dx in ((0, 1), (1, 0), (1, 2), (2, 1)):
            total += value[dy : dy + ny, dx : dx + nx]
            count += known[dy : dy + ny, dx : dx + nx]
        new = (known[1:-1, 1:-1] == 0.0) & (count > 0.0)
        value[1:-1, 1:-1][new] = total[new] / count[new]
        known[1:-1, 1:-1][new] = 1.0
    return value[1:-1, 1:-1]


def _cells(pixels: slice, cell_px: float, stride: int) -> tuple[int, int, int]:
    """Number of cells along an axis, first pixel used, and side of a cell (multiple of stride).

    What does not fill whole cells is left out at both ends, at most one pixel per cell and stride.
    """
    n_px = pixels.stop - pixels.start
    n_cells = max(1, int(n_px // max(cell_px, 1.0)))
    size = n_px // n_cells
    size -= size % stride if size > stride else 0
    return n_cells, pixels.start + (n_px - n_cells * size) // 2, size


def _cells_of(values: npt.NDArray[np.generic], n_rows: int, n_columns: int) -> npt.NDArray:  # type: ignore[type-arg]
    """Copy of an image part as (cells, pixels of a cell)."""
    height, width = values.shape[0] // n_rows, values.shape[1] // n_columns
    blocks = values.reshape(n_rows, height, n_columns, width).swapaxes(1, 2)
    return np.array(blocks).reshape(n_rows * n_columns, height * width)


def _clipped(cells: Image, min_fraction: float) -> tuple[FloatArray, FloatArray]:
    """Clipped median and sigma of each row; NaN where too few of its values are less than inf.

    Equivalent to, for each row: repeat ``keep |v - median| <= 2.5 sigma`` until nothing changes.
    """
    n_cells, n = cells.shape
    row = np.arange(n_cells)
    values = _SortedRows(cells)
    low = np.zeros(n_cells, dtype=np.intp)
    high = values.count_below(row, np.full(n_cells, np.inf))
    enough = high >= max(_MIN_CELL_PIXELS, int(min_fraction * n))
    values.prepare_sums(high)
    median = np.full(n_cells, np.nan)
    sigma = np.full(n_cells, np.nan)
    active = np.flatnonzero(enough)
    for iteration in range(_MAX_PASSES):
        lo, hi = low[active], high[active]
        # Both ends of all windows at once.
        both = np.concatenate([active, active])
        below, above = np.split(values.sums(both, np.concatenate([lo, hi])), 2, axis=1)
        mean, square = (above - below) / (hi - lo)
        variance = square - mean**2
        middle = (values.at(active, (lo + hi - 1) // 2) + values.at(active, (lo + hi) // 2)) / 2.0
        spread = np.sqrt(np.maximum(variance, 0.0))
        if iteration > 0:
            spread = spread / _TRUNCATED_STD
        median[active], sigma[active] = middle, spread
        limit = CLIP_SIGMA * spread
        beyond = np.nextafter(middle + limit, np.inf)
        ends = values.count_below(both, np.concatenate([middle - limit, beyond]))
        new_low, new_high = np.maximum(ends[: len(lo)], lo), np.minimum(ends[len(lo) :], hi)
        changed = ((new_low != lo) | (new_high != hi)) & (new_high > new_low) & (spread > 0.0)
        low[active] = np.where(changed, new_low, lo)
        high[active] = np.where(changed, new_high, hi)
        active = active[changed]
        if len(active) == 0:
            break
    return median, sigma


class _SortedRows:
    """Rows of sorted values in blocks, so that searching and summing in them takes two steps.

    A running sum over every value would cost more than the sort. Here only blocks are summed up in
    advance, and the values of the block in which a window ends are added when it is asked for.
    """

    def __init__(self, cells: Image) -> None:
        n_cells, n = cells.shape
        self._side = math.isqrt(n) + 1
        n_blocks = -(-n // self._side)
        self._values = np.full((n_cells, n_blocks * self._side), np.inf, dtype=cells.dtype)
        self._values[:, :n] = cells
        self._values.sort(axis=1)
        self._blocks = self._values.reshape(n_cells, n_blocks, self._side)
        self._sums = np.zeros((2, n_cells, n_blocks + 1))
        self._pivot = np.zeros(n_cells)

    def at(self, rows: IntArray, index: IntArray) -> FloatArray:
        """Values at places of rows."""
        return self._values[rows, index].astype(np.float64)

    def count_below(self, rows: IntArray, limit: FloatArray) -> IntArray:
        """How many values of each row are less than its limit."""
        whole = (self._blocks[rows, :, -1] < limit[:, None]).sum(axis=1)
        whole = np.minimum(whole, self._blocks.shape[1] - 1)
        part = (self._blocks[rows, whole] < limit[:, None]).sum(axis=1)
        return np.asarray(whole * self._side + part)

    def prepare_sums(self, end: IntArray) -> None:
        """Sum up the blocks of what lies before an index in each row, outwards from the middle.

        So a window about the middle has nothing to do with what lies beyond its ends, be it 1e30.
        """
        n_cells, n = self._values.shape
        middle = np.minimum(end // 2, n - 1)
        # About each row's median, or float cancellation would eat a large offset.
        values = self._values[np.arange(n_cells), middle]
        self._pivot = np.where(end > 0, values, 0.0).astype(np.float64)
        self._pivot_block = middle // self._side
        shifted = self._values - self._pivot[:, None]
        first = int(end.min())
        shifted[:, first:][np.arange(first, n) >= end[:, None]] = 0.0
        blocks = shifted.reshape(self._blocks.shape)
        upper = np.arange(self._blocks.shape[1]) >= self._pivot_block[:, None]
        with np.errstate(over="ignore"):
            for sums, each in zip(
                self._sums,
                (blocks.sum(axis=2), np.einsum("ijk,ijk->ij", blocks, blocks)),
                strict=True,
            ):
                np.where(upper, each, 0.0).cumsum(axis=1, out=sums[:, 1:])
                below = np.where(upper, 0.0, each)[:, ::-1].cumsum(axis=1)[:, ::-1]
                sums[:, :-1] -= below

    def sums(self, rows: IntArray, index: IntArray) -> FloatArray:
        """Sums of values about the pivot, and of their squares, from the middle to an index.

        Returns
        -------
        numpy.ndarray, (2, rows)
            Negative before the middle, so that a difference is the sum over a window about it. The
            index must not lie beyond those that the sums were prepared for.
        """
        whole, rest = np.divmod(index, self._side)
        block = self._blocks[rows, np.minimum(whole, self._blocks.shape[1] - 1)]
        before = whole < self._pivot_block[rows]
        offset = np.arange(self._side)
        # Before the middle, from the index to the end of its block; else from the block's start.
        wanted = (offset < rest[:, None]) != before[:, None]
        part = np.where(wanted, block - self._pivot[rows, None], 0.0)
        with np.errstate(over="ignore"):
            ends = np.stack([part.sum(axis=1), (part * part).sum(axis=1)])
        return np.asarray(self._sums[:, rows, whole + before] + np.where(before, -ends, ends))


def _cell_fraction(
    position: npt.NDArray[np.floating], n: int
) -> tuple[npt.NDArray[np.intp], FloatArray]:
    clamped = np.clip(position, 0.0, n - 1.0)
    index = np.minimum(clamped.astype(np.intp), max(n - 2, 0))
    return index, clamped - index


@lru_cache(maxsize=64)
def _node_weights(first: int, last: int, origin: float, step: float, n: int) -> Image:
    """Matrix (pixels first to last, nodes) of bilinear weights along one axis."""
    index, fraction = _cell_fraction((np.arange(first, last) - origin) / step, n)
    weights = np.zeros((last - first, n), dtype=np.float32)
    row = np.arange(last - first)
    weights[row, index] = 1.0 - fraction
    weights[row, np.minimum(index + 1, n - 1)] += fraction
    weights.setflags(write=False)
    return weights

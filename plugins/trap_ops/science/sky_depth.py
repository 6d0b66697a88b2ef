"""How deep, how long and when images have looked at each cell of the sky."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from scipy import sparse

from trap_ops.records.arrays import FloatArray, Ids, IntArray
from trap_ops.records.images import Coverage, NoiseGrid
from trap_ops.science.background import nodes_around
from trap_ops.science.coverage import covers
from trap_ops.science.sky_cells import MAX_CELLS, cell_centres, check_number, moc_cells

# Images and cells that are worked on together: 8 MB of rms.
_IMAGES = 64
_CELLS = 1 << 14


@dataclass(frozen=True)
class Exposure:
    """An image of a field: its noise, start and length."""

    grid: NoiseGrid
    start_mjd: float
    seconds: float


@dataclass(frozen=True)
class SkyDepth:
    """What is known of each cell; all arrays have shape (n,).

    Attributes
    ----------
    order : int
        HEALPix order of the cells.
    cells : numpy.ndarray of int64
        NESTED numbers, ascending.
    n_images : numpy.ndarray of int32
        Images that use the pixel at the cell's centre.
    rms_min_jy : numpy.ndarray
        Least local rms, Jy/beam; NaN where no image has one.
    rms_combined_jy : numpy.ndarray
        Of the mean with inverse squared rms as weights: ``1 / sqrt(sum(1 / rms**2))``.
    exposure_s : numpy.ndarray
        Sum of the integration times.
    first_mjd, last_mjd : numpy.ndarray
        Start of the first and of the last image, UTC.
    """

    order: int
    cells: Ids
    n_images: Ids
    rms_min_jy: FloatArray
    rms_combined_jy: FloatArray
    exposure_s: FloatArray
    first_mjd: FloatArray
    last_mjd: FloatArray


class DepthMap:
    """Gathers images of one band and Stokes, footprint by footprint.

    Parameters
    ----------
    order : int
        HEALPix order of the cells.
    max_cells : int

    Notes
    -----
    The rms of an image is that of its noise grid, bilinear between the nodes, at the centre of the
    cell (:func:`trap_ops.science.background.noise_at`). The result follows from the images and
    their order to the last bit; another order changes it by rounding only.
    """

    def __init__(self, order: int, max_cells: int = MAX_CELLS) -> None:
        self._order = order
        self._max_cells = max_cells
        self._cells = np.empty(0, dtype=np.int64)
        self._columns = {
            name: np.empty(0, dtype=np.float64)
            for name in ("images", "least", "weight", "exposure", "first", "last")
        }

    def add(self, coverage: Coverage, exposures: Iterable[Exposure]) -> None:
        """Add the images of one footprint.

        Raises
        ------
        ConfigError
            If there are too many cells.
        """
        cells = moc_cells(coverage, self._order, self._max_cells)
        self._grow(cells)
        _, x, y = covers(coverage, *cell_centres(cells, self._order))
        at = np.searchsorted(self._cells, cells)
        for block in _blocks(exposures):
            starts = [one.start_mjd for one in block]
            columns = self._columns
            columns["images"][at] += len(block)
            columns["exposure"][at] += sum(one.seconds for one in block)
            columns["first"][at] = np.minimum(columns["first"][at], min(starts))
            columns["last"][at] = np.maximum(columns["last"][at], max(starts))
            for first in range(0, len(at), _CELLS):
                part = slice(first, first + _CELLS)
                self._add_rms(at[part], _rms(block, x[part], y[part]))

    def result(self) -> SkyDepth:
        """Return what has been gathered."""
        columns = self._columns
        with np.errstate(divide="ignore"):
            combined = 1.0 / np.sqrt(columns["weight"])
        return SkyDepth(
            order=self._order,
            cells=self._cells,
            n_images=columns["images"].astype(np.int64),
            rms_min_jy=np.where(np.isinf(columns["least"]), np.nan, columns["least"]),
            rms_combined_jy=np.where(np.isinf(combined), np.nan, combined),
            exposure_s=columns["exposure"],
            first_mjd=columns["first"],
            last_mjd=columns["last"],
        )

    def _add_rms(self, at: IntArray, rms: FloatArray) -> None:
        """Add the rms of some images (columns) at some cells (rows); none where it is not known."""
        known = rms > 0.0
        least = np.where(known, rms, np.inf)
        self._columns["least"][at] = np.minimum(self._columns["least"][at], least.min(axis=1))
        self._columns["weight"][at] += (1.0 / (least * least)).sum(axis=1)

    def _grow(self, cells: Ids) -> None:
        """Make room for cells that are new."""
        every = np.union1d(self._cells, cells)
        check_number(len(every), self._order, self._max_cells)
        if len(every) == len(self._cells):
            return
        old = np.searchsorted(every, self._cells)
        for name, values in self._columns.items():
            column = np.full(len(every), _NOTHING[name])
            column[old] = values
            self._columns[name] = column
        self._cells = every


# What a cell has before any image.
_NOTHING = {
    "images": 0.0, "least": np.inf, "weight": 0.0, "exposure": 0.0, "first": np.inf,
    "last": -np.inf,
}  # fmt: skip


def combined_rms(rms_jy: FloatArray) -> float:
    """Return the rms of the mean of images, weighted by their inverse squared rms; NaN of none."""
    known = rms_jy[rms_jy > 0.0]
    return float(1.0 / np.sqrt((1.0 / known**2).sum())) if len(known) else float("nan")


def _blocks(exposures: Iterable[Exposure]) -> Iterator[Sequence[Exposure]]:
    """Go through images some at a time, those together whose grids have the same nodes."""
    for _, same in groupby(exposures, key=lambda one: _nodes(one.grid)):
        block: list[Exposure] = []
        for one in same:
            block.append(one)
            if len(block) == _IMAGES:
                yield block
                block = []
        if block:
            yield block


def _nodes(grid: NoiseGrid) -> tuple[object, ...]:
    return (grid.rms.shape, grid.x0, grid.y0, grid.step_x, grid.step_y)


def _rms(block: Sequence[Exposure], x: FloatArray, y: FloatArray) -> FloatArray:
    """Rms of images with the same nodes at pixel positions, (positions, images)."""
    grid = block[0].grid
    nodes, weights = nodes_around(grid, x, y)
    four = np.arange(len(x) + 1) * 4
    between = sparse.csr_array((weights.ravel(), nodes.ravel(), four), (len(x), grid.rms.size))
    return np.asarray(between @ np.stack([one.grid.rms.ravel() for one in block], axis=1))

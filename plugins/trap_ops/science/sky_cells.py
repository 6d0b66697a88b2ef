"""The sky in HEALPix cells: those that an image covers, and sets of them as a MOC.

Cells are numbered in the NESTED scheme (Gorski et al. 2005, ApJ 622, 759) in ICRS, as the IVOA
standard MOC 2.0 has them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields

import astropy.units as u
import numpy as np
import numpy.typing as npt
from astropy.wcs import WCS
from astropy_healpix import healpix_to_lonlat
from mocpy import MOC

from trap_ops.errors import ConfigError
from trap_ops.records.arrays import FloatArray, Ids, IntArray, Mask
from trap_ops.records.images import Coverage
from trap_ops.science.coordinates import unit_vectors
from trap_ops.science.coverage import covers, used_pixels, wcs_of

# Of HEALPix numbers in 64 bits.
MAX_ORDER = 29
# Side of a cell of order 0: the square root of a twelfth of the sphere.
_SIDE_DEG = math.degrees(math.sqrt(4.0 * math.pi / 12.0))
# More are refused before they fill the memory: 100 bytes a cell in a depth map.
MAX_CELLS = 20_000_000
# Beyond this the area says so without looking up any.
_SURELY = 1.1
# Cells are looked up in chunks of so many, which bounds memory for any image.
_CHUNK_CELLS = 1 << 18
# Pixels are first taken in squares of this side.
_TILE_PX = 64
# A square whose nodes are farther from its middle is cut: the sky is too round for them.
_MAX_RADIUS_RAD = 0.3
# So is one of which less than this fraction is used.
_SPARSE = 0.125
# Nodes are the farthest points of a square but for the curvature of its sides.
_SAFETY = 1.3
# Corners, middles of sides and centre of a square, in its sides.
_NODES = (np.array([0.5, 0, 0, 0, 0.5, 0.5, 1, 1, 1]), np.array([0.5, 0, 0.5, 1, 0, 1, 0, 0.5, 1]))
# The nodes of a pixel at the end of the sky lie beyond it, to have some that are on the sky.
_BEYOND_PX = 1.0
# What is between such a pixel and the end of the sky is at most so many square roots of a pixel's
# size (radians) away: SIN has 1.7 of the diagonal's, ZEA 2.
_END_OF_SKY = 4.0


@dataclass(frozen=True)
class _Cones:
    """Circles on the sky, and about what area of each is used, (n,) each."""

    ra_deg: FloatArray
    dec_deg: FloatArray
    radius_rad: FloatArray
    used_sr: FloatArray


def nearest_order(side_deg: float) -> int:
    """HEALPix order whose cells have about this side (within a factor of the root of two)."""
    return min(max(round(math.log2(_SIDE_DEG / side_deg)), 0), MAX_ORDER)


def cell_area_deg2(order: int) -> float:
    """Area of a cell: all cells of an order have the same."""
    return _SIDE_DEG**2 / 4.0**order


def _area_sr(order: int) -> float:
    return 4.0 * math.pi / 12.0 / 4.0**order


def cell_centres(cells: Ids, order: int) -> tuple[FloatArray, FloatArray]:
    """Right ascension and declination of the centres of cells, degrees, (n,) each."""
    lon, lat = healpix_to_lonlat(cells, 1 << order, order="nested")
    return lon.to_value(u.deg), lat.to_value(u.deg)


def moc_cells(coverage: Coverage, order: int, max_cells: int = MAX_CELLS) -> Ids:
    """Return the cells whose centres fall on pixels of an image that are used.

    Parameters
    ----------
    coverage : Coverage
        Of any projection that astropy reads, anywhere on the sky, with holes or in pieces.
    order : int
        0 to 29.
    max_cells : int

    Returns
    -------
    numpy.ndarray of int64, (n,)
        NESTED numbers, ascending.

    Raises
    ------
    ConfigError
        If there are more than ``max_cells``.

    Notes
    -----
    This is equivalent to::

        cells = np.arange(12 * 4**order)
        used, _, _ = covers(coverage, *cell_centres(cells, order))
        return cells[used]

    The image is cut into squares; circles about those with pixels that are used hold all cells
    that may be in it, and the centre of each of these is looked up.
    """
    cones = _cones(coverage, order)
    expected = int(cones.used_sr.sum() / _area_sr(order))
    if expected > _SURELY * max_cells:
        check_number(expected, order, max_cells)
    found: list[Ids] = []
    total = 0
    for cells in _in_chunks(_candidates(cones, order)):
        used, _, _ = covers(coverage, *cell_centres(cells, order))
        found.append(cells[used])
        total += len(found[-1])
        if total > max_cells:
            check_number(max(expected, total), order, max_cells)
    return np.concatenate(found) if found else np.empty(0, dtype=np.int64)


def moc_of_cells(cells: Ids, order: int) -> MOC:
    """Return ascending cells of one order as a MOC."""
    breaks = np.flatnonzero(np.diff(cells) != 1) + 1
    first = cells[np.concatenate([[0], breaks])] if len(cells) else cells
    last = cells[np.concatenate([breaks, [len(cells)]]) - 1] if len(cells) else cells
    ranges = np.stack([first, last + 1], axis=1).astype(np.uint64) << _shift(order)
    return MOC.from_depth29_ranges(order, ranges)


def check_number(cells: int, order: int, max_cells: int) -> None:
    """Check that so many cells of an order fit into memory.

    Raises
    ------
    ConfigError
        If not; it says which order would.
    """
    if cells <= max_cells:
        return
    fits = max(order - math.ceil(math.log(cells / max_cells, 4.0)), 0)
    msg = (
        f"at HEALPix order {order} the field has more than {max_cells} cells, which would not fit "
        f"into memory; choose larger ones with --order {fits}"
    )
    raise ConfigError(msg, order=order, max_cells=max_cells)


def _shift(order: int) -> np.uint64:
    """Bits by which a cell number of order 29 is longer."""
    return np.uint64(2 * (MAX_ORDER - order))


def _in_chunks(ranges: Ids) -> Iterator[Ids]:
    """Go through the numbers in ranges (first, end), some at a time."""
    ends = np.cumsum(ranges[:, 1] - ranges[:, 0])
    for start in range(0, int(ends[-1]) if len(ends) else 0, _CHUNK_CELLS):
        count = np.arange(start, min(start + _CHUNK_CELLS, int(ends[-1])))
        place = np.searchsorted(ends, count, side="right")
        yield ranges[place, 1] - (ends[place] - count)


def _candidates(cones: _Cones, order: int) -> Ids:
    """Ranges (first, end) of cells, (n, 2), that hold all cells of an image, and few others."""
    around = MOC.new_empty(order)
    # Small circles in small cells, large ones in large ones: some dozens of cells each.
    depths = np.array(
        [min(nearest_order(math.degrees(r) / 2.0), order) for r in cones.radius_rad.tolist()]
    )
    for depth in np.unique(depths).tolist():
        here = depths == depth
        around = around.union(
            MOC.from_cones(
                lon=cones.ra_deg[here] * u.deg,
                lat=cones.dec_deg[here] * u.deg,
                radius=cones.radius_rad[here] * u.rad,
                max_depth=depth,
                union_strategy="large_cones",
                n_threads=1,
            )
        )
    # A union keeps the finer order of the two, and this one's cells are none finer.
    return np.asarray(around.to_depth29_ranges >> _shift(order), dtype=np.int64)


def _cones(coverage: Coverage, order: int) -> _Cones:
    """Circles on the sky that together hold all pixels that are used."""
    wcs = wcs_of(coverage)
    levels = _levels(used_pixels(coverage))
    rows, columns = np.nonzero(levels[-1])
    # As large as a few cells, a circle cannot hold many cells for nothing.
    small = 4.0 * math.sqrt(_area_sr(order))
    found = []
    for level in range(len(levels) - 1, -1, -1):
        side = 1 << level
        ra, dec = _nodes(wcs, columns, rows, side, 0.0)
        radius, area = _size(ra, dec)
        filled = levels[level][rows, columns] / side**2
        smooth = radius < (_MAX_RADIUS_RAD if level else math.inf)
        taken = smooth & ((filled >= _SPARSE) | (radius < small))
        found.append(_Cones(ra[taken, 0], dec[taken, 0], radius[taken], (filled * area)[taken]))
        rows, columns = rows[~taken], columns[~taken]
        if level:
            rows, columns = _quarters(levels[level - 1], rows, columns)
    found.append(_end_of_sky(wcs, columns, rows))
    return _Cones(
        *(
            np.concatenate([getattr(cones, field.name) for cones in found])
            for field in fields(_Cones)
        )
    )


def _levels(used: Mask) -> list[npt.NDArray[np.int16]]:
    """Number of pixels that are used in squares of 1, 2, 4 ... pixels."""
    ny, nx = used.shape
    padded = np.pad(used, ((0, -ny % _TILE_PX), (0, -nx % _TILE_PX)))
    levels = [padded.astype(np.int16)]
    while 1 << len(levels) <= _TILE_PX:
        finer = levels[-1]
        pairs = finer[::2] + finer[1::2]
        levels.append(pairs[:, ::2] + pairs[:, 1::2])
    return levels


def _quarters(
    finer: npt.NDArray[np.int16], rows: IntArray, columns: IntArray
) -> tuple[IntArray, IntArray]:
    """Cut squares in four; return those with pixels that are used."""
    rows = (2 * rows[:, None] + np.array([0, 0, 1, 1])).ravel()
    columns = (2 * columns[:, None] + np.array([0, 1, 0, 1])).ravel()
    wanted = finer[rows, columns] > 0
    return rows[wanted], columns[wanted]


def _nodes(
    wcs: WCS, columns: IntArray, rows: IntArray, side: int, beyond_px: float
) -> tuple[FloatArray, FloatArray]:
    """Nine positions on each square of pixels, the middle first; (n, 9), NaN off the sky."""
    if len(columns) == 0:
        return np.empty((0, 9)), np.empty((0, 9))
    width = side + 2.0 * beyond_px
    x = columns[:, None] * side - 0.5 - beyond_px + _NODES[0] * width
    y = rows[:, None] * side - 0.5 - beyond_px + _NODES[1] * width
    ra, dec = wcs.wcs_pix2world(x.ravel(), y.ravel(), 0)
    off = ~np.isfinite(ra + dec)
    ra[off] = dec[off] = np.nan
    return ra.reshape(-1, 9), dec.reshape(-1, 9)


def _size(ra_deg: FloatArray, dec_deg: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Radians about the first node that hold a square, and its area in steradians, (n,) each.

    The radius is infinite where a node is off the sky; of the others the chord is shorter than the
    arc by less than 0.4% at the largest radius in use.
    """
    vectors = unit_vectors(ra_deg, dec_deg)
    chord = np.sqrt(((vectors - vectors[:, :1]) ** 2).sum(axis=2)).max(axis=1)
    diagonals = vectors[:, [8, 3]] - vectors[:, [1, 6]]
    area = np.sqrt((np.cross(diagonals[:, 0], diagonals[:, 1]) ** 2).sum(axis=1)) / 2.0
    return np.where(np.isnan(chord), math.inf, _SAFETY * chord), area


def _end_of_sky(wcs: WCS, columns: IntArray, rows: IntArray) -> _Cones:
    """Circles about single pixels that lie partly or wholly beyond the end of the sky."""
    ra, dec = _nodes(wcs, columns, rows, 1, _BEYOND_PX)
    on_sky = np.isfinite(ra)
    some = on_sky.any(axis=1)
    first = on_sky[some].argmax(axis=1)
    pixel = math.sqrt(2.0 * abs(float(np.linalg.det(wcs.pixel_scale_matrix))))
    radius = min(_END_OF_SKY * math.sqrt(math.radians(pixel)), math.pi)
    rows = np.flatnonzero(some)
    # They are wide: what they hold for nothing is not expected to be in the image.
    none = np.zeros(len(rows))
    return _Cones(ra[rows, first], dec[rows, first], none + radius, none)

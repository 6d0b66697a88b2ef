"""Which pixels belong to a fit: footprints about components, groups of blended components."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trap_ops.records.arrays import FloatArray, Image, IntArray, Mask
from trap_ops.science.beam import FWHM_PER_SIGMA
from trap_ops.science.gaussian_fit import Stamps
from trap_ops.science.neighbours import chained, close_pairs

# Components closer than this many beams are fitted together, at most so many of them.
_LINK_BEAMS = 2.0
MAX_GROUP = 5
# A joint fit takes at most so many pixels: wider footprints are thinned out.
_MAX_PIXELS = 700


@dataclass(frozen=True)
class Footprint:
    """Pixel offsets of an ellipse about a component's peak pixel, (p,) each; every so-many-th."""

    dx: IntArray
    dy: IntArray
    stride: int = 1

    def __len__(self) -> int:
        """Count the pixels."""
        return len(self.dx)


def make_footprint(
    covariance_px: npt.ArrayLike, radius_fwhm: float, n_components: int = 1
) -> Footprint:
    """Offsets within so many full widths of a Gaussian, at least the nine nearest, thinned if many.

    Parameters
    ----------
    covariance_px : array_like, (2, 2)
        Gaussian that gives the shape of the ellipse.
    radius_fwhm : float
        0.5 serves best with the shape held, 0.8 with the shape free (FINDERS, section 6).
    n_components : int
        Of the joint fit: its footprints together take at most 700 pixels, else they are thinned.
    """
    covariance = np.asarray(covariance_px, dtype=np.float64)
    inverse = np.linalg.inv(covariance)
    limit = (radius_fwhm * FWHM_PER_SIGMA) ** 2
    reach = math.ceil(math.sqrt(limit * float(np.diag(covariance).max()))) + 1
    grid = np.arange(-reach, reach + 1)
    dy, dx = (axis.ravel() for axis in np.meshgrid(grid, grid, indexing="ij"))
    radius2 = inverse[0, 0] * dx**2 + 2 * inverse[0, 1] * dx * dy + inverse[1, 1] * dy**2
    inside = (radius2 <= limit) | ((np.abs(dx) <= 1) & (np.abs(dy) <= 1))
    dx, dy = dx[inside], dy[inside]
    stride = math.ceil(math.sqrt(len(dx) * n_components / _MAX_PIXELS))
    if stride > 1:
        thin = (dx % stride == 0) & (dy % stride == 0)
        dx, dy = dx[thin], dy[thin]
    return Footprint(dx, dy, stride)


def group_components(
    x: npt.ArrayLike, y: npt.ArrayLike, beam_covariance_px: npt.ArrayLike
) -> IntArray:
    """Number of the group of each component, (n,): those chained by less than two beams.

    Groups of more than five are cut at their longest links: a joint fit of many components costs
    their number cubed and gains nothing over subtracting the distant ones.
    """
    lower = np.linalg.cholesky(np.asarray(beam_covariance_px, dtype=np.float64))
    positions = np.stack([np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)], axis=1)
    whitened = np.asarray(np.linalg.solve(lower * FWHM_PER_SIGMA, positions.T).T, np.float64)
    group = np.zeros(len(positions), dtype=np.intp)
    _split(whitened, np.arange(len(positions)), _LINK_BEAMS, group)
    return np.asarray(np.unique(group, return_inverse=True)[1].reshape(-1))


def _split(whitened: FloatArray, members: IntArray, link: float, group: IntArray) -> None:
    """Give each member the index of its group's first component; cut groups that are too big."""
    first = chained(len(members), close_pairs(whitened[members], link))
    group[members] = members[first]
    size = np.bincount(first)
    for big in np.flatnonzero(size > MAX_GROUP):
        inside = members[first == big]
        if link < 0.2:  # Nothing left to cut: as they come, five by five.
            group[inside] = np.repeat(inside[::MAX_GROUP], MAX_GROUP)[: len(inside)]
        else:
            _split(whitened, inside, link * 0.8, group)


@dataclass(frozen=True)
class GroupStamps:
    """Stamps of a batch of groups, and where their pixels are.

    Attributes
    ----------
    stamps : Stamps
    row, column : numpy.ndarray of int, (b, p)
        Pixel in the image (clipped to it where the weight is 0).
    rms : numpy.ndarray, (b,)
        Unit of ``stamps.value``.
    incomplete, masked : numpy.ndarray of bool, (b,)
        True where pixels of the footprint are masked or outside the image; where they are masked.
    """

    stamps: Stamps
    row: IntArray
    column: IntArray
    rms: FloatArray
    incomplete: Mask
    masked: Mask


def cut_stamps(
    data: Image,
    mask: Mask | None,
    footprint: Footprint,
    x: IntArray,
    y: IntArray,
    background: FloatArray,
    rms: FloatArray,
    beam_covariance_px: npt.ArrayLike,
) -> GroupStamps:
    """Cut the union of the footprints of k components for each of b groups.

    Parameters
    ----------
    data, mask : numpy.ndarray, (ny, nx)
    footprint : Footprint
    x, y : numpy.ndarray of int, (b, k)
        Peak pixels; the first component's is the reference pixel of the stamp.
    background, rms : numpy.ndarray, (b, k)
        At the peaks. A stamp is above the mean background of its components, in units of their
        mean rms.
    beam_covariance_px : array_like, (2, 2)
        Metric in which a pixel within several footprints belongs to the nearest peak.
    """
    ny, nx = data.shape
    n_groups, k = x.shape
    column = x[:, :, None] + footprint.dx
    row = y[:, :, None] + footprint.dy
    inside = (column >= 0) & (column < nx) & (row >= 0) & (row < ny)
    column_in, row_in = np.clip(column, 0, nx - 1), np.clip(row, 0, ny - 1)
    value = data[row_in, column_in].astype(np.float64)
    good = inside & np.isfinite(value)
    if mask is not None:
        good &= ~mask[row_in, column_in]
    incomplete = ~good.all(axis=(1, 2))
    masked = (inside & ~good).any(axis=(1, 2))
    if k > 1:
        good &= _owned(column, row, x, y, np.linalg.inv(np.asarray(beam_covariance_px)))
    unit = rms.sum(axis=1) / k
    level = background.sum(axis=1) / k
    scaled = np.where(good, (value - level[:, None, None]) / unit[:, None, None], 0.0)
    flat = (n_groups, k * len(footprint))
    return GroupStamps(
        Stamps(
            value=scaled.reshape(flat),
            x=(column - x[:, :1, None]).astype(np.float64).reshape(flat),
            y=(row - y[:, :1, None]).astype(np.float64).reshape(flat),
            weight=good.astype(np.float64).reshape(flat),
        ),
        row=row_in.reshape(flat),
        column=column_in.reshape(flat),
        rms=unit,
        incomplete=incomplete,
        masked=masked,
    )


def _owned(column: IntArray, row: IntArray, x: IntArray, y: IntArray, metric: FloatArray) -> Mask:
    """Whether each pixel is in the footprint of its nearest peak, so that none counts twice."""
    u = column[:, :, :, None] - x[:, None, None, :]
    v = row[:, :, :, None] - y[:, None, None, :]
    distance = metric[0, 0] * u * u + 2 * metric[0, 1] * u * v + metric[1, 1] * v * v
    return np.asarray(distance.argmin(axis=3) == np.arange(x.shape[1])[None, :, None])

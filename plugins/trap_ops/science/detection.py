"""Islands of significant pixels and the peaks in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from trap_ops.records.arrays import FloatArray, Image, IntArray, Mask
from trap_ops.records.images import NoiseGrid
from trap_ops.science.background import noise_at, upsample
from trap_ops.science.beam import FWHM_PER_SIGMA
from trap_ops.science.neighbours import chained, close_pairs

# A secondary peak must rise so many sigma above the saddle to a higher one to be a component.
MIN_PROMINENCE_SIGMA = 2.5
# Peaks nearer to a higher one than this many beams are no components.
_DOUBLE_BEAMS = 0.5
# Whatever joins pixels to islands: a hill has one top in all eight directions.
_NEIGHBOURS = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)]
# The threshold of a false-detection rate is not sought below this.
_FAINTEST_SIGMA = 1.5
# The threshold is applied in strips of so many pixels, so that no full-size map is made.
_STRIP_PIXELS = 1 << 18


@dataclass(frozen=True)
class Peaks:
    """Local maxima that stand for one component each, in canonical order (y, then x).

    Attributes
    ----------
    x, y : numpy.ndarray of int, (n,)
        Pixel of the maximum, 0-based.
    value : numpy.ndarray, (n,)
        Pixel minus background, units of the image.
    snr : numpy.ndarray, (n,)
        ``value`` over the local rms.
    island : numpy.ndarray of int, (n,)
        Number of the island, from 0; every island has a peak.
    n_pixels : numpy.ndarray of int, (n,)
        Pixels above the analysis threshold that lead uphill to this maximum.
    """

    x: IntArray
    y: IntArray
    value: FloatArray
    snr: FloatArray
    island: IntArray
    n_pixels: IntArray

    def __len__(self) -> int:
        """Count the peaks."""
        return len(self.x)


def threshold(data: Image, mask: Mask | None, grid: NoiseGrid, analysis_sigma: float) -> Mask:
    """Pixels above the analysis threshold.

    Parameters
    ----------
    data : numpy.ndarray of float32, (ny, nx)
        NaN never exceeds a threshold.
    mask : numpy.ndarray of bool, (ny, nx), or None
        True where a pixel must not be used.
    grid : NoiseGrid
    analysis_sigma : float
        Strictly greater than this many times the local rms, above the local background.

    Returns
    -------
    numpy.ndarray of bool, (ny, nx)
    """
    ny, nx = data.shape
    above = np.empty((ny, nx), dtype=bool)
    limit = grid.background + analysis_sigma * grid.rms
    for rows in _strips(ny, nx):
        np.greater(data[rows], upsample(limit, grid, rows.start, rows.stop, nx), out=above[rows])
    if mask is not None:
        above &= ~mask
    return above


def rms_range(grid: NoiseGrid, mask: Mask | None, shape: tuple[int, int]) -> tuple[float, float]:
    """Least and largest local rms of the unmasked pixels, Jy/beam; NaN if there are none.

    Parameters
    ----------
    grid : NoiseGrid
    mask : numpy.ndarray of bool, (ny, nx), or None
        True where a pixel must not be used.
    shape : (int, int)
        Of the image, (ny, nx).
    """
    ny, nx = shape
    least, largest = np.inf, -np.inf
    for rows in _strips(ny, nx):
        rms = upsample(grid.rms, grid, rows.start, rows.stop, nx)
        if mask is not None:
            rms = rms[~mask[rows]]
        if rms.size:
            least = min(least, float(rms.min()))
            largest = max(largest, float(rms.max()))
    return (least, largest) if least <= largest else (float("nan"), float("nan"))


def _strips(ny: int, nx: int) -> Iterator[slice]:
    """Rows of an image in pieces, which bound the memory for what is computed of them."""
    strip = max(1, _STRIP_PIXELS // nx)
    return (slice(first, min(first + strip, ny)) for first in range(0, ny, strip))


def false_detection_threshold(
    data: Image, mask: Mask | None, grid: NoiseGrid, rate: float, beam_pixels: float
) -> float:
    """Threshold that lets noise make at most a share of the pixels that are detected.

    Parameters
    ----------
    data : numpy.ndarray of float32, (ny, nx)
    mask : numpy.ndarray of bool, (ny, nx), or None
        True where a pixel must not be used.
    grid : NoiseGrid
    rate : float
        Largest expected share of false pixels among those above the threshold, between 0 and 1.
    beam_pixels : float
        Pixels that are correlated with each other: ``pi / 4`` times both full widths of the beam.

    Returns
    -------
    float
        In units of the local rms; infinite if no pixel is significant enough.

    Notes
    -----
    Hopkins et al. 2002 (AJ 123, 1086): of the N pixels in order of their p-values ``p_i``, the last
    with ``p_i < rate / C * i / N`` sets the threshold. ``C`` is the sum of 1/k for k up to the
    number of correlated pixels. p is the density of the normal law, as in TraP.
    """
    ny, nx = data.shape
    found, n_pixels = [], 0
    for rows in _strips(ny, nx):
        background = upsample(grid.background, grid, rows.start, rows.stop, nx)
        snr = (data[rows] - background) / upsample(grid.rms, grid, rows.start, rows.stop, nx)
        usable = np.isfinite(snr) if mask is None else np.isfinite(snr) & ~mask[rows]
        n_pixels += int(np.count_nonzero(usable))
        # What is fainter cannot be above any threshold that the rule gives.
        found.append(snr[usable & (snr > _FAINTEST_SIGMA)])
    snr = np.sort(np.concatenate(found).astype(np.float64))[::-1]
    n = max(round(beam_pixels), 1)
    limit = rate / float((1.0 / np.arange(1, n + 1)).sum()) / max(n_pixels, 1)
    p_value = np.exp(-(snr**2) / 2.0) / np.sqrt(2.0 * np.pi)
    below = np.flatnonzero(p_value < limit * np.arange(1, len(snr) + 1))
    return float(snr[below[-1]]) if len(below) else np.inf


@dataclass(frozen=True)
class Islands:
    """Connected groups of pixels above the analysis threshold that reach the detection threshold.

    Attributes
    ----------
    above : numpy.ndarray of bool, (ny, nx)
        All pixels above the analysis threshold.
    flat : numpy.ndarray of int, (n,)
        Pixels of the islands, as ascending indices into the flattened image.
    label : numpy.ndarray of int, (n,)
        Number of the island of each of these, from 0 in the order of their first pixels.
    value, snr : numpy.ndarray, (n,)
        Pixel minus background, units of the image; that over the local rms.
    connectivity : int
        8 or 4.
    """

    above: Mask
    flat: IntArray
    label: IntArray
    value: FloatArray
    snr: FloatArray
    connectivity: int


def find_islands(
    data: Image, above: Mask, grid: NoiseGrid, detection_sigma: float, connectivity: int = 8
) -> Islands:
    """Group the pixels above the analysis threshold, and keep the significant groups.

    Parameters
    ----------
    data : numpy.ndarray of float32, (ny, nx)
    above : numpy.ndarray of bool, (ny, nx)
        Pixels above the analysis threshold; see :func:`threshold`.
    grid : NoiseGrid
    detection_sigma : float
        A group counts if one of its pixels reaches (>=) this many times the local rms.
    connectivity : int
        8: pixels that touch at a corner belong together; 4: only those that share a side.
    """
    flat = np.flatnonzero(above)
    y, x = np.divmod(flat, data.shape[1])
    group = _connected(flat + y, data.shape[1] + 1, connectivity)
    background, rms = noise_at(grid, x, y)
    value = data.ravel()[flat] - background
    snr = value / rms
    highest = np.zeros(int(group.max(initial=-1)) + 1)
    np.maximum.at(highest, group, snr)
    significant = highest >= detection_sigma
    kept = significant[group]
    label = (np.cumsum(significant) - 1)[group[kept]]
    return Islands(above, flat[kept], label, value[kept], snr[kept], connectivity)


def _connected(place: IntArray, nx: int, connectivity: int) -> IntArray:
    """Number of the connected group of each pixel, (n,), from 0 in the order of first pixels.

    Equivalent to ``scipy.ndimage.label``, in a seventh of its time where few pixels are set.

    Parameters
    ----------
    place : numpy.ndarray of int, (n,)
        Ascending indices into a flattened image whose last column is empty, so that the end of a
        row does not touch the start of the next.
    nx : int
        Columns of that image.
    connectivity : int
    """
    begins = np.diff(place, prepend=-2) != 1
    first = place[begins]
    last = place[np.append(begins[1:], True)] if len(place) else place
    # Runs touch those of the next row that overlap with them, or with the corners beyond them.
    corner = 1 if connectivity == 8 else 0
    low = np.searchsorted(last, first + (nx - corner))
    count = np.searchsorted(first, last + (nx + corner), side="right") - low
    one = np.repeat(np.arange(len(first)), count)
    other = np.arange(len(one)) - np.repeat(np.cumsum(count) - count - low, count)
    lowest = chained(len(first), np.stack([one, other], axis=1))
    number = np.cumsum(lowest == np.arange(len(lowest))) - 1
    return np.asarray(number[lowest][np.cumsum(begins) - 1])


def find_peaks(data: Image, islands: Islands, grid: NoiseGrid, detection_sigma: float) -> Peaks:
    """Find the peaks of islands: the maxima that stand out from the saddles between them.

    Notes
    -----
    Every island pixel leads uphill to one local maximum. A maximum whose height above its highest
    saddle to a higher maximum is less than 2.5 sigma, or that is itself below the detection
    threshold, is merged into that one, until none is left to merge. Equal pixels are ordered by
    their index.
    """
    nx = data.shape[1]
    flat, label, snr = islands.flat, islands.label, islands.snr
    bright = np.flatnonzero(snr >= detection_sigma)
    maxima = bright[_is_maximum(data, islands, bright)]
    # Faint maxima merge in any case, so an island with one bright maximum needs no climbing.
    n_islands = int(label.max(initial=-1)) + 1
    count = np.bincount(label[maxima], minlength=n_islands)
    peak = maxima[count[label[maxima]] == 1]
    n_pixels = np.bincount(label, minlength=n_islands)[label[peak]]
    several = count[label] > 1
    if several.any():
        rms = noise_at(grid, *np.divmod(flat[several], nx)[::-1])[1]
        value = data.ravel()[flat[several]].astype(np.float64)
        root, pairs, saddle = _climb(data.shape, flat[several], value, label[several])
        root = _merge(root, pairs, saddle, value, rms, snr[several], detection_sigma)
        tops, basin = np.unique(root, return_inverse=True)
        peak = np.concatenate([peak, np.flatnonzero(several)[tops]])
        n_pixels = np.concatenate([n_pixels, np.bincount(basin)])
    order = np.argsort(peak)
    peak, n_pixels = peak[order], n_pixels[order]
    y, x = np.divmod(flat[peak], nx)
    return Peaks(
        x=x,
        y=y,
        value=islands.value[peak],
        snr=snr[peak],
        island=np.unique(label[peak], return_inverse=True)[1],
        n_pixels=n_pixels,
    )


def without_doubles(peaks: Peaks, beam_covariance_px: npt.ArrayLike) -> Peaks:
    """Leave out peaks that have a higher one within half a beam: holes in the image make these.

    Two point sources that near have one maximum, and noise does not change between them.

    Parameters
    ----------
    peaks : Peaks
    beam_covariance_px : array_like, (2, 2)
    """
    lower = np.linalg.cholesky(np.asarray(beam_covariance_px, dtype=np.float64)) * FWHM_PER_SIGMA
    pixels = np.stack([peaks.x, peaks.y]).astype(np.float64)
    places = np.asarray(np.linalg.solve(lower, pixels).T, dtype=np.float64)
    first, second = close_pairs(places, _DOUBLE_BEAMS).T
    if len(first) == 0:
        return peaks
    swap = peaks.value[first] < peaks.value[second]
    fainter, brighter = np.where(swap, first, second), np.where(swap, second, first)
    fainter, once = np.unique(fainter, return_index=True)
    n_pixels = peaks.n_pixels.copy()
    np.add.at(n_pixels, brighter[once], peaks.n_pixels[fainter])
    kept = np.ones(len(peaks), dtype=bool)
    kept[fainter] = False
    whole = replace(peaks, n_pixels=n_pixels)
    left = Peaks(**{name: value[kept] for name, value in vars(whole).items()})
    # An island may have lost its only peak to another one: numbers have no gaps.
    return replace(left, island=np.unique(left.island, return_inverse=True)[1])


def _is_maximum(data: Image, islands: Islands, pixels: IntArray) -> Mask:
    """Whether island pixels are higher than their neighbours; of equal ones the last index is.

    Neighbours outside the island do not count: a masked one may hold anything.
    """
    ny, nx = data.shape
    values, above = data.ravel(), islands.above.ravel()
    flat, label = islands.flat[pixels], islands.label[pixels]
    y, x = np.divmod(flat, nx)
    rows = {-1: y > 0, 0: np.True_, 1: y < ny - 1}
    columns = {-1: x > 0, 0: np.True_, 1: x < nx - 1}
    value = values[flat]
    highest = np.ones(len(flat), dtype=bool)
    for dy, dx in _NEIGHBOURS:
        neighbour = flat + (dy * nx + dx)
        other = values.take(neighbour, mode="clip")
        higher = other >= value if (dy, dx) > (0, 0) else other > value
        higher &= above.take(neighbour, mode="clip")
        if islands.connectivity == 4 and dx and dy:  # Another island may touch the corner.
            at = np.minimum(np.searchsorted(islands.flat, neighbour), len(islands.flat) - 1)
            higher &= (islands.flat[at] == neighbour) & (islands.label[at] == label)
        highest &= ~(higher & rows[dy] & columns[dx])
    return highest


def _climb(
    shape: tuple[int, ...], flat: IntArray, value: FloatArray, label: IntArray
) -> tuple[IntArray, IntArray, FloatArray]:
    """Lead each pixel uphill to its maximum, and find the saddles between maxima.

    Returns
    -------
    root : numpy.ndarray of int, (n,)
        Index of the maximum that each pixel leads to.
    pairs : numpy.ndarray of int, (m, 2)
        Roots of adjacent pixels that lead to different maxima.
    saddle : numpy.ndarray, (m,)
        The lower of the two pixel values.
    """
    ny, nx = shape
    place = np.full(ny * nx, -1, dtype=np.int32)
    place[flat] = np.arange(len(flat))
    rank = np.empty(len(flat), dtype=np.intp)
    rank[np.lexsort((flat, value))] = np.arange(len(flat))
    y, x = np.divmod(flat, nx)
    uphill = np.arange(len(flat))
    neighbours = []
    for dy, dx in _NEIGHBOURS:
        inside = (y + dy >= 0) & (y + dy < ny) & (x + dx >= 0) & (x + dx < nx)
        other = np.where(inside, place[flat + np.where(inside, dy * nx + dx, 0)], -1)
        other[label[other] != label] = -1
        higher = (other >= 0) & (rank[other] > rank[uphill])
        uphill = np.where(higher, other, uphill)
        if (dy, dx) > (0, 0):
            neighbours.append(other)
    root = uphill
    while True:
        further = root[root]
        if np.array_equal(further, root):
            break
        root = further
    here = np.tile(np.arange(len(flat)), len(neighbours))
    there = np.concatenate(neighbours)
    border = (there >= 0) & (root[here] != root[there])
    here, there = here[border], there[border]
    return (
        root,
        np.stack([root[here], root[there]], axis=1),
        np.minimum(value[here], value[there]),
    )


def _merge(
    root: IntArray,
    pairs: IntArray,
    saddle: FloatArray,
    value: FloatArray,
    rms: FloatArray,
    snr: FloatArray,
    detection_sigma: float,
) -> IntArray:
    """Merge maxima that are not significant against a higher neighbour, in rounds."""
    target = np.arange(len(value))
    while len(pairs):
        first, second = pairs[:, 0], pairs[:, 1]
        swap = (value[first] > value[second]) | ((value[first] == value[second]) & (first > second))
        lower, higher = np.where(swap, second, first), np.where(swap, first, second)
        faint = (value[lower] - saddle < MIN_PROMINENCE_SIGMA * rms[lower]) | (
            snr[lower] < detection_sigma
        )
        # Of several higher neighbours the one over the highest saddle takes it.
        order = np.lexsort((higher, -saddle, lower))
        _, leading = np.unique(lower[order], return_index=True)
        best = order[leading]
        best = best[faint[best]]
        if len(best) == 0:
            break
        target[lower[best]] = higher[best]
        while True:
            further = target[target]
            if np.array_equal(further, target):
                break
            target = further
        pairs = target[pairs]
        different = pairs[:, 0] != pairs[:, 1]
        pairs, saddle = pairs[different], saddle[different]
    return np.asarray(target[root])

"""What stands out in light curves: single points, runs of points, steps, and pairs of epochs.

Light curves come as flat arrays of points and are worked on in padded blocks of rows of about equal
length. All sums run along the row, so that no result depends on what else is in a block.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import log_ndtr

from trap_ops.records.arrays import FloatArray, IntArray, Mask
from trap_ops.records.light_curves import CurveShapes

# Padded cells that are worked on together: some 10 arrays of 8 MB.
_BLOCK_CELLS = 1_000_000
_BLOCK_PAIRS = 4_000_000


@dataclass(frozen=True)
class Block:
    """Light curves of about equal length, a row each.

    Attributes
    ----------
    curves : numpy.ndarray of int, (n,)
        Which they are.
    cells : numpy.ndarray of int, (n, longest)
        Number of the point in each cell; -1 behind the end.
    flux_jy, weight : numpy.ndarray, (n, longest)
        Weights are 1/error^2; both are 0 behind the end.
    count : numpy.ndarray of int, (n,)
    """

    curves: IntArray
    cells: IntArray
    flux_jy: FloatArray
    weight: FloatArray
    count: IntArray

    @property
    def filled(self) -> Mask:
        """Whether a cell has a point."""
        return self.cells >= 0


@dataclass(frozen=True)
class Contrasts:
    """Deviations in a block, from which those of any run of points follow.

    Attributes
    ----------
    deviation : numpy.ndarray, (n, longest)
        Flux minus weighted mean; 0 behind the end.
    sum_weight, sum_weighted : numpy.ndarray, (n, longest + 1)
        Sums of weight and of weight times deviation over the points before.
    """

    deviation: FloatArray
    sum_weight: FloatArray
    sum_weighted: FloatArray

    def of_runs(self, first: IntArray | int, last: IntArray | int) -> FloatArray:
        """Significance of runs of points: their mean minus that of all others over its error.

        Parameters
        ----------
        first, last : numpy.ndarray of int or int
            Column of the first point, and of the first one behind the run: one run of every row a
            column of the result. NaN where there are no others.
        """
        first, last = np.atleast_1d(first), np.atleast_1d(last)
        weight = self.sum_weight[:, last] - self.sum_weight[:, first]
        weighted = self.sum_weighted[:, last] - self.sum_weighted[:, first]
        return _contrast(weighted, weight, self.sum_weighted[:, -1:], self.sum_weight[:, -1:])

    def of_points(self, block: Block) -> FloatArray:
        """Significance of single points against all others, (n, longest); NaN behind the end."""
        found = _contrast(
            block.weight * self.deviation,
            block.weight,
            self.sum_weighted[:, -1:],
            self.sum_weight[:, -1:],
        )
        return np.where(block.filled, found, np.nan)


def _contrast(
    weighted: FloatArray, weight: FloatArray, all_weighted: FloatArray, all_weight: FloatArray
) -> FloatArray:
    # As this: (A/w - B/v) / sqrt(1/w + 1/v) with B, v of the others.
    other = all_weight - weight
    with np.errstate(divide="ignore", invalid="ignore"):
        difference = weighted / weight - (all_weighted - weighted) / other
        found = difference * np.sqrt(weight * other / all_weight)
    # What is left of the others by rounding is nothing.
    return np.where((weight > 0.0) & (other > 1e-12 * all_weight), found, np.nan)


def blocks(curve: IntArray, flux_jy: FloatArray, error_jy: FloatArray, n: int) -> Iterator[Block]:
    """Light curves in padded blocks; those without points are in none.

    Parameters
    ----------
    curve : numpy.ndarray of int, (m,)
        Light curve of each point. Points of one curve in the order of time.
    flux_jy, error_jy : numpy.ndarray, (m,)
        Errors are finite and positive.
    n : int
        Number of light curves.
    """
    count = np.bincount(curve, minlength=n)
    points = np.argsort(curve, kind="stable")
    begin = np.cumsum(count) - count
    by_length = np.argsort(count, kind="stable")
    by_length = by_length[count[by_length] > 0]
    while len(by_length):
        # The longest ones are at the end.
        rows = max(1, _BLOCK_CELLS // int(count[by_length[-1]]))
        curves, by_length = by_length[-rows:], by_length[:-rows]
        column = np.arange(int(count[curves[-1]]))
        filled = column < count[curves, np.newaxis]
        cells = np.where(filled, begin[curves, np.newaxis] + column, 0)
        cells = np.where(filled, points[cells], -1)
        yield Block(
            curves=curves,
            cells=cells,
            flux_jy=np.where(filled, flux_jy[cells], 0.0),
            weight=np.where(filled, 1.0 / error_jy[cells] ** 2, 0.0),
            count=count[curves],
        )


def contrasts(block: Block) -> Contrasts:
    """Deviations of the points of a block from the weighted means."""
    # Sums along the row, one after the other: what is behind the end adds nothing, exactly.
    sum_weight = _running(block.weight)
    mean = _running(block.weight * block.flux_jy)[:, -1] / sum_weight[:, -1]
    deviation = np.where(block.filled, block.flux_jy - mean[:, np.newaxis], 0.0)
    return Contrasts(deviation, sum_weight, _running(block.weight * deviation))


def _running(values: FloatArray) -> FloatArray:
    return np.concatenate([np.zeros((len(values), 1)), np.cumsum(values, axis=1)], axis=1)


def run_lengths(longest: int) -> list[int]:
    """Lengths of the runs of points that are looked for: 2, 3, 4, 6, 8, 12 ... to a third."""
    lengths: list[int] = []
    power = 2
    while power <= longest // 3:
        lengths += [length for length in (power, power * 3 // 2) if length <= longest // 3]
        power *= 2
    return lengths


def n_runs(count: IntArray) -> IntArray:
    """Number of runs of points that are looked at in light curves of so many points."""
    lengths = run_lengths(int(count.max(initial=0)))
    found = np.zeros(len(count), dtype=np.intp)
    for length in lengths:
        found += np.where(length <= count // 3, count - length + 1, 0)
    return found


def measure_shapes(
    curve: IntArray, flux_jy: FloatArray, error_jy: FloatArray, n: int
) -> CurveShapes:
    """Largest significance of a point, of a run and of a step, and of a pair of epochs.

    Parameters
    ----------
    curve, flux_jy, error_jy, n
        As :func:`blocks` takes them.
    """
    none = np.full(n, np.nan)
    shapes = CurveShapes(np.zeros(n), np.zeros(n), np.zeros(n), none.copy(), none)
    for block in blocks(curve, flux_jy, error_jy, n):
        made = contrasts(block)
        points = np.abs(made.of_points(block))
        shapes.point_sigma[block.curves] = np.fmax.reduce(points, axis=1, initial=0.0)
        shapes.run_sigma[block.curves] = _largest_run(block, made)
        shapes.step_sigma[block.curves] = np.fmax.reduce(
            np.abs(steps(block, made)), axis=1, initial=0.0
        )
        vs, m = two_epochs(block)
        shapes.vs_max[block.curves] = np.where(block.count > 1, vs, np.nan)
        shapes.m_vs_max[block.curves] = m
    return shapes


def _largest_run(block: Block, made: Contrasts) -> FloatArray:
    largest = np.zeros(len(block.curves))
    for length in run_lengths(block.cells.shape[1]):
        found = np.abs(runs(block, made, length))
        largest = np.maximum(largest, np.fmax.reduce(found, axis=1, initial=0.0))
    return largest


def runs(block: Block, made: Contrasts, length: int) -> FloatArray:
    """Significance of the runs of a length by their first point; NaN where there are none.

    A run has at most a third of the points.
    """
    first = np.arange(block.cells.shape[1] - length + 1)
    found = made.of_runs(first, first + length)
    inside = (first + length <= block.count[:, np.newaxis]) & (
        length <= np.maximum(block.count[:, np.newaxis] // 3, 1)
    )
    return np.where(inside, found, np.nan)


def steps(block: Block, made: Contrasts, fewest: int = 2) -> FloatArray:
    """Significance of steps: the mean of all points before minus that of all others.

    In column k - 1 is that behind point k; NaN where either side has fewer than ``fewest`` points.
    """
    behind = np.arange(1, max(block.cells.shape[1], 2))
    behind = np.minimum(behind, block.cells.shape[1])
    found = made.of_runs(np.zeros_like(behind), behind)
    wanted = (behind >= fewest) & (behind <= block.count[:, np.newaxis] - fewest)
    return np.where(wanted, found, np.nan)


def two_epochs(block: Block) -> tuple[FloatArray, FloatArray]:
    """Vs and m of that pair of points of each row that has the largest absolute Vs.

    Returns
    -------
    vs : numpy.ndarray, (n,)
        (S1 - S2) / sqrt(e1^2 + e2^2) without its sign; 0 for a single point.
    m : numpy.ndarray, (n,)
        2 (S1 - S2) / (S1 + S2) of this pair without its sign; NaN for a single point, and where the
        fluxes add up to nothing.

    Notes
    -----
    Of all pairs only a few have to be tried. A point that is fainter and has a larger error than
    another one is never the brighter one of the best pair, and the like for the fainter one.
    """
    with np.errstate(divide="ignore"):
        error = np.where(block.filled, 1.0 / np.sqrt(block.weight), np.inf)
    order = np.argsort(error, axis=1, kind="stable")
    error = np.take_along_axis(error, order, axis=1)
    flux = np.take_along_axis(block.flux_jy, order, axis=1)
    filled = np.isfinite(error)
    bright = np.nonzero(_first_of_their_height(np.where(filled, flux, -np.inf)) & filled)
    faint = np.nonzero(_first_of_their_height(np.where(filled, -flux, -np.inf)) & filled)
    n = len(block.curves)
    vs, m = np.zeros(n), np.full(n, np.nan)
    n_bright, n_faint = np.bincount(bright[0], minlength=n), np.bincount(faint[0], minlength=n)
    group = np.cumsum(n_bright * n_faint) // _BLOCK_PAIRS
    for rows in np.split(np.arange(n), np.flatnonzero(np.diff(group)) + 1):
        row, one, other = _all_with_all(rows, bright, faint, n_bright, n_faint)
        difference = flux[row, one] - flux[row, other]
        found = difference / np.hypot(error[row, one], error[row, other])
        np.maximum.at(vs, row, found)
        best = np.flatnonzero((found == vs[row]) & (found > 0.0))
        best = best[np.unique(row[best], return_index=True)[1]]
        total = flux[row[best], one[best]] + flux[row[best], other[best]]
        with np.errstate(divide="ignore"):
            ratio = np.abs(2.0 * difference[best] / total)
        m[row[best]] = np.where(total == 0.0, np.nan, ratio)
    return vs, m


def _first_of_their_height(values: FloatArray) -> Mask:
    """Whether a value is larger than all before it in its row."""
    before = np.maximum.accumulate(values, axis=1)[:, :-1]
    before = np.concatenate([np.full((len(values), 1), -np.inf), before], axis=1)
    return np.asarray(values > before)


def _all_with_all(
    rows: IntArray,
    ones: tuple[IntArray, ...],
    others: tuple[IntArray, ...],
    n_ones: IntArray,
    n_others: IntArray,
) -> tuple[IntArray, IntArray, IntArray]:
    """Every one with every other of its row: row, column of the one, column of the other."""
    pairs = n_ones[rows] * n_others[rows]
    row = np.repeat(rows, pairs)
    number = np.arange(len(row)) - np.repeat(np.cumsum(pairs) - pairs, pairs)
    begin_one, begin_other = np.cumsum(n_ones) - n_ones, np.cumsum(n_others) - n_others
    one = ones[1][begin_one[row] + number // n_others[row]]
    other = others[1][begin_other[row] + number % n_others[row]]
    return row, one, other


def log10_chance(sigma: FloatArray, trials: IntArray) -> FloatArray:
    """Decimal logarithm of the chance that the largest of some deviations of noise is so large.

    Parameters
    ----------
    sigma : numpy.ndarray, (n,)
        Largest absolute deviation, each of variance 1.
    trials : numpy.ndarray of int, (n,)
        Number of deviations; NaN results for none.

    Notes
    -----
    1 - (1 - q)^trials with q the two-sided chance of one. For Gaussian deviations with whatever
    correlation the true chance is never larger (Sidak 1967, JASA 62, 626).
    """
    log_q = np.minimum(np.log(2.0) + log_ndtr(-sigma), 0.0)
    tries = np.maximum(trials, 1)
    with np.errstate(divide="ignore"):
        near = np.log(-np.expm1(tries * np.log1p(-np.exp(log_q))))
    # Far out the chances add up, and are too small for a float.
    found = np.where(log_q < -30.0, np.minimum(log_q + np.log(tries), 0.0), near)
    return np.where(trials > 0, found / np.log(10.0), np.nan)

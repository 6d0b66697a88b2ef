"""What stands out in light curves: single points, runs of points, steps, and pairs of epochs.

Light curves are worked on in padded rows of cells. All sums run along the row, so that no result
depends on what else is in a block.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt
from scipy.special import log_ndtr

from trap_ops.records.arrays import FloatArray, IntArray, Mask

# Padded cells that are worked on together: some 10 arrays of 8 MB.
_BLOCK_CELLS = 1_000_000
_BLOCK_PAIRS = 4_000_000

Number = TypeVar("Number", np.float64, np.intp)


class Cells(Protocol):
    """Light curves in rows of cells: single points, or neighbouring points together; (n, cells).

    Attributes
    ----------
    points : numpy.ndarray of int
        Number of points in each cell; 0 behind the end.
    flux_jy, weight : numpy.ndarray
        Weighted mean; sum of the weights 1/error^2. Both are 0 behind the end.
    """

    @property
    def points(self) -> IntArray:
        """Number of points in each cell."""

    @property
    def flux_jy(self) -> FloatArray:
        """Weighted mean of each cell."""

    @property
    def weight(self) -> FloatArray:
        """Weight of each cell."""


@dataclass(frozen=True)
class Block:
    """Light curves of about equal length, a row each, a cell for each point.

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

    @property
    def points(self) -> IntArray:
        """Number of points in each cell, 1 or 0."""
        return self.filled.astype(np.intp)


@dataclass(frozen=True)
class Contrasts:
    """Deviations in rows of cells, from which those of any run of points follow.

    Attributes
    ----------
    mean : numpy.ndarray, (n, 1)
        Weighted mean of each row.
    deviation : numpy.ndarray, (n, longest)
        Flux minus weighted mean; 0 behind the end.
    sum_points, sum_weight, sum_weighted : numpy.ndarray, (n, longest + 1)
        Number of points, weight, and weight times deviation of the cells before.
    """

    mean: FloatArray
    deviation: FloatArray
    sum_points: IntArray
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

    def of_cells(self, weight: FloatArray, flux_jy: FloatArray) -> FloatArray:
        """Significance of single points or cells against all others; NaN where weights are 0."""
        return _contrast(
            weight * (flux_jy - self.mean),
            weight,
            self.sum_weighted[:, -1:],
            self.sum_weight[:, -1:],
        )


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


def contrasts(cells: Cells) -> Contrasts:
    """Deviations of cells from the weighted means of their rows."""
    # Sums along the row, one after the other: what is behind the end adds nothing, exactly.
    sum_weight = _running(cells.weight)
    mean = _running(cells.weight * cells.flux_jy)[:, -1:] / sum_weight[:, -1:]
    deviation = np.where(cells.weight > 0.0, cells.flux_jy - mean, 0.0)
    sum_weighted = _running(cells.weight * deviation)
    return Contrasts(mean, deviation, _running(cells.points), sum_weight, sum_weighted)


def _running(values: npt.NDArray[Number]) -> npt.NDArray[Number]:
    before = np.zeros((len(values), 1), dtype=values.dtype)
    return np.concatenate([before, np.cumsum(values, axis=1)], axis=1)


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


def runs(made: Contrasts, length: int) -> FloatArray:
    """Significance of the runs of so many cells by their first cell; NaN where there are none.

    A run has at most a third of the points.
    """
    first = np.arange(made.deviation.shape[1] - length + 1)
    found = made.of_runs(first, first + length)
    points = made.sum_points[:, first + length] - made.sum_points[:, first]
    whole = made.sum_points[:, first + length] > made.sum_points[:, first + length - 1]
    count = made.sum_points[:, -1:]
    return np.where(whole & (points <= np.maximum(count // 3, 1)), found, np.nan)


def steps(made: Contrasts, fewest: int = 2) -> FloatArray:
    """Significance of steps: the mean of all points before minus that of all others.

    In column k - 1 is that behind cell k; NaN where either side has fewer than ``fewest`` points.
    """
    longest = made.deviation.shape[1]
    behind = np.minimum(np.arange(1, max(longest, 2)), longest)
    found = made.of_runs(np.zeros_like(behind), behind)
    before = made.sum_points[:, behind]
    wanted = (before >= fewest) & (before <= made.sum_points[:, -1:] - fewest)
    return np.where(wanted, found, np.nan)


def best_pair(weight: FloatArray, flux_jy: FloatArray) -> tuple[IntArray, IntArray]:
    """Of all pairs of points of each row that with the largest absolute Vs.

    Parameters
    ----------
    weight, flux_jy : numpy.ndarray, (n, points)
        Weights 1/error^2, 0 where there is no point.

    Returns
    -------
    bright, faint : numpy.ndarray of int, (n,)
        Columns of the brighter and the fainter point; -1 where no two fluxes differ.

    Notes
    -----
    Vs = (S1 - S2) / sqrt(e1^2 + e2^2). Of all pairs only a few have to be tried. A point that is
    fainter and has a larger error than another one is never the brighter one of the best pair, and
    the like for the fainter one.
    """
    with np.errstate(divide="ignore"):
        error = 1.0 / np.sqrt(weight)
    order = np.argsort(error, axis=1, kind="stable")
    error = np.take_along_axis(error, order, axis=1)
    flux = np.take_along_axis(flux_jy, order, axis=1)
    filled = np.isfinite(error)
    bright = np.nonzero(_first_of_their_height(np.where(filled, flux, -np.inf)) & filled)
    faint = np.nonzero(_first_of_their_height(np.where(filled, -flux, -np.inf)) & filled)
    n = len(flux)
    vs = np.zeros(n)
    one_of, other_of = np.full(n, -1), np.full(n, -1)
    n_bright, n_faint = np.bincount(bright[0], minlength=n), np.bincount(faint[0], minlength=n)
    group = np.cumsum(n_bright * n_faint) // _BLOCK_PAIRS
    for rows in np.split(np.arange(n), np.flatnonzero(np.diff(group)) + 1):
        row, one, other = _all_with_all(rows, bright, faint, n_bright, n_faint)
        found = (flux[row, one] - flux[row, other]) / np.hypot(error[row, one], error[row, other])
        np.maximum.at(vs, row, found)
        best = np.flatnonzero((found == vs[row]) & (found > 0.0))
        best = best[np.unique(row[best], return_index=True)[1]]
        one_of[row[best]] = order[row[best], one[best]]
        other_of[row[best]] = order[row[best], other[best]]
    return one_of, other_of


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

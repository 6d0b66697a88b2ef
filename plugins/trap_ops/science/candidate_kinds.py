"""What kind of light curve a candidate has, and which of its points make it one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from trap_ops.records.arrays import FloatArray, IntArray, Mask
from trap_ops.science.curve_shapes import (
    Block,
    Contrasts,
    blocks,
    contrasts,
    log10_chance,
    run_lengths,
    runs,
    steps,
)

# Points below this many errors of a mean are consistent with nothing; above the other it is there.
_NOTHING_SIGMA = 3.0
_THERE_SIGMA = 5.0
# A flare holds all but this fraction of what chi-squared has more than noise.
_QUIET_FRACTION = 0.2
# A fading source does not rise by more than noise, nor by more than this fraction of its drop.
_RISE_FRACTION = 0.2
_LOG10_CHANCE_OF_RISE = -3.0
# Points count as evidence that deviate by so many errors, and by half of the largest deviation.
_EVIDENCE_SIGMA = 3.0


class CandidateKind(StrEnum):
    """What makes a sky source a candidate."""

    NEW_SOURCE = "new source"  # it was not there, to the depth of an earlier image
    VANISHED = "vanished"  # it was there from the start, and then is not
    FADING = "fading"  # it was there from the start, and declines
    FLARE = "flare"  # a point or a few neighbouring ones stand out above a steady level
    VARIABLE = "variable"  # its flux is not constant, in another way


@dataclass(frozen=True)
class Kinds:
    """Shapes of light curves; arrays (n,) unless said.

    Attributes
    ----------
    vanished, fading, flare : numpy.ndarray of bool
        Rules that hold; more than one can.
    first, last : numpy.ndarray of int
        Numbers of the first and last point of the run that stands out most; -1 without.
    run_sigma : numpy.ndarray
        Its significance.
    behind : numpy.ndarray of int
        Number of the last point before the largest drop; -1 without.
    drop_sigma : numpy.ndarray
        Its significance.
    evidence : numpy.ndarray of bool, (m,)
        Of the points: those that make the light curve one of a candidate; a single point does.
    """

    vanished: Mask
    fading: Mask
    flare: Mask
    first: IntArray
    last: IntArray
    run_sigma: FloatArray
    behind: IntArray
    drop_sigma: FloatArray
    evidence: Mask

    def kind(self, item: int, *, new: bool) -> CandidateKind:
        """Kind of one light curve."""
        if new:
            return CandidateKind.NEW_SOURCE
        if self.vanished[item]:
            return CandidateKind.VANISHED
        if self.fading[item]:
            return CandidateKind.FADING
        return CandidateKind.FLARE if self.flare[item] else CandidateKind.VARIABLE


def tell_kinds(curve: IntArray, flux_jy: FloatArray, error_jy: FloatArray, n: int) -> Kinds:
    """Tell what kinds of light curves candidates have.

    Parameters
    ----------
    curve, flux_jy, error_jy, n
        As :func:`trap_ops.science.curve_shapes.blocks` takes them.
    """
    none = np.full(n, -1)
    false = np.zeros(n, dtype=bool)
    kinds = Kinds(
        false,
        false.copy(),
        false.copy(),
        none.copy(),
        none.copy(),
        np.zeros(n),
        none.copy(),
        np.zeros(n),
        np.zeros(len(curve), dtype=bool),
    )
    for block in blocks(curve, flux_jy * _signs(curve, flux_jy, error_jy, n), error_jy, n):
        made = contrasts(block)
        _tell_flares(block, made, kinds)
        _tell_drops(block, made, kinds)
        deviation = np.abs(np.nan_to_num(made.of_cells(block.weight, block.flux_jy)))
        least = np.maximum(deviation.max(axis=1, keepdims=True) / 2.0, _EVIDENCE_SIGMA)
        telling = (deviation >= least) | (block.count == 1)[:, np.newaxis]
        kinds.evidence[block.cells[block.filled & telling]] = True
    return kinds


def _signs(curve: IntArray, flux_jy: FloatArray, error_jy: FloatArray, n: int) -> FloatArray:
    """Sign of each point's source: what is below the background flares downwards."""
    significance = np.abs(flux_jy) / error_jy
    order = np.lexsort((-significance, curve))
    best = order[np.unique(curve[order], return_index=True)[1]]
    sign = np.ones(n)
    sign[curve[best]] = np.where(flux_jy[best] < 0.0, -1.0, 1.0)
    return sign[curve]


def _tell_flares(block: Block, made: Contrasts, kinds: Kinds) -> None:
    """Find the run of points that stands out most, and whether the others are steady."""
    best = np.zeros(len(block.curves))
    first, length_of = np.full(len(best), -1), np.zeros(len(best), dtype=np.intp)
    for length in [1, *run_lengths(block.cells.shape[1])]:
        found = np.nan_to_num(runs(made, length), nan=0.0)
        begin = np.argmax(found, axis=1)
        height = found[np.arange(len(best)), begin]
        better = height > best
        best = np.where(better, height, best)
        first, length_of = np.where(better, begin, first), np.where(better, length, length_of)
    column = np.arange(block.cells.shape[1])
    last = first + length_of
    within = (column >= first[:, np.newaxis]) & (column < last[:, np.newaxis])
    rest = _excess(block, block.filled & ~within)
    total = _excess(block, block.filled)
    quiet = (block.count - length_of >= 2) & (rest <= _QUIET_FRACTION * total)
    rows = block.curves
    kinds.flare[rows] = (best >= _THERE_SIGMA) & quiet
    kinds.first[rows], kinds.last[rows] = first, np.where(first < 0, -1, last - 1)
    kinds.run_sigma[rows] = best


def _excess(block: Block, used: Mask) -> FloatArray:
    """Chi-squared of some points about their own mean, minus what noise has."""
    weight = np.where(used, block.weight, 0.0)
    sum_weight = np.cumsum(weight, axis=1)[:, -1]
    mean = np.cumsum(weight * block.flux_jy, axis=1)[:, -1] / np.where(
        sum_weight > 0.0, sum_weight, 1.0
    )
    squares = weight * (block.flux_jy - mean[:, np.newaxis]) ** 2
    return np.asarray(np.cumsum(squares, axis=1)[:, -1] - (used.sum(axis=1) - 1))


def _tell_drops(block: Block, made: Contrasts, kinds: Kinds) -> None:
    """Find the largest drop, what is left behind it, and whether the flux ever rises."""
    row = np.arange(len(block.curves))
    drop = np.nan_to_num(steps(made, fewest=1), nan=0.0)
    behind = np.argmax(drop, axis=1)
    sigma = drop[row, behind]
    before = block.filled & (np.arange(block.cells.shape[1]) <= behind[:, np.newaxis])
    after = block.filled & ~before
    significance = block.flux_jy * np.sqrt(block.weight)
    # Without its brightest point too: else one point is all that there was.
    brightest = np.argmax(np.where(before, significance, -np.inf), axis=1)
    others = before.copy()
    others[row, brightest] = False
    there = (
        (significance[:, 0] >= _NOTHING_SIGMA)
        & (_mean_sigma(block, before) >= _THERE_SIGMA)
        & (~others.any(axis=1) | (_mean_sigma(block, others) >= _THERE_SIGMA))
        & (sigma >= _THERE_SIGMA)
    )
    gone = np.abs(_mean_sigma(block, after)) < _NOTHING_SIGMA
    gone &= (np.where(after, significance, 0.0) < _THERE_SIGMA).all(axis=1)
    rise, fall = _largest_change(block, 1.0), _largest_change(block, -1.0)
    pairs = block.count * (block.count - 1) // 2
    by_noise = log10_chance(np.maximum(rise, 0.0), pairs) >= _LOG10_CHANCE_OF_RISE
    rows = block.curves
    kinds.vanished[rows] = there & gone
    kinds.fading[rows] = there & (by_noise | (rise <= _RISE_FRACTION * fall))
    kinds.behind[rows], kinds.drop_sigma[rows] = np.where(sigma > 0.0, behind, -1), sigma


def _mean_sigma(block: Block, used: Mask) -> FloatArray:
    """Weighted mean of some points over its error; 0 of none."""
    weight = np.where(used, block.weight, 0.0)
    sum_weight = np.cumsum(weight, axis=1)[:, -1]
    weighted = np.cumsum(weight * block.flux_jy, axis=1)[:, -1]
    return np.asarray(weighted / np.sqrt(np.where(sum_weight > 0.0, sum_weight, 1.0)))


def _largest_change(block: Block, sign: float) -> FloatArray:
    """Largest rise (sign 1) or fall (-1) of a point over the lowest one before it, in errors."""
    flux = np.where(block.filled, sign * block.flux_jy, np.inf)
    lowest = np.minimum.accumulate(flux, axis=1)
    column = np.arange(flux.shape[1])
    at = np.maximum.accumulate(np.where(flux == lowest, column, 0), axis=1)
    with np.errstate(divide="ignore"):
        error = np.where(block.filled, 1.0 / np.sqrt(block.weight), 1.0)
    both = np.hypot(error[:, 1:], np.take_along_axis(error, at, axis=1)[:, :-1])
    change = (
        np.where(block.filled, flux, 0.0)[:, 1:]
        - np.where(np.isfinite(lowest), lowest, 0.0)[:, :-1]
    )
    found = np.where(block.filled[:, 1:], change / both, -np.inf)
    return np.asarray(np.maximum.reduce(found, axis=1, initial=0.0))


def excess(
    curve: IntArray, flux_jy: FloatArray, error_jy: FloatArray, evidence: Mask, n: int
) -> FloatArray:
    """Largest deviation of a point of evidence from the mean of all other points in Jy, (n,).

    0 without evidence; the flux itself where all points are evidence.
    """
    weight = np.where(evidence, 0.0, 1.0 / error_jy**2)
    sum_weight = np.bincount(curve, weight, n)
    level = np.bincount(curve, weight * flux_jy, n) / np.where(sum_weight > 0.0, sum_weight, 1.0)
    found = np.zeros(n)
    deviation = np.abs(flux_jy - level[curve])
    np.maximum.at(found, curve[evidence], deviation[evidence])
    return found

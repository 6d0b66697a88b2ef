"""Light curves in bounded space, so that a new point does not need those of long ago.

A light curve is kept as a row of cells. While it has few points each has a cell of its own. When
the row is full, neighbouring cells are joined, those that are short for their age first: the latest
points stay single, and older ones are in cells of about a seventh of their age. Before that, what
stood out is kept apart: the run of points and the step that are the most significant, the pair of
epochs with the largest Vs, and the brightest and faintest single points. They are compared with
all others anew each time, so that a source found during a flare is seen to have flared when the
points after it are known.

Up to CELLS points all figures are those of their definitions, over all runs, steps and pairs. Of
longer light curves only those are looked at that cells still tell apart: what is found is a true
significance, but there may have been a slightly larger one. What is kept depends on the points and
their order alone, not on how many came together.
"""

from __future__ import annotations

import numpy as np

from trap_ops.records.arrays import FloatArray, IntArray
from trap_ops.records.light_curves import CurveMemory, CurveShapes
from trap_ops.science.curve_shapes import Contrasts, best_pair, contrasts, run_lengths, runs, steps

CELLS = 64
# So many pairs of cells are joined when all cells are full.
_JOINED = 16
# What is kept of points that have no cell of their own any more.
_RUN, _STEP, _PAIR = 0, 1, slice(2, 4)
_EXTREMES = 4
_BRIGHT, _FAINT = slice(4, 4 + _EXTREMES), slice(4 + _EXTREMES, 4 + 2 * _EXTREMES)
_SINGLE = slice(2, 4 + 2 * _EXTREMES)
KEPT = 4 + 2 * _EXTREMES


def empty_memory(n: int) -> CurveMemory:
    """Return n light curves without points."""
    return CurveMemory(
        np.zeros((n, CELLS), dtype=np.intp),
        np.zeros((n, CELLS)),
        np.zeros((n, CELLS)),
        np.zeros((n, KEPT)),
        np.zeros((n, KEPT)),
    )


def remember(
    memory: CurveMemory, curve: IntArray, flux_jy: FloatArray, error_jy: FloatArray
) -> None:
    """Add points to light curves, in place.

    Parameters
    ----------
    memory : CurveMemory
    curve : numpy.ndarray of int, (m,)
        Light curve of each point. Points of one curve in the order of time, behind those it has.
    flux_jy, error_jy : numpy.ndarray, (m,)
        Errors are finite and positive.
    """
    order = np.argsort(curve, kind="stable")
    curve = curve[order]
    begin = np.searchsorted(curve, curve)
    place = np.arange(len(curve)) - begin + (memory.points[curve] > 0).sum(axis=1)
    while len(order):
        fits = place < CELLS
        rows, columns = curve[fits], place[fits]
        memory.points[rows, columns] = 1
        memory.weight[rows, columns] = 1.0 / error_jy[order[fits]] ** 2
        memory.flux_jy[rows, columns] = flux_jy[order[fits]]
        order, curve, place = order[~fits], curve[~fits], place[~fits] - _JOINED
        full = np.unique(curve)
        memory.put(full, _folded(memory.take(full)))


def _folded(memory: CurveMemory) -> CurveMemory:
    """Light curves with room for more points; all of them are full."""
    made = contrasts(memory)
    _keep_run(memory, made)
    _keep_step(memory, made)
    _keep_pair(memory)
    lost_weight, lost_flux = [], []
    points, weight, flux = memory.points, memory.weight, memory.flux_jy
    for _ in range(_JOINED):
        points, weight, flux, single = _joined(points, weight, flux)
        lost_weight.append(single[0])
        lost_flux.append(single[1])
    _keep_extremes(memory, made, np.hstack(lost_weight), np.hstack(lost_flux))
    for cells, made_of in (
        (memory.points, points),
        (memory.weight, weight),
        (memory.flux_jy, flux),
    ):
        cells[:, : CELLS - _JOINED] = made_of
        cells[:, CELLS - _JOINED :] = 0
    return memory


def _joined(
    points: IntArray, weight: FloatArray, flux: FloatArray
) -> tuple[IntArray, FloatArray, FloatArray, tuple[FloatArray, FloatArray]]:
    """Rows with the two neighbouring cells joined that are the shortest for their age.

    Returns
    -------
    points, weight, flux : numpy.ndarray, (n, cells - 1)
    single : tuple of numpy.ndarray, (n, 2)
        Weight and flux of the two cells if they were single points; weight 0 if not.
    """
    behind = np.cumsum(points[:, ::-1], axis=1)[:, ::-1]
    size = points[:, :-1] + points[:, 1:]
    row = np.arange(len(points))
    at = np.argmin(size / behind[:, :-1], axis=1)
    pair = np.stack([at, at + 1], axis=1)
    one_point = np.take_along_axis(points, pair, axis=1) == 1
    pair_weight = np.take_along_axis(weight, pair, axis=1)
    pair_flux = np.take_along_axis(flux, pair, axis=1)
    both = pair_weight[:, 0] + pair_weight[:, 1]
    mean = (pair_weight[:, 0] * pair_flux[:, 0] + pair_weight[:, 1] * pair_flux[:, 1]) / both
    column = np.arange(points.shape[1] - 1)
    left = column + (column > at[:, np.newaxis])
    points = np.take_along_axis(points, left, axis=1)
    weight = np.take_along_axis(weight, left, axis=1)
    flux = np.take_along_axis(flux, left, axis=1)
    points[row, at], weight[row, at], flux[row, at] = size[row, at], both, mean
    return points, weight, flux, (np.where(one_point, pair_weight, 0.0), pair_flux)


def _keep_run(memory: CurveMemory, made: Contrasts) -> None:
    """Keep the most significant run that the cells show, if it is more than the one kept."""
    row = np.arange(len(memory.points))
    best, first, last = np.zeros(len(row)), np.zeros(len(row), int), np.zeros(len(row), int)
    for length, signed in _runs(made):
        found = np.nan_to_num(np.abs(signed))
        begin = np.argmax(found, axis=1)
        better = found[row, begin] > best
        best = np.where(better, found[row, begin], best)
        first, last = np.where(better, begin, first), np.where(better, begin + length, last)
    _keep(memory, made, _RUN, best, first, last)


def _keep_step(memory: CurveMemory, made: Contrasts) -> None:
    found = np.nan_to_num(np.abs(steps(made)))
    behind = np.argmax(found, axis=1)
    best = found[np.arange(len(found)), behind]
    _keep(memory, made, _STEP, best, np.zeros_like(behind), behind + 1)


def _keep(
    memory: CurveMemory,
    made: Contrasts,
    slot: int,
    best: FloatArray,
    first: IntArray,
    last: IntArray,
) -> None:
    row = np.arange(len(best))
    weight = made.sum_weight[row, last] - made.sum_weight[row, first]
    weighted = made.sum_weighted[row, last] - made.sum_weighted[row, first]
    better = np.flatnonzero(best > _kept(memory, made, slot))
    memory.kept_weight[better, slot] = weight[better]
    memory.kept_flux_jy[better, slot] = made.mean[better, 0] + weighted[better] / weight[better]


def _kept(memory: CurveMemory, made: Contrasts, slots: int | slice) -> FloatArray:
    """Absolute significance of what is kept; 0 of nothing."""
    found = made.of_cells(memory.kept_weight, memory.kept_flux_jy)
    return np.asarray(np.nan_to_num(np.abs(found[:, slots])))


def _keep_pair(memory: CurveMemory) -> None:
    weight, flux = _single_points(memory)
    bright, faint = best_pair(weight, flux)
    differ = np.flatnonzero(bright >= 0)
    pair = np.stack([bright, faint], axis=1)[differ]
    memory.kept_weight[differ, _PAIR] = np.take_along_axis(weight[differ], pair, axis=1)
    memory.kept_flux_jy[differ, _PAIR] = np.take_along_axis(flux[differ], pair, axis=1)


def _keep_extremes(
    memory: CurveMemory, made: Contrasts, weight: FloatArray, flux: FloatArray
) -> None:
    """Keep the most significant of single points that are lost among others, on either side."""
    for slots, side in ((_BRIGHT, 1.0), (_FAINT, -1.0)):
        all_weight = np.hstack([memory.kept_weight[:, slots], weight])
        all_flux = np.hstack([memory.kept_flux_jy[:, slots], flux])
        height = np.nan_to_num(side * made.of_cells(all_weight, all_flux), nan=-np.inf)
        best = np.argsort(-height, axis=1, kind="stable")[:, :_EXTREMES]
        memory.kept_weight[:, slots] = np.take_along_axis(all_weight, best, axis=1)
        memory.kept_flux_jy[:, slots] = np.take_along_axis(all_flux, best, axis=1)


def _single_points(memory: CurveMemory) -> tuple[FloatArray, FloatArray]:
    """Weight and flux of all points that are known singly, (n, some); weight 0: none."""
    weight = np.where(memory.points == 1, memory.weight, 0.0)
    return (
        np.hstack([memory.kept_weight[:, _SINGLE], weight]),
        np.hstack([memory.kept_flux_jy[:, _SINGLE], memory.flux_jy]),
    )


def _runs(made: Contrasts) -> list[tuple[int, FloatArray]]:
    """Significance of runs of two points and more, by number of cells and first cell."""
    joined = np.diff(made.sum_points, axis=1) > 1
    found = [(1, np.where(joined, runs(made, 1), np.nan))] if joined.any() else []
    # Where cells are joined there are 48 to 64, which have the same lengths of runs; else a third
    # of the points is the limit. So other rows do not matter.
    longest = int((made.sum_points[:, 1:] > made.sum_points[:, :-1]).sum(axis=1).max(initial=0))
    return found + [(length, runs(made, length)) for length in run_lengths(longest)]


def shapes_of(memory: CurveMemory) -> CurveShapes:
    """Largest significance of a point, of a run and of a step, and of a pair of epochs."""
    n = len(memory.points)
    count = memory.points.sum(axis=1)
    none = np.full(n, np.nan)
    shapes = CurveShapes(np.zeros(n), np.zeros(n), np.zeros(n), none, none.copy())
    with_points = np.flatnonzero(count > 0)
    memory = memory.take(with_points)
    made = contrasts(memory)
    weight, flux = _single_points(memory)
    points = np.abs(made.of_cells(weight, flux))
    shapes.point_sigma[with_points] = np.fmax.reduce(points, axis=1, initial=0.0)
    run = _kept(memory, made, _RUN)
    for _, found in _runs(made):
        run = np.maximum(run, np.fmax.reduce(np.abs(found), axis=1, initial=0.0))
    shapes.run_sigma[with_points] = run
    step = np.fmax.reduce(np.abs(steps(made)), axis=1, initial=0.0)
    shapes.step_sigma[with_points] = np.maximum(step, _kept(memory, made, _STEP))
    vs, m = _two_epochs(weight, flux)
    shapes.vs_max[with_points] = np.where(count[with_points] > 1, vs, np.nan)
    shapes.m_vs_max[with_points] = m
    return shapes


def _two_epochs(weight: FloatArray, flux: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Vs and m of the pair of points with the largest Vs; 0 and NaN where no two fluxes differ.

    Vs = (S1 - S2) / sqrt(e1^2 + e2^2), m = 2 (S1 - S2) / (S1 + S2), both without their sign; m is
    NaN where the fluxes add up to nothing.
    """
    bright, faint = best_pair(weight, flux)
    vs, m = np.zeros(len(bright)), np.full(len(bright), np.nan)
    row = np.flatnonzero(bright >= 0)
    one, other = (row, bright[row]), (row, faint[row])
    difference = flux[one] - flux[other]
    vs[row] = difference / np.sqrt(1.0 / weight[one] + 1.0 / weight[other])
    total = flux[one] + flux[other]
    with np.errstate(divide="ignore"):
        m[row] = np.where(total == 0.0, np.nan, np.abs(2.0 * difference / total))
    return vs, m


def measure_shapes(
    curve: IntArray, flux_jy: FloatArray, error_jy: FloatArray, n: int
) -> CurveShapes:
    """What stands out of n whole light curves; parameters as :func:`remember` takes them."""
    memory = empty_memory(n)
    remember(memory, curve, flux_jy, error_jy)
    return shapes_of(memory)

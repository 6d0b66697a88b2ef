"""Bring light curves' statistics up to date: V, eta, p-values, and one summary a sky source."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from sqlalchemy import Connection

from trap_ops.records.arrays import FloatArray, Ids, IntArray
from trap_ops.records.light_curves import Curves, CurveShapes, Points
from trap_ops.records.runs import StageReport
from trap_ops.records.sky import FitKind
from trap_ops.science import running_median
from trap_ops.science.curve_memory import CELLS, empty_memory, remember, shapes_of
from trap_ops.science.judged_errors import judged_errors
from trap_ops.science.keys import numbers_of
from trap_ops.science.variability import (
    add_points,
    empty_sums,
    eta,
    p_value,
    variation,
    weighted_mean_error,
)
from trap_ops.stages.context import StageContext, stage
from trap_ops.store import monitors, variability
from trap_ops.store.rows import Values

logger = logging.getLogger(__name__)

STAGE = "measure_variability"
# Sky sources with so many points are worked on and stored together; the state of each counts too.
_BLOCK_POINTS = 200_000


def measure_variability(context: StageContext) -> StageReport:
    """Add the points that are new to the statistics of their light curves.

    A light curve whose new points are all later than those it had is continued from its sums and
    states; any other (a fork's, one with backward fits, one that a late image changed) is summed up
    anew.
    """
    with stage(context, STAGE) as timer:
        with context.store.write() as connection:
            founded = monitors.link_fits(context.store, connection, context.run.dataset)
        timer.count("monitoring positions", founded)
        with context.store.read() as connection:
            waiting, n_new = variability.pending_sources(connection, context.run.dataset)
        done = 0
        for block in _blocks(waiting, n_new):
            timer.count("points", _update(context, block))
            timer.count("sky sources", len(block))
            done += len(block)
            logger.info("%d of %d sky sources", done, len(waiting))
    return timer.report()


def _blocks(sources: Ids, n_points: Ids) -> Iterator[Ids]:
    """Sky sources in blocks of about so many points."""
    number = np.cumsum(n_points + CELLS) // _BLOCK_POINTS
    yield from np.split(sources, np.flatnonzero(np.diff(number)) + 1) if len(sources) else ()


def _update(context: StageContext, sources: Ids) -> int:
    with context.store.read() as connection:
        new = variability.load_points(connection, sources, pending_only=True)
        stored = variability.load_curves(connection, sources)
        anew = _to_sum_up_anew(new, stored)
        n_points = variability.count_points(connection, anew)
    continued = ~np.isin(new.source, anew)
    if continued.any():
        before = stored.take(~np.isin(stored.source, anew))
        _add(context, np.setdiff1d(sources, anew), new.take(continued), before)
    count = int(continued.sum())
    for part in _blocks(anew, n_points):
        with context.store.read() as connection:
            every = variability.load_points(connection, part, pending_only=False)
        _add(context, part, every, stored.take(np.zeros(len(stored), dtype=bool)))
        count += len(every)
    return count


def _to_sum_up_anew(new: Points, stored: Curves) -> Ids:
    """Sources with a new point that is not later than all those in the sums, or without these."""
    with_states = stored.memory.points.any(axis=1)
    known = np.setdiff1d(stored.source[with_states], stored.source[~with_states])
    curve = numbers_of(_keys(new), _keys(stored))
    start = np.append(stored.last_start, np.datetime64("NaT"))[curve]
    # A comparison with NaT is false.
    early = (new.kind == FitKind.BACKWARD) | (new.start <= start)
    return np.unique(new.source[early | ~np.isin(new.source, known)])


def _add(context: StageContext, sources: Ids, points: Points, stored: Curves) -> None:
    """Add points to the statistics of light curves of some sources, and store them."""
    curves, index = _start(points, stored)
    systematic = context.run.configuration.variability.systematic_flux_error
    points = _judged(points, curves, index, systematic)
    shown = points.kind != FitKind.BACKWARD
    n_before = curves.flux.count.copy()
    running = add_points(
        curves.flux, index[shown], points.flux_jy[shown], points.flux_err_jy[shown]
    )
    add_points(curves.peak, index[shown], points.peak_jy[shown], points.peak_err_jy[shown])
    add_points(curves.complete, index, points.flux_jy, points.flux_err_jy)
    remember(curves.memory, index, points.flux_jy, points.flux_err_jy)
    running_median.insert(curves.median, n_before, index[shown], points.flux_jy[shown])
    _note_last(curves, index[shown], points.take(shown))
    v, running_eta = np.zeros(len(points)), np.zeros(len(points))
    count = np.zeros(len(points), dtype=np.int64)
    v[shown], running_eta[shown], count[shown] = running.v, running.eta, running.count
    shapes = shapes_of(curves.memory)
    with context.store.write() as connection:
        variability.save_running(connection, points.link, v, running_eta, count)
        medians = _medians(connection, curves)
        variability.save_curves(context.store, connection, sources, curves, shapes)
        new_sources = variability.new_source_significance(connection, sources)
        columns = _metrics(curves, shapes, medians, new_sources)
        variability.save_metrics(context.store, connection, sources, columns)


def _start(points: Points, stored: Curves) -> tuple[Curves, IntArray]:
    """Statistics to add the points to, and the light curve of each point."""
    keys = np.concatenate([_keys(stored), _keys(points)])
    unique, index = np.unique(keys, axis=0, return_inverse=True)
    index = index.reshape(-1)
    n, kept = len(unique), index[: len(stored)]
    curves = Curves(
        source=unique[:, 0],
        band=unique[:, 1],
        stokes=unique[:, 2],
        flux=empty_sums(n),
        peak=empty_sums(n),
        complete=empty_sums(n),
        last_start=np.full(n, "NaT", dtype="datetime64[us]"),
        last_jy=np.full(n, np.nan),
        max_jy=np.full(n, np.nan),
        median=running_median.empty_window(n),
        memory=empty_memory(n),
    )
    for name in ("flux", "peak", "complete", "median", "memory"):
        for field, values in vars(getattr(stored, name)).items():
            getattr(getattr(curves, name), field)[kept] = values
    curves.last_start[kept] = stored.last_start
    curves.last_jy[kept] = stored.last_jy
    curves.max_jy[kept] = stored.max_jy
    return curves, index[len(stored) :]


def _keys(items: Points | Curves) -> Ids:
    return np.stack([items.source, items.band, items.stokes], axis=1)


def _judged(points: Points, curves: Curves, index: IntArray, systematic: float) -> Points:
    """Points with the errors that they are judged with, before they are added to their curves."""
    flux_err = judged_errors(curves.complete, index, points.flux_jy, points.flux_err_jy, systematic)
    peak_err = points.peak_err_jy.copy()
    # Sums of peaks are without backward fits.
    shown = points.kind != FitKind.BACKWARD
    peak_err[shown] = judged_errors(
        curves.peak, index[shown], points.peak_jy[shown], points.peak_err_jy[shown], systematic
    )
    return replace(points, flux_err_jy=flux_err, peak_err_jy=peak_err)


def _note_last(curves: Curves, index: IntArray, points: Points) -> None:
    """Latest point and largest flux; of points that start together the brightest is the latest.

    Points come in time order, so the last assignment of their start stays.
    """
    curves.last_start[index] = points.start
    latest = points.start == curves.last_start[index]
    # All that was stored before is earlier.
    curves.last_jy[index] = np.nan
    np.fmax.at(curves.last_jy, index[latest], points.flux_jy[latest])
    np.fmax.at(curves.max_jy, index, points.flux_jy)


def _metrics(
    curves: Curves,
    shapes: CurveShapes,
    medians: FloatArray,
    new_sources: dict[int, tuple[int, float, float]],
) -> dict[str, Values]:
    """Rows of ``varmetric``: of each sky source the band with the brightest latest point (7.3)."""
    with_points = np.flatnonzero(curves.flux.count > 0)
    order = with_points[
        np.lexsort(
            (
                curves.stokes[with_points],
                curves.band[with_points],
                -curves.last_jy[with_points],
                curves.source[with_points],
            )
        )
    ]
    chosen = order[np.unique(curves.source[order], return_index=True)[1]]
    source = curves.source[chosen]
    flux, complete = curves.flux.take(chosen), curves.complete.take(chosen)
    new = [new_sources.get(i) for i in source.tolist()]
    return {
        "runcat": source,
        "band": curves.band[chosen],
        "stokes": curves.stokes[chosen],
        "v_int": variation(flux),
        "eta_int": eta(flux),
        "f_datapoints": flux.count,
        "p_value": p_value(flux),
        "wmean_int": flux.weighted_mean,
        "wmean_int_err": weighted_mean_error(flux),
        "all_datapoints": complete.count,
        "all_v_int": variation(complete),
        "all_eta_int": eta(complete),
        "all_p_value": p_value(complete),
        "all_wmean_int": complete.weighted_mean,
        "all_wmean_int_err": weighted_mean_error(complete),
        "lightcurve_max": curves.max_jy[chosen],
        "lightcurve_avg": flux.mean,
        "lightcurve_median": medians[chosen],
        "newsource": [None if row is None else row[0] for row in new],
        "sigma_rms_min": [None if row is None else row[1] for row in new],
        "sigma_rms_max": [None if row is None else row[2] for row in new],
        **vars(shapes.take(chosen)),
    }


def _medians(connection: Connection, curves: Curves) -> FloatArray:
    """Median fluxes without backward fits; what their windows have lost is looked up."""
    count = curves.flux.count
    median, lost = running_median.medians(curves.median, count)
    if lost.any():
        of = curves.take(np.flatnonzero(lost))
        points = variability.load_points(connection, np.unique(of.source), pending_only=False)
        number = numbers_of(_keys(points), _keys(of))
        wanted = (number >= 0) & (points.kind != FitKind.BACKWARD)
        window = running_median.window_of(number[wanted], points.flux_jy[wanted], len(of))
        curves.median.flux_jy[lost], curves.median.below[lost] = window.flux_jy, window.below
        median[lost] = running_median.medians(window, count[lost])[0]
    return median

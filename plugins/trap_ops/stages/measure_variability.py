"""Bring light curves' statistics up to date: V, eta, p-values, and one summary a sky source."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from trap_ops.records.arrays import FloatArray, Ids, IntArray
from trap_ops.records.light_curves import Curves, CurveShapes, Points
from trap_ops.records.runs import StageReport
from trap_ops.records.sky import FitKind
from trap_ops.science.curve_shapes import measure_shapes
from trap_ops.science.judged_errors import judged_errors, judged_points
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
# So many sky sources are worked on and stored together.
_BLOCK_SOURCES = 5000


def measure_variability(context: StageContext) -> StageReport:
    """Add the points that are new to the statistics of their light curves.

    A light curve whose new points are all later than those it had is continued from its sums; any
    other (a fork's, one with backward fits, one that a late image changed) is summed up anew.
    """
    with stage(context, STAGE) as timer:
        with context.store.write() as connection:
            founded = monitors.link_fits(context.store, connection, context.run.dataset)
        timer.count("monitoring positions", founded)
        with context.store.read() as connection:
            waiting = variability.pending_sources(connection, context.run.dataset)
        for first in range(0, len(waiting), _BLOCK_SOURCES):
            block = waiting[first : first + _BLOCK_SOURCES]
            timer.count("points", _update(context, block))
            timer.count("sky sources", len(block))
            logger.info("%d of %d sky sources", first + len(block), len(waiting))
    return timer.report()


def _update(context: StageContext, sources: Sequence[int]) -> int:
    with context.store.read() as connection:
        new = variability.load_points(connection, sources, pending_only=True)
        stored = variability.load_curves(connection, sources)
        anew = _to_sum_up_anew(new, stored)
        every = variability.load_points(connection, sources, pending_only=False)
    systematic = context.run.configuration.variability.systematic_flux_error
    whole = every.take(np.isin(every.source, anew))
    continued = ~np.isin(new.source, anew)
    points = _merge(whole, new.take(continued))
    curves, index = _start(points, stored, anew)
    points = _judged(points, curves, index, systematic)
    shown = points.kind != FitKind.BACKWARD
    running = add_points(
        curves.flux, index[shown], points.flux_jy[shown], points.flux_err_jy[shown]
    )
    add_points(curves.peak, index[shown], points.peak_jy[shown], points.peak_err_jy[shown])
    add_points(curves.complete, index, points.flux_jy, points.flux_err_jy)
    _note_last(curves, index[shown], points.take(shown))
    v, running_eta = np.zeros(len(points)), np.zeros(len(points))
    count = np.zeros(len(points), dtype=np.int64)
    v[shown], running_eta[shown], count[shown] = running.v, running.eta, running.count
    with context.store.write() as connection:
        variability.save_running(connection, points.link, v, running_eta, count)
        shapes = _shapes(curves, judged_points(every, systematic))
        variability.save_curves(context.store, connection, sources, curves, shapes)
        new_sources = variability.new_source_significance(connection, sources)
        columns = _metrics(curves, shapes, every, new_sources)
        variability.save_metrics(context.store, connection, sources, columns)
    return len(points)


def _to_sum_up_anew(new: Points, stored: Curves) -> Ids:
    """Sources with a new point that is not later than all those in the sums, or without sums."""
    last = {
        key: start
        for *key_parts, start in zip(
            stored.source.tolist(),
            stored.band.tolist(),
            stored.stokes.tolist(),
            stored.last_start.tolist(),
            strict=True,
        )
        for key in (tuple(key_parts),)
    }
    known = set(stored.source.tolist())
    anew = set(new.source.tolist()) - known
    for source, band, stokes, start, kind in zip(
        new.source.tolist(),
        new.band.tolist(),
        new.stokes.tolist(),
        new.start.tolist(),
        new.kind.tolist(),
        strict=True,
    ):
        before = last.get((source, band, stokes))
        if kind == FitKind.BACKWARD or (before is not None and start <= before):
            anew.add(source)
    return np.array(sorted(anew), dtype=np.int64)


def _merge(first: Points, second: Points) -> Points:
    """Points of different light curves: the order within each stays."""
    return Points(
        **{
            name: np.concatenate([value, getattr(second, name)])
            for name, value in vars(first).items()
        }
    )


def _start(points: Points, stored: Curves, anew: Ids) -> tuple[Curves, IntArray]:
    """Sums to add the points to, and the light curve of each point."""
    kept = ~np.isin(stored.source, anew)
    keys = np.concatenate(
        [
            np.stack([stored.source[kept], stored.band[kept], stored.stokes[kept]], axis=1),
            np.stack([points.source, points.band, points.stokes], axis=1),
        ]
    )
    unique, index = np.unique(keys, axis=0, return_inverse=True)
    index = index.reshape(-1)
    n, n_kept = len(unique), int(kept.sum())
    curves = Curves(
        source=unique[:, 0],
        band=unique[:, 1],
        stokes=unique[:, 2],
        flux=empty_sums(n),
        peak=empty_sums(n),
        complete=empty_sums(n),
        last_start=np.full(n, None, dtype=object),
        last_jy=np.full(n, np.nan),
        max_jy=np.full(n, np.nan),
    )
    place = index[:n_kept]
    for name in ("flux", "peak", "complete"):
        for field, values in vars(getattr(stored, name)).items():
            getattr(getattr(curves, name), field)[place] = values[kept]
    curves.last_start[place] = stored.last_start[kept]
    curves.last_jy[place] = stored.last_jy[kept]
    curves.max_jy[place] = stored.max_jy[kept]
    return curves, index[n_kept:]


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
    latest = np.array(points.start == curves.last_start[index], dtype=bool)
    # All that was stored before is earlier.
    curves.last_jy[index] = np.nan
    np.fmax.at(curves.last_jy, index[latest], points.flux_jy[latest])
    np.fmax.at(curves.max_jy, index, points.flux_jy)


def _shapes(curves: Curves, every: Points) -> CurveShapes:
    """What stands out in each light curve, backward fits included.

    These are no sums that one point could be added to: a new point moves what all are compared
    with.
    """
    curve = _curves_of(every, curves, slice(None))
    return measure_shapes(curve, every.flux_jy, every.flux_err_jy, len(curves))


def _curves_of(points: Points, curves: Curves, chosen: IntArray | slice) -> IntArray:
    """Number of each point's light curve among some; -1 for points of others."""
    wanted = np.stack([curves.source, curves.band, curves.stokes], axis=1)[chosen]
    keys = np.stack([points.source, points.band, points.stokes], axis=1)
    unique, index = np.unique(np.concatenate([wanted, keys]), axis=0, return_inverse=True)
    index = index.reshape(-1)
    number = np.full(len(unique), -1)
    number[index[: len(wanted)]] = np.arange(len(wanted))
    return number[index[len(wanted) :]]


def _metrics(
    curves: Curves,
    shapes: CurveShapes,
    every: Points,
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
        "lightcurve_median": _medians(curves, chosen, every),
        "newsource": [None if row is None else row[0] for row in new],
        "sigma_rms_min": [None if row is None else row[1] for row in new],
        "sigma_rms_max": [None if row is None else row[2] for row in new],
        **vars(shapes.take(chosen)),
    }


def _medians(curves: Curves, chosen: IntArray, every: Points) -> FloatArray:
    """Median flux of some light curves, without backward fits."""
    curve = _curves_of(every, curves, chosen)
    shown = (curve >= 0) & (every.kind != FitKind.BACKWARD)
    curve, flux = curve[shown], every.flux_jy[shown]
    order = np.lexsort((flux, curve))
    count = np.bincount(curve, minlength=len(chosen))
    first = np.cumsum(count) - count
    low = order[first + (count - 1) // 2]
    high = order[first + count // 2]
    return np.asarray((flux[low] + flux[high]) / 2.0)

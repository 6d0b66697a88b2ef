"""Invariants of the statistics of light curves: summed up again from the points, in two passes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from sqlalchemy import Table, select

from trap_ops.records.arrays import FloatArray, Ids, IntArray, Mask
from trap_ops.records.light_curves import FluxSums
from trap_ops.records.sky import step_number
from trap_ops.science.variability import eta, p_value, variation, weighted_mean_error
from trap_ops.store.detections import BLIND
from trap_ops.store.invariants.invariant import (
    RELATIVE,
    Breaches,
    Invariant,
    Scope,
    breaches_at,
    differ,
    total,
)
from trap_ops.store.invariants.points import CurveBlock
from trap_ops.store.rows import fetch_columns, floats, id_list, integers
from trap_ops.store.schema import referenceflux, runningcatalog_flux, varmetric
from trap_ops.store.variability import new_source_significance

# What rounding may leave of a sum of squares, of the sum itself.
_ROUNDING = 1e-13


@dataclass(frozen=True)
class _Sums:
    """Sums of curves, (k,), and what rounding may have left in each."""

    sums: FluxSums
    scale: FloatArray
    weighted_scale: FloatArray


def _sums(curve: IntArray, n: int, flux: FloatArray, error: FloatArray) -> _Sums:
    """Sum up light curves: first the means, then the deviations from them."""
    count = np.bincount(curve, minlength=n)
    weight = error**-2.0
    sum_weight = total(curve, weight, n)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(count > 0, total(curve, flux, n) / count, 0.0)
        weighted_mean = np.where(count > 0, total(curve, weight * flux, n) / sum_weight, 0.0)
    return _Sums(
        FluxSums(
            count,
            mean,
            total(curve, (flux - mean[curve]) ** 2, n),
            sum_weight,
            weighted_mean,
            total(curve, weight * (flux - weighted_mean[curve]) ** 2, n),
        ),
        _ROUNDING * total(curve, flux**2, n),
        _ROUNDING * total(curve, weight * flux**2, n),
    )


def _of_block(block: CurveBlock, points: Mask, error: FloatArray, kind: str = "int") -> _Sums:
    flux = block.values[f"f_{kind}"][points]
    return _sums(block.curve[points], len(block.keys), flux, error[points])


def _judged(scope: Scope, block: CurveBlock, kind: str = "int") -> FloatArray:
    """Errors of all points with the systematic one; that of peaks without backward fits as it is.

    Point by point, with the sum over all points before each: a slow form of
    :func:`trap_ops.science.judged_errors.judged_errors`.
    """
    error = block.values[f"f_{kind}_err"]
    fraction = scope.setting("variability", "systematic_flux_error", 0.0)
    if fraction == 0.0:
        return error
    judged = error.copy()
    flux = block.values[f"f_{kind}"]
    counted = np.flatnonzero(block.shown) if kind == "peak" else np.arange(len(flux))
    for points in np.split(counted, np.flatnonzero(np.diff(block.curve[counted])) + 1):
        sum_weight = sum_weighted = 0.0
        for i in points.tolist():
            mean = sum_weighted / sum_weight if sum_weight > 0.0 else flux[i]
            judged[i] = np.hypot(error[i], fraction * mean)
            sum_weight += judged[i] ** -2.0
            sum_weighted += flux[i] * judged[i] ** -2.0
    return judged


def _stored(scope: Scope, table: Table, block: CurveBlock) -> dict[str, list[Any]]:
    """Rows of a table that has some for each sky source."""
    with id_list(scope.connection, table.c.runcat, block.ids) as wanted:
        query = select(table).join(wanted, wanted.c.id == table.c.runcat)
        return fetch_columns(scope.connection, query.order_by(table.c.runcat))


def _curves(scope: Scope) -> Iterator[tuple[CurveBlock, dict[str, list[Any]], IntArray]]:
    """Blocks with their rows of ``runningcatalog_flux``, and the light curve of each row."""
    for block in scope.curves():
        rows = _stored(scope, runningcatalog_flux, block)
        ids = (integers(rows[name]) for name in ("runcat", "band", "stokes"))
        yield block, rows, block.find_keys(*ids)


def _name_of_row(block: CurveBlock, rows: dict[str, list[Any]], number: int) -> str:
    source = int(np.searchsorted(block.ids, rows["runcat"][number]))
    band, stokes = rows["band"][number], rows["stokes"][number]
    return f"{block.source(source)}, {block.band(band)}, Stokes {stokes}"


def _without_row(block: CurveBlock, number: int) -> str:
    source, band, stokes = block.keys[number].tolist()
    return f"{block.source(source)}, {block.band(band)}, Stokes {stokes}: no row"


def _counts(scope: Scope) -> Breaches:
    found = Breaches()
    for block, rows, place in _curves(scope):
        n = len(block.keys)
        every = np.bincount(block.curve, minlength=n)
        shown = np.bincount(block.curve[block.shown], minlength=n)
        has_row = np.zeros(n + 1, dtype=bool)
        has_row[place] = True  # Rows of no light curve, -1, fall on the last one.
        wrong = place < 0
        wrong |= integers(rows["all_datapoints"]) != np.append(every, 0)[place]
        wrong |= integers(rows["f_datapoints"]) != np.append(shown, 0)[place]
        found += breaches_at(wrong, partial(_name_of_row, block, rows))
        found += breaches_at(
            ~has_row[:n],
            partial(_without_row, block),
        )
    return found


def _means(scope: Scope) -> Breaches:
    found = Breaches()
    for block, rows, place in _curves(scope):
        wrong = np.zeros(len(place), dtype=bool)
        for prefix, kind, points in (
            ("", "int", block.shown),
            ("", "peak", block.shown),
            ("all_", "int", np.ones(len(block.curve), dtype=bool)),
        ):
            made = _of_block(block, points, _judged(scope, block, kind), kind)
            # An error that is infinite has no weight, and no place in a classic mean.
            wrong |= _wrong_sums(rows, place, made, prefix, kind)
            if not prefix:
                wrong |= _wrong_classic(rows, place, made, kind)
        wrong &= place >= 0  # Rows of no light curve are told by another invariant.
        found += breaches_at(wrong, partial(_name_of_row, block, rows))
    return found


def _wrong_sums(
    rows: dict[str, list[Any]], place: IntArray, made: _Sums, prefix: str, kind: str
) -> Mask:
    sums, scale, weighted = made.sums, made.scale, made.weighted_scale
    count = np.maximum(sums.count, 1)
    slack_mean = np.sqrt(scale * _ROUNDING / count)
    with np.errstate(invalid="ignore", divide="ignore"):
        slack_weighted = np.where(
            sums.sum_weight > 0.0, np.sqrt(weighted * _ROUNDING / sums.sum_weight), 0.0
        )
    wrong = np.zeros(len(place), dtype=bool)
    for name, right, slack in (
        ("mean", sums.mean, slack_mean),
        ("m2", sums.m2, scale),
        ("sumw", sums.sum_weight, 0.0 * scale),
        ("wmean", sums.weighted_mean, slack_weighted),
        ("wm2", sums.weighted_m2, weighted),
    ):
        wrong |= differ(floats(rows[f"{prefix}{name}_{kind}"]), right[place], slack[place])
    return wrong


def _wrong_classic(rows: dict[str, list[Any]], place: IntArray, made: _Sums, kind: str) -> Mask:
    sums = made.sums
    count = np.where(sums.count > 0, sums.count, np.nan)
    weight = sums.sum_weight / count
    square = (sums.weighted_m2 + sums.sum_weight * sums.weighted_mean**2) / count
    rms = np.sqrt(made.scale / _ROUNDING / count)
    wrong = np.zeros(len(place), dtype=bool)
    for name, right, slack in (
        (f"avg_f_{kind}", np.where(sums.count > 0, sums.mean, np.nan), _ROUNDING * rms),
        (f"avg_f_{kind}_sq", sums.m2 / count + sums.mean**2, 0.0 * rms),
        (f"avg_f_{kind}_weight", weight, 0.0 * rms),
        (f"avg_weighted_f_{kind}", weight * sums.weighted_mean, _ROUNDING * weight * rms),
        (f"avg_weighted_f_{kind}_sq", square, 0.0 * rms),
    ):
        wrong |= differ(floats(rows[name]), right[place], slack[place])
    return wrong


def _latest(scope: Scope) -> Breaches:
    found = Breaches()
    for block, rows, place in _curves(scope):
        start, flux, highest = _last_and_highest(block)
        stored = [np.nan if t is None else float(step_number(t)) for t in rows["last_ts"]]
        wrong = differ(np.array(stored), start[place])
        wrong |= differ(floats(rows["last_int"]), flux[place])
        wrong |= differ(floats(rows["max_int"]), highest[place])
        wrong &= place >= 0
        found += breaches_at(wrong, partial(_name_of_row, block, rows))
    return found


def _last_and_highest(block: CurveBlock) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Start (microseconds) and flux of the latest shown point of each curve; the highest flux.

    Of points that start together the brightest is the latest.
    """
    n = len(block.keys)
    shown = np.flatnonzero(block.shown)
    curve, flux = block.curve[shown], block.values["f_int"][shown]
    start = np.full(n, -np.inf)
    np.maximum.at(start, curve, block.start[shown].astype(np.float64))
    last, highest = np.full(n, -np.inf), np.full(n, -np.inf)
    at_last = block.start[shown] == start[curve]
    np.maximum.at(last, curve[at_last], flux[at_last])
    np.maximum.at(highest, curve, flux)
    return tuple(np.where(np.isneginf(c), np.nan, c) for c in (start, last, highest))  # type: ignore[return-value]


def _running(scope: Scope) -> Breaches:
    found = Breaches()
    for block in scope.curves():
        wrong = _wrong_running(block, _judged(scope, block))
        found += breaches_at(wrong & ~block.pending, block.point)
    return found


def _wrong_running(block: CurveBlock, error: FloatArray) -> Mask:
    """Points whose V, eta and count are not those of the points up to them (SCIENCE.md 7.2)."""
    count = np.zeros(len(block.curve), dtype=np.int64)
    dev2, mean, eta_of = (np.zeros(len(block.curve)) for _ in range(3))
    slack, eta_slack = np.zeros(len(block.curve)), np.zeros(len(block.curve))
    shown = np.flatnonzero(block.shown)
    bounds = np.flatnonzero(np.diff(block.curve[shown])) + 1
    for points in np.split(shown, bounds):
        if not len(points):
            continue
        flux = block.values["f_int"][points]
        weight = error[points] ** -2.0
        number = np.arange(1, len(points) + 1)
        less = np.maximum(number - 1, 1)
        shifted = flux - flux[0]
        plain, square = np.cumsum(shifted), np.cumsum(shifted**2)
        count[points] = number
        mean[points] = flux[0] + plain / number
        dev2[points] = np.maximum(square - plain**2 / number, 0.0) / less
        slack[points] = _ROUNDING * (square + np.cumsum(flux**2)) / less
        with np.errstate(invalid="ignore", divide="ignore"):
            weighted = np.cumsum(weight * shifted) ** 2 / np.cumsum(weight)
        spread = np.cumsum(weight * shifted**2)
        eta_of[points] = np.maximum(spread - np.nan_to_num(weighted), 0.0) / less
        eta_slack[points] = _ROUNDING * (spread + np.cumsum(weight * flux**2)) / less
    single = count < 2
    eta_of[single], dev2[single] = 0.0, 0.0
    stored = block.values["v_int"] * np.where(mean == 0.0, 1e-6, mean)
    wrong = block.count != count
    wrong |= ~(np.abs(stored**2 - dev2) <= 2.0 * RELATIVE * dev2 + slack)
    wrong |= (stored < 0.0) & (stored**2 > slack)
    wrong |= differ(block.values["eta_int"], eta_of, eta_slack)
    return np.asarray(wrong)


def _metric_rows(scope: Scope) -> Breaches:
    found = Breaches()
    for block in scope.curves():
        rows = _stored(scope, varmetric, block)
        _, last, _ = _last_and_highest(block)
        owner = block.keys[:, 0]
        best = np.full(len(block.ids), -np.inf)
        np.fmax.at(best, owner, last)
        has_row = np.isin(block.ids, integers(rows["runcat"]))
        found += breaches_at(has_row != ~np.isneginf(best), block.source)
        place = block.find_keys(*(integers(rows[k]) for k in ("runcat", "band", "stokes")))
        source = np.searchsorted(block.ids, integers(rows["runcat"]))
        wrong = ~(np.append(last, np.nan)[place] == best[source])
        found += breaches_at(
            wrong,
            partial(_name_of_row, block, rows),
        )
    return found


def _metrics(scope: Scope) -> Breaches:
    found = Breaches()
    for block in scope.curves():
        rows = _stored(scope, varmetric, block)
        place = block.find_keys(*(integers(rows[k]) for k in ("runcat", "band", "stokes")))
        error = _judged(scope, block)
        shown = _of_block(block, block.shown, error)
        wrong = _wrong_metrics(rows, place, shown, "")
        every = np.ones(len(block.curve), dtype=bool)
        wrong |= _wrong_metrics(rows, place, _of_block(block, every, error), "all_")
        highest, middle = _last_and_highest(block)[2], _medians(block)
        wrong |= differ(floats(rows["lightcurve_max"]), np.append(highest, np.nan)[place])
        wrong |= differ(floats(rows["lightcurve_median"]), np.append(middle, np.nan)[place])
        slack = np.append(np.sqrt(shown.scale * _ROUNDING), 0.0)
        average = np.append(shown.sums.mean, np.nan)
        wrong |= differ(floats(rows["lightcurve_avg"]), average[place], slack[place])
        wrong |= _wrong_newness(scope, rows)
        wrong &= place >= 0
        found += breaches_at(wrong, partial(_name_of_row, block, rows))
    return found


def _wrong_metrics(rows: dict[str, list[Any]], place: IntArray, made: _Sums, prefix: str) -> Mask:
    if not len(made.sums.count):
        return np.zeros(len(place), dtype=bool)
    sums = made.sums.take(place)
    less = np.maximum(sums.count - 1, 1)
    dev2_slack, eta_slack = made.scale[place] / less, made.weighted_scale[place] / less
    v, right_v = floats(rows[f"{prefix}v_int"]), variation(sums)
    mean = np.where(sums.mean == 0.0, 1e-6, sums.mean)
    wrong = integers(rows[f"{prefix}datapoints" if prefix else "f_datapoints"]) != sums.count
    # The deviation is compared as its square: of a flux that is all but constant it is rounding.
    dev2, right = (v * mean) ** 2, (right_v * mean) ** 2
    wrong |= ~(np.abs(dev2 - right) <= 2.0 * RELATIVE * right + dev2_slack)
    wrong |= (v * right_v < 0.0) & (right > dev2_slack)
    wrong |= differ(floats(rows[f"{prefix}eta_int"]), eta(sums), eta_slack)
    stored_p, p = floats(rows[f"{prefix}p_value"]), p_value(sums)
    # The tail falls as exp(-x/2).
    wrong |= differ(stored_p, p, p * (RELATIVE * sums.weighted_m2 + made.weighted_scale[place]))
    with np.errstate(invalid="ignore", divide="ignore"):
        slack = np.nan_to_num(np.sqrt(made.weighted_scale[place] * _ROUNDING / sums.sum_weight))
    error = weighted_mean_error(sums)
    wrong |= differ(floats(rows[f"{prefix}wmean_int"]), sums.weighted_mean, slack)
    wrong |= differ(floats(rows[f"{prefix}wmean_int_err"]), error)
    return np.asarray(wrong)


def _medians(block: CurveBlock) -> FloatArray:
    """Median flux of the shown points of each curve; NaN without any."""
    middle = np.full(len(block.keys), np.nan)
    shown = np.flatnonzero(block.shown)
    for points in np.split(shown, np.flatnonzero(np.diff(block.curve[shown])) + 1):
        if len(points):
            middle[block.curve[points[0]]] = np.median(block.values["f_int"][points])
    return middle


def _wrong_newness(scope: Scope, rows: dict[str, list[Any]]) -> Mask:
    """Rows whose link to ``newsource`` and significances against its image are wrong."""
    new = new_source_significance(scope.connection, rows["runcat"])
    right = [new.get(source) or (None, None, None) for source in rows["runcat"]]
    wrong = np.array([a != b[0] for a, b in zip(rows["newsource"], right, strict=True)], dtype=bool)
    for place, name in ((1, "sigma_rms_min"), (2, "sigma_rms_max")):
        wrong |= differ(floats(rows[name]), floats(item[place] for item in right))
    return wrong


def _references(scope: Scope) -> Breaches:
    found = Breaches()
    for block in scope.curves():
        rows = _stored(scope, referenceflux, block)
        error = block.values["f_int_err"]
        usable = (block.kind == BLIND) & np.isfinite(block.values["f_int"])
        usable &= np.isfinite(error) & (error > 0.0)
        made = _of_block(block, usable, error)
        keys: list[Ids] = [integers(rows[name]) for name in ("runcat", "band", "stokes")]
        place = block.find_keys(*keys)
        padded = {
            name: np.append(values, 0.0)
            for name, values in (
                ("datapoints", made.sums.count),
                ("sumw_int", made.sums.sum_weight),
                ("wmean_int", made.sums.weighted_mean),
            )
        }
        wrong = place < 0
        for name, values in padded.items():
            wrong |= differ(floats(rows[name]), values[place], 1e-15)
        found += breaches_at(wrong, partial(_name_of_row, block, rows))
        missing = made.sums.count > 0
        missing[place[place >= 0]] = False
        found += breaches_at(
            missing,
            partial(_without_row, block),
        )
    return found


INVARIANTS = (
    Invariant(
        "flux-counts",
        "runningcatalog_flux has a row for each source, band and Stokes with points, with their "
        "numbers without and with backward fits",
        _counts,
        when_finished=True,
    ),
    Invariant(
        "flux-means",
        "means, weighted means and sums of runningcatalog_flux are those of the points",
        _means,
        when_finished=True,
    ),
    Invariant(
        "flux-extremes",
        "latest point, its flux and the largest flux in runningcatalog_flux are those of the "
        "points",
        _latest,
        when_finished=True,
    ),
    Invariant(
        "running-statistics",
        "V, eta and number at each point are those of the points up to it; zeros at backward fits",
        _running,
        when_finished=True,
    ),
    Invariant(
        "varmetric-rows",
        "a source has one row in varmetric, of the band with the brightest latest point",
        _metric_rows,
        when_finished=True,
    ),
    Invariant(
        "varmetric-values",
        "eta, V, p-values, means, maximum, average, median and new-source significances in "
        "varmetric are those of the points",
        _metrics,
        when_finished=True,
    ),
    Invariant(
        "reference-fluxes",
        "reference fluxes are the weighted means of the blind points of a band",
        _references,
    ),
)

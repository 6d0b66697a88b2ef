"""``trap-manage lightcurve``: all that is known of a source's flux, as text, table or plot."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from sqlalchemy import Connection

from trap_ops.commands.environment import store_url
from trap_ops.commands.files import save_file
from trap_ops.commands.summary import make_console
from trap_ops.errors import ConfigError
from trap_ops.export import wording
from trap_ops.export.error_models import error_words
from trap_ops.export.light_curves import view_light_curve
from trap_ops.export.plot_files import as_png, as_svg
from trap_ops.export.source_curves import (
    CurveLine,
    SourceCurve,
    as_votable,
    curve_table,
    lines_of,
    load_source_curves,
)
from trap_ops.export.source_table import as_csv, flag_words
from trap_ops.records.arrays import IntArray
from trap_ops.records.error_model import ErrorModel
from trap_ops.records.light_curves import FluxSums, NewSourceEvidence
from trap_ops.records.names import one_line
from trap_ops.science.coordinates import parse_position, wrap_ra
from trap_ops.science.variability import eta, p_value, variation, weighted_mean_error
from trap_ops.store import datasets, error_models, sky_source_search
from trap_ops.store.candidates import new_source_evidence
from trap_ops.store.database import Store
from trap_ops.store.sky_source_search import Lineage, SkySource

_DEFAULT_RADIUS_ARCSEC = 30.0
_PLOT_FILES = {".svg": as_svg, ".png": as_png}
_COLUMNS = (
    *("start (UTC)", "frequency", "S", "kind", "f_int", "f_peak", "upper limit", "det_sigma"),
    *("flags", "image"),
)
_NUMBERS = {"f_int", "f_peak", "upper limit", "det_sigma"}


def add_parser(verbs: Any) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "lightcurve",
        help="the light curve of a sky source, as text, CSV, VOTable or plot",
        description="Show all points of the light curve of a sky source or monitored position, "
        "the images that should show it and do not, and its statistics; or write them into files.",
    )
    parser.add_argument(
        "source",
        nargs="*",
        help='name or id of a sky source, or a position "RA DEC" (degrees, or hours and degrees '
        "with colons), which stands for the nearest source",
    )
    parser.add_argument("--dataset", metavar="NAME", help="look in this dataset only")
    parser.add_argument(
        "--all", action="store_true", help="all sky sources of the dataset, for --csv or --votable"
    )
    parser.add_argument(
        "--radius",
        type=_radius,
        default=_DEFAULT_RADIUS_ARCSEC,
        metavar="ARCSEC",
        help=f"how far from a position a source may be; default: {_DEFAULT_RADIUS_ARCSEC:g}",
    )
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write a CSV table")
    parser.add_argument("--votable", type=Path, metavar="FILE", help="write a VOTable")
    parser.add_argument(
        "--plot",
        type=Path,
        metavar="FILE",
        help="draw the light curve of one source, as SVG or PNG: FILE ends in .svg or .png",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Find the sources; show or write them."""
    _check_arguments(arguments)
    store = Store(store_url())
    store.check()
    with store.read() as connection:
        sources = _chosen(connection, arguments)
        curves = load_source_curves(connection, sources)
        files = [arguments.csv, arguments.votable, arguments.plot]
        if any(files):
            _write(arguments, list(curves))
            return 0
        console = make_console()
        for curve in curves:
            evidence = new_source_evidence(connection, curve.source.dataset)
            origin = sky_source_search.lineage(connection, curve.source)
            _show(console, curve, evidence.get(curve.source.id), origin)
            models = error_models.list_error_models(connection, curve.source.dataset)
            _print_warnings(console, curve, models)
    return 0


def _check_arguments(arguments: argparse.Namespace) -> None:
    if arguments.all == bool(arguments.source):
        msg = "name one or more sources, or give --all (and not both)"
        raise ConfigError(msg)
    if arguments.all and not arguments.dataset:
        msg = "--all needs --dataset NAME; `trap-manage datasets` lists them"
        raise ConfigError(msg)
    if arguments.all and not (arguments.csv or arguments.votable):
        msg = "--all is for files: give --csv FILE or --votable FILE"
        raise ConfigError(msg)
    if arguments.plot and (arguments.all or len(arguments.source) != 1):
        msg = "--plot draws one source: name one"
        raise ConfigError(msg)
    if arguments.plot and arguments.plot.suffix.lower() not in _PLOT_FILES:
        msg = (
            f"--plot {one_line(str(arguments.plot))}: plots are written as SVG and PNG; name a "
            "file that ends in .svg or .png (browsers print SVG as PDF)"
        )
        raise ConfigError(msg)


def _radius(word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not 0.0 < value <= 180.0 * 3600.0:
        msg = f"{word!r} is no radius in arcsec: above 0, at most 648000"
        raise argparse.ArgumentTypeError(msg)
    return value


def _chosen(connection: Connection, arguments: argparse.Namespace) -> list[SkySource]:
    dataset = None
    if arguments.dataset:
        dataset = datasets.dataset_id(connection, arguments.dataset)
    if arguments.all and dataset is not None:
        return sky_source_search.all_of(connection, dataset)
    found = [_find(connection, word, dataset, arguments.radius) for word in arguments.source]
    return list({source.id: source for source in found}.values())


def _find(
    connection: Connection, word: str, dataset: int | None, radius_arcsec: float
) -> SkySource:
    """Return the one source that a word stands for.

    Raises
    ------
    ConfigError
        If there is none, or one in each of several datasets.
    """
    found = sky_source_search.named(connection, word, dataset)
    if not found and word.isdecimal():
        found = sky_source_search.of_id(connection, int(word), dataset)
    if not found:
        found = _near(connection, word, dataset, radius_arcsec)
    if len(found) > 1:
        lines = [
            f"  {one_line(_title(item))}, id {item.id}, in dataset {one_line(item.dataset_name)}"
            for item in found
        ]
        msg = f"{one_line(word)!r} stands for several sources; give --dataset, or the id:\n"
        msg += "\n".join(lines)
        raise ConfigError(msg)
    return found[0]


def _near(
    connection: Connection, word: str, dataset: int | None, radius_arcsec: float
) -> list[SkySource]:
    """Return the nearest source of each dataset to a position."""
    where = "" if dataset is None else "of this dataset "
    try:
        position = parse_position(word)
    except ConfigError as error:
        raise ConfigError(_not_found(connection, word, dataset)) from error
    ra, dec = float(wrap_ra(position.ra_deg)), position.dec_deg
    if not (math.isfinite(ra) and abs(dec) <= 90.0):
        msg = f"position {word!r} is not on the sky: declination is between -90 and 90 degrees"
        raise ConfigError(msg)
    found = sky_source_search.near(connection, ra, dec, radius_arcsec / 3600.0, dataset)
    nearest = {item.dataset: item for item in reversed(found)}
    if nearest:
        return list(nearest.values())
    everything = sky_source_search.near(connection, ra, dec, 180.0, dataset)
    msg = f"no sky source {where}is within {radius_arcsec:g} arcsec of {one_line(word)}"
    if everything:
        closest = min(everything, key=lambda item: item.distance_arcsec)
        msg += (
            f"; the nearest is {one_line(closest.name)}, {closest.distance_arcsec:.4g} arcsec "
            f"away, in dataset {one_line(closest.dataset_name)}: give --radius to take it. Was the "
            "position observed? `trap-manage coverage DATASET --position` knows"
        )
    raise ConfigError(msg)


def _not_found(connection: Connection, word: str, dataset: int | None) -> str:
    """Say why a name or id stands for no source."""
    shown = one_line(word)
    if word.isdecimal():
        branches = sky_source_search.branches_of(connection, int(word))
        if branches:
            names = ", ".join(one_line(item.name) for item in branches)
            return f"sky source {shown} was split, and is gone; its branches are {names}"
    waiting = sky_source_search.unmeasured_monitors(connection, word, dataset)
    if waiting:
        return (
            f"monitored position {shown!r} of dataset {one_line(waiting[0])!r} has no measurement: "
            "no image shows it; `trap-manage coverage` says more"
        )
    where = "any dataset" if dataset is None else "this dataset"
    return (
        f"there is no sky source {shown!r} in {where}; give its name as the report has it (a fork "
        'or a late image may have renamed it), its id, or a position such as "123.01 35.02" or '
        '"08:12:02 +35:01:12"'
    )


def _write(arguments: argparse.Namespace, curves: list[SourceCurve]) -> None:
    table = curve_table(curves) if arguments.csv or arguments.votable else None
    writers: tuple[tuple[Path | None, Callable[[Any], bytes]], ...] = (
        (arguments.csv, as_csv),
        (arguments.votable, as_votable),
    )
    for path, write in writers:
        if path is not None:
            save_file(path, write(table))
            what = wording.count(len(curves), "light curve")
            print(f"{path}: {what}, {wording.count(len(table or ()), 'line')}")
    if arguments.plot:
        (curve,) = curves
        if not (len(curve.points) or curve.gaps):
            msg = f"{one_line(_title(curve.source))} has no points yet; nothing is drawn"
            raise ConfigError(msg)
        title = f"{_title(curve.source)} ({curve.source.dataset_name})"
        view = view_light_curve(curve.points, curve.gaps, curve.images, curve.bands, title)
        draw = _PLOT_FILES[arguments.plot.suffix.lower()]
        save_file(arguments.plot, draw(view.plot, title))
        print(f"{arguments.plot}: {view.words}")


def _title(source: SkySource) -> str:
    return f"{'monitored position ' if source.monitored else ''}{source.name}"


def _show(
    console: Console,
    curve: SourceCurve,
    evidence: NewSourceEvidence | None,
    origin: Lineage | None,
) -> None:
    """Print a light curve and what is known of its source."""
    source = curve.source
    ra, dec = wording.sexagesimal(source.ra_deg, source.dec_deg)
    lines = [
        f"{one_line(_title(source))} (id {source.id}) in dataset {one_line(source.dataset_name)}",
        f"  {ra} {dec} ({source.ra_deg:.6f} {source.dec_deg:+.6f})",
    ]
    if not source.monitored:  # That is exact, and in all Stokes.
        lines[-1] += (
            f" ± {3600.0 * source.sigma_ew_deg:.2g} x {3600.0 * source.sigma_ns_deg:.2g} arcsec, "
            f"{wording.stokes(source.stokes)}"
        )
    if math.isfinite(source.distance_arcsec):
        lines.append(f"  {source.distance_arcsec:.3g} arcsec from the position asked for")
    if origin is not None:
        lines += _lineage_lines(source, origin)
    if evidence is not None:
        lines.append(f"  {_evidence_line(evidence)}")
    for line in lines:
        console.print(line, highlight=False)
    _print_table(console, _points_table(lines_of(curve)))
    _print_table(console, _statistics_table(curve))


def _lineage_lines(source: SkySource, origin: Lineage) -> list[str]:
    others = ", ".join(map(one_line, origin.branches)) or "none is left"
    forked = (
        f"  forked on {wording.utc(source.founded)} from the source first seen on "
        f"{wording.utc(origin.start)} at {origin.ra_deg:.6f} {origin.dec_deg:+.6f} in "
        f"{one_line(origin.image_name)}, whose history it has"
    )
    return [forked, f"  other branches: {others}"]


def _evidence_line(evidence: NewSourceEvidence) -> str:
    certainty = "likely new" if evidence.kind == 1 else "possibly new"
    unit, factor = wording.flux_unit([evidence.peak_jy])
    peak, low, high = (
        wording.number(value * factor)
        for value in (evidence.peak_jy, evidence.low_jy, evidence.high_jy)
    )
    text = (
        f"{certainty}: first seen at {peak} {unit}/beam; {one_line(evidence.image_name)} would "
        f"have shown {low} (quietest part) to {high} (noisiest)"
    )
    if math.isfinite(evidence.rms_there_jy):
        text += f"; its rms there is {wording.number(evidence.rms_there_jy * factor)}"
    return text


def _points_table(lines: list[CurveLine]) -> Table:
    unit, factor = wording.flux_unit([line.flux for line in lines])
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in _COLUMNS:
        shown = f"{name} ({unit})" if name in {"f_int", "f_peak", "upper limit"} else name
        table.add_column(shown, no_wrap=True, justify="right" if name in _NUMBERS else "left")
    for line in lines:
        known = not line.not_measured
        limit = wording.number(line.upper_limit * factor) if line.upper_limit > 0.0 else ""
        table.add_row(
            wording.utc(line.start),
            wording.frequency(line.freq_hz),
            line.stokes,
            line.kind,
            wording.with_error(line.flux * factor, line.flux_err * factor) if known else "",
            wording.with_error(line.peak * factor, line.peak_err * factor) if known else "",
            limit,
            wording.number(line.det_sigma) if known else "",
            flag_words(line.flags),
            one_line(line.image_name)
            + (f"  not measured: {one_line(line.not_measured)}" if line.not_measured else ""),
        )
    return table


def _statistics_table(curve: SourceCurve) -> Table:
    """A line a band and Stokes, without and with backward fits."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("band", "S", "backward fits", "points", "eta", "V", "p-value", "weighted mean"):
        left = name in {"band", "S", "backward fits"}
        table.add_column(name, no_wrap=True, justify="left" if left else "right")
    stored = curve.statistics
    for i in range(len(stored)):
        band = wording.frequency(curve.bands[int(stored.band[i])].central_hz)
        stokes = wording.stokes(int(stored.stokes[i])).removeprefix("Stokes ")
        without, complete = stored.flux.take(_only(i)), stored.complete.take(_only(i))
        if without.count[0] == complete.count[0]:
            table.add_row(band, stokes, "none", *_statistics(complete))
            continue
        if without.count[0]:
            table.add_row(band, stokes, "left out", *_statistics(without))
        table.add_row(band, stokes, "included", *_statistics(complete))
    return table


def _only(number: int) -> IntArray:
    return np.array([number], dtype=np.intp)


def _statistics(sums: FluxSums) -> list[str]:
    several = int(sums.count[0]) > 1
    mean, error = float(sums.weighted_mean[0]), float(weighted_mean_error(sums)[0])
    unit, factor = wording.flux_unit([mean])
    return [
        str(int(sums.count[0])),
        wording.number(float(eta(sums)[0])) if several else wording.NOTHING,
        wording.number(float(variation(sums)[0])) if several else wording.NOTHING,
        wording.probability(float(p_value(sums)[0])) if several else wording.NOTHING,
        f"{wording.with_error(mean * factor, error * factor)} {unit}",
    ]


def _print_warnings(
    console: Console, curve: SourceCurve, models: dict[error_models.Key, ErrorModel]
) -> None:
    """Say of which of its bands the p-values are wrong in the whole dataset."""
    stored = curve.statistics
    mine = set(zip(stored.band.tolist(), stored.stokes.tolist(), strict=True))
    own = {key: model for key, model in models.items() if key in mine}
    for item in error_words(own, curve.bands):
        if item.warning:
            console.print(f"{item.found}. {item.warning}", highlight=False)


def _print_table(console: Console, table: Table) -> None:
    wanted = Measurement.get(console, console.options.update(width=10_000), table).maximum
    console.width = max(console.width, wanted)
    console.print(table, highlight=False)
    console.print()

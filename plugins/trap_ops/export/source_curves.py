"""Light curves of any sky sources: as they are shown, and as tables for other programs."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from astropy import units as u
from astropy.io.votable import from_table
from astropy.io.votable.tree import CooSys, TimeSys
from astropy.table import Column, Table
from sqlalchemy import Connection

from trap_ops.export import wording
from trap_ops.export.source_table import flag_words
from trap_ops.records.images import Band, ImageRow
from trap_ops.records.light_curves import Curves
from trap_ops.records.names import one_line
from trap_ops.records.sky import FitKind
from trap_ops.store import images, regions
from trap_ops.store.light_curves import (
    CurvePoints,
    Gap,
    load_gaps,
    load_light_curves,
    load_monitor_gaps,
)
from trap_ops.store.sky_source_search import SkySource, monitor_ids
from trap_ops.store.variability import load_curves

KINDS = {
    0: "blind",
    int(FitKind.FORWARD): "forward",
    int(FitKind.MONITOR): "monitored",
    int(FitKind.BACKWARD): "backward",
}
_STOKES = {1: "I", 2: "Q", 3: "U", 4: "V"}
# So many light curves are read together.
_BLOCK_SOURCES = 200
_MJD_0 = datetime.fromisoformat("1858-11-17")
_NAN = float("nan")


@dataclass(frozen=True)
class SourceCurve:
    """A light curve with all that belongs to it.

    Attributes
    ----------
    source : SkySource
    points : CurvePoints
        In time order.
    gaps : list of Gap
        Images that show its place and in which it was not measured, in time order.
    statistics : Curves
        A row a band and Stokes.
    images, bands : mapping
        By id.
    """

    source: SkySource
    points: CurvePoints
    gaps: list[Gap]
    statistics: Curves
    images: Mapping[int, ImageRow]
    bands: Mapping[int, Band]


@dataclass(frozen=True)
class CurveLine:
    """A line of a light curve: a point, or an image without one; fluxes in Jy, NaN for none.

    Attributes
    ----------
    start : datetime
    exposure_s : float
    band : int
    freq_hz : float
    stokes : str
    kind : str
        How it was, or was to be, measured.
    flux, flux_err, peak, peak_err, upper_limit : float
    det_sigma, rms, background : float
    flags : int
    image_name : str
    not_measured : str
        Why there is no measurement; empty for a point.
    """

    start: datetime
    exposure_s: float
    band: int
    freq_hz: float
    stokes: str
    kind: str
    flux: float
    flux_err: float
    peak: float
    peak_err: float
    upper_limit: float
    det_sigma: float
    rms: float
    background: float
    flags: int
    image_name: str
    not_measured: str = ""


# Name, unit, UCD, meaning of the columns of the table for programs.
_COLUMNS: tuple[tuple[str, u.UnitBase | None, str, str], ...] = (
    ("dataset", None, "meta.dataset", "dataset"),
    ("source_name", None, "meta.id;meta.main", "name of the sky source"),
    ("source", None, "meta.record", "its id in runningcatalog"),
    ("ra", u.deg, "pos.eq.ra;meta.main", "mean right ascension of the source, ICRS"),
    ("decl", u.deg, "pos.eq.dec;meta.main", "mean declination of the source, ICRS"),
    ("time", u.day, "time.epoch;meta.main", "middle of the image, MJD (UTC)"),
    ("start", None, "time.start;obs.exposure", "start of the image, UTC"),
    ("exposure", u.s, "time.duration;obs.exposure", "integration time of the image"),
    ("band_freq", u.Hz, "em.freq;instr.bandpass", "central frequency of the band"),
    ("freq", u.Hz, "em.freq", "frequency of the image"),
    ("stokes", None, "meta.code;phys.polarization.stokes", "Stokes parameter"),
    ("kind", None, "meta.code.class", "blind, forward, backward or monitored"),
    ("f_int", u.Jy, "phot.flux.density;em.radio;meta.main", "integrated flux density"),
    ("f_int_err", u.Jy, "stat.error;phot.flux.density;em.radio", "error of f_int"),
    ("f_peak", u.Jy / u.beam, "phot.flux.density;em.radio;stat.max", "peak brightness"),
    ("f_peak_err", u.Jy / u.beam, "stat.error;phot.flux.density", "error of f_peak"),
    ("upper_limit", u.Jy / u.beam, "phot.flux.density;stat.max;em.radio",
     "upper limit of a forced fit that is not significant"),
    ("det_sigma", None, "stat.snr", "highest pixel over the local rms"),
    ("rms", u.Jy / u.beam, "stat.stdev;instr.det.noise", "local rms"),
    ("background", u.Jy / u.beam, "instr.background", "local background"),
    ("flags", None, "meta.code.qual", "sum of the codes in flag_words"),
    ("flag_words", None, "meta.note", "what is special about the measurement"),
    ("image", None, "meta.id;meta.file", "image"),
    ("not_measured", None, "meta.note", "why there is no measurement in the image"),
)  # fmt: skip


def load_source_curves(
    connection: Connection, sources: Sequence[SkySource]
) -> Iterator[SourceCurve]:
    """Read light curves, block by block, in the order of the sources of each dataset."""
    for dataset in dict.fromkeys(source.dataset for source in sources):
        mine = [source for source in sources if source.dataset == dataset]
        rows = {row.id: row for row in images.images_of(connection, dataset)}
        bands = dict(zip(*regions.load_bands(connection, dataset), strict=True))
        monitored = any(source.monitored for source in mine)
        monitor_gaps = load_monitor_gaps(connection, dataset) if monitored else []
        for first in range(0, len(mine), _BLOCK_SOURCES):
            yield from _block(
                connection, mine[first : first + _BLOCK_SOURCES], monitor_gaps, rows, bands
            )


def _block(
    connection: Connection,
    sources: Sequence[SkySource],
    monitor_gaps: Sequence[Gap],
    rows: Mapping[int, ImageRow],
    bands: Mapping[int, Band],
) -> Iterator[SourceCurve]:
    ids = [source.id for source in sources]
    points, curves = load_light_curves(connection, ids), load_curves(connection, ids)
    gaps: dict[int, list[Gap]] = {}
    for gap in load_gaps(connection, ids):
        gaps.setdefault(gap.owner, []).append(gap)
    of_monitor = monitor_ids(connection, ids)
    for gap in monitor_gaps:
        if gap.owner in of_monitor:
            gaps.setdefault(of_monitor[gap.owner], []).append(gap)
    for source in sources:
        yield SourceCurve(
            source,
            points.of(source.id),
            gaps.get(source.id, []),
            curves.take(np.flatnonzero(curves.source == source.id)),
            rows,
            bands,
        )


def lines_of(curve: SourceCurve) -> list[CurveLine]:
    """Points and images without one, in time order."""
    points = curve.points
    lines = [_point(points, i, curve.images) for i in range(len(points))]
    lines += [_gap(gap, curve.images[gap.image]) for gap in curve.gaps]
    return sorted(lines, key=lambda line: (line.start, line.freq_hz, line.stokes, line.image_name))


def _point(points: CurvePoints, i: int, rows: Mapping[int, ImageRow]) -> CurveLine:
    row = rows[int(points.image[i])]
    return CurveLine(
        start=row.start,
        exposure_s=_seconds(row),
        band=row.band,
        freq_hz=row.freq_eff_hz,
        stokes=_STOKES.get(row.stokes, str(row.stokes)),
        kind=KINDS[int(points.kind[i])],
        flux=float(points.flux_jy[i]),
        flux_err=float(points.flux_err_jy[i]),
        peak=float(points.peak_jy[i]),
        peak_err=float(points.peak_err_jy[i]),
        upper_limit=float(points.upper_limit_jy[i]),
        det_sigma=float(points.det_sigma[i]),
        rms=float(points.rms_jy[i]),
        background=float(points.background_jy[i]),
        flags=int(points.flags[i]),
        image_name=row.shown_name,
    )


def _gap(gap: Gap, row: ImageRow) -> CurveLine:
    return CurveLine(
        start=row.start,
        exposure_s=_seconds(row),
        band=row.band,
        freq_hz=row.freq_eff_hz,
        stokes=_STOKES.get(row.stokes, str(row.stokes)),
        kind=KINDS[gap.kind],
        flux=_NAN,
        flux_err=_NAN,
        peak=_NAN,
        peak_err=_NAN,
        upper_limit=_NAN,
        det_sigma=_NAN,
        rms=_NAN,
        background=_NAN,
        flags=0,
        image_name=row.shown_name,
        not_measured=wording.NOT_MEASURED.get(gap.reason, gap.reason),
    )


def _seconds(row: ImageRow) -> float:
    return float(row.integration_s)


def curve_table(curves: Iterator[SourceCurve] | Sequence[SourceCurve]) -> Table:
    """Return light curves as one table, a row a line, with units and UCDs."""
    values: dict[str, list[Any]] = {name: [] for name, *_ in _COLUMNS}
    for curve in curves:
        for line in lines_of(curve):
            for name, value in _row(curve, line).items():
                values[name].append(value)
    made = Table()
    for name, unit, ucd, meaning in _COLUMNS:
        kind = _KIND_OF.get(name, np.float64)
        made[name] = Column(
            np.array(values[name], dtype=kind), unit=unit, description=meaning, meta={"ucd": ucd}
        )
    return made


_KIND_OF: Mapping[str, type] = {"source": np.int64, "flags": np.int32} | dict.fromkeys(
    (
        *("dataset", "source_name", "start", "stokes", "kind", "flag_words", "image"),
        "not_measured",
    ),
    str,
)


def _row(curve: SourceCurve, line: CurveLine) -> dict[str, Any]:
    exposure = line.exposure_s if np.isfinite(line.exposure_s) else 0.0
    middle = line.start - _MJD_0 + timedelta(seconds=exposure / 2.0)
    return {
        "dataset": one_line(curve.source.dataset_name),
        "source_name": one_line(curve.source.name),
        "source": curve.source.id,
        "ra": curve.source.ra_deg,
        "decl": curve.source.dec_deg,
        "time": middle / timedelta(days=1),
        "start": line.start.isoformat(),
        "exposure": line.exposure_s,
        "band_freq": curve.bands[line.band].central_hz,
        "freq": line.freq_hz,
        "stokes": line.stokes,
        "kind": line.kind,
        "f_int": line.flux,
        "f_int_err": line.flux_err,
        "f_peak": line.peak,
        "f_peak_err": line.peak_err,
        "upper_limit": line.upper_limit,
        "det_sigma": line.det_sigma,
        "rms": line.rms,
        "background": line.background,
        "flags": line.flags,
        "flag_words": flag_words(line.flags),
        "image": line.image_name,
        "not_measured": line.not_measured,
    }


def as_votable(table: Table) -> bytes:
    """Return light curves as VOTable 1.4: units, UCDs, positions in ICRS, times in UTC as MJD."""
    file = from_table(table)
    file.version = "1.4"
    resource = file.resources[0]
    resource.coordinate_systems.append(CooSys(ID="icrs", system="ICRS"))
    # What headers say is the clock of the observatory.
    resource.time_systems.append(
        TimeSys(
            ID="utc",
            timeorigin="2400000.5",
            timescale="UTC",
            refposition="TOPOCENTER",
            config={"version_1_4_or_later": True},
        )
    )
    for field in file.get_first_table().fields:
        field.ucd = table[field.name].meta["ucd"]
        if field.name in {"ra", "decl"}:
            field.ref = "icrs"
        elif field.name == "time":
            field.ref = "utc"
        elif field.name == "start":
            field.xtype = "timestamp"
    buffer = io.BytesIO()
    file.to_xml(buffer)
    return buffer.getvalue()

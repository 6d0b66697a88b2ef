"""Light curves as people look at them: every point with its kind, and where there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sqlalchemy import ColumnElement, Connection, Select, func, select

from trap_ops.records.arrays import FloatArray, Ids
from trap_ops.records.sky import FAILED, REQUESTED, SKIPPED
from trap_ops.store.rows import fetch_columns, floats, id_list, integers
from trap_ops.store.schema import assocxtrsource, extractedsource, forcedfit, image


@dataclass(frozen=True)
class CurvePoints:
    """Points of light curves, by sky source and then in time; all arrays (m,).

    Attributes
    ----------
    source, image, band, stokes : numpy.ndarray of int
    kind : numpy.ndarray of int
        0 blind, else a :class:`trap_ops.records.sky.FitKind`.
    start : numpy.ndarray of datetime
        Of the image, UTC.
    flux_jy, flux_err_jy, peak_jy, peak_err_jy : numpy.ndarray
        Integrated flux, peak.
    det_sigma : numpy.ndarray
        Highest pixel over the local rms.
    flags : numpy.ndarray of int
        A sum of :class:`trap_ops.records.sources.Flag`.
    rms_jy, background_jy : numpy.ndarray
        Jy/beam, at the position.
    upper_limit_jy : numpy.ndarray
        NaN where the flux is significant.
    """

    source: Ids
    image: Ids
    band: Ids
    stokes: Ids
    kind: Ids
    start: npt.NDArray[Any]
    flux_jy: FloatArray
    flux_err_jy: FloatArray
    peak_jy: FloatArray
    peak_err_jy: FloatArray
    det_sigma: FloatArray
    flags: Ids
    rms_jy: FloatArray
    background_jy: FloatArray
    upper_limit_jy: FloatArray

    def __len__(self) -> int:
        """Count the points."""
        return len(self.source)

    def take(self, items: npt.NDArray[Any] | slice) -> Self:
        """Return some of the points."""
        return type(self)(**{name: value[items] for name, value in vars(self).items()})

    def of(self, source: int) -> Self:
        """Return the light curve of one sky source; empty if it is not among them."""
        first, last = np.searchsorted(self.source, [source, source + 1])
        return self.take(slice(first, last))


@dataclass(frozen=True)
class Gap:
    """An image in which a position could not be measured, or was not to be.

    Attributes
    ----------
    owner : int
        Id of the sky source or, for a monitoring position, of that.
    image, band, stokes : int
    kind : int
        A :class:`trap_ops.records.sky.FitKind`.
    start : datetime
    file_name : str
    reason : str
        The short word of table ``forcedfit``.
    """

    owner: int
    image: int
    band: int
    stokes: int
    kind: int
    start: datetime
    file_name: str
    reason: str


def load_light_curves(connection: Connection, sources: Sequence[int]) -> CurvePoints:
    """Return all points of some light curves, backward fits included."""
    link, measured = assocxtrsource, extractedsource
    # A scalar per point: after a fork several requests share a fit, and a join would repeat it.
    upper_limit = (
        select(func.max(forcedfit.c.upper_limit))
        .where(forcedfit.c.xtrsrc == measured.c.id)
        .scalar_subquery()
    )
    with id_list(connection, link.c.runcat, sources) as wanted:
        query = (
            select(
                link.c.runcat,
                measured.c.image,
                image.c.band,
                image.c.stokes,
                measured.c.extract_type,
                image.c.taustart_ts,
                measured.c.f_int,
                measured.c.f_int_err,
                measured.c.f_peak,
                measured.c.f_peak_err,
                measured.c.det_sigma,
                measured.c.flags,
                measured.c.rms,
                measured.c.background,
                upper_limit.label("upper_limit"),
            )
            .join(measured, measured.c.id == link.c.xtrsrc)
            .join(image, image.c.id == measured.c.image)
            # With a join SQLite goes through all sources in their order, to save sorting.
            .where(link.c.runcat.in_(select(wanted.c.id)))
            .order_by(link.c.runcat, image.c.taustart_ts, image.c.freq_eff, image.c.id)
        )
        rows = fetch_columns(connection, query)
    return CurvePoints(
        source=integers(rows["runcat"]),
        image=integers(rows["image"]),
        band=integers(rows["band"]),
        stokes=integers(rows["stokes"]),
        kind=integers(rows["extract_type"]),
        start=np.array([*rows["taustart_ts"], None], dtype=object)[:-1],
        flux_jy=floats(rows["f_int"]),
        flux_err_jy=floats(rows["f_int_err"]),
        peak_jy=floats(rows["f_peak"]),
        peak_err_jy=floats(rows["f_peak_err"]),
        det_sigma=floats(rows["det_sigma"]),
        flags=integers(rows["flags"]),
        rms_jy=floats(rows["rms"]),
        background_jy=floats(rows["background"]),
        upper_limit_jy=floats(rows["upper_limit"]),
    )


def load_gaps(connection: Connection, sources: Sequence[int]) -> list[Gap]:
    """Images in which some sky sources could not be measured, in time order."""
    with id_list(connection, forcedfit.c.runcat, sources) as wanted:
        query = _gaps(forcedfit.c.runcat).join(wanted, wanted.c.id == forcedfit.c.runcat)
        return _rows(connection, query)


def load_monitor_gaps(connection: Connection, dataset_id: int) -> list[Gap]:
    """Images in which monitoring positions of a dataset could not be measured, in time order."""
    return _rows(
        connection,
        _gaps(forcedfit.c.monitor).where(
            forcedfit.c.dataset == dataset_id, forcedfit.c.monitor.is_not(None)
        ),
    )


def _gaps(owner: ColumnElement[Any]) -> Select[Any]:
    return (
        select(
            owner.label("owner"),
            forcedfit.c.image,
            image.c.band,
            image.c.stokes,
            forcedfit.c.kind,
            image.c.taustart_ts.label("start"),
            image.c.file_name,
            forcedfit.c.reason,
        )
        .join(image, image.c.id == forcedfit.c.image)
        # Requests have a reason where their file was away.
        .where(forcedfit.c.status.in_([FAILED, SKIPPED, REQUESTED]), forcedfit.c.reason != "")
        .order_by(image.c.taustart_ts, image.c.freq_eff, image.c.id)
    )


def _rows(connection: Connection, query: Select[Any]) -> list[Gap]:
    return [Gap(*row) for row in connection.execute(query)]

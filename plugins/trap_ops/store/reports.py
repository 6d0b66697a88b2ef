"""What the run report needs beside the lists that the stages work with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select

from trap_ops.records.arrays import FloatArray, Ids
from trap_ops.store.rows import fetch_columns, floats, id_list, integers
from trap_ops.store.schema import image, monitor, run, runningcatalog, varmetric


@dataclass(frozen=True)
class RunDetails:
    """Who asked for a run, when, and what it runs with.

    Attributes
    ----------
    state, message : str
        The message says why it failed; else empty.
    requested_by, host : str
        The host is the one that planned it.
    started : datetime
    finished : datetime or None
    request : dict
        What was asked for, as stored: images, overrides, monitoring positions.
    versions : dict of str
        Of the pipeline, Python and the packages that results depend on.
    fingerprint : str
        Of the code.
    """

    state: str
    message: str
    requested_by: str
    host: str
    started: datetime
    finished: datetime | None
    request: dict[str, Any]
    versions: dict[str, str]
    fingerprint: str


@dataclass(frozen=True)
class SkySourceSummary:
    """Sky sources of a dataset and their variability with backward fits; (n,) each.

    Attributes
    ----------
    id : numpy.ndarray of int
    name : list of str
    count : numpy.ndarray of int
        Points of the light curve that eta and V belong to.
    eta, v, p_value : numpy.ndarray
        NaN: not measured yet, or, for the p-value, fewer than two points.
    """

    id: Ids
    name: list[str]
    count: Ids
    eta: FloatArray
    v: FloatArray
    p_value: FloatArray


@dataclass(frozen=True)
class MonitorSummary:
    """A monitoring position and what its light curve amounts to; None before its first fit."""

    id: int
    name: str
    ra_deg: float
    dec_deg: float
    source: int | None
    count: int | None
    eta: float | None
    v: float | None
    p_value: float | None


def run_details(connection: Connection, run_id: int) -> RunDetails:
    """Who asked for a run, when, where, and its state as of now."""
    row = connection.execute(select(run).where(run.c.id == run_id)).one()
    return RunDetails(
        state=row.state,
        message=row.message,
        requested_by=row.requested_by,
        host=row.host,
        started=row.started_ts,
        finished=row.finished_ts,
        request=json.loads(row.request),
        versions=json.loads(row.versions),
        fingerprint=row.fingerprint,
    )


def summarise_sky_sources(connection: Connection, dataset_id: int) -> SkySourceSummary:
    """Sky sources of a dataset without monitoring positions, in order of position."""
    query = (
        select(
            runningcatalog.c.id,
            runningcatalog.c.source_name,
            func.coalesce(varmetric.c.all_datapoints, 0).label("count"),
            varmetric.c.all_eta_int,
            varmetric.c.all_v_int,
            varmetric.c.all_p_value,
        )
        .outerjoin(varmetric, varmetric.c.runcat == runningcatalog.c.id)
        .where(runningcatalog.c.dataset == dataset_id, runningcatalog.c.mon_src.is_(False))
        .order_by(runningcatalog.c.wm_decl, runningcatalog.c.wm_ra)
    )
    rows = fetch_columns(connection, query)
    return SkySourceSummary(
        id=integers(rows["id"]),
        name=rows["source_name"],
        count=integers(rows["count"]),
        eta=floats(rows["all_eta_int"]),
        v=floats(rows["all_v_int"]),
        p_value=floats(rows["all_p_value"]),
    )


def list_monitors(connection: Connection, dataset_id: int) -> list[MonitorSummary]:
    """Monitoring positions of a dataset, the first one first."""
    query = (
        select(
            monitor.c.id,
            monitor.c.name,
            monitor.c.ra,
            monitor.c.decl,
            monitor.c.runcat,
            varmetric.c.all_datapoints,
            varmetric.c.all_eta_int,
            varmetric.c.all_v_int,
            varmetric.c.all_p_value,
        )
        .outerjoin(varmetric, varmetric.c.runcat == monitor.c.runcat)
        .where(monitor.c.dataset == dataset_id)
        .order_by(monitor.c.id)
    )
    return [MonitorSummary(*row) for row in connection.execute(query)]


def image_notes(connection: Connection, ids: Sequence[int]) -> dict[int, str]:
    """What headers lacked and was assumed, by image; only those of some that have such notes."""
    with id_list(connection, image.c.id, ids) as wanted:
        query = (
            select(image.c.id, image.c.notes)
            .join(wanted, wanted.c.id == image.c.id)
            .where(image.c.notes != "")
        )
        return {row.id: row.notes for row in connection.execute(query)}

"""Monitoring positions: measured in every image whether there is a source or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import Connection, Row, func, insert, select, update

from trap_ops.records.runs import MonitorPosition
from trap_ops.records.sky import FITTED, LinkType
from trap_ops.store.database import Store
from trap_ops.store.links import insert_links
from trap_ops.store.rows import insert_rows
from trap_ops.store.schema import (
    assocxtrsource,
    dataset,
    extractedsource,
    forcedfit,
    image,
    monitor,
    runningcatalog,
)
from trap_ops.store.sky_sources import delete_sources


def insert_monitors(
    store: Store, connection: Connection, dataset_id: int, positions: Sequence[MonitorPosition]
) -> None:
    """Add positions to a dataset; those that it has already are left as they are."""
    known = {
        (row.ra, row.decl)
        for row in connection.execute(
            select(monitor.c.ra, monitor.c.decl).where(monitor.c.dataset == dataset_id)
        )
    }
    new: list[tuple[float, float, str]] = []
    for position in positions:
        key = (position.ra_deg, position.dec_deg)
        if key not in known:
            known.add(key)
            new.append((*key, position.name))
    insert_rows(
        connection,
        monitor,
        {
            "id": store.allocate(connection, monitor, len(new)),
            "dataset": dataset_id,
            "ra": [ra for ra, _, _ in new],
            "decl": [dec for _, dec, _ in new],
            "name": [name for _, _, name in new],
        },
    )


@dataclass(frozen=True)
class Monitored(MonitorPosition):
    """A monitoring position of a dataset."""

    id: int = 0

    @property
    def shown(self) -> str:
        """Name, id and position for people."""
        return f"{self.name!r} (id {self.id}, {self.ra_deg:.6f} {self.dec_deg:+.6f})"


@dataclass(frozen=True)
class MonitoredFluxes(Monitored):
    """A monitoring position, and what was measured there so far.

    Attributes
    ----------
    source : int or None
        Id of its sky source; None before the first fit.
    points : int
        Fits in its light curve.
    missing : int
        Images in which it could not be measured, or is not yet.
    last : datetime or None
        Start of the latest image with a fit; of several that start together, the last in canonical
        order.
    flux_jy, flux_err_jy : float or None
        The fit there.
    """

    source: int | None = None
    points: int = 0
    missing: int = 0
    last: datetime | None = None
    flux_jy: float | None = None
    flux_err_jy: float | None = None


def monitors_of(connection: Connection, dataset_id: int) -> list[Monitored]:
    """Monitoring positions of a dataset, the first one first."""
    rows = connection.execute(
        select(monitor).where(monitor.c.dataset == dataset_id).order_by(monitor.c.id)
    )
    return [Monitored(row.ra, row.decl, row.name or "", row.id) for row in rows]


def monitors_of_name(connection: Connection, dataset_name: str) -> list[Monitored]:
    """Monitoring positions of a dataset, which need not exist."""
    found = connection.execute(select(dataset.c.id).where(dataset.c.description == dataset_name))
    number = found.scalar()
    return [] if number is None else monitors_of(connection, number)


def monitored_fluxes(connection: Connection, dataset_id: int) -> list[MonitoredFluxes]:
    """Monitoring positions of a dataset with their latest fluxes, the first position first."""
    mine = forcedfit.c.dataset == dataset_id
    counted = (
        select(
            forcedfit.c.monitor,
            func.count(forcedfit.c.xtrsrc).label("points"),
            (func.count() - func.count(forcedfit.c.xtrsrc)).label("missing"),
        )
        .where(mine, forcedfit.c.monitor.is_not(None))
        .group_by(forcedfit.c.monitor)
        .subquery()
    )
    order = (image.c.taustart_ts, image.c.freq_eff, image.c.stokes, image.c.file_name)
    ranked = (
        select(
            forcedfit.c.monitor,
            image.c.taustart_ts,
            extractedsource.c.f_int,
            extractedsource.c.f_int_err,
            func.row_number()
            .over(
                partition_by=forcedfit.c.monitor,
                order_by=[column.desc() for column in (*order, image.c.content_sha256)],
            )
            .label("place"),
        )
        .join(extractedsource, extractedsource.c.id == forcedfit.c.xtrsrc)
        .join(image, image.c.id == extractedsource.c.image)
        .where(mine, forcedfit.c.monitor.is_not(None))
        .subquery()
    )
    query = (
        select(
            monitor.c.ra.label("ra_deg"),
            monitor.c.decl.label("dec_deg"),
            func.coalesce(monitor.c.name, "").label("name"),
            monitor.c.id,
            monitor.c.runcat.label("source"),
            func.coalesce(counted.c.points, 0).label("points"),
            func.coalesce(counted.c.missing, 0).label("missing"),
            ranked.c.taustart_ts.label("last"),
            ranked.c.f_int.label("flux_jy"),
            ranked.c.f_int_err.label("flux_err_jy"),
        )
        .outerjoin(counted, counted.c.monitor == monitor.c.id)
        .outerjoin(ranked, (ranked.c.monitor == monitor.c.id) & (ranked.c.place == 1))
        .where(monitor.c.dataset == dataset_id)
        .order_by(monitor.c.id)
    )
    return [MonitoredFluxes(**row) for row in connection.execute(query).mappings()]


def link_fits(store: Store, connection: Connection, dataset_id: int) -> int:
    """Put fits of monitoring positions into light curves; return how many got new points.

    The first fit in time founds the sky source of a position (SCIENCE.md 6.5). If an earlier one
    comes later, the source is founded anew.
    """
    changed = 0
    positions = connection.execute(select(monitor).where(monitor.c.dataset == dataset_id)).all()
    for position in positions:
        fits = _fits(connection, position.id)
        if not fits:
            continue
        if position.runcat is not None and position.runcat != fits[0].id:
            delete_sources(connection, [position.runcat])
        if position.runcat != fits[0].id:
            _found(connection, dataset_id, position, fits[0])
        linked = set(
            connection.execute(
                select(assocxtrsource.c.xtrsrc).where(assocxtrsource.c.runcat == fits[0].id)
            ).scalars()
        )
        new = [fit.id for fit in fits if fit.id not in linked]
        if not new:
            continue
        types = [LinkType.MONITOR_FIRST if i == fits[0].id else LinkType.MONITOR for i in new]
        insert_links(store, connection, [fits[0].id] * len(new), new, [int(t) for t in types])
        connection.execute(
            update(runningcatalog)
            .where(runningcatalog.c.id == fits[0].id)
            .values(datapoints=len(fits))
        )
        changed += 1
    return changed


def _fits(connection: Connection, monitor_id: int) -> list[Row[Any]]:
    """Measurements of a position in canonical order of their images."""
    query = (
        select(
            extractedsource,
            image.c.taustart_ts,
            image.c.freq_eff,
            image.c.stokes,
            image.c.file_name,
            image.c.content_sha256,
        )
        .join(forcedfit, forcedfit.c.xtrsrc == extractedsource.c.id)
        .join(image, image.c.id == extractedsource.c.image)
        .where(forcedfit.c.monitor == monitor_id, forcedfit.c.status == FITTED)
    )
    return sorted(
        connection.execute(query),
        key=lambda r: (r.taustart_ts, r.freq_eff, r.stokes, r.file_name, r.content_sha256),
    )


def _found(connection: Connection, dataset_id: int, position: Row[Any], first: Row[Any]) -> None:
    """Write the sky source of a position."""
    weight_ra, weight_dec = first.uncertainty_ew**-2, first.uncertainty_ns**-2
    connection.execute(
        insert(runningcatalog).values(
            id=first.id,
            xtrsrc=first.id,
            dataset=dataset_id,
            datapoints=1,
            zone=int(np.floor(first.decl)),
            wm_ra=first.ra,
            wm_decl=first.decl,
            wm_uncertainty_ew=first.uncertainty_ew,
            wm_uncertainty_ns=first.uncertainty_ns,
            avg_ra_err=first.ra_err,
            avg_decl_err=first.decl_err,
            avg_wra=weight_ra * first.ra,
            avg_wdecl=weight_dec * first.decl,
            avg_weight_ra=weight_ra,
            avg_weight_decl=weight_dec,
            x=first.x,
            y=first.y,
            z=first.z,
            mon_src=True,
            stokes=first.stokes,
            source_name=position.name[:40],
            founded_ts=first.taustart_ts,
        )
    )
    connection.execute(update(monitor).where(monitor.c.id == position.id).values(runcat=first.id))

"""Monitoring positions: measured in every image whether there is a source or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import Connection, Row, Select, func, insert, select, text, update

from trap_ops.records.runs import MonitorPosition
from trap_ops.records.sky import LinkType
from trap_ops.store.database import Store
from trap_ops.store.links import insert_links
from trap_ops.store.rows import insert_rows
from trap_ops.store.schema import (
    dataset,
    extractedsource,
    forcedfit,
    image,
    monitor,
    runningcatalog,
)
from trap_ops.store.sky_sources import delete_sources

# Said as the partial index of the table says it: SQLite takes it for no other wording.
_PENDING = text("forcedfit.pending")


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
    waiting = select(forcedfit.c.monitor).where(forcedfit.c.dataset == dataset_id, _PENDING)
    positions = connection.execute(
        select(monitor).where(monitor.c.id.in_(waiting.distinct())).order_by(monitor.c.id)
    ).all()
    for position in positions:
        source = position.runcat
        fits = _pending_fits(connection, position.id)
        if source is not None and _order(fits[0]) < _order(_founding(connection, source)):
            # All its fits wait again then.
            delete_sources(connection, [source])
            source, fits = None, _pending_fits(connection, position.id)
        number = len(fits)
        if source is None:
            source = fits[0].id
            _found(connection, dataset_id, position, fits[0])
        else:
            number += connection.execute(
                select(runningcatalog.c.datapoints).where(runningcatalog.c.id == source)
            ).scalar_one()
        new = [fit.id for fit in fits]
        types = [LinkType.MONITOR_FIRST if i == source else LinkType.MONITOR for i in new]
        insert_links(store, connection, [source] * len(new), new, [int(t) for t in types])
        connection.execute(
            update(runningcatalog).where(runningcatalog.c.id == source).values(datapoints=number)
        )
        connection.execute(
            update(forcedfit)
            .where(forcedfit.c.monitor == position.id, _PENDING)
            .values(pending=False)
        )
    return len(positions)


def _order(measured: Row[Any]) -> tuple[Any, ...]:
    """Canonical place of the image of a measurement."""
    return (
        measured.taustart_ts,
        measured.freq_eff,
        measured.stokes,
        measured.file_name,
        measured.content_sha256,
    )


def _measured() -> Select[Any]:
    return select(
        extractedsource,
        image.c.taustart_ts,
        image.c.freq_eff,
        image.c.stokes,
        image.c.file_name,
        image.c.content_sha256,
    ).join(image, image.c.id == extractedsource.c.image)


def _pending_fits(connection: Connection, monitor_id: int) -> list[Row[Any]]:
    """Measurements of a position that are in no light curve, in canonical order of their images."""
    query = (
        _measured()
        .join(forcedfit, forcedfit.c.xtrsrc == extractedsource.c.id)
        .where(forcedfit.c.monitor == monitor_id, _PENDING)
    )
    return sorted(connection.execute(query), key=_order)


def _founding(connection: Connection, source: int) -> Row[Any]:
    """Measurement that founded the sky source of a position."""
    return connection.execute(_measured().where(extractedsource.c.id == source)).one()


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

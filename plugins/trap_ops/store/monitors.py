"""Monitoring positions: measured in every image whether there is a source or not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sqlalchemy import Connection, Row, insert, select, update

from trap_ops.records.runs import MonitorPosition
from trap_ops.records.sky import FITTED, LinkType
from trap_ops.store.database import Store
from trap_ops.store.links import insert_links
from trap_ops.store.rows import insert_rows
from trap_ops.store.schema import (
    assocxtrsource,
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

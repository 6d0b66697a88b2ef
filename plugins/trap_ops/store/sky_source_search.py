"""Sky sources as people ask for them: by name, by id or by position, in all datasets or in one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import Connection, Row, Select, select

from trap_ops.records.arrays import Ids
from trap_ops.science.coordinates import separation, unit_vectors
from trap_ops.store.schema import dataset, extractedsource, image, monitor, runningcatalog


@dataclass(frozen=True)
class SkySource:
    """A sky source, or the light curve of a monitored position.

    Attributes
    ----------
    id : int
    name, dataset_name : str
    dataset : int
    ra_deg, dec_deg : float
        Mean position.
    sigma_ew_deg, sigma_ns_deg : float
        Its errors, as angles on the sky.
    detections : int
        Blind ones; of a monitored position fits.
    stokes : int
    monitored : bool
    founded : datetime
        Start of the time step in which it was founded or forked.
    parent : int or None
        Founding measurement of the source that it was forked from.
    distance_arcsec : float
        From the position that was asked for; NaN where none was.
    """

    id: int
    name: str
    dataset: int
    dataset_name: str
    ra_deg: float
    dec_deg: float
    sigma_ew_deg: float
    sigma_ns_deg: float
    detections: int
    stokes: int
    monitored: bool
    founded: datetime
    parent: int | None
    distance_arcsec: float = math.nan


@dataclass(frozen=True)
class Lineage:
    """Where a fork comes from: first detection of the source that was split, and its branches.

    Attributes
    ----------
    ra_deg, dec_deg : float
    image_name : str
    start : datetime
    branches : list of str
        Names of the other sources that came from it and stand.
    """

    ra_deg: float
    dec_deg: float
    image_name: str
    start: datetime
    branches: list[str]


def named(connection: Connection, name: str, dataset_id: int | None = None) -> list[SkySource]:
    """Sky sources and monitored positions of a name, by dataset."""
    return _found(connection, _query(dataset_id).where(runningcatalog.c.source_name == name))


def of_id(connection: Connection, number: int, dataset_id: int | None = None) -> list[SkySource]:
    """Return the sky source of an id, if there is one."""
    return _found(connection, _query(dataset_id).where(runningcatalog.c.id == number))


def branches_of(connection: Connection, number: int) -> list[SkySource]:
    """Sky sources that were forked from one which had this id."""
    return _found(connection, _query(None).where(runningcatalog.c.parent == number))


def all_of(connection: Connection, dataset_id: int) -> list[SkySource]:
    """All sky sources of a dataset, monitored positions last, in order of position."""
    found = _found(connection, _query(dataset_id))
    return sorted(found, key=lambda item: (item.monitored, item.dec_deg, item.ra_deg, item.id))


def near(
    connection: Connection,
    ra_deg: float,
    dec_deg: float,
    radius_deg: float,
    dataset_id: int | None = None,
) -> list[SkySource]:
    """Sky sources within a radius of a position, the nearest first, by dataset."""
    table = runningcatalog
    centre = unit_vectors(ra_deg, dec_deg).tolist()
    # A little more than the chord: the angles decide.
    chord = 2.0 * math.sin(math.radians(min(radius_deg, 180.0)) / 2.0) * (1.0 + 1e-6) + 1e-12
    apart = [table.c[axis] - value for axis, value in zip("xyz", centre, strict=True)]
    chord2 = sum((part * part for part in apart[1:]), start=apart[0] * apart[0])
    query = (
        _query(dataset_id)
        .where(table.c.wm_decl.between(dec_deg - radius_deg - 1e-9, dec_deg + radius_deg + 1e-9))
        .where(chord2 <= chord * chord)
    )
    found = _found(connection, query)
    if not found:
        return []
    distance = separation(
        np.array([item.ra_deg for item in found]),
        np.array([item.dec_deg for item in found]),
        ra_deg,
        dec_deg,
    )
    placed = [
        replace(item, distance_arcsec=3600.0 * apart_deg)
        for item, apart_deg in zip(found, distance.tolist(), strict=True)
        if apart_deg <= radius_deg
    ]
    return sorted(placed, key=lambda item: (item.dataset, item.distance_arcsec, item.id))


def unmeasured_monitors(
    connection: Connection, name: str, dataset_id: int | None = None
) -> list[str]:
    """Datasets with a monitored position of this name that has no measurement."""
    query = (
        select(dataset.c.description)
        .join(monitor, monitor.c.dataset == dataset.c.id)
        .where(monitor.c.name == name, monitor.c.runcat.is_(None))
    )
    if dataset_id is not None:
        query = query.where(dataset.c.id == dataset_id)
    return list(connection.execute(query.order_by(dataset.c.id)).scalars())


def lineage(connection: Connection, source: SkySource) -> Lineage | None:
    """Where a source comes from; None for one that is no fork."""
    if source.parent is None:
        return None
    row = connection.execute(
        select(
            extractedsource.c.ra,
            extractedsource.c.decl,
            image.c.file_name,
            image.c.taustart_ts,
        )
        .join(image, image.c.id == extractedsource.c.image)
        .where(extractedsource.c.id == source.parent)
    ).one()
    others = [item.name for item in branches_of(connection, source.parent) if item.id != source.id]
    return Lineage(row.ra, row.decl, row.file_name, row.taustart_ts, others)


def monitor_ids(connection: Connection, sources: Sequence[int] | Ids) -> dict[int, int]:
    """Sky source of each monitored position, of some sources, by the position's id."""
    wanted = {int(source) for source in sources}
    query = select(monitor.c.id, monitor.c.runcat).where(monitor.c.runcat.is_not(None))
    return {row.id: row.runcat for row in connection.execute(query) if row.runcat in wanted}


def _query(dataset_id: int | None) -> Select[Any]:
    table = runningcatalog
    query = select(table, dataset.c.description).join(dataset, dataset.c.id == table.c.dataset)
    if dataset_id is not None:
        query = query.where(table.c.dataset == dataset_id)
    return query.order_by(table.c.dataset, table.c.id)


def _found(connection: Connection, query: Select[Any]) -> list[SkySource]:
    return [_sky_source(row) for row in connection.execute(query)]


def _sky_source(row: Row[Any]) -> SkySource:
    return SkySource(
        id=row.id,
        name=row.source_name,
        dataset=row.dataset,
        dataset_name=row.description,
        ra_deg=row.wm_ra,
        dec_deg=row.wm_decl,
        sigma_ew_deg=row.wm_uncertainty_ew,
        sigma_ns_deg=row.wm_uncertainty_ns,
        detections=row.datapoints,
        stokes=row.stokes,
        monitored=row.mon_src,
        founded=row.founded_ts,
        parent=row.parent,
    )

"""Frequency bands and sky regions of a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, delete, select, update

from trap_ops.records.arrays import FloatArray
from trap_ops.records.images import Band, Region
from trap_ops.store.database import Store
from trap_ops.store.rows import floats, insert_rows, update_rows
from trap_ops.store.schema import frequencyband, image, skyregion


def load_bands(
    connection: Connection, dataset_id: int, *, in_use: bool = False
) -> tuple[list[int], list[Band]]:
    """Ids and bands of a dataset, in order of their first images.

    With ``in_use`` only those that an image has: a late image may leave some that none has any
    more, which stay until association begins anew (:func:`forget_introduced`).
    """
    query = select(frequencyband).where(frequencyband.c.dataset == dataset_id)
    if in_use:
        query = query.where(select(image.c.id).where(image.c.band == frequencyband.c.id).exists())
    rows = connection.execute(query.order_by(frequencyband.c.id)).all()
    return [row.id for row in rows], [
        Band(row.freq_central, row.freq_low, row.freq_high) for row in rows
    ]


def load_regions(
    connection: Connection, dataset_id: int, *, in_use: bool = False
) -> tuple[list[int], list[Region]]:
    """Ids and regions of a dataset, in order of their first images; ``in_use`` as for bands."""
    query = select(skyregion).where(skyregion.c.dataset == dataset_id)
    if in_use:
        query = query.where(select(image.c.id).where(image.c.skyrgn == skyregion.c.id).exists())
    rows = connection.execute(query.order_by(skyregion.c.id)).all()
    return [row.id for row in rows], [
        Region(row.centre_ra, row.centre_decl, row.xtr_radius) for row in rows
    ]


def save_bands(
    store: Store, connection: Connection, dataset_id: int, ids: list[int], bands: Sequence[Band]
) -> list[int]:
    """Write bands over those with these ids, and new ones beyond; return the ids of all."""
    new = store.allocate(connection, frequencyband, max(len(bands) - len(ids), 0))
    every = [*ids[: len(bands)], *(int(i) for i in new)]
    columns: dict[str, Any] = {
        "id": every,
        "freq_central": floats(band.central_hz for band in bands),
        "freq_low": floats(band.low_hz for band in bands),
        "freq_high": floats(band.high_hz for band in bands),
    }
    known = min(len(ids), len(bands))
    if known:
        first = {name: values[:known] for name, values in columns.items()}
        update_rows(connection, frequencyband, ["id"], first)
    rest = {name: values[known:] for name, values in columns.items()}
    insert_rows(connection, frequencyband, {**rest, "dataset": dataset_id})
    return every


def save_regions(
    store: Store,
    connection: Connection,
    dataset_id: int,
    ids: list[int],
    regions: Sequence[Region],
    vectors: FloatArray,
) -> list[int]:
    """Write regions over those with these ids, and new ones beyond; return the ids of all.

    ``vectors`` are the unit vectors of the centres, (n, 3).
    """
    new = store.allocate(connection, skyregion, max(len(regions) - len(ids), 0))
    every = [*ids[: len(regions)], *(int(i) for i in new)]
    columns: dict[str, Any] = {
        "id": every,
        "centre_ra": floats(region.ra_deg for region in regions),
        "centre_decl": floats(region.dec_deg for region in regions),
        "xtr_radius": floats(region.radius_deg for region in regions),
        "x": vectors[:, 0],
        "y": vectors[:, 1],
        "z": vectors[:, 2],
    }
    known = min(len(ids), len(regions))
    if known:
        first = {name: values[:known] for name, values in columns.items()}
        update_rows(connection, skyregion, ["id"], first)
    rest = {name: values[known:] for name, values in columns.items()}
    insert_rows(connection, skyregion, {**rest, "dataset": dataset_id})
    return every


def introduced_regions(connection: Connection, dataset_id: int) -> set[int]:
    """Ids of the regions whose first image association has gone through."""
    query = select(skyregion.c.id).where(skyregion.c.dataset == dataset_id, skyregion.c.introduced)
    return set(connection.execute(query).scalars())


def set_introduced(connection: Connection, ids: Sequence[int]) -> None:
    """Note that association has gone through the first image of these regions."""
    update_rows(connection, skyregion, ["id"], {"id": list(ids), "introduced": True})


def forget_introduced(connection: Connection, dataset_id: int) -> None:
    """Begin anew: no region is introduced. Bands and regions that no image has are deleted."""
    for table, column in ((frequencyband, image.c.band), (skyregion, image.c.skyrgn)):
        used = select(column).where(image.c.dataset == dataset_id)
        connection.execute(
            delete(table).where(table.c.dataset == dataset_id, table.c.id.not_in(used))
        )
    connection.execute(
        update(skyregion).where(skyregion.c.dataset == dataset_id).values(introduced=False)
    )

"""The canonical content of a dataset as one SHA-256 (DESIGN.md section 1).

Rows come in canonical order and name each other by natural keys, floats in full precision, so two
databases agree exactly if they hold the same results, however and wherever these were made. Left
out is what differs between runs with equal results: ids, runs, outcomes, configuration text, hosts,
seconds, wall-clock times and directories.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, Select, Table, select

from trap_ops.store.database import Store
from trap_ops.store.schema import (
    assocskyrgn,
    assocxtrsource,
    candidate,
    errormodel,
    extractedsource,
    forcedfit,
    frequencyband,
    image,
    monitor,
    newsource,
    qualitycheck,
    referenceflux,
    rejection,
    runningcatalog,
    runningcatalog_flux,
    skyregion,
    varmetric,
)

Key = tuple[Any, ...]
Keys = dict[int | None, Key]

# Columns that say nothing of the result, or that a natural key stands for.
_LEFT_OUT = frozenset(
    {
        *("id", "dataset", "node", "nodes", "url", "file_mtime_ns", "introduced", "pending"),
        *("image", "band", "skyrgn", "runcat", "xtrsrc", "parent", "origin", "monitor"),
        *("ff_runcat", "ff_monitor", "trigger_xtrsrc", "previous_limits_image", "first_image"),
        # an id; and a text that repeats numbers which count themselves
        *("newsource", "reasons"),
        # as wide as its history left it; the median itself does not depend on that
        *("median_window", "median_below"),
    }
)


def dataset_checksum(store: Store, dataset_id: int) -> str:
    """SHA-256 of a dataset.

    Over images, verdicts, bands, regions, memberships, detections, sky sources, their statistics
    and light curves, new sources, forced fits, monitors, candidates and error models. These last
    follow from the statistics, as V and eta do, and to the last bit: sums are in canonical order.
    """
    with store.read() as connection:
        return checksum_of_view(connection, dataset_id)


def checksum_of_view(connection: Connection, dataset_id: int) -> str:
    """SHA-256 of a dataset as a transaction sees it."""
    digest = hashlib.sha256()
    for name, rows in _tables(connection, dataset_id):
        digest.update(name.encode())
        for row in sorted(rows):
            digest.update(row)
    return digest.hexdigest()


def _tables(connection: Connection, dataset: int) -> Iterable[tuple[str, list[bytes]]]:
    """Name and encoded rows of every table that counts."""
    images = _image_keys(connection, dataset)
    bands = {
        row.id: (row.freq_low, row.freq_high)
        for row in connection.execute(
            select(frequencyband).where(frequencyband.c.dataset == dataset)
        )
    }
    regions = {
        row.id: (row.centre_ra, row.centre_decl, row.xtr_radius)
        for row in connection.execute(select(skyregion).where(skyregion.c.dataset == dataset))
    }
    monitors = {
        row.id: (row.ra, row.decl, row.name)
        for row in connection.execute(select(monitor).where(monitor.c.dataset == dataset))
    }
    measurements = _measurement_keys(connection, dataset, images)
    # A sky source is named after its founding measurement.
    in_dataset = select(runningcatalog.c.id).where(runningcatalog.c.dataset == dataset)
    sources: Keys = {row: measurements[row] for row in connection.execute(in_dataset).scalars()}
    keys: Mapping[str, Mapping[Any, Key]] = {
        "image": images,
        "previous_limits_image": images,
        "first_image": images,
        "band": bands,
        "skyrgn": regions,
        "monitor": monitors,
        "ff_monitor": monitors,
        "xtrsrc": measurements,
        "parent": measurements,
        "trigger_xtrsrc": measurements,
        "runcat": sources,
        "ff_runcat": sources,
    }
    of_dataset = {
        table: select(table).where(table.c.dataset == dataset)
        for table in (image, runningcatalog, forcedfit, candidate, errormodel)
    }
    of_image = {
        table: select(table)
        .join(image, image.c.id == table.c.image)
        .where(image.c.dataset == dataset)
        for table in (rejection, qualitycheck, extractedsource)
    }
    of_source = {
        table: select(table).where(table.c.runcat.in_(in_dataset))
        for table in (
            assocskyrgn,
            runningcatalog_flux,
            referenceflux,
            assocxtrsource,
            newsource,
            varmetric,
        )
    }
    for table, query in (of_dataset | of_image | of_source).items():
        yield table.name, _encoded(connection, table, query, keys)
    for name, natural in (("frequencyband", bands), ("skyregion", regions), ("monitor", monitors)):
        yield name, [_encode(key) for key in natural.values()]


def _encoded(
    connection: Connection,
    table: Table,
    query: Select[Any],
    keys: Mapping[str, Mapping[Any, Key]],
) -> list[bytes]:
    """Rows of a table: natural keys for links, then all columns that count, by name."""
    links: Sequence[Column[Any]] = [column for column in table.c if column.name in keys]
    values = sorted(
        (column for column in table.c if column.name not in _LEFT_OUT),
        key=lambda column: column.name,
    )
    links_of = [(column.name, keys[column.name]) for column in links]
    names = [column.name for column in values]
    encoded = []
    for row in connection.execute(query).mappings():
        natural = [key.get(row[name]) for name, key in links_of]
        encoded.append(_encode((natural, [row[name] for name in names])))
    return encoded


def _image_keys(connection: Connection, dataset: int) -> Keys:
    query = select(
        image.c.id,
        image.c.taustart_ts,
        image.c.freq_eff,
        image.c.stokes,
        image.c.file_name,
        image.c.content_sha256,
        image.c.header_sha256,
        image.c.plane,
    ).where(image.c.dataset == dataset)
    return {
        row.id: (
            row.taustart_ts,
            row.freq_eff,
            row.stokes,
            row.file_name,
            row.content_sha256 or row.header_sha256,
            row.plane,
        )
        for row in connection.execute(query)
    }


def _measurement_keys(connection: Connection, dataset: int, images: Keys) -> Keys:
    query = (
        select(
            extractedsource.c.id,
            extractedsource.c.image,
            extractedsource.c.extract_type,
            extractedsource.c.ra,
            extractedsource.c.decl,
        )
        .join(image, image.c.id == extractedsource.c.image)
        .where(image.c.dataset == dataset)
    )
    return {
        row.id: (images[row.image], row.extract_type, row.decl, row.ra)
        for row in connection.execute(query)
    }


def _encode(value: Any) -> bytes:  # noqa: ANN401 - any column value
    """Unambiguous bytes of a value; equal values give equal bytes on every database."""
    if value is None:
        return b"n"
    if isinstance(value, int):
        # A truth value is an integer too, and not equal to 0 or 1 here.
        return (b"t" if value else b"f") if isinstance(value, bool) else b"i%d;" % value
    if isinstance(value, float):
        # 0.0 and -0.0 are equal and are the same result.
        return b"d" + struct.pack(">d", value + 0.0)
    if isinstance(value, datetime):
        value = value.isoformat(timespec="microseconds")
    if isinstance(value, str):
        text = value.encode()
        return b"s%d:" % len(text) + text
    if isinstance(value, bytes | memoryview):
        return b"b%d:" % len(value) + bytes(value)
    if isinstance(value, tuple | list):
        return b"(" + b"".join(map(_encode, value)) + b")"
    msg = f"no canonical form of {type(value).__name__}"
    raise TypeError(msg)

"""Forced fits that are wanted, made or refused: table ``forcedfit``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sqlalchemy import Connection, delete, func, select, update

from trap_ops.records.arrays import FloatArray, Ids
from trap_ops.records.sky import FAILED, FITTED, ORPHAN, REQUESTED, FitKind, LinkType, Requests
from trap_ops.store.database import Store
from trap_ops.store.links import insert_links
from trap_ops.store.outcomes import DONE
from trap_ops.store.rows import (
    Values,
    fetch_columns,
    floats,
    id_list,
    insert_rows,
    integers,
    staged,
    update_rows,
)
from trap_ops.store.schema import extractedsource, forcedfit, monitor, outcome


def images_to_fit(connection: Connection, dataset_id: int) -> list[int]:
    """Ids of the images that have requests."""
    query = select(forcedfit.c.image).where(
        forcedfit.c.dataset == dataset_id, forcedfit.c.status == REQUESTED
    )
    return sorted(connection.execute(query.distinct()).scalars())


def load_requests(connection: Connection, image_id: int) -> Requests:
    """Fits that are wanted in an image and not made yet."""
    table = forcedfit
    query = select(table.c.origin, table.c.kind, table.c.ra, table.c.decl).where(
        table.c.image == image_id, table.c.status == REQUESTED
    )
    rows = fetch_columns(connection, query.order_by(table.c.id))
    origin, first = np.unique(integers(rows["origin"]), return_index=True)
    kind = integers(rows["kind"])[first]
    ra, dec = floats(rows["ra"])[first], floats(rows["decl"])[first]
    order = np.lexsort((ra, dec, kind))
    return Requests(origin[order], kind[order], ra[order], dec[order])


def save_fits(
    store: Store,
    connection: Connection,
    image_id: int,
    requests: Requests,
    measurement: Ids,
    reason: Sequence[str],
    upper_limit_jy: FloatArray,
) -> None:
    """Write what became of the requests of an image, and put the fits into the light curves.

    Parameters
    ----------
    measurement : numpy.ndarray of int, (n,)
        Id of the measurement of each request; -1 where the fit failed.
    reason : sequence of str, (n,)
        Why it failed; empty where it did not.
    upper_limit_jy : numpy.ndarray, (n,)
        NaN where the flux is significant or the fit failed.
    """
    fitted = measurement >= 0
    columns: dict[str, Any] = {
        "origin": requests.origin,
        "status": np.where(fitted, FITTED, FAILED).tolist(),
        "reason": list(reason),
        "upper_limit": upper_limit_jy,
        "xtrsrc": [int(m) if f else None for m, f in zip(measurement, fitted, strict=True)],
        "image": image_id,
    }
    update_rows(connection, forcedfit, ["origin", "image"], columns)
    _link_fits(store, connection, requests.origin[fitted], image_id)


def adopt_orphans(store: Store, connection: Connection, dataset_id: int, request_ids: Ids) -> None:
    """Give new requests what became of equal ones before the dataset was associated anew.

    A fit, or why there is none, serves again for the same image, kind and position, equal to the
    last bit.
    """
    orphans = fetch_columns(
        connection,
        select(forcedfit).where(forcedfit.c.dataset == dataset_id, forcedfit.c.status == ORPHAN),
    )
    if not orphans["id"]:
        return
    known = {
        key: row
        for row, key in enumerate(
            zip(orphans["image"], orphans["kind"], orphans["ra"], orphans["decl"], strict=True)
        )
    }
    with id_list(connection, forcedfit.c.id, request_ids) as new:
        rows = fetch_columns(
            connection,
            select(forcedfit)
            .join(new, new.c.id == forcedfit.c.id)
            .where(forcedfit.c.status == REQUESTED),
        )
    keys = zip(rows["image"], rows["kind"], rows["ra"], rows["decl"], strict=True)
    found = [(row, known[key]) for row, key in enumerate(keys) if key in known]
    if not found:
        return
    results = [orphans["xtrsrc"][orphan] for _, orphan in found]
    columns: dict[str, Values] = {
        "id": [rows["id"][row] for row, _ in found],
        "status": [FAILED if result is None else FITTED for result in results],
        "reason": [orphans["reason"][orphan] for _, orphan in found],
        "upper_limit": floats(orphans["upper_limit"][orphan] for _, orphan in found),
        "xtrsrc": results,
    }
    update_rows(connection, forcedfit, ["id"], columns)
    fitted = [row for (row, _), result in zip(found, results, strict=True) if result is not None]
    measurement = [result for result in results if result is not None]
    owners = [rows["runcat"][row] for row in fitted]
    types = [rows["link_type"][row] for row in fitted]
    insert_links(store, connection, owners, measurement, types)
    own = [i for i, kind in enumerate(types) if kind != LinkType.INHERITED]
    update_rows(
        connection,
        extractedsource,
        ["id"],
        {"id": [measurement[i] for i in own], "ff_runcat": [owners[i] for i in own]},
    )


def drop_orphans(connection: Connection, dataset_id: int) -> None:
    """Delete fits that are not wanted any more, and their measurements."""
    mine = (forcedfit.c.dataset == dataset_id) & (forcedfit.c.status == ORPHAN)
    made = select(forcedfit.c.xtrsrc).where(mine, forcedfit.c.xtrsrc.is_not(None))
    orphaned = list(connection.execute(made).scalars())
    connection.execute(delete(forcedfit).where(mine))
    if not orphaned:
        return
    with id_list(connection, extractedsource.c.id, orphaned) as ids:
        # One that an adopter, or another row of its fork, still has is kept.
        still = select(forcedfit.c.xtrsrc).where(forcedfit.c.xtrsrc.is_not(None))
        connection.execute(
            delete(extractedsource).where(
                extractedsource.c.id.in_(select(ids.c.id)), extractedsource.c.id.not_in(still)
            )
        )


def delete_requests(connection: Connection, image_ids: Sequence[int]) -> None:
    """Delete all requests in some images, those of monitors too. Their measurements stay."""
    with id_list(connection, forcedfit.c.image, image_ids) as images:
        connection.execute(delete(forcedfit).where(forcedfit.c.image.in_(select(images.c.id))))


def delete_monitor_fits(connection: Connection, image_ids: Sequence[int]) -> None:
    """Delete fits of monitoring positions in some images, and their measurements.

    The sky sources of the positions must be gone (:func:`trap_ops.store.sky_sources.wipe`).
    """
    with id_list(connection, forcedfit.c.image, image_ids) as images:
        mine = select(images.c.id)
        connection.execute(
            delete(forcedfit).where(forcedfit.c.monitor.is_not(None), forcedfit.c.image.in_(mine))
        )
        connection.execute(
            delete(extractedsource).where(
                extractedsource.c.extract_type == int(FitKind.MONITOR),
                extractedsource.c.image.in_(mine),
            )
        )


def request_monitors(
    store: Store, connection: Connection, dataset_id: int, image_ids: Sequence[int]
) -> None:
    """Ask for a fit of every monitoring position in each of these images that has none yet."""
    query = select(monitor.c.id, monitor.c.ra, monitor.c.decl).order_by(monitor.c.id)
    positions = fetch_columns(connection, query.where(monitor.c.dataset == dataset_id))
    _request(store, connection, dataset_id, positions, image_ids)


def request_new_monitors(store: Store, connection: Connection, dataset_id: int, stage: str) -> None:
    """Ask for a fit of monitoring positions that have none in all images that a stage has done.

    That is of positions added after the images: else each image brings its requests.
    """
    asked = select(forcedfit.c.id).where(forcedfit.c.monitor == monitor.c.id)
    query = select(monitor.c.id, monitor.c.ra, monitor.c.decl).order_by(monitor.c.id)
    positions = fetch_columns(
        connection, query.where(monitor.c.dataset == dataset_id, ~asked.exists())
    )
    if not positions["id"]:
        return
    done = select(outcome.c.image).where(
        outcome.c.dataset == dataset_id, outcome.c.stage == stage, outcome.c.result == DONE
    )
    image_ids = sorted(connection.execute(done).scalars())
    _request(store, connection, dataset_id, positions, image_ids)


def _request(
    store: Store,
    connection: Connection,
    dataset_id: int,
    positions: Mapping[str, Sequence[Any]],
    image_ids: Sequence[int],
) -> None:
    if not positions["id"] or not len(image_ids):
        return
    with id_list(connection, forcedfit.c.image, image_ids) as images:
        asked = (
            select(forcedfit.c.monitor, forcedfit.c.image)
            .join(images, images.c.id == forcedfit.c.image)
            .where(forcedfit.c.kind == int(FitKind.MONITOR))
        )
        known = {(row.monitor, row.image) for row in connection.execute(asked)}
    wanted = [
        (number, image_id)
        for image_id in image_ids
        for number, position in enumerate(positions["id"])
        if (position, image_id) not in known
    ]
    ids = store.allocate(connection, forcedfit, len(wanted))
    insert_rows(
        connection,
        forcedfit,
        {
            "id": ids,
            "dataset": dataset_id,
            "image": [image_id for _, image_id in wanted],
            "kind": int(FitKind.MONITOR),
            "monitor": [positions["id"][number] for number, _ in wanted],
            "origin": ids,
            "ra": [positions["ra"][number] for number, _ in wanted],
            "decl": [positions["decl"][number] for number, _ in wanted],
            "link_type": int(LinkType.MONITOR),
            "status": REQUESTED,
        },
    )


def owners(connection: Connection, image_id: int) -> Mapping[int, tuple[int | None, int | None]]:
    """Sky source or monitor of the pending requests of an image, by origin."""
    table = forcedfit
    query = select(table.c.origin, table.c.runcat, table.c.monitor, table.c.link_type).where(
        table.c.image == image_id, table.c.status == REQUESTED
    )
    found: dict[int, tuple[int | None, int | None]] = {}
    for row in connection.execute(query):
        # A fit that a fork's children share belongs to none of them (SCIENCE.md 5.6).
        inherited = row.link_type == LinkType.INHERITED
        found[row.origin] = (None if inherited else row.runcat, row.monitor)
    return found


def count_by_status(
    connection: Connection, image_ids: Sequence[int]
) -> dict[tuple[int, str, str], int]:
    """Return the number of requests in some images by kind, status and reason."""
    with id_list(connection, forcedfit.c.image, image_ids) as images:
        query = (
            select(forcedfit.c.kind, forcedfit.c.status, forcedfit.c.reason, func.count())
            .join(images, images.c.id == forcedfit.c.image)
            .group_by(forcedfit.c.kind, forcedfit.c.status, forcedfit.c.reason)
        )
        return {(kind, status, reason): n for kind, status, reason, n in connection.execute(query)}


def _link_fits(store: Store, connection: Connection, origins: Ids, image_id: int) -> None:
    """Put fits of sky sources into their light curves; those of monitors follow their founding."""
    table = forcedfit
    with staged(connection, [table.c.origin], {"origin": origins}) as made:
        query = (
            select(table.c.runcat, table.c.xtrsrc, table.c.link_type)
            .join(made, made.c.origin == table.c.origin)
            .where(table.c.image == image_id, table.c.runcat.is_not(None))
            .order_by(table.c.id)
        )
        rows = fetch_columns(connection, query)
        connection.execute(
            update(table)
            .where(table.c.image == image_id, table.c.monitor.is_not(None))
            .where(table.c.origin.in_(select(made.c.origin)))
            .values(pending=True)
        )
    insert_links(store, connection, rows["runcat"], rows["xtrsrc"], rows["link_type"])


def fail_requests(connection: Connection, image_id: int, reason: str, *, passing: bool) -> None:
    """Note why no pending request of an image can be measured.

    What may pass leaves them requested, so that the next run tries again.
    """
    connection.execute(
        update(forcedfit)
        .where(forcedfit.c.image == image_id, forcedfit.c.status == REQUESTED)
        .values(status=REQUESTED if passing else FAILED, reason=reason)
    )

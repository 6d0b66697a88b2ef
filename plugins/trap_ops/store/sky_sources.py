"""The running catalogue: sky sources, their links, and what association wants of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, delete, select, update

from trap_ops.records.sky import (
    FAILED,
    FITTED,
    NO_PARENT,
    ORPHAN,
    LinkRows,
    LinkType,
    MembershipRows,
    NewSourceRows,
    Positions,
    RequestRows,
    SkyChanges,
    SkySourceRows,
    step_number,
    step_start,
)
from trap_ops.store.database import Store
from trap_ops.store.forced_fits import adopt_orphans
from trap_ops.store.links import insert_links
from trap_ops.store.reference_fluxes import save_reference_fluxes
from trap_ops.store.rows import (
    Values,
    fetch_columns,
    floats,
    id_list,
    insert_rows,
    integers,
    update_rows,
)
from trap_ops.store.schema import (
    assocskyrgn,
    assocxtrsource,
    candidate,
    errormodel,
    extractedsource,
    forcedfit,
    image,
    monitor,
    newsource,
    referenceflux,
    runningcatalog,
    runningcatalog_flux,
    varmetric,
)

_POSITION_COLUMNS = {
    "n": "datapoints",
    "ra_deg": "wm_ra",
    "dec_deg": "wm_decl",
    "sigma_ew_deg": "wm_uncertainty_ew",
    "sigma_ns_deg": "wm_uncertainty_ns",
    "mean_ra_err_deg": "avg_ra_err",
    "mean_dec_err_deg": "avg_decl_err",
    "mean_wra": "avg_wra",
    "mean_wdec": "avg_wdecl",
    "mean_weight_ra": "avg_weight_ra",
    "mean_weight_dec": "avg_weight_decl",
}


def load_catalogue(connection: Connection, dataset_id: int) -> SkySourceRows:
    """Sky sources of a dataset, without monitoring positions, in canonical order."""
    table = runningcatalog
    query = (
        select(
            table.c.id,
            table.c.stokes,
            table.c.forcedfits_count,
            table.c.founded_ts,
            table.c.parent,
            table.c.source_name,
            table.c.x,
            table.c.y,
            table.c.z,
            *(table.c[name] for name in _POSITION_COLUMNS.values()),
            extractedsource.c.decl.label("founding_decl"),
            extractedsource.c.ra.label("founding_ra"),
            image.c.taustart_ts,
            image.c.freq_eff,
            image.c.stokes.label("image_stokes"),
            image.c.file_name,
            image.c.content_sha256,
        )
        .join(extractedsource, extractedsource.c.id == table.c.xtrsrc)
        .join(image, image.c.id == extractedsource.c.image)
        .where(table.c.dataset == dataset_id, table.c.mon_src.is_(False))
    )
    rows = fetch_columns(connection, query)
    keys = list(
        zip(
            rows["taustart_ts"],
            rows["freq_eff"],
            rows["image_stokes"],
            rows["file_name"],
            rows["content_sha256"],
            strict=True,
        )
    )
    rank = {key: number for number, key in enumerate(sorted(set(keys)))}
    order = np.lexsort((rows["founding_ra"], rows["founding_decl"], [rank[key] for key in keys]))
    positions: dict[str, Any] = {
        name: (integers if name == "n" else floats)(rows[column])[order]
        for name, column in _POSITION_COLUMNS.items()
    }
    return SkySourceRows(
        id=integers(rows["id"])[order],
        positions=Positions(**positions),
        vectors=np.stack([floats(rows[axis])[order] for axis in "xyz"], axis=1),
        stokes=integers(rows["stokes"])[order],
        attempts=integers(rows["forcedfits_count"])[order],
        founded=integers(step_number(start) for start in rows["founded_ts"])[order],
        parent=integers(NO_PARENT if parent is None else parent for parent in rows["parent"])[
            order
        ],
        name=[rows["source_name"][i] for i in order.tolist()],
    )


def load_memberships(connection: Connection, dataset_id: int) -> MembershipRows:
    """Which sky sources of a dataset should be visible in which regions."""
    query = (
        select(assocskyrgn.c.runcat, assocskyrgn.c.skyrgn, assocskyrgn.c.distance_deg)
        .join(runningcatalog, runningcatalog.c.id == assocskyrgn.c.runcat)
        .where(runningcatalog.c.dataset == dataset_id)
    )
    rows = fetch_columns(connection, query)
    return MembershipRows(
        integers(rows["runcat"]), integers(rows["skyrgn"]), floats(rows["distance_deg"])
    )


def save_changes(
    store: Store, connection: Connection, dataset_id: int, changes: SkyChanges
) -> None:
    """Write what association found.

    Sources that were forked leave the database with all their rows; each of their children takes
    over copies of these.
    """
    inherited = _load_inheritance(connection, changes.heirs)
    _save_sources(connection, dataset_id, changes.sources)
    _save_links(store, connection, changes.links, inherited["links"])
    _save_requests(store, connection, dataset_id, changes.requests, inherited["requests"])
    _save_new_sources(store, connection, changes.new_sources, inherited["new_sources"])
    members = changes.memberships
    insert_rows(
        connection,
        assocskyrgn,
        {
            "id": store.allocate(connection, assocskyrgn, len(members.source)),
            "runcat": members.source,
            "skyrgn": members.region,
            "distance_deg": members.distance_deg,
        },
    )
    save_reference_fluxes(connection, changes.references)
    delete_sources(connection, changes.removed)


def delete_sources(connection: Connection, ids: Sequence[int]) -> None:
    """Delete sky sources with all that belongs to them. Their measurements stay."""
    if not len(ids):
        return
    with id_list(connection, runningcatalog.c.id, ids) as gone:
        chosen = select(gone.c.id)
        connection.execute(
            update(extractedsource)
            .where(extractedsource.c.ff_runcat.in_(chosen))
            .values(ff_runcat=None)
        )
        # Their fits wait to be put into a light curve again.
        monitored = select(monitor.c.id).where(monitor.c.runcat.in_(chosen))
        connection.execute(
            update(forcedfit)
            .where(forcedfit.c.monitor.in_(monitored), forcedfit.c.status == FITTED)
            .values(pending=True)
        )
        connection.execute(update(monitor).where(monitor.c.runcat.in_(chosen)).values(runcat=None))
        for table in (
            candidate,
            varmetric,
            runningcatalog_flux,
            referenceflux,
            newsource,
            assocskyrgn,
            assocxtrsource,
            forcedfit,
        ):
            connection.execute(delete(table).where(table.c.runcat.in_(chosen)))
        connection.execute(delete(runningcatalog).where(runningcatalog.c.id.in_(chosen)))


def wipe(connection: Connection, dataset_id: int) -> None:
    """Delete all sky sources of a dataset, to associate anew from its stored detections.

    Forced fits that were made or failed stay as orphans until it is known whether they are wanted
    again.
    """
    query = select(runningcatalog.c.id).where(runningcatalog.c.dataset == dataset_id)
    ids = list(connection.execute(query).scalars())
    mine = forcedfit.c.dataset == dataset_id
    connection.execute(
        delete(forcedfit).where(
            mine, forcedfit.c.monitor.is_(None), forcedfit.c.status.not_in([FITTED, FAILED, ORPHAN])
        )
    )
    connection.execute(
        update(forcedfit)
        .where(mine, forcedfit.c.monitor.is_(None))
        .values(status=ORPHAN, runcat=None)
    )
    delete_sources(connection, ids)
    # What the scatter of these said; it holds bands that may go next.
    connection.execute(delete(errormodel).where(errormodel.c.dataset == dataset_id))


def _save_sources(connection: Connection, dataset_id: int, sources: SkySourceRows) -> None:
    """Insert sky sources that are not stored yet; update the others."""
    with id_list(connection, runningcatalog.c.id, sources.id) as changed:
        query = select(runningcatalog.c.id).join(changed, changed.c.id == runningcatalog.c.id)
        known = np.isin(sources.id, integers(connection.execute(query).scalars()))
    columns = _source_columns(sources)
    if known.any():
        stored = {name: values[known] for name, values in columns.items()}
        update_rows(connection, runningcatalog, ["id"], stored)
    new = np.flatnonzero(~known)
    insert_rows(
        connection,
        runningcatalog,
        {
            **{name: values[new] for name, values in columns.items()},
            "xtrsrc": sources.id[new],
            "dataset": dataset_id,
            "stokes": sources.stokes[new],
            "source_name": [sources.name[i] for i in new.tolist()],
            "parent": [None if p == NO_PARENT else p for p in sources.parent[new].tolist()],
            "founded_ts": [step_start(step) for step in sources.founded[new].tolist()],
        },
    )


def _source_columns(sources: SkySourceRows) -> dict[str, npt.NDArray[Any]]:
    """Columns that change with every detection."""
    columns: dict[str, npt.NDArray[Any]] = {"id": sources.id}
    for name, column in _POSITION_COLUMNS.items():
        columns[column] = getattr(sources.positions, name)
    columns["zone"] = np.floor(sources.positions.dec_deg).astype(np.int64)
    for axis, column in enumerate("xyz"):
        columns[column] = sources.vectors[:, axis]
    columns["forcedfits_count"] = sources.attempts
    return columns


def _load_inheritance(
    connection: Connection, heirs: Sequence[tuple[int, int]]
) -> dict[str, dict[str, list[Any]]]:
    """Stored rows of forked sources, once for each of their children."""
    parents = sorted({parent for _, parent in heirs})
    inherited = {}
    for name, table in (
        ("links", assocxtrsource),
        ("requests", forcedfit),
        ("new_sources", newsource),
    ):
        with id_list(connection, runningcatalog.c.id, parents) as wanted:
            # With a join SQLite goes through all rows in their order, to save sorting.
            query = select(table).where(table.c.runcat.in_(select(wanted.c.id)))
            rows = fetch_columns(connection, query.order_by(table.c.id))
        inherited[name] = _for_heirs(rows, heirs)
    return inherited


def _for_heirs(
    rows: dict[str, list[Any]], heirs: Sequence[tuple[int, int]]
) -> dict[str, list[Any]]:
    owned: dict[int, list[int]] = {}
    for number, owner in enumerate(rows["runcat"]):
        owned.setdefault(owner, []).append(number)
    pairs = [(row, heir) for heir, parent in heirs for row in owned.get(parent, [])]
    copies = {name: [values[row] for row, _ in pairs] for name, values in rows.items()}
    copies["runcat"] = [heir for _, heir in pairs]
    return copies


def _save_links(
    store: Store, connection: Connection, links: LinkRows, inherited: dict[str, list[Any]]
) -> None:
    insert_links(
        store,
        connection,
        links.source,
        links.measurement,
        links.type,
        links.distance_arcsec,
        links.r,
    )
    # A child's statistics are made from all its points: see stages/measure_variability.
    insert_rows(
        connection,
        assocxtrsource,
        {
            **inherited,
            "id": store.allocate(connection, assocxtrsource, len(inherited["id"])),
            "type": int(LinkType.INHERITED),
            "pending": True,
        },
    )


def _save_requests(
    store: Store,
    connection: Connection,
    dataset_id: int,
    requests: RequestRows,
    inherited: dict[str, list[Any]],
) -> None:
    ids = store.allocate(connection, forcedfit, len(requests.source))
    # Requests with one origin share one fit; they are named after the first of them.
    _, first, group = np.unique(requests.origin, return_index=True, return_inverse=True)
    rows: dict[str, Values] = {
        "id": ids,
        "dataset": dataset_id,
        "image": requests.image,
        "kind": requests.kind,
        "runcat": requests.source,
        "origin": ids[first][group],
        "ra": requests.ra_deg,
        "decl": requests.dec_deg,
        "link_type": requests.link_type,
        "status": requests.status.tolist(),
        "reason": requests.reason.tolist(),
    }
    insert_rows(connection, forcedfit, rows)
    adopt_orphans(store, connection, dataset_id, ids)
    insert_rows(
        connection,
        forcedfit,
        {
            **inherited,
            "id": store.allocate(connection, forcedfit, len(inherited["id"])),
            "link_type": int(LinkType.INHERITED),
        },
    )


def _save_new_sources(
    store: Store,
    connection: Connection,
    new_sources: NewSourceRows,
    inherited: dict[str, list[Any]],
) -> None:
    insert_rows(
        connection,
        newsource,
        {
            "id": store.allocate(connection, newsource, len(new_sources.source)),
            "runcat": new_sources.source,
            "trigger_xtrsrc": new_sources.trigger,
            "previous_limits_image": new_sources.previous_limits_image,
            "newsource_type": new_sources.kind,
        },
    )
    ids = store.allocate(connection, newsource, len(inherited["id"]))
    insert_rows(connection, newsource, {**inherited, "id": ids})

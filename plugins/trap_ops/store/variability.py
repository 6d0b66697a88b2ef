"""Flux statistics of light curves: tables ``runningcatalog_flux`` and ``varmetric``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, delete, func, select, text

from trap_ops.records.arrays import FloatArray, Ids
from trap_ops.records.light_curves import Curves, CurveShapes, FluxSums, Points
from trap_ops.store.curve_states import pack_memory, pack_window, unpack_memory, unpack_window
from trap_ops.store.database import Store
from trap_ops.store.rows import (
    Values,
    fetch_columns,
    floats,
    id_list,
    insert_rows,
    integers,
    times,
    update_rows,
)
from trap_ops.store.schema import (
    assocxtrsource,
    extractedsource,
    image,
    newsource,
    runningcatalog,
    runningcatalog_flux,
    varmetric,
)

_SUMS = {
    "mean": "mean_{}",
    "m2": "m2_{}",
    "sum_weight": "sumw_{}",
    "weighted_mean": "wmean_{}",
    "weighted_m2": "wm2_{}",
}


# Said as the partial index of the table says it: SQLite takes it for no other wording.
_PENDING = text("assocxtrsource.pending")


def pending_sources(connection: Connection, dataset_id: int) -> tuple[Ids, Ids]:
    """Ids of the sky sources with points that are not in the statistics, and their number each."""
    link = assocxtrsource
    query = (
        select(link.c.runcat, func.count().label("points"))
        .join(runningcatalog, runningcatalog.c.id == link.c.runcat)
        .where(runningcatalog.c.dataset == dataset_id, _PENDING)
        .group_by(link.c.runcat)
        .order_by(link.c.runcat)
    )
    rows = fetch_columns(connection, query)
    return integers(rows["runcat"]), integers(rows["points"])


def count_points(connection: Connection, sources: Ids) -> Ids:
    """Number of points of each of some sky sources, whose ids are in ascending order."""
    link = assocxtrsource
    with id_list(connection, link.c.runcat, sources) as wanted:
        query = (
            select(link.c.runcat, func.count().label("points"))
            # With a join SQLite goes through all sources in their order, to save sorting.
            .where(link.c.runcat.in_(select(wanted.c.id)))
            .group_by(link.c.runcat)
            .order_by(link.c.runcat)
        )
        return integers(fetch_columns(connection, query)["points"])


def load_points(connection: Connection, sources: Ids, *, pending_only: bool) -> Points:
    """Points of some light curves, in canonical order of their images."""
    link, measured = assocxtrsource, extractedsource
    with id_list(connection, link.c.runcat, sources) as wanted:
        query = (
            select(
                link.c.id,
                link.c.runcat,
                measured.c.extract_type,
                measured.c.f_int,
                measured.c.f_int_err,
                measured.c.f_peak,
                measured.c.f_peak_err,
                measured.c.image,
            )
            .join(wanted, wanted.c.id == link.c.runcat)
            .join(measured, measured.c.id == link.c.xtrsrc)
        )
        if pending_only:
            query = query.where(_PENDING)
        rows = fetch_columns(connection, query)
    images, index = np.unique(integers(rows["image"]), return_inverse=True)
    rank, band, stokes, start = _image_keys(connection, images)
    points = Points(
        link=integers(rows["id"]),
        source=integers(rows["runcat"]),
        band=band[index],
        stokes=stokes[index],
        kind=integers(rows["extract_type"]),
        start=start[index],
        flux_jy=floats(rows["f_int"]),
        flux_err_jy=floats(rows["f_int_err"]),
        peak_jy=floats(rows["f_peak"]),
        peak_err_jy=floats(rows["f_peak_err"]),
    )
    return points.take(np.lexsort((points.source, rank[index])))


def _image_keys(
    connection: Connection, images: Ids
) -> tuple[Ids, Ids, Ids, npt.NDArray[np.datetime64]]:
    """Canonical rank, band, Stokes and start of images, whose ids are in ascending order."""
    with id_list(connection, image.c.id, images) as wanted:
        query = (
            select(
                image.c.band,
                image.c.stokes,
                image.c.taustart_ts,
                image.c.freq_eff,
                image.c.file_name,
                image.c.content_sha256,
            )
            .join(wanted, wanted.c.id == image.c.id)
            .order_by(image.c.id)
        )
        rows = connection.execute(query).all()
    ordered = sorted(
        range(len(rows)),
        key=lambda i: (
            rows[i].taustart_ts,
            rows[i].freq_eff,
            rows[i].stokes,
            rows[i].file_name,
            rows[i].content_sha256,
        ),
    )
    rank = np.empty(len(rows), dtype=np.int64)
    rank[ordered] = np.arange(len(rows))
    return (
        rank,
        integers(row.band for row in rows),
        integers(row.stokes for row in rows),
        times(row.taustart_ts for row in rows),
    )


def load_curves(connection: Connection, sources: Sequence[int] | Ids) -> Curves:
    """Statistics of some sky sources as they are stored.

    What an earlier version stored has no states to continue: these come without points.
    """
    table = runningcatalog_flux
    with id_list(connection, table.c.runcat, sources) as wanted:
        query = select(table).join(wanted, wanted.c.id == table.c.runcat)
        rows = fetch_columns(
            connection, query.order_by(table.c.runcat, table.c.band, table.c.stokes)
        )

    def sums(count: str, kind: str, prefix: str = "") -> FluxSums:
        return FluxSums(
            count=integers(rows[count]),
            **{name: floats(rows[prefix + column.format(kind)]) for name, column in _SUMS.items()},
        )

    return Curves(
        source=integers(rows["runcat"]),
        band=integers(rows["band"]),
        stokes=integers(rows["stokes"]),
        flux=sums("f_datapoints", "int"),
        peak=sums("f_datapoints", "peak"),
        complete=sums("all_datapoints", "int", "all_"),
        last_start=times(rows["last_ts"]),
        last_jy=floats(rows["last_int"]),
        max_jy=floats(rows["max_int"]),
        median=unpack_window(rows["median_window"], rows["median_below"]),
        memory=unpack_memory(rows["memory"]),
    )


def save_curves(
    store: Store,
    connection: Connection,
    sources: Ids,
    curves: Curves,
    shapes: CurveShapes,
) -> None:
    """Write the statistics of some sky sources in place of what was stored of them."""
    table = runningcatalog_flux
    with id_list(connection, table.c.runcat, sources) as wanted:
        connection.execute(delete(table).where(table.c.runcat.in_(select(wanted.c.id))))
    columns: dict[str, Values] = {
        "id": store.allocate(connection, table, len(curves)),
        "runcat": curves.source,
        "band": curves.band,
        "stokes": curves.stokes,
        "f_datapoints": curves.flux.count,
        "all_datapoints": curves.complete.count,
        "last_ts": curves.last_start.astype(object).tolist(),
        "last_int": curves.last_jy,
        "max_int": curves.max_jy,
        "median_window": pack_window(curves.median),
        "median_below": curves.median.below,
        "memory": pack_memory(curves.memory),
        **vars(shapes),
    }
    for kind, sums in (("int", curves.flux), ("peak", curves.peak)):
        for name, column in _SUMS.items():
            columns[column.format(kind)] = getattr(sums, name)
        columns |= _classic_means(f"f_{kind}", sums)
    for name, column in _SUMS.items():
        columns["all_" + column.format("int")] = getattr(curves.complete, name)
    insert_rows(connection, table, columns)


def _classic_means(kind: str, sums: FluxSums) -> dict[str, Values]:
    """Return the classic columns: plain means of flux, its square, weight and weighted flux."""
    count = np.where(sums.count > 0, sums.count, np.nan)
    mean_weight = sums.sum_weight / count
    weighted_square = sums.weighted_m2 + sums.sum_weight * sums.weighted_mean**2
    return {
        f"avg_{kind}": np.where(sums.count > 0, sums.mean, np.nan),
        f"avg_{kind}_sq": sums.m2 / count + sums.mean**2,
        f"avg_{kind}_weight": mean_weight,
        f"avg_weighted_{kind}": mean_weight * sums.weighted_mean,
        f"avg_weighted_{kind}_sq": weighted_square / count,
    }


def save_running(
    connection: Connection, links: Ids, v: FloatArray, eta: FloatArray, count: Ids
) -> None:
    """Write the statistics after each point to its association row: the point is in them now."""
    update_rows(
        connection,
        assocxtrsource,
        ["id"],
        {"id": links, "v_int": v, "eta_int": eta, "f_datapoints": count, "pending": False},
    )


def new_source_significance(
    connection: Connection, sources: Sequence[int] | Ids
) -> dict[int, tuple[int, float, float]]:
    """Return id of the ``newsource`` row and flux over lowest and highest rms, by sky source."""
    with id_list(connection, newsource.c.runcat, sources) as wanted:
        query = (
            select(
                newsource.c.runcat,
                func.min(newsource.c.id).label("id"),
                func.min(extractedsource.c.f_int / image.c.rms_min).label("low"),
                func.min(extractedsource.c.f_int / image.c.rms_max).label("high"),
            )
            .join(wanted, wanted.c.id == newsource.c.runcat)
            .join(extractedsource, extractedsource.c.id == newsource.c.trigger_xtrsrc)
            .join(image, image.c.id == newsource.c.previous_limits_image)
            .group_by(newsource.c.runcat)
        )
        return {row.runcat: (row.id, row.low, row.high) for row in connection.execute(query)}


def save_metrics(
    store: Store, connection: Connection, sources: Ids, columns: dict[str, Values]
) -> None:
    """Write rows of ``varmetric`` in place of what was stored of these sky sources."""
    with id_list(connection, varmetric.c.runcat, sources) as wanted:
        connection.execute(delete(varmetric).where(varmetric.c.runcat.in_(select(wanted.c.id))))
    runcat = columns["runcat"]
    count = len(runcat) if isinstance(runcat, np.ndarray) else 0
    ids = store.allocate(connection, varmetric, count)
    insert_rows(connection, varmetric, {"id": ids, **columns})

"""Measurements in images: blind detections and forced fits, table ``extractedsource``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from sqlalchemy import Connection, delete, func, select

from trap_ops.records.arrays import Ids
from trap_ops.records.sources import Detections, Sources
from trap_ops.store.database import Store
from trap_ops.store.rows import Values, fetch_columns, floats, id_list, insert_rows, integers
from trap_ops.store.schema import extractedsource, image

BLIND = 0


def insert_sources(
    store: Store,
    connection: Connection,
    image_id: int,
    sources: Sources,
    extract_type: int,
    links: Mapping[str, Values] | None = None,
) -> Ids:
    """Write measurements of one image; return their ids.

    ``links`` gives the columns ``ff_runcat`` and ``ff_monitor`` of forced fits.
    """
    ids = store.allocate(connection, extractedsource, len(sources))
    columns: dict[str, Values] = {
        "id": ids,
        "image": image_id,
        "zone": np.floor(sources.dec_deg).astype(np.int64),
        "ra": sources.ra_deg,
        "decl": sources.dec_deg,
        "uncertainty_ew": sources.sigma_ew_deg,
        "uncertainty_ns": sources.sigma_ns_deg,
        "ra_err": sources.ra_err_deg,
        "decl_err": sources.dec_err_deg,
        "ra_fit_err": sources.ra_fit_err_deg,
        "decl_fit_err": sources.dec_fit_err_deg,
        "ew_sys_err": sources.ew_sys_err_arcsec,
        "ns_sys_err": sources.ns_sys_err_arcsec,
        "error_radius": sources.error_radius_arcsec,
        "x": sources.vectors[:, 0],
        "y": sources.vectors[:, 1],
        "z": sources.vectors[:, 2],
        "racosdecl": sources.ra_deg * np.cos(np.radians(sources.dec_deg)),
        "det_sigma": sources.snr,
        "semimajor": sources.semimajor_arcsec,
        "semiminor": sources.semiminor_arcsec,
        "pa": sources.pa_deg,
        "f_peak": sources.peak_jy,
        "f_peak_err": sources.peak_err_jy,
        "f_int": sources.flux_jy,
        "f_int_err": sources.flux_err_jy,
        "chisq": sources.chisq,
        "reduced_chisq": sources.reduced_chisq,
        "extract_type": extract_type,
        "fit_type": sources.fit_type,
        "rms": sources.rms_jy,
        "background": sources.background_jy,
        "x_px": sources.x_px,
        "y_px": sources.y_px,
        "resolved_sigma": sources.resolved_sigma,
        "flags": sources.flags,
        "deconv_semimajor": sources.deconvolved_semimajor_arcsec,
        "deconv_semiminor": sources.deconvolved_semiminor_arcsec,
        "deconv_pa": sources.deconvolved_pa_deg,
        "semimajor_err": sources.semimajor_err_arcsec,
        "semiminor_err": sources.semiminor_err_arcsec,
        "pa_err": sources.pa_err_deg,
        **(links or {}),
    }
    insert_rows(connection, extractedsource, columns)
    return ids


def delete_blind(connection: Connection, image_id: int) -> None:
    """Delete the blind detections of an image."""
    connection.execute(
        delete(extractedsource).where(
            extractedsource.c.image == image_id, extractedsource.c.extract_type == BLIND
        )
    )


def delete_measurements(connection: Connection, image_ids: Sequence[int]) -> None:
    """Delete all measurements in some images, blind and forced."""
    with id_list(connection, extractedsource.c.image, image_ids) as images:
        connection.execute(
            delete(extractedsource).where(extractedsource.c.image.in_(select(images.c.id)))
        )


def load_blind(connection: Connection, image_ids: Sequence[int]) -> dict[int, Detections]:
    """Blind detections of some images, in no order; images without any are in it too."""
    table = extractedsource
    with id_list(connection, table.c.image, image_ids) as wanted:
        query = (
            select(
                table.c.image,
                table.c.id,
                table.c.ra,
                table.c.decl,
                table.c.uncertainty_ew,
                table.c.uncertainty_ns,
                table.c.ra_err,
                table.c.decl_err,
                table.c.f_peak,
                table.c.f_int,
                table.c.f_int_err,
                table.c.flags,
            )
            .join(wanted, wanted.c.id == table.c.image)
            .where(table.c.extract_type == BLIND)
        )
        columns = fetch_columns(connection, query)
    of_image = integers(columns["image"])
    stored = Detections(
        id=integers(columns["id"]),
        ra_deg=floats(columns["ra"]),
        dec_deg=floats(columns["decl"]),
        sigma_ew_deg=floats(columns["uncertainty_ew"]),
        sigma_ns_deg=floats(columns["uncertainty_ns"]),
        ra_err_deg=floats(columns["ra_err"]),
        dec_err_deg=floats(columns["decl_err"]),
        peak_jy=floats(columns["f_peak"]),
        flux_jy=floats(columns["f_int"]),
        flux_err_jy=floats(columns["f_int_err"]),
        flags=integers(columns["flags"]),
    )
    order = np.argsort(of_image, kind="stable")
    bounds = np.searchsorted(of_image[order], [[i, i + 1] for i in image_ids])
    return {
        int(image_id): stored.take(order[first:last])
        for image_id, (first, last) in zip(image_ids, bounds.tolist(), strict=True)
    }


def count_blind(connection: Connection, ids: Sequence[int]) -> dict[int, int]:
    """Return the number of blind detections of those of some images that have any."""
    with id_list(connection, extractedsource.c.image, ids) as wanted:
        query = (
            select(extractedsource.c.image, func.count().label("number"))
            # With a join SQLite goes through all images in their order, to save sorting.
            .where(
                extractedsource.c.image.in_(select(wanted.c.id)),
                extractedsource.c.extract_type == BLIND,
            )
            .group_by(extractedsource.c.image)
        )
        return {row.image: row.number for row in connection.execute(query)}


def count_by_image(connection: Connection, dataset_id: int) -> dict[int, dict[int, int]]:
    """Return the number of measurements by image and ``extract_type``."""
    query = (
        select(
            extractedsource.c.image,
            extractedsource.c.extract_type,
            func.count().label("number"),
        )
        .join(image, image.c.id == extractedsource.c.image)
        .where(image.c.dataset == dataset_id)
        .group_by(extractedsource.c.image, extractedsource.c.extract_type)
    )
    counts: dict[int, dict[int, int]] = {}
    for row in connection.execute(query):
        counts.setdefault(row.image, {})[row.extract_type] = row.number
    return counts

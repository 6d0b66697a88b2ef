"""Points of candidates and their neighbours, with what is known of their measurement."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sqlalchemy import Connection, select

from trap_ops.records.arrays import Ids
from trap_ops.records.images import ImageRow
from trap_ops.records.light_curves import MeasuredPoints
from trap_ops.store.rows import fetch_columns, floats, id_list, integers
from trap_ops.store.schema import (
    assocxtrsource,
    extractedsource,
    newsource,
)


def load_measured_points(
    connection: Connection, sources: Sequence[int] | Ids, images: Sequence[ImageRow]
) -> MeasuredPoints:
    """Points of some light curves, backward fits included.

    Parameters
    ----------
    connection : sqlalchemy.Connection
    sources : sequence of int
    images : sequence of ImageRow
        Of the dataset, in canonical order.
    """
    link, measured = assocxtrsource, extractedsource
    with id_list(connection, link.c.runcat, sources) as wanted:
        query = (
            select(
                link.c.runcat,
                measured.c.image,
                measured.c.id,
                measured.c.extract_type,
                measured.c.flags,
                measured.c.f_int,
                measured.c.f_int_err,
                measured.c.x_px,
                measured.c.y_px,
                *(measured.c[axis] for axis in "xyz"),
            )
            .join(wanted, wanted.c.id == link.c.runcat)
            .join(measured, measured.c.id == link.c.xtrsrc)
        )
        rows = fetch_columns(connection, query)
    source = integers(rows["runcat"])
    places = {row.id: place for place, row in enumerate(images)}
    place = integers(places[image] for image in rows["image"])
    points = MeasuredPoints(
        source=source,
        band=integers(row.band for row in images)[place],
        stokes=integers(row.stokes for row in images)[place],
        image=place,
        measurement=integers(rows["id"]),
        kind=integers(rows["extract_type"]),
        flags=integers(rows["flags"]),
        flux_jy=floats(rows["f_int"]),
        flux_err_jy=floats(rows["f_int_err"]),
        x_px=floats(rows["x_px"]),
        y_px=floats(rows["y_px"]),
        vectors=np.stack([floats(rows[axis]) for axis in "xyz"], axis=1),
    )
    return points.take(np.lexsort((place, source)))


def first_detections_of_new(connection: Connection, sources: Sequence[int] | Ids) -> dict[int, int]:
    """Id of the detection that made sky sources new ones, of those among them that are new.

    Branches of a fork have one between them.
    """
    with id_list(connection, newsource.c.runcat, sources) as wanted:
        query = select(newsource.c.runcat, newsource.c.trigger_xtrsrc).join(
            wanted, wanted.c.id == newsource.c.runcat
        )
        return {row.runcat: row.trigger_xtrsrc for row in connection.execute(query)}

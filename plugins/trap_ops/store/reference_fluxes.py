"""Fluxes of sky sources by band, which images are compared with: table ``referenceflux``."""

from __future__ import annotations

from typing import Any

import numpy as np
from sqlalchemy import Connection, select

from trap_ops.records.sky import ReferenceFluxRows
from trap_ops.store.rows import fetch_columns, floats, insert_rows, integers, update_rows
from trap_ops.store.schema import referenceflux, runningcatalog

_KEYS = ("runcat", "band", "stokes")


def load_reference_fluxes(connection: Connection, dataset_id: int) -> ReferenceFluxRows:
    """Return the reference fluxes of a dataset."""
    query = (
        select(referenceflux)
        .join(runningcatalog, runningcatalog.c.id == referenceflux.c.runcat)
        .where(runningcatalog.c.dataset == dataset_id)
    )
    rows = fetch_columns(connection, query)
    return ReferenceFluxRows(
        source=integers(rows["runcat"]),
        band=integers(rows["band"]),
        stokes=integers(rows["stokes"]),
        number=integers(rows["datapoints"]),
        sum_weight=floats(rows["sumw_int"]),
        mean_jy=floats(rows["wmean_int"]),
        known=np.ones(len(rows["runcat"]), dtype=bool),
    )


def save_reference_fluxes(connection: Connection, rows: ReferenceFluxRows) -> None:
    """Update the rows that are known, insert the others."""
    columns: dict[str, Any] = {
        "runcat": rows.source,
        "band": rows.band,
        "stokes": rows.stokes,
        "datapoints": rows.number,
        "sumw_int": rows.sum_weight,
        "wmean_int": rows.mean_jy,
    }
    if rows.known.any():
        known = {name: values[rows.known] for name, values in columns.items()}
        update_rows(connection, referenceflux, _KEYS, known)
    new = {name: values[~rows.known] for name, values in columns.items()}
    insert_rows(connection, referenceflux, new)

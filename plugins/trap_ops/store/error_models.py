"""What the scatter of steady sources says of the errors: sums to fit, and table ``errormodel``."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from sqlalchemy import Connection, delete, exists, or_, select

from trap_ops.records.error_model import CurveScatter, ErrorModel
from trap_ops.store.rows import fetch_columns, floats, insert_rows, integers
from trap_ops.store.schema import (
    errormodel,
    frequencyband,
    newsource,
    runningcatalog,
    runningcatalog_flux,
)

# Band and Stokes.
Key = tuple[int, int]
# Columns that are fields of ErrorModel of the same name.
_NUMBERS = (
    *("systematic", "variable", "slope", "slope_err", "floor", "floor_err"),
    *("false_rate", "false_rate_low", "false_rate_high"),
)


def load_scatter(connection: Connection, dataset_id: int) -> dict[Key, CurveScatter]:
    """Chi-squared sums of sources that may be steady, by band and Stokes, backward fits included.

    In order of position, so that sums over them are the same on every database. Monitored positions
    are left out; so are new sources, and branches of forks, which share points: a band that has
    nothing else has light curves of none.
    """
    flux, source = runningcatalog_flux, runningcatalog
    new = exists(select(newsource.c.id).where(newsource.c.runcat == source.c.id))
    query = (
        select(
            flux.c.band,
            flux.c.stokes,
            flux.c.all_datapoints,
            flux.c.all_wm2_int,
            flux.c.all_sumw_int,
            flux.c.all_wmean_int,
            or_(source.c.parent.is_not(None), new).label("doubtful"),
        )
        .join(source, source.c.id == flux.c.runcat)
        .join(frequencyband, frequencyband.c.id == flux.c.band)
        .where(source.c.dataset == dataset_id, source.c.mon_src.is_(False))
        .order_by(
            frequencyband.c.freq_low,
            flux.c.stokes,
            source.c.wm_decl,
            source.c.wm_ra,
            source.c.source_name,
        )
    )
    rows = fetch_columns(connection, query)
    band, stokes = integers(rows["band"]), integers(rows["stokes"])
    certain = ~np.array(rows["doubtful"], dtype=bool)
    every = CurveScatter(
        count=integers(rows["all_datapoints"]),
        chi2=floats(rows["all_wm2_int"]),
        sum_weight=floats(rows["all_sumw_int"]),
        flux_jy=floats(rows["all_wmean_int"]),
    )
    keys = dict.fromkeys(zip(band.tolist(), stokes.tolist(), strict=True))
    found = {}
    for key in keys:
        chosen = (band == key[0]) & (stokes == key[1]) & certain
        found[key] = CurveScatter(**{name: value[chosen] for name, value in vars(every).items()})
    return found


def save_error_models(
    connection: Connection, dataset_id: int, models: Mapping[Key, ErrorModel]
) -> None:
    """Write the error models of a dataset in place of those it had."""
    connection.execute(delete(errormodel).where(errormodel.c.dataset == dataset_id))
    rows = list(models.values())
    insert_rows(
        connection,
        errormodel,
        {
            "dataset": [dataset_id] * len(rows),
            "band": [band for band, _ in models],
            "stokes": [stokes for _, stokes in models],
            "curves": integers(model.curves for model in rows),
            **{name: floats(getattr(model, name) for model in rows) for name in _NUMBERS},
        },
    )


def list_error_models(connection: Connection, dataset_id: int) -> dict[Key, ErrorModel]:
    """Error models of a dataset by band and Stokes, the lowest frequency first."""
    query = (
        select(errormodel)
        .join(frequencyband, frequencyband.c.id == errormodel.c.band)
        .where(errormodel.c.dataset == dataset_id)
        .order_by(frequencyband.c.freq_low, errormodel.c.stokes)
    )
    rows = fetch_columns(connection, query)
    numbers = {name: floats(rows[name]).tolist() for name in _NUMBERS}
    return {
        (band, stokes): ErrorModel(
            curves=curves, **{name: values[place] for name, values in numbers.items()}
        )
        for place, (band, stokes, curves) in enumerate(
            zip(rows["band"], rows["stokes"], rows["curves"], strict=True)
        )
    }

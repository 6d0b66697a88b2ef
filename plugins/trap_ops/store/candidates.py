"""Transient candidates: what they are chosen from, and the ranked list."""

from __future__ import annotations

from typing import Any

import numpy as np
from sqlalchemy import Connection, delete, func, select

from trap_ops.records.arrays import Ids
from trap_ops.records.light_curves import (
    CurveShapes,
    Detected,
    FluxSums,
    LightCurveSummary,
    NewSourceEvidence,
)
from trap_ops.records.sky import FitKind
from trap_ops.science.variability import eta, variation
from trap_ops.store.database import Store
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
    assocxtrsource,
    candidate,
    extractedsource,
    forcedfit,
    frequencyband,
    image,
    newsource,
    runningcatalog,
    runningcatalog_flux,
    varmetric,
)
from trap_ops.store.schema.sky import SHAPES

# In the order of FluxSums.
_SUMS = [
    "all_datapoints",
    *(f"all_{name}_int" for name in ("mean", "m2", "sumw", "wmean", "wm2")),
]


def note_rms_of_limits(connection: Connection, dataset_id: int) -> None:
    """Write the rms at each new source's position in its earlier image, from the backward fit."""
    query = (
        select(newsource.c.id, extractedsource.c.rms.label("previous_limits_rms"))
        .join(runningcatalog, runningcatalog.c.id == newsource.c.runcat)
        .join(
            forcedfit,
            (forcedfit.c.runcat == newsource.c.runcat)
            & (forcedfit.c.image == newsource.c.previous_limits_image)
            & (forcedfit.c.kind == int(FitKind.BACKWARD)),
        )
        .join(extractedsource, extractedsource.c.id == forcedfit.c.xtrsrc)
        .where(runningcatalog.c.dataset == dataset_id)
    )
    rows = fetch_columns(connection, query)
    if rows["id"]:
        update_rows(connection, newsource, ["id"], rows)


def load_summary(connection: Connection, dataset_id: int) -> LightCurveSummary:
    """Light curves of a dataset, without monitoring positions, in order of position."""
    new = (
        select(newsource.c.runcat, func.max(newsource.c.newsource_type).label("kind"))
        .group_by(newsource.c.runcat)
        .subquery()
    )
    flux, source = runningcatalog_flux, runningcatalog
    query = (
        select(
            flux.c.runcat,
            flux.c.band,
            flux.c.stokes,
            *(flux.c[name] for name in _SUMS),
            *(flux.c[name] for name in SHAPES),
            *(source.c[axis] for axis in "xyz"),
            source.c.datapoints,
            new.c.kind,
        )
        .join(source, source.c.id == flux.c.runcat)
        .join(frequencyband, frequencyband.c.id == flux.c.band)
        .outerjoin(new, new.c.runcat == flux.c.runcat)
        .where(source.c.dataset == dataset_id, source.c.mon_src.is_(False))
        .order_by(source.c.wm_decl, source.c.wm_ra, frequencyband.c.freq_low, flux.c.stokes)
    )
    rows = fetch_columns(connection, query)
    count = integers(rows[_SUMS[0]])
    sums = FluxSums(count, *(floats(rows[name]) for name in _SUMS[1:]))
    return LightCurveSummary(
        source=integers(rows["runcat"]),
        band=integers(rows["band"]),
        stokes=integers(rows["stokes"]),
        eta=eta(sums),
        v=variation(sums),
        count=count,
        shapes=CurveShapes(*(floats(rows[name]) for name in SHAPES)),
        flux_jy=sums.weighted_mean,
        vectors=np.stack([floats(rows[axis]) for axis in "xyz"], axis=1),
        new_source=integers(-1 if kind is None else kind for kind in rows["kind"]),
        detections=integers(rows["datapoints"]),
    )


def new_source_evidence(connection: Connection, dataset_id: int) -> dict[int, NewSourceEvidence]:
    """Why sources of a dataset count as new, by sky source."""
    query = (
        select(
            newsource.c.runcat,
            newsource.c.newsource_type,
            newsource.c.previous_limits_rms,
            extractedsource.c.f_peak,
            image.c.file_name,
            image.c.rms_min,
            image.c.rms_max,
            image.c.detection_thresh,
        )
        .join(runningcatalog, runningcatalog.c.id == newsource.c.runcat)
        .join(extractedsource, extractedsource.c.id == newsource.c.trigger_xtrsrc)
        .join(image, image.c.id == newsource.c.previous_limits_image)
        .where(runningcatalog.c.dataset == dataset_id)
    )
    return {
        row.runcat: NewSourceEvidence(
            kind=row.newsource_type,
            peak_jy=row.f_peak,
            low_jy=row.rms_min * row.detection_thresh,
            high_jy=row.rms_max * row.detection_thresh,
            image_name=row.file_name,
            rms_there_jy=float("nan")
            if row.previous_limits_rms is None
            else row.previous_limits_rms,
        )
        for row in connection.execute(query)
    }


def load_detected(connection: Connection, sources: Ids, blend_flag: int) -> Detected:
    """First detection and brightest peak of some sky sources, in the order given."""
    link = assocxtrsource
    with id_list(connection, link.c.runcat, sources) as wanted:
        query = (
            select(
                link.c.runcat,
                extractedsource.c.f_peak,
                extractedsource.c.flags,
                extractedsource.c.image,
                image.c.taustart_ts,
                image.c.freq_eff,
                image.c.stokes,
                image.c.file_name,
                image.c.content_sha256,
            )
            .join(extractedsource, extractedsource.c.id == link.c.xtrsrc)
            .join(image, image.c.id == extractedsource.c.image)
            # With a join SQLite begins with all blind detections.
            .where(link.c.runcat.in_(select(wanted.c.id)), extractedsource.c.extract_type == 0)
        )
        rows = connection.execute(query).all()
    found: dict[int, list[Any]] = {int(source): [] for source in sources}
    for row in rows:
        found[row.runcat].append(row)
    ordered = [
        sorted(
            curve,
            key=lambda r: (r.taustart_ts, r.freq_eff, r.stokes, r.file_name, r.content_sha256),
        )
        for curve in found.values()
    ]
    return Detected(
        first_image=integers(curve[0].image for curve in ordered),
        peak_jy=floats(max(row.f_peak for row in curve) for curve in ordered),
        detections=integers(len(curve) for curve in ordered),
        blended=integers(sum(bool(row.flags & blend_flag) for row in curve) for curve in ordered),
    )


def save_candidates(
    store: Store, connection: Connection, dataset_id: int, columns: dict[str, Values]
) -> None:
    """Write the candidates of a dataset in place of its earlier list."""
    connection.execute(delete(candidate).where(candidate.c.dataset == dataset_id))
    runcat = columns["runcat"]
    count = len(runcat) if isinstance(runcat, np.ndarray) else 0
    ids = store.allocate(connection, candidate, count)
    insert_rows(connection, candidate, {"id": ids, "dataset": dataset_id, **columns})


def list_candidates(connection: Connection, dataset_id: int) -> dict[str, list[Any]]:
    """Candidates of a dataset as columns, the best first."""
    query = (
        select(
            candidate.c.rank,
            candidate.c.runcat,
            candidate.c.kind,
            candidate.c.score,
            candidate.c.expected_false,
            candidate.c.reasons,
            candidate.c.veto,
            candidate.c.statistic,
            candidate.c.peak_jy,
            candidate.c.first_image,
            image.c.taustart_ts.label("first_seen"),
            image.c.file_name.label("first_file"),
            runningcatalog.c.source_name,
            runningcatalog.c.wm_ra,
            runningcatalog.c.wm_decl,
            runningcatalog.c.datapoints,
            varmetric.c.eta_int,
            varmetric.c.v_int,
            varmetric.c.p_value,
            varmetric.c.all_eta_int,
            varmetric.c.all_v_int,
            varmetric.c.all_p_value,
            varmetric.c.all_datapoints,
            varmetric.c.vs_max,
            varmetric.c.m_vs_max,
            varmetric.c.band,
        )
        .join(runningcatalog, runningcatalog.c.id == candidate.c.runcat)
        .join(image, image.c.id == candidate.c.first_image)
        .join(varmetric, varmetric.c.runcat == candidate.c.runcat)
        .where(candidate.c.dataset == dataset_id)
        .order_by(candidate.c.rank)
    )
    return fetch_columns(connection, query)

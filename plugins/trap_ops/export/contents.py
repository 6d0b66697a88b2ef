"""What a run report is about, as one consistent view of the results database."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from trap_ops.records.error_model import ErrorModel
from trap_ops.records.images import Band, Check, ImageRow
from trap_ops.records.runs import RunRecord
from trap_ops.store import (
    candidates,
    detections,
    error_models,
    forced_fits,
    images,
    outcomes,
    quality_checks,
    regions,
    runs,
)
from trap_ops.store.database import Store
from trap_ops.store.light_curves import (
    CurvePoints,
    Gap,
    load_gaps,
    load_light_curves,
    load_monitor_gaps,
)
from trap_ops.store.outcomes import RejectedUnit
from trap_ops.store.reports import (
    MonitorSummary,
    RunDetails,
    SkySourceSummary,
    image_notes,
    list_monitors,
    run_details,
    summarise_sky_sources,
)


@dataclass(frozen=True)
class Candidate:
    """A row of the ranked list; eta, V and the p-value with backward fits, None for one point."""

    rank: int
    source: int
    name: str
    kind: str
    ra_deg: float
    dec_deg: float
    peak_jy: float
    eta: float | None
    v: float | None
    p_value: float | None
    count: int
    expected_false: float
    first_seen: datetime
    first_file: str
    reasons: list[str]
    veto: str
    band: int


@dataclass(frozen=True)
class Contents:
    """All that a report shows, but pixels.

    Attributes
    ----------
    run : RunRecord
    details : RunDetails
    n_images : int
        In the dataset.
    images : dict of ImageRow
        Those that are listed, by id, in canonical order: all, or of a long dataset those that the
        run worked on. What follows is of these.
    every : dict of ImageRow
        With them those that the light curves need.
    notes : dict of str
        What was assumed of an image, by id.
    detected : dict of int
        Number of blind detections, by image.
    rejected : list of RejectedUnit
    checks : dict of list of Check
        By image.
    outcomes : dict of list
        Columns, a row a unit and stage.
    sources : SkySourceSummary
    error_models : dict of ErrorModel
        By band and Stokes.
    fits : dict of int
        Number of forced fits by kind, status and reason.
    candidates : list of Candidate
    monitors : list of MonitorSummary
    points : CurvePoints
        Of the candidates that are shown and of the monitoring positions.
    gaps, monitor_gaps : dict of list of Gap
        By sky source; by monitoring position.
    bands : dict of Band
        By id.
    stages : list of dict
        Times and counts, a row a batch.
    """

    run: RunRecord
    details: RunDetails
    n_images: int
    images: dict[int, ImageRow]
    every: dict[int, ImageRow]
    notes: dict[int, str]
    detected: dict[int, int]
    rejected: list[RejectedUnit]
    checks: dict[int, list[Check]]
    outcomes: dict[str, list[Any]]
    sources: SkySourceSummary
    error_models: dict[tuple[int, int], ErrorModel]
    fits: dict[tuple[int, str, str], int]
    candidates: list[Candidate]
    monitors: list[MonitorSummary]
    points: CurvePoints
    gaps: dict[int, list[Gap]]
    monitor_gaps: dict[int, list[Gap]]
    bands: dict[int, Band]
    stages: list[dict[str, Any]]

    @property
    def shown(self) -> list[Candidate]:
        """Candidates with a light curve and cut-outs."""
        return self.candidates[: self.run.configuration.report.max_candidates]


def load_contents(store: Store, run: RunRecord) -> Contents:
    """Read what the report of a run shows of its dataset."""
    with store.read() as connection:
        return _load(connection, run)


def _load(connection: Connection, run: RunRecord) -> Contents:
    dataset = run.dataset
    ranked = _candidates(connection, dataset)
    shown = [item.source for item in ranked[: run.configuration.report.max_candidates]]
    monitors = list_monitors(connection, dataset)
    monitored = [item.source for item in monitors if item.source is not None]
    band_ids, bands = regions.load_bands(connection, dataset)
    n_images = images.count_images(connection, dataset)
    of_run = None
    if n_images > run.configuration.report.max_images:
        of_run = run.id
        listed = images.images_by_id(connection, outcomes.images_of_run(connection, run.id))
    else:
        listed = images.images_of(connection, dataset)
    ids = [row.id for row in listed]
    with_curves = n_images > len(listed) and bool(shown or monitors)
    every = images.images_of(connection, dataset) if with_curves else listed
    return Contents(
        run=run,
        details=run_details(connection, run.id),
        n_images=n_images,
        images={row.id: row for row in listed},
        every={row.id: row for row in every},
        notes=image_notes(connection, ids),
        detected=detections.count_blind(connection, ids),
        rejected=outcomes.rejected_units(connection, dataset, of_run),
        checks=quality_checks.checks_of(connection, ids),
        outcomes=outcomes.all_outcomes(connection, dataset, ids),
        sources=summarise_sky_sources(connection, dataset),
        fits=forced_fits.count_by_status(connection, ids),
        error_models=error_models.list_error_models(connection, dataset),
        candidates=ranked,
        monitors=monitors,
        points=load_light_curves(connection, [*shown, *monitored]),
        gaps=_by_owner(load_gaps(connection, shown)),
        monitor_gaps=_by_owner(load_monitor_gaps(connection, dataset)) if monitors else {},
        bands=dict(zip(band_ids, bands, strict=True)),
        stages=runs.stage_times(connection, run.id),
    )


def _candidates(connection: Connection, dataset: int) -> list[Candidate]:
    columns = candidates.list_candidates(connection, dataset)
    return [
        Candidate(
            rank=row["rank"],
            source=row["runcat"],
            name=row["source_name"],
            kind=row["kind"],
            ra_deg=row["wm_ra"],
            dec_deg=row["wm_decl"],
            peak_jy=row["peak_jy"],
            eta=row["all_eta_int"],
            v=row["all_v_int"],
            p_value=row["all_p_value"],
            count=row["all_datapoints"],
            expected_false=row["expected_false"],
            first_seen=row["first_seen"],
            first_file=row["first_file"],
            reasons=json.loads(row["reasons"]),
            veto=row["veto"],
            band=row["band"],
        )
        for row in (
            dict(zip(columns, values, strict=True))
            for values in zip(*columns.values(), strict=True)
        )
    ]


def _by_owner(gaps: list[Gap]) -> dict[int, list[Gap]]:
    found: dict[int, list[Gap]] = {}
    for gap in gaps:
        found.setdefault(gap.owner, []).append(gap)
    return found

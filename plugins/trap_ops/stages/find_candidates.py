"""Rank the sky sources that stand out of a steady sky, with reasons in words and numbers."""

from __future__ import annotations

import json
import logging
import math

import numpy as np
from sqlalchemy import Connection

from trap_ops.records.arrays import IntArray
from trap_ops.records.light_curves import Detected, LightCurveSummary
from trap_ops.records.runs import StageReport
from trap_ops.records.sources import Flag
from trap_ops.science.candidate_kinds import CandidateKind
from trap_ops.science.candidates import STATISTICS, Candidates, find
from trap_ops.stages.candidate_reasons import reasons
from trap_ops.stages.candidate_vetoes import Examined, Scene, examine
from trap_ops.stages.context import StageContext, stage
from trap_ops.stages.error_models import fit_error_models
from trap_ops.store import candidates, images

logger = logging.getLogger(__name__)

STAGE = "find_candidates"
_COUNTED = {
    CandidateKind.NEW_SOURCE: "new sources",
    CandidateKind.VANISHED: "vanished",
    CandidateKind.FADING: "fading",
    CandidateKind.FLARE: "flares",
    CandidateKind.VARIABLE: "variables",
}


def find_candidates(context: StageContext) -> StageReport:
    """Write the ranked candidates of the dataset in place of its earlier list.

    Their chances hold if errors do, so what the steady sources say of these is written with them.
    """
    settings = context.run.configuration.candidates
    dataset = context.run.dataset
    with stage(context, STAGE) as timer:
        with context.store.write() as connection:
            fit_error_models(context, connection, timer)
            candidates.note_rms_of_limits(connection, dataset)
            summary = candidates.load_summary(connection, dataset)
            beams = size_in_beams(connection, dataset)
            found = find(
                summary,
                settings.max_expected_false,
                settings.min_v,
                beams,
                settings.error_uncertainty,
            )
            scene = _load_scene(connection, context, summary, found)
            detected = _load_detected(connection, summary, found)
            places = {row.id: place for place, row in enumerate(scene.images)}
            first = np.array([places[i] for i in detected.first_image.tolist()], dtype=np.int64)
            examined = examine(connection, scene, found, first)
            evidence = candidates.new_source_evidence(connection, dataset)
            why = [
                reasons(i, summary, found, item, detected, evidence, scene.images)
                for i, item in enumerate(examined)
            ]
            # What may be an artefact stands behind all that has no such excuse.
            order = np.argsort(
                np.array([bool(item.vetoes) for item in examined], dtype=bool), kind="stable"
            )
            _save(context, connection, summary, found, detected, examined, why, order)
        kinds = [item.kind for item in examined if not item.vetoes]
        timer.count("light curves", len(summary.source))
        for kind, name in _COUNTED.items():
            timer.count(name, kinds.count(kind))
        timer.count("possible artefacts", len(examined) - len(kinds))
    return timer.report()


def _load_scene(
    connection: Connection, context: StageContext, summary: LightCurveSummary, found: Candidates
) -> Scene:
    dataset, configuration = context.run.dataset, context.run.configuration
    return Scene(
        settings=configuration.candidates,
        margin_px=float(configuration.extraction.margin_px),
        systematic_flux_error=configuration.variability.systematic_flux_error,
        summary=summary,
        images=images.images_of(connection, dataset) if len(found.item) else [],
    )


def size_in_beams(connection: Connection, dataset: int) -> float:
    """Size of all images in use of a dataset, in solid angles of their beams."""
    shapes = images.shapes_of(connection, dataset)
    beam = np.pi / np.log(2.0) * shapes["semimajor_deg"] * shapes["semiminor_deg"]
    pixel = np.abs(shapes["deltax_deg"] * shapes["deltay_deg"])
    sizes = shapes["number"] * shapes["nx"] * shapes["ny"] * pixel / beam
    # The same in whatever order the images come.
    return math.fsum(sizes.tolist())


def _load_detected(
    connection: Connection, summary: LightCurveSummary, found: Candidates
) -> Detected:
    return candidates.load_detected(connection, summary.source[found.item], Flag.BLEND)


def _save(
    context: StageContext,
    connection: Connection,
    summary: LightCurveSummary,
    found: Candidates,
    detected: Detected,
    examined: list[Examined],
    why: list[list[str]],
    order: IntArray,
) -> None:
    ranked, items = order.tolist(), found.item[order]
    statistics = found.statistic[order].tolist()
    candidates.save_candidates(
        context.store,
        connection,
        context.run.dataset,
        {
            "runcat": summary.source[items],
            "rank": np.arange(1, len(ranked) + 1),
            "kind": [str(examined[i].kind) for i in ranked],
            "score": found.score[order],
            "expected_false": found.expected_false[order],
            "reasons": [json.dumps(why[i]) for i in ranked],
            "first_image": detected.first_image[order],
            "peak_jy": detected.peak_jy[order],
            "veto": [" ".join(sorted(map(str, examined[i].vetoes))) for i in ranked],
            "statistic": ["" if s < 0 else str(STATISTICS[s]) for s in statistics],
            "band": summary.band[items],
            "stokes": summary.stokes[items],
        },
    )

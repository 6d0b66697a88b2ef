"""Rank the sky sources that stand out of a steady sky, with reasons in words and numbers."""

from __future__ import annotations

import json
import logging

import numpy as np

from trap_ops.records.light_curves import Detected, LightCurveSummary, NewSourceEvidence
from trap_ops.records.runs import StageReport
from trap_ops.records.sources import Flag
from trap_ops.science.candidates import CandidateKind, Candidates, find
from trap_ops.stages.context import StageContext, stage
from trap_ops.store import candidates

logger = logging.getLogger(__name__)

STAGE = "find_candidates"


def find_candidates(context: StageContext) -> StageReport:
    """Write the ranked candidates of the dataset in place of its earlier list."""
    settings = context.run.configuration.candidates
    dataset = context.run.dataset
    with stage(context, STAGE) as timer:
        with context.store.write() as connection:
            candidates.note_rms_of_limits(connection, dataset)
            summary = candidates.load_summary(connection, dataset)
            evidence = candidates.new_source_evidence(connection, dataset)
            found = find(summary, settings.max_expected_false, settings.min_v)
            sources = summary.source[found.item]
            detected = candidates.load_detected(connection, sources, Flag.BLEND)
            candidates.save_candidates(
                context.store,
                connection,
                dataset,
                {
                    "runcat": sources,
                    "rank": np.arange(1, len(sources) + 1),
                    "kind": [str(kind) for kind in found.kind],
                    "score": found.score,
                    "expected_false": found.expected_false,
                    "reasons": [
                        json.dumps(_reasons(i, summary, found, detected, evidence))
                        for i in range(len(sources))
                    ],
                    "first_image": detected.first_image,
                    "peak_jy": detected.peak_jy,
                },
            )
        timer.count("light curves", len(summary.source))
        timer.count("new sources", found.kind.count(CandidateKind.NEW_SOURCE))
        timer.count("variables", found.kind.count(CandidateKind.VARIABLE))
    return timer.report()


def _reasons(
    number: int,
    summary: LightCurveSummary,
    found: Candidates,
    detected: Detected,
    evidence: dict[int, NewSourceEvidence],
) -> list[str]:
    """Why this candidate stands where it stands."""
    item = int(found.item[number])
    source = int(summary.source[item])
    reasons = []
    if source in evidence:
        reasons.append(_new_source_reason(evidence[source]))
    if summary.count[item] > 1:
        reasons.append(
            f"eta {summary.eta[item]:.3g} over {summary.count[item]} points, V "
            f"{summary.v[item]:.3g}: of {len(summary.source)} steady sources "
            f"{_how_many(found.expected_false[number])} would vary as much by chance"
        )
    if detected.blended[number]:
        reasons.append(
            f"blended with a neighbour in {detected.blended[number]} of "
            f"{detected.detections[number]} detections: part of the variation may be its light"
        )
    return reasons


def _new_source_reason(evidence: NewSourceEvidence) -> str:
    certainty = "likely new" if evidence.kind == 1 else "possibly new"
    text = (
        f"{certainty}: first seen at {evidence.peak_jy:.4g} Jy/beam; {evidence.image_name} would "
        f"have shown {evidence.low_jy:.3g} to {evidence.high_jy:.3g} Jy/beam"
    )
    if np.isfinite(evidence.rms_there_jy):
        text += f", its rms there is {evidence.rms_there_jy:.3g}"
    return text


def _how_many(expected: float) -> str:
    return f"{expected:.1e}" if expected >= 1e-99 else "fewer than 1e-99"

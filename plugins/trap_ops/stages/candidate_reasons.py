"""Why a candidate stands where it stands, in words and numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trap_ops.records.images import ImageRow
from trap_ops.records.light_curves import Detected, LightCurveSummary, NewSourceEvidence
from trap_ops.science.candidate_kinds import CandidateKind
from trap_ops.science.candidates import STATISTICS, Candidates, Statistic
from trap_ops.stages.candidate_vetoes import Examined


def reasons(
    number: int,
    summary: LightCurveSummary,
    found: Candidates,
    examined: Examined,
    detected: Detected,
    evidence: dict[int, NewSourceEvidence],
    images: Sequence[ImageRow],
) -> list[str]:
    """Sentences about one candidate, the most important ones first.

    Parameters
    ----------
    number : int
        Of the candidate.
    summary, found, examined, detected, evidence
        What is known of it.
    images : sequence of ImageRow
        Of the dataset, in canonical order.
    """
    item = int(found.item[number])
    source = int(summary.source[item])
    sentences = [f"may be an artefact ({veto}): {why}" for veto, why in examined.vetoes.items()]
    if source in evidence:
        sentences.append(_new_source(evidence[source]))
    if summary.count[item] > 1:
        sentences += _shape(examined, images)
        sentences.append(_chance(number, summary, found))
        sentences.append(_two_epochs(summary, item))
    if detected.blended[number]:
        sentences.append(
            f"blended with a neighbour in {detected.blended[number]} of "
            f"{detected.detections[number]} detections: part of the variation may be its light"
        )
    return sentences


def _new_source(evidence: NewSourceEvidence) -> str:
    certainty = "likely new" if evidence.kind == 1 else "possibly new"
    text = (
        f"{certainty}: first seen at {evidence.peak_jy:.4g} Jy/beam; {evidence.image_name} would "
        f"have shown {evidence.low_jy:.3g} to {evidence.high_jy:.3g} Jy/beam"
    )
    if np.isfinite(evidence.rms_there_jy):
        text += f", its rms there is {evidence.rms_there_jy:.3g}"
    return text


def _shape(examined: Examined, images: Sequence[ImageRow]) -> list[str]:
    """What the light curve looks like."""
    before, sigma = images[examined.before_drop].file_name, f"{examined.drop_sigma:.3g} sigma"
    if examined.kind is CandidateKind.VANISHED:
        return [f"vanished: there from the start to {before}, and nothing after it ({sigma})"]
    if examined.kind is CandidateKind.FADING:
        text = f"brighter up to {before} than after it by {sigma}, and never rises by more than"
        return [f"fading: there from the start, {text} noise"]
    if examined.kind is CandidateKind.FLARE:
        first, last = (images[place].file_name for place in examined.run)
        above = f"{examined.run_sigma:.3g} sigma above all others, which are steady"
        if examined.n_run == 1:
            return [f"flare: the point in {first} is {above}"]
        return [f"flare: {examined.n_run} points, {first} to {last}, are {above}"]
    return []


def _chance(number: int, summary: LightCurveSummary, found: Candidates) -> str:
    item = int(found.item[number])
    shapes = summary.shapes
    statistic = STATISTICS[found.statistic[number]]
    text = f"eta {summary.eta[item]:.3g} over {summary.count[item]} points, V {summary.v[item]:.3g}"
    step = f"; it differs by {shapes.step_sigma[item]:.3g} sigma before and after a time"
    text += {
        Statistic.ETA: "",
        Statistic.POINT: f"; one point is {shapes.point_sigma[item]:.3g} sigma off all others",
        Statistic.RUN: f"; a run of points is {shapes.run_sigma[item]:.3g} sigma off all others",
        Statistic.STEP: step,
    }[statistic]
    return (
        f"{text}: of {len(summary.source)} steady light curves "
        f"{_how_many(found.expected_false[number])} would vary as much by chance"
    )


def _two_epochs(summary: LightCurveSummary, item: int) -> str:
    text = f"largest change between two epochs: Vs {summary.shapes.vs_max[item]:.3g}"
    m = summary.shapes.m_vs_max[item]
    return f"{text}, m {m:.3g}" if np.isfinite(m) else text


def _how_many(expected: float) -> str:
    return f"{expected:.1e}" if expected >= 1e-99 else "fewer than 1e-99"

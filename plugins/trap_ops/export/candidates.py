"""Candidates as the page shows them: a row of the table, a light curve, three cut-outs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trap_ops.export import wording
from trap_ops.export.contents import Candidate, Contents
from trap_ops.export.cutouts import Cutout, CutoutRequest, cut_out_all
from trap_ops.export.light_curves import BLIND, CurveView, measured_in, view_light_curve
from trap_ops.images.access import LOCAL_ONLY, Access
from trap_ops.records.images import ImageRow
from trap_ops.science.candidate_kinds import CandidateKind
from trap_ops.science.coordinates import separation
from trap_ops.store.light_curves import CurvePoints
from trap_ops.store.outcomes import ACCEPTED

_BEFORE, _AT, _AFTER = "before", "at its brightest", "after"


@dataclass(frozen=True)
class Stamp:
    """One of the three cut-outs with what stands below it; file and time are empty for no image."""

    slot: str
    cutout: Cutout
    file_name: str = ""
    time: str = ""
    measured: str = ""


@dataclass(frozen=True)
class CandidateView:
    """A candidate in words.

    ``band`` is that of eta, V and the p-value, empty where there is one only; ``curve`` is None for
    candidates that stand in the table and no more.
    """

    anchor: str
    rank: int
    name: str
    kind: str
    css: str
    ra: str
    dec: str
    ra_deg: str
    dec_deg: str
    peak: str
    eta: str
    v: str
    p_value: str
    band: str
    expected_false: str
    first_seen: str
    first_file: str
    reasons: list[str]
    veto: str
    curve: CurveView | None = None
    stamps: Sequence[Stamp] = ()
    grey: str = ""


def kind_class(kind: str) -> str:
    """CSS class of a kind of candidate, which gives its colour."""
    return "new" if kind == CandidateKind.NEW_SOURCE else "variable"


def anchor(candidate: Candidate) -> str:
    """Id of the candidate's part of the page."""
    return f"candidate-{candidate.rank}"


def view_candidates(
    contents: Contents, access: Access = LOCAL_ONLY
) -> tuple[str, list[CandidateView]]:
    """Return the unit of the peaks, and the candidates from the best to the worst."""
    unit, factor = wording.flux_unit(item.peak_jy for item in contents.candidates)
    brightest = {item.rank: _brightest(contents, item) for item in contents.shown}
    chosen = _choose_images(contents, brightest)
    requests = {
        (row.id, item.rank): _request(contents, item, brightest[item.rank])
        for item in contents.shown
        for row in chosen[item.rank].values()
        if row is not None
    }
    rules = contents.run.configuration.images
    cutouts = cut_out_all(contents.every, requests, rules, access.below(rules.data_roots))
    shown = {item.rank for item in contents.shown}
    views = []
    for item in contents.candidates:
        parts = _parts(contents, item, chosen[item.rank], cutouts) if item.rank in shown else None
        views.append(_view(contents, item, factor, *(parts or (None, (), ""))))
    return unit, views


def _view(
    contents: Contents,
    item: Candidate,
    factor: float,
    curve: CurveView | None,
    stamps: Sequence[Stamp],
    grey: str,
) -> CandidateView:
    ra, dec = wording.sexagesimal(item.ra_deg, item.dec_deg)
    several = item.count > 1
    return CandidateView(
        anchor=anchor(item),
        rank=item.rank,
        name=item.name,
        kind=item.kind,
        css=kind_class(item.kind),
        ra=ra,
        dec=dec,
        ra_deg=f"{item.ra_deg:.5f}",
        dec_deg=f"{item.dec_deg:+.5f}".replace("-", "\N{MINUS SIGN}"),
        peak=wording.number(item.peak_jy * factor, 4),
        eta=wording.number(item.eta) if several else wording.NOTHING,
        v=wording.number(item.v) if several else wording.NOTHING,
        p_value=wording.probability(item.p_value),
        band=wording.frequency(contents.bands[item.band].central_hz)
        if len(contents.bands) > 1
        else "",
        expected_false=wording.probability(item.expected_false),
        first_seen=wording.utc(item.first_seen),
        first_file=item.first_file,
        reasons=item.reasons,
        veto=", ".join(name.replace("_", " ") for name in item.veto.split()),
        curve=curve,
        stamps=stamps,
        grey=grey,
    )


def _parts(
    contents: Contents,
    item: Candidate,
    chosen: Mapping[str, ImageRow | None],
    cutouts: Mapping[tuple[int, int], Cutout],
) -> tuple[CurveView, list[Stamp], str]:
    points = contents.points.of(item.source)
    curve = view_light_curve(
        points,
        contents.gaps.get(item.source, []),
        contents.every,
        contents.bands,
        f"Light curve of {item.name}",
    )
    stamps = []
    for slot, row in chosen.items():
        if row is None:
            side = "earlier" if slot == _BEFORE else "later"
            problem = f"No {side} image of this band covers the position."
            stamps.append(Stamp(slot, Cutout(problem=problem)))
        else:
            stamps.append(
                Stamp(
                    slot,
                    cutouts[row.id, item.rank],
                    row.file_name,
                    wording.utc(row.start),
                    measured_in(points, row.id),
                )
            )
    request = _request(contents, item, _brightest(contents, item))
    grey = (
        f"Grey from \N{MINUS SIGN}3 to {wording.number(request.high_sigma, 2)} times the local rms "
        f"of {wording.number(request.rms_jy * 1e3)} mJy/beam above the background, "
        "arcsinh-stretched, the same for all."
    )
    return curve, stamps, grey


def _brightest(contents: Contents, item: Candidate) -> CurvePoints:
    """Blind detection of a candidate with the highest peak, one row."""
    points = contents.points.of(item.source)
    blind = np.flatnonzero(points.kind == BLIND)
    best = blind[np.argmax(points.peak_jy[blind])]
    return points.take(np.array([best]))


def _request(contents: Contents, item: Candidate, brightest: CurvePoints) -> CutoutRequest:
    row = contents.every[int(brightest.image[0])]
    beams = contents.run.configuration.report.cutout_beams
    return CutoutRequest(
        ra_deg=item.ra_deg,
        dec_deg=item.dec_deg,
        side_deg=beams * 2.0 * row.beam_semimajor_deg,
        background_jy=float(brightest.background_jy[0]),
        rms_jy=float(brightest.rms_jy[0]),
        peak_jy=float(brightest.peak_jy[0]),
    )


def _choose_images(
    contents: Contents, brightest: Mapping[int, CurvePoints]
) -> dict[int, dict[str, ImageRow | None]]:
    """Images before, at and after the brightest detection of each candidate, by rank.

    Of the same band and Stokes, accepted, and reaching out to the position.
    """
    series: dict[tuple[int, int], list[ImageRow]] = {}
    for row in contents.every.values():
        if row.verdict == ACCEPTED:
            series.setdefault((row.band, row.stokes), []).append(row)
    chosen = {}
    for item in contents.shown:
        at = contents.every[int(brightest[item.rank].image[0])]
        rows = series.get((at.band, at.stokes), [])
        near = _reaching(rows, item.ra_deg, item.dec_deg)
        chosen[item.rank] = {
            _BEFORE: next((row for row in reversed(near) if row.start < at.start), None),
            _AT: at,
            _AFTER: next((row for row in near if row.start > at.start), None),
        }
    return chosen


def _reaching(rows: Sequence[ImageRow], ra_deg: float, dec_deg: float) -> list[ImageRow]:
    """Images whose circle out to their corners holds a position, in canonical order."""
    distance = separation(
        np.array([row.centre_ra_deg for row in rows]),
        np.array([row.centre_dec_deg for row in rows]),
        ra_deg,
        dec_deg,
    )
    return [
        row
        for row, apart in zip(rows, distance.tolist(), strict=True)
        if apart <= row.corner_distance_deg
    ]

"""What kinds of light curves candidates have, and what artefacts they may be instead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from sqlalchemy import Connection

from trap_ops.config.model import CandidatesConfig
from trap_ops.records.arrays import FloatArray, Ids, IntArray, Mask
from trap_ops.records.images import ImageRow
from trap_ops.records.light_curves import LightCurveSummary, MeasuredPoints
from trap_ops.records.sources import Flag
from trap_ops.science.artefacts import (
    Veto,
    bodies_at,
    branches,
    brightest_near,
    crowded,
    log10_chance_of,
    near_pairs,
    same_pixel,
)
from trap_ops.science.blends import look_around
from trap_ops.science.candidate_kinds import CandidateKind, Kinds, excess, tell_kinds
from trap_ops.science.candidates import Candidates
from trap_ops.science.judged_errors import judged_points
from trap_ops.store.candidate_points import (
    first_detections_of_new,
    load_measured_points,
)

# So many candidates are examined together, with the light curves of their neighbours.
_CHUNK = 200


@dataclass
class Examined:
    """What the points of a candidate say.

    Attributes
    ----------
    kind : CandidateKind
    vetoes : dict of str
        What it may be instead: a sentence each.
    run : tuple of int
        Places of the images of the first and last point of the run that stands out most.
    n_run : int
        Its number of points; 0 without a run.
    run_sigma : float
    before_drop : int
        Place of the last image before the largest drop.
    drop_sigma : float
    """

    kind: CandidateKind
    vetoes: dict[Veto, str] = field(default_factory=dict)
    run: tuple[int, int] = (0, 0)
    n_run: int = 0
    run_sigma: float = 0.0
    before_drop: int = 0
    drop_sigma: float = 0.0


@dataclass(frozen=True)
class Scene:
    """What candidates are examined against.

    Attributes
    ----------
    settings : CandidatesConfig
    margin_px : float
        Pixels at the image edge that the finder does not use.
    systematic_flux_error : float
        That light curves are judged with, as a fraction of the flux.
    summary : LightCurveSummary
    images : sequence of ImageRow
        Of the dataset, in canonical order.
    """

    settings: CandidatesConfig
    margin_px: float
    systematic_flux_error: float
    summary: LightCurveSummary
    images: Sequence[ImageRow]


@dataclass(frozen=True)
class _Evidence:
    """Points that make candidates ones; arrays (m,), but ``excess_jy`` (n,)."""

    candidate: IntArray
    image: Ids
    measurement: Ids
    blind: Mask
    x_px: FloatArray
    y_px: FloatArray
    excess_jy: FloatArray


def examine(
    connection: Connection, scene: Scene, found: Candidates, first_image: Ids
) -> list[Examined]:
    """Tell the kind of each candidate, and what artefacts it may be.

    Parameters
    ----------
    connection : sqlalchemy.Connection
    scene : Scene
    found : Candidates
    first_image : numpy.ndarray of int
        Place of the image of each candidate's first detection.
    """
    beam_deg = np.array([2.0 * row.beam_semimajor_deg for row in scene.images])[first_image]
    examined: list[Examined] = []
    evidence = []
    for first in range(0, len(found.item), _CHUNK):
        chunk = np.arange(first, min(first + _CHUNK, len(found.item)))
        part = _examine_points(connection, scene, found.take(chunk), beam_deg[chunk], examined)
        evidence.append((first, part))
    if examined:
        whole = _Evidence(
            np.concatenate([first + part.candidate for first, part in evidence]),
            *(
                np.concatenate([getattr(part, name) for _, part in evidence])
                for name in ("image", "measurement", "blind", "x_px", "y_px", "excess_jy")
            ),
        )
        _veto_by_place(scene, found, beam_deg, whole, examined)
        sources = scene.summary.source[found.item]
        new = first_detections_of_new(connection, sources)
        detection = [new.get(i, -1) for i in sources.tolist()]
        _veto_by_image(scene, first_image, np.array(detection, dtype=np.int64), examined)
        _veto_branches(whole, examined)
    for item in examined:
        unwanted = [veto for veto in item.vetoes if str(veto) not in scene.settings.vetoes]
        for veto in unwanted:
            del item.vetoes[veto]
    return examined


def _examine_points(
    connection: Connection,
    scene: Scene,
    found: Candidates,
    beam_deg: FloatArray,
    examined: list[Examined],
) -> _Evidence:
    """Kinds and those vetoes that the light curves decide, of some candidates."""
    summary, n = scene.summary, len(found.item)
    one, other = _neighbours(scene, found, beam_deg)
    sources = np.unique(summary.source[np.concatenate([found.item, other])])
    every = judged_points(
        load_measured_points(connection, sources, scene.images), scene.systematic_flux_error
    )
    own, points = _points_of(every, summary, found.item)
    kinds = tell_kinds(own, points.flux_jy, points.flux_err_jy, n)
    first_point = np.searchsorted(own, np.arange(n))
    for i in range(n):
        new = bool(summary.new_source[found.item[i]] >= 0)
        examined.append(_examined(kinds, i, points.image[first_point[i] :], new=new))
    mine = examined[-n:]
    limit = np.log10(scene.settings.max_expected_false) - np.log10(max(len(summary.source), 1))
    edge, lost_jy = _at_edge(scene, points)
    error, changed = np.hypot(points.flux_err_jy, lost_jy), edge | (lost_jy > 0.0)
    steady_without = partial(
        _steady_without, n=n, limit=limit, error_uncertainty=scene.settings.error_uncertainty
    )
    for i in steady_without(own, points.flux_jy, error, edge, changed).tolist():
        mine[i].vetoes[Veto.EDGE] = (
            f"{_number(own, changed, i)} of its points are at the edge of what an image shows, or "
            "are forced fits where nothing is searched for; without these, and with what those "
            "lose where the sky is displaced, it would be steady"
        )
    near, near_points = _points_of(every, summary, other)
    detected = points.kind == 0
    around = look_around(
        points,
        own,
        _joined([points.take(detected), near_points]),
        np.concatenate([own[detected], one[near]]),
        summary.vectors[found.item],
        beam_deg,
    )
    doubtful = ~around.certain
    changed = doubtful | (around.flux_jy != points.flux_jy)
    for i in steady_without(own, around.flux_jy, around.flux_err_jy, doubtful, changed).tolist():
        mine[i].vetoes[Veto.BLEND] = (
            f"{_number(own, changed, i)} of its points have light of a neighbour, or are from "
            "images in which no fit of the blend converged; without that it would be steady"
        )
    least = scene.settings.blend_least_share
    low = around.share + around.share_err < least
    high = around.share - around.share_err > 1.0 / least
    # A neighbour that the candidate outshines is not detected, but its forced fit is there.
    real = around.complete_share - around.complete_share_err >= least
    alone = np.bincount(one, minlength=n) == 0
    for i in np.flatnonzero((low | high) & ~real & ~alone).tolist():
        mine[i].vetoes.setdefault(
            Veto.BLEND,
            f"with its neighbours within {scene.settings.blend_radius_beams:g} beams together it "
            f"changes by {around.share[i]:.2f} of what it changes alone: their light is shared "
            "out differently from image to image",
        )
    telling = kinds.evidence
    return _Evidence(
        own[telling],
        points.image[telling],
        points.measurement[telling],
        points.kind[telling] == 0,
        points.x_px[telling],
        points.y_px[telling],
        excess(own, points.flux_jy, points.flux_err_jy, telling, n),
    )


def _neighbours(scene: Scene, found: Candidates, beam_deg: FloatArray) -> tuple[IntArray, IntArray]:
    """Pairs of a candidate and a light curve close to it, of another source, of the same band."""
    summary = scene.summary
    reach = scene.settings.blend_radius_beams * beam_deg
    one, other, apart = near_pairs(
        summary.vectors[found.item], summary.vectors, float(reach.max(initial=0.0))
    )
    item = found.item[one]
    wanted = _alike(summary, item, other) & (apart <= reach[one])
    return one[wanted], other[wanted]


def _alike(summary: LightCurveSummary, item: IntArray, other: IntArray) -> Mask:
    return np.asarray(
        (summary.source[item] != summary.source[other])
        & (summary.band[item] == summary.band[other])
        & (summary.stokes[item] == summary.stokes[other])
    )


def _points_of(
    every: MeasuredPoints, summary: LightCurveSummary, item: IntArray
) -> tuple[IntArray, MeasuredPoints]:
    """Points of some light curves, one after the other, and the number of each one's curve."""
    source = summary.source[item]
    begin = np.searchsorted(every.source, source)
    count = np.searchsorted(every.source, source, side="right") - begin
    curve = np.repeat(np.arange(len(item)), count)
    at = np.arange(len(curve)) - np.repeat(np.cumsum(count) - count - begin, count)
    wanted = (every.band[at] == summary.band[item][curve]) & (
        every.stokes[at] == summary.stokes[item][curve]
    )
    return curve[wanted], every.take(at[wanted])


def _joined(parts: list[MeasuredPoints]) -> MeasuredPoints:
    return MeasuredPoints(
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])}
    )


def _examined(kinds: Kinds, i: int, image: Ids, *, new: bool) -> Examined:
    made = Examined(kinds.kind(i, new=new))
    if kinds.first[i] >= 0:
        made.run = int(image[kinds.first[i]]), int(image[kinds.last[i]])
        made.n_run = int(kinds.last[i] - kinds.first[i]) + 1
        made.run_sigma = float(kinds.run_sigma[i])
    if kinds.behind[i] >= 0:
        made.before_drop = int(image[kinds.behind[i]])
        made.drop_sigma = float(kinds.drop_sigma[i])
    return made


def _at_edge(scene: Scene, points: MeasuredPoints) -> tuple[Mask, FloatArray]:
    """Whether points are flagged as at an edge, or close to the border of their image.

    And what the forced ones at the margin may lose, in Jy. Elsewhere it is faint sources that are
    not detected; there it is bright ones too, and a small part of these is many errors.
    """
    sizes = [
        (row.nx, row.ny, 2.0 * row.beam_semimajor_deg / abs(row.deltay_deg),
         row.beam_semimajor_deg / row.beam_semiminor_deg)
        for row in scene.images
    ]  # fmt: skip
    nx, ny, beam_px, axis_ratio = np.array(sizes)[points.image].T
    reach = scene.settings.edge_beams * beam_px
    border = np.minimum.reduce(
        [points.x_px, points.y_px, nx - 1.0 - points.x_px, ny - 1.0 - points.y_px]
    )
    edge = ((points.flags & (Flag.EDGE | Flag.MASKED)) != 0) | (border < reach)
    unsearched = (points.kind != 0) & (border < scene.margin_px + reach)
    # Along the minor axis, where it is lost fastest.
    share = 4.0 * np.log(2.0) * (scene.settings.displacement_beams * axis_ratio) ** 2
    return edge, np.where(unsearched, share * np.abs(points.flux_jy), 0.0)


def _steady_without(
    own: IntArray,
    flux_jy: FloatArray,
    flux_err_jy: FloatArray,
    doubtful: Mask,
    changed: Mask,
    *,
    n: int,
    limit: float,
    error_uncertainty: float,
) -> IntArray:
    """Candidates that would be none without some doubtful points.

    Asked of those that have such points, or others that are changed.
    """
    asked = np.bincount(own, changed, n) > 0
    kept = ~doubtful & asked[own]
    rest = log10_chance_of(own[kept], flux_jy[kept], flux_err_jy[kept], n, error_uncertainty)
    return np.flatnonzero(asked & (rest > limit))


def _number(own: IntArray, wanted: Mask, candidate: int) -> str:
    mine = own == candidate
    return f"{int((mine & wanted).sum())} of {int(mine.sum())}"


def _veto_by_place(
    scene: Scene,
    found: Candidates,
    beam_deg: FloatArray,
    evidence: _Evidence,
    examined: list[Examined],
) -> None:
    """Sidelobes, pixels with a fault, bodies of the solar system."""
    settings, summary = scene.settings, scene.summary
    vectors = summary.vectors[found.item]
    reach = settings.sidelobe_radius_beams * beam_deg
    one, other, apart = near_pairs(vectors, summary.vectors, float(reach.max()))
    wanted = _alike(summary, found.item[one], other) & (apart <= reach[one])
    bright = brightest_near(
        evidence.excess_jy,
        one[wanted],
        other[wanted],
        summary.flux_jy,
        settings.sidelobe_flux_ratio,
    )
    for i in np.flatnonzero(bright >= 0).tolist():
        examined[i].vetoes[Veto.SIDELOBE] = (
            f"a source of {abs(summary.flux_jy[bright[i]]):.4g} Jy is within "
            f"{settings.sidelobe_radius_beams:g} beams: what stands out here, "
            f"{evidence.excess_jy[i]:.3g} Jy, may be of its sidelobes"
        )
    blind = evidence.blind
    others = same_pixel(
        evidence.candidate[blind],
        evidence.x_px[blind],
        evidence.y_px[blind],
        vectors,
        settings.fixed_pixel_radius_px,
        float(2.0 * beam_deg.max()),
    )
    for i in np.flatnonzero(others >= settings.fixed_pixel_sources - 1).tolist():
        examined[i].vetoes[Veto.FIXED_PIXEL] = (
            f"{others[i]} candidates elsewhere on the sky were at the same pixel of their images"
        )
    _veto_bodies(scene, vectors, beam_deg, evidence, examined)


def _veto_bodies(
    scene: Scene,
    vectors: FloatArray,
    beam_deg: FloatArray,
    evidence: _Evidence,
    examined: list[Examined],
) -> None:
    pairs = np.unique(np.stack([evidence.candidate, evidence.image], axis=1), axis=0)
    candidate, image = pairs[:, 0], pairs[:, 1]
    days = np.array([row.start.toordinal() + 1721424.5 for row in scene.images])
    seconds = [
        (row.start.hour * 60 + row.start.minute) * 60 + row.start.second + row.integration_s / 2.0
        for row in scene.images
    ]
    reach = scene.settings.solar_system_radius_beams * beam_deg[candidate]
    names = bodies_at(vectors[candidate], days[image], np.array(seconds)[image] / 86400.0, reach)
    for i, place, name in zip(candidate.tolist(), image.tolist(), names, strict=True):
        if name:
            examined[i].vetoes.setdefault(
                Veto.SOLAR_SYSTEM, f"{name} was there in {scene.images[place].file_name}"
            )


def _veto_branches(evidence: _Evidence, examined: list[Examined]) -> None:
    """Branches of a fork that show nothing which a better candidate does not show."""
    excused = np.array([bool(item.vetoes) for item in examined], dtype=bool)
    for i in branches(evidence.candidate, evidence.measurement, excused).tolist():
        examined[i].vetoes[Veto.BLEND] = (
            "a branch of a fork: all of its points that stand out are those of a better candidate"
        )


def _veto_by_image(
    scene: Scene, first_image: Ids, detection: Ids, examined: list[Examined]
) -> None:
    """New sources of images that have too many of those with no other excuse.

    Only candidates count: the first images of a dataset have many faint sources that an earlier one
    has just missed. Branches of a fork are one source.
    """
    settings = scene.settings
    counted = np.array(
        [item.kind is CandidateKind.NEW_SOURCE and not item.vetoes for item in examined], dtype=bool
    )
    _, once = np.unique(detection[counted], return_index=True)
    in_image = np.bincount(first_image[counted][once], minlength=len(scene.images))
    many = crowded(in_image, settings.crowded_image_chance, settings.crowded_image_sources)
    total, others = int(in_image.sum()), max(len(many) - 1, 1)
    for item, image in zip(examined, first_image.tolist(), strict=True):
        if many[image] and item.kind is CandidateKind.NEW_SOURCE:
            here = int(in_image[image])
            item.vetoes[Veto.CROWDED_IMAGE] = (
                f"one of {here} new candidates in {scene.images[image].file_name}; the other "
                f"images have {(total - here) / others:.2g} each"
            )

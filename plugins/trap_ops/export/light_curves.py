"""Light curves as plots and lists: of candidates and of monitoring positions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from trap_ops.export import wording
from trap_ops.export.plots import Marks, Panel, light_curve
from trap_ops.records.images import Band, ImageRow
from trap_ops.records.sky import FitKind
from trap_ops.store.light_curves import CurvePoints, Gap

BLIND = 0
# Kind of point, CSS class, shape, what one is called; in the order of the legend.
_KINDS = (
    (BLIND, "blind", "circle", "blind detection"),
    (int(FitKind.FORWARD), "forward", "square", "forward fit"),
    (int(FitKind.BACKWARD), "backward", "diamond", "backward fit"),
    (int(FitKind.MONITOR), "monitored", "triangle", "monitoring fit"),
)
_LEGEND = {kind: legend for kind, _, _, legend in _KINDS}
# So many images are listed a reason; thousands would say no more.
_MAX_LISTED = 200


@dataclass(frozen=True)
class GapGroup:
    """Images without a measurement for one reason.

    Attributes
    ----------
    reason : str
        In words.
    count : int
    listed : list of (str, str)
        Kind of fit with its time, and the file, of the first ones.
    """

    reason: str
    count: int
    listed: list[tuple[str, str]]


@dataclass(frozen=True)
class CurveView:
    """A light curve as the page shows it: plot, number of points by kind, images without one."""

    plot: Markup
    words: str
    gap_count: int
    gaps: list[GapGroup]


def view_light_curve(
    points: CurvePoints,
    gaps: Sequence[Gap],
    images: Mapping[int, ImageRow],
    bands: Mapping[int, Band],
    label: str,
) -> CurveView:
    """Draw and describe a light curve.

    Parameters
    ----------
    points : CurvePoints
        Of one sky source.
    gaps : sequence of Gap
    images, bands : mapping
        By id.
    label : str
        What the plot shows, for people who do not see it.
    """
    counts = [
        wording.count(int((points.kind == kind).sum()), legend)
        for kind, _, _, legend in _KINDS
        if (points.kind == kind).any()
    ]
    return CurveView(
        plot=_plot(points, gaps, images, bands, label),
        words=", ".join(counts),
        gap_count=len(gaps),
        gaps=_group(gaps),
    )


def measured_in(points: CurvePoints, image: int) -> str:
    """What a light curve has in an image, in words; empty for nothing."""
    found = np.flatnonzero(points.image == image)
    if len(found) == 0:
        return ""
    point = points.take(found[:1])
    unit, factor = wording.flux_unit(point.flux_jy)
    flux = wording.with_error(
        float(point.flux_jy[0]) * factor, float(point.flux_err_jy[0]) * factor
    )
    return f"{_LEGEND[int(point.kind[0])]}: {flux} {unit}"


def _plot(
    points: CurvePoints,
    gaps: Sequence[Gap],
    images: Mapping[int, ImageRow],
    bands: Mapping[int, Band],
    label: str,
) -> Markup:
    if len(points) == 0:
        return Markup("")
    keys = {*zip(points.band.tolist(), points.stokes.tolist(), strict=True)}
    keys |= {(gap.band, gap.stokes) for gap in gaps}
    unit, factor = wording.flux_unit([*points.flux_jy.tolist(), *points.upper_limit_jy.tolist()])
    panels = []
    for band, stokes in sorted(keys, key=lambda key: (bands[key[0]].central_hz, key)):
        name = wording.frequency(bands[band].central_hz)
        if any(other != 1 for _, other in keys):
            name += f", {wording.stokes(stokes)}"
        here = points.take((points.band == band) & (points.stokes == stokes))
        crosses = [
            (gap.start, f"{wording.utc(gap.start)} UTC\nnot measured: {_reason(gap)}")
            for gap in gaps
            if (gap.band, gap.stokes) == (band, stokes)
        ]
        panels.append(Panel(name, _marks(here, images, unit, factor), crosses))
    return light_curve(panels, unit, label)


def _marks(
    points: CurvePoints, images: Mapping[int, ImageRow], unit: str, factor: float
) -> list[Marks]:
    found = []
    for kind, name, shape, legend in _KINDS:
        some = points.take(points.kind == kind)
        if len(some):
            flux, error = some.flux_jy * factor, some.flux_err_jy * factor
            limit = some.upper_limit_jy * factor
            titles = [
                f"{wording.utc(some.start[i])} UTC\n{legend}: "
                f"{wording.with_error(float(flux[i]), float(error[i]))} {unit}"
                + (f", below {wording.number(float(limit[i]))} {unit}" if limit[i] > 0.0 else "")
                + f"\n{images[int(some.image[i])].file_name}"
                for i in range(len(some))
            ]
            found.append(Marks(name, shape, legend, some.start, flux, error, limit, titles))
    return found


def _group(gaps: Sequence[Gap]) -> list[GapGroup]:
    by_reason: dict[str, list[Gap]] = {}
    for gap in gaps:
        by_reason.setdefault(_reason(gap), []).append(gap)
    return [
        GapGroup(
            reason,
            len(group),
            [
                (f"{wording.utc(gap.start)} {wording.FIT_KINDS[gap.kind]}", gap.file_name)
                for gap in group[:_MAX_LISTED]
            ],
        )
        for reason, group in by_reason.items()
    ]


def _reason(gap: Gap) -> str:
    return wording.NOT_MEASURED.get(gap.reason, gap.reason)

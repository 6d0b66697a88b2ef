"""Plots as inline SVG: light curves, and eta against V.

Colours and fonts are those of the page (CSS classes): one plot serves light, dark and paper.
All text is escaped here: what comes out is markup and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from trap_ops.export.axes import Scale, Tick, date_ticks, linear_ticks, log_ticks
from trap_ops.records.arrays import FloatArray, IntArray, Mask
from trap_ops.records.names import visible

_WIDTH = 780.0
_LEFT, _RIGHT = 58.0, 14.0
# Line above a panel, with the unit, the band and, above the first one, the legend.
_HEADER = 24.0
# Of the eta-V plot: a strip outside both axes for values that a logarithm has no place for.
_STRIP = 26.0
# A panel with more points than this shows the highest and lowest of each two pixels.
_MAX_POINTS = 600
# So many points say what they are when the mouse is over them; the others are dots.
_MAX_HOVER = 3000

_SHAPES = {
    "circle": Markup('<circle cx="{x}" cy="{y}" r="3.6"/>'),
    "square": Markup('<path d="M{x} {y}m-3.3-3.3h6.6v6.6h-6.6z"/>'),
    "diamond": Markup('<path d="M{x} {y}m0-4.8l4.8 4.8-4.8 4.8-4.8-4.8z"/>'),
    "triangle": Markup('<path d="M{x} {y}m0-4.4l4.4 7.6h-8.8z"/>'),
    "dot": Markup('<circle cx="{x}" cy="{y}" r="2"/>'),
}
_HOVER = Markup("<g>{shape}<title>{title}</title></g>")
_LINK = Markup('<a href="#{target}">{inner}</a>')
_GROUP = Markup('<g class="{name}">{inner}</g>')
_PATH = Markup('<path class="{name}" d="{data}"/>')
_TEXT = Markup('<text x="{x}" y="{y}" class="{name}">{text}</text>')
_PLOT = Markup(
    '<svg class="plot" viewBox="0 0 {width} {height}" role="img" aria-label="{label}">{inner}</svg>'
)


@dataclass(frozen=True)
class Marks:
    """Points of one kind in a light curve; arrays (n,), in time order.

    Attributes
    ----------
    name : str
        CSS class, which gives the colour.
    shape : str
        circle, square, diamond or triangle.
    legend : str
    time : numpy.ndarray of datetime
    flux, error : numpy.ndarray
        In the unit of the plot.
    limit : numpy.ndarray
        Upper limits; NaN where there is none.
    title : sequence of str
        What each point says under the mouse.
    """

    name: str
    shape: str
    legend: str
    time: npt.NDArray[Any]
    flux: FloatArray
    error: FloatArray
    limit: FloatArray
    title: Sequence[str]


@dataclass(frozen=True)
class Panel:
    """The light curve of one band and Stokes; ``gaps`` are times without a measurement."""

    name: str
    marks: Sequence[Marks]
    gaps: Sequence[tuple[datetime, str]] = ()


@dataclass(frozen=True)
class Cloud:
    """Points of one kind in the eta-V plot; arrays (n,).

    Attributes
    ----------
    name, shape, legend : str
        CSS class; as in :class:`Marks`, or dot; empty legend for none.
    eta, v : numpy.ndarray
    title : sequence of str
    link : sequence of str
        Id of an element of the page for each point, or empty.
    """

    name: str
    shape: str
    legend: str
    eta: FloatArray
    v: FloatArray
    title: Sequence[str] = ()
    link: Sequence[str] = field(default=())


def light_curve(panels: Sequence[Panel], unit: str, label: str) -> Markup:
    """Draw a light curve, a panel a band, over a common time axis.

    Parameters
    ----------
    panels : sequence of Panel
        At least one, with at least one point or gap.
    unit : str
        Of the fluxes.
    label : str
        What the plot shows, for people who do not see it.
    """
    times = [time for panel in panels for marks in panel.marks for time in marks.time]
    times += [time for panel in panels for time, _ in panel.gaps]
    first, last = min(times), max(times)
    margin = max((last - first) * 0.03, timedelta(milliseconds=1))
    if first == last:
        margin = timedelta(minutes=30)
    first, last = first - margin, last + margin
    axis = Scale(0.0, (last - first).total_seconds(), _LEFT, _WIDTH - _RIGHT)
    height = 190.0 if len(panels) == 1 else 130.0
    top, parts = 8.0 + _HEADER, [_legend(panels)]
    ticks = date_ticks(first, last, 9)
    for panel in panels:
        parts.append(_panel(panel, axis, first, ticks, unit, top, height))
        top += height + _HEADER
    top -= _HEADER
    for tick, x in zip(ticks, axis([tick.value for tick in ticks]), strict=True):
        parts.append(_text(x, top + 16.0, tick.label, "tick mid"))
        parts.append(_text(x, top + 30.0, tick.below, "tick mid"))
    return _svg(parts, top + 36.0, label)


def _panel(
    panel: Panel,
    axis: Scale,
    first: datetime,
    ticks: Sequence[Tick],
    unit: str,
    top: float,
    height: float,
) -> Markup:
    bottom = top + height
    flux = _flux_axis(panel, bottom, top)
    inner = [_frame(axis.start, axis.end, top, bottom)]
    inner.append(_path("grid", (f"M{_n(x)} {_n(bottom)}v4" for x in axis(_values(ticks)))))
    flux_ticks = linear_ticks(flux.low, flux.high, 8 if height > 150.0 else 6)
    for tick, y in zip(flux_ticks, flux(_values(flux_ticks)), strict=True):
        inner.append(_text(axis.start - 7.0, y + 3.5, tick.label, "tick end"))
    lines = (
        f"M{_n(axis.start)} {_n(y)}H{_n(axis.end)}"
        for tick, y in zip(flux_ticks, flux(_values(flux_ticks)), strict=True)
        if tick.value != 0.0
    )
    inner.append(_path("grid", lines))
    if flux.low < 0.0 < flux.high:
        zero = float(flux(0.0))
        inner.append(_path("zero", [f"M{_n(axis.start)} {_n(zero)}H{_n(axis.end)}"]))
    inner.append(_text(axis.start - 7.0, top - 9.0, unit, "unit end"))
    inner.append(_text(axis.end, top - 9.0, panel.name, "unit end"))
    inner += [_marks(marks, axis, flux, first) for marks in panel.marks]
    crosses = [
        _hover(
            Markup('<path class="gap" d="M{x} {y}m-3-3l6 6m0-6l-6 6"/>').format(
                x=_n(x), y=_n(bottom - 7.0)
            ),
            title,
        )
        for (_, title), x in zip(
            panel.gaps, axis(_seconds([time for time, _ in panel.gaps], first)), strict=True
        )
    ]
    inner += crosses[:_MAX_POINTS]
    return Markup("").join(inner)


def _flux_axis(panel: Panel, bottom: float, top: float) -> Scale:
    """From the lowest to the highest error bar or limit, and to zero where that is not far."""
    edges = [np.empty(0)]
    for marks in panel.marks:
        error = np.where(np.isfinite(marks.error), marks.error, 0.0)
        edges += [marks.flux - error, marks.flux + error, marks.limit]
    values = np.concatenate(edges)
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    if 0.0 < low < 0.5 * high:
        low = 0.0
    margin = 0.08 * (high - low) or max(0.08 * abs(high), 1e-9)
    return Scale(low - margin, high + margin, bottom, top)


def _marks(marks: Marks, axis: Scale, flux: Scale, first: datetime) -> Markup:
    x, y = axis(_seconds(marks.time, first)), flux(marks.flux)
    low, high = flux(marks.flux - marks.error), flux(marks.flux + marks.error)
    limit = flux(marks.limit)
    shown = np.flatnonzero(np.isfinite(y))
    if len(shown) > _MAX_POINTS:
        shown = shown[_extremes(x[shown], y[shown])]
    bars = [
        f"M{_n(x[i])} {_n(low[i])}V{_n(high[i])}" for i in shown.tolist() if np.isfinite(low[i])
    ]
    arrows = [
        f"M{_n(x[i])} {_n(limit[i])}m-4 0h8m-4 0v9m-3-3.5l3 3.5 3-3.5"
        for i in shown.tolist()
        if np.isfinite(limit[i])
    ]
    shape = _SHAPES[marks.shape]
    points = []
    for i in shown.tolist():
        point = shape.format(x=_n(x[i]), y=_n(y[i]))
        points.append(point if len(marks.time) > _MAX_POINTS else _hover(point, marks.title[i]))
    inner = [_path("bar", bars), _path("limit", arrows), *points]
    return _GROUP.format(name=marks.name, inner=Markup("").join(inner))


def _extremes(x: FloatArray, y: FloatArray) -> IntArray:
    """Indices of the highest and the lowest point of each two pixels along x."""
    column = np.floor(x / 2.0)
    order = np.lexsort((y, column))
    bounds = np.flatnonzero(np.diff(column[order]) != 0)
    edges = np.concatenate([[0], bounds, bounds + 1, [len(order) - 1]])
    return np.asarray(np.unique(order[edges]), dtype=np.intp)


def _legend(panels: Sequence[Panel]) -> Markup:
    """One entry a kind of point, and what arrows and crosses mean."""
    entries: dict[str, Marks] = {}
    for panel in panels:
        for marks in panel.marks:
            entries.setdefault(marks.name, marks)
    x, parts = _LEFT, []
    for marks in entries.values():
        shape = _SHAPES[marks.shape].format(x=_n(x + 5.0), y=20)
        parts.append(_GROUP.format(name=marks.name, inner=shape))
        parts.append(_text(x + 14.0, 24.0, marks.legend, "key"))
        x += 34.0 + 6.4 * len(marks.legend)
    every = [marks for panel in panels for marks in panel.marks]
    if any(np.isfinite(marks.limit).any() for marks in every):
        parts.append(_path("limit plain", [f"M{_n(x + 5.0)} 15m-4 0h8m-4 0v9m-3-3.5l3 3.5 3-3.5"]))
        parts.append(_text(x + 14.0, 24.0, "upper limit", "key"))
        x += 34.0 + 6.4 * len("upper limit")
    if any(panel.gaps for panel in panels):
        parts.append(_path("gap", [f"M{_n(x + 5.0)} 20m-3-3l6 6m0-6l-6 6"]))
        parts.append(_text(x + 14.0, 24.0, "not measured", "key"))
    return Markup("").join(parts)


def eta_v(clouds: Sequence[Cloud], label: str) -> Markup:
    """Draw eta (across) against V (up), both logarithmic.

    Parameters
    ----------
    clouds : sequence of Cloud
        Later ones are drawn over earlier ones. Values that are not positive are put on the edge.
    label : str
        What the plot shows, for people who do not see it.
    """
    top, height = 30.0, 430.0
    bottom = top + height
    across = _log_axis([cloud.eta for cloud in clouds], _LEFT + _STRIP, _WIDTH - _RIGHT)
    up = _log_axis([cloud.v for cloud in clouds], bottom - _STRIP, top)
    parts = [_frame(_LEFT, across.end, top, bottom)]
    across_ticks, up_ticks = log_ticks(across.low, across.high), log_ticks(up.low, up.high)
    lines = [f"M{_n(x)} {_n(top)}V{_n(bottom)}" for x in across(_values(across_ticks))]
    lines += [f"M{_n(_LEFT)} {_n(y)}H{_n(across.end)}" for y in up(_values(up_ticks))]
    parts.append(_path("grid", lines))
    if across.low < 1.0 < across.high:
        one = float(across(1.0))
        parts.append(_path("zero", [f"M{_n(one)} {_n(top)}V{_n(bottom)}"]))
    for tick, x in zip(across_ticks, across(_values(across_ticks)), strict=True):
        parts.append(_text(x, bottom + 16.0, tick.label, "tick mid"))
    for tick, y in zip(up_ticks, up(_values(up_ticks)), strict=True):
        parts.append(_text(_LEFT - 7.0, y + 3.5, tick.label, "tick end"))
    parts.append(_text(_LEFT + _STRIP / 2.0, bottom + 16.0, "≤ 0", "tick mid"))
    parts.append(_text(_LEFT - 7.0, bottom - _STRIP / 2.0 + 3.5, "≤ 0", "tick end"))
    parts.append(_text((_LEFT + across.end) / 2.0, bottom + 36.0, "η", "axis mid"))
    parts.append(_text(16.0, (top + bottom) / 2.0, "V", "axis mid"))
    parts += [_cloud(cloud, across, up) for cloud in clouds]
    parts.append(_cloud_legend(clouds))
    return _svg(parts, bottom + 44.0, label)


def _log_axis(values: Sequence[FloatArray], start: float, end: float) -> Scale:
    every = np.concatenate([np.empty(0), *values])
    every = every[np.isfinite(every) & (every > 0.0)]
    low, high = (float(every.min()), float(every.max())) if len(every) else (0.1, 10.0)
    margin = max((high / low) ** 0.03, 1.2)
    return Scale(low / margin, high * margin, start, end, log=True)


def _cloud(cloud: Cloud, across: Scale, up: Scale) -> Markup:
    x, y = across(cloud.eta), up(cloud.v)
    x = np.where(np.isfinite(x), x, across.start - _STRIP / 2.0)
    y = np.where(np.isfinite(y), y, up.start + _STRIP / 2.0)
    told = _outermost(x, y, len(cloud.title))
    # Dots that fall on each other are one dot; a catalogue of any size fits into the page.
    dots = {(round(a), round(b)) for a, b in zip(x[~told].tolist(), y[~told].tolist(), strict=True)}
    inner = [_path("dots", (f"M{a} {b}h0" for a, b in sorted(dots)))]
    shape = _SHAPES[cloud.shape]
    for i in np.flatnonzero(told).tolist():
        point = _hover(shape.format(x=_n(x[i]), y=_n(y[i])), cloud.title[i])
        target = cloud.link[i] if cloud.link else ""
        inner.append(_LINK.format(target=target, inner=point) if target else point)
    return _GROUP.format(name=cloud.name, inner=Markup("").join(inner))


def _outermost(x: FloatArray, y: FloatArray, titles: int) -> Mask:
    """Which points have a title of their own: all, or those farthest to the right and up."""
    told = np.zeros(len(x), dtype=bool)
    order = np.argsort(y - x, kind="stable")
    told[order[: min(titles, _MAX_HOVER)]] = True
    return told


def _cloud_legend(clouds: Sequence[Cloud]) -> Markup:
    x, parts = _LEFT, []
    for cloud in clouds:
        if cloud.legend and len(cloud.eta):
            shape = _SHAPES[cloud.shape].format(x=_n(x + 5.0), y=14)
            parts.append(_GROUP.format(name=cloud.name, inner=shape))
            parts.append(_text(x + 14.0, 18.0, cloud.legend, "key"))
            x += 34.0 + 6.4 * len(cloud.legend)
    return Markup("").join(parts)


def _frame(left: float, right: float, top: float, bottom: float) -> Markup:
    return _path("frame", [f"M{_n(left)} {_n(top)}H{_n(right)}V{_n(bottom)}H{_n(left)}z"])


def _hover(shape: Markup, title: str) -> Markup:
    return _HOVER.format(shape=shape, title=visible(title))


def _text(x: float, y: float, text: str, name: str) -> Markup:
    return _TEXT.format(x=_n(x), y=_n(y), text=text, name=name) if text else Markup("")


def _path(name: str, pieces: Any) -> Markup:  # noqa: ANN401 - an iterable of str
    data = "".join(pieces)
    return _PATH.format(name=name, data=data) if data else Markup("")


def _svg(parts: Sequence[Markup], height: float, label: str) -> Markup:
    inner = Markup("").join(parts)
    return _PLOT.format(width=_n(_WIDTH), height=_n(height), label=visible(label), inner=inner)


def _values(ticks: Sequence[Tick]) -> list[float]:
    return [tick.value for tick in ticks]


def _seconds(times: Sequence[datetime] | npt.NDArray[Any], first: datetime) -> FloatArray:
    return np.array([(time - first).total_seconds() for time in times], dtype=np.float64)


def _n(value: float) -> str:
    """Write a coordinate: a tenth of a pixel is seen by nobody."""
    return f"{round(float(value), 1):g}"

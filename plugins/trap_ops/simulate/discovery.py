"""Skies to try the search for transients on: what varies, what does not, and what may look so."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from trap_ops.errors import ConfigError
from trap_ops.records.arrays import FloatArray, IntArray, Mask
from trap_ops.simulate.series import (
    SeriesPlan,
    SimulatedImage,
    field_wcs,
    image_wcs,
    noise_map,
    write_sky,
)
from trap_ops.simulate.sky import SimulatedSky

_ATTEMPTS = 2000


class Setting(StrEnum):
    """Where a source is."""

    FIELD = "field"  # on its own
    FORK = "fork"  # one of a steady pair that is told apart in some images only
    BLEND = "blend"  # beside another one
    EDGE = "edge"  # at the border of what the finder uses


SHAPES = ("flare", "step", "sinusoid", "burst", "vanishing")


@dataclass(frozen=True)
class DiscoveryPlan:
    """What to simulate. Equal plans give equal skies.

    Attributes
    ----------
    series : SeriesPlan
        The images. Of its numbers of sources only ``n_steady`` counts, those in pairs and beside
        injected ones included; its ``snr_min`` and ``snr_max`` bound the steady sources, in units
        of the local rms, with N(>S) ~ 1/S between.
    n_each : int
        Injected sources of each of the SHAPES.
    excess_sigma : (float, float)
        Largest distance from the quiescent flux in local rms, uniform between these.
    fork_share, blend_share, edge_share : float
        Of the steady sources: in pairs 0.8-1.4 beams apart; in pairs 0.8-3 beams apart; at the
        border.
    injected_blend_share, injected_edge_share : float
        Of the injected ones: beside a steady source; at the border.
    injected_blend_beams : (float, float)
        How far from that source.
    neighbour_ratio : (float, float) or None
        Flux of that source over the excess, log-uniform between these; None: as of other sources.
    margin_px : float
        Where the border of what the finder uses is.
    apart_beams : float
        Least distance between sources that are on their own, or one of each pair.
    """

    series: SeriesPlan = field(
        default_factory=lambda: SeriesPlan(
            n_epochs=30,
            size_px=1536,
            n_steady=1000,
            noise_gradient=2.0,
            snr_min=6.0,
            pointing_jitter_px=1.0,
            position_jitter_arcsec=0.5,
        )
    )
    n_each: int = 20
    excess_sigma: tuple[float, float] = (5.0, 60.0)
    fork_share: float = 0.1
    blend_share: float = 0.1
    edge_share: float = 0.05
    injected_blend_share: float = 0.25
    injected_edge_share: float = 0.1
    injected_blend_beams: tuple[float, float] = (0.8, 3.0)
    neighbour_ratio: tuple[float, float] | None = None
    margin_px: float = 10.0
    apart_beams: float = 3.0


@dataclass(frozen=True)
class DiscoveryTruth:
    """What is true of the sources of a sky; arrays (n,).

    Attributes
    ----------
    sky : SimulatedSky
        The injected sources come first; their kind is ``variable``, and ``transient`` where nothing
        is there in between.
    setting : list of Setting
    quiescent_jy : numpy.ndarray
        What the excess is counted from: the flux outside a flare or burst, on the fainter side of
        a step, after vanishing, the mean of a sinusoid.
    rms_jy : numpy.ndarray
        Of the noise at the source.
    excess_sigma : numpy.ndarray
        Largest distance from the quiescent flux, in local rms, in the images in which the source is
        at least half a beam inside the margin: nearer to it no source is found. 0 of steady ones.
    neighbour_beams : numpy.ndarray
        Distance of the nearest other source, in beams (major axis).
    neighbour_jy : numpy.ndarray
        Its largest flux.
    """

    sky: SimulatedSky
    setting: list[Setting]
    quiescent_jy: FloatArray
    rms_jy: FloatArray
    excess_sigma: FloatArray
    neighbour_beams: FloatArray
    neighbour_jy: FloatArray

    @property
    def injected(self) -> Mask:
        """Whether a source varies."""
        return np.array([shape != "constant" for shape in self.sky.shape])


def make_discovery_sky(plan: DiscoveryPlan) -> DiscoveryTruth:
    """Draw the sources of a plan.

    Raises
    ------
    ConfigError
        If so many sources do not fit.
    """
    series = plan.series
    rng = np.random.default_rng([series.seed, 2])
    n_injected = plan.n_each * len(SHAPES)
    settings, companion = _settings(plan, n_injected, rng)
    x, y = _places(plan, settings, companion, rng)
    whole = noise_map(series)
    last = series.size_px - 1
    column, row = (np.clip(np.rint(at), 0, last).astype(int) for at in (x, y))
    rms = whole[row, column].astype(np.float64)
    shapes = [SHAPES[i % len(SHAPES)] for i in range(n_injected)]
    excess = rng.uniform(*plan.excess_sigma, n_injected)
    injected, quiescent = injected_light_curves(shapes, excess, series.n_epochs, rng)
    steady = _steady_snr(plan, rng)
    beside = companion[(companion >= 0) & (companion < n_injected)]
    if plan.neighbour_ratio is not None:
        low, high = map(math.log, plan.neighbour_ratio)
        ratio = np.exp(rng.uniform(low, high, len(beside)))
        steady[: len(beside)] = excess[beside] * ratio
    flux = np.hstack([injected, np.tile(steady, (series.n_epochs, 1))]) * rms
    quiescent = np.concatenate([quiescent, steady]) * rms
    beam_px = series.bmaj_arcsec / series.pixel_arcsec
    apart, nearest = cKDTree(np.stack([x, y], axis=1)).query(np.stack([x, y], axis=1), k=2)
    ra, dec = field_wcs(series, 0.0, 0.0).pixel_to_world_values(x, y)
    sky = SimulatedSky(
        name=[f"{shape}-{i:03d}" for i, shape in enumerate(shapes)]
        + [f"steady-{i:04d}" for i in range(len(steady))],
        kind=["transient" if level == 0.0 else "variable" for level in quiescent[:n_injected]]
        + ["steady"] * len(steady),
        ra_deg=np.asarray(ra),
        dec_deg=np.asarray(dec),
        flux_jy=flux,
        spectral_index=np.zeros(len(rms)),
        shape=shapes + ["constant"] * len(steady),
    )
    return DiscoveryTruth(
        sky=sky,
        setting=settings,
        quiescent_jy=quiescent,
        rms_jy=rms,
        excess_sigma=np.where(
            _searched(plan, np.asarray(ra), np.asarray(dec)), np.abs(flux - quiescent), 0.0
        ).max(axis=0)
        / rms,
        neighbour_beams=apart[:, 1] / beam_px,
        neighbour_jy=flux.max(axis=0)[nearest[:, 1]],
    )


def write_discovery(
    plan: DiscoveryPlan, directory: Path, spoil: Callable[[SimulatedImage], None] | None = None
) -> DiscoveryTruth:
    """Write the images of a plan and what is true of them into a directory.

    What :func:`trap_ops.simulate.series.write_sky` writes, and ``discovery.json``: of each source
    its setting, excess and neighbour.
    """
    truth = make_discovery_sky(plan)
    write_sky(plan.series, truth.sky, directory, spoil)
    columns: dict[str, Sequence[object]] = {
        "name": truth.sky.name,
        "light_curve": truth.sky.shape,
        "setting": truth.setting,
    }
    for name in ("quiescent_jy", "rms_jy", "excess_sigma", "neighbour_beams", "neighbour_jy"):
        columns[name] = getattr(truth, name).tolist()
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    text = json.dumps({"plan": asdict(plan), "sources": rows}, indent=1)
    (directory / "discovery.json").write_text(text)
    return truth


def injected_light_curves(
    shapes: list[str], excess: FloatArray, n_epochs: int, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Light curves that reach so much over (a sinusoid: to both sides of) a quiescent flux.

    Parameters
    ----------
    shapes : list of str
        Of the SHAPES: a flare rises and falls exponentially; a step goes up or down; a sinusoid has
        two to five periods; a burst is in one epoch, at nothing before and behind; what vanishes is
        there from the start to an epoch of the middle two thirds.
    excess : numpy.ndarray, (n,)
    n_epochs : int
    rng : numpy.random.Generator

    Returns
    -------
    flux : numpy.ndarray, (n_epochs, n)
        In the units of ``excess``.
    quiescent : numpy.ndarray, (n,)
    """
    time = np.arange(n_epochs)
    flux = np.empty((n_epochs, len(shapes)))
    quiescent = np.zeros(len(shapes))
    for i, (shape, height) in enumerate(zip(shapes, excess.tolist(), strict=True)):
        when = int(rng.integers(n_epochs // 6, n_epochs - n_epochs // 6))
        level = math.exp(rng.uniform(math.log(6.0), math.log(60.0)))
        if shape == "flare":
            decay = rng.uniform(0.02, 0.1) * n_epochs
            change = np.exp(-np.abs(time - when) / np.where(time < when, decay / 4, decay))
        elif shape == "step":
            change = (time >= when) == bool(rng.integers(2))
        elif shape == "sinusoid":
            # Its mean is above its amplitude: flux is not negative.
            level += height
            phase = 2 * np.pi * rng.random()
            change = np.sin(2 * np.pi * rng.uniform(2.0, 5.0) * time / n_epochs + phase)
        elif shape == "burst":
            level = 0.0
            change = time == rng.integers(n_epochs)
        else:
            level = 0.0
            change = time <= when
        quiescent[i] = level
        flux[:, i] = level + height * change
    return flux, quiescent


def _searched(plan: DiscoveryPlan, ra_deg: FloatArray, dec_deg: FloatArray) -> Mask:
    """Whether a place is so far inside an image that sources are found there, (n_epochs, n)."""
    series = plan.series
    inside = plan.margin_px + series.bmaj_arcsec / series.pixel_arcsec / 2.0
    made = np.zeros((series.n_epochs, len(ra_deg)), dtype=bool)
    for epoch in range(series.n_epochs):
        places = np.stack(image_wcs(series, epoch).world_to_pixel_values(ra_deg, dec_deg))
        made[epoch] = (np.minimum(places, series.size_px - 1 - places) >= inside).all(axis=0)
    return made


def _steady_snr(plan: DiscoveryPlan, rng: np.random.Generator) -> FloatArray:
    """N(>S) ~ 1/S between the limits."""
    faint, bright = 1.0 / plan.series.snr_min, 1.0 / plan.series.snr_max
    return np.asarray(1.0 / rng.uniform(bright, faint, plan.series.n_steady))


def _settings(
    plan: DiscoveryPlan, n_injected: int, rng: np.random.Generator
) -> tuple[list[Setting], IntArray]:
    """Setting of each source, and the earlier one that it is beside; -1 of none."""
    n_steady = plan.series.n_steady
    drawn = rng.random(n_injected)
    blended = drawn < plan.injected_blend_share
    at_edge = ~blended & (drawn < plan.injected_blend_share + plan.injected_edge_share)
    settings = np.where(blended, Setting.BLEND, np.where(at_edge, Setting.EDGE, Setting.FIELD))
    beside = np.flatnonzero(blended)
    n_edge = round(plan.edge_share * n_steady)
    n_fork, n_blend = (round(share * n_steady / 2) for share in (plan.fork_share, plan.blend_share))
    kinds = [Setting.BLEND] * len(beside) + [Setting.EDGE] * n_edge
    pairs = [Setting.FORK] * n_fork + [Setting.BLEND] * n_blend
    companion = np.full(n_injected + n_steady, -1)
    companion[n_injected : n_injected + len(beside)] = beside
    first = n_injected + len(kinds)
    companion[first + 1 : first + 2 * len(pairs) : 2] = np.arange(first, first + 2 * len(pairs), 2)
    kinds += [kind for kind in pairs for _ in range(2)]
    kinds += [Setting.FIELD] * (n_steady - len(kinds))
    return [*map(Setting, settings.tolist()), *kinds], companion


def _places(
    plan: DiscoveryPlan, settings: list[Setting], companion: IntArray, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Pixels: first those that are on their own and one of each pair, then the others."""
    series = plan.series
    beam_px = series.bmaj_arcsec / series.pixel_arcsec
    alone = np.flatnonzero(companion < 0)
    at_edge = np.array([settings[i] is Setting.EDGE for i in alone])

    def drawn(at_border: Mask) -> FloatArray:
        inner = plan.margin_px + 4.0 * beam_px
        places = rng.uniform(inner, series.size_px - 1 - inner, (len(at_border), 2))
        depth = plan.margin_px + beam_px * rng.uniform(-0.5, 2.0, len(at_border))
        side = rng.integers(4, size=len(at_border))
        depth = np.where(side < 2, depth, series.size_px - 1 - depth)
        rows = np.flatnonzero(at_border)
        places[rows, side[rows] % 2] = depth[rows]
        return places

    at = drawn(at_edge)
    for _ in range(_ATTEMPTS):
        pairs = cKDTree(at).query_pairs(plan.apart_beams * beam_px, output_type="ndarray")
        if len(pairs) == 0:
            break
        again = np.unique(pairs.max(axis=1))
        at[again] = drawn(at_edge[again])
    else:
        msg = (
            f"{len(alone)} places {plan.apart_beams:g} beams apart are not found in "
            f"{series.size_px} x {series.size_px} pixels; take fewer sources or larger images"
        )
        raise ConfigError(msg, n_places=len(alone), size_px=series.size_px)
    places = np.empty((len(settings), 2))
    places[alone] = at
    second = np.flatnonzero(companion >= 0)
    n_injected = plan.n_each * len(SHAPES)
    ranges = np.where([settings[i] is Setting.FORK for i in second], 1.4, 3.0)
    ranges = np.stack([np.full(len(second), 0.8), ranges])
    ranges[:, companion[second] < n_injected] = np.array(plan.injected_blend_beams)[:, np.newaxis]
    distance = rng.uniform(ranges[0], ranges[1]) * beam_px
    angle = rng.uniform(0.0, 2.0 * np.pi, len(second))
    step = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    places[second] = places[companion[second]] + distance[:, np.newaxis] * step
    return places[:, 0], places[:, 1]

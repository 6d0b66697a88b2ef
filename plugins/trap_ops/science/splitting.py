"""Blends that have one peak: what two beams fit better than one wider Gaussian is split.

A Gaussian with free axes and two beams have equally many parameters, so that the better of both is
the likelier one, and neither is preferred for its freedom.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypedDict

import numpy as np

from trap_ops.records.arrays import FloatArray, IntArray, Mask
from trap_ops.science.background import noise_at
from trap_ops.science.component_fits import (
    FREE_RADIUS_FWHM,
    ComponentFits,
    Light,
    Scene,
    alike,
    batches,
    cut_groups,
    fit_limits,
    group_scales,
    stamp_correlation,
)
from trap_ops.science.detection import Peaks
from trap_ops.science.footprints import MAX_GROUP, Footprint, group_components, make_footprint
from trap_ops.science.gaussian_fit import Stamps, fit_gaussians, model


class _Roughly(TypedDict):
    max_iterations: int
    tolerance: float


# Components are tried from this significance of being wider than the beam on.
_TRIED_SIGMA = 3.0
# Two beams must be better than one Gaussian by so many sigma of what noise does to the difference.
_BETTER_SIGMA = 1.0
# Three must be so much better, as they have three parameters more.
_THREE_BETTER_SIGMA = 3.0
# Three are tried where one Gaussian leaves residuals of this significance.
_THREE_TRIED_SIGMA = 4.0
# Starts of the fit: share of the flux of each beam. The fainter one of two is on either side.
_START_SHARES = ((0.5, 0.5), (0.77, 0.23), (0.23, 0.77), (1 / 3, 1 / 3, 1 / 3))
# What is better shows long before a fit is exact, and what is split is fitted anew.
_ROUGHLY: _Roughly = {"max_iterations": 12, "tolerance": 1e-4}
_NEARLY: _Roughly = {"max_iterations": 30, "tolerance": 1e-6}
_FIRST_STEPS: _Roughly = {"max_iterations": 5, "tolerance": 1e-3}
# What leaves so many times the squared residuals of one Gaussian after these steps is given up.
_HOPELESS = 2.0
# A start may be so many beams off.
_REACH_BEAMS = 2.0
# Footprints are so many steps wider than those of the fit with free shape: a faint companion lies
# at the rim of these.
_WIDER_STEPS = 2
# Variance of a start along the axis that is split, in beam variances: at least so much.
_LEAST_VARIANCE = 0.2


@dataclass(frozen=True)
class Split:
    """A scene after splitting.

    Attributes
    ----------
    scene : Scene
    source : numpy.ndarray of int, (n,)
        Number of each component before; -1 for new ones.
    parameters : numpy.ndarray, (n, 6)
        Of the new components, where fits may begin; NaN for the others.
    """

    scene: Scene
    source: IntArray
    parameters: FloatArray


def split_components(
    scene: Scene,
    free: ComponentFits,
    resolved_sigma: FloatArray,
    detection_sigma: float,
    tried: Mask,
) -> Split | None:
    """Replace the components of groups that one more beam fits better.

    Parameters
    ----------
    scene : Scene
    free : ComponentFits
        With free shapes.
    resolved_sigma : numpy.ndarray, (n,)
        Significance of each component being wider than the beam.
    detection_sigma : float
        All beams must reach it.
    tried : numpy.ndarray of bool, (n,)
        Only groups with one of these are looked at.

    Returns
    -------
    Split or None
        None if nothing is split.
    """
    wide = free.good & tried & ((resolved_sigma > _TRIED_SIGMA) | free.poor)
    groups = np.unique(scene.group[wide])
    groups = groups[scene.size[groups] < MAX_GROUP]
    pairs = scene.shining_pairs
    light = Light(pairs, free.parameters, free.good) if len(pairs) else None
    gone, made = [], []
    for chosen, covariance in alike(scene, groups, group_scales(scene, _WIDER_STEPS)):
        members = scene.members(chosen)
        members = members[free.good[members].all(axis=1)]
        footprint = make_footprint(covariance, FREE_RADIUS_FWHM, members.shape[1])
        for batch in batches(members, footprint):
            for better, beams in _tries(
                scene, free, resolved_sigma, batch, footprint, light, detection_sigma
            ):
                gone += list(batch[better])
                made += list(beams)
    return _replaced(scene, gone, made) if gone else None


def _tries(
    scene: Scene,
    free: ComponentFits,
    resolved_sigma: FloatArray,
    members: IntArray,
    footprint: Footprint,
    light: Light | None,
    detection_sigma: float,
) -> Iterator[tuple[IntArray, FloatArray]]:
    """Which groups (b, k) two beams in place of their widest component fit better, and all beams.

    Then the same for three beams; a group is split once.
    """
    cut, _ = cut_groups(scene, members, footprint, light)
    stamps = cut.stamps
    x, y = scene.peaks.x[members[:, :1]], scene.peaks.y[members[:, :1]]
    before = free.parameters[members].copy()
    before[:, :, 0] /= cut.rms[:, None]
    before[:, :, 1] -= x
    before[:, :, 2] -= y
    limits = fit_limits(scene)
    # This one nearly to the end: a poor fit would make anything look better.
    whole = fit_gaussians(stamps, before, shape_free=True, **limits, **_NEARLY)
    widest = np.argmax(resolved_sigma[members], axis=1)
    correlation = stamp_correlation(scene.correlation, stamps, members.shape[1])
    waiting = np.arange(len(members))
    for n_beams, limit in ((2, _BETTER_SIGMA), (3, _THREE_BETTER_SIGMA)):
        if n_beams == 3:
            # Only what two beams do not explain, and one Gaussian does not either.
            excess = whole.chi2 - stamps.weight.sum(axis=1)
            usual = np.sqrt(2.0 * (correlation**2).sum(axis=(-2, -1)))
            waiting = waiting[(excess > _THREE_TRIED_SIGMA * usual)[waiting]]
        if members.shape[1] + n_beams - 1 > MAX_GROUP or len(waiting) == 0:
            return
        part = stamps.take(waiting)
        best, chi2 = _best_fit(
            scene,
            part,
            whole.parameters[waiting],
            whole.chi2[waiting],
            widest[waiting],
            n_beams,
        )
        change = model(best, part) - model(whole.parameters[waiting], part)
        noise = correlation if correlation.ndim == 2 else correlation[waiting]
        spread = np.sqrt(((change[:, None, :] @ noise)[:, 0, :] * change).sum(axis=1))
        better = (whole.chi2[waiting] - chi2) / 2.0 > limit * spread
        better &= (best[:, :, 0] >= detection_sigma).all(axis=1)
        beams = best.copy()
        beams[:, :, 0] *= cut.rms[waiting, None]
        beams[:, :, 1] += x[waiting]
        beams[:, :, 2] += y[waiting]
        yield waiting[better], beams[better]
        waiting = waiting[~better]


def _best_fit(
    scene: Scene,
    stamps: Stamps,
    before: FloatArray,
    single_chi2: FloatArray,
    widest: IntArray,
    n_beams: int,
) -> tuple[FloatArray, FloatArray]:
    """Of the fits from all starts, the best one of each group: parameters and chi-squared."""
    limits = fit_limits(scene)
    limits["max_shift_px"] = _REACH_BEAMS * scene.beam_fwhm_px
    starts = [
        _start(before, widest, scene.beam, np.array(shares))
        for shares in _START_SHARES
        if len(shares) == n_beams
    ]
    # All starts in one batch, a few steps; then the best of each group, if it may win at all.
    n = len(before)
    item = np.tile(np.arange(n), len(starts))
    tried = fit_gaussians(
        stamps.take(item), np.concatenate(starts), shape_free=False, **limits, **_FIRST_STEPS
    )
    best = tried.chi2.reshape(len(starts), n).argmin(axis=0) * n + np.arange(n)
    parameters, chi2 = tried.parameters[best], tried.chi2[best]
    hopeful = np.flatnonzero(chi2 < _HOPELESS * single_chi2)
    if len(hopeful):
        fit = fit_gaussians(
            stamps.take(hopeful), parameters[hopeful], shape_free=False, **limits, **_ROUGHLY
        )
        parameters[hopeful], chi2[hopeful] = fit.parameters, fit.chi2
    return parameters, chi2


def _start(
    before: FloatArray, widest: IntArray, beam: FloatArray, shares: FloatArray
) -> FloatArray:
    """Beams in place of Gaussians (b, k, 6): several in a row in place of the widest of each group.

    These have its flux, its centre and, along its longest axis, its variance.
    """
    item = np.arange(len(before))
    inverse = np.linalg.inv(beam)
    split = before[item, widest]
    # In coordinates in which the beam is a unit circle.
    lower = np.linalg.cholesky(beam)
    precision = np.empty((len(before), 2, 2))
    precision[:, 0, 0], precision[:, 1, 1] = split[:, 3], split[:, 5]
    precision[:, 0, 1] = precision[:, 1, 0] = split[:, 4]
    values, vectors = np.linalg.eigh(lower.T @ precision @ lower)
    excess = np.maximum(1.0 / values[:, 0] - 1.0, _LEAST_VARIANCE)
    # Evenly spaced places whose mean is 0 and whose variance is 1, with these weights.
    place = np.arange(len(shares)) - (shares * np.arange(len(shares))).sum()
    place /= np.sqrt((shares * place**2).sum())
    step = np.sqrt(excess)[:, None] * (lower @ vectors[:, :, :1])[:, :, 0]
    flux = split[:, 0] / np.sqrt(values.prod(axis=1))
    start = np.concatenate([before] + [split[:, None]] * (len(shares) - 1), axis=1)
    start[:, :, 3:] = inverse[0, 0], inverse[0, 1], inverse[1, 1]
    slots = [widest, *range(before.shape[1], start.shape[1])]
    for slot, share, at in zip(slots, shares, place, strict=True):
        start[item, slot, 0] = flux * share
        start[item, slot, 1:3] = split[:, 1:3] + at * step
    return start


def _replaced(scene: Scene, gone: list[IntArray], made: list[FloatArray]) -> Split:
    """Scene with the components of split groups replaced by beams."""
    peaks, (ny, nx) = scene.peaks, scene.data.shape
    old = np.concatenate(gone)
    beams = np.concatenate(made)
    count = np.array([len(item) for item in made])
    first = np.array([item[0] for item in gone])
    n_pixels = np.array([peaks.n_pixels[item].sum() for item in gone])
    stays = np.ones(len(peaks), dtype=bool)
    stays[old] = False
    kept = np.flatnonzero(stays)
    x = np.clip(np.rint(beams[:, 1]), 0, nx - 1).astype(np.intp)
    y = np.clip(np.rint(beams[:, 2]), 0, ny - 1).astype(np.intp)
    background, rms = noise_at(scene.grid, x, y)
    new = Peaks(
        x=x,
        y=y,
        value=beams[:, 0],
        snr=beams[:, 0] / rms,
        island=np.repeat(peaks.island[first], count),
        n_pixels=np.repeat(np.maximum(n_pixels // count, 1), count),
    )
    joined = Peaks(
        **{name: np.concatenate([vars(peaks)[name][kept], vars(new)[name]]) for name in vars(peaks)}
    )
    order = np.lexsort((joined.x, joined.y))
    source = np.concatenate([kept, np.full(len(beams), -1)])[order]
    parameters = np.concatenate([np.full((len(kept), 6), np.nan), beams])[order]
    joined = Peaks(**{name: value[order] for name, value in vars(joined).items()})
    return Split(
        replace(
            scene,
            peaks=joined,
            background=np.concatenate([scene.background[kept], background])[order],
            rms=np.concatenate([scene.rms[kept], rms])[order],
            group=group_components(joined.x, joined.y, scene.beam),
            split=np.concatenate([scene.split[kept], np.ones(len(beams), dtype=bool)])[order],
        ),
        source,
        parameters,
    )


def changed_components(before: Scene, split: Split) -> Mask:
    """Which components are new, or are in a group that had other members before, (n,)."""
    source, group = split.source, split.scene.group
    old = np.where(source >= 0, before.group[source], -1)
    # A group is what it was if all its members come from one, and that one had no more.
    n = split.scene.size
    least = np.full(len(n), np.iinfo(np.intp).max)
    most = np.full(len(n), -1)
    np.minimum.at(least, group, old)
    np.maximum.at(most, group, old)
    same = (least == most) & (least >= 0)
    same[same] &= before.size[least[same]] == n[same]
    return np.asarray(~same[group])

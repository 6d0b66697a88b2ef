"""Fit the components of an image: groups of blended ones together, in batches of one size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypedDict

import numpy as np

from trap_ops.records.arrays import FloatArray, Image, IntArray, Mask
from trap_ops.records.images import Autocorrelation, NoiseGrid
from trap_ops.science.beam import FWHM_PER_SIGMA, area_of_covariance, fwhm_of_covariance
from trap_ops.science.detection import Peaks
from trap_ops.science.footprint_excess import footprint_excess
from trap_ops.science.footprints import Footprint, GroupStamps, cut_stamps, make_footprint
from trap_ops.science.gaussian_fit import (
    N_FREE,
    N_HELD,
    Stamps,
    fit_errors,
    fit_gaussians,
    model,
)
from trap_ops.science.moments import Moments, measure_moments
from trap_ops.science.neighbours import close_pairs
from trap_ops.science.noise import correlation_at

HELD_RADIUS_FWHM = 0.5
FREE_RADIUS_FWHM = 0.8
# Footprints of extended components grow in these steps, in units of the beam.
_SCALES = np.array([1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0])
# A component that shines more than this many sigma into a stamp of another group is subtracted.
_CONTAMINATION_SIGMA = 0.05
_CONTAMINATION_REACH_BEAMS = 5.0
# Residuals with more than so many times the square sum that noise would leave are a poor fit.
_POOR_FIT = 6.0
_BATCH_PIXELS = 1 << 17


@dataclass(frozen=True)
class Scene:
    """What all passes over an image share.

    Attributes
    ----------
    data, mask : numpy.ndarray, (ny, nx)
    peaks : Peaks
        The n components.
    beam : numpy.ndarray, (2, 2)
        Covariance of the beam over pixel offsets.
    correlation : Autocorrelation
    grid : NoiseGrid
    background, rms : numpy.ndarray, (n,)
        At each peak, units of the image.
    split : numpy.ndarray of bool, (n,)
        Components that splitting made: they are beams, whatever else is fitted.
    group : numpy.ndarray of int, (n,)
        Components of one group are fitted together; counted from 0 without gaps.
    analysis_sigma : float
    """

    data: Image
    mask: Mask | None
    peaks: Peaks
    beam: FloatArray
    correlation: Autocorrelation
    grid: NoiseGrid
    background: FloatArray
    rms: FloatArray
    split: Mask
    group: IntArray
    analysis_sigma: float

    @cached_property
    def size(self) -> IntArray:
        """Number of components of each group."""
        return np.bincount(self.group)

    @cached_property
    def shining_pairs(self) -> IntArray:
        """Pairs (component, one of another group that shines into its stamp), (m, 2)."""
        return _shining_pairs(self)

    def members(self, groups: IntArray) -> IntArray:
        """Components of groups of equal size k, (len(groups), k), in canonical order."""
        order = np.argsort(self.group, kind="stable")
        first = np.cumsum(self.size) - self.size
        k = int(self.size[groups[0]])
        return np.asarray(order[first[groups][:, None] + np.arange(k)])

    @property
    def beam_fwhm_px(self) -> float:
        """Geometric mean of the beam's axes, pixels."""
        return fwhm_of_covariance(self.beam)


@dataclass
class ComponentFits:
    """Results of one pass over all n components.

    Attributes
    ----------
    parameters : numpy.ndarray, (n, 6)
        Amplitude in units of the image, x and y in pixels, and the three elements of the inverse
        covariance of the Gaussian over pixel offsets; NaN where nothing was fitted.
    covariance : numpy.ndarray, (n, m, m)
        Of the first m parameters: 6, or 3 where the shape was held.
    excess : numpy.ndarray, (n, m)
        By how much noise raises them on average; the parameters have not been corrected for it.
    chi2, n_pixels : numpy.ndarray, (n,)
        Squared residuals over rms squared, and how many pixels they are of.
    good : numpy.ndarray of bool, (n,)
        The fit converged on a component above zero.
    poor, edge, masked, contaminated : numpy.ndarray of bool, (n,)
        Large residuals; a footprint that is not whole; one with masked pixels; light of other
        groups was subtracted.
    """

    parameters: FloatArray
    covariance: FloatArray
    excess: FloatArray
    chi2: FloatArray
    n_pixels: FloatArray
    good: Mask
    poor: Mask
    edge: Mask
    masked: Mask
    contaminated: Mask

    def copy(self) -> ComponentFits:
        """Return results that can be changed without changing these."""
        return ComponentFits(**{name: value.copy() for name, value in vars(self).items()})

    def moved(self, source: IntArray) -> ComponentFits:
        """Results in another numbering: of components ``source``, nothing where that is -1."""
        made = _nothing(len(source), self.covariance.shape[1])
        kept = source >= 0
        for name, value in vars(made).items():
            value[kept] = vars(self)[name][source[kept]]
        return made


def fit_components(
    scene: Scene,
    *,
    shape_free: bool,
    start: ComponentFits | None = None,
    changed: Mask | None = None,
) -> ComponentFits:
    """Fit every group, then once more those that bright components of other groups shine into.

    Parameters
    ----------
    scene : Scene
    shape_free : bool
        Fit the shape too, on a footprint that grows with the component; else hold the beam's.
    start : ComponentFits, optional
        Where to begin, for the components that are good there; the others begin at their peaks.
    changed : numpy.ndarray of bool, (n,), optional
        Fit only the groups of these components, and those that they shine into. Everything else
        stays as it is in ``start``, which must come from such a pass.
    """
    n = len(scene.peaks)
    begin = _at_peaks(scene)
    if start is not None:
        begin[start.good] = start.parameters[start.good]
    n_per = N_FREE if shape_free else N_HELD
    fits = _nothing(n, n_per) if start is None or changed is None else start.copy()
    size = scene.size
    scale = group_scales(scene) if shape_free else np.zeros(len(size), dtype=np.intp)
    radius = FREE_RADIUS_FWHM if shape_free else HELD_RADIUS_FWHM
    raised: dict[tuple[bytes, int], FloatArray] = {}
    anew = np.ones(len(size), dtype=bool)
    if changed is not None:
        anew = np.bincount(scene.group[changed], minlength=len(size)) > 0
    for neighbours in (None, scene.shining_pairs):
        groups = np.flatnonzero(anew)
        light = None
        if neighbours is not None:
            touched = anew[scene.group[neighbours]].any(axis=1)
            groups = np.unique(scene.group[neighbours[touched, 0]])
            # As they were before: no fit may depend on which group's turn comes first.
            light = Light(neighbours, fits.parameters.copy(), fits.good.copy())
        for chosen, covariance in alike(scene, groups, scale):
            members = scene.members(chosen)
            footprint = make_footprint(covariance, radius, members.shape[1])
            key = (covariance.tobytes(), footprint.stride)
            if key not in raised:
                raised[key] = footprint_excess(
                    footprint, covariance, scene.correlation, shape_free=shape_free
                )
            for batch in batches(members, footprint):
                _fit_batch(scene, begin, batch, footprint, raised[key], light, fits)
    return fits


def _nothing(n: int, n_per: int) -> ComponentFits:
    return ComponentFits(
        parameters=np.full((n, 6), np.nan),
        covariance=np.full((n, n_per, n_per), np.nan),
        excess=np.full((n, n_per), np.nan),
        chi2=np.full(n, np.nan),
        n_pixels=np.zeros(n),
        good=np.zeros(n, dtype=bool),
        poor=np.zeros(n, dtype=bool),
        edge=np.zeros(n, dtype=bool),
        masked=np.zeros(n, dtype=bool),
        contaminated=np.zeros(n, dtype=bool),
    )


def group_scales(scene: Scene, wider: int = 0) -> IntArray:
    """Index into the footprint scales of each group: that of its widest component, or wider."""
    made = np.zeros(len(scene.size), dtype=np.intp)
    np.maximum.at(made, scene.group, _footprint_scale(scene))
    return np.minimum(made + wider, len(_SCALES) - 1)


def alike(scene: Scene, groups: IntArray, scale: IntArray) -> Iterator[tuple[IntArray, FloatArray]]:
    """Groups that make a batch, and the Gaussian that gives the shape of their footprints.

    These have equally many components and footprints of equal scale.
    """
    size = scene.size
    for k in np.unique(size[groups]):
        for index in np.unique(scale[groups]):
            chosen = groups[(size[groups] == k) & (scale[groups] == index)]
            if len(chosen):
                yield chosen, scene.beam * _SCALES[index] ** 2


def _at_peaks(scene: Scene) -> FloatArray:
    """Parameters of beams at the peak pixels, (n, 6)."""
    inverse = np.linalg.inv(scene.beam)
    parameters = np.empty((len(scene.peaks), 6))
    parameters[:, 0] = scene.peaks.value
    parameters[:, 1] = scene.peaks.x
    parameters[:, 2] = scene.peaks.y
    parameters[:, 3:] = inverse[0, 0], inverse[0, 1], inverse[1, 1]
    return parameters


def batches(members: IntArray, footprint: Footprint) -> Iterator[IntArray]:
    """Groups (b, k) in pieces that bound the memory of their stamps."""
    per_item = members.shape[1] * len(footprint)
    # The correlation matrix of a joint fit differs from group to group and is the larger part.
    cost = per_item * N_FREE * members.shape[1]
    if members.shape[1] > 1:
        cost += per_item**2
    step = max(1, _BATCH_PIXELS * 4 // cost)
    return (members[first : first + step] for first in range(0, len(members), step))


def _fit_batch(
    scene: Scene,
    begin: FloatArray,
    members: IntArray,
    footprint: Footprint,
    raised: FloatArray,
    light: Light | None,
    fits: ComponentFits,
) -> None:
    peaks = scene.peaks
    n_per = len(raised)
    shape_free = n_per == N_FREE
    cut, foreign = cut_groups(scene, members, footprint, light)
    stamps = cut.stamps
    if foreign is not None:
        fits.contaminated[members] |= (foreign * stamps.weight).max(axis=1)[:, None] > 1.0
    reference_x, reference_y = peaks.x[members[:, :1]], peaks.y[members[:, :1]]
    start = begin[members]
    start[:, :, 0] /= cut.rms[:, None]
    start[:, :, 1] -= reference_x
    start[:, :, 2] -= reference_y
    fit = fit_gaussians(stamps, start, shape_free=shape_free, **fit_limits(scene))
    correlation = stamp_correlation(scene.correlation, stamps, members.shape[1])
    errors = fit_errors(fit.parameters, stamps, correlation, shape_free=shape_free)
    covariance, excess = errors.covariance, errors.excess
    variance = np.einsum("bii->bi", covariance).reshape(*members.shape, n_per)
    good = fit.converged[:, None] & (fit.parameters[:, :, 0] > 0.0) & (variance > 0.0).all(axis=2)
    # As if each component were alone, and had the width that the footprint is made for.
    amplitude = np.where(good, fit.parameters[:, :, 0], 1.0)
    moved = raised / amplitude[:, :, None] ** 2
    moved[:, :, 0] *= amplitude
    excess += moved
    # Where it is larger than the error the expansion fails: two components fall together.
    known = (excess**2 < variance).all(axis=2) & (excess[:, :, 0] < fit.parameters[:, :, 0])
    excess[~known] = 0.0
    excess[:, :, 0] *= cut.rms[:, None]
    fits.excess[members] = excess
    absolute = fit.parameters.copy()
    absolute[:, :, 0] *= cut.rms[:, None]
    absolute[:, :, 1] += reference_x
    absolute[:, :, 2] += reference_y
    fits.parameters[members] = absolute
    blocks = covariance.reshape(len(members), members.shape[1], n_per, members.shape[1], n_per)
    for component in range(members.shape[1]):
        block = blocks[:, component, :, component].copy()
        # Amplitude rows and columns from units of the rms back to those of the image.
        block[:, 0, :] *= cut.rms[:, None]
        block[:, :, 0] *= cut.rms[:, None]
        fits.covariance[members[:, component]] = block
    fits.chi2[members] = fit.chi2[:, None]
    fits.poor[members] = (fit.chi2 > _POOR_FIT * errors.expected_chi2)[:, None]
    fits.n_pixels[members] = stamps.weight.sum(axis=1)[:, None]
    fits.good[members] = good
    fits.edge[members] = cut.incomplete[:, None]
    fits.masked[members] = cut.masked[:, None]


class FitLimits(TypedDict):
    """How far a fit may go; see :func:`~trap_ops.science.gaussian_fit.fit_gaussians`."""

    max_shift_px: float
    sigma_limits_px: tuple[float, float]


def fit_limits(scene: Scene) -> FitLimits:
    """How far from its start a component may move, and between which widths it must stay."""
    narrow, wide = np.sqrt(np.linalg.eigvalsh(scene.beam)).tolist()
    return {
        "max_shift_px": max(1.5, 0.75 * scene.beam_fwhm_px),
        "sigma_limits_px": (0.4 * narrow, 12.0 * wide),
    }


def component_moments(
    scene: Scene, wanted: Mask, *, force_beam: bool
) -> Iterator[tuple[IntArray, Moments]]:
    """Components from the moments of their own pixels above the analysis threshold.

    Those without such a pixel are left out: their peaks are of another image.

    Parameters
    ----------
    scene : Scene
    wanted : numpy.ndarray of bool, (n,)
    force_beam : bool
    """
    groups = np.unique(scene.group[wanted])
    for chosen, covariance in alike(scene, groups, group_scales(scene)):
        members = scene.members(chosen)
        footprint = make_footprint(covariance, FREE_RADIUS_FWHM, members.shape[1])
        for batch in batches(members, footprint):
            cut, _ = cut_groups(scene, batch, footprint, None)
            pixels = (batch.size, len(footprint))
            value = (cut.stamps.value * cut.rms[:, None]).reshape(pixels)
            x, y = (at.reshape(pixels).astype(np.float64) for at in (cut.column, cut.row))
            component = batch.ravel()
            threshold = scene.analysis_sigma * scene.rms[component]
            used = cut.stamps.weight.reshape(pixels) > 0.0
            used &= value > threshold[:, None]
            kept = wanted[component] & used.any(axis=1)
            yield (
                component[kept],
                measure_moments(
                    value[kept], x[kept], y[kept], used[kept], threshold[kept],
                    scene.rms[component[kept]], scene.beam, force_beam=force_beam,
                ),
            )  # fmt: skip


def cut_groups(
    scene: Scene, members: IntArray, footprint: Footprint, light: Light | None
) -> tuple[GroupStamps, FloatArray | None]:
    """Stamps of groups (b, k), and the light of other groups that was subtracted from them."""
    peaks = scene.peaks
    cut = cut_stamps(
        scene.data,
        scene.mask,
        footprint,
        peaks.x[members],
        peaks.y[members],
        scene.background[members],
        scene.rms[members],
        scene.beam,
    )
    if light is None:
        return cut, None
    foreign = _foreign_light(scene, cut, members, light)
    stamps = cut.stamps
    clean = Stamps(stamps.value - foreign * stamps.weight, stamps.x, stamps.y, stamps.weight)
    return replace(cut, stamps=clean), foreign


def stamp_correlation(
    correlation: Autocorrelation, stamps: Stamps, n_components: int
) -> FloatArray:
    """Noise correlation between the pixels of each stamp, (p, p) or (b, p, p)."""
    x, y = stamps.x.astype(np.intp), stamps.y.astype(np.intp)
    if n_components == 1:  # One footprint for all.
        x, y = x[:1], y[:1]
    matrix = correlation_at(
        correlation, x[:, :, None] - x[:, None, :], y[:, :, None] - y[:, None, :]
    )
    return matrix[0] if n_components == 1 else matrix


def _footprint_scale(scene: Scene) -> IntArray:
    """Index into the footprint scales, from how much larger a component is than a point source.

    A point source of peak P above a threshold t covers ``2 pi sqrt(det) ln(P / t)`` pixels.
    """
    peaks = scene.peaks
    contrast = np.maximum(peaks.snr / scene.analysis_sigma, 1.5)
    expected = area_of_covariance(scene.beam) * np.log(contrast)
    ratio = np.sqrt(peaks.n_pixels / np.maximum(expected, 1.0))
    return np.clip(np.searchsorted(_SCALES, ratio / 1.2), 0, len(_SCALES) - 1)


def _shining_pairs(scene: Scene) -> IntArray:
    peaks = scene.peaks
    lower = np.linalg.cholesky(scene.beam) * FWHM_PER_SIGMA
    positions = np.linalg.solve(lower, np.stack([peaks.x, peaks.y]).astype(np.float64)).T
    pairs = close_pairs(positions, _CONTAMINATION_REACH_BEAMS)
    both = np.concatenate([pairs, pairs[:, ::-1]])
    both = both[scene.group[both[:, 0]] != scene.group[both[:, 1]]]
    distance = np.sqrt(((positions[both[:, 0]] - positions[both[:, 1]]) ** 2).sum(axis=1))
    nearest = np.maximum(distance - FREE_RADIUS_FWHM, 0.0)
    light = peaks.snr[both[:, 1]] * np.exp2(-4.0 * nearest**2)
    both = both[light > _CONTAMINATION_SIGMA]
    return np.asarray(both[np.lexsort((both[:, 1], both[:, 0]))])


@dataclass(frozen=True)
class Light:
    """What shines into stamps: pairs (component, neighbour), and all fits so far."""

    pairs: IntArray
    parameters: FloatArray
    good: Mask


def _foreign_light(scene: Scene, cut: GroupStamps, members: IntArray, light: Light) -> FloatArray:
    """Light of other groups' components on each stamp, (b, p), in units of its rms."""
    item_of = np.full(len(scene.peaks), -1, dtype=np.intp)
    item_of[members] = np.arange(len(members))[:, None]
    item = item_of[light.pairs[:, 0]]
    relevant = (item >= 0) & light.good[light.pairs[:, 1]]
    # A neighbour of several members of a group shines once.
    pairs = np.unique(np.stack([item[relevant], light.pairs[relevant, 1]], axis=1), axis=0)
    foreign = np.zeros_like(cut.stamps.value)
    if len(pairs) == 0:
        return foreign
    parameters = light.parameters[pairs[:, 1]][:, None, :].copy()
    parameters[:, 0, 0] /= cut.rms[pairs[:, 0]]
    on_pixels = Stamps(
        value=np.zeros((len(pairs), foreign.shape[1])),
        x=cut.column[pairs[:, 0]].astype(np.float64),
        y=cut.row[pairs[:, 0]].astype(np.float64),
        weight=np.ones((len(pairs), foreign.shape[1])),
    )
    np.add.at(foreign, pairs[:, 0], model(parameters, on_pixels))
    return foreign

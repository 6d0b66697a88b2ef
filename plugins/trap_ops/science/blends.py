"""Light curves of close sources that vary because they are told apart in some images only.

Two sources that are nearly one are told apart in some images and not in others. Then the light
curve of each jumps, although their flux together does not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trap_ops.records.arrays import FloatArray, IntArray, Mask
from trap_ops.records.light_curves import MeasuredPoints
from trap_ops.records.sources import Flag
from trap_ops.science.coordinates import separation_of_vectors
from trap_ops.science.keys import numbers_of


@dataclass(frozen=True)
class Surroundings:
    """Candidates' light curves with what is near them; arrays (n,) unless said.

    Attributes
    ----------
    share : numpy.ndarray
        By how much the sum of all flux there changes where the candidate changes by 1: 1 for a
        source that varies, 0 or less where parts exchange flux. NaN with nothing to compare.
    share_err : numpy.ndarray
    complete_share, complete_share_err : numpy.ndarray
        The same with forced fits of neighbours that are not detected, less the light of what is.
        This light is in the error, and as an error that all points have in common.
    certain : numpy.ndarray of bool, (m,)
        Of the candidates' points: whether all that is there has been fitted in that image.
    flux_jy, flux_err_jy : numpy.ndarray, (m,)
        Of the same, with the light of the neighbours taken off forced fits; all of it is in the
        error too.
    """

    share: FloatArray
    share_err: FloatArray
    complete_share: FloatArray
    complete_share_err: FloatArray
    certain: Mask
    flux_jy: FloatArray
    flux_err_jy: FloatArray


def unfitted(flags: IntArray) -> Mask:
    """Whether measurements are of blends that no fit converged for."""
    blended = (flags & (Flag.BLEND | Flag.SPLIT)) != 0
    return np.asarray(blended & ((flags & Flag.NOT_FITTED) != 0))


def look_around(
    points: MeasuredPoints,
    candidate: IntArray,
    members: MeasuredPoints,
    group: IntArray,
    vectors: FloatArray,
    beam_deg: FloatArray,
) -> Surroundings:
    """Compare candidates with all that is detected about them.

    Parameters
    ----------
    points : MeasuredPoints, (m,)
        Of the candidates' light curves.
    candidate : numpy.ndarray of int, (m,)
        Which candidate each is of.
    members : MeasuredPoints, (k,)
        Blind detections that belong to a candidate or a neighbour of it, in the same band and
        Stokes, and forced fits of the neighbours; one that belongs to several can be repeated.
    group : numpy.ndarray of int, (k,)
        Candidate whose surroundings each is in.
    vectors : numpy.ndarray, (n, 3)
        Of the candidates' positions.
    beam_deg : numpy.ndarray, (n,)
        Full width of the beam.
    """
    # After a fork a measurement is a point of several light curves; it is one measurement.
    _, once = np.unique(np.stack([group, members.measurement]), axis=1, return_index=True)
    # Ids are not the same in every run, and sums are taken in this order.
    at = members.vectors[once]
    once = once[np.lexsort((at[:, 0], at[:, 2], group[once]))]
    members, group = members.take(once), group[once]
    fitted = members.kind != 0
    fits, group_of_fits = members.take(fitted), group[fitted]
    members, group = members.take(~fitted), group[~fitted]
    keys = np.concatenate(
        [np.stack([candidate, points.image], axis=1), np.stack([group, members.image], axis=1)]
    )
    unique, index = np.unique(keys, axis=0, return_inverse=True)
    index = index.reshape(-1)
    here, there = index[: len(points)], index[len(points) :]

    def at_points(values: FloatArray) -> FloatArray:
        summed = np.bincount(there, values, len(unique))
        return np.asarray(summed[here], dtype=np.float64)

    beams = separation_of_vectors(members.vectors, vectors[group]) / beam_deg[group]
    light = np.abs(members.flux_jy) * np.exp(-4.0 * np.log(2.0) * beams**2)
    forced = points.kind != 0
    stray = np.where(forced, at_points(light), 0.0)
    flux = points.flux_jy - stray
    error = np.hypot(points.flux_err_jy, stray)
    total = at_points(members.flux_jy) + np.where(forced, flux, 0.0)
    variance = at_points(members.flux_err_jy**2) + np.where(forced, error**2, 0.0)
    doubtful = at_points(unfitted(members.flags).astype(np.float64)) > 0.0
    certain = ~doubtful & ~unfitted(points.flags)
    # A sum that is hardly known says hardly anything.
    weight = np.where(certain, 1.0 / (error**2 + variance), 0.0)
    share, share_err = _share(candidate, flux, total, weight, np.sqrt(variance), len(vectors))
    left, shared = _without_light(fits, group_of_fits, members, group, beam_deg)
    fit_keys = np.stack([group_of_fits, fits.image], axis=1)
    fitted_there = numbers_of(fit_keys, unique)

    def at_points_of_fits(values: FloatArray) -> FloatArray:
        known = fitted_there >= 0
        summed = np.bincount(fitted_there[known], values[known], len(unique))
        return np.asarray(summed[here], dtype=np.float64)

    in_common = stray + at_points_of_fits(shared)
    complete, complete_err = _share(
        candidate,
        flux,
        total + at_points_of_fits(left),
        weight,
        np.sqrt(variance + at_points_of_fits(fits.flux_err_jy**2)),
        len(vectors),
        in_common,
    )
    return Surroundings(share, share_err, complete, complete_err, certain, flux, error)


def _without_light(
    fits: MeasuredPoints,
    group: IntArray,
    members: MeasuredPoints,
    group_of_members: IntArray,
    beam_deg: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Flux of forced fits less the light of detections in the same image and group.

    And, as an error, that light and what the detections may have of theirs.
    """
    order = np.lexsort((members.image, group_of_members))
    key = np.stack([group_of_members, members.image], axis=1)[order]
    unique, begin, count = np.unique(key, axis=0, return_index=True, return_counts=True)
    place = numbers_of(np.stack([group, fits.image], axis=1), unique)
    number = np.where(place >= 0, count[place] if len(count) else 0, 0)
    fit = np.repeat(np.arange(len(fits)), number)
    step = np.arange(len(fit)) - np.repeat(np.cumsum(number) - number, number)
    member = order[begin[place[fit]] + step] if len(fit) else fit
    beams = separation_of_vectors(fits.vectors[fit], members.vectors[member]) / beam_deg[group[fit]]
    overlap = np.exp(-4.0 * np.log(2.0) * beams**2)
    light = np.abs(members.flux_jy[member]) * overlap
    lent = np.asarray(np.bincount(fit, light, len(fits)), dtype=np.float64)
    left = fits.flux_jy - lent
    # A detection beside it has as much of its light, if it is nothing but a beam.
    back = np.bincount(fit, np.abs(left)[fit] * overlap, len(fits))
    return left, lent + back


def _share(
    candidate: IntArray,
    flux: FloatArray,
    total: FloatArray,
    weight: FloatArray,
    total_err: FloatArray,
    n: int,
    in_common: FloatArray | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Slope of the sums against the candidates' fluxes, and its error; NaN where it has none.

    Errors that all sums have in common add up instead of averaging out.
    """

    def summed(values: FloatArray) -> FloatArray:
        return np.asarray(np.bincount(candidate, values, n), dtype=np.float64)

    sum_weight = summed(weight)
    divisor = np.where(sum_weight > 0.0, sum_weight, 1.0)
    own = flux - (summed(weight * flux) / divisor)[candidate]
    both = total - (summed(weight * total) / divisor)[candidate]
    squares = summed(weight * own**2)
    known = squares > 0.0
    squares = np.where(known, squares, 1.0)
    share = summed(weight * own * both) / squares
    error = np.sqrt(summed((weight * own * total_err) ** 2)) / squares
    if in_common is not None:
        error = np.hypot(error, summed(weight * np.abs(own) * in_common) / squares)
    return np.where(known, share, np.nan), np.where(known, error, np.nan)

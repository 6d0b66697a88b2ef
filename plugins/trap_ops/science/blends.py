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


@dataclass(frozen=True)
class Surroundings:
    """Candidates' light curves with what is near them; arrays (n,) unless said.

    Attributes
    ----------
    share : numpy.ndarray
        By how much the sum of all flux there changes where the candidate changes by 1: 1 for a
        source that varies, 0 or less where parts exchange flux. NaN with nothing to compare.
    share_err : numpy.ndarray
    certain : numpy.ndarray of bool, (m,)
        Of the candidates' points: whether all that is there has been fitted in that image.
    flux_jy, flux_err_jy : numpy.ndarray, (m,)
        Of the same, with the light of the neighbours taken off forced fits; all of it is in the
        error too.
    """

    share: FloatArray
    share_err: FloatArray
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
        Stokes; one that belongs to several of them can be repeated.
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
    share, share_err = _share(candidate, flux, total, weight, variance, len(vectors))
    return Surroundings(share, share_err, certain, flux, error)


def _share(
    candidate: IntArray,
    flux: FloatArray,
    total: FloatArray,
    weight: FloatArray,
    variance: FloatArray,
    n: int,
) -> tuple[FloatArray, FloatArray]:
    """Slope of the sums against the candidates' fluxes, and its error; NaN where it has none."""

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
    error = np.sqrt(summed(weight**2 * own**2 * variance)) / squares
    return np.where(known, share, np.nan), np.where(known, error, np.nan)

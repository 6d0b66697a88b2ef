"""What a candidate may be instead of a source that varies: artefacts that have a name."""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from scipy.spatial import cKDTree
from scipy.special import gammainc

from trap_ops.records.arrays import FloatArray, IntArray, Mask
from trap_ops.science.bright_sources import moving_directions
from trap_ops.science.candidates import log10_chances, log10_of_all
from trap_ops.science.curve_memory import measure_shapes
from trap_ops.science.curve_shapes import blocks, contrasts

# Angular radius of what moves in the solar system as seen from anywhere on the Earth (deg): of the
# Moon it is mostly that we take it from the centre of the Earth.
_BODIES_DEG = {
    "Sun": 0.27,
    "Moon": 1.25,
    "Mercury": 0.003,
    "Venus": 0.015,
    "Mars": 0.01,
    "Jupiter": 0.01,
    "Saturn": 0.01,
    "Uranus": 0.003,
    "Neptune": 0.003,
}
# Nothing of this strays farther from the ecliptic, whose pole is here (J2000).
_ECLIPTIC_DEG = 12.0
_POLE = np.array([0.0, -0.39777716, 0.91748206])


class Veto(StrEnum):
    """Artefacts that a candidate may be."""

    SIDELOBE = "sidelobe"  # close to a source that is brighter by far
    EDGE = "edge"  # its points are at the edge of what an image shows
    CROWDED_IMAGE = "crowded_image"  # one of very many new sources in one image
    FIXED_PIXEL = "fixed_pixel"  # others are at the same pixel elsewhere on the sky
    SOLAR_SYSTEM = "solar_system"  # the Sun, the Moon or a planet was there
    BLEND = "blend"  # its flux and that of its neighbours together is steady


def log10_chance_of(
    curve: IntArray,
    flux_jy: FloatArray,
    error_jy: FloatArray,
    n: int,
    error_uncertainty: float = 0.0,
) -> FloatArray:
    """Chance that steady sources have these light curves, (n,), as candidates are chosen by.

    Decimal logarithms; 0 for curves of less than two points.
    """
    count = np.bincount(curve, minlength=n)
    eta = np.zeros(n)
    for block in blocks(curve, flux_jy, error_jy, n):
        deviation = contrasts(block).deviation
        squares = np.cumsum(block.weight * deviation**2, axis=1)[:, -1]
        eta[block.curves] = squares / np.maximum(block.count - 1, 1)
    shapes = measure_shapes(curve, flux_jy, error_jy, n)
    chances = log10_chances(eta, count, shapes, error_uncertainty)
    return np.nan_to_num(log10_of_all(chances), nan=0.0)


def near_pairs(
    first: FloatArray, second: FloatArray, reach_deg: float
) -> tuple[IntArray, IntArray, FloatArray]:
    """Pairs of unit vectors that are at most so far apart: both numbers, and degrees between."""
    if len(first) == 0 or len(second) == 0:
        return np.empty(0, dtype=np.intp), np.empty(0, dtype=np.intp), np.empty(0)
    chord = 2.0 * np.sin(np.radians(min(reach_deg, 180.0)) / 2.0)
    pairs = cKDTree(first).sparse_distance_matrix(cKDTree(second), chord, output_type="ndarray")
    angle = np.degrees(2.0 * np.arcsin(np.minimum(pairs["v"] / 2.0, 1.0)))
    order = np.lexsort((pairs["j"], pairs["i"]))
    return pairs["i"][order], pairs["j"][order], angle[order]


def brightest_near(
    excess_jy: FloatArray,
    one: IntArray,
    other: IntArray,
    flux_jy: FloatArray,
    ratio: float,
) -> IntArray:
    """Of each candidate the brightest neighbour that is brighter by a factor, (n,); -1 if none.

    Parameters
    ----------
    excess_jy : numpy.ndarray, (n,)
        What stands out of the candidates' light curves.
    one, other : numpy.ndarray of int, (m,)
        Pairs of a candidate and a neighbour.
    flux_jy : numpy.ndarray
        Of what ``other`` counts.
    ratio : float
    """
    found = np.full(len(excess_jy), -1)
    brighter = np.abs(flux_jy[other]) >= ratio * excess_jy[one]
    one, other = one[brighter], other[brighter]
    order = np.lexsort((other, -np.abs(flux_jy[other]), one))
    first = order[np.unique(one[order], return_index=True)[1]]
    found[one[first]] = other[first]
    return found


def crowded(count: IntArray, chance: float, fewest: int) -> Mask:
    """Which images have more new sources than can be by chance, (n,).

    Parameters
    ----------
    count : numpy.ndarray of int, (n,)
        Number of new sources first seen in each image.
    chance : float
        That any image of as many has so many new sources, if new sources come as in the others.
    fewest : int
        Fewer are never too many.

    Notes
    -----
    Poisson, with the mean of the other images; one more source is added to these, so that the first
    ones of a dataset are possible.
    """
    if len(count) < 2:
        return np.zeros(len(count), dtype=bool)
    others = len(count) - 1
    expected = (count.sum() - count + 1.0) / others
    as_many = gammainc(np.maximum(count, 1), expected)
    return np.asarray((count >= fewest) & (as_many * len(count) < chance))


def same_pixel(
    candidate: IntArray,
    x_px: FloatArray,
    y_px: FloatArray,
    vectors: FloatArray,
    radius_px: float,
    apart_deg: float,
) -> IntArray:
    """Number of other candidates that were at the same pixel, elsewhere on the sky, (n,).

    Parameters
    ----------
    candidate : numpy.ndarray of int, (m,)
        Candidate of each detection.
    x_px, y_px : numpy.ndarray, (m,)
        NaN where they are not known.
    vectors : numpy.ndarray, (n, 3)
        Positions of the candidates on the sky.
    radius_px : float
    apart_deg : float
        Candidates count that are at least so far from each other on the sky.
    """
    n = len(vectors)
    known = np.isfinite(x_px + y_px)
    candidate, x_px, y_px = candidate[known], x_px[known], y_px[known]
    if len(candidate) < 2:
        return np.zeros(n, dtype=np.intp)
    pairs = cKDTree(np.stack([x_px, y_px], axis=1)).query_pairs(radius_px, output_type="ndarray")
    one, other = candidate[pairs].reshape(-1, 2).T
    one, other = np.concatenate([one, other]), np.concatenate([other, one])
    chord = 2.0 * np.sin(np.radians(apart_deg) / 2.0)
    elsewhere = np.sqrt(((vectors[one] - vectors[other]) ** 2).sum(axis=1)) >= chord
    met = np.unique(np.stack([one[elsewhere], other[elsewhere]]), axis=1)
    return np.bincount(met[0], minlength=n)


def branches(candidate: IntArray, measurement: IntArray, excused: Mask) -> IntArray:
    """Candidates that show nothing which a better one does not show.

    Parameters
    ----------
    candidate : numpy.ndarray of int, (m,)
        Candidate of each point of evidence; they come in order of their scores.
    measurement : numpy.ndarray of int, (m,)
        Its measurement: after a fork several light curves have it.
    excused : numpy.ndarray of bool, (n,)
        Candidates that may be artefacts: they explain no other one.

    Returns
    -------
    numpy.ndarray of int
        None of those that are excused.
    """
    n = len(excused)
    _, number = np.unique(measurement, return_inverse=True)
    best = np.full(len(measurement), n)
    counted = ~excused[candidate]
    np.minimum.at(best, number[counted], candidate[counted])
    has_own = np.bincount(candidate, best[number] >= candidate, n) > 0
    shows = np.bincount(candidate, minlength=n) > 0
    return np.flatnonzero(shows & ~has_own & ~excused)


def bodies_at(
    vectors: FloatArray, days: FloatArray, fractions: FloatArray, reach_deg: FloatArray
) -> list[str]:
    """Which body of the solar system was at positions at times: names, "" for none.

    Parameters
    ----------
    vectors : numpy.ndarray, (n, 3)
    days, fractions : numpy.ndarray, (n,)
        Julian dates in UTC, in two parts.
    reach_deg : numpy.ndarray, (n,)
        Beyond its own size, how far a body reaches.
    """
    found = [""] * len(vectors)
    height = np.degrees(np.arcsin(np.clip(vectors @ _POLE, -1.0, 1.0)))
    asked = np.flatnonzero(np.abs(height) < _ECLIPTIC_DEG + reach_deg)
    if len(asked) == 0:
        return found
    directions = moving_directions(days[asked], fractions[asked], tuple(_BODIES_DEG))
    for name, radius in _BODIES_DEG.items():
        cosine = np.clip((directions[name] * vectors[asked]).sum(axis=1), -1.0, 1.0)
        close = np.degrees(np.arccos(cosine)) <= radius + reach_deg[asked]
        for item in asked[close].tolist():
            found[item] = found[item] or name
    return found

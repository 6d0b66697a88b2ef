"""Which detection belongs to which sky source (SCIENCE.md 5 with decisions D6, D7, D8, D19).

Two halves that know nothing of each other: :func:`score` finds all pairs that could be the same
source and how well they agree; :func:`match` decides on the pairs alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from trap_ops.records.arrays import FloatArray, IntArray, Mask
from trap_ops.records.sources import Detections
from trap_ops.science.catalogue import Catalogue
from trap_ops.science.coordinates import (
    ra_difference,
    separation_of_vectors,
    unit_vectors,
)

# De Ruiter radii, and distances, that agree to this fraction are ties.
_TIE = 1e-9


@dataclass(frozen=True)
class Pairs:
    """Pairs of a sky source and a detection; all arrays (m,).

    Attributes
    ----------
    source, detection : numpy.ndarray of int
        Indices.
    r : numpy.ndarray
        De Ruiter radius.
    distance_arcsec : numpy.ndarray
    """

    source: IntArray
    detection: IntArray
    r: FloatArray
    distance_arcsec: FloatArray

    def __len__(self) -> int:
        """Count the pairs."""
        return len(self.source)

    def take(self, items: IntArray | Mask) -> Pairs:
        """Return some of the pairs."""
        return Pairs(
            self.source[items],
            self.detection[items],
            self.r[items],
            self.distance_arcsec[items],
        )


@dataclass(frozen=True)
class Matches:
    """What becomes of the pairs of one image.

    Attributes
    ----------
    updates : Pairs
        The source takes the detection (one to one, or many sources to one detection).
    forks : Pairs
        Pairs of sources that have two or more detections: each pair makes a source of its own.
    new : numpy.ndarray of int
        Detections without any pair: each founds a source.
    """

    updates: Pairs
    forks: Pairs
    new: IntArray


def score(
    catalogue: Catalogue,
    detections: Detections,
    *,
    stokes: int,
    max_separation_deg: float,
    max_deruiter: float,
) -> Pairs:
    """Find all pairs within the limits, in order of source, then detection (SCIENCE.md 5.1, 5.2).

    Parameters
    ----------
    catalogue : Catalogue
        Active sources of this Stokes parameter take part.
    detections : Detections
    stokes : int
    max_separation_deg : float
        Pairs at this distance or further are no candidates.
    max_deruiter : float
        Nor are pairs with this De Ruiter radius or a larger one.

    Notes
    -----
    Equivalent to testing every source against every detection; the tree only prunes.
    """
    sources = np.flatnonzero(catalogue.active & (catalogue.stokes == stokes))
    if len(sources) == 0 or len(detections) == 0:
        none = np.empty(0, dtype=np.intp)
        return Pairs(none, none, np.empty(0), np.empty(0))
    vectors = unit_vectors(detections.ra_deg, detections.dec_deg)
    # A little wider than the limit: whether a pair counts is decided below, in the same way for
    # every pair, not by the tree's rounding.
    limit = 2.0 * math.sin(math.radians(min(max_separation_deg, 180.0)) / 2.0)
    found = cKDTree(catalogue.vectors[sources]).sparse_distance_matrix(
        cKDTree(vectors), limit * (1 + 1e-9) + 1e-15, output_type="ndarray"
    )
    order = np.lexsort((found["j"], found["i"]))
    source, detection = sources[found["i"][order]], found["j"][order]
    mean, at = catalogue.positions, detections
    dec_difference = mean.dec_deg[source] - at.dec_deg[detection]
    first, second = catalogue.vectors[source], vectors[detection]
    mid_dec = np.radians((mean.dec_deg[source] + at.dec_deg[detection]) / 2.0)
    ra_apart = ra_difference(mean.ra_deg[source], at.ra_deg[detection])
    east = ra_apart * np.cos(mid_dec)
    r = np.sqrt(
        east**2 / (mean.sigma_ew_deg[source] ** 2 + at.sigma_ew_deg[detection] ** 2)
        + dec_difference**2 / (mean.sigma_ns_deg[source] ** 2 + at.sigma_ns_deg[detection] ** 2)
    )
    # From differences: the cosine of the angle cannot tell milliarcseconds apart.
    quarter_chord2 = (
        np.sin(np.radians(dec_difference) / 2.0) ** 2
        + np.cos(np.radians(mean.dec_deg[source]))
        * np.cos(np.radians(at.dec_deg[detection]))
        * np.sin(np.radians(ra_apart) / 2.0) ** 2
    )
    near = (
        (np.abs(dec_difference) <= max_separation_deg)
        & (quarter_chord2 < (limit / 2.0) ** 2)
        & (r < max_deruiter)
    )
    distance = separation_of_vectors(first[near], second[near]) * 3600.0
    return Pairs(source[near], detection[near], r[near], distance)


def match(pairs: Pairs, n_detections: int) -> Matches:
    """Decide on the pairs of one image (SCIENCE.md 5.3, 5.4).

    Parameters
    ----------
    pairs : Pairs
        Sources are compared by their index, which must be in canonical order.
    n_detections : int

    Notes
    -----
    A pair is contested if its detection and its source both have other pairs. Of the contested
    pairs of a detection only the one with the smallest radius stays; ties go to the smaller
    distance, then to the source that was founded first. All counts are taken before any pair goes.
    """
    per_source = np.bincount(pairs.source, minlength=1)
    per_detection = np.bincount(pairs.detection, minlength=n_detections)
    contested = (per_source[pairs.source] > 1) & (per_detection[pairs.detection] > 1)
    kept = ~contested
    kept[_best_of_each_detection(pairs, np.flatnonzero(contested))] = True
    active = pairs.take(kept)
    several = np.bincount(active.source, minlength=1)[active.source] > 1
    return Matches(
        updates=active.take(~several),
        forks=active.take(several),
        new=np.flatnonzero(per_detection == 0),
    )


def _best_of_each_detection(pairs: Pairs, rows: IntArray) -> IntArray:
    """Of the given rows, the best of each detection."""
    detection = pairs.detection[rows]
    rows = rows[_within_tie(pairs.r[rows], detection)]
    rows = rows[_within_tie(pairs.distance_arcsec[rows], pairs.detection[rows])]
    order = rows[np.lexsort((pairs.source[rows], pairs.detection[rows]))]
    return np.asarray(order[np.unique(pairs.detection[order], return_index=True)[1]])


def _within_tie(values: FloatArray, detection: IntArray) -> Mask:
    """Which values equal the least of their detection, to the tie tolerance."""
    least = np.full(int(detection.max(initial=-1)) + 1, np.inf)
    np.minimum.at(least, detection, values)
    return np.asarray(values <= least[detection] * (1.0 + _TIE))

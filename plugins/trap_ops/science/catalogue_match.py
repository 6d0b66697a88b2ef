"""Find an image's detections in the catalogue even if the whole image is displaced.

Association looks for a source where it should be, so an image that is displaced by more than its
errors has no counterparts there. Here the displacement is found first, from all pairs of a source
and a detection within a few beams: those that belong together agree on it, chance pairs do not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from trap_ops.records.arrays import FloatArray, IntArray, Mask
from trap_ops.science.coordinates import unit_vectors
from trap_ops.science.robust import median

# Counterparts lie within so many beams of the common displacement.
_REACH_BEAMS = 0.5
# Displacements are counted in cells of this side, each with its neighbours.
_CELL_BEAMS = 0.25
# So far from all others, a source's flux and position are its own (beams).
_ISOLATION_BEAMS = 2.0
# A displacement must be shared by so many sigma more pairs than chance gives: the largest of the
# hundreds of counts in an image of another sky is sometimes five above.
_CHANCE_SIGMA = 8.0
_REFINEMENTS = 3


@dataclass(frozen=True)
class Frame:
    """East and north everywhere, carried along from a centre on great circles.

    A displacement of a whole image is the same vector in this frame near a pole too, where local
    east and north turn within an image. Singular at the point opposite to the centre.

    Attributes
    ----------
    centre, east, north : numpy.ndarray, (3,)
    """

    centre: FloatArray
    east: FloatArray
    north: FloatArray

    @classmethod
    def at(cls, ra_deg: float, dec_deg: float) -> Frame:
        """Return the frame of a centre."""
        ra, dec = math.radians(ra_deg), math.radians(dec_deg)
        return cls(
            unit_vectors(ra_deg, dec_deg),
            np.array([-math.sin(ra), math.cos(ra), 0.0]),
            np.array([-math.sin(dec) * math.cos(ra), -math.sin(dec) * math.sin(ra), math.cos(dec)]),
        )

    def within(self, positions: FloatArray, radius_deg: float) -> Mask:
        """Which positions, (n, 3), are at most so far from the centre."""
        difference = positions - self.centre
        chord = 2.0 * math.sin(math.radians(min(radius_deg, 180.0)) / 2.0)
        return np.asarray(_dot(difference, difference) <= chord**2)

    def components(self, at: FloatArray, difference: FloatArray) -> tuple[FloatArray, FloatArray]:
        """East and north components of small differences of unit vectors, (n, 3), at positions."""
        middle = at + self.centre
        along = _dot(difference, middle) / np.maximum(1.0 + _dot(at, self.centre), 1e-12)
        east = _dot(difference, self.east) - _dot(at, self.east) * along
        north = _dot(difference, self.north) - _dot(at, self.north) * along
        return east, north


@dataclass(frozen=True)
class Counterparts:
    """Sources that an image shows again; all arrays (n,).

    Attributes
    ----------
    source, detection : numpy.ndarray of int
        Indices into what was compared; each occurs once.
    east_beams, north_beams : numpy.ndarray
        Detection minus source, in beams.
    isolated : numpy.ndarray of bool
        No other source and no other detection is within two beams.
    """

    source: IntArray
    detection: IntArray
    east_beams: FloatArray
    north_beams: FloatArray
    isolated: Mask

    def __len__(self) -> int:
        """Count the pairs."""
        return len(self.source)


def find_counterparts(
    frame: Frame,
    sources: FloatArray,
    eligible: Mask,
    detections: FloatArray,
    *,
    beam_deg: float,
    search_beams: float,
) -> Counterparts:
    """Match detections with sources that may all be displaced by the same vector.

    Parameters
    ----------
    frame : Frame
        Of the image.
    sources : numpy.ndarray, (n, 3)
        Unit vectors of all sources in the image.
    eligible : numpy.ndarray of bool, (n,)
        Which of them may be counterparts; the others only count as neighbours.
    detections : numpy.ndarray, (m, 3)
    beam_deg : float
        Full width at half maximum.
    search_beams : float
        Largest displacement that is looked for.

    Returns
    -------
    Counterparts
        Empty if no displacement is shared by 8 sigma more pairs than chance gives. Of each source
        the detection, and of each detection the source, that comes nearest after the displacement.
    """
    none = np.empty(0, dtype=np.intp)
    nothing = Counterparts(none, none, np.empty(0), np.empty(0), np.empty(0, dtype=bool))
    if not eligible.any() or len(detections) == 0:
        return nothing
    beam = math.radians(beam_deg)
    tree, source_tree = cKDTree(detections), cKDTree(sources)
    limit = 2.0 * math.sin(min((search_beams + _REACH_BEAMS) * beam, math.pi) / 2.0)
    pairs = source_tree.sparse_distance_matrix(tree, limit, output_type="ndarray")
    pairs = pairs[eligible[pairs["i"]]]
    pairs = pairs[np.lexsort((pairs["j"], pairs["i"]))]
    source, detection = pairs["i"], pairs["j"]
    at = sources[source]
    components = frame.components(at, detections[detection] - at)
    east, north = components[0] / beam, components[1] / beam
    centre = _common_displacement(east, north, search_beams)
    if centre is None:
        return nothing
    apart = np.hypot(east - centre[0], north - centre[1])
    near = np.flatnonzero(apart < _REACH_BEAMS)
    near = near[np.argsort(apart[near], kind="stable")]
    # The first of a source, and of a detection, is its nearest.
    mutual = np.intersect1d(
        near[np.unique(source[near], return_index=True)[1]],
        near[np.unique(detection[near], return_index=True)[1]],
        assume_unique=True,
    )
    isolated = _alone(tree, beam)[detection[mutual]] & _alone(source_tree, beam)[source[mutual]]
    return Counterparts(source[mutual], detection[mutual], east[mutual], north[mutual], isolated)


def _common_displacement(
    east: FloatArray, north: FloatArray, search_beams: float
) -> tuple[float, float] | None:
    """Displacement that most pairs share, in beams; None if they are as many by chance."""
    inside = np.hypot(east, north) < search_beams
    east, north = east[inside], north[inside]
    half = math.ceil(search_beams / _CELL_BEAMS) + 1
    side = 2 * half + 1
    column = np.round(east / _CELL_BEAMS).astype(np.intp) + half
    row = np.round(north / _CELL_BEAMS).astype(np.intp) + half
    cells = np.bincount(row * side + column, minlength=side * side).reshape(side, side)
    rows = cells[:-2] + cells[1:-1] + cells[2:]
    count = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]
    offset = np.arange(1 - half, half)
    # Of equal counts the one nearest to no displacement.
    distance = offset[:, None] ** 2 + offset[None, :] ** 2
    best = np.lexsort((distance.ravel(), -count.ravel()))[0]
    y, x = divmod(int(best), count.shape[1])
    centre = (float(offset[x] * _CELL_BEAMS), float(offset[y] * _CELL_BEAMS))
    shared = 0
    for _ in range(_REFINEMENTS):
        near = np.hypot(east - centre[0], north - centre[1]) < _REACH_BEAMS
        shared = int(near.sum())
        if shared == 0:
            return None
        centre = (median(east[near]), median(north[near]))
    chance = (len(east) - shared) * _REACH_BEAMS**2 / max(search_beams**2 - _REACH_BEAMS**2, 1e-3)
    return centre if shared - chance > _CHANCE_SIGMA * math.sqrt(chance) else None


def _alone(tree: cKDTree, beam: float) -> Mask:
    """Which members of a tree have no other near them."""
    alone = np.ones(tree.n, dtype=bool)
    alone[tree.query_pairs(_ISOLATION_BEAMS * beam, output_type="ndarray").ravel()] = False
    return alone


def _dot(first: FloatArray, second: FloatArray) -> FloatArray:
    """Scalar products along the last axis, component by component: equal for every shape."""
    return np.asarray(
        first[..., 0] * second[..., 0]
        + first[..., 1] * second[..., 1]
        + first[..., 2] * second[..., 2]
    )

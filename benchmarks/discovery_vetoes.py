"""What vetoes take of what varies, and of what only looks so."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from benchmarks.discovery_programs import PipelineRun
from trap_ops.records.arrays import FloatArray, IntArray
from trap_ops.science.coordinates import unit_vectors
from trap_ops.simulate.discovery import DiscoveryTruth

ANY = "any"


@dataclass(frozen=True)
class Judged:
    """What became of each injected source of a sky; arrays (n_injected,).

    Attributes
    ----------
    row : numpy.ndarray of int
        First candidate within one beam; -1 if there is none.
    vetoes : list of set of str
        Of that row: further ones of the same source stand behind it.
    excess_sigma, neighbour_beams, neighbour_sigma : numpy.ndarray
        The last one is the largest flux of the nearest other source over the excess.
    false_vetoes : list of set of str
        Of the rows that are no injected source's.
    """

    row: IntArray
    vetoes: list[set[str]]
    excess_sigma: FloatArray
    neighbour_beams: FloatArray
    neighbour_ratio: FloatArray
    false_vetoes: list[set[str]]


def judge(truth: DiscoveryTruth, run: PipelineRun, beam_deg: float) -> Judged:
    """Find injected sources among the candidates."""
    injected = truth.injected
    places = unit_vectors(truth.sky.ra_deg[injected], truth.sky.dec_deg[injected])
    rows = unit_vectors(run.ra_deg, run.dec_deg).reshape(-1, 3)
    chord = 2.0 * np.sin(np.radians(beam_deg) / 2.0)
    near = cKDTree(rows).query_ball_point(places, chord) if len(rows) else [[]] * len(places)
    row = np.array([min(found, default=-1) for found in near], dtype=np.int64)
    taken = {i for found in near for i in found}
    excess = truth.excess_sigma[injected]
    rms = truth.rms_jy[injected]
    return Judged(
        row=row,
        vetoes=[run.vetoes[i] if i >= 0 else set() for i in row.tolist()],
        excess_sigma=excess,
        neighbour_beams=truth.neighbour_beams[injected],
        neighbour_ratio=truth.neighbour_jy[injected] / np.maximum(excess * rms, 1e-30),
        false_vetoes=[v for i, v in enumerate(run.vetoes) if i not in taken],
    )


def losses(vetoes: Iterable[set[str]]) -> Counter[str]:
    """Number of rows with each veto, and with any."""
    made: Counter[str] = Counter()
    for found in vetoes:
        made.update(found)
        made[ANY] += bool(found)
    return made


def by_distance(
    judged: Iterable[Judged], edges: tuple[float, ...] = (0.8, 0.9, 1.0, 1.3, 1.6, 2.0)
) -> list[dict[str, float]]:
    """Injected sources that reach 10 rms by distance of the neighbour: found, and vetoed as blend.

    Returns
    -------
    list of dict
        ``from``, ``to`` (beams), ``injected``, ``no candidate``, ``blend``.
    """
    parts = list(judged)
    beams = np.concatenate([part.neighbour_beams for part in parts])
    wanted = np.concatenate([part.excess_sigma for part in parts]) >= 10.0
    none = np.concatenate([part.row for part in parts]) < 0
    blend = np.array(["blend" in v for part in parts for v in part.vetoes], dtype=bool)
    made = []
    for low, high in itertools.pairwise(edges):
        here = wanted & (beams >= low) & (beams < high)
        made.append(
            {
                "from": low,
                "to": high,
                "injected": int(here.sum()),
                "no candidate": int((here & none).sum()),
                "blend": int((here & blend).sum()),
            }
        )
    return made

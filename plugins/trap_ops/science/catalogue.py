"""The running catalogue in memory: weighted mean positions of sky sources (SCIENCE.md 5.5)."""

from __future__ import annotations

import string

import numpy as np

from trap_ops.records.arrays import FloatArray, Ids, IntArray, Mask
from trap_ops.records.sky import Positions, SkySourceRows
from trap_ops.records.sources import Detections
from trap_ops.science.coordinates import (
    ra_difference,
    sexagesimal_name,
    unit_vectors,
    wrap_ra,
)


def canonical(detections: Detections) -> Detections:
    """Detections of an image in canonical order: by declination, then right ascension."""
    return detections.take(np.lexsort((detections.ra_deg, detections.dec_deg)))


def first_positions(detections: Detections, items: IntArray) -> Positions:
    """Statistics of sources founded by one detection each."""
    weight_ra = 1.0 / detections.sigma_ew_deg[items] ** 2
    weight_dec = 1.0 / detections.sigma_ns_deg[items] ** 2
    ra, dec = detections.ra_deg[items], detections.dec_deg[items]
    return Positions(
        n=np.ones(len(items), dtype=np.int64),
        ra_deg=ra.copy(),
        dec_deg=dec.copy(),
        sigma_ew_deg=detections.sigma_ew_deg[items].copy(),
        sigma_ns_deg=detections.sigma_ns_deg[items].copy(),
        mean_ra_err_deg=detections.ra_err_deg[items].copy(),
        mean_dec_err_deg=detections.dec_err_deg[items].copy(),
        mean_wra=weight_ra * ra,
        mean_wdec=weight_dec * dec,
        mean_weight_ra=weight_ra,
        mean_weight_dec=weight_dec,
    )


def updated_positions(before: Positions, detections: Detections, items: IntArray) -> Positions:
    """Statistics after one more detection of each source.

    Parameters
    ----------
    before : Positions, (n,)
    detections : Detections
    items : numpy.ndarray of int, (n,)
        The detection of each source.

    Notes
    -----
    The mean right ascension moves by the wrapped difference times the new weight over the sum of
    weights, so RA 0 needs no care; ``mean_wra`` is kept consistent with it.
    """
    n = before.n
    ra, dec = detections.ra_deg[items], detections.dec_deg[items]
    weight_ra = 1.0 / detections.sigma_ew_deg[items] ** 2
    weight_dec = 1.0 / detections.sigma_ns_deg[items] ** 2
    sum_weight_ra = n * before.mean_weight_ra + weight_ra
    mean_weight_ra = sum_weight_ra / (n + 1)
    mean_weight_dec = (n * before.mean_weight_dec + weight_dec) / (n + 1)
    mean_wdec = (n * before.mean_wdec + weight_dec * dec) / (n + 1)
    moved = before.ra_deg + weight_ra / sum_weight_ra * ra_difference(ra, before.ra_deg)
    # Rounding of a mean that is 0 must not turn it into 360 (classic rule, case A15).
    wm_ra = wrap_ra(np.where((moved < 0.0) & (moved >= -8e-14), 0.0, moved))
    return Positions(
        n=n + 1,
        ra_deg=wm_ra,
        dec_deg=mean_wdec / mean_weight_dec,
        sigma_ew_deg=1.0 / np.sqrt((n + 1) * mean_weight_ra),
        sigma_ns_deg=1.0 / np.sqrt((n + 1) * mean_weight_dec),
        mean_ra_err_deg=(n * before.mean_ra_err_deg + detections.ra_err_deg[items]) / (n + 1),
        mean_dec_err_deg=(n * before.mean_dec_err_deg + detections.dec_err_deg[items]) / (n + 1),
        mean_wra=wm_ra * mean_weight_ra,
        mean_wdec=mean_wdec,
        mean_weight_ra=mean_weight_ra,
        mean_weight_dec=mean_weight_dec,
    )


class Catalogue:
    """Sky sources in canonical order of their founding detections; grows, never shrinks.

    A source that was forked stays in its place, inactive: indices are stable.

    Attributes
    ----------
    id : numpy.ndarray of int
        Id of the founding detection, which is the source's id too.
    positions : Positions
    vectors : numpy.ndarray, (n, 3)
        Unit vectors of the mean positions.
    stokes : numpy.ndarray of int
    attempts : numpy.ndarray of int
        Forced-fit requests since the last blind detection (``forcedfits_count``).
    founded : numpy.ndarray of int
        Time step in which the source got its present identity (founded or forked), as a number that
        grows with time.
    parent : numpy.ndarray of int
        Id of the source it was forked from, -1 if none.
    name : list of str
        J-name of the founding detection, with a letter where an active source has it already.
    active : numpy.ndarray of bool
    touched : numpy.ndarray of bool
        Changed since it was loaded.
    """

    def __init__(self) -> None:
        empty = np.empty(0)
        none = np.empty(0, dtype=np.int64)
        self.id: Ids = none
        self.positions = Positions(none, *[empty] * 10)
        self.vectors: FloatArray = np.empty((0, 3))
        self.stokes: Ids = none
        self.attempts: Ids = none
        self.founded: Ids = none
        self.parent: Ids = none
        self.name: list[str] = []
        self.active: Mask = np.empty(0, dtype=bool)
        self.touched: Mask = np.empty(0, dtype=bool)
        self._taken: set[str] = set()

    @classmethod
    def of_rows(cls, rows: SkySourceRows) -> Catalogue:
        """Return the catalogue of stored sources, which come in canonical order."""
        catalogue = cls()
        catalogue.append(
            rows.id,
            rows.positions,
            rows.stokes,
            rows.attempts,
            rows.founded,
            rows.parent,
            rows.name,
        )
        catalogue.touched[:] = False
        return catalogue

    def rows(self, sources: IntArray) -> SkySourceRows:
        """Return some sources as they are stored."""
        return SkySourceRows(
            id=self.id[sources],
            positions=self.positions.take(sources),
            vectors=self.vectors[sources],
            stokes=self.stokes[sources],
            attempts=self.attempts[sources],
            founded=self.founded[sources],
            parent=self.parent[sources],
            name=[self.name[source] for source in sources.tolist()],
        )

    def __len__(self) -> int:
        """Count all sources, inactive ones too."""
        return len(self.id)

    def append(
        self,
        ids: Ids,
        positions: Positions,
        stokes: Ids,
        attempts: Ids,
        founded: Ids,
        parent: Ids,
        names: list[str],
    ) -> IntArray:
        """Add sources, which count as touched; return their indices."""
        first = len(self)
        count = len(ids)
        self.id = np.concatenate([self.id, ids])
        for name, value in vars(positions).items():
            setattr(
                self.positions,
                name,
                np.concatenate([getattr(self.positions, name), value]),
            )
        vectors = unit_vectors(positions.ra_deg, positions.dec_deg)
        self.vectors = np.concatenate([self.vectors, vectors])
        self.stokes = np.concatenate([self.stokes, stokes])
        self.attempts = np.concatenate([self.attempts, attempts])
        self.founded = np.concatenate([self.founded, founded])
        self.parent = np.concatenate([self.parent, parent])
        self.active = np.concatenate([self.active, np.ones(count, dtype=bool)])
        self.touched = np.concatenate([self.touched, np.ones(count, dtype=bool)])
        self.name += names
        self._taken.update(names)
        return np.arange(first, first + count)

    def retire(self, sources: IntArray) -> None:
        """Make sources inactive; their names are free again."""
        self.active[sources] = False
        self._taken.difference_update(self.name[source] for source in sources.tolist())

    def new_names(self, found: Detections) -> list[str]:
        """Names for sources that are founded by these detections, different from all in use."""
        names: list[str] = []
        taken = set(self._taken)
        for ra, dec in zip(found.ra_deg.tolist(), found.dec_deg.tolist(), strict=True):
            base = sexagesimal_name(ra, dec)
            name, number = base, 1
            while name in taken:
                number += 1
                name = (
                    f"{base}{string.ascii_lowercase[number - 1]}"
                    if number <= 26
                    else (f"{base}-{number}")
                )
            taken.add(name)
            names.append(name)
        return names

    def move(self, sources: IntArray, positions: Positions) -> None:
        """Set the position statistics of some sources."""
        for name, value in vars(positions).items():
            getattr(self.positions, name)[sources] = value
        self.vectors[sources] = unit_vectors(positions.ra_deg, positions.dec_deg)
        self.touched[sources] = True

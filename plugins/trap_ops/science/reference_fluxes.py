"""Fluxes of sky sources as their blind detections so far have them, to compare images with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trap_ops.records.arrays import FloatArray, Ids, IntArray, Mask
from trap_ops.records.sky import ReferenceFluxRows
from trap_ops.science.catalogue import Catalogue


@dataclass
class _Band:
    """State of one band; all arrays (n,), by catalogue index. A count of 0: no flux yet."""

    count: Ids
    sum_weight: FloatArray
    mean_jy: FloatArray
    stored: Mask
    touched: Mask

    @classmethod
    def empty(cls) -> _Band:
        none = np.empty(0, dtype=bool)
        return cls(np.empty(0, dtype=np.int64), np.empty(0), np.empty(0), none, none)

    def grow(self, size: int) -> None:
        missing = size - len(self.count)
        if missing > 0:
            for name, value in vars(self).items():
                setattr(self, name, np.concatenate([value, np.zeros(missing, value.dtype)]))


class ReferenceFluxes:
    """Weighted mean integrated fluxes by band. A source's Stokes is that of the catalogue.

    Parameters
    ----------
    rows : ReferenceFluxRows
        As stored.
    catalogue : Catalogue
        Holds their sources.
    """

    def __init__(self, rows: ReferenceFluxRows, catalogue: Catalogue) -> None:
        self._bands: dict[int, _Band] = {}
        order = np.argsort(catalogue.id)
        index = order[np.searchsorted(catalogue.id[order], rows.source)]
        for number in np.unique(rows.band).tolist():
            mine = rows.band == number
            band = self._band(number, len(catalogue))
            band.count[index[mine]] = rows.number[mine]
            band.sum_weight[index[mine]] = rows.sum_weight[mine]
            band.mean_jy[index[mine]] = rows.mean_jy[mine]
            band.stored[index[mine]] = True

    def of(self, band: int, sources: IntArray) -> tuple[Ids, FloatArray, FloatArray]:
        """Detections, mean flux (Jy) and its error of some sources; (n,) each.

        Without a detection in the band both are NaN.
        """
        state = self._band(band, int(sources.max(initial=-1)) + 1)
        count, weight = state.count[sources], state.sum_weight[sources]
        known = count > 0
        mean = np.where(known, state.mean_jy[sources], np.nan)
        return count, mean, 1.0 / np.sqrt(np.where(known, weight, np.nan))

    def add(
        self, band: int, sources: IntArray, flux_jy: FloatArray, flux_err_jy: FloatArray
    ) -> None:
        """Take one more detection of each source; those without a finite flux and error are not.

        The mean moves by the difference times the new weight over the sum of weights.
        """
        usable = np.isfinite(flux_jy) & np.isfinite(flux_err_jy) & (flux_err_jy > 0.0)
        sources, flux_jy, flux_err_jy = sources[usable], flux_jy[usable], flux_err_jy[usable]
        state = self._band(band, int(sources.max(initial=-1)) + 1)
        weight = 1.0 / flux_err_jy**2
        total = state.sum_weight[sources] + weight
        before = state.mean_jy[sources]
        state.mean_jy[sources] = before + weight / total * (flux_jy - before)
        state.sum_weight[sources] = total
        state.count[sources] += 1
        state.touched[sources] = True

    def inherit(self, parents: IntArray, children: IntArray) -> None:
        """Give each child of a fork the fluxes of its parent, in all bands."""
        if len(children) == 0:
            return
        for number in self._bands:
            state = self._band(number, int(max(parents.max(), children.max())) + 1)
            known = state.count[parents] > 0
            parent, child = parents[known], children[known]
            for values in (state.count, state.sum_weight, state.mean_jy):
                values[child] = values[parent]
            state.touched[child] = True

    def take_changes(self, catalogue: Catalogue) -> ReferenceFluxRows:
        """Return what is new or changed of sources that stand; it counts as stored then."""
        columns: list[ReferenceFluxRows] = []
        for number in sorted(self._bands):
            state = self._band(number, len(catalogue))
            changed = np.flatnonzero(state.touched & catalogue.active)
            columns.append(
                ReferenceFluxRows(
                    source=catalogue.id[changed],
                    band=np.full(len(changed), number),
                    stokes=catalogue.stokes[changed],
                    number=state.count[changed],
                    sum_weight=state.sum_weight[changed],
                    mean_jy=state.mean_jy[changed],
                    known=state.stored[changed],
                )
            )
            state.stored |= state.touched
            state.touched[:] = False
        return ReferenceFluxRows(*map(np.concatenate, zip(NO_REFERENCES, *columns, strict=True)))

    def _band(self, number: int, size: int) -> _Band:
        state = self._bands.setdefault(number, _Band.empty())
        state.grow(size)
        return state


_NO_IDS = np.empty(0, dtype=np.int64)
NO_REFERENCES = ReferenceFluxRows(
    _NO_IDS, _NO_IDS, _NO_IDS, _NO_IDS, np.empty(0), np.empty(0), np.empty(0, dtype=bool)
)

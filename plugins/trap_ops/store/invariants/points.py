"""Points of light curves with all that statistics and positions are made of, in bulk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, select

from trap_ops.records.arrays import FloatArray, Ids, IntArray
from trap_ops.records.sky import FitKind, step_number
from trap_ops.store.images import images_of
from trap_ops.store.regions import load_bands
from trap_ops.store.rows import fetch_columns, floats, id_list, integers
from trap_ops.store.schema import assocxtrsource, extractedsource, runningcatalog

_SOURCE = (
    *("wm_ra", "wm_decl", "wm_uncertainty_ew", "wm_uncertainty_ns", "avg_ra_err", "avg_decl_err"),
    *("avg_wra", "avg_wdecl", "avg_weight_ra", "avg_weight_decl", "x", "y", "z"),
)
_MEASURED = (
    *("ra", "decl", "uncertainty_ew", "uncertainty_ns", "ra_err", "decl_err"),
    *("f_int", "f_int_err", "f_peak", "f_peak_err"),
)
_LINK = ("v_int", "eta_int")


@dataclass(frozen=True)
class CurveBlock:
    """Some sky sources, (n,), and the points of their light curves, (m,).

    Points stand by source, band, Stokes, and then in canonical order of their images.

    Attributes
    ----------
    ids : numpy.ndarray of int, (n,)
        Ascending.
    names : list of str, (n,)
    monitors : numpy.ndarray of bool, (n,)
    sources : dict of numpy.ndarray, (n,)
        Columns of ``runningcatalog``, by name.
    owner : numpy.ndarray of int, (m,)
        Index of the source of each point.
    curve : numpy.ndarray of int, (m,)
        Index into ``keys``.
    keys : numpy.ndarray of int, (k, 3)
        Source (its index), band and Stokes of each light curve, ascending.
    kind, start, count : numpy.ndarray of int, (m,)
        Of the measurement; microseconds since 1970; ``f_datapoints`` of the link.
    pending : numpy.ndarray of bool, (m,)
    bands : dict of str
        Names of the bands, by id.
    file : list of str
        Names of the images, by ``image``.
    image : numpy.ndarray of int, (m,)
        Place of the point's image in canonical order.
    values : dict of numpy.ndarray, (m,)
        Columns of measurement and link, by name.
    """

    ids: Ids
    names: list[str]
    monitors: npt.NDArray[np.bool_]
    sources: dict[str, FloatArray]
    owner: IntArray
    curve: IntArray
    keys: Ids
    kind: Ids
    start: Ids
    count: Ids
    pending: npt.NDArray[np.bool_]
    bands: dict[int, str]
    file: list[str]
    image: IntArray
    values: dict[str, FloatArray]

    @property
    def shown(self) -> npt.NDArray[np.bool_]:
        """Points that count in the classic statistics: all but backward fits."""
        return np.asarray(self.kind != FitKind.BACKWARD)

    def source(self, number: int) -> str:
        """Name of a sky source by its index."""
        return f"sky source {self.names[number]} (id {self.ids[number]})"

    def point(self, number: int) -> str:
        """Name of a point by its index."""
        return f"{self.source(int(self.owner[number]))} in {self.file[self.image[number]]}"

    def band(self, number: int) -> str:
        """Name of a band by its id."""
        return self.bands.get(number, f"band {number} of another dataset")

    def find_keys(self, source: Ids, band: Ids, stokes: Ids) -> IntArray:
        """Index of light curves by source id, band and Stokes; -1 for one without points."""
        place = {tuple(key): number for number, key in enumerate(self.keys.tolist())}
        index = {number: i for i, number in enumerate(self.ids.tolist())}
        rows = zip(source.tolist(), band.tolist(), stokes.tolist(), strict=True)
        return np.array([place.get((index[s], b, k), -1) for s, b, k in rows], dtype=np.intp)


def load_block(connection: Connection, dataset_id: int, ids: Ids) -> CurveBlock:
    """Read some sky sources of a dataset and their points."""
    rows = images_of(connection, dataset_id)
    place = {row.id: number for number, row in enumerate(rows)}
    with id_list(connection, runningcatalog.c.id, ids) as wanted:
        query = (
            select(
                runningcatalog.c.id,
                runningcatalog.c.source_name,
                runningcatalog.c.mon_src,
                *(runningcatalog.c[name] for name in _SOURCE),
            )
            .join(wanted, wanted.c.id == runningcatalog.c.id)
            .order_by(runningcatalog.c.id)
        )
        sources = fetch_columns(connection, query)
        link, measured = assocxtrsource, extractedsource
        points = fetch_columns(
            connection,
            select(
                link.c.runcat,
                link.c.f_datapoints,
                link.c.pending,
                measured.c.image,
                measured.c.extract_type,
                *(link.c[name] for name in _LINK),
                *(measured.c[name] for name in _MEASURED),
            )
            .join(wanted, wanted.c.id == link.c.runcat)
            .join(measured, measured.c.id == link.c.xtrsrc),
        )
    # Measurements of another dataset are told by an invariant of their own.
    known = np.array([i in place for i in points["image"]], dtype=bool)
    image = integers(place.get(i, 0) for i in points["image"])
    band_of = integers(row.band for row in rows)
    stokes = integers(row.stokes for row in rows)
    start = integers(step_number(row.start) for row in rows)
    owner = np.searchsorted(integers(sources["id"]), integers(points["runcat"]))
    if not len(image):
        band_of = stokes = start = np.zeros(1, dtype=np.int64)
    order = np.lexsort((image, stokes[image], band_of[image], owner))
    order = order[known[order]]
    every = np.stack([owner, band_of[image], stokes[image]], axis=1)[order]
    keys, curve = np.unique(every, axis=0, return_inverse=True)
    return CurveBlock(
        ids=integers(sources["id"]),
        names=sources["source_name"],
        monitors=np.array(sources["mon_src"], dtype=bool),
        sources={name: floats(sources[name]) for name in _SOURCE},
        owner=owner[order],
        curve=curve.reshape(-1),
        keys=keys,
        kind=_ordered(points["extract_type"], order),
        start=start[image][order],
        count=_ordered(points["f_datapoints"], order),
        pending=np.array(points["pending"], dtype=bool)[order],
        bands={
            number: f"band {band.central_hz / 1e6:.6g} MHz"
            for number, band in zip(*load_bands(connection, dataset_id), strict=True)
        },
        file=[row.shown_name for row in rows],
        image=image[order],
        values={name: floats(points[name])[order] for name in (*_LINK, *_MEASURED)},
    )


def _ordered(values: list[Any], order: IntArray) -> Ids:
    return integers(values)[order]

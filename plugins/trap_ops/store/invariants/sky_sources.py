"""Invariants of sky sources and of their membership of regions."""

from __future__ import annotations

import numpy as np
from sqlalchemy import and_, case, func, literal, not_, or_, select

from trap_ops.records.arrays import FloatArray, Mask
from trap_ops.records.sky import FitKind, LinkType
from trap_ops.science.coordinates import ra_difference, unit_vectors
from trap_ops.store.detections import BLIND
from trap_ops.store.invariants.invariant import (
    Breaches,
    Invariant,
    Scope,
    breaches,
    breaches_at,
    differ,
    one_if,
    place_is_wrong,
    source_columns,
    source_label,
    total,
)
from trap_ops.store.invariants.points import CurveBlock
from trap_ops.store.schema import (
    assocskyrgn,
    assocxtrsource,
    extractedsource,
    image,
    monitor,
    runningcatalog,
    skyregion,
)

_source, _measured = runningcatalog, extractedsource
# Rounding of unit vectors, and, in degrees, of mean positions (4 microarcsec).
_VECTOR, _DEGREES = 1e-14, 1e-9


def _founders(scope: Scope) -> Breaches:
    right_kind = case((_source.c.mon_src, int(FitKind.MONITOR)), else_=BLIND)
    query = (
        select(*source_columns(), _source.c.xtrsrc)
        .outerjoin(_measured, _measured.c.id == _source.c.xtrsrc)
        .outerjoin(image, image.c.id == _measured.c.image)
        .where(_source.c.dataset == scope.dataset)
        .where(
            or_(
                image.c.id.is_(None),
                image.c.dataset != _source.c.dataset,
                _source.c.id != _source.c.xtrsrc,
                _measured.c.extract_type != right_kind,
                _source.c.founded_ts != image.c.taustart_ts,
                _source.c.stokes != image.c.stokes,
            )
        )
    )
    return breaches(
        scope, query, lambda row: f"{source_label(row)}, founded by measurement {row.xtrsrc}"
    )


def _names(scope: Scope) -> Breaches:
    of_dataset = and_(_source.c.dataset == scope.dataset, _source.c.mon_src.is_(False))
    doubled = (
        select(_source.c.source_name)
        .where(of_dataset)
        .group_by(_source.c.source_name)
        .having(func.count() > 1)
    )
    query = (
        select(*source_columns())
        .where(of_dataset)
        .where(or_(_source.c.source_name == "", _source.c.source_name.in_(doubled)))
        .order_by(_source.c.source_name, _source.c.id)
    )
    return breaches(scope, query, source_label)


def _inactive(scope: Scope) -> Breaches:
    query = select(*source_columns()).where(_source.c.dataset == scope.dataset, _source.c.inactive)
    return breaches(scope, query, source_label)


def _parents(scope: Scope) -> Breaches:
    link, still = assocxtrsource, runningcatalog.alias("still")
    query = (
        select(*source_columns(), _source.c.parent)
        .outerjoin(
            link,
            (link.c.runcat == _source.c.id)
            & (link.c.xtrsrc == _source.c.parent)
            & (link.c.type == int(LinkType.INHERITED)),
        )
        .outerjoin(still, still.c.id == _source.c.parent)
        .where(_source.c.dataset == scope.dataset, _source.c.parent.is_not(None))
        .where(or_(link.c.id.is_(None), still.c.id.is_not(None)))
    )
    return breaches(
        scope, query, lambda row: f"{source_label(row)}, forked from measurement {row.parent}"
    )


def _places(scope: Scope) -> Breaches:
    query = (
        select(*source_columns(), _source.c.wm_ra, _source.c.wm_decl, _source.c.zone)
        .where(_source.c.dataset == scope.dataset)
        .where(place_is_wrong(_source.c.wm_ra, _source.c.wm_decl, _source.c.zone))
    )
    return breaches(
        scope,
        query,
        lambda row: f"{source_label(row)}: RA {row.wm_ra}, Dec {row.wm_decl}, zone {row.zone}",
    )


def _vectors(scope: Scope) -> Breaches:
    found = Breaches()
    for block in scope.curves():
        stored = block.sources
        right = unit_vectors(stored["wm_ra"], stored["wm_decl"])
        vectors = np.stack([stored[axis] for axis in "xyz"], axis=1)
        near = np.abs(vectors - right) <= _VECTOR
        found += breaches_at(~np.asarray(near.all(axis=1)), block.source)
    return found


def _positions(scope: Scope) -> Breaches:
    found = Breaches()
    for block in scope.curves():
        found += breaches_at(_moved(block), block.source)
    return found


def _moved(block: CurveBlock) -> Mask:
    """Sources whose position statistics are not those of their points (SCIENCE.md 5.5)."""
    n = len(block.ids)
    # Of a monitored position the first fit alone counts; all have its place.
    used = (block.kind == BLIND) | block.monitors[block.owner]
    founder = np.full(n, -1)
    for i in np.flatnonzero(used)[::-1].tolist():
        founder[block.owner[i]] = i
    used &= ~block.monitors[block.owner]
    used[founder[block.monitors & (founder >= 0)]] = True
    points = np.flatnonzero(used)
    owner = block.owner[points]
    values = {name: column[points] for name, column in block.values.items()}

    def summed(column: FloatArray) -> FloatArray:
        return total(owner, column, n)

    number = np.bincount(owner, minlength=n)
    with np.errstate(divide="ignore", invalid="ignore"):
        weight_ra, weight_dec = (values[f"uncertainty_{e}"] ** -2.0 for e in ("ew", "ns"))
        near = block.sources["wm_ra"]
        offset = summed(weight_ra * ra_difference(values["ra"], near[owner])) / summed(weight_ra)
        dec = summed(weight_dec * values["decl"]) / summed(weight_dec)
        right = {
            "wm_uncertainty_ew": summed(weight_ra) ** -0.5,
            "wm_uncertainty_ns": summed(weight_dec) ** -0.5,
            "avg_ra_err": summed(values["ra_err"]) / number,
            "avg_decl_err": summed(values["decl_err"]) / number,
            "avg_weight_ra": summed(weight_ra) / number,
            "avg_weight_decl": summed(weight_dec) / number,
            "avg_wra": near * summed(weight_ra) / number,
            "avg_wdecl": dec * summed(weight_dec) / number,
        }
    wrong = ~(np.abs(offset) <= _DEGREES) | ~(np.abs(block.sources["wm_decl"] - dec) <= _DEGREES)
    slack = {"avg_wdecl": _DEGREES * right["avg_weight_decl"]}
    for name, column in right.items():
        wrong |= differ(block.sources[name], column, slack.get(name, 0.0))
    return wrong


def _memberships(scope: Scope) -> Breaches:
    counted = (
        select(
            assocskyrgn.c.runcat,
            func.sum(one_if(assocskyrgn.c.distance_deg.is_(None))).label("own"),
            func.sum(one_if(skyregion.c.dataset != scope.dataset)).label("foreign"),
            func.sum(one_if(not_(skyregion.c.introduced))).label("unseen"),
        )
        .join(skyregion, skyregion.c.id == assocskyrgn.c.skyrgn)
        .join(_source, _source.c.id == assocskyrgn.c.runcat)
        .where(_source.c.dataset == scope.dataset)
        .group_by(assocskyrgn.c.runcat)
        .subquery()
    )
    right = case(
        (_source.c.mon_src, counted.c.own.is_(None)),
        else_=and_(counted.c.own == 1, counted.c.foreign == 0, counted.c.unseen == 0),
    )
    query = (
        select(*source_columns(), func.coalesce(counted.c.own, literal(0)).label("own"))
        .outerjoin(counted, counted.c.runcat == _source.c.id)
        .where(_source.c.dataset == scope.dataset)
        .where(not_(func.coalesce(right, False)))
    )
    return breaches(scope, query, lambda row: f"{source_label(row)}: {row.own} own regions")


def _monitors(scope: Scope) -> Breaches:
    of_source = (
        select(*source_columns())
        .outerjoin(
            monitor,
            (monitor.c.runcat == _source.c.id)
            & (monitor.c.dataset == _source.c.dataset)
            & (monitor.c.ra == _source.c.wm_ra)
            & (monitor.c.decl == _source.c.wm_decl),
        )
        .where(_source.c.dataset == scope.dataset, _source.c.mon_src, monitor.c.id.is_(None))
    )
    of_monitor = (
        select(monitor.c.name, monitor.c.runcat)
        .outerjoin(_source, _source.c.id == monitor.c.runcat)
        .where(monitor.c.dataset == scope.dataset, monitor.c.runcat.is_not(None))
        .where(or_(_source.c.id.is_(None), not_(_source.c.mon_src)))
    )
    return breaches(scope, of_source, source_label) + breaches(
        scope, of_monitor, lambda row: f"monitored position {row.name}: source {row.runcat}"
    )


INVARIANTS = (
    Invariant(
        "founding-measurement",
        "a sky source has id, dataset, Stokes and time of founding from its founding measurement, "
        "which is blind, of a monitored position a fit there",
        _founders,
    ),
    Invariant("source-names", "sky sources of a dataset have different names", _names),
    Invariant("no-inactive-sources", "no inactive sky source is left", _inactive),
    Invariant(
        "fork-parents",
        "a fork has the founding measurement of the source it comes from in its light curve, and "
        "that source is gone",
        _parents,
    ),
    Invariant(
        "source-places",
        "mean RA is in [0, 360), declination in [-90, 90], zone is its floor",
        _places,
    ),
    Invariant(
        "source-vectors",
        "x, y, z of a sky source are the unit vector of its mean position",
        _vectors,
    ),
    Invariant(
        "mean-positions",
        "position, errors and weights of a sky source are the weighted means of its blind points, "
        "of a monitored position those of its first fit",
        _positions,
    ),
    Invariant(
        "region-members",
        "a sky source is a member of the region it was founded in, and of regions of its dataset "
        "that association has reached; a monitored position of none",
        _memberships,
    ),
    Invariant(
        "monitored-sources",
        "the light curve of a monitored position stands at that position, and is marked as such",
        _monitors,
    ),
)

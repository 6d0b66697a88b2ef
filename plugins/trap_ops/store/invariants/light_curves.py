"""Invariants of light curves: which measurement belongs to which sky source, ``assocxtrsource``."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, Select, and_, case, func, not_, or_, select

from trap_ops.records.sky import FitKind, LinkType
from trap_ops.store.detections import BLIND
from trap_ops.store.invariants.invariant import (
    Breaches,
    Invariant,
    Scope,
    breaches,
    measurement_columns,
    measurement_label,
    one_if,
    source_columns,
    source_label,
)
from trap_ops.store.schema import assocxtrsource, extractedsource, image, runningcatalog

_FOUNDING = (LinkType.FOUNDING, LinkType.FORKED, LinkType.MONITOR_FIRST)
_LINK_TYPES = {
    BLIND: (LinkType.FOUNDING, LinkType.FORKED, LinkType.ONE_TO_ONE, LinkType.INHERITED),
    int(FitKind.FORWARD): (LinkType.FORCED, LinkType.INHERITED),
    int(FitKind.BACKWARD): (LinkType.BACKWARD, LinkType.INHERITED),
    int(FitKind.MONITOR): (LinkType.MONITOR_FIRST, LinkType.MONITOR),
}
_link, _measured, _source = assocxtrsource, extractedsource, runningcatalog


def _points(scope: Scope) -> Select[Any]:
    """Points of the dataset with the names of their sources and measurements."""
    return (
        select(
            *source_columns(),
            *measurement_columns(),
            _link.c.type,
            _link.c.r,
            _link.c.distance_arcsec,
        )
        .select_from(_link)
        .join(_source, _source.c.id == _link.c.runcat)
        .join(_measured, _measured.c.id == _link.c.xtrsrc)
        .join(image, image.c.id == _measured.c.image)
        .where(_source.c.dataset == scope.dataset)
    )


def _say(row: Row[Any]) -> str:
    return f"{source_label(row)}, type {row.type}: {measurement_label(row)}"


def _ends(scope: Scope) -> Breaches:
    columns = (*source_columns(), *measurement_columns(), _link.c.type)
    of_source = (
        select(*columns)
        .select_from(_link)
        .join(_source, _source.c.id == _link.c.runcat)
        .outerjoin(_measured, _measured.c.id == _link.c.xtrsrc)
        .outerjoin(image, image.c.id == _measured.c.image)
        .where(_source.c.dataset == scope.dataset)
        .where(or_(image.c.id.is_(None), image.c.dataset != scope.dataset))
    )
    without_source = (
        select(*columns)
        .select_from(image)
        .join(_measured, _measured.c.image == image.c.id)
        .join(_link, _link.c.xtrsrc == _measured.c.id)
        .outerjoin(_source, _source.c.id == _link.c.runcat)
        .where(image.c.dataset == scope.dataset, _source.c.id.is_(None))
    )
    return breaches(scope, of_source, _say) + breaches(scope, without_source, _say)


def _types(scope: Scope) -> Breaches:
    right = [
        and_(_measured.c.extract_type == kind, _link.c.type.in_(list(map(int, types))))
        for kind, types in _LINK_TYPES.items()
    ]
    return breaches(scope, _points(scope).where(not_(or_(*right))), _say)


def _founding(scope: Scope) -> Breaches:
    founding = (
        select(
            _link.c.runcat,
            func.count().label("number"),
            func.max(_link.c.xtrsrc).label("xtrsrc"),
            func.max(_link.c.type).label("type"),
        )
        .join(_source, _source.c.id == _link.c.runcat)
        .where(_source.c.dataset == scope.dataset, _link.c.type.in_(list(map(int, _FOUNDING))))
        .group_by(_link.c.runcat)
        .subquery()
    )
    right_type = case(
        (_source.c.mon_src, int(LinkType.MONITOR_FIRST)),
        (_source.c.parent.is_not(None), int(LinkType.FORKED)),
        else_=int(LinkType.FOUNDING),
    )
    query = (
        select(*source_columns(), func.coalesce(founding.c.number, 0).label("number"))
        .outerjoin(founding, founding.c.runcat == _source.c.id)
        .where(_source.c.dataset == scope.dataset)
        .where(
            or_(
                founding.c.number.is_(None),
                founding.c.number != 1,
                founding.c.xtrsrc != _source.c.xtrsrc,
                founding.c.type != right_type,
            )
        )
    )
    return breaches(
        scope,
        query,
        lambda row: (
            f"{source_label(row)}: {row.number} founding points; it must be one of the right type, "
            "to the measurement that founded it"
        ),
    )


def _datapoints(scope: Scope) -> Breaches:
    counted = (
        select(
            _link.c.runcat,
            func.sum(one_if(_measured.c.extract_type == BLIND)).label("blind"),
            func.count().label("number"),
        )
        .join(_source, _source.c.id == _link.c.runcat)
        .join(_measured, _measured.c.id == _link.c.xtrsrc)
        .where(_source.c.dataset == scope.dataset)
        .group_by(_link.c.runcat)
        .subquery()
    )
    right = case((_source.c.mon_src, counted.c.number), else_=counted.c.blind)
    query = (
        select(*source_columns(), _source.c.datapoints, func.coalesce(right, 0).label("number"))
        .outerjoin(counted, counted.c.runcat == _source.c.id)
        .where(_source.c.dataset == scope.dataset)
        .where(_source.c.datapoints != func.coalesce(right, 0))
    )
    return breaches(
        scope,
        query,
        lambda row: f"{source_label(row)}: datapoints {row.datapoints}, points {row.number}",
    )


def _one_per_image(scope: Scope) -> Breaches:
    query = (
        select(
            *source_columns(),
            func.min(image.c.file_name).label("file_name"),
            func.count().label("number"),
        )
        .select_from(_link)
        .join(_source, _source.c.id == _link.c.runcat)
        .join(_measured, _measured.c.id == _link.c.xtrsrc)
        .join(image, image.c.id == _measured.c.image)
        .where(_source.c.dataset == scope.dataset)
        .group_by(_source.c.source_name, _source.c.id, image.c.id)
        .having(func.count() > 1)
    )
    return breaches(
        scope,
        query,
        lambda row: f"{source_label(row)}: {row.number} measurements in {row.file_name}",
    )


def _stokes(scope: Scope) -> Breaches:
    query = _points(scope).where(_source.c.mon_src.is_(False), image.c.stokes != _source.c.stokes)
    return breaches(scope, query, _say)


def _distances(scope: Scope) -> Breaches:
    limit = scope.setting("association", "deruiter_radius", float("inf"))
    matched = _link.c.type.in_([int(LinkType.ONE_TO_ONE), int(LinkType.FORKED)])
    inherited = and_(_link.c.type == int(LinkType.INHERITED), _measured.c.extract_type == BLIND)
    near = and_(_link.c.r >= 0.0, _link.c.r < limit, _link.c.distance_arcsec >= 0.0)
    none = and_(_link.c.r == 0.0, _link.c.distance_arcsec == 0.0)
    right = case((or_(matched, inherited), near), else_=none)
    query = _points(scope).where(not_(func.coalesce(right, False)))
    return breaches(
        scope,
        query,
        lambda row: f"{_say(row)}, {row.distance_arcsec} arcsec, De Ruiter radius {row.r}",
    )


def _pending(scope: Scope) -> Breaches:
    return breaches(scope, _points(scope).where(_link.c.pending), _say)


INVARIANTS = (
    Invariant(
        "point-ends",
        "a point of a light curve joins a sky source and a measurement of one dataset",
        _ends,
    ),
    Invariant(
        "point-types",
        "the type of a point fits how its measurement was made",
        _types,
    ),
    Invariant(
        "founding-point",
        "a sky source has one founding point (type 4, of a fork 2, of a monitored position 8), to "
        "the measurement that founded it",
        _founding,
    ),
    Invariant(
        "datapoints",
        "datapoints is the number of blind points, of a monitored position that of all points",
        _datapoints,
    ),
    Invariant(
        "one-point-per-image",
        "a sky source has at most one measurement in an image",
        _one_per_image,
    ),
    Invariant(
        "point-stokes",
        "points of a sky source are of images of its Stokes",
        _stokes,
    ),
    Invariant(
        "point-distances",
        "the De Ruiter radius of an associated point is below the limit; other points have zeros",
        _distances,
    ),
    Invariant(
        "points-counted",
        "all points are in the statistics (none is pending)",
        _pending,
        when_finished=True,
    ),
)

"""Invariants of forced fits: light curves are complete, and what was wanted was made or not."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Row,
    Select,
    and_,
    case,
    exists,
    false,
    func,
    not_,
    or_,
    select,
    true,
)

from trap_ops.records.images import STOKES_I
from trap_ops.records.sky import FAILED, FITTED, ORPHAN, REQUESTED, SKIPPED, FitKind, LinkType
from trap_ops.store.detections import BLIND
from trap_ops.store.invariants.invariant import (
    RELATIVE,
    Breaches,
    Invariant,
    Scope,
    breaches,
    measurement_columns,
    measurement_label,
    source_columns,
    source_label,
)
from trap_ops.store.outcomes import ACCEPTED, DONE
from trap_ops.store.schema import (
    assocskyrgn,
    assocxtrsource,
    extractedsource,
    forcedfit,
    image,
    monitor,
    outcome,
    runningcatalog,
)

_KINDS = {1: "forward", 2: "monitoring", 3: "backward"}
_fit, _measured, _source, _link = forcedfit, extractedsource, runningcatalog, assocxtrsource


def used_images(scope: Scope) -> Select[Any]:
    """Ids of the images whose detections are in light curves."""
    return (
        select(image.c.id)
        .join(outcome, outcome.c.image == image.c.id)
        .where(image.c.dataset == scope.dataset, image.c.verdict == ACCEPTED)
        .where(outcome.c.stage == "associate", outcome.c.result == DONE)
    )


def _named(scope: Scope) -> Select[Any]:
    """Rows of ``forcedfit`` with what names them."""
    return (
        select(
            _source.c.source_name,
            _fit.c.runcat.label("source"),
            monitor.c.name.label("position"),
            image.c.file_name,
            _fit.c.kind,
            _fit.c.status,
            _fit.c.reason,
            _fit.c.upper_limit,
        )
        .select_from(_fit)
        .outerjoin(image, image.c.id == _fit.c.image)
        .outerjoin(_source, _source.c.id == _fit.c.runcat)
        .outerjoin(monitor, monitor.c.id == _fit.c.monitor)
        .where(_fit.c.dataset == scope.dataset)
    )


def _say(row: Row[Any]) -> str:
    owner = source_label(row) if row.source else f"position {row.position or 'without a name'}"
    kind = _KINDS.get(row.kind, f"kind {row.kind}")
    return f"{owner}: {kind} fit in {row.file_name}, {row.status} {row.reason}".rstrip()


def _complete(scope: Scope) -> Breaches:
    forward = scope.setting("forced_fits", "forward", True)
    backward = scope.setting("forced_fits", "backward", True)
    all_backward = backward and not scope.setting("forced_fits", "backward_max_images", 0)
    first = (
        select(_link.c.runcat, func.min(image.c.taustart_ts).label("start"))
        .join(_source, _source.c.id == _link.c.runcat)
        .join(_measured, _measured.c.id == _link.c.xtrsrc)
        .join(image, image.c.id == _measured.c.image)
        .where(_source.c.dataset == scope.dataset, _measured.c.extract_type == BLIND)
        .group_by(_link.c.runcat)
        .subquery()
    )
    # Which of the images before, in and after the time step of the first detection.
    wanted: list[ColumnElement[bool]] = [
        and_(image.c.taustart_ts > first.c.start, true() if forward else false()),
        and_(image.c.taustart_ts < first.c.start, true() if all_backward else false()),
        and_(
            image.c.taustart_ts == first.c.start,
            true() if all_backward or (forward and not backward) else false(),
        ),
    ]
    # Joined as a whole: asking pair by pair takes the square of the number of images.
    points = (
        select(_link.c.runcat, _measured.c.image)
        .join(_source, _source.c.id == _link.c.runcat)
        .join(_measured, _measured.c.id == _link.c.xtrsrc)
        .where(_source.c.dataset == scope.dataset)
        .subquery()
    )
    asked = select(_fit.c.id).where(
        _fit.c.image == image.c.id,
        _fit.c.kind.in_([int(FitKind.FORWARD), int(FitKind.BACKWARD)]),
        _fit.c.runcat == _source.c.id,
        _fit.c.reason != "",
        _fit.c.status != ORPHAN,
    )
    # A source is a member of several regions, but an image is in one.
    query = (
        select(*source_columns(), image.c.file_name)
        .select_from(_source)
        .join(first, first.c.runcat == _source.c.id)
        .join(assocskyrgn, assocskyrgn.c.runcat == _source.c.id)
        .join(image, image.c.skyrgn == assocskyrgn.c.skyrgn)
        .outerjoin(points, (points.c.runcat == _source.c.id) & (points.c.image == image.c.id))
        .where(_source.c.dataset == scope.dataset, _source.c.mon_src.is_(False))
        .where(image.c.stokes == _source.c.stokes, image.c.id.in_(used_images(scope)))
        .where(or_(*wanted), points.c.runcat.is_(None), not_(exists(asked)))
    )
    return breaches(
        scope,
        query,
        lambda row: f"{source_label(row)}: neither a point nor a reason in {row.file_name}",
    )


def _monitors_complete(scope: Scope) -> Breaches:
    query = (
        select(monitor.c.name, image.c.file_name)
        .select_from(monitor)
        .join(image, image.c.dataset == monitor.c.dataset)
        .outerjoin(
            _fit,
            (_fit.c.monitor == monitor.c.id)
            & (_fit.c.image == image.c.id)
            & or_(_fit.c.status == FITTED, _fit.c.reason != ""),
        )
        .where(monitor.c.dataset == scope.dataset, _fit.c.id.is_(None))
        .where(image.c.id.in_(used_images(scope)))
    )
    return breaches(
        scope,
        query,
        lambda row: f"position {row.name}: neither a fit nor a reason in {row.file_name}",
    )


def _owners(scope: Scope) -> Breaches:
    of_monitor = _fit.c.kind == int(FitKind.MONITOR)
    right = case(
        (of_monitor, and_(_fit.c.runcat.is_(None), monitor.c.dataset == scope.dataset)),
        (_fit.c.status == ORPHAN, and_(_fit.c.runcat.is_(None), _fit.c.monitor.is_(None))),
        else_=and_(
            _fit.c.monitor.is_(None),
            _source.c.dataset == scope.dataset,
            not_(_source.c.mon_src),
            _fit.c.kind.in_([int(FitKind.FORWARD), int(FitKind.BACKWARD)]),
            image.c.stokes == _source.c.stokes,
        ),
    )
    whole = and_(image.c.dataset == scope.dataset, right)
    return breaches(scope, _named(scope).where(not_(func.coalesce(whole, false()))), _say)


def _statuses(scope: Scope) -> Breaches:
    without = and_(_fit.c.xtrsrc.is_(None), _fit.c.upper_limit.is_(None))
    right = case(
        (_fit.c.status == FITTED, and_(_fit.c.xtrsrc.is_not(None), _fit.c.reason == "")),
        (_fit.c.status.in_([FAILED, SKIPPED]), and_(without, _fit.c.reason != "")),
        (_fit.c.status == REQUESTED, without),
        else_=_fit.c.status == ORPHAN,
    )
    return breaches(scope, _named(scope).where(not_(right)), _say)


def _nothing_left(scope: Scope) -> Breaches:
    left = or_(_fit.c.status == ORPHAN, and_(_fit.c.status == REQUESTED, _fit.c.reason == ""))
    return breaches(scope, _named(scope).where(left), _say)


def _with_measurement(query: Select[Any], table: FromClause) -> Select[Any]:
    return query.outerjoin(table, table.c.id == _fit.c.xtrsrc).where(_fit.c.xtrsrc.is_not(None))


def _measurements(scope: Scope) -> Breaches:
    made = _measured.alias("made")
    query = _with_measurement(_named(scope), made).where(
        or_(
            made.c.id.is_(None),
            made.c.image != _fit.c.image,
            made.c.extract_type != _fit.c.kind,
            made.c.ra != _fit.c.ra,
            made.c.decl != _fit.c.decl,
        )
    )
    return breaches(scope, query, _say)


def _points(scope: Scope) -> Breaches:
    query = (
        _named(scope)
        .outerjoin(_link, (_link.c.runcat == _fit.c.runcat) & (_link.c.xtrsrc == _fit.c.xtrsrc))
        .where(_fit.c.status == FITTED, _fit.c.runcat.is_not(None))
        .where(or_(_link.c.id.is_(None), _link.c.type != _fit.c.link_type))
    )
    return breaches(scope, query, _say)


def _monitor_points(scope: Scope) -> Breaches:
    query = (
        _named(scope)
        .outerjoin(_link, (_link.c.runcat == monitor.c.runcat) & (_link.c.xtrsrc == _fit.c.xtrsrc))
        .where(_fit.c.status == FITTED, _fit.c.monitor.is_not(None), _link.c.id.is_(None))
    )
    return breaches(scope, query, _say)


def _wanted(scope: Scope) -> Breaches:
    query = (
        select(*measurement_columns())
        .select_from(_measured)
        .join(image, image.c.id == _measured.c.image)
        .outerjoin(_fit, _fit.c.xtrsrc == _measured.c.id)
        .where(image.c.dataset == scope.dataset)
        .where(_measured.c.extract_type != BLIND, _fit.c.id.is_(None))
    )
    return breaches(scope, query, measurement_label)


def _made_for(scope: Scope) -> Breaches:
    """Fits that a fork's children share, and those whose source was forked, belong to nobody."""
    own = select(_fit.c.id).where(
        _fit.c.xtrsrc == _measured.c.id,
        or_(
            and_(_measured.c.ff_monitor.is_(None), _fit.c.runcat == _measured.c.ff_runcat),
            and_(_measured.c.ff_runcat.is_(None), _fit.c.monitor == _measured.c.ff_monitor),
        ),
    )
    to_nobody = and_(
        _measured.c.ff_runcat.is_(None),
        _measured.c.ff_monitor.is_(None),
        not_(
            exists(
                select(_fit.c.id).where(
                    _fit.c.xtrsrc == _measured.c.id,
                    _fit.c.link_type != int(LinkType.INHERITED),
                )
            )
        ),
    )
    blind = and_(
        _measured.c.extract_type == BLIND,
        _measured.c.ff_runcat.is_(None),
        _measured.c.ff_monitor.is_(None),
    )
    known = exists(select(_fit.c.id).where(_fit.c.xtrsrc == _measured.c.id))
    query = (
        select(*measurement_columns())
        .select_from(_measured)
        .join(image, image.c.id == _measured.c.image)
        .where(image.c.dataset == scope.dataset)
        .where(not_(or_(blind, exists(own), to_nobody)))
        .where(or_(_measured.c.extract_type == BLIND, known))
    )
    return breaches(scope, query, measurement_label)


def _limits(scope: Scope) -> Breaches:
    sigma = scope.setting("forced_fits", "upper_limit_sigma", 3.0)
    made = _measured.alias("made")
    least = sigma * made.c.f_peak_err
    # True fluxes may be negative where sources below the background are wanted, and in Q, U and V.
    negative = true() if scope.setting("extraction", "negative", False) else false()
    signed = or_(negative, image.c.stokes != STOKES_I)
    size = case((made.c.f_peak > 0.0, made.c.f_peak), (signed, -made.c.f_peak), else_=0.0)
    right = case((size < least, size + least), else_=None)
    near = func.abs(_fit.c.upper_limit - right) <= RELATIVE * right
    query = _with_measurement(_named(scope), made).where(
        or_(_fit.c.upper_limit.is_(None) != right.is_(None), not_(near))
    )
    return breaches(scope, query, lambda row: f"{_say(row)}, upper limit {row.upper_limit} Jy")


INVARIANTS = (
    Invariant(
        "complete-light-curves",
        "a sky source has, in every used image of its Stokes in its regions, a measurement or a "
        "reason in forcedfit (as far as the settings ask for forced fits)",
        _complete,
        when_finished=True,
    ),
    Invariant(
        "complete-monitoring",
        "a monitored position has a fit or a reason in every used image",
        _monitors_complete,
        when_finished=True,
    ),
    Invariant(
        "fit-owners",
        "a forced fit is wanted for a sky source or a monitored position, of the dataset of its "
        "image and, for a sky source, its Stokes",
        _owners,
    ),
    Invariant(
        "fit-statuses",
        "a forced fit that was made has a measurement, one that failed or was skipped a reason",
        _statuses,
    ),
    Invariant(
        "no-fits-left",
        "no forced fit is left to do without a reason, and none is an orphan",
        _nothing_left,
        when_finished=True,
    ),
    Invariant(
        "fit-measurements",
        "a forced fit has its measurement in its image, of its kind and at its very position",
        _measurements,
    ),
    Invariant(
        "fit-points",
        "the measurement of a forced fit is a point of its source's light curve, of the right type",
        _points,
    ),
    Invariant(
        "monitoring-points",
        "a fit at a monitored position is a point of its light curve",
        _monitor_points,
        when_finished=True,
    ),
    Invariant(
        "measurements-wanted",
        "a measurement that is not blind was wanted: it has a row in forcedfit",
        _wanted,
    ),
    Invariant(
        "measurement-owners",
        "ff_runcat and ff_monitor name whom a forced fit was made for; blind detections have none",
        _made_for,
    ),
    Invariant(
        "upper-limits",
        "a forced fit has an upper limit where it is not significant, and nowhere else",
        _limits,
    ),
)

"""Invariants of new sources (SCIENCE.md 8)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, Select, and_, case, false, func, not_, or_, select

from trap_ops.records.sky import FitKind
from trap_ops.store.detections import BLIND
from trap_ops.store.invariants.forced_fits import used_images
from trap_ops.store.invariants.invariant import (
    RELATIVE,
    Breaches,
    Invariant,
    Scope,
    breaches,
    source_columns,
    source_label,
)
from trap_ops.store.schema import (
    assocxtrsource,
    extractedsource,
    forcedfit,
    image,
    newsource,
    runningcatalog,
)

_before, _at = image.alias("before"), image.alias("at")
_trigger = extractedsource.alias("trigger_row")


def _rows(scope: Scope) -> Select[Any]:
    return (
        select(
            *source_columns(),
            newsource.c.newsource_type,
            _before.c.file_name,
            _at.c.file_name.label("trigger_file"),
        )
        .select_from(newsource)
        .join(runningcatalog, runningcatalog.c.id == newsource.c.runcat)
        .outerjoin(_trigger, _trigger.c.id == newsource.c.trigger_xtrsrc)
        .outerjoin(_at, _at.c.id == _trigger.c.image)
        .outerjoin(_before, _before.c.id == newsource.c.previous_limits_image)
        .where(runningcatalog.c.dataset == scope.dataset)
    )


def _say(row: Row[Any]) -> str:
    return (
        f"{source_label(row)}: type {row.newsource_type}, seen in {row.trigger_file}, compared "
        f"with {row.file_name}"
    )


def _images(scope: Scope) -> Breaches:
    right = and_(
        _before.c.id.in_(used_images(scope)),
        _before.c.taustart_ts < _at.c.taustart_ts,
        _before.c.band == _at.c.band,
        _before.c.stokes == _at.c.stokes,
    )
    return breaches(scope, _rows(scope).where(not_(func.coalesce(right, false()))), _say)


def _triggers(scope: Scope) -> Breaches:
    link = assocxtrsource
    several = select(newsource.c.runcat).group_by(newsource.c.runcat).having(func.count() > 1)
    query = (
        _rows(scope)
        .outerjoin(
            link,
            (link.c.runcat == newsource.c.runcat) & (link.c.xtrsrc == newsource.c.trigger_xtrsrc),
        )
        .where(
            or_(
                link.c.id.is_(None),
                _trigger.c.extract_type != BLIND,
                runningcatalog.c.mon_src,
                newsource.c.runcat.in_(several),
            )
        )
    )
    return breaches(scope, query, _say)


def _limits(scope: Scope) -> Breaches:
    margin = scope.setting("new_sources", "sigma_margin", 1.0)
    factor = _before.c.detection_thresh + margin
    bright = func.abs(_trigger.c.f_peak)
    # At a limit itself rounding decides.
    loose = 1.0 + RELATIVE
    right = and_(
        bright * loose > _before.c.rms_min * factor,
        case(
            (newsource.c.newsource_type == 1, bright * loose > _before.c.rms_max * factor),
            (newsource.c.newsource_type == 0, bright <= _before.c.rms_max * factor * loose),
            else_=false(),
        ),
    )
    return breaches(scope, _rows(scope).where(not_(func.coalesce(right, false()))), _say)


def _rms(scope: Scope) -> Breaches:
    made = extractedsource.alias("made")
    query = (
        _rows(scope)
        .join(
            forcedfit,
            (forcedfit.c.runcat == newsource.c.runcat)
            & (forcedfit.c.image == newsource.c.previous_limits_image)
            & (forcedfit.c.kind == int(FitKind.BACKWARD)),
        )
        .join(made, made.c.id == forcedfit.c.xtrsrc)
        .where(not_(func.coalesce(newsource.c.previous_limits_rms == made.c.rms, false())))
    )
    return breaches(scope, query, _say)


INVARIANTS = (
    Invariant(
        "new-source-images",
        "a new source is compared with a used, earlier image of the band and Stokes that it was "
        "first seen in",
        _images,
    ),
    Invariant(
        "new-source-triggers",
        "a new source is marked once, by a blind detection in its light curve",
        _triggers,
    ),
    Invariant(
        "new-source-limits",
        "the first peak of a new source is above the limit of the earlier image's quietest part, "
        "of a likely one (type 1) above that of its noisiest part",
        _limits,
    ),
    Invariant(
        "new-source-rms",
        "previous_limits_rms is the rms of the backward fit in the earlier image, where there is "
        "one",
        _rms,
        when_finished=True,
    ),
)

"""Invariants of images: their places, verdicts, and what the stages did with them."""

from __future__ import annotations

from sqlalchemy import and_, case, exists, false, func, literal, not_, or_, select

from trap_ops.store.invariants.forced_fits import used_images
from trap_ops.store.invariants.invariant import Breaches, Invariant, Scope, breaches
from trap_ops.store.outcomes import ACCEPTED, DONE, REJECTED
from trap_ops.store.runs import FINISHED
from trap_ops.store.schema import (
    assocxtrsource,
    candidate,
    extractedsource,
    forcedfit,
    frequencyband,
    image,
    newsource,
    noisemodel,
    outcome,
    rejection,
    run,
    skyregion,
    stagerun,
)

_FIRST, _JUDGE, _EXTRACT, _ASSOCIATE, _FIT, _LAST = (
    "measure_quality", "judge_quality", "extract_sources", "associate", "fit_forced", "publish",
)  # fmt: skip


def _places(scope: Scope) -> Breaches:
    query = (
        select(image.c.file_name)
        .outerjoin(frequencyband, frequencyband.c.id == image.c.band)
        .outerjoin(skyregion, skyregion.c.id == image.c.skyrgn)
        .where(image.c.dataset == scope.dataset)
        .where(
            not_(
                func.coalesce(
                    and_(
                        frequencyband.c.dataset == scope.dataset,
                        skyregion.c.dataset == scope.dataset,
                    ),
                    false(),
                )
            )
        )
    )
    return breaches(scope, query, lambda row: f"image {row.file_name}")


def _verdicts(scope: Scope) -> Breaches:
    counted = (
        select(rejection.c.image, func.count().label("number"))
        .join(image, image.c.id == rejection.c.image)
        .where(image.c.dataset == scope.dataset, rejection.c.rejectreason.is_not(None))
        .group_by(rejection.c.image)
        .subquery()
    )
    number = func.coalesce(counted.c.number, 0)
    right = case(
        (image.c.verdict == REJECTED, number == 1),
        (or_(image.c.verdict == ACCEPTED, image.c.verdict.is_(None)), number == 0),
        else_=false(),
    )
    query = (
        select(image.c.file_name, image.c.verdict, number.label("number"))
        .outerjoin(counted, counted.c.image == image.c.id)
        .where(image.c.dataset == scope.dataset, not_(right))
    )
    return breaches(
        scope,
        query,
        lambda row: f"image {row.file_name}: verdict {row.verdict}, {row.number} rejections",
    )


def _unused(scope: Scope) -> Breaches:
    measured = extractedsource
    uses = {
        "points of light curves": select(literal(1))
        .select_from(measured)
        .join(assocxtrsource, assocxtrsource.c.xtrsrc == measured.c.id)
        .where(measured.c.image == image.c.id),
        "forced fits": select(literal(1)).where(forcedfit.c.image == image.c.id),
        "new sources compared with it": select(literal(1)).where(
            newsource.c.previous_limits_image == image.c.id
        ),
        "candidates first seen in it": select(literal(1)).where(
            candidate.c.first_image == image.c.id
        ),
    }
    found = Breaches()
    for what, use in uses.items():
        query = select(image.c.file_name).where(
            image.c.dataset == scope.dataset, image.c.verdict == REJECTED, exists(use)
        )
        found += breaches(
            scope,
            query,
            lambda row, what=what: f"rejected image {row.file_name} has {what}",  # type: ignore[misc]
        )
    return found


def _searched(scope: Scope) -> Breaches:
    known = [image.c[name] for name in ("rms_min", "rms_max", "detection_thresh")]
    query = (
        select(image.c.file_name)
        .outerjoin(noisemodel, noisemodel.c.image == image.c.id)
        .where(image.c.id.in_(used_images(scope)))
        .where(or_(noisemodel.c.image.is_(None), *(column.is_(None) for column in known)))
    )
    return breaches(scope, query, lambda row: f"image {row.file_name}")


def _outcomes(scope: Scope) -> Breaches:
    stage = {
        name: select(outcome.c.image, outcome.c.result)
        .where(outcome.c.dataset == scope.dataset, outcome.c.stage == name)
        .where(outcome.c.image.is_not(None))
        .subquery()
        for name in (_FIRST, _JUDGE, _EXTRACT, _ASSOCIATE, _FIT)
    }
    result = {name: table.c.result for name, table in stage.items()}
    fits = select(forcedfit.c.id).where(
        forcedfit.c.image == image.c.id, forcedfit.c.xtrsrc.is_not(None)
    )
    extracted = result[_EXTRACT].is_not(None)
    right = and_(
        result[_FIRST].is_not(None),
        result[_JUDGE].is_not(None),
        or_(result[_JUDGE] == REJECTED, extracted),
        or_(not_(extracted), result[_EXTRACT] == REJECTED, result[_ASSOCIATE].is_not(None)),
        or_(not_(exists(fits)), result[_FIT].is_not(None)),
        # The verdict is that of the last stage that gave one.
        (image.c.verdict == ACCEPTED) == func.coalesce(result[_ASSOCIATE] == DONE, false()),
    )
    query = select(image.c.file_name, image.c.verdict).select_from(image)
    for table in stage.values():
        query = query.outerjoin(table, table.c.image == image.c.id)
    query = query.where(image.c.dataset == scope.dataset)
    return breaches(
        scope,
        query.where(not_(func.coalesce(right, false()))),
        lambda row: f"image {row.file_name}, {row.verdict}",
    )


def _runs(scope: Scope) -> Breaches:
    going = (
        select(stagerun.c.run)
        .where(stagerun.c.finished_ts.is_(None))
        .where(stagerun.c.run == run.c.id)
    )
    ended = select(stagerun.c.run).where(stagerun.c.run == run.c.id, stagerun.c.stage == _LAST)
    query = select(run.c.run_key).where(
        run.c.dataset == scope.dataset,
        run.c.state == FINISHED,
        or_(run.c.finished_ts.is_(None), exists(going), not_(exists(ended))),
    )
    return breaches(scope, query, lambda row: f"run {row.run_key}")


INVARIANTS = (
    Invariant("image-places", "band and sky region of an image are those of its dataset", _places),
    Invariant(
        "verdicts",
        "a rejected image has one row in rejection, with the reason; others none",
        _verdicts,
    ),
    Invariant(
        "rejected-images",
        "a rejected image has no points in light curves, no forced fits, and nothing rests on it",
        _unused,
    ),
    Invariant(
        "searched-images",
        "an image that is used has its rms range, detection threshold and noise model",
        _searched,
    ),
    Invariant(
        "image-outcomes",
        "every image has an outcome in each stage that it came to, and the verdict that follows",
        _outcomes,
        when_finished=True,
    ),
    Invariant(
        "finished-runs",
        "a finished run has its end, and all its stages ended",
        _runs,
        when_finished=True,
    ),
)

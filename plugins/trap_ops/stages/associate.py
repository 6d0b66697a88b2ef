"""Go through all images in time order and say which detection belongs to which sky source."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby

from sqlalchemy import Connection

from trap_ops.records.images import (
    CATALOGUE_REASONS,
    Coverage,
    ImageRow,
    Region,
    Verdict,
)
from trap_ops.records.runs import StageReport
from trap_ops.records.sky import step_number
from trap_ops.science.catalogue import Catalogue, canonical
from trap_ops.science.catalogue_checks import (
    CATALOGUE_CHECKS,
    FLUX_SCALE,
    SOURCE_COUNT,
    CatalogueChecks,
    Counted,
)
from trap_ops.science.image_checks import verdict_of
from trap_ops.science.new_sources import detection_limits
from trap_ops.science.reference_fluxes import ReferenceFluxes
from trap_ops.science.sky_history import SkyHistory
from trap_ops.science.time_steps import HistoryImage, Rules
from trap_ops.stages.context import StageContext, input_hash, plan_batches, stage
from trap_ops.store import (
    detections,
    forced_fits,
    images,
    quality_checks,
    reference_fluxes,
    regions,
    sky_sources,
)
from trap_ops.store.outcomes import (
    ACCEPTED,
    DONE,
    REJECTED,
    Outcome,
    forget_outcomes,
    has_outcomes,
    image_outcomes,
    save_outcomes,
)

logger = logging.getLogger(__name__)

STAGE = "associate"
# Time steps are stored in blocks of about so many images: a block is one transaction.
_BLOCK_IMAGES = 50


@dataclass(frozen=True)
class _Plan:
    """What is to be done.

    Attributes
    ----------
    rows : list of ImageRow
        Images of the dataset in canonical order, but those that are settled.
    before : int
        Number of images before these.
    usable : set of int
        Images with extracted sources that are accepted by all stages before this one.
    done : set of int
        Of these, images that were gone through before.
    afresh : bool
        Whether to forget what earlier runs made of the sky and go through everything.
    """

    rows: list[ImageRow]
    before: int
    usable: set[int]
    done: set[int]
    afresh: bool


def associate(context: StageContext) -> StageReport:
    """Associate all images of the dataset that are accepted, extracted and not associated yet.

    If one of them is not later than all that were associated, or if what was done before is void
    (``register_images`` and ``judge_quality`` see to that), everything is derived anew from the
    stored detections (SCIENCE.md D15); forced fits that are wanted again at the same position keep
    their result.

    Each image is first checked against the catalogue as it was before its time step; one that does
    not fit is rejected.

    Returns
    -------
    StageReport
        Its batches hold the images in which forced fits are to be made.
    """
    with stage(context, STAGE) as timer:
        plan = _plan(context)
        if plan.afresh:
            _begin_anew(context)
            plan = _plan(context)
        history = _load_history(context, plan)
        timer.count("images rejected", 0)
        for block in _blocks(plan):
            count, rejected = _go_through(context, plan, history, block)
            timer.count("images", sum(row.id in plan.usable for row in block))
            timer.count("detections", count)
            timer.count("images rejected", rejected)
        used = _finish(context, plan)
        timer.count("sky sources", int(history.catalogue.active.sum()))
        waiting = _images_to_fit(context)
        others = [image_id for image_id in used if image_id not in set(waiting)]
        plan_batches(context, timer, waiting, others)
    return timer.report()


def _images_to_fit(context: StageContext) -> list[int]:
    """Images in use that forced fits are to be made in, in canonical order."""
    dataset = context.run.dataset
    with context.store.read() as connection:
        waiting = forced_fits.images_to_fit(connection, dataset)
        outcomes = image_outcomes(connection, dataset, STAGE, waiting)
        rows = images.images_by_id(connection, waiting)
    return [row.id for row in rows if outcomes.get(row.id, ("", ""))[0] == DONE]


def _begin_anew(context: StageContext) -> None:
    """Forget what earlier runs made of the sky, and which images did not fit to it."""
    logger.info("going through the dataset from its first image on")
    dataset = context.run.dataset
    with context.store.write() as connection:
        sky_sources.wipe(connection, dataset)
        regions.forget_introduced(connection, dataset)
        forget_outcomes(connection, dataset, STAGE)
        quality_checks.forget_checks(connection, dataset, CATALOGUE_CHECKS)
        images.take_back(context.store, connection, dataset, CATALOGUE_REASONS)


def _finish(context: StageContext, plan: _Plan) -> list[int]:
    """Ask for the fits of new monitoring positions; return images that are used, in order."""
    dataset = context.run.dataset
    with context.store.write() as connection:
        ids = [row.id for row in plan.rows]
        outcomes = image_outcomes(connection, dataset, STAGE, ids)
        used = [image_id for image_id in ids if outcomes.get(image_id, ("", ""))[0] == DONE]
        forced_fits.drop_orphans(connection, dataset)
        forced_fits.request_new_monitors(context.store, connection, dataset, STAGE)
    return used


def _plan(context: StageContext) -> _Plan:
    dataset = context.run.dataset
    with context.store.read() as connection:
        rows = images.unsettled_images(connection, dataset)
        ids = [row.id for row in rows]
        extracted = image_outcomes(connection, dataset, "extract_sources", ids)
        outcomes = image_outcomes(connection, dataset, STAGE, ids)
        reasons = images.rejections_among(connection, ids)
        before = images.count_before(connection, dataset, rows[0].start) if rows else 0
        begun = has_outcomes(connection, dataset, STAGE)
    here = {row.id for row in rows if reasons.get(row.id, (None, ""))[0] in CATALOGUE_REASONS}
    usable = {
        row.id
        for row in rows
        if (row.verdict == ACCEPTED or row.id in here)
        and extracted.get(row.id, ("", ""))[0] == DONE
    }
    done = set(outcomes)
    latest_done = max((row.start for row in rows if row.id in done), default=None)
    late = latest_done is not None and any(
        row.start <= latest_done for row in rows if row.id in usable - done
    )
    if late or not begun:
        return _Plan(rows, before, usable, set(), afresh=True)
    return _Plan(rows, before, usable, done, afresh=False)


def _load_history(context: StageContext, plan: _Plan) -> SkyHistory:
    settings = context.run.configuration
    with context.store.read() as connection:
        catalogue = Catalogue.of_rows(sky_sources.load_catalogue(connection, context.run.dataset))
        memberships = sky_sources.load_memberships(connection, context.run.dataset)
        region_ids, known = regions.load_regions(connection, context.run.dataset)
        introduced = regions.introduced_regions(connection, context.run.dataset)
        stored = reference_fluxes.load_reference_fluxes(connection, context.run.dataset)
        references = ReferenceFluxes(stored, catalogue)
        checks = CatalogueChecks(settings.catalogue_checks, references)
        _recall(connection, context, plan, checks)
    expiration = settings.forced_fits.expiration
    by_id: Mapping[int, Region] = dict(zip(region_ids, known, strict=True))
    return SkyHistory(
        catalogue,
        references,
        checks,
        memberships,
        by_id,
        introduced,
        lambda: _earlier_images(context, plan),
        _coverages(context),
        Rules(
            max_deruiter=settings.association.deruiter_radius,
            forward=settings.forced_fits.forward,
            backward=settings.forced_fits.backward,
            backward_max_images=settings.forced_fits.backward_max_images,
            expiration=None if expiration == "none" else expiration,
        ),
    )


def _coverages(context: StageContext) -> Callable[[int], Coverage | None]:
    """What images show, by id: each is loaded once, and those that are alike are kept once."""
    alike: dict[Coverage | None, Coverage | None] = {}

    @cache
    def load(image_id: int) -> Coverage | None:
        with context.store.read() as connection:
            coverage = images.load_coverage(connection, image_id)
        return alike.setdefault(coverage, coverage)

    return load


def _recall(
    connection: Connection, context: StageContext, plan: _Plan, checks: CatalogueChecks
) -> None:
    """Load what the checks of new images need of those of earlier runs."""
    dataset, settings = context.run.dataset, context.run.configuration.catalogue_checks
    new = [row for row in plan.rows if row.id in plan.usable - plan.done]
    for band, stokes in {(row.band, row.stokes) for row in new}:
        number = quality_checks.count_associated(
            connection, dataset, settings.min_images, band, stokes
        )
        scales = quality_checks.latest_measured(
            connection, dataset, FLUX_SCALE, settings.history_images, band, stokes
        )
        checks.recall(band, stokes, number, [scale for scale, _ in scales])
    for band, region, stokes in {(row.band, row.region, row.stokes) for row in new}:
        counted = quality_checks.latest_measured(
            connection, dataset, SOURCE_COUNT, settings.history_images, band, stokes, region
        )
        checks.recall_counts(band, region, stokes, [Counted(*item) for item in counted])


def _earlier_images(context: StageContext, plan: _Plan) -> list[HistoryImage]:
    """Images in use that earlier runs went through: where a source is founded they matter."""
    dataset = context.run.dataset
    with context.store.read() as connection:
        rows = images.images_of(connection, dataset)
        outcomes = image_outcomes(connection, dataset, STAGE, [row.id for row in rows])
    done = {image_id for image_id, (result, _) in outcomes.items() if result == DONE}
    # This run has gone through some of its own by now; the history knows these already.
    return _history_images(context, rows, 0, done - (plan.usable - plan.done))


def _history_images(
    context: StageContext, rows: Sequence[ImageRow], before: int, wanted: Collection[int]
) -> list[HistoryImage]:
    """Some of the images as going through them needs them; so many are before the first."""
    settings = context.run.configuration
    return [
        HistoryImage(
            id=row.id,
            order=order,
            region=row.region,
            band=row.band,
            stokes=row.stokes,
            max_separation_deg=settings.association.beamwidths_limit * row.beam_semimajor_deg,
            limits=detection_limits(
                row.id,
                order,
                row.rms_min_jy,
                row.rms_max_jy,
                row.detection_threshold_sigma,
                settings.new_sources.sigma_margin,
            ),
            centre_ra_deg=row.centre_ra_deg,
            centre_dec_deg=row.centre_dec_deg,
            radius_deg=row.corner_distance_deg,
            beam_deg=2.0 * row.beam_semimajor_deg,
            rms_jy=row.rms_qc_jy,
        )
        for order, row in enumerate(rows, before)
        if row.id in wanted
    ]


def _go_through(
    context: StageContext, plan: _Plan, history: SkyHistory, block: list[ImageRow]
) -> tuple[int, int]:
    """Associate a block of whole time steps and store it in one transaction.

    Return the number of detections, and of images rejected.
    """
    started = time.perf_counter()
    usable = {
        image.id: image for image in _history_images(context, plan.rows, plan.before, plan.usable)
    }
    wanted = [row.id for row in block if row.id in plan.usable]
    with context.store.read() as connection:
        stored = detections.load_blind(connection, wanted)
    found = {image_id: canonical(item) for image_id, item in stored.items()}
    before = set(history.introduced)
    for start, rows in groupby(block, key=lambda row: row.start):
        step = list(rows)
        history.advance(
            step_number(start),
            [row.region for row in step],
            [usable[row.id] for row in step if row.id in usable],
            found,
        )
    changes = history.take_changes()
    count = sum(len(item) for item in found.values())
    seconds = (time.perf_counter() - started) / max(len(wanted), 1)
    verdicts = {image_id: verdict_of(made) for image_id, made in changes.checks.items()}
    rejected = {image_id: v for image_id, v in verdicts.items() if not v.accepted}
    outcomes = [
        _outcome(context, row, verdicts[row.id], seconds) for row in block if row.id in verdicts
    ]
    with context.store.write() as connection:
        sky_sources.save_changes(context.store, connection, context.run.dataset, changes)
        regions.set_introduced(connection, sorted(history.introduced - before))
        quality_checks.save_checks(connection, changes.checks, CATALOGUE_CHECKS)
        images.set_verdicts(context.store, connection, rejected)
        # It may have been used before it was gone through anew.
        forced_fits.delete_monitor_fits(connection, list(rejected))
        in_use = [image_id for image_id in verdicts if image_id not in rejected]
        forced_fits.request_monitors(context.store, connection, context.run.dataset, in_use)
        save_outcomes(connection, context.run.dataset, context.run.id, outcomes)
    logger.info(
        "%d images, %d detections, %d sky sources in %.2f s",
        len(wanted),
        count,
        int(history.catalogue.active.sum()),
        time.perf_counter() - started,
    )
    return count, len(rejected)


def _outcome(context: StageContext, row: ImageRow, verdict: Verdict, seconds: float) -> Outcome:
    if verdict.reason is not None:
        logger.warning("%s rejected: %s", row.shown_name, verdict.comment)
    return Outcome(
        STAGE,
        str(row.id),
        row.id,
        DONE if verdict.accepted else REJECTED,
        _input_hash(context, row),
        "" if verdict.reason is None else images.reason_text(verdict.reason),
        verdict.comment,
        seconds,
    )


def _blocks(plan: _Plan) -> Iterator[list[ImageRow]]:
    """Images still to be gone through, in whole time steps, about so many at a time."""
    latest = max((row.start for row in plan.rows if row.id in plan.done), default=None)
    block: list[ImageRow] = []
    for start, rows in groupby(plan.rows, key=lambda row: row.start):
        if latest is not None and start <= latest:
            continue
        block += rows
        if len(block) >= _BLOCK_IMAGES:
            yield block
            block = []
    if block:
        yield block


def _input_hash(context: StageContext, row: ImageRow) -> str:
    settings = context.run.configuration
    sections = (
        settings.association,
        settings.forced_fits,
        settings.catalogue_checks,
        settings.new_sources,
    )
    return input_hash(STAGE, row.content_sha256, [s.model_dump(mode="json") for s in sections])

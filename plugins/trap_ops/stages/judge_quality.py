"""Judge images in time order: which are accepted, which rejected and why."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence

from sqlalchemy import Connection

from trap_ops.records.images import ImageRow, RejectReason, Verdict
from trap_ops.records.names import visible
from trap_ops.records.runs import StageReport
from trap_ops.science.quality import judge
from trap_ops.stages.context import StageContext, input_hash, plan_batches, stage
from trap_ops.store import detections, forced_fits, images, sky_sources
from trap_ops.store.outcomes import (
    ACCEPTED,
    DONE,
    REJECTED,
    Outcome,
    finished_images,
    forget_outcomes,
    image_outcomes,
    save_outcomes,
)

logger = logging.getLogger(__name__)

STAGE = "judge_quality"


def judge_quality(context: StageContext) -> StageReport:
    """Give verdicts to all measured images of the dataset.

    The verdict on an image depends on earlier ones (history of the rms, duplicates), so those after
    a late image are judged again. Only verdicts that change are written. An image that was used and
    is rejected now loses all that was made of it, as if it had been rejected from the first.

    Returns
    -------
    StageReport
        Its batches hold the accepted images whose sources are not extracted yet.
    """
    started = time.perf_counter()
    with stage(context, STAGE) as timer:
        with context.store.read() as connection:
            rows = images.images_of(connection, context.run.dataset)
            measured = image_outcomes(connection, context.run.dataset, "measure_quality")
            judged = image_outcomes(connection, context.run.dataset, STAGE)
        verdicts = _judge_in_order(context, [row for row in rows if row.id in measured], measured)
        changed = {
            image_id: verdict
            for image_id, verdict in verdicts.items()
            if judged.get(image_id, ("", ""))[1] != _input_hash(verdict)
        }
        seconds = (time.perf_counter() - started) / max(len(changed), 1)
        _save(context, {row.id: row for row in rows}, changed, seconds)
        with context.store.read() as connection:
            extracted = finished_images(connection, context.run.dataset, "extract_sources")
        accepted = [i for i, verdict in verdicts.items() if verdict.accepted]
        timer.count("images accepted", sum(changed[i].accepted for i in changed))
        timer.count("images rejected", sum(not changed[i].accepted for i in changed))
        plan_batches(
            context,
            timer,
            [image_id for image_id in accepted if image_id not in extracted],
            [image_id for image_id in accepted if image_id in extracted],
        )
    return timer.report()


def _judge_in_order(
    context: StageContext, rows: Sequence[ImageRow], measured: Mapping[int, tuple[str, str]]
) -> dict[int, Verdict]:
    settings = context.run.configuration.quality
    history: dict[tuple[int, int], list[float]] = defaultdict(list)
    first_with: dict[str, ImageRow] = {}
    verdicts = {}
    for row in rows:
        earlier = history[row.band, row.stokes]
        original = first_with.setdefault(row.content_sha256 or str(row.id), row)
        if measured[row.id][0] == REJECTED:
            verdict = Verdict(
                False, RejectReason.FILE_UNUSABLE, "its pixels cannot be read; see measure_quality"
            )
        elif original is not row:
            where = " in another directory" if original.file_name == row.file_name else ""
            comment = f"the same bytes as {visible(original.file_name)}{where}"
            verdict = Verdict(False, RejectReason.DUPLICATE, comment)
        else:
            verdict = judge(row, earlier[-settings.rms_history_images :], settings)
        if verdict.accepted:
            earlier.append(row.rms_qc_jy)
        verdicts[row.id] = verdict
    return verdicts


def _save(
    context: StageContext,
    rows: Mapping[int, ImageRow],
    verdicts: Mapping[int, Verdict],
    seconds: float,
) -> None:
    outcomes = []
    for image_id, verdict in verdicts.items():
        result = ACCEPTED if verdict.accepted else REJECTED
        reason = "" if verdict.reason is None else images.reason_text(verdict.reason)
        if not verdict.accepted:
            logger.warning("%s rejected: %s", rows[image_id].shown_name, verdict.comment)
        outcomes.append(
            Outcome(
                STAGE,
                str(image_id),
                image_id,
                result,
                _input_hash(verdict),
                reason,
                verdict.comment,
                seconds,
            )
        )
    with context.store.write() as connection:
        _withdraw(
            connection, context.run.dataset, [i for i, v in verdicts.items() if not v.accepted]
        )
        images.set_verdicts(context.store, connection, verdicts)
        save_outcomes(connection, context.run.dataset, context.run.id, outcomes)


def _withdraw(connection: Connection, dataset: int, rejected: Sequence[int]) -> None:
    """Delete what was made of images that were accepted before, and all that rests on it.

    Association begins anew then. Should such an image be accepted again, its sources are extracted
    again: its pixels may have been the reason why it was not used.
    """
    extracted = image_outcomes(connection, dataset, "extract_sources")
    before = [image_id for image_id in rejected if image_id in extracted]
    if not before:
        return
    if any(extracted[image_id][0] == DONE for image_id in before):
        logger.info("not all images that were used are accepted any more: association begins anew")
        sky_sources.wipe(connection, dataset)
        forget_outcomes(connection, dataset, "associate")
        forced_fits.delete_requests(connection, before)
        detections.delete_measurements(connection, before)
        images.forget_noise(connection, before)
    for stage_name in ("extract_sources", "fit_forced"):
        forget_outcomes(connection, dataset, stage_name, before)


def _input_hash(verdict: Verdict) -> str:
    """A verdict costs nothing to find again, so it is its own input."""
    return input_hash(STAGE, verdict.accepted, verdict.reason, verdict.comment)

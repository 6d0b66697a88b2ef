"""Measure what the quality checks need of each image's pixels."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from trap_ops.errors import ImageError
from trap_ops.images.reading import check_header, read_image_and_checksum
from trap_ops.records.images import ImageQuality, ImageRow
from trap_ops.records.runs import StageReport
from trap_ops.science.quality import measure
from trap_ops.stages.context import StageContext, input_hash, stage
from trap_ops.store import images
from trap_ops.store.outcomes import DONE, REJECTED, Outcome, image_outcomes, save_outcomes

logger = logging.getLogger(__name__)

STAGE = "measure_quality"


def measure_quality(
    context: StageContext, image_ids: Sequence[int], batch: str = ""
) -> StageReport:
    """Measure rms, range and missing pixels of images, and the checksum of their files.

    A file that cannot be read is rejected with the reason.
    """
    with stage(context, STAGE, batch) as timer:
        with context.store.read() as connection:
            done = image_outcomes(connection, context.run.dataset, STAGE, image_ids)
            rows = images.images_by_id(connection, image_ids)
        # Planes of one file follow each other, and have its checksum in common.
        last = ("", "")
        for row in rows:
            key = _input_hash(context, row)
            if row.id in done and done[row.id][1] == key:
                timer.count("images done before")
                continue
            known = last[1] if last[0] == row.path else ""
            last = (row.path, _measure_one(context, row, key, known))
            timer.count("images measured")
    return timer.report()


def _measure_one(context: StageContext, row: ImageRow, key: str, known: str) -> str:
    """Measure an image whose file has a known checksum, or an empty one; return the checksum."""
    started = time.perf_counter()
    settings = context.run.configuration.quality
    rules = context.run.configuration.images
    try:
        image, found = read_image_and_checksum(
            row.path, row.plane, rules, context.access, checksum=not known
        )
        checksum = found or known
        check_header(row, image, context.access)
        quality = measure(image.pixels, settings.rms_clip_sigma, settings.rms_fraction)
        outcome = Outcome(STAGE, str(row.id), row.id, DONE, key)
    except ImageError as error:
        checksum = ""
        quality = ImageQuality(float("nan"), 1.0, float("nan"), float("nan"))
        again = "" if error.passing else key
        outcome = Outcome(STAGE, str(row.id), row.id, REJECTED, again, error.reason, str(error))
    seconds = time.perf_counter() - started
    with context.store.write() as connection:
        images.set_quality(connection, row.id, quality, checksum)
        timed = Outcome(**{**vars(outcome), "seconds": seconds})
        save_outcomes(connection, context.run.dataset, context.run.id, [timed])
    logger.info(
        "%s: %s in %.2f s",
        row.shown_name,
        outcome.message or f"rms {quality.rms_jy:.4g} Jy/beam",
        seconds,
    )
    return checksum


def _input_hash(context: StageContext, row: ImageRow) -> str:
    quality = context.run.configuration.quality
    return input_hash(STAGE, row.header_sha256, quality.rms_clip_sigma, quality.rms_fraction)

"""Find and measure the sources of accepted images."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from trap_ops.config.model import ExtractionConfig
from trap_ops.errors import ImageError
from trap_ops.images.fits import OpenImage
from trap_ops.images.reading import read_registered
from trap_ops.records.arrays import Image
from trap_ops.records.images import Coverage, ImageRow, RejectReason, Verdict
from trap_ops.records.runs import StageReport
from trap_ops.records.sources import Sources
from trap_ops.science.coverage import make_coverage
from trap_ops.science.extraction import Extraction, extract
from trap_ops.science.geometry import pixel_beam
from trap_ops.science.sky_plane import circles_mask
from trap_ops.science.sources import blind_sources, systematic_error_arcsec
from trap_ops.stages.context import StageContext, input_hash, stage
from trap_ops.store import detections, images
from trap_ops.store.outcomes import ACCEPTED, DONE, REJECTED, Outcome, image_outcomes, save_outcomes

logger = logging.getLogger(__name__)

STAGE = "extract_sources"


def extract_sources(
    context: StageContext, image_ids: Sequence[int], batch: str = ""
) -> StageReport:
    """Write the blind detections of images, and the noise they were measured against.

    A file that has changed, or an image without any noise, is rejected with the reason.
    """
    with stage(context, STAGE, batch) as timer:
        with context.store.read() as connection:
            done = image_outcomes(connection, context.run.dataset, STAGE, image_ids)
            rows = images.images_by_id(connection, image_ids)
        for row in rows:
            key = _input_hash(context, row)
            if row.id in done and done[row.id][1] == key:
                timer.count("images done before")
                continue
            found = _extract_one(context, row, key)
            timer.count("images")
            timer.count("sources", found)
    return timer.report()


def _extract_one(context: StageContext, row: ImageRow, key: str) -> int:
    started = time.perf_counter()
    try:
        sources, extraction, coverage = _measure(context, row)
    except ImageError as error:
        seconds = time.perf_counter() - started
        again = "" if error.passing else key
        outcome = Outcome(
            STAGE, str(row.id), row.id, REJECTED, again, error.reason, str(error), seconds
        )
        no_noise = error.reason == "no noise"
        reason = RejectReason.NO_NOISE if no_noise else RejectReason.FILE_UNUSABLE
        verdict = Verdict(False, reason, str(error))
        with context.store.write() as connection:
            detections.delete_blind(connection, row.id)
            images.set_verdicts(context.store, connection, {row.id: verdict})
            save_outcomes(connection, context.run.dataset, context.run.id, [outcome])
        logger.warning("%s rejected: %s", row.shown_name, error)
        return 0
    with context.store.write() as connection:
        detections.delete_blind(connection, row.id)
        if row.verdict != ACCEPTED:  # It was rejected here before, when its file was away.
            images.set_verdicts(context.store, connection, {row.id: Verdict(accepted=True)})
        detections.insert_sources(context.store, connection, row.id, sources, detections.BLIND)
        images.set_noise(
            connection,
            row.id,
            extraction.noise,
            coverage,
            extraction.detection_sigma,
            extraction.analysis_sigma,
        )
        seconds = time.perf_counter() - started
        outcome = Outcome(STAGE, str(row.id), row.id, DONE, key, seconds=seconds)
        save_outcomes(connection, context.run.dataset, context.run.id, [outcome])
    logger.info("%s: %d sources in %.2f s", row.shown_name, len(sources), seconds)
    return len(sources)


def _measure(context: StageContext, row: ImageRow) -> tuple[Sources, Extraction, Coverage]:
    settings = context.run.configuration.extraction
    image = read_registered(row, context.run.configuration.images, context.access)
    sources, extraction = find_sources(image, row.shown_name, settings)
    beam = pixel_beam(image.beam, image.pixel_matrix_deg)
    return sources, extraction, make_coverage(extraction.mask, beam, image.wcs)


def find_sources(
    image: OpenImage,
    name: str,
    settings: ExtractionConfig,
    detection_image: Image | None = None,
) -> tuple[Sources, Extraction]:
    """Find and measure the sources of an image, and place them on the sky.

    Parameters
    ----------
    image : OpenImage
    name : str
        For messages.
    settings : ExtractionConfig
    detection_image : numpy.ndarray of float32, (ny, nx), optional
        See :func:`trap_ops.science.extraction.extract`.

    Raises
    ------
    ImageError
        If there is no noise to measure sources against.
    """
    beam = pixel_beam(image.beam, image.pixel_matrix_deg)
    extraction = extract(
        image.pixels,
        beam,
        settings,
        excluded=circles_mask(image.wcs, image.pixels.shape, settings.circles),
        detection_image=detection_image,
    )
    if extraction is None:
        msg = (
            f"{name}: no part of it has noise to measure sources against (too few valid pixels "
            "inside margin and radius, or all of them equal)"
        )
        raise ImageError(msg, reason="no noise")
    semimajor_deg = image.beam.bmaj_deg / 2.0
    sources = blind_sources(
        extraction.measurements,
        image.wcs,
        beam,
        systematic_error_arcsec(settings.ew_sys_err_arcsec, semimajor_deg),
        systematic_error_arcsec(settings.ns_sys_err_arcsec, semimajor_deg),
    )
    return sources, extraction


def _input_hash(context: StageContext, row: ImageRow) -> str:
    settings = context.run.configuration.extraction
    return input_hash(STAGE, row.content_sha256, settings.model_dump(mode="json"))

"""Measure fluxes at the positions of sky sources and monitors in images that do not show them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import Connection

from trap_ops.errors import ImageError
from trap_ops.images.reading import read_registered
from trap_ops.records.images import STOKES_I, ImageRow
from trap_ops.records.runs import StageReport
from trap_ops.records.sky import Requests
from trap_ops.records.sources import Sources
from trap_ops.science.beam import fwhm_of_covariance
from trap_ops.science.forced_fits import fit_positions, upper_limits
from trap_ops.science.geometry import pixel_beam
from trap_ops.science.masks import blank_pixels
from trap_ops.science.sky_plane import circles_mask, to_pixels
from trap_ops.science.sources import forced_sources, systematic_error_arcsec
from trap_ops.stages.context import StageContext, input_hash, stage
from trap_ops.store import detections, forced_fits, images
from trap_ops.store.outcomes import DONE, REJECTED, Outcome, save_outcomes

logger = logging.getLogger(__name__)

STAGE = "fit_forced"


@dataclass(frozen=True)
class ForcedMeasurements:
    """What became of the requests of one image.

    Attributes
    ----------
    sources : Sources
        One row a request; not finite where there is no fit.
    reason : list of str
        Why there is no fit; empty where there is one.
    """

    sources: Sources
    reason: list[str]


Measure = Callable[[StageContext, ImageRow, Requests], ForcedMeasurements]


def measure_in_pixels(
    context: StageContext, row: ImageRow, requests: Requests
) -> ForcedMeasurements:
    """Measure requests in the pixels of their image.

    Raises
    ------
    ImageError
        If the file has gone or changed.
    """
    settings = context.run.configuration.extraction
    with context.store.read() as connection:
        noise = images.load_noise(connection, row.id)
    image = read_registered(row, context.run.configuration.images, context.access)
    beam = pixel_beam(image.beam, image.pixel_matrix_deg)
    x, y = to_pixels(image.wcs, requests.ra_deg, requests.dec_deg)
    blank = blank_pixels(image.pixels, fwhm_of_covariance(beam))
    blank |= circles_mask(image.wcs, image.pixels.shape, settings.circles)
    fits = fit_positions(
        image.pixels,
        blank,
        x,
        y,
        noise,
        beam,
        margin_px=settings.margin_px,
        radius_px=settings.radius_px,
        joint=context.run.configuration.forced_fits.joint,
    )
    sources = forced_sources(
        fits,
        requests.ra_deg,
        requests.dec_deg,
        x,
        y,
        image.wcs,
        beam,
        systematic_error_arcsec(settings.ew_sys_err_arcsec, row.beam_semimajor_deg),
        systematic_error_arcsec(settings.ns_sys_err_arcsec, row.beam_semimajor_deg),
    )
    return ForcedMeasurements(sources, fits.reason.tolist())


def fit_forced(
    context: StageContext,
    image_ids: Sequence[int],
    batch: str = "",
    measure: Measure = measure_in_pixels,
) -> StageReport:
    """Make the forced fits that are wanted in some images.

    A position that cannot be measured gets a reason; so do all of an image whose file cannot be
    used, and where that may pass they stay requested. ``measure`` is replaced where fits come from
    elsewhere than pixels.
    """
    with stage(context, STAGE, batch) as timer:
        with context.store.read() as connection:
            rows = images.images_by_id(connection, image_ids)
        for row in rows:
            with context.store.read() as connection:
                requests = forced_fits.load_requests(connection, row.id)
            if len(requests) == 0:
                timer.count("images with nothing to fit")
                continue
            made = _fit_one(context, row, requests, measure)
            timer.count("images")
            timer.count("fits", made)
            timer.count("positions not measured", len(requests) - made)
    return timer.report()


def _fit_one(context: StageContext, row: ImageRow, requests: Requests, measure: Measure) -> int:
    started = time.perf_counter()
    try:
        fits = measure(context, row, requests)
    except ImageError as error:
        logger.warning("%s: no forced fits: %s", row.shown_name, error)
        with context.store.write() as connection:
            forced_fits.fail_requests(connection, row.id, error.reason, passing=error.passing)
            _save_outcome(context, connection, row, started, error)
        return 0
    sources = fits.sources
    fitted = np.array([reason == "" for reason in fits.reason], dtype=bool)
    settings = context.run.configuration
    limits = upper_limits(
        sources.peak_jy,
        sources.peak_err_jy,
        settings.forced_fits.upper_limit_sigma,
        signed=settings.extraction.negative or row.stokes != STOKES_I,
    )
    with context.store.write() as connection:
        measurement = np.full(len(requests), -1, dtype=np.int64)
        owners = forced_fits.owners(connection, row.id)
        for kind in np.unique(requests.kind[fitted]).tolist():
            chosen = np.flatnonzero(fitted & (requests.kind == kind))
            belongs = [owners[origin] for origin in requests.origin[chosen].tolist()]
            measurement[chosen] = detections.insert_sources(
                context.store,
                connection,
                row.id,
                sources.take(chosen),
                kind,
                {
                    "ff_runcat": [source for source, _ in belongs],
                    "ff_monitor": [monitor for _, monitor in belongs],
                },
            )
        forced_fits.save_fits(
            context.store, connection, row.id, requests, measurement, fits.reason, limits
        )
        _save_outcome(context, connection, row, started)
    seconds = time.perf_counter() - started
    logger.info(
        "%s: %d of %d forced fits in %.2f s", row.shown_name, fitted.sum(), len(requests), seconds
    )
    return int(fitted.sum())


def _save_outcome(
    context: StageContext,
    connection: Connection,
    row: ImageRow,
    started: float,
    error: ImageError | None = None,
) -> None:
    again = error is not None and error.passing
    outcome = Outcome(
        STAGE,
        str(row.id),
        row.id,
        DONE if error is None else REJECTED,
        "" if again else input_hash(STAGE, row.content_sha256),
        "" if error is None else error.reason,
        "" if error is None else str(error),
        time.perf_counter() - started,
    )
    save_outcomes(connection, context.run.dataset, context.run.id, [outcome])

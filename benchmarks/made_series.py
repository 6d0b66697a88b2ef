"""Datasets without pixels: images, detections and forced fits are drawn, the stages are real."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from trap_ops.config.model import Configuration
from trap_ops.records.images import (
    Beam,
    Geometry,
    ImageFile,
    ImageQuality,
    ImageRow,
    Region,
    Verdict,
)
from trap_ops.records.runs import RunRequest
from trap_ops.records.sky import Requests
from trap_ops.records.sources import Sources
from trap_ops.science.bands import assign_bands
from trap_ops.science.coordinates import ra_inflation, unit_vectors
from trap_ops.science.sky_regions import assign_regions
from trap_ops.stages.associate import associate
from trap_ops.stages.context import StageContext
from trap_ops.stages.find_candidates import find_candidates
from trap_ops.stages.fingerprint import fingerprint
from trap_ops.stages.fit_forced import ForcedMeasurements, fit_forced
from trap_ops.stages.measure_variability import measure_variability
from trap_ops.stages.register_images import STAGE as REGISTERED
from trap_ops.store import datasets, detections, images, regions, runs
from trap_ops.store.database import Store
from trap_ops.store.outcomes import DONE, Outcome, save_outcomes
from trap_ops.store.schema import image as image_table

RMS_JY = 1e-3
THRESHOLD = 8.0
BEAM_DEG = 30.0 / 3600.0
SYSTEMATIC_ARCSEC = 0.1 * BEAM_DEG * 3600.0
_FIRST = datetime(2024, 1, 1, tzinfo=UTC).replace(tzinfo=None)
_BANDWIDTH_HZ = 1e6


@dataclass(frozen=True)
class Sky:
    """Steady sources in a field of some radius; arrays (n,), degrees and Jy."""

    ra_deg: np.ndarray
    dec_deg: np.ndarray
    flux_jy: np.ndarray
    radius_deg: float

    @classmethod
    def draw(cls, n: int, seed: int = 1) -> Sky:
        """Draw n sources of 10 to 1000 sigma about (180, 40), no closer than a few beams mostly."""
        rng = np.random.default_rng(seed)
        # A beam of area for each thousand of them.
        radius = max(1.0, 30.0 * BEAM_DEG * np.sqrt(n / np.pi))
        distance, angle = radius * np.sqrt(rng.random(n)), rng.uniform(0.0, 2.0 * np.pi, n)
        dec = 40.0 + distance * np.sin(angle)
        ra = 180.0 + distance * np.cos(angle) / np.cos(np.radians(dec))
        return cls(ra, dec, RMS_JY * 10.0 ** rng.uniform(1.0, 3.0, n), radius)


def look(sky: Sky, rng: np.random.Generator) -> Sources:
    """Draw what an image shows of a sky, those above the threshold."""
    flux = sky.flux_jy + rng.normal(0.0, RMS_JY, len(sky.flux_jy))
    seen = np.flatnonzero(flux >= THRESHOLD * RMS_JY)
    error = 0.5 * BEAM_DEG * RMS_JY / flux[seen]
    dec = sky.dec_deg[seen] + rng.normal(0.0, error)
    ra = sky.ra_deg[seen] + rng.normal(0.0, error) / np.cos(np.radians(dec))
    return sources_of(ra, dec, flux[seen], error)


def sources_of(ra: np.ndarray, dec: np.ndarray, flux: np.ndarray, error_deg: np.ndarray) -> Sources:
    """Fill measurements from positions, fluxes (Jy) and position errors."""
    n = len(ra)
    radius = error_deg * 3600.0
    none, flat = np.full(n, np.nan), np.ones(n)
    return Sources(
        ra_deg=ra, dec_deg=dec, vectors=unit_vectors(ra, dec),
        ra_fit_err_deg=ra_inflation(error_deg, dec), dec_fit_err_deg=error_deg,
        ra_err_deg=np.hypot(error_deg, ra_inflation(SYSTEMATIC_ARCSEC / 3600.0, dec)),
        dec_err_deg=np.hypot(error_deg, SYSTEMATIC_ARCSEC / 3600.0),
        sigma_ew_deg=np.hypot(SYSTEMATIC_ARCSEC, radius) / 3600.0,
        sigma_ns_deg=np.hypot(SYSTEMATIC_ARCSEC, radius) / 3600.0,
        error_radius_arcsec=radius, ew_sys_err_arcsec=SYSTEMATIC_ARCSEC,
        ns_sys_err_arcsec=SYSTEMATIC_ARCSEC, semimajor_arcsec=flat, semiminor_arcsec=flat,
        pa_deg=flat, deconvolved_semimajor_arcsec=none, deconvolved_semiminor_arcsec=none,
        deconvolved_pa_deg=none, semimajor_err_arcsec=none, semiminor_err_arcsec=none,
        pa_err_deg=none, deconvolved_semimajor_err_arcsec=none,
        deconvolved_semiminor_err_arcsec=none, deconvolved_pa_err_deg=none,
        peak_jy=flux, peak_err_jy=flat * RMS_JY, flux_jy=flux,
        flux_err_jy=flat * RMS_JY, snr=flux / RMS_JY, chisq=flat, reduced_chisq=flat,
        rms_jy=flat * RMS_JY, background_jy=np.zeros(n), x_px=none, y_px=none,
        resolved_sigma=none, flags=np.zeros(n, dtype=np.int64),
        fit_type=np.ones(n, dtype=np.int64),
    )  # fmt: skip


class Series:
    """A dataset that grows by images that are not there."""

    def __init__(self, store: Store, sky: Sky, seed: int = 2) -> None:
        self.store, self.sky = store, sky
        self.rng = np.random.default_rng(seed)
        self.n_images = 0
        configuration = Configuration()
        with store.write() as connection:
            dataset = datasets.open_dataset(store, connection, "benchmark", configuration)
            request = RunRequest(run_key="benchmark", images=(), dataset="benchmark")
            runs.create_run(
                store, connection, request, dataset, "bench", configuration, fingerprint(), {}
            )
            record = runs.load_run(connection, request.run_key)
        self.context = StageContext(store, record, Path())

    def add(self, n: int) -> int:
        """Insert n images with their detections, as if extracted; return how many detections."""
        store, dataset = self.store, self.context.run.dataset
        files = [self._file(self.n_images + i) for i in range(n)]
        self.n_images += n
        centre = Region(180.0, 40.0, self.sky.radius_deg)
        geometry = Geometry(
            deltax_deg=-BEAM_DEG / 5.0, deltay_deg=BEAM_DEG / 5.0,
            beam_semimajor_deg=BEAM_DEG / 2.0, beam_semiminor_deg=BEAM_DEG / 2.0,
            centre_ra_deg=180.0, centre_dec_deg=40.0, corner_distance_deg=self.sky.radius_deg,
        )  # fmt: skip
        count = 0
        with store.write() as connection:
            band_ids, bands = regions.load_bands(connection, dataset)
            region_ids, known = regions.load_regions(connection, dataset)
            _, bands = assign_bands([(150e6, _BANDWIDTH_HZ)] * n, bands, 2e6)
            _, known = assign_regions([centre] * n, known)
            vectors = unit_vectors([r.ra_deg for r in known], [r.dec_deg for r in known])
            band_ids = regions.save_bands(store, connection, dataset, band_ids, bands)
            region_ids = regions.save_regions(
                store, connection, dataset, region_ids, known, vectors
            )
            rows = [(file, geometry, band_ids[0], region_ids[0]) for file in files]
            ids = images.insert_images(store, connection, dataset, rows)
            outcomes = []
            for image_id in ids:
                quality = ImageQuality(RMS_JY, 0.0, -1.0, 1.0)
                images.set_quality(connection, image_id, quality, f"content {image_id}")
                outcomes += [
                    Outcome(stage, str(image_id), image_id, DONE, "made")
                    for stage in (REGISTERED, "measure_quality", "judge_quality", "extract_sources")
                ]
                found = look(self.sky, self.rng)
                detections.insert_sources(store, connection, image_id, found, detections.BLIND)
                count += len(found)
            connection.execute(
                image_table.update()
                .where(image_table.c.id.in_(ids))
                .values(rms_min=RMS_JY, rms_max=2.0 * RMS_JY, detection_thresh=THRESHOLD,
                        analysis_thresh=3.0)
            )  # fmt: skip
            images.set_verdicts(store, connection, dict.fromkeys(ids, Verdict(accepted=True)))
            save_outcomes(connection, dataset, self.context.run.id, outcomes)
        return count

    def run(self) -> None:
        """Run the stages that follow extraction on what is new."""
        report = associate(self.context)
        for batch in report.batches or []:
            fit_forced(self.context, batch, measure=self._measure)
        measure_variability(self.context)
        find_candidates(self.context)

    def _measure(
        self, _context: StageContext, _row: ImageRow, requests: Requests
    ) -> ForcedMeasurements:
        n = len(requests.ra_deg)
        flux = self.rng.normal(THRESHOLD * RMS_JY, RMS_JY, n)
        made = sources_of(requests.ra_deg, requests.dec_deg, flux, np.full(n, BEAM_DEG / 10.0))
        return ForcedMeasurements(made, [""] * n)

    def _file(self, number: int) -> ImageFile:
        return ImageFile(
            path=f"/made/{number:06d}.fits", file_name=f"{number:06d}.fits", file_size=1,
            file_mtime_ns=1, header_sha256=f"header {number}", telescope="MADE", stokes=1,
            freq_eff_hz=150e6, freq_bw_hz=_BANDWIDTH_HZ,
            start=_FIRST + timedelta(seconds=60 * number), integration_s=10.0,
            beam=Beam(BEAM_DEG, BEAM_DEG, 0.0),
            pixel_matrix_deg=((-BEAM_DEG / 5.0, 0.0), (0.0, BEAM_DEG / 5.0)), nx=512, ny=512,
            sky_ra_deg=(180.0,), sky_dec_deg=(40.0,),
        )  # fmt: skip

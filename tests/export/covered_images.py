"""Images in a database without files or stages: where they look, what they use, their noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from astropy.wcs import WCS

from trap_ops import local
from trap_ops.config.load import load_configuration
from trap_ops.records.images import (
    Autocorrelation,
    Band,
    Beam,
    Coverage,
    ImageFile,
    NoiseGrid,
    NoiseModel,
    Region,
    RejectReason,
    Verdict,
)
from trap_ops.science.coverage import make_coverage
from trap_ops.science.geometry import geometry, pixel_beam
from trap_ops.store import datasets, images, regions
from trap_ops.store.database import Store

START = datetime(2026, 1, 1)
BANDS = [Band(150e6, 149e6, 151e6), Band(160e6, 159e6, 161e6)]
PIXEL_DEG = 0.01
BEAM = Beam(4 * PIXEL_DEG, 3 * PIXEL_DEG, 20.0)
MATRIX = ((-PIXEL_DEG, 0.0), (0.0, PIXEL_DEG))


@dataclass(frozen=True)
class Covered:
    """An image of 40 x 30 pixels of 0.01 deg; ``rms`` are the nodes of its noise grid, mJy."""

    name: str
    hours: float = 0.0
    ra: float = 123.0
    dec: float = 35.0
    band: int = 0
    stokes: int = 1
    seconds: float = 600.0
    rms: tuple[tuple[float, ...], ...] = ((1.0,),)
    hole: tuple[slice, slice] | None = None
    directory: str = "/night"
    verdict: Verdict | None = field(default_factory=lambda: Verdict(accepted=True))
    extracted: bool = True

    @property
    def wcs(self) -> WCS:
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = ["RA---SIN", "DEC--SIN"]
        wcs.wcs.crval = [self.ra, self.dec]
        wcs.wcs.crpix = [20.5, 15.5]
        wcs.wcs.cdelt = [-PIXEL_DEG, PIXEL_DEG]
        return wcs

    @property
    def mask(self) -> np.ndarray:
        mask = np.zeros((30, 40), dtype=bool)
        mask[:2] = mask[-2:] = mask[:, :2] = mask[:, -2:] = True
        if self.hole is not None:
            mask[self.hole] = True
        return mask

    @property
    def coverage(self) -> Coverage:
        return make_coverage(self.mask, pixel_beam(BEAM, np.array(MATRIX)), self.wcs)

    @property
    def grid(self) -> NoiseGrid:
        rms = np.array(self.rms) / 1e3
        return NoiseGrid(np.zeros_like(rms), rms, 5.0, 4.0, 12.0, 9.0)

    @property
    def file(self) -> ImageFile:
        return ImageFile(
            path=f"{self.directory}/{self.name}",
            file_name=self.name,
            file_size=1,
            file_mtime_ns=1,
            header_sha256="0" * 64,
            telescope="MADE",
            stokes=self.stokes,
            freq_eff_hz=BANDS[self.band].central_hz,
            freq_bw_hz=2e6,
            start=START + timedelta(hours=self.hours),
            integration_s=self.seconds,
            beam=BEAM,
            pixel_matrix_deg=MATRIX,
            nx=40,
            ny=30,
            sky_ra_deg=(self.ra,) * 5,
            sky_dec_deg=(self.dec, *[self.dec + 0.25] * 4),
        )


REJECTED: dict[str, Any] = {
    "verdict": Verdict(False, RejectReason.CONTAINS_NAN, "All pixels are NaN"),
    "extracted": False,
}


def save(store: Store, dataset: str, items: Sequence[Covered]) -> None:
    """Write images as the stages leave them."""
    _, configuration = load_configuration(local.CONFIGURATIONS, "default")
    with store.write() as connection:
        found = datasets.open_dataset(store, connection, dataset, configuration)
        bands = regions.save_bands(store, connection, found, [], BANDS)
        here = regions.save_regions(
            store, connection, found, [], [Region(0.0, 0.0, 1.0)], np.array([[1.0, 0.0, 0.0]])
        )
        headers = [(item.file, geometry(item.file), bands[item.band], here[0]) for item in items]
        ids = images.insert_images(store, connection, found, headers)
        for image_id, item in zip(ids, items, strict=True):
            if item.extracted:
                grid = item.grid
                correlation = Autocorrelation(np.ones((1, 1)), measured=False)
                low, high = float(grid.rms.min()), float(grid.rms.max())
                noise = NoiseModel(grid, correlation, low, high)
                images.set_noise(connection, image_id, noise, item.coverage, 8.0, 3.0)
        verdicts = {i: item.verdict for i, item in zip(ids, items, strict=True) if item.verdict}
        images.set_verdicts(store, connection, verdicts)

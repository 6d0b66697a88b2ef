"""Images without files: what a header, the pixels and every fit would say is made up.

The real stages go through them, but for the reading of files and the measuring of pixels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from astropy.wcs import WCS

from oracle.cases import NOTHING, sources_of
from stages.conftest import checksum
from trap_ops import local
from trap_ops.errors import ImageError
from trap_ops.images.discovery import FoundFiles
from trap_ops.records.images import (
    ArrayInfo,
    Autocorrelation,
    Beam,
    Coverage,
    ImageFile,
    ImageQuality,
    ImageRow,
    NoiseGrid,
    NoiseModel,
    Plane,
)
from trap_ops.records.runs import MonitorPosition, StageReport
from trap_ops.records.sky import Requests
from trap_ops.records.sources import Sources
from trap_ops.science.coverage import make_coverage
from trap_ops.stages import extract_sources, measure_quality, publish, register_images
from trap_ops.stages.context import StageContext
from trap_ops.stages.fit_forced import ForcedMeasurements, fit_forced
from trap_ops.store import runs
from trap_ops.store.database import Store

FIRST_NIGHT = datetime(2024, 1, 1)
PIXEL_DEG = 20.0 / 3600.0
HALF_WIDTH_DEG = 0.2


@dataclass(frozen=True)
class Seen:
    """A blind detection: degrees, arcsec, Jy."""

    ra: float
    dec: float
    flux: float = 0.05
    error_arcsec: float = 5.0


@dataclass(frozen=True)
class MadeImage:
    """An image of one night, 0.4 deg wide, and what is found in it.

    Attributes
    ----------
    copy_of : str
        Name of the image whose bytes it has; empty: its own.
    no_noise, unreadable : bool
        Whether it fails when its sources are extracted, or when its pixels are read.
    """

    name: str
    night: int
    seen: tuple[Seen, ...] = ()
    ra: float = 10.0
    dec: float = 10.0
    freq_hz: float = 140e6
    stokes: int = 1
    integration_s: float = 1.0
    rms_jy: float = 0.001
    nan_fraction: float = 0.0
    no_noise: bool = False
    unreadable: bool = False
    directory: str = "/night"
    copy_of: str = ""
    telescope: str = "MADE"
    array: ArrayInfo = field(default_factory=ArrayInfo)
    plane: Plane = field(default_factory=Plane)

    @property
    def path(self) -> str:
        return f"{self.directory}/{self.name}"

    @property
    def content(self) -> str:
        return hashlib.sha256((self.copy_of or self.name).encode()).hexdigest()

    def header(self) -> ImageFile:
        half_ra = HALF_WIDTH_DEG / np.cos(np.radians(self.dec))
        corners = [(x, y) for x in (-1, 1) for y in (-1, 1)]
        return ImageFile(
            path=self.path,
            file_name=self.name,
            file_size=1,
            file_mtime_ns=1,
            header_sha256=self.content[::-1],
            telescope=self.telescope,
            stokes=self.stokes,
            freq_eff_hz=self.freq_hz,
            freq_bw_hz=2e6,
            start=FIRST_NIGHT + timedelta(days=self.night),
            integration_s=self.integration_s,
            beam=Beam(72.0 / 3600.0, 60.0 / 3600.0, 0.0),
            pixel_matrix_deg=((-PIXEL_DEG, 0.0), (0.0, PIXEL_DEG)),
            nx=72,
            ny=72,
            sky_ra_deg=(self.ra, *((self.ra + x * half_ra) % 360.0 for x, _ in corners)),
            sky_dec_deg=(self.dec, *(self.dec + y * HALF_WIDTH_DEG for _, y in corners)),
            plane=self.plane,
            array=self.array,
        )

    def shows(self, ra: float, dec: float) -> bool:
        east = ((ra - self.ra + 180.0) % 360.0 - 180.0) * np.cos(np.radians(dec))
        return bool(abs(east) < HALF_WIDTH_DEG and abs(dec - self.dec) < HALF_WIDTH_DEG)

    def noise(self) -> NoiseModel:
        grid = NoiseGrid(np.zeros((1, 1)), np.full((1, 1), self.rms_jy), 0.0, 0.0, 1.0, 1.0)
        correlation = Autocorrelation(np.ones((1, 1)), measured=False)
        return NoiseModel(grid, correlation, self.rms_jy, 1.5 * self.rms_jy)

    def coverage(self) -> Coverage:
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = ["RA---SIN", "DEC--SIN"]
        wcs.wcs.crval = [self.ra, self.dec]
        wcs.wcs.crpix = [36.5, 36.5]
        wcs.wcs.cdelt = [-PIXEL_DEG, PIXEL_DEG]
        return make_coverage(np.zeros((72, 72), dtype=bool), np.diag([1.6, 1.3]), wcs)

    def sources(self) -> Sources:
        return self._sources([(s.ra, s.dec, s.flux, s.error_arcsec) for s in self.seen])

    def fit(self, requests: Requests) -> ForcedMeasurements:
        """Fluxes that depend on nothing but image and position; one fit in ten fails."""
        rows, reasons = [], []
        for ra, dec in zip(requests.ra_deg.tolist(), requests.dec_deg.tolist(), strict=True):
            chance = hashlib.sha256(f"{self.content} {ra!r} {dec!r}".encode()).digest()
            flux = 2e-4 * (chance[0] - 60) + 1e-6 * chance[1]
            reason = "masked" if chance[2] < 26 else ""
            reasons.append(reason if self.shows(ra, dec) else "outside_image")
            rows.append((ra, dec, np.nan if reasons[-1] else flux, 5.0))
        return ForcedMeasurements(self._sources(rows), reasons)

    def _sources(self, rows: Sequence[tuple[float, float, float, float]]) -> Sources:
        entries = [
            {
                **NOTHING,
                "ra": ra,
                "dec": dec,
                "ra_fit_err": error / 3600.0,
                "dec_fit_err": error / 3600.0,
                "error_radius": error,
                "peak": 0.9 * flux,
                "peak_err": self.rms_jy,
                "flux": flux,
                "flux_err": self.rms_jy,
                "sigma": flux / self.rms_jy,
            }
            for ra, dec, flux, error in rows
        ]
        return replace(sources_of(entries), rms_jy=np.full(len(rows), self.rms_jy))


@dataclass
class Observatory:
    """Runs the pipeline on made images, a dataset a name."""

    store: Store
    directory: Path
    monkeypatch: pytest.MonkeyPatch
    images: dict[str, MadeImage] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    monitor: Sequence[MonitorPosition] = ()
    # Paths of images whose files have gone before anything could be fitted in them.
    gone: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        def replaced(module: Any, name: str, made: Any) -> None:
            self.monkeypatch.setattr(module, name, made)

        replaced(register_images, "find_files", self._find)
        replaced(register_images, "read_headers", lambda path, *_: [self.images[path].header()])
        replaced(measure_quality, "read_image_and_checksum", self._read)
        replaced(measure_quality, "measure", self._quality)
        replaced(extract_sources, "_measure", self._extract)
        replaced(local, "fit_forced", partial(fit_forced, measure=self._fit))
        # With one engine, statements are compiled once and not in every run.
        replaced(local, "Store", lambda _: self.store)
        replaced(publish, "write_report", lambda *_: Path("no report"))

    def run(self, dataset: str, images: Iterable[MadeImage], key: str | None = None) -> None:
        images = list(images)
        self.images |= {image.path: image for image in images}
        paths = [image.path for image in images]
        self.change(dataset, images=paths, monitor=self.monitor, run_key=key)

    def change(self, dataset: str, **options: Any) -> list[StageReport]:
        """A run that adds positions, or takes something out, without new images."""
        return local.run(
            options.pop("images", ()),
            dataset,
            store_url=self.store.url.render_as_string(hide_password=False),
            overrides=self.settings,
            output_dir=self.directory,
            **options,
        )

    def run_all(self, dataset: str, pieces: Iterable[Sequence[MadeImage]]) -> str:
        """A run a piece; return the checksum of the dataset."""
        for piece in pieces:
            self.run(dataset, piece)
        return checksum(self.store, dataset)

    def abandon(self, dataset: str, images: Iterable[MadeImage], before: str) -> None:
        """Give up a run at the door of a stage."""

        def stop(*_: Any) -> None:
            raise KeyboardInterrupt

        with self.monkeypatch.context() as patch:
            patch.setattr(local, before, stop)
            with pytest.raises(KeyboardInterrupt):
                self.run(dataset, images, "given up")
        with self.store.write() as connection:
            record = runs.load_run(connection, "given up")
            runs.set_state(connection, record.id, runs.ABANDONED)
            runs.release_lock(connection, record.id)

    def _find(self, inputs: Iterable[str], *_: Any) -> FoundFiles:
        return FoundFiles(tuple(sorted(inputs)), ())

    def _read(self, path: str, *_: Any, **__: Any) -> Any:
        if self.images[path].unreadable:
            raise ImageError(f"{Path(path).name} is broken", reason="broken")
        image = self.images[path]
        read = {"pixels": image, "header_sha256": image.header().header_sha256}
        return type("Read", (), read), image.content

    def _quality(self, pixels: MadeImage, *_: Any) -> ImageQuality:
        return ImageQuality(pixels.rms_jy, pixels.nan_fraction, -1.0, 1.0)

    def _extract(self, context: StageContext, row: ImageRow) -> tuple[Sources, Any, Coverage]:
        image = self.images[row.path]
        if image.no_noise:
            raise ImageError(f"{image.name} has no noise", reason="no noise")
        settings = context.run.configuration.extraction
        extraction = SimpleNamespace(
            noise=image.noise(),
            detection_sigma=settings.detection_threshold_sigma,
            analysis_sigma=settings.analysis_threshold_sigma,
        )
        return image.sources(), extraction, image.coverage()

    def _fit(self, _: StageContext, row: ImageRow, requests: Requests) -> ForcedMeasurements:
        if row.path in self.gone:
            raise ImageError(f"{row.path} has gone", reason="no such file", passing=True)
        return self.images[row.path].fit(requests)


# Astride RA 0; the third is the second within the tolerance of a region.
POINTINGS = ((359.95, 10.0), (0.2, 10.05), (0.2, 10.05 + 0.5 / 3600.0), (0.05, 9.9))


def random_images(seed: int, nights: int = 5) -> list[MadeImage]:
    """A series with everything that makes the order of arrival matter.

    Bands that overlap in a chain, Stokes I and V, pointings that overlap, close pairs that fork,
    noise that the history of the rms finds fault with, bad images, copies under other names, images
    of the same observation.
    """
    rng = np.random.default_rng(seed)
    sky = np.stack([rng.uniform(-0.25, 0.4, 8), 10.0 + rng.uniform(-0.25, 0.25, 8)])
    sky = np.hstack([sky, sky[:, :6] + rng.normal(0.0, 0.006, (2, 6))])
    images = []
    for night in range(nights):
        for number in range(int(rng.integers(1, 4))):
            image = MadeImage(
                f"n{night}-{number}-{rng.integers(100)}-{seed}.fits",
                night,
                ra=POINTINGS[pointing := int(rng.integers(4))][0],
                dec=POINTINGS[pointing][1],
                freq_hz=float(rng.choice([140e6, 141.9e6, 141.9e6, 143.8e6, 160e6])),
                stokes=int(rng.choice([1, 1, 1, 4])),
                integration_s=1.0 + number,
                rms_jy=float(rng.choice([0.001, 0.001, 0.0011, 0.0012, 0.003])),
                nan_fraction=0.95 if rng.random() < 0.08 else 0.0,
                no_noise=bool(rng.random() < 0.05),
                unreadable=bool(rng.random() < 0.05),
            )
            images.append(replace(image, seen=_look(rng, image, sky)))
    good = [i for i in images if not (i.no_noise or i.unreadable or i.nan_fraction)]
    first, second = (good[n] for n in rng.choice(len(good), 2, replace=False))
    for original, changes in (
        (first, {"name": f"a-copy-of-{first.name}", "copy_of": first.name}),
        (second, {"directory": "/another", "copy_of": second.name}),
        # The same observation, imaged once more: before and after the other by name.
        (second, {"name": f"a-other-{second.name}", "rms_jy": 0.0011}),
        (first, {"name": f"z-other-{first.name}", "nan_fraction": 0.2}),
    ):
        images.append(replace(original, **changes))
    return images


def _look(rng: np.random.Generator, image: MadeImage, sky: np.ndarray) -> tuple[Seen, ...]:
    shown = sky[:, rng.random(sky.shape[1]) < 0.55]
    places = zip(*(shown + rng.normal(0.0, 0.0035, shown.shape)).tolist(), strict=True)
    return tuple(
        Seen(ra % 360.0, dec, rng.uniform(0.01, 0.036), rng.uniform(3.0, 12.0))
        for ra, dec in places
        if image.shows(ra, dec)
    )

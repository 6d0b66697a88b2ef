"""Forty small images with pixels, and everything in them that makes the way of a run matter."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from trap_ops.records.runs import MonitorPosition
from trap_ops.simulate.series import SeriesPlan, make_images, make_sky
from trap_ops.simulate.sky import SimulatedSky
from trap_ops.store.consistency import check_datasets
from trap_ops.store.database import Store
from trap_ops.store.invariants import INVARIANTS

N_EPOCHS = 24
# Epochs without images: twenty are left, of two bands each.
SKIPPED = (6, 7, 13, 19)
PLAN = SeriesPlan(
    n_epochs=N_EPOCHS,
    size_px=144,
    n_steady=8,
    n_variable=2,
    n_transient=2,
    seed=40,
    frequencies_hz=(150e6, 162e6),
    beam_scales=True,
    # Astride RA 0.
    centre_ra_deg=359.99,
    centre_dec_deg=12.0,
    snr_min=5.0,
    snr_max=40.0,
    min_separation_beams=3.0,
    edge_px=14,
)
# Offsets from the centre in pixels; the fourth is the first within the tolerance of a region.
POINTINGS = ((0.0, 0.0), (22.0, 9.0), (-15.0, 26.0), (0.05, -0.03))
SETTINGS: dict[str, dict[str, Any]] = {
    "extraction": {
        "detection_threshold_sigma": 6.0,
        "margin_px": 2,
        # Companions at 1.25 beams are within the De Ruiter limit, however many points there are.
        "ew_sys_err_arcsec": 8.0,
        "ns_sys_err_arcsec": 8.0,
    },
    # The latest images of the band are what an image is compared with: verdicts depend on history.
    "quality": {
        "rms_history_images": 5,
        "rms_history_of": "band",
        "rms_rejection_sigma": 1.6,
        "rms_fraction": 3,
    },
    "execution": {"parallel_tasks": 2},
}
MONITOR = [
    MonitorPosition(0.005, 12.01, "in most"),
    MonitorPosition(359.92, 12.06, "at the edge"),
    MonitorPosition(200.0, -30.0, "far away"),
]
# Epochs in which the companions of the brightest steady source are there: it forks, its children
# share it again, and one of them forks once more.
COMPANIONS = (range(4, 11), range(15, 23))
COMPANION_BEAMS = 1.25
# One image is without data; one comes twice, and half of one once more.
BLANK, TWICE = "t00005-150.000MHz.fits", "t00003-150.000MHz.fits"
COPY, BROKEN = "a-copy.fits", "broken.fits"


def write_forty_images(directory: Path) -> list[Path]:
    """Write the images, the copy and the broken file."""
    sky = _with_companions(make_sky(PLAN))
    rng = np.random.default_rng(PLAN.seed)
    epochs = [epoch for epoch in range(N_EPOCHS) if epoch not in SKIPPED]
    noise = rng.choice([0.97, 1.0, 1.03, 1.2, 1.4], size=N_EPOCHS, p=[0.2, 0.25, 0.2, 0.15, 0.2])
    pointing = rng.integers(len(POINTINGS), size=N_EPOCHS)
    paths = []
    for epoch in epochs:
        x, y = (offset * PLAN.pixel_arcsec / 3600.0 for offset in POINTINGS[pointing[epoch]])
        plan = replace(
            PLAN,
            centre_ra_deg=PLAN.centre_ra_deg - x / np.cos(np.radians(PLAN.centre_dec_deg)),
            centre_dec_deg=PLAN.centre_dec_deg + y,
            rms_jy=PLAN.rms_jy * float(noise[epoch]),
            skipped_epochs=tuple(set(range(N_EPOCHS)) - {epoch}),
        )
        for made in make_images(plan, sky):
            paths.append(directory / made.file_name)
            pixels = np.full_like(made.pixels, np.nan) if made.file_name == BLANK else made.pixels
            fits.PrimaryHDU(pixels, made.header).writeto(paths[-1])
    assert len(paths) == 40
    whole = (directory / TWICE).read_bytes()
    (directory / COPY).write_bytes(whole)
    (directory / BROKEN).write_bytes(whole[: len(whole) // 2])
    return [*paths, directory / COPY, directory / BROKEN]


def _with_companions(sky: SimulatedSky) -> SimulatedSky:
    """Two more sources, east and west of the brightest steady one, that are there for a while."""
    steady = np.array([kind == "steady" for kind in sky.kind])
    main = int(np.argmax(np.where(steady, sky.flux_jy[0], 0.0)))
    offset = COMPANION_BEAMS * PLAN.bmaj_arcsec / 3600.0 / np.cos(np.radians(sky.dec_deg[main]))
    flux = np.zeros((N_EPOCHS, len(COMPANIONS)))
    for number, on in enumerate(COMPANIONS):
        flux[list(on), number] = 0.8 * sky.flux_jy[0, main]
    return SimulatedSky(
        name=[*sky.name, "east", "west"],
        kind=[*sky.kind, "transient", "transient"],
        ra_deg=np.append(sky.ra_deg, sky.ra_deg[main] + np.array([offset, -offset])),
        dec_deg=np.append(sky.dec_deg, np.repeat(sky.dec_deg[main], 2)),
        flux_jy=np.hstack([sky.flux_jy, flux]),
        spectral_index=np.append(sky.spectral_index, np.repeat(sky.spectral_index[main], 2)),
        shape=[*sky.shape, "given", "given"],
    )


@dataclass(frozen=True)
class Arrival:
    """Images and monitoring positions that come together."""

    images: list[Path]
    monitor: list[MonitorPosition]


def random_arrivals(images: Iterable[Path], seed: int) -> list[Arrival]:
    """Shuffle the images and cut them anywhere into two to ten pieces; positions come with any."""
    rng = random.Random(seed)
    shuffled = list(images)
    rng.shuffle(shuffled)
    number = rng.randint(2, 10)
    cuts = [0, *sorted(rng.sample(range(1, len(shuffled)), number - 1)), len(shuffled)]
    arrivals = [Arrival(shuffled[a:b], []) for a, b in pairwise(cuts)]
    for position in MONITOR:
        rng.choice(arrivals).monitor.append(position)
    return arrivals


def assert_consistent(store: Store, dataset: str = "series") -> None:
    """As ``trap-manage check``: all invariants hold, those between runs too."""
    (found,) = check_datasets(store, [dataset])
    assert (found.checked, found.unfinished) == (len(INVARIANTS), "")
    assert [(item.invariant.name, item.breaches) for item in found.broken] == []

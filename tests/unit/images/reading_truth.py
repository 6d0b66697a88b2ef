"""Comparison of what the reader says of a file with what is true of it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord

from trap_ops.config.load import load_configuration
from trap_ops.config.model import ImagesConfig
from trap_ops.images.reading import OpenImage, read_headers, read_image
from trap_ops.local import CONFIGURATIONS
from trap_ops.records.images import Beam, ImageFile
from trap_ops.simulate.headers import Expected, SkyPosition

TIME_S = 1e-3
RELATIVE = 1e-9


@lru_cache
def _rules(telescope: str, settings: str) -> ImagesConfig:
    overrides = json.loads(settings)
    return load_configuration(CONFIGURATIONS, "auto", overrides, [telescope])[1].images


def rules_of(settings: Mapping[str, Any]) -> Callable[[str], ImagesConfig]:
    """The rules that the run's settings and the file of each telescope give."""
    text = json.dumps(settings)
    return lambda telescope: _rules(telescope, text)


def read_all(
    path: Path, settings: Mapping[str, Any] | None = None
) -> list[tuple[ImageFile, OpenImage]]:
    """Headers and pixels of all images of a file, by frequency and Stokes parameter."""
    rules = rules_of(settings or {})
    images = read_headers(str(path), rules)
    images.sort(key=lambda image: (image.freq_eff_hz, image.stokes))
    return [
        (image, read_image(image.path, image.plane, rules(image.telescope))) for image in images
    ]


def wrong(image: ImageFile, opened: OpenImage, truth: Expected) -> list[str]:
    """What of an image is not as it should be, in words; nothing if all is."""
    said = [
        _unless(image.telescope == truth.telescope, "telescope", image.telescope),
        _unless(image.stokes == truth.stokes, "Stokes", image.stokes),
        _unless(abs((image.start - truth.start).total_seconds()) <= TIME_S, "start", image.start),
        _unless(
            abs(image.integration_s - truth.integration_s) <= TIME_S,
            "integration time",
            image.integration_s,
        ),
        _unless(
            math.isclose(image.freq_eff_hz, truth.frequency_hz, rel_tol=RELATIVE),
            "frequency",
            image.freq_eff_hz,
        ),
        _unless(
            math.isclose(image.freq_bw_hz, truth.bandwidth_hz, rel_tol=truth.bandwidth_rtol),
            "bandwidth",
            image.freq_bw_hz,
        ),
        _unless(same_beam(image.beam, truth), "beam", image.beam),
        _unless(same_beam(opened.beam, truth), "beam beside the pixels", opened.beam),
        _unless(image.array == truth.array, "array", image.array),
        *_wrong_notes(image.notes, truth.notes),
        *_wrong_place(image, opened, truth),
        *_wrong_pixels(image, opened, truth),
    ]
    return [line for line in said if line]


def same_beam(found: Beam, truth: Expected) -> bool:
    """Equal axes, and directions that differ by whole half turns."""
    true = truth.beam
    half_turns = (found.bpa_deg - true.bpa_deg) / 180.0
    return (
        math.isclose(found.bmaj_deg, true.bmaj_deg, rel_tol=RELATIVE)
        and math.isclose(found.bmin_deg, true.bmin_deg, rel_tol=RELATIVE)
        and (
            true.bmaj_deg == true.bmin_deg
            or math.isclose(half_turns, round(half_turns), abs_tol=truth.bpa_tol_deg / 180.0)
        )
    )


def _unless(right: bool, what: str, found: object) -> str:
    return "" if right else f"{what}: {found}"


def _wrong_notes(found: tuple[str, ...], wanted: tuple[str, ...]) -> list[str]:
    """Every word that is wanted is there, and nothing is noted where nothing was missing."""
    text = " | ".join(found).lower()
    missing = [f"no note of {word}: {text}" for word in wanted if word.lower() not in text]
    return missing + ([] if wanted or not found else [f"notes: {text}"])


def _wrong_place(image: ImageFile, opened: OpenImage, truth: Expected) -> list[str]:
    size = (image.ny, image.nx)
    centre = SkyPosition(image.nx / 2, image.ny / 2, image.sky_ra_deg[0], image.sky_dec_deg[0])
    off = [off_mas(opened, truth.positions), off_mas(opened, (centre,))]
    said = [
        _unless(size == truth.pixels.shape, "size", size),
        _unless(off[0] <= truth.position_mas, "positions are off by mas", off[0]),
        _unless(off[1] <= truth.position_mas, "the centre differs by mas", off[1]),
        _unless(0.0 <= image.sky_ra_deg[0] < 360.0, "right ascension", image.sky_ra_deg[0]),
    ]
    for matrix in (np.array(image.pixel_matrix_deg), opened.pixel_matrix_deg):
        if truth.matrix_deg is not None:
            close = np.allclose(matrix, truth.matrix_deg, rtol=1e-5, atol=1e-9)
            said.append(_unless(close, "pixel matrix", matrix.tolist()))
    return said


def off_mas(opened: OpenImage, positions: tuple[SkyPosition, ...]) -> float:
    """Largest distance of positions from where an image's WCS, in ICRS, has them."""
    x, y = np.array([(one.x_px, one.y_px) for one in positions]).T
    ra, dec = opened.wcs.wcs_pix2world(x, y, 0)
    found = SkyCoord(ra * u.deg, dec * u.deg)
    true = SkyCoord(
        [one.ra_deg for one in positions] * u.deg, [one.dec_deg for one in positions] * u.deg
    )
    return float(found.separation(true).max().to_value(u.mas))


def _wrong_pixels(image: ImageFile, opened: OpenImage, truth: Expected) -> list[str]:
    pixels = opened.pixels
    if pixels.shape != truth.pixels.shape:
        return [f"shape: {pixels.shape}"]
    # One part in 2**23 where a factor is applied.
    off = np.abs(pixels.astype(np.float64) - truth.pixels)
    allowed = truth.pixels_jy + 2e-7 * np.abs(np.where(_has_factor(truth), truth.pixels, 0.0))
    holes = np.isnan(truth.pixels)
    return [
        _unless(pixels.dtype == np.float32, "type", pixels.dtype),
        _unless(bool((np.isnan(pixels) == holes).all()), "holes", int(np.isnan(pixels).sum())),
        _unless(bool((off <= allowed)[~holes].all()), "pixels are off by", np.nanmax(off)),
        _unless((image.nx, image.ny) == pixels.shape[::-1], "nx, ny", (image.nx, image.ny)),
    ]


def _has_factor(truth: Expected) -> bool:
    """Whether its unit is not Jy/beam: then pixels are not those of the file."""
    values = truth.pixels[np.isfinite(truth.pixels)].astype(np.float64)
    return bool((values * 64.0 != np.round(values * 64.0)).any())

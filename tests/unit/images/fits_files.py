"""FITS headers and files to read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

PIXEL_DEG = 5.0 / 3600.0
CARDS: dict[str, Any] = {
    "CTYPE1": "RA---SIN",
    "CTYPE2": "DEC--SIN",
    "CRVAL1": 123.0,
    "CRVAL2": 10.0,
    "CRPIX1": 17.0,
    "CRPIX2": 13.0,
    "CDELT1": -PIXEL_DEG,
    "CDELT2": PIXEL_DEG,
    "CUNIT1": "deg",
    "CUNIT2": "deg",
    "BMAJ": 30.0 / 3600.0,
    "BMIN": 20.0 / 3600.0,
    "BPA": 40.0,
    "RESTFRQ": 150e6,
    "RESTBW": 2e6,
    "BUNIT": "JY/BEAM",
    "TELESCOP": "SOMETHING",
    "DATE-OBS": "2012-04-06T03:42:00",
    "END_UTC": "2012-04-06T03:52:00",
}


def header(changes: dict[str, Any] | None = None, history: tuple[str, ...] = ()) -> fits.Header:
    """A header with all that an image needs; a change to None takes a keyword out."""
    made = fits.Header()
    for key, value in (CARDS | (changes or {})).items():
        if value is not None:
            made[key] = value
    for line in history:
        made.add_history(line)
    return made


def pixels(shape: tuple[int, ...] = (24, 32)) -> np.ndarray:
    """Values that tell where they are."""
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def write(
    path: Path, changes: dict[str, Any] | None = None, data: np.ndarray | None = None
) -> Path:
    """A FITS file with one image in its first HDU."""
    fits.PrimaryHDU(pixels() if data is None else data, header(changes)).writeto(path)
    return path

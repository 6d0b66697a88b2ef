"""FITS headers and files to read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from trap_ops.config.model import ImagesConfig
from trap_ops.errors import ImageError
from trap_ops.images import reading
from trap_ops.images.cards import Header
from trap_ops.images.fits import OpenImage
from trap_ops.images.reading import read_headers
from trap_ops.records.images import ImageFile, Plane

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


def cards(changes: dict[str, Any] | None = None, history: tuple[str, ...] = ()) -> Header:
    """The same header as the pipeline reads it."""
    return parsed(header(changes, history))


def parsed(made: fits.Header) -> Header:
    """A header as the pipeline reads it."""
    return Header.parse(made.tostring(endcard=False, padding=False).encode("ascii"))


def rules_of(_: str) -> ImagesConfig:
    """Settings as they come."""
    return ImagesConfig()


def read_header(path: Path) -> ImageFile:
    """What the header of a file with one image says."""
    (made,) = read_headers(str(path), rules_of)
    return made


def read_image(path: Path) -> OpenImage:
    """The image of a file with one."""
    return reading.read_image(str(path), read_plane(path), ImagesConfig())


def read_plane(path: Path) -> Plane:
    """The plane that is the image; where the header cannot be read, the one that should be."""
    try:
        return read_header(path).plane
    except ImageError:
        first = path.read_bytes()[:2880] if path.is_file() else b""
        return Plane(1 if b"NAXIS   =                    0" in first else 0)


def pixels(shape: tuple[int, ...] = (24, 32)) -> np.ndarray:
    """Values that tell where they are."""
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def write(
    path: Path, changes: dict[str, Any] | None = None, data: np.ndarray | None = None
) -> Path:
    """A FITS file with one image in its first HDU."""
    fits.PrimaryHDU(pixels() if data is None else data, header(changes)).writeto(path)
    return path

"""Whole files with pixels that are of no use; judged by their quality, each an image of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from damaged.cards import NX, NY, image, noise, pixels
from damaged.files import QUALITY, Damaged, of_bytes, readable

NAN, FLAT, RMS = "CONTAINS_NAN", "DATA_FLAT", "RMS_INVALID"


def damaged_contents() -> list[Damaged]:
    return [*_of_no_use(), *_scaled(), *_of_use()]


def _judged(
    number: int, name: str, data: np.ndarray, reason: str, cards: Mapping[str, str] | None = None
) -> Damaged:
    """A minute of its own for each: images at the same time would be the same image."""
    bits = {"f": "-", "i": "", "u": ""}[data.dtype.kind] + str(8 * data.dtype.itemsize)
    changes = {
        "BITPIX": bits,
        "NAXIS1": str(data.shape[1]),
        "NAXIS2": str(data.shape[0]),
        "DATE-OBS": f"'2026-03-02T00:{number:02}:00'",
        **(cards or {}),
    }
    return of_bytes(name, image(changes, data), reason, stage=QUALITY)


def _of_no_use() -> Iterator[Damaged]:
    def full(value: float, kind: type = np.float32) -> np.ndarray:
        return np.full((NY, NX), value, kind)

    nearly = full(np.nan)
    nearly[:4] = noise()[:4]
    centre = noise()
    centre[NY // 4 : -NY // 4, NX // 4 : -NX // 4] = np.nan
    signalling = np.full((NY, NX), 0x7F800001, np.uint32).view(np.float32)
    cases = {
        "all-nan": (full(np.nan), NAN),
        "all-nan-64": (full(np.nan, np.float64), NAN),
        "all-signalling-nan": (signalling, NAN),
        "all-inf": (full(np.inf), NAN),
        "all-minus-inf": (full(-np.inf), NAN),
        "too-much-nan": (nearly, NAN),
        "centre-nan": (centre, NAN),
        "beyond-float32": (full(1e300, np.float64), NAN),
        "zeros": (full(0.0), FLAT),
        "minus-zeros": (full(-0.0), FLAT),
        "constant": (full(0.25), FLAT),
        "below-float32": (1e-300 * noise().astype(np.float64), FLAT),
        "one-pixel": (noise(1, 1), FLAT),
        "one-line": (noise(1, NX), RMS),
        "two-by-two": (noise(2, 2), RMS),
        "seven-by-seven": (noise(7, 7), RMS),
        "huge-noise": (noise() * np.float32(1e30), RMS),
        "zeros-and-nan": (np.where(noise() > 0, np.float32(np.nan), np.float32(0.0)), FLAT),
    }
    for number, (name, (data, reason)) in enumerate(cases.items()):
        yield _judged(number, f"{name}.fits", data, reason)


def _scaled() -> Iterator[Damaged]:
    counts = np.rint(noise() * 1e5).astype(np.int16)
    blank = np.full((NY, NX), -32768, np.int16)
    cases = {
        "all-blank": (blank, NAN, {"BLANK": "-32768", "BSCALE": "1.0E-5"}),
        "integer-constant": (blank, FLAT, {"BSCALE": "1.0E-5"}),
        "scale-0": (counts, FLAT, {"BSCALE": "0.0"}),
        "scale-huge": (
            np.where(counts == 0, 1, counts).astype(counts.dtype),
            NAN,
            {"BSCALE": "1E300"},
        ),
        "zero-huge": (counts, NAN, {"BZERO": "1E300"}),
        "zero-swamps": (counts, FLAT, {"BSCALE": "1E-30", "BZERO": "1.0"}),
    }
    for number, (name, (data, reason, cards)) in enumerate(cases.items(), 30):
        yield _judged(number, f"{name}.fits", data, reason, cards)


def _of_use() -> Iterator[Damaged]:
    """Pixels that are damaged in part; the rest is an image."""
    half = noise()
    half[:, : NX // 2] = np.nan
    yield readable("half-nan.fits", image(data=half))
    for bit in (0, 6, 7, 30):
        flipped = bytearray(image())
        place = flipped.index(pixels(noise())[:16]) + 4 * (NX * 9 + 9)
        flipped[place + bit // 8] ^= 1 << bit % 8
        yield readable(f"pixel-bit-{bit}.fits", bytes(flipped))
    wild = noise()
    wild[0, :4] = (np.inf, -np.inf, np.nan, 3e38)
    yield readable("wild-pixels.fits", image(data=wild))

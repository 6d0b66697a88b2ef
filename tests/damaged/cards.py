"""FITS files byte by byte: a library would refuse to write what is wrong."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

BLOCK = 2880
NX = NY = 64
# All that an image needs, as the text of each card's value. Two blocks with the comments.
CARDS: dict[str, str] = {
    "SIMPLE": "T",
    "BITPIX": "-32",
    "NAXIS": "4",
    "NAXIS1": str(NX),
    "NAXIS2": str(NY),
    "NAXIS3": "1",
    "NAXIS4": "1",
    "EXTEND": "T",
    "CTYPE1": "'RA---SIN'",
    "CRPIX1": "33.0",
    "CRVAL1": "123.0",
    "CDELT1": "-0.00138888888889",
    "CUNIT1": "'deg'",
    "CTYPE2": "'DEC--SIN'",
    "CRPIX2": "33.0",
    "CRVAL2": "35.0",
    "CDELT2": "0.00138888888889",
    "CUNIT2": "'deg'",
    "CTYPE3": "'FREQ'",
    "CRPIX3": "1.0",
    "CRVAL3": "150000000.0",
    "CDELT3": "2000000.0",
    "CUNIT3": "'Hz'",
    "CTYPE4": "'STOKES'",
    "CRPIX4": "1.0",
    "CRVAL4": "1.0",
    "CDELT4": "1.0",
    "BMAJ": "0.00833333333333",
    "BMIN": "0.00694444444444",
    "BPA": "40.0",
    "BUNIT": "'JY/BEAM'",
    "TELESCOP": "'DAMAGED'",
    "DATE-OBS": "'2026-03-01T00:00:00'",
    "TAU_TIME": "600.0",
}
N_COMMENTS = 20
END = b"END".ljust(80)


def card(key: str, value: str) -> bytes:
    """One card with a value as it stands, right-aligned unless it is text; any bytes of latin-1."""
    text = f"{key:8}= {value:<20}" if value.startswith("'") else f"{key:8}= {value:>20}"
    return text.encode("latin-1").ljust(80)[:80]


def padded(data: bytes, filler: bytes = b"\x00") -> bytes:
    return data + filler * (-len(data) % BLOCK)


def header(
    changes: Mapping[str, str | None] | None = None,
    extra: tuple[bytes, ...] = (),
    cards: Mapping[str, str] = CARDS,
) -> bytes:
    """Blocks of a header; a change to None takes a card out, ``extra`` come before END."""
    merged = {**cards, **(changes or {})}
    lines = [card(key, value) for key, value in merged.items() if value is not None]
    lines += [b"COMMENT this makes the header two blocks long".ljust(80)] * N_COMMENTS
    lines += [line.ljust(80) for line in extra]
    return padded(b"".join(lines) + END, b" ")


def noise(ny: int = NY, nx: int = NX) -> np.ndarray:
    """Pixels of an image without sources, Jy/beam."""
    return np.random.default_rng(11).normal(0.0, 1e-3, (ny, nx)).astype(np.float32)


def pixels(data: np.ndarray) -> bytes:
    """Bytes of pixels as FITS has them."""
    return data.astype(data.dtype.newbyteorder(">")).tobytes()


def image(
    changes: Mapping[str, str | None] | None = None,
    data: np.ndarray | None = None,
    extra: tuple[bytes, ...] = (),
) -> bytes:
    """A file with one image; its header is not made to fit the pixels."""
    return header(changes, extra) + padded(pixels(noise() if data is None else data))


EMPTY_PRIMARY = header(cards={"SIMPLE": "T", "BITPIX": "8", "NAXIS": "0", "EXTEND": "T"})


def extension(kind: str = "IMAGE   ", changes: Mapping[str, str | None] | None = None) -> bytes:
    """Header of an image that is an extension."""
    cards = {"XTENSION": f"'{kind}'", **CARDS, "PCOUNT": "0", "GCOUNT": "1"}
    return header({"SIMPLE": None, "EXTEND": None, **(changes or {})}, cards=cards)


def table(n_rows: int, changes: Mapping[str, str | None] | None = None) -> bytes:
    """A binary table of beams as CASA writes it, one row a channel."""
    cards = {
        "XTENSION": "'BINTABLE'",
        "BITPIX": "8",
        "NAXIS": "2",
        "NAXIS1": "20",
        "NAXIS2": str(n_rows),
        "PCOUNT": "0",
        "GCOUNT": "1",
        "TFIELDS": "5",
    }
    names = (("BMAJ", "1E"), ("BMIN", "1E"), ("BPA", "1E"), ("CHAN", "1J"), ("POL", "1J"))
    for number, (name, form) in enumerate(names, 1):
        cards[f"TTYPE{number}"], cards[f"TFORM{number}"] = f"'{name}'", f"'{form}'"
    cards |= {"TUNIT1": "'arcsec'", "TUNIT2": "'arcsec'", "TUNIT3": "'deg'"}
    cards |= {"EXTNAME": "'BEAMS'", "NCHAN": str(n_rows), "NPOL": "1"}
    row = np.zeros(1, dtype=">f4,>f4,>f4,>i4,>i4")
    row[0] = (30.0, 25.0, 40.0, 0, 0)
    return header(changes, cards=cards) + padded(row.tobytes() * n_rows)

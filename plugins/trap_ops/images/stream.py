"""The image stream of AARTFAAC as bytes (SCIENCE.md 1.6): announcement, FITS header, pixels.

::

    512 bytes     magic (8), length of the header (4), length of the pixels (4), zeros
    FITS header   cards of 80 characters, END and blanks behind it or not
    pixels        float32, axis 1 fastest, as in a FITS file

All numbers are little-endian, as the machines of the telescope and of classic TraP had them.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

import numpy as np

from trap_ops.errors import ImageError
from trap_ops.images.cards import CARD, Header

MAGIC = 0x47494A53484F4D4F
ANNOUNCEMENT_SIZE = 512
# Bytes; thousands of HISTORY cards fit.
HEADER_MAX = 1 << 18
_ANNOUNCEMENT = struct.Struct("<QII496x")
_OTHER_ORDER = struct.pack(">Q", MAGIC)
_PIXEL_SIZE = 4
_BITPIX = -32
_AXES_MAX = 9
_OF_SHAPE = (b"BITPIX ", b"NAXIS")
_END = b"END".ljust(CARD)
# Written anew; or of the whole file as the telescope had it, which it no longer is.
_OWN_CARDS = {"SIMPLE", "BITPIX", "NAXIS", "CHECKSUM", "DATASUM", "END"}


@dataclass(frozen=True)
class Announcement:
    """How many bytes follow.

    Attributes
    ----------
    header_size, pixels_size : int
        Bytes.
    """

    header_size: int
    pixels_size: int


def announce(header_size: int, pixels_size: int) -> bytes:
    """Return the bytes that stand before an image."""
    return _ANNOUNCEMENT.pack(MAGIC, header_size, pixels_size)


def parse_announcement(raw: bytes, pixels_max: int) -> Announcement:
    """Read what stands before an image; nothing behind it can be trusted before.

    Parameters
    ----------
    raw : bytes
        512 of them.
    pixels_max : int
        Bytes of pixels that an image may have.

    Raises
    ------
    ImageError
        If it is none, or announces what no image has. Where the next image would begin is not
        known then.
    """
    magic, header_size, pixels_size = _ANNOUNCEMENT.unpack(raw)
    if raw.startswith(_OTHER_ORDER):
        msg = "its numbers are big-endian; the stream has little-endian ones"
        raise ImageError(msg, reason="no image stream")
    if magic != MAGIC:
        msg = f"it is no image stream: it begins with {raw[:8]!r}, not with {_magic_bytes()!r}"
        raise ImageError(msg, reason="no image stream")
    if not CARD <= header_size <= HEADER_MAX:
        msg = (
            f"it announces a header of {header_size} bytes; headers have {CARD} to {HEADER_MAX} "
            "bytes"
        )
        raise ImageError(msg, reason="bad length", header_size=header_size)
    if not 0 < pixels_size <= pixels_max or pixels_size % _PIXEL_SIZE:
        msg = (
            f"it announces {pixels_size} bytes of pixels; images have up to {pixels_max} bytes "
            f"here, {_PIXEL_SIZE} for each pixel"
        )
        raise ImageError(msg, reason="bad length", pixels_size=pixels_size)
    return Announcement(header_size, pixels_size)


def parse_header(raw: bytes, announced: Announcement) -> bytes:
    """Cards of a FITS file with the pixels that are announced, without END.

    What FITS wants first stands first. Checksums are left out, as they would not fit.

    Raises
    ------
    ImageError
        If it is no header of an image with so many pixels of type float32.
    """
    text = raw.rstrip(b"\0 ")
    if not (text.isascii() and text.decode("ascii").isprintable()):
        msg = "its header is not plain text (ASCII)"
        raise ImageError(msg, reason="bad header")
    cards = [text[start : start + CARD].ljust(CARD) for start in range(0, len(text), CARD)]
    cards = cards[: cards.index(_END)] if _END in cards else cards
    # The others are read when there is time for them.
    shape = _shape(Header.parse(b"".join(card for card in cards if card.startswith(_OF_SHAPE))))
    size = math.prod(shape) * _PIXEL_SIZE
    if size != announced.pixels_size:
        axes = " x ".join(map(str, shape))
        msg = (
            f"its header has {axes} pixels, which are {size} bytes, and {announced.pixels_size} "
            "are announced"
        )
        raise ImageError(msg, reason="bad length", pixels_size=announced.pixels_size)
    first = [
        _card("SIMPLE", "T"),
        _card("BITPIX", str(_BITPIX)),
        _card("NAXIS", str(len(shape))),
        *(_card(f"NAXIS{axis}", str(length)) for axis, length in enumerate(shape, start=1)),
    ]
    own = _OWN_CARDS | {f"NAXIS{axis}" for axis in range(1, len(shape) + 1)}
    rest = [card for card in cards if card[:8].decode("ascii").rstrip() not in own]
    return b"".join(first + rest)


def file_pixels(pixels: bytes | bytearray) -> memoryview:
    """Bytes of the stream's pixels in the order of FITS files, bit for bit."""
    return np.frombuffer(pixels, "<u4").astype(">u4").view(np.uint8).data


def _magic_bytes() -> bytes:
    return struct.pack("<Q", MAGIC)


def _shape(header: Header) -> tuple[int, ...]:
    """Lengths of the axes, NAXIS1 first."""
    bitpix = header.get("BITPIX")
    if bitpix != _BITPIX:
        msg = f"its header has BITPIX = {bitpix!r}; the stream has float32 pixels ({_BITPIX})"
        raise ImageError(msg, reason="bad header")
    count = header.get("NAXIS")
    # A truth value is a number, too, to Python.
    if type(count) is not int or not 2 <= count <= _AXES_MAX:
        msg = f"its header has NAXIS = {count!r}; images have 2 to {_AXES_MAX} axes"
        raise ImageError(msg, reason="bad header")
    lengths = []
    for axis in range(1, count + 1):
        length = header.get(f"NAXIS{axis}")
        if type(length) is not int or length < 1:
            msg = f"its header has NAXIS{axis} = {length!r}; an axis has 1 or more pixels"
            raise ImageError(msg, reason="bad header")
        lengths.append(length)
    return tuple(lengths)


def _card(keyword: str, value: str) -> bytes:
    return f"{keyword:8}= {value:>20}".ljust(CARD).encode("ascii")

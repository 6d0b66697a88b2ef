"""The HDUs of a FITS file: where their headers and data are, found without reading any data.

Sizes are those that headers announce. They are checked against the file before anything relies on
them, so that no damaged header makes the pipeline wait, go round in circles or take memory.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from trap_ops.errors import ImageError
from trap_ops.images.cards import CARD, Header
from trap_ops.images.files import SourceFile, unreadable
from trap_ops.records.names import one_line

# A FITS file is a whole number of these.
BLOCK = 2880
# As many as FITS allows.
_AXES_MAX = 999
# A header of more than a block is read in such steps.
_STEP = 8 * BLOCK
# Real ones reach thousands of HISTORY cards; one that goes on for so long is none.
_HEADER_MAX = 4_000 * BLOCK
# Never is a file packed better than this by gzip (its format does not allow it).
_GZIP_RATIO_MAX = 1032
_HDUS_MAX = 100_000
_BITPIX = (8, 16, 32, 64, -32, -64)
_END = b"END" + b" " * (CARD - 3)
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Hdu:
    """A header and where its data are.

    Attributes
    ----------
    number : int
        From 0.
    header : Header
    header_sha256 : str
        Of its cards, as they are in the file.
    raw : bytes
        These cards.
    shape : tuple of int
        Of an image, in the order of the header: NAXIS1 first. Empty for what is no image.
    bitpix : int
        Of the image.
    tiled : bool
        An image in a table of compressed tiles.
    data_start, data_size : int
        Bytes.
    """

    number: int
    header: Header
    header_sha256: str
    raw: bytes
    shape: tuple[int, ...]
    bitpix: int
    tiled: bool
    data_start: int
    data_size: int

    @property
    def is_image(self) -> bool:
        """Whether it has two or more axes with pixels."""
        return len(self.shape) >= 2 and min(self.shape) > 0


class FitsFile:
    """A FITS file that is open; packed by gzip or not.

    Attributes
    ----------
    stream : file
        Of the FITS file's bytes.
    packed : bool
    """

    def __init__(
        self, source: SourceFile, stream: BinaryIO | gzip.GzipFile, *, packed: bool
    ) -> None:
        self.source = source
        self.stream = stream
        self.packed = packed
        self._known: list[Hdu] = []

    def hdus(self) -> Iterator[Hdu]:
        """HDUs one after the other; reads headers only, and of a packed file what lies between.

        Raises
        ------
        ImageError
            If a header is damaged, or the file ends within it.
        """
        yield from self._known
        while len(self._known) < _HDUS_MAX:
            number, place = len(self._known), 0
            if self._known:
                last = self._known[-1]
                place = last.data_start + -(-last.data_size // BLOCK) * BLOCK
            if place > self._room:
                return
            raw = self._read_header(place, number)
            if not raw:
                return
            hdu = _describe(number, raw, place + -(-(len(raw) + CARD) // BLOCK) * BLOCK)
            self._known.append(hdu)
            yield hdu

    def check_whole(self, hdu: Hdu) -> None:
        """Raise if the file is too short for the data of an HDU."""
        needed = hdu.data_start + hdu.data_size
        if needed > self._room:
            size = self.source.size
            packed = ", more than can be in a packed file of that size" if self.packed else ""
            msg = (
                f"the file is truncated: it has {size} bytes, its header announces "
                f"{needed}{packed}; copy it again"
            )
            raise ImageError(msg, reason="truncated", size=size, needed=needed)

    def read(self, place: int, size: int) -> bytes:
        """Read bytes; fewer where the file ends.

        Raises
        ------
        ImageError
            If the file cannot be read, or is packed and damaged.
        """
        try:
            self.stream.seek(place)
            return self.stream.read(size)
        except EOFError as error:
            raise self._cut() from error
        except (gzip.BadGzipFile, zlib.error) as error:
            msg = f"it cannot be unpacked ({error}); copy the file again"
            raise ImageError(msg, reason="bad gzip file") from error
        except OSError as error:
            raise unreadable(error) from error

    @property
    def _room(self) -> int:
        """Bytes that the FITS file has, or, of a packed one, at most may have."""
        return self.source.size * (_GZIP_RATIO_MAX if self.packed else 1)

    def _read_header(self, place: int, number: int) -> bytes:
        """Cards up to END; nothing where there is no further HDU."""
        raw = bytearray(self.read(place, BLOCK))
        if number == 0 and not raw.startswith(b"SIMPLE"):
            raise _not_fits(bytes(raw))
        if number > 0 and not raw.startswith(b"XTENSION"):
            if 0 < len(raw) < BLOCK:
                raise self._cut()
            return b""  # Whole blocks behind the last HDU are none.
        searched = 0
        while (end := _end_of(raw, searched)) is None:
            if len(raw) > _HEADER_MAX:
                msg = f"its header is damaged: no END in its first {len(raw)} bytes"
                raise ImageError(msg, reason="bad header")
            searched = len(raw)
            more = self.read(place + searched, _STEP) if searched % BLOCK == 0 else b""
            if not more:
                raise self._cut()
            raw += more
        return bytes(raw[:end])

    def _cut(self) -> ImageError:
        size = self.source.size
        where = "its packed data end too early" if self.packed else "within a header"
        msg = f"the file is truncated: {where} ({size} bytes); copy it again"
        return ImageError(msg, reason="truncated", size=size)


@contextmanager
def open_fits(source: SourceFile) -> Iterator[FitsFile]:
    """Open a FITS file.

    Raises
    ------
    ImageError
        If it cannot be read.
    """
    try:
        stream = source.open()
        start = stream.read(2)
        stream.seek(0)
    except OSError as error:
        raise unreadable(error) from error
    with stream:
        if start != b"\x1f\x8b":
            yield FitsFile(source, stream, packed=False)
            return
        with gzip.GzipFile(fileobj=stream) as unpacked:
            yield FitsFile(source, unpacked, packed=True)


@contextmanager
def named(source_name: str) -> Iterator[None]:
    """Put the name of the file before the message of what is wrong with it, all in one line."""
    try:
        yield
    except ImageError as error:
        msg = one_line(f"{source_name}: {error.message}")
        raise ImageError(
            msg, reason=error.reason, passing=error.passing, **error.details
        ) from error


def content_sha256(source: SourceFile) -> str:
    """SHA-256 of a file's bytes.

    Raises
    ------
    ImageError
        If the file has gone or cannot be read.
    """
    digest = hashlib.sha256()
    with named(source.name):
        try:
            with source.open() as file:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
        except OSError as error:
            raise unreadable(error) from error
    return digest.hexdigest()


def check_unchanged(source: SourceFile, size: int, mtime_ns: int, sha256: str | None) -> None:
    """Check that a file is still what was registered: by size and time, else by content.

    Raises
    ------
    ImageError
        If its content differs, or it has gone.
    """
    if (source.size, source.mtime_ns) == (size, mtime_ns):
        return
    if source.size != size or (sha256 is not None and content_sha256(source) != sha256):
        raise changed(source, size)


def changed(source: SourceFile, size: int) -> ImageError:
    """Say that a file is not the one that was registered with so many bytes."""
    msg = one_line(
        f"{source.name}: the file has changed since it was registered (it had {size} bytes, it "
        f"has {source.size}); put the old file back, or use another dataset for the new one"
    )
    return ImageError(msg, reason="file changed", passing=True)


def _end_of(raw: bytearray, start: int) -> int | None:
    """Where the END card begins, from a place on; None if there is none."""
    place = raw.find(_END, start)
    while place >= 0:
        if place % CARD == 0:
            return place
        place = raw.find(_END, place + 1)
    return None


def _describe(number: int, raw: bytes, data_start: int) -> Hdu:
    header = Header.parse(raw)
    tiled = header.get("ZIMAGE") is True
    axes = _sizes(header, "")
    bitpix = _bitpix(header, "")
    kind = "IMAGE" if number == 0 else header.text("XTENSION").upper()
    groups = header.get("GROUPS") is True and axes[:1] == (0,)
    elements = math.prod(axes[1:] if groups else axes) if axes else 0
    extra = _count(header, "PCOUNT", 0)
    size = abs(bitpix) // 8 * _count(header, "GCOUNT", 1) * (extra + elements)
    image = kind in {"IMAGE", "IUEIMAGE"} and not groups
    return Hdu(
        number=number,
        header=header,
        header_sha256=hashlib.sha256(raw).hexdigest(),
        raw=raw,
        shape=_sizes(header, "Z") if tiled else axes if image else (),
        bitpix=_bitpix(header, "Z") if tiled else bitpix,
        tiled=tiled,
        data_start=data_start,
        data_size=size,
    )


def _sizes(header: Header, prefix: str) -> tuple[int, ...]:
    """Lengths of the axes, NAXIS1 first."""
    count = _count(header, f"{prefix}NAXIS", None)
    if count > _AXES_MAX:
        msg = f"its header is damaged: it announces {count} axes, and FITS allows {_AXES_MAX}"
        raise ImageError(msg, reason="bad header")
    return tuple(_count(header, f"{prefix}NAXIS{axis}", None) for axis in range(1, count + 1))


def _bitpix(header: Header, prefix: str) -> int:
    value = header.get(f"{prefix}BITPIX")
    if not isinstance(value, int) or value not in _BITPIX:
        allowed = ", ".join(map(str, _BITPIX))
        msg = f"its header is damaged: {prefix}BITPIX = {value!r}, which can be {allowed}"
        raise ImageError(msg, reason="bad header")
    return value


def _count(header: Header, key: str, default: int | None) -> int:
    """Value of a keyword that counts something."""
    value = default if header.get(key) is None else header.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        said = "is missing" if value is None else f"= {value!r}, which must be a number from 0"
        msg = f"its header is damaged: {key} {said}"
        raise ImageError(msg, reason="bad header")
    return value


def _not_fits(start: bytes) -> ImageError:
    if not start:
        return ImageError("the file is empty", reason="empty file")
    msg = "it is not a FITS file (it does not begin with SIMPLE)"
    return ImageError(msg, reason="not a FITS file")

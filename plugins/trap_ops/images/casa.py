"""CASA image tables: directories that casacore reads, given as the FITS files that they amount to.

So one code reads what headers say, whatever wrote them. No pixel is read for a header.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import re
import signal
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trap_ops.errors import ImageError
from trap_ops.images.casa_cards import Axes, axes_of, beam_table, cards_of
from trap_ops.images.casa_lofar import lofar_cards
from trap_ops.images.casa_tables import TABLE_FILE, check_own
from trap_ops.images.files import SourceFile, check_regular, unreadable
from trap_ops.records.images import Plane

_BLOCK = 2880
_CHUNK = 1 << 20
# Seconds; casacore reads a gigabyte in a few.
_TRIAL_S = 120
_LOCK_FILE = "table.lock"
# casacore asks for nothing and writes nothing: not even a lock.
_READING = {"option": "usernoread"}


@dataclass(frozen=True)
class _Piece:
    """Bytes at a place of a file; everywhere else it is zero."""

    start: int
    data: bytes | memoryview


def is_table(path: Path) -> bool:
    """Whether a directory is a table of casacore."""
    return os.path.isfile(path / TABLE_FILE)  # noqa: PTH113 - the method raises where it may not look


def directory_status(path: Path) -> tuple[int, int]:
    """Size in bytes and latest modification in nanoseconds since 1970 of the files of a table.

    Its lock file counts for neither: reading may change it.

    Raises
    ------
    ImageError
        If it cannot be read, or holds what is no file.
    """
    try:
        found = [file.lstat() for file in _files(path)]
    except OSError as error:
        raise unreadable(error) from error
    return sum(s.st_size for s in found), max((s.st_mtime_ns for s in found), default=0)


def check_confined(path: Path) -> None:
    """Check that all of a table is in its directory: what casacore opens leads nowhere else.

    Raises
    ------
    ImageError
        If it refers to other tables or files, or cannot be read.
    """
    try:
        check_own(path, _files(path))
    except OSError as error:
        raise unreadable(error) from error


def content_sha256(path: Path) -> str:
    """SHA-256 over the names and bytes of the files of a table, sorted by name; not of its lock.

    Raises
    ------
    ImageError
        If it cannot be read, or holds what is no file.
    """
    digest = hashlib.sha256()
    try:
        for file in _files(path):
            name = os.fsencode(file.relative_to(path))
            digest.update(b"%d:%b%d:" % (len(name), name, file.lstat().st_size))
            with file.open("rb") as stream:
                while chunk := stream.read(_CHUNK):
                    digest.update(chunk)
    except OSError as error:
        raise unreadable(error) from error
    return digest.hexdigest()


def header_source(path: Path) -> SourceFile:
    """Return the FITS file that a table amounts to, with zeros for pixels.

    Raises
    ------
    ImageError
        If it is no image, damaged, or casacore is not installed.
    """
    return _survived(lambda: _header_source(path))


def image_source(path: Path, plane: Plane) -> SourceFile:
    """Return the same with the pixels of one plane; masked ones are NaN.

    Raises
    ------
    ImageError
        If it is no image, damaged, or casacore is not installed; or its pixels cannot be read.
    """
    return _survived(lambda: _image_source(path, plane))


def _survived(read: Callable[[], SourceFile]) -> SourceFile:
    """Read a table, but in another process first: of damaged ones casacore may abort.

    Raises
    ------
    ImageError
        If that process died.
    """
    child = os.fork()
    if child == 0:
        with suppress(BaseException):
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(_TRIAL_S)
            silence = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silence, 1)
            os.dup2(silence, 2)
            read()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        raise _ended(os.WTERMSIG(status))
    return read()


def _ended(number: int) -> ImageError:
    """Say why the process that tried a table has died: by itself, or because it was ended."""
    name = signal.Signals(number).name
    if number == signal.SIGALRM:
        msg = f"it could not be read within {_TRIAL_S} s: is its file system very slow?"
        return ImageError(msg, reason="unreadable file", passing=True)
    if number in {signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}:
        msg = f"reading it was stopped from outside ({name}); the next run tries again"
        return ImageError(msg, reason="unreadable file", passing=True)
    msg = f"it is a damaged CASA table: casacore ends with {name} when it reads it"
    return ImageError(msg, reason="damaged table")


def _header_source(path: Path) -> SourceFile:
    with _opened(path) as table:
        axes = axes_of(table.getkeywords(), _shape(table))
        return _source(path, _pieces(path, table, axes))


def _image_source(path: Path, plane: Plane) -> SourceFile:
    with _opened(path) as table:
        axes = axes_of(table.getkeywords(), _shape(table))
        head, *rest, size = _pieces(path, table, axes)
        index = plane.index or (0,) * (len(axes.sizes) - 2)
        sizes = axes.sizes[:1:-1]
        if len(index) != len(sizes) or any(i >= n for i, n in zip(index, sizes, strict=True)):
            msg = f"it has no plane {index}: its further axes have {sizes or 'no'} planes"
            raise ImageError(msg, reason="no such plane")
        pixels = _pixels(path, table, axes, index)
        number = int(np.ravel_multi_index(index, sizes)) if index else 0
        start = len(head.data) + number * pixels.nbytes
        return _source(path, [head, _Piece(start, pixels.data.cast("B")), *rest, size])


def _source(path: Path, pieces: list[_Piece]) -> SourceFile:
    last = pieces[-1]
    size = last.start + len(last.data)
    return SourceFile(
        str(path), path.name, size, 0, lambda: io.BufferedReader(_Pieces(pieces, size), _BLOCK)
    )


def _pieces(path: Path, table: Any, axes: Axes) -> list[_Piece]:  # noqa: ANN401 - no types
    """Header, table of beams if there is one, and an empty piece at the end of the file."""
    keywords = table.getkeywords()
    cards = cards_of(keywords, axes)
    cards.update(lofar_cards(path, keywords))
    head = cards.tostring().encode("ascii")
    end = len(head) + -(-4 * math.prod(axes.sizes) // _BLOCK) * _BLOCK
    beams = beam_table(keywords)
    pieces = [_Piece(0, head)]
    if beams:
        pieces.append(_Piece(end, beams))
    return [*pieces, _Piece(end + len(beams), b"")]


def _pixels(
    path: Path,
    table: Any,  # noqa: ANN401 - as above
    axes: Axes,
    index: tuple[int, ...],
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Pixels of a plane, (ny, nx), as they stand in FITS files."""
    low, high = axes.slice_of(index)
    pixels = np.array(table.getcellslice("map", 0, low, high), dtype=np.float32)
    good = _mask(path, table.getkeywords(), low, high)
    if good is not None:
        pixels[~good] = np.nan
    return axes.plane(pixels).astype(">f4")


def _mask(
    path: Path, keywords: Mapping[str, Any], low: list[int], high: list[int]
) -> np.ndarray[Any, np.dtype[np.bool_]] | None:
    """Which pixels of a slice are good by the default mask; None if there is none."""
    from casacore.tables import table as open_table  # noqa: PLC0415 - an optional package

    name = str(keywords.get("Image_defaultmask", ""))
    if not name:
        return None
    region = keywords.get("masks", {}).get(name, {})
    if region.get("name") != "LCPagedMask":
        msg = (
            f"its mask {name!r} is no table of pixels ({region.get('name', 'missing')}); "
            "write the image anew with a pixel mask, or with none"
        )
        raise ImageError(msg, reason="mask")
    # Only one beside it: the keyword holds a path, which might lead anywhere.
    directory = path / Path(str(region["mask"]).removeprefix("Table: ")).name
    with open_table(str(directory), ack=False, lockoptions=_READING) as mask:
        shape = _shape(mask, "PagedArray")
        if any(place >= size for place, size in zip(high, shape, strict=True)):
            msg = f"its mask {name!r} is smaller than the image: {tuple(shape)} pixels"
            raise ImageError(msg, reason="mask")
        return np.asarray(mask.getcellslice("PagedArray", 0, low, high), dtype=bool)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a table for reading; whatever casacore throws is a reason."""
    try:
        from casacore.tables import table as open_table  # noqa: PLC0415 - an optional package
    except ImportError as error:
        msg = (
            "it is a CASA table, and python-casacore is not installed: run "
            "`.venv/bin/pip install -r requirements-casa.txt` in the checkout of each worker"
        )
        raise ImageError(msg, reason="casacore missing", passing=True) from error
    size, _ = directory_status(path)  # casacore would wait for a pipe for ever.
    check_confined(path)
    try:
        with open_table(str(path), ack=False, lockoptions=_READING) as table:
            _check_image(table, size)
            yield table
    except ImageError:
        raise
    except Exception as error:
        msg = f"it is a damaged CASA table: {_words(error, path)}; copy it again"
        raise ImageError(msg, reason="damaged table") from error


def _check_image(table: Any, size: int) -> None:  # noqa: ANN401 - as above
    columns = table.colnames()
    if "map" not in columns or "coords" not in table.keywordnames() or table.nrows() != 1:
        kind = table.info().get("type") or "of no type"
        msg = f"it is a CASA table, but no image: {kind}, columns {', '.join(columns[:4])} ..."
        raise ImageError(msg, reason="not an image")
    kind = table.coldatatype("map")
    if kind not in {"float", "double"}:
        msg = f"its pixels are {kind} numbers; images of float or double are needed"
        raise ImageError(msg, reason="unit")
    n_pixels = math.prod(_shape(table))
    if n_pixels > size:  # Less than a byte each: none can be in it, however it is packed.
        msg = f"the table is truncated: it has {size} bytes, and announces {n_pixels} pixels"
        raise ImageError(msg, reason="truncated", size=size, needed=n_pixels)


def _shape(table: Any, column: str = "map") -> list[int]:  # noqa: ANN401 - as above
    """Shape of an array of pixels, slowest axis first; the array is not read."""
    (text,) = table.getcolshapestring(column, 0, 1)
    return [int(number) for number in re.findall(r"\d+", text)]


def _words(error: Exception, path: Path) -> str:
    """Return the first line of what casacore says, without paths."""
    text = str(error).strip().splitlines() or [type(error).__name__]
    return text[0].replace(f"{path}/", "").replace(str(path), "the table")[:200]


def _files(path: Path) -> list[Path]:
    """Files of a table and its sub-tables, without locks, sorted by name.

    Raises
    ------
    ImageError
        If there is a link, a pipe or the like among them.
    """
    found = []
    for folder, folders, names in os.walk(path, onerror=_raise):
        # A sub-table that is a link is listed with the folders, and would not be gone into.
        for name in (*folders, *names):
            file = Path(folder, name)
            mode = file.lstat().st_mode
            if stat.S_ISLNK(mode):
                msg = f"its part {file.relative_to(path)} is a link; copy the table whole"
                raise ImageError(msg, reason="not a file")
            if name in folders or name == _LOCK_FILE:
                continue
            check_regular(mode)
            found.append(file)
    return sorted(found)


def _raise(error: OSError) -> None:
    raise error


class _Pieces(io.RawIOBase):
    """A file that is mostly zeros."""

    def __init__(self, pieces: list[_Piece], size: int) -> None:
        self._pieces = pieces
        self._size = size
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        self._place = max(base + offset, 0)
        return self._place

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any buffer
        count = max(min(len(buffer), self._size - self._place), 0)
        made = memoryview(buffer).cast("B")[:count]
        made[:] = bytes(count)
        for piece in self._pieces:
            first = max(piece.start, self._place)
            last = min(piece.start + len(piece.data), self._place + count)
            if first < last:
                source = piece.data[first - piece.start : last - piece.start]
                made[first - self._place : last - self._place] = source
        self._place += count
        return count

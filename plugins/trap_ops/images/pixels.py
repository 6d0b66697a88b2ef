"""The pixels of one plane of a FITS file, and no others.

Pixels are read, not mapped into memory: a file that is cut short while it is mapped ends the whole
process, and a plane that is read a few rows at a time takes no more memory than one that is mapped.
"""

from __future__ import annotations

import math
import warnings

import numpy as np
from astropy.io import fits

from trap_ops.errors import ImageError
from trap_ops.images.cards import Header
from trap_ops.images.structure import FitsFile, Hdu
from trap_ops.records.arrays import Image

_TYPES = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
_CHUNK_BYTES = 1 << 22
# What the FITS standard allows of the parameters of Rice's algorithm; there are at most a few.
_RICE = {"BLOCKSIZE": (16, 32), "BYTEPIX": (1, 2, 4, 8)}
_PARAMETERS_MAX = 9


def read_plane(file: FitsFile, hdu: Hdu, index: tuple[int, ...]) -> Image:
    """Values of a plane as its header scales them, (ny, nx); NaN where there are none.

    Parameters
    ----------
    file : FitsFile
    hdu : Hdu
        An image, for whose data the file is long enough.
    index : tuple of int
        Places on the axes beyond the first two, the slowest first.

    Raises
    ------
    ImageError
        If the pixels cannot be read.
    """
    # Values beyond float32 become infinite: pixels without data.
    with np.errstate(over="ignore", invalid="ignore"):
        read = _unpacked if hdu.tiled else _plain
        pixels = read(file, hdu, index)
    file.check_packed(hdu)
    return pixels


def _plain(file: FitsFile, hdu: Hdu, index: tuple[int, ...]) -> Image:
    nx, ny = hdu.shape[:2]
    dtype = np.dtype(_TYPES[hdu.bitpix])
    row_bytes = nx * dtype.itemsize
    number = int(np.ravel_multi_index(index, hdu.shape[:1:-1])) if index else 0
    start = hdu.data_start + number * ny * row_bytes
    scale, zero = _scaling(hdu.header, "BSCALE", 1.0), _scaling(hdu.header, "BZERO", 0.0)
    blank = hdu.header.get("BLANK") if hdu.bitpix > 0 else None
    pixels = np.empty((ny, nx), dtype=np.float32)
    step = max(1, _CHUNK_BYTES // row_bytes)
    for first in range(0, ny, step):
        size = min(step, ny - first) * row_bytes
        raw = file.read(start + first * row_bytes, size)
        if len(raw) < size:
            msg = (
                f"the file is truncated: its pixels end in row {first + len(raw) // row_bytes} of "
                f"{ny}; copy it again"
            )
            raise ImageError(msg, reason="truncated")
        stored = np.frombuffer(raw, dtype=dtype).reshape(-1, nx)
        values = stored if (scale, zero) == (1.0, 0.0) else stored * scale + zero
        pixels[first : first + len(stored)] = values
        if blank is not None:
            pixels[first : first + len(stored)][stored == blank] = np.nan
    return pixels


def _scaling(header: Header, key: str, default: float) -> float:
    value = header.number(key)
    if value is None and header.get(key) is not None:
        msg = f"its header is damaged: {key} = {header.get(key)!r}, which must be a number"
        raise ImageError(msg, reason="bad header")
    return default if value is None else value


def _unpacked(file: FitsFile, hdu: Hdu, index: tuple[int, ...]) -> Image:
    """Pixels of compressed tiles, by astropy; only those tiles that hold the plane."""
    _check_tiles(hdu)
    try:
        file.stream.seek(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with fits.open(file.stream, mode="readonly", memmap=False) as hdus:
                plane = hdus[hdu.number].section[(*index, slice(None), slice(None))]
                pixels = np.array(plane, dtype=np.float32)
    except MemoryError:
        raise
    except Exception as error:
        msg = f"its pixels cannot be unpacked: {' '.join(str(error).split())}"
        raise ImageError(msg, reason="unreadable pixels") from error
    if pixels.shape != hdu.shape[1::-1]:
        msg = f"its tiles hold {pixels.shape} pixels, its header announces {hdu.shape[1::-1]}"
        raise ImageError(msg, reason="unreadable pixels")
    return pixels


def _check_tiles(hdu: Hdu) -> None:
    """Raise unless the table has as many rows as the image has tiles: memory is taken for them.

    And for Rice's blocks, of which there are two sizes.
    """
    for number in range(1, _PARAMETERS_MAX + 1):
        name, value = hdu.header.text(f"ZNAME{number}"), hdu.header.get(f"ZVAL{number}")
        if name in _RICE and value not in _RICE[name]:
            msg = f"its header is damaged: {name} of its tiles = {value!r}"
            raise ImageError(msg, reason="bad header")
    tiles = 1
    for axis, size in enumerate(hdu.shape, start=1):
        side = hdu.header.number(f"ZTILE{axis}")
        usual = float(size if axis == 1 else 1)
        tiles *= math.ceil(size / max(usual if side is None else side, 1.0))
    rows = hdu.header.number("NAXIS2")
    if rows != tiles:
        msg = (
            f"its header is damaged: its table has {rows or 0:.0f} tiles, and an image of its size "
            f"{tiles}"
        )
        raise ImageError(msg, reason="bad header")

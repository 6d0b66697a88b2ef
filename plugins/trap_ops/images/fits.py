"""FITS files: metadata without pixels, pixels, checksums."""

from __future__ import annotations

import hashlib
import math
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.io.fits.verify import VerifyWarning
from astropy.utils.exceptions import AstropyUserWarning
from astropy.wcs import WCS

from trap_ops.errors import ImageError
from trap_ops.images.header import (
    celestial_wcs,
    pixel_matrix,
    read_beam,
    read_frequency,
    read_stokes,
    read_telescope,
    read_times,
    read_unit,
    sky_of_field,
)
from trap_ops.records.arrays import FloatArray, Image
from trap_ops.records.images import Beam, ImageFile
from trap_ops.records.names import one_line

_IMAGE_HDUS = (fits.PrimaryHDU, fits.ImageHDU, fits.CompImageHDU)
_HASH_CHUNK = 1 << 20
# A FITS file is a whole number of these.
_BLOCK = 2880
# As many as FITS allows.
_AXES_MAX = 999
_AXES = re.compile(rb"NAXIS   = *(\d+)")


@dataclass(frozen=True)
class OpenImage:
    """An image ready for work.

    Attributes
    ----------
    pixels : numpy.ndarray of float32, (ny, nx)
        Jy/beam. Index 0 is y (FITS axis 2).
    wcs : astropy.wcs.WCS
        The celestial axes.
    beam : Beam
    pixel_matrix_deg : numpy.ndarray, (2, 2)
        Degrees (east, north) per pixel (x, y).
    """

    pixels: Image
    wcs: WCS
    beam: Beam
    pixel_matrix_deg: FloatArray


def read_header(path: Path) -> ImageFile:
    """Read what the header of a FITS file says; no pixel is read.

    Raises
    ------
    ImageError
        If the file cannot be used, with the reason.
    """
    with _named(path), _open(path) as hdu:
        header = hdu.header
        frequency, bandwidth, frequency_notes = read_frequency(header)
        start, integration, time_notes = read_times(header)
        wcs = celestial_wcs(header)
        nx, ny = header["NAXIS1"], header["NAXIS2"]
        sky_ra, sky_dec = sky_of_field(wcs, nx, ny)
        (east_x, east_y), (north_x, north_y) = pixel_matrix(wcs, nx, ny).tolist()
        status = path.stat()
        return ImageFile(
            path=str(path),
            file_name=path.name,
            file_size=status.st_size,
            file_mtime_ns=status.st_mtime_ns,
            header_sha256=hashlib.sha256(header.tostring().encode("ascii", "replace")).hexdigest(),
            telescope=read_telescope(header),
            stokes=read_stokes(header),
            freq_eff_hz=frequency,
            freq_bw_hz=bandwidth,
            start=start,
            integration_s=integration,
            beam=read_beam(header),
            pixel_matrix_deg=((east_x, east_y), (north_x, north_y)),
            nx=nx,
            ny=ny,
            sky_ra_deg=sky_ra,
            sky_dec_deg=sky_dec,
            notes=(*frequency_notes, *time_notes, *read_unit(header)[1]),
        )


def read_image(path: Path) -> OpenImage:
    """Read the pixels of a FITS file with what places them on the sky.

    Raises
    ------
    ImageError
        If the file cannot be used, with the reason.
    """
    with _named(path), _open(path) as hdu:
        header = hdu.header
        beam = read_beam(header)
        wcs = celestial_wcs(header)
        matrix = pixel_matrix(wcs, header["NAXIS1"], header["NAXIS2"])
        factor = read_unit(header)[0]
        try:
            # Values beyond float32 become infinite: pixels without data.
            with np.errstate(over="ignore", invalid="ignore"):
                plane = hdu.data[(0,) * (hdu.data.ndim - 2)]
                pixels = np.array(plane, dtype=np.float32)
        except Exception as error:
            msg = f"its pixels cannot be read: {error}"
            raise ImageError(msg, reason="unreadable pixels") from error
    if factor != 1.0:
        pixels *= np.float32(factor)
    return OpenImage(pixels, wcs, beam, matrix)


def content_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes.

    Raises
    ------
    ImageError
        If the file has gone or cannot be read.
    """
    digest = hashlib.sha256()
    with _named(path):
        try:
            with path.open("rb") as file:
                while chunk := file.read(_HASH_CHUNK):
                    digest.update(chunk)
        except OSError as error:
            raise _unreadable(error) from error
    return digest.hexdigest()


def check_unchanged(path: Path, size: int, mtime_ns: int, sha256: str | None) -> None:
    """Check that a file is still what was registered: by size and time, else by content.

    Raises
    ------
    ImageError
        If its content differs, or it has gone.
    """
    with _named(path):
        try:
            status = path.stat()
        except OSError as error:
            raise _unreadable(error) from error
        if (status.st_size, status.st_mtime_ns) == (size, mtime_ns):
            return
        if status.st_size != size or (sha256 is not None and content_sha256(path) != sha256):
            msg = (
                f"the file has changed since it was registered (it had {size} bytes, it has "
                f"{status.st_size}); put the old file back, or use another dataset for the new one"
            )
            raise ImageError(msg, reason="file changed", passing=True)


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    """First HDU with an image in it, checked for completeness."""
    with warnings.catch_warnings():
        # Truncation is checked below, and non-standard cards are read as well as they can be.
        warnings.simplefilter("ignore", VerifyWarning)
        warnings.simplefilter("ignore", AstropyUserWarning)
        try:
            file = path.open("rb")
        except OSError as error:
            raise _unreadable(error) from error
        with file:  # Given a path, astropy leaves a file open that it cannot read.
            _check_axes(path, 0)
            try:
                # Memory-mapped where it can be: pixels with BSCALE, BZERO or BLANK cannot.
                hdus = fits.open(file, mode="readonly")
            except OSError as error:
                raise _not_fits(path, error) from error
            except Exception as error:
                raise _damaged(error) from error
            with hdus:
                yield _legible_image(path, hdus)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Put the name of the file before the message of what is wrong with it, all in one line."""
    try:
        yield
    except ImageError as error:
        msg = one_line(f"{path.name}: {error.message}")
        raise ImageError(
            msg, reason=error.reason, passing=error.passing, **error.details
        ) from error


def _legible_image(path: Path, hdus: fits.HDUList) -> Any:  # noqa: ANN401 - as below
    """First HDU with an image in it, all cards of its header read once.

    Headers are read one after the other, and their cards as they are asked for. Of damaged ones
    astropy raises whatever it stumbles over.
    """
    try:
        hdu = _first_image(path, hdus)
        hdu.header.tostring()
    except (ImageError, MemoryError):
        raise
    except OSError as error:
        raise _not_fits(path, error) from error
    except Exception as error:
        raise _damaged(error) from error
    return hdu


def _first_image(path: Path, hdus: fits.HDUList) -> Any:  # noqa: ANN401 - one of three classes of astropy without types
    for hdu in _each(path, hdus):
        if not isinstance(hdu, _IMAGE_HDUS) or hdu.header.get("NAXIS", 0) < 2:
            continue
        shape = [hdu.header.get(f"NAXIS{axis + 1}", 0) for axis in range(hdu.header["NAXIS"])]
        if min(shape) < 1:
            continue
        if math.prod(shape[2:]) > 1:
            msg = (
                f"it holds {math.prod(shape[2:])} planes ({' x '.join(map(str, shape))}); "
                "write the planes as files of their own"
            )
            raise ImageError(msg, reason="several planes")
        if not _is_compressed(hdu):
            _check_complete(path, hdu, shape)
        return hdu
    size = path.stat().st_size
    if size % _BLOCK and not _is_compressed(hdus[0]):  # What astropy cannot read on, it leaves out.
        msg = f"the file is truncated within a header ({size} bytes); copy it again"
        raise ImageError(msg, reason="truncated", size=size)
    msg = "it holds no image (no HDU with two or more axes)"
    raise ImageError(msg, reason="no image")


def _each(path: Path, hdus: fits.HDUList) -> Iterator[Any]:
    """HDUs one after the other; what would stop astropy for ever is found before it reads on."""
    before = -1
    for hdu in hdus:
        place = hdu.fileinfo()
        if place["hdrLoc"] <= before:  # Sizes below zero lead it round in circles.
            msg = "its header is damaged: it announces data of negative size"
            raise ImageError(msg, reason="bad header")
        before = place["hdrLoc"]
        yield hdu
        _check_axes(path, place["datLoc"] + place["datSpan"])


def _check_axes(path: Path, place: int) -> None:
    """Raise if the header that begins there announces so many axes that astropy never ends."""
    if place < 0:
        return
    with path.open("rb") as file:
        file.seek(place)
        axes = _AXES.search(file.read(_BLOCK))
    if axes is not None and int(axes[1]) > _AXES_MAX:
        msg = (
            f"its header is damaged: it announces {int(axes[1])} axes, and FITS allows {_AXES_MAX}"
        )
        raise ImageError(msg, reason="bad header")


def _is_compressed(hdu: Any) -> bool:  # noqa: ANN401 - as above
    """Whether the whole file is packed (gzip and the like): then its size says nothing.

    Not asked of the list of HDUs, which would read all of them, round in circles perhaps.
    """
    return hdu.fileinfo()["file"].compression is not None


def _check_complete(path: Path, hdu: Any, shape: list[int]) -> None:  # noqa: ANN401 - as above
    if isinstance(hdu, fits.CompImageHDU):
        return  # Its tiles are checked when they are unpacked.
    needed = hdu.fileinfo()["datLoc"] + abs(hdu.header["BITPIX"]) // 8 * math.prod(shape)
    size = path.stat().st_size
    if size < needed:
        msg = (
            f"the file is truncated: it has {size} bytes, its header announces "
            f"{needed}; copy it again"
        )
        raise ImageError(msg, reason="truncated", size=size, needed=needed)


def _not_fits(path: Path, error: OSError) -> ImageError:
    with path.open("rb") as file:
        start = file.read(6)
    size = path.stat().st_size
    if not start:
        return ImageError("the file is empty", reason="empty file")
    if start == b"SIMPLE":
        msg = f"the file is truncated within its header ({size} bytes); copy it again"
        return ImageError(msg, reason="truncated", size=size)
    detail = str(error).split(".")[0]
    return ImageError(f"it is not a FITS file ({detail})", reason="not a FITS file")


def _damaged(error: Exception) -> ImageError:
    msg = f"its header is damaged ({type(error).__name__}: {error}); copy the file again"
    return ImageError(msg, reason="bad header")


def _unreadable(error: OSError) -> ImageError:
    msg = f"the file cannot be read: {error.strerror or error}"
    gone = isinstance(error, FileNotFoundError)
    return ImageError(msg, reason="no such file" if gone else "unreadable file", passing=True)

"""The door: image files of every format, here or elsewhere, to metadata and pixels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from trap_ops.config.model import ImagesConfig
from trap_ops.images import fits
from trap_ops.images.access import LOCAL_ONLY, Access
from trap_ops.images.fits import OpenImage
from trap_ops.records.images import ImageFile, ImageRow, Plane

# Settings by TELESCOP: how a header is read depends on who wrote it.
RulesOf = Callable[[str], ImagesConfig]


def read_headers(location: str, rules_of: RulesOf, access: Access = LOCAL_ONLY) -> list[ImageFile]:
    """Read what a file says of its images; no pixel is read.

    Parameters
    ----------
    location : str
        Absolute path, or address of a remote file.
    rules_of : callable
        Gives the settings for images of a telescope.
    access : Access

    Returns
    -------
    list of ImageFile
        One for each plane that the settings choose.

    Raises
    ------
    ImageError
        If the file cannot be used, with the reason.
    """
    del rules_of, access
    return [fits.read_header(Path(location))]


def read_image(
    location: str, plane: Plane, rules: ImagesConfig, access: Access = LOCAL_ONLY
) -> OpenImage:
    """Read the pixels of an image with what places them on the sky.

    Raises
    ------
    ImageError
        If the file cannot be used, with the reason.
    """
    del plane, rules, access
    return fits.read_image(Path(location))


def read_registered(row: ImageRow, rules: ImagesConfig, access: Access = LOCAL_ONLY) -> OpenImage:
    """Read an image of a dataset, if its file is still the one that was registered.

    Raises
    ------
    ImageError
        If the file has gone, has changed, or cannot be used.
    """
    check_unchanged(row.path, row.file_size, row.file_mtime_ns, row.content_sha256, access)
    return read_image(row.path, row.plane, rules, access)


def content_sha256(location: str, access: Access = LOCAL_ONLY) -> str:
    """SHA-256 of a file's bytes.

    Raises
    ------
    ImageError
        If the file has gone or cannot be read.
    """
    del access
    return fits.content_sha256(Path(location))


def check_unchanged(
    location: str, size: int, mtime_ns: int, sha256: str | None, access: Access = LOCAL_ONLY
) -> None:
    """Check that a file is still what was registered: by size and time, else by content.

    Raises
    ------
    ImageError
        If its content differs, or it has gone.
    """
    del access
    fits.check_unchanged(Path(location), size, mtime_ns, sha256)

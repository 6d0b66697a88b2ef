"""The door: image files of every format, here or elsewhere, to metadata and pixels."""

from __future__ import annotations

from pathlib import Path

from trap_ops.config.model import ImagesConfig
from trap_ops.images import fits, structure
from trap_ops.images.access import LOCAL_ONLY, Access
from trap_ops.images.files import SourceFile, local_file
from trap_ops.images.fits import OpenImage
from trap_ops.records.images import ImageFile, ImageRow, Plane

RulesOf = fits.RulesOf


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
    del access
    return fits.read_headers(_source(location), rules_of)


def read_image(
    location: str, plane: Plane, rules: ImagesConfig, access: Access = LOCAL_ONLY
) -> OpenImage:
    """Read the pixels of an image with what places them on the sky.

    Raises
    ------
    ImageError
        If the file cannot be used, with the reason.
    """
    del access
    return fits.read_image(_source(location), plane, rules)


def read_registered(row: ImageRow, rules: ImagesConfig, access: Access = LOCAL_ONLY) -> OpenImage:
    """Read an image of a dataset, if its file is still the one that was registered.

    Raises
    ------
    ImageError
        If the file has gone, has changed, or cannot be used.
    """
    check_unchanged(row.path, row.file_size, row.file_mtime_ns, row.content_sha256, access)
    return read_image(row.path, row.plane, rules, access)


def check_header(row: ImageRow, image: OpenImage) -> None:
    """Check that the header that was read is the one that was registered.

    Raises
    ------
    ImageError
        If it is not: beam, time and place of the image are those of another file.
    """
    if image.header_sha256 != row.header_sha256:
        raise structure.changed(_source(row.path), row.file_size)


def content_sha256(location: str, access: Access = LOCAL_ONLY) -> str:
    """SHA-256 of a file's bytes.

    Raises
    ------
    ImageError
        If the file has gone or cannot be read.
    """
    del access
    return structure.content_sha256(_source(location))


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
    structure.check_unchanged(_source(location), size, mtime_ns, sha256)


def _source(location: str) -> SourceFile:
    path = Path(location)
    with structure.named(path.name):
        return local_file(path)

"""The door: image files of every format, here or elsewhere, to metadata and pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from trap_ops.config.model import ImagesConfig
from trap_ops.errors import ImageError
from trap_ops.images import casa, fits, remote
from trap_ops.images.access import LOCAL_ONLY, Access
from trap_ops.images.addresses import is_address
from trap_ops.images.files import SourceFile, confine, local_file
from trap_ops.images.fits import OpenImage
from trap_ops.records.images import ImageFile, ImageRow, Plane
from trap_ops.records.names import one_line

# Settings by TELESCOP: how a header is read depends on who wrote it.
RulesOf = Callable[[str], ImagesConfig]


def read_headers(location: str, rules_of: RulesOf, access: Access = LOCAL_ONLY) -> list[ImageFile]:
    """Read what a file says of its images; no pixel is read.

    Parameters
    ----------
    location : str
        Absolute path of a FITS file or a CASA table, or address of a remote FITS file.
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
    if is_address(location):
        with remote.partial_file(location, access) as source:
            return fits.read_headers(source, rules_of)
    with _named(location):
        if not _is_table(location, access):
            return fits.read_headers(_local(location, access), rules_of)
        size, mtime_ns = casa.directory_status(Path(location))
        found = fits.read_headers(casa.header_source(Path(location)), rules_of)
    return [replace(image, file_size=size, file_mtime_ns=mtime_ns) for image in found]


def read_image(
    location: str, plane: Plane, rules: ImagesConfig, access: Access = LOCAL_ONLY
) -> OpenImage:
    """Read the pixels of an image with what places them on the sky.

    Raises
    ------
    ImageError
        If the file cannot be used, with the reason.
    """
    return read_image_and_checksum(location, plane, rules, access, checksum=False)[0]


def read_image_and_checksum(
    location: str,
    plane: Plane,
    rules: ImagesConfig,
    access: Access = LOCAL_ONLY,
    *,
    checksum: bool = True,
) -> tuple[OpenImage, str]:
    """Read an image and the SHA-256 of its file's bytes; a remote file comes over once for both.

    Raises
    ------
    ImageError
        If the file cannot be used, with the reason.
    """
    if is_address(location):
        with remote.copied_file(location, access) as (copy, digest):
            return fits.read_image(copy, plane, rules), digest
    digest = content_sha256(location, access) if checksum else ""
    with _named(location):
        if _is_table(location, access):
            source = casa.image_source(Path(location), plane)
        else:
            source = _local(location, access)
        return fits.read_image(source, plane, rules), digest


def read_registered(row: ImageRow, rules: ImagesConfig, access: Access = LOCAL_ONLY) -> OpenImage:
    """Read an image of a dataset, if its file is still the one that was registered.

    A remote file is always compared by content, as all of it comes over in any case.

    Raises
    ------
    ImageError
        If the file has gone, has changed, or cannot be used.
    """
    if not is_address(row.path):
        check_unchanged(row.path, row.file_size, row.file_mtime_ns, row.content_sha256, access)
        return read_image(row.path, row.plane, rules, access)
    with remote.copied_file(row.path, access) as (copy, digest):
        if copy.size != row.file_size or row.content_sha256 not in {None, "", digest}:
            raise _changed(row.path, row.file_size, copy.size)
        return fits.read_image(copy, row.plane, rules)


def content_sha256(location: str, access: Access = LOCAL_ONLY) -> str:
    """SHA-256 of a file's bytes; of a CASA table, of the names and bytes of its files.

    Raises
    ------
    ImageError
        If the file has gone or cannot be read.
    """
    if is_address(location):
        with remote.copied_file(location, access) as (_, digest):
            return digest
    with _named(location):
        if _is_table(location, access):
            return casa.content_sha256(Path(location))
        return fits.content_sha256(_local(location, access))


def check_unchanged(
    location: str, size: int, mtime_ns: int, sha256: str | None, access: Access = LOCAL_ONLY
) -> None:
    """Check that a file is still what was registered: by size and time, else by content.

    Raises
    ------
    ImageError
        If its content differs, or it has gone.
    """
    now_size, now_mtime_ns = _status(location, access)
    if (now_size, now_mtime_ns) == (size, mtime_ns) and mtime_ns:
        return
    if now_size != size or (sha256 and content_sha256(location, access) != sha256):
        raise _changed(location, size, now_size)


def _status(location: str, access: Access) -> tuple[int, int]:
    if is_address(location):
        with remote.partial_file(location, access) as source:
            return source.size, source.mtime_ns
    with _named(location):
        if _is_table(location, access):
            return casa.directory_status(Path(location))
        source = _local(location, access)
        return source.size, source.mtime_ns


def _is_table(location: str, access: Access) -> bool:
    if not casa.is_table(Path(location)):
        return False
    confine(Path(location), access.data_roots)
    return True


def _local(location: str, access: Access) -> SourceFile:
    return local_file(Path(location), access.data_roots)


def _changed(location: str, before: int, now: int) -> ImageError:
    msg = (
        f"{one_line(location.rpartition('/')[2])}: the file has changed since it was registered "
        f"(it had {before} bytes, it has {now}); put the old file back, or use another dataset "
        "for the new one"
    )
    return ImageError(msg, reason="file changed", passing=True)


@contextmanager
def _named(location: str) -> Iterator[None]:
    """Put the name of the file before the message of what is wrong with it, all in one line."""
    name = location.rpartition("/")[2]
    try:
        yield
    except ImageError as error:
        if error.message.startswith((one_line(name), one_line(location))):
            raise
        msg = one_line(f"{name}: {error.message}")
        raise ImageError(
            msg, reason=error.reason, passing=error.passing, **error.details
        ) from error


__all__ = [
    "OpenImage",
    "RulesOf",
    "check_unchanged",
    "content_sha256",
    "read_headers",
    "read_image",
    "read_image_and_checksum",
    "read_registered",
]

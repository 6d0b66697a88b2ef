"""The door: image files of every format, here or elsewhere, to metadata and pixels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from trap_ops.config.model import ImagesConfig
from trap_ops.images import casa, fits, remote, structure
from trap_ops.images.access import LOCAL_ONLY, Access
from trap_ops.images.addresses import is_address
from trap_ops.images.files import SourceFile, confine, local_file
from trap_ops.images.fits import OpenImage
from trap_ops.images.frames import read_place
from trap_ops.records.images import ImageFile, ImageRow, Plane

RulesOf = fits.RulesOf


def read_headers(
    location: str,
    rules_of: RulesOf,
    access: Access = LOCAL_ONLY,
    place_of: fits.PlaceOf = read_place,
) -> list[ImageFile]:
    """Read what a file says of its images; no pixel is read.

    Parameters
    ----------
    location : str
        Absolute path of a FITS file or a CASA table, or address of a remote FITS file.
    rules_of : callable
        Gives the settings for images of a telescope.
    access : Access
    place_of : callable
        Places an image on the sky; another one may go on where that cannot be done.

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
            return fits.read_headers(source, rules_of, place_of)
    if not _is_table(location, access):
        return fits.read_headers(_local(location, access), rules_of, place_of)
    now = _table_status(location)
    with structure.named(now.name):
        source = casa.header_source(Path(location))
    found = fits.read_headers(source, rules_of, place_of)
    return [replace(image, file_size=now.size, file_mtime_ns=now.mtime_ns) for image in found]


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
    if not _is_table(location, access):
        return fits.read_image(_local(location, access), plane, rules), digest
    with structure.named(Path(location).name):
        source = casa.image_source(Path(location), plane)
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
            raise structure.changed(copy, row.file_size)
        return fits.read_image(copy, row.plane, rules)


def check_header(row: ImageRow, image: OpenImage, access: Access = LOCAL_ONLY) -> None:
    """Check that the header that was read is the one that was registered.

    Raises
    ------
    ImageError
        If it is not: beam, time and place of the image are those of another file.
    """
    if image.header_sha256 != row.header_sha256:
        raise structure.changed(_status(row.path, access), row.file_size)


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
    if not _is_table(location, access):
        return structure.content_sha256(_local(location, access))
    with structure.named(Path(location).name):
        return casa.content_sha256(Path(location))


def check_unchanged(
    location: str, size: int, mtime_ns: int, sha256: str | None, access: Access = LOCAL_ONLY
) -> None:
    """Check that a file is still what was registered: by size and time, else by content.

    Raises
    ------
    ImageError
        If its content differs, or it has gone.
    """
    now = _status(location, access)
    if (now.size, now.mtime_ns) == (size, mtime_ns) and mtime_ns:
        return
    if now.size != size or (sha256 and content_sha256(location, access) != sha256):
        raise structure.changed(now, size)


def _status(location: str, access: Access) -> SourceFile:
    """Size and time of a file as it is now."""
    if is_address(location):
        with remote.partial_file(location, access) as source:
            return source
    if _is_table(location, access):
        return _table_status(location)
    return _local(location, access)


def _table_status(location: str) -> SourceFile:
    path = Path(location)
    with structure.named(path.name):
        size, mtime_ns = casa.directory_status(path)
    return SourceFile(location, path.name, size, mtime_ns, lambda: casa.header_source(path).open())


def _is_table(location: str, access: Access) -> bool:
    if not casa.is_table(Path(location)):
        return False
    confine(Path(location), access.data_roots)
    return True


def _local(location: str, access: Access) -> SourceFile:
    path = Path(location)
    with structure.named(path.name):
        return local_file(path, access.data_roots)

"""A back-up of the results database: one file with the data and a manifest that says what is in it.

The file is a ZIP archive. It is written under another name and gets its own when it is complete.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO

from pydantic import BaseModel, ConfigDict, ValidationError

from trap_ops.errors import StoreError
from trap_ops.records.names import one_line

_MANIFEST = "manifest.json"
_FORMAT = "trap-results-1"
_CHUNK = 1 << 20


class Manifest(BaseModel):
    """What a back-up holds.

    Attributes
    ----------
    format : str
    database : str
        ``sqlite`` or ``postgresql``.
    schema_name : str
        The schema of PostgreSQL that the tables are in.
    revision : str
        Of the tables.
    version : str
        Of the code that made it.
    made : str
        When, UTC.
    rows : dict
        Number of rows of each table.
    checksums : dict
        SHA-256 of each dataset by name; None if the tables are of another version than the code.
    checksum_kind : str
        By which rules these were made.
    data_sha256 : str
        Of the data in the archive.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: str = _FORMAT
    database: str
    schema_name: str = ""
    revision: str
    version: str
    made: str
    rows: dict[str, int]
    checksums: dict[str, str | None]
    checksum_kind: str
    data_sha256: str = ""

    @property
    def data_name(self) -> str:
        """Name of the data in the archive."""
        return "results.db" if self.database == "sqlite" else "results.pgdump"


@contextmanager
def partial_file(path: Path) -> Iterator[Path]:
    """A name beside a file, for what is not complete; gone afterwards."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)


def write_backup(path: Path, manifest: Manifest, data: Path) -> None:
    """Write the archive, all of it or nothing.

    Raises
    ------
    StoreError
        If there is a file of this name, or it cannot be written.
    """
    refuse_existing(path)
    try:
        with partial_file(path) as part:
            _write(part, manifest, data)
            part.rename(path)
    except OSError as error:
        msg = f"the back-up {one_line(str(path))} cannot be written: {error.strerror or error}"
        raise StoreError(msg) from error


def refuse_existing(path: Path) -> None:
    """Refuse to write a back-up over another one.

    Raises
    ------
    StoreError
        If there is a file of this name.
    """
    if path.exists():
        msg = f"{one_line(str(path))} is there already; a back-up is never replaced: choose a name"
        raise StoreError(msg)


def read_manifest(path: Path) -> Manifest:
    """What a back-up holds.

    Raises
    ------
    StoreError
        If it is no back-up, or damaged.
    """
    with _opened(path) as archive:
        try:
            manifest = Manifest.model_validate_json(archive.read(_MANIFEST))
        except (KeyError, ValidationError, zipfile.BadZipFile, zlib.error) as error:
            raise _damaged(path, "it has no manifest that this version can read") from error
    if manifest.format != _FORMAT:
        raise _damaged(path, f"its form is {manifest.format!r}, this code reads {_FORMAT!r}")
    return manifest


def extract_data(path: Path, manifest: Manifest, target: Path) -> None:
    """Write the data of a back-up into a file of its own.

    Raises
    ------
    StoreError
        If they are not what was backed up, or there is no room.
    """
    try:
        with (
            _opened(path) as archive,
            archive.open(manifest.data_name) as source,
            target.open("xb") as file,
        ):
            found = _copy(source, file)
    except KeyError as error:
        raise _damaged(path, f"it lacks {manifest.data_name}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise _damaged(path, str(error)) from error
    except OSError as error:
        msg = f"{one_line(str(path))} cannot be unpacked into {target.parent}: {error.strerror}"
        raise StoreError(msg) from error
    if found != manifest.data_sha256:
        raise _damaged(path, "its data are not those that its manifest names")


def _write(part: Path, manifest: Manifest, data: Path) -> None:
    # pg_dump compresses by itself.
    method = zipfile.ZIP_DEFLATED if manifest.database == "sqlite" else zipfile.ZIP_STORED
    with part.open("xb") as file:
        with zipfile.ZipFile(file, "w", method, compresslevel=1) as archive:
            with (
                data.open("rb") as source,
                archive.open(manifest.data_name, "w", force_zip64=True) as target,
            ):
                digest = _copy(source, target)
            text = manifest.model_copy(update={"data_sha256": digest}).model_dump_json(indent=1)
            archive.writestr(_MANIFEST, text)
        file.flush()
        os.fsync(file.fileno())


def _copy(source: IO[bytes], target: IO[bytes] | BinaryIO) -> str:
    """Copy, and return the SHA-256 of what was copied."""
    digest = hashlib.sha256()
    while block := source.read(_CHUNK):
        digest.update(block)
        target.write(block)
    return digest.hexdigest()


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        archive = zipfile.ZipFile(path)
    except OSError as error:
        msg = f"the back-up {one_line(str(path))} cannot be read: {error.strerror or error}"
        raise StoreError(msg) from error
    except zipfile.BadZipFile as error:
        raise _damaged(path, "it is cut off, or no back-up of this pipeline") from error
    with archive:
        yield archive


def _damaged(path: Path, why: str) -> StoreError:
    msg = f"{one_line(str(path))} cannot be restored: {why}; nothing was changed, use another one"
    return StoreError(msg)

"""A file is replaced whole or not at all: the new one is written beside it, then renamed."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from trap_ops.errors import ImageError

_ENDING = ".trap-inject"
# Bytes that a name may have; that of the new file is longer than the old one.
_NAME_MAX = 200


def replace_file(path: Path, write: Callable[[BinaryIO, BinaryIO], None]) -> None:
    """Replace a file; whatever happens, its old or its new content is there, and whole.

    Permissions are kept, and the owner and extended attributes as far as the system allows. Other
    hard links to the file keep the old content.

    Parameters
    ----------
    path : Path
        A file, without links in its path.
    write : callable
        Gets the old file open for reading and the new one open for writing.

    Raises
    ------
    ImageError
        If it cannot be replaced: the old file is as it was.
    """
    try:
        _check_writable(path)
        with path.open("rb") as old, _alone(old, path):
            before = os.fstat(old.fileno())
            with _beside(path) as (new, scratch):
                write(old, new)
                new.flush()
                _keep_status(old.fileno(), new.fileno())
                os.fsync(new.fileno())
                _check_same(path, before)
                scratch.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        msg = f"{path.name}: it cannot be changed: {error.strerror or error}; the file is as it was"
        raise ImageError(msg, reason="cannot be written", passing=True) from error


def scratch_name(path: Path) -> Path:
    """Where the new file of a path is written: hidden beside it, always the same."""
    name = os.fsencode(path.name)
    if len(name) > _NAME_MAX:
        name = name[:100] + hashlib.sha256(name).hexdigest()[:16].encode()
    return path.with_name(f".{os.fsdecode(name)}{_ENDING}")


def _check_writable(path: Path) -> None:
    if not os.access(path, os.W_OK):
        msg = f"{path.name}: it is read-only for you, and left as it is; chmod u+w allows changes"
        raise ImageError(msg, reason="read-only")


@contextmanager
def _alone(old: BinaryIO, path: Path) -> Iterator[None]:
    """Hold a lock on a file: two that replace it at once would take each other's new file."""
    try:
        fcntl.flock(old, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        msg = f"{path.name}: another process is changing it; try again when that has ended"
        raise ImageError(msg, reason="locked", passing=True) from error
    except OSError:
        pass  # Some file systems have no locks.
    yield


@contextmanager
def _beside(path: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """Open a new file beside a path, instead of what a killed process left; gone at the end."""
    scratch = scratch_name(path)
    scratch.unlink(missing_ok=True)
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as new:
            yield new, scratch
    finally:
        scratch.unlink(missing_ok=True)


def _keep_status(old: int, new: int) -> None:
    """Give the new file owner, attributes and permissions of the old one."""
    status = os.fstat(old)
    with suppress(PermissionError):
        os.fchown(new, status.st_uid, status.st_gid)
    for name in os.listxattr(old):
        with suppress(OSError):
            os.setxattr(new, name, os.getxattr(old, name))
    os.fchmod(new, status.st_mode & 0o7777)


def _check_same(path: Path, before: os.stat_result) -> None:
    now = path.stat()
    if (now.st_ino, now.st_size, now.st_mtime_ns) != (
        before.st_ino,
        before.st_size,
        before.st_mtime_ns,
    ):
        msg = f"{path.name}: it changed while it was read, and is left as it is; try again"
        raise ImageError(msg, reason="file changed", passing=True)


def sync_directory(directory: Path) -> None:
    """Have the names in a directory on the disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

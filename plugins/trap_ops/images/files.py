"""A file that an image is read from, wherever it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from trap_ops.errors import ImageError


@dataclass(frozen=True)
class SourceFile:
    """A file of bytes that can be opened, again and again.

    Attributes
    ----------
    location : str
        Absolute path, or address.
    name : str
        Base name, for messages.
    size : int
        Bytes.
    mtime_ns : int
        Nanoseconds since 1970; 0 where it has no time.
    open : callable
        Opens it for reading, at its beginning; seekable. A real file (with ``fileno``) where pixels
        are to be mapped into memory.
    """

    location: str
    name: str
    size: int
    mtime_ns: int
    open: Callable[[], BinaryIO]


def local_file(path: Path) -> SourceFile:
    """Return a file of this machine.

    Raises
    ------
    ImageError
        If there is none.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise unreadable(error) from error
    return SourceFile(
        str(path), path.name, status.st_size, status.st_mtime_ns, lambda: path.open("rb")
    )


def unreadable(error: OSError) -> ImageError:
    """Say that a file cannot be read, which may pass."""
    msg = f"the file cannot be read: {error.strerror or error}"
    gone = isinstance(error, FileNotFoundError)
    return ImageError(msg, reason="no such file" if gone else "unreadable file", passing=True)

"""A file that an image is read from, wherever it is."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from trap_ops.errors import DiskUnavailable, ImageError, can_pass
from trap_ops.images.addresses import parse_root
from trap_ops.records.names import shown_path

_KINDS = {
    stat.S_IFSOCK: "a socket",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a directory without a CASA table",
}


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
        Opens it for reading, at its beginning; seekable.
    """

    location: str
    name: str
    size: int
    mtime_ns: int
    open: Callable[[], BinaryIO]


def local_file(path: Path, data_roots: Sequence[str] = ()) -> SourceFile:
    """Return a file of this machine.

    Parameters
    ----------
    path : Path
    data_roots : sequence of str
        If not empty: the file must be below one of these, and still so whenever it is opened.

    Raises
    ------
    ImageError
        If there is none, if it is no file of bytes, or if it leads out of the data roots.
    """
    confine(path, data_roots)
    try:
        status = path.stat()
    except OSError as error:
        raise unreadable(error) from error
    check_regular(status.st_mode)
    return SourceFile(
        str(path),
        path.name,
        status.st_size,
        status.st_mtime_ns,
        lambda: _opened(path, data_roots),
    )


def check_regular(mode: int) -> None:
    """Check that a file is one of bytes; others are not even opened, which might never end.

    Raises
    ------
    ImageError
        If it is a socket, a pipe, a device or a directory.
    """
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "no file")
        msg = f"the file cannot be read: it is {kind}, and no image can be in it"
        raise ImageError(msg, reason="unreadable file", passing=True)


def confine(path: Path, data_roots: Sequence[str]) -> Path:
    """Follow the links of a path; check that it ends below a data root, if there are any.

    Raises
    ------
    ImageError
        If it does not, or if its links lead in circles.
    """
    try:
        resolved = path.resolve()
    except (RuntimeError, OSError) as error:
        msg = f"{shown_path(path)}: is a link that leads back to itself; remove it"
        raise ImageError(msg, reason="unreadable file") from error
    if data_roots and not _is_below(resolved, data_roots):
        msg = (
            f"{shown_path(path)}: leads outside the data roots of this site ({_named(data_roots)})"
        )
        raise ImageError(msg, reason="outside the data roots")
    return resolved


def unreadable(error: OSError) -> ImageError | DiskUnavailable:
    """Say that a file cannot be read, which may pass.

    Where all files of a network file system are away the image is not to blame.
    """
    msg = f"the file cannot be read: {error.strerror or error}"
    if can_pass(error):
        return DiskUnavailable(msg)
    gone = isinstance(error, FileNotFoundError)
    return ImageError(msg, reason="no such file" if gone else "unreadable file", passing=True)


def _opened(path: Path, data_roots: Sequence[str]) -> BinaryIO:
    """Open a file that was confined before, and look again at what it is now.

    What is opened is asked, not the path: no link can be put in its place in between.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        check_regular(os.fstat(descriptor).st_mode)
        if data_roots:
            confine(Path(f"/proc/self/fd/{descriptor}").readlink(), data_roots)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _is_below(resolved: Path, data_roots: Sequence[str]) -> bool:
    roots = [root.resolve() for root in map(parse_root, data_roots) if isinstance(root, Path)]
    return any(resolved.is_relative_to(root) for root in roots)


def _named(data_roots: Sequence[str]) -> str:
    """Return the roots for messages, those that are not there marked: that explains much."""
    named = []
    for text in data_roots:
        root = parse_root(text)
        away = isinstance(root, Path) and not root.exists()
        named.append(f"{text}, which does not exist" if away else text)
    return "; ".join(named)

"""Which image files lie in a folder and below it, and which of them are complete."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from trap_ops.errors import ConfigError, ImageError
from trap_ops.images import casa
from trap_ops.images.files import confine
from trap_ops.records.arrivals import ArrivedFile
from trap_ops.records.names import MAX_PATH_BYTES, shown_path

_NS = 1_000_000_000


def arrived_files(
    folder: str, suffixes: Sequence[str], data_roots: Sequence[str], now_s: float, settle_s: float
) -> tuple[list[ArrivedFile], int]:
    """Complete image files in a folder and all folders below it, the one changed first in front.

    Hidden files and folders are left out, and links to folders are not followed: a file that is
    being written has such a name where its writer takes care, and gets its own at the end.

    Parameters
    ----------
    folder : str
        Absolute path.
    suffixes : sequence of str
        Of files; CASA tables are taken whatever their names.
    data_roots : sequence of str
        If not empty: the folder must lie below one of these.
    now_s : float
        Seconds since 1970.
    settle_s : float
        Files that have changed within so many seconds are not complete yet. A file also counts as
        changed when it is renamed or moved.

    Returns
    -------
    files : list of ArrivedFile
    unsettled : int
        Number of image files that are not complete yet.

    Raises
    ------
    ConfigError
        If the folder cannot be read, or is not below the data roots.
    """
    wanted = tuple(suffix.lower() for suffix in suffixes)
    found, unsettled = [], 0
    latest_ns = int((now_s - settle_s) * _NS)
    try:
        root = confine(Path(folder), data_roots)
        for path, size, modified_ns, changed_ns in _image_files(root, wanted):
            if max(modified_ns, changed_ns) > latest_ns:
                unsettled += 1
            else:
                parts = Path(path).relative_to(root).parts
                below = parts[0] if len(parts) > 1 else ""
                found.append(ArrivedFile(path, size, modified_ns, below))
    except ImageError as error:
        raise ConfigError(error.message) from error
    except OSError as error:
        msg = f"folder {shown_path(folder)} cannot be read: {error.strerror}"
        raise ConfigError(msg) from error
    found.sort(key=lambda file: (file.modified_ns, file.path))
    return found, unsettled


def _image_files(folder: Path, wanted: tuple[str, ...]) -> Iterator[tuple[str, int, int, int]]:
    """Path, bytes, and times of modification and of change in nanoseconds since 1970."""
    waiting = [str(folder)]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.name.startswith(".") or not _storable(entry.path):
                    continue
                try:
                    if entry.is_dir(follow_symlinks=False):
                        if casa.is_table(Path(entry.path)):
                            size, modified_ns = casa.directory_status(Path(entry.path))
                            yield entry.path, size, modified_ns, entry.stat().st_ctime_ns
                        else:
                            waiting.append(entry.path)
                    elif entry.name.lower().endswith(wanted) and entry.is_file():
                        # Of a link: those of the file that it leads to.
                        status = entry.stat()
                        yield entry.path, status.st_size, status.st_mtime_ns, status.st_ctime_ns
                except (FileNotFoundError, ImageError):
                    continue  # It has gone meanwhile, or is a table that cannot be read now.


def _storable(path: str) -> bool:
    """Whether the path of a file fits the results database; others are no images of a series."""
    try:
        return len(path.encode()) <= MAX_PATH_BYTES
    except UnicodeEncodeError:
        return False

"""From paths, directories and globs to image files, inside the allowed directories."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from trap_ops.errors import ConfigError, ImageError
from trap_ops.records.names import MAX_PATH_BYTES, shown_path


@dataclass(frozen=True)
class FoundFiles:
    """Files to read, and inputs that cannot be, each with its reason."""

    paths: tuple[Path, ...]
    refused: tuple[tuple[str, ImageError], ...]


def find_files(
    inputs: Iterable[str], suffixes: Sequence[str], data_roots: Sequence[str]
) -> FoundFiles:
    """Expand inputs to existing files, each once, sorted by path.

    Parameters
    ----------
    inputs : iterable of str
        A file is taken whatever its name; of a directory the files with one of the suffixes; of a
        glob (``*``, ``?``, ``[...]``, ``**``) whatever it matches, by the same two rules.
    suffixes : sequence of str
    data_roots : sequence of str
        If not empty, files that are not below one of these, after following links, are refused.

    Raises
    ------
    ConfigError
        If the inputs lead to no file that may be read.
    """
    paths: set[Path] = set()
    refused: dict[str, ImageError] = {}
    inputs = [item.strip() for item in inputs if item.strip()]
    for item in inputs:
        try:
            matches = _expand(item)
        except ImageError as error:
            refused[shown_path(item)] = error
            continue
        for match in matches:
            try:
                found = _files_of(match, suffixes)
            except ImageError as error:
                refused[shown_path(match)] = error
                continue
            for path in found:
                try:
                    paths.add(_storable(_confined(path, data_roots)))
                except ImageError as error:
                    refused[shown_path(path)] = error
    if not paths:
        asked = "; ".join(map(str, refused.values()))
        asked = asked or ", ".join(map(shown_path, inputs)) or "(nothing)"
        msg = (
            f"no image files: {asked}; give files, directories with {'/'.join(suffixes)} files, "
            "or globs, as absolute paths"
        )
        raise ConfigError(msg, inputs=inputs)
    return FoundFiles(tuple(sorted(paths)), tuple(refused.items()))


def _expand(item: str) -> list[Path]:
    path = Path(item).expanduser()
    name = shown_path(item)
    if not path.is_absolute():
        msg = f"{name}: not an absolute path; tasks run in directories of their own"
        raise ImageError(msg, reason="relative path")
    if os.path.exists(path):  # noqa: PTH110 - the method raises for a name that is too long
        return [path]
    matches = [Path(match) for match in glob.glob(str(path), recursive=True)]  # noqa: PTH207
    if not matches:
        msg = f"{name}: no such file or directory, and no file matches it as a pattern"
        raise ImageError(msg, reason="no such file")
    return matches


def _files_of(match: Path, suffixes: Sequence[str]) -> list[Path]:
    wanted = tuple(suffix.lower() for suffix in suffixes)
    try:
        if not match.is_dir():
            return [match]
        return [
            path
            for path in match.iterdir()
            if path.name.lower().endswith(wanted) and path.is_file()
        ]
    except OSError as error:
        msg = f"{shown_path(match)}: cannot be read: {error.strerror}"
        raise ImageError(msg, reason="unreadable file", passing=True) from error


def _storable(path: Path) -> Path:
    """Return a path that fits a text column of the results database."""
    try:
        size = len(str(path).encode())
    except UnicodeEncodeError as error:
        msg = f"{shown_path(path)}: the name is not in UTF-8; rename the file"
        raise ImageError(msg, reason="file name") from error
    if size > MAX_PATH_BYTES:
        msg = (
            f"{shown_path(path)}: the path has {size} bytes, and {MAX_PATH_BYTES} can be kept; "
            "move the file to a shorter one"
        )
        raise ImageError(msg, reason="file name")
    return path


def _confined(path: Path, data_roots: Sequence[str]) -> Path:
    try:
        resolved = path.resolve()
    except RuntimeError as error:
        msg = f"{shown_path(path)}: is a link that leads back to itself; remove it"
        raise ImageError(msg, reason="unreadable file") from error
    roots = [Path(root).expanduser().resolve() for root in data_roots]
    if roots and not any(resolved.is_relative_to(root) for root in roots):
        msg = (
            f"{shown_path(path)}: leads outside the data roots of this site "
            f"({', '.join(data_roots)})"
        )
        raise ImageError(msg, reason="outside the data roots")
    return resolved

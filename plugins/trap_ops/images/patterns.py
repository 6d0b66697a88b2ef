"""Patterns of paths (``*``, ``?``, ``[...]``, ``**``), followed inside the data roots only."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trap_ops.errors import ImageError
from trap_ops.images import casa
from trap_ops.images.addresses import parse_root
from trap_ops.images.files import confine
from trap_ops.records.names import shown_path

_MAGIC = re.compile(r"[*?\[]")


def expand_pattern(
    pattern: Path, data_roots: Sequence[str]
) -> tuple[list[Path], dict[str, ImageError]]:
    """Return the paths that fit a pattern.

    As shells do it: names that begin with a dot are matched by patterns that begin with one.
    ``**`` is any number of directories; it goes through no link, which might lead in circles, and
    into no CASA table. The standard library's patterns list what is behind links, wherever that is.

    Parameters
    ----------
    pattern : Path
        Absolute.
    data_roots : sequence of str
        If not empty, no directory outside is listed, and none above them shows more than the way
        to them.

    Returns
    -------
    found : list of Path
    refused : dict of str to ImageError
        Directories that would have to be listed, and are not.
    """
    search = _Search(data_roots)
    found = [Path(pattern.anchor)]
    parts = pattern.parts[1:]
    for place, part in enumerate(parts):
        if part == "**":
            found = [path for directory in found for path in search.below(directory)]
        elif _MAGIC.search(part):
            found = [path for directory in found for path in search.matching(directory, part)]
        else:
            found = [path / part for path in found]
        if place + 1 < len(parts):
            found = [path for path in found if _is_dir(path)]
    unique = dict.fromkeys(path for path in found if os.path.lexists(path))
    return [path for path in unique if not search.is_outside(path)], search.refused


@dataclass
class _Search:
    data_roots: Sequence[str]
    refused: dict[str, ImageError] = field(default_factory=dict)

    def __post_init__(self) -> None:
        roots = map(parse_root, self.data_roots)
        self._roots = [root.resolve() for root in roots if isinstance(root, Path)]

    def matching(self, directory: Path, pattern: str) -> Iterator[Path]:
        """Paths in a directory that fit a pattern without slashes, sorted."""
        hidden = pattern.startswith(".")
        for name in self._names(directory):
            if fnmatch.fnmatchcase(name, pattern) and (hidden or not name.startswith(".")):
                yield directory / name

    def below(self, directory: Path) -> Iterator[Path]:
        """Yield a directory and all below it, but none in tables and behind links."""
        waiting = [directory]
        while waiting:
            path = waiting.pop()
            yield path
            if casa.is_table(path):
                continue
            waiting += [
                path / name
                for name in self._names(path)
                if not (name.startswith(".") or (path / name).is_symlink()) and _is_dir(path / name)
            ]

    def is_outside(self, path: Path) -> bool:
        """Whether a path that was not listed is outside; then it is refused."""
        if not self.data_roots or self._leads_to_root(path):
            return False
        # What is in a listed directory may be named: the reader of the file refuses it.
        return not self._is_inside(path.parent)

    def _names(self, directory: Path) -> list[str]:
        """Names in a directory that may be known; none of one that is outside."""
        try:
            if not self._leads_to_root(directory):
                confine(directory, self.data_roots)
            names = sorted(os.listdir(directory))  # noqa: PTH208 - names are what is wanted
        except ImageError as error:
            self.refused[shown_path(directory)] = error
            return []
        except OSError as error:
            msg = f"{shown_path(directory)}: cannot be listed: {error.strerror}"
            self.refused[shown_path(directory)] = ImageError(
                msg, reason="unreadable file", passing=True
            )
            return []
        if not self.data_roots or self._is_inside(directory):
            return names
        return [name for name in names if self._leads_to_root(directory / name)]

    def _is_inside(self, path: Path) -> bool:
        resolved = _resolved(path)
        return any(resolved.is_relative_to(root) for root in self._roots)

    def _leads_to_root(self, path: Path) -> bool:
        """Whether a path is a data root, or above one."""
        if not self.data_roots:
            return True
        resolved = _resolved(path)
        return any(root.is_relative_to(resolved) for root in self._roots)


def _is_dir(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112 - the method raises for names that are too long


def _resolved(path: Path) -> Path:
    return Path(os.path.realpath(path))  # The method raises for links in circles.

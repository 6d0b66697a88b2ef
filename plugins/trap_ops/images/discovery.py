"""From paths, directories, globs and addresses to image files, inside the allowed places."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from trap_ops.errors import ConfigError, ImageError
from trap_ops.images import casa, remote
from trap_ops.images.access import LOCAL_ONLY, Access
from trap_ops.images.addresses import is_address, local_path_of, parse_root, shown_address
from trap_ops.images.files import check_regular, confine
from trap_ops.images.patterns import expand_pattern
from trap_ops.records.names import MAX_PATH_BYTES, shown_path


@dataclass(frozen=True)
class FoundFiles:
    """Files to read, and inputs that cannot be, each with its reason.

    Attributes
    ----------
    paths : tuple of str
        Absolute paths without links in them, and addresses.
    refused : tuple of (str, ImageError)
    """

    paths: tuple[str, ...]
    refused: tuple[tuple[str, ImageError], ...]


def find_files(
    inputs: Iterable[str],
    suffixes: Sequence[str],
    data_roots: Sequence[str],
    access: Access = LOCAL_ONLY,
) -> FoundFiles:
    """Expand inputs to existing files, each once, sorted by path.

    Parameters
    ----------
    inputs : iterable of str
        A file is taken whatever its name; of a directory the files with one of the suffixes, and
        the CASA tables; of a glob (``*``, ``?``, ``[...]``, ``**``) whatever it matches, by the
        same rules. Addresses (``s3://bucket/key``, ``s3://bucket/prefix/``, ``s3://bucket/*.fits``,
        ``https://host/path/file.fits``) likewise; a web server lists nothing.
    suffixes : sequence of str
    data_roots : sequence of str
        If not empty, files that are not below one of these, after following links, are refused.
        Addresses are refused unless they are below one.
    access : Access
        To remote images; its own data roots are not used.

    Raises
    ------
    ConfigError
        If the inputs lead to no file that may be read, or a data root is none.
    """
    for root in data_roots:
        parse_root(root)
    paths: set[str] = set()
    refused: dict[str, ImageError] = {}
    inputs = [item.strip() for item in inputs if item.strip()]
    for item in inputs:
        found, problems = _found(item, suffixes, access.below(data_roots))
        paths |= found
        refused |= problems
    if not paths:
        asked = "; ".join(map(str, refused.values()))
        asked = asked or ", ".join(map(shown_address, inputs)) or "(nothing)"
        msg = (
            f"no image files: {asked}; give files, directories with {'/'.join(suffixes)} files, "
            "or globs, as absolute paths, or addresses"
        )
        raise ConfigError(msg, inputs=[shown_address(item) for item in inputs])
    return FoundFiles(tuple(sorted(paths)), tuple(refused.items()))


def absolute_input(item: str) -> str:
    """Return an input as tasks need it, which run in directories of their own.

    Raises
    ------
    ConfigError
        If it is an address that is not read; so that what is secret in it goes no further.
    """
    try:
        plain = local_path_of(item)
        if is_address(plain):
            return remote.checked_address(plain)
        return str(Path(plain).expanduser().absolute())
    except ImageError as error:
        raise ConfigError(error.message) from error


def _found(
    item: str, suffixes: Sequence[str], access: Access
) -> tuple[set[str], dict[str, ImageError]]:
    """Files of one input, and what is refused of it."""
    paths: set[str] = set()
    refused: dict[str, ImageError] = {}
    try:
        item = local_path_of(item)
        if is_address(item):
            return _found_remote(item, suffixes, access)
        matches, problems = _expand(item, access.data_roots)
    except ImageError as error:
        return paths, {shown_address(item): error}
    refused |= problems
    for match in matches:
        try:
            found = _files_of(match, suffixes, access.data_roots)
        except ImageError as error:
            refused[shown_path(match)] = error
            continue
        for path in found:
            try:
                paths.add(_storable(str(_readable(path, access.data_roots))))
            except ImageError as error:
                refused[shown_path(path)] = error
    return paths, refused


def _found_remote(
    item: str, suffixes: Sequence[str], access: Access
) -> tuple[set[str], dict[str, ImageError]]:
    paths: set[str] = set()
    refused: dict[str, ImageError] = {}
    for address in remote.expand(item, suffixes, access):
        try:
            paths.add(_storable(remote.checked_address(address)))
        except ImageError as error:
            refused[shown_address(address)] = error
    return paths, refused


def _expand(item: str, data_roots: Sequence[str]) -> tuple[list[Path], dict[str, ImageError]]:
    """Paths that an input stands for, and what is refused on the way to them."""
    path = Path(item).expanduser()
    name = shown_path(item)
    if not path.is_absolute():
        msg = f"{name}: not an absolute path; tasks run in directories of their own"
        raise ImageError(msg, reason="relative path")
    if "\0" in item:
        msg = f"{name}: no such file or directory: no name has such a character"
        raise ImageError(msg, reason="no such file")
    if os.path.lexists(path):
        return [path], {}
    matches, problems = expand_pattern(path, data_roots)
    if not matches and not problems:
        confine(path, data_roots)  # Of what is elsewhere it is not said whether it exists.
        msg = f"{name}: no such file or directory, and no file matches it as a pattern"
        raise ImageError(msg, reason="no such file")
    return matches, problems


def _files_of(match: Path, suffixes: Sequence[str], data_roots: Sequence[str]) -> list[Path]:
    wanted = tuple(suffix.lower() for suffix in suffixes)
    confine(match, data_roots)  # Before it is listed: names of files elsewhere are not told.
    try:
        if not match.is_dir() or casa.is_table(match):
            return [match]
        return [
            path
            for path in match.iterdir()
            if casa.is_table(path) or (path.name.lower().endswith(wanted) and not path.is_dir())
        ]
    except OSError as error:
        msg = f"{shown_path(match)}: cannot be read: {error.strerror}"
        raise ImageError(msg, reason="unreadable file", passing=True) from error


def _storable(path: str) -> str:
    """Return a path that fits a text column of the results database."""
    try:
        size = len(path.encode())
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


def _readable(path: Path, data_roots: Sequence[str]) -> Path:
    """Return what a path leads to, if it is below the data roots and can hold an image."""
    resolved = confine(path, data_roots)
    try:
        mode = resolved.stat().st_mode
        if not casa.is_table(resolved):
            check_regular(mode)
    except ImageError as error:
        msg = f"{shown_path(path)}: {error.message}"
        raise ImageError(msg, reason=error.reason, passing=error.passing) from error
    except FileNotFoundError as error:
        msg = f"{shown_path(path)}: no such file, or a link that leads nowhere"
        raise ImageError(msg, reason="no such file", passing=True) from error
    except OSError as error:
        msg = f"{shown_path(path)}: cannot be read: {error.strerror}"
        raise ImageError(msg, reason="unreadable file", passing=True) from error
    return resolved

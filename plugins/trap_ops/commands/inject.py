"""``trap-manage inject``: metadata that headers lack is written into the files themselves."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from trap_ops.commands.environment import image_access
from trap_ops.commands.inspect_images import Configurations, add_configuration
from trap_ops.errors import ConfigError, ImageError
from trap_ops.images.addresses import is_address
from trap_ops.images.discovery import absolute_input, find_files
from trap_ops.images.injection import Change, inject
from trap_ops.images.parset import KEYS, read_parset
from trap_ops.records.names import one_line


def add_parser(verbs: Any) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "inject",
        help="write metadata that headers lack into image files",
        description="Write the values of a parset into the headers of image files, each file whole "
        "or not at all. A parset is an INI file with a section [inject] and the keys "
        f"{', '.join(KEYS)}. Cards that are there are kept. What is said in [[images.assume]] of "
        "the configuration needs no file to be changed. Exit status 1 if a file could not be "
        "changed.",
    )
    parser.add_argument("parset", type=Path, help="INI file with a section [inject]")
    parser.add_argument("targets", nargs="+", help="files, directories or globs (no addresses)")
    parser.add_argument("--over", action="store_true", help="replace cards that are there")
    parser.add_argument("--dry-run", action="store_true", help="say what would change, only")
    add_configuration(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Change the files and say what was changed."""
    values = read_parset(read_text(arguments.parset), one_line(arguments.parset.name))
    configurations = Configurations(arguments.config, arguments.set)
    settings = configurations.images
    inputs = [absolute_input(item) for item in arguments.targets]
    found = find_files(inputs, settings.suffixes, settings.data_roots, image_access())
    failed = [error for _, error in found.refused]
    for location in found.paths:
        try:
            changes = _inject(location, values, configurations, arguments)
        except ImageError as error:
            failed.append(error)
        else:
            _show(location, changes, dry_run=arguments.dry_run)
    for problem in failed:
        print(f"trap-manage: {one_line(problem.message)}", file=sys.stderr)
    return 1 if failed else 0


def _inject(
    location: str,
    values: dict[str, str | int | float],
    configurations: Configurations,
    arguments: argparse.Namespace,
) -> list[Change]:
    if is_address(location):
        msg = f"{location}: remote files cannot be changed; say the values in images.assume"
        raise ImageError(msg, reason="remote")
    return inject(
        Path(location),
        values,
        configurations.rules_of,
        over=arguments.over,
        dry_run=arguments.dry_run,
    )


def read_text(path: Path) -> str:
    """Text of a parset.

    Raises
    ------
    ConfigError
        If it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        detail = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        msg = f"the parset {one_line(str(path))} cannot be read: {detail}"
        raise ConfigError(msg, path=str(path)) from error


def _show(location: str, changes: list[Change], *, dry_run: bool) -> None:
    done = sum(not change.kept for change in changes)
    state = "would change" if dry_run else "changed"
    print(f"{one_line(location)}: {done} of {len(changes)} {state}")
    for change in changes:
        old = "absent" if change.old is None else repr(change.old)
        if change.kept:
            print(f"  {change.keyword}: {old} kept; --over replaces it by {change.new!r}")
        else:
            print(f"  {change.keyword}: {old} -> {change.new!r}")

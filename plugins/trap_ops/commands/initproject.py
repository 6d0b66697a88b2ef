"""``trap-manage initproject``: a folder for jobs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from trap_ops.commands.templates import check_folder_name, fill_folder
from trap_ops.errors import ConfigError
from trap_ops.records.names import one_line


def add_parser(verbs: Any) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "initproject",
        help="make a project: a folder for jobs",
        description="Make a folder for jobs, with a README and a file of the variables that say "
        "where results and workers are. Files that are there are never overwritten.",
    )
    parser.add_argument("name", help="letters, digits, '_' and '-'")
    parser.add_argument(
        "-t",
        "--target",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="directory, which must be there, that gets the folder; default: this one",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Make the folder, or the files that it lacks."""
    name, target = arguments.name, arguments.target
    check_folder_name(name, "project")
    if not target.is_dir():
        msg = f"there is no directory {one_line(str(target))} for project {name!r}: make it first"
        raise ConfigError(msg, target=str(target))
    folder = (target / name).absolute()
    # Of a database psql knows small letters without quotes.
    database = name.lower().replace("-", "_")
    fill_folder("project", folder, {"name": name, "folder": str(folder), "database": database})
    return 0

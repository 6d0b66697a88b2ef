"""``trap-manage initjob``: a folder with all that a job is."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from trap_ops.commands.templates import check_folder_name, fill_folder
from trap_ops.errors import ConfigError
from trap_ops.records.names import one_line

PROJECT_FILE = "project.env"


def add_parser(verbs: Any) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "initjob",
        help="make a job in a project",
        description="Make a folder with the files of a job: job.toml (dataset and settings), "
        "images.txt, monitor.txt, inject.cfg. Files that are there are never overwritten.",
    )
    parser.add_argument("name", help="letters, digits, '_' and '-'")
    parser.add_argument(
        "--project",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="folder of the project; default: this one",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Make the folder, or the files that it lacks."""
    name, project = arguments.name, arguments.project
    check_folder_name(name, "job")
    if not (project / PROJECT_FILE).is_file():
        msg = (
            f"{one_line(str(project.absolute()))} is no project, because it has no {PROJECT_FILE}: "
            "go to one, name one by --project, or make one by `trap-manage initproject NAME`"
        )
        raise ConfigError(msg, project=str(project))
    fill_folder("job", project / name, {"name": name})
    return 0

"""``trap-manage env``: variables for a shell in which plain ``airflow`` is the project's."""

from __future__ import annotations

import argparse
import shlex
from typing import Any

from trap_ops.commands.environment import full_environment, prepare_airflow, variables


def add_parser(verbs: Any) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "env",
        help="print variables for a shell",
        description='Print what makes plain `airflow` work here: eval "$(bin/trap-manage env)"',
    )
    parser.set_defaults(run=run)


def run(_arguments: argparse.Namespace) -> int:
    """Print ``export`` lines."""
    prepare_airflow(full_environment())
    for name, value in variables().items():
        print(f"export {name}={shlex.quote(value)}")
    return 0

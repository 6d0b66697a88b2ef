"""``trap-manage airflow ...``, which is ``bin/airflow``: Airflow with the right environment."""

from __future__ import annotations

import os
import sys
from typing import Any

from trap_ops.commands.environment import AIRFLOW_COMMAND, full_environment, prepare_airflow
from trap_ops.errors import TrapError


def add_parser(verbs: Any) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the verb to the command line (its words are taken before argparse sees them)."""
    verbs.add_parser("airflow", help="Airflow in the project's environment, as bin/airflow")


def run(words: list[str]) -> int:
    """Replace this process by Airflow."""
    environment = full_environment()
    try:
        prepare_airflow(environment)
    except TrapError as error:
        print(f"airflow: {error.message}", file=sys.stderr)
        return 1
    command = [*AIRFLOW_COMMAND, *words]
    return os.execve(command[0], command, environment)  # noqa: S606 - no shell wanted

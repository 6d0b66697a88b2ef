"""``trap-manage abandon``: give up a run, so that others can use its dataset."""

from __future__ import annotations

import argparse
from typing import Any

from trap_ops.commands.environment import store_url
from trap_ops.store import runs
from trap_ops.store.database import Store


def add_parser(verbs: Any) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "abandon",
        help="give up a run and release its dataset",
        description="Mark a run as abandoned and release its dataset. What it has stored stays and "
        "is used by the next run. Of a run that has finished only the dataset is released, where a "
        "task that was tried again has kept it. Make sure that none of its tasks is still running.",
    )
    parser.add_argument("run_id", help="Airflow's run id, as `trap-manage datasets` lists it")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Give the run up."""
    store = Store(store_url())
    store.check()
    with store.write() as connection:
        found = runs.find_run(connection, arguments.run_id)
        held = runs.give_up(connection, found, "given up by hand")
    free = f"dataset {found.dataset_name!r} is free"
    if found.state != runs.FINISHED:
        print(f"run {found.key} is given up; {free}")
    elif held:
        print(f"run {found.key} has finished, but a task tried again had kept its dataset; {free}")
    else:
        print(f"run {found.key} has finished and holds no dataset; there is nothing to give up")
    return 0

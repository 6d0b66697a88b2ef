"""``trap-manage debug``: one task of a run again, with a true exit status and a debugger."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from trap_ops.commands.airflow_process import run_airflow
from trap_ops.commands.environment import store_url
from trap_ops.commands.run import DAG
from trap_ops.errors import ConfigError
from trap_ops.export.wording import count
from trap_ops.stages.order import BATCHES_FROM, STAGES
from trap_ops.store import runs
from trap_ops.store.database import Store


def add_parser(verbs: Any) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "debug",
        help="run one task of a run again",
        description="As `airflow tasks test trap_batch TASK RUN_ID`, but with exit status 1 if the "
        "task fails (Airflow's own is 0), a clear message, and a debugger on demand.",
    )
    parser.add_argument("task", help="name of the task, e.g. extract_sources")
    parser.add_argument("run_id", help="Airflow's run id; `trap-manage datasets NAME` lists them")
    parser.add_argument("--map-index", type=int, help="which batch of a mapped task, from 0")
    parser.add_argument("--pdb", action="store_true", help="open the debugger at the error")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the task in this terminal."""
    _check(arguments.task, arguments.run_id, arguments.map_index)
    words = ["tasks", "test", DAG, arguments.task, arguments.run_id]
    if arguments.map_index is not None:
        words += ["--map-index", str(arguments.map_index)]
    finished = run_airflow(words, extra={"TRAP_PDB": "1"} if arguments.pdb else None)
    if finished.error:
        print(f"\ntrap-manage: {arguments.task} failed: {finished.error}", file=sys.stderr)
        return 1
    if finished.status != 0 or not finished.tasks:
        print(f"\ntrap-manage: {arguments.task} did not run; see above", file=sys.stderr)
        return 1
    print(f"\n{arguments.task} succeeded")
    return 0


def _check(task: str, run_id: str, map_index: int | None) -> None:
    """Refuse what Airflow would only refuse after seconds, and less clearly.

    Raises
    ------
    ConfigError
        If there is no such task, or no such batch of it.
    StoreError
        If there is no such run.
    """
    if task not in STAGES:
        msg = f"there is no task {task!r}; the tasks are {', '.join(STAGES)}"
        raise ConfigError(msg, task=task)
    store = Store(store_url())
    store.check()
    with store.read() as connection:
        found = runs.find_run(connection, run_id)
        batches = runs.planned_batches(connection, found.id, BATCHES_FROM.get(task, task))
    mapped = task in BATCHES_FROM
    if mapped != (map_index is not None):
        msg = (
            f"{task} works on batches of images: say which with --map-index 0 to {len(batches) - 1}"
            if mapped
            else f"{task} is one task: leave out --map-index"
        )
        raise ConfigError(msg, task=task)
    if map_index is not None and not 0 <= map_index < len(batches):
        msg = (
            f"{task} has {count(len(batches), 'batch', 'batches')} in this run, counted from 0; "
            f"there is no {map_index}"
        )
        raise ConfigError(msg, task=task, batches=len(batches))

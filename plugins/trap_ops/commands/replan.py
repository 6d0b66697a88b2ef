"""``trap-manage replan``: do a run again with the code that is here now."""

from __future__ import annotations

import argparse
import os
from typing import Any

from trap_ops.commands.environment import store_url
from trap_ops.commands.run import EAGER, run_dag
from trap_ops.commands.summary import make_console
from trap_ops.errors import ConfigError
from trap_ops.export.wording import count
from trap_ops.store import run_requests, runs, withdrawal
from trap_ops.store.database import Store
from trap_ops.store.outcomes import registered_images

# States in which nothing works on a run.
_AT_REST = (runs.FAILED, runs.ABANDONED)


def add_parser(verbs: Any) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "replan",
        help="do a run again with the code that is here now",
        description="Give a run up that has failed, e.g. because its workers have other code than "
        "it was planned with; take the images that it has added out of the dataset, with all that "
        "the old code has made of them; and start a run with the same parameters and the code that "
        "is here now. Images of earlier runs stay as they are.",
    )
    parser.add_argument("run_id", help="Airflow's run id, as `trap-manage datasets` lists it")
    parser.add_argument(
        "--cluster", action="store_true", help="let the workers of the cluster do it, and wait"
    )
    parser.add_argument("--verbose", action="store_true", help="show Airflow's own output")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Take back what the run has made, and start it anew."""
    store = Store(store_url())
    store.check()
    console = make_console()
    with store.write() as connection:
        found = runs.find_run(connection, arguments.run_id)
        if found.state not in _AT_REST:
            what = (
                "it is the dataset's by now; withdraw its images to do them again"
                if found.state == runs.FINISHED
                else "wait until it has ended, or give it up first: "
                f"`trap-manage abandon {found.key}`"
            )
            msg = f"run {found.key} is {found.state}, so it is not planned anew: {what}"
            raise ConfigError(msg)
        holder = runs.lock_holder(connection, found.dataset_name)
        if holder is not None and holder.id != found.id:
            raise runs.in_use(holder)
        conf = run_requests.parameters(connection, found.id)
        added = registered_images(connection, found.dataset, found.id)
        withdrawal.delete_images(connection, found.dataset, added)
        runs.give_up(connection, found, "planned anew with other code")
    console.print(
        f"Run {found.key} is given up; {count(len(added), 'image')} that it had added are begun "
        "again",
        highlight=False,
    )
    if arguments.cluster and os.environ.get(EAGER, "0") == "0":
        from trap_ops.commands.cluster_run import run_on_cluster

        return run_on_cluster(console, store, conf, None)
    return run_dag(console, store, conf, verbose=arguments.verbose)

"""``trap-manage report``: what a dataset holds, and its report as HTML."""

from __future__ import annotations

import argparse
from typing import Any

from trap_ops.commands.environment import image_access, store_url, var_dir
from trap_ops.commands.summary import make_console, print_summary
from trap_ops.export.report import write_report
from trap_ops.store import datasets, runs
from trap_ops.store.database import Store


def add_parser(verbs: Any) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "report",
        help="write the report of a dataset again and summarise it",
        description="Write the HTML report of a dataset's latest run, or of another run, from what "
        "is in the database, and print the summary.",
    )
    parser.add_argument("dataset", help="name of the dataset")
    parser.add_argument("--run", dest="run_id", help="another run than the latest")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write and print."""
    store = Store(store_url())
    store.check()
    with store.read() as connection:
        found = datasets.dataset_id(connection, arguments.dataset)
        key = arguments.run_id or runs.latest_run(connection, found)
        record = runs.load_run(connection, key)
    path = write_report(store, record, var_dir(), image_access())
    with store.write() as connection:
        runs.set_report(connection, record.id, str(path))
    print_summary(make_console(), store, key)
    return 0

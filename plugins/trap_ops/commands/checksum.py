"""``trap-manage checksum``: one number for the whole content of a dataset."""

from __future__ import annotations

import argparse
from typing import Any

from trap_ops.commands.environment import store_url
from trap_ops.store.checksum import dataset_checksum
from trap_ops.store.database import Store
from trap_ops.store.datasets import dataset_id


def add_parser(verbs: Any) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "checksum",
        help="SHA-256 over the results of a dataset",
        description="Print the SHA-256 of a dataset's results. It is equal for equal results, "
        "however many tasks, runs, hosts or databases made them.",
    )
    parser.add_argument("dataset", help="name of the dataset")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the checksum."""
    store = Store(store_url())
    store.check()
    with store.read() as connection:
        found = dataset_id(connection, arguments.dataset)
    print(dataset_checksum(store, found))
    return 0

"""``trap-manage deldataset``: delete a dataset and all that belongs to it."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from trap_ops.commands.confirmation import add_yes
from trap_ops.commands.environment import store_url
from trap_ops.errors import ConfigError
from trap_ops.export.wording import count
from trap_ops.records.names import one_line
from trap_ops.store.database import Store
from trap_ops.store.dataset_rows import (
    DatasetContents,
    contents_of,
    delete_dataset,
    refuse_if_held,
)
from trap_ops.store.datasets import dataset_id, dataset_named, owner_of

# What people count, of all tables, and its plural.
_SHOWN = {
    "image": ("image", ""),
    "extractedsource": ("measurement", ""),
    "runningcatalog": ("sky source and monitored position", "sky sources and monitored positions"),
    "assocxtrsource": ("point of light curves", "points of light curves"),
    "forcedfit": ("request of forced fits", "requests of forced fits"),
    "candidate": ("candidate", ""),
    "run": ("run", ""),
}


def add_parser(verbs: Any) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "deldataset",
        help="delete a dataset from the results database",
        description="Delete a dataset: its images, measurements, sky sources, light curves, "
        "candidates, settings and runs, all of them or, if anything goes wrong, nothing. Other "
        "datasets and all files (images, reports, exports) stay. There is no way back.",
    )
    parser.add_argument("dataset", help="name of the dataset, or its id")
    add_yes(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Show, ask, delete."""
    store = Store(store_url())
    store.check()
    with store.read() as connection:
        name = dataset_named(connection, arguments.dataset)
        found = contents_of(connection, name)
        refuse_if_held(connection, name)
        owner = owner_of(connection, dataset_id(connection, name))
    of = f" of {one_line(owner)}" if owner else ""
    print(f"dataset {one_line(name)}{of} in {store.safe_url}: {_words(found)}")
    if not arguments.yes and not _confirmed(name):
        print("nothing is deleted")
        return 1
    gone = delete_dataset(store, name)
    print(f"dataset {one_line(name)} is deleted: {sum(gone.values())} rows of {len(gone)} tables")
    _print_what_stays(store, found)
    return 0


def _words(found: DatasetContents) -> str:
    return ", ".join(count(found.rows.get(table, 0), *words) for table, words in _SHOWN.items())


def _confirmed(name: str) -> bool:
    """Ask whoever sits at the terminal.

    Raises
    ------
    ConfigError
        If nobody does.
    """
    if not sys.stdin.isatty():
        msg = (
            f"dataset {name!r} is not deleted: there is no terminal to ask at; give --yes to "
            "delete it without a question"
        )
        raise ConfigError(msg, dataset=name)
    print("type the dataset's name to delete it: ", end="", flush=True)
    return sys.stdin.readline().rstrip("\r\n") == name


def _print_what_stays(store: Store, found: DatasetContents) -> None:
    print("image files stay as they are")
    if found.reports:
        print("reports stay; delete them if nobody needs them:")
        for path in found.reports:
            print(f"  {one_line(path)}")
    if store.is_sqlite:
        print("the file keeps its size, and new results fill it; `sqlite3 FILE VACUUM` shrinks it")

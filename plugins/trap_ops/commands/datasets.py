"""``trap-manage datasets``: which datasets there are, and their runs."""

from __future__ import annotations

import argparse
from typing import Any

from rich.table import Table

from trap_ops.commands.environment import store_url
from trap_ops.commands.summary import make_console
from trap_ops.store import datasets, runs
from trap_ops.store.database import Store


def add_parser(verbs: Any) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "datasets",
        help="list datasets, or the runs of one",
        description="List the datasets with counts; with a name, the runs of that dataset.",
    )
    parser.add_argument("dataset", nargs="?", help="name of a dataset")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the list."""
    store = Store(store_url())
    store.check()
    with store.read() as connection:
        if arguments.dataset:
            found = runs.runs_of(connection, datasets.dataset_id(connection, arguments.dataset))
            table = _runs(found)
        else:
            table = _datasets(datasets.list_datasets(connection), store.safe_url)
    make_console().print(table)
    return 0


def _datasets(found: list[datasets.DatasetSummary], where: str) -> Table:
    table = Table(title=f"Datasets in {where}", title_justify="left")
    for name in (
        "dataset",
        "images",
        "accepted",
        "sky sources",
        "candidates",
        "runs",
        "owner",
        "since (UTC)",
    ):
        words = name in {"dataset", "owner", "since (UTC)"}
        table.add_column(name, justify="left" if words else "right")
    for item in found:
        counts = (item.images, item.accepted, item.sources, item.candidates, item.runs)
        table.add_row(item.name, *map(str, counts), item.owner, item.started)
    return table


def _runs(found: dict[str, list[Any]]) -> Table:
    table = Table(title_justify="left")
    names = ("run id", "state", "by", "configuration", "started (UTC)", "seconds", "message")
    for name in names:
        # A run id is there to be copied.
        table.add_column(name, no_wrap=name == "run id", overflow="fold")
    for row in range(len(found["id"])):
        started, ended = found["started_ts"][row], found["finished_ts"][row]
        table.add_row(
            found["run_key"][row],
            found["state"][row],
            found["requested_by"][row],
            found["configuration_name"][row],
            started.isoformat(" ", "seconds"),
            "" if ended is None else f"{(ended - started).total_seconds():.0f}",
            found["message"][row],
        )
    return table

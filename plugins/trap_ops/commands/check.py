"""``trap-manage check``: whether the results keep their own rules."""

from __future__ import annotations

import argparse
from typing import Any

from rich.console import Console

from trap_ops.commands.environment import store_url
from trap_ops.commands.summary import make_console
from trap_ops.export.wording import count
from trap_ops.records.names import one_line
from trap_ops.store.consistency import Consistency, check_datasets
from trap_ops.store.database import Store
from trap_ops.store.invariants import INVARIANTS


def add_parser(verbs: Any) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "check",
        help="check that the results of datasets are consistent",
        description="Check every rule that the tables of a dataset keep, e.g. that statistics are "
        "those of the points and that light curves are complete. Rows that break one are named. "
        "Nothing is changed. Exit status 1 if something is wrong.",
    )
    parser.add_argument("dataset", nargs="*", help="names of datasets; default: all")
    parser.add_argument("--list", action="store_true", help="list the rules and check nothing")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Check and print."""
    console = make_console()
    if arguments.list:
        for item in INVARIANTS:
            console.print(f"{item.name}: {item.description}", highlight=False)
        return 0
    store = Store(store_url())
    store.check()
    wrong = 0
    for found in check_datasets(store, arguments.dataset):
        _print(console, found)
        wrong += len(found.broken)
    return 1 if wrong else 0


def _print(console: Console, found: Consistency) -> None:
    lines = []
    for item in found.broken:
        number = item.breaches.number
        lines.append(f"  {item.invariant.name}: {item.invariant.description}")
        lines.append(f"    {count(number, 'row breaks it', 'rows break it')}:")
        lines += [f"      {one_line(name)}" for name in item.breaches.named]
        if number > len(item.breaches.named):
            lines.append(f"      and {number - len(item.breaches.named)} more")
    what = f"{count(found.checked, 'invariant')} checked on {count(found.rows, 'row')}"
    head = f"{one_line(found.dataset)}: {what}"
    if found.broken:
        head += f", {len(found.broken)} broken"
    console.print(head, highlight=False)
    for line in lines:
        console.print(line, highlight=False)
    if found.unfinished:
        left = len(INVARIANTS) - found.checked
        console.print(
            f"  {left} that hold between runs were left out: {one_line(found.unfinished)}",
            highlight=False,
        )
    if found.broken:
        console.print(
            "  rows that were changed by hand are put right by making the dataset anew under "
            "another name; without that, it is a fault of the pipeline: please report it with "
            "these lines",
            highlight=False,
        )

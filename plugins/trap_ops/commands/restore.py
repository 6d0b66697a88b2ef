"""``trap-manage restore``: the results database as a back-up has it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from trap_ops.commands import check
from trap_ops.commands.confirmation import add_yes, confirmed
from trap_ops.commands.environment import store_url
from trap_ops.errors import TrapError
from trap_ops.export.wording import count
from trap_ops.records.names import one_line
from trap_ops.store import datasets, runs
from trap_ops.store.backup import check_backup, restore_backup
from trap_ops.store.database import SCHEMA_REVISION, Store


def add_parser(verbs: Any) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "restore",
        help="replace the results database by a back-up",
        description="Replace all datasets by those of a back-up, bring them to the schema of this "
        "version, and check them. Asks first if there are datasets. A back-up that is damaged "
        "changes nothing. No run may be at work meanwhile.",
    )
    parser.add_argument("file", type=Path, help="a file that `trap-manage backup` has written")
    add_yes(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Show, ask, restore, check."""
    store = Store(store_url())
    path = arguments.file.expanduser().absolute()
    manifest = check_backup(store, path)
    names = ", ".join(map(one_line, manifest.checksums)) or "no datasets"
    print(f"{one_line(str(path))}: {names} (made {manifest.made} UTC, schema {manifest.revision})")
    replaced = _replaced(store)
    for line in replaced:
        print(line)
    if replaced and not confirmed(f"replace all of {store.safe_url}?", yes=arguments.yes):
        print("nothing is replaced")
        return 1
    restore_backup(store, path)
    print(f"{store.safe_url} is restored, with schema {SCHEMA_REVISION}")
    for name, key, _ in _held(store):
        print(
            f"  dataset {one_line(name)}: run {key} was not finished when the back-up was made; "
            f"`bin/trap-manage abandon {key}` frees the dataset, and a new run goes on from there"
        )
    return check.run(argparse.Namespace(list=False, dataset=[]))


def _replaced(store: Store) -> list[str]:
    """What would be lost, in words."""
    if store.is_sqlite and not Path(str(store.url.database)).exists():
        return []
    if store.revision() is None:
        return []
    try:
        store.check()
    except TrapError:
        return [f"replaces tables of another version in {store.safe_url}"]
    with store.read() as connection:
        lines = [
            f"replaces dataset {one_line(item.name)}: {count(item.images, 'image')}, "
            f"{count(item.sources, 'sky source')}, {count(item.runs, 'run')}"
            for item in datasets.list_datasets(connection)
        ]
    at_work = [key for _, key, state in _held(store) if state == runs.RUNNING]
    return [*lines, *(f"run {key} is at work on it: end it first" for key in at_work)]


def _held(store: Store) -> list[tuple[str, str, str]]:
    """Datasets that a run has, its key and its state."""
    with store.read() as connection:
        found = [
            (item.name, runs.lock_holder(connection, item.name))
            for item in datasets.list_datasets(connection)
        ]
    return [(name, holder.key, holder.state) for name, holder in found if holder is not None]

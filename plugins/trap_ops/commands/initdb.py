"""``trap-manage initdb``: create the results database, or bring it to this version's schema."""

from __future__ import annotations

import argparse
from typing import Any

from trap_ops.commands.environment import store_url
from trap_ops.store.database import SCHEMA_REVISION, Store


def add_parser(verbs: Any) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "initdb",
        help="create or upgrade the results database",
        description="Create the tables in an empty database, or migrate older ones. A first run "
        "creates them by itself; migrating is never done without being asked. Nothing is ever "
        "dropped: `deldataset` deletes a dataset.",
    )
    parser.add_argument(
        "-y",
        "--yes",
        action="store_true",
        help="as scripts of classic TraP have it; there is no question to answer",
    )
    parser.set_defaults(run=run)


def run(_arguments: argparse.Namespace) -> int:
    """Create or migrate."""
    store = Store(store_url())
    store.make_directory()
    before = store.revision()
    store.upgrade()
    done = "is up to date at" if before == SCHEMA_REVISION else "now has"
    print(f"{store.safe_url} {done} schema {SCHEMA_REVISION}")
    return 0

"""``trap-manage backup``: the results database in one file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from trap_ops.commands.environment import store_url
from trap_ops.export.wording import count
from trap_ops.records.names import one_line
from trap_ops.store.backup import make_backup
from trap_ops.store.database import Store


def add_parser(verbs: Any) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "backup",
        help="write the results database into one file",
        description="Write all datasets, as they are at one moment, into one file with a manifest; "
        "runs may go on meanwhile. Images, reports and Airflow's own database are not in it. "
        "PostgreSQL needs its program pg_dump.",
    )
    parser.add_argument("file", type=Path, help="the file to write; one that is there stays")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write it."""
    store = Store(store_url())
    path = arguments.file.expanduser().absolute()
    manifest = make_backup(store, path)
    print(
        f"{one_line(str(path))}: {count(len(manifest.checksums), 'dataset')} of {store.safe_url}, "
        f"schema {manifest.revision}, {path.stat().st_size / 1e6:.1f} MB"
    )
    for name, checksum in manifest.checksums.items():
        print(f"  {one_line(name)}: {checksum or 'no checksum (tables of another version)'}")
    print("images are not in it; keep them apart")
    return 0

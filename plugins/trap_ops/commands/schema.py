"""``trap-manage schema``: what the tables and columns of the results database hold."""

from __future__ import annotations

import argparse
from typing import Any

from trap_ops.export.schema_page import schema_page


def add_parser(verbs: Any) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "schema",
        help="what the tables and columns of the results database hold",
        description="Describe the tables of the results database: columns, types, keys, units and "
        "meanings, as Markdown. No database is needed.",
    )
    parser.add_argument("tables", nargs="*", metavar="TABLE", help="default: all")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the page."""
    print(schema_page(arguments.tables), end="")
    return 0

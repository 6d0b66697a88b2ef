"""``trap-manage monitor``: positions that are measured in every image of a dataset."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from rich.table import Table

from trap_ops.commands.changes import run_change
from trap_ops.commands.confirmation import add_yes, confirmed
from trap_ops.commands.environment import store_url
from trap_ops.commands.positions import read_positions
from trap_ops.commands.summary import make_console
from trap_ops.export.wording import count, number
from trap_ops.records.runs import MonitorPosition
from trap_ops.science.monitoring import SAME_PLACE_ARCSEC
from trap_ops.stages.monitor_positions import refuse_doubles
from trap_ops.stages.removal import find_monitors
from trap_ops.store import datasets, monitors, run_requests, runs
from trap_ops.store.database import Store


def add_parser(verbs: Any) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "monitor",
        help="add, list or remove positions that are measured in every image",
        description="Positions that are measured in every image of a dataset, whether there is a "
        "source or not. They may come and go at any time: the results are those of a run that had "
        "the same positions from the start.",
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    add = actions.add_parser(
        "add",
        help="add positions, and measure them in the images that the dataset has",
        description="Add positions to a dataset and make the fits that are missing, in older "
        "images too. All positions are checked before anything is written. One that is within "
        f"{SAME_PLACE_ARCSEC:g} arcsec of another is refused.",
    )
    add.add_argument("dataset", help="name of the dataset")
    add.add_argument(
        "positions",
        help="a CSV file with columns ra, dec or decl, and name; a VOTable; or '[[ra, dec], ...]'; "
        "degrees, or hh:mm:ss dd:mm:ss",
    )
    add.add_argument("--verbose", action="store_true", help="show Airflow's own output")
    add.set_defaults(run=run_add)
    listed = actions.add_parser("list", help="list the positions of a dataset")
    listed.add_argument("dataset", help="name of the dataset")
    listed.set_defaults(run=run_list)
    remove = actions.add_parser(
        "remove",
        help="remove positions with all that was measured there",
        description="Remove positions from a dataset, with their fits and light curves.",
    )
    remove.add_argument("dataset", help="name of the dataset")
    remove.add_argument(
        "which", nargs="+", help="names, ids (`trap-manage monitor list`), or 'RA DEC'"
    )
    add_yes(remove)
    remove.add_argument("--verbose", action="store_true", help="show Airflow's own output")
    remove.set_defaults(run=run_remove)


def run_add(arguments: argparse.Namespace) -> int:
    """Check all positions; then add them and make their fits."""
    store, console = Store(store_url()), make_console()
    store.check()
    positions, stand = read_positions(arguments.positions)
    with store.read() as connection:
        dataset = datasets.dataset_id(connection, arguments.dataset)
        runs.check_free(connection, arguments.dataset)
        begun = _begun(run_requests.unfinished_requests(connection, dataset))
        refuse_doubles(positions, stand, monitors.monitors_of(connection, dataset), begun)
    console.print(f"{count(len(positions), 'position')} to add", highlight=False)
    change = {"monitor": [f"{p.ra_deg!r}, {p.dec_deg!r}, {p.name}" for p in positions]}
    return run_change(console, store, arguments.dataset, change, verbose=arguments.verbose)


def _begun(requests: Sequence[dict[str, Any]]) -> set[MonitorPosition]:
    """Positions that runs were to add which did not finish."""
    return {MonitorPosition(**item) for request in requests for item in request["monitor"]}


def run_list(arguments: argparse.Namespace) -> int:
    """Print the positions with their latest fluxes."""
    store = Store(store_url())
    store.check()
    with store.read() as connection:
        dataset = datasets.dataset_id(connection, arguments.dataset)
        found = monitors.monitored_fluxes(connection, dataset)
    title = f"Monitoring positions of dataset {arguments.dataset!r}"
    if not found:
        print(f"Dataset {arguments.dataset!r} has no monitoring positions")
        return 0
    table = Table(title=title, title_justify="left")
    for name in ("id", "RA", "Dec", "sky source", "points", "not measured", "mJy", "+-"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("last (UTC)", no_wrap=True)
    table.add_column("name", no_wrap=True)
    for item in found:
        table.add_row(
            f"{item.id}",
            f"{item.ra_deg:.6f}",
            f"{item.dec_deg:+.6f}",
            "" if item.source is None else f"{item.source}",
            f"{item.points}",
            f"{item.missing}",
            "" if item.flux_jy is None else number(item.flux_jy * 1e3),
            "" if item.flux_err_jy is None else number(item.flux_err_jy * 1e3),
            "" if item.last is None else f"{item.last:%Y-%m-%d %H:%M:%S}",
            item.name,
        )
    make_console().print(table)
    return 0


def run_remove(arguments: argparse.Namespace) -> int:
    """Say what goes, ask, and remove it."""
    store, console = Store(store_url()), make_console()
    store.check()
    with store.read() as connection:
        dataset = datasets.dataset_id(connection, arguments.dataset)
        runs.check_free(connection, arguments.dataset)
        before = run_requests.unfinished_requests(connection, dataset)
        found = find_monitors(connection, dataset, arguments.which, before)
        points = {item.id: item.points for item in monitors.monitored_fluxes(connection, dataset)}
    for item in found:
        fits = count(points[item.id], "point")
        console.print(f"{item.shown} is removed with {fits}", highlight=False)
    if not found:
        console.print("All are gone already: the run that was begun is finished", highlight=False)
    if not confirmed("Remove?", yes=arguments.yes):
        print("nothing is removed")
        return 1
    change = {"remove_monitors": arguments.which}
    return run_change(console, store, arguments.dataset, change, verbose=arguments.verbose)

"""Runs that change what a dataset has, without new images."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from trap_ops.commands.run import give_up_failed, run_dag
from trap_ops.store import datasets, run_requests
from trap_ops.store.database import Store


def run_change(
    console: Console, store: Store, dataset: str, change: dict[str, Any], *, verbose: bool
) -> int:
    """Run the DAG with the settings of a dataset's latest run; return the exit status.

    Parameters
    ----------
    console : rich.console.Console
    store : Store
    dataset : str
        Name of the dataset.
    change : dict
        Further parameters of the DAG.
    verbose : bool
        Show Airflow's own output.
    """
    give_up_failed(console, store, dataset)
    with store.read() as connection:
        found = datasets.dataset_id(connection, dataset)
        configuration, overrides = run_requests.usual_settings(connection, found)
    usual = {"dataset": dataset, "configuration": configuration, "overrides": overrides}
    return run_dag(console, store, {**usual, **change}, verbose=verbose)

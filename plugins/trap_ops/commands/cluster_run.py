"""A run by the workers of a cluster, watched from this terminal."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from rich.console import Console

from trap_ops.commands.airflow_api import AirflowServer, airflow_server
from trap_ops.commands.airflow_process import TaskResult
from trap_ops.commands.cluster_environment import cluster_settings
from trap_ops.commands.run import DAG, Progress, conf_text
from trap_ops.commands.summary import Truth, print_summary
from trap_ops.errors import TrapError
from trap_ops.store import runs
from trap_ops.store.database import Store

_LOOK_S = 1.0
_ENDED = {"success", "failed"}


def run_on_cluster(
    console: Console, store: Store, conf: Mapping[str, Any], truth: Truth | None
) -> int:
    """Trigger the DAG on the cluster, show its progress and what it found; return exit status."""
    server = airflow_server(cluster_settings())
    url = server.url
    run_id = f"cluster__{datetime.now(UTC).isoformat()}"
    console.print(f"Dataset {conf['dataset']!r}: results in {store.safe_url}", highlight=False)
    server.trigger(DAG, run_id, json.loads(conf_text(conf)))
    console.print(f"Run {run_id}: {url}/dags/{DAG}/runs/{run_id}", highlight=False)
    progress = Progress(console, store)
    try:
        while (state := server.state(DAG, run_id)) not in _ENDED:
            progress.show([TaskResult("", run_id, None)])
            time.sleep(_LOOK_S)
    except KeyboardInterrupt:
        print(f"\nrun {run_id} goes on on the cluster: {url} shows it", file=sys.stderr)
        raise
    progress.show([TaskResult("", run_id, None)])
    if state == "success":
        print_summary(console, store, run_id, truth)
        return 0
    print(f"\ntrap-manage: {_why(server, store, run_id)}", file=sys.stderr)
    return 1


def _why(server: AirflowServer, store: Store, run_id: str) -> str:
    """Why a run failed: its own sentence, or which tasks are red."""
    try:
        with store.read() as connection:
            message = runs.failure_of(connection, run_id)
    except TrapError as error:
        message = f"the results database cannot say why: {error.message}"
    if message:
        return f"run {run_id} failed: {message}"
    # Not planned: then register_images itself is red.
    failures = server.failures(DAG, run_id)
    said = "; ".join(f"{task}: {error or 'see its log'}" for task, error in failures.items())
    return f"run {run_id} failed: {said or 'no task of it'}\n{server.url}/dags/{DAG}/runs/{run_id}"

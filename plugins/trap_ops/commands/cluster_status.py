"""``trap-manage cluster status``: what somebody on call wants to know of a cluster."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trap_ops.commands import cluster_processes
from trap_ops.commands.airflow_api import AirflowServer, airflow_server
from trap_ops.commands.celery_workers import Worker, queue_depths, workers
from trap_ops.commands.cluster_drain import DRAINED
from trap_ops.commands.cluster_environment import check_broker, cluster_settings
from trap_ops.commands.environment import store_url, var_dir
from trap_ops.commands.workers import code
from trap_ops.config.cluster import ClusterConfig
from trap_ops.errors import TrapError
from trap_ops.store.database import Store

PARTS = ("metadatabase", "scheduler", "dag_processor", "triggerer")
_STATES = ("running", "queued", "scheduled", "deferred", "up_for_retry")
_AS_HERE = "as here"
# Below this a report or a log soon cannot be written.
_LOW_DISK_BYTES = 1_000_000_000


@dataclass
class ClusterState:
    """What is known of a cluster.

    Attributes
    ----------
    processes : dict
        State of each process of this machine, in supervisord's words; empty if others start them.
    airflow : dict
        What Airflow's server says of its parts; empty if it is away.
    queues : dict
        Messages that wait in the broker for a worker; None where there is no such queue yet.
    tasks : dict
        Number of Airflow's tasks by state.
    oldest_waiting : str
        Which task waits longest for a worker.
    oldest_waiting_s : float or None
    drained : dict or None
        Since when and by whom.
    workers : dict
        Code of each worker, in words.
    disk_free_gb : float
        On the disk of TRAP_VAR.
    results : str
        Address of the results database, without password.
    revision : str or None
    problems : list of str
        What is wrong, a sentence each.
    """

    processes: dict[str, str] = field(default_factory=dict)
    airflow: dict[str, str] = field(default_factory=dict)
    queues: dict[str, int | None] = field(default_factory=dict)
    tasks: dict[str, int] = field(default_factory=dict)
    oldest_waiting: str = ""
    oldest_waiting_s: float | None = None
    drained: dict[str, Any] | None = None
    workers: dict[str, str] = field(default_factory=dict)
    disk_free_gb: float = 0.0
    results: str = ""
    revision: str | None = None
    problems: list[str] = field(default_factory=list)


def add_status(below: Any) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the verb to those of ``cluster``."""
    text = "say what runs, what waits and what is wrong; the exit status is 1 if something is"
    parser = below.add_parser("status", help=text, description=text)
    parser.add_argument("--json", action="store_true", help="all that is known, as JSON")
    parser.set_defaults(run=status)


def status(arguments: argparse.Namespace) -> int:
    """Say it."""
    cluster = cluster_settings()
    found = look(cluster)
    if arguments.json:
        print(json.dumps(asdict(found), indent=2))
    else:
        print("\n".join(lines(found)))
    return 1 if found.problems else 0


def look(cluster: ClusterConfig) -> ClusterState:
    """Ask all parts of a cluster, each of which may be away."""
    found = ClusterState()
    _look_at_processes(found, cluster)
    server = airflow_server(cluster)
    found.airflow = server.health()
    if not found.airflow:
        found.problems.append(
            f"Airflow at {server.url} does not answer; `make cluster` starts it on this machine"
        )
    for part in PARTS:
        state = found.airflow.get(part, "away")
        if found.airflow and state != "healthy":
            found.problems.append(f"{part} is {state}: start it again, and see its log")
    if found.airflow.get("metadatabase") == "healthy":
        _noting(found, _look_at_tasks, server)
    _noting(found, _look_at_broker, cluster)
    _noting(found, _look_at_results)
    _look_at_disk(found, var_dir())
    return found


def lines(found: ClusterState) -> list[str]:
    """All of it for people."""
    rows = list(found.processes.items())
    rows.append(("Airflow", ", ".join(f"{k} {v}" for k, v in found.airflow.items()) or "is away"))
    waiting = (f"{k} {'-' if n is None else n}" for k, n in found.queues.items())
    rows.append(("waiting in queues", ", ".join(waiting) or "unknown"))
    tasks = ", ".join(f"{k} {n}" for k, n in found.tasks.items() if n)
    rows.append(("tasks", tasks or "none"))
    if found.oldest_waiting_s is not None:
        rows.append(("waits longest", f"{found.oldest_waiting}: {found.oldest_waiting_s:.0f} s"))
    if found.drained:
        rows.append(("drained", f"since {found.drained['since']} UTC by {found.drained['by']}"))
    rows += [(f"worker {name}", f"code {text}") for name, text in found.workers.items()]
    rows.append(("disk of TRAP_VAR", f"{found.disk_free_gb:.1f} GB left"))
    rows.append(("results", f"{found.results}, schema {found.revision or 'none yet'}"))
    made = [f"{name:<24}{text}" for name, text in rows]
    return [*made, *(f"WRONG: {problem}" for problem in found.problems)]


def problems_of_workers(cluster: ClusterConfig, there: Sequence[Worker]) -> list[str]:
    """Queues that nobody serves, and workers with other code."""
    served = {queue for worker in there for queue in worker.queues}
    wanted = dict.fromkeys(queue for worker in cluster.workers for queue in worker.queues)
    unserved = [
        f"no worker serves the queue {queue!r}: tasks there wait until one is started"
        for queue in wanted
        if queue not in served
    ]
    others = [
        f"worker {worker.name} has other code than this checkout ({said}): put the same version "
        "on both hosts"
        for worker in there
        if (said := code(worker)) != _AS_HERE
    ]
    return unserved + others


def _noting(found: ClusterState, part: Any, *given: Any) -> None:  # noqa: ANN401 - any of them
    try:
        part(found, *given)
    except TrapError as error:
        found.problems.append(error.message)


def _look_at_processes(found: ClusterState, cluster: ClusterConfig) -> None:
    if cluster_processes.running() is None:
        return
    states = cluster_processes.states()
    for name in cluster_processes.commands(cluster):
        found.processes[name] = states.get(name, "not started")
        if not found.processes[name].startswith("RUNNING"):
            log = cluster_processes.directory() / f"{name}.log"
            found.problems.append(f"process {name} is not running; see {log}")


def _look_at_tasks(found: ClusterState, server: AirflowServer) -> None:
    waiting = []
    for state in _STATES:
        found.tasks[state], some = server.tasks(state)
        if state == "queued":
            waiting = [(task["queued_when"], task) for task in some if task["queued_when"]]
    if waiting:
        since, task = min(waiting, key=lambda pair: str(pair[0]))
        found.oldest_waiting = f"{task['task_id']} of {task['dag_run_id']}"
        passed = datetime.now(UTC) - datetime.fromisoformat(since)
        found.oldest_waiting_s = passed.total_seconds()
    found.drained = server.variable(DRAINED)


def _look_at_broker(found: ClusterState, cluster: ClusterConfig) -> None:
    check_broker(cluster.broker.url)
    names = dict.fromkeys(queue for worker in cluster.workers for queue in worker.queues)
    found.queues = queue_depths(cluster.broker.url, list(names))
    there = workers(cluster.broker.url)
    found.workers = {worker.name: code(worker) for worker in there}
    found.problems += problems_of_workers(cluster, there)


def _look_at_results(found: ClusterState) -> None:
    store = Store(store_url())
    found.results = store.safe_url
    try:
        # To open an SQLite file makes it.
        if not store.is_sqlite or Path(str(store.url.database)).exists():
            found.revision = store.revision()
        if found.revision is not None:
            store.check()
    finally:
        store.close()


def _look_at_disk(found: ClusterState, directory: Path) -> None:
    there = next(path for path in (directory, *directory.parents) if path.exists())
    free = shutil.disk_usage(there).free
    found.disk_free_gb = free / 1e9
    if free < _LOW_DISK_BYTES:
        found.problems.append(
            f"{found.disk_free_gb:.2f} GB are left for {directory}, and less than "
            f"{_LOW_DISK_BYTES / 1e9:.0f} GB is too little: delete old logs and reports there"
        )

"""``trap-manage cluster``: Airflow with CeleryExecutor and workers on this machine."""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import time
from typing import Any

from trap_ops.commands import cluster_processes
from trap_ops.commands.airflow_api import airflow_server, password_file
from trap_ops.commands.celery_workers import ping
from trap_ops.commands.cluster_drain import drain, undrain
from trap_ops.commands.cluster_environment import (
    check_broker,
    cluster_settings,
    ensure_database,
    masked,
    process_environment,
)
from trap_ops.commands.cluster_sharing import make_pools
from trap_ops.commands.cluster_status import PARTS, add_status
from trap_ops.commands.environment import AIRFLOW_COMMAND, migrate_airflow, store_url
from trap_ops.commands.run import DAG
from trap_ops.config.cluster import ClusterConfig
from trap_ops.errors import ConfigError, TrapError
from trap_ops.store.database import Store

# From nothing, on a machine that is busy.
_START_S = 240.0
# And what the server says of each process.
_PROCESSES = {
    "api-server": "metadatabase",
    "scheduler": "scheduler",
    "dag-processor": "dag_processor",
    "triggerer": "triggerer",
}
WORKER = "worker"
_PASSWORD = "TRAP_ADMIN_PASSWORD"  # noqa: S105 - the name of a variable


def add_parser(verbs: Any) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "cluster",
        help="start, stop or look at a cluster on this machine",
        description="Airflow's server, scheduler, DAG processor, triggerer and the workers of "
        "include/configs/cluster.toml, as processes of this machine that are started again if "
        "they end. The broker and PostgreSQL must run: `make services` starts them.",
    )
    below = parser.add_subparsers(metavar="WHAT", required=True)
    for name, function, text in (
        ("start", start, "start all processes, and wait until they work"),
        ("stop", stop, "end them; workers finish their tasks, for two minutes at most"),
        ("drain", drain, "begin no more tasks, and wait until those at work are done"),
        ("undrain", undrain, "go on after that"),
        ("init", init, "make the databases and their tables; TRAP_ADMIN_PASSWORD is for the pages"),
    ):
        below.add_parser(name, help=text, description=text).set_defaults(run=function)
    add_status(below)
    below.add_parser("airflow", help="airflow, as a process of the cluster")
    text = "whether a process of the cluster does its work; for health checks"
    healthy = below.add_parser("healthy", help=text, description=text)
    healthy.add_argument("process", choices=[*_PROCESSES, WORKER])
    healthy.set_defaults(run=check_health)


def start(_arguments: argparse.Namespace) -> int:
    """Start the cluster."""
    cluster = cluster_settings()
    environment = process_environment(cluster)
    check_broker(cluster.broker.url)
    print(f"Broker {masked(cluster.broker.url)}; preparing Airflow's database ...", flush=True)
    ensure_database(cluster)
    migrate_airflow(environment)
    make_pools(cluster, environment)
    cluster_processes.start(cluster, environment)
    try:
        _wait(cluster)
    except BaseException:  # After Ctrl-C nothing may go on that nobody waits for.
        cluster_processes.stop()
        raise
    print(
        f"The cluster works: {cluster.server.address} (password of user admin: {password_file()})\n"
        f"Logs: {cluster_processes.directory()}/*.log; `make cluster-stop` ends it"
    )
    return 0


def init(_arguments: argparse.Namespace) -> int:
    """Make what the processes of a cluster need, each of which starts by itself."""
    cluster = cluster_settings()
    environment = process_environment(cluster)
    ensure_database(cluster)
    migrate_airflow(environment)
    make_pools(cluster, environment)
    store = Store(store_url())
    store.make_directory()
    store.upgrade()
    if password := os.environ.get(_PASSWORD):
        path = password_file()
        path.parent.mkdir(parents=True, exist_ok=True)
        # Nobody may read it meanwhile.
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump({"admin": password}, file)
    print(f"Ready: {masked(cluster.database.url)}, {store.safe_url}")
    return 0


def run_airflow(words: list[str]) -> int:
    """Replace this process by Airflow, with the variables of the cluster."""
    try:
        environment = process_environment(cluster_settings())
    except TrapError as error:
        print(f"trap-manage: {error.message}", file=sys.stderr)
        return 1
    command = [*AIRFLOW_COMMAND, *words]
    return os.execve(command[0], command, environment)  # noqa: S606 - no shell wanted


def check_health(arguments: argparse.Namespace) -> int:
    """Say whether a process works; the exit status is 1 if it does not."""
    cluster = cluster_settings()
    if arguments.process == WORKER:
        host = f"@{socket.gethostname()}"
        well = any(name.endswith(host) for name in ping(cluster.broker.url))
    else:
        part = _PROCESSES[arguments.process]
        well = airflow_server(cluster).health().get(part) == "healthy"
    print("healthy" if well else "not healthy")
    return 0 if well else 1


def stop(_arguments: argparse.Namespace) -> int:
    """End the cluster."""
    print("Stopping the cluster; workers finish their tasks ...", flush=True)
    print("It has ended." if cluster_processes.stop() else "It did not run.")
    return 0


def _healthy(health: dict[str, str]) -> bool:
    return all(health.get(part) == "healthy" for part in PARTS)


def _wait(cluster: ClusterConfig) -> None:
    """Wait until the server, the scheduler and all workers answer, and the DAG is known."""
    server, end = airflow_server(cluster), time.monotonic() + _START_S
    names = {worker.name for worker in cluster.workers}
    missing = "the server"
    while time.monotonic() < end:
        health = server.health()
        if not _healthy(health):
            missing = ", ".join(p for p in PARTS if health.get(p) != "healthy")
        elif absent := names - {name.split("@")[0] for name in ping(cluster.broker.url)}:
            missing = f"workers {', '.join(sorted(absent))}"
        elif not server.knows(DAG):
            missing = f"DAG {DAG}"
        else:
            return
        time.sleep(1.0)
    msg = (
        f"the cluster did not come up in {_START_S:.0f} s: {missing} missing; see the logs in "
        f"{cluster_processes.directory()}"
    )
    raise ConfigError(msg)

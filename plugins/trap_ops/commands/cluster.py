"""``trap-manage cluster``: Airflow with CeleryExecutor and workers on this machine."""

from __future__ import annotations

import argparse
import os
import subprocess
import time
from typing import Any

from trap_ops.commands import cluster_processes
from trap_ops.commands.airflow_api import AirflowServer
from trap_ops.commands.celery_workers import ping
from trap_ops.commands.cluster_environment import (
    check_broker,
    cluster_settings,
    cluster_variables,
    ensure_database,
    masked,
)
from trap_ops.commands.environment import AIRFLOW_COMMAND, var_dir
from trap_ops.config.cluster import ClusterConfig
from trap_ops.errors import ConfigError, TrapError

DAG = "trap_batch"
# From nothing, on a machine that is busy.
_START_S = 240.0
_PARTS = ("metadatabase", "scheduler", "dag_processor", "triggerer")


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
        ("status", status, "say what runs"),
    ):
        below.add_parser(name, help=text, description=text).set_defaults(run=function)


def start(_arguments: argparse.Namespace) -> int:
    """Start the cluster."""
    cluster = cluster_settings()
    environment = {**os.environ, **cluster_variables(cluster)}
    check_broker(cluster.broker.url)
    ensure_database(cluster)
    print(f"Broker {masked(cluster.broker.url)}; preparing Airflow's database ...", flush=True)
    _migrate(environment)
    cluster_processes.start(cluster, environment)
    try:
        _wait(cluster)
    except TrapError:
        cluster_processes.stop()
        raise
    print(
        f"The cluster works: {_server(cluster).url} (password of user admin: "
        f"{var_dir()}/airflow/simple_auth_manager_passwords.json.generated)\n"
        f"Logs: {cluster_processes.directory()}/*.log; `make cluster-stop` ends it"
    )
    return 0


def stop(_arguments: argparse.Namespace) -> int:
    """End the cluster."""
    print("Stopping the cluster; workers finish their tasks ...", flush=True)
    print("It has ended." if cluster_processes.stop() else "It did not run.")
    return 0


def status(_arguments: argparse.Namespace) -> int:
    """Say what runs; the exit status is 1 if something does not."""
    cluster = cluster_settings()
    if cluster_processes.running() is None:
        print("The cluster does not run; `make cluster` starts it")
        return 1
    states = cluster_processes.states()
    for name in cluster_processes.commands(cluster):
        print(f"{name:<24}{states.get(name, 'not started')}")
    health = _server(cluster).health()
    print(f"{'Airflow':<24}" + (", ".join(f"{k} {v}" for k, v in health.items()) or "is away"))
    well = all(state.startswith("RUNNING") for state in states.values())
    return 0 if well and _healthy(health) else 1


def _server(cluster: ClusterConfig) -> AirflowServer:
    url = f"http://{cluster.server.host}:{cluster.server.port}"
    return AirflowServer(url, var_dir() / "airflow")


def _migrate(environment: dict[str, str]) -> None:
    made = subprocess.run(
        [*AIRFLOW_COMMAND, "db", "migrate"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        msg = f"`airflow db migrate` failed:\n{(made.stdout + made.stderr)[-2000:]}"
        raise ConfigError(msg)


def _healthy(health: dict[str, str]) -> bool:
    return all(health.get(part) == "healthy" for part in _PARTS)


def _wait(cluster: ClusterConfig) -> None:
    """Wait until the server, the scheduler and all workers answer, and the DAG is known."""
    server, end = _server(cluster), time.monotonic() + _START_S
    names = {worker.name for worker in cluster.workers}
    missing = "the server"
    while time.monotonic() < end:
        health = server.health()
        if not _healthy(health):
            missing = ", ".join(p for p in _PARTS if health.get(p) != "healthy")
        elif absent := names - ping(cluster.broker.url):
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

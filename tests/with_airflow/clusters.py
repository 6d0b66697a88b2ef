"""Clusters for tests: brokers and databases of their own, and the commands of ``make cluster``."""

from __future__ import annotations

import os
import re
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from sqlalchemy import create_engine, select, text

from conftest import POSTGRES, _postgres_or_skip, postgres_database
from stages.conftest import checksum
from trap_ops import local
from trap_ops.commands.airflow_api import AirflowServer, password_file
from trap_ops.commands.cluster_environment import check_broker
from trap_ops.config.cluster import load_cluster
from trap_ops.errors import ConfigError
from trap_ops.store.database import Store
from trap_ops.store.schema import dataset as dataset_table
from trap_ops.store.schema import run as run_table
from trap_ops.store.schema import stagerun
from with_airflow.conftest import SMALL, Checkout
from with_airflow.test_notices import Webhook, serving
from with_airflow.test_standalone import free_port

RABBITMQ = os.environ.get("TRAP_TEST_RABBITMQ", "amqp://guest:guest@127.0.0.1:5672")
REDIS = os.environ.get("TRAP_TEST_REDIS", "redis://127.0.0.1:6379")
SETTINGS = [f"--set={s}.{k}={v}" for s, section in SMALL.items() for k, v in section.items()]
# Nobody wants to wait for minutes here: seconds after which what was lost is noticed.
QUICK = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "30",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "15",
}
FILE = """
[broker]
url = "amqp://replaced"
[database]
url = "postgresql://replaced/x"
[server]
host = "{host}"
port = {port}
[tasks]
timeout_min = {timeout_min}
retry_delay_s = {retry_delay_s}
[[workers]]
name = "pixels"
queues = ["pixels"]
concurrency = 2
[[workers]]
name = "database"
queues = ["database"]
concurrency = 1
"""
# Folders that the scheduled DAGs of a cluster look after.
SERIES = """
[[series]]
name = "live"
folder = "{0}/live"
dataset = "live"
when = "arrival"
settle_s = 2.0
{1}
[[series]]
name = "nights"
folder = "{0}/nights"
dataset = "field {{folder}}"
when = "night"
settle_s = 1.0
{1}
"""


def rabbitmqctl(*words: str) -> None:
    as_root = [] if os.geteuid() == 0 else ["sudo"]
    made = subprocess.run(
        [*as_root, "rabbitmqctl", "-q", *words], capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stdout + made.stderr


def need_broker(url: str) -> None:
    """Fail where continuous integration lacks a broker; elsewhere skip."""
    try:
        check_broker(url)
    except ConfigError as error:
        msg = f"{error.message} (`make services` starts one)"
        if os.environ.get("CI"):
            pytest.fail(msg)
        pytest.skip(msg)


@contextmanager
def broker(kind: str, name: str) -> Iterator[str]:
    """A vhost of its own, or a numbered database of Redis that was empty."""
    need_broker(f"{RABBITMQ}//" if kind == "rabbitmq" else f"{REDIS}/0")
    if kind == "rabbitmq":
        rabbitmqctl("add_vhost", name)
        rabbitmqctl("set_permissions", "-p", name, "guest", ".*", ".*", ".*")
        try:
            yield f"{RABBITMQ}/{name}"
        finally:
            rabbitmqctl("delete_vhost", name)
        return
    import redis

    for number in range(15, 0, -1):
        client = redis.Redis.from_url(f"{REDIS}/{number}")
        if client.set("trap-test", name, nx=True):
            break
    else:
        pytest.fail("no database of Redis is free")
    try:
        yield f"{REDIS}/{number}"
    finally:
        client.flushdb()
        client.close()


@contextmanager
def database_for_airflow(name: str) -> Iterator[str]:
    """Address of a database that the cluster makes itself; dropped afterwards."""
    admin = create_engine(POSTGRES, isolation_level="AUTOCOMMIT")
    try:
        yield admin.url.set(database=name, drivername="postgresql").render_as_string(
            hide_password=False
        )
    finally:
        with admin.connect() as connection:
            connection.execute(text(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))
        admin.dispose()


@dataclass
class Cluster:
    """A running cluster, and its commands."""

    checkout: Checkout
    variables: dict[str, str]
    told: Webhook

    def run(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        timeout = float(more.pop("TIMEOUT", 280))
        environment = {**self.variables, **more}
        return self.checkout.run("trap-manage", *words, environment=environment, timeout=timeout)

    @property
    def environ(self) -> dict[str, str]:
        return {**self.checkout.environment, **self.variables}

    @property
    def store(self) -> Store:
        return Store(self.variables["TRAP_DB"])

    @property
    def server(self) -> AirflowServer:
        settings = load_cluster(Path(self.variables["TRAP_CLUSTER"]), self.variables)
        return AirflowServer(settings.server.address, password_file(self.environ))

    def processes(self) -> list[psutil.Process]:
        """All processes of this machine that have this cluster's directory in their environment."""
        found = []
        for process in psutil.process_iter():
            try:
                environ = process.environ()
            except psutil.Error:
                continue
            if environ.get("TRAP_CLUSTER") == self.variables["TRAP_CLUSTER"]:
                found.append(process)
        return found

    def logs(self, length: int) -> str:
        """The end of each process' log."""
        found = sorted((self.checkout.var / "cluster").glob("*.log"))
        return "".join(f"\n{p.name}:\n{p.read_text(errors='replace')[-length:]}" for p in found)


@contextmanager
def running(
    directory: Path,
    results: str,
    airflow: str,
    broker_url: str,
    host: str = "127.0.0.1",
    timeout_min: float = 60.0,
) -> Iterator[Cluster]:
    """A cluster that runs: on databases and a broker that are there."""
    (directory / "home").mkdir(exist_ok=True)
    file = directory / "cluster.toml"
    file.write_text(
        FILE.format(host=host, port=free_port(), timeout_min=timeout_min, retry_delay_s=1.0)
    )
    schedules = directory / "schedules.toml"
    overrides = "".join(
        f"[series.overrides.{section}]\n" + "".join(f"{k} = {v}\n" for k, v in values.items())
        for section, values in SMALL.items()
    )
    schedules.write_text(SERIES.format(directory, overrides))
    for folder in ("live", "nights"):
        (directory / folder).mkdir()
    variables = {
        "TRAP_CLUSTER": str(file), "TRAP_SCHEDULES": str(schedules), "TRAP_BROKER": broker_url,
        "TRAP_AIRFLOW_DB": airflow,
        "TRAP_DB": results, "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()), **QUICK,
    }  # fmt: skip
    with serving(told := Webhook()) as webhook:
        variables["TRAP_WEBHOOK"] = f"http://127.0.0.1:{webhook}/"
        made = Cluster(Checkout(directory / "var", directory / "home"), variables, told)
        started = made.run("cluster", "start")
        try:
            assert started.returncode == 0, started.stdout + started.stderr + made.logs(1500)
            yield made
        finally:
            stopped = made.run("cluster", "stop")
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    assert made.processes() == [], "the stop ends all that was started"


@contextmanager
def cluster_of_services(kind: str, directory: Path) -> Iterator[Cluster]:
    """A cluster on the services of this machine, in databases and a vhost of its own."""
    name = f"trap_test_{uuid.uuid4().hex[:12]}"
    _postgres_or_skip()
    with (
        database_for_airflow(name) as airflow,
        postgres_database() as results,
        broker(kind, name) as url,
        running(directory, results, airflow, url) as made,
    ):
        yield made


def checksum_of_one_process(images: list[Path], directory: Path) -> str:
    """Checksum of the results without Airflow, on SQLite."""
    url = f"sqlite:///{directory}/results.db"
    local.run(images, "series", store_url=url, overrides=SMALL, output_dir=directory)
    store = Store(url)
    try:
        return checksum(store)
    finally:
        store.close()


def begun(store: Store, dataset: str, stage: str) -> bool:
    """Whether a stage of the run on a dataset has begun."""
    with store.read() as connection:
        query = select(stagerun.c.run).join(run_table, run_table.c.id == stagerun.c.run)
        query = query.join(dataset_table, dataset_table.c.id == run_table.c.dataset)
        query = query.where(dataset_table.c.description == dataset, stagerun.c.stage == stage)
        return connection.execute(query.limit(1)).first() is not None


def worker_process(cluster: Cluster, name: str) -> psutil.Process:
    shown = cluster.run("cluster", "status").stdout
    found = re.search(rf"^worker-{name} +RUNNING +pid (\d+)", shown, re.MULTILINE)
    assert found, shown
    return psutil.Process(int(found[1]))


def kill_family(process: psutil.Process) -> int:
    """Kill a process and all that it has started, at once; return how many tasks it had."""
    family = [process, *process.children(recursive=True)]
    assert len(family) > 1, "it has children for tasks"
    for member in family:
        with suppress(psutil.NoSuchProcess):
            member.suspend()
    tasks = 0
    for member in family:
        with suppress(psutil.NoSuchProcess):
            # A supervisor names the task that it has, and has a child that does it.
            tasks += "supervisor" in " ".join(member.cmdline()) and len(member.children()) > 0
            member.kill()
    psutil.wait_procs(family, timeout=10)
    return tasks

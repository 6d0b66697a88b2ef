"""The DAG on a real CeleryExecutor: PostgreSQL, a broker, two workers with queues of their own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from sqlalchemy import create_engine, select, text

from conftest import POSTGRES, _postgres_or_skip, postgres_database
from stages.conftest import checksum
from trap_ops import local
from trap_ops.commands.cluster_environment import check_broker
from trap_ops.errors import ConfigError
from trap_ops.stages.fingerprint import fingerprint
from trap_ops.store.database import Store
from trap_ops.store.schema import dataset as dataset_table
from trap_ops.store.schema import run as run_table
from trap_ops.store.schema import stagerun
from with_airflow.conftest import SMALL, Checkout
from with_airflow.test_notices import Webhook, serving
from with_airflow.test_standalone import free_port

pytestmark = pytest.mark.postgres

RABBITMQ = os.environ.get("TRAP_TEST_RABBITMQ", "amqp://guest:guest@127.0.0.1:5672")
REDIS = os.environ.get("TRAP_TEST_REDIS", "redis://127.0.0.1:6379")
SETTINGS = [f"--set={s}.{k}={v}" for s, section in SMALL.items() for k, v in section.items()]
# What the broker is matters to what waits in it; all else is tried with one.
WITH_BOTH = pytest.mark.parametrize("cluster", ["rabbitmq", "redis"], indirect=True)
WITH_RABBITMQ = pytest.mark.parametrize("cluster", ["rabbitmq"], indirect=True)
FILE = """
[broker]
url = "amqp://replaced"
[database]
url = "postgresql://replaced/x"
[server]
port = {port}
[[workers]]
name = "pixels"
queues = ["pixels"]
concurrency = 2
[[workers]]
name = "database"
queues = ["database"]
concurrency = 1
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
    def store(self) -> Store:
        return Store(self.variables["TRAP_DB"])

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


@pytest.fixture(scope="module")
def cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    directory = tmp_path_factory.mktemp(request.param)
    (directory / "home").mkdir()
    file = directory / "cluster.toml"
    file.write_text(FILE.format(port=free_port()))
    name = f"trap_test_{uuid.uuid4().hex[:12]}"
    _postgres_or_skip()
    with (
        database_for_airflow(name) as airflow,
        postgres_database() as results,
        broker(request.param, name) as url,
        serving(told := Webhook()) as webhook,
    ):
        variables = {
            "TRAP_CLUSTER": str(file), "TRAP_BROKER": url, "TRAP_AIRFLOW_DB": airflow,
            "TRAP_DB": results, "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
            "TRAP_WEBHOOK": f"http://127.0.0.1:{webhook}/",
            # Nobody wants to wait a minute here.
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
        }  # fmt: skip
        made = Cluster(Checkout(directory / "var", directory / "home"), variables, told)
        started = made.run("cluster", "start")
        try:
            logs = "".join(
                f"\n{path.name}:\n{path.read_text(errors='replace')[-1500:]}"
                for path in (directory / "var" / "cluster").glob("*.log")
            )
            assert started.returncode == 0, started.stdout + started.stderr + logs
            yield made
        finally:
            stopped = made.run("cluster", "stop")
        assert stopped.returncode == 0, stopped.stdout + stopped.stderr
        assert made.processes() == [], "the stop ends all that was started"


@pytest.fixture(scope="module")
def in_one_process(images: list[Path], tmp_path_factory: pytest.TempPathFactory) -> str:
    """Checksum of the results without Airflow, on SQLite."""
    directory = tmp_path_factory.mktemp("eager")
    url = f"sqlite:///{directory}/results.db"
    local.run(images, "series", store_url=url, overrides=SMALL, output_dir=directory)
    store = Store(url)
    try:
        return checksum(store)
    finally:
        store.close()


@WITH_BOTH
@pytest.mark.timeout(600)
def test_workers_make_of_images_what_one_process_makes(
    cluster: Cluster, images: list[Path], in_one_process: str
) -> None:
    made = cluster.run("run", "--cluster", *map(str, images), "--dataset", "series", *SETTINGS)
    assert made.returncode == 0, made.stdout + made.stderr
    assert "publish" in made.stdout
    assert checksum(cluster.store) == in_one_process
    for worker in ("pixels", "database"):
        log = (cluster.checkout.var / "cluster" / f"worker-{worker}.log").read_text()
        assert "succeeded in" in log, f"worker {worker} has done nothing"


@WITH_RABBITMQ
@pytest.mark.timeout(600)
def test_a_run_that_fails_says_why(cluster: Cluster, images: list[Path]) -> None:
    words = ["run", "--cluster", str(images[0]), "--dataset", "wrong"]
    made = cluster.run(*words, "--set=extraction.margin_px=-1")
    assert made.returncode == 1
    assert "extraction.margin_px" in made.stderr
    for _ in range(300):
        if cluster.told.bodies:
            break
        time.sleep(0.1)
    # One, and it knows what the log of the task says.
    (body,) = cluster.told.bodies
    assert body["dataset"] == "wrong"
    assert "extraction.margin_px" in body["reason"]
    assert body["link"].endswith(f"/dags/trap_batch/runs/{body['run']}")


@WITH_RABBITMQ
def test_its_state_is_shown(cluster: Cluster) -> None:
    made = cluster.run("cluster", "status")
    assert made.returncode == 0, made.stdout + made.stderr
    assert made.stdout.count("RUNNING") == 6
    for part in ("scheduler healthy", "waiting in queues", "code as here", "schema "):
        assert part in made.stdout


@WITH_RABBITMQ
def test_it_is_drained_and_goes_on(cluster: Cluster) -> None:
    for word, said in (("drain", "Drained: no task is at work"), ("undrain", "Goes on")):
        made = cluster.run("cluster", word)
        assert made.returncode == 0, made.stdout + made.stderr
        assert "trap_batch" in made.stdout
        assert said in made.stdout
    assert "is not drained" in cluster.run("cluster", "undrain").stderr


@WITH_RABBITMQ
def test_a_second_one_is_refused(cluster: Cluster) -> None:
    made = cluster.run("cluster", "start")
    assert made.returncode == 1
    assert "runs already" in made.stderr


@WITH_RABBITMQ
def test_what_ends_is_started_again(cluster: Cluster) -> None:
    scheduler = next(p for p in cluster.processes() if p.cmdline()[-1:] == ["scheduler"])
    scheduler.kill()
    psutil.wait_procs([scheduler], timeout=10)

    def shown() -> str:
        return cluster.run("cluster", "status").stdout

    assert any("scheduler               RUNNING" in shown() for _ in range(20))


@WITH_RABBITMQ
def test_health_checks_find_what_works_and_what_does_not(cluster: Cluster) -> None:
    for process in ("api-server", "scheduler", "dag-processor", "triggerer", "worker"):
        made = cluster.run("cluster", "healthy", process)
        assert (made.returncode, made.stdout) == (0, "healthy\n"), process
    away = cluster.run("cluster", "healthy", "worker", TRAP_BROKER="redis://127.0.0.1:1/0")
    assert away.returncode == 1


@WITH_RABBITMQ
def test_celery_asks_the_workers(cluster: Cluster) -> None:
    made = cluster.run("celery", "list-workers", "--output", "plain")
    assert made.returncode == 0, made.stdout + made.stderr
    assert "pixels@" in made.stdout
    assert "database@" in made.stdout


@WITH_RABBITMQ
def test_workers_say_what_they_are(cluster: Cluster) -> None:
    made = cluster.run("workers", "--json")
    assert made.returncode == 0, made.stdout + made.stderr
    found = {worker["name"].split("@")[0]: worker for worker in json.loads(made.stdout)}
    assert {name: worker["queues"] for name, worker in found.items()} == {
        "pixels": ["pixels"], "database": ["database"]
    }  # fmt: skip
    assert [found[name]["concurrency"] for name in ("database", "pixels")] == [1, 2]
    assert {worker["fingerprint"] for worker in found.values()} == {fingerprint()}
    assert found["pixels"]["versions"]["numpy"]
    shown = cluster.run("workers")
    assert shown.returncode == 0
    assert shown.stdout.count("as here") == 2


@WITH_RABBITMQ
def test_a_wrong_broker_is_one_sentence(cluster: Cluster) -> None:
    for words in (["cluster", "start"], ["celery", "worker"]):
        made = cluster.run(*words, TRAP_BROKER="amqp://me:hidden@127.0.0.1:1//")
        assert made.returncode == 1
        assert "the broker amqp://me:***@127.0.0.1:1// cannot be used" in made.stderr
        assert "hidden" not in made.stdout + made.stderr


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


def kill_family(process: psutil.Process) -> None:
    """Kill a process and all that it has started, at once."""
    family = [process, *process.children(recursive=True)]
    assert len(family) > 1, "it has children for tasks"
    for member in family:
        with suppress(psutil.NoSuchProcess):
            member.kill()


@WITH_BOTH
@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("stage", "worker"),
    [
        ("measure_quality", "pixels"),
        ("extract_sources", "pixels"),
        ("associate", "database"),
        ("measure_variability", "database"),
    ],
)
def test_a_worker_that_is_killed_in_a_stage_costs_time_only(
    cluster: Cluster, images: list[Path], in_one_process: str, stage: str, worker: str
) -> None:
    dataset = f"killed in {stage}"
    words = ["run", "--cluster", *map(str, images), "--dataset", dataset, *SETTINGS]
    process = worker_process(cluster, worker)
    store = cluster.store
    store.prepare()
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(cluster.run, *words, TIMEOUT="800")
        try:
            for _ in range(2000):
                if begun(store, dataset, stage):
                    break
                time.sleep(0.05)
            else:
                pytest.fail(f"{stage} did not begin")
            kill_family(process)
            made = run.result()
            assert made.returncode == 0, made.stdout + made.stderr
            assert checksum(store, dataset) == in_one_process
        finally:
            store.close()

"""A cluster on servers of its own, and runs on it that faults hit."""

from __future__ import annotations

import logging
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import create_engine, make_url, text

from faults.services import BROKERS, Network, Postgres, Service, served
from stages.conftest import checksum
from trap_ops.commands.celery_workers import ping
from with_airflow.clusters import SETTINGS, Cluster, running
from with_airflow.conftest import ROOT

logger = logging.getLogger(__name__)

AIRFLOW, RESULTS = "airflow", "results"
_PATIENCE_S = 240.0


@dataclass
class Bed:
    """A running cluster whose servers may be hit, and what was done to it."""

    cluster: Cluster
    postgres: Postgres
    broker: Service
    done: list[str] = field(default_factory=list)

    def ask(self, database: str, query: str, **values: Any) -> list[Any]:
        """Ask a database of it."""
        url = make_url(f"{self.postgres.url}/{database}").set(drivername="postgresql+psycopg2")
        engine = create_engine(url)
        try:
            with engine.connect() as connection:
                return list(connection.execute(text(query), values))
        finally:
            engine.dispose()

    def tasks(self, state: str, queue: str = "%", host: str = "%") -> set[tuple[str, int, int]]:
        """Tasks in a state of Airflow: name, number in its map, number of the try."""
        query = (
            "SELECT task_id, map_index, try_number FROM task_instance WHERE state = :state "
            "AND dag_id = 'trap_batch' "
            "AND queue LIKE :queue AND coalesce(hostname, '') LIKE :host"
        )
        found = self.ask(AIRFLOW, query, state=state, queue=queue, host=host)
        return {tuple(row) for row in found}

    @property
    def given_up(self) -> int:
        """How many tries of tasks did not succeed."""
        query = "SELECT sum(try_number - 1) FROM task_instance WHERE dag_id = 'trap_batch'"
        return int(self.ask(AIRFLOW, query)[0][0])

    @property
    def requeued(self) -> int:
        """How often a task that stayed queued was given to the broker again."""
        query = "SELECT count(*) FROM log WHERE event = 'stuck in queued reschedule'"
        return int(self.ask(AIRFLOW, query)[0][0])

    @property
    def at_work(self) -> str:
        """What runs, in words."""
        return f"running {sorted(self.tasks('running'))}"

    def tries(self, dataset: str) -> dict[str, int]:
        """How often each task of the runs on a dataset was begun, by name and number."""
        query = (
            "SELECT task_id, map_index, max(try_number) FROM task_instance WHERE run_id IN "
            "(SELECT run_id FROM dag_run WHERE conf ->> 'dataset' = :dataset) GROUP BY 1, 2"
        )
        found = self.ask(AIRFLOW, query, dataset=dataset)
        return {f"{name} [{number}]": most for name, number, most in found}

    def begun(self, dataset: str, stage: str) -> bool:
        """Whether a stage of a run on a dataset has begun."""
        query = (
            "SELECT 1 FROM stagerun JOIN run ON run.id = stagerun.run JOIN dataset "
            "ON dataset.id = run.dataset WHERE description = :dataset AND stage = :stage"
        )
        return bool(self.ask(RESULTS, query, dataset=dataset, stage=stage))

    def say(self, what: str) -> None:
        """Note what a fault has hit."""
        self.done.append(what)
        logger.info("%s", what)

    def workers(self) -> str:
        """Names of the workers that answer."""
        return " ".join(ping(self.broker.url))

    def task_logs(self) -> str:
        """All logs of tasks."""
        logs = (self.cluster.checkout.var / "airflow" / "logs").rglob("*.log")
        return "\n".join(path.read_text(errors="replace") for path in logs)


def wait_for(what: str, condition: Callable[[], Any], patience_s: float = _PATIENCE_S) -> Any:
    """Wait until something is true, and return it."""
    until = time.monotonic() + patience_s
    while not (found := condition()):
        assert time.monotonic() < until, f"{what}: not in {patience_s:.0f} s"
        time.sleep(0.1)
    return found


@contextmanager
def servers_and_cluster(
    kind: str, directory: Path, host: str = "127.0.0.1", timeout_min: float = 60.0
) -> Iterator[Bed]:
    """A cluster on servers of its own."""
    with (
        served(Postgres(host)) as postgres,
        served(BROKERS[kind](host)) as broker,
    ):
        assert isinstance(postgres, Postgres)
        admin = create_engine(
            make_url(f"{postgres.url}/postgres").set(drivername="postgresql+psycopg2"),
            isolation_level="AUTOCOMMIT",
        )
        with admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {RESULTS}"))
        admin.dispose()
        results, airflow = (f"{postgres.url}/{name}" for name in (RESULTS, AIRFLOW))
        with running(
            directory, results, airflow, broker.url, host=host, timeout_min=timeout_min
        ) as cluster:
            store = cluster.store
            store.prepare()
            store.close()
            yield Bed(cluster, postgres, broker)


@contextmanager
def run_hit(
    made: Bed, images: list[Path], dataset: str, expected: str, patience_s: float = 600.0
) -> Iterator[Future[subprocess.CompletedProcess[str]]]:
    """A run that faults may hit; at the end all must be as if there had been none."""
    words = ["run", "--cluster", *map(str, images), "--dataset", dataset, *SETTINGS]
    words.append("--set=execution.parallel_tasks=3")
    started = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(made.cluster.run, *words, TIMEOUT=str(patience_s))
        yield run
        ended = run.result()
    made.say(f"run on {dataset!r}: {time.monotonic() - started:.0f} s; {made.tries(dataset)}")
    assert ended.returncode == 0, ended.stdout + ended.stderr + made.cluster.logs(3000)
    assert_unharmed(made, dataset, expected)


def assert_unharmed(made: Bed, dataset: str, expected: str) -> None:
    """Check that results are those of one process, and that nothing is left for an operator."""
    store = made.cluster.store
    try:
        assert checksum(store, dataset) == expected
    finally:
        store.close()
    checked = made.cluster.run("check", dataset)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert made.ask(RESULTS, "SELECT * FROM datasetlock") == []
    assert {*made.ask(RESULTS, "SELECT state FROM run")} == {("finished",)}
    query = (
        "SELECT task_id, state FROM task_instance WHERE dag_id = 'trap_batch' "
        "AND state IS DISTINCT FROM 'success'"
    )
    assert made.ask(AIRFLOW, query) == []


@contextmanager
def worker_elsewhere(made: Bed, network: Network) -> Iterator[Path]:
    """A worker for pixels on another host; what it says is in the file."""
    log = made.cluster.checkout.home.parent / "elsewhere.log"
    words = [
        "ip", "netns", "exec", network.name, "unshare", "--uts", "sh", "-c",
        'hostname "$0" && exec "$@"', network.name, str(ROOT / "bin" / "trap-manage"), "celery",
        "worker", "--queues=pixels", "--concurrency=2", "--celery-hostname=elsewhere@%h",
        "--skip-serve-logs", f"--pid={log.with_suffix('.pid')}",
    ]  # fmt: skip
    with log.open("wb") as file:
        process = subprocess.Popen(
            words, env={**made.cluster.checkout.environment, **made.cluster.variables},
            cwd=made.cluster.checkout.home, stdout=file, stderr=file, start_new_session=True,
        )  # fmt: skip
    try:
        wait_for("the worker elsewhere", lambda: "elsewhere@" in made.workers())
        yield log
    finally:
        family = [
            psutil.Process(process.pid),
            *psutil.Process(process.pid).children(recursive=True),
        ]
        for member in family:
            with suppress(psutil.NoSuchProcess):
                member.kill()
        process.wait(20)

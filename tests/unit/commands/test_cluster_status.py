"""What somebody on call is told of a cluster, and how it is brought to rest."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kombu import Connection

from trap_ops.commands import celery_workers, cluster_drain, cluster_processes, cluster_status
from trap_ops.commands.__main__ import main
from trap_ops.commands.celery_workers import Worker, queue_depths
from trap_ops.commands.cluster_status import PARTS
from trap_ops.stages.fingerprint import fingerprint, versions
from with_airflow.clusters import need_broker

WELL = dict.fromkeys(PARTS, "healthy")
QUEUES = {"pixels": 3, "database": 0, "default": None}


def worker(name: str, *queues: str, code: str = "") -> Worker:
    return Worker(name, list(queues), 1, [], code or fingerprint(), dict(versions()), "")


class Airflow:
    """A server that has one task at work and two that wait."""

    def __init__(self) -> None:
        self.url = "http://pages:8080"
        self.parts = dict(WELL)
        self.paused = {"trap_batch": False, "mine": True, "gone": False}
        self.kept: dict[str, Any] = {}
        self.left = {"running": 1, "queued": 2}

    def health(self) -> dict[str, str]:
        return self.parts

    def tasks(self, state: str) -> tuple[int, list[dict[str, Any]]]:
        when = {"queued_when": "2026-01-01T00:00:00Z", "task_id": "associate", "dag_run_id": "r1"}
        later = {**when, "queued_when": "2026-01-02T00:00:00Z", "task_id": "publish"}
        number = self.left.get(state, 0)
        return number, [later, when] if number else []

    def dags(self) -> dict[str, bool]:
        return dict(self.paused)

    def pause(self, dag: str, *, paused: bool) -> None:
        self.paused[dag] = paused

    def variable(self, name: str) -> Any:
        return self.kept.get(name)

    def keep_variable(self, name: str, value: object) -> None:
        assert name not in self.kept
        self.kept[name] = value

    def forget_variable(self, name: str) -> None:
        del self.kept[name]


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Airflow:
    """A cluster in which all is well."""
    server = Airflow()
    monkeypatch.setenv("TRAP_VAR", str(tmp_path))
    monkeypatch.delenv("TRAP_DB", raising=False)
    for module in (cluster_status, cluster_drain):
        monkeypatch.setattr(module, "airflow_server", lambda _: server)
    there = [worker("p@a", "pixels"), worker("d@b", "database", "default")]
    monkeypatch.setattr(cluster_status, "workers", lambda _: there)
    monkeypatch.setattr(cluster_status, "queue_depths", lambda *_: QUEUES)
    monkeypatch.setattr(cluster_status, "check_broker", lambda _: None)
    return server


def test_all_is_well(airflow: Airflow, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cluster", "status"]) == 0
    said = capsys.readouterr().out
    for part in (
        "pixels 3, database 0, default -",
        "running 1, queued 2",
        "associate of r1: ",
        "worker p@a              code as here",
        "GB left",
        "schema none yet",
    ):
        assert part in said
    assert "WRONG" not in said


def test_programs_get_all_of_it(airflow: Airflow, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cluster", "status", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["queues"] == QUEUES
    assert found["tasks"]["queued"] == 2
    assert found["oldest_waiting_s"] > 0
    assert found["problems"] == []


def no_broker(_: str) -> None:
    from trap_ops.errors import ConfigError

    raise ConfigError("the broker is away")


def supervisor(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(cluster_processes, "running", lambda: 1)
    names = ("api-server", "scheduler", "triggerer", "worker-pixels", "worker-database")
    states = dict.fromkeys(names, "RUNNING   pid 1")
    patch.setattr(cluster_processes, "states", lambda: states)


def old_results(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("trap_ops.store.database.SCHEMA_REVISION", "9999")


FAULTS: list[tuple[Callable[[Airflow, pytest.MonkeyPatch], object], str]] = [
    (lambda a, _: a.parts.clear(), "Airflow at http://pages:8080 does not answer"),
    (lambda a, _: a.parts.update(scheduler="unhealthy"), "scheduler is unhealthy"),
    (lambda _, p: p.setattr(cluster_status, "check_broker", no_broker), "the broker is away"),
    (
        lambda _, p: p.setattr(
            cluster_status, "workers", lambda _: [worker("p@a", "pixels", "default")]
        ),
        "no worker serves the queue 'database'",
    ),
    (
        lambda _, p: p.setattr(
            cluster_status,
            "workers",
            lambda _: [worker("w@a", "pixels", "database", "default", code="0" * 64)],
        ),
        "worker w@a has other code than this checkout",
    ),
    (
        lambda _, p: p.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=5e8)),
        "0.50 GB are left",
    ),
    (lambda _, p: supervisor(p), "process dag-processor is not running"),
    (lambda _, p: old_results(p), "this code needs '9999'"),
    (lambda _, p: p.setenv("TRAP_DB", "postgresql://me:hidden@127.0.0.1:1/x"), "cannot be used"),
]


@pytest.mark.parametrize(("fault", "said"), FAULTS)
def test_what_is_wrong_is_one_sentence_and_the_exit_status(
    fault: Callable[[Airflow, pytest.MonkeyPatch], object],
    said: str,
    airflow: Airflow,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    sqlite_template: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copy(sqlite_template, tmp_path / "results.db")
    fault(airflow, monkeypatch)
    assert main(["cluster", "status"]) == 1
    shown = capsys.readouterr().out
    (wrong,) = (line for line in shown.splitlines() if line.startswith("WRONG"))
    assert said in wrong
    assert "hidden" not in shown


def test_a_drain_waits_and_what_it_paused_goes_on(
    airflow: Airflow, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        assert all(airflow.paused.values()), "nothing new begins meanwhile"
        slept.append(seconds)
        airflow.left = {"running": 1} if len(slept) == 1 else {}

    monkeypatch.setattr("time.sleep", sleep)
    assert main(["cluster", "drain"]) == 0
    said = capsys.readouterr().out
    assert "1 task at work, 2 on the way" in said
    assert "1 task at work, 0 on the way" in said
    assert said.index("0 on the way") < said.index("Drained")
    # A second one, as after Ctrl-C, forgets nothing.
    assert main(["cluster", "drain"]) == 0
    assert main(["cluster", "status"]) == 0
    assert "drained" in capsys.readouterr().out
    # By an upgrade.
    del airflow.paused["gone"]
    assert main(["cluster", "undrain"]) == 0
    assert airflow.paused == {"trap_batch": False, "mine": True}
    assert airflow.kept == {}
    assert main(["cluster", "undrain"]) == 1
    assert "is not drained" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["amqp://guest:guest@127.0.0.1:5672//", "redis://127.0.0.1:6379/0"])
@pytest.mark.postgres
def test_messages_that_wait_are_counted(url: str) -> None:
    """On real brokers, which the tests need beside PostgreSQL."""
    need_broker(url)
    name = f"trap-test-{uuid.uuid4().hex[:12]}"
    assert queue_depths(url, [f"{name}-absent", name]) == {f"{name}-absent": None, name: None}
    with Connection(url) as connection, connection.SimpleQueue(name) as queue:
        try:
            for number in range(3):
                queue.put({"number": number})
            assert queue_depths(url, [name, f"{name}-absent"]) == {name: 3, f"{name}-absent": None}
        finally:
            queue.queue.delete()


def test_nobody_is_asked_where_nobody_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(celery_workers, "ping", lambda _: set())
    assert celery_workers.workers("amqp://127.0.0.1:1//") == []


def test_the_store_is_not_made_by_looking(airflow: Airflow, tmp_path: Path) -> None:
    assert main(["cluster", "status"]) == 0
    assert not (tmp_path / "results.db").exists()

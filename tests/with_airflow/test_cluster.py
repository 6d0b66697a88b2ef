"""The DAG on a real CeleryExecutor: PostgreSQL, a broker, two workers with queues of their own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from stages.conftest import checksum
from trap_ops.stages.fingerprint import fingerprint
from with_airflow.clusters import SETTINGS, Cluster, checksum_of_one_process, cluster_of_services

pytestmark = pytest.mark.postgres

# What the broker is matters to what waits in it; all else is tried with one.
WITH_BOTH = pytest.mark.parametrize("cluster", ["rabbitmq", "redis"], indirect=True)
WITH_RABBITMQ = pytest.mark.parametrize("cluster", ["rabbitmq"], indirect=True)


@pytest.fixture(scope="module")
def cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    with cluster_of_services(request.param, tmp_path_factory.mktemp(request.param)) as made:
        yield made


@pytest.fixture(scope="module")
def in_one_process(images: list[Path], tmp_path_factory: pytest.TempPathFactory) -> str:
    """Checksum of the results without Airflow, on SQLite."""
    return checksum_of_one_process(images, tmp_path_factory.mktemp("eager"))


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


@WITH_RABBITMQ
def test_its_state_is_shown(cluster: Cluster) -> None:
    made = cluster.run("cluster", "status")
    assert made.returncode == 0, made.stdout + made.stderr
    assert made.stdout.count("RUNNING") == 6
    assert "scheduler healthy" in made.stdout


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

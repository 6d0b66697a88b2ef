"""The DAG on a real CeleryExecutor: PostgreSQL, a broker, two workers with queues of their own."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from celery import Celery
from sqlalchemy import func, select

from stages.conftest import checksum
from trap_ops.commands.airflow_api import AirflowServer
from trap_ops.commands.celery_workers import ping
from trap_ops.simulate.series import write_series
from trap_ops.stages.fingerprint import fingerprint
from trap_ops.store.database import Store
from trap_ops.store.schema import arrival, stagerun
from trap_ops.store.schema import dataset as dataset_table
from trap_ops.store.schema import run as run_table
from with_airflow.clusters import (
    SETTINGS,
    Cluster,
    begun,
    checksum_of_one_process,
    cluster_of_services,
)
from with_airflow.conftest import PLAN, ROOT

pytestmark = pytest.mark.postgres

# What the broker is matters to what waits in it; all else is tried with one.
# (tests/faults has a run on Redis for every day, in which its queues are lost.)
WITH_BOTH = pytest.mark.parametrize(
    "cluster", ["rabbitmq", pytest.param("redis", marks=pytest.mark.long)], indirect=True
)
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
    for _ in range(300):
        if told := [body for body in cluster.told.bodies if body["dataset"] == "wrong"]:
            break
        time.sleep(0.1)
    # One, and it knows what the log of the task says.
    (body,) = told
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
@pytest.mark.long
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
@pytest.mark.long
def test_what_ends_is_started_again(cluster: Cluster) -> None:
    scheduler = next(p for p in cluster.processes() if p.cmdline()[-1:] == ["scheduler"])
    scheduler.kill()
    psutil.wait_procs([scheduler], timeout=10)

    def shown() -> str:
        return cluster.run("cluster", "status").stdout

    assert any("scheduler               RUNNING" in shown() for _ in range(20))


@WITH_RABBITMQ
@pytest.mark.long
def test_health_checks_find_what_works_and_what_does_not(cluster: Cluster) -> None:
    for process in ("api-server", "scheduler", "dag-processor", "triggerer", "worker"):
        made = cluster.run("cluster", "healthy", process)
        assert (made.returncode, made.stdout) == (0, "healthy\n"), process
    away = cluster.run("cluster", "healthy", "worker", TRAP_BROKER="redis://127.0.0.1:1/0")
    assert away.returncode == 1


@WITH_RABBITMQ
@pytest.mark.long
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


def state_of(server: AirflowServer, dag: str, run_id: str, seconds: float = 240) -> str:
    """State of a run when it has ended."""
    end = time.monotonic() + seconds
    while (state := server.state(dag, run_id)) not in {"success", "failed"}:
        assert time.monotonic() < end, f"{dag} is still {state}"
        time.sleep(1.0)
    return state


def come(image: Path, folder: Path) -> Path:
    """Let an image come as a careful writer brings it."""
    folder.mkdir(exist_ok=True)
    hidden = folder / f".{image.name}"
    shutil.copyfile(image, hidden)
    return hidden.rename(folder / image.name)


@WITH_RABBITMQ
@pytest.mark.timeout(600)
def test_images_that_come_are_processed_and_a_late_one_is_put_in_its_place(
    cluster: Cluster, images: list[Path], in_one_process: str
) -> None:
    live = cluster.checkout.var.parent / "live"
    store = cluster.store
    store.prepare()
    for image in (images[0], *images[3:]):
        come(image, live)
    wait_for_files(cluster, store, len(images) - 2)
    come(images[2], live)
    # One that is late, and whose writer is slow and gives it its name at once.
    whole = images[1].read_bytes()
    with (live / images[1].name).open("wb") as file:
        for part in range(3):
            file.write(whole[part * len(whole) // 3 : (part + 1) * len(whole) // 3])
            file.flush()
            time.sleep(0.7)
    wait_for_files(cluster, store, len(images))
    assert checksum(store, "live") == in_one_process
    with store.read() as connection:
        keys = connection.execute(select(run_table.c.run_key, run_table.c.requested_by)).all()
    watched = [row for row in keys if row.run_key.startswith("watch__")]
    assert 1 < len(watched) <= len(images)
    assert {row.requested_by for row in watched} == {"trap_watch"}
    store.close()
    shown = cluster.run("arrivals", "--json")
    assert shown.returncode == 0, shown.stderr
    found = json.loads(shown.stdout)[0]
    assert (found["files"], found["waiting"]) == (len(images), {})
    assert found["measured"] == len(images)


def wait_for_files(cluster: Cluster, store: Store, number: int) -> None:
    """Wait until runs have finished so many files of the watched folder."""
    end = time.monotonic() + 300
    while files_done(store) < number:
        assert time.monotonic() < end, cluster.run("arrivals").stdout + cluster.logs(800)
        time.sleep(1.0)


def files_done(store: Store) -> int:
    """Files of the watched folder that a run has finished."""
    with store.read() as connection:
        query = (
            select(func.count())
            .select_from(arrival)
            .join(run_table, run_table.c.run_key == arrival.c.run_key)
            .where(arrival.c.series == "live", run_table.c.state == "finished")
        )
        return connection.execute(query).scalar_one()


@WITH_RABBITMQ
@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_night_takes_what_missed_nights_have_left_and_nothing_twice(
    cluster: Cluster, images: list[Path], in_one_process: str
) -> None:
    nights = cluster.checkout.var.parent / "nights"
    for number, image in enumerate(images):
        come(image, nights / "a")
        if number < 2:
            come(image, nights / "b")
    time.sleep(1.5)
    server = cluster.server
    server.trigger("trap_nightly", "first", {})
    assert state_of(server, "trap_nightly", "first") == "success"
    store = cluster.store
    assert checksum(store, "field a") == in_one_process
    with store.read() as connection:
        count = select(func.count()).select_from(run_table)
        before = connection.execute(count).scalar_one()
    server.trigger("trap_nightly", "second", {})
    assert state_of(server, "trap_nightly", "second") == "success"
    with store.read() as connection:
        assert connection.execute(count).scalar_one() == before, "with nothing new, nothing is run"
    store.close()


@WITH_RABBITMQ
@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_worker_with_other_code_refuses_and_the_run_is_planned_anew(
    cluster: Cluster, images: list[Path], in_one_process: str, tmp_path: Path
) -> None:
    """It is of another checkout, whose code is changed while it runs."""
    other = tmp_path / "checkout"
    for part in ("bin", "dags", "include", "plugins"):
        shutil.copytree(ROOT / part, other / part)
    (other / ".venv").symlink_to(ROOT / ".venv")
    words = [str(other / "bin" / "trap-manage"), "celery", "worker", "--queues=pixels"]
    words += ["--celery-hostname=other@%h", "--skip-serve-logs", "--concurrency=2"]
    words += [f"--pid={tmp_path}/pid"]
    log = (tmp_path / "log").open("w")
    process = subprocess.Popen(words, env=cluster.environ, stdout=log, stderr=log, cwd=tmp_path)
    run = ["run", "--cluster", *map(str, images), *SETTINGS, "--dataset"]
    try:
        wait_for_worker(cluster, "other", there=True)
        consume(cluster, "cancel_consumer")
        made = cluster.run(*run, "same code")
        assert made.returncode == 0, made.stdout + made.stderr
        assert cluster.run("workers").returncode == 0
        changed = other / "plugins" / "trap_ops" / "science" / "variability.py"
        changed.write_text(f"{changed.read_text()}\n# Another version.\n")
        refused = cluster.run(*run, "other code")
        assert refused.returncode == 1
        said = re.search(r"failed: (.*)", refused.stderr)
        assert said, refused.stderr
        for part in (socket.gethostname(), "planned)", "trap-manage replan cluster__"):
            assert part in said[1]
        shown = cluster.run("workers")
        assert shown.returncode == 1
        assert "OTHER" in shown.stdout
    finally:
        process.terminate()
        process.wait(60)
        log.close()
        consume(cluster, "add_consumer")
    wait_for_worker(cluster, "other", there=False)
    store = cluster.store
    with store.read() as connection:
        failed = select(run_table.c.run_key).where(run_table.c.state == "failed")
        key = connection.execute(failed.order_by(run_table.c.id.desc()).limit(1)).scalar_one()
    anew = cluster.run("replan", "--cluster", key)
    assert anew.returncode == 0, anew.stdout + anew.stderr
    assert checksum(store, "other code") == in_one_process
    store.close()


def wait_for_worker(cluster: Cluster, name: str, *, there: bool) -> None:
    for _ in range(60):
        names = {one.split("@")[0] for one in ping(cluster.variables["TRAP_BROKER"])}
        if (name in names) == there:
            return
        time.sleep(1.0)
    pytest.fail(f"worker {name}: {names}")


def consume(cluster: Cluster, what: str) -> None:
    """Let the cluster's own worker for pixels stop taking tasks, or begin again."""
    app = Celery(broker=cluster.variables["TRAP_BROKER"], set_as_current=False)
    (name,) = [one for one in ping(cluster.variables["TRAP_BROKER"]) if one.startswith("pixels@")]
    getattr(app.control, what)("pixels", destination=[name], reply=True)
    app.close()


@WITH_RABBITMQ
@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_run_with_hundreds_of_batches_does_not_hold_up_a_small_one(
    cluster: Cluster, images: list[Path], tmp_path: Path
) -> None:
    """Of each stage the small one waits for batches that are at work, not for those that wait."""
    plan = replace(PLAN, n_epochs=170)
    write_series(plan, tmp_path / "many")
    one_a_task = [*SETTINGS, "--set=execution.max_images_per_task=1"]
    large = ["run", "--cluster", str(tmp_path / "many"), "--dataset", "large", *one_a_task]
    store = cluster.store
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(cluster.run, *large, TIMEOUT="800")
        while not begun(store, "large", "measure_quality"):
            time.sleep(0.5)
        small = ["run", "--cluster", *map(str, images[:3]), "--dataset", "small", *one_a_task]
        made = cluster.run(*small)
        assert made.returncode == 0, made.stdout + made.stderr
        with store.read() as connection:
            query = (
                select(func.count())
                .select_from(stagerun)
                .join(run_table, run_table.c.id == stagerun.c.run)
                .join(dataset_table, dataset_table.c.id == run_table.c.dataset)
                .where(dataset_table.c.description == "large", stagerun.c.batch != "")
            )
            done = connection.execute(query).scalar_one()
        # 9 batches of its own; as many of the other run may begin in the same time, and what began
        # before and while the small run's single tasks were at work.
        assert done < 100, f"{done} batches of 510 went before or beside 9"
        assert not run.done()
        run.result()
    store.close()


@WITH_RABBITMQ
@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_dataset_that_is_in_use_names_its_run(cluster: Cluster, images: list[Path]) -> None:
    store = cluster.store
    store.prepare()
    run = ["run", "--cluster", str(images[0]), *SETTINGS, "--dataset", "held"]
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(cluster.run, *run)
        while not begun(store, "held", "register_images"):
            time.sleep(0.1)
        second = cluster.run(*run)
        assert second.returncode == 1
        assert "dataset 'held' is in use by run 'cluster__" in second.stderr
        assert "of admin on" in second.stderr
        assert first.result().returncode == 0
    store.close()

"""What the cluster costs: against one process, between users, and from a file to its candidates.

``python -m benchmarks.bench_cluster --help``; README.md beside it says what the figures mean.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from benchmarks.environment import code_has_changed, describe_environment, print_environment
from benchmarks.own_cluster import OwnCluster, own_cluster
from trap_ops.simulate.series import SeriesPlan, write_series
from trap_ops.store.schema import arrival, dataset, run, stagerun

_AIM_S = 60.0
_SMALL = {"size_px": 160, "n_steady": 14, "n_variable": 2, "n_transient": 1, "seed": 3}
_OWN = [
    "--set=extraction.detection_threshold_sigma=6",
    "--set=extraction.margin_px=2",
]
_ONE_A_TASK = "--set=execution.max_images_per_task=1"


def main(words: Sequence[str] | None = None) -> int:
    """Run the parts; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=2, help="of each worker at the same time")
    parser.add_argument("--epochs", type=int, default=24, help="images of the run to compare")
    parser.add_argument("--minutes", type=float, default=10.0, help="of images at one a second")
    parser.add_argument("--many", type=int, default=170, help="batches a stage of the large run")
    parser.add_argument("--parts", default="overhead,sharing,latency")
    arguments = parser.parse_args(words)
    environment = describe_environment()
    print_environment(environment)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="trap-bench-") as name:
        directory = Path(name)
        with own_cluster(directory / "cluster", arguments.tasks) as cluster:
            if "overhead" in arguments.parts:
                found["overhead"] = overhead(cluster, directory, arguments.epochs)
            if "sharing" in arguments.parts:
                found["sharing"] = sharing(cluster, directory, arguments.many)
            if "latency" in arguments.parts:
                found["latency"] = latency(cluster, directory, int(60 * arguments.minutes))
    if code_has_changed(environment):
        print("The code has changed meanwhile: these figures are of no version")
    print(json.dumps({"benchmark": "cluster", "environment": environment, **found}))
    return 0


def overhead(cluster: OwnCluster, directory: Path, epochs: int) -> dict[str, Any]:
    """A run in one process and on the cluster, in turns; and how many tasks a second."""
    images = write_series(SeriesPlan(n_epochs=epochs), directory / "series")
    times: dict[str, list[float]] = {"one process": [], "cluster": []}
    for turn in range(2):
        for where, option in (("one process", "--eager"), ("cluster", "--cluster")):
            started = time.perf_counter()
            cluster.run("run", option, str(directory / "series"), "--dataset", f"{where} {turn}")
            times[where].append(time.perf_counter() - started)
            print(f"{len(images)} images of 1024 x 1024, {where}: {times[where][-1]:.1f} s")
    write_series(SeriesPlan(n_epochs=40, **_SMALL), directory / "small")
    words = ["run", "--cluster", str(directory / "small"), "--dataset", "tasks", *_OWN, _ONE_A_TASK]
    cluster.run(*words)
    tasks, seconds = _tasks_of(cluster, "tasks")
    print(f"{tasks} tasks in {seconds:.1f} s: {tasks / seconds:.2f} a second")
    return {
        **{where: [round(t, 2) for t in all_of_them] for where, all_of_them in times.items()},
        "ratio": round(min(times["cluster"]) / min(times["one process"]), 3),
        "tasks": tasks,
        "tasks_per_s": round(tasks / seconds, 3),
    }


def sharing(cluster: OwnCluster, directory: Path, many: int) -> dict[str, Any]:
    """A small run alone, and while another one has hundreds of tasks in front of it."""
    write_series(SeriesPlan(n_epochs=many, **_SMALL), directory / "many")
    few = write_series(SeriesPlan(n_epochs=4, **_SMALL), directory / "few")
    small = ["run", "--cluster", str(directory / "few"), *_OWN, _ONE_A_TASK, "--dataset"]
    alone = [_timed(cluster, [*small, f"alone {number}"]) for number in range(2)]
    large = ["run", "--cluster", str(directory / "many"), "--dataset", "large", *_OWN, _ONE_A_TASK]
    process = cluster.begin(*large)
    while _batches_done(cluster, "large") < 2 * 2:
        time.sleep(0.5)
    beside = [_timed(cluster, [*small, f"beside {number}"]) for number in range(2)]
    done = _batches_done(cluster, "large")
    going_on = process.poll() is None
    out, _ = process.communicate()
    if process.returncode:
        raise SystemExit(out[-3000:])
    _, seconds = _tasks_of(cluster, "large")
    print(
        f"{len(few)} images alone: {min(alone):.1f} s; beside a run with {3 * many} batches, "
        f"{done} of them done by then: {', '.join(f'{t:.1f}' for t in beside)} s; that took "
        f"{seconds:.0f} s" + ("" if going_on else " (it was done before)")
    )
    return {
        "alone_s": [round(t, 2) for t in alone],
        "beside_s": [round(t, 2) for t in beside],
        "large_batches": 3 * many,
        "large_batches_done_meanwhile": done,
        "large_was_going_on": going_on,
        "large_s": round(seconds, 1),
    }


def latency(cluster: OwnCluster, directory: Path, number: int) -> dict[str, Any]:
    """Images at one a second: seconds from closing a file to the commit of its candidates."""
    plan = SeriesPlan(
        n_epochs=number, size_px=512, n_steady=70, n_variable=4, n_transient=2, cadence_s=1.0
    )
    images = write_series(plan, directory / "stream")
    incoming = cluster.directory / "incoming"
    started = time.monotonic()
    for count, image in enumerate(images):
        time.sleep(max(0.0, started + count - time.monotonic()))
        hidden = incoming / f".{image.name}"
        shutil.copyfile(image, hidden)
        hidden.rename(incoming / image.name)
    end = time.monotonic() + 10 * _AIM_S
    while len(found := _latencies(cluster)) < number and time.monotonic() < end:
        time.sleep(2.0)
    third = max(len(found) // 3, 1)
    first, last = (statistics.median(part) for part in (found[:third], found[-third:]))
    percentile = statistics.quantiles(found, n=20, method="inclusive")[-1]
    within = sum(t <= _AIM_S for t in found) / number
    print(
        f"{len(found)} of {number} images processed; from closing to candidates {min(found):.1f} s "
        f"at least, {statistics.median(found):.1f} s in the median, {percentile:.1f} s for 95 per "
        f"cent, {max(found):.1f} s at most; {100 * within:.1f} per cent within {_AIM_S:.0f} s; "
        f"median of the last third over the first: {last / first:.2f}"
    )
    return {
        "sent": number,
        "processed": len(found),
        "median_s": round(statistics.median(found), 2),
        "percentile_95_s": round(percentile, 2),
        "max_s": round(max(found), 2),
        "within_aim": round(within, 4),
        "growth": round(last / first, 3),
        "runs": _number_of_runs(cluster),
    }


def _timed(cluster: OwnCluster, words: Sequence[str]) -> float:
    started = time.perf_counter()
    cluster.run(*words)
    return time.perf_counter() - started


def _tasks_of(cluster: OwnCluster, name: str) -> tuple[int, float]:
    """Number of tasks of the run on a dataset, and the seconds that it took."""
    store = cluster.store
    with store.read() as connection:
        query = (
            select(
                func.count(),
                func.min(stagerun.c.started_ts).label("first"),
                func.max(stagerun.c.finished_ts).label("last"),
            )
            .join(run, run.c.id == stagerun.c.run)
            .join(dataset, dataset.c.id == run.c.dataset)
            .where(dataset.c.description == name)
        )
        number, first, last = connection.execute(query).one()
    store.close()
    return number, (last - first).total_seconds()


def _batches_done(cluster: OwnCluster, name: str) -> int:
    store = cluster.store
    with store.read() as connection:
        query = (
            select(func.count())
            .select_from(stagerun)
            .join(run, run.c.id == stagerun.c.run)
            .join(dataset, dataset.c.id == run.c.dataset)
            .where(
                dataset.c.description == name,
                stagerun.c.batch != "",
                stagerun.c.finished_ts.is_not(None),
            )
        )
        number = connection.execute(query).scalar_one()
    store.close()
    return int(number)


def _latencies(cluster: OwnCluster) -> list[float]:
    """Seconds of each image so far, in the order in which they came."""
    store = cluster.store
    with store.read() as connection:
        query = (
            select(arrival.c.modified_ns, stagerun.c.finished_ts)
            .join(run, run.c.run_key == arrival.c.run_key)
            .join(stagerun, stagerun.c.run == run.c.id)
            .where(stagerun.c.stage == "find_candidates", stagerun.c.finished_ts.is_not(None))
            .order_by(arrival.c.modified_ns)
        )
        rows = connection.execute(query).all()
    store.close()
    return [
        row.finished_ts.replace(tzinfo=UTC).timestamp() - row.modified_ns * 1e-9 for row in rows
    ]


def _number_of_runs(cluster: OwnCluster) -> int:
    store = cluster.store
    with store.read() as connection:
        query = select(func.count(arrival.c.run_key.distinct()))
        number = connection.execute(query).scalar_one()
    store.close()
    return int(number)


if __name__ == "__main__":
    raise SystemExit(main())

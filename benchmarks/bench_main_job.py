"""The whole job, from files to candidates: through Airflow, the stages alone, and TraP 1.4.0.

``python -m benchmarks.bench_main_job --help``; README.md beside it says what the figures mean.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import CHECKOUT
from benchmarks.environment import (
    Measured,
    best_of,
    child_environment,
    code_has_changed,
    describe_environment,
    print_environment,
    run_measured,
)
from benchmarks.stages_alone import DATASET
from benchmarks.trap_peer import (
    SCHEDULERS,
    SETTINGS,
    database_of,
    read_trap_run,
    trap_command,
    trap_versions,
)
from trap_ops.store import datasets, runs
from trap_ops.store.database import Store

AIRFLOW, STAGES, TRAP = "airflow", "stages", "trap"
TITLES = {
    AIRFLOW: "whole job through Airflow",
    STAGES: "stages alone (trap_ops.local)",
    TRAP: "TraP 1.4.0 (trap-run)",
}
# docs/DESIGN.md, section 8: at least so many times faster than TraP 1.4.0, for 100 images.
BUDGETS = {AIRFLOW: 6.0, STAGES: 15.0}
WARM_UP_IMAGES = 2
# Numbers of detections and sky sources beyond these fractions of the simulated sources mean that a
# program did something else than the job.
SENSIBLE = (0.7, 1.3)


class NotTheJobError(Exception):
    """A program ended well, but what it found shows that it did not do the job."""


@dataclass(frozen=True)
class Series:
    """A series of simulated images; everything else is a default of the simulator."""

    images: int
    size_px: int
    steady: int
    variable: int
    transient: int

    @property
    def sources(self) -> int:
        """Number of simulated sources."""
        return self.steady + self.variable + self.transient

    def write(self, cache: Path) -> Path:
        """Write the images unless the cache has them; return their directory."""
        directory = cache / "-".join(str(number) for number in asdict(self).values())
        words = [
            CHECKOUT / "bin" / "trap-manage",
            "simulate",
            directory,
            f"--n-epochs={self.images}",
            f"--size-px={self.size_px}",
            f"--n-steady={self.steady}",
            f"--n-variable={self.variable}",
            f"--n-transient={self.transient}",
        ]
        cache.mkdir(parents=True, exist_ok=True)
        # In a process of its own: a large benchmark process would spoil the peaks it measures.
        run_measured(words, cache / "simulate.log", environ=child_environment(), directory=CHECKOUT)
        return directory


@dataclass(frozen=True)
class Sample:
    """One run of one program.

    Attributes
    ----------
    measured : Measured
    inside, outside : dict
        Seconds of each stage, and of what is not in the stages; together the wall time.
    found : dict
        Numbers of images, detections, sky sources and forced fits.
    seconds_an_image : tuple of float, optional
        At first and at the end; only TraP works image by image.
    """

    measured: Measured
    inside: dict[str, float]
    outside: dict[str, float]
    found: dict[str, int]
    seconds_an_image: tuple[float, float] | None = None


class Bench:
    """Runs the programs, each time in a fresh process with a fresh results database."""

    def __init__(self, directory: Path, trap_environment: Path | None, scheduler: str) -> None:
        self._directory = directory
        self._trap_environment = trap_environment
        self._scheduler = scheduler
        self._airflow_home = directory / "var" / "airflow"

    def run(self, program: str, images: Path) -> Sample:
        """Run a program once on a directory of images."""
        for path in images.glob("*.fits"):
            # Reads from a disk are not what is compared: all find the files in memory.
            path.read_bytes()
        one_run = {AIRFLOW: self._run_airflow, STAGES: self._run_stages, TRAP: self._run_trap}
        return one_run[program](images)

    def prepare_airflow(self) -> None:
        """Create the database of Airflow, which is done once in the life of an installation."""
        run_measured(
            [CHECKOUT / "bin" / "airflow", "db", "check"],
            self._directory / "prepare.log",
            environ=self._airflow_environment(),
            directory=CHECKOUT,
        )
        shutil.copy(self._airflow_home / "airflow.db", self._directory / "migrated.db")

    def _run_airflow(self, images: Path) -> Sample:
        var = self._directory / "var"
        for path in [*var.glob("results.db*"), *self._airflow_home.glob("airflow.db*")]:
            path.unlink()
        shutil.copy(self._directory / "migrated.db", self._airflow_home / "airflow.db")
        conf = json.dumps({"images": [str(images)], "dataset": DATASET})
        measured = run_measured(
            [CHECKOUT / "bin" / "airflow", "dags", "test", "trap_batch", "-c", conf],
            self._directory / "airflow.log",
            environ=self._airflow_environment(),
            directory=CHECKOUT,
        )
        return _our_sample(measured, f"sqlite:///{var / 'results.db'}")

    def _run_stages(self, images: Path) -> Sample:
        with self._fresh_directory() as fresh:
            url = f"sqlite:///{fresh / 'results.db'}"
            measured = run_measured(
                [sys.executable, "-m", "benchmarks.stages_alone", images, url, fresh],
                self._directory / "stages.log",
                environ=child_environment(),
                directory=CHECKOUT,
            )
            return _our_sample(measured, url)

    def _run_trap(self, images: Path) -> Sample:
        if self._trap_environment is None:
            msg = "TraP has no environment to run in"
            raise ValueError(msg)
        log = self._directory / "trap.log"
        with self._fresh_directory() as fresh:
            measured = run_measured(
                trap_command(self._trap_environment, images, fresh, self._scheduler),
                log,
                environ=child_environment(),
                directory=fresh,
            )
            done = read_trap_run(database_of(fresh), log)
        end = done.stored[-1]
        return Sample(
            measured,
            inside={"images": end - done.ready},
            outside={
                "before the first image": done.ready - measured.started,
                "storing the last image, end": measured.ended - end,
            },
            found=done.found,
            seconds_an_image=done.seconds_an_image,
        )

    def _airflow_environment(self) -> dict[str, str]:
        return child_environment({"TRAP_VAR": str(self._directory / "var")})

    @contextmanager
    def _fresh_directory(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(dir=self._directory) as name:
            yield Path(name)


def _our_sample(measured: Measured, url: str) -> Sample:
    """Read from the results database how the time of a run was spent."""
    store = Store(url)
    try:
        with store.read() as connection:
            run = runs.runs_of(connection, datasets.dataset_id(connection, DATASET))
            stages = runs.stage_times(connection, run["id"][0])
    finally:
        store.close()
    inside: dict[str, float] = {}
    counts: dict[str, int] = {}
    for stage in stages:
        inside[stage["stage"]] = inside.get(stage["stage"], 0.0) + stage["seconds"]
        for name, number in stage["counts"].items():
            counts[f"{stage['stage']}: {name}"] = (
                counts.get(f"{stage['stage']}: {name}", 0) + number
            )
    planned, finished = (
        time.replace(tzinfo=UTC).timestamp()
        for time in (run["started_ts"][0], run["finished_ts"][0])
    )
    return Sample(
        measured,
        inside=inside,
        outside={
            "before the first stage": planned - measured.started,
            "between the stages": finished - planned - sum(inside.values()),
            "after the last stage": measured.ended - finished,
        },
        found={
            "images": counts.get("judge_quality: images accepted", 0),
            "detections": counts.get("extract_sources: sources", 0),
            "sky sources": counts.get("associate: sky sources", 0),
            "forced fits": counts.get("fit_forced: fits", 0),
        },
    )


def check_found(program: str, series: Series, found: dict[str, int]) -> None:
    """See that a program did the job: all images, and about as many sources as there are.

    Raises
    ------
    NotTheJobError
        If it did not.
    """
    low, high = (fraction * series.sources for fraction in SENSIBLE)
    if (
        found["images"] == series.images
        and low * series.images <= found["detections"] <= high * series.images
        and low <= found["sky sources"] <= high
    ):
        return
    msg = (
        f"{TITLES[program]} on {series.images} images of {series.sources} sources found {found}: "
        "it did not do the job, and its time means nothing"
    )
    raise NotTheJobError(msg)


def summarise(samples: Sequence[Sample]) -> dict[str, Any]:
    """Figures of all repetitions of one program; how the time was spent is the fastest one's."""
    fastest = min(samples, key=lambda sample: sample.measured.wall_s)
    figures: dict[str, Any] = {
        "wall_s": best_of([sample.measured.wall_s for sample in samples]),
        "cpu_s": best_of([sample.measured.cpu_s for sample in samples]),
        "peak_mb": round(max(sample.measured.peak_mb for sample in samples), 1),
        "busy_elsewhere": round(max(sample.measured.busy_elsewhere for sample in samples), 2),
        "inside_s": {name: round(seconds, 3) for name, seconds in fastest.inside.items()},
        "outside_s": {name: round(seconds, 3) for name, seconds in fastest.outside.items()},
        "found": fastest.found,
    }
    if fastest.seconds_an_image is not None:
        first, last = fastest.seconds_an_image
        figures["seconds_an_image"] = {"first_ten": round(first, 3), "last_ten": round(last, 3)}
    return figures


def ratios(programs: dict[str, dict[str, Any]]) -> dict[str, dict[str, float]]:
    """How many times faster each of ours is than TraP; empty if TraP was not run."""
    if TRAP not in programs:
        return {}
    return {
        name: {
            f"{unit}_{kind}": round(
                programs[TRAP][f"{unit}_s"][kind] / programs[name][f"{unit}_s"][kind], 2
            )
            for unit in ("wall", "cpu")
            for kind in ("min", "median")
        }
        for name in programs
        if name != TRAP
    }


def print_series(series: Series, programs: dict[str, dict[str, Any]]) -> None:
    """Print the tables of one series."""
    print(
        f"\n{series.images} images of {series.size_px} x {series.size_px} pixels, "
        f"{series.sources} sources"
    )
    print(
        f"{'':<32}{'wall s':>8}{'':>9}{'CPU s':>8}{'':>9}{'peak':>6}{'others':>8}\n"
        f"{'':<32}{'min':>8}{'median':>9}{'min':>8}{'median':>9}{'MB':>6}{'cores':>8}"
    )
    for name, figures in programs.items():
        wall, cpu = figures["wall_s"], figures["cpu_s"]
        print(
            f"{TITLES[name]:<32}{wall['min']:>8.2f}{wall['median']:>9.2f}{cpu['min']:>8.2f}"
            f"{cpu['median']:>9.2f}{figures['peak_mb']:>6.0f}{figures['busy_elsewhere']:>8.2f}"
        )
    for name, figures in programs.items():
        _print_parts(name, figures)
    for name, ratio in ratios(programs).items():
        print(
            f"TraP / {TITLES[name]}: wall {ratio['wall_min']:.1f} (median "
            f"{ratio['wall_median']:.1f}), CPU {ratio['cpu_min']:.1f} (median "
            f"{ratio['cpu_median']:.1f}); budget for 100 images: at least {BUDGETS[name]:.0f}"
        )


def _print_parts(name: str, figures: dict[str, Any]) -> None:
    inside, outside = figures["inside_s"], figures["outside_s"]
    print(f"{TITLES[name]}, fastest run, seconds; {figures['found']}")
    for part, seconds in [*inside.items(), *outside.items()]:
        print(f"    {part:<28}{seconds:>8.2f}")
    print(
        f"    {'sum of the stages':<28}{sum(inside.values()):>8.2f}\n"
        f"    {'outside the stages':<28}{sum(outside.values()):>8.2f}"
    )
    if "seconds_an_image" in figures:
        each = figures["seconds_an_image"]
        print(f"    an image: {each['first_ten']} at first, {each['last_ten']} at the end")


def measure(
    bench: Bench, programs: Sequence[str], everything: dict[Series, Path], repeat: int
) -> dict[Series, dict[str, dict[str, Any]]]:
    """Run all programs on all series, in turns.

    In turns, because a machine's speed drifts: what is compared must run at nearly the same time.
    """
    samples: dict[Series, dict[str, list[Sample]]] = {
        series: {program: [] for program in programs} for series in everything
    }
    for number in range(repeat):
        for series, images in everything.items():
            for program in programs:
                sample = bench.run(program, images)
                check_found(program, series, sample.found)
                samples[series][program].append(sample)
                print(
                    f"run {number + 1} of {repeat}, {series.images} images, {TITLES[program]}: "
                    f"{sample.measured.wall_s:.2f} s",
                    file=sys.stderr,
                )
    return {
        series: {program: summarise(found) for program, found in of_series.items()}
        for series, of_series in samples.items()
    }


def parse_arguments(words: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bench_main_job",
        description="Time the whole job on simulated images. The last line is JSON.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--images", type=int, nargs="+", default=[24, 100], help="lengths of the series")
    add("--size", type=int, default=1024, help="side of the images, pixels")
    add(
        "--sources",
        type=int,
        nargs=3,
        default=[286, 10, 4],
        metavar=("STEADY", "VARIABLE", "TRANSIENT"),
        help="how many of each kind",
    )
    add("--repeat", type=int, default=3, help="repetitions")
    add("--airflow", action=argparse.BooleanOptionalAction, default=True, help="with Airflow")
    add(
        "--warm-up",
        action=argparse.BooleanOptionalAction,
        default=True,
        help=f"first run everything once on {WARM_UP_IMAGES} images, without taking the time",
    )
    add("--trap-env", type=Path, help="virtual environment with trap==1.4.0 radio-pyse==0.7.1")
    add("--trap-scheduler", choices=SCHEDULERS, default=SCHEDULERS[0], help="TraP's own option")
    add("--cache", type=Path, default=CHECKOUT / "var" / "bench", help="where the images are kept")
    arguments = parser.parse_args(words)
    if arguments.repeat < 1:
        parser.error("--repeat must be at least 1")
    if arguments.trap_env and not (arguments.trap_env / "bin" / "trap-run").exists():
        parser.error(f"--trap-env {arguments.trap_env}: there is no bin/trap-run")
    return arguments


def main(words: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the benchmark; print tables and one line of JSON; return what is in that line."""
    arguments = parse_arguments(words)
    environment = describe_environment()
    print_environment(environment)
    programs = [AIRFLOW] * arguments.airflow + [STAGES] + [TRAP] * bool(arguments.trap_env)
    cache = arguments.cache.absolute()
    trap_env = arguments.trap_env.absolute() if arguments.trap_env else None

    def series_of(n_images: int) -> Series:
        return Series(n_images, arguments.size, *arguments.sources)

    everything = {s: s.write(cache) for s in map(series_of, arguments.images)}
    with tempfile.TemporaryDirectory(prefix="trap-bench-") as name:
        bench = Bench(Path(name), trap_env, arguments.trap_scheduler)
        if arguments.airflow:
            bench.prepare_airflow()
        if arguments.warm_up:
            few = series_of(WARM_UP_IMAGES)
            measure(bench, programs, {few: few.write(cache)}, 1)
        found = measure(bench, programs, everything, arguments.repeat)
    for series, figures in found.items():
        print_series(series, figures)
    changed = code_has_changed(environment)
    if changed:
        print("\nThe pipeline's code was edited meanwhile: these figures are of no one version.")
    result: dict[str, Any] = {
        "benchmark": "main_job",
        "environment": environment,
        "code_changed_meanwhile": changed,
        "repeat": arguments.repeat,
        "warm_up": arguments.warm_up,
        "budgets": BUDGETS,
        "trap": {
            "versions": trap_versions(trap_env),
            "scheduler": arguments.trap_scheduler,
            "settings": SETTINGS,
        }
        if trap_env
        else None,
        "series": [
            {**asdict(series), "programs": figures, "ratios": ratios(figures)}
            for series, figures in found.items()
        ],
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    print(json.dumps(result))
    return result


if __name__ == "__main__":
    main()

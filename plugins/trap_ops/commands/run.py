"""``trap-manage run``: the whole pipeline in one process, through Airflow, with progress."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
import tomllib
from collections.abc import Mapping
from datetime import date
from datetime import time as time_of_day
from pathlib import Path
from typing import Any

from rich.console import Console

from trap_ops.commands.airflow_process import Finished, Interrupted, TaskResult, run_airflow
from trap_ops.commands.environment import CONFIGURATIONS, store_url, var_dir
from trap_ops.commands.jobs import job_folder, monitor_texts, read_job, with_settings
from trap_ops.commands.summary import Truth, make_console, print_summary, read_truth
from trap_ops.config.load import AUTO, named_file
from trap_ops.errors import STOPPED, ConfigError, StoreError, TrapError
from trap_ops.images.discovery import absolute_input
from trap_ops.records.names import check_name
from trap_ops.store import runs
from trap_ops.store.database import Store

DAG = "trap_batch"
# Classic TraP's CELERY_ALWAYS_EAGER: all in one process, whatever is asked for.
EAGER = "TRAP_EAGER"
# Lines of Airflow's output to show when it failed before any task could say why.
_TAIL_LINES = 25


def add_parser(verbs: Any) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "run",
        help="run the pipeline on images",
        description="Run the DAG trap_batch on images in one process: no server, no broker. The "
        "first error ends it, with exit status 1. A dataset that exists is continued: images that "
        "it lacks are added, late ones put in their place in time, as if they had been there from "
        "the start. An earlier run of yours that failed on it is given up.",
    )
    parser.add_argument(
        "images",
        nargs="+",
        help="image files, directories, globs or addresses (s3://, https://); or the folder of a "
        "job, with job.toml, images.txt and monitor.txt",
    )
    parser.add_argument("--dataset", help="name of the series; needed unless a job says it")
    parser.add_argument("--config", help="configuration; default: the job's, or by telescope")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="another value for a setting, e.g. extraction.detection_threshold_sigma=5",
    )
    parser.add_argument(
        "--monitor",
        action="append",
        default=[],
        metavar="'RA DEC [NAME]'",
        help="a position to measure in every image, degrees or hh:mm:ss dd:mm:ss",
    )
    parser.add_argument(
        "-m",
        "--monitor-coords",
        metavar="'[[RA, DEC], ...]'",
        help="more positions, as JSON, in degrees",
    )
    parser.add_argument(
        "-l",
        "--monitor-list",
        metavar="FILE",
        help="more positions, from a file with such JSON, a CSV file or a VOTable",
    )
    parser.add_argument("--truth", type=Path, help="truth.json of a simulated series to compare")
    parser.add_argument("--verbose", action="store_true", help="show Airflow's own output")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--cluster", action="store_true", help="let the workers of `make cluster` do it, and wait"
    )
    where.add_argument(
        "--eager",
        action="store_true",
        help=f"in this process, which is the default; {EAGER}=1 says so even to --cluster",
    )
    where.add_argument(
        "--pdb", action="store_true", help="in this process; open the debugger at the first error"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the DAG and print what it found."""
    truth = None if arguments.truth is None else read_truth(arguments.truth)
    conf = parameters(arguments)
    store = Store(store_url())
    console = make_console()
    give_up_failed(console, store, conf["dataset"])
    if arguments.cluster and os.environ.get(EAGER, "0") == "0":
        from trap_ops.commands.cluster_run import run_on_cluster

        return run_on_cluster(console, store, conf, truth)
    verbose = arguments.verbose or arguments.pdb
    return run_dag(console, store, conf, truth, verbose=verbose, pdb=arguments.pdb)


def parameters(arguments: argparse.Namespace) -> dict[str, Any]:
    """Parameters of the DAG, of a job or without one; the command line wins.

    Raises
    ------
    ConfigError
        If something is missing or cannot be used.
    """
    folder = job_folder(arguments.images)
    job = None if folder is None else read_job(folder)
    dataset = arguments.dataset or (job.dataset if job else "")
    configuration = arguments.config or (job.configuration if job else AUTO)
    if not dataset and arguments.dataset is None:
        msg = "say which dataset the images belong to: --dataset NAME, or name the folder of a job"
        raise ConfigError(msg)
    # Airflow would refuse them too, but in its own words.
    check_name(dataset, "a dataset")
    if configuration != AUTO:
        named_file(CONFIGURATIONS, configuration)
    settings = parse_settings(arguments.set)
    return {
        "images": list(job.images) if job else [absolute_input(item) for item in arguments.images],
        "dataset": dataset,
        "configuration": configuration,
        "overrides": with_settings(job.settings, settings) if job else settings,
        "monitor": monitor_texts(
            arguments.monitor, arguments.monitor_coords, arguments.monitor_list, job
        ),
    }


def run_dag(
    console: Console,
    store: Store,
    conf: Mapping[str, Any],
    truth: Truth | None = None,
    *,
    verbose: bool,
    pdb: bool = False,
) -> int:
    """Run the DAG with these parameters, show its progress and what it found.

    Parameters
    ----------
    console : rich.console.Console
    store : Store
    conf : mapping
        Parameters of the DAG.
    truth : Truth, optional
        Of a simulated series.
    verbose : bool
        Show Airflow's own output in place of the progress.
    pdb : bool
        Open the debugger at the first error.

    Returns
    -------
    int
        Exit status.
    """
    dataset = conf["dataset"]
    log = None if verbose else _log_file(dataset)
    console.print(f"Dataset {dataset!r}: results in {store.safe_url}", highlight=False)
    if log is not None:
        console.print(f"Log: {log}", highlight=False)
    progress = Progress(console, store)
    try:
        finished = run_airflow(
            ["dags", "test", DAG, "-c", conf_text(conf)],
            log=log,
            extra={"TRAP_PDB": "1"} if pdb else None,
            watch=None if verbose else progress.show,
        )
    except Interrupted as stop:
        if stop.run:
            _explain_stop(store, stop.run)
        raise
    if not verbose:
        progress.show(finished.tasks)
    if finished.status != 0 or not finished.tasks or finished.error:
        _explain(finished, log)
        return 1
    print_summary(console, store, finished.tasks[-1].run, truth)
    return 0


def conf_text(conf: Mapping[str, Any]) -> str:
    """Parameters of the DAG as JSON."""
    return json.dumps(conf, default=_iso)


def _iso(value: date | time_of_day) -> str:
    """A date or time of TOML as the text that JSON has for it."""
    return value.isoformat()


def parse_settings(words: list[str]) -> dict[str, Any]:
    """Settings from ``SECTION.KEY=VALUE``, values as in TOML; a plain word is text.

    A section may have sections of its own: ``images.header.start=["DATE-OBS"]``.

    Raises
    ------
    ConfigError
        If a word is not of this form.
    """
    settings: dict[str, Any] = {}
    for word in words:
        match = re.fullmatch(r"(\w+(?:\.\w+)*)\.(\w+)=(.*)", word)
        if match is None:
            msg = f"--set {word}: write SECTION.KEY=VALUE, e.g. extraction.margin_px=0"
            raise ConfigError(msg, word=word)
        sections, key, text = match.groups()
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        section = settings
        for name in sections.split("."):
            section = section.setdefault(name, {})
            if not isinstance(section, dict):
                msg = f"--set {word}: {name} has a value already, and cannot be a section as well"
                raise ConfigError(msg, word=word)
        section[key] = value
    return settings


class Progress:
    """Says which stage is at work and how far it is, from what is in the database."""

    def __init__(self, console: Console, store: Store) -> None:
        self._console = console
        self._store = store
        self._started = time.perf_counter()
        self._shown: dict[str, str] = {}
        self._live = console.is_terminal

    def show(self, tasks: list[TaskResult]) -> None:
        """Print a line for each stage that has ended, and one that is renewed for the others."""
        if not tasks:
            self._overwrite(f"  starting Airflow ... {self._seconds():.0f} s")
            return
        try:
            with self._store.read() as connection:
                found = runs.find_run(connection, tasks[0].run)
                stages = runs.progress(connection, found.id)
        except TrapError:
            return  # The database is busy, or the run is not planned: the next look will tell.
        for stage in stages:
            line = f"  {stage.name:<20}{stage.what:<52}{stage.seconds:6.1f} s"
            if stage.done and self._shown.get(stage.name) != line:
                self._shown[stage.name] = line
                self._overwrite("")
                self._console.print(line, highlight=False)
            elif not stage.done:
                self._overwrite(line)

    def _seconds(self) -> float:
        return time.perf_counter() - self._started

    def _overwrite(self, line: str) -> None:
        """Renew the last line of a terminal; elsewhere only whole lines are printed."""
        if self._live:
            sys.stdout.write(f"\r\033[K{line}")
            sys.stdout.flush()


def _log_file(dataset: str) -> Path:
    name = re.sub(r"[^\w.-]+", "_", dataset)[:60]
    path = var_dir() / "logs" / f"{name}-{time.strftime('%Y%m%dT%H%M%S')}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def give_up_failed(console: Console, store: Store, dataset: str) -> None:
    """Give up the user's own failed run on a dataset: this one goes on in its place."""
    try:
        store.check()
    except StoreError:
        return  # There is nothing yet, or what register_images will refuse.
    with store.write() as connection:
        failed = runs.give_up_own_failure(connection, dataset)
    if failed is not None:
        console.print(
            f"Run {failed.key}, which has failed ({failed.message}), is given up: this one goes on "
            "from what it has stored.",
            highlight=False,
        )


def _explain_stop(store: Store, run_key: str) -> None:
    """See that a run that the user has stopped is marked as failed, and say what to do next."""
    try:
        with store.write() as connection:
            runs.note_failure(connection, run_key, STOPPED)
            found = runs.find_run(connection, run_key)
    except StoreError:
        return  # It was not planned yet: there is nothing to go on with.
    except TrapError as error:
        remedy = f"give it up before you start again: `trap-manage abandon {run_key}`"
        print(
            f"\nrun {run_key} may still be marked as running ({error}); {remedy}", file=sys.stderr
        )
        return
    if found.state == runs.FAILED:
        print(
            f"\nrun {run_key} is stopped and marked as failed. The same command again goes on from "
            f"what it has stored; `trap-manage abandon {run_key}` frees dataset "
            f"{found.dataset_name!r} for others.",
            file=sys.stderr,
        )


def _explain(finished: Finished, log: Path | None) -> None:
    """Say why the run failed: the task's own sentence, or the end of Airflow's output."""
    if finished.error:
        stage = next(task.stage for task in finished.tasks if task.error)
        print(f"\ntrap-manage: {stage} failed: {finished.error}", file=sys.stderr)
    elif log is not None:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-_TAIL_LINES:])
        print(f"\ntrap-manage: Airflow failed before any task ran:\n{tail}", file=sys.stderr)
    if log is not None:
        print(f"The whole log: {log}", file=sys.stderr)

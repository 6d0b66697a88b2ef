"""Run Airflow as a process of its own, and learn what its tasks did."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trap_ops.commands.environment import AIRFLOW_COMMAND, full_environment, prepare_airflow


@dataclass(frozen=True)
class TaskResult:
    """What became of one task: its stage, its run, and the message of its failure if it failed."""

    stage: str
    run: str
    error: str


@dataclass(frozen=True)
class Finished:
    """A finished process of Airflow and the tasks that it ran, in order."""

    status: int
    tasks: list[TaskResult]

    @property
    def error(self) -> str:
        """Message of the first task that failed; empty if none did."""
        return next((task.error for task in self.tasks if task.error), "")


def run_airflow(
    words: Sequence[str],
    *,
    log: Path | None = None,
    extra: Mapping[str, str] | None = None,
    watch: Callable[[list[TaskResult]], None] | None = None,
) -> Finished:
    """Run ``airflow WORDS`` and wait for it.

    Parameters
    ----------
    words : sequence of str
    log : Path, optional
        Where its output goes; by default to this terminal.
    extra : mapping, optional
        Further variables.
    watch : callable, optional
        Called about three times a second with the tasks that are done.
    """
    environment = full_environment() | dict(extra or {})
    prepare_airflow(environment)
    with tempfile.NamedTemporaryFile(prefix="trap-results-") as results:
        environment["TRAP_RESULT_FILE"] = results.name
        output = log.open("w") if log is not None else None
        try:
            with subprocess.Popen(
                [*AIRFLOW_COMMAND, *words], env=environment, stdout=output, stderr=output
            ) as process:
                status = _wait(process, Path(results.name), watch)
        finally:
            if output is not None:
                output.close()
        return Finished(status, _results(Path(results.name)))


def _wait(
    process: subprocess.Popen[bytes],
    results: Path,
    watch: Callable[[list[TaskResult]], None] | None,
) -> int:
    try:
        while True:
            try:
                return process.wait(timeout=0.3)
            except subprocess.TimeoutExpired:
                if watch is not None:
                    watch(_results(results))
    except BaseException:
        process.terminate()
        process.wait()
        raise


def _results(path: Path) -> list[TaskResult]:
    # A line without its end is still being written.
    whole, _, _ = path.read_text().rpartition("\n")
    return [TaskResult(**json.loads(line)) for line in whole.splitlines()]

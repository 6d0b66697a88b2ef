"""Run Airflow as a process of its own, and learn what its tasks did."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trap_ops.commands.environment import (
    AIRFLOW_COMMAND,
    full_environment,
    prepare_airflow,
    var_dir,
)

# How long Airflow may take to end a task that is to stop.
_GRACE_S = 10.0
# Linux takes no word of 128 kB or more: a thousand images or positions are more.
_MAX_WORD_BYTES = 100_000


@dataclass(frozen=True)
class TaskResult:
    """What became of one task.

    Attributes
    ----------
    stage, run : str
    error : str or None
        The message of its failure; empty if it succeeded, None if it has only begun.
    """

    stage: str
    run: str
    error: str | None


@dataclass(frozen=True)
class Finished:
    """A finished process of Airflow and the tasks that it ran, in order."""

    status: int
    tasks: list[TaskResult]

    @property
    def error(self) -> str:
        """Message of the first task that failed; empty if none did."""
        return next((task.error for task in self.tasks if task.error), "")


class Interrupted(KeyboardInterrupt):
    """The user stopped Airflow: its process has ended.

    Parameters
    ----------
    run : str
        Airflow's run id; empty if no task had begun.
    *args : object
        Those of the KeyboardInterrupt.
    """

    def __init__(self, run: str, *args: object) -> None:
        super().__init__(*args)
        self.run = run


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
        Called about three times a second with the tasks that have begun or are done.

    Raises
    ------
    Interrupted
        If the user stops it.
    """
    environment = full_environment() | dict(extra or {})
    prepare_airflow(environment)
    logs = var_dir() / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.NamedTemporaryFile(dir=logs, prefix=".tasks-") as results,
        tempfile.NamedTemporaryFile("w", dir=logs, prefix=".words-", suffix=".json") as long_words,
    ):
        if max(len(word.encode()) for word in words) > _MAX_WORD_BYTES:
            json.dump(list(words), long_words)
            long_words.flush()
            environment["TRAP_WORDS_FILE"] = long_words.name
            words = ()
        environment["TRAP_RESULT_FILE"] = results.name
        output = log.open("w") if log is not None else None
        try:
            with subprocess.Popen(
                [*AIRFLOW_COMMAND, *words], env=environment, stdout=output, stderr=output
            ) as process:
                status = _wait(process, Path(results.name), watch)
        except KeyboardInterrupt as stop:
            begun = _results(Path(results.name))
            raise Interrupted(begun[0].run if begun else "", *stop.args) from stop
        finally:
            if output is not None:
                output.close()
        done = [task for task in _results(Path(results.name)) if task.error is not None]
        return Finished(status, done)


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
        _end(process)
        raise


def _end(process: subprocess.Popen[bytes], grace_s: float = _GRACE_S) -> None:
    """End a process, however deep in its work it is; it must not go on without us."""
    process.terminate()
    try:
        process.wait(grace_s)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        process.kill()
        process.wait()


def _results(path: Path) -> list[TaskResult]:
    # A line without its end is still being written.
    whole, _, _ = path.read_text().rpartition("\n")
    return [TaskResult(**json.loads(line)) for line in whole.splitlines()]

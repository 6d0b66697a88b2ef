"""Finders as processes that are given one image after another."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import CHECKOUT
from benchmarks.environment import child_environment
from benchmarks.finder_sets import Catalogue

SCRIPTS = CHECKOUT / "benchmarks" / "finders"
OURS = "ours.py"


@dataclass(frozen=True)
class Finder:
    """A finder and how it is called.

    Attributes
    ----------
    name : str
    python : Path
        Of the environment that has it.
    script : str
        Finders of one script are one program with different options.
    options : tuple of str
    slow : bool
        It takes seconds an image: only small images are timed, once.
    """

    name: str
    python: Path
    script: str
    options: tuple[str, ...] = ()
    slow: bool = False

    @property
    def is_ours(self) -> bool:
        """Whether it is this project's."""
        return self.script == OURS

    @property
    def splits(self) -> bool:
        """Whether it splits blends although that is off by default."""
        return "split" in self.options


class FinderError(Exception):
    """A finder failed; the message has what it said last."""


class FinderProcess:
    """A running finder that waits for images.

    Attributes
    ----------
    version : str
    import_cpu_s : float
    """

    def __init__(self, finder: Finder) -> None:
        self._name = finder.name
        self._process = subprocess.Popen(  # noqa: S603 - the benchmark's own commands
            [finder.python, SCRIPTS / finder.script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=child_environment(),
        )
        try:
            ready = self._answer()
        except FinderError:
            self.close()
            raise
        self.version: str = ready["version"]
        self.import_cpu_s: float = ready["import_cpu_s"]

    def find(
        self, finder: Finder, image: Path, catalogue: Path, threshold: float, repetitions: int
    ) -> dict[str, Any]:
        """Write the catalogue of an image; return what it has cost.

        Raises
        ------
        FinderError
        """
        order = {
            "image": str(image),
            "catalogue": str(catalogue),
            "threshold": threshold,
            "repetitions": repetitions,
            "options": finder.options,
        }
        assert self._process.stdin is not None  # noqa: S101
        print(json.dumps(order), file=self._process.stdin, flush=True)
        return self._answer()

    def close(self) -> None:
        """End it."""
        self._process.communicate()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None  # noqa: S101
        line = self._process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else {"error": "it has ended"}
        if "error" in answer:
            msg = f"{self._name} failed: {answer['error']}"
            raise FinderError(msg)
        return answer


class FinderPool:
    """Processes of every finder, started when they are needed; each has one image at a time."""

    def __init__(self, processes: int) -> None:
        self._threads = ThreadPoolExecutor(processes)
        self._n = processes
        self._running: dict[tuple[Path, str], list[FinderProcess]] = {}

    def catalogues(
        self, finder: Finder, images: Sequence[Path], threshold: float
    ) -> tuple[list[Catalogue], list[float]]:
        """Find the sources of images; return catalogues and CPU seconds, one each.

        Raises
        ------
        FinderError
        """
        key = (finder.python, finder.script)
        if key not in self._running:
            made = self._threads.map(lambda _: FinderProcess(finder), range(self._n))
            self._running[key] = list(made)
        idle = list(self._running[key])

        def one(image: Path) -> tuple[Catalogue, float]:
            process = idle.pop()
            target = image.with_suffix(".npz")
            try:
                cost = process.find(finder, image, target, threshold, 1)
            finally:
                idle.append(process)
            with np.load(target) as columns:
                return dict(columns), cost["cpu_s"][0]

        done = list(self._threads.map(one, images))
        return [item[0] for item in done], [item[1] for item in done]

    def version(self, finder: Finder) -> str:
        """Version of a finder that has run."""
        return self._running[finder.python, finder.script][0].version

    def close(self) -> None:
        """End all."""
        for processes in self._running.values():
            for process in processes:
                process.close()
        self._threads.shutdown()


@contextmanager
def finder_pool(processes: int) -> Iterator[FinderPool]:
    """Yield a pool that ends with the block."""
    pool = FinderPool(processes)
    try:
        yield pool
    finally:
        pool.close()


def import_cpu_s(module: str) -> float:
    """CPU seconds that a new process takes to import a module, the start of Python included."""
    code = f"import {module}, time; print(time.process_time())"
    # The first one may have to compile and to read from the disk.
    return min(
        float(
            subprocess.run(  # noqa: S603 - the benchmark's own commands
                [sys.executable, "-c", code],
                capture_output=True,
                check=True,
                env=child_environment({"PYTHONPATH": str(CHECKOUT / "plugins")}),
            ).stdout
        )
        for _ in range(5)
    )

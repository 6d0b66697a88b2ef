"""Reads files, each in a process of its own, and tells what became of it.

Run as a program: paths come in as a JSON list on standard input, results go out as a line of JSON
each. The process that reads a file is forked from one that has imported everything: thousands of
files take seconds, and what one file does (a crash, a hang, all of the memory) the next does not see.
"""

from __future__ import annotations

import json
import math
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from damaged.cards import image

TESTS = Path(__file__).resolve().parents[1]
SECONDS = 10
# A reader that asks for so much more than it has is refused it.
ADDRESS_SPACE = 2 << 30
NOBODY = 65534


@dataclass(frozen=True)
class Result:
    """What became of a file.

    Attributes
    ----------
    outcome : str
        ``refused`` with a reason; ``used``; ``fault``: whatever must not happen, named by
        ``reason`` (``crash``, ``hang``, or another exception than the one for bad images).
    reason, message : str
    stage : str
        ``header``, ``pixels``; ``quality`` of what was used.
    seconds : float
    memory_mb : float
        Peak beyond what the process had before.
    quality : tuple of float
        Fraction of NaN, minimum and maximum of what was used.
    """

    outcome: str
    reason: str
    message: str
    stage: str
    seconds: float
    memory_mb: float
    quality: tuple[float, ...] = ()


def read_all(
    paths: Sequence[Path],
    actions: Sequence[str] = (),
    *,
    nobody: bool = False,
    seconds: int = SECONDS,
) -> list[Result]:
    """Read files in processes of their own.

    Parameters
    ----------
    paths : sequence of Path
    actions : sequence of str
        What is done with each: names of functions in :data:`ACTIONS`. By default all are read.
    nobody : bool
        As a user who may not read what root may.
    seconds : int
        A file that takes longer hangs.
    """
    request = {"paths": list(map(str, paths)), "actions": [*actions] or ["read"] * len(paths)}
    request |= {"nobody": nobody, "seconds": seconds}
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join((str(TESTS.parent / "plugins"), str(TESTS))),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, __file__],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == len(paths), done.stderr
    return [Result(**line | {"quality": tuple(line["quality"])}) for line in lines]


def read(path: str) -> dict[str, Any]:
    """Go through all that is done with a file before its sources."""
    from trap_ops.errors import ImageError
    from trap_ops.images.reading import read_headers, read_image
    from trap_ops.science.geometry import geometry, pixel_beam
    from trap_ops.science.quality import measure

    stage = "header"
    try:
        files = read_headers(path, lambda _: rules())
        shapes = [geometry(file) for file in files]
        stage = "pixels"
        for file, shape in zip(files, shapes, strict=True):
            opened = read_image(path, file.plane, rules())
            pixel_beam(opened.beam, opened.pixel_matrix_deg)
            found = measure(opened.pixels, 4.0, 8)
            assert opened.pixels.shape == (file.ny, file.nx)
            assert all(math.isfinite(value) for value in vars(shape).values())
        quality = (found.nan_fraction, found.min_jy, found.max_jy)
    except ImageError as error:
        return {
            "outcome": "refused",
            "reason": error.reason,
            "message": str(error),
            "stage": stage,
        }
    return {"outcome": "used", "stage": "quality", "quality": quality}


def rules() -> Any:
    from trap_ops.config.load import load_configuration

    if not _RULES:
        configurations = TESTS.parent / "include" / "configs"
        _RULES.append(load_configuration(configurations, "default", {})[1].images)
    return _RULES[0]


_RULES: list[Any] = []


def crash(path: str) -> dict[str, Any]:
    os.abort()


def crash_below(path: str) -> dict[str, Any]:
    os.kill(os.getpid(), signal.SIGSEGV)
    return {}


def hang(path: str) -> dict[str, Any]:
    while True:
        time.sleep(0.1)


def hang_in_a_system_call(path: str) -> dict[str, Any]:
    return {"outcome": "used", "reason": Path(path).read_text()}


def allocate(path: str) -> dict[str, Any]:
    """200 MB, all of which are touched."""
    return {"outcome": "used", "message": str(len(b"x" * 200_000_000))}


def allocate_too_much(path: str) -> dict[str, Any]:
    return {"outcome": "used", "message": str(len(b"x" * (2 * ADDRESS_SPACE)))}


def raise_another(path: str) -> dict[str, Any]:
    raise ValueError(path)


def warn(path: str) -> dict[str, Any]:
    warnings.warn("something", stacklevel=1)
    return {"outcome": "used"}


def end(path: str) -> dict[str, Any]:
    sys.exit(0)


ACTIONS: dict[str, Callable[[str], dict[str, Any]]] = {
    function.__name__: function
    for function in (
        *(read, crash, crash_below, hang, hang_in_a_system_call),
        *(allocate, allocate_too_much, raise_another, warn, end),
    )
}


def _child(action: str, path: str, output: int, *, nobody: bool, seconds: int) -> None:
    """Act on a path and write what became of it; never returns."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ADDRESS_SPACE, used + ADDRESS_SPACE))
    if nobody:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    signal.alarm(seconds)  # Its default action ends the process, whatever it does.
    try:
        warnings.simplefilter("error")
        answer = ACTIONS[action](path)
    except Exception as error:
        answer = {"outcome": "fault", "reason": type(error).__name__, "message": str(error)}
    except SystemExit:
        answer = {"outcome": "fault", "reason": "SystemExit"}
    os.write(output, json.dumps(answer).encode())
    os._exit(0)


def _act(action: str, path: str, *, nobody: bool, seconds: int) -> dict[str, Any]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _child(action, path, writing, nobody=nobody, seconds=seconds)
    os.close(writing)
    with open(reading, "rb") as pipe:  # noqa: PTH123 - a descriptor
        answer = pipe.read()
    _, status, usage = os.wait4(pid, 0)
    result: dict[str, Any] = {"reason": "", "message": "", "stage": "", "quality": ()}
    if os.WIFSIGNALED(status):
        ended_by = signal.Signals(os.WTERMSIG(status))
        word = "hang" if ended_by == signal.SIGALRM else "crash"
        result |= {"outcome": "fault", "reason": word, "message": ended_by.name}
    else:
        result |= json.loads(answer)
    return result | {
        "seconds": time.perf_counter() - started,
        "memory_mb": max(usage.ru_maxrss - before, 0) / 1024.0,
    }


def _serve() -> None:
    request = json.load(sys.stdin)
    with tempfile.NamedTemporaryFile(suffix=".fits") as file:
        file.write(image())
        file.flush()
        answer = read(file.name)  # Imports everything.
    assert answer["outcome"] == "used", answer
    for path, action in zip(request["paths"], request["actions"], strict=True):
        result = _act(action, path, nobody=request["nobody"], seconds=request["seconds"])
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    _serve()

"""Reads files in a process of its own, and tells what became of each.

Run as a program: paths come in by JSON on standard input, results go out as a line of JSON each.
The process that reads is forked from one that has imported everything, and again for the rest of
the files if one of them ends it: thousands of files take seconds, and none ends the tests.
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
    """Read files where they can do no harm.

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


def _answer(action: str, path: str) -> dict[str, Any]:
    """Act on a path; tell what became of it, how long it took and how much memory."""
    if os.geteuid() != NOBODY:  # Who has become nobody may not.
        Path("/proc/self/clear_refs").write_text("5")  # The peak begins anew.
    before, started = _memory_mb("VmRSS"), time.perf_counter()
    try:
        found = ACTIONS[action](path)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a fault to report
        found = {"outcome": "fault", "reason": type(error).__name__, "message": str(error)}
    except SystemExit:
        found = {"outcome": "fault", "reason": "SystemExit"}
    seconds, memory = time.perf_counter() - started, _memory_mb("VmHWM") - before
    return UNKNOWN | found | {"seconds": seconds, "memory_mb": memory}


def _memory_mb(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(key))
    return int(line.split()[1]) / 1024.0


def _child(
    tasks: Sequence[tuple[str, str]], output: int, before: Sequence[Callable[[], object]]
) -> None:
    """Write what becomes of each task; never returns."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ADDRESS_SPACE, used + ADDRESS_SPACE))
    warnings.simplefilter("error")
    for prepare in before:
        prepare()
    for action, path in tasks:
        signal.alarm(_SECONDS[0])  # Its default action ends the process, whatever it does.
        os.write(output, json.dumps(_answer(action, path)).encode() + b"\n")
    os._exit(0)


def _until_one_ends_it(
    tasks: Sequence[tuple[str, str]], before: Sequence[Callable[[], object]]
) -> list[dict[str, Any]]:
    """Results of tasks up to and with the one that ended the process, if one did."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            _child(tasks, writing, before)
        finally:
            os._exit(1)
    os.close(writing)
    with open(reading, "rb") as pipe:  # noqa: PTH123 - a descriptor
        results: list[dict[str, Any]] = [json.loads(line) for line in pipe]
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        ended_by = signal.Signals(os.WTERMSIG(status))
        word = "hang" if ended_by == signal.SIGALRM else "crash"
        results.append(UNKNOWN | {"outcome": "fault", "reason": word, "message": ended_by.name})
    elif len(results) < len(tasks):
        msg = f"the process ended with {os.waitstatus_to_exitcode(status)}"
        results.append(UNKNOWN | {"outcome": "fault", "reason": "end", "message": msg})
    return results


UNKNOWN = {"reason": "", "message": "", "stage": "", "quality": (), "seconds": 0, "memory_mb": 0}
_SECONDS = [SECONDS]


def _become_nobody() -> None:
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def _serve() -> None:
    request = json.load(sys.stdin)
    with tempfile.NamedTemporaryFile(suffix=".fits") as file:
        file.write(image())
        file.flush()
        answer = read(file.name)  # Imports everything.
    assert answer["outcome"] == "used", answer
    _SECONDS[0] = request["seconds"]
    before = [_become_nobody] if request["nobody"] else []
    tasks = list(zip(request["actions"], request["paths"], strict=True))
    while tasks:
        results = _until_one_ends_it(tasks, before)
        for result in results:
            sys.stdout.write(json.dumps(result) + "\n")
        tasks = tasks[len(results) :]


if __name__ == "__main__":
    _serve()

"""Where a benchmark ran, and how it measures a process: ``python -m benchmarks.environment``."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from trap_ops.commands.environment import FOR_NUMPY
from trap_ops.stages.fingerprint import fingerprint, versions

# The same for everybody: memory as bin/airflow sets it, and one core, although linear algebra
# and numba would take them all.
SETTINGS = {**FOR_NUMPY, "NUMBA_NUM_THREADS": "1"}
# What the shell or `make` may have set for the pipeline or for Python. Without bytecode files
# (PYTHONDONTWRITEBYTECODE) every start would compile our modules anew, which no user's start does.
_NOT_INHERITED = ("PYTHON", "TRAP_", "AIRFLOW")
_TAIL_LINES = 25
_CODE_DIGITS = 12


class ProcessFailedError(Exception):
    """A measured process ended with an error; the message has the end of its output."""


@dataclass(frozen=True)
class Measured:
    """Cost of one process.

    Attributes
    ----------
    started, ended : float
        Seconds since the epoch.
    wall_s : float
    cpu_s : float
        User and system time of the process and of all its descendants that were waited for.
    peak_mb : float
        Resident memory of the largest single process of these at its largest, 10^6 bytes. Not below
        that of the process which measures: Linux counts what a process had before it became another
        program.
    busy_elsewhere : float
        Number of cores that anything else kept busy meanwhile, on average; a tick of the clock
        (0.01 s) is the resolution.
    """

    started: float
    ended: float
    wall_s: float
    cpu_s: float
    peak_mb: float
    busy_elsewhere: float


def run_measured(
    command: Sequence[str | Path],
    log: Path,
    *,
    environ: Mapping[str, str],
    directory: Path,
) -> Measured:
    """Run a process to its end and measure it.

    Parameters
    ----------
    command : sequence of str or Path
    log : Path
        Gets its output.
    environ : mapping
        All variables that it has.
    directory : Path
        Where it runs.

    Raises
    ------
    ProcessFailedError
        If its exit status is not 0.
    """
    # What the process before left in memory would be written to the disk on this one's account.
    os.sync()
    busy, started, tick = _busy_seconds(), time.time(), time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - the benchmark's own commands
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environ),
            cwd=directory,
        )
        try:
            # Not resource.getrusage(RUSAGE_CHILDREN): its peak is that of all children so far.
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            process.wait()
            raise
    wall, busy = time.perf_counter() - tick, _busy_seconds() - busy
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-_TAIL_LINES:])
        words = " ".join(str(word) for word in command)
        msg = f"`{words}` ended with exit status {process.returncode}:\n{tail}"
        raise ProcessFailedError(msg)
    cpu = usage.ru_utime + usage.ru_stime
    return Measured(
        started=started,
        ended=started + wall,
        wall_s=wall,
        cpu_s=cpu,
        peak_mb=usage.ru_maxrss * 1024 / 1e6,
        busy_elsewhere=max(0.0, busy - cpu) / wall,
    )


def best_of(samples: Sequence[float]) -> dict[str, Any]:
    """Return the minimum, the median and all of the repetitions of one measurement."""
    return {
        "min": round(min(samples), 3),
        "median": round(statistics.median(samples), 3),
        "all": [round(sample, 3) for sample in samples],
    }


def child_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Variables for a measured process: this one's, one thread, nothing of the pipeline's own."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(_NOT_INHERITED)}
    return inherited | SETTINGS | dict(extra or {})


def describe_environment() -> dict[str, Any]:
    """Machine, load, versions and thread settings, as JSON can hold them."""
    memory = _memory_gb()
    packages = versions() | {"apache-airflow-core": version("apache-airflow-core")}
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "cores_usable": len(os.sched_getaffinity(0)),
        "load": [round(load, 2) for load in os.getloadavg()],
        "memory_gb": memory["MemTotal"],
        "memory_available_gb": memory["MemAvailable"],
        "system": platform.platform(),
        "python": packages.pop("python"),
        "packages": packages,
        "code": fingerprint()[:_CODE_DIGITS],
        "settings": SETTINGS,
    }


def code_has_changed(environment: Mapping[str, Any]) -> bool:
    """Whether somebody edited the pipeline since :func:`describe_environment` looked."""
    fingerprint.cache_clear()
    return bool(environment["code"] != fingerprint()[:_CODE_DIGITS])


def print_environment(environment: Mapping[str, Any]) -> None:
    """Print what :func:`describe_environment` found."""
    lines = {
        "date": environment["date"],
        "machine": f"{environment['cpu']}, {environment['cores_usable']} of "
        f"{environment['cores']} cores usable, {environment['memory_available_gb']} of "
        f"{environment['memory_gb']} GB free",
        "load": "{} {} {} (1, 5, 15 min)".format(*environment["load"]),
        "system": environment["system"],
        "python": environment["python"],
        "packages": _pairs(environment["packages"]),
        "code": environment["code"],
        "settings": _pairs(environment["settings"]),
    }
    for name, text in lines.items():
        print(f"{name:<10}{text}")


def _pairs(mapping: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in mapping.items())


def _busy_seconds() -> float:
    """CPU time that the whole machine has spent so far, that taken by its host included."""
    # user nice system idle iowait irq softirq steal; guests are in user and nice already.
    ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory_gb() -> dict[str, float]:
    fields = (line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return {name: round(int(text.split()[0]) * 1024 / 1e9, 1) for name, text in fields}


if __name__ == "__main__":
    print_environment(describe_environment())

"""What every finder's process does: ``PYTHON FINDER.py IMAGES OUTPUT REPETITIONS [OPTION ...]``.

It is run by the Python of the finder's environment, so it needs numpy and astropy only. For each
image it writes ``NAME.npz`` with the columns below, and prints one JSON line with its costs.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

# Positions in pixels from 0, fluxes in units of the image (times beams), one-sigma errors.
COLUMNS = ("x", "y", "x_err", "y_err", "peak", "peak_err", "flux", "flux_err")
Find = Callable[[Path, list[str]], Mapping[str, Any]]


def main(load: Callable[[], Find], version: Callable[[], str]) -> None:
    """Find the sources of all images of a directory, as often as asked, and report."""
    images, output, repetitions, *options = sys.argv[1:]
    # Linux counts what a process had before it became another program: begin anew.
    Path("/proc/self/clear_refs").write_text("5")
    begun = time.process_time()
    find = load()
    imported = time.process_time() - begun
    seconds: dict[str, list[float]] = {}
    for path in sorted(Path(images).glob("*.fits")):
        for _ in range(int(repetitions)):
            begun = _cpu_s()
            found = find(path, options)
            seconds.setdefault(path.stem, []).append(_cpu_s() - begun)
        columns = {name: np.asarray(found[name], dtype=np.float64) for name in COLUMNS}
        np.savez(Path(output, f"{path.stem}.npz"), **columns)
    report = {
        "version": version(),
        "import_cpu_s": imported,
        "cpu_s": seconds,
        "peak_mb": _peak_mb(),
    }
    print(json.dumps(report))


def _cpu_s() -> float:
    """CPU time of this process and of those that it waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _peak_mb() -> float:
    """Largest resident memory of this process, 10^6 bytes."""
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024 / 1e6

"""What every finder's process does: it reads orders, a JSON line each, and answers with a line.

It is run by the Python of the finder's environment, so it needs numpy and astropy only. The first
line it writes says what loading has cost. An order names an image, the catalogue to write (columns
below), the detection threshold, how often to do it, and options of the finder; the answer has the
CPU time of each time, and the peak memory so far.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

# Positions in pixels from 0, fluxes in units of the image (times beams), one-sigma errors; ``snr``
# is the significance of the detection as the finder judges it, its peak over its local rms.
COLUMNS = ("x", "y", "x_err", "y_err", "peak", "peak_err", "flux", "flux_err", "snr")
ANALYSIS_SIGMA = 3.0
Find = Callable[[Path, float, list[str]], Mapping[str, Any]]


def main(load: Callable[[], Find], version: Callable[[], str]) -> None:
    """Load the finder, then do what is ordered until no more comes."""
    # Answers go where the output went; what a finder prints does not.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    # Linux counts what a process had before it became another program: begin anew.
    Path("/proc/self/clear_refs").write_text("5")
    begun = time.process_time()
    try:
        find = load()
    except Exception:  # noqa: BLE001 - whatever it is, it is told
        print(_failure(), file=answers)
        return
    imported = time.process_time() - begun
    print(json.dumps({"version": version(), "import_cpu_s": imported}), file=answers)
    for line in sys.stdin:
        try:
            answer = json.dumps(_obey(find, json.loads(line)))
        except Exception:  # noqa: BLE001 - and the next image is tried
            answer = _failure()
        print(answer, file=answers)


def _failure() -> str:
    return json.dumps({"error": traceback.format_exc()[-2000:]})


def _obey(find: Find, order: dict[str, Any]) -> dict[str, Any]:
    seconds = []
    found: Mapping[str, Any] = {}
    for _ in range(order["repetitions"]):
        begun = _cpu_s()
        found = find(Path(order["image"]), order["threshold"], order["options"])
        seconds.append(_cpu_s() - begun)
    columns = {name: np.asarray(found[name], dtype=np.float64) for name in COLUMNS}
    np.savez(order["catalogue"], **columns)
    return {"cpu_s": seconds, "peak_mb": _peak_mb()}


def _cpu_s() -> float:
    """CPU time of this process and of those that it waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _peak_mb() -> float:
    """Largest resident memory of this process, 10^6 bytes."""
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024 / 1e6

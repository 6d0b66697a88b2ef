"""The same association, and the same small images, by TraP 1.4.0."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import CHECKOUT
from benchmarks.environment import best_of, child_environment, run_measured
from benchmarks.trap_peer import SETTINGS, database_of, read_trap_run, trap_command
from trap_ops.records.sources import Sources

# Cells of 72 pixels do not fit into images of 128: it rejects all of them.
_SETTINGS = tuple(re.sub("(im_back_size_.)=72", r"\1=32", word) for word in SETTINGS)


def associated_by_trap(
    environment: Path, first: Sources, second: Sources, repetitions: int, scratch: Path
) -> dict[str, Any]:
    """CPU seconds of its ``associate`` for two images in memory."""
    places = {}
    for k, sources in ((1, first), (2, second)):
        places |= {
            f"ra_{k}": sources.ra_deg,
            f"dec_{k}": sources.dec_deg,
            f"uncertainty_ns_{k}": sources.sigma_ns_deg,
            f"uncertainty_ew_{k}": sources.sigma_ew_deg,
        }
    np.savez(scratch / "positions.npz", **places)
    script = CHECKOUT / "benchmarks" / "finders" / "trap_association.py"
    log = scratch / "trap_association.log"
    run_measured(
        [environment / "bin" / "python", script, scratch / "positions.npz", str(repetitions)],
        log,
        environ=child_environment(),
        directory=scratch,
    )
    said = json.loads(log.read_text().splitlines()[-1])
    made = {"cpu_s": best_of(said["cpu_s"]), "matched": said["matched"]}
    print(f"TraP 1.4.0: {made['cpu_s']['min']:.3f} s of CPU ({said['matched']} matched)")
    return made


def grown_by_trap(environment: Path, images: Sequence[Path], scratch: Path) -> dict[str, Any]:
    """Seconds an image of the first and the last ten, all of them in one run on SQLite.

    Its runs do not continue a dataset.
    """
    folder, directory = scratch / "of_trap", scratch / "by_trap"
    folder.mkdir()
    directory.mkdir()
    for image in images:
        os.link(image, folder / image.name)
    log = scratch / "trap_run.log"
    measured = run_measured(
        trap_command(environment, folder, directory, "single-threaded", _SETTINGS),
        log,
        environ=child_environment(),
        directory=scratch,
    )
    done = read_trap_run(database_of(directory), log)
    first_s, last_s = done.seconds_an_image
    print(
        f"TraP 1.4.0: {done.found['images']} images in one run: {first_s * 1e3:.0f} ms an image of "
        f"the first ten, {last_s * 1e3:.0f} ms of the last ten; peak {measured.peak_mb:.0f} MB"
    )
    return {**done.found, "first_s": first_s, "last_s": last_s, "wall_s": measured.wall_s,
            "cpu_s": measured.cpu_s, "peak_mb": measured.peak_mb}  # fmt: skip

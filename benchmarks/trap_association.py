"""The same association, and the same small images, by TraP 1.4.0."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import CHECKOUT
from benchmarks.environment import (
    ProcessFailedError,
    best_of,
    child_environment,
    run_measured,
)
from benchmarks.trap_peer import SETTINGS, read_times, seconds_an_image, trap_command
from trap_ops.records.sources import Sources


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
    failed = ""
    try:
        run_measured(
            trap_command(environment, folder, directory, "single-threaded", SETTINGS),
            log,
            environ=child_environment(),
            directory=scratch,
        )
    except ProcessFailedError as error:
        # Its last step fails where no source was ever missed; all images are stored by then.
        failed = str(error).splitlines()[-1]
    _, stored = read_times(log)
    first_s, last_s = seconds_an_image(stored)
    print(
        f"TraP 1.4.0: {len(stored)} images in one run: {first_s * 1e3:.0f} ms an image of the "
        f"first ten, {last_s * 1e3:.0f} ms of the last ten{'; at its end: ' * bool(failed)}{failed}"
    )
    return {"images": len(stored), "first_s": first_s, "last_s": last_s, "failed": failed}

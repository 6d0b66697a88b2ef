"""TraP 1.4.0 in an environment of its own: how it is called, and what it did."""

from __future__ import annotations

import json
import re
import sqlite3
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

# The defaults of include/configs/default.toml on images of the simulator (beam 30 arcsec = 6 px),
# as far as trap-run has them. The limit of consecutive forced fits has no default that works there;
# ours is "none", and the 10 of the classic template makes less work for trap-run.
SETTINGS = (
    "--db_backend=sqlite",
    "--detection_threshold=8",
    "--analysis_threshold=3",
    "--de_ruiter_r_max=5.68",
    "--force_beam",
    "--im_margin=10",
    "--im_back_size_x=72",
    "--im_back_size_y=72",
    "--ew_sys_err=3",
    "--ns_sys_err=3",
    "--max_nr_consecutive_force_fits=10",
)
SCHEDULERS = ("single-threaded", "threads")
_PACKAGES = ("trap", "radio-pyse", "numpy", "scipy", "astropy", "pandas", "numba", "dask")
_LOG_TIME = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) - TraP")
# The first thing it says after its imports; the first thing that it says when it stores an image.
_READY, _STORING = "Gathering .fits files", "freq_band:"
_COUNTS = {
    "images": "SELECT count(*) FROM images WHERE NOT rejected",
    "detections": "SELECT count(*) FROM extracted_sources WHERE NOT is_force_fit",
    "sky sources": "SELECT count(*) FROM variability",
    "forced fits": "SELECT count(*) FROM extracted_sources WHERE is_force_fit",
}


@dataclass(frozen=True)
class TrapRun:
    """What one ``trap-run`` did.

    Attributes
    ----------
    found : dict
        Numbers of images, detections, sky sources and forced fits in its database.
    ready : float
        When its imports (with compilation) were done, seconds since the epoch.
    stored : list of float
        When it began to store each image.
    """

    found: dict[str, int]
    ready: float
    stored: list[float]

    @property
    def seconds_an_image(self) -> tuple[float, float]:
        """Median time from image to image, of the first and the last ten; 0 for a single image."""
        steps = [b - a for a, b in zip(self.stored[:-1], self.stored[1:], strict=True)] or [0.0]
        return statistics.median(steps[:10]), statistics.median(steps[-10:])


def trap_command(
    environment: Path,
    images: Path,
    directory: Path,
    scheduler: str,
    settings: Sequence[str] = SETTINGS,
) -> list[str]:
    """Words that run ``trap-run`` on a directory of images; it writes to another directory."""
    return [
        str(environment / "bin" / "trap-run"),
        f"--input_images={images}",
        f"--db_name={database_of(directory)}",
        f"--log_dir={directory / 'logs'}",
        f"--scheduler={scheduler}",
        *settings,
    ]


def database_of(directory: Path) -> Path:
    """Database that :func:`trap_command` lets it write."""
    return directory / "trap.db"


def trap_versions(environment: Path) -> dict[str, str]:
    """Versions of Python and of the packages in an environment."""
    script = (
        "import json, platform, sys; from importlib.metadata import version; "
        "print(json.dumps({'python': platform.python_version()}"
        " | {name: version(name) for name in sys.argv[1:]}))"
    )
    output = subprocess.run(  # noqa: S603 - the environment that the user of the benchmark made
        [environment / "bin" / "python", "-c", script, *_PACKAGES],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    found: dict[str, str] = json.loads(output)
    return found


def read_trap_run(database: Path, log: Path) -> TrapRun:
    """Read what a ``trap-run`` stored and said.

    Raises
    ------
    ValueError
        If its log is not that of TraP 1.4.0.
    """
    ready, stored = 0.0, []
    for line in log.read_text(errors="replace").splitlines():
        match = _LOG_TIME.search(line)
        if match and _READY in line:
            ready = _seconds(match[1])
        elif match and _STORING in line:
            stored.append(_seconds(match[1]))
    if not ready or not stored:
        msg = f"{log}: no lines with {_READY!r} and {_STORING!r}: is this TraP 1.4.0?"
        raise ValueError(msg)
    connection = sqlite3.connect(database)
    try:
        found = {
            name: int(connection.execute(query).fetchone()[0]) for name, query in _COUNTS.items()
        }
    finally:
        connection.close()
    return TrapRun(found, ready, stored)


def _seconds(text: str) -> float:
    # Its log is in local time.
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S,%f").astimezone().timestamp()

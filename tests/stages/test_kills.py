"""A process that is killed at any moment and started again loses nothing and doubles nothing.

SIGKILL, from outside or by its own hand: nothing in the process learns of it.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import pytest

from conftest import new_store
from stages.conftest import checksum
from stages.forty_images import MONITOR, SETTINGS, assert_consistent
from trap_ops import local
from trap_ops.store.database import Store

ROOT = Path(__file__).resolve().parents[2]
# Runs the stages on what it reads, when it is told to; dies after so many stages and batches.
SCRIPT = """
import json, os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from trap_ops import local
from trap_ops.records.runs import MonitorPosition

options = json.loads(sys.argv[2])
left = options.pop("stages")
options["output_dir"] = Path(options["output_dir"])
options["monitor"] = [MonitorPosition(**position) for position in options["monitor"]]

def mortal(stage):
    def run(*args, **kwargs):
        global left
        report = stage(*args, **kwargs)
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return report
    return run

for name in (
    "register_images", "measure_quality", "judge_quality", "extract_sources", "associate",
    "fit_forced", "measure_variability", "find_candidates", "publish",
):
    setattr(local, name, mortal(getattr(local, name)))
print("ready", flush=True)
sys.stdin.readline()
local.run(options.pop("images"), "series", run_key="killed", **options)
"""
# Nine stages, three of them in two batches: what is left ends after the last one.
BOUNDARIES = range(1, 13)


class Victim:
    """A database on which the same run is started again and again."""

    def __init__(self, store: Store, images: list[Path], output_dir: Path) -> None:
        self.store = store
        self.options = {
            "images": list(map(str, images)),
            "store_url": store.url.render_as_string(hide_password=False),
            "overrides": SETTINGS,
            "monitor": [asdict(position) for position in MONITOR],
            "output_dir": str(output_dir),
        }
        self.output_dir = output_dir

    def know(self, images: list[Path]) -> None:
        """Have an earlier run on some of the images: the others are late."""
        local.run(
            images,
            "series",
            store_url=self.options["store_url"],
            overrides=SETTINGS,
            monitor=MONITOR[:1],
            output_dir=self.output_dir,
        )

    def run(self, *, stages: int = 0, seconds: float | None = None) -> float | None:
        """Start the run; kill it after so many stages or seconds.

        Return the seconds from the moment at which it was told to go; None if it was killed.
        """
        options = json.dumps({**self.options, "stages": stages})
        with subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(ROOT / "plugins"), options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            ready = process.stdout.readline()
            began = time.monotonic()
            try:
                _, errors = process.communicate("go\n", timeout=seconds)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                _, errors = process.communicate()
        assert ready == "ready\n", errors
        assert process.returncode in {0, -signal.SIGKILL}, errors
        return None if process.returncode else time.monotonic() - began


@pytest.fixture(scope="module")
def undisturbed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, forty: list[Path]
) -> tuple[str, float]:
    """Checksum and seconds of all images and positions in one run, on SQLite."""
    directory = tmp_path_factory.mktemp("whole")
    with new_store("sqlite", request, directory) as store:
        seconds = Victim(store, forty, directory).run()
        assert seconds is not None
        return checksum(store), seconds


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "boundaries", "moments"),
    [
        # After the first batch of the extraction, and after association.
        pytest.param("sqlite", (5, 7), 3, id="sqlite, some"),
        pytest.param(
            "sqlite",
            BOUNDARIES,
            38,
            id="sqlite",
            marks=[pytest.mark.long, pytest.mark.timeout(3600)],
        ),
        pytest.param(
            "postgres",
            BOUNDARIES,
            38,
            id="postgres",
            marks=[pytest.mark.long, pytest.mark.postgres, pytest.mark.timeout(3600)],
        ),
    ],
)
def test_sigkill_loses_nothing(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    undisturbed: tuple[str, float],
    forty: list[Path],
    kind: str,
    boundaries: Iterable[int],
    moments: int,
) -> None:
    """At each of some boundaries between stages and batches, and at so many random moments.

    A killed run is started again, and killed again, until it ends before its time: what is then
    there is compared. Every other one meets images that come late.
    """
    whole, seconds = undisturbed
    rng = random.Random(5)
    left = list(boundaries)
    victims = 0
    while left or moments:
        victims += 1
        with new_store(kind, request, tmp_path) as store:
            victim = Victim(store, forty, tmp_path)
            if victims % 2:
                victim.know(rng.sample(forty[:-1], 20))
            if left:
                assert victim.run(stages=left.pop(0)) is None
            ended = None
            while moments and ended is None:
                ended = victim.run(seconds=rng.uniform(0.0, seconds))
                moments -= ended is None
            assert ended is not None or victim.run() is not None
            assert checksum(store) == whole, f"victim {victims}"
            assert_consistent(store)

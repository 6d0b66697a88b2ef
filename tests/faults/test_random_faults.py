"""Faults of random kinds at random moments over several runs: nothing is left to mend."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from faults import hits
from faults.bed import Bed, run_hit, servers_and_cluster, worker_elsewhere
from faults.services import Network, other_host, small_disk

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]

# Each kind comes so often: 36 faults with both brokers.
_OFTEN = 2
# Shorter and longer than the time after which a task that hangs is ended.
_TIMEOUT_MIN = 0.5


def kinds(network: Network, rng: random.Random) -> list[Callable[[Bed], object]]:
    """One fault of every kind."""
    ends = [signal.SIGTERM, signal.SIGKILL]
    return [
        lambda made: hits.kill_worker(made, "pixels"),
        lambda made: hits.kill_worker(made, "database"),
        lambda made: hits.end_worker_warmly(made, rng.choice(["pixels", "database"])),
        hits.kill_scheduler,
        lambda made: hits.restart_broker(made, rng.choice(ends), rng.uniform(0.0, 15.0)),
        lambda made: hits.restart_postgres(made, rng.uniform(0.0, 15.0)),
        lambda made: hits.fill_disk(made, rng.uniform(3.0, 20.0)),
        lambda made: hits.hold_lock(made, "extractedsource", rng.uniform(5.0, 60.0)),
        lambda made: hits.cut_for(made, network, rng.uniform(5.0, 60.0)),
    ]


@pytest.mark.parametrize(("kind", "seed"), [("rabbitmq", 1), ("redis", 2)])
def test_random_faults_cost_time_only(
    series: list[Path], expected: str, tmp_path: Path, kind: str, seed: int
) -> None:
    rng = random.Random(seed)
    with (
        other_host() as network,
        small_disk(tmp_path / "var", megabytes=300),
        servers_and_cluster(kind, tmp_path, network.here, _TIMEOUT_MIN) as made,
        worker_elsewhere(made, network),
    ):
        faults = kinds(network, rng) * _OFTEN
        rng.shuffle(faults)
        count, number = len(faults), 0
        while faults:
            with run_hit(made, series, f"random {number}", expected, patience_s=900.0) as run:
                # Not before there is something to hit.
                while not (made.tasks("running") or run.done()):
                    time.sleep(0.2)
                while faults and not run.done():
                    faults.pop()(made)
                    time.sleep(rng.uniform(0.0, 10.0))
            number += 1
        made.say(f"{count} faults in {number} runs, {made.given_up} tries of tasks were lost")
        assert made.given_up > 0, "faults that hit nothing"

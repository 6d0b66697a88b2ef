"""Every fault by itself, on RabbitMQ and on Redis without memory; one worker is on another host."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from faults import hits
from faults.bed import (
    Bed,
    assert_unharmed,
    run_hit,
    servers_and_cluster,
    wait_for,
    worker_elsewhere,
)
from faults.services import Network, other_host, small_disk

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

# A task that hangs is ended after this time, and five seconds of grace.
_TIMEOUT_MIN = 0.5
KILLED = "has not ended: it was killed, or hung, or lost the network"


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with other_host() as made:
        yield made


@pytest.fixture(scope="module", params=["rabbitmq", "redis"])
def bed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, network: Network
) -> Iterator[Bed]:
    directory = tmp_path_factory.mktemp(request.param)
    with (
        small_disk(directory / "var", megabytes=200),
        servers_and_cluster(request.param, directory, network.here, _TIMEOUT_MIN) as made,
    ):
        yield made


# Stage in which it happens, what happens, and what a log of a task says of it.
FAULTS: dict[str, tuple[str, Callable[[Bed], None], str]] = {
    "killed in measure_quality": (
        "measure_quality", lambda made: hits.kill_writer(made, "outcome", "pixels"), KILLED,
    ),
    "killed in extract_sources": (
        "register_images", lambda made: hits.kill_writer(made, "extractedsource", "pixels"), KILLED,
    ),
    "killed in associate": (
        "judge_quality", lambda made: hits.kill_writer(made, "newsource", "database"), KILLED,
    ),
    "killed in measure_variability": (
        "register_images", lambda made: hits.kill_writer(made, "varmetric", "database"), KILLED,
    ),
    "warm stop": ("measure_quality", lambda made: hits.end_worker_at_work(made, "pixels"), ""),
    "scheduler killed": ("measure_quality", hits.kill_scheduler, ""),
    "broker ended": (
        "measure_quality", lambda made: hits.restart_broker(made, signal.SIGTERM, 5.0), "",
    ),
    "broker killed": (
        "extract_sources", lambda made: hits.restart_broker(made, signal.SIGKILL, 2.0), "",
    ),
    "queue lost": ("register_images", hits.lose_queue, ""),
    "PostgreSQL restarted": (
        "extract_sources", lambda made: hits.restart_postgres(made, 6.0), "",
    ),
    "disk full": ("measure_quality", lambda made: hits.fill_disk(made, 20.0), ""),
    "hangs": (
        "measure_quality",
        lambda made: hits.hang_tasks(made, "extractedsource", 120.0),
        "Timeout (0:00:35)!",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_costs_time_only(bed: Bed, series: list[Path], expected: str, name: str) -> None:
    stage, fault, said = FAULTS[name]
    before = bed.task_logs().count(said)
    with run_hit(bed, series, name, expected):
        wait_for(stage, lambda: bed.begun(name, stage))
        fault(bed)
    if said:
        assert bed.task_logs().count(said) > before


def test_a_host_that_loses_the_network_harms_nothing(
    bed: Bed, series: list[Path], expected: str, network: Network
) -> None:
    with worker_elsewhere(bed, network) as log:
        with run_hit(bed, series, "cut", expected) as run:
            wait_for("registration", lambda: bed.begun("cut", "measure_quality"))
            hits.cut(bed, network, 120.0)
            # Meanwhile the run goes on to its end by others.
            run.result()
        assert f"on {network.name}, has not ended" in bed.task_logs()
        network.plug("up")
        wait_for("the worker is back", lambda: "elsewhere@" in bed.workers())
        done = log.read_text().count("succeeded in")
        assert_unharmed(bed, "cut", expected)
        # And it works again.
        for number in range(3):
            with run_hit(bed, series, f"healed {number}", expected):
                pass
            if log.read_text().count("succeeded in") > done:
                break
            time.sleep(1.0)
        else:
            pytest.fail("the worker is there and takes no task")

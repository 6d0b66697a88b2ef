"""Faults on a running cluster: the results are equal, and nothing is left to mend."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from faults.bed import run_hit, servers_and_cluster, wait_for
from faults.hits import kill_scheduler, kill_writer, restart_broker, restart_postgres


@pytest.mark.timeout(600)
def test_a_run_goes_on_after_one_fault_of_each_kind(
    series: list[Path], expected: str, tmp_path: Path
) -> None:
    """A worker and the scheduler are killed, a broker without memory and PostgreSQL end."""
    with servers_and_cluster("redis", tmp_path) as made:
        with run_hit(made, series, "series", expected):
            wait_for("pixels", lambda: made.begun("series", "measure_quality"))
            kill_writer(made, "outcome", "pixels")
            wait_for("a task waits for a worker", lambda: made.tasks("queued"))
            restart_broker(made, signal.SIGKILL, away_s=2.0)
            wait_for("extraction", lambda: made.begun("series", "extract_sources"))
            restart_postgres(made, away_s=3.0)
            wait_for("association", lambda: made.begun("series", "associate"))
            kill_scheduler(made)
        assert "has not ended: it was killed, or hung, or lost the network" in made.task_logs()

"""What a cluster is told so that it goes on by itself, and the limit of a task's time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from trap_ops.commands.cluster_environment import cluster_variables
from trap_ops.config.cluster import TasksConfig, load_cluster
from trap_ops.operators.time_limit import VARIABLES

ROOT = Path(__file__).resolve().parents[3]
FILE = ROOT / "include" / "configs" / "cluster.toml"
CELERY = """
import json
from trap_ops.operators.celery_config import CONFIG
print(json.dumps({key: CONFIG[key] for key in (
    "broker_transport_options", "broker_heartbeat", "task_publish_retry_policy",
    "broker_connection_max_retries", "task_acks_late", "task_track_started",
)}))
"""
HANGS = """
import os, sys
from datetime import timedelta
from trap_ops.operators.time_limit import ended_in_time
reading, _ = os.pipe()
with ended_in_time(timedelta(seconds=0.1)):
    {what}
print("went on", flush=True)
"""


def python(code: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True,
        text=True, check=False, timeout=120,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.airflow
@pytest.mark.parametrize("broker", ["amqp://guest:guest@127.0.0.1//", "redis://127.0.0.1/0"])
def test_celery_waits_for_a_broker_and_notices_one_that_is_lost(
    broker: str, tmp_path: Path
) -> None:
    environ = {"TRAP_BROKER": broker, "TRAP_VAR": str(tmp_path), "PATH": os.environ["PATH"]}
    given = cluster_variables(load_cluster(FILE, environ), environ)
    made = python(CELERY, {**given, "PYTHONPATH": str(ROOT / "plugins")})
    assert made.returncode == 0, made.stderr
    found: dict[str, Any] = json.loads(made.stdout.splitlines()[-1])
    assert found["task_acks_late"] is True
    assert found["task_track_started"] is False
    assert found["broker_connection_max_retries"] is None
    assert found["task_publish_retry_policy"]["max_retries"] is None
    options = found["broker_transport_options"]
    if broker.startswith("amqp"):
        assert options["confirm_publish"] is True
        assert 0 < found["broker_heartbeat"] <= 30
        return
    assert options["socket_keepalive"] is True
    # What a task may take is less, or Redis would give it out a second time.
    assert options["visibility_timeout"] > 60 * 1380


def test_tasks_are_told_what_the_file_says(tmp_path: Path) -> None:
    text = FILE.read_text(encoding="utf-8")
    usual = load_cluster(FILE, {})
    assert usual.tasks == TasksConfig(), "the file says what is so without it"
    path = tmp_path / "cluster.toml"
    path.write_text(text.replace("timeout_min = 720.0", "timeout_min = 5"))
    made = cluster_variables(load_cluster(path, {}), {"PATH": "/bin"})
    assert made["TRAP_TASK_TIMEOUT_MIN"] == "5.0"
    assert made["TRAP_TASK_RETRIES"] == "6"
    given = cluster_variables(usual, {"PATH": "/bin"})
    assert {name: float(given[name]) for name in VARIABLES} == VARIABLES
    assert int(made["AIRFLOW__SCHEDULER__NUM_STUCK_IN_QUEUED_RETRIES"]) > 10_000


def test_a_process_that_hangs_is_ended_and_shows_where() -> None:
    """In a system call that never returns Python learns of no signal."""
    environment = {"PYTHONPATH": str(ROOT / "plugins")}
    started = time.monotonic()
    hangs = python(HANGS.format(what="os.read(reading, 1)"), environment)
    assert 5.0 < time.monotonic() - started < 60.0
    assert hangs.returncode == 1
    assert "Timeout" in hangs.stderr
    assert 'File "<string>"' in hangs.stderr
    assert "went on" not in hangs.stdout
    # What has ended in time is left alone, also later.
    later = HANGS.format(what="pass") + "import time; time.sleep(6)"
    quick = python(later, environment)
    assert (quick.returncode, quick.stdout) == (0, "went on\n"), quick.stderr

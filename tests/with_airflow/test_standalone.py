"""A run on a real scheduler: tasks in processes of their own, two at a time, as in the UI."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from with_airflow.conftest import ROOT, Checkout

TIMEOUT_S = 240


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Server:
    """A running `airflow standalone` and its REST interface."""

    def __init__(self, url: str, password_file: Path) -> None:
        self.url = url
        self._password_file = password_file
        self._token = ""

    def call(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {self._token}"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def log_in(self) -> None:
        (user, password), *_ = json.loads(self._password_file.read_text()).items()
        credentials = {"username": user, "password": password}
        self._token = self.call("POST", "/auth/token", credentials)["access_token"]


@contextmanager
def standalone(checkout: Checkout) -> Iterator[Server]:
    port = free_port()
    environment = {
        **checkout.environment,
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
        "AIRFLOW__CORE__PARALLELISM": "2",
    }
    log = checkout.var / "standalone.log"
    log.parent.mkdir(exist_ok=True)
    with log.open("w") as output:
        # A session of its own, so that exactly what it started can be stopped.
        process = subprocess.Popen(
            [str(ROOT / "bin" / "airflow"), "standalone"],
            env=environment, stdout=output, stderr=output, cwd=checkout.home,
            start_new_session=True,
        )  # fmt: skip
        server = Server(
            f"http://127.0.0.1:{port}",
            checkout.var / "airflow" / "simple_auth_manager_passwords.json.generated",
        )
        try:
            wait_for(lambda: healthy(server), "Airflow", log)
            server.log_in()
            yield server
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def wait_for(condition: Callable[[], Any], what: str, log: Path) -> Any:
    started = time.monotonic()
    while time.monotonic() - started < TIMEOUT_S:
        found = condition()
        if found:
            return found
        time.sleep(1.0)
    raise AssertionError(f"{what} not in {TIMEOUT_S} s; end of its log:\n{log.read_text()[-4000:]}")


def healthy(server: Server) -> bool:
    try:
        health = server.call("GET", "/api/v2/monitor/health")
    except (urllib.error.URLError, OSError):
        return False
    return all(
        health[part]["status"] == "healthy"
        for part in ("metadatabase", "scheduler", "dag_processor")
    )


def test_triggered_run_gives_the_same_results(
    checkout: Checkout, finished_run: str, images: list[Path]
) -> None:
    with standalone(checkout) as server:
        log = checkout.var / "standalone.log"

        def known() -> bool:
            try:
                return bool(server.call("GET", "/api/v2/dags/trap_batch"))
            except urllib.error.HTTPError:
                return False

        wait_for(known, "the DAG", log)
        triggered = server.call(
            "POST",
            "/api/v2/dags/trap_batch/dagRuns",
            {"logical_date": None, "conf": json.loads(checkout.conf(images, "from the UI"))},
        )
        run_id = triggered["dag_run_id"]
        path = f"/api/v2/dags/trap_batch/dagRuns/{urllib.request.quote(run_id)}"

        def ended() -> str:
            state = server.call("GET", path)["state"]
            return state if state in {"success", "failed"} else ""

        assert wait_for(ended, "the run", log) == "success", log.read_text()[-4000:]
        tasks = server.call("GET", f"{path}/taskInstances")["task_instances"]
        batches = sorted(
            task["rendered_map_index"] for task in tasks if task["task_id"] == "extract_sources"
        )
        assert batches == [
            "batch 0: 1 image", "batch 1: 1 image", "batch 2: 1 image", "batch 3: 2 images",
        ]  # fmt: skip
        assert {task["try_number"] for task in tasks} == {1}
    by_hand = checkout.run("trap-manage", "checksum", "series").stdout
    assert by_hand
    assert checkout.run("trap-manage", "checksum", "from the UI").stdout == by_hand
    listed = checkout.run("trap-manage", "datasets", "from the UI").stdout
    assert "admin" in listed

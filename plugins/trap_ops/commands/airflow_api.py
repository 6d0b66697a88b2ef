"""A running Airflow server: trigger a run, and see what became of it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from trap_ops.commands.environment import var_dir
from trap_ops.config.cluster import ClusterConfig
from trap_ops.errors import ConfigError

# Who asks, where that is not the user whom Airflow has made.
USER, PASSWORD = "TRAP_AIRFLOW_USER", "TRAP_AIRFLOW_PASSWORD"
_TIMEOUT_S = 30.0
# A server that is started again answers nothing meanwhile.
_PATIENCE_S = 60.0


def password_file(environ: Mapping[str, str] = os.environ) -> Path:
    """Where Airflow's simple auth manager has its passwords."""
    named = environ.get("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE")
    generated = var_dir(environ) / "airflow" / "simple_auth_manager_passwords.json.generated"
    return Path(named) if named else generated


def airflow_server(cluster: ClusterConfig) -> AirflowServer:
    """The server of a cluster."""
    return AirflowServer(cluster.server.address, password_file())


class AirflowServer:
    """Airflow's REST interface, for TRAP_AIRFLOW_USER or whose password Airflow has written down.

    Parameters
    ----------
    url : str
        Of the server.
    passwords : Path
        Those of the simple auth manager, by user.
    """

    def __init__(self, url: str, passwords: Path) -> None:
        self.url = url
        self._passwords = passwords
        self._token = ""

    def health(self) -> dict[str, str]:
        """State of each part (``scheduler``, ``dag_processor``, ...); empty if it is away."""
        try:
            answer = httpx.get(f"{self.url}/api/v2/monitor/health", timeout=_TIMEOUT_S)
            answer.raise_for_status()
        except httpx.HTTPError:
            return {}
        return {name: str(part.get("status")) for name, part in answer.json().items()}

    def knows(self, dag: str) -> bool:
        """Whether it has read a DAG."""
        return self._ask("GET", f"/api/v2/dags/{dag}").is_success

    def trigger(self, dag: str, run_id: str, conf: Mapping[str, Any]) -> None:
        """Start a run of a DAG.

        Raises
        ------
        ConfigError
            If it refuses the parameters.
        """
        body = {"dag_run_id": run_id, "logical_date": None, "conf": dict(conf)}
        self._call("POST", f"/api/v2/dags/{dag}/dagRuns", body)

    def state(self, dag: str, run_id: str) -> str:
        """State of a run: ``queued``, ``running``, ``success`` or ``failed``."""
        return str(self._call("GET", f"/api/v2/dags/{dag}/dagRuns/{run_id}")["state"])

    def failures(self, dag: str, run_id: str) -> dict[str, str]:
        """Tasks of a run that have failed themselves, and the last error in their logs.

        Of mapped tasks the name has the number.
        """
        path = f"/api/v2/dags/{dag}/dagRuns/{run_id}/taskInstances"
        found = self._call("GET", f"{path}?limit=1000&state=failed")["task_instances"]
        made = {}
        for one in found:
            task, number = one["task_id"], one["map_index"]
            log = f"{path}/{task}/logs/{one['try_number']}?map_index={number}"
            made[task if number < 0 else f"{task} [{number}]"] = _last_error(self._call("GET", log))
        return made

    def tasks(self, state: str) -> tuple[int, list[dict[str, Any]]]:
        """How many tasks are in a state, and the hundred of the oldest runs."""
        path = f"/api/v2/dags/~/dagRuns/~/taskInstances?state={state}&limit=100&order_by=run_after"
        found = self._call("GET", path)
        return int(found["total_entries"]), list(found["task_instances"])

    def dags(self) -> dict[str, bool]:
        """Whether each DAG is paused, by its name."""
        found = self._call("GET", "/api/v2/dags?limit=1000")["dags"]
        return {dag["dag_id"]: bool(dag["is_paused"]) for dag in found}

    def pause(self, dag: str, *, paused: bool) -> None:
        """Let the scheduler begin nothing of a DAG, or let it go on."""
        self._call("PATCH", f"/api/v2/dags/{dag}", {"is_paused": paused})

    def variable(self, name: str) -> Any:  # noqa: ANN401 - JSON
        """What Airflow keeps under a name; None if there is nothing."""
        answer = self._ask("GET", f"/api/v2/variables/{name}")
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        if answer.is_error:
            msg = f"Airflow at {self.url} does not give the variable {name}: {_detail(answer)}"
            raise ConfigError(msg)
        return json.loads(answer.json()["value"])

    def keep_variable(self, name: str, value: object) -> None:
        """Keep something under a name that is free."""
        self._call("POST", "/api/v2/variables", {"key": name, "value": json.dumps(value)})

    def forget_variable(self, name: str) -> None:
        """Delete what is kept under a name."""
        self._ask("DELETE", f"/api/v2/variables/{name}")

    def _call(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - JSON
        answer = self._ask(method, path, body)
        if answer.is_error:
            msg = f"Airflow at {self.url} refuses {method} {path}: {_detail(answer)}"
            raise ConfigError(msg)
        return answer.json()

    def _ask(self, method: str, path: str, body: object = None) -> httpx.Response:
        """Ask until there is an answer; what changes something is said once, not twice."""
        end = time.monotonic() + _PATIENCE_S
        while True:
            try:
                answer = self._ask_once(method, path, body)
                if answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
                    return answer
                problem = _detail(answer)
            except httpx.HTTPError as error:
                problem = str(error)
            if method != "GET" or time.monotonic() > end:
                msg = f"Airflow at {self.url} does not answer ({problem}): is it running?"
                raise ConfigError(msg)
            time.sleep(1.0)

    def _ask_once(self, method: str, path: str, body: object) -> httpx.Response:
        if not self._token:
            self._log_in()
        head = {"Authorization": f"Bearer {self._token}"}
        url = self.url + path
        answer = httpx.request(method, url, json=body, headers=head, timeout=_TIMEOUT_S)
        if answer.status_code == httpx.codes.UNAUTHORIZED:  # A token holds for a day.
            self._token = ""
        return answer

    def _log_in(self) -> None:
        user, password, origin = self._login()
        answer = httpx.post(
            f"{self.url}/auth/token",
            json={"username": user, "password": password},
            timeout=_TIMEOUT_S,
        )
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            msg = f"Airflow at {self.url} refuses the password of {user} in {origin}"
            raise ConfigError(msg)
        answer.raise_for_status()
        self._token = answer.json()["access_token"]

    def _login(self) -> tuple[str, str, str]:
        """User, password, and where they are from."""
        if user := os.environ.get(USER):
            return user, os.environ.get(PASSWORD, ""), PASSWORD
        try:
            (user, password), *_ = json.loads(self._passwords.read_text()).items()
        except (OSError, ValueError) as error:
            msg = (
                f"no password for Airflow at {self.url}: {self._passwords} cannot be read; set "
                f"{USER} and {PASSWORD} to yours"
            )
            raise ConfigError(msg) from error
        return user, password, str(self._passwords)


def _detail(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return f"{answer.status_code} {answer.reason_phrase}"


def _last_error(log: Any) -> str:  # noqa: ANN401 - JSON
    """Message of the last exception that a log has; empty if it has none."""
    for line in reversed(log.get("content") or []):
        details = line.get("error_detail") if isinstance(line, dict) else None
        if details:
            return str(details[0].get("exc_value", ""))
    return ""

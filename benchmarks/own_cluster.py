"""A cluster of its own for a benchmark: databases, vhost, ports and directory, gone afterwards."""

from __future__ import annotations

import os
import socket
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import create_engine, text

from benchmarks.environment import child_environment
from trap_ops.store.database import Store

ROOT = Path(__file__).resolve().parents[1]
POSTGRES = os.environ.get(
    "TRAP_TEST_POSTGRES", "postgresql+psycopg2://postgres@127.0.0.1:5432/postgres"
)
RABBITMQ = os.environ.get("TRAP_TEST_RABBITMQ", "amqp://guest:guest@127.0.0.1:5672")
_FILE = """
[broker]
url = "{broker}"
[database]
url = "{airflow}"
[server]
port = {port}
[[workers]]
name = "pixels"
queues = ["pixels"]
concurrency = {tasks}
[[workers]]
name = "database"
queues = ["database", "default"]
concurrency = {tasks}
"""


@dataclass(frozen=True)
class OwnCluster:
    """Its variables, and its commands."""

    directory: Path
    variables: dict[str, str]

    def run(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run ``trap-manage``; end the benchmark if that fails."""
        made = self.begin(*words, **more)
        out, _ = made.communicate()
        if made.returncode:
            msg = f"`trap-manage {' '.join(words)}` failed:\n{out[-3000:]}"
            raise SystemExit(msg)
        return subprocess.CompletedProcess(words, 0, out)

    def begin(self, *words: str, **more: str) -> subprocess.Popen[str]:
        """Start ``trap-manage``."""
        return subprocess.Popen(  # noqa: S603 - the benchmark's own commands
            [ROOT / "bin" / "trap-manage", *words],
            env={**child_environment(self.variables), **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    @property
    def store(self) -> Store:
        """The results."""
        return Store(self.variables["TRAP_DB"])


@contextmanager
def own_cluster(directory: Path, tasks: int) -> Iterator[OwnCluster]:
    """Start a cluster, and stop it.

    Parameters
    ----------
    directory : Path
        Gets logs, reports and settings; ``incoming`` in it is looked after by trap_watch.
    tasks : int
        At the same time, of each of the two workers.
    """
    name = f"trap_bench_{uuid.uuid4().hex[:8]}"
    (directory / "incoming").mkdir(parents=True)
    admin = create_engine(POSTGRES, isolation_level="AUTOCOMMIT")
    airflow, results = (
        admin.url.set(database=f"{name}{end}", drivername="postgresql").render_as_string(
            hide_password=False
        )
        for end in ("_airflow", "_results")
    )
    (directory / "cluster.toml").write_text(
        _FILE.format(broker=f"{RABBITMQ}/{name}", airflow=airflow, port=_free_port(), tasks=tasks)
    )
    (directory / "schedules.toml").write_text(
        f'[[series]]\nname = "live"\nfolder = "{directory}/incoming"\ndataset = "live"\n'
        'when = "arrival"\nsettle_s = 2.0\n'
    )
    made = OwnCluster(
        directory,
        {
            "TRAP_CLUSTER": str(directory / "cluster.toml"),
            "TRAP_SCHEDULES": str(directory / "schedules.toml"),
            "TRAP_VAR": str(directory / "var"),
            "TRAP_DB": results,
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(_free_port()),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(_free_port()),
        },
    )
    _rabbitmqctl("add_vhost", name)
    try:
        _rabbitmqctl("set_permissions", "-p", name, "guest", ".*", ".*", ".*")
        with admin.connect() as connection:
            connection.execute(text(f'CREATE DATABASE "{name}_results"'))
        try:
            made.run("cluster", "start")
            yield made
        finally:
            made.run("cluster", "stop")
    finally:
        with admin.connect() as connection:
            for end in ("_airflow", "_results"):
                connection.execute(text(f'DROP DATABASE IF EXISTS "{name}{end}" WITH (FORCE)'))
        admin.dispose()
        _rabbitmqctl("delete_vhost", name)


def _rabbitmqctl(*words: str) -> None:
    as_root = [] if os.geteuid() == 0 else ["sudo"]
    subprocess.run([*as_root, "rabbitmqctl", "-q", *words], check=True)  # noqa: S603


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

"""The processes of a cluster on this machine, kept running by supervisord."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from trap_ops.commands.environment import AIRFLOW_COMMAND, CHECKOUT, var_dir
from trap_ops.config.cluster import ClusterConfig, WorkerConfig
from trap_ops.errors import ConfigError

# How long a worker may take to end the tasks it has begun before it is killed, and all others.
_WARM_S, _GRACE_S = 120, 20
# Of the supervisor itself, over its own processes.
_MARGIN_S = 30
# Linux takes no longer paths for sockets.
_MAX_SOCKET_PATH = 100

_HEAD = """\
[supervisord]
nodaemon=false
logfile={directory}/supervisord.log
pidfile={directory}/supervisord.pid
childlogdir={directory}
minfds=1024

[unix_http_server]
file={socket}
chmod=0700

[supervisorctl]
serverurl=unix://{socket}

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""
# Airflow's processes end where their database is away: each is started again, however often.
# A second of life is enough to count as started, or supervisord would give up after some failures.
_PROGRAM = """
[program:{name}]
command={command}
directory={checkout}
autostart=true
autorestart=true
startsecs=1
startretries=1000000
stopsignal=TERM
stopwaitsecs={patience}
killasgroup=true
redirect_stderr=true
stdout_logfile={directory}/{name}.log
stdout_logfile_maxbytes=20MB
stdout_logfile_backups=3
"""


def directory() -> Path:
    """Where the files of the processes are."""
    return var_dir() / "cluster"


def commands(cluster: ClusterConfig) -> dict[str, list[str]]:
    """Words of ``airflow`` for each process, by its name."""
    made = {name: [name] for name in ("api-server", "scheduler", "dag-processor", "triggerer")}
    for number, worker in enumerate(cluster.workers):
        made[f"worker-{worker.name}"] = worker_words(worker, serve_logs=number == 0)
    return made


def worker_words(worker: WorkerConfig, *, serve_logs: bool) -> list[str]:
    """Words of ``airflow`` for one worker.

    All workers of this machine write their logs into one directory, which one of them serves.
    """
    words = [
        "celery",
        "worker",
        f"--queues={','.join(worker.queues)}",
        f"--concurrency={worker.concurrency}",
        f"--celery-hostname={worker.name}@%h",
        f"--pid={directory() / f'{worker.name}.pid'}",
    ]
    return words if serve_logs else [*words, "--skip-serve-logs"]


def start(cluster: ClusterConfig, environment: Mapping[str, str]) -> None:
    """Start all processes.

    Raises
    ------
    ConfigError
        If they run already, or their port is taken.
    """
    if running() is not None:
        msg = f"the cluster of {CHECKOUT} runs already; `make cluster-stop` ends it"
        raise ConfigError(msg)
    _check_port(cluster)
    directory().mkdir(parents=True, exist_ok=True)
    _configuration(cluster)
    # What it says at its end is in its log.
    made = subprocess.run(
        [*_supervisor("supervisord"), "-c", str(_file())],
        env=dict(environment),
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        msg = f"supervisord does not start: {(made.stdout + made.stderr).strip()[-1000:]}"
        raise ConfigError(msg)


def running() -> int | None:
    """Process id of the supervisor; None if it does not run."""
    try:
        pid = int((directory() / "supervisord.pid").read_text())
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ValueError, ProcessLookupError):
        return None
    # The number may be another process' by now.
    return pid if str(_file()).encode() in words else None


def stop() -> bool:
    """End all processes; return whether there were any.

    Workers finish what they have begun, for two minutes at most.
    """
    pid = running()
    if pid is None:
        return False
    os.kill(pid, signal.SIGTERM)
    for _ in range((_WARM_S + _MARGIN_S) * 10):
        if running() is None:
            return True
        time.sleep(0.1)
    msg = f"the supervisor (process {pid}) does not end; see {directory()}/supervisord.log"
    raise ConfigError(msg)


def states() -> dict[str, str]:
    """State of each process in the words of supervisord, by its name."""
    made = subprocess.run(
        [*_supervisor("supervisorctl"), "-c", str(_file()), "status"],
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line.split(maxsplit=1) for line in made.stdout.splitlines()]
    return {words[0]: words[1].strip() for words in lines if len(words) == 2}


def _supervisor(program: str) -> tuple[str, ...]:
    return sys.executable, "-P", "-m", f"supervisor.{program}"


def _file() -> Path:
    return directory() / "supervisord.conf"


def _configuration(cluster: ClusterConfig) -> None:
    """Write what supervisord is to do."""
    socket_path = directory() / "supervisor.sock"
    if len(str(socket_path)) > _MAX_SOCKET_PATH:
        name = sha256(str(socket_path).encode()).hexdigest()[:16]
        socket_path = Path(tempfile.gettempdir()) / f"trap-{name}.sock"

    def escaped(text: object) -> str:
        return str(text).replace("%", "%%")

    parts = [_HEAD.format(directory=escaped(directory()), socket=escaped(socket_path))]
    for name, words in commands(cluster).items():
        parts.append(
            _PROGRAM.format(
                name=name,
                command=escaped(shlex.join([*AIRFLOW_COMMAND, *words])),
                checkout=escaped(CHECKOUT),
                patience=_WARM_S if name.startswith("worker-") else _GRACE_S,
                directory=escaped(directory()),
            )
        )
    _file().write_text("".join(parts))


def _check_port(cluster: ClusterConfig) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((cluster.server.host, cluster.server.port))
        except OSError as error:
            msg = (
                f"{cluster.server.host}:{cluster.server.port} cannot be used ({error.strerror}): "
                "choose another server.port for the cluster"
            )
            raise ConfigError(msg) from error

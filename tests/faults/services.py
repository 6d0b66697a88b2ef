"""Servers that only a test uses, in directories and on ports of their own: faults may hit them."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from with_airflow.test_standalone import free_port

_START_S = 60.0


def needed(*places: str) -> Path:
    """A program of the system; without it these tests fail in CI, and are skipped elsewhere."""
    for place in places:
        found = sorted(Path("/").glob(place.lstrip("/")))
        if found:
            return found[-1]
    message = f"{places[0]} is not there (`make services` installs it)"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


def need_root() -> None:
    """Disks and hosts are made by root; who is not skips what needs them, but not CI."""
    if os.geteuid() != 0:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("mounts and hosts need root")


def listens(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((host, port)) == 0


@dataclass
class Service:
    """A server that can be ended in bad ways, and started again with what it has kept."""

    host: str
    port: int = field(default_factory=free_port)
    directory: Path = field(init=False)
    process: subprocess.Popen[bytes] | None = field(init=False, default=None)
    # Servers that refuse to run as root run as this one.
    user: str | None = field(init=False, default=None)

    def command(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": str(self.directory), "LC_ALL": "C.UTF-8"}

    def prepare(self) -> None:
        """Make what it needs once."""

    def start(self) -> None:
        assert self.process is None
        with (self.directory / "output.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), env=self.environment(), cwd=self.directory, stdout=log,
                stderr=log, stdin=subprocess.DEVNULL, user=self.user, start_new_session=True,
            )  # fmt: skip
        until = time.monotonic() + _START_S
        while not (listens(self.host, self.port) and self.answers()):
            said = (self.directory / "output.log").read_text(errors="replace")[-2000:]
            assert self.process.poll() is None, said
            assert time.monotonic() < until, said
            time.sleep(0.1)

    def answers(self) -> bool:
        return True

    def end(self, number: signal.Signals) -> None:
        """End it with a signal, and wait until it and its children are gone."""
        assert self.process is not None
        family = [psutil.Process(self.process.pid)]
        family += family[0].children(recursive=True)
        if number is signal.SIGKILL:
            for member in family:
                with suppress(psutil.NoSuchProcess):
                    member.kill()
        else:
            self.process.send_signal(number)
        self.process.wait(60)
        gone, alive = psutil.wait_procs(family, timeout=20)
        assert not alive, f"{type(self).__name__} goes on: {alive}, {gone}"
        self.process = None

    @property
    def url(self) -> str:
        raise NotImplementedError


class Postgres(Service):
    """PostgreSQL, to which everybody on its network may connect."""

    def prepare(self) -> None:
        initdb = needed("/usr/lib/postgresql/*/bin/initdb")
        words = [str(initdb), "--auth=trust", "--no-sync", "--username=postgres", "--encoding=UTF8"]
        if os.geteuid() == 0:
            self.user = "postgres"
            shutil.chown(self.directory, "postgres")
        made = subprocess.run(
            [*words, "-D", str(self.directory / "data")], env=self.environment(), user=self.user,
            cwd=self.directory, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert made.returncode == 0, made.stdout + made.stderr
        with (self.directory / "data" / "pg_hba.conf").open("a") as file:
            file.write("host all all samenet trust\n")

    def command(self) -> list[str]:
        return [
            str(needed("/usr/lib/postgresql/*/bin/postgres")), "-D", str(self.directory / "data"),
            "-p", str(self.port), "-c", f"listen_addresses={self.host}",
            "-c", f"unix_socket_directories={self.directory}", "-c", "max_connections=200",
        ]  # fmt: skip

    def answers(self) -> bool:
        ready = needed("/usr/lib/postgresql/*/bin/pg_isready")
        words = [str(ready), "-q", "-h", self.host, "-p", str(self.port)]
        return subprocess.run(words, check=False).returncode == 0

    @property
    def url(self) -> str:
        return f"postgresql://postgres@{self.host}:{self.port}"


class Rabbit(Service):
    """RabbitMQ, with an epmd of its own."""

    epmd: subprocess.Popen[bytes]
    epmd_port: int
    dist_port: int

    def prepare(self) -> None:
        self.epmd_port, self.dist_port = free_port(), free_port()
        (self.directory / "plugins").write_text("[].\n")
        (self.directory / "rabbit.conf").write_text(
            f"listeners.tcp.1 = {self.host}:{self.port}\nloopback_users = none\n"
        )
        epmd = str(needed("/usr/bin/epmd", "/usr/lib/erlang/bin/epmd"))
        self.epmd = subprocess.Popen(
            [epmd, "-address", "127.0.0.1", "-port", str(self.epmd_port)], env=self.environment()
        )

    def environment(self) -> dict[str, str]:
        return {
            **super().environment(),
            "RABBITMQ_NODENAME": f"trap{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(self.dist_port),
            "RABBITMQ_CONFIG_FILE": str(self.directory / "rabbit.conf"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.directory / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.directory / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.directory / "log"),
            "RABBITMQ_PID_FILE": str(self.directory / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2"
            ),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self.epmd_port),
        }

    def command(self) -> list[str]:
        return [str(needed("/usr/lib/rabbitmq/bin/rabbitmq-server"))]

    def close(self) -> None:
        self.epmd.terminate()
        self.epmd.wait(20)

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@{self.host}:{self.port}//"


class ForgetfulRedis(Service):
    """Redis that keeps nothing: after a restart all that waited is lost."""

    def command(self) -> list[str]:
        return [
            str(needed("/usr/bin/redis-server")), "--bind", self.host, "--port", str(self.port),
            "--save", "", "--appendonly", "no", "--protected-mode", "no",
            "--dir", str(self.directory),
        ]  # fmt: skip

    @property
    def url(self) -> str:
        return f"redis://{self.host}:{self.port}/0"


BROKERS: dict[str, type[Service]] = {"rabbitmq": Rabbit, "redis": ForgetfulRedis}


@contextmanager
def served(service: Service) -> Iterator[Service]:
    """A server, from its first start to its end."""
    # Not below pytest's directory, which is root's alone.
    service.directory = Path(tempfile.mkdtemp(prefix="trap-"))
    try:
        service.prepare()
        service.start()
        yield service
    finally:
        if service.process is not None:
            service.end(signal.SIGKILL)
        if isinstance(service, Rabbit):
            service.close()
        shutil.rmtree(service.directory, ignore_errors=True)


@contextmanager
def small_disk(directory: Path, megabytes: int) -> Iterator[Path]:
    """A file system of few megabytes, mounted on a directory."""
    need_root()
    directory.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(directory)]
    subprocess.run(words, check=True)
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


@dataclass
class Network:
    """Another host: a network namespace, with one cable to this one."""

    name: str
    here: str
    cable: str

    def plug(self, state: str) -> None:
        """Set the cable ``up`` or ``down``."""
        subprocess.run(["ip", "link", "set", self.cable, state], check=True)


@contextmanager
def other_host() -> Iterator[Network]:
    """A host with a cable to this one; servers must listen on this one's address, ``here``."""
    need_root()
    needed("/usr/sbin/ip", "/sbin/ip")
    number = os.getpid() % 200 + 20
    network = Network(f"trap{os.getpid()}", f"10.231.{number}.1", f"trap{os.getpid() % 10**7}a")
    inside = network.cable[:-1] + "b"
    within = ["ip", "-n", network.name]
    try:
        for words in (
            ["ip", "netns", "add", network.name],
            ["ip", "link", "add", network.cable, "type", "veth", "peer", "name", inside,
             "netns", network.name],
            ["ip", "address", "add", f"{network.here}/30", "dev", network.cable],
            [*within, "address", "add", f"10.231.{number}.2/30", "dev", inside],
            [*within, "link", "set", inside, "up"],
            [*within, "link", "set", "lo", "up"],
        ):  # fmt: skip
            subprocess.run(words, check=True)
        network.plug("up")
        yield network
    finally:
        # The cable goes with it.
        subprocess.run(["ip", "netns", "delete", network.name], check=False)
        subprocess.run(["ip", "link", "delete", network.cable], check=False, capture_output=True)

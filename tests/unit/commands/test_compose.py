"""docker-compose.yaml is the cluster that ``make cluster`` starts."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from trap_ops.commands.__main__ import main
from trap_ops.commands.cluster_environment import cluster_variables
from trap_ops.commands.cluster_processes import commands
from trap_ops.config.cluster import load_cluster

ROOT = Path(__file__).resolve().parents[3]
COMPOSE = ROOT / "docker-compose.yaml"


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]
    return found


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    path = tmp_path / "made.env"
    assert main(["compose-env", "--output", str(path), "--images", "/srv/images"]) == 0
    return path


def values(path: Path) -> dict[str, str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_it_runs_the_processes_of_make_cluster(services: dict[str, Any]) -> None:
    local = commands(load_cluster(ROOT / "include" / "compose.toml", {}))
    for name, words in local.items():
        told = services[name]["command"]
        if not name.startswith("worker-"):
            assert told == ["cluster", "airflow", *words]
            continue
        # Each container has its own pid files and serves its own logs; tasks at a time may be set.
        own = [w for w in words if not w.startswith(("--pid=", "--skip-serve-logs"))]
        told = [re.sub(r"\$\{PIXEL_TASKS:-(\d+)\}", r"\1", word) for word in told]
        assert told == own
    others = {"postgres", "rabbitmq", "redis", "init", "flower"}
    assert set(services) == set(local) | others


def test_queues_are_those_of_the_tasks(services: dict[str, Any]) -> None:
    dag = (ROOT / "dags" / "trap_batch.py").read_text(encoding="utf-8")
    (line,) = re.findall(r"^PIXELS, DATABASE = (.*)$", dag, re.MULTILINE)
    wanted = set(re.findall(r'"(\w+)"', line))
    served = set()
    for service in services.values():
        for word in service.get("command", []):
            if word.startswith("--queues="):
                served |= set(word.removeprefix("--queues=").split(","))
    assert wanted == {"pixels", "database"} <= served


def test_every_service_is_watched_and_limited(services: dict[str, Any]) -> None:
    for name, service in services.items():
        if name == "init":
            assert service["restart"] == "no"
            continue
        assert service["restart"] == "always", name
        assert "mem_limit" in service, name
        assert "healthcheck" in service or name == "flower", name


def test_settings_of_the_services_are_settings_of_the_project(services: dict[str, Any]) -> None:
    """A variable that nobody reads would be set in vain, and one that is decided here, too."""
    decided = cluster_variables(load_cluster(ROOT / "include" / "compose.toml", {}), {"PATH": "/"})
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "plugins").rglob("*.py"))
    for name in services["scheduler"]["environment"]:
        if name.startswith("TRAP_"):
            assert f'"{name}"' in code, name
        else:
            assert re.fullmatch(r"AIRFLOW__[A-Z_]+__[A-Z_]+", name)
            assert name not in decided, f"{name} is decided by the project"


def test_passwords_are_new_random_and_for_the_owner_alone(env_file: Path, tmp_path: Path) -> None:
    made = values(env_file)
    assert stat.S_IMODE(env_file.stat().st_mode) == 0o600
    secrets = [v for k, v in made.items() if k.endswith(("_PASSWORD", "_KEY", "_SECRET"))]
    assert len(secrets) == len(set(secrets)) == 7
    assert min(map(len, secrets)) >= 44
    assert len(made["JWT_SECRET"]) >= 64, "HS512 wants as many bytes"
    other = tmp_path / "other.env"
    assert main(["compose-env", "--output", str(other)]) == 0
    assert not set(secrets) & set(values(other).values())


def test_passwords_that_are_in_use_are_never_replaced(
    env_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = env_file.read_text(encoding="utf-8")
    assert main(["compose-env", "--output", str(env_file)]) == 1
    assert "is there already" in capsys.readouterr().err
    assert env_file.read_text(encoding="utf-8") == before


def test_every_secret_of_the_file_is_made(env_file: Path) -> None:
    text = COMPOSE.read_text(encoding="utf-8")
    required = set(re.findall(r"\$\{(\w+):\?", text))
    assert required <= set(values(env_file))
    assert not re.search(r"(PASSWORD|SECRET|_KEY): *[\"']?\w", text), "a secret in the file itself"


@pytest.mark.parametrize("profile", ["rabbitmq", "redis", "flower"])
def test_compose_accepts_it(env_file: Path, profile: str) -> None:
    """Without an engine it still resolves anchors and variables, and knows all keys."""
    tool = shutil.which("docker-compose")
    if tool is None:
        message = "docker-compose is not there (`make services` installs it)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    made = subprocess.run(
        [tool, "--env-file", str(env_file), "--profile", profile, "-f", str(COMPOSE), "config"],
        capture_output=True, text=True, check=False, cwd=ROOT,
        # What is set for this checkout's own runs is not meant.
        env={**os.environ, "TRAP_DB": "sqlite:////tmp/other.db", "TRAP_BROKER": "redis://other"},
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    config = yaml.safe_load(made.stdout)
    assert {"postgres", "init", "scheduler", profile} <= set(config["services"])
    environment = config["services"]["worker-pixels"]["environment"]
    password = values(env_file)["POSTGRES_PASSWORD"]
    assert environment["TRAP_DB"] == f"postgresql://trap:{password}@postgres:5432/results"
    password = values(env_file)["RABBITMQ_PASSWORD"]
    assert environment["TRAP_BROKER"] == f"amqp://trap:{password}@rabbitmq:5672/trap"
    assert "/srv/images:/data:ro" in config["services"]["worker-pixels"]["volumes"]


def test_without_passwords_nothing_starts(tmp_path: Path) -> None:
    tool = shutil.which("docker-compose")
    if tool is None:
        pytest.skip("docker-compose is not there")
    empty = tmp_path / "empty.env"
    empty.write_text("")
    made = subprocess.run(
        [tool, "--env-file", str(empty), "-f", str(COMPOSE), "config"],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert made.returncode != 0
    assert "run make compose-env" in made.stderr

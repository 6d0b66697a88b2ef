"""What a cluster's processes and ``trap-manage celery`` are given."""

from __future__ import annotations

import importlib.util
import re
import shlex
import stat
from concurrent.futures import ThreadPoolExecutor
from configparser import RawConfigParser
from dataclasses import replace
from pathlib import Path

import pytest

from trap_ops.commands import cluster_processes
from trap_ops.commands.celery import with_queues
from trap_ops.commands.celery_workers import Worker, described
from trap_ops.commands.cluster_environment import (
    check_broker,
    cluster_variables,
    masked,
    metric_variables,
    process_environment,
)
from trap_ops.commands.workers import code
from trap_ops.config.cluster import ClusterConfig, MetricsConfig, load_cluster
from trap_ops.errors import ConfigError
from trap_ops.stages.fingerprint import fingerprint, versions

FILE = Path(__file__).resolve().parents[3] / "include" / "configs" / "cluster.toml"


@pytest.fixture
def cluster() -> ClusterConfig:
    return load_cluster(FILE, {})


def test_airflow_gets_executor_broker_and_database(cluster: ClusterConfig) -> None:
    made = cluster_variables(cluster, {"PATH": "/bin"})
    assert made["AIRFLOW__CORE__EXECUTOR"] == "CeleryExecutor"
    assert made["AIRFLOW__CELERY__BROKER_URL"] == cluster.broker.url
    database = "postgresql+psycopg2://postgres@127.0.0.1:5432/trap_airflow"
    assert made["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] == database
    assert made["AIRFLOW__CELERY__RESULT_BACKEND"] == f"db+{database}"
    assert made["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://127.0.0.1:8080/execution/"
    assert made["AIRFLOW__CORE__DAGS_FOLDER"].endswith("/dags")


def test_what_a_site_has_set_is_kept(cluster: ClusterConfig) -> None:
    name = "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT"
    assert cluster_variables(cluster, {"PATH": "/bin"})[name] == "60"
    assert cluster_variables(cluster, {"PATH": "/bin", name: "90"})[name] == "90"


def known_settings(names: set[str]) -> set[str]:
    """Those of Airflow's variables that Airflow knows, without loading it."""
    found = importlib.util.find_spec("airflow")
    assert found is not None
    assert found.origin is not None
    file = Path(found.origin).parent / "config_templates" / "config.yml"
    metrics = re.split(r"^metrics:$", file.read_text(encoding="utf-8"), flags=re.MULTILINE)[1]
    options = re.findall(
        r"^    (\w+):$", re.split(r"^\w", metrics, flags=re.MULTILINE)[0], re.MULTILINE
    )
    return names & {f"AIRFLOW__METRICS__{name.upper()}" for name in options}


def test_metrics_go_where_the_file_says(cluster: ClusterConfig) -> None:
    assert metric_variables(cluster.metrics) == {}
    site = {"PATH": "/bin", "AIRFLOW__METRICS__STATSD_ON": "True"}
    assert not set(site) - {"PATH"} & set(cluster_variables(cluster, site)), "the site's own"
    told = MetricsConfig(kind="statsd", host="monitor", port=9125, prefix="trap")
    made = cluster_variables(cluster.model_copy(update={"metrics": told}), {"PATH": "/bin"})
    wanted = {"ON": "True", "HOST": "monitor", "PORT": "9125", "PREFIX": "trap"}
    statsd = {f"AIRFLOW__METRICS__STATSD_{key}": value for key, value in wanted.items()}
    assert statsd.items() <= made.items()
    assert known_settings(set(statsd)) == set(statsd)
    otel = metric_variables(MetricsConfig(kind="otel", host="monitor", port=4318))
    assert otel["OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"] == "http://monitor:4318/v1/metrics"
    own = {name for name in otel if name.startswith("AIRFLOW")}
    assert known_settings(own) == own


@pytest.mark.parametrize(
    ("words", "queues"),
    [
        ("worker", "pixels,database,default"),
        ("worker -c 4", "pixels,database,default"),
        ("worker -q mine", None),
        ("worker -qmine", None),
        ("worker --queues=mine", None),
        ("worker --queues mine", None),
        ("worker --help", None),
        ("flower", None),
        ("", None),
    ],
)
def test_a_worker_serves_all_queues_unless_told_otherwise(
    cluster: ClusterConfig, words: str, queues: str | None
) -> None:
    given = shlex.split(words)
    made = with_queues(given, cluster)
    if queues is None:
        assert made == given
    else:
        assert made == ["worker", f"--queues={queues}", *given[1:]]


def test_each_process_is_one_program_of_the_supervisor(
    cluster: ClusterConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TRAP_VAR", str(tmp_path))
    cluster_processes.directory().mkdir()
    cluster_processes._configuration(cluster)
    read = RawConfigParser()
    read.read(cluster_processes.directory() / "supervisord.conf")
    programs = {name.split(":")[1]: read[name] for name in read if name.startswith("program:")}
    assert set(programs) == {
        "api-server", "scheduler", "dag-processor", "triggerer", "worker-pixels", "worker-database"
    }  # fmt: skip
    assert {program["autorestart"] for program in programs.values()} == {"true"}
    # One log server on a machine; a pid file for each worker.
    words = {name: shlex.split(program["command"]) for name, program in programs.items()}
    serving = [name for name in words if "--skip-serve-logs" not in words[name]]
    assert [name for name in serving if name.startswith("worker")] == ["worker-pixels"]
    pids = {word for each in words.values() for word in each if word.startswith("--pid=")}
    assert len(pids) == 2
    assert "--celery-hostname=pixels@%%h" in words["worker-pixels"], "a % is written twice"


def test_nothing_runs_where_nothing_was_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TRAP_VAR", str(tmp_path))
    assert cluster_processes.running() is None
    assert not cluster_processes.stop()
    cluster_processes.directory().mkdir()
    # Another process has the number by now.
    (cluster_processes.directory() / "supervisord.pid").write_text("1\n")
    assert cluster_processes.running() is None
    assert not cluster_processes.stop()


def test_a_task_is_told_by_its_names() -> None:
    workload = (
        '{"ti":{"id":"0","task_id":"extract_sources","dag_id":"trap_batch",'
        '"run_id":"manual__2026-01-02T03:04:05+00:00","try_number":1,"map_index":3}}'
    )
    told = "extract_sources [3] of manual__2026-01-02T03:04:05+00:00"
    assert described({"name": "execute_workload", "args": [workload]}) == told
    alone = workload.replace('"map_index":3', '"map_index":-1')
    assert described({"name": "execute_workload", "args": [alone]}) == told.replace(" [3]", "")
    assert described({"name": "celery.chord", "args": []}) == "celery.chord"


def test_other_code_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    here = versions()
    worker = Worker("a@b", ["pixels"], 2, [], fingerprint(), here, "")
    assert code(worker) == "as here"
    edited = replace(worker, fingerprint="0" * 64)
    assert code(edited) == f"OTHER: 000000000000, here {fingerprint()[:12]}"
    older = replace(edited, versions={**here, "numpy": "1.0"})
    assert code(older) == f"OTHER: numpy 1.0, here {here['numpy']}"
    assert code(replace(worker, fingerprint="", problem="no disk")) == "unknown: no disk"


def test_a_password_is_masked() -> None:
    assert masked("amqp://guest:se%40cret@h:5672//") == "amqp://guest:***@h:5672//"
    assert masked("redis://:secret@h:6379/0") == "redis://:***@h:6379/0"
    assert masked("redis://h:6379/0") == "redis://h:6379/0"


@pytest.mark.parametrize("url", ["amqp://me:secret@127.0.0.1:1//", "redis://:secret@127.0.0.1:1/0"])
def test_a_broker_that_is_away_is_told_in_one_sentence(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_broker(url)
    said = caught.value.message
    assert masked(url) in said
    assert "Connection refused" in said
    assert "TRAP_BROKER" in said
    assert "secret" not in said
    assert "\n" not in said


def test_passes_of_tasks_are_signed_with_one_secret_that_only_its_user_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRAP_VAR", str(tmp_path / "var"))
    monkeypatch.delenv("AIRFLOW__API_AUTH__JWT_SECRET", raising=False)
    cluster = load_cluster(FILE, {})
    with ThreadPoolExecutor(8) as pool:
        made = {
            env["AIRFLOW__API_AUTH__JWT_SECRET"]
            for env in pool.map(lambda _: process_environment(cluster), range(8))
        }
    (secret,) = made
    assert len(secret) >= 64
    (file,) = (tmp_path / "var" / "airflow").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "x" * 64)
    assert process_environment(cluster)["AIRFLOW__API_AUTH__JWT_SECRET"] == "x" * 64

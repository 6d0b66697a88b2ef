"""What the how-tos say about services is what the project's own commands run."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path

import pytest

from conftest import ROOT
from trap_ops.commands.cluster_processes import commands
from trap_ops.config.cluster import ClusterConfig, load_cluster

HOW_TO = ROOT / "docs" / "how-to"
UNITS = (HOW_TO / "cluster-by-hand.md").read_text(encoding="utf-8")
METRICS = (HOW_TO / "metrics.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def cluster() -> ClusterConfig:
    return load_cluster(ROOT / "include" / "configs" / "cluster.toml", {})


def test_every_process_has_a_unit(cluster: ClusterConfig) -> None:
    started, workers = (
        set(re.findall(rf"\b{unit}@([a-z-]+)", UNITS)) for unit in ("trap", "trap-worker")
    )
    names = commands(cluster)
    assert {name for name in names if not name.startswith("worker-")} == started
    assert {f"worker-{name}" for name in workers} == {n for n in names if n.startswith("worker-")}
    assert len(re.findall(r"^    Restart=always$", UNITS, re.MULTILINE)) == 2


def test_a_worker_of_a_unit_gets_what_other_workers_get(cluster: ClusterConfig) -> None:
    (line,) = re.findall(r"ExecStart=/opt/trap/bin/trap-manage (celery .*)", UNITS)
    told = [word.split("=")[0] for word in line.split() if word != "$MORE"]
    words = commands(cluster)[f"worker-{cluster.workers[0].name}"]
    assert set(told) == {word.split("=")[0] for word in words}


def test_settings_in_the_text_are_settings(cluster: ClusterConfig) -> None:
    for page in ("metrics.md", "red-task.md"):
        text = (HOW_TO / page).read_text(encoding="utf-8")
        (block,) = re.findall(r"^    \[[a-z]+\]\n(?:    .+\n)+", text, re.MULTILINE)
        ((section, values),) = tomllib.loads(block.replace("\n    ", "\n").strip()).items()
        ClusterConfig.model_validate({**cluster.model_dump(), section: values})


def test_metrics_are_airflows() -> None:
    """Those of its own list, by which it also names them for StatsD."""
    # To import it would take seconds, and write files.
    found = importlib.util.find_spec("airflow")
    assert found is not None
    assert found.origin is not None
    folder = Path(found.origin).parent / "_shared" / "observability" / "metrics"
    template = (folder / "metrics_template.yaml").read_text(encoding="utf-8")
    known = set(re.findall(r'^  - name: "([^"]+)"', template, re.MULTILINE))
    older = set(re.findall(r'legacy_name: "([^"]+)"', template)) - {"-"}
    patterns = [re.sub(r"\\{\w+\\}", r"[\\w-]+", re.escape(name)) for name in known | older]
    table = METRICS.split("## Dashboards")[1].split("## Limits")[0]
    named = re.findall(
        r"`([a-z_]+(?:\.[A-Za-z_]+)*)`",
        "".join(line.split("|")[2] for line in table.splitlines() if line.startswith("|")),
    )
    assert len(named) > 15
    wrong = [name for name in named if not any(re.fullmatch(p, name) for p in patterns)]
    assert wrong == []

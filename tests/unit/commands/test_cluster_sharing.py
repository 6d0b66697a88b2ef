"""How users share a cluster: pools, queues of groups, turns."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from trap_ops.commands.cluster_sharing import sharing_variables
from trap_ops.config.cluster import ClusterConfig, load_cluster
from trap_ops.errors import ConfigError

ROOT = Path(__file__).resolve().parents[3]
GROUP = '[[groups]]\nname = "{}"\nusers = ["{}"]\npixels = "deep-pixels"\npriority = 2\n'


def cluster(tmp_path: Path, more: str = "") -> ClusterConfig:
    text = (ROOT / "include" / "configs" / "cluster.toml").read_text()
    path = tmp_path / "cluster.toml"
    path.write_text(text + more)
    return load_cluster(path, {})


@pytest.fixture
def settings() -> Iterator[ModuleType]:
    """The file, as Airflow imports it."""
    spec = spec_from_file_location("local_settings", ROOT / "plugins" / "airflow_local_settings.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    module._sharing.cache_clear()


def task(queue: str = "pixels", number: int = -1, dag: str = "trap_batch") -> Any:
    return SimpleNamespace(
        dag_id=dag, queue=queue, map_index=number, pool="default_pool", priority_weight=1,
        task=SimpleNamespace(queue=queue),
    )  # fmt: skip


def of(user: str = "", run_id: str = "manual__1") -> Any:
    return SimpleNamespace(run_id=run_id, triggering_user_name=user)


def test_pools_are_as_large_as_the_workers(tmp_path: Path) -> None:
    made = cluster(tmp_path)
    assert (made.slots("pixels"), made.slots("database")) == (2, 2)
    text = (ROOT / "include" / "configs" / "cluster.toml").read_text()
    (tmp_path / "cluster.toml").write_text(text.replace("pixels = 0", "pixels = 40"))
    made = load_cluster(tmp_path / "cluster.toml", {})
    variables = sharing_variables(made)
    assert made.slots("pixels") == 40
    assert int(variables["AIRFLOW__CORE__PARALLELISM"]) >= 42
    assert int(variables["AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG"]) >= 40


@pytest.mark.parametrize(
    ("second", "said"),
    [(("deep", "ben"), "group 'deep'"), (("wide", "anna"), "user 'anna'")],
)
def test_nobody_is_in_two_groups(tmp_path: Path, second: tuple[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        cluster(tmp_path, GROUP.format("deep", "anna") + GROUP.format(*second))


class TestTurns:
    @pytest.fixture(autouse=True)
    def _sharing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        made = cluster(tmp_path, GROUP.format("deep", "anna") + GROUP.format("live", "trap_watch"))
        monkeypatch.setenv("TRAP_SHARING", sharing_variables(made)["TRAP_SHARING"])

    def test_first_batches_go_before_second_ones(self, settings: ModuleType) -> None:
        tasks = [task(number=n) for n in (0, 1, 499, 5000)] + [task("database")]
        for one in tasks:
            settings.task_instance_mutation_hook(one, of("ben"))
        weights = [one.priority_weight for one in tasks]
        assert weights[0] > weights[1] > weights[2] > weights[3] > 0
        assert weights[4] == weights[0]
        assert [one.pool for one in tasks[-2:]] == ["trap_pixels", "trap_database"]
        assert {one.queue for one in tasks[:-1]} == {"pixels"}

    @pytest.mark.parametrize("run", [of("anna"), of(run_id="watch__2026")])
    def test_a_group_has_its_queue_and_its_priority(self, settings: ModuleType, run: Any) -> None:
        theirs, last = task(number=999), task(number=0)
        settings.task_instance_mutation_hook(theirs, run)
        settings.task_instance_mutation_hook(last, of("ben"))
        assert (theirs.queue, theirs.pool) == ("deep-pixels", "trap_pixels")
        assert theirs.priority_weight > last.priority_weight
        # Airflow asks again, and of tasks that it has read from its database.
        del theirs.task
        settings.task_instance_mutation_hook(theirs, run)
        assert theirs.queue == "deep-pixels"

    def test_before_the_run_is_known_nobody_is_preferred(self, settings: ModuleType) -> None:
        one = task()
        settings.task_instance_mutation_hook(one)
        assert (one.queue, one.pool) == ("pixels", "trap_pixels")

    def test_tasks_of_others_are_left_alone(self, settings: ModuleType) -> None:
        for one in (task(dag="other"), task("special")):
            before = vars(one).copy()
            settings.task_instance_mutation_hook(one, of("anna"))
            assert vars(one) == before


def test_without_a_cluster_nothing_is_changed(
    settings: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRAP_SHARING", raising=False)
    one = task()
    before = vars(one).copy()
    settings.task_instance_mutation_hook(one, of("anna"))
    assert vars(one) == before

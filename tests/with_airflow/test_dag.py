"""The file dags/trap_batch.py as Airflow reads it."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

import pytest

from trap_ops.config.load import configuration_names
from with_airflow.conftest import ROOT, Checkout, python

TASKS = [
    "register_images", "measure_quality", "judge_quality", "extract_sources", "associate",
    "fit_forced", "measure_variability", "find_candidates", "publish",
]  # fmt: skip

READ = """
import json, sys, time, warnings
from airflow.utils.deprecation_tools import DeprecatedImportWarning
warnings.simplefilter("error", DeprecatedImportWarning)
from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization
import importlib.util
started = time.perf_counter()
spec = importlib.util.spec_from_file_location("the_dag_file", {path!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
seconds = time.perf_counter() - started
heavy = sorted({{"numpy", "scipy", "astropy", "sqlalchemy.orm", "pandas"}} & set(sys.modules)
               - {{"sqlalchemy.orm"}})
ours = sorted(name for name in sys.modules if name.startswith("trap_ops"))
bag = DagBag(dag_folder={folder!r})
dag = bag.dags["trap_batch"]
DagSerialization.to_dict(dag)
print(json.dumps({{
    "errors": bag.import_errors, "seconds": seconds, "heavy": heavy, "ours": ours,
    "tasks": {{t.task_id: {{
        "upstream": sorted(t.upstream_task_ids), "rule": str(t.trigger_rule.value),
        "mapped": t.is_mapped, "doc": t.doc_md or "", "retries": t.retries,
        "operator": t.operator_class.__name__ if isinstance(t.operator_class, type)
        else t.task_type,
    }} for t in dag.tasks}},
    "params": {{k: v.dump() if hasattr(v, "dump") else v for k, v in dag.params.items()}},
    "schemas": {{k: dag.params.get_param(k).schema for k in dag.params}},
    "doc": dag.doc_md, "schedule": dag.schedule,
}}, default=str))
"""


@pytest.fixture(scope="module")
def dag(checkout: Checkout) -> dict:
    code = READ.format(path=str(ROOT / "dags" / "trap_batch.py"), folder=str(ROOT / "dags"))
    return python(code, checkout)


def test_reads_without_errors_and_deprecated_imports(dag: dict) -> None:
    assert dag["errors"] == {}


def test_is_read_in_a_tenth_of_a_second_without_numpy(dag: dict) -> None:
    """Airflow reads it every half minute, and in every task."""
    assert dag["heavy"] == []
    assert dag["seconds"] < 0.1
    # The science must not come in by a side door either.
    rooms = {name.split(".")[1] for name in dag["ours"] if "." in name}
    assert rooms <= {"operators"}


def test_nine_tasks_in_order(dag: dict) -> None:
    assert sorted(dag["tasks"]) == sorted(TASKS)
    chain = {
        task: [other for other in TASKS if other in dag["tasks"][task]["upstream"]]
        for task in TASKS
    }
    assert chain["register_images"] == []
    for before, task in pairwise(TASKS):
        assert before in chain[task], task


def test_operators_are_named_after_their_tasks(dag: dict) -> None:
    for task, what in dag["tasks"].items():
        camel = "".join(word.capitalize() for word in task.split("_"))
        assert what["operator"] == f"{camel}Operator"


def test_batches_are_mapped_and_nothing_is_skipped_behind_them(dag: dict) -> None:
    """Behind an empty mapping Airflow would skip all and call the run a success."""
    mapped = {task for task, what in dag["tasks"].items() if what["mapped"]}
    assert mapped == {"measure_quality", "extract_sources", "fit_forced"}
    for task, what in dag["tasks"].items():
        if mapped & set(what["upstream"]):
            assert what["rule"] == "none_failed", task


def test_every_task_says_what_to_do_when_it_is_red(dag: dict) -> None:
    assert "register_images" in dag["doc"]
    for task, what in dag["tasks"].items():
        assert "**Red?**" in what["doc"], task
        assert what["retries"] >= 2, task


def test_form_offers_every_configuration(dag: dict) -> None:
    files = configuration_names(ROOT / "include" / "configs")
    assert dag["schemas"]["configuration"]["enum"] == ["auto", *files]
    assert set(dag["schemas"]) == {
        "images", "dataset", "configuration", "overrides", "monitor", "withdraw",
        "remove_monitors",
    }  # fmt: skip
    for name, schema in dag["schemas"].items():
        assert schema.get("title"), name
        assert schema.get("description_md"), name


def test_airflow_executes_no_file_of_the_package(checkout: Checkout, tmp_path: Path) -> None:
    """Without plugins/.airflowignore every file would be executed under its bare name."""
    code = """
import json, statistics, sys
from pathlib import Path
before = statistics.__file__
from airflow import plugins_manager
plugins_manager.ensure_plugins_loaded() if hasattr(plugins_manager, "ensure_plugins_loaded") else (
    plugins_manager._get_plugins())
import statistics as again
bare = sorted(n for n, m in sys.modules.items() if "." not in n and n != "trap_plugin"
              and str(getattr(m, "__file__", "") or "").startswith({plugins!r})
              and n != "trap_ops")
print(json.dumps({{"bare": bare, "statistics": again.__file__ == before}}))
"""
    plugins = tmp_path / "plugins"
    package = plugins / "trap_ops"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "quantity.py").write_text("VALUE = 1\n")

    def loaded() -> dict:
        script = (
            f"import os; os.environ['AIRFLOW__CORE__PLUGINS_FOLDER'] = {str(plugins)!r}\n"
            + code.format(plugins=str(plugins))
        )
        return python(script, checkout)

    assert "quantity" in loaded()["bare"], "Airflow's behaviour has changed: is the guard needed?"
    shutil.copy(ROOT / "plugins" / ".airflowignore", plugins)
    assert loaded() == {"bare": [], "statistics": True}

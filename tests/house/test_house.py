"""The rules of the house that the linters do not know, and that the linters do their work."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT

PACKAGE = ROOT / "plugins" / "trap_ops"
STAGES = [
    "register_images", "measure_quality", "judge_quality", "extract_sources", "associate",
    "fit_forced", "measure_variability", "find_candidates", "publish",
]  # fmt: skip
MAX_LINES = 500
# A migration is a record of the schema as it was: it is neither split nor edited.
LONG = PACKAGE / "store" / "migrations" / "versions"


def sources() -> list[Path]:
    folders = ("plugins", "dags", "tests", "benchmarks")
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def test_no_file_is_too_long_to_read() -> None:
    found = sources()
    assert len(found) > 100
    lines = {path: len(path.read_text().splitlines()) for path in found if LONG not in path.parents}
    assert [f"{path}: {n}" for path, n in lines.items() if n > MAX_LINES] == []


def test_no_drawer_for_everything() -> None:
    assert {path.stem for path in sources()}.isdisjoint({"utils", "helpers", "common", "misc"})


@pytest.mark.parametrize("stage", STAGES)
def test_one_word_runs_through_the_floors(stage: str) -> None:
    assert (PACKAGE / "stages" / f"{stage}.py").is_file()
    operator = (PACKAGE / "operators" / f"{stage}.py").read_text()
    name = "".join(word.capitalize() for word in stage.split("_"))
    assert f"class {name}Operator(" in operator
    assert f'task_id="{stage}"' in (ROOT / "dags" / "trap_batch.py").read_text()


def test_airflow_ignores_the_files_of_the_package() -> None:
    """What it does without this line, tests/with_airflow/test_dag.py shows."""
    assert (ROOT / "plugins" / ".airflowignore").read_text().split() == [
        "trap_ops/",
        "airflow_local_settings.py",
    ]


@pytest.mark.parametrize(
    "name", ["requirements.txt", "requirements-casa.txt", "requirements-dev.txt"]
)
def test_every_package_is_pinned(name: str) -> None:
    lines = [line for line in (ROOT / name).read_text().splitlines() if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.+!]+", line)] == []
    pins = dict(line.lower().replace("_", "-").split("==") for line in lines)
    # 5.7 removed a name that Airflow's Celery provider imports.
    assert tuple(map(int, pins["celery"].split("."))) < (5, 7)
    needed = (ROOT / name.replace(".txt", ".in")).read_text().splitlines()
    wanted = {re.split(r"[=<>\[]", line)[0].lower() for line in needed if not line.startswith("#")}
    assert wanted <= set(pins)


def lint_imports(plugins: Path, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            Path(sys.executable).with_name("lint-imports"),
            "--no-cache",
            "--config",
            str(ROOT / "pyproject.toml"),
        ],
        env={**os.environ, "PYTHONPATH": str(plugins)},
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("stages/associate.py", "import trap_ops.local", "Imports point down"),
        ("science/beam.py", "import trap_ops.images.fits", "Imports point down"),
        ("operators/associate.py", "import trap_ops.commands.run", "Imports point down"),
        ("science/beam.py", "import sqlalchemy", "Science knows neither"),
        ("science/beam.py", "from pathlib import Path", "Science knows neither"),
        (
            "stages/associate.py",
            "from airflow.sdk import DAG",
            "Airflow is met in operators and triggers only",
        ),
        ("local.py", "import airflow", "Airflow is met in operators and triggers only"),
        ("commands/run.py", "from trap_ops.store.schema import run", "The store is the only room"),
    ],
)
def test_imports_in_a_wrong_direction_are_refused(
    module: str, line: str, contract: str, tmp_path: Path
) -> None:
    plugins = tmp_path / "plugins"
    shutil.copytree(PACKAGE, plugins / "trap_ops", ignore=shutil.ignore_patterns("__pycache__"))
    planted = plugins / "trap_ops" / module
    planted.write_text(f"{planted.read_text()}\n{line}\n")
    made = lint_imports(plugins, tmp_path)
    assert made.returncode == 1, made.stdout
    (broken,) = re.findall(rf"^({contract}.*) BROKEN", made.stdout, re.MULTILINE)
    assert broken


def test_the_finder_needs_arrays_only() -> None:
    """Each task is a new process: what it imports, it pays for every time."""
    code = (
        "import sys, trap_ops.science.extraction, trap_ops.science.forced_fits\n"
        "print(*{'.'.join(name.split('.')[:2]) for name in sys.modules})"
    )
    made = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT / "plugins")},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(made.stdout.split())
    assert {"trap_ops.science", "scipy.fft", "scipy.ndimage"} <= loaded
    slow = {"astropy", "sqlalchemy", "airflow", "pandas", "pydantic", "trap_ops.config"}
    # Another quarter of the time: see trap_ops.science.neighbours.
    slow |= {f"scipy.{name}" for name in ("spatial", "sparse", "stats", "optimize", "linalg")}
    assert slow & loaded == set()

"""Airflow's commands and the project's own, as a user types them."""

from __future__ import annotations

import json
import os
import re
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from trap_ops import local
from trap_ops.commands.__main__ import main
from with_airflow.conftest import ROOT, SMALL, Checkout, python

TASKS = {
    "register_images": None, "measure_quality": 0, "judge_quality": None, "extract_sources": 1,
    "associate": None, "fit_forced": 0, "measure_variability": None, "find_candidates": None,
    "publish": None,
}  # fmt: skip


def test_dags_test_gives_the_results_of_the_stages_alone(
    checkout: Checkout, finished_run: str, images: list[Path], tmp_path: Path
) -> None:
    made = checkout.run("trap-manage", "checksum", "series")
    assert re.fullmatch(r"[0-9a-f]{64}\n", made.stdout), made.stderr
    url = f"sqlite:///{tmp_path / 'local.db'}"
    local.run(images, "series", store_url=url, overrides=SMALL, output_dir=tmp_path)
    alone = checkout.run("trap-manage", "checksum", "series", environment={"TRAP_DB": url})
    assert alone.stdout == made.stdout


# Airflow's own commands in one process: each would need nine seconds to start.
IN_ONE_PROCESS = """
import contextlib, io, json, logging, os, sys
from airflow.cli import cli_parser
parser = cli_parser.get_parser()
results = {{}}
for words in {commands!r}:
    output = io.StringIO()
    handler = logging.StreamHandler(output)
    path = os.environ["RESULTS"]
    open(path, "w").close()
    os.environ["TRAP_RESULT_FILE"] = path
    try:
        arguments = parser.parse_args(words)
        arguments.func(arguments)
        status = 0
    except SystemExit as error:
        status = error.code
    lines = [json.loads(line) for line in open(path)]
    # One line says that the task has begun.
    results[" ".join(words[3:])] = [status, [task for task in lines if task["error"] is not None]]
print(json.dumps(results))
"""


def test_each_task_runs_alone(checkout: Checkout, finished_run: str, tmp_path: Path) -> None:
    before = checkout.run("trap-manage", "checksum", "series").stdout
    commands = []
    # Not in their order: publish would end a run that another task has left open.
    for task, index in reversed(TASKS.items()):
        words = ["tasks", "test", "trap_batch", task, finished_run]
        commands.append(words if index is None else [*words, "--map-index", str(index)])
    code = f"import os; os.environ['RESULTS'] = {str(tmp_path / 'results')!r}\n"
    done = python(code + IN_ONE_PROCESS.format(commands=commands), checkout)
    assert len(done) == 9
    for name, (status, tasks) in done.items():
        assert status == 0, name
        assert [task["error"] for task in tasks] == [""], name
        assert tasks[0]["run"] == finished_run
    assert checkout.state_of(finished_run) == ("finished", "")
    given_up = checkout.run("trap-manage", "abandon", finished_run)
    assert "holds no dataset" in given_up.stdout
    assert checkout.run("trap-manage", "checksum", "series").stdout == before


def test_first_task_runs_without_a_run(
    checkout: Checkout, images: list[Path], tmp_path: Path
) -> None:
    params = checkout.conf(images, "tried out")
    words = ["tasks", "test", "trap_batch", "register_images", "-t", params]
    code = f"import os; os.environ['RESULTS'] = {str(tmp_path / 'results')!r}\n"
    done = python(code + IN_ONE_PROCESS.format(commands=[words]), checkout)
    ((status, tasks),) = done.values()
    assert status == 0
    assert [task["error"] for task in tasks] == [""]
    # The temporary run is gone; its dataset must not stay locked by it.
    made = checkout.run(
        "trap-manage", "run", *map(str, images), "--dataset", "tried out",
        "--set", "extraction.detection_threshold_sigma=6", "--set", "extraction.margin_px=2",
    )  # fmt: skip
    assert made.returncode == 0, made.stderr


def test_plain_airflow_works_in_a_prepared_shell(checkout: Checkout, finished_run: str) -> None:
    script = f'eval "$({ROOT}/bin/trap-manage env)" && airflow dags list-runs trap_batch -o json'
    made = subprocess.run(
        ["bash", "-c", script],
        env=checkout.environment,
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        timeout=120,
    )
    assert made.returncode == 0, made.stderr
    listed = json.loads(made.stdout.splitlines()[-1])
    assert finished_run in {run["run_id"] for run in listed}


def test_files_beside_the_user_do_not_take_the_place_of_packages(
    checkout: Checkout, tmp_path: Path
) -> None:
    # The package itself has an airflow.py; and Python looks first in the directory it is called in.
    for name in ("airflow.py", "rich.py", "sqlalchemy.py"):
        (tmp_path / name).write_text("raise SystemExit('the wrong file')")
    made = checkout.run("airflow", "version", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert made.stdout.strip() == version("apache-airflow-core")


def test_debug_has_a_true_exit_status(checkout: Checkout, finished_run: str) -> None:
    good = checkout.run("trap-manage", "debug", "extract_sources", finished_run, "--map-index", "0")
    assert good.returncode == 0, good.stderr
    assert good.stdout.rstrip().endswith("extract_sources succeeded")
    # Airflow itself gives 0 for the same failure.
    reports = checkout.var / "reports"
    reports.rename(checkout.var / "reports-away")
    reports.write_text("a file where the directory should be")
    try:
        bad = checkout.run("trap-manage", "debug", "publish", finished_run)
        debugged = checkout.run(
            "trap-manage", "debug", "publish", finished_run, "--pdb", input="p 6*7\nq\n"
        )
    finally:
        reports.unlink()
        (checkout.var / "reports-away").rename(reports)
    assert bad.returncode == 1
    assert "publish failed" in bad.stderr
    assert debugged.returncode == 1
    assert "(Pdb) 42" in debugged.stdout
    again = checkout.run("trap-manage", "debug", "publish", finished_run)
    assert again.returncode == 0, again.stderr


def test_the_first_error_of_a_run_opens_the_debugger(
    checkout: Checkout, images: list[Path]
) -> None:
    words = ["run", str(images[0]), "--dataset", "wrong", "--set=extraction.margin_px=-1"]
    made = checkout.run("trap-manage", *words, "--pdb", input="p 6*7\nq\n")
    assert made.returncode == 1
    assert "(Pdb) 42" in made.stdout


def test_eager_is_stronger_than_the_cluster(checkout: Checkout, images: list[Path]) -> None:
    """As CELERY_ALWAYS_EAGER was; there is no cluster here."""
    words = ["run", "--cluster", str(images[0]), "--dataset", "wrong"]
    words.append("--set=extraction.margin_px=-1")
    alone = checkout.run("trap-manage", *words, environment={"TRAP_EAGER": "1"})
    assert alone.returncode == 1
    assert "register_images failed" in alone.stderr
    assert "extraction.margin_px" in alone.stderr
    away = checkout.run("trap-manage", *words)
    assert away.returncode == 1
    assert "Airflow at http://127.0.0.1:8080" in away.stderr
    both = checkout.run("trap-manage", *words, "--eager")
    assert both.returncode == 2
    assert "not allowed with argument --cluster" in both.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nonsense", "RUN"], "there is no task 'nonsense'"),
        (["extract_sources", "RUN"], "--map-index 0 to"),
        (["extract_sources", "RUN", "--map-index", "99"], "there is no 99"),
        (["associate", "RUN", "--map-index", "0"], "leave out --map-index"),
        (["associate", "no such run"], "there is no run 'no such run'"),
    ],
)
def test_debug_refuses_clearly(
    checkout: Checkout, finished_run: str, words: list[str], message: str
) -> None:
    words = [finished_run if word == "RUN" else word for word in words]
    made = checkout.run("trap-manage", "debug", *words)
    assert made.returncode == 1
    assert message in made.stderr


def test_run_shows_stages_and_findings(checkout: Checkout, images: list[Path]) -> None:
    truth = images[0].parent / "truth.json"
    made = checkout.run(
        "trap-manage", "run", str(images[0].parent), "--dataset", "shown", "--truth", str(truth),
        "--set", "extraction.detection_threshold_sigma=6", "--set", "extraction.margin_px=2",
        "--monitor", "123.0 35.0 the centre",
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    for stage in TASKS:
        assert re.search(rf"^  {stage} .* s$", made.stdout, re.MULTILINE), stage
    assert "5 images accepted, 0 rejected" in made.stdout
    assert "1 of 1 transients, 2 of 2 variables, 0 false candidates" in made.stdout
    report = Path(re.search(r"^Report: (.*)$", made.stdout, re.MULTILINE)[1])
    assert report.is_relative_to(checkout.var)
    assert report.read_text().startswith("<!DOCTYPE html>")
    again = checkout.run("trap-manage", "report", "shown")
    assert str(report) in again.stdout


def test_datasets_and_unknown_dataset(checkout: Checkout, finished_run: str) -> None:
    listed = checkout.run("trap-manage", "datasets")
    assert re.search(r"series\s.*\b5\b", listed.stdout)
    assert finished_run in checkout.run("trap-manage", "datasets", "series").stdout
    unknown = checkout.run("trap-manage", "checksum", "nothing")
    assert unknown.returncode == 1
    assert re.search(r"there is no dataset 'nothing'; there are: .*\bseries\b", unknown.stderr)
    nowhere = checkout.run("trap-manage", "datasets", environment={"TRAP_DB": "sqlite:////no/x.db"})
    assert nowhere.returncode == 1
    assert "does not exist" in nowhere.stderr


def test_a_job_runs_and_its_project_moves_the_results(
    checkout: Checkout, images: list[Path], tmp_path: Path
) -> None:
    project = tmp_path / "survey"
    assert main(["initproject", "survey", "-t", str(tmp_path)]) == 0
    assert main(["initjob", "moved", "--project", str(project)]) == 0
    with (project / "moved" / "images.txt").open("a") as file:
        file.write(f"{os.path.relpath(images[0].parent, project / 'moved')}\n")
    (project / "moved" / "monitor.txt").write_text("123.0 35.0 the centre\n")
    url = {"TRAP_DB": f"sqlite:///{project / 'results.db'}"}
    made = checkout.run("trap-manage", "run", "moved", environment=url, cwd=project)
    assert made.returncode == 0, made.stderr
    assert "5 images accepted, 0 rejected" in made.stdout
    listed = checkout.run("trap-manage", "monitor", "list", "moved", environment=url)
    assert "the centre" in listed.stdout
    assert "moved" not in checkout.run("trap-manage", "datasets").stdout


def test_batches_and_running_again_change_nothing(
    checkout: Checkout, finished_run: str, images: list[Path]
) -> None:
    before = checkout.run("trap-manage", "checksum", "series").stdout
    for dataset, batches in (("series", 2), ("in one batch", 1), ("in five batches", 5)):
        overrides = {**SMALL, "execution": {"parallel_tasks": batches}}
        made = checkout.run(
            "airflow", "dags", "test", "trap_batch",
            "-c", checkout.conf(images, dataset, overrides=overrides),
        )  # fmt: skip
        assert made.returncode == 0, made.stdout[-3000:] + made.stderr[-3000:]
        assert checkout.run("trap-manage", "checksum", dataset).stdout == before, dataset


def test_initdb_prepares_an_empty_database_once(checkout: Checkout, tmp_path: Path) -> None:
    url = {"TRAP_DB": f"sqlite:///{tmp_path / 'not' / 'there' / 'new.db'}"}
    for more in ([], ["-y"]):
        made = checkout.run("trap-manage", "initdb", *more, environment=url)
        assert made.returncode == 0, made.stderr
    listed = checkout.run("trap-manage", "datasets", environment=url)
    assert listed.returncode == 0, listed.stderr

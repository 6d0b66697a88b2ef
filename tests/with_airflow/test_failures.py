"""Runs that fail or are stopped, and requests that are refused: what is said, and what is left."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from trap_ops.store.database import Store
from trap_ops.store.runs import current_user
from trap_ops.store.schema import run as run_table
from with_airflow.conftest import ROOT, Checkout, python


def test_failure_ends_dags_test_at_once(checkout: Checkout, images: list[Path]) -> None:
    """What would be retried on a cluster, with delays, is final in one process."""
    started = time.monotonic()
    made = checkout.run(
        "airflow", "dags", "test", "trap_batch", "-c", checkout.conf(images, "unreachable"),
        environment={"TRAP_DB": "postgresql://trap:secret@127.0.0.1:1/trap"},
    )  # fmt: skip
    assert made.returncode == 1
    assert time.monotonic() - started < 60
    output = made.stdout + made.stderr
    assert "cannot be used now" in output
    assert "secret" not in output


def test_run_says_what_went_wrong(checkout: Checkout, images: list[Path]) -> None:
    made = checkout.run(
        "trap-manage", "run", str(images[0]), "--dataset", "wrong", "--set", "extraction.margn_px=2"
    )
    assert made.returncode == 1
    assert "register_images failed" in made.stderr
    assert "did you mean 'margin_px'?" in made.stderr
    made = checkout.run(
        "trap-manage", "run", str(images[0]), "--dataset", "wrong", "--config", "lofra"
    )
    assert made.returncode == 1
    assert "there is no configuration 'lofra'" in made.stderr
    assert "Traceback" not in made.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--dataset", "x" * 101], "the name of a dataset has 101 characters"),
        (["--dataset", "  "], "the name of a dataset is blank"),
        (["--dataset", "wrong", "--truth", "/nope.json"], "--truth /nope.json cannot be read"),
    ],
)
def test_run_refuses_before_it_starts_airflow(
    checkout: Checkout, images: list[Path], words: list[str], said: str
) -> None:
    made = checkout.run("trap-manage", "run", str(images[0]), *words)
    assert made.returncode == 1
    assert made.stderr.startswith(f"trap-manage: {said}")
    assert made.stdout == ""


def test_an_unknown_parameter_is_refused_with_the_nearest_name(
    checkout: Checkout, images: list[Path]
) -> None:
    conf = checkout.conf(images, "unknown", configuraton="lofar", batches=2)
    said = "no parameter 'batches', 'configuraton' (did you mean 'configuration'?); there are: im"
    made = checkout.run("airflow", "dags", "test", "trap_batch", "-c", conf)
    assert made.returncode == 1
    assert said in made.stdout + made.stderr
    tested = checkout.run("airflow", "tasks", "test", "trap_batch", "register_images", "-t", conf)
    assert said in tested.stdout + tested.stderr


def test_the_same_command_goes_on_after_a_failure(checkout: Checkout, images: list[Path]) -> None:
    """It gives the user's own failed run up, and nobody else's."""
    reports = checkout.var / "reports"
    reports.mkdir(parents=True, exist_ok=True)
    (reports / "stuck").write_text("a file where the directory should be")
    words = ["trap-manage", "run", *map(str, images[:2]), "--dataset", "stuck"]
    failed = checkout.run(*words)
    assert failed.returncode == 1
    assert f"publish failed: the report cannot be written to {reports}/stuck" in failed.stderr
    assert "TRAP_VAR" in failed.stderr
    (reports / "stuck").unlink()
    (run_id,) = checkout.runs("stuck")
    asked_by(checkout, run_id, "somebody else")
    refused = checkout.run(*words)
    assert refused.returncode == 1
    assert f"`trap-manage abandon {run_id}`" in refused.stderr
    assert "wait" not in refused.stderr
    asked_by(checkout, run_id, current_user())
    again = checkout.run(*words)
    assert again.returncode == 0, again.stderr
    assert re.search(rf"Run {re.escape(run_id)}, which has failed .*is given up", again.stdout)
    assert checkout.state_of(run_id)[0] == "abandoned"


def asked_by(checkout: Checkout, run_id: str, user: str) -> None:
    """Say that somebody else has started a run."""
    store = Store(f"sqlite:///{checkout.var / 'results.db'}")
    with store.write() as connection:
        changed = update(run_table).where(run_table.c.run_key == run_id)
        connection.execute(changed.values(requested_by=user))
    store.close()


# The first stage takes very long, in the middle of a transaction, and says which process that is.
SLOW = """
import os, time
from pathlib import Path
from trap_ops.science import bands
def very_slow(*_):
    Path(os.environ["MARKER"]).write_text(str(os.getpid()))
    time.sleep(100)
bands.assign_bands = very_slow
"""


@contextmanager
def slow_run(checkout: Checkout, words: list[str], directory: Path) -> Iterator[tuple[Any, int]]:
    """A command that is at work in the first stage, as a terminal starts it; Airflow's process."""
    (directory / "sitecustomize.py").write_text(SLOW)
    marker = directory / "at work"
    more = {"PYTHONPATH": str(directory), "MARKER": str(marker)}
    with subprocess.Popen(
        [str(ROOT / "bin" / words[0]), *words[1:]],
        env={**checkout.environment, **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=checkout.home,
        start_new_session=True,
    ) as process:
        try:
            deadline = time.monotonic() + 60
            while not (marker.exists() and marker.read_text()):
                assert time.monotonic() < deadline
                assert process.poll() is None, process.communicate()
                time.sleep(0.05)
            yield process, int(marker.read_text())
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("number", "to_all"), [(signal.SIGINT, True), (signal.SIGTERM, False)], ids=["Ctrl-C", "kill"]
)
def test_a_run_that_is_stopped_ends_at_once_as_failed(
    checkout: Checkout, images: list[Path], tmp_path: Path, number: signal.Signals, to_all: bool
) -> None:
    dataset = f"stopped by {number.name}"
    words = ["trap-manage", "run", *map(str, images[:2]), "--dataset", dataset]
    with slow_run(checkout, words, tmp_path) as (process, airflow):
        # A terminal sends it to all processes in it, `kill` to one.
        (os.killpg if to_all else os.kill)(process.pid, number)
        started = time.monotonic()
        _, errors = process.communicate(timeout=60)
        assert time.monotonic() - started < 20
        assert process.returncode == 128 + number
        with pytest.raises(ProcessLookupError):
            os.kill(airflow, 0)
    (run_id,) = checkout.runs(dataset)
    assert f"run {run_id} is stopped and marked as failed" in errors
    assert f"`trap-manage abandon {run_id}`" in errors
    state, message = checkout.state_of(run_id)
    assert state == "failed"
    assert "stopped by the user" in message
    assert list((checkout.var / "logs").glob(".*")) == []


def test_ctrl_c_ends_dags_test_at_once(
    checkout: Checkout, images: list[Path], tmp_path: Path
) -> None:
    words = ["airflow", "dags", "test", "trap_batch", "-c", checkout.conf(images, "interrupted")]
    with slow_run(checkout, words, tmp_path) as (process, _):
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=12)
        assert process.returncode == 1
    (run_id,) = checkout.runs("interrupted")
    assert checkout.state_of(run_id) == ("failed", "register_images: stopped by the user")


BETWEEN = """
import json, os, signal
from types import SimpleNamespace as Of
from airflow.sdk.exceptions import AirflowFailException
from trap_ops.operators import stage_operator
said = []
first_try = Of(try_number=1, max_tries=0)
stage_operator.in_one_process = lambda: True
stage_operator._note_failure = lambda stage, context, message: said.append([stage, message])
for stage, run in (("first", "a"), ("second", "a"), ("second", "a"), ("third", "b")):
    try:
        with stage_operator.errors_mapped(stage, {"run_id": run, "ti": first_try}):
            said.append([stage, "works"])
    except AirflowFailException as error:
        said.append([stage, str(error)])
    if stage == "first":
        os.kill(os.getpid(), signal.SIGINT)
print(json.dumps(said))
"""


def test_ctrl_c_between_two_tasks_ends_the_run_too(checkout: Checkout) -> None:
    """Airflow would take an interrupt of its own code for something to be retried."""
    stopped = "stopped by the user"
    assert python(BETWEEN, checkout) == [
        ["first", "works"],
        ["second", stopped],
        ["second", stopped],
        ["second", "not begun, because this run has failed"],
        ["third", stopped],
        ["third", stopped],
    ]


TRIES = """
import json
import airflow.settings  # it puts plugins/ on the path
from types import SimpleNamespace as Of
from trap_ops.errors import ConfigError, StoreUnavailable, Superseded
from trap_ops.operators import stage_operator

noted = []
stage_operator._note_failure = lambda stage, context, message: noted.append(message)
stage_operator.in_one_process = lambda: False
for error, number in (
    (StoreUnavailable("away 1"), 1), (StoreUnavailable("away 6"), 6),
    (StoreUnavailable("away 7"), 7), (ConfigError("wrong 1"), 1),
    (OSError("disk 1"), 1), (OSError("disk 7"), 7), (Superseded("x"), 7),
):
    context = {"run_id": "r", "ti": Of(try_number=number, max_tries=6),
               "task": Of(execution_timeout=None)}
    try:
        with stage_operator.errors_mapped("associate", context):
            raise error
    except Exception:
        pass
    else:
        raise SystemExit("swallowed")
print(json.dumps(noted))
"""


def test_a_run_is_failed_when_airflow_does_not_try_its_task_again(checkout: Checkout) -> None:
    """Else another run could be started in its place, and both would be at work."""
    noted = python(TRIES, checkout)
    assert [text.replace("associate: OSError('", "").rstrip("')") for text in noted] == [
        "away 7", "wrong 1", "disk 7"
    ]  # fmt: skip


SERIES = """
import json, os, sys, time
from pathlib import Path
from types import SimpleNamespace as Of
import airflow.settings  # it puts plugins/ on the path
from trap_ops.operators.find_arrivals import FindArrivalsOperator

home = Path(os.environ["TRAP_VAR"]) / "two"
text = ""
for name in ("a", "b"):
    (home / name).mkdir(parents=True)
    (home / name / "image.fits").write_bytes(b"x")
    text += f'[[series]]\\nname = "{name}"\\nfolder = "{home}/{name}"\\ndataset = "both"\\n'
    text += 'when = "night"\\nsettle_s = 0.1\\n'
(home / "schedules.toml").write_text(text)
os.environ["TRAP_SCHEDULES"] = str(home / "schedules.toml")
time.sleep(0.2)
ti = Of(try_number=1, max_tries=0, xcom_push=lambda *_: None)
find = FindArrivalsOperator(task_id="find_arrivals", when="night", name="nightly")
context = {"run_id": "r", "ti": ti, "task": Of(execution_timeout=None)}
print(json.dumps([run["conf"]["images"] for run in find.execute(context)]))
"""


def test_two_series_of_one_dataset_do_not_run_together(checkout: Checkout) -> None:
    (images,) = python(SERIES, checkout)
    assert [Path(path).parent.name for path in images] == ["a"]

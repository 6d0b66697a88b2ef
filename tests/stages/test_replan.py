"""trap-manage replan: a run is done again with other code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from stages.conftest import Run, checksum
from trap_ops import local
from trap_ops.commands import replan
from trap_ops.commands.__main__ import main
from trap_ops.errors import StaleWorker
from trap_ops.records.runs import MonitorPosition
from trap_ops.science.coordinates import parse_position
from trap_ops.store import runs
from trap_ops.store.database import Store
from trap_ops.store.schema import extractedsource, image
from trap_ops.store.schema import run as run_table

MONITORED = MonitorPosition(123.456789012345678, -20.00000000000001, "here")


@pytest.fixture
def results(sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A results database, for which the command runs the pipeline without Airflow."""
    monkeypatch.setenv("TRAP_DB", sqlite_url)

    def run_dag(_console: Any, store: Store, conf: dict[str, Any], *, verbose: bool) -> int:
        assert not verbose
        asked = json.loads(json.dumps(conf))
        local.run(
            asked["images"],
            asked["dataset"],
            store_url=store.url.render_as_string(hide_password=False),
            overrides=asked["overrides"],
            monitor=[parse_position(text) for text in asked["monitor"]],
            output_dir=tmp_path / "var",
        )
        return 0

    monkeypatch.setattr(replan, "run_dag", run_dag)
    return Store(sqlite_url)


def other_code(patch: pytest.MonkeyPatch, at: str) -> None:
    """From a stage on, another version of the code is at work."""
    before = getattr(local, at)

    def at_stage(context: Any, *more: Any) -> Any:
        patch.setattr("trap_ops.stages.context.fingerprint", lambda: "f" * 64)
        return before(context, *more)

    patch.setattr(local, at, at_stage)


def test_results_are_those_of_the_new_code_alone(
    results: Store,
    easy: list[Path],
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run(results, easy[:2], run_key="first")
    with monkeypatch.context() as patch:
        other_code(patch, "associate")
        with pytest.raises(StaleWorker, match="`trap-manage replan second`"):
            run(results, easy[2:], run_key="second", monitor=[MONITORED])
    # What the old code has measured is wrong, and must not survive.
    with results.write() as connection:
        added = select(image.c.id).where(image.c.file_name.in_([f.name for f in easy[2:]]))
        wrong = update(extractedsource).where(extractedsource.c.image.in_(added))
        assert connection.execute(wrong.values(f_int=1.0)).rowcount > 0
    assert main(["replan", "second"]) == 0
    assert "3 images that it had added are begun again" in capsys.readouterr().out
    with results.read() as connection:
        states = {
            row.run_key: row.state
            for row in connection.execute(select(run_table.c.run_key, run_table.c.state))
        }
    assert states.pop("first") == runs.FINISHED
    assert states.pop("second") == runs.ABANDONED
    assert list(states.values()) == [runs.FINISHED]
    run(results, easy, "at once", monitor=[MONITORED])
    assert checksum(results, "series") == checksum(results, "at once")


@pytest.mark.parametrize("state", [runs.RUNNING, runs.FINISHED])
def test_a_run_that_goes_on_or_is_done_is_not_touched(
    results: Store,
    easy: list[Path],
    run: Run,
    capsys: pytest.CaptureFixture[str],
    state: str,
) -> None:
    run(results, easy[:1], run_key="one")
    before = checksum(results, "series")
    with results.write() as connection:
        connection.execute(update(run_table).values(state=state))
    assert main(["replan", "one"]) == 1
    said = capsys.readouterr().err
    assert f"run one is {state}" in said
    assert checksum(results, "series") == before


def test_a_run_that_is_not_there_is_named(
    results: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    results.prepare()
    assert main(["replan", "gone"]) == 1
    assert "gone" in capsys.readouterr().err

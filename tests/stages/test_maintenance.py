"""What is to be done now and then."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, insert, update

from stages.conftest import Run
from trap_ops.errors import StoreError
from trap_ops.stages.maintenance import (
    check_results,
    free_datasets,
    remove_old_files,
)
from trap_ops.store import runs
from trap_ops.store.database import Store
from trap_ops.store.schema import candidate, datasetlock, runningcatalog_flux
from trap_ops.store.schema import run as run_table

DAY_S = 86400.0


def held(store: Store, state: str, days: float) -> None:
    """Let the one run hold its dataset, in a state that it got so many days ago."""
    since = runs.now() - timedelta(days=days)
    with store.write() as connection:
        connection.execute(update(run_table).values(state=state, finished_ts=since, message="why"))
        connection.execute(delete(datasetlock))
        run_id = runs.find_run(connection, "one").id
        dataset = runs.find_run(connection, "one").dataset
        connection.execute(insert(datasetlock).values(dataset=dataset, run=run_id, taken_ts=since))


def state_of(store: Store) -> tuple[str, bool]:
    with store.read() as connection:
        return runs.find_run(connection, "one").state, bool(runs.lock_holders(connection))


@pytest.mark.parametrize(
    ("state", "days", "at_work", "after", "still_held"),
    [
        (runs.RUNNING, 9, True, runs.RUNNING, True),
        (runs.RUNNING, 9, None, runs.RUNNING, True),  # another Airflow's, or without Airflow
        (runs.RUNNING, 0, False, runs.FAILED, True),
        (runs.FAILED, 6, False, runs.FAILED, True),
        (runs.FAILED, 8, False, runs.ABANDONED, False),
        (runs.FAILED, 8, None, runs.ABANDONED, False),
        (runs.FAILED, 8, True, runs.FAILED, True),  # it is tried again
        (runs.FINISHED, 0.5, False, runs.FINISHED, True),
        (runs.FINISHED, 2, False, runs.FINISHED, False),
    ],
)
@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_datasets_are_freed_of_runs_that_will_not_go_on(
    store: Store,
    easy: list[Path],
    run: Run,
    state: str,
    days: float,
    at_work: bool | None,
    after: str,
    still_held: bool,
) -> None:
    run(store, easy[:1], run_key="one")
    held(store, state, days)
    done = free_datasets(store, lambda key: at_work if key == "one" else pytest.fail(key), 7)
    assert state_of(store) == (after, still_held)
    assert len(done) == ((after, still_held) != (state, True))


def test_a_failed_run_is_kept_where_nobody_wants_it_given_up(
    store: Store, easy: list[Path], run: Run
) -> None:
    run(store, easy[:1], run_key="one")
    held(store, runs.FAILED, 1000)
    assert free_datasets(store, lambda _: False, 0) == []


def test_a_dataset_that_breaks_a_rule_is_named(store: Store, easy: list[Path], run: Run) -> None:
    run(store, easy[:2], "good")
    run(store, easy[:3], "bad")
    assert check_results(store) == 2
    with store.write() as connection:
        connection.execute(delete(candidate))
        connection.execute(update(runningcatalog_flux).values(avg_f_int=1e9))
    with pytest.raises(StoreError, match=r"'good'.*'bad'.*trap-manage check"):
        check_results(store)


def test_old_files_go_and_others_stay(tmp_path: Path) -> None:
    old, new = time.time() - 10 * DAY_S, time.time() - 8 * DAY_S
    for folder in ("logs", "airflow/logs/dag_id=a/run_id=b", "reports/x", "scratch"):
        (tmp_path / folder).mkdir(parents=True)
        for name, stamp in (("old", old), ("new", new)):
            (tmp_path / folder / name).write_text("x")
            os.utime(tmp_path / folder / name, (stamp, stamp))
    outside = tmp_path / "results.db"
    outside.write_text("x")
    os.utime(outside, (old, old))
    (tmp_path / "logs" / "link").symlink_to(tmp_path)
    removed = remove_old_files(tmp_path, 9, 0)
    assert removed == {"logs": 2, "reports": 0, "downloads": 2}
    left = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    assert left == [
        "airflow/logs/dag_id=a/run_id=b/new", "logs/new", "reports/x/new", "reports/x/old",
        "results.db",
    ]  # fmt: skip
    assert remove_old_files(tmp_path, 1, 1) == {"logs": 2, "reports": 2, "downloads": 0}
    assert not (tmp_path / "airflow/logs/dag_id=a").exists(), "folders that are empty go, too"
    assert (tmp_path / "airflow/logs").exists()

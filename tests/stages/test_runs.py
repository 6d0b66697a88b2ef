"""Runs: locks, settings, versions, failures."""

from __future__ import annotations

import gc
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from stages.conftest import SMALL, Run, checksum
from trap_ops import local
from trap_ops.commands.__main__ import main
from trap_ops.errors import ConfigError, ScienceError, StaleWorker, StoreError
from trap_ops.records.runs import MonitorPosition, RunRecord, RunRequest, StageReport
from trap_ops.stages import context as stage_context
from trap_ops.stages import register_images as register_stage
from trap_ops.stages.context import cut_into_batches, open_context
from trap_ops.stages.extract_sources import extract_sources
from trap_ops.stages.order import BATCHES_FROM, STAGES
from trap_ops.stages.register_images import register_images
from trap_ops.store import runs, stage_tries
from trap_ops.store.database import Store
from trap_ops.store.datasets import list_datasets
from trap_ops.store.reports import summarise_sky_sources
from trap_ops.store.schema import dataset, datasetlock, outcome, stagerun
from trap_ops.store.schema import run as run_table


def test_failed_run_keeps_its_dataset_until_it_goes_on_or_is_given_up(
    store: Store, easy: list[Path], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        msg = "the sky has fallen"
        raise ScienceError(msg)

    with monkeypatch.context() as patch:
        patch.setattr(local, "associate", fail)
        with pytest.raises(ScienceError, match="fallen"):
            run(store, easy[:2], run_key="first")
    with store.read() as connection:
        row = connection.execute(select(run_table)).one()
        assert (row.state, row.message) == ("failed", "the sky has fallen")
    with pytest.raises(StoreError, match=r"in use by run 'first' of .*`trap-manage abandon first`"):
        run(store, easy[:2], run_key="second")
    run(store, easy[:2], run_key="first")
    with store.read() as connection:
        assert connection.execute(select(datasetlock)).all() == []
        states = {r.run_key: r.state for r in connection.execute(select(run_table))}
    assert states["first"] == "finished"


def _stand(store: Store) -> tuple[dict[str, str], list[str]]:
    """State of every run, and the runs that have a dataset, by their keys."""
    with store.read() as connection:
        states = {r.run_key: r.state for r in connection.execute(select(run_table))}
        holders = select(run_table.c.run_key).join(datasetlock, datasetlock.c.run == run_table.c.id)
        return states, list(connection.execute(holders).scalars())


def _try_alone(store: Store, images: list[Path], key: str, task: str, output_dir: Path) -> None:
    """Run one task of a run again, as `airflow tasks test` does."""
    if task == "register_images":
        request = RunRequest(key, tuple(map(str, images)), "series", overrides=SMALL)
        register_images(store, request, local.CONFIGURATIONS, output_dir, debugging=True)
        return
    context = open_context(store, key, output_dir, debugging=True)
    stage = getattr(local, task)
    if task not in BATCHES_FROM:
        stage(context)
        return
    with store.read() as connection:
        batches = runs.planned_batches(connection, context.run.id, BATCHES_FROM[task])
    assert batches
    for number, batch in enumerate(batches):
        stage(context, batch, str(number))


def test_every_task_of_a_finished_run_can_be_tried_again(
    store: Store, easy: list[Path], run: Run, tmp_path: Path
) -> None:
    """Whichever it is, the run is finished afterwards and its dataset free for others."""
    run(store, easy, run_key="whole")
    before = checksum(store)
    for task in STAGES:
        _try_alone(store, easy, "whole", task, tmp_path)
        assert _stand(store) == ({"whole": "finished"}, []), task
    assert checksum(store) == before


def test_task_of_a_failed_run_that_is_tried_leaves_it_failed(
    store: Store, easy: list[Path], run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No task comes after it that would end the run."""
    _fail_in(monkeypatch, "associate", ScienceError("the sky has fallen"))
    with pytest.raises(ScienceError):
        run(store, easy, run_key="first")
    monkeypatch.undo()
    for task in ("register_images", "extract_sources", "associate"):
        _try_alone(store, easy, "first", task, tmp_path)
        assert _stand(store) == ({"first": "failed"}, ["first"]), task


@pytest.mark.parametrize(
    ("error", "message"),
    [(ScienceError("the sky has fallen"), "the sky has fallen"),
     (KeyboardInterrupt(), "stopped by the user")],
)  # fmt: skip
def test_whatever_ends_a_run_marks_it_as_failed(
    store: Store,
    easy: list[Path],
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    message: str,
) -> None:
    """In the stage that plans it, and in one behind it."""
    plan = register_stage._save

    def save_and_fail(*arguments: Any) -> None:
        plan(*arguments)
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(register_stage, "_save", save_and_fail)
        with pytest.raises(type(error)):
            run(store, easy[:1], run_key="first", dataset="one")
    _fail_in(monkeypatch, "judge_quality", error)
    with pytest.raises(type(error)):
        run(store, easy[:1], run_key="second", dataset="two")
    assert _stand(store) == ({"first": "failed", "second": "failed"}, ["first", "second"])
    with store.read() as connection:
        messages = connection.execute(select(run_table.c.message)).scalars()
        assert set(messages) == {message}


def test_own_failed_run_is_given_up_for_the_next_and_no_other(
    store: Store, easy: list[Path], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def given_up() -> str | None:
        with store.write() as connection:
            found = runs.give_up_own_failure(connection, "series")
        return None if found is None else found.key

    def change(**values: object) -> None:
        with store.write() as connection:
            connection.execute(update(run_table).values(**values))

    assert given_up() is None
    with monkeypatch.context() as patch:
        _fail_in(patch, "associate", ScienceError("the sky has fallen"))
        with pytest.raises(ScienceError):
            run(store, easy[:2], run_key="first")
    (user, host) = runs.current_user(), runs.hostname()
    for other in ({"state": "running"}, {"requested_by": "else"}, {"host": "elsewhere"}):
        change(**other)
        assert given_up() is None, other
        change(state="failed", requested_by=user, host=host)
    # More than the batch that failed has not ended: it may be at work.
    with store.write() as connection:
        record = runs.find_run(connection, "first")
        for batch in ("0", "1"):
            stage_tries.begin_stage(connection, record.id, "fit_forced", batch)
    assert given_up() is None
    with store.write() as connection:
        connection.execute(delete(stagerun).where(stagerun.c.stage == "fit_forced"))
    with pytest.raises(StoreError, match="run its failed task again, or give it up"):
        run(store, easy[:2], run_key="second")
    assert given_up() == "first"
    run(store, easy[:2], run_key="second")
    assert _stand(store) == ({"first": "abandoned", "second": "finished"}, [])


def test_of_runs_that_begin_together_one_gets_a_new_dataset(
    store: Store, easy: list[Path], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = threading.Barrier(3)
    plan = register_stage._plan

    def plan_together(*arguments: Any, **options: Any) -> RunRecord:
        together.wait(60)
        return plan(*arguments, **options)

    def answer(key: str) -> str:
        try:
            run(store, easy[:2], run_key=key)
        except StoreError as error:
            return str(error)
        return "finished"

    monkeypatch.setattr(register_stage, "_plan", plan_together)
    with ThreadPoolExecutor(3) as pool:
        answers = sorted(pool.map(answer, ["a", "b", "c"]))
    assert answers[2] == "finished"
    assert all(text.startswith("dataset 'series' is in use by run ") for text in answers[:2])


def _fail_in(monkeypatch: pytest.MonkeyPatch, stage: str, error: BaseException) -> None:
    def fail(*_: object) -> StageReport:
        raise error

    monkeypatch.setattr(local, stage, fail)


def test_abandon_frees_a_dataset_that_a_finished_run_still_has(
    store: Store,
    easy: list[Path],
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A task of it was tried again, and killed."""
    run(store, easy[:1], run_key="first")
    monkeypatch.setenv("TRAP_DB", store.url.render_as_string(hide_password=False))
    assert main(["abandon", "first"]) == 0
    assert "there is nothing to give up" in capsys.readouterr().out
    with store.write() as connection:
        runs.take_lock(connection, runs.find_run(connection, "first"))
    with pytest.raises(StoreError, match="free the dataset with `trap-manage abandon first`"):
        run(store, easy[:1], run_key="second")
    assert main(["abandon", "first"]) == 0
    assert "dataset 'series' is free" in capsys.readouterr().out
    assert _stand(store) == ({"first": "finished"}, [])


def test_run_of_other_code_can_be_given_up_but_not_read(
    store: Store,
    easy: list[Path],
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run(store, easy[:1], run_key="old")
    with store.write() as connection:
        settings = '{"extraction": {"a_setting_that_went": 1}}'
        connection.execute(update(run_table).values(configuration=settings, state="running"))
    with pytest.raises(StaleWorker, match=r"a_setting_that_went.*`trap-manage replan old`"):
        open_context(store, "old", tmp_path)
    monkeypatch.setenv("TRAP_DB", store.url.render_as_string(hide_password=False))
    assert main(["report", "series"]) == 1
    assert "was planned by other code" in capsys.readouterr().err
    assert main(["debug", "associate", "old", "--map-index", "0"]) == 1
    assert "leave out --map-index" in capsys.readouterr().err
    assert main(["abandon", "old"]) == 0
    assert _stand(store) == ({"old": "abandoned"}, [])


def test_run_id_of_one_dataset_is_refused_for_another(
    store: Store, easy: list[Path], run: Run
) -> None:
    run(store, easy[:1], dataset="one", run_key="k")
    with pytest.raises(ConfigError, match=r"run 'k' belongs to dataset 'one'.*start a new run"):
        run(store, easy[1:2], dataset="two", run_key="k")
    with store.read() as connection:
        assert list(connection.execute(select(dataset.c.description)).scalars()) == ["one"]
    assert _stand(store) == ({"k": "finished"}, [])


def test_a_dataset_of_another_version_is_refused_in_a_sentence(
    store: Store, easy: list[Path], run: Run
) -> None:
    run(store, easy[:1])
    with store.write() as connection:
        text = connection.execute(select(dataset.c.settings)).scalar_one()
        settings = json.loads(text)
        del settings["images"]["stokes"], settings["catalogue_checks"]
        settings["quality"]["of_old"] = 1
        connection.execute(update(dataset).values(settings=json.dumps(settings)))
    with pytest.raises(ConfigError, match="another version of the code") as raised:
        run(store, easy)
    assert "in catalogue_checks, images, quality)" in str(raised.value)


def test_other_settings_on_a_dataset_are_refused(store: Store, easy: list[Path], run: Run) -> None:
    run(store, easy[:2])
    with pytest.raises(ConfigError, match=r"extraction\.margin_px: 2 -> 5") as caught:
        run(store, easy, overrides={"extraction": {"margin_px": 5}})
    assert "execution" not in str(caught.value)
    # What never changes a result may differ.
    run(store, easy, overrides={"execution": {"parallel_tasks": 5}})
    with store.read() as connection:
        assert connection.execute(select(dataset.c.rerun)).scalar() == 1


def test_stale_worker_refuses_before_it_writes(
    store: Store,
    easy: list[Path],
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run(store, easy[:2], run_key="planned")
    monkeypatch.setattr(stage_context, "fingerprint", lambda: "other code")
    with store.read() as connection:
        before = connection.execute(select(stagerun.c.started_ts)).all()
    with pytest.raises(StaleWorker, match=r"other code .*`trap-manage replan planned`"):
        extract_sources(open_context(store, "planned", tmp_path), [1])
    with store.read() as connection:
        assert connection.execute(select(stagerun.c.started_ts)).all() == before
    extract_sources(open_context(store, "planned", tmp_path, debugging=True), [1], "0")
    assert "other code" in caplog.text


def test_unknown_run_lists_the_latest(store: Store, easy: list[Path], run: Run) -> None:
    run(store, easy[:1], run_key="known")
    with store.read() as connection, pytest.raises(StoreError, match=r"latest .*'known'"):
        runs.load_run(connection, "unknown")


def test_time_of_each_stage_and_outcome_of_each_image_are_stored(
    store: Store, easy: list[Path], run: Run
) -> None:
    run(store, easy)
    with store.read() as connection:
        stages = {r.stage: r for r in connection.execute(select(stagerun))}
        outcomes = {(r.stage, r.image) for r in connection.execute(select(outcome))}
    assert set(stages) >= {
        "register_images", "measure_quality", "judge_quality", "extract_sources", "associate",
        "fit_forced", "measure_variability", "find_candidates", "publish",
    }  # fmt: skip
    assert all(row.seconds is not None and row.seconds >= 0 for row in stages.values())
    for stage in (
        "register_images", "measure_quality", "judge_quality", "extract_sources", "associate",
    ):  # fmt: skip
        assert sum(name == stage for name, _ in outcomes) == len(easy), stage


def test_monitoring_positions_are_not_counted_as_sky_sources(
    store: Store, easy: list[Path], run: Run
) -> None:
    run(store, easy)
    run(store, easy, "monitored", monitor=[MonitorPosition(123.0, 35.0, "the centre")])
    with store.read() as connection:
        first, monitored = list_datasets(connection)
        assert len(summarise_sky_sources(connection, monitored.id).id) == monitored.sources
    assert monitored.sources == first.sources


def test_progress_tells_how_far_a_run_is(store: Store, easy: list[Path], run: Run) -> None:
    run(store, easy, run_key="whole")
    with store.read() as connection:
        record = runs.load_run(connection, "whole")
        stages = {stage.name: stage for stage in runs.progress(connection, record.id)}
    assert stages["extract_sources"].done
    assert stages["extract_sources"].what.startswith("5 images, ")
    assert stages["publish"].done


@pytest.mark.parametrize(
    ("images", "parallel", "largest", "sizes"),
    [
        (0, 4, 25, []),
        (3, 4, 25, [1, 1, 1]),
        (24, 4, 25, [6, 6, 6, 6]),
        (24, 1, 25, [24]),
        (24, 7, 25, [3, 3, 4, 3, 4, 3, 4]),
        (100, 4, 25, [25, 25, 25, 25]),
        (101, 4, 25, [20, 20, 20, 20, 21]),
    ],
)
def test_batches(images: int, parallel: int, largest: int, sizes: list[int]) -> None:
    batches = cut_into_batches(list(range(images)), parallel, largest)
    assert [len(batch) for batch in batches] == sizes
    assert [i for batch in batches for i in batch] == list(range(images))


def test_never_more_batches_than_airflow_maps() -> None:
    batches = cut_into_batches(list(range(100_000)), 4, 25)
    assert len(batches) == 1000
    assert max(map(len, batches)) - min(map(len, batches)) <= 1


@pytest.mark.slow
def test_many_runs_in_one_process_leave_nothing_behind(tmp_path: Path, easy: list[Path]) -> None:
    """Not for long, that is: each leaves some thousand objects that only the collector frees."""
    left = []
    for _ in range(42):
        url = f"sqlite:///{tmp_path}/results.db"
        local.run(easy[:1], "series", store_url=url, overrides=SMALL, output_dir=tmp_path)
        left.append(len(gc.get_objects()))
    assert min(left[21:]) < 1.05 * min(left[:21])

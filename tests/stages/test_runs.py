"""Runs: locks, settings, versions, failures."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select

from stages.conftest import Run, checksum
from trap_ops import local
from trap_ops.errors import ConfigError, ScienceError, StaleWorker, StoreError
from trap_ops.records.runs import MonitorPosition
from trap_ops.stages import context as stage_context
from trap_ops.stages.context import cut_into_batches, open_context
from trap_ops.stages.extract_sources import extract_sources
from trap_ops.store import runs
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


def test_stage_of_a_finished_run_can_be_run_again(
    store: Store, easy: list[Path], run: Run, tmp_path: Path
) -> None:
    reports = run(store, easy, run_key="whole")
    before = checksum(store)
    context = open_context(store, "whole", tmp_path)
    for report in reports:
        if report.stage == "judge_quality":
            assert report.batches
            for number, batch in enumerate(report.batches):
                extract_sources(context, batch, str(number))
    assert checksum(store) == before
    with store.read() as connection:
        assert connection.execute(select(datasetlock)).all() == []
        assert connection.execute(select(run_table.c.state)).scalar() == "finished"


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
    with pytest.raises(StaleWorker, match=r"other code .*`trap-manage abandon planned`"):
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

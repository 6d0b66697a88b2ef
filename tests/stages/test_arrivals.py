"""Which files that came to a folder are given to which runs."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from stages.conftest import Run, checksum
from trap_ops.config.schedules import SchedulesConfig
from trap_ops.records.arrivals import Waiting
from trap_ops.stages import arrivals as stage
from trap_ops.stages.arrivals import Look, Watch, look, take
from trap_ops.store import runs
from trap_ops.store.arrivals import latencies_s
from trap_ops.store.database import Store
from trap_ops.store.dataset_rows import delete_dataset
from trap_ops.store.schema import arrival, image

ROOT = Path(__file__).resolve().parents[2]
CONFIGURATIONS = ROOT / "include" / "configs"
# Where the database is not what is tried.
SQLITE = pytest.mark.parametrize("store", ["sqlite"], indirect=True)


def schedules(folder: Path, **more: object) -> SchedulesConfig:
    series = {
        "name": "survey", "folder": str(folder), "dataset": "series", "when": "arrival", **more
    }  # fmt: skip
    return SchedulesConfig.model_validate({"series": [series]})


def settle(*paths: Path, age_s: float = 0.0) -> None:
    """Let files be as old as they are to be: of a change of name or owner nobody sets the time."""
    for path in paths:
        os.utime(path, (time.time() - age_s, time.time() - age_s))
    time.sleep(0.15)


def put(files: Sequence[Path], folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    made = [Path(shutil.copy(file, folder)) for file in files]
    settle(*made)
    return made


def look_once(store: Store, folder: Path, **more: object) -> Look:
    (found,) = look(
        store, CONFIGURATIONS, schedules(folder, settle_s=0.1, **more), {"arrival", "night"}
    )
    return found


def only(found: Look) -> Waiting:
    (waiting,) = found.waiting
    return waiting


def age(store: Store, seconds: float) -> None:
    """Make it so much later for files that runs were given."""
    with store.write() as connection:
        for path, since in connection.execute(select(arrival.c.path, arrival.c.dispatched_ts)):
            earlier = since - timedelta(seconds=seconds)
            connection.execute(
                update(arrival).where(arrival.c.path == path).values(dispatched_ts=earlier)
            )


def test_new_files_wait_until_a_run_has_finished_them(
    store: Store, easy: list[Path], run: Run, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    files = put(easy[:2], folder)
    waiting = only(look_once(store, folder))
    assert [file.path for file in waiting.files] == [str(file) for file in files]
    assert (waiting.dataset, waiting.busy, waiting.open_run) == ("series", "", "")
    taken = take(store, waiting, "watch__1")
    assert "about to begin" in only(look_once(store, folder)).busy
    run(store, [Path(file.path) for file in taken], run_key="watch__1")
    found = look_once(store, folder)
    assert found.waiting == []
    assert len(found.done) == found.files == 2
    with store.read() as connection:
        (first, second) = latencies_s(connection, "survey", 10)
    assert 0 < min(first, second) <= max(first, second) < 60


@SQLITE
def test_what_is_still_written_is_left_alone(
    store: Store, easy: list[Path], tmp_path: Path
) -> None:
    put(easy[:1], tmp_path / "in")
    (found,) = look(store, CONFIGURATIONS, schedules(tmp_path / "in", settle_s=60), {"arrival"})
    assert (found.files, found.unsettled, found.waiting) == (0, 1, [])


@SQLITE
def test_an_old_file_that_is_moved_here_counts_as_new(
    store: Store, easy: list[Path], tmp_path: Path
) -> None:
    """A copy that keeps the time of its origin is not complete because that is old."""
    (file,) = put(easy[:1], tmp_path / "in")
    os.utime(file, (1e9, 1e9))
    (found,) = look(store, CONFIGURATIONS, schedules(tmp_path / "in", settle_s=60), {"arrival"})
    assert (found.files, found.unsettled) == (0, 1)


@SQLITE
def test_a_half_written_file_is_taken_again_when_it_is_complete(
    store: Store, easy: list[Path], run: Run, tmp_path: Path
) -> None:
    """Its writer has paused for longer than the settling time."""
    folder = tmp_path / "in"
    files = put(easy, folder)
    whole = files[2].read_bytes()
    files[2].write_bytes(whole[: len(whole) // 2])
    settle(files[2])
    take(store, only(look_once(store, folder)), "watch__1")
    run(store, files, run_key="watch__1")
    assert look_once(store, folder).waiting == []
    with store.read() as connection:
        used = connection.execute(select(image.c.id).where(image.c.verdict == "accepted")).all()
    assert len(used) == len(easy) - 1
    files[2].write_bytes(whole)
    settle(files[2])
    waiting = only(look_once(store, folder))
    assert [file.path for file in waiting.files] == [str(files[2])]
    take(store, waiting, "watch__2")
    run(store, [files[2]], run_key="watch__2")
    assert look_once(store, folder).waiting == []
    run(store, files, "at once")
    assert checksum(store, "series") == checksum(store, "at once")


@SQLITE
def test_a_late_image_is_put_in_its_place(
    store: Store, easy: list[Path], run: Run, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    for number, files in enumerate(([*easy[:2], *easy[3:]], easy[2:3])):
        put(files, folder)
        taken = take(store, only(look_once(store, folder)), f"nightly__{number}")
        assert [Path(file.path).name for file in taken] == [file.name for file in files]
        run(store, [Path(file.path) for file in taken], run_key=f"nightly__{number}")
    run(store, [folder / file.name for file in easy], "at once")
    assert checksum(store, "series") == checksum(store, "at once")


@SQLITE
def test_a_dataset_that_somebody_uses_waits_and_says_for_whom(
    store: Store, easy: list[Path], run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "in"
    put(easy[1:2], folder)
    break_publish(monkeypatch)
    with pytest.raises(RuntimeError):
        run(store, easy[:1], run_key="manual__1")
    waiting = only(look_once(store, folder))
    assert waiting.busy == "run manual__1 has it (failed)"
    age(store, 1e6)
    assert only(look_once(store, folder)).busy, "it is not for a schedule to give that up"


def break_publish(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        msg = "planted"
        raise RuntimeError(msg)

    monkeypatch.setattr("trap_ops.local.find_candidates", fail)


def test_files_of_a_run_that_failed_go_to_another_one_later_and_later(
    store: Store, easy: list[Path], run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "in"
    files = put(easy[:3], folder)
    for number, patience_s in enumerate((60, 120)):
        taken = take(store, only(look_once(store, folder)), f"watch__{number}")
        assert len(taken) == 3
        with monkeypatch.context() as patch:
            break_publish(patch)
            with pytest.raises(RuntimeError):
                run(store, files, run_key=f"watch__{number}")
        age(store, patience_s - 10)
        assert "failed" in only(look_once(store, folder)).busy
        age(store, 20)
        waiting = only(look_once(store, folder))
        assert (waiting.busy, waiting.open_run) == ("", f"watch__{number}")
        assert len(waiting.again) == 3
    take(store, waiting, "watch__3")
    with store.read() as connection:
        assert runs.find_run(connection, "watch__1").state == runs.ABANDONED
        assert runs.lock_holder(connection, "series") is None
    run(store, files, run_key="watch__3")
    assert look_once(store, folder).waiting == []


def test_files_of_a_run_that_never_began_are_asked_for(
    store: Store, easy: list[Path], tmp_path: Path
) -> None:
    """Airflow may have been killed between the note and the run."""
    folder = tmp_path / "in"
    put(easy[:1], folder)
    take(store, only(look_once(store, folder)), "watch__lost")
    put(easy[1:2], folder)
    age(store, 61)
    waiting = only(look_once(store, folder))
    assert (waiting.busy, waiting.open_run) == ("", "watch__lost")
    assert len(take(store, waiting, "watch__2")) == 2


@SQLITE
def test_a_batch_has_the_oldest_files(store: Store, easy: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "in"
    files = put(easy, folder)
    for number, file in enumerate(reversed(files)):
        os.utime(file, (1e9 + number, 1e9 + number))
    time.sleep(0.15)
    taken = take(store, only(look_once(store, folder)), "watch__1", limit=2)
    assert [file.path for file in taken] == [str(files[-1]), str(files[-2])]


@SQLITE
def test_each_folder_has_its_dataset(store: Store, easy: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "in"
    put(easy[:2], folder / "a" / "deep")
    put(easy[2:3], folder / "b")
    (stray,) = put(easy[3:4], folder)
    found = look_once(store, folder, dataset="field-{folder}")
    assert {item.dataset: len(item.files) for item in found.waiting} == {"field-a": 2, "field-b": 1}
    assert str(stray) in found.problem


@SQLITE
def test_hidden_files_links_to_folders_and_others_are_no_images(
    store: Store, easy: list[Path], tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    (file,) = put(easy[:1], folder)
    file.rename(folder / f".{file.name}.part")
    (folder / "notes.txt").write_text("x")
    put(easy[1:2], folder / ".hidden")
    put(easy[2:3], tmp_path / "elsewhere")
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    time.sleep(0.15)
    assert look_once(store, folder).files == 0


@SQLITE
def test_a_folder_that_is_away_is_a_problem_of_its_own(store: Store, tmp_path: Path) -> None:
    found = look_once(store, tmp_path / "gone")
    assert "series 'survey'" in found.problem
    assert "No such file" in found.problem


@SQLITE
def test_a_folder_outside_the_data_roots_is_not_read(
    store: Store, easy: list[Path], tmp_path: Path
) -> None:
    configurations = tmp_path / "configs"
    shutil.copytree(CONFIGURATIONS, configurations)
    default = configurations / "default.toml"
    text = default.read_text()
    assert "\ndata_roots = []" in text
    default.write_text(text.replace("\ndata_roots = []", f'\ndata_roots = ["{tmp_path}/data"]'))
    (tmp_path / "data").mkdir()
    put(easy[:1], tmp_path / "in")
    (found,) = look(store, configurations, schedules(tmp_path / "in", settle_s=0.1), {"arrival"})
    assert found.files == 0
    assert "data root" in found.problem


@SQLITE
class TestWatch:
    def watch(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Path, when: str = "arrival"
    ) -> Watch:
        file = tmp_path / "schedules.toml"
        file.write_text(
            f'[[series]]\nname = "s"\nfolder = "{folder}"\ndataset = "series"\nwhen = "{when}"\n'
            "settle_s = 0.1\n"
        )
        monkeypatch.setenv("TRAP_SCHEDULES", str(file))
        return Watch(CONFIGURATIONS)

    def test_it_tells_once_until_something_was_done(
        self,
        store: Store,
        easy: list[Path],
        run: Run,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        folder = tmp_path / "in"
        folder.mkdir()
        watch = self.watch(tmp_path, monkeypatch, folder)
        assert watch.look(store) == ""
        files = put(easy[:1], folder)
        assert watch.look(store) == "images for series"
        assert watch.look(store) == "", "its run is on its way"
        take(store, only(look_once(store, folder)), "watch__1")
        assert watch.look(store) == ""
        run(store, files, run_key="watch__1")
        put(easy[1:2], folder)
        assert watch.look(store) == "images for series"

    def test_an_event_that_was_lost_is_told_again(
        self, store: Store, easy: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(stage, "_FIRST_HOLD_S", 0.3)
        put(easy[:1], tmp_path / "in")
        watch = self.watch(tmp_path, monkeypatch, tmp_path / "in")
        assert watch.look(store)
        assert not watch.look(store)
        time.sleep(0.35)
        assert watch.look(store)
        time.sleep(0.35)
        assert not watch.look(store), "the second time it waits for longer"

    def test_a_problem_is_told_once(
        self, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        watch = self.watch(tmp_path, monkeypatch, tmp_path / "gone")
        assert "No such file" in watch.look(store)
        assert watch.look(store) == ""

    def test_series_of_the_night_are_not_its_business(
        self, store: Store, easy: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(easy[:1], tmp_path / "in")
        assert self.watch(tmp_path, monkeypatch, tmp_path / "in", "night").look(store) == ""


@SQLITE
def test_a_dataset_that_is_deleted_is_made_anew(
    store: Store, easy: list[Path], run: Run, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    files = put(easy[:2], folder)
    take(store, only(look_once(store, folder)), "nightly__1")
    run(store, files, run_key="nightly__1")
    delete_dataset(store, "series")
    assert len(only(look_once(store, folder)).files) == 2

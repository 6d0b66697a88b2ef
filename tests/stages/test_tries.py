"""A try that seemed to be lost writes nothing any more, and the next one says what it found."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest
from sqlalchemy import select, update

from stages.conftest import Run, checksum
from trap_ops.errors import (
    ConfigError,
    DiskUnavailable,
    ImageError,
    ScienceError,
    StoreUnavailable,
    Superseded,
    can_pass,
)
from trap_ops.images.files import unreadable
from trap_ops.stages import extract_sources as extract_stage
from trap_ops.store import runs, stage_tries
from trap_ops.store.database import Store
from trap_ops.store.schema import run as run_table
from trap_ops.store.schema import stagerun


def begin_elsewhere(store: Store, batch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another host does that takes a try for lost."""
    other = Store(store.url.render_as_string(hide_password=False))
    with monkeypatch.context() as patch, other.write() as connection:
        patch.setattr(stage_tries, "hostname", lambda: "elsewhere")
        record = runs.find_run(connection, "mine")
        stage_tries.begin_stage(connection, record.id, extract_stage.STAGE, batch)
    other.close()


def test_a_try_that_was_given_up_writes_nothing_any_more(
    store: Store,
    easy: list[Path],
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run(store, easy, dataset="alone")
    measure, measured = extract_stage._measure, []

    def lost(context: object, row: object) -> object:
        measured.append(row)
        if len(measured) == 2:
            begin_elsewhere(store, "0", monkeypatch)
        return measure(context, row)

    with monkeypatch.context() as patch:
        patch.setattr(extract_stage, "_measure", lost)
        with pytest.raises(Superseded, match="on elsewhere in its place"):
            run(store, easy, run_key="mine")
    with store.read() as connection:
        query = select(stagerun.c.host, stagerun.c.seconds)
        query = query.where(stagerun.c.stage == "extract_sources", stagerun.c.batch == "0")
        mine = query.join(run_table).where(run_table.c.run_key == "mine")
        # Neither its images nor its failure are noted in the place of the other's.
        assert connection.execute(mine).one() == ("elsewhere", None)
    caplog.clear()
    run(store, easy, run_key="mine")
    assert "on elsewhere, has not ended: it was killed, or hung" in caplog.text
    assert checksum(store) == checksum(store, "alone")


def test_a_try_that_failed_is_not_taken_for_one_that_was_killed(
    store: Store, easy: list[Path], run: Run, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    def fail(*_: object) -> None:
        msg = "the sky has fallen"
        raise ScienceError(msg)

    with monkeypatch.context() as patch:
        patch.setattr(extract_stage, "_measure", fail)
        with pytest.raises(ScienceError):
            run(store, easy[:2], run_key="mine")
    with caplog.at_level("INFO", "trap_ops"):
        run(store, easy[:2], run_key="mine")
    assert f"on {runs.hostname()}, failed; what it finished is kept" in caplog.text
    assert "has not ended" not in caplog.text


@pytest.mark.postgres
def test_another_try_waits_for_what_is_being_written(
    postgres_url: str, easy: list[Path], run: Run
) -> None:
    """Else both would write the same rows."""
    store = Store(postgres_url)
    run(store, easy[:2], run_key="mine")
    other = Store(postgres_url)
    with store.write() as connection:
        record = runs.find_run(connection, "mine")
        own, _ = stage_tries.begin_stage(connection, record.id, "extract_sources", "0")
    begun = threading.Event()

    def begin() -> None:
        with other.write() as connection:
            stage_tries.begin_stage(connection, record.id, "extract_sources", "0")
        begun.set()

    thread = threading.Thread(target=begin)
    with store.checked(lambda connection: stage_tries.check_current(connection, own)):
        with store.write():
            thread.start()
            assert not begun.wait(1.0)
        assert begun.wait(30)
        with pytest.raises(Superseded), store.write():
            pass
    thread.join()
    store.close()
    other.close()


def write_on_an_ended_connection(store: Store, other: Store) -> None:
    with store.write() as connection:
        number = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        with other.write() as second:
            second.exec_driver_sql(f"SELECT pg_terminate_backend({number}, 5000)")
        connection.execute(update(run_table).values(message=""))


@pytest.mark.postgres
def test_a_connection_that_the_server_has_ended_is_made_again(postgres_url: str) -> None:
    store, other = Store(postgres_url), Store(postgres_url)
    try:
        with store.read() as connection:
            number = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
            asked = "SELECT current_setting('tcp_user_timeout')"
            assert connection.exec_driver_sql(asked).scalar_one() == "30000"
        with other.write() as connection:
            connection.exec_driver_sql(f"SELECT pg_terminate_backend({number}, 5000)")
        with store.read() as connection:
            assert connection.exec_driver_sql("SELECT 1").scalar_one() == 1
        # In the middle of a transaction it is an error that is tried again.
        with pytest.raises(StoreUnavailable):
            write_on_an_ended_connection(store, other)
    finally:
        store.close()
        other.close()


@pytest.mark.parametrize(
    ("number", "kind", "passes"),
    [
        (errno.ENOSPC, DiskUnavailable, True),
        (errno.ESTALE, DiskUnavailable, True),
        (errno.EACCES, ImageError, False),
        (errno.EIO, ImageError, False),
    ],
)
def test_a_disk_that_is_away_is_not_a_bad_image(
    number: int, kind: type[Exception], passes: bool
) -> None:
    error = OSError(number, os.strerror(number))
    assert can_pass(error) == passes
    assert type(unreadable(error)) is kind


def test_a_report_that_finds_the_disk_full_is_tried_again(
    store: Store, easy: list[Path], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, kind in ((errno.ENOSPC, DiskUnavailable), (errno.EACCES, ConfigError)):

        def refuse(*_: object, number: int = number) -> int:
            raise OSError(number, os.strerror(number))

        with monkeypatch.context() as patch:
            patch.setattr(Path, "write_bytes", refuse)
            with pytest.raises(kind, match="the report cannot be written"):
                run(store, easy[:2], run_key="mine")
    run(store, easy[:2], run_key="mine")

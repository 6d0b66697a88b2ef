"""A deleted dataset is gone with everything; others are as they were."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select, text

from conftest import BOTH_DATABASES, new_store
from stages.conftest import checksum
from stages.consistent_night import make_night
from stages.made_images import Observatory, random_images
from trap_ops.commands import deldataset
from trap_ops.commands.__main__ import main
from trap_ops.errors import StoreError
from trap_ops.store import dataset_rows, runs
from trap_ops.store.consistency import check_datasets
from trap_ops.store.database import Store
from trap_ops.store.dataset_rows import contents_of, count_rows, delete_dataset
from trap_ops.store.datasets import dataset_id
from trap_ops.store.schema import image, imagedata, metadata

# Rows of the database, not of a dataset.
SHARED = {"version", "rejectreason", "node", "idblock"}


def rows_by_table(store: Store) -> dict[str, int]:
    with store.read() as connection:
        counts = {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in metadata.sorted_tables
        }
    return {name: count for name, count in counts.items() if count and name not in SHARED}


def check_foreign_keys(store: Store) -> None:
    """SQLite tells of rows that point to nothing; PostgreSQL has none."""
    if store.is_sqlite:
        with store.read() as connection:
            assert connection.execute(text("PRAGMA foreign_key_check")).all() == []


@pytest.fixture(params=BOTH_DATABASES)
def two(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Store]:
    """Datasets ``night`` and ``other``, with forks, monitors, candidates and rejected images."""
    with new_store(request.param, request, tmp_path) as store:
        make_night(store, tmp_path, monkeypatch)
        with store.write() as connection:
            # What classic tools may have put there.
            first = connection.execute(
                select(func.min(image.c.id)).where(
                    image.c.dataset == dataset_id(connection, "night")
                )
            ).scalar_one()
            number = store.allocate(connection, imagedata, 1)[0]
            connection.execute(
                insert(imagedata).values(id=int(number), image=first, fits_header="x")
            )
        yield store


def test_all_rows_go_and_others_stay(two: Store) -> None:
    before, all_rows = checksum(two, "other"), rows_by_table(two)
    with two.read() as connection:
        expected = count_rows(connection, dataset_id(connection, "night"))
        others = count_rows(connection, dataset_id(connection, "other"))
    assert {name: expected.get(name, 0) + others.get(name, 0) for name in all_rows} == all_rows
    needed = {"candidate", "monitor", "newsource", "rejection", "forcedfit", "imagedata"}
    assert needed <= expected.keys()
    assert delete_dataset(two, "night") == expected
    assert rows_by_table(two) == others
    check_foreign_keys(two)
    assert checksum(two, "other") == before
    assert [(item.dataset, item.broken) for item in check_datasets(two)] == [("other", [])]
    assert delete_dataset(two, "other") == others
    assert rows_by_table(two) == {}
    with pytest.raises(StoreError, match="there is no dataset 'night'; there are: none"):
        delete_dataset(two, "night")


def test_the_name_is_free_again(
    two: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    observatory = Observatory(two, tmp_path, monkeypatch)
    before = observatory.run_all("again", [random_images(1, 3)])
    delete_dataset(two, "again")
    assert observatory.run_all("again", [random_images(1, 3)]) == before
    assert [item.broken for item in check_datasets(two)] == [[], [], []]


def test_nothing_goes_if_something_cannot(two: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    before = rows_by_table(two)
    every = dataset_rows._rows_of

    def without_runs(number: int) -> list:
        return [(table, mine) for table, mine in every(number) if table.name != "stagerun"]

    monkeypatch.setattr(dataset_rows, "_rows_of", without_runs)
    with pytest.raises(StoreError, match="refuses a row"):
        delete_dataset(two, "night")
    assert rows_by_table(two) == before


def test_a_dataset_in_use_is_refused(two: Store) -> None:
    before = rows_by_table(two)
    with two.write() as connection:
        record = runs.find_run(
            connection, runs.latest_run(connection, dataset_id(connection, "night"))
        )
        runs.take_lock(connection, record)
    with pytest.raises(
        StoreError, match=rf"in use by run '{re.escape(record.key)}'.*trap-manage abandon"
    ):
        delete_dataset(two, "night")
    delete_dataset(two, "other")
    with two.write() as connection:
        runs.release_lock(connection, record.id)
    assert rows_by_table(two).keys() == before.keys()
    delete_dataset(two, "night")


# ---- As it is typed.


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def typed(night: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("TRAP_DB", night.url.render_as_string())
    return night


def test_it_shows_and_asks(
    typed: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for answer in ("", "y\n", "nigh\n"):
        monkeypatch.setattr(deldataset.sys, "stdin", Terminal(answer))
        assert main(["deldataset", "night"]) == 1
        printed = capsys.readouterr().out
        assert "nothing is deleted" in printed
        with typed.read() as connection:
            found = contents_of(connection, "night")
        for table, word in (
            ("image", "images"),
            ("runningcatalog", "sky sources"),
            ("run", "runs"),
        ):
            assert f"{found.rows[table]} {word}" in printed
    monkeypatch.setattr(deldataset.sys, "stdin", Terminal("night\n"))
    assert main(["deldataset", "night"]) == 0
    printed = capsys.readouterr().out
    assert f"dataset night is deleted: {sum(found.rows.values())} rows of" in printed
    assert "image files stay as they are" in printed
    assert all(path in printed for path in found.reports)


def test_without_a_terminal_it_needs_yes(
    typed: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(deldataset.sys, "stdin", io.StringIO("night\n"))
    assert main(["deldataset", "night"]) == 1
    assert "there is no terminal to ask at; give --yes" in capsys.readouterr().err
    assert main(["deldataset", "night", "--yes"]) == 0
    assert main(["deldataset", "night", "--yes"]) == 1
    assert "there is no dataset 'night'; there are: other" in capsys.readouterr().err


def test_a_held_dataset_is_not_even_asked_about(
    typed: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with typed.write() as connection:
        record = runs.find_run(
            connection, runs.latest_run(connection, dataset_id(connection, "night"))
        )
        runs.take_lock(connection, record)
    assert main(["deldataset", "night", "--yes"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert f"in use by run {record.key!r}" in said.err

"""A results database is backed up and restored: the same results, and runs go on with them."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import MetaData, insert, select, text, update

import trap_ops.store
from conftest import BOTH_DATABASES, new_store
from stages.conftest import Run, checksum
from trap_ops.commands.__main__ import main
from trap_ops.errors import ConfigError, StoreError, StoreUnavailable
from trap_ops.store import backup, backup_postgres, runs
from trap_ops.store.backup import make_backup, restore_backup
from trap_ops.store.backup_files import read_manifest, write_backup
from trap_ops.store.database import SCHEMA_REVISION, Store
from trap_ops.store.datasets import list_datasets
from trap_ops.store.schema import frequencyband, idblock, image


def address(store: Store) -> str:
    return store.url.render_as_string(hide_password=False)


@pytest.fixture(params=BOTH_DATABASES)
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Store, Store]]:
    """Two databases of one kind."""
    with (
        new_store(request.param, request, tmp_path) as one,
        new_store(request.param, request, tmp_path) as other,
    ):
        yield one, other


def band(store: Store, dataset: str) -> None:
    """A dataset that is one row, and quickly made."""
    tables = MetaData()
    with store.write() as connection:
        tables.reflect(connection)
        number = int(store.allocate(connection, tables.tables["dataset"], 1)[0])
        needed = {
            c.name: {str: "{}", int: 0, float: 0.0}.get(c.type.python_type, runs.now())
            for c in tables.tables["dataset"].c
            if not c.nullable and c.server_default is None
        }
        row = {**needed, "id": number, "description": dataset}
        connection.execute(insert(tables.tables["dataset"]).values(row))


def test_restored_results_are_the_same_and_runs_go_on(
    pair: tuple[Store, Store],
    run: Run,
    easy: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source, target = pair
    run(source, easy[:2])
    file = tmp_path / "b.trap"
    monkeypatch.setenv("TRAP_DB", address(source))
    assert main(["backup", str(file)]) == 0
    assert checksum(source) in capsys.readouterr().out
    band(target, "lost")
    monkeypatch.setenv("TRAP_DB", address(target))
    assert main(["restore", str(file)]) == 1, "there is no terminal to ask on"
    assert "replaces dataset lost" in capsys.readouterr().out
    assert main(["restore", "--yes", str(file)]) == 0
    said = capsys.readouterr().out
    assert "series: " in said
    assert "invariants checked" in said
    assert checksum(target) == checksum(source)
    with target.read() as connection:
        assert [item.name for item in list_datasets(connection)] == ["series"]
    run(source, easy[:3])
    run(target, easy[:3])
    assert checksum(target) == checksum(source)
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_a_backup_while_somebody_writes_is_of_one_moment(
    store: Store, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Each transaction writes a band and counts it; both are in the back-up or none."""
    band(store, "counted")
    end, written = threading.Event(), threading.Event()

    def write() -> None:
        own = Store(address(store))
        number = 0
        while not end.is_set():
            number += 1
            with own.write() as connection:
                row = {"id": number, "dataset": 1, "freq_central": 1.0}
                connection.execute(
                    insert(frequencyband).values(**row, freq_low=number, freq_high=number)
                )
                counter = update(idblock).where(idblock.c.table_name == "dataset")
                connection.execute(counter.values(next_id=2 + number))
            if number > 20:
                written.set()
        own.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert written.wait(30)
        for number in range(2):
            make_backup(store, tmp_path / str(number))
    finally:
        end.set()
        writer.join()
    seen = []
    for number in range(2):
        restore_backup(store, tmp_path / str(number))
        with store.read() as connection:
            bands = len(connection.execute(select(frequencyband.c.id)).all())
            counter = select(idblock.c.next_id).where(idblock.c.table_name == "dataset")
            assert connection.execute(counter).scalar_one() == 2 + bands
        seen.append(bands)
    assert seen == sorted(seen)
    assert seen[0] > 20


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip(file: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        item = archive.infolist()[0]
    content = bytearray(file.read_bytes())
    content[item.header_offset + 200] ^= 0xFF
    file.write_bytes(content)


def rewrite(file: Path, **changes: Any) -> None:
    with zipfile.ZipFile(file) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(parts["manifest.json"])
    parts["manifest.json"] = json.dumps({**manifest, **changes}).encode()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


def no_backup(file: Path) -> None:
    file.write_text("nothing")


DAMAGES: list[tuple[Any, str]] = [
    (cut, "cut off"),
    (flip, "nothing was changed"),
    (no_backup, "no back-up"),
    (Path.unlink, "No such file"),
    (lambda file: rewrite(file, data_sha256="0" * 64), "not those that its manifest names"),
    (lambda file: rewrite(file, rows={"dataset": 7}), "table dataset has 1 rows, not 7"),
    (lambda file: rewrite(file, checksums={"kept": "0"}), "another checksum"),
    (lambda file: rewrite(file, revision="9999"), "newer than this code's"),
    (lambda file: rewrite(file, format="other"), "its form is 'other'"),
]


def test_a_damaged_backup_changes_nothing(store: Store, tmp_path: Path) -> None:
    band(store, "kept")
    before = checksum(store, "kept")
    whole, file = tmp_path / "whole", tmp_path / "b"
    make_backup(store, whole)
    band(store, "later")
    for damage, message in DAMAGES:
        shutil.copy(whole, file)
        damage(file)
        with pytest.raises(StoreError, match=message):
            restore_backup(store, file)
        with store.read() as connection:
            assert [item.name for item in list_datasets(connection)] == ["kept", "later"], message
    assert checksum(store, "kept") == before
    assert store.revision() == SCHEMA_REVISION
    # And it is no obstacle to the next one.
    restore_backup(store, whole)
    with store.read() as connection:
        assert [item.name for item in list_datasets(connection)] == ["kept"]


@pytest.mark.parametrize(
    "kind", ["sqlite", pytest.param("postgres", marks=[pytest.mark.postgres, pytest.mark.long])]
)
def test_an_old_backup_is_brought_to_this_revision(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Also into a database that has tables which the old one had not."""
    if kind == "sqlite":
        old = Store(f"sqlite:///{tmp_path / 'old.db'}")
    else:
        old = Store(request.getfixturevalue("postgres_url"))
    config = Config()
    config.set_main_option(
        "script_location", str(Path(trap_ops.store.__file__).parent / "migrations")
    )
    with old.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
    band(old, "old")
    made = make_backup(old, tmp_path / "b")
    assert (made.revision, made.checksums) == ("0003", {"old": None})
    with new_store(kind, request, tmp_path) as target:
        band(target, "new")
        restore_backup(target, tmp_path / "b")
        target.check()
        with target.read() as connection:
            assert [item.name for item in list_datasets(connection)] == ["old"]
            assert connection.execute(select(image.c.id)).all() == []
    old.close()


@pytest.mark.parametrize("kind", BOTH_DATABASES)
def test_an_empty_database_takes_it(
    kind: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on a new machine: nothing is asked."""
    empty = "sqlite_url" if kind == "sqlite" else "postgres_url"
    with new_store(kind, request, tmp_path) as source:
        band(source, "kept")
        make_backup(source, tmp_path / "b")
        monkeypatch.setenv("TRAP_DB", request.getfixturevalue(empty))
        assert main(["restore", str(tmp_path / "b")]) == 0
        target = Store(request.getfixturevalue(empty))
        assert checksum(target, "kept") == checksum(source, "kept")
        target.close()


def test_a_backup_is_never_written_over(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "b"
    file.write_text("yesterday's")
    with pytest.raises(StoreError, match="never replaced"):
        make_backup(store, file)
    # Nor over one that came while it was made.
    manifest = make_backup(store, tmp_path / "other")
    with pytest.raises(StoreError, match="never replaced"):
        write_backup(file, manifest, tmp_path / "other")
    assert file.read_text() == "yesterday's"


def test_nothing_to_back_up_and_no_room_are_said(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"unable to open|could not open"):
        make_backup(store, tmp_path / "absent" / "b")
    empty = Store(f"sqlite:///{tmp_path / 'none.db'}")
    with pytest.raises(StoreError, match="no results yet"):
        make_backup(empty, tmp_path / "b")
    empty.close()
    assert not (tmp_path / "b").exists()


@pytest.mark.postgres
def test_a_backup_of_the_other_kind_is_refused(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with (
        new_store("sqlite", request, tmp_path) as small,
        new_store("postgres", request, tmp_path) as large,
    ):
        for source, target in ((small, large), (large, small)):
            file = tmp_path / source.url.get_backend_name()
            make_backup(source, file)
            with pytest.raises(StoreError, match="the kind that was backed up"):
                restore_backup(target, file)


def test_a_restore_does_not_wait_for_ever(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "_PATIENCE_S", 0.5)
    with new_store("sqlite", request, tmp_path) as store:
        band(store, "kept")
        make_backup(store, tmp_path / "b")
        other = sqlite3.connect(str(store.url.database), isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="end what uses it"):
            restore_backup(store, tmp_path / "b")
        other.close()
        restore_backup(store, tmp_path / "b")


@pytest.fixture
def postgres(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with new_store("postgres", request, tmp_path) as store:
        yield store


@pytest.mark.postgres
def test_programs_of_postgresql_that_lack_are_named(
    postgres: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "pg_dump"
    old.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 9.6.24'\n")
    old.chmod(0o755)
    for path, said in ((tmp_path / "none", "not on the PATH"), (tmp_path, "of version 9")):
        monkeypatch.setenv("PATH", str(path))
        with pytest.raises(ConfigError, match=said):
            make_backup(postgres, tmp_path / "b")


@pytest.mark.postgres
def test_the_password_is_in_no_command(
    postgres: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[tuple[list[str], dict[str, str]]] = []

    def call(words: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        called.append((words, options["env"]))
        return subprocess.CompletedProcess(words, 1, "", "refused")

    store = Store("postgresql://me:hidden@db/results?sslmode=require")
    monkeypatch.setattr(subprocess, "run", call)
    with pytest.raises(StoreError) as failure:
        backup_postgres.load(store, tmp_path / "b")
    ((words, environment),) = called
    assert "hidden" not in " ".join(words) + failure.value.message
    wanted = {"PGPASSWORD": "hidden", "PGHOST": "db", "PGUSER": "me", "PGSSLMODE": "require"}
    assert wanted.items() <= environment.items()


@pytest.mark.postgres
def test_views_and_leftovers_are_named_before_anything_changes(
    postgres: Store, tmp_path: Path
) -> None:
    band(postgres, "kept")
    make_backup(postgres, tmp_path / "b")
    with postgres.write() as connection:
        connection.execute(text("CREATE VIEW mine AS SELECT description FROM dataset"))
    with pytest.raises(StoreError, match=r"public\.mine"):
        restore_backup(postgres, tmp_path / "b")
    with postgres.write() as connection:
        connection.execute(text("DROP VIEW mine"))
        connection.execute(text("CREATE SCHEMA trap_before_restore"))
    with pytest.raises(StoreError, match="an earlier restore was killed"):
        restore_backup(postgres, tmp_path / "b")
    assert checksum(postgres, "kept")


def test_a_run_that_was_at_work_is_named(
    request: pytest.FixtureRequest,
    run: Run,
    easy: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from trap_ops.store.schema import datasetlock
    from trap_ops.store.schema import run as run_table

    with new_store("sqlite", request, tmp_path) as store:
        run(store, easy[:1])
        with store.write() as connection:
            number = connection.execute(select(run_table.c.id)).scalar_one()
            connection.execute(update(run_table).values(state=runs.RUNNING, run_key="night"))
            lock = {"dataset": 1, "run": number, "taken_ts": runs.now()}
            connection.execute(insert(datasetlock).values(lock))
        make_backup(store, tmp_path / "b")
    monkeypatch.setenv("TRAP_DB", address(store))
    with pytest.MonkeyPatch.context() as patch:
        lines: list[str] = []
        patch.setattr("builtins.print", lambda *words, **_: lines.append(" ".join(map(str, words))))
        assert main(["restore", str(tmp_path / "b"), "--yes"]) == 0
    said = "\n".join(lines)
    assert "run night is at work" in said
    assert "abandon night" in said
    assert read_manifest(tmp_path / "b").rows["image"] == 1

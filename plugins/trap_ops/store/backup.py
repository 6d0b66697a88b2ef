"""Back-up and restore of a whole results database. Images are files elsewhere and are not in it."""

from __future__ import annotations

import hashlib
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import Connection, column, func, inspect, select, table, text

from trap_ops import __version__
from trap_ops.errors import ConfigError, StoreError, StoreUnavailable
from trap_ops.records.names import one_line
from trap_ops.store import backup_postgres, checksum
from trap_ops.store.backup_files import (
    Manifest,
    extract_data,
    partial_file,
    read_manifest,
    refuse_existing,
    write_backup,
)
from trap_ops.store.database import SCHEMA_REVISION, Store
from trap_ops.store.runs import now
from trap_ops.store.schema import metadata
from trap_ops.store.upkeep import tidy

_REVISION_TABLE = "alembic_version"
# How long a restore waits for who writes to an SQLite file.
_PATIENCE_S = 60.0


def make_backup(store: Store, path: Path) -> Manifest:
    """Write all tables into one file, as they were at one moment; runs may go on meanwhile.

    Tables of an older revision are backed up as they are.

    Returns
    -------
    Manifest
        What is in it.

    Raises
    ------
    StoreError
        If there is nothing to back up, tables are of a newer version, or the file exists or cannot
        be written.
    ConfigError
        If a program of PostgreSQL is missing or too old.
    """
    refuse_existing(path)
    revision = store.revision()
    if revision is None:
        store.check()
    _refuse_newer(str(revision), f"the database {store.safe_url}")
    with partial_file(path.with_name(f"{path.name}.data")) as data:
        try:
            manifest = _dump_sqlite(store, data) if store.is_sqlite else _dump(store, data)
        except (OSError, sqlite3.Error) as error:
            msg = f"{one_line(str(path))} cannot be written: {error}"
            raise StoreError(msg) from error
        write_backup(path, manifest, data)
    return manifest


def check_backup(store: Store, path: Path) -> Manifest:
    """See what a back-up holds, and that this database can take it; nothing is changed.

    Raises
    ------
    StoreError
        If it is damaged, of a newer version, or of the other kind of database.
    """
    manifest = read_manifest(path)
    _refuse_newer(manifest.revision, f"the back-up {one_line(str(path))}")
    here = "sqlite" if store.is_sqlite else "postgresql"
    if manifest.database != here:
        msg = (
            f"{one_line(str(path))} is a back-up of {manifest.database}, and {store.safe_url} is "
            f"{here}: set TRAP_DB to a database of the kind that was backed up"
        )
        raise StoreError(msg)
    return manifest


def restore_backup(store: Store, path: Path) -> Manifest:
    """Replace all tables by those of a back-up, and bring them to the revision of this code.

    The data are compared with the manifest first; after any error the database is as it was.

    Raises
    ------
    StoreError
        If the back-up is damaged, or the database refuses it.
    StoreUnavailable
        If the database is in use or away.
    ConfigError
        If a program of PostgreSQL is missing or too old.
    """
    manifest = check_backup(store, path)
    store.make_directory()
    with _unpacked(store, path, manifest) as data:
        if store.is_sqlite:
            _load_sqlite(store, manifest, data)
        else:
            _load(store, manifest, data)
    tidy(store)
    return manifest


def _dump_sqlite(store: Store, data: Path) -> Manifest:
    """Copy the file in one step, so that it is one moment; who writes is not stopped by it."""
    with (
        closing(sqlite3.connect(f"{_uri(store)}?mode=ro", uri=True)) as source,
        closing(sqlite3.connect(data)) as target,
    ):
        source.backup(target)
        # A file alone, without the second one of a write-ahead log.
        target.execute("PRAGMA journal_mode = DELETE")
    copy = Store(f"sqlite:///{data}")
    try:
        with copy.read() as connection:
            manifest = _manifest(connection, "sqlite")
    finally:
        copy.close()
        _forget_log(data)
    return manifest


def _dump(store: Store, data: Path) -> Manifest:
    backup_postgres.check_tools(store, "pg_dump")
    with store.read() as connection:
        manifest = _manifest(connection, "postgresql")
        backup_postgres.dump(store, connection, sorted(manifest.rows), data)
    return manifest


def _load_sqlite(store: Store, manifest: Manifest, data: Path) -> None:
    """Try it on a copy, then overwrite the database in one transaction of SQLite."""
    copy = Store(f"sqlite:///{data}")
    try:
        _complete(copy, manifest)
    finally:
        copy.close()
        _forget_log(data)
    store.close()
    try:
        with (
            closing(sqlite3.connect(data)) as source,
            # It is asked again and again by the back-up itself.
            closing(sqlite3.connect(str(store.url.database), timeout=0.0)) as target,
        ):
            source.backup(target, progress=_patience())
    except (sqlite3.Error, TimeoutError) as error:
        msg = (
            f"{store.safe_url} cannot be replaced now ({error}); end what uses it, and try again: "
            "it is as it was"
        )
        raise StoreUnavailable(msg) from error


def _patience() -> Callable[[int, int, int], None]:
    """For SQLite's back-up, which by itself waits for another writer without an end."""
    until = time.monotonic() + _PATIENCE_S

    def look(status: int, _left: int, _pages: int) -> None:
        if status in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED} and time.monotonic() > until:
            msg = f"another process has been writing for {_PATIENCE_S:.0f} s"
            raise TimeoutError(msg)

    return look


def _load(store: Store, manifest: Manifest, data: Path) -> None:
    backup_postgres.check_tools(store, "pg_restore")
    with store.read() as connection:
        schema = backup_postgres.schema_of(connection)
    if schema != manifest.schema_name:
        msg = (
            f"the back-up has its tables in the schema {manifest.schema_name!r}, and "
            f"{store.safe_url} is set to {schema!r}: set TRAP_DB so that both are the same"
        )
        raise ConfigError(msg)
    known = sorted({*metadata.tables, *manifest.rows, _REVISION_TABLE})
    with backup_postgres.set_aside(store, known):
        backup_postgres.load(store, data)
        _complete(store, manifest)


def _complete(store: Store, manifest: Manifest) -> None:
    """Compare what was read with the manifest, and bring it to the revision of this code.

    Raises
    ------
    StoreError
        If it is not what was backed up.
    """
    with store.read() as connection:
        found = _manifest(connection, manifest.database)
    wrong = [
        f"table {name} has {found.rows.get(name, 0)} rows, not {number}"
        for name, number in manifest.rows.items()
        if found.rows.get(name) != number
    ]
    # Another version of the code may count other columns.
    if found.checksum_kind == manifest.checksum_kind:
        wrong += [
            f"dataset {name!r} has another checksum"
            for name, value in manifest.checksums.items()
            if found.checksums.get(name) != value
        ]
    if wrong:
        msg = f"the back-up does not hold what its manifest says ({'; '.join(wrong[:3])})"
        raise StoreError(msg, wrong=wrong)
    store.upgrade()


def _manifest(connection: Connection, database: str) -> Manifest:
    names = set(inspect(connection).get_table_names()) & {*metadata.tables, _REVISION_TABLE}
    rows = {
        name: connection.execute(select(func.count()).select_from(table(name))).scalar_one()
        for name in sorted(names)
    }
    stored = table(_REVISION_TABLE, column("version_num"))
    revision = str(connection.execute(select(stored.c.version_num)).scalar_one())
    # Columns of another revision may be others; names of datasets are as old as the tables.
    current = revision == SCHEMA_REVISION
    datasets = connection.execute(text("SELECT id, description FROM dataset ORDER BY id")).all()
    return Manifest(
        database=database,
        schema_name="" if database == "sqlite" else backup_postgres.schema_of(connection),
        revision=revision,
        version=__version__,
        made=now().isoformat(timespec="seconds"),
        rows=rows,
        checksums={
            row.description: checksum.checksum_of_view(connection, row.id) if current else None
            for row in datasets
        },
        checksum_kind=_checksum_kind() if current else "",
    )


def _checksum_kind() -> str:
    """By which rules checksums are made: those of another version may differ for equal results."""
    code = Path(checksum.__file__).read_bytes()
    return hashlib.sha256(SCHEMA_REVISION.encode() + code).hexdigest()[:16]


def _refuse_newer(revision: str, what: str) -> None:
    if revision > SCHEMA_REVISION:
        msg = (
            f"{what} has schema {revision!r}, which is newer than this code's {SCHEMA_REVISION!r}: "
            "use the version of the code that made it"
        )
        raise StoreError(msg, found=revision, needed=SCHEMA_REVISION)


@contextmanager
def _unpacked(store: Store, path: Path, manifest: Manifest) -> Iterator[Path]:
    """The data of a back-up: beside the database if it is a file, where there is room for it."""
    above = Path(str(store.url.database)).parent if store.is_sqlite else None
    try:
        with tempfile.TemporaryDirectory(prefix=".restore-", dir=above) as directory:
            data = Path(directory) / manifest.data_name
            extract_data(path, manifest, data)
            yield data
    except OSError as error:
        msg = f"{one_line(str(path))} cannot be unpacked: {error}"
        raise StoreError(msg) from error


def _uri(store: Store) -> str:
    return Path(str(store.url.database)).absolute().as_uri()


def _forget_log(data: Path) -> None:
    """Put all of a file into it that a connection may have left beside it."""
    with closing(sqlite3.connect(data)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    for suffix in ("-wal", "-shm"):
        Path(f"{data}{suffix}").unlink(missing_ok=True)

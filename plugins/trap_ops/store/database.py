"""The connection to the results database: transactions, ids, schema. SQLite and PostgreSQL."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import (
    Connection,
    Engine,
    Table,
    create_engine,
    event,
    func,
    insert,
    inspect,
    select,
    text,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DataError,
    IntegrityError,
    InterfaceError,
    OperationalError,
)

from trap_ops.errors import ConfigError, StoreError, StoreUnavailable
from trap_ops.store.schema import (
    CLASSIC_REVISION,
    REJECT_REASONS,
    metadata,
    rejectreason,
    version,
)

# The migration that the code was written for; store/migrations/versions has it as its last.
SCHEMA_REVISION = "0008"
# How long a writer waits for another one on SQLite.
_BUSY_TIMEOUT_S = 60.0
# Numbers of PostgreSQL's advisory locks, which all programs on a database share: "TRaP" and one.
_TURN_OF_SCHEMA = 0x5452615001
TURN_OF_PLANNING = 0x5452615002
# PostgreSQL is told to give a session up whose host has lost the network, and one that has stopped
# in the middle of a transaction: what it has locked is wanted by whoever goes on in its place.
_SESSION = {
    "tcp_keepalives_idle": "15",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "30s",
    "idle_in_transaction_session_timeout": "30min",
}
# And this side gives up a server that it has lost.
_CONNECTION = {
    "connect_timeout": 10,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}


class Store:
    """The results database.

    Parameters
    ----------
    url : str
        ``sqlite:////path/file.db`` or ``postgresql://user:password@host:port/database``.

    Notes
    -----
    Make one in the process that uses it: a connection must not be inherited by a forked process.
    """

    def __init__(self, url: str) -> None:
        self.url = _driver_url(database_url(url))
        self.engine = _make_engine(self.url)
        self._check: Callable[[Connection], None] | None = None

    @property
    def safe_url(self) -> str:
        """The URL for messages and logs: without the password, and options may hold another."""
        return self.url.set(query={}).render_as_string(hide_password=True)

    @property
    def is_sqlite(self) -> bool:
        """Whether the database is an SQLite file."""
        return self.url.get_backend_name() == "sqlite"

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent view of the database; nothing that is written through it is kept.

        Raises
        ------
        StoreUnavailable
            If the database cannot be reached or is busy.
        """
        with self._errors_named(), self.engine.connect() as connection:
            if not self.is_sqlite:
                connection.execution_options(isolation_level="REPEATABLE READ")
            yield connection
            connection.rollback()

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction: all of it is kept, or, after any exception, nothing.

        Raises
        ------
        StoreUnavailable
            If the database cannot be reached or is busy.
        StoreError
            If a constraint of the schema refuses what is written.
        """
        with self._transaction() as connection:
            if self._check is not None:
                self._check(connection)
            yield connection

    @contextmanager
    def checked(self, check: Callable[[Connection], None]) -> Iterator[None]:
        """Begin every transaction that writes with a check, which may refuse it."""
        self._check = check
        try:
            yield
        finally:
            self._check = None

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with self._errors_named(), self.engine.connect() as connection:
            # SQLite: take the write lock now; later the wait for it could not be repeated.
            connection.execution_options(trap_write=True)
            with connection.begin():
                yield connection

    @contextmanager
    def outside_transactions(self) -> Iterator[Connection]:
        """Each statement stands for itself, as those for the upkeep of PostgreSQL must.

        Raises
        ------
        StoreUnavailable
            If the database cannot be reached or is busy.
        """
        with self._errors_named(), self.engine.connect() as connection:
            yield connection.execution_options(isolation_level="AUTOCOMMIT")

    def allocate(self, connection: Connection, table: Table, count: int) -> npt.NDArray[np.int64]:
        """Return new ids, (count,), that no other process gets.

        Ids of a transaction that fails may be lost, so there are gaps; nothing depends on them.
        On PostgreSQL they are taken in a transaction of their own: the counter's row stays locked
        until its transaction ends, and other workers need it meanwhile.
        """
        if count == 0:
            return np.empty(0, dtype=np.int64)
        if count < 0:  # The counter would go back, and give ids that there are already.
            msg = f"{count} new ids of table {table.name} are asked for"
            raise ValueError(msg)
        statement = text(
            "INSERT INTO idblock (table_name, next_id) VALUES (:name, 1 + :count) "
            "ON CONFLICT (table_name) DO UPDATE SET next_id = idblock.next_id + :count "
            "RETURNING next_id"
        )
        parameters = {"name": table.name, "count": count}
        if self.is_sqlite:
            after = connection.execute(statement, parameters).scalar_one()
        else:
            with self._transaction() as own:
                after = own.execute(statement, parameters).scalar_one()
        return np.arange(after - count, after, dtype=np.int64)

    def wait_turn(self, connection: Connection, turn: int) -> None:
        """Wait until no other transaction has this turn, and keep it until this one ends.

        For what a constraint would refuse to all but the first of several that start together. On
        SQLite every transaction that writes waits for the others anyway.
        """
        if not self.is_sqlite:
            connection.execute(select(func.pg_advisory_xact_lock(turn)))

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def prepare(self) -> None:
        """Create the schema in an empty database; check its revision in any other."""
        self.make_directory()
        if self.revision() is None:
            self.upgrade()
        self.check()

    def make_directory(self) -> None:
        """Make the directory that an SQLite file is to be in."""
        if self.is_sqlite and not in_memory(self.url):
            Path(str(self.url.database)).parent.mkdir(parents=True, exist_ok=True)

    def check(self) -> None:
        """Check that the database has the schema of this code.

        Raises
        ------
        StoreError
            If it is empty, or of another revision; the message says what to do.
        """
        if self.is_sqlite and not Path(str(self.url.database)).exists():
            msg = f"there are no results yet: {self.safe_url} does not exist; is TRAP_DB right?"
            raise StoreError(msg)
        found = self.revision()
        if found is None:
            msg = f"there are no results yet: the database {self.safe_url} is empty"
            raise StoreError(msg)
        if found != SCHEMA_REVISION:
            msg = (
                f"the database {self.safe_url} has schema {found!r}, this code needs "
                f"{SCHEMA_REVISION!r}; back it up, then run `trap-manage initdb`, or use the "
                "version of the code that made it"
            )
            raise StoreError(msg, found=found, needed=SCHEMA_REVISION)

    def revision(self) -> str | None:
        """Return the revision of the schema, None in a database without our tables.

        Raises
        ------
        StoreError
            If there are tables of another origin, e.g. of the classic TraP.
        """
        with self.read() as connection:
            names = inspect(connection).get_table_names()
            if "alembic_version" in names:
                found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
                return None if found is None else str(found)
        ours = sorted(set(names) & set(metadata.tables))
        if ours:
            msg = (
                f"the database {self.safe_url} already holds tables that this pipeline did not "
                f"make ({', '.join(ours[:5])}); use an empty database"
            )
            raise StoreError(msg, tables=ours)
        return None

    def upgrade(self) -> None:
        """Bring the schema to the revision of this code, from nothing or from an older one."""
        from alembic import command  # noqa: PLC0415 - slow to import, rarely needed
        from alembic.config import Config  # noqa: PLC0415

        config = Config()
        migrations = str(Path(__file__).parent / "migrations")
        config.set_main_option("script_location", migrations.replace("%", "%%"))
        with self.write() as connection:
            # alembic reads the revision after this: who waited finds the schema made.
            self.wait_turn(connection, _TURN_OF_SCHEMA)
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            _fill_fixed_tables(connection)

    @contextmanager
    def _errors_named(self) -> Iterator[None]:
        # COPY goes past SQLAlchemy, so the driver's own errors are met too.
        driver = self.engine.dialect.loaded_dbapi
        try:
            yield
        except (IntegrityError, DataError, driver.IntegrityError, driver.DataError) as error:
            msg = f"the results database refuses a row: {getattr(error, 'orig', error)}"
            raise StoreError(msg) from error
        except (
            OperationalError,
            InterfaceError,
            driver.OperationalError,
            driver.InterfaceError,
        ) as error:
            reason = str(getattr(error, "orig", error)).strip()
            if "no such table" in reason or "no such column" in reason:
                raise self._unfit(reason) from error
            raise self._away(reason) from error
        except (DatabaseError, driver.DatabaseError) as error:
            original = getattr(error, "orig", error)
            reason = str(original).strip()
            # psycopg2 has no better word, and no code of the server, where a connection broke off.
            if not self.is_sqlite and getattr(original, "pgcode", None) is None:
                raise self._away(reason) from error
            raise self._unfit(reason) from error

    def _away(self, reason: str) -> StoreUnavailable:
        msg = (
            f"the results database {self.safe_url} cannot be used now ({reason}); check that "
            "it is running and reachable from this host, and TRAP_DB or the connection "
            "trap_store"
        )
        return StoreUnavailable(msg)

    def _unfit(self, reason: str) -> StoreError:
        msg = (
            f"the database {self.safe_url} is not what this code expects ({reason}); is TRAP_DB or "
            "the connection trap_store right? `trap-manage initdb` makes the tables"
        )
        return StoreError(msg)


def url_of_connection(
    conn_type: str,
    host: str | None,
    port: int | None,
    login: str | None,
    password: str | None,
    schema: str | None,
    extra: Mapping[str, Any],
) -> str:
    """Return the database URL that the fields of an Airflow connection describe.

    Raises
    ------
    StoreError
        If they describe neither SQLite nor PostgreSQL.
    """
    if conn_type == "sqlite":
        return URL.create("sqlite", database=host or schema or "").render_as_string()
    if conn_type not in {"postgres", "postgresql"}:
        msg = (
            f"the connection trap_store is of type {conn_type!r}; results are kept in SQLite or "
            "PostgreSQL: set TRAP_DB, or AIRFLOW_CONN_TRAP_STORE=postgresql://user:password@host/db"
        )
        raise StoreError(msg, conn_type=conn_type)
    url = URL.create(
        "postgresql",
        # Without any user the URL would lose the password.
        username=login or ("" if password else None),
        password=password or None,
        host=host or None,
        port=port,
        database=schema or None,
        query={key: str(value) for key, value in extra.items()},
    )
    return url.render_as_string(hide_password=False)


def database_url(url: str, name: str = "TRAP_DB") -> URL:
    """Read the URL of a results database; user and password stand in their places afterwards.

    Parameters
    ----------
    url : str
    name : str
        The variable that it comes from, for messages.

    Raises
    ------
    ConfigError
        If it is none, or not of SQLite or PostgreSQL. The message does not show the URL, which may
        hold a password.
    """
    form = "sqlite:////path/file.db or postgresql://user:password@host:5432/database"
    codes = "special characters of the password as codes: '@' as %40, '/' as %2F, '%' as %25"
    try:
        parsed = make_url(url.replace("postgres://", "postgresql://", 1))
    except (ArgumentError, ValueError):
        msg = f"{name} is not a database URL; write {form}, {codes}"
        raise ConfigError(msg) from None  # What is no port number may be a piece of the password.
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        return parsed
    if backend != "postgresql":
        msg = f"results are kept in SQLite or PostgreSQL, not in {backend}; set {name} to {form}"
        raise ConfigError(msg, backend=backend)
    if "@" in f"{parsed.host}{parsed.database}":
        msg = f"{name} has an '@' too many; write {codes}"
        raise ConfigError(msg)
    return _with_login_in_place(parsed)


def in_memory(url: URL) -> bool:
    """Whether an SQLite database lives in one process only, without a file."""
    return url.database in {None, "", ":memory:"}


def _with_login_in_place(url: URL) -> URL:
    """Move user and password from the options of a URL, where they count too, to before the host.

    There everybody knows the password for one, and hides it.
    """
    given = {key: url.normalized_query[key][-1] for key in ("user", "password") if key in url.query}
    if not given:
        return url
    return url.difference_update_query(given).set(
        # Without any user the URL would lose the password.
        username=given.get("user", url.username or ""),
        password=given.get("password", url.password),
    )


def _driver_url(url: URL) -> URL:
    return url if url.get_backend_name() == "sqlite" else url.set(drivername="postgresql+psycopg2")


def _make_engine(url: URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        return _postgres_engine(url)
    engine = create_engine(url, connect_args={"timeout": _BUSY_TIMEOUT_S})

    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _record: object) -> None:  # noqa: ANN401 - DBAPI connection
        # The driver must not begin transactions on its own: see _on_begin.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA foreign_keys = ON")
        _use_write_ahead_log(cursor)
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.execute("PRAGMA temp_store = MEMORY")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        writing = connection.get_execution_options().get("trap_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    return engine


def _postgres_engine(url: URL) -> Engine:
    """An engine whose connections end where the network has been lost, on both sides."""
    own = {name: value for name, value in _CONNECTION.items() if name not in url.query}
    # A server that was started again has ended them all, unnoticed until they are used.
    engine = create_engine(url, connect_args=own, pool_pre_ping=True)

    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _record: object) -> None:  # noqa: ANN401 - DBAPI connection
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT set_config(name, value, false) FROM unnest(%s, %s) AS s (name, value)",
                (list(_SESSION), list(_SESSION.values())),
            )
        connection.commit()

    return engine


def _use_write_ahead_log(cursor: Any) -> None:  # noqa: ANN401 - DBAPI cursor
    """Let readers go on while somebody writes.

    While another connection makes this switch in a new file SQLite refuses it at once, whatever its
    time to wait is.
    """
    until = time.monotonic() + _BUSY_TIMEOUT_S
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return


def _fill_fixed_tables(connection: Connection) -> None:
    if connection.execute(select(func.count()).select_from(version)).scalar_one() == 0:
        connection.execute(insert(version).values(name="revision", value=CLASSIC_REVISION))
    known = set(connection.execute(select(rejectreason.c.id)).scalars())
    for number, description in REJECT_REASONS.items():
        if number not in known:
            connection.execute(insert(rejectreason).values(id=int(number), description=description))

"""Back-up of a results database on PostgreSQL, by its own tools pg_dump and pg_restore."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, bindparam, inspect, text

from trap_ops.errors import ConfigError, StoreError
from trap_ops.store.database import Store

# Where the tables wait that a restore replaces, until it has succeeded.
_ASIDE = "trap_before_restore"
# What the options of an address are in the environment of PostgreSQL's programs.
_VARIABLES = {
    "host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "dbname": "PGDATABASE",
    "hostaddr": "PGHOSTADDR", "passfile": "PGPASSFILE", "service": "PGSERVICE",
    "options": "PGOPTIONS", "application_name": "PGAPPNAME", "sslmode": "PGSSLMODE",
    "sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY", "sslrootcert": "PGSSLROOTCERT",
    "sslcrl": "PGSSLCRL", "connect_timeout": "PGCONNECT_TIMEOUT", "gssencmode": "PGGSSENCMODE",
    "channel_binding": "PGCHANNELBINDING", "target_session_attrs": "PGTARGETSESSIONATTRS",
}  # fmt: skip


def check_tools(store: Store, *names: str) -> None:
    """See that PostgreSQL's programs are there, and not older than the server.

    Raises
    ------
    ConfigError
        If one is not.
    """
    with store.read() as connection:
        server = int(connection.execute(text("SHOW server_version_num")).scalar_one()) // 10000
    for name in names:
        found = shutil.which(name)
        version = _version(found) if found else 0
        if version < server:
            has = f"the one here is of version {version}" if found else "it is not on the PATH"
            msg = (
                f"{name} of PostgreSQL {server} or newer is needed, and {has}: install it "
                f"(Debian: postgresql-client-{server})"
            )
            raise ConfigError(msg, server=server, found=version)


def dump(store: Store, connection: Connection, tables: Sequence[str], target: Path) -> None:
    """Write the tables into a file, as a transaction sees them.

    Raises
    ------
    StoreError
        If pg_dump fails.
    """
    snapshot = connection.execute(text("SELECT pg_export_snapshot()")).scalar_one()
    schema = schema_of(connection)
    words = [f'--table="{schema}"."{name}"' for name in tables]
    options = ["--format=custom", "--no-owner", "--no-acl", f"--snapshot={snapshot}"]
    _call(store, ["pg_dump", *options, f"--file={target}", *words])


def schema_of(connection: Connection) -> str:
    """The schema that the tables of this connection are in."""
    return str(connection.execute(text("SELECT current_schema()")).scalar_one())


def load(store: Store, source: Path) -> None:
    """Read the tables of a file, all of them or none.

    Raises
    ------
    StoreError
        If pg_restore fails.
    """
    options = ["--single-transaction", "--exit-on-error", "--no-owner", "--no-acl"]
    _call(store, ["pg_restore", *options, f"--dbname={store.url.database}", str(source)])


@contextmanager
def set_aside(store: Store, tables: Sequence[str]) -> Iterator[None]:
    """Let the database be without its tables; after an exception they are there again.

    Raises
    ------
    StoreError
        If something else depends on them, or an earlier restore was killed.
    """
    with store.write() as connection:
        schema = schema_of(connection)
        _refuse_leftovers(store, connection)
        ours = _present(connection, tables)
        if ours:
            _refuse_views(connection, schema, ours)
        connection.execute(text(f"CREATE SCHEMA {_ASIDE}"))
        for name in ours:
            connection.execute(text(f'ALTER TABLE "{schema}"."{name}" SET SCHEMA {_ASIDE}'))
    try:
        yield
    except BaseException:
        with store.write() as connection:
            for name in _present(connection, tables):
                connection.execute(text(f'DROP TABLE "{schema}"."{name}" CASCADE'))
            for name in ours:
                connection.execute(text(f'ALTER TABLE {_ASIDE}."{name}" SET SCHEMA "{schema}"'))
            connection.execute(text(f"DROP SCHEMA {_ASIDE}"))
        raise
    with store.write() as connection:
        connection.execute(text(f"DROP SCHEMA {_ASIDE} CASCADE"))


def _present(connection: Connection, tables: Sequence[str]) -> list[str]:
    return sorted(set(inspect(connection).get_table_names()) & set(tables))


def _refuse_leftovers(store: Store, connection: Connection) -> None:
    if _ASIDE in inspect(connection).get_schema_names():
        msg = (
            f"{store.safe_url} has a schema {_ASIDE}, because an earlier restore was killed: the "
            "tables as they were before it are there; move them back, or drop that schema, first"
        )
        raise StoreError(msg)


def _refuse_views(connection: Connection, schema: str, tables: Sequence[str]) -> None:
    query = text(
        "SELECT DISTINCT view_schema || '.' || view_name FROM information_schema.view_table_usage "
        "WHERE table_schema = :schema AND table_name IN :tables ORDER BY 1"
    ).bindparams(bindparam("tables", expanding=True))
    views = list(connection.execute(query, {"schema": schema, "tables": list(tables)}).scalars())
    if views:
        msg = (
            f"views depend on the tables that would be replaced ({', '.join(views)}); keep their "
            "text, drop them, and make them again after the restore"
        )
        raise StoreError(msg, views=views)


def _call(store: Store, words: list[str]) -> None:
    made = subprocess.run(  # noqa: S603 - PostgreSQL's own programs, no shell
        [*words, "--no-password"],
        env=_environment(store),
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        said = made.stderr.strip()[-1000:]
        msg = f"{words[0]} failed on {store.safe_url}: {said or f'status {made.returncode}'}"
        raise StoreError(msg)


def _environment(store: Store) -> dict[str, str]:
    """The address of the database as variables: others can read the words of a command."""
    url = store.url
    given = {key: value[-1] for key, value in url.normalized_query.items()}
    given |= {
        key: str(value)
        for key, value in (
            ("host", url.host), ("port", url.port), ("user", url.username), ("dbname", url.database)
        )
        if value
    }  # fmt: skip
    made = {_VARIABLES[key]: value for key, value in given.items() if key in _VARIABLES}
    if url.password:
        made["PGPASSWORD"] = str(url.password)
    return {**os.environ, **made}


def _version(program: str) -> int:
    made = subprocess.run(  # noqa: S603 - found on the PATH by its name
        [program, "--version"], capture_output=True, text=True, check=False
    )
    found = re.search(r"(\d+)(\.\d+|devel|beta\d+|rc\d+)", made.stdout)
    return int(found[1]) if found else 0

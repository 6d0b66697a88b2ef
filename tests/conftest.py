"""What all tests share: databases of their own, and the data that a user's clone does not have."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import OperationalError

from trap_ops.store.database import Store

ROOT = Path(__file__).resolve().parents[1]
POSTGRES = os.environ.get(
    "TRAP_TEST_POSTGRES", "postgresql+psycopg2://postgres@127.0.0.1:5432/postgres"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--oracle-dir",
        type=Path,
        default=ROOT.parent / "shared" / "data",
        help="directory with oracle_*.json and images/ (not part of a user's clone)",
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that start Airflow: at the end one process would wait for them alone."""
    items.sort(key=lambda item: item.get_closest_marker("airflow") is None)


@pytest.fixture(scope="session")
def shared_data(request: pytest.FixtureRequest) -> Path:
    """Real images and oracle tables; a test that needs them skips where they are absent."""
    directory: Path = request.config.getoption("--oracle-dir")
    if not directory.is_dir():
        pytest.skip(f"no {directory}: real images and oracle tables are not part of a clone")
    return directory


def _postgres_or_skip() -> None:
    try:
        create_engine(POSTGRES).connect().close()
    except OperationalError as error:
        msg = f"no PostgreSQL at {POSTGRES} (`make services` starts one): {error.orig}"
        if os.environ.get("CI"):
            pytest.fail(msg)
        pytest.skip(msg)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file with the schema: a copy is quicker than migrating."""
    path = tmp_path_factory.mktemp("template") / "results.db"
    store = Store(f"sqlite:///{path}")
    store.prepare()
    store.close()
    return path


@pytest.fixture(scope="session")
def postgres_template() -> Iterator[str]:
    """Name of a PostgreSQL database with the schema."""
    _postgres_or_skip()
    with postgres_database() as url:
        store = Store(url)
        store.prepare()
        store.close()
        yield str(make_url(url).database)


@contextmanager
def postgres_database(template: str = "template1") -> Iterator[str]:
    """A PostgreSQL database of its own, dropped afterwards."""
    name = f"trap_test_{uuid.uuid4().hex[:12]}"
    admin = create_engine(POSTGRES, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'))
    try:
        yield admin.url.set(database=name).render_as_string(hide_password=False)
    finally:
        with admin.connect() as connection:
            connection.execute(text(f'DROP DATABASE "{name}" WITH (FORCE)'))
        admin.dispose()


@contextmanager
def new_store(kind: str, request: pytest.FixtureRequest, directory: Path) -> Iterator[Store]:
    """A results database with the schema."""
    if kind == "sqlite":
        path = directory / f"{uuid.uuid4().hex}.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        store = Store(f"sqlite:///{path}")
        yield store
        store.close()
        return
    with postgres_database(request.getfixturevalue("postgres_template")) as url:
        store = Store(url)
        yield store
        store.close()


BOTH_DATABASES = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]


@pytest.fixture(params=BOTH_DATABASES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A results database with the schema, on SQLite and on PostgreSQL."""
    with new_store(request.param, request, tmp_path) as store:
        yield store


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """URL of an SQLite database that does not exist yet."""
    return f"sqlite:///{tmp_path / 'results.db'}"


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """URL of an empty PostgreSQL database."""
    _postgres_or_skip()
    with postgres_database() as url:
        yield url

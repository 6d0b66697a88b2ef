"""Bulk writes, ids and errors of the results database: the same on SQLite and PostgreSQL."""

from __future__ import annotations

import math
import multiprocessing
import shutil
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Column, MetaData, Table, insert, select, text
from sqlalchemy.types import Boolean, DateTime, Double, Integer, LargeBinary, String

from conftest import BOTH_DATABASES, new_store
from trap_ops.errors import ConfigError, StoreError, StoreUnavailable
from trap_ops.store import database
from trap_ops.store.database import SCHEMA_REVISION, Store, url_of_connection
from trap_ops.store.rows import fetch_columns, floats, id_list, insert_rows, integers, update_rows
from trap_ops.store.schema import metadata, rejectreason, version

SAMPLE = Table(
    "sample",
    MetaData(),
    Column("id", Integer(), primary_key=True),
    Column("flux", Double()),
    Column("name", String(100)),
    Column("start", DateTime()),
    Column("good", Boolean()),
    Column("data", LargeBinary()),
    Column("parent", Integer()),
)


@pytest.fixture
def sample(store: Store) -> Table:
    """An empty table with a column of every kind."""
    with store.write() as connection:
        SAMPLE.create(connection)
    return SAMPLE


def _all(store: Store, table: Table) -> dict[str, list[Any]]:
    with store.read() as connection:
        return fetch_columns(connection, select(table).order_by(table.c.id))


AWKWARD = ["", "tab\tnewline\nreturn\r", "\\N", "back\\slash\\", "ünïcode ☄", "quote ' \" ; --"]


def test_what_is_written_in_bulk_is_read_back(store: Store, sample: Table) -> None:
    n = len(AWKWARD)
    flux = np.array([0.1, -1e-300, 1e300, np.pi, np.nan, -0.0])
    columns: dict[str, Any] = {
        "id": np.arange(n),
        "flux": flux,
        "name": AWKWARD,
        "start": [datetime(2024, 1, 1, 0, 0, i, 250_000 * (i % 2)) for i in range(n)],
        "good": np.arange(n) % 2 == 0,
        "data": [bytes([i, 0, 255, 92, 10, 9]) for i in range(n)],
        "parent": 7,
    }
    with store.write() as connection:
        assert insert_rows(connection, sample, columns) == n

    read = _all(store, sample)
    assert read["id"] == list(range(n))
    np.testing.assert_array_equal(floats(read["flux"]), flux)
    assert read["flux"][4] is None
    assert read["name"] == AWKWARD
    assert read["start"] == columns["start"]
    assert read["good"] == [True, False, True, False, True, False]
    assert [bytes(value) for value in read["data"]] == columns["data"]
    assert read["parent"] == [7] * n


def test_infinities_and_numpy_scalars_are_values_like_others(store: Store, sample: Table) -> None:
    flux = [np.float64(1.5), math.inf, -math.inf, None, float("nan")]
    with store.write() as connection:
        insert_rows(connection, sample, {"id": np.arange(5), "flux": flux})
    assert _all(store, sample)["flux"] == [1.5, math.inf, -math.inf, None, None]


def test_columns_of_different_length_are_refused(store: Store, sample: Table) -> None:
    with (
        pytest.raises(ValueError, match="different length"),
        store.write() as connection,
    ):
        insert_rows(connection, sample, {"id": [1, 2], "flux": [0.0]})
    assert _all(store, sample)["id"] == []


def test_no_rows_is_no_work(store: Store, sample: Table) -> None:
    with store.write() as connection:
        assert insert_rows(connection, sample, {"id": [], "flux": np.empty(0), "parent": 3}) == 0
        assert update_rows(connection, sample, ["id"], {"id": [], "flux": []}) == 0


def test_update_changes_the_named_rows_only(store: Store, sample: Table) -> None:
    with store.write() as connection:
        insert_rows(connection, sample, {"id": np.arange(5), "flux": np.zeros(5), "name": "before"})
        changed = update_rows(
            connection, sample, ["id"], {"id": [3, 1, 99], "flux": [30.0, np.nan, 1.0]}
        )
    assert changed == 2
    read = _all(store, sample)
    assert read["flux"] == [0.0, None, 0.0, 30.0, 0.0]
    assert read["name"] == ["before"] * 5


@pytest.mark.parametrize("times", [1, 400])  # With the statement, and by a temporary table.
def test_update_keeps_every_kind_of_value(store: Store, sample: Table, times: int) -> None:
    n = times * len(AWKWARD)
    flux = [np.float64(1.5), math.inf, -math.inf, None, float("nan"), np.pi] * times
    columns: dict[str, Any] = {
        "id": np.arange(n),
        "flux": flux,
        "name": AWKWARD * times,
        "start": [datetime(2024, 1, 1, 0, 0, 0, i) for i in range(n)],
        "good": np.arange(n) % 2 == 0,
        "data": [bytes([i % 256, 0, 255, 92, 10, 9]) for i in range(n)],
        "parent": 7,
    }
    with store.write() as connection:
        insert_rows(connection, sample, {"id": np.arange(n)})
        assert update_rows(connection, sample, ["id"], columns) == n
    read = _all(store, sample)
    assert read["flux"] == [1.5, math.inf, -math.inf, None, None, np.pi] * times
    assert read["name"] == AWKWARD * times
    assert read["start"] == columns["start"]
    assert read["good"] == [True, False] * (n // 2)
    assert [bytes(value) for value in read["data"]] == columns["data"]
    assert read["parent"] == [7] * n


@pytest.mark.parametrize("step", [1000, 7, 1])
def test_a_list_of_ids_is_joined_with(store: Store, sample: Table, step: int) -> None:
    with store.write() as connection:
        insert_rows(connection, sample, {"id": np.arange(2000)})
    wanted = np.arange(0, 2000, step)
    with store.write() as connection:
        for _ in range(2):  # The temporary table must be gone before the second time.
            with id_list(connection, sample.c.id, wanted) as ids:
                query = select(sample.c.id).join(ids, ids.c.id == sample.c.id).order_by("id")
                found = fetch_columns(connection, query)["id"]
            np.testing.assert_array_equal(integers(found), wanted)


def test_an_empty_list_of_ids_finds_nothing(store: Store, sample: Table) -> None:
    with store.write() as connection:
        insert_rows(connection, sample, {"id": [1, 2]})
        with id_list(connection, sample.c.id, []) as ids:
            query = select(sample.c.id).where(sample.c.id.in_(select(ids.c.id)))
            assert fetch_columns(connection, query) == {"id": []}


def test_a_transaction_that_fails_leaves_nothing(store: Store, sample: Table) -> None:
    def half_way() -> None:
        with store.write() as connection:
            insert_rows(connection, sample, {"id": [1, 2]})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half_way()
    assert _all(store, sample)["id"] == []


def test_reading_keeps_nothing_that_is_written(store: Store, sample: Table) -> None:
    with store.read() as connection:
        connection.execute(insert(sample).values(id=1))
    assert _all(store, sample)["id"] == []


def test_reading_sees_one_state_of_the_database(store: Store, sample: Table) -> None:
    with store.read() as connection:
        before = connection.execute(select(sample.c.id)).scalars().all()
        with store.write() as other:
            insert_rows(other, sample, {"id": [1]})
        after = connection.execute(select(sample.c.id)).scalars().all()
    assert before == after == []
    assert _all(store, sample)["id"] == [1]


def test_a_row_that_the_schema_refuses_is_named(store: Store, sample: Table) -> None:
    with store.write() as connection:
        insert_rows(connection, sample, {"id": [1]})
    with pytest.raises(StoreError, match="refuses a row") as caught, store.write() as connection:
        insert_rows(connection, sample, {"id": [2, 1]})
    assert not isinstance(caught.value, StoreUnavailable), "a retry cannot help"
    assert _all(store, sample)["id"] == [1]


def test_a_text_too_long_for_its_column_is_refused(request: pytest.FixtureRequest) -> None:
    with new_store("postgres", request, Path()) as store:
        with store.write() as connection:
            SAMPLE.create(connection)
        with pytest.raises(StoreError, match="too long"), store.write() as connection:
            insert_rows(connection, SAMPLE, {"id": [1], "name": ["x" * 101]})
        with store.write() as connection:
            insert_rows(connection, SAMPLE, {"id": [1]})
        with pytest.raises(StoreError, match="too long"), store.write() as connection:
            update_rows(connection, SAMPLE, ["id"], {"id": [1], "name": ["x" * 101]})


def test_ids_are_given_once(store: Store) -> None:
    with store.write() as connection:
        first = store.allocate(connection, rejectreason, 3)
        none = store.allocate(connection, rejectreason, 0)
        second = store.allocate(connection, rejectreason, 2)
        other = store.allocate(connection, version, 1)
    assert (first.tolist(), none.tolist(), second.tolist()) == ([1, 2, 3], [], [4, 5])
    assert other.tolist() == [1]
    with (
        pytest.raises(ValueError, match="-1 new ids of table rejectreason"),
        store.write() as connection,
    ):
        store.allocate(connection, rejectreason, -1)


def _take_ids(url: str, count: int, answer: Any) -> None:
    store = Store(url)
    ids: list[int] = []
    for _ in range(count):
        with store.write() as connection:
            ids.extend(store.allocate(connection, rejectreason, 3).tolist())
    answer.put(ids)


def test_processes_at_the_same_time_get_different_ids(store: Store) -> None:
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    url = store.url.render_as_string(hide_password=False)
    workers = [context.Process(target=_take_ids, args=(url, 40, answers)) for _ in range(3)]
    for worker in workers:
        worker.start()
    ids = [i for _ in workers for i in answers.get(timeout=60)]
    for worker in workers:
        worker.join()
    assert len(ids) == len(set(ids)) == 3 * 40 * 3


def test_connections_that_open_a_new_file_together_all_may_use_it(tmp_path: Path) -> None:
    """SQLite lets one make the switch to its log, and turns the others away without waiting."""
    together = threading.Barrier(4)

    def look(number: int) -> None:
        for turn in range(40):
            store = Store(f"sqlite:///{tmp_path}/{turn}.db")
            together.wait(60)
            with store.read() as connection:
                assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal", number
            store.close()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(look, range(4))) == [None] * 4


def _prepare(url: str, together: Any, answers: Any) -> None:
    store = Store(url)
    together.wait(60)
    try:
        store.prepare()
        answers.put("prepared")
    except Exception as error:  # noqa: BLE001 - the test tells
        answers.put(str(error))
    store.close()


@pytest.mark.parametrize(
    "database", ["sqlite_url", pytest.param("postgres_url", marks=pytest.mark.postgres)]
)
def test_processes_that_find_a_database_empty_together_all_get_the_schema(
    database: str, request: pytest.FixtureRequest
) -> None:
    context = multiprocessing.get_context("spawn")
    answers, together = context.Queue(), context.Barrier(3)
    arguments = (request.getfixturevalue(database), together, answers)
    workers = [context.Process(target=_prepare, args=arguments) for _ in range(3)]
    for worker in workers:
        worker.start()
    assert [answers.get(timeout=60) for _ in workers] == ["prepared"] * 3
    for worker in workers:
        worker.join()


@pytest.mark.parametrize("kind", BOTH_DATABASES)
def test_the_migrations_lead_to_the_tables_of_the_code(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with new_store(kind, request, tmp_path) as store, store.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert context.get_current_revision() == SCHEMA_REVISION
        difference = compare_metadata(context, metadata)
    assert difference == []


def test_preparing_twice_changes_nothing(store: Store) -> None:
    with store.read() as connection:
        before = connection.execute(select(rejectreason).order_by("id")).all()
    store.prepare()
    with store.read() as connection:
        assert connection.execute(select(rejectreason).order_by("id")).all() == before
    assert before, "the reasons of the classic schema are there from the start"


def test_a_schema_of_another_revision_is_refused(store: Store) -> None:
    with store.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'later'"))
    with pytest.raises(StoreError, match=r"schema 'later', this code needs '0008'.*initdb"):
        store.prepare()


@pytest.mark.parametrize("kind", BOTH_DATABASES)
def test_tables_of_another_origin_are_left_alone(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = (
        f"sqlite:///{tmp_path / 'classic.db'}"
        if kind == "sqlite"
        else request.getfixturevalue("postgres_url")
    )
    store = Store(url)
    with store.write() as connection:
        connection.execute(text("CREATE TABLE runningcatalog (id integer)"))
        connection.execute(text("CREATE TABLE image (id integer)"))
    with pytest.raises(StoreError, match=r"did not make \(image, runningcatalog\)"):
        store.prepare()
    store.close()


def test_results_that_do_not_exist_are_said_to_not_exist(tmp_path: Path) -> None:
    path = tmp_path / "nothing.db"
    with pytest.raises(StoreError, match=r"no results yet.*nothing\.db"):
        Store(f"sqlite:///{path}").check()
    assert not path.exists()


@pytest.mark.parametrize(
    "url",
    ["postgresql://user:hunter2@127.0.0.1:9/none", "sqlite:////no/such/directory/results.db"],
)
def test_a_database_out_of_reach_is_worth_a_retry_and_keeps_its_password(url: str) -> None:
    store = Store(url)
    with pytest.raises(StoreUnavailable, match="cannot be used now") as caught:
        store.revision()
    assert "hunter2" not in str(caught.value)


def test_a_file_that_is_no_database_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "results.db"
    path.write_text("this is not a database, but a text of some length\n" * 100)
    with pytest.raises(StoreError, match="not a database"):
        Store(f"sqlite:///{path}").prepare()
    assert path.read_text().startswith("this is not"), "what was there is still there"


@pytest.mark.parametrize("url", ["nonsense", "mysql://host/db", ""])
def test_only_sqlite_and_postgresql(url: str) -> None:
    with pytest.raises(ConfigError, match=r"SQLite or PostgreSQL|not a database URL"):
        Store(url)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:hunter2@127.0.0.1:9/none",
        "postgresql://127.0.0.1:9/none?user=me&password=hunter2",
        "postgresql://127.0.0.1:9/none?password=hunter2",
        "postgresql://me:other@127.0.0.1:9/none?password=hunter2",
        "postgres://me@127.0.0.1:9/none?password=hunter2&sslmode=disable&sslpassword=other",
    ],
)
def test_a_password_is_used_and_not_shown(url: str) -> None:
    store = Store(url)
    assert store.url.password == "hunter2"  # noqa: S105 - of no account
    assert not {"user", "password"} & store.url.query.keys()
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:9/none cannot be used") as caught:
        store.revision()
    assert "hunter2" not in f"{store.safe_url} {caught.value}"
    assert "other" not in f"{store.safe_url} {caught.value}"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:pa@hunter2@h/db",
        "postgresql://me:pa@x:hunter2@h/db",
        "postgresql://me:pa@x/hunter2@h/db",
    ],
)
def test_a_password_with_special_characters_is_explained_and_not_shown(url: str) -> None:
    with pytest.raises(ConfigError, match=r"password as codes: '@' as %40") as caught:
        Store(url)
    shown = "".join(traceback.format_exception(caught.value)).split("Error: ", 1)[1]
    assert "hunter2" not in shown


@pytest.mark.parametrize("name", ["v?1", "v%202", "v 3", "v#4", "v%5"])
def test_a_directory_may_have_any_name(name: str, tmp_path: Path) -> None:
    path = tmp_path / name / "results.db"
    store = Store(url_of_connection("sqlite", str(path), None, None, None, None, {}))
    store.prepare()
    store.close()
    assert path.is_file()
    assert [item.name for item in tmp_path.iterdir()] == [name]


def test_the_code_may_be_in_a_directory_of_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = tmp_path / "50%s" / "store"
    shutil.copytree(Path(database.__file__).parent / "migrations", code / "migrations")
    monkeypatch.setattr(database, "__file__", str(code / "database.py"))
    store = Store(f"sqlite:///{tmp_path / 'results.db'}")
    store.prepare()
    store.close()


def test_fields_of_a_connection_become_a_url() -> None:
    def url(conn_type: str, **fields: Any) -> str:
        empty = dict.fromkeys(("host", "port", "login", "password", "schema"))
        return url_of_connection(conn_type, **{**empty, "extra": {}, **fields})

    awkward = url(
        "postgres",
        host="db.example.org",
        port=5433,
        login="me",
        password="p@ss/word:%",  # noqa: S106 - of no account
        schema="results",
        extra={"sslmode": "require"},
    )
    parsed = Store(awkward).url
    assert (parsed.username, parsed.password) == ("me", "p@ss/word:%")
    assert (parsed.host, parsed.port, parsed.database) == ("db.example.org", 5433, "results")
    assert dict(parsed.query) == {"sslmode": "require"}
    assert url("sqlite", host="/data/results.db") == "sqlite:////data/results.db"
    with pytest.raises(StoreError, match="of type 'mysql'"):
        url("mysql", host="x")

"""What keeps the tables quick."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text

from conftest import new_store
from trap_ops.store.database import Store
from trap_ops.store.rows import insert_rows
from trap_ops.store.schema import rejectreason
from trap_ops.store.upkeep import tidy


@pytest.fixture
def store(request: pytest.FixtureRequest) -> Store:
    with new_store("postgres", request, Path()) as store:
        yield store


def add(store: Store, begin: int, end: int) -> None:
    with store.write() as connection:
        ids = np.arange(begin, end)
        insert_rows(connection, rejectreason, {"id": ids, "description": "a reason"})
        # The counts are kept by each connection, and told once a second at most.
        connection.execute(text("SELECT pg_stat_force_next_flush()"))


def known_rows(store: Store) -> float:
    with store.read() as connection:
        query = text("SELECT reltuples FROM pg_class WHERE oid = 'rejectreason'::regclass")
        return float(connection.execute(query).scalar_one())


def test_a_table_is_analysed_when_much_of_it_is_new(store: Store) -> None:
    assert tidy(store) == []
    add(store, 1000, 1900)
    assert tidy(store) == [], "too few to matter"
    add(store, 2000, 4000)
    assert tidy(store) == ["rejectreason"]
    known = known_rows(store)
    assert 2900 <= known <= 3000
    assert tidy(store) == [], "nothing has changed since"
    add(store, 5000, 5100)
    assert tidy(store) == []
    assert known_rows(store) == known


def test_dead_rows_are_taken_away(store: Store) -> None:
    add(store, 1000, 21000)
    tidy(store)
    with store.write() as connection:
        connection.execute(text("DELETE FROM rejectreason WHERE id BETWEEN 1000 AND 3100"))
        connection.execute(text("SELECT pg_stat_force_next_flush()"))
    assert tidy(store) == ["rejectreason"]
    with store.read() as connection:
        query = text("SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'rejectreason'")
        assert connection.execute(query).scalar_one() == 0


def test_a_restored_table_is_analysed(store: Store) -> None:
    """Its rows came while nobody counted."""
    add(store, 1000, 6000)
    with store.write() as connection:
        connection.execute(text("SELECT pg_stat_reset()"))
    assert known_rows(store) <= 0
    assert tidy(store) == ["rejectreason"]
    assert known_rows(store) >= 5000


def test_a_table_at_which_another_one_is_does_not_stop_it(store: Store) -> None:
    add(store, 1000, 4000)
    with store.write() as connection:
        connection.execute(text("LOCK TABLE rejectreason IN SHARE UPDATE EXCLUSIVE MODE"))
        assert tidy(store) == ["rejectreason"]
    assert known_rows(store) <= 0


def test_a_database_that_is_gone_is_no_failure_of_the_stage(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    url = store.url.set(port=1)
    assert tidy(Store(url.render_as_string(hide_password=False))) == []
    assert "were not tidied" in caplog.text


def test_sqlite_needs_none(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/empty.db")
    assert tidy(store) == []
    assert not (tmp_path / "empty.db").exists()

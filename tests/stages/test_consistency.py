"""Results of fresh runs keep all invariants; each fault is found, and named, by its invariant."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text

from conftest import new_store
from stages.conftest import Run
from stages.consistent_night import FAULTS, Fault, make_night
from stages.made_images import Observatory, random_images
from trap_ops.records.runs import MonitorPosition
from trap_ops.store import runs
from trap_ops.store.consistency import Consistency, check_datasets
from trap_ops.store.database import Store
from trap_ops.store.datasets import dataset_id
from trap_ops.store.invariants import INVARIANTS, Scope
from trap_ops.store.schema import runningcatalog


def only(store: Store, name: str = "night") -> Consistency:
    (found,) = check_datasets(store, [name])
    return found


def broken_by(store: Store, fault: Fault) -> tuple[set[str], set[str]]:
    """Invariants of both datasets that a fault breaks; nothing of it stays."""
    off = "PRAGMA foreign_keys = OFF" if store.is_sqlite else "SET session_replication_role=replica"
    with store.engine.connect() as connection:
        connection.connection.cursor().execute(off)
        changed = [connection.execute(text(part)).rowcount for part in fault.sql.split(";")]
        assert max(changed) > 0
        found: list[set[str]] = []
        for name in ("night", "other"):
            scope = Scope(connection, dataset_id(connection, name))
            checked = {item.name: item.check(scope) for item in INVARIANTS}
            assert all(bool(item.number) == bool(item.named) for item in checked.values())
            found.append({name for name, item in checked.items() if item.number})
        connection.rollback()
        connection.invalidate()
    return found[0], found[1]


def test_every_invariant_has_a_fault() -> None:
    names = [item.name for item in INVARIANTS]
    assert [fault.invariant for fault in FAULTS] == names
    assert len(set(names)) == len(names)
    assert len({item.description for item in INVARIANTS}) == len(names)


def test_a_finished_night_keeps_them_all(night: Store) -> None:
    found, other = check_datasets(night)
    assert (found.dataset, other.dataset) == ("night", "other")
    for item in (found, other):
        assert (item.broken, item.unfinished, item.checked) == ([], "", len(INVARIANTS))
    assert found.rows > other.rows > 0


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.invariant)
def test_a_fault_is_found_and_named(finished: Store, fault: Fault) -> None:
    here, other = broken_by(finished, fault)
    assert here == {fault.invariant} | fault.also
    assert other == ({"next-ids"} & here)


@pytest.mark.postgres
def test_faults_are_found_on_postgresql(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with new_store("postgres", request, tmp_path) as store:
        make_night(store, tmp_path, monkeypatch)
        assert only(store).broken == []
        for fault in FAULTS[::6]:
            here, other = broken_by(store, fault)
            assert here == {fault.invariant} | fault.also
            # The counters of ids are shared.
            assert other == ({"next-ids"} & here)


def test_blocks_of_any_size_find_the_same(night: Store) -> None:
    with night.write() as connection:
        connection.execute(text("UPDATE runningcatalog SET x = x + 1e-9, avg_ra_err = 1"))
        connection.execute(text("UPDATE runningcatalog_flux SET wm2_int = wm2_int + 1"))
        connection.execute(text("UPDATE extractedsource SET x = x + 1e-9"))
        connection.execute(text("UPDATE varmetric SET lightcurve_median = lightcurve_median + 1"))
    with night.read() as connection:
        number = dataset_id(connection, "night")
        counts = [
            [item.check(Scope(connection, number, rows)).number for item in INVARIANTS]
            for rows in (1, 40, 10**6)
        ]
    assert counts[0] == counts[1] == counts[2]
    assert sum(count > 5 for count in counts[0]) >= 5


def test_fresh_runs_keep_them_all(
    store: Store, easy: list[Path], hard: list[Path], run: Run
) -> None:
    run(store, easy[:3], "easy")
    run(store, easy, "easy")
    run(store, hard, "hard", monitor=[MonitorPosition(123.0, 35.0, "centre")])
    for item in check_datasets(store):
        assert (item.broken, item.unfinished) == ([], "")


@pytest.mark.parametrize(
    "seed", [3, *(pytest.param(n, marks=pytest.mark.long) for n in range(30, 50))]
)
def test_series_of_any_kind_keep_them_all(
    seed: int, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = [
        {}, {"expiration": 2}, {"backward": False}, {"backward_max_images": 2}, {"forward": False},
    ][seed % 5]  # fmt: skip
    images = random_images(seed, 6)
    with new_store("sqlite", request, tmp_path) as store:
        observatory = Observatory(
            store,
            tmp_path,
            monkeypatch,
            settings={"forced_fits": settings},
            monitor=[MonitorPosition(0.05, 10.0, "in most")],
        )
        for piece in (images[::2], images[1::2]):
            observatory.run("night", piece)
            assert only(store).broken == []


def test_what_holds_between_runs_is_left_out_of_an_unfinished_dataset(night: Store) -> None:
    with night.write() as connection:
        connection.execute(text("UPDATE assocxtrsource SET pending = true"))
        connection.execute(text("UPDATE runningcatalog SET inactive = true"))
        last = runs.latest_run(connection, dataset_id(connection, "night"))
        record = runs.find_run(connection, last)
        runs.set_state(connection, record.id, runs.FAILED, "for this test")
    found = only(night)
    assert last in found.unfinished
    assert "failed" in found.unfinished
    assert [item.invariant.name for item in found.broken] == ["no-inactive-sources"]
    assert found.broken[0].breaches.number == _count(night)
    assert found.checked == sum(not item.when_finished for item in INVARIANTS)
    with night.write() as connection:
        runs.take_lock(connection, record)
    assert only(night).unfinished == f"run {last} has the dataset (failed)"


def _count(store: Store) -> int:
    with store.read() as connection:
        number = dataset_id(connection, "night")
        query = runningcatalog.select().where(runningcatalog.c.dataset == number)
        return len(connection.execute(query).all())

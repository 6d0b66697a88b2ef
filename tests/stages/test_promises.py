"""What must always hold: how a run was made never changes its results (DESIGN.md section 1).

A series in which everything that could matter is there is in ``test_forty_images`` and
``test_kills``.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, func, select

from conftest import new_store
from stages.conftest import Run, checksum, counts
from trap_ops.records.runs import MonitorPosition
from trap_ops.store.database import Store
from trap_ops.store.schema import (
    extractedsource,
    forcedfit,
    image,
    runningcatalog,
)

MONITOR = [MonitorPosition(123.01, 35.02), MonitorPosition(200.0, -30.0, "far away")]


@pytest.fixture
def two_stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Store, Store]]:
    with (
        new_store("sqlite", request, tmp_path) as first,
        new_store("sqlite", request, tmp_path) as second,
    ):
        yield first, second


@pytest.mark.parametrize("tasks", [3, pytest.param(14, marks=pytest.mark.slow)])
def test_number_of_batches_changes_nothing(
    two_stores: tuple[Store, Store], hard: list[Path], run: Run, tasks: int
) -> None:
    one, many = two_stores
    single = run(one, hard, overrides={"execution": {"parallel_tasks": 1}})
    several = run(many, hard, overrides={"execution": {"parallel_tasks": tasks}})
    assert len([r for r in single if r.stage == "extract_sources"]) == 1
    assert len([r for r in several if r.stage == "extract_sources"]) == tasks
    assert checksum(one) == checksum(many)


def test_running_again_changes_nothing(store: Store, hard: list[Path], run: Run) -> None:
    run(store, hard, monitor=MONITOR)
    before = checksum(store)
    again = run(store, hard, monitor=MONITOR)
    assert checksum(store) == before
    assert counts(again, "register_images")["images registered"] == 0
    for stage, work in (
        ("measure_quality", "images measured"),
        ("extract_sources", "images"),
        ("associate", "images"),
        ("fit_forced", "images"),
        ("measure_variability", "points"),
    ):
        assert work not in counts(again, stage), stage


def test_appending_in_time_order_equals_one_run(
    two_stores: tuple[Store, Store], hard: list[Path], run: Run
) -> None:
    batch, nightly = two_stores
    run(batch, hard, monitor=MONITOR)
    for piece in (hard[:4], hard[4:6], hard[6:]):
        run(nightly, piece, monitor=MONITOR)
    assert checksum(batch) == checksum(nightly)


def test_late_image_keeps_forced_fits_and_ids(store: Store, easy: list[Path], run: Run) -> None:
    """What a late image does not touch is not measured again, and sources keep their ids."""
    run(store, [path for path in easy if path != easy[2]])
    ids = select(runningcatalog.c.source_name, runningcatalog.c.id)
    with store.read() as connection:
        names = {row.source_name: row.id for row in connection.execute(ids)}
        fits = set(connection.execute(_forced_measurements()).scalars())
    reports = run(store, easy)
    with store.read() as connection:
        after = {row.source_name: row.id for row in connection.execute(ids)}
        kept = fits & set(connection.execute(_forced_measurements()).scalars())
        orphans = connection.execute(
            select(func.count()).select_from(forcedfit).where(forcedfit.c.status == "orphan")
        ).scalar_one()
    assert counts(reports, "associate")["images"] == len(easy)
    assert fits
    assert kept
    assert orphans == 0
    assert all(after[name] == i for name, i in names.items() if name in after)


def test_late_image_needs_no_file_for_what_was_fitted_or_failed(
    store: Store, hard: list[Path], run: Run, tmp_path: Path
) -> None:
    """A position that could not be measured is as lasting a result as a fit."""
    away = tmp_path / "away"
    away.mkdir()
    early = [Path(shutil.copy(path, away)) for path in hard if path != hard[6]]
    query = select(
        image.c.file_name,
        forcedfit.c.kind,
        forcedfit.c.ra,
        forcedfit.c.decl,
        forcedfit.c.status,
        forcedfit.c.reason,
        forcedfit.c.xtrsrc,
        forcedfit.c.upper_limit,
    ).join(image, image.c.id == forcedfit.c.image)

    def fates() -> dict[tuple[Any, ...], set[tuple[Any, ...]]]:
        found: dict[tuple[Any, ...], set[tuple[Any, ...]]] = {}
        with store.read() as connection:
            for row in connection.execute(query):
                found.setdefault(tuple(row[:4]), set()).add(tuple(row[4:]))
        return found

    run(store, early)
    before = fates()
    away.rename(tmp_path / "gone")
    run(store, [hard[6]])
    after = fates()
    both = before.keys() & after.keys()
    assert {status for key in both for status, *_ in before[key]} == {"fitted", "failed"}
    assert {key: after[key] for key in both} == {key: before[key] for key in both}


def _forced_measurements() -> Any:
    return select(extractedsource.c.id).where(extractedsource.c.extract_type != 0)


def test_checksum_sees_every_table(store: Store, easy: list[Path], run: Run) -> None:
    """A guard that cannot fail guards nothing: change one value in each table, see it change."""
    run(store, easy, monitor=MONITOR)
    before = checksum(store)
    from trap_ops.store import schema

    for table, column, value in (
        (schema.image, "rms_qc", 1.0),
        (schema.rejection, None, None),
        (schema.frequencyband, "freq_low", 1.0),
        (schema.skyregion, "xtr_radius", 1.0),
        (schema.extractedsource, "f_int", 1.0),
        (schema.runningcatalog, "wm_ra", 1.0),
        (schema.runningcatalog_flux, "avg_f_int", 1.0),
        (schema.assocxtrsource, "eta_int", 1.0),
        (schema.assocskyrgn, "distance_deg", 1.0),
        (schema.newsource, "newsource_type", 7),
        (schema.varmetric, "v_int", 1.0),
        (schema.forcedfit, "reason", "changed"),
        (schema.monitor, "name", "changed"),
        (schema.candidate, "score", 1.0),
    ):
        with store.write() as connection:
            if column is None:
                connection.execute(
                    table.insert().values(
                        id=1, image=connection.execute(select(image.c.id)).scalar(), comment="x"
                    )
                )
            else:
                first = connection.execute(select(func.min(table.c.id))).scalar()
                assert first is not None, f"{table.name} is empty"
                old = connection.execute(
                    select(table.c[column]).where(table.c.id == first)
                ).scalar()
                connection.execute(
                    table.update().where(table.c.id == first).values({column: value})
                )
        assert checksum(store) != before, table.name
        with store.write() as connection:
            if column is None:
                connection.execute(table.delete())
            else:
                connection.execute(table.update().where(table.c.id == first).values({column: old}))
        assert checksum(store) == before


class Died(BaseException):
    """Stands for SIGKILL: nothing may catch it."""


@contextmanager
def dying(monkeypatch: pytest.MonkeyPatch, after: int, *, committed: bool) -> Iterator[None]:
    """Die in the transaction of this number, before or after it is committed."""
    left = {"transactions": after}
    real = Store.write

    @contextmanager
    def write(self: Store) -> Iterator[Connection]:
        with real(self) as connection:
            yield connection
            left["transactions"] -= 1
            if left["transactions"] == 0 and not committed:
                raise Died
        if left["transactions"] == 0 and committed:
            raise Died

    with monkeypatch.context() as patch:
        patch.setattr(Store, "write", write)
        yield


def transactions(
    monkeypatch: pytest.MonkeyPatch, store: Store, images: list[Path], run: Run
) -> int:
    """How many transactions a run on these images makes."""
    number = 0
    real = Store.write

    @contextmanager
    def write(self: Store) -> Iterator[Connection]:
        nonlocal number
        with real(self) as connection:
            yield connection
        number += 1

    with monkeypatch.context() as patch:
        patch.setattr(Store, "write", write)
        run(store, images, run_key="counted", monitor=MONITOR)
    return number


@pytest.mark.parametrize("late", [False, True], ids=["fresh", "late image"])
@pytest.mark.parametrize(
    "step",
    [
        pytest.param(3, marks=pytest.mark.slow, id="some"),
        pytest.param(1, marks=[pytest.mark.long, pytest.mark.timeout(3600)], id="all"),
    ],
)
def test_death_at_a_transaction_boundary_loses_nothing(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    easy: list[Path],
    run: Run,
    step: int,
    late: bool,
) -> None:
    """Die before or after a commit, anywhere; the run, started again, gives the same result."""
    images = easy[:3]
    known = [images[0], images[2]] if late else []

    def fresh() -> Any:
        return new_store("sqlite", request, tmp_path)

    with fresh() as store:
        if known:
            run(store, known, monitor=MONITOR)
        number = transactions(monkeypatch, store, images, run)
        whole = checksum(store)
    # A late image begins one boundary later: there, some are the others.
    for after in range(1 + int(late), number + 1, step):
        for committed in (False, True) if step == 1 else (after % 2 == 0,):
            with fresh() as store:
                if known:
                    run(store, known, monitor=MONITOR)
                with pytest.raises(Died), dying(monkeypatch, after, committed=committed):
                    run(store, images, run_key="killed", monitor=MONITOR)
                run(store, images, run_key="killed", monitor=MONITOR)
                assert checksum(store) == whole, f"transaction {after} of {number}, {committed=}"

"""What must always hold: how a run was made never changes its results (DESIGN.md section 1)."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
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

ROOT = Path(__file__).resolve().parents[2]
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


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_order_of_arrival_changes_nothing(
    two_stores: tuple[Store, Store], hard: list[Path], run: Run, seed: int
) -> None:
    batch, shuffled = two_stores
    run(batch, hard, monitor=MONITOR)
    arrival = list(hard)
    random.Random(seed).shuffle(arrival)
    for piece in (arrival[:5], arrival[5:6], arrival[6:11], arrival[11:]):
        run(shuffled, piece, monitor=MONITOR)
    assert checksum(batch) == checksum(shuffled)


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


@pytest.mark.postgres
def test_sqlite_equals_postgresql(
    request: pytest.FixtureRequest, tmp_path: Path, hard: list[Path], run: Run
) -> None:
    with (
        new_store("sqlite", request, tmp_path) as embedded,
        new_store("postgres", request, tmp_path) as server,
    ):
        run(embedded, hard, monitor=MONITOR)
        run(server, hard, monitor=MONITOR)
        assert checksum(embedded) == checksum(server)


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


SCRIPT = """
import sys
sys.path.insert(0, {plugins!r})
from pathlib import Path
from trap_ops import local
from trap_ops.records.runs import MonitorPosition
local.run(
    {images!r}, "series", store_url={url!r}, overrides={overrides!r}, run_key="killed",
    monitor=[MonitorPosition(123.01, 35.02), MonitorPosition(200.0, -30.0, "far away")],
    output_dir=Path({output!r}),
)
"""


@pytest.mark.parametrize(
    "rounds",
    [
        pytest.param(1, marks=pytest.mark.slow),
        pytest.param(25, marks=[pytest.mark.long, pytest.mark.timeout(3600)]),
    ],
)
def test_sigkill_at_random_moments_loses_nothing(
    request: pytest.FixtureRequest, tmp_path: Path, hard: list[Path], run: Run, rounds: int
) -> None:
    """Kill the process and start it again until it ends well; in each round from the beginning."""
    from stages.conftest import SMALL

    with new_store("sqlite", request, tmp_path) as reference:
        run(reference, hard, monitor=MONITOR)
        whole = checksum(reference)

    def start(url: str) -> subprocess.Popen[bytes]:
        script = SCRIPT.format(
            plugins=str(ROOT / "plugins"),
            images=[str(path) for path in hard],
            url=url,
            overrides=SMALL,
            output=str(tmp_path / "var"),
        )
        return subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE)

    with new_store("sqlite", request, tmp_path) as undisturbed:
        began = time.monotonic()
        process = start(undisturbed.url.render_as_string(hide_password=False))
        process.communicate()
        seconds = time.monotonic() - began
    moments = random.Random(7)
    done = 0
    for _ in range(3 * rounds):
        with new_store("sqlite", request, tmp_path) as victim:
            url = victim.url.render_as_string(hide_password=False)
            killed = 0
            while True:
                process, began = start(url), time.monotonic()
                # What is left always needs some time: later attempts are given more.
                patience = moments.uniform(0.3, 0.7) * (1.0 + 0.15 * killed) * seconds
                try:
                    _, errors = process.communicate(timeout=patience)
                    break
                except subprocess.TimeoutExpired:
                    process.send_signal(signal.SIGKILL)
                    process.communicate()
                    killed += 1
            assert process.returncode == 0, errors.decode()
            if killed == 0:  # The machine is quicker now than it was: kill earlier.
                seconds = min(seconds, time.monotonic() - began)
                continue
            assert checksum(victim) == whole, f"round {done}, killed {killed} times"
            done += 1
            if done == rounds:
                break
    assert done == rounds

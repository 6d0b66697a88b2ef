"""What is long done is not read again: the cost of a new image does not grow with the dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, select, update

from stages.conftest import checksum
from stages.made_images import FIRST_NIGHT, MadeImage, Observatory, Seen
from trap_ops.records.runs import MonitorPosition
from trap_ops.stages import associate
from trap_ops.stages.context import StageContext
from trap_ops.stages.publish import publish
from trap_ops.store import datasets, images, quality_checks, runs, variability
from trap_ops.store.database import Store
from trap_ops.store.schema import dataset, forcedfit, outcome, runningcatalog_flux

STEADY = (Seen(9.95, 10.0), Seen(10.0, 10.0), Seen(10.05, 10.05))


@pytest.fixture
def observatory(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Observatory:
    return Observatory(store, tmp_path, monkeypatch)


def nights(first: int, last: int, seen: Sequence[Seen] = STEADY) -> list[MadeImage]:
    return [MadeImage(f"n{night:03d}.fits", night, tuple(seen)) for night in range(first, last)]


def settled(store: Store, name: str = "field") -> datetime | None:
    with store.read() as connection:
        return datasets.settled_until(connection, datasets.dataset_id(connection, name))


def start(night: int) -> datetime:
    return FIRST_NIGHT + timedelta(days=night)


def rows_read(store: Store, observatory: Observatory, image: MadeImage) -> int:
    """Rows that all queries of a run return together."""
    count = 0
    original = Connection.execute

    def counted(self: Connection, *arguments: Any, **options: Any) -> Any:
        nonlocal count
        result = original(self, *arguments, **options)
        if result.returns_rows:
            frozen = result.freeze()
            count += len(frozen.data)
            result = frozen()
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Connection, "execute", counted)
        observatory.run("field", [image])
    return count


def test_a_new_image_reads_no_more_rows_in_a_dataset_six_times_as_long(
    store: Store, observatory: Observatory
) -> None:
    observatory.settings = {"quality": {"rms_history_images": 5},
                            "catalogue_checks": {"history_images": 5, "min_images": 2}}  # fmt: skip
    observatory.monitor = [MonitorPosition(10.02, 9.98, "here")]
    observatory.run("field", nights(0, 20))
    few = rows_read(store, observatory, nights(20, 21)[0])
    observatory.run("field", nights(21, 120))
    many = rows_read(store, observatory, nights(120, 121)[0])
    assert few > 50
    assert many <= few


@pytest.mark.parametrize("why", ["rejected", "no noise"])
def test_an_image_that_is_not_used_does_not_make_the_next_run_begin_anew(
    observatory: Observatory, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    """It is the only one of the latest time step, which the next run looks at too."""
    observatory.run("field", nights(0, 5))
    bad = MadeImage("bad.fits", 5, STEADY, nan_fraction=0.95 if why == "rejected" else 0.0,
                    no_noise=why == "no noise")  # fmt: skip
    observatory.run("field", [bad])
    begun = []
    monkeypatch.setattr(associate, "_begin_anew", lambda *_: begun.append(True))
    observatory.run("field", nights(6, 7))
    assert begun == []


def test_points_of_long_ago_are_not_read(
    observatory: Observatory, monkeypatch: pytest.MonkeyPatch
) -> None:
    observatory.run("field", nights(0, 30))
    loaded = []
    load = variability.load_points

    def counted(*arguments: Any, **options: Any) -> Any:
        points = load(*arguments, **options)
        loaded.append(len(points))
        return points

    monkeypatch.setattr(variability, "load_points", counted)
    observatory.run("field", nights(30, 31))
    assert loaded == [len(STEADY)]


def test_a_dataset_is_settled_when_its_run_has_ended(
    store: Store, observatory: Observatory
) -> None:
    observatory.run("field", nights(0, 3))
    assert settled(store) == start(2)
    observatory.run("field", nights(4, 6))
    assert settled(store) == start(5)
    observatory.run("field", nights(3, 4))
    assert settled(store) == start(5)
    observatory.change("field", withdraw=["n005.fits"])
    assert settled(store) == start(4)


def test_what_voids_earlier_work_takes_it_back(store: Store, observatory: Observatory) -> None:
    observatory.run("field", nights(0, 3))
    ways = {
        "late": {"images": [MadeImage("late.fits", 0, STEADY).path]},
        "withdrawn": {"withdraw": ["n001.fits"]},
    }
    observatory.images |= {"/night/late.fits": MadeImage("late.fits", 0, STEADY)}
    for way, options in ways.items():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("trap_ops.local.judge_quality", None)
            with pytest.raises(TypeError):
                observatory.change("field", run_key=way, **options)
        assert settled(store) is None, way
        with store.write() as connection:
            record = runs.load_run(connection, way)
            runs.set_state(connection, record.id, runs.ABANDONED)
            runs.release_lock(connection, record.id)
        observatory.change("field", monitor=[MonitorPosition(10.0, 10.0, "any")])
        assert settled(store) == start(2)


def test_an_image_that_is_to_be_tried_again_keeps_it_open(
    store: Store, observatory: Observatory
) -> None:
    observatory.run("field", nights(0, 3))
    with store.write() as connection:
        first = select(outcome.c.image).where(outcome.c.stage == "measure_quality").limit(1)
        image_id = connection.execute(first).scalar_one()
        connection.execute(
            update(outcome)
            .where(outcome.c.image == image_id, outcome.c.stage == "measure_quality")
            .values(input_hash="")
        )
    observatory.run("field", nights(3, 4))
    assert settled(store) is None
    # Now it is not passed over, and measured anew.
    observatory.run("field", nights(4, 5))
    assert settled(store) == start(4)


def test_a_report_alone_settles_nothing(store: Store, observatory: Observatory) -> None:
    """As `tasks test publish` on a run whose stages have not been through all images."""
    observatory.run("field", nights(0, 2))
    observatory.abandon("field", nights(2, 4), before="associate")
    with store.read() as connection:
        record = runs.load_run(connection, "given up")
    publish(StageContext(store, record, observatory.directory, debugging=True))
    assert settled(store) is None
    observatory.run("field", nights(4, 5))
    assert settled(store) == start(4)
    with store.read() as connection:
        rows = images.images_of(connection, record.dataset)
        through = datasets.settled_until(connection, record.dataset)
    assert [row.start for row in rows] == [start(night) for night in range(5)]
    assert through == rows[-1].start


def test_statistics_of_an_earlier_version_are_summed_up_anew(
    store: Store, observatory: Observatory
) -> None:
    observatory.run("field", nights(0, 11))
    with store.write() as connection:
        connection.execute(
            update(runningcatalog_flux).values(memory=None, median_window=None, median_below=None)
        )
        connection.execute(update(dataset).values(settled_ts=None))
    observatory.run("field", nights(11, 12))
    observatory.run("one", nights(0, 12))
    assert checksum(store, "field") == checksum(store, "one")


def test_medians_of_a_source_that_brightens_are_exact(
    store: Store, observatory: Observatory
) -> None:
    """The window of fluxes about the median is lost on the way, and made anew."""
    fluxes = [0.01 + 0.001 * number for number in range(60)]
    images = [MadeImage(f"n{n:03d}.fits", n, (Seen(10.0, 10.0, f),)) for n, f in enumerate(fluxes)]
    observatory.run_all("field", [images[first : first + 6] for first in range(0, 60, 6)])
    with store.read() as connection:
        query = "SELECT lightcurve_median FROM varmetric"
        medians = [row[0] for row in connection.exec_driver_sql(query)]
    assert medians == [pytest.approx(0.0395, rel=1e-12)]


@pytest.mark.parametrize("night", [5, 54])
def test_a_source_founded_late_in_a_long_run_is_looked_for_in_each_earlier_image_once(
    store: Store, observatory: Observatory, night: int
) -> None:
    """The run has stored blocks of its images by then, beside those of earlier runs."""
    series = nights(0, 70)
    new = (*STEADY, Seen(10.1, 9.95))
    series[10 + night] = MadeImage(series[10 + night].name, 10 + night, new)
    observatory.run_all("field", [series[:10], series[10:]])
    observatory.run("one", series)
    assert checksum(store, "field") == checksum(store, "one")
    with store.read() as connection:
        kinds = connection.execute(
            select(forcedfit.c.kind).join(dataset, dataset.c.id == forcedfit.c.dataset)
            .where(dataset.c.description == "field")
        ).scalars()  # fmt: skip
        assert Counter(kinds) == {3: 10 + night, 1: 59 - night}


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_what_is_asked_for_is_found_by_an_index(store: Store) -> None:
    """Whatever SQLAlchemy makes of the conditions; PostgreSQL chooses by the number of rows."""
    asked: list[tuple[str, Any]] = []
    with store.read() as connection:
        event.listen(connection, "before_cursor_execute", lambda *a: asked.append(a[2:4]))
        variability.pending_sources(connection, 1)
        statement, values = next(item for item in asked if "pending" in item[0])
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all()
    assert any("ix_assocxtrsource_pending" in str(row) for row in plan), plan
    with store.read() as connection:
        query = quality_checks._latest(1, "associate", "done", 1, 1)
        text = str(query.limit(5).compile(store.engine, compile_kwargs={"literal_binds": True}))
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}").all()
    assert any("ix_image_dataset_taustart_ts" in str(row) for row in plan), plan

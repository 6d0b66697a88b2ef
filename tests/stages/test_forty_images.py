"""Batches, order of arrival and database change nothing in a series that holds everything.

The sky, the images and the settings are those of ``forty_images``; processes that are killed on the
way are in ``test_kills``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import aliased

from conftest import new_store
from stages.conftest import checksum
from stages.forty_images import (
    BROKEN,
    MONITOR,
    PLAN,
    SETTINGS,
    Arrival,
    assert_consistent,
    random_arrivals,
)
from trap_ops import local
from trap_ops.records.images import RejectReason
from trap_ops.records.runs import MonitorPosition
from trap_ops.records.sky import FitKind, LinkType
from trap_ops.store.database import Store
from trap_ops.store.outcomes import ACCEPTED, REJECTED
from trap_ops.store.schema import (
    assocxtrsource,
    candidate,
    extractedsource,
    forcedfit,
    frequencyband,
    image,
    newsource,
    qualitycheck,
    rejection,
    runningcatalog,
    skyregion,
)

pytestmark = pytest.mark.slow


def run(
    store: Store,
    images: Iterable[Path],
    monitor: Iterable[MonitorPosition],
    output_dir: Path,
    parallel_tasks: int = 2,
) -> None:
    local.run(
        images,
        "series",
        store_url=store.url.render_as_string(hide_password=False),
        overrides={**SETTINGS, "execution": {"parallel_tasks": parallel_tasks}},
        monitor=monitor,
        output_dir=output_dir,
    )


@pytest.fixture(scope="module")
def whole(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, forty: list[Path]
) -> Iterator[Store]:
    """All images and positions in one run of one batch, on SQLite."""
    directory = tmp_path_factory.mktemp("whole")
    with new_store("sqlite", request, directory) as store:
        run(store, forty, MONITOR, directory, parallel_tasks=1)
        yield store


def rows(store: Store, query: Any) -> list[Any]:
    with store.read() as connection:
        return list(connection.execute(query).all())


def test_bands_pointings_and_gaps(whole: Store) -> None:
    assert len(rows(whole, select(frequencyband.c.id))) == 2
    images = rows(whole, select(image))
    assert len(images) == 41
    assert min(Counter(row.skyrgn for row in images).values()) >= 4
    assert len(rows(whole, select(skyregion.c.id))) == 3
    # The tolerance of a region is needed: four pointings, three regions.
    assert len({(round(row.centre_ra, 9), round(row.centre_decl, 9)) for row in images}) == 4
    starts = sorted({row.taustart_ts for row in images})
    steps = [(b - a).total_seconds() for a, b in pairwise(starts)]
    assert Counter(round(step / PLAN.cadence_s) for step in steps) == {1: 16, 2: 2, 3: 1}
    # The sky is astride RA 0.
    ra = [row.wm_ra for row in rows(whole, select(runningcatalog.c.wm_ra))]
    assert min(ra) < 1.0
    assert max(ra) > 359.0


def test_rejected_images(whole: Store) -> None:
    reasons = Counter(row.rejectreason for row in rows(whole, select(rejection)))
    assert reasons == {
        RejectReason.RMS_INVALID: 6,
        RejectReason.CONTAINS_NAN: 1,
        RejectReason.DUPLICATE: 1,
    }
    # No limit of its own rejects such an image: it is the history.
    query = (
        select(qualitycheck.c.check_name, qualitycheck.c.result)
        .join(rejection, rejection.c.image == qualitycheck.c.image)
        .where(rejection.c.rejectreason == RejectReason.RMS_INVALID)
    )
    failed = {row.check_name for row in rows(whole, query) if row.result == "rejected"}
    assert failed == {"rms_history"}


def test_forks_and_what_they_share(whole: Store) -> None:
    """A fork of a fork, and detections that belong to several sky sources."""
    links = Counter(row.type for row in rows(whole, select(assocxtrsource.c.type)))
    assert links[LinkType.FORKED] >= 3
    assert links[LinkType.INHERITED] >= 20
    source, measured, founding = runningcatalog, extractedsource, aliased(extractedsource)
    query = (
        select(source.c.parent, measured.c.image.label("forked"), founding.c.image.label("earlier"))
        .join(measured, measured.c.id == source.c.xtrsrc)
        .join(founding, founding.c.id == source.c.parent)
    )
    children = rows(whole, query)
    # A parent that was itself founded in an image in which another source forked.
    assert {row.earlier for row in children} & {row.forked for row in children}
    shared = select(assocxtrsource.c.xtrsrc).where(assocxtrsource.c.type == LinkType.ONE_TO_ONE)
    assert max(Counter(row.xtrsrc for row in rows(whole, shared)).values()) >= 2


def test_fits_of_all_kinds_and_what_could_not_be_measured(whole: Store) -> None:
    fits = Counter(
        (row.kind, row.status) for row in rows(whole, select(forcedfit.c.kind, forcedfit.c.status))
    )
    assert min(fits[kind, "fitted"] for kind in FitKind) >= 20
    assert fits[FitKind.FORWARD, "failed"] >= 10
    assert fits[FitKind.MONITOR, "failed"] >= 10
    points = select(assocxtrsource.c.runcat).where(
        assocxtrsource.c.type.in_([LinkType.MONITOR_FIRST, LinkType.MONITOR])
    )
    assert len({row.runcat for row in rows(whole, points)}) == 2
    for table, least in ((newsource, 2), (candidate, 4)):
        assert rows(whole, select(func.count()).select_from(table))[0][0] >= least


def test_all_of_it_is_consistent(whole: Store) -> None:
    assert_consistent(whole)


@pytest.mark.parametrize("tasks", [3, pytest.param(40, marks=pytest.mark.long)])
def test_number_of_batches_changes_nothing(
    request: pytest.FixtureRequest, tmp_path: Path, whole: Store, forty: list[Path], tasks: int
) -> None:
    with new_store("sqlite", request, tmp_path) as store:
        run(store, forty, MONITOR, tmp_path, parallel_tasks=tasks)
        assert checksum(store) == checksum(whole)
        assert_consistent(store)


@dataclass
class Moved:
    """What late images changed in what was there.

    Attributes
    ----------
    rejected, taken_back : int
        Verdicts that turned.
    gone : int
        Sky sources that were there under a name that they have no more.
    """

    rejected: int = 0
    taken_back: int = 0
    gone: int = 0
    _verdicts: dict[str, str] = field(default_factory=dict)
    _names: set[str] = field(default_factory=set)

    def look(self, store: Store) -> None:
        """Compare with what was there when this was last called for the store."""
        found = rows(store, select(image.c.file_name, image.c.verdict))
        verdicts = {row.file_name: row.verdict for row in found}
        names = {row.source_name for row in rows(store, select(runningcatalog.c.source_name))}
        turned = Counter((old, verdicts[name]) for name, old in self._verdicts.items())
        self.rejected += turned[ACCEPTED, REJECTED]
        self.taken_back += turned[REJECTED, ACCEPTED]
        self.gone += len(self._names - names)
        self._verdicts, self._names = verdicts, names

    def begin(self) -> None:
        """Another store comes now."""
        self._verdicts, self._names = {}, set()


def arrive(
    store: Store, arrivals: list[Arrival], output_dir: Path, moved: Moved | None = None
) -> None:
    """A run for each arrival."""
    if moved:
        moved.begin()
    for arrival in arrivals:
        run(store, arrival.images, arrival.monitor, output_dir)
        if moved:
            moved.look(store)


@pytest.mark.parametrize(
    ("kind", "seeds"),
    [
        pytest.param("sqlite", [12], id="sqlite"),
        pytest.param("postgres", [300], id="postgres", marks=pytest.mark.postgres),
        pytest.param("sqlite", range(100, 120), id="many, sqlite", marks=pytest.mark.long),
        pytest.param(
            "postgres", range(200, 210), id="many, postgres",
            marks=[pytest.mark.long, pytest.mark.postgres],
        ),
    ],
)  # fmt: skip
def test_random_pieces_in_any_order_change_nothing(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    whole: Store,
    forty: list[Path],
    kind: str,
    seeds: Iterable[int],
) -> None:
    """Up to ten runs; and the late images really turn over what was there."""
    moved = Moved()
    for seed in seeds:
        arrivals = random_arrivals(forty, seed)
        assert {path for arrival in arrivals for path in arrival.images} == set(forty)
        with new_store(kind, request, tmp_path) as store:
            arrive(store, arrivals, tmp_path, moved)
            assert checksum(store) == checksum(whole), f"seed {seed}"
            assert_consistent(store)
    assert min(moved.rejected, moved.taken_back, moved.gone) > 0, moved


def test_appending_in_time_order_changes_nothing(
    request: pytest.FixtureRequest, tmp_path: Path, whole: Store, forty: list[Path]
) -> None:
    """Cut between the bands of a time step: the second one comes to a step that is done."""
    arrivals = [
        Arrival([*forty[:15], *forty[40:]], MONITOR[:2]),
        Arrival(forty[15:40], MONITOR[2:]),
    ]
    with new_store("sqlite", request, tmp_path) as store:
        arrive(store, arrivals, tmp_path)
        assert checksum(store) == checksum(whole)
        assert_consistent(store)


@pytest.mark.long
@pytest.mark.parametrize("order", ["in time order", "backwards"])
def test_images_one_by_one_change_nothing(
    request: pytest.FixtureRequest, tmp_path: Path, whole: Store, forty: list[Path], order: str
) -> None:
    images = forty[::-1] if order == "backwards" else forty
    pieces = [Arrival([path], []) for path in images if path.name != BROKEN]
    # A run needs an image that can be read.
    pieces[3].images.extend(path for path in forty if path.name == BROKEN)
    pieces[len(pieces) // 2].monitor.extend(MONITOR)
    with new_store("sqlite", request, tmp_path) as store:
        arrive(store, pieces, tmp_path)
        assert checksum(store) == checksum(whole)
        assert_consistent(store)

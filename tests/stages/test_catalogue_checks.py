"""Images that do not fit the dataset's catalogue: rejected, without a trace in what is left."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from conftest import new_store
from stages.conftest import checksum
from stages.made_images import MadeImage, Observatory, Seen
from trap_ops.records.images import Check, CheckResult
from trap_ops.records.runs import MonitorPosition
from trap_ops.science.catalogue_checks import CATALOGUE_CHECKS
from trap_ops.stages import associate
from trap_ops.store import sky_sources
from trap_ops.store.checksum import _tables
from trap_ops.store.database import Store
from trap_ops.store.datasets import dataset_id
from trap_ops.store.outcomes import rejected_units
from trap_ops.store.quality_checks import checks_of
from trap_ops.store.schema import (
    assocxtrsource,
    extractedsource,
    forcedfit,
    image,
    newsource,
    referenceflux,
    rejectreason,
    runningcatalog,
)

# A matter of seconds: not part of make test-fast.
pytestmark = pytest.mark.slow

# So few sources and images that a test of every way to bring them is quick.
FEW = {"min_detections": 2, "min_sources": 5, "min_images": 3}
MONITOR = [MonitorPosition(10.021, 10.013 + 0.02 * n, f"between {n}") for n in range(3)]
BEAM_DEG = 72.0 / 3600.0
# Three by three, further apart than two beams.
GRID = [(10.0 + 0.1 * x, 10.0 + 0.1 * y) for y in (-1, 0, 1) for x in (-1, 0, 1)]
SKY_TABLES = (
    "runningcatalog", "referenceflux", "assocskyrgn", "assocxtrsource", "runningcatalog_flux",
    "varmetric", "newsource", "forcedfit", "candidate", "skyregion", "frequencyband",
)  # fmt: skip


def look(
    night: int,
    *,
    freq_hz: float = 140e6,
    scale: float = 1.0,
    shift_beams: float = 0.0,
    n_false: int = 0,
    name: str = "",
) -> MadeImage:
    """An image of one night: the grid with noise, and a pair of sources that sometimes fork."""
    rng = np.random.default_rng([night, round(freq_hz / 1e6)])
    places = [*GRID, *[(10.05, 10.05 + offset) for offset in ((0.0,), (-0.006, 0.006))[night % 2]]]
    seen = []
    for number, (ra, dec) in enumerate(places):
        if rng.random() < 0.08:
            continue
        noise = rng.normal(0.0, 0.001, 2)
        flux = (0.04 + 0.01 * number) * scale + rng.normal(0.0, 0.001)
        seen.append(Seen(ra + noise[0] + shift_beams * BEAM_DEG, dec + noise[1], float(flux), 5.0))
    for ra, dec in rng.uniform(-0.19, 0.19, (n_false, 2)).tolist():
        seen.append(Seen(10.0 + ra, 10.0 + dec, float(rng.uniform(0.02, 0.1)), 5.0))
    return MadeImage(
        name or f"n{night:02d}-{freq_hz / 1e6:.0f}.fits",
        night,
        tuple(seen),
        freq_hz=freq_hz,
        # Those of one night are no duplicates.
        integration_s=2.0 if name else 1.0,
    )


BAD = {
    "bright.fits": look(6, scale=3.0, name="bright.fits"),
    "shifted.fits": look(8, shift_beams=2.0, name="shifted.fits"),
    "storm.fits": look(9, n_false=150, name="storm.fits"),
}
GOOD = [look(night) for night in range(11)] + [look(night, freq_hz=160e6) for night in (1, 4, 8)]
WORLD = [*GOOD, *BAD.values()]


@pytest.fixture
def observatory(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Observatory]:
    with new_store("sqlite", request, tmp_path) as store:
        yield watching(store, tmp_path, monkeypatch)


@pytest.fixture
def both(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Observatory:
    return watching(store, tmp_path, monkeypatch)


def watching(store: Store, directory: Path, monkeypatch: pytest.MonkeyPatch) -> Observatory:
    made = Observatory(store, directory, monkeypatch)
    made.monitor = MONITOR
    made.settings = {"catalogue_checks": FEW}
    return made


def checks(store: Store, dataset: str) -> dict[str, dict[str, Check]]:
    """Checks against the catalogue by name of image, then of check."""
    with store.read() as connection:
        number = dataset_id(connection, dataset)
        names = dict(
            connection.execute(
                select(image.c.id, image.c.file_name).where(image.c.dataset == number)
            ).all()
        )
        found = checks_of(connection, list(names))
    return {
        names[i]: {check.name: check for check in made if check.name in CATALOGUE_CHECKS}
        for i, made in found.items()
    }


def rejected(store: Store, dataset: str) -> dict[str, tuple[str, str]]:
    """Stage and reason, by name of image."""
    with store.read() as connection:
        units = rejected_units(connection, dataset_id(connection, dataset))
    return {unit.name: (unit.stage, unit.reason) for unit in units}


def sky(store: Store, dataset: str) -> dict[str, list[bytes]]:
    """All rows that say something of the sky, by table."""
    with store.read() as connection:
        rows = dict(_tables(connection, dataset_id(connection, dataset)))
    return {name: sorted(rows[name]) for name in SKY_TABLES}


def column(store: Store, query: Any) -> list[Any]:
    with store.read() as connection:
        return list(connection.execute(query).scalars())


WHY = {
    "bright.fits": ("associate", "flux scale differs from the catalogue"),
    "shifted.fits": ("associate", "displaced against the catalogue"),
    "storm.fits": ("associate", "number of sources unusual"),
}


def test_bad_images_are_rejected_and_leave_no_trace(both: Observatory) -> None:
    both.run("with", WORLD)
    assert rejected(both.store, "with") == WHY
    both.run("without", GOOD)
    assert rejected(both.store, "without") == {}
    assert sky(both.store, "with") == sky(both.store, "without")
    # Their detections stay, and nothing points to them or was measured in them.
    bad = select(image.c.id).where(image.c.file_name.in_(BAD))
    stored = column(
        both.store, select(extractedsource.c.extract_type).where(extractedsource.c.image.in_(bad))
    )
    assert set(stored) == {0}
    assert len(stored) == sum(len(made.seen) for made in BAD.values())
    theirs = select(extractedsource.c.id).where(extractedsource.c.image.in_(bad))
    for query in (
        select(assocxtrsource.c.id).where(assocxtrsource.c.xtrsrc.in_(theirs)),
        select(runningcatalog.c.id).where(runningcatalog.c.xtrsrc.in_(theirs)),
        select(forcedfit.c.id).where(forcedfit.c.image.in_(bad)),
        select(newsource.c.id).where(newsource.c.previous_limits_image.in_(bad)),
    ):
        assert column(both.store, query) == []


def test_what_was_measured_is_stored_and_true(observatory: Observatory) -> None:
    observatory.run("all", WORLD)
    made = checks(observatory.store, "all")
    assert set(made) == {item.name for item in WORLD}
    assert all(set(of_image) == set(CATALOGUE_CHECKS) for of_image in made.values())
    bright, shifted, storm = (made[name] for name in BAD)
    assert bright["flux_scale"].measured == pytest.approx(3.0, abs=0.06)
    assert bright["flux_scale"].high == 2.0
    assert shifted["astrometry"].measured == pytest.approx(2.0 * np.cos(np.radians(10.0)), abs=0.06)
    # Its fluxes are compared with those of the right sources all the same.
    assert shifted["flux_scale"].measured == pytest.approx(1.0, abs=0.03)
    assert storm["source_count"].measured == len(BAD["storm.fits"].seen)
    # Among so many false detections the few true ones do not stand out.
    assert storm["astrometry"].result == CheckResult.NOT_MADE
    good = [check for item in GOOD for check in made[item.name].values()]
    assert {check.result for check in good} == {CheckResult.ACCEPTED, CheckResult.NOT_MADE}
    assert sum(check.result == CheckResult.ACCEPTED for check in good) > len(GOOD)
    # Of the other band there is a catalogue, but no flux and no count to compare with.
    first = made["n01-160.fits"]
    assert {check.result for check in first.values()} == {CheckResult.NOT_MADE}
    assert made["n08-160.fits"]["astrometry"].result == CheckResult.ACCEPTED
    assert made["n08-160.fits"]["flux_scale"].result == CheckResult.ACCEPTED
    assert made["n08-160.fits"]["source_count"].result == CheckResult.NOT_MADE
    assert "only 2 earlier images" in made["n08-160.fits"]["source_count"].comment


def test_reference_fluxes_are_weighted_means_of_what_is_linked(observatory: Observatory) -> None:
    observatory.run("all", WORLD)
    with observatory.store.read() as connection:
        stored = connection.execute(select(referenceflux)).all()
        points = connection.execute(
            select(
                assocxtrsource.c.runcat, image.c.band, extractedsource.c.f_int,
                extractedsource.c.f_int_err,
            )
            .join(extractedsource, extractedsource.c.id == assocxtrsource.c.xtrsrc)
            .join(image, image.c.id == extractedsource.c.image)
            .where(extractedsource.c.extract_type == 0)
        ).all()  # fmt: skip
    of_source: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for runcat, band, flux, error in points:
        of_source.setdefault((runcat, band), []).append((flux, error))
    assert {(row.runcat, row.band) for row in stored} == set(of_source)
    assert any(row.datapoints > 8 for row in stored)
    for row in stored:
        flux, error = np.array(of_source[row.runcat, row.band]).T
        assert row.stokes == 1
        assert row.datapoints == len(flux)
        assert row.sumw_int == pytest.approx((1 / error**2).sum(), rel=1e-12)
        assert row.wmean_int == pytest.approx(np.average(flux, weights=error**-2.0), rel=1e-12)


def ways(seed: int) -> dict[str, list[list[MadeImage]]]:
    """Ways in which the images may arrive: a list of runs each."""
    in_time = sorted(WORLD, key=lambda made: made.night)
    shuffled = list(WORLD)
    random.Random(seed).shuffle(shuffled)
    cut = len(shuffled) // 2
    return {
        "a run a night": [list(night) for _, night in groupby(in_time, lambda made: made.night)],
        "halves": [shuffled[:cut], shuffled[cut:]],
        "bad ones last": [GOOD, list(BAD.values())],
        "bad ones first": [list(BAD.values()), GOOD],
        "one at a time": [[made] for made in shuffled],
    }


@pytest.mark.parametrize(
    ("seed", "quick"),
    [
        pytest.param(1, True, marks=pytest.mark.slow),
        *(pytest.param(seed, False, marks=pytest.mark.long) for seed in range(2, 6)),
    ],
)
def test_order_of_arrival_changes_nothing(observatory: Observatory, seed: int, quick: bool) -> None:
    batch = observatory.run_all("batch", [WORLD])
    for name, pieces in ways(seed).items():
        if quick and name not in ("halves", "bad ones first"):
            continue
        assert observatory.run_all(name, pieces) == batch, name
        assert rejected(observatory.store, name) == WHY


@pytest.mark.slow
def test_death_between_blocks_loses_nothing(
    observatory: Observatory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before or after each block is stored, in a first run and in one that begins anew."""
    monkeypatch.setattr(associate, "_BLOCK_IMAGES", 3)
    batch = observatory.run_all("batch", [WORLD])
    save = sky_sources.save_changes
    for first, dies_at in (([], 2), (WORLD[5:], 3)):
        dataset = f"{len(first)} {dies_at}"
        if first:
            observatory.run(dataset, first)
        calls = iter(range(100))

        def dying(*args: Any, at: int = dies_at, calls: Iterator[int] = calls) -> None:
            save(*args)
            if next(calls) == at:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(sky_sources, "save_changes", dying)
            with pytest.raises(KeyboardInterrupt):
                observatory.run(dataset, WORLD, f"killed {dataset}")
        observatory.run(dataset, WORLD, f"killed {dataset}")
        assert checksum(observatory.store, dataset) == batch, dataset


def test_a_late_image_changes_who_is_rejected(both: Observatory) -> None:
    """Alone with two images the storm has no history; with four it is rejected, and goes again.

    What monitors had measured in it goes with it, and comes back.
    """
    storm = BAD["storm.fits"]
    early, late = GOOD[7:9], GOOD[4:6]
    batch = both.run_all("batch", [[*late, *early, storm]])
    both.run("late", [*early, storm])
    assert rejected(both.store, "late") == {}
    assert fits_in(both.store, "late", storm) > 0
    assert both.run_all("late", [late]) == batch
    assert rejected(both.store, "late") == {"storm.fits": WHY["storm.fits"]}
    assert fits_in(both.store, "late", storm) == 0
    # Two earlier storms make it usual.
    storms = [replace(look(n, n_false=150, name=f"s{n}.fits")) for n in (0, 1, 2, 3)]
    batch = both.run_all("stormy", [[*storms, *late, *early, storm]])
    assert both.run_all("late", [storms]) == batch
    assert "storm.fits" not in rejected(both.store, "late")
    assert fits_in(both.store, "late", storm) > 0


def fits_in(store: Store, dataset: str, made: MadeImage) -> int:
    """Number of measurements of monitors in an image."""
    with store.read() as connection:
        mine = image.c.dataset == dataset_id(connection, dataset)
    query = (
        select(extractedsource.c.id)
        .join(image, image.c.id == extractedsource.c.image)
        .where(mine, image.c.file_name == made.name, extractedsource.c.extract_type == 2)
    )
    return len(column(store, query))


def test_images_of_a_time_step_do_not_check_each_other(observatory: Observatory) -> None:
    """The first of them, shifted, would move and multiply what the second is compared with."""
    pair = [look(7), look(7, freq_hz=139.5e6, shift_beams=2.0, name="first.fits")]
    observatory.run("pair", [*GOOD[:7], *pair])
    observatory.run("alone", [*GOOD[:7], pair[0]])
    made = checks(observatory.store, "pair")
    assert made["first.fits"]["astrometry"].result == CheckResult.REJECTED
    assert made[pair[0].name] == checks(observatory.store, "alone")[pair[0].name]
    twins = [look(7), replace(look(7), name="twin.fits", freq_hz=139.5e6)]
    observatory.run("twins", [*GOOD[:7], *twins])
    made = checks(observatory.store, "twins")
    assert (
        made[twins[0].name] == made["twin.fits"] == checks(observatory.store, "alone")[pair[0].name]
    )


def test_every_limit_can_be_switched_off(observatory: Observatory) -> None:
    names = [f"{check}_{kind}" for check, kind in (
        ("flux_scale", "warn_factor"), ("flux_scale", "reject_factor"),
        ("astrometry", "warn_beams"), ("astrometry", "reject_beams"),
        ("source_count", "warn_factor"), ("source_count", "reject_factor"),
    )]  # fmt: skip
    rejecting = [name for name in names if "reject" in name]
    for off, result in ((names, CheckResult.ACCEPTED), (rejecting, CheckResult.WARNED)):
        dataset = f"{len(off)} off"
        observatory.settings = {"catalogue_checks": {**FEW, **dict.fromkeys(off, "none")}}
        observatory.run(dataset, WORLD)
        assert rejected(observatory.store, dataset) == {}
        made = checks(observatory.store, dataset)
        for name, check in zip(BAD, ("flux_scale", "astrometry", "source_count"), strict=True):
            assert made[name][check].result == result, (name, off)


def test_by_default_few_sources_say_nothing_of_flux_scale_and_astrometry(
    observatory: Observatory,
) -> None:
    observatory.settings = {}
    observatory.run("default", WORLD)
    made = checks(observatory.store, "default")
    assert results(made.values(), "flux_scale") == {CheckResult.NOT_MADE}
    assert results(made.values(), "astrometry") == {CheckResult.NOT_MADE}
    assert "20 are needed" in made["bright.fits"]["flux_scale"].comment
    # Counts need no counterparts: eleven images before it are enough.
    assert rejected(observatory.store, "default") == {"storm.fits": WHY["storm.fits"]}


def results(made: Iterable[dict[str, Check]], name: str) -> set[CheckResult]:
    return {of_image[name].result for of_image in made}


@pytest.mark.postgres
def test_both_databases_agree(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sums = []
    for kind in ("sqlite", "postgres"):
        with (
            new_store(kind, request, tmp_path) as store,
            monkeypatch.context() as patch,
        ):
            sums.append(watching(store, tmp_path, patch).run_all("all", [WORLD[6:], WORLD[:6]]))
    assert sums[0] == sums[1]


def test_an_older_database_learns_the_reasons(store: Store) -> None:
    with store.write() as connection:
        known: Sequence[Any] = connection.execute(select(rejectreason).order_by("id")).all()
        connection.execute(rejectreason.delete().where(rejectreason.c.id > 8))
    store.upgrade()
    with store.read() as connection:
        assert connection.execute(select(rejectreason).order_by("id")).all() == known
    assert [row.id for row in known] == list(range(12))

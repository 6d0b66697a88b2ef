"""Images in any order and in any number of runs give what one run over all of them gives."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from conftest import new_store
from stages.conftest import checksum
from stages.made_images import HALF_WIDTH_DEG, MadeImage, Observatory, Seen, random_images
from trap_ops.records.runs import MonitorPosition
from trap_ops.science.coordinates import separation
from trap_ops.store.database import Store
from trap_ops.store.datasets import dataset_id
from trap_ops.store.outcomes import rejected_units
from trap_ops.store.schema import (
    extractedsource,
    forcedfit,
    frequencyband,
    image,
    rejection,
    skyregion,
)

MONITOR = [
    MonitorPosition(0.1, 10.0, "in most"),
    MonitorPosition(359.99, 10.02, "across RA 0"),
    MonitorPosition(100.0, -10.0, "far away"),
]
# The history of the rms that rejects about one image in five, and changes its mind.
SHORT_HISTORY = {"rms_history_images": 3, "rms_rejection_sigma": 1.2}
HERE = (Seen(10.0, 10.0),)
PAIR = (Seen(10.0, 10.0), Seen(10.11, 10.0))


@pytest.fixture
def observatory(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Observatory]:
    with new_store("sqlite", request, tmp_path) as store:
        yield Observatory(store, tmp_path, monkeypatch)


@pytest.fixture
def both(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Observatory:
    """On SQLite and on PostgreSQL, for what leans on keys and foreign keys."""
    return Observatory(store, tmp_path, monkeypatch)


def orders(images: Sequence[MadeImage], seed: int) -> dict[str, list[list[MadeImage]]]:
    """Ways in which images may arrive: a list of runs each."""
    in_time = sorted(images, key=lambda made: made.night)
    shuffled = list(images)
    random.Random(seed).shuffle(shuffled)
    cut = len(shuffled) // 2
    return {
        "a run a night": [list(night) for _, night in groupby(in_time, lambda made: made.night)],
        "halves": [shuffled[:cut], shuffled[cut:]],
        "one at a time": [[made] for made in shuffled],
    }


@pytest.mark.parametrize(
    ("seed", "quality"),
    [
        pytest.param(2, {}, id="2, default", marks=pytest.mark.slow),
        pytest.param(3, SHORT_HISTORY, id="3, short history", marks=pytest.mark.slow),
        *(
            pytest.param(seed, quality, id=f"{seed}, {name}", marks=pytest.mark.long)
            for seed in range(4, 14)
            for name, quality in (("default", {}), ("short history", SHORT_HISTORY))
        ),
    ],
)
def test_order_of_arrival_changes_nothing(
    observatory: Observatory, seed: int, quality: dict[str, Any]
) -> None:
    images = random_images(seed)
    observatory.monitor = MONITOR
    observatory.settings = {"quality": quality}
    expected = observatory.run_all("batch", [images])
    for name, pieces in orders(images, seed).items():
        assert observatory.run_all(name, pieces) == expected, name


def late(observatory: Observatory, images: Sequence[MadeImage], *pieces: Sequence[int]) -> None:
    """Images in one run and, by their numbers, in pieces: both give the same."""
    batch = observatory.run_all("batch", [images])
    assert observatory.run_all("late", [[images[i] for i in piece] for piece in pieces]) == batch


def bridged(seen: tuple[Seen, ...] = HERE) -> list[MadeImage]:
    """Two bands, which an earlier image between them makes one; and a later image."""
    return [
        MadeImage("a.fits", 1, PAIR, freq_hz=142.8e6),
        MadeImage("b.fits", 2, seen, freq_hz=141.8e6),
        MadeImage("c.fits", 3, seen, freq_hz=143.8e6),
        MadeImage("d.fits", 4, HERE, freq_hz=144.5e6),
    ]


def pointings(seen: tuple[Seen, ...] = HERE) -> list[MadeImage]:
    """Two regions, which an earlier image between them makes one; and a later image."""
    offset = 0.9 / 3600.0
    return [
        MadeImage("a.fits", 1, PAIR),
        MadeImage("b.fits", 2, seen, dec=10.0 - offset),
        MadeImage("c.fits", 3, seen, dec=10.0 + offset),
        MadeImage("d.fits", 4, HERE, dec=10.0 + offset),
    ]


@pytest.mark.parametrize("made", [bridged, pointings])
def test_bands_and_regions_that_become_one_leave_the_ids_of_other_datasets_alone(
    both: Observatory, made: Any
) -> None:
    images = made()
    both.run("late", images[1:3])
    both.run("other", images[1:3])
    other = checksum(both.store, "other")
    late(both, images, [0], [3])
    both.run("third", images[1:3])
    assert checksum(both.store, "other") == other
    assert checksum(both.store, "third") == other


@pytest.mark.parametrize("made", [bridged, pointings])
def test_a_band_or_region_that_no_image_has_any_more_is_gone(
    observatory: Observatory, made: Any
) -> None:
    """Also if nothing was found before, so that there is no sky source to forget."""
    late(observatory, made(seen=()), [1, 2], [0], [3])
    with observatory.store.read() as connection:
        mine = dataset_id(connection, "late")
        for table in (frequencyband, skyregion):
            found = connection.execute(select(table.c.id).where(table.c.dataset == mine)).all()
            assert len(found) == 1


def test_a_given_up_run_leaves_no_band_to_be_used(observatory: Observatory) -> None:
    """At 145 MHz the interval touches the band of 143.8 MHz, which is none any more."""
    images = [
        *bridged()[:3],
        MadeImage("d.fits", 4, HERE, freq_hz=145.0e6),
        MadeImage("e.fits", 5, HERE, freq_hz=146.5e6),
    ]
    batch = observatory.run_all("batch", [images])
    observatory.run("late", images[1:3])
    observatory.abandon("late", images[:1], before="associate")
    assert observatory.run_all("late", [images[3:]]) == batch


def test_a_given_up_run_leaves_no_region_to_be_used(observatory: Observatory) -> None:
    """The last two are one pointing, though only one of them is near the region that has gone."""
    images = pointings()[:3]
    images += [
        MadeImage("d.fits", 4, HERE, dec=10.0 + 1.8 / 3600.0),
        MadeImage("e.fits", 5, HERE, dec=10.0 + 2.4 / 3600.0),
    ]
    batch = observatory.run_all("batch", [images])
    observatory.run("late", images[1:3])
    observatory.abandon("late", images[:1], before="associate")
    assert observatory.run_all("late", [images[3:]]) == batch


def test_a_region_is_introduced_by_its_own_first_image(observatory: Observatory) -> None:
    """No source was found before the late images, and the region of the second comes first now.

    The source is founded inside the third image's region and has left it when that comes.
    """
    other_ra = 10.3
    half = HALF_WIDTH_DEG / float(separation(0.0, 10.0, 1.0, 10.0))
    radius = max(separation(other_ra, 10.0, other_ra + half, 10.0 + s * HALF_WIDTH_DEG)
                 for s in (-1, 1))  # fmt: skip
    edge = other_ra - float(radius) / float(separation(0.0, 10.0, 1.0, 10.0))
    images = [
        MadeImage("a.fits", 1, (Seen(edge + 0.0005, 10.0),)),
        MadeImage("b.fits", 2, (Seen(edge - 0.004, 10.0),)),
        MadeImage("c.fits", 3, ra=other_ra),
        MadeImage("d.fits", 4),
    ]
    late(observatory, images, [2, 3], [0, 1])


def test_a_withdrawn_image_leaves_nothing_behind(both: Observatory) -> None:
    """A copy whose name sorts first takes its place; monitors measure the copy."""
    images = [
        MadeImage("m1.fits", 1, PAIR),
        MadeImage("m2.fits", 2, HERE),
        MadeImage("m3.fits", 3, HERE),
        MadeImage("a-copy.fits", 2, HERE, copy_of="m2.fits"),
    ]
    both.monitor = [MonitorPosition(10.05, 10.0, "between")]
    late(both, images, [0, 1, 2], [3])
    with both.store.read() as connection:
        for table in (extractedsource, forcedfit):
            query = select(image.c.file_name).join(table, table.c.image == image.c.id)
            names = set(connection.execute(query).scalars())
            assert names == {"m1.fits", "a-copy.fits", "m3.fits"}
        found = connection.execute(select(image).where(image.c.file_name == "m2.fits")).all()
    assert {(row.verdict, row.rms_min, row.detection_thresh) for row in found} == {
        ("rejected", None, None)
    }


@pytest.mark.parametrize("given_up", [False, True])
def test_a_withdrawn_image_that_comes_back_is_used_again(
    observatory: Observatory, given_up: bool
) -> None:
    """The history of the rms rejects it, then the two images that had it rejected."""
    observatory.settings = {"quality": SHORT_HISTORY}
    observatory.monitor = [MonitorPosition(10.05, 10.0, "between")]
    rms = (0.002, 0.002, 0.001, 0.00101, 0.002)
    images = [MadeImage(f"k{n}.fits", n, PAIR[n % 2 :], rms_jy=r) for n, r in enumerate(rms)]
    batch = observatory.run_all("batch", [images])
    observatory.run("late", images[0::2])
    if given_up:
        observatory.abandon("late", [images[3]], before="associate")
    else:
        observatory.run("late", [images[3]])
    assert verdicts(observatory.store, "late")["k4.fits"] == "rejected"
    assert observatory.run_all("late", [[images[1]]]) == batch
    assert verdicts(observatory.store, "late")["k4.fits"] == "accepted"


def test_no_noise_is_found_again_when_the_verdict_comes_back(observatory: Observatory) -> None:
    observatory.settings = {"quality": SHORT_HISTORY}
    rms = (0.002, 0.002, 0.001, 0.00101, 0.002)
    images = [
        MadeImage(f"k{n}.fits", n, HERE, rms_jy=r, no_noise=n == 4) for n, r in enumerate(rms)
    ]
    batch = observatory.run_all("batch", [images])
    observatory.run("late", images[0::2])
    assert reason(observatory.store, "late", "k4.fits") == "no noise"
    observatory.run("late", [images[3]])
    assert reason(observatory.store, "late", "k4.fits") == "RMS invalid"
    assert observatory.run_all("late", [[images[1]]]) == batch
    assert reason(observatory.store, "late", "k4.fits") == "no noise"


def test_directories_are_not_in_the_checksum(observatory: Observatory) -> None:
    def night(directory: str) -> list[MadeImage]:
        return [
            MadeImage("m.fits", 1, HERE, directory=directory),
            MadeImage("n.fits", 1, HERE, directory=directory, copy_of="m.fits"),
        ]

    first, second = (observatory.run_all(d, [night(d)]) for d in ("/first", "/second"))
    assert first == second


def test_of_copies_with_one_name_the_first_path_is_the_original(observatory: Observatory) -> None:
    images = [
        MadeImage("m.fits", 1, HERE, directory=directory, copy_of="m.fits")
        for directory in ("/a", "/b")
    ]
    late(observatory, images, [1], [0])
    query = select(image.c.url, rejection.c.comment).join(rejection)
    with observatory.store.read() as connection:
        assert {tuple(row) for row in connection.execute(query)} == {
            ("/b/m.fits", "the same bytes as m.fits in another directory")
        }


def verdicts(store: Store, dataset: str) -> dict[str, str]:
    with store.read() as connection:
        mine = image.c.dataset == dataset_id(connection, dataset)
        query = select(image.c.file_name, image.c.verdict).where(mine)
        return {row.file_name: row.verdict for row in connection.execute(query)}


def reason(store: Store, dataset: str, name: str) -> str:
    with store.read() as connection:
        rejected = rejected_units(connection, dataset_id(connection, dataset))
    return {unit.name: unit.reason for unit in rejected}[name]

"""Images and monitoring positions that come and go leave what a run without the detour gives."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from conftest import new_store
from stages.conftest import checksum
from stages.made_images import MadeImage, Observatory, Seen, random_images
from stages.test_arrival import HERE, MONITOR, PAIR, SHORT_HISTORY, verdicts
from stages.test_promises import Died, dying
from trap_ops.errors import ConfigError, StoreError
from trap_ops.records.runs import MonitorPosition
from trap_ops.store import runs
from trap_ops.store.database import Store
from trap_ops.store.schema import forcedfit, frequencyband, image, monitor, skyregion

POSITIONS = [
    *MONITOR,
    MonitorPosition(10.0, 10.02, "mid, with a comma"),
    MonitorPosition(0.21, 10.05),
    MonitorPosition(359.95, 10.1, "another"),
]


@pytest.fixture
def observatory(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Observatory]:
    with new_store("sqlite", request, tmp_path) as store:
        yield Observatory(store, tmp_path, monkeypatch)


@dataclass
class History:
    """A dataset that things come to and go from at random, and what it has now."""

    observatory: Observatory
    name: str
    everything: Sequence[MadeImage]
    rng: random.Random
    images: list[MadeImage] = field(default_factory=list)
    monitor: list[MonitorPosition] = field(default_factory=list)
    done: list[str] = field(default_factory=list)

    def step(self) -> None:
        absent = [image for image in self.everything if image not in self.images]
        unwatched = [position for position in POSITIONS if position not in self.monitor]
        choices = []
        if absent:
            choices += [self.append] * 3
        if self.images and unwatched:
            choices.append(self.add)
        if self.images and self.monitor:
            choices.append(self.remove)
        if len(self.images) > 1:
            choices += [self.withdraw] * 2
        action = self.rng.choice(choices)
        action()
        self.done.append(action.__name__)

    def some(self, items: Sequence[Any], most: int) -> list[Any]:
        return self.rng.sample(list(items), self.rng.randint(1, min(most, len(items))))

    def append(self) -> None:
        new = self.some([i for i in self.everything if i not in self.images], 5)
        self.observatory.run(self.name, new)
        self.images += new

    def add(self) -> None:
        new = self.some([p for p in POSITIONS if p not in self.monitor], 3)
        self.observatory.change(self.name, monitor=new)
        self.monitor += new

    def remove(self) -> None:
        old = self.some(self.monitor, 2)
        words = [p.name or f"{p.ra_deg - 360.0!r} {p.dec_deg!r}" for p in old]
        self.observatory.change(self.name, remove_monitors=words)
        self.monitor = [position for position in self.monitor if position not in old]

    def withdraw(self) -> None:
        old = self.some(self.images, min(4, len(self.images) - 1))
        self.observatory.change(self.name, withdraw=[image.path for image in old])
        self.images = [image for image in self.images if image not in old]


@pytest.mark.parametrize(
    "seed",
    [
        *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2)),
        *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 55)),
    ],
)
def test_any_history_ends_in_what_one_run_gives(observatory: Observatory, seed: int) -> None:
    """Runs, late images, positions that come and go, withdrawn images: only the end counts."""
    observatory.settings = {"quality": SHORT_HISTORY if seed % 2 else {}}
    rng = random.Random(seed)
    images = random_images(100 + seed)
    history = History(observatory, "history", images, rng)
    for number in range(3):
        for _ in range(4):
            history.step()
        observatory.monitor = history.monitor
        expected = observatory.run_all(f"clean {number}", [history.images])
        observatory.monitor = ()
        assert checksum(observatory.store, "history") == expected, history.done


@pytest.fixture
def both(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Observatory:
    """On SQLite and on PostgreSQL."""
    return Observatory(store, tmp_path, monkeypatch)


@pytest.mark.parametrize("seed", [60, pytest.param(61, marks=pytest.mark.slow)])
def test_both_databases_forget_what_is_withdrawn(both: Observatory, seed: int) -> None:
    """Half of the images and positions go in one run, and come back in two."""
    images = random_images(seed)
    both.monitor = POSITIONS[:4]
    whole = both.run_all("whole", [images])
    both.monitor = POSITIONS[:2]
    half = both.run_all("half", [images[::2]])
    both.monitor = POSITIONS[:4]
    both.run("changing", images)
    both.run("bystander", images)
    names = [position.name for position in POSITIONS[2:4]]
    both.change("changing", withdraw=[made.path for made in images[1::2]], remove_monitors=names)
    assert checksum(both.store, "changing") == half
    both.monitor = ()
    both.change("changing", monitor=POSITIONS[2:4])
    assert both.run_all("changing", [images[1::4], images[3::4]]) == whole
    assert checksum(both.store, "bystander") == whole


def test_what_rested_on_a_withdrawn_image_is_found_again(both: Observatory) -> None:
    """It had made two bands one, rejected a later image, and been the original of a copy."""
    both.settings = {"quality": SHORT_HISTORY}
    images = [
        MadeImage("a.fits", 1, PAIR, freq_hz=142.8e6, rms_jy=0.001),
        MadeImage("b.fits", 2, HERE, freq_hz=141.8e6, rms_jy=0.00101),
        MadeImage("c.fits", 3, HERE, freq_hz=143.8e6, rms_jy=0.00102),
        MadeImage("d.fits", 4, PAIR, freq_hz=141.8e6, rms_jy=0.0012),
        MadeImage("z-copy.fits", 1, PAIR, freq_hz=142.8e6, rms_jy=0.001, copy_of="a.fits"),
    ]
    both.run("series", images)
    first = verdicts(both.store, "series")
    assert (first["d.fits"], first["z-copy.fits"]) == ("rejected", "rejected")
    both.change("series", withdraw=["a.fits", "z-copy.fits"])
    assert verdicts(both.store, "series")["d.fits"] == "accepted"
    assert checksum(both.store, "series") == both.run_all("clean", [images[1:4]])
    both.change("series", withdraw=["b.fits"])
    assert checksum(both.store, "series") == both.run_all("cleaner", [images[2:4]])
    for table in (frequencyband, skyregion):
        with both.store.read() as connection:
            rows = connection.execute(select(table.c.dataset)).scalars().all()
        assert len(rows) == {frequencyband: 2 + 2 + 2, skyregion: 3}[table]
    both.run("series", images[4:])
    assert verdicts(both.store, "series")["z-copy.fits"] == "accepted"


def requests(store: Store, dataset: str) -> set[tuple[str, str, str]]:
    query = (
        select(image.c.file_name, forcedfit.c.status, forcedfit.c.reason)
        .join(image, image.c.id == forcedfit.c.image)
        .join(monitor, monitor.c.id == forcedfit.c.monitor)
    )
    with store.read() as connection:
        return {tuple(row) for row in connection.execute(query)}


def test_files_that_have_gone_are_measured_when_they_are_back(both: Observatory) -> None:
    """Until then a position has the reason; as in a run in which the file went just as early."""
    images = [MadeImage(f"{n}.fits", n, HERE) for n in range(3)]
    position = [MonitorPosition(10.06, 10.0, "beside")]
    both.run("series", images)
    both.gone = {images[1].path}
    both.change("series", monitor=position)
    fates = {
        ("0.fits", "fitted", ""),
        ("1.fits", "requested", "no such file"),
        ("2.fits", "fitted", ""),
    }
    assert requests(both.store, "series") == fates
    both.monitor = position
    assert checksum(both.store, "series") == both.run_all("gone early", [images])
    both.gone = set()
    both.monitor = ()
    both.change("series", monitor=position)
    both.monitor = position
    assert checksum(both.store, "series") == both.run_all("never gone", [images])


def test_withdrawing_leaves_fits_in_files_that_have_gone(observatory: Observatory) -> None:
    """Only where a position is another one now the file is needed: the limit of the promise."""
    steady = [MadeImage(f"{n}.fits", n, PAIR[: 1 + (n == 0)]) for n in range(4)]
    moved = [
        MadeImage("a.fits", 1, (Seen(10.0, 10.0),)),
        MadeImage("b.fits", 2, (Seen(10.0003, 10.0),)),
        MadeImage("c.fits", 3),
    ]
    observatory.run("steady", steady)
    observatory.run("moved", moved)
    expected = observatory.run_all("steady, clean", [steady[:3]])
    other = observatory.run_all("moved, clean", [[moved[0], moved[2]]])
    observatory.gone = {made.path for made in [*steady, *moved]}
    observatory.change("steady", withdraw=["3.fits"])
    assert checksum(observatory.store, "steady") == expected
    observatory.change("moved", withdraw=["b.fits"])
    assert checksum(observatory.store, "moved") != other
    observatory.gone = set()
    observatory.change("moved", monitor=[MonitorPosition(1.0, 1.0)])
    observatory.change("moved", remove_monitors=["1 1"])
    assert checksum(observatory.store, "moved") == other


CHANGE = {
    "monitor": [MonitorPosition(10.05, 10.0, "between")],
    "withdraw": ["1.fits", "/night/3.fits"],
    "remove_monitors": ["old one", "10.02 10"],
}


@pytest.mark.parametrize(
    "step", [pytest.param(4, marks=pytest.mark.slow), pytest.param(1, marks=pytest.mark.long)]
)
@pytest.mark.parametrize("again", ["the same run", "another run"])
def test_death_in_a_change_loses_nothing(
    observatory: Observatory, monkeypatch: pytest.MonkeyPatch, again: str, step: int
) -> None:
    """Die before or after a commit, anywhere; the same change once more gives the same."""
    images = [MadeImage(f"{n}.fits", n, PAIR[n % 2 :], rms_jy=0.001) for n in range(5)]
    old = [MonitorPosition(10.01, 10.0, "old one"), MonitorPosition(10.02, 10.0)]
    observatory.monitor = CHANGE["monitor"]
    expected = observatory.run_all("clean", [[images[n] for n in (0, 2, 4)]])
    observatory.monitor = old
    number = 0
    while True:
        number += step
        name = f"series {number}"
        observatory.run(name, images)
        try:
            with dying(monkeypatch, number, committed=number % 2 == 0):
                observatory.change(name, run_key=f"killed {number}", **CHANGE)
        except Died:
            if again == "another run":
                finished = give_up(observatory.store, f"killed {number}")
            if again == "the same run":
                observatory.change(name, run_key=f"killed {number}", **CHANGE)
            elif not finished:
                observatory.change(name, **CHANGE)
            assert checksum(observatory.store, name) == expected, number
        else:
            break
    assert number > 15


def give_up(store: Store, key: str) -> bool:
    """As `trap-manage abandon`; return whether the run had finished."""
    with store.write() as connection:
        try:
            record = runs.find_run(connection, key)
        except StoreError:  # It died before it was planned.
            return False
        runs.give_up(connection, record, "killed")
    return record.state == runs.FINISHED


def test_what_a_finished_run_took_out_is_no_longer_known(observatory: Observatory) -> None:
    images = [MadeImage(f"{n}.fits", n, HERE) for n in range(3)]
    observatory.run("series", images)
    observatory.change("series", withdraw=["1.fits"], run_key="first")
    with pytest.raises(ConfigError, match=r"nothing is withdrawn:\n  the dataset has no image 1.f"):
        observatory.change("series", withdraw=["1.fits"])
    # Its own tasks may be tried again.
    observatory.change("series", withdraw=["1.fits"], run_key="first")
    assert checksum(observatory.store, "series") == observatory.run_all("clean", [images[::2]])


def test_what_an_unfinished_run_took_out_is_known_until_another_finishes(
    observatory: Observatory, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [MadeImage(f"{n}.fits", n, HERE) for n in range(3)]
    observatory.run("series", images)
    for _ in range(2):
        with pytest.raises(Died), dying(monkeypatch, 5, committed=True):
            observatory.change("series", withdraw=["1.fits"], run_key="killed")
        give_up(observatory.store, "killed")
    observatory.change("series", monitor=[MonitorPosition(1.0, 1.0)])
    with pytest.raises(ConfigError, match=r"the dataset has no image 1.fits"):
        observatory.change("series", withdraw=["1.fits"])


def test_names_that_mean_several_are_refused(observatory: Observatory) -> None:
    images = [MadeImage("m.fits", 1, HERE, directory=f"/{d}", copy_of="m.fits") for d in "ab"]
    position = MonitorPosition(10.0, 10.0, "twice")
    observatory.monitor = [position, MonitorPosition(20.0, 10.0, "twice")]
    observatory.run("series", images)
    with pytest.raises(ConfigError, match=r"m.fits is the name of several files: /a/m.fits, /b/m"):
        observatory.change("series", withdraw=["m.fits"])
    with pytest.raises(ConfigError, match=r"'twice' may be each of 'twice' \(id 1, 10.*by its id"):
        observatory.change("series", remove_monitors=["twice"])
    observatory.change("series", withdraw=["/a/m.fits"], remove_monitors=["2"])
    observatory.monitor = [position]
    assert checksum(observatory.store, "series") == observatory.run_all("clean", [images[1:]])

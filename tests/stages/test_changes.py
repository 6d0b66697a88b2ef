"""Images and monitoring positions that come and go leave what a run without the detour gives."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from conftest import new_store
from stages.conftest import checksum
from stages.made_images import MadeImage, Observatory, random_images
from stages.test_arrival import MONITOR, SHORT_HISTORY
from trap_ops.records.runs import MonitorPosition

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
        *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(5)),
        *(pytest.param(seed, marks=pytest.mark.long) for seed in range(5, 55)),
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

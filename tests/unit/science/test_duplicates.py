"""Which images are one observation, and which only look at the same time."""

from __future__ import annotations

from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from trap_ops.science.duplicates import same_observations

FIRST: dict[str, Any] = {
    "start": datetime(2026, 1, 1), "freq_eff_hz": 150e6, "stokes": 1, "integration_s": 8.0,
    "beam_semimajor_deg": 0.005, "beam_semiminor_deg": 0.004, "centre_ra_deg": 359.99999,
    "centre_dec_deg": 35.0,
}  # fmt: skip


def image(**changed: Any) -> Any:
    return SimpleNamespace(**{**FIRST, **changed})


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        ({}, True),
        ({"start": datetime(2026, 1, 1, 0, 0, 0, 1)}, False),
        ({"freq_eff_hz": 150e6 * (1 + 0.9e-6)}, True),
        ({"freq_eff_hz": 150e6 * (1 + 1.1e-6)}, False),
        ({"stokes": 4}, False),
        ({"integration_s": 8.0 * (1 + 0.9e-6)}, True),
        ({"integration_s": 8.0001}, False),
        ({"integration_s": 0.0}, False),
        ({"beam_semimajor_deg": 0.005 * (1 + 0.9e-4)}, True),
        ({"beam_semimajor_deg": 0.005 * (1 + 1.1e-4)}, False),
        ({"beam_semiminor_deg": 0.004 * (1 - 1.1e-4)}, False),
        # 0.01 of a minor axis of 28.8 arcsec, across RA 0 too.
        ({"centre_dec_deg": 35.0 + 0.28 / 3600.0}, True),
        ({"centre_dec_deg": 35.0 + 0.30 / 3600.0}, False),
        ({"centre_ra_deg": 0.00007}, True),
        ({"centre_ra_deg": 0.0001}, False),
    ],
)
def test_each_quantity_has_its_tolerance(changed: dict[str, Any], same: bool) -> None:
    pair = sorted([image(), image(**changed)], key=lambda i: (i.start, i.freq_eff_hz, i.stokes))
    assert same_observations(pair) == [[], [0] if same else []]


def test_small_beams_may_be_a_tenth_of_an_arcsec_apart() -> None:
    small = {"beam_semimajor_deg": 1e-6, "beam_semiminor_deg": 1e-6}
    pairs = [
        [image(**small), image(**small, centre_dec_deg=35.0 + d / 3600.0)] for d in (0.09, 0.11)
    ]
    assert [same_observations(pair)[1] for pair in pairs] == [[0], []]


def test_beams_subbands_channels_and_stokes_of_one_time_step_are_different_images() -> None:
    step = [
        image(freq_eff_hz=freq, stokes=stokes, centre_dec_deg=dec)
        for freq in (150e6, 150.195e6, 150.39e6)
        for stokes in (1, 4)
        for dec in (34.0, 35.0, 36.0)
    ]
    assert same_observations(step) == [[]] * 18


def test_all_earlier_ones_are_named_in_order() -> None:
    images = [image(), image(stokes=2), image(), image()]
    assert same_observations(images) == [[], [], [0], [0, 2]]
    assert same_observations([]) == []


def test_beams_that_are_infinite_are_equal_to_none() -> None:
    assert same_observations([image(beam_semimajor_deg=np.inf)] * 2) == [[], []]


def test_fast_and_slow_agree() -> None:
    """Against a comparison of all pairs, on steps of many near-equal images."""
    rng = np.random.default_rng(2)
    images = [
        image(
            start=FIRST["start"] + timedelta(seconds=int(rng.integers(3))),
            freq_eff_hz=150e6 * (1 + 4e-7 * rng.integers(12)),
            stokes=int(rng.integers(1, 3)),
            centre_dec_deg=35.0 + rng.integers(3) * 0.2 / 3600.0,
        )
        for _ in range(120)
    ]
    images.sort(key=lambda item: (item.start, item.freq_eff_hz, item.stokes))
    slow = [
        [
            j
            for j in range(i)
            if (images[j].start, images[j].stokes) == (images[i].start, images[i].stokes)
            and images[j].freq_eff_hz >= images[i].freq_eff_hz * (1 - 1e-6)
            and abs(images[j].centre_dec_deg - images[i].centre_dec_deg) < 0.288 / 3600.0
        ]
        for i in range(len(images))
    ]
    assert same_observations(images) == slow
    assert sum(map(bool, slow)) > 50

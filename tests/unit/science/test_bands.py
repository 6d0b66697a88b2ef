"""Frequency bands (SCIENCE.md 2.1)."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trap_ops.records.images import Band
from trap_ops.science.bands import assign_bands

MHZ = 1e6


def index_of(*images: tuple[float, float], bandwidth_max_hz: float = 0.0) -> list[int]:
    return assign_bands(images, [], bandwidth_max_hz)[0]


@pytest.mark.parametrize(
    ("images", "bands"),
    [
        # The checks of SCIENCE.md 2.1, in MHz.
        ([(124.0219, 1.758), (124.0219, 1.758)], [0, 0]),
        ([(124.0219, 1.758), (114.0219, 1.758)], [0, 1]),
        ([(124.0219, 1.758), (114.0219, 175.8)], [0, 0]),
        ([(124.0219, 1.758), (123.924, 1.953)], [0, 0]),
        ([(50, 2), (51, 2)], [0, 0]),
        # A chain does not become one band: a band never grows.
        ([(140, 2), (141.9, 2), (143.8, 2), (145.7, 2)], [0, 0, 1, 1]),
        # Touching is not enough.
        ([(50, 2), (52, 2)], [0, 1]),
        ([(50, 2), (51.999, 2)], [0, 0]),
        # One inside the other, either way round.
        ([(50, 10), (51, 1)], [0, 0]),
        ([(51, 1), (50, 10)], [0, 0]),
        # A channel step that goes down is a width all the same.
        ([(50, -2), (51, 2), (49, -2)], [0, 0, 0]),
        # Of two that overlap the first counts.
        ([(50, 2), (53, 2), (51.5, 4)], [0, 1, 0]),
        ([], []),
    ],
)
def test_images_find_their_bands(images: list[tuple[float, float]], bands: list[int]) -> None:
    assert index_of(*((f * MHZ, w * MHZ) for f, w in images)) == bands


def test_contiguous_channels_are_bands_of_their_own() -> None:
    """Their edges differ in the last digits, so that some would overlap by rounding."""
    channels = [(888.5e6 + i * 1e6 / 3, 1e6 / 3) for i in range(12)]
    assert index_of(*channels) == list(range(12))
    # Frequencies as headers write them, with ten digits.
    assert index_of(*((float(f"{f:.9e}"), float(f"{w:.9e}")) for f, w in channels)) == list(
        range(12)
    )
    # Channels that overlap by a thousandth of their width do overlap.
    assert index_of(*((f, w * 1.001) for f, w in channels[:4])) == [0, 0, 1, 1]


@pytest.mark.parametrize("width_hz", [1.0, 1e-3])
def test_a_band_however_narrow_overlaps_with_itself(width_hz: float) -> None:
    assert index_of((1.42e9, width_hz), (1.42e9, width_hz), (1.42e9, 1e6)) == [0, 0, 0]


def test_a_largest_bandwidth_replaces_every_width() -> None:
    images = [(50 * MHZ, 2 * MHZ), (47 * MHZ, 5 * MHZ)]
    assert index_of(*images) == [0, 0]
    index, bands = assign_bands(images, [], 50e3)
    assert index == [0, 1]
    assert bands[1] == Band(47e6, 46.975e6, 47.025e6)
    # Also where the image is narrower.
    assert assign_bands([(50e6, 1.0)], [], 50e3)[1] == [Band(50e6, 49.975e6, 50.025e6)]


def test_known_bands_come_first_and_stay_as_they_are() -> None:
    known = [Band(100e6, 99e6, 101e6), Band(50e6, 49e6, 51e6)]
    index, bands = assign_bands([(51.5e6, 2e6), (60e6, 2e6), (60e6, 2e6)], known)
    assert index == [1, 2, 2]
    assert bands == [*known, Band(60e6, 59e6, 61e6)]
    assert len(known) == 2


@given(
    st.lists(st.tuples(st.integers(40, 60), st.integers(-6, 6).filter(bool)), max_size=12),
    st.sampled_from([0, 1, 3]),
)
def test_bands_are_as_the_rule_says(images: list[tuple[int, int]], width_max: int) -> None:
    """The rule in exact fractions: the first band whose interval shares a positive length."""
    expected: list[int] = []
    intervals: list[tuple[Fraction, Fraction]] = []
    for frequency, bandwidth in images:
        half = Fraction(width_max or abs(bandwidth), 2)
        low, high = frequency - half, frequency + half
        shared = [min(high, b) - max(low, a) for a, b in intervals]
        first = next((i for i, length in enumerate(shared) if length > 0), len(intervals))
        if first == len(intervals):
            intervals.append((low, high))
        expected.append(first)
    index, bands = assign_bands([(float(f), float(w)) for f, w in images], [], float(width_max))
    assert index == expected
    assert [(b.low_hz, b.high_hz) for b in bands] == intervals

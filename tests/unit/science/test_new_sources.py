"""When a source that appears is new: the limits of earlier images."""

from __future__ import annotations

import math

import numpy as np
import pytest
from astropy.wcs import WCS

from trap_ops.records.images import Coverage
from trap_ops.science.coverage import make_coverage
from trap_ops.science.new_sources import (
    DetectionLimits,
    EarlierLimits,
    classify,
    detection_limits,
)
from unit.science.made_detections import detections


def test_limits_are_rms_times_threshold_and_margin() -> None:
    limits = detection_limits(5, 2, 1e-3, 4e-3, 8.0, 1.0)
    assert (limits.low_jy, limits.high_jy) == pytest.approx((9e-3, 36e-3))


def test_above_both_limits_is_likely_new_above_the_lower_possibly() -> None:
    peak = np.array([8.9, 9.0, 9.1, 36.0, 36.1, 99.0])
    low, high = np.full(6, 9.0), np.full(6, 36.0)
    items, kind = classify(peak, low, high)
    assert items.tolist() == [2, 3, 4, 5]
    assert kind.tolist() == [0, 0, 1, 1]


def test_without_an_earlier_image_nothing_is_new() -> None:
    items, kind = classify(np.array([1e9]), np.array([np.nan]), np.array([np.nan]))
    assert len(items) == len(kind) == 0


def limits(image: int, low: float, high: float) -> DetectionLimits:
    return detection_limits(image, image, low, high, 1.0, 0.0)


def exceeded(
    *earlier: DetectionLimits, shown: dict[int, Coverage] | None = None, peak_jy: float = 100.0
) -> list[tuple[int, int]]:
    """Image and kind for a source that appears at (10, 20), if it is new."""
    limits_of = EarlierLimits((shown or {}).get)
    for item in earlier:
        limits_of.add(1, 1, 1, item)
    at = detections(10.0, 20.0, peak_jy=peak_jy)
    members = {1: np.array([True]), 2: np.array([True])}
    _, images, kind = limits_of.exceeded(1, 1, members, at)
    return list(zip(images.tolist(), kind.tolist(), strict=True))


@pytest.mark.parametrize(
    ("first", "second", "best"),
    [
        (limits(1, 1.0, 2.0), limits(2, 2.0, 2.0), 1),
        (limits(1, 2.0, 2.0), limits(2, 1.0, 9.0), 2),
        (limits(1, 1.0, 3.0), limits(2, 1.0, 2.0), 2),
        (limits(1, 1.0, 2.0), limits(2, 1.0, 2.0), 1),
        (limits(2, 1.0, 2.0), limits(1, 1.0, 2.0), 1),
        (limits(1, math.nan, math.nan), limits(2, 5.0, 6.0), 2),
        (limits(1, 5.0, 6.0), limits(2, math.nan, math.nan), 1),
        (limits(1, 1.0, math.nan), limits(2, 5.0, 6.0), 2),
    ],
)
def test_the_deepest_image_counts_then_the_earliest(
    first: DetectionLimits, second: DetectionLimits, best: int
) -> None:
    assert exceeded(first, second) == [(best, 1)]


def showing(ra_deg: float, *, masked: bool = False) -> Coverage:
    """What an image of a tenth of a degree about (RA, 20) shows: all of it or nothing."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra_deg, 20.0]
    wcs.wcs.crpix = [10.5, 10.5]
    wcs.wcs.cdelt = [-0.005, 0.005]
    return make_coverage(np.full((20, 20), masked), np.eye(2), wcs)


@pytest.mark.parametrize(("peak_jy", "new"), [(-3.5, [(1, 1)]), (-1.5, [(1, 0)]), (-0.5, [])])
def test_a_source_below_the_background_is_as_bright_as_it_is_deep(
    peak_jy: float, new: list[tuple[int, int]]
) -> None:
    assert exceeded(limits(1, 1.0, 3.0), peak_jy=peak_jy) == new


def test_an_image_that_does_not_show_the_position_never_counts() -> None:
    near, away, masked = showing(10.01), showing(10.2), showing(10.01, masked=True)
    deep, deeper, deepest = limits(1, 4.0, 5.0), limits(2, 2.0, 3.0), limits(3, 1.0, 2.0)
    three = (deep, deeper, deepest)
    assert exceeded(*three, shown={1: near, 2: away, 3: masked}) == [(1, 1)]
    assert exceeded(*three, shown={1: near, 2: near, 3: away}) == [(2, 1)]
    assert exceeded(*three, shown={1: away, 2: away, 3: masked}) == []
    # Of the second it is not known; then all that is in its region counts.
    assert exceeded(*three, shown={1: near, 3: masked}) == [(2, 1)]


def test_a_source_below_the_image_that_shows_it_is_not_new() -> None:
    shown = {1: showing(10.0), 2: showing(10.2)}
    earlier = (limits(1, 4.0, 6.0), limits(2, 1.0, 2.0))
    assert [exceeded(*earlier, shown=shown, peak_jy=peak) for peak in (4.0, 5.0, 7.0)] == [
        [],
        [(1, 0)],
        [(1, 1)],
    ]

"""When a source that appears is new: the limits of earlier images."""

from __future__ import annotations

import math

import numpy as np
import pytest

from trap_ops.science.new_sources import DetectionLimits, best_limits, classify, detection_limits


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


@pytest.mark.parametrize(
    ("first", "second", "best"),
    [
        (None, limits(1, 1.0, 2.0), 1),
        (limits(1, 1.0, 2.0), limits(2, 2.0, 2.0), 1),
        (limits(1, 2.0, 2.0), limits(2, 1.0, 9.0), 2),
        (limits(1, 1.0, 3.0), limits(2, 1.0, 2.0), 2),
        (limits(1, 1.0, 2.0), limits(2, 1.0, 2.0), 1),
        (limits(2, 1.0, 2.0), limits(1, 1.0, 2.0), 1),
        (limits(1, math.nan, math.nan), limits(2, 5.0, 6.0), 2),
        (limits(1, 5.0, 6.0), limits(2, math.nan, math.nan), 1),
    ],
)
def test_the_deepest_image_counts_then_the_earliest(
    first: object, second: object, best: int
) -> None:
    assert best_limits(first, second).image == best

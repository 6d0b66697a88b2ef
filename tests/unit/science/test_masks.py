"""Pixels without data, margins and windows, by hand and against the plain way."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from trap_ops.science.masks import blank_pixels, pixel_mask, widen


def test_mask_of_pixels_by_hand() -> None:
    data = np.ones((40, 50), dtype=np.float32)
    data[0, 0], data[5, 5] = np.nan, 0.0
    data[20:30, 20:30] = 0.0
    mask = pixel_mask(data, 0, 0.0, 6.0)
    expected = np.zeros_like(mask)
    expected[0, 0] = expected[20:30, 20:30] = True
    np.testing.assert_array_equal(mask, expected)
    assert pixel_mask(data, 3, 0.0, 6.0)[:3].all()
    circle = pixel_mask(np.ones((40, 50), dtype=np.float32), 0, 10.0, 6.0)
    y, x = np.mgrid[0:40, 0:50]
    np.testing.assert_array_equal(~circle, np.hypot(x - 24.5, y - 19.5) < 10.0)


@pytest.mark.parametrize("fwhm_px", [1.5, 4.0, 6.3, 11.0])
def test_blank_zeros_are_those_of_an_opening(fwhm_px: float) -> None:
    rng = np.random.default_rng(1)
    y, x = np.mgrid[0:90, 0:120]
    data = rng.normal(0.0, 1.0, y.shape).astype(np.float32)
    data[(np.hypot(x - 60, y - 45) > 40) | (rng.uniform(size=y.shape) < 0.05)] = 0.0
    data[40:47, 50:56] = 0.0
    side = max(3, int(np.ceil(fwhm_px)))
    expected = ndimage.binary_opening(data == 0.0, structure=np.ones((side, side), dtype=bool))
    assert expected.any()
    assert not expected.all()
    np.testing.assert_array_equal(blank_pixels(data, fwhm_px), expected)


def test_zeros_in_an_image_smaller_than_the_beam_are_data() -> None:
    assert not blank_pixels(np.zeros((5, 40), dtype=np.float32), 6.0).any()


@pytest.mark.parametrize("reach", [0, 1, 4, 7])
def test_widening_is_a_maximum_filter(reach: int) -> None:
    mask = np.random.default_rng(2).uniform(size=(40, 50)) < 0.01
    expected = ndimage.maximum_filter(mask, 2 * reach + 1, mode="constant")
    np.testing.assert_array_equal(widen(mask, reach), expected)

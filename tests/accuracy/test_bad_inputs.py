"""What finders stumble over: holes, borders, infinities, offsets, scales, small images."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from trap_ops.config.model import ExtractionConfig
from trap_ops.science.extraction import extract
from trap_ops.science.measurement import Measurements
from trap_ops.simulate.fields import FieldPlan, make_field

PLAN = FieldPlan(size_px=512, per_megapixel=304.0)
CONFIG = ExtractionConfig(detection_threshold_sigma=5.0, margin_px=0)
FIELD = make_field(PLAN, np.random.default_rng(20))
Y, X = np.mgrid[:512, :512]
RADIUS = np.hypot(X - 255.5, Y - 255.5)


def found(pixels: np.ndarray) -> Measurements | None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = extract(np.asarray(pixels, dtype=np.float32), FIELD.beam_covariance_px, CONFIG)
    return None if made is None else made.measurements


PLAIN = found(FIELD.pixels)
assert PLAIN is not None


def with_value(where: np.ndarray, value: float) -> np.ndarray:
    return np.where(where, np.float32(value), FIELD.pixels)


def same_where(made: Measurements | None, kept: np.ndarray) -> None:
    """The sources of the plain image that are well inside what is kept, and none elsewhere."""
    assert made is not None
    assert PLAIN is not None
    column, row = np.rint(made.x).astype(int), np.rint(made.y).astype(int)
    assert kept[row, column].all()
    clear = _shrunk(kept, 8)[np.rint(PLAIN.y).astype(int), np.rint(PLAIN.x).astype(int)]
    # Those at the threshold may come and go as the noise is measured from other pixels.
    bright = clear & (PLAIN.snr > 6.0)
    distance = np.hypot(PLAIN.x[bright, None] - made.x, PLAIN.y[bright, None] - made.y)
    assert (distance.min(axis=1) < 1.0).all()
    assert len(made) <= kept[np.rint(PLAIN.y).astype(int), np.rint(PLAIN.x).astype(int)].sum() + 1


def _shrunk(kept: np.ndarray, pixels: int) -> np.ndarray:
    made = kept.copy()
    for _ in range(pixels):
        made[1:-1, 1:-1] &= made[:-2, 1:-1] & made[2:, 1:-1] & made[1:-1, :-2] & made[1:-1, 2:]
    return made


def test_plain() -> None:
    assert PLAIN is not None
    truth = FIELD.peak > 6.5
    distance = np.hypot(FIELD.x[truth, None] - PLAIN.x, FIELD.y[truth, None] - PLAIN.y)
    assert (distance.min(axis=1) < 3.0).all()
    assert len(PLAIN) <= len(FIELD.x)


@pytest.mark.parametrize("value", [np.nan, 0.0, np.inf, -np.inf])
@pytest.mark.parametrize(
    "bad",
    [RADIUS > 230, (abs(X - 200) < 30) & (abs(Y - 300) < 40), X > 255],
    ids=["outside a circle", "hole", "half"],
)
def test_parts_without_data(bad: np.ndarray, value: float) -> None:
    same_where(found(with_value(bad, value)), ~bad)


@pytest.mark.parametrize(("share", "least_found"), [(0.01, 0.98), (0.05, 0.9)])
def test_speckles_of_nan(share: float, least_found: float) -> None:
    """Only what has two holes at an end of its axes is lost, and nothing is measured worse."""
    bad = np.random.default_rng(2).random((512, 512)) < share
    made = found(with_value(bad, np.nan))
    assert made is not None
    assert PLAIN is not None
    bright = PLAIN.take(PLAIN.snr > 6.0)
    distance = np.hypot(bright.x[:, None] - made.x, bright.y[:, None] - made.y)
    seen, partner = distance.min(axis=1) < 1.0, distance.argmin(axis=1)
    assert seen.mean() > least_found
    difference = (made.flux[partner] - bright.flux)[seen] / bright.flux_err[seen]
    # As much as the holes take of a footprint; four sigma of it.
    assert np.abs(difference).max() < 4.0 * np.sqrt(5.0 * share)
    assert len(made) <= len(PLAIN) + 1


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e30, -1e30])
def test_one_absurd_pixel(value: float) -> None:
    bad = np.zeros((512, 512), dtype=bool)
    bad[137, 300] = True
    made = found(with_value(bad, value))
    assert made is not None
    assert PLAIN is not None
    away = np.hypot(made.x - 300, made.y - 137) > 20
    assert abs(away.sum() - len(PLAIN)) <= 2


@pytest.mark.parametrize("value", [0.0, 3.0, np.nan, np.inf, 1e30])
def test_images_without_noise(value: float) -> None:
    assert found(np.full((512, 512), value)) is None


def test_an_offset_is_background() -> None:
    made = found(FIELD.pixels + np.float32(1000.0))
    assert made is not None
    assert PLAIN is not None
    assert len(made) == len(PLAIN)
    np.testing.assert_allclose(made.flux, PLAIN.flux, atol=0.01)


@pytest.mark.parametrize("factor", [1e6, 1e-9])
def test_a_scale_is_a_unit(factor: float) -> None:
    made = found(FIELD.pixels * np.float32(factor))
    assert made is not None
    assert PLAIN is not None
    assert len(made) == len(PLAIN)
    np.testing.assert_allclose(made.flux / factor, PLAIN.flux, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(made.x, PLAIN.x, atol=1e-3)


def test_the_negative_image_has_no_source() -> None:
    made = found(-FIELD.pixels)
    assert made is not None
    assert len(made) == 0


@pytest.mark.parametrize("shape", [(100, 100), (40, 40), (512, 20), (7, 7), (1, 512), (3, 3)])
def test_small_images(shape: tuple[int, int]) -> None:
    made = found(FIELD.pixels[: shape[0], : shape[1]])
    assert made is None or len(made) <= 12

"""From pixels to measured sources, on simulated images with known ones."""

from __future__ import annotations

import numpy as np
import pytest

from trap_ops.config.model import ExtractionConfig
from trap_ops.records.sources import Flag
from trap_ops.science.beam import beam_covariance
from trap_ops.science.extraction import Extraction, extract, pixel_mask
from trap_ops.simulate.noise import correlated_noise
from trap_ops.simulate.series import add_gaussians

BEAM = beam_covariance(7.0, 5.0, 30.0, [[-1.0, 0.0], [0.0, 1.0]])
SIZE = 384
CONFIG = ExtractionConfig(margin_px=0)


def sky(flux: float = 50.0, shape: np.ndarray = BEAM, seed: int = 1) -> tuple[np.ndarray, ...]:
    """Pixels with noise of rms 1 and 49 equal sources at all fractions of a pixel."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[40:SIZE:56, 40:SIZE:56].reshape(2, -1) + rng.uniform(-0.5, 0.5, (2, 49))
    data = correlated_noise((SIZE, SIZE), BEAM, "natural", rng)
    add_gaussians(data, x, y, np.full(len(x), flux), shape)
    return data, x, y


def run(data: np.ndarray, **settings: object) -> Extraction:
    found = extract(data, BEAM, CONFIG.model_copy(update=settings))
    assert found is not None
    return found


@pytest.mark.parametrize("force_beam", [True, False])
def test_all_sources_and_no_others_are_found_and_measured(force_beam: bool) -> None:
    data, x, y = sky()
    found = run(data, force_beam=force_beam).measurements
    assert len(found) == len(x)
    order = np.lexsort((np.rint(x), np.rint(y)))
    np.testing.assert_allclose(np.sort(found.x), np.sort(x), atol=0.5)
    distance = np.hypot(found.x[:, None] - x[order], found.y[:, None] - y[order])
    truth = order[distance.argmin(axis=1)]
    assert sorted(truth) == list(range(len(x)))
    for value, true, variance in (
        (found.x, x[truth], found.position_covariance[:, 0, 0]),
        (found.y, y[truth], found.position_covariance[:, 1, 1]),
        (found.peak, 50.0, found.peak_err**2),
        (found.flux, 50.0, found.flux_err**2),
    ):
        pull = (value - true) / np.sqrt(variance)
        # 49 sources: 0.1 in the scatter, 0.14 in the mean; four sigma.
        assert np.abs(pull).max() < 4.5
        assert 0.6 < pull.std() < 1.4
        assert abs(pull.mean()) < 0.57


def test_measurements_come_by_row_then_column_of_their_peaks() -> None:
    found = run(sky()[0]).measurements
    rows = np.stack([np.rint(found.y), np.rint(found.x)], axis=1)
    # A fit may lie on the other side of a pixel's edge than its peak.
    assert (np.diff(rows[:, 0]) >= -1).all()


def test_resolved_sources_are_flagged_and_have_more_flux_than_peak() -> None:
    wide = BEAM * 2.0
    found = run(sky(shape=wide)[0], force_beam=False).measurements
    assert (found.flags & Flag.RESOLVED).all()
    ratio = found.flux / found.peak
    assert ratio.mean() == pytest.approx(2.0, rel=0.02)
    points = run(sky()[0], force_beam=False).measurements
    assert not (points.flags & Flag.RESOLVED).any()


def test_with_the_beam_held_flux_is_peak() -> None:
    found = run(sky()[0], force_beam=True).measurements
    np.testing.assert_array_equal(found.flux, found.peak)
    np.testing.assert_array_equal(found.flux_err, found.peak_err)


def test_noise_alone_has_no_source_and_its_rms() -> None:
    for seed in range(3):
        data = correlated_noise((SIZE, SIZE), BEAM, "natural", np.random.default_rng(seed))
        found = run(data, detection_threshold_sigma=6.0)
        assert len(found.measurements) == 0
        # 5 300 beams: 1 per cent.
        assert found.noise.grid.rms.mean() == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("fill", [np.nan, 0.0, 7.0])
def test_an_image_without_noise_is_none(fill: float) -> None:
    assert extract(np.full((64, 64), fill, dtype=np.float32), BEAM, CONFIG) is None


def test_parts_without_data_take_no_part() -> None:
    data, x, _ = sky()
    data[:, :125] = np.nan
    found = run(data).measurements
    assert len(found) == (x > 125).sum()
    blank = sky()[0]
    blank[:, :125] = 0.0
    same = run(blank).measurements
    np.testing.assert_array_equal(np.rint(same.x), np.rint(found.x))


def test_margin_and_radius_leave_sources_out() -> None:
    data, x, y = sky()
    found = run(data, margin_px=80).measurements
    assert len(found) == ((np.minimum(x, y) > 80) & (np.maximum(x, y) < SIZE - 81)).sum()
    found = run(data, radius_px=65.0).measurements
    assert len(found) == (np.hypot(x - 191.5, y - 191.5) < 65.0).sum() == 4


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


def test_input_is_not_changed() -> None:
    data = sky()[0]
    before = data.copy()
    run(data)
    np.testing.assert_array_equal(data, before)


def test_two_that_blend_are_measured_together() -> None:
    data = correlated_noise((SIZE, SIZE), BEAM, "natural", np.random.default_rng(4))
    add_gaussians(data, np.array([100.0, 109.0]), np.array([100.0, 100.0]), np.full(2, 80.0), BEAM)
    found = run(data).measurements
    assert len(found) == 2
    assert (found.flags & Flag.BLEND).all()
    assert np.abs((found.peak - 80.0) / found.peak_err).max() < 4.0

"""From pixels to measured sources, on simulated images with known ones."""

from __future__ import annotations

import numpy as np
import pytest

from trap_ops.config.model import ExtractionConfig
from trap_ops.records.images import NoiseGrid
from trap_ops.records.sources import Flag
from trap_ops.science.beam import beam_covariance
from trap_ops.science.detection import find_islands, find_peaks
from trap_ops.science.extraction import Extraction, extract
from trap_ops.science.model_image import add_gaussians
from trap_ops.simulate.noise import correlated_noise

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
        # 3 700 beams: 1.2 per cent; four sigma.
        assert found.noise.grid.rms.mean() == pytest.approx(1.0, abs=0.05)


def test_rms_of_correlated_noise_is_unbiased() -> None:
    """A cell of few beams sees too little of the noise; that is made up for (``cell_bias``)."""
    rms = [
        run(
            correlated_noise((1024, 1024), BEAM, "natural", np.random.default_rng(seed)),
            background_cell_beams=6.0,
        ).noise.grid.rms.mean()
        for seed in range(4)
    ]
    # 106 000 beams: 0.2 per cent; without the correction 3 per cent too low.
    assert np.mean(rms) == pytest.approx(1.0, abs=0.01)


def crowded(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    data = correlated_noise((512, 512), BEAM, "natural", rng)
    x, y = rng.uniform(0, 511, (2, 400))
    add_gaussians(data, x, y, np.exp(rng.uniform(np.log(8), np.log(500), 400)), BEAM)
    return data


@pytest.mark.parametrize("outside", ["sky", "nothing"])
def test_crowded_fields_do_not_raise_noise_and_background(outside: str) -> None:
    """Where sources cover much of the pixels *that there are*, they are left out of the noise."""
    rms, background = [], []
    for seed in range(3):
        data = crowded(seed)
        if outside == "nothing":
            y, x = np.mgrid[0:512, 0:512] - 255.5
            data[np.hypot(x, y) > 110.0] = np.nan
        grid = run(data).noise.grid
        rms.append(grid.rms.mean())
        background.append(grid.background.mean())
    # Without it 10 per cent and 0.14.
    assert np.mean(rms) == pytest.approx(1.0, abs=0.04)
    assert np.mean(background) == pytest.approx(0.0, abs=0.06)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("offset", [(0, 0), (0, 1), (1, 1)])
def test_a_bad_pixel_at_a_source_hides_it_not(bad: float, offset: tuple[int, int]) -> None:
    data = correlated_noise((SIZE, SIZE), BEAM, "natural", np.random.default_rng(8))
    add_gaussians(data, np.array([200.2]), np.array([150.1]), np.array([100.0]), BEAM)
    data[150 + offset[1], 200 + offset[0]] = bad
    found = run(data).measurements
    assert len(found) == 1
    assert found.flags[0] & Flag.EDGE
    assert abs(found.peak[0] - 100.0) < 5.0 * found.peak_err[0]


def test_noise_correlation_is_measured_for_wide_beams_and_masked_centres() -> None:
    wide = beam_covariance(30.0, 30.0, 0.0, [[-1.0, 0.0], [0.0, 1.0]])
    data = correlated_noise((900, 900), wide, "beam-smoothed", np.random.default_rng(9))
    found = extract(data, wide, CONFIG)
    assert found is not None
    assert found.noise.correlation.measured
    data = correlated_noise((1024, 1024), BEAM, "natural", np.random.default_rng(10))
    data[240:784, 240:784] = np.nan
    assert run(data).noise.correlation.measured


def test_sources_take_no_part_in_the_noise_correlation() -> None:
    rng = np.random.default_rng(11)
    data = correlated_noise((SIZE, SIZE), BEAM, "natural", rng)
    alone = run(data).noise.correlation.values
    x, y = rng.uniform(20, SIZE - 20, (2, 60))
    add_gaussians(data, x, y, np.full(60, 300.0), BEAM * 1.5)
    among = run(data).noise.correlation.values
    assert np.abs(among - alone).max() < 0.1


def test_what_is_far_below_the_background_takes_no_part_in_the_correlation_either() -> None:
    data = sky()[0]
    rng = np.random.default_rng(8)
    x, y = rng.uniform(20, SIZE - 20, (2, 30))
    add_gaussians(data, x, y, np.full(30, -60.0), BEAM * 4.0)
    values = run(data).noise.correlation.values
    np.testing.assert_allclose(values, run(sky()[0]).noise.correlation.values, atol=0.2)


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


@pytest.mark.parametrize("corner", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_a_source_whose_axis_ends_in_a_hole_is_discarded(corner: tuple[int, int]) -> None:
    """One bad pixel of the four around an end is none, two are the border of a hole."""
    beam = beam_covariance(8.0, 6.0, 0.0, [[-1.0, 0.0], [0.0, 1.0]])
    data = correlated_noise((SIZE, SIZE), beam, "natural", np.random.default_rng(12))
    add_gaussians(data, np.array([200.5]), np.array([150.5]), np.array([500.0]), beam)
    whole = extract(data, beam, CONFIG)
    assert whole is not None
    # The major axis is along y; its upper end is 4 pixels away, between two rows and two columns.
    assert (whole.measurements.x[0] - 200.5, whole.measurements.y[0] - 150.5) == pytest.approx(
        (0.0, 0.0), abs=0.1
    )
    data[154 + corner[0], 200 + corner[1]] = np.nan
    one = extract(data, beam, CONFIG)
    assert one is not None
    assert len(one.measurements) == 1
    difference = one.measurements.peak[0] - whole.measurements.peak[0]
    assert abs(difference) < 0.5 * whole.measurements.peak_err[0]
    data[154 + corner[0], 201 - corner[1]] = np.nan
    two = extract(data, beam, CONFIG)
    assert two is not None
    assert len(two.measurements) == 0


def test_holes_in_a_source_make_no_components_of_it() -> None:
    """Pixels on both sides of a gap are maxima, with nothing but the gap between them."""
    data = correlated_noise((SIZE, SIZE), BEAM, "natural", np.random.default_rng(13))
    add_gaussians(data, np.array([100.0]), np.array([100.0]), np.array([300.0]), BEAM)
    data[99:102, 100] = np.nan
    found = run(data).measurements
    assert len(found) == 1
    assert abs(found.peak[0] - 300.0) < 4.0 * found.peak_err[0]
    assert abs(found.x[0] - 100.0) < 0.1


def test_islands_are_listed_with_their_components() -> None:
    data = correlated_noise((200, 240), BEAM, "natural", np.random.default_rng(3))
    x, y = np.array([60.2, 66.9, 180.1]), np.array([70.4, 72.0, 120.8])
    add_gaussians(data, x, y, np.array([90.0, 60.0, 40.0]), BEAM)
    made = run(data)
    islands = made.islands
    assert islands.n_components.tolist() == [2, 1]
    assert made.measurements.island.tolist() == [0, 0, 1]
    np.testing.assert_allclose(islands.x, [62.9, 180.1], atol=0.5)
    np.testing.assert_allclose(islands.y, [71.0, 120.8], atol=0.5)
    # The light below three sigma is missing.
    np.testing.assert_allclose(islands.flux, [150.0, 40.0], rtol=0.12)
    assert (islands.flux < [150.0, 40.0]).all()
    rows = slice(islands.y_min[1], islands.y_max[1] + 1)
    brightest = data[rows, islands.x_min[1] : islands.x_max[1] + 1]
    background = made.noise.grid.background.mean()
    assert islands.peak[1] == pytest.approx(brightest.max() - background, abs=0.3)
    assert islands.n_pixels[1] <= brightest.size


def test_pixels_that_touch_at_a_corner_are_one_island_or_two() -> None:
    grid = NoiseGrid(np.zeros((1, 1)), np.ones((1, 1)), 0.0, 0.0, 1.0, 1.0)
    data = np.zeros((8, 8), dtype=np.float32)
    data[2, 2], data[3, 3] = 20.0, 30.0
    for connectivity, n in ((8, 1), (4, 2)):
        islands = find_islands(data, data > 3.0, grid, 8.0, connectivity)
        assert islands.label.max() == n - 1
        peaks = find_peaks(data, islands, grid, 8.0)
        assert len(peaks) == n
        assert peaks.island.tolist() == list(range(n))


def test_negative_sources_are_those_of_the_negative_image() -> None:
    data = correlated_noise((200, 240), BEAM, "natural", np.random.default_rng(3)) + np.float32(0.5)
    x, y = np.array([60.2, 150.9, 180.1]), np.array([70.4, 40.0, 150.8])
    add_gaussians(data, x, y, np.array([90.0, -60.0, -40.0]), BEAM)
    config = CONFIG.model_copy(update={"negative": True})
    made, turned = extract(data, BEAM, config), extract(-data, BEAM, config)
    assert made is not None
    assert turned is not None
    found = made.measurements
    np.testing.assert_allclose(found.x, x, atol=0.3)
    np.testing.assert_allclose(found.peak, [90.0, -60.0, -40.0], atol=4.0)
    assert (found.flags & Flag.NEGATIVE > 0).tolist() == [False, True, True]
    assert (found.peak_err > 0).all()
    assert (found.snr > 0).all()
    assert found.island.tolist() == [0, 1, 2]
    assert (np.sign(made.islands.flux) == [1, -1, -1]).all()
    order = [2, 0, 1]
    np.testing.assert_allclose(-turned.measurements.peak[order], found.peak, rtol=1e-6)
    np.testing.assert_allclose(turned.measurements.x[order], found.x, atol=1e-6)
    assert len(run(data).measurements) == 1


def test_islands_of_a_source_that_bad_pixels_cut_in_two_are_counted_alike() -> None:
    data, _, _ = sky()
    data[85:107, 96] = np.nan  # Through a source: an island on either side, but one peak.
    made = run(data)
    islands, found = made.islands, made.measurements
    assert {len(value) for value in vars(islands).values()} == {len(islands)}
    assert found.island.max() < len(islands)
    np.testing.assert_array_equal(
        islands.n_components, np.bincount(found.island, minlength=len(islands))
    )
    away = [np.hypot(islands.x - x, islands.y - y) for x, y in zip(found.x, found.y, strict=True)]
    np.testing.assert_array_equal(np.argmin(away, axis=1), found.island)


def test_negative_sources_alone_do_not_raise_the_noise() -> None:
    """An image without a positive source is measured as its negative is."""
    data, _, _ = sky()
    made, turned = run(data, negative=True), run(-data, negative=True)
    assert not len(run(-data).measurements)
    np.testing.assert_allclose(turned.noise.grid.rms, made.noise.grid.rms, rtol=1e-6)
    np.testing.assert_allclose(-turned.measurements.peak, made.measurements.peak, rtol=1e-5)


def test_islands_below_the_background_are_those_of_the_negative_image() -> None:
    """Also in small cells, whose rms is corrected by much."""
    settings = {"negative": True, "background_cell_beams": 4.0}
    data, _, _ = sky(flux=20.0)
    made, turned = run(data, **settings).islands, run(-data, **settings).islands
    assert len(made) == 49
    for name in ("n_pixels", "n_components", "x_min", "x_max", "y_min", "y_max"):
        np.testing.assert_array_equal(getattr(turned, name), getattr(made, name))
    np.testing.assert_allclose(turned.snr, made.snr, rtol=1e-6)
    np.testing.assert_allclose(-turned.flux, made.flux, rtol=1e-6)


def test_sources_of_one_image_are_measured_in_another() -> None:
    """A deep image says where, this one how bright: also what is below its own threshold."""
    rng = np.random.default_rng(3)
    deep, data = (correlated_noise((200, 240), BEAM, "natural", rng) for _ in range(2))
    x, y = np.array([60.2, 180.1]), np.array([70.4, 120.8])
    add_gaussians(deep, x, y, np.array([90.0, 60.0]), BEAM)
    add_gaussians(data, x, y, np.array([30.0, 5.0]), BEAM)
    made = extract(data, BEAM, CONFIG, detection_image=deep)
    assert made is not None
    found = made.measurements
    assert len(found) == 2
    assert (abs(found.peak - [30.0, 5.0]) < 4 * found.peak_err).all()
    np.testing.assert_allclose(found.snr, [90.0, 60.0], atol=5.0)
    blank = deep.copy()
    blank[100:] = np.nan
    made = extract(data, BEAM, CONFIG, detection_image=blank)
    assert made is not None
    assert len(made.measurements) == 1


def test_excluded_pixels_hold_no_source() -> None:
    data = correlated_noise((200, 240), BEAM, "natural", np.random.default_rng(3))
    add_gaussians(data, np.array([60.2, 180.1]), np.array([70.4, 120.8]), np.full(2, 50.0), BEAM)
    excluded = np.zeros(data.shape, dtype=bool)
    excluded[:, :100] = True
    made = extract(data, BEAM, CONFIG, excluded=excluded)
    assert made is not None
    assert made.mask[excluded].all()
    np.testing.assert_allclose(made.measurements.x, [180.1], atol=0.5)


def test_a_false_detection_rate_holds() -> None:
    """Of the pixels above the threshold at most that share is noise; and it is not far from it."""
    rng = np.random.default_rng(11)
    rate, false, all_above = 0.1, 0, 0
    config = CONFIG.model_copy(update={"false_detection_rate": rate})
    for _ in range(8):
        data = rng.standard_normal((256, 256)).astype(np.float32)
        sky = np.zeros_like(data)
        x, y = rng.uniform(12, 244, (2, 60))
        add_gaussians(sky, x, y, rng.uniform(4.0, 15.0, 60), BEAM)
        made = extract(data + sky, BEAM, config)
        assert made is not None
        assert 2.5 < made.detection_sigma < 5.0
        assert made.analysis_sigma <= made.detection_sigma
        above = (data + sky > made.detection_sigma) & ~made.mask
        false += int((above & (sky < 0.1)).sum())
        all_above += int(above.sum())
    assert all_above > 1000
    assert false / all_above < rate
    empty = extract(rng.standard_normal((256, 256)).astype(np.float32), BEAM, config)
    assert empty is not None
    assert len(empty.measurements) == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_where_the_detection_image_has_no_data_nothing_is_measured(bad: float) -> None:
    data, x, _ = sky()
    deep = data.copy()
    deep[:, 200:] = bad
    made = extract(data, BEAM, CONFIG, detection_image=deep)
    assert made is not None
    assert made.mask[:, 200:].all()
    assert len(made.measurements) == np.count_nonzero(x < 190)
    assert made.measurements.x.max() < 200


def test_islands_are_cut_no_higher_than_sources_are_found() -> None:
    """A false-detection rate may lead below the threshold of islands."""
    data, _, _ = sky(flux=12.0)
    made = run(data, false_detection_rate=0.9, analysis_threshold_sigma=5.0)
    assert made.analysis_sigma == made.detection_sigma < 5.0

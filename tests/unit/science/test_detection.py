"""Thresholds, islands and their peaks, against a flood fill and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from trap_ops.records.images import NoiseGrid
from trap_ops.science.detection import find_islands, find_peaks, rms_range, threshold
from trap_ops.science.extraction import source_mask
from trap_ops.science.model_image import add_gaussians

FLAT = NoiseGrid(np.zeros((1, 1)), np.ones((1, 1)), 16.0, 16.0, 32.0, 32.0)
BEAM = np.eye(2) * 2.5**2


def flood(above: np.ndarray) -> list[set[tuple[int, int]]]:
    """Eight-connected groups, one pixel after the other."""
    left = set(zip(*map(list, np.nonzero(above)), strict=True))
    groups = []
    while left:
        edge, group = [left.pop()], set()
        while edge:
            y, x = edge.pop()
            group.add((y, x))
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            edge += near
        groups.append(group)
    return groups


def sky(peaks: list[tuple[float, float, float]], size: int = 64) -> np.ndarray:
    data = np.zeros((size, size), dtype=np.float32)
    x, y, peak = np.array(peaks).T
    add_gaussians(data, x, y, peak, BEAM)
    return data


def test_threshold_is_strict_and_nan_never_passes() -> None:
    data = np.array([[3.0, 3.0001, np.nan, np.inf, -9.0]], dtype=np.float32)
    assert threshold(data, None, FLAT, 3.0).tolist() == [[False, True, False, True, False]]
    mask = np.array([[False, True, False, False, False]])
    assert threshold(data, mask, FLAT, 3.0).tolist() == [[False, False, False, True, False]]


def test_threshold_follows_background_and_rms_of_the_place() -> None:
    rng = np.random.default_rng(2)
    grid = NoiseGrid(rng.normal(0, 1, (4, 5)), rng.uniform(1, 2, (4, 5)), 8.0, 8.0, 16.0, 16.0)
    data = rng.normal(0.0, 6.0, (64, 80)).astype(np.float32)
    from trap_ops.science.background import noise_at

    y, x = np.mgrid[0:64, 0:80]
    background, rms = noise_at(grid, x.ravel(), y.ravel())
    excess = data.ravel() - background - 3.0 * rms
    clear = np.abs(excess) > 1e-5
    above = threshold(data, None, grid, 3.0).ravel()
    assert (above == (excess > 0))[clear].all()
    assert rms_range(grid, None, data.shape) == pytest.approx((rms.min(), rms.max()), rel=1e-6)
    mask = rms.reshape(64, 80) > 1.5
    assert rms_range(grid, mask, data.shape)[1] == pytest.approx(rms[rms <= 1.5].max(), rel=1e-6)
    assert np.isnan(rms_range(grid, np.ones((64, 80), dtype=bool), data.shape)).all()


def test_islands_are_those_of_a_flood_fill() -> None:
    rng = np.random.default_rng(3)
    data = ndimage.gaussian_filter(rng.normal(0.0, 1.0, (80, 90)), 1.5)
    data = (data / data.std()).astype(np.float32)
    above = threshold(data, None, FLAT, 1.0)
    islands = find_islands(data, above, FLAT, 2.5)
    wanted = [group for group in flood(above) if max(data[p] for p in group) >= 2.5]
    assert 5 < len(wanted) < len(flood(above))
    found: dict[int, set[tuple[int, int]]] = {}
    for flat, label in zip(islands.flat.tolist(), islands.label.tolist(), strict=True):
        found.setdefault(label, set()).add(divmod(flat, 90))
    assert sorted(map(sorted, found.values())) == sorted(map(sorted, wanted))
    np.testing.assert_allclose(islands.snr, data.ravel()[islands.flat])


@pytest.mark.parametrize("connectivity", [4, 8])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.4, 0.7, 1.0])
def test_labels_are_those_of_scipy(share: float, connectivity: int) -> None:
    rng = np.random.default_rng(4)
    structure = ndimage.generate_binary_structure(2, 2 if connectivity == 8 else 1)
    for shape in ((1, 1), (1, 40), (40, 1), (37, 53)):
        above = rng.random(shape) < share
        islands = find_islands(above.astype(np.float32), above, FLAT, 0.5, connectivity)
        assert islands.flat.tolist() == np.flatnonzero(above).tolist()
        wanted = ndimage.label(above, structure=structure)[0]
        assert islands.label.tolist() == (wanted[above] - 1).tolist()


def test_an_island_that_reaches_the_threshold_exactly_counts() -> None:
    data = np.zeros((9, 9), dtype=np.float32)
    data[2, 2], data[6, 6] = 8.0, 7.999
    islands = find_islands(data, threshold(data, None, FLAT, 3.0), FLAT, 8.0)
    assert islands.flat.tolist() == [2 * 9 + 2]


def test_nothing_above_is_no_island_and_no_peak() -> None:
    data = np.zeros((9, 9), dtype=np.float32)
    islands = find_islands(data, threshold(data, None, FLAT, 3.0), FLAT, 8.0)
    assert len(islands.flat) == 0
    assert len(find_peaks(data, islands, FLAT, 8.0)) == 0


def peaks_of(data: np.ndarray) -> list[tuple[int, int]]:
    islands = find_islands(data, threshold(data, None, FLAT, 3.0), FLAT, 8.0)
    peaks = find_peaks(data, islands, FLAT, 8.0)
    assert peaks.value == pytest.approx(data[peaks.y, peaks.x])
    return list(zip(peaks.x.tolist(), peaks.y.tolist(), strict=True))


def test_peaks_come_by_row_then_column() -> None:
    data = sky([(40, 10, 20), (10, 10, 30), (20, 50, 25)])
    assert peaks_of(data) == [(10, 10), (40, 10), (20, 50)]


def test_two_that_touch_are_two_if_the_saddle_is_deep() -> None:
    assert peaks_of(sky([(25, 30, 60), (35, 30, 50)])) == [(25, 30), (35, 30)]
    # At twice sigma two Gaussians have one maximum.
    assert len(peaks_of(sky([(28, 30, 60), (33, 30, 60)]))) == 1


def test_a_bump_of_noise_on_a_slope_is_not_a_source() -> None:
    data = sky([(30, 30, 100)])
    quiet = peaks_of(data)
    data[30, 34] = data[30, 33] + 2.4
    assert peaks_of(data) == quiet
    data[30, 34] = data[30, 33] + 2.6
    assert peaks_of(data) == [*quiet, (34, 30)]


def test_a_plateau_is_one_peak() -> None:
    data = np.zeros((20, 20), dtype=np.float32)
    data[8:12, 8:12] = 10.0
    assert len(peaks_of(data)) == 1


def test_a_source_at_the_corner_is_found() -> None:
    assert peaks_of(sky([(0, 0, 20), (63, 63, 20)])) == [(0, 0), (63, 63)]


@pytest.mark.parametrize("fwhm", [1.0, 3.0, 5.9, 20.0, 200.0])
def test_the_mask_of_sources_reaches_0_6_beams_beyond_them(fwhm: float) -> None:
    data = sky([(10, 20, 30), (50, 50, 9), (5, 60, 4)])
    islands = find_islands(data, threshold(data, None, FLAT, 3.0), FLAT, 8.0)
    pixels = np.zeros(data.shape, dtype=np.uint8)
    pixels.ravel()[islands.flat] = 1
    side = 2 * int(np.ceil(0.6 * fwhm)) + 1
    wanted = ndimage.maximum_filter(pixels, size=side, mode="constant").astype(bool)
    np.testing.assert_array_equal(source_mask(islands, fwhm), wanted)
    assert wanted.any()


def test_a_faint_maximum_belongs_to_its_bright_neighbours() -> None:
    """One below the detection threshold is no component of its own, however deep the saddle."""
    bright = [(15, 30, 60), (45, 30, 50)]
    faint = sky([*bright, (30, 30, 7.5)])
    # A ridge above the analysis threshold joins them.
    faint[30, 15:46] = np.maximum(faint[30, 15:46], 3.5)
    assert peaks_of(faint) == [(15, 30), (45, 30)]
    brighter = sky([*bright, (30, 30, 8.5)])
    brighter[30, 15:46] = np.maximum(brighter[30, 15:46], 3.5)
    assert peaks_of(brighter) == [(15, 30), (30, 30), (45, 30)]

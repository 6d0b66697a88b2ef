"""Thresholds, islands and their peaks, against a flood fill and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from trap_ops.records.images import NoiseGrid
from trap_ops.science.background import noise_at
from trap_ops.science.detection import (
    MIN_PROMINENCE_SIGMA,
    Islands,
    false_detection_threshold,
    find_islands,
    find_peaks,
    rms_range,
    threshold,
)
from trap_ops.science.extraction import source_mask
from trap_ops.science.island_table import tabulate_islands
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


UNEVEN = NoiseGrid(
    np.random.default_rng(4).normal(0.0, 0.3, (4, 5)),
    np.random.default_rng(5).uniform(0.8, 1.4, (4, 5)),
    10.0, 10.0, 25.0, 25.0,
)  # fmt: skip


def hills(seed: int, shape: tuple[int, int] = (100, 120)) -> np.ndarray:
    """Smooth noise of many sigma: islands with several maxima, and some of them prominent."""
    data = ndimage.gaussian_filter(np.random.default_rng(seed).normal(0.0, 1.0, shape), 2.0)
    return (6.0 * data / data.std()).astype(np.float32)


def noise_of(pixel: tuple[int, int]) -> tuple[float, float]:
    background, rms = noise_at(UNEVEN, np.array([pixel[1]]), np.array([pixel[0]]))
    return float(background[0]), float(rms[0])


Pixel = tuple[int, int]


def around(pixel: Pixel, group: set[Pixel]) -> set[Pixel]:
    """The pixel and its neighbours in an island."""
    y, x = pixel
    return {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & group


def slow_saddles(
    data: np.ndarray, peak_of: dict[Pixel, Pixel]
) -> dict[Pixel, list[tuple[float, Pixel]]]:
    """Of each peak the higher ones whose pixels touch its own, and over what height."""
    saddles: dict[Pixel, list[tuple[float, Pixel]]] = {}
    for pixel, peak in peak_of.items():
        for other in around(pixel, set(peak_of)):
            if (data[peak], peak) < (data[peak_of[other]], peak_of[other]):
                over = min(float(data[pixel]), float(data[other]))
                saddles.setdefault(peak, []).append((over, peak_of[other]))
    return saddles


def slow_peaks(data: np.ndarray, group: set[Pixel], detection_sigma: float) -> dict[Pixel, int]:
    """Peaks (y, x) of an island and how many pixels lead up to each, as find_peaks promises."""

    def top(pixel: Pixel) -> Pixel:
        while (higher := max(around(pixel, group), key=lambda at: (data[at], at))) != pixel:
            pixel = higher
        return pixel

    peak_of = {pixel: top(pixel) for pixel in group}
    merged: dict[Pixel, Pixel] | None = None
    while merged != {}:
        merged = {}
        for peak, saddles in slow_saddles(data, peak_of).items():
            over, higher = max(saddles)
            background, rms = noise_of(peak)
            shallow = data[peak] - over < MIN_PROMINENCE_SIGMA * rms
            if shallow or (data[peak] - background) / rms < detection_sigma:
                merged[peak] = higher
        for pixel, peak in peak_of.items():
            while peak in merged:
                peak = merged[peak]
            peak_of[pixel] = peak
    return {peak: list(peak_of.values()).count(peak) for peak in set(peak_of.values())}


def number_of(islands: Islands) -> np.ndarray:
    """Number of the island of each pixel from 1, 0 for none, (ny, nx)."""
    numbers = np.zeros(islands.above.shape, dtype=int)
    numbers.ravel()[islands.flat] = islands.label + 1
    return numbers


@pytest.mark.parametrize("seed", range(6))
def test_peaks_are_those_of_a_climb_pixel_by_pixel(seed: int) -> None:
    data = hills(seed)
    islands = find_islands(data, threshold(data, None, UNEVEN, 3.0), UNEVEN, 8.0)
    found = find_peaks(data, islands, UNEVEN, 8.0)
    wanted, island = {}, {}
    numbers = number_of(islands)
    groups = sorted(map(sorted, flood(numbers > 0)))
    for group in groups:
        peaks = slow_peaks(data, set(group), 8.0)
        wanted |= peaks
        island |= dict.fromkeys(peaks, int(numbers[group[0]]))
    assert len(wanted) > len(groups) + 8
    places = list(zip(found.y.tolist(), found.x.tolist(), strict=True))
    assert places == sorted(wanted)
    assert found.n_pixels.tolist() == [wanted[place] for place in places]
    in_order = sorted(set(island.values()))
    assert found.island.tolist() == [in_order.index(island[place]) for place in places]
    for number, place in enumerate(places):
        background, rms = noise_of(place)
        value = float(data[place]) - background
        assert found.value[number] == pytest.approx(value, rel=1e-12)
        assert found.snr[number] == pytest.approx(value / rms, rel=1e-12)


def test_one_source_is_one_peak_whichever_way_its_beam_lies() -> None:
    """Along a diagonal the highest two pixels may touch at a corner only."""
    data = np.zeros((64, 64), dtype=np.float32)
    add_gaussians(data, *np.array([[30.5], [30.5], [100.0]]), np.array([[4.3, 2.4], [2.4, 4.3]]))
    for connectivity in (8, 4):
        islands = find_islands(data, threshold(data, None, FLAT, 3.0), FLAT, 8.0, connectivity)
        assert len(find_peaks(data, islands, FLAT, 8.0)) == 1, connectivity


def slow_false_detection_threshold(
    data: np.ndarray, mask: np.ndarray, rate: float, beam_pixels: float
) -> float:
    """Hopkins et al. 2002: the pixels in order of their p-values, one after the other."""
    snr = []
    for place in zip(*np.nonzero(np.isfinite(data) & ~mask), strict=True):
        background, rms = noise_of((int(place[0]), int(place[1])))
        snr.append((float(data[place]) - background) / rms)
    correlation = sum(1.0 / k for k in range(1, round(beam_pixels) + 1))
    made = np.inf
    for number, value in enumerate(sorted(snr, reverse=True), start=1):
        if value <= 1.5:  # No threshold is sought further down.
            break
        p = np.exp(-(value**2) / 2.0) / np.sqrt(2.0 * np.pi)
        if p < rate / correlation * number / len(snr):
            made = value
    return made


@pytest.mark.parametrize("rate", [1e-4, 0.01, 0.2, 0.9])
@pytest.mark.parametrize("beam_pixels", [1.0, 12.0, 40.4])
def test_the_false_detection_threshold_is_that_of_a_list(rate: float, beam_pixels: float) -> None:
    rng = np.random.default_rng(7)
    data = rng.normal(0.0, 1.1, (60, 70)).astype(np.float32)
    add_gaussians(data, *rng.uniform(5, 55, (2, 10)), rng.uniform(4.0, 12.0, 10), BEAM)
    data[3, 4] = np.nan
    mask = rng.random(data.shape) < 0.1
    found = false_detection_threshold(data, mask, UNEVEN, rate, beam_pixels)
    wanted = slow_false_detection_threshold(data, mask, rate, beam_pixels)
    # The noise between nodes is float32.
    assert found == pytest.approx(wanted, rel=1e-5)


def test_nothing_significant_has_an_infinite_threshold() -> None:
    data = np.full((20, 20), 1.0, dtype=np.float32)
    found = false_detection_threshold(data, None, FLAT, 0.01, 5.0)
    assert found == slow_false_detection_threshold(data, np.zeros((20, 20), bool), 0.01, 5.0)
    assert found == np.inf


@pytest.mark.parametrize("connectivity", [4, 8])
def test_islands_are_tabulated_as_pixel_by_pixel(connectivity: int) -> None:
    data = hills(11)
    above = threshold(data, None, UNEVEN, 3.0)
    islands: Islands = find_islands(data, above, UNEVEN, 8.0, connectivity)
    peaks = find_peaks(data, islands, UNEVEN, 8.0)
    # The last component of all was not measured.
    components = peaks.island[:-1]
    table = tabulate_islands(islands, data.shape[1], peaks, components, 20.0)
    assert len(table) == len(set(peaks.island)) > 10
    for number in range(len(table)):
        peak = int(np.flatnonzero(peaks.island == number)[0])
        numbers = number_of(islands)
        mine = numbers == numbers[peaks.y[peak], peaks.x[peak]]
        pixels = [(int(y), int(x)) for y, x in zip(*np.nonzero(mine), strict=True)]
        values = [float(data[pixel]) - noise_of(pixel)[0] for pixel in pixels]
        significance = [v / noise_of(pixel)[1] for v, pixel in zip(values, pixels, strict=True)]
        total = sum(values)
        y, x = zip(*pixels, strict=True)
        row = {name: column[number] for name, column in vars(table).items()}
        assert row.pop("n_components") == np.count_nonzero(components == number)
        assert row == pytest.approx(
            {
                "n_pixels": len(pixels),
                "x_min": min(x),
                "x_max": max(x),
                "y_min": min(y),
                "y_max": max(y),
                "x": sum(v * at for v, at in zip(values, x, strict=True)) / total,
                "y": sum(v * at for v, at in zip(values, y, strict=True)) / total,
                "peak": max(values),
                "snr": max(significance),
                "flux": total / 20.0,
            },
            rel=1e-12,
        )

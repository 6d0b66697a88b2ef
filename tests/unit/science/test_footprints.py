"""Which pixels belong to a fit, and which components are fitted together."""

from __future__ import annotations

import numpy as np
import pytest

from trap_ops.science.beam import FWHM_PER_SIGMA, beam_covariance
from trap_ops.science.footprints import MAX_GROUP, cut_stamps, group_components, make_footprint

BEAM = beam_covariance(7.0, 5.0, 30.0, [[-1.0, 0.0], [0.0, 1.0]])


def widths(dx: np.ndarray, dy: np.ndarray, covariance: np.ndarray = BEAM) -> np.ndarray:
    """Distance in full widths at half maximum along the way."""
    offset = np.stack([dx, dy], axis=-1).astype(float)
    inverse = np.linalg.inv(covariance)
    return np.sqrt(np.einsum("...i,ij,...j", offset, inverse, offset)) / FWHM_PER_SIGMA


@pytest.mark.parametrize("radius", [0.5, 0.8, 2.0])
def test_footprint_is_every_pixel_within_the_radius(radius: float) -> None:
    footprint = make_footprint(BEAM, radius)
    dy, dx = np.mgrid[-40:41, -40:41]
    wanted = {(int(x), int(y)) for x, y in zip(dx.ravel(), dy.ravel(), strict=True)
              if widths(x, y) <= radius or max(abs(x), abs(y)) <= 1}  # fmt: skip
    assert set(zip(footprint.dx.tolist(), footprint.dy.tolist(), strict=True)) == wanted
    assert len(footprint) == len(wanted)


def test_footprint_of_a_beam_smaller_than_a_pixel_has_nine_pixels() -> None:
    assert len(make_footprint(np.eye(2) * 0.05, 0.5)) == 9


@pytest.mark.parametrize(("scale", "number"), [(3.0, 1), (8.0, 1), (3.0, 5), (8.0, 5)])
def test_wide_footprints_are_thinned_evenly(scale: float, number: int) -> None:
    thin = make_footprint(BEAM * scale**2, 0.8, number)
    area = np.pi * (0.8 * FWHM_PER_SIGMA) ** 2 * np.sqrt(np.linalg.det(BEAM)) * scale**2
    stride = np.ceil(np.sqrt(area * number / 700))
    # A whole stride may leave some more pixels of the rim.
    assert len(thin) == pytest.approx(area / stride**2, rel=0.1)
    assert len(thin) * number <= 1.1 * 700
    assert set(np.diff(np.unique(thin.dx))) == set(np.diff(np.unique(thin.dy))) == {stride}
    assert widths(thin.dx, thin.dy, BEAM * scale**2).max() <= 0.8
    assert (0, 0) in set(zip(thin.dx.tolist(), thin.dy.tolist(), strict=True))


def slow_groups(x: np.ndarray, y: np.ndarray) -> list[set[int]]:
    """Chains of components less than two beams apart, one after the other."""
    left, groups = set(range(len(x))), []
    while left:
        group, border = set(), {min(left)}
        while border:
            group |= border
            left -= border
            border = {j for i in border for j in left if widths(x[i] - x[j], y[i] - y[j]) <= 2.0}
        groups.append(group)
    return groups


def as_sets(group: np.ndarray) -> list[set[int]]:
    return [set(np.flatnonzero(group == number).tolist()) for number in np.unique(group)]


def test_groups_are_chains_of_two_beams() -> None:
    x, y = np.random.default_rng(2).integers(0, 400, (2, 120))
    group = group_components(x, y, BEAM)
    wanted = slow_groups(x, y)
    assert max(map(len, wanted)) in range(2, MAX_GROUP + 1)
    assert sorted(map(sorted, as_sets(group))) == sorted(map(sorted, wanted))
    np.testing.assert_array_equal(np.unique(group), np.arange(len(wanted)))


def test_long_chains_are_cut_where_they_are_longest() -> None:
    # Three close pairs in one chain.
    x = np.array([0, 4, 13, 17, 26, 30, 39, 43])
    group = group_components(x, np.zeros(8, dtype=int), BEAM)
    assert np.bincount(group).max() <= MAX_GROUP
    for first in range(0, 8, 2):
        assert group[first] == group[first + 1]


def test_a_crowd_on_one_spot_is_cut_all_the_same() -> None:
    group = group_components(np.zeros(13, dtype=int), np.zeros(13, dtype=int), BEAM)
    assert sorted(np.bincount(group).tolist()) == [3, 5, 5]


def test_no_components_no_groups() -> None:
    assert len(group_components([], [], BEAM)) == 0


def cut(data: np.ndarray, mask: np.ndarray | None, x: list[list[int]], y: list[list[int]]):
    places = np.array(x), np.array(y)
    background = np.full(places[0].shape, 2.0)
    rms = np.full(places[0].shape, 4.0)
    return cut_stamps(data, mask, make_footprint(BEAM, 0.8), *places, background, rms, BEAM)


@pytest.fixture
def data() -> np.ndarray:
    return np.random.default_rng(3).normal(size=(60, 80)).astype(np.float32)


def test_a_stamp_is_pixels_about_the_peak_in_units_of_the_rms(data: np.ndarray) -> None:
    made = cut(data, None, [[40], [20]], [[30], [33]])
    footprint = make_footprint(BEAM, 0.8)
    for item, (x, y) in enumerate([(40, 30), (20, 33)]):
        wanted = (data[y + footprint.dy, x + footprint.dx].astype(float) - 2.0) / 4.0
        np.testing.assert_array_equal(made.stamps.value[item], wanted)
        np.testing.assert_array_equal(made.row[item], y + footprint.dy)
        np.testing.assert_array_equal(made.column[item], x + footprint.dx)
        np.testing.assert_array_equal(made.stamps.x[item], footprint.dx)
        np.testing.assert_array_equal(made.stamps.y[item], footprint.dy)
    assert (made.stamps.weight == 1.0).all()
    assert (made.rms == 4.0).all()
    assert not made.incomplete.any()


def test_pixels_that_are_masked_missing_or_outside_have_no_weight(data: np.ndarray) -> None:
    mask = np.zeros(data.shape, dtype=bool)
    mask[30, 41] = True
    data[32, 20] = np.nan
    made = cut(data, mask, [[40], [20], [0], [60]], [[30], [33], [59], [20]])
    assert made.incomplete.tolist() == [True, True, True, False]
    for item, (row, column) in enumerate([(30, 41), (32, 20)]):
        there = (made.row[item] == row) & (made.column[item] == column)
        assert there.sum() == 1
        np.testing.assert_array_equal(made.stamps.weight[item] == 0.0, there)
        assert made.stamps.value[item][there] == 0.0
    inside = made.stamps.weight[2] == 1.0
    footprint = make_footprint(BEAM, 0.8)
    np.testing.assert_array_equal(inside, (footprint.dx >= 0) & (footprint.dy <= 0))
    assert np.isfinite(made.stamps.value).all()


def test_a_pixel_of_two_footprints_counts_once_for_the_nearest_peak(data: np.ndarray) -> None:
    footprint = make_footprint(BEAM, 0.8)
    made = cut(data, None, [[40, 44]], [[30, 31]])
    used = made.stamps.weight[0] == 1.0
    pixels = list(zip(made.column[0][used].tolist(), made.row[0][used].tolist(), strict=True))
    union = {
        (int(x + dx), int(y + dy))
        for x, y in ((40, 30), (44, 31))
        for dx, dy in zip(footprint.dx, footprint.dy, strict=True)
    }
    assert len(pixels) == len(set(pixels))
    assert set(pixels) == union
    half = len(footprint)
    for peak, part in enumerate((slice(0, half), slice(half, None))):
        own = made.stamps.weight[0][part] == 1.0
        column, row = made.column[0][part][own], made.row[0][part][own]
        to_first = widths(column - 40, row - 30)
        to_second = widths(column - 44, row - 31)
        assert ((to_first <= to_second) if peak == 0 else (to_second < to_first)).all()
    # A stamp that shares pixels is still whole.
    assert not made.incomplete.any()


@pytest.mark.parametrize("thin", [False, True])
def test_stamps_of_groups_are_cut_pixel_by_pixel(data: np.ndarray, thin: bool) -> None:
    """Three components with backgrounds and noise of their own, a mask, a hole and an edge."""
    footprint = make_footprint(BEAM * 16.0, 0.8, 3) if thin else make_footprint(BEAM, 0.8)
    assert (np.unique(footprint.dx)[1] - np.unique(footprint.dx)[0] > 1) == thin
    rng = np.random.default_rng(5)
    x, y = np.array([[40, 44, 39], [3, 5, 9]]), np.array([[30, 31, 36], [57, 52, 55]])
    background, rms = rng.normal(size=(2, 3)), rng.uniform(1.0, 3.0, (2, 3))
    mask = rng.random(data.shape) < 0.1
    data[32, 41] = np.nan
    made = cut_stamps(data, mask, footprint, x, y, background, rms, BEAM)
    for item in range(2):
        place = 0
        unit = rms[item].sum() / 3.0
        complete, holes = True, False
        for number in range(3):
            for dx, dy in zip(footprint.dx, footprint.dy, strict=True):
                column, row = x[item, number] + dx, y[item, number] + dy
                apart = [float(widths(column - x[item, k], row - y[item, k])) for k in range(3)]
                inside = 0 <= column < 80 and 0 <= row < 60
                there = bool(inside and not mask[row, column] and np.isfinite(data[row, column]))
                complete &= there
                holes |= inside and not there
                # The first of the nearest, to the rounding of a square root.
                first = next(k for k in range(3) if apart[k] <= min(apart) + 1e-9)
                used = there and first == number
                value = (float(data[row, column]) - background[item].mean()) / unit if used else 0.0
                assert made.stamps.weight[item, place] == float(used)
                assert made.stamps.value[item, place] == pytest.approx(value, rel=1e-12)
                assert made.stamps.x[item, place] == column - x[item, 0]
                assert made.stamps.y[item, place] == row - y[item, 0]
                if inside:
                    assert (made.column[item, place], made.row[item, place]) == (column, row)
                place += 1
        assert made.rms[item] == pytest.approx(unit)
        assert made.incomplete[item] == (not complete)
        assert made.masked[item] == holes

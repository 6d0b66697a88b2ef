"""Weighted mean positions and the catalogue that holds them (SCIENCE.md 5.5)."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trap_ops.records.sky import Positions
from trap_ops.records.sources import Detections
from trap_ops.science.catalogue import (
    Catalogue,
    canonical,
    first_positions,
    updated_positions,
)
from trap_ops.science.coordinates import ra_difference, unit_vectors, wrap_ra
from unit.science.made_detections import ARCSEC, catalogue_of, detections

FIRST = np.array([0])


def averaged(*found: tuple[float, float], sigma_arcsec: float = math.hypot(10, 20)) -> Positions:
    """One source seen so many times."""
    each = [detections(ra, dec, sigma_arcsec) for ra, dec in found]
    positions = first_positions(each[0], FIRST)
    for one in each[1:]:
        positions = updated_positions(positions, one, FIRST)
    return positions


def test_canonical_order_is_by_declination_then_right_ascension() -> None:
    found = detections([5.0, 3.0, 4.0, 4.0], [1.0, 1.0, -2.0, 1.0], peak_jy=[1.0, 2.0, 3.0, 4.0])
    made = canonical(found)
    assert made.peak_jy.tolist() == [3.0, 2.0, 4.0, 1.0]
    assert made.id.tolist() == [3, 2, 4, 1]
    assert len(canonical(detections([], []))) == 0


def test_a_source_begins_as_its_first_detection() -> None:
    found = detections([10.0, 20.0, 30.0], [1.0, 2.0, 3.0], [5.0, 6.0, 7.0], sigma_ns_arcsec=8.0)
    made = first_positions(found, np.array([2, 0]))
    assert made.n.tolist() == [1, 1]
    assert made.ra_deg.tolist() == [30.0, 10.0]
    assert made.dec_deg.tolist() == [3.0, 1.0]
    np.testing.assert_array_equal(made.sigma_ew_deg, np.array([7.0, 5.0]) * ARCSEC)
    np.testing.assert_array_equal(made.sigma_ns_deg, np.array([8.0, 8.0]) * ARCSEC)
    np.testing.assert_allclose(made.mean_wra / made.mean_weight_ra, [30.0, 10.0], rtol=1e-15)
    np.testing.assert_allclose(1 / np.sqrt(made.mean_weight_dec), made.sigma_ns_deg, rtol=1e-15)
    # Copies: moving the source must not change the detection.
    made.ra_deg[0] = 0.0
    assert found.ra_deg[2] == 30.0


@pytest.mark.parametrize(
    ("found", "ra", "dec"),
    [
        # Worked examples A03, A04, A07, A08, A10, A11.
        ([(10.0, 0.0), (10.02, 0.0)], 10.01, 0.0),
        ([(30.0, 10.5), (30 + 50 * ARCSEC, 10.5 + 50 * ARCSEC)], 30.006944, 10.506944),
        ([(0.0001, 10.5), (0.0003, 10.5), (359.9999, 10.5)], 0.0001, 10.5),
        ([(359.9999, 10.5), (359.999, 10.5), (0.0001, 10.5)], 359.999667, 10.5),
        ([(0.0002, 10.5), (0.0003, 10.5), (0.0004, 10.5)], 0.0003, 10.5),
        ([(359.99999, 85.0), (1e-05, 85.0)], 0.0, 85.0),
    ],
)
def test_means_of_worked_examples(found: list[tuple[float, float]], ra: float, dec: float) -> None:
    made = averaged(*found)
    assert float(ra_difference(made.ra_deg[0], ra)) == pytest.approx(0.0, abs=5e-7)
    assert 0.0 <= made.ra_deg[0] < 360.0
    assert made.dec_deg[0] == pytest.approx(dec, abs=5e-7)
    assert made.n[0] == len(found)


def test_errors_of_worked_examples() -> None:
    eight = averaged(*[(123.123, 10.5)] * 8)
    # A01.
    assert eight.sigma_ew_deg[0] == pytest.approx(2.19603e-3, rel=3e-6)
    assert eight.sigma_ns_deg[0] == pytest.approx(2.19603e-3, rel=3e-6)
    # A21: an error radius of 360 arcsec.
    sigma = math.hypot(20, 360)
    assert sigma * ARCSEC == pytest.approx(0.100154, abs=5e-7)
    two = averaged(*[(123.123, 10.5)] * 2, sigma_arcsec=sigma)
    assert two.sigma_ew_deg[0] == pytest.approx(0.0708197, abs=5e-8)


def test_a_mean_of_zero_stays_zero() -> None:
    """A15."""
    made = averaged(*[(0.0, 0.0)] * 5)
    assert (made.ra_deg[0], made.dec_deg[0]) == (0.0, 0.0)
    # A mean that rounding takes below 0, as the classic rule has it.
    below = first_positions(detections(1e-14, 0.0), FIRST)
    below = updated_positions(below, detections(360.0 - 6e-14, 0.0), FIRST)
    assert below.ra_deg[0] == 0.0
    further = first_positions(detections(0.0, 0.0), FIRST)
    further = updated_positions(further, detections(360.0 - 2e-12, 0.0), FIRST)
    assert further.ra_deg[0] == pytest.approx(360.0 - 1e-12, abs=1e-13)


points = st.lists(
    st.tuples(
        st.integers(-500, 500),  # east, in units of 1e-4 deg
        st.integers(-500, 500),
        st.integers(1, 50),  # errors, arcsec
        st.integers(1, 50),
    ),
    min_size=1,
    max_size=12,
)


@given(points, st.sampled_from([0, 123, 359]), st.sampled_from([-89, 0, 45]))
def test_a_mean_is_the_weighted_mean_of_all_its_detections(
    offsets: list[tuple[int, int, int, int]], ra: int, dec: int
) -> None:
    """The rule in exact fractions, from offsets that know no 0h."""
    positions: Positions | None = None
    sums = [Fraction(0)] * 4
    for east, north, ew, ns in offsets:
        w_ra, w_dec = Fraction(3600, ew) ** 2, Fraction(3600, ns) ** 2
        sums = [
            sums[0] + w_ra,
            sums[1] + w_ra * Fraction(east, 10_000),
            sums[2] + w_dec,
            sums[3] + w_dec * (dec + Fraction(north, 10_000)),
        ]
        one = detections(
            float(wrap_ra(ra + east / 10_000)), dec + north / 10_000, ew, sigma_ns_arcsec=ns
        )
        positions = (
            first_positions(one, FIRST)
            if positions is None
            else updated_positions(positions, one, FIRST)
        )
    assert positions is not None
    n = len(offsets)
    assert positions.n[0] == n
    mean_ra = float(ra + sums[1] / sums[0])
    assert float(ra_difference(positions.ra_deg[0], mean_ra)) == pytest.approx(0.0, abs=1e-11)
    assert 0.0 <= positions.ra_deg[0] < 360.0
    assert positions.dec_deg[0] == pytest.approx(float(sums[3] / sums[2]), abs=1e-11)
    assert positions.sigma_ew_deg[0] == pytest.approx(float(sums[0]) ** -0.5, rel=1e-13)
    assert positions.sigma_ns_deg[0] == pytest.approx(float(sums[2]) ** -0.5, rel=1e-13)
    assert positions.mean_weight_ra[0] == pytest.approx(float(sums[0] / n), rel=1e-13)
    assert positions.mean_weight_dec[0] == pytest.approx(float(sums[2] / n), rel=1e-13)
    assert positions.mean_wdec[0] == pytest.approx(float(sums[3] / n), rel=1e-11)
    # Kept consistent with the wrapped mean.
    kept = positions.mean_wra[0] / positions.mean_weight_ra[0]
    assert kept == pytest.approx(positions.ra_deg[0], rel=1e-14)
    errors = [ew * ARCSEC * 0.5 for _, _, ew, _ in offsets]
    assert positions.mean_ra_err_deg[0] == pytest.approx(math.fsum(errors) / n, rel=1e-13)
    errors = [ns * ARCSEC * 0.25 for *_, ns in offsets]
    assert positions.mean_dec_err_deg[0] == pytest.approx(math.fsum(errors) / n, rel=1e-13)


def test_sources_are_updated_one_by_one() -> None:
    """What is in the same call changes no bit."""
    rng = np.random.default_rng(2)
    n = 37
    first = detections(rng.uniform(0, 360, n), rng.uniform(-80, 80, n), rng.uniform(1, 9, n))
    second = detections(
        wrap_ra(first.ra_deg + rng.normal(0, 1e-3, n)), first.dec_deg, rng.uniform(1, 9, n)
    )
    items = np.arange(n)
    whole = updated_positions(first_positions(first, items), second, items)
    order = rng.permutation(n)
    mixed = updated_positions(first_positions(first, order), second, order)
    for name, values in vars(whole).items():
        np.testing.assert_array_equal(vars(mixed)[name], values[order], err_msg=name)
    one = updated_positions(first_positions(first, items[5:6]), second, items[5:6])
    for name, values in vars(whole).items():
        np.testing.assert_array_equal(vars(one)[name], values[5:6], err_msg=name)


# ---- The catalogue.


def append(catalogue: Catalogue, found: Detections, names: list[str] | None = None) -> list[int]:
    n = len(found)
    zero = np.zeros(n, dtype=np.int64)
    positions = first_positions(found, np.arange(n))
    given = catalogue.new_names(found) if names is None else names
    return catalogue.append(found.id, positions, zero + 1, zero, zero + 7, zero - 1, given).tolist()


def test_a_catalogue_grows_and_keeps_its_indices() -> None:
    catalogue = Catalogue()
    assert len(catalogue) == 0
    assert append(catalogue, detections([10.0, 20.0], [1.0, 2.0])) == [0, 1]
    assert append(catalogue, detections(30.0, 3.0, first_id=9)) == [2]
    assert append(catalogue, detections([], [])) == []
    assert catalogue.id.tolist() == [1, 2, 9]
    assert catalogue.positions.ra_deg.tolist() == [10.0, 20.0, 30.0]
    np.testing.assert_array_equal(
        catalogue.vectors, unit_vectors([10.0, 20.0, 30.0], [1.0, 2.0, 3.0])
    )
    assert catalogue.active.all()
    assert catalogue.touched.all()
    catalogue.retire(np.array([1]))
    assert catalogue.active.tolist() == [True, False, True]
    assert len(catalogue) == 3


def test_two_catalogues_share_nothing() -> None:
    first, second = Catalogue(), Catalogue()
    append(first, detections(10.0, 1.0))
    assert len(second) == len(second.positions.ra_deg) == len(second.name) == 0


def test_names_are_those_of_the_first_detection_with_a_letter_where_they_are_taken() -> None:
    catalogue = Catalogue()
    append(catalogue, detections([188.73629167] * 3, [-1.396] * 3))
    assert catalogue.name == ["J123456.7-012345", "J123456.7-012345b", "J123456.7-012345c"]
    # The name of a source that has gone is free again.
    catalogue.retire(np.array([1]))
    append(catalogue, detections([188.73629167] * 2, [-1.396] * 2))
    assert catalogue.name[3:] == ["J123456.7-012345b", "J123456.7-012345d"]


def test_a_new_name_is_of_the_founding_detection() -> None:
    catalogue = Catalogue()
    append(catalogue, detections(188.73629167, -1.396))
    assert catalogue.new_names(detections([188.73629167, 10.0], [-1.396, 1.0])) == [
        "J123456.7-012345b",
        "J004000.0+010000",
    ]


def test_names_go_on_after_the_alphabet() -> None:
    catalogue = Catalogue()
    append(catalogue, detections([10.0] * 28, [0.0] * 28))
    assert catalogue.name[25:] == [
        "J004000.0+000000z",
        "J004000.0+000000-27",
        "J004000.0+000000-28",
    ]
    assert len(set(catalogue.name)) == 28


def test_a_moved_source_keeps_its_name_and_is_touched() -> None:
    catalogue = catalogue_of(detections([10.0, 20.0], [0.0, 0.0]))
    catalogue.touched[:] = False
    name = list(catalogue.name)
    moved = updated_positions(
        catalogue.positions.take(np.array([1])), detections(20.01, 0.01), np.array([0])
    )
    catalogue.move(np.array([1]), moved)
    assert catalogue.touched.tolist() == [False, True]
    assert catalogue.positions.ra_deg[0] == 10.0
    assert catalogue.positions.ra_deg[1] == pytest.approx(20.005)
    np.testing.assert_array_equal(
        catalogue.vectors[1],
        unit_vectors(catalogue.positions.ra_deg[1], catalogue.positions.dec_deg[1]),
    )
    assert catalogue.name == name


def test_stored_rows_make_the_same_catalogue() -> None:
    first = catalogue_of(detections([10.0, 10.0, 30.0], [1.0, 1.0, 3.0]), stokes=4)
    rows = first.rows(np.array([0, 1, 2]))
    second = Catalogue.of_rows(rows)
    for name in ("id", "vectors", "stokes", "attempts", "founded", "parent", "active"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name), err_msg=name)
    for name, values in vars(first.positions).items():
        np.testing.assert_array_equal(getattr(second.positions, name), values, err_msg=name)
    assert second.name == first.name
    # What is loaded has not changed, and its names are taken.
    assert not second.touched.any()
    append(second, detections(10.0, 1.0))
    assert second.name[-1] == "J004000.0+010000c"
    assert second.rows(np.array([3, 0])).name == ["J004000.0+010000c", "J004000.0+010000"]

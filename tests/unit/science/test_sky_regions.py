"""Sky regions and which sources are inside them (SCIENCE.md 2.2)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trap_ops.records.images import Region
from trap_ops.science.coordinates import separation, unit_vectors
from trap_ops.science.sky_regions import assign_regions, inside_region

ARCSEC = 1.0 / 3600.0


@pytest.mark.parametrize(
    ("second", "same"),
    [
        (Region(123.0, 10.0, 2.0), True),
        # The classic system makes a region of each of these two.
        (Region(123.0 + 1e-12, 10.0, 2.0), True),
        (Region(123.0, 10.0 + 0.99 * ARCSEC, 2.0), True),
        (Region(123.0, 10.0 + 1.01 * ARCSEC, 2.0), False),
        # The distance on the sky counts: at declination 10 a step of RA is shorter.
        (Region(123.0 + 1.01 * ARCSEC, 10.0, 2.0), True),
        (Region(123.0 + 1.05 * ARCSEC, 10.0, 2.0), False),
        (Region(123.0, 10.0, 2.0 + 0.99 * ARCSEC), True),
        (Region(123.0, 10.0, 2.0 - 1.01 * ARCSEC), False),
    ],
)
def test_regions_are_the_same_within_an_arcsec(second: Region, same: bool) -> None:
    index, regions = assign_regions([Region(123.0, 10.0, 2.0), second], [])
    assert index == ([0, 0] if same else [0, 1])
    assert len(regions) == len(set(index))


def test_a_wide_region_has_a_wider_tolerance() -> None:
    """A millionth of the radius, if that is more than an arcsec."""
    wide = Region(10.0, 0.0, 90.0 / 1e-6 * 4 * ARCSEC / 90.0)
    assert wide.radius_deg * 1e-6 == pytest.approx(4 * ARCSEC)
    near, far = (
        Region(10.0, 3.9 * ARCSEC, wide.radius_deg),
        Region(10, 4.1 * ARCSEC, wide.radius_deg),
    )
    assert assign_regions([wide, near, far], [])[0] == [0, 0, 1]


def test_regions_across_0h_and_at_the_poles_are_the_same() -> None:
    across = [Region(359.99999, 0.0, 1.0), Region(0.00001, 0.0, 1.0)]
    assert assign_regions(across, [])[0] == [0, 0]
    pole = [Region(0.0, 90.0, 1.0), Region(180.0, 90.0, 1.0), Region(77.0, -90.0, 1.0)]
    assert assign_regions(pole, [])[0] == [0, 0, 1]


def test_known_regions_come_first_and_the_first_of_several_is_taken() -> None:
    known = [Region(10.0, 0.0, 1.0), Region(10.0, 1.5 * ARCSEC, 1.0)]
    between = Region(10.0, 0.75 * ARCSEC, 1.0)
    index, regions = assign_regions([between, Region(20.0, 0.0, 1.0)], known)
    assert index == [0, 2]
    assert regions == [*known, Region(20.0, 0.0, 1.0)]
    assert len(known) == 2
    assert assign_regions([], known) == ([], known)


@given(
    st.floats(0.0, 360.0),
    st.floats(-90.0, 90.0),
    st.floats(0.01, 170.0),
    st.integers(0, 2**32 - 1),
)
def test_inside_means_nearer_than_the_radius(
    ra: float, dec: float, radius: float, seed: int
) -> None:
    """Anywhere on the sphere, tested with points all around the edge."""
    rng = np.random.default_rng(seed)
    bearing = rng.uniform(0, 2 * np.pi, 40)
    distance = np.radians(np.minimum(radius * rng.uniform(0.5, 1.5, 40), 180.0))
    dec0 = np.radians(dec)
    point_dec = np.arcsin(
        np.clip(
            np.sin(dec0) * np.cos(distance) + np.cos(dec0) * np.sin(distance) * np.cos(bearing),
            -1,
            1,
        )
    )
    point_ra = np.radians(ra) + np.arctan2(
        np.sin(bearing) * np.sin(distance) * np.cos(dec0),
        np.cos(distance) - np.sin(dec0) * np.sin(point_dec),
    )
    points = np.degrees(point_ra), np.degrees(point_dec)
    inside, apart = inside_region(Region(ra, dec, radius), points[1], unit_vectors(*points))
    expected = separation(ra, dec, *points)
    np.testing.assert_allclose(apart, expected, atol=1e-12)
    clear = np.abs(expected - radius) > 1e-6
    np.testing.assert_array_equal(inside[clear], (expected < radius)[clear])


def test_the_edge_itself_is_outside() -> None:
    region = Region(0.0, 0.0, 2.0)
    on_the_edge = [2.0, -2.0]
    inside, apart = inside_region(region, on_the_edge, unit_vectors([0.0, 0.0], on_the_edge))
    assert not inside.any()
    np.testing.assert_allclose(apart, 2.0, rtol=1e-12)
    just = [np.nextafter(2.0, 0) - 1e-12]
    assert inside_region(region, just, unit_vectors([0.0], just))[0].all()


def test_no_positions_and_positions_that_are_not_numbers() -> None:
    region = Region(0.0, 0.0, 2.0)
    inside, apart = inside_region(region, [], np.empty((0, 3)))
    assert inside.shape == apart.shape == (0,)
    assert not inside_region(region, [np.nan], unit_vectors([0.0], [np.nan]))[0].any()

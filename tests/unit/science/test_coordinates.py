"""Wrapping, unit vectors, separations, names of positions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trap_ops.errors import ConfigError
from trap_ops.records.runs import MonitorPosition
from trap_ops.science.coordinates import (
    parse_position,
    ra_difference,
    ra_inflation,
    separation,
    separation_of_vectors,
    sexagesimal_name,
    unit_vectors,
    wrap_ra,
)

ras = st.floats(-720.0, 720.0)
right_ascensions = st.floats(0.0, 360.0, exclude_max=True)
declinations = st.floats(-90.0, 90.0)


def vincenty_deg(ra1: float, dec1: float, ra2: float, dec2: float) -> float:
    """Angle between two directions by another formula, good at all angles."""
    a, b = math.radians(dec1), math.radians(dec2)
    d = math.radians(ra1 - ra2)
    across = math.hypot(
        math.cos(b) * math.sin(d),
        math.cos(a) * math.sin(b) - math.sin(a) * math.cos(b) * math.cos(d),
    )
    along = math.sin(a) * math.sin(b) + math.cos(a) * math.cos(b) * math.cos(d)
    return math.degrees(math.atan2(across, along))


@pytest.mark.parametrize(
    ("ra", "wrapped"),
    [
        (0.0, 0.0),
        (359.5, 359.5),
        (360.0, 0.0),
        (-10.0, 350.0),
        (720.25, 0.25),
        (-0.0, 0.0),
        # Its remainder rounds to 360, which is no right ascension.
        (-1e-20, 0.0),
        (-360.0, 0.0),
    ],
)
def test_right_ascension_is_wrapped(ra: float, wrapped: float) -> None:
    assert wrap_ra(ra) == wrapped


def test_wrapping_keeps_nan_and_shape() -> None:
    wrapped = wrap_ra([[np.nan, -1.0, 1.0]])
    np.testing.assert_array_equal(wrapped, [[np.nan, 359.0, 1.0]])
    assert wrap_ra([]).shape == (0,)


@given(ras)
def test_a_wrapped_right_ascension_is_the_same_direction(ra: float) -> None:
    wrapped = float(wrap_ra(ra))
    assert 0.0 <= wrapped < 360.0
    assert float(separation(ra, 0.0, wrapped, 0.0)) < 1e-12


@pytest.mark.parametrize(
    ("first", "second", "difference"),
    [
        (0.0001, 359.9999, 0.0002),
        (359.9999, 0.0001, -0.0002),
        (180.0, 0.0, 180.0),
        (0.0, 180.0, 180.0),
        (270.0, 0.0, -90.0),
        (-170.0, 170.0, 20.0),
        (10.0, 10.0, 0.0),
        (720.0, 1.0, -1.0),
    ],
)
def test_differences_go_the_short_way_round(first: float, second: float, difference: float) -> None:
    assert float(ra_difference(first, second)) == pytest.approx(difference, abs=1e-12)


@given(right_ascensions, right_ascensions)
def test_differences_are_antisymmetric_and_at_most_half_a_turn(a: float, b: float) -> None:
    forth, back = float(ra_difference(a, b)), float(ra_difference(b, a))
    assert -180.0 < forth <= 180.0
    assert forth == -back or forth == back == 180.0
    # Adding it to the second gives the first.
    assert float(separation(b + forth, 0.0, a, 0.0)) < 1e-12


@given(right_ascensions, st.floats(-180.0, 180.0))
def test_small_differences_keep_every_bit(a: float, offset: float) -> None:
    b = a + offset
    if abs(b - a) < 180.0:
        assert float(ra_difference(b, a)) == b - a


def test_differences_broadcast_and_keep_nan() -> None:
    made = ra_difference([[1.0], [359.0]], [np.nan, 2.0])
    np.testing.assert_array_equal(made, [[np.nan, -1.0], [np.nan, -3.0]])


def test_unit_vectors_of_the_axes() -> None:
    made = unit_vectors([0.0, 90.0, 180.0, 270.0, 12.0, 12.0], [0.0, 0.0, 0.0, 0.0, 90.0, -90.0])
    expected = [[1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]]
    np.testing.assert_allclose(made, expected, atol=2e-16)


@pytest.mark.parametrize(
    ("first", "second", "arcsec"),
    [
        # SCIENCE.md 5.7 (A12): 0.1 deg of right ascension at declination 85.
        ((10.0, 85.0), (10.1, 85.0), 31.4),
        # Worked examples, A05: 0.03250 deg.
        ((123.0, 10.0), (122.967, 10.0), 0.03250 * 3600.0),
        ((359.9999, 0.0), (0.0001, 0.0), 0.72),
        ((0.0, 90.0), (180.0, 90.0), 0.0),
        ((0.0, 89.9), (180.0, 89.9), 720.0),
        ((0.0, 0.0), (180.0, 0.0), 180.0 * 3600.0),
        ((33.0, -90.0), (7.0, 90.0), 180.0 * 3600.0),
    ],
)
def test_separation_of_known_pairs(
    first: tuple[float, float], second: tuple[float, float], arcsec: float
) -> None:
    assert float(separation(*first, *second)) * 3600.0 == pytest.approx(arcsec, rel=1e-3, abs=1e-9)


@given(right_ascensions, declinations, right_ascensions, declinations)
def test_separation_agrees_with_vincenty(ra1: float, dec1: float, ra2: float, dec2: float) -> None:
    made = float(separation(ra1, dec1, ra2, dec2))
    assert made == float(separation(ra2, dec2, ra1, dec1))
    # The arc sine of the half chord loses digits as 1 / cos, half of them at the antipode.
    tolerance = 1e-13 / max(math.cos(math.radians(made / 2.0)), 1e-7)
    assert made == pytest.approx(vincenty_deg(ra1, dec1, ra2, dec2), abs=tolerance)


@given(right_ascensions, st.floats(-80.0, 80.0), st.floats(1e-8, 1e-3))
def test_small_separations_are_exact(ra: float, dec: float, step: float) -> None:
    """To the rounding of unit vectors, 1e-14 deg, where a dot product would say 0."""
    expected = vincenty_deg(ra, dec, ra, dec + step)
    assert float(separation(ra, dec, ra, dec + step)) == pytest.approx(expected, abs=3e-14)


@given(right_ascensions, declinations, right_ascensions, declinations, ras)
def test_separation_is_the_same_from_any_meridian(
    ra1: float, dec1: float, ra2: float, dec2: float, turn: float
) -> None:
    turned = separation(wrap_ra(ra1 + turn), dec1, wrap_ra(ra2 + turn), dec2)
    here = float(separation(ra1, dec1, ra2, dec2))
    assert float(turned) == pytest.approx(here, abs=3e-13 if here < 179.0 else 1e-6)


def test_separation_never_depends_on_its_neighbours() -> None:
    rng = np.random.default_rng(1)
    ra, dec = rng.uniform(0, 360, 101), rng.uniform(-90, 90, 101)
    vectors = unit_vectors(ra, dec)
    whole = separation_of_vectors(vectors, vectors[::-1])
    for size in (1, 2, 3, 7, 50):
        np.testing.assert_array_equal(unit_vectors(ra[:size], dec[:size]), vectors[:size])
        part = separation_of_vectors(vectors[:size], vectors[::-1][:size])
        np.testing.assert_array_equal(part, whole[:size])


def test_separation_of_nothing_and_of_nan() -> None:
    assert separation([], [], [], []).shape == (0,)
    assert np.isnan(separation(np.nan, 0.0, 1.0, 0.0))


@given(st.floats(0.0, 60.0), st.floats(-89.0, 89.0))
def test_inflation_is_the_reach_of_a_circle_in_right_ascension(angle: float, dec: float) -> None:
    """By the sine rule in the triangle with the pole: sin(reach) = sin(angle) / cos(dec)."""
    made = float(ra_inflation(angle, dec))
    if abs(dec) + angle > 89.9:
        assert made == 180.0
    else:
        reach = math.degrees(math.asin(math.sin(math.radians(angle)) / math.cos(math.radians(dec))))
        assert made == pytest.approx(reach, rel=1e-7, abs=1e-13)
        assert made == pytest.approx(float(ra_inflation(angle, -dec)), rel=1e-12)


@pytest.mark.parametrize("dec", [90.0, -90.0, 89.95])
def test_at_the_poles_a_circle_reaches_all_right_ascensions(dec: float) -> None:
    assert ra_inflation(0.0, dec) == 180.0


def test_inflation_broadcasts_and_keeps_nan() -> None:
    made = ra_inflation(1.0, [0.0, np.nan, 89.5])
    np.testing.assert_allclose(made, [1.0, np.nan, 180.0], rtol=1e-12)


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("123.4 -20.1", MonitorPosition(123.4, -20.1)),
        ("123.4, -20.1", MonitorPosition(123.4, -20.1)),
        ("123.4,-20.1 my own source ", MonitorPosition(123.4, -20.1, "my own source")),
        ("08:13:36 -20:06:00", MonitorPosition(123.4, -20.1)),
        ("0:0:36 -00:30", MonitorPosition(0.15, -0.5)),
        ("12:30 +0:30:00 x", MonitorPosition(187.5, 0.5, "x")),
        ("123.4, -20.1, a, b", MonitorPosition(123.4, -20.1, "a, b")),
        ("123.4 -20.1 a,  b", MonitorPosition(123.4, -20.1, "a,  b")),
        ("123.4 , -20.1, , c", MonitorPosition(123.4, -20.1, ", c")),
        ("1e2 0", MonitorPosition(100.0, 0.0)),
    ],
)
def test_positions_are_read_as_people_write_them(text: str, position: MonitorPosition) -> None:
    made = parse_position(text)
    assert (made.ra_deg, made.dec_deg) == pytest.approx((position.ra_deg, position.dec_deg))
    assert made.name == position.name


@pytest.mark.parametrize(
    "text",
    ["", "12", "a b", "10:60:00 5", "1:2:3:4 5", "10 5:60", "12:-30 5", "10;5", "12h30m -20d"],
)
def test_an_unreadable_position_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match="cannot be read: write right ascension") as raised:
        parse_position(text)
    assert raised.value.details["text"] == text


@pytest.mark.parametrize(
    ("ra", "dec", "name"),
    [
        (188.73629167, -1.396, "J123456.7-012345"),
        (0.0, 0.0, "J000000.0+000000"),
        # Truncated, not rounded.
        (15 * 0.99999, 0.99999, "J005959.9+005959"),
        (10.0, -0.5 / 3600.0, "J004000.0-000000"),
        (10.0, -31.0 / 3600.0, "J004000.0-000031"),
        (359.9999, 90.0, "J235959.9+900000"),
        (-0.0001, -90.0, "J235959.9-900000"),
        # So near to 24 h that rounding reaches it.
        (359.9999999999, 5.0, "J000000.0+050000"),
    ],
)
def test_names_of_positions(ra: float, dec: float, name: str) -> None:
    assert sexagesimal_name(ra, dec) == name


@given(st.integers(0, 863_999), st.integers(0, 324_000), st.sampled_from([1, -1]))
def test_a_name_tells_the_digits_it_was_made_from(tenths: int, arcsec: int, sign: int) -> None:
    """Exact tenths of a second must not lose one by the rounding of degrees."""
    name = sexagesimal_name(tenths / 2400.0, sign * arcsec / 3600.0)
    time, angle = name[1:11].rstrip("+-"), name[-7:]
    read = int(time[:2]) * 36000 + int(time[2:4]) * 600 + int(time[4:6]) * 10 + int(time[7])
    assert read == tenths
    assert int(angle[1:3]) * 3600 + int(angle[3:5]) * 60 + int(angle[5:]) == arcsec
    assert angle[0] == ("-" if sign < 0 and arcsec else "+")

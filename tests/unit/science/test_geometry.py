"""Pixels, beam and field of an image from its header."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest

from trap_ops.records.images import Beam, ImageFile
from trap_ops.science.geometry import geometry, pixel_beam

PIXEL_DEG = 0.01
FILE = ImageFile(
    path="/data/a.fits",
    file_name="a.fits",
    file_size=1,
    file_mtime_ns=1,
    header_sha256="",
    telescope="",
    stokes=1,
    freq_eff_hz=150e6,
    freq_bw_hz=1e6,
    start=datetime(2026, 1, 1),
    integration_s=0.0,
    beam=Beam(0.06, 0.04, 30.0),
    pixel_matrix_deg=((-PIXEL_DEG, 0.0), (0.0, PIXEL_DEG)),
    nx=100,
    ny=80,
    sky_ra_deg=(0.0, 0.5, 359.5, 0.5, 359.5),
    sky_dec_deg=(0.0, -0.4, -0.4, 0.4, 0.4),
)


def test_pixels_beam_and_centre() -> None:
    made = geometry(FILE)
    assert (made.deltax_deg, made.deltay_deg) == (-PIXEL_DEG, PIXEL_DEG)
    # Half widths, SCIENCE.md 1.3.
    assert made.beam_semimajor_deg == pytest.approx(0.03, rel=1e-12)
    assert made.beam_semiminor_deg == pytest.approx(0.02, rel=1e-12)
    assert (made.centre_ra_deg, made.centre_dec_deg) == (0.0, 0.0)


def test_the_field_reaches_its_farthest_corner_also_across_0h() -> None:
    # The corners are 0.5 deg east or west and 0.4 deg north or south.
    expected = math.degrees(math.acos(math.cos(math.radians(0.5)) * math.cos(math.radians(0.4))))
    assert geometry(FILE).corner_distance_deg == pytest.approx(expected, rel=1e-9)
    far = replace(FILE, sky_dec_deg=(0.0, -0.4, -0.4, 0.4, 0.9))
    expected = math.degrees(math.acos(math.cos(math.radians(0.5)) * math.cos(math.radians(0.9))))
    assert geometry(far).corner_distance_deg == pytest.approx(expected, rel=1e-9)


def test_a_corner_off_the_sky_makes_a_hemisphere() -> None:
    nan = float("nan")
    file = replace(FILE, sky_ra_deg=(0.0, nan, 359.5, 0.5, 359.5))
    assert geometry(file).corner_distance_deg == 90.0


@pytest.mark.parametrize(("ra", "wrapped"), [(-10.0, 350.0), (360.0, 0.0), (370.5, 10.5)])
def test_the_centre_is_wrapped(ra: float, wrapped: float) -> None:
    file = replace(FILE, sky_ra_deg=(ra, ra, ra, ra, ra))
    assert geometry(file).centre_ra_deg == wrapped


@pytest.mark.parametrize("turn_deg", [0.0, 30.0, 90.0, 180.0])
def test_a_turned_image_has_the_same_pixels_and_beam(turn_deg: float) -> None:
    c, s = math.cos(math.radians(turn_deg)), math.sin(math.radians(turn_deg))
    matrix = np.array(FILE.pixel_matrix_deg) @ np.array([[c, -s], [s, c]])
    (a, b), (d, e) = matrix.tolist()
    made = geometry(replace(FILE, pixel_matrix_deg=((a, b), (d, e))))
    assert abs(made.deltax_deg) == pytest.approx(PIXEL_DEG, rel=1e-12)
    assert abs(made.deltay_deg) == pytest.approx(PIXEL_DEG, rel=1e-12)
    assert made.beam_semimajor_deg == pytest.approx(0.03, rel=1e-12)
    assert made.beam_semiminor_deg == pytest.approx(0.02, rel=1e-12)


def test_the_beam_is_that_on_the_sky_whatever_the_pixels() -> None:
    """Also where they are not square: a round beam is round."""
    pixels = ((-2.2 / 3600, 0.0), (0.0, 1.0 / 3600))
    made = geometry(replace(FILE, beam=Beam(10 / 3600, 10 / 3600, 0.0), pixel_matrix_deg=pixels))
    assert made.beam_semimajor_deg == pytest.approx(5 / 3600, rel=1e-12)
    assert made.beam_semiminor_deg == pytest.approx(5 / 3600, rel=1e-12)


def test_signs_of_the_pixel_sizes() -> None:
    mirrored = replace(FILE, pixel_matrix_deg=((PIXEL_DEG, 0.0), (0.0, -PIXEL_DEG)))
    made = geometry(mirrored)
    assert (made.deltax_deg, made.deltay_deg) == (PIXEL_DEG, -PIXEL_DEG)
    # Where x is north and y is east neither has a sign of its own: as usual, -x and +y.
    turned = geometry(replace(FILE, pixel_matrix_deg=((0.0, PIXEL_DEG), (PIXEL_DEG, 0.0))))
    assert (turned.deltax_deg, turned.deltay_deg) == (-PIXEL_DEG, PIXEL_DEG)


def test_a_round_beam_covers_the_same_pixels_at_any_angle() -> None:
    matrix = np.array(FILE.pixel_matrix_deg)
    sigma2 = (0.05 / PIXEL_DEG) ** 2 / (8 * math.log(2))
    for angle in (0.0, 17.0, 90.0):
        np.testing.assert_allclose(
            pixel_beam(Beam(0.05, 0.05, angle), matrix), np.eye(2) * sigma2, atol=1e-12
        )

"""The restoring beam on the pixel grid."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trap_ops.science.beam import (
    FWHM_PER_SIGMA,
    area_of_covariance,
    beam_covariance,
    ellipse_of_covariance,
)

PIXEL_DEG = 5.0 / 3600.0
# North up, east left; turned by 90 deg; mirrored; turned by 30 deg; pixels twice as wide as high.
NORTH_UP = np.array([[-PIXEL_DEG, 0.0], [0.0, PIXEL_DEG]])
TURNED = np.array([[0.0, PIXEL_DEG], [PIXEL_DEG, 0.0]])
MIRRORED = np.array([[PIXEL_DEG, 0.0], [0.0, PIXEL_DEG]])
OBLIQUE = NORTH_UP @ np.array([[math.cos(0.5), -math.sin(0.5)], [math.sin(0.5), math.cos(0.5)]])
OBLONG = NORTH_UP @ np.diag([2.0, 1.0])
MATRICES = [NORTH_UP, TURNED, MIRRORED, OBLIQUE, OBLONG]
angles = st.floats(-400.0, 400.0)


def gaussian(covariance: np.ndarray, offset_px: np.ndarray) -> float:
    return math.exp(-0.5 * float(offset_px @ np.linalg.inv(covariance) @ offset_px))


def test_full_width_of_a_unit_gaussian() -> None:
    assert math.exp(-((FWHM_PER_SIGMA / 2) ** 2) / 2) == pytest.approx(0.5, rel=1e-15)


@pytest.mark.parametrize("matrix", MATRICES)
@given(bpa=angles)
def test_the_beam_is_at_half_maximum_at_the_ends_of_its_axes(
    matrix: np.ndarray, bpa: float
) -> None:
    """The ends are placed on the sky by the meaning of a position angle: north through east."""
    bmaj, bmin = 40.0 / 3600.0, 25.0 / 3600.0
    covariance = beam_covariance(bmaj, bmin, bpa, matrix)
    to_pixels = np.linalg.inv(matrix)
    for length, angle in ((bmaj / 2, bpa), (bmin / 2, bpa + 90.0)):
        east_north = length * np.array(
            [math.sin(math.radians(angle)), math.cos(math.radians(angle))]
        )
        assert gaussian(covariance, to_pixels @ east_north) == pytest.approx(0.5, rel=1e-9)
    assert covariance[0, 1] == pytest.approx(covariance[1, 0], abs=1e-13)


@given(bpa=st.floats(0.0, 180.0, exclude_max=True))
def test_axes_in_pixels_follow_the_classic_formula(bpa: float) -> None:
    """SCIENCE.md 1.3, for square pixels with east to the left."""
    bmaj, bmin, p = 40.0 / 3600.0, 25.0 / 3600.0, math.radians(bpa)
    a = bmaj / 2 * math.sqrt(math.sin(p) ** 2 / PIXEL_DEG**2 + math.cos(p) ** 2 / PIXEL_DEG**2)
    b = bmin / 2 * math.sqrt(math.cos(p) ** 2 / PIXEL_DEG**2 + math.sin(p) ** 2 / PIXEL_DEG**2)
    ellipse = ellipse_of_covariance(beam_covariance(bmaj, bmin, bpa, NORTH_UP))
    assert ellipse.fwhm_major_px / 2 == pytest.approx(a, rel=1e-12)
    assert ellipse.fwhm_minor_px / 2 == pytest.approx(b, rel=1e-12)
    off = (ellipse.theta_deg - bpa + 90.0) % 180.0 - 90.0
    assert off == pytest.approx(0.0, abs=1e-9)


@given(bpa=angles)
def test_the_angle_is_below_half_a_turn(bpa: float) -> None:
    ellipse = ellipse_of_covariance(beam_covariance(0.01, 0.005, bpa, NORTH_UP))
    assert 0.0 <= ellipse.theta_deg < 180.0


@pytest.mark.parametrize("bpa", [0.0, 180.0, 360.0, -180.0, 1e-15, -1e-15])
def test_an_angle_that_rounds_to_half_a_turn_is_zero(bpa: float) -> None:
    ellipse = ellipse_of_covariance(beam_covariance(30 / 3600, 20 / 3600, bpa, NORTH_UP))
    assert ellipse.theta_deg == pytest.approx(0.0, abs=1e-12)


def test_turning_the_grid_turns_the_angle() -> None:
    """In the turned image x is north and y is east."""
    upright = ellipse_of_covariance(beam_covariance(0.01, 0.005, 20.0, NORTH_UP))
    turned = ellipse_of_covariance(beam_covariance(0.01, 0.005, 20.0, TURNED))
    assert upright.theta_deg == pytest.approx(20.0)
    # From +y (east) towards -x (south) an angle of 20 deg from north to east is 20 + 90.
    assert turned.theta_deg == pytest.approx(20.0 + 90.0)
    assert turned.fwhm_major_px == pytest.approx(upright.fwhm_major_px, rel=1e-12)


def test_area_is_the_sum_over_a_fine_grid() -> None:
    covariance = beam_covariance(30 / 3600, 20 / 3600, 33.0, OBLIQUE)
    offset = np.arange(-30.0, 31.0)
    dx, dy = np.meshgrid(offset, offset)
    inverse = np.linalg.inv(covariance)
    total = np.exp(
        -0.5 * (inverse[0, 0] * dx**2 + 2 * inverse[0, 1] * dx * dy + inverse[1, 1] * dy**2)
    ).sum()
    assert area_of_covariance(covariance) == pytest.approx(total, rel=1e-7)
    # The formula that everybody knows.
    assert area_of_covariance(covariance) == pytest.approx(math.pi * 6.0 * 4.0 / (4 * math.log(2)))

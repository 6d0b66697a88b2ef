"""Sizes without the beam: worked numbers of the classic formula, and what convolution gives."""

from __future__ import annotations

import math

import numpy as np
import pytest

from trap_ops.science.beam import FWHM_PER_SIGMA, ellipse_of_covariance
from trap_ops.science.deconvolution import deconvolve
from trap_ops.simulate.fields import ellipse_covariance


def gaussian(major: float, minor: float, angle_deg: float) -> np.ndarray:
    return ellipse_covariance(major, minor, math.radians(angle_deg))


@pytest.mark.parametrize(
    ("fitted", "beam", "expected"),
    [
        ((2.0, 2.0, 0.0), (1.0, 1.0, 0.0), (1.7320508, 1.7320508, None)),
        ((2.7, 1.7, 10.0), (1.0, 1.0, 0.0), (2.5079872, 1.3747727, 10.0)),
        ((6.0, 5.0, 17.2), (5.4, 4.6, 11.5), (2.6656716, 1.8905541, 30.499528)),
        ((1.0, 1.0, 0.0), (1.0, 1.0, 0.0), (0.0, 0.0, None)),
        # Wider along one axis only.
        ((3.0, 0.9, 90.0), (1.0, 1.0, 0.0), (math.sqrt(8.0), 0.0, 90.0)),
    ],
)
def test_worked_numbers(
    fitted: tuple[float, float, float],
    beam: tuple[float, float, float],
    expected: tuple[float, float, float | None],
) -> None:
    (made,) = deconvolve(gaussian(*fitted)[None], gaussian(*beam))
    ellipse = ellipse_of_covariance(made)
    assert ellipse.fwhm_major_px == pytest.approx(expected[0], abs=1e-6)
    assert ellipse.fwhm_minor_px == pytest.approx(expected[1], abs=1e-6)
    if expected[2] is not None:
        assert ellipse.theta_deg == pytest.approx(expected[2], abs=1e-5)


def test_it_undoes_a_convolution() -> None:
    rng = np.random.default_rng(2)
    beam = gaussian(6.0, 4.0, 25.0)
    true = np.array([gaussian(*sorted(rng.uniform(0.5, 9, 2))[::-1], a) for a in range(0, 180, 9)])
    np.testing.assert_allclose(deconvolve(true + beam, beam), true, atol=1e-9)
    assert np.sqrt(true[0].max()) * FWHM_PER_SIGMA < 10.0


def test_a_held_beam_has_no_size() -> None:
    beam = gaussian(6.0, 4.0, 25.0)
    assert (deconvolve(np.broadcast_to(beam, (3, 2, 2)) * (1 + 1e-14), beam) == 0.0).all()
    assert deconvolve(np.empty((0, 2, 2)), beam).shape == (0, 2, 2)


def wild(
    major: float, minor: float, pa: float, bmaj: float, bmin: float, bpa: float
) -> tuple[float, float, float]:
    """Wild 1970, with full widths and angles, as AIPS has it; 0 where a root is of less than 0."""
    cosine = math.cos(math.radians(2.0 * (pa - bpa)))
    sine = math.sin(math.radians(2.0 * (pa - bpa)))
    fitted, beam = major**2 - minor**2, bmaj**2 - bmin**2
    rho_sine, rho_cosine = fitted * sine, fitted * cosine - beam
    difference = math.hypot(rho_sine, rho_cosine)
    total = major**2 + minor**2 - bmaj**2 - bmin**2
    angle = bpa + math.degrees(math.atan2(rho_sine, rho_cosine)) / 2.0
    return (
        math.sqrt(max(total + difference, 0.0) / 2.0),
        math.sqrt(max(total - difference, 0.0) / 2.0),
        angle % 180.0,
    )


def test_sizes_are_those_of_the_formula_with_angles() -> None:
    rng = np.random.default_rng(5)
    resolved = 0
    for _ in range(300):
        bmin, major, minor = rng.uniform(3.0, 5.0), rng.uniform(4.0, 12.0), rng.uniform(3.0, 12.0)
        bmaj = bmin * rng.uniform(1.0, 2.0)
        major, minor = max(major, minor), min(major, minor)
        pa, bpa = rng.uniform(0.0, 180.0, 2)
        wanted = wild(major, minor, pa, bmaj, bmin, bpa)
        made = deconvolve(gaussian(major, minor, pa)[None], gaussian(bmaj, bmin, bpa))[0]
        found = ellipse_of_covariance(made)
        assert found.fwhm_major_px == pytest.approx(wanted[0], abs=1e-4)
        assert found.fwhm_minor_px == pytest.approx(wanted[1], abs=1e-4)
        if wanted[0] > wanted[1]:
            turn = (found.theta_deg - wanted[2] + 90.0) % 180.0 - 90.0
            assert turn == pytest.approx(0.0, abs=1e-6)
        resolved += wanted[1] > 0.0
    assert 30 < resolved < 270

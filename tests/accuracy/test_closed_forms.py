"""Errors of fits against what theory has in closed form, and against the scatter of many fits.

A Gaussian of width s in noise whose autocorrelation is a Gaussian of width a, fitted by unweighted
least squares on an infinite footprint (Condon 1997, PASP 109, 166, for any a; FINDERS, section 6).
Everything follows from one integral: with ``g(w) = exp(-w x^2 / 2)``, x in units of s, and
``r = a^2 / s^2``, along one axis

``G(w, v) = <g(w) C g(v)> = 2 pi sqrt(r) / sqrt(w + v + r w v)``,

whose derivatives by -w/2 and -v/2 bring factors x^2. Numbers are in sigma, and positions in
``s sigma / A``.
"""

from __future__ import annotations

import numpy as np
import pytest

from trap_ops.science.beam import FWHM_PER_SIGMA
from trap_ops.science.component_fits import HELD_RADIUS_FWHM
from trap_ops.science.footprints import Footprint, cut_stamps, make_footprint
from trap_ops.science.gaussian_fit import (
    Stamps,
    fit_errors,
    fit_gaussians,
    model,
)
from trap_ops.simulate.fields import FieldPlan, make_field
from trap_ops.simulate.noise import NoiseKind

# Of the correlation over that of the beam: white noise smoothed with the beam, natural weighting.
VARIANCES: dict[NoiseKind, float] = {"beam-smoothed": 2.0, "natural": 1.0}
# As wide as infinity: what is further out has 1e-6 of the weight.
WIDE_FWHM = 2.3


def square(size: float) -> np.ndarray:
    """Covariance of a round Gaussian of this full width, pixels."""
    return np.eye(2) * (size / FWHM_PER_SIGMA) ** 2


def every_pixel(covariance: np.ndarray, radius_fwhm: float) -> Footprint:
    """A footprint that is not thinned out."""
    reach = int(np.ceil(radius_fwhm * FWHM_PER_SIGMA * np.sqrt(np.diag(covariance).max()))) + 1
    dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1)
    inverse = np.linalg.inv(covariance)
    radius2 = inverse[0, 0] * dx**2 + 2.0 * inverse[0, 1] * dx * dy + inverse[1, 1] * dy**2
    inside = radius2 <= (radius_fwhm * FWHM_PER_SIGMA) ** 2
    return Footprint(dx[inside], dy[inside])


def sandwich(
    shape: np.ndarray, noise: np.ndarray, footprint: Footprint, *, shape_free: bool
) -> np.ndarray:
    """Covariance of the parameters of a Gaussian of unit peak on a pixel, in unit noise."""
    inverse = np.linalg.inv(shape)
    parameters = np.array([[[1.0, 0.0, 0.0, inverse[0, 0], inverse[0, 1], inverse[1, 1]]]])
    x, y = footprint.dx[None].astype(float), footprint.dy[None].astype(float)
    precision = np.linalg.inv(noise)
    u, v = x[0][:, None] - x[0], y[0][:, None] - y[0]
    correlation = np.exp(
        -0.5 * (precision[0, 0] * u**2 + 2.0 * precision[0, 1] * u * v + precision[1, 1] * v**2)
    )
    stamps = Stamps(np.zeros_like(x), x, y, np.ones_like(x))
    return fit_errors(parameters, stamps, correlation, shape_free=shape_free).covariance[0]


def flux_error(covariance: np.ndarray, shape: np.ndarray) -> float:
    """Of ``A / sqrt(det q)`` over that of the beam, for unit peak, of six parameters."""
    inverse = np.linalg.inv(shape)
    det = np.linalg.det(inverse)
    along = [1.0, 0.0, 0.0, -inverse[1, 1] / 2 / det, inverse[0, 1] / det, -inverse[0, 0] / 2 / det]
    return float(np.sqrt(along @ covariance @ along))


def held_variances(s: np.ndarray, a: np.ndarray) -> tuple[float, np.ndarray]:
    """Of the amplitude with the shape held, and of the positions along both axes, for unit peak."""
    factor = np.sqrt(2.0) * a / np.sqrt(s**2 + a**2 / 2.0)
    return float(factor.prod()), factor.prod() * 2.0 * s**4 / (s**2 + a**2 / 2.0)


def free_errors(ratio: np.ndarray) -> tuple[float, float]:
    """Of amplitude and flux with the shape free, from ``a^2 / s^2`` along both axes.

    Of the shape only the logarithms of the two widths are correlated with the amplitude:
    derivatives g, ``g x^2`` and ``g y^2``, and the flux is the sum of all three.
    """
    root, d = 2.0 * np.pi * np.sqrt(ratio), 2.0 + ratio
    g00 = root / np.sqrt(d)
    g02 = root * (1.0 + ratio) / d**1.5
    g22 = root * (3.0 * (1.0 + ratio) ** 2 / d**2.5 - 2.0 * ratio / d**1.5)
    normal = np.pi * np.array([[1.0, 0.5, 0.5], [0.5, 0.75, 0.25], [0.5, 0.25, 0.75]])
    middle = np.array(
        [
            [g00[0] * g00[1], g02[0] * g00[1], g00[0] * g02[1]],
            [g02[0] * g00[1], g22[0] * g00[1], g02[0] * g02[1]],
            [g00[0] * g02[1], g02[0] * g02[1], g00[0] * g22[1]],
        ]
    )
    inverse = np.linalg.inv(normal)
    covariance = inverse @ middle @ inverse
    return float(np.sqrt(covariance[0, 0])), float(np.sqrt(covariance.sum()))


def test_point_sources_have_the_numbers_of_condon() -> None:
    """White noise smoothed with the beam: sqrt 2, 1, sqrt 2, sqrt 5; the beam as correlation."""
    one = np.ones(2)
    for a2, held, free, position, flux in (
        (2.0, np.sqrt(2.0), 1.0, np.sqrt(2.0), np.sqrt(5.0)),
        (1.0, np.sqrt(4.0 / 3.0), 1.0887, 4.0 / 3.0, 1.7213),
    ):
        amplitude, positions = held_variances(one, np.sqrt(a2) * one)
        assert np.sqrt(amplitude) == pytest.approx(held, rel=1e-12)
        assert np.sqrt(positions) == pytest.approx(position, rel=1e-12)
        assert free_errors(a2 * one) == pytest.approx((free, flux), abs=5e-5)


def test_white_noise_is_the_limit_of_a_narrow_correlation() -> None:
    """Condon: var A = 2 var of a pixel's mean over pi s1 s2 with all six free, half of it held."""
    ratio = np.full(2, 1e-8)
    # The integral of such a correlation is that of one pixel of white noise.
    pixel = 2.0 * np.pi * 1e-8
    assert free_errors(ratio)[0] ** 2 == pytest.approx(2.0 * pixel / np.pi, rel=1e-6)
    assert held_variances(np.ones(2), np.sqrt(ratio))[0] == pytest.approx(pixel / np.pi, rel=1e-6)


@pytest.mark.parametrize("kind", VARIANCES)
@pytest.mark.parametrize(
    "shape",
    [square(6.0), np.diag([11.0, 5.0]), np.diag([11.0, 5.0]) + 2.5, square(12.0)],
    ids=["round", "oblong", "turned", "extended"],
)
def test_a_very_large_footprint_has_the_errors_of_an_infinite_one(
    kind: NoiseKind, shape: np.ndarray
) -> None:
    """In noise of a beam of 6 pixels: point sources, turned and extended ones."""
    noise = VARIANCES[kind] * square(6.0)
    footprint = every_pixel(shape, WIDE_FWHM)
    s2, axes = np.linalg.eigh(shape)
    s, a = np.sqrt(s2), np.sqrt(np.diag(noise))
    amplitude, positions = held_variances(s, a)
    position = axes @ np.diag(positions) @ axes.T
    held = sandwich(shape, noise, footprint, shape_free=False)
    # A sum over pixels instead of an integral: 1e-6 for these widths; the rest is the footprint's.
    assert held[0, 0] == pytest.approx(amplitude, rel=2e-3)
    np.testing.assert_allclose(held[1:3, 1:3], position, rtol=2e-3, atol=1e-6)
    free = sandwich(shape, noise, footprint, shape_free=True)
    peak, flux = free_errors(a**2 / s2)
    assert np.sqrt(free[0, 0]) == pytest.approx(peak, rel=2e-3)
    assert flux_error(free, shape) == pytest.approx(flux, rel=2e-3)
    np.testing.assert_allclose(free[1:3, 1:3], position, rtol=2e-3, atol=1e-6)


# FINDERS, section 6: radius in full widths; amplitude and position (in s / SNR) with the shape
# held, amplitude and flux with the shape free; each for white noise smoothed with the beam, and for
# a correlation like the beam. A source on a pixel, and a beam of 6 pixels.
TRUNCATED = {
    0.35: ((1.08, 1.01), (0.79, 1.01), (1.00, 1.00), (1.65, 1.43)),
    0.5: ((1.17, 1.04), (0.89, 1.05), (0.99, 1.00), (1.72, 1.45)),
    0.75: ((1.32, 1.11), (1.11, 1.16), (0.97, 1.01), (1.89, 1.53)),
    1.0: ((1.39, 1.14), (1.29, 1.27), (0.96, 1.03), (2.05, 1.62)),
    1.5: ((1.41, 1.16), (1.41, 1.33), (0.99, 1.09), (2.23, 1.72)),
}


@pytest.mark.parametrize("radius", TRUNCATED)
def test_errors_on_small_footprints_are_those_of_the_table(radius: float) -> None:
    beam = square(6.0)
    s = 6.0 / FWHM_PER_SIGMA
    footprint = make_footprint(beam, radius)
    for column, a2 in enumerate(VARIANCES.values()):
        held = sandwich(beam, a2 * beam, footprint, shape_free=False)
        free = sandwich(beam, a2 * beam, footprint, shape_free=True)
        found = (
            np.sqrt(held[0, 0]),
            np.sqrt(held[1, 1]) / s,
            np.sqrt(free[0, 0]),
            flux_error(free, beam),
        )
        # Half of the last digit, and a hair: three of them are at a half.
        assert found == pytest.approx([pair[column] for pair in TRUNCATED[radius]], abs=0.0055)
        # The position does not know of the shape.
        np.testing.assert_allclose(free[1:3, 1:3], held[1:3, 1:3], rtol=1e-9, atol=1e-12)


SNR = 300.0


def drawn(kind: NoiseKind, footprint: Footprint) -> tuple[Stamps, np.ndarray]:
    """Stamps of 2400 or so isolated sources in simulated noise, and their true parameters."""
    plan = FieldPlan(
        size_px=1024, per_megapixel=440.0, snr=(SNR, SNR * 1.000001), noise=kind,
        separation_beams=6.0,
    )  # fmt: skip
    beam = plan.beam_covariance_px
    inverse = np.linalg.inv(beam)
    parts, truths = [], []
    for seed in range(7):
        field = make_field(plan, np.random.default_rng([seed, 3]))
        x, y = (np.rint(axis).astype(int)[:, None] for axis in (field.x, field.y))
        parts.append(
            cut_stamps(
                field.pixels, None, footprint, x, y, np.zeros(x.shape), np.ones(x.shape), beam
            ).stamps
        )
        truth = np.empty((len(x), 1, 6))
        truth[:, 0, 0] = field.peak
        truth[:, 0, 1], truth[:, 0, 2] = field.x - x[:, 0], field.y - y[:, 0]
        truth[:, 0, 3:] = inverse[0, 0], inverse[0, 1], inverse[1, 1]
        truths.append(truth)
    stamps = Stamps(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("value", "x", "y", "weight")
        )
    )
    return stamps, np.concatenate(truths)


@pytest.mark.slow
@pytest.mark.parametrize("kind", VARIANCES)
def test_fits_scatter_by_the_closed_forms(kind: NoiseKind) -> None:
    """Amplitude, position and flux of sources of 300 sigma, at all fractions of a pixel."""
    footprint = every_pixel(square(6.0), 1.6)
    stamps, truth = drawn(kind, footprint)
    n = len(truth)
    assert n >= 2000
    s = 6.0 / FWHM_PER_SIGMA
    limits = {"max_shift_px": 4.0, "sigma_limits_px": (1.0, 20.0)}
    held = fit_gaussians(stamps, truth, shape_free=False, **limits)
    free = fit_gaussians(stamps, truth, shape_free=True, **limits)
    assert held.converged.all()
    assert free.converged.all()
    ratio = np.full(2, VARIANCES[kind])
    amplitude, positions = held_variances(np.ones(2), np.sqrt(ratio))
    peak, flux = free_errors(ratio)
    away = held.parameters[:, 0] - truth[:, 0]
    loose = free.parameters[:, 0] - truth[:, 0]
    q = free.parameters[:, 0, 3:]
    whole = free.parameters[:, 0, 0] * np.sqrt(
        np.linalg.det(np.linalg.inv(square(6.0))) / (q[:, 0] * q[:, 2] - q[:, 1] ** 2)
    )
    # Beyond 1.5 full widths nothing changes by more than a per cent: see the table.
    for name, deviation, wanted in (
        ("amplitude, shape held", away[:, 0], np.sqrt(amplitude)),
        ("x", away[:, 1] / s * SNR, np.sqrt(positions[0])),
        ("y", away[:, 2] / s * SNR, np.sqrt(positions[1])),
        ("amplitude", loose[:, 0], peak),
        ("x, shape free", loose[:, 1] / s * SNR, np.sqrt(positions[0])),
        ("flux", whole - truth[:, 0, 0], flux),
    ):
        # Four standard errors: of a scatter 1 / sqrt(2 n), of a mean 1 / sqrt(n).
        assert deviation.std() == pytest.approx(wanted, rel=4.0 / np.sqrt(2.0 * n) + 0.01), name
        assert abs(deviation.mean()) < 4.0 * wanted / np.sqrt(n) + 0.01, name


@pytest.mark.slow
@pytest.mark.parametrize("kind", VARIANCES)
def test_fits_on_the_footprint_in_use_scatter_by_the_sandwich(kind: NoiseKind) -> None:
    """With the shape held; at 12 sigma, so that the bias of the amplitude is seen, and undone."""
    beam = square(6.0)
    footprint = make_footprint(beam, HELD_RADIUS_FWHM)
    stamps, truth = drawn(kind, footprint)
    faint = truth.copy()
    faint[:, 0, 0] = 12.0

    value = stamps.value - model(truth, stamps) + model(faint, stamps)
    stamps = Stamps(value, stamps.x, stamps.y, stamps.weight)
    n = len(faint)
    fit = fit_gaussians(
        stamps, faint, shape_free=False, max_shift_px=4.0, sigma_limits_px=(1.0, 20.0)
    )
    u = footprint.dx[:, None] - footprint.dx
    v = footprint.dy[:, None] - footprint.dy
    correlation = np.exp(-(u**2 + v**2) / (2.0 * VARIANCES[kind] * beam[0, 0]))
    errors = fit_errors(faint, stamps, correlation, shape_free=False)
    covariance, bias = errors.covariance, errors.excess[:, 0, 0]
    away = fit.parameters[:, 0, :3] - faint[:, 0, :3]
    assert away[:, 0].mean() == pytest.approx(
        bias.mean(), abs=4.0 * np.sqrt(covariance[:, 0, 0].mean() / n)
    )
    away[:, 0] -= bias
    error = np.sqrt(np.einsum("bii->bi", covariance))
    # Four standard errors, and a per cent for the third order at 12 sigma.
    np.testing.assert_allclose((away / error).std(axis=0), 1.0, atol=4.0 / np.sqrt(2.0 * n) + 0.01)

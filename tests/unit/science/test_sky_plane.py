"""From pixels to the sky: against astropy's own transformations and drawn positions."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS

from trap_ops.science.beam import FWHM_PER_SIGMA, beam_covariance
from trap_ops.science.sky_plane import circles_mask, to_pixels, to_sky

STEP_DEG = 5.0 / 3600.0


def make_wcs(
    ra: float, dec: float, projection: str = "SIN", matrix: np.ndarray | None = None
) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = [f"RA---{projection}", f"DEC--{projection}"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [513.0, 513.0]
    wcs.wcs.cd = STEP_DEG * (np.diag([-1.0, 1.0]) if matrix is None else matrix)
    wcs.wcs.radesys = "ICRS"
    wcs.wcs.set()
    return wcs


def rotated(angle_deg: float, stretch: float = 1.0) -> np.ndarray:
    angle = np.radians(angle_deg)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return turn @ np.diag([-1.0, stretch])


IMAGES = {
    "equator": make_wcs(120.0, 0.0),
    "north": make_wcs(310.0, 62.0, "TAN"),
    "across RA 0": make_wcs(0.0, -35.0),
    "over the pole": make_wcs(45.0, 90.0, "TAN"),
    "rotated": make_wcs(200.0, 40.0, "SIN", rotated(33.0)),
    "oblong pixels": make_wcs(200.0, -40.0, "TAN", rotated(-70.0, 1.7)),
    "mirrored": make_wcs(75.0, 20.0, "SIN", np.eye(2)),
    "skewed": make_wcs(75.0, 20.0, "SIN", np.array([[-1.0, 0.4], [0.1, 1.2]])),
}
SPREAD = np.array([[0.16, 0.05], [0.05, 0.09]])
ROUND = np.broadcast_to(np.eye(2), (1, 2, 2))


def tangent_offsets(centre: SkyCoord, points: SkyCoord) -> tuple[np.ndarray, np.ndarray]:
    """East and north in degrees, by astropy."""
    east, north = centre.spherical_offsets_to(points)
    return east.deg, north.deg


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("place", [(530.0, 512.0), (130.25, 801.5), (1000.0, 30.0)])
def test_positions_and_their_errors_are_those_of_drawn_pixels(
    name: str, place: tuple[float, float]
) -> None:
    wcs = IMAGES[name]
    x, y = (np.array([value]) for value in place)
    sky = to_sky(wcs, x, y, SPREAD[None], ROUND)
    ra, dec = (float(value) for value in wcs.wcs_pix2world(*place, 0))
    assert sky.ra_deg[0] == pytest.approx(ra % 360.0, abs=1e-9)
    assert sky.dec_deg[0] == pytest.approx(dec, abs=1e-9)
    drawn = np.random.default_rng(5).multivariate_normal(place, SPREAD, 40_000)
    points = SkyCoord(*wcs.wcs_pix2world(*drawn.T, 0), unit="deg")
    east, north = tangent_offsets(SkyCoord(ra, dec, unit="deg"), points)
    # 40,000 draws tell a scatter to 0.35 per cent; four sigma.
    assert sky.dec_fit_err_deg[0] == pytest.approx(north.std(), rel=0.015)
    assert sky.ra_fit_err_deg[0] * np.cos(np.radians(dec)) == pytest.approx(east.std(), rel=0.015)


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("bpa_deg", [0.0, 25.0, 90.0, 155.0, 179.9])
def test_axes_and_position_angle_of_a_beam_come_back(name: str, bpa_deg: float) -> None:
    wcs = IMAGES[name]
    shape = beam_covariance(0.02, 0.012, bpa_deg, wcs.pixel_scale_matrix)
    # Away from the reference point north itself turns.
    sky = to_sky(wcs, np.array([512.0]), np.array([511.5]), ROUND, shape[None])
    assert sky.semimajor_arcsec[0] == pytest.approx(36.0, rel=1e-5)
    assert sky.semiminor_arcsec[0] == pytest.approx(21.6, rel=1e-5)
    assert 0.0 <= sky.pa_deg[0] < 180.0
    if name != "over the pole":
        assert np.sin(np.radians(sky.pa_deg[0] - bpa_deg)) == pytest.approx(0.0, abs=2e-4)


def test_position_angle_is_measured_from_the_local_north() -> None:
    """Far from the reference point of a field near the pole the rows of pixels are no parallels."""
    wcs = make_wcs(0.0, 85.0, "TAN")
    x, y = np.array([1012.0]), np.array([512.0])
    here = SkyCoord(*wcs.wcs_pix2world(x, y, 0), unit="deg")
    above = SkyCoord(*wcs.wcs_pix2world(x, y + 0.1, 0), unit="deg")
    along_y = np.diag([4.0, 9.0])
    sky = to_sky(wcs, x, y, ROUND, along_y[None])
    expected = here.position_angle(above).deg % 180.0
    assert 5.0 < expected < 175.0
    assert sky.pa_deg[0] == pytest.approx(expected[0], abs=1e-3)


@pytest.mark.parametrize("name", IMAGES)
def test_error_radius_reaches_the_farthest_corner_of_the_error_box(name: str) -> None:
    wcs = IMAGES[name]
    x, y = np.array([300.0]), np.array([700.0])
    sky = to_sky(wcs, x, y, SPREAD[None], ROUND)
    centre = SkyCoord(*wcs.wcs_pix2world(x, y, 0), unit="deg")
    dx, dy = np.sqrt(np.diag(SPREAD))
    corners_x = x + dx * np.array([-1, -1, 1, 1])
    corners_y = y + dy * np.array([-1, 1, -1, 1])
    corners = SkyCoord(*wcs.wcs_pix2world(corners_x, corners_y, 0), unit="deg")
    farthest = centre.separation(corners).arcsec.max()
    assert sky.error_radius_arcsec[0] == pytest.approx(farthest, rel=1e-4)


def test_off_the_sky_there_are_no_numbers_and_the_neighbours_are_untouched() -> None:
    """A SIN image of half the sky has corners that show nothing."""
    wcs = make_wcs(180.0, 30.0, "SIN", np.diag([-1.0, 1.0]) * 90.0)
    x, y = np.array([512.0, 0.0, 512.0]), np.array([500.0, 0.0, 900.0])
    three = np.broadcast_to(np.eye(2), (3, 2, 2))
    sky = to_sky(wcs, x, y, three, three * 4.0)
    assert np.isnan(sky.ra_deg[1])
    assert np.isnan(sky.semimajor_arcsec[1])
    assert np.isnan(sky.pa_deg[1])
    assert np.isposinf(sky.error_radius_arcsec[1])
    alone = to_sky(wcs, x[[0, 2]], y[[0, 2]], three[:2], three[:2] * 4.0)
    for field, value in vars(alone).items():
        np.testing.assert_array_equal(getattr(sky, field)[[0, 2]], value, err_msg=field)


def test_no_sources_no_rows() -> None:
    empty = np.empty(0)
    sky = to_sky(IMAGES["equator"], empty, empty, np.empty((0, 2, 2)), np.empty((0, 2, 2)))
    assert {value.shape for value in vars(sky).values()} == {(0,)}
    assert [len(axis) for axis in to_pixels(IMAGES["equator"], [], [])] == [0, 0]


@pytest.mark.parametrize("name", IMAGES)
def test_pixels_and_sky_are_inverse(name: str) -> None:
    wcs = IMAGES[name]
    x, y = np.random.default_rng(1).uniform(0.0, 1023.0, (2, 200))
    ra, dec = wcs.wcs_pix2world(x, y, 0)
    back_x, back_y = to_pixels(wcs, ra, dec)
    np.testing.assert_allclose(back_x, x, atol=1e-6)
    np.testing.assert_allclose(back_y, y, atol=1e-6)


@pytest.mark.parametrize("projection", ["SIN", "TAN", "NCP"])
def test_the_far_side_of_the_sky_has_no_pixel(projection: str) -> None:
    rng = np.random.default_rng(2)
    ra, dec = rng.uniform(0.0, 360.0, 2000), np.degrees(np.arcsin(rng.uniform(-1.0, 1.0, 2000)))
    wcs = make_wcs(180.0, 90.0 if projection == "NCP" else 30.0, projection)
    centre = SkyCoord(*wcs.wcs.crval, unit="deg")
    near = centre.separation(SkyCoord(ra, dec, unit="deg")).deg < 90.0
    x, y = to_pixels(wcs, ra, dec)
    np.testing.assert_array_equal(np.isfinite(x), near)
    np.testing.assert_array_equal(np.isfinite(y), near)


def test_half_widths_are_at_half_maximum() -> None:
    shape = np.eye(2) * 9.0
    sky = to_sky(IMAGES["equator"], np.array([512.0]), np.array([512.0]), ROUND, shape[None])
    assert sky.semimajor_arcsec[0] == pytest.approx(3.0 * FWHM_PER_SIGMA / 2.0 * 5.0, rel=1e-6)


@pytest.mark.parametrize("name", IMAGES)
def test_circles_hold_the_pixels_that_are_near_their_centres(name: str) -> None:
    wcs = IMAGES[name]
    ra, dec = (float(value) for value in wcs.wcs_pix2world(300.0, 620.0, 0))
    radius = 40.0 * STEP_DEG
    mask = circles_mask(wcs, (700, 640), [(ra, dec, radius), ((ra + 180.0) % 360.0, -dec, 1.0)])
    y, x = np.mgrid[500:700, 200:400]
    pixels = SkyCoord(*wcs.wcs_pix2world(x.ravel(), y.ravel(), 0), unit="deg")
    near = pixels.separation(SkyCoord(ra, dec, unit="deg")).deg.reshape(x.shape)
    clear = abs(near - radius) > 1e-9
    assert (mask[500:, 200:400] == (near < radius))[clear].all()
    assert mask.sum() == mask[500:, 200:400].sum() > 1000
    assert not circles_mask(wcs, (20, 30), []).any()

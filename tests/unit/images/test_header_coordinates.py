"""Where an image is on the sky, by the keywords of its header (SCIENCE.md 1.3 with D8)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from trap_ops.errors import ImageError
from trap_ops.images.cards import Header
from trap_ops.images.frames import celestial_wcs, pixel_matrix, sky_of_field
from trap_ops.science.sky_plane import linearise
from unit.images.fits_files import PIXEL_DEG, cards, header, parsed

# The other axes of an image.
FREQ_AXIS = {"CTYPE3": "FREQ", "CRVAL3": 60e6, "CDELT3": 4e6, "CRPIX3": 1.0}
STOKES_AXIS = {"CTYPE4": "STOKES", "CRVAL4": 1.0, "CDELT4": 1.0, "CRPIX4": 1.0}


def test_celestial_axes() -> None:
    wcs = celestial_wcs(cards(FREQ_AXIS | STOKES_AXIS))
    assert wcs.naxis == 2
    ra, dec = wcs.wcs_pix2world(16.0, 12.0, 0)
    assert (float(ra), float(dec)) == pytest.approx((123.0, 10.0), abs=1e-12)
    expected = [[-PIXEL_DEG, 0.0], [0.0, PIXEL_DEG]]
    np.testing.assert_allclose(pixel_matrix(wcs, 32, 24), expected, rtol=1e-12)


def test_a_rotation_and_units_come_into_the_pixel_matrix() -> None:
    rotated = celestial_wcs(cards({"CROTA2": 30.0}))
    c, s = math.cos(math.radians(30.0)), math.sin(math.radians(30.0))
    # FITS paper II, eq. 186 for CROTA: x = CDELT1 p cos - CDELT2 q sin, and so on.
    expected = PIXEL_DEG * np.array([[-c, -s], [-s, c]])
    np.testing.assert_allclose(pixel_matrix(rotated, 32, 24), expected, rtol=1e-12)
    in_rad = celestial_wcs(
        cards(
            {"CUNIT1": "rad", "CUNIT2": "rad", "CRVAL1": 2.0, "CRVAL2": 0.2}
            | {"CDELT1": -2e-5, "CDELT2": 2e-5}
        )
    )
    np.testing.assert_allclose(
        pixel_matrix(in_rad, 32, 24), np.degrees(2e-5) * np.array([[-1, 0], [0, 1]]), rtol=1e-12
    )


def test_a_cd_matrix_stands_for_the_pixel_sizes() -> None:
    changes = {"CDELT1": None, "CDELT2": None, "CD1_1": -0.01, "CD2_2": 0.01, "CD1_2": 0.002}
    matrix = pixel_matrix(celestial_wcs(cards(changes)), 32, 24)
    np.testing.assert_allclose(matrix, [[-0.01, 0.002], [0.0, 0.01]], rtol=1e-12)


def test_a_zenithal_projection_may_be_turned_by_lonpole() -> None:
    """A beam's angle counts from celestial north, which LONPOLE moves away from +y."""
    made = celestial_wcs(cards({"LONPOLE": 150.0, "CRVAL2": 39.0}))
    north, at = made.wcs_world2pix([[123.0, 39.0 + 1e-4], [123.0, 39.0]], 0)
    x, y = (north - at) / 1e-4
    c, s = math.cos(math.radians(30.0)), math.sin(math.radians(30.0))
    # (x, y) pixels that lead one degree north.
    assert (x * PIXEL_DEG, y * PIXEL_DEG) == pytest.approx((-s, c), abs=1e-5)
    matrix = pixel_matrix(made, 32, 24)
    np.testing.assert_allclose(matrix @ [x, y], [0.0, 1.0], atol=1e-5)
    np.testing.assert_allclose(matrix, PIXEL_DEG * np.array([[-c, -s], [-s, c]]), rtol=1e-12)


@pytest.mark.parametrize("projection", ["SIN", "TAN", "ARC", "STG", "ZEA", "NCP"])
@pytest.mark.parametrize("changes", [{}, {"LONPOLE": 150.0}, {"LONPOLE": -77.0, "CROTA2": 20.0}])
@pytest.mark.parametrize("dec", [39.0, -39.0, 89.99])
def test_zenithal_pixels_at_the_reference_point(
    projection: str, changes: dict[str, float], dec: float
) -> None:
    """By differences on the sky."""
    types = {"CTYPE1": f"RA---{projection}", "CTYPE2": f"DEC--{projection}", "CRVAL2": dec}
    made = celestial_wcs(cards(types | changes))
    expected = linearise(made, np.array([16.0]), np.array([12.0]))[2][0]
    # The least that a pixel can be mistaken for: its side squared, in radians.
    np.testing.assert_allclose(pixel_matrix(made, 32, 24), expected, atol=1e-4 * PIXEL_DEG)
    # Far from the reference point the beam is the same in the plane of the projection.
    np.testing.assert_array_equal(pixel_matrix(made, 9, 9), pixel_matrix(made, 999, 999))


def test_the_north_pole_as_reference_point() -> None:
    """The default of LONPOLE is another there; north is +y all the same, as just beside it."""
    made = celestial_wcs(cards({"CRVAL2": 90.0}))
    assert made.wcs.lonpole == 0.0
    np.testing.assert_allclose(
        pixel_matrix(made, 32, 24), PIXEL_DEG * np.array([[-1, 0], [0, 1]]), rtol=1e-12
    )


def test_other_projections_have_the_pixels_of_the_image_centre() -> None:
    """A plate carrée about the equator has narrow pixels far from it."""
    types = {"CTYPE1": "RA---CAR", "CTYPE2": "DEC--CAR", "CRVAL2": 0.0}
    made = celestial_wcs(cards(types | {"CRPIX2": 13.0 - 39.0 / PIXEL_DEG}))
    cosine = math.cos(math.radians(39.0))
    np.testing.assert_allclose(
        pixel_matrix(made, 32, 24), PIXEL_DEG * np.array([[-cosine, 0], [0, 1]]), atol=1e-12
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"CDELT1": 100.0},
        {"CDELT1": 1e300, "CDELT2": 1e300},
        {"CDELT1": 1e-300},
        # Both axes along one line, to the last digit of a header or so.
        {"CD1_1": 1e-3, "CD1_2": 1e-3, "CD2_1": 1e-3, "CD2_2": 1.0000000001e-3},
    ],
)
def test_what_are_no_pixels(changes: dict[str, float]) -> None:
    if "CD1_1" in changes:
        changes = changes | dict.fromkeys(("CDELT1", "CDELT2"))
    with pytest.raises(ImageError, match="no parallelogram on the sky") as raised:
        pixel_matrix(celestial_wcs(cards(changes)), 32, 24)
    assert raised.value.reason == "no coordinates"


@pytest.mark.parametrize("key", ["CNPIX1", "MJD-OBS", "A_ORDER", "WCSAXES", "CUNIT3", "PS1_0"])
def test_what_does_not_place_an_image_does_not_spoil_its_place(key: str) -> None:
    """Of some keywords (CNPIX1) wcslib does not fail but crashes, and with it the run."""
    np.testing.assert_allclose(
        pixel_matrix(celestial_wcs(cards({key: 7})), 32, 24)[1, 1], PIXEL_DEG, rtol=1e-12
    )


@pytest.mark.parametrize("ctype", ["XXX", "TAB"])
def test_a_projection_that_is_not_known_is_refused(ctype: str) -> None:
    with pytest.raises(ImageError, match="cannot be read") as raised:
        celestial_wcs(cards({"CTYPE1": f"RA---{ctype}", "CTYPE2": f"DEC--{ctype}"}))
    assert raised.value.reason == "no coordinates"


@pytest.mark.parametrize("key", ["CUNIT1", "CUNIT2", "RADESYS", "EQUINOX"])
def test_what_may_be_missing(key: str) -> None:
    celestial_wcs(cards({key: None}))


@pytest.mark.parametrize("changes", [{"EQUINOX": 2000.0}, {"RADESYS": "FK5"}, {"EPOCH": 2000.0}])
def test_coordinates_of_2000(changes: dict[str, Any]) -> None:
    celestial_wcs(cards(changes))


@pytest.mark.parametrize(
    "key", ["CTYPE1", "CTYPE2", "CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2", "CDELT1", "CDELT2"]
)
def test_an_image_without_its_place_on_the_sky_is_refused(key: str) -> None:
    """Astropy itself assumes 0 for a missing place and 1 degree for a missing pixel size."""
    with pytest.raises(ImageError) as raised:
        celestial_wcs(cards({key: None}))
    assert raised.value.reason == "no coordinates"


@pytest.mark.parametrize("key", ["CRVAL1", "CRPIX2", "CDELT1"])
@pytest.mark.parametrize("value", ["12.5", "x", math.inf])
def test_a_place_that_is_not_a_number_is_refused(key: str, value: object) -> None:
    """Astropy passes over text and assumes 0."""
    made = header()
    if isinstance(value, float):  # A card may hold 1E400, which reads as infinite.
        text = made.tostring().replace(_card(made, key), f"{key:8}= 1E400".ljust(80))
        read = Header.parse(text.encode())
    else:
        made[key] = value
        read = parsed(made)
    with pytest.raises(ImageError, match=key) as raised:
        celestial_wcs(read)
    assert raised.value.reason == "no coordinates"


def _card(made: fits.Header, key: str) -> str:
    return str(made.cards[key])


def test_a_pixel_size_of_zero_is_refused() -> None:
    with pytest.raises(ImageError) as raised:
        celestial_wcs(cards({"CDELT1": 0.0}))
    assert raised.value.reason == "no coordinates"


@pytest.mark.parametrize(
    "changes",
    [
        {"CTYPE1": "FREQ", "CTYPE2": "STOKES", "CUNIT1": "Hz", "CUNIT2": None},
        # The pixels would be those of the wrong two axes.
        {"CTYPE1": "FREQ", "CUNIT1": "Hz", "CTYPE2": "RA---SIN", "CTYPE3": "DEC--SIN"},
    ],
)
def test_celestial_axes_must_be_the_first_two(changes: dict[str, Any]) -> None:
    with pytest.raises(ImageError) as raised:
        celestial_wcs(cards(changes))
    assert raised.value.reason == "no coordinates"


@pytest.mark.parametrize("crval1", [-10.0, 350.0, 710.0])
def test_right_ascensions_are_wrapped(crval1: float) -> None:
    """WSClean writes CRVAL1 from -180 to 180."""
    ra, _ = sky_of_field(celestial_wcs(cards({"CRVAL1": crval1})), 32, 24)
    half = 16.5 * PIXEL_DEG / math.cos(math.radians(10.0))
    assert ra[0] == pytest.approx(350.0, abs=1e-9)
    assert ra[1] == pytest.approx(350.0 + half, rel=1e-5)
    assert all(0.0 <= value < 360.0 for value in ra)


def test_corners_across_0h_are_wrapped() -> None:
    ra, _ = sky_of_field(celestial_wcs(cards({"CRVAL1": 0.0})), 32, 24)
    assert 0.0 < ra[1] < 0.1
    assert 359.9 < ra[2] < 360.0


def test_the_centre_is_half_a_pixel_beyond_the_middle() -> None:
    """Pixel (nx/2, ny/2) counted from 0, as in the classic system."""
    wcs = celestial_wcs(cards())
    ra, dec = sky_of_field(wcs, 32, 24)
    assert (ra[0], dec[0]) == pytest.approx((123.0, 10.0), abs=1e-9)
    ra, dec = sky_of_field(wcs, 33, 25)
    expected = wcs.wcs_pix2world(16.5, 12.5, 0)
    assert (ra[0], dec[0]) == pytest.approx(tuple(map(float, expected)), abs=1e-12)


@given(st.sampled_from([(0, 0), (1, 0), (0, 1), (1, 1)]))
def test_corners_are_the_outer_edges_of_pixels(corner: tuple[int, int]) -> None:
    wcs = celestial_wcs(cards())
    ra, dec = sky_of_field(wcs, 32, 24)
    x, y = corner[0] * 32 - 0.5, corner[1] * 24 - 0.5
    expected = wcs.wcs_pix2world(x, y, 0)
    index = 1 + corner[0] + 2 * corner[1]
    assert (ra[index], dec[index]) == pytest.approx(tuple(map(float, expected)), abs=1e-12)


def test_corners_off_the_sky_are_nan_and_a_centre_off_it_is_refused() -> None:
    """A SIN image with pixels of 5 deg shows the whole hemisphere."""
    wcs = celestial_wcs(cards({"CDELT1": -5.0, "CDELT2": 5.0, "CRVAL2": 90.0}))
    ra, dec = sky_of_field(wcs, 32, 24)
    assert all(math.isnan(value) for value in ra[1:])
    assert math.isfinite(ra[0] + dec[0])
    with pytest.raises(ImageError, match="not on the sky") as raised:
        sky_of_field(wcs, 200, 200)
    assert raised.value.reason == "no coordinates"

"""From every frame and projection to ICRS, against astropy's own WCS and SkyCoord."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import FK4, FK5, ICRS, BaseCoordinateFrame, FK4NoETerms, Galactic, SkyCoord
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning
from numpy.typing import NDArray

from trap_ops.errors import ImageError
from trap_ops.images.cards import Header
from trap_ops.images.frames import Place, read_frame, read_place, sky_of_field
from trap_ops.science.beam import beam_covariance
from unit.images.fits_files import parsed

# Arcsec: the WCS must agree with astropy's.
AGREE_ARCSEC = 1e-4
NX, NY = 40, 30
FRAMES: dict[str, tuple[dict[str, Any], BaseCoordinateFrame]] = {
    "ICRS": ({"RADESYS": "ICRS"}, ICRS()),
    "nothing said": ({}, ICRS()),
    "FK5 by its equinox": ({"EQUINOX": 2000.0}, FK5()),
    "FK5": ({"RADESYS": "FK5"}, FK5()),
    "J2000 in words": ({"RADECSYS": "FK5", "EPOCH": "J2000.0"}, FK5()),
    "FK5 of 1975": ({"RADESYS": "FK5", "EQUINOX": 1975.0}, FK5(equinox="J1975")),
    "FK5 of 2010": ({"RADESYS": "FK5", "EQUINOX": 2010.5}, FK5(equinox="J2010.5")),
    "FK4-NO-E": ({"RADESYS": "FK4-NO-E", "EQUINOX": 1950.0}, FK4NoETerms(equinox="B1950")),
    "FK4-NO-E of 1900": ({"RADESYS": "FK4-NO-E", "EQUINOX": 1900.0}, FK4NoETerms(equinox="B1900")),
    "galactic": ({}, Galactic()),
}
FK4_OF_1950: list[dict[str, Any]] = [
    {"EQUINOX": 1950.0},
    {"EPOCH": 1950.0},
    {"RADESYS": "FK4"},
    {"RADESYS": "B1950"},
]
# Codes, and what some of them need.
PROJECTIONS: dict[str, dict[str, Any]] = {
    **{code: {} for code in ("SIN", "TAN", "STG", "ARC", "ZEA", "AIR", "NCP")},
    **{code: {} for code in ("CAR", "CEA", "MER", "CYP", "SFL", "GLS", "PAR", "MOL", "AIT")},
    **{code: {} for code in ("PCO", "TSC", "CSC", "QSC", "HPX", "XPH")},
    "slant SIN": {"PV2_1": 0.2, "PV2_2": -0.3},
    "AZP": {"PV2_1": 2.0, "PV2_2": 30.0},
    "SZP": {"PV2_1": 2.0, "PV2_2": 180.0, "PV2_3": 60.0},
    "ZPN": {"PV2_1": 1.0, "PV2_3": 0.05},
    **{code: {"PV2_1": 45.0, "PV2_2": 25.0} for code in ("COP", "COD", "COE", "COO")},
    "BON": {"PV2_1": 45.0},
    # A reference point of the header's own choice, with CRPIX at it.
    "its own SIN": {"PV1_0": 1.0, "PV1_1": 20.0, "PV1_2": 80.0},
    "its own CAR": {"PV1_0": 1.0, "PV1_1": 20.0, "PV1_2": 30.0},
    "another CAR": {"PV1_1": 20.0, "PV1_2": 30.0, "LONPOLE": 40.0},
}
PLACES = [(123.0, 40.0), (0.01, -0.01), (359.9, -75.0), (60.0, 89.99), (200.0, 90.0), (12.0, -90.0)]


def suits(code: str) -> Callable[[tuple[float, float]], bool]:
    """Declinations at which a projection can have its reference point, and a field around it."""
    low, high = {"NCP": (30, 91), "GLS": (0, 80), "another CAR": (30, 50)}.get(code, (0, 91))
    return lambda place: low <= abs(place[1]) <= high


def image(frame: dict[str, Any], code: str, place: tuple[float, float], *, galactic: bool) -> Any:
    """Header of a field of 10 deg, turned, with pixels that are no squares."""
    made = fits.Header()
    made["NAXIS"], made["NAXIS1"], made["NAXIS2"] = 2, NX, NY
    longitude, latitude = ("GLON", "GLAT") if galactic else ("RA--", "DEC-")
    kind = code[-3:]
    made["CTYPE1"], made["CTYPE2"] = f"{longitude}-{kind}", f"{latitude}-{kind}"
    made["CRVAL1"], made["CRVAL2"] = place
    made["CRPIX1"], made["CRPIX2"] = 19.0, 16.5
    made["CD1_1"], made["CD1_2"] = -0.24, 0.06
    made["CD2_1"], made["CD2_2"] = 0.07, 0.3
    made["CUNIT1"] = made["CUNIT2"] = "deg"
    for key, value in {**frame, **PROJECTIONS[code]}.items():
        made[key] = value
    return made


def grid(nx: int = NX, ny: int = NY) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, y = np.meshgrid(np.linspace(0, nx - 1, 8), np.linspace(0, ny - 1, 7))
    return x.ravel(), y.ravel()


def own_wcs(made: fits.Header) -> WCS:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)  # Of old names.
        return WCS(made)


def by_astropy(made: fits.Header, frame: BaseCoordinateFrame) -> tuple[SkyCoord, NDArray[np.bool_]]:
    """ICRS positions of a grid of pixels, as astropy finds them."""
    longitude, latitude = own_wcs(made).wcs_pix2world(*grid(), 0)
    finite = np.isfinite(longitude + latitude)
    longitude, latitude = np.where(finite, longitude, 0.0), np.where(finite, latitude, 0.0)
    found = SkyCoord(longitude * u.deg, latitude * u.deg, frame=frame).icrs
    assert finite.sum() > 20
    return found[finite], finite


def distances(place: Place, expected: SkyCoord, finite: NDArray[np.bool_]) -> NDArray[np.float64]:
    ra, dec = place.wcs.wcs_pix2world(*grid(), 0)
    made = SkyCoord(ra[finite] * u.deg, dec[finite] * u.deg)
    return np.asarray(made.separation(expected).arcsec)


@pytest.mark.parametrize(
    ("code", "name"),
    [
        *((code, name) for code in PROJECTIONS for name in ("ICRS", "FK5", "galactic")),
        *((code, name) for code in ("SIN", "CAR") for name in FRAMES),
    ],
)
def test_every_projection_in_every_frame(code: str, name: str) -> None:
    words, frame = FRAMES[name]
    for at in filter(suits(code), PLACES):
        made = image(words, code, at, galactic=name == "galactic")
        place = read_place(parsed(made), NX, NY)
        assert distances(place, *by_astropy(made, frame)).max() < AGREE_ARCSEC, at


@pytest.mark.parametrize("words", FK4_OF_1950)
@pytest.mark.parametrize(
    ("code", "at"),
    [
        *((code, at) for code in ("SIN", "CAR", "AIT") for at in PLACES),
        ("NCP", (123.0, 40.0)),
        ("NCP", (359.9, -75.0)),
    ],
)
def test_fk4_has_a_residual_that_is_stated(
    words: dict[str, Any], code: str, at: tuple[float, float]
) -> None:
    """The E-terms of aberration are no rotation: 0 at the centre, 0.03 arcsec at 5 deg."""
    made = image(words, code, at, galactic=False)
    place = read_place(parsed(made), NX, NY)
    expected, finite = by_astropy(made, FK4(equinox="B1950"))
    off = distances(place, expected, finite)
    ra, dec = place.wcs.wcs_pix2world(NX / 2, NY / 2, 0)
    from_centre = SkyCoord(ra * u.deg, dec * u.deg).separation(expected).deg
    # The field reaches beyond 5 deg.
    assert from_centre.max() > 5.0
    assert (off < 1e-4 + 0.03 / 5.0 * from_centre).all()


def test_what_a_frame_is_worth() -> None:
    """These are the mistakes that would be made if frames were passed over."""
    made = image({"EQUINOX": 2000.0}, "SIN", (123.0, 40.0), galactic=False)
    expected, finite = by_astropy(made, ICRS())
    off = distances(read_place(parsed(made), NX, NY), expected, finite)
    assert 0.005 < off.min() < off.max() < 0.04


def turn_by_astropy(frame: BaseCoordinateFrame, ra: float, dec: float) -> float:
    """From the north of ICRS to that of the frame at a position of the frame, degrees."""
    at = SkyCoord(ra * u.deg, dec * u.deg, frame=frame)
    north = SkyCoord(ra * u.deg, (dec + 1e-3) * u.deg, frame=frame)
    return float(at.icrs.position_angle(north.icrs).deg)


@pytest.mark.parametrize("name", ["FK5 of 1975", "galactic", "FK4-NO-E", "FK5"])
@pytest.mark.parametrize("code", ["SIN", "TAN", "NCP", "CAR", "MOL"])
@pytest.mark.parametrize("at", [(123.0, 40.0), (0.01, -20.0), (300.0, 80.0)])
def test_position_angles_are_turned_with_the_frame(
    name: str, code: str, at: tuple[float, float]
) -> None:
    words, frame = FRAMES[name]
    made = image(words, code, at, galactic=name == "galactic")
    place = read_place(parsed(made), NX, NY)
    if code in {"SIN", "TAN", "NCP"}:
        where = at
    else:
        where = tuple(map(float, own_wcs(made).wcs_pix2world(NX / 2, NY / 2, 0)))
    expected = turn_by_astropy(frame, *where)
    difference = (place.turn_deg - expected + 180.0) % 360.0 - 180.0
    assert difference == pytest.approx(0.0, abs=2e-3)
    # A beam is the same ellipse of pixels, whichever north its angle counts from.
    own = {key: value for key, value in made.items() if key not in {"RADESYS", "EQUINOX"}}
    own["CTYPE1"], own["CTYPE2"] = f"RA---{code}", f"DEC--{code}"
    as_written = read_place(Header(own), NX, NY).matrix_deg
    np.testing.assert_allclose(
        beam_covariance(2.0, 1.0, 30.0 + place.turn_deg, place.matrix_deg),
        beam_covariance(2.0, 1.0, 30.0, as_written),
        rtol=1e-3,
        atol=1e-3,
    )


def test_the_file_says_icrs_afterwards() -> None:
    """Whoever reads the cards of the new WCS finds the same places."""
    for code in ("SIN", "CAR", "HPX"):
        made = image({}, code, (10.0, 20.0), galactic=True)
        place = read_place(parsed(made), NX, NY)
        again = WCS(fits.Header.fromstring(place.wcs.to_header_string(relax=True)))
        assert again.wcs.radesys == "ICRS"
        ra, dec = again.wcs_pix2world(*grid(), 0)
        expected, finite = by_astropy(made, Galactic())
        found = SkyCoord(ra * u.deg, dec * u.deg)
        assert found.separation(expected).arcsec.max() < AGREE_ARCSEC
        assert finite.all()


def test_the_field_of_a_galactic_image_is_in_icrs() -> None:
    made = image({}, "SIN", (0.0, 0.0), galactic=True)
    made["CRPIX1"], made["CRPIX2"] = NX / 2 + 1, NY / 2 + 1
    ra, dec = sky_of_field(read_place(parsed(made), NX, NY).wcs, NX, NY)
    # The galactic centre, as everyone knows it.
    assert (ra[0], dec[0]) == pytest.approx((266.40499, -28.93617), abs=1e-5)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"RADESYS": "GAPPT"}, "GAPPT"),
        ({"RADESYS": "SOMETHING"}, "SOMETHING"),
        ({"RADESYS": "FK5", "EQUINOX": 1e300}, "of 1e"),
        ({"EQUINOX": -1.0}, "FK4 of -1"),
        ({"CTYPE1": "ELON-SIN", "CTYPE2": "ELAT-SIN"}, "ELON-SIN/ELAT-SIN"),
        ({"CTYPE1": "SLON-SIN", "CTYPE2": "SLAT-SIN"}, "SLON-SIN"),
        ({"CTYPE1": "HPLN-TAN", "CTYPE2": "HPLT-TAN"}, "HPLN-TAN"),
        ({"CTYPE1": "DEC--SIN", "CTYPE2": "RA---SIN"}, "longitude must be the first axis"),
    ],
)
def test_other_coordinate_systems_are_refused(words: dict[str, Any], said: str) -> None:
    made = image(words, "SIN", (10.0, 20.0), galactic=False)
    with pytest.raises(ImageError, match=said) as raised:
        read_place(parsed(made), NX, NY)
    assert raised.value.reason == "coordinate system"


@pytest.mark.parametrize(
    ("words", "name", "equinox"),
    [
        ({}, "ICRS", 0.0),
        ({"EQUINOX": 1983.9}, "FK4", 1983.9),
        ({"EQUINOX": 1984.0}, "FK5", 1984.0),
        ({"EQUINOX": "B1950.0"}, "FK4", 1950.0),
        ({"EQUINOX": "J2000"}, "FK5", 2000.0),
        ({"RADESYS": "ICRS", "EQUINOX": 1950.0}, "ICRS", 0.0),
        ({"RADESYS": "FK5", "EQUINOX": "soon"}, "FK5", 2000.0),
    ],
)
def test_which_frame_a_header_means(words: dict[str, Any], name: str, equinox: float) -> None:
    """FITS paper II, section 3.1."""
    frame = read_frame(parsed(image(words, "SIN", (10.0, 20.0), galactic=False)))
    assert (frame.name, frame.equinox) == (name, equinox)
    assert math.isfinite(frame.equinox)

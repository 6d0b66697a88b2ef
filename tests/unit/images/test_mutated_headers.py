"""Real headers, said in other ways: the answers stay the same."""

from __future__ import annotations

import gzip
import io
import warnings
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import FK5, ICRS, Galactic, SkyCoord
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning

from trap_ops.records.images import Beam
from trap_ops.simulate.headers import Expected, SkyPosition
from unit.images.reading_truth import read_all, wrong

# A matter of seconds: not part of make test-fast.
pytestmark = pytest.mark.slow

# A part of each image, which holds its brightest source; its whole header stays.
NY, NX = 40, 48
GRB, SWIFT, LOFAR = (
    "GRB120422A-120429.fits",
    "SWIFT_554620-130504.fits",
    "GRB201006A-t0002-cutout.fits",
)
CORNERS = {GRB: (240, 240), SWIFT: (240, 240), LOFAR: (100, 110)}
NAMES = list(CORNERS)
# Read independently: the README beside the images.
BEAMS = {
    GRB: (0.0150675, 0.0068480, 5.0145),
    SWIFT: (0.0170813, 0.0065968, 13.5456),
    LOFAR: (0.0090191, 0.0049884, 38.686),
}
FREQUENCIES = {GRB: 16505187505.0, SWIFT: 16879928130.0, LOFAR: 143650817.87}
STARTS = {
    GRB: "2012-04-29T17:19:23.001599",
    SWIFT: "2013-05-04T18:59:19.996801",
    LOFAR: "2020-10-06T01:26:36.800000",
}
TELESCOPES = {GRB: "AMI-LA", SWIFT: "AMI-LA", LOFAR: "LOFAR"}
MJD_ZERO = datetime(1858, 11, 17)

Cut = tuple[fits.Header, np.ndarray]
Mutation = Callable[[fits.Header], None]


@pytest.fixture(scope="module")
def cuts(shared_data: Path) -> dict[str, Cut]:
    made = {}
    for name, (x, y) in CORNERS.items():
        with fits.open(shared_data / "images" / name) as hdus:
            header = hdus[0].header.copy()
            pixels = hdus[0].data[..., y : y + NY, x : x + NX].astype(np.float32)
        header["CRPIX1"] -= x
        header["CRPIX2"] -= y
        made[name] = (header, pixels)
    return made


def icrs_north_deg(frame: Any, sky: SkyCoord) -> float:
    """Direction of a frame's north at a place, from ICRS north through east."""
    here = sky.transform_to(frame)
    north = here.directional_offset_by(0 * u.deg, 1 * u.deg)
    return float(sky.icrs.position_angle(north.icrs).wrap_at(180 * u.deg).deg)


def reference(header: fits.Header) -> SkyCoord:
    return SkyCoord(header["CRVAL1"] * u.deg, header["CRVAL2"] * u.deg, frame=FK5())


def truth(name: str, cut: Cut) -> Expected:
    """By astropy's WCS of the untouched header, FK5 as its EQUINOX says, and the README."""
    header, pixels = cut
    x, y = np.array([(0.0, 0.0), (NX - 1, 0.0), (3.5, NY - 1), (NX / 2, NY / 2)]).T
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        lon, lat = WCS(header).celestial.wcs_pix2world(x, y, 0)
    sky = SkyCoord(lon * u.deg, lat * u.deg, frame=FK5()).icrs
    beam = [header[key] for key in ("BMAJ", "BMIN", "BPA")]
    np.testing.assert_allclose(beam, BEAMS[name], atol=5e-5, rtol=1e-5)
    turn = icrs_north_deg(FK5(), reference(header))
    return Expected(
        telescope=TELESCOPES[name],
        start=datetime.fromisoformat(STARTS[name]),
        integration_s=0.0,
        frequency_hz=header["CRVAL3"] if name != GRB else FREQUENCIES[GRB],
        # Of the velocity axis, whose width is that of frequencies to first order.
        bandwidth_hz=header["CDELT3"]
        if name != GRB
        else FREQUENCIES[GRB] * 2.495967053152e7 / 299792458.0,
        bandwidth_rtol=1e-6 if name != GRB else 5e-3,
        beam=Beam(beam[0], beam[1], beam[2] + turn),
        stokes=1,
        positions=tuple(
            SkyPosition(*map(float, row)) for row in zip(x, y, sky.ra.deg, sky.dec.deg, strict=True)
        ),
        position_mas=1.0,
        matrix_deg=None,
        pixels=pixels.reshape(NY, NX),
        notes=("integration",),
    )


def check(path: Path, true: Expected, settings: dict[str, Any] | None = None) -> None:
    ((image, opened),) = read_all(path, settings)
    assert wrong(image, opened, true) == []


@pytest.mark.parametrize("name", NAMES)
def test_the_header_as_it_is(cuts: dict[str, Cut], name: str, tmp_path: Path) -> None:
    header, pixels = cuts[name]
    fits.PrimaryHDU(pixels, header).writeto(tmp_path / "cut.fits")
    true = truth(name, cuts[name])
    assert true.frequency_hz == pytest.approx(FREQUENCIES[name], abs=0.01)
    check(tmp_path / "cut.fits", true)


# ---- Other words.


def mjd(header: fits.Header) -> None:
    start = datetime.fromisoformat(header.pop("DATE-OBS"))
    header["MJD-OBS"] = (start - MJD_ZERO) / timedelta(days=1)


def tai(header: fits.Header) -> None:
    ahead = timedelta(seconds={2012: 34, 2013: 35, 2020: 37}[int(header["DATE-OBS"][:4])])
    header["DATE-OBS"] = (datetime.fromisoformat(header["DATE-OBS"]) + ahead).isoformat()
    header["TIMESYS"] = "TAI"


def date_beg(header: fits.Header) -> None:
    header["DATE-BEG"] = header.pop("DATE-OBS")


def cd_matrix(header: fits.Header) -> None:
    turned(header, 0.0)


def turned(header: fits.Header, deg: float) -> None:
    """Sizes as a CD matrix that counts directions from a north that is so far from the old one."""
    for key in [key for key in header if key.startswith(("PC0", "CROTA"))]:
        del header[key]
    turn = np.radians(deg)
    # East and north of the new frame are the old ones, turned back.
    back = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    matrix = back @ np.diag([header.pop("CDELT1"), header.pop("CDELT2")])
    for row in (1, 2):
        for column in (1, 2):
            header[f"CD{row}_{column}"] = matrix[row - 1, column - 1]
    # The sizes of the other axes, in the same form.
    for axis in (3, 4):
        if f"CDELT{axis}" in header:
            header[f"CD{axis}_{axis}"] = header.pop(f"CDELT{axis}")


def pc_matrix(header: fits.Header) -> None:
    for key in [key for key in header if key.startswith("PC0")]:
        del header[key]
    for row in (1, 2):
        for column in (1, 2):
            header[f"PC{row}_{column}"] = float(row == column)


def crota(header: fits.Header) -> None:
    for key in [key for key in header if key.startswith("PC0")]:
        del header[key]
    header["CROTA2"] = 0.0


def ra_below_zero(header: fits.Header) -> None:
    header["CRVAL1"] -= 360.0


def ra_beyond(header: fits.Header) -> None:
    header["CRVAL1"] += 360.0


def in_arcsec(header: fits.Header) -> None:
    for axis in (1, 2):
        header[f"CUNIT{axis}"] = "arcsec"
        for key in (f"CRVAL{axis}", f"CDELT{axis}"):
            header[key] *= 3600.0


def beam_of_aips(header: fits.Header) -> None:
    bmaj, bmin, bpa = (header.pop(key) for key in ("BMAJ", "BMIN", "BPA"))
    # As many digits as a card holds.
    header.add_history(f"AIPS   CLEAN BMAJ={bmaj:.9E} BMIN={bmin:.9E} BPA={bpa:.9f}")


def beam_of_obit(header: fits.Header) -> None:
    for key, other in (("BMAJ", "CLEANBMJ"), ("BMIN", "CLEANBMN"), ("BPA", "CLEANBPA")):
        header[other] = header.pop(key)


def epoch(header: fits.Header) -> None:
    header["EPOCH"] = header.pop("EQUINOX")
    header.remove("RADESYS", ignore_missing=True)


def integration(header: fits.Header) -> None:
    header["EXPTIME"] = 120.0


def integration_by_end(header: fits.Header) -> None:
    start = datetime.fromisoformat(header["DATE-OBS"])
    header["DATE-END"] = (start + timedelta(seconds=120)).isoformat(timespec="microseconds")


def into(frame: Any, longitude: str, cards: dict[str, Any]) -> Mutation:
    """The same SIN projection about the same place, told in another frame: an exact rewriting."""

    def rewrite(header: fits.Header) -> None:
        sky = reference(header)
        there = sky.transform_to(frame)
        turn = icrs_north_deg(FK5(), sky) - icrs_north_deg(frame, sky)
        turned(header, -turn)
        header["BPA"] += turn
        header["CRVAL1"] = float(there.spherical.lon.deg)
        header["CRVAL2"] = float(there.spherical.lat.deg)
        header["CTYPE1"] = f"{longitude}LON-SIN" if longitude else "RA---SIN"
        header["CTYPE2"] = f"{longitude}LAT-SIN" if longitude else "DEC--SIN"
        for key in ("RADESYS", "EQUINOX", "LATPOLE", "PV2_1", "PV2_2"):
            header.remove(key, ignore_missing=True)
        header.update(cards)

    return rewrite


MUTATIONS: dict[str, Mutation] = {
    "mjd": mjd,
    "tai": tai,
    "date-beg": date_beg,
    "cd": cd_matrix,
    "pc": pc_matrix,
    "crota": crota,
    "ra-below-zero": ra_below_zero,
    "ra-beyond": ra_beyond,
    "arcsec": in_arcsec,
    "aips-beam": beam_of_aips,
    "obit-beam": beam_of_obit,
    "epoch": epoch,
    "icrs": into(ICRS(), "", {"RADESYS": "ICRS"}),
    "j1975": into(FK5(equinox="J1975"), "", {"RADESYS": "FK5", "EQUINOX": 1975.0}),
    "galactic": into(Galactic(), "G", {}),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
@pytest.mark.parametrize("name", NAMES)
def test_other_words_for_the_same(
    cuts: dict[str, Cut], name: str, mutation: str, tmp_path: Path
) -> None:
    header, pixels = cuts[name][0].copy(), cuts[name][1]
    MUTATIONS[mutation](header)
    assert header != cuts[name][0]
    fits.PrimaryHDU(pixels, header).writeto(tmp_path / "cut.fits")
    # An angle that goes through text of nine decimals, and through two frames.
    check(tmp_path / "cut.fits", replace(truth(name, cuts[name]), bpa_tol_deg=1e-7))


@pytest.mark.parametrize("how", [integration, integration_by_end])
@pytest.mark.parametrize("name", NAMES)
def test_an_integration_time(
    cuts: dict[str, Cut], name: str, how: Mutation, tmp_path: Path
) -> None:
    header, pixels = cuts[name][0].copy(), cuts[name][1]
    how(header)
    fits.PrimaryHDU(pixels, header).writeto(tmp_path / "cut.fits")
    check(tmp_path / "cut.fits", replace(truth(name, cuts[name]), integration_s=120.0, notes=()))


@pytest.mark.parametrize("name", [SWIFT, LOFAR])
def test_the_frequency_without_an_axis(cuts: dict[str, Cut], name: str, tmp_path: Path) -> None:
    header, pixels = cuts[name][0].copy(), cuts[name][1]
    header["RESTFRQ"], header["RESTBW"] = header["CRVAL3"], header["CDELT3"]
    for axis in (3, 4):
        for key in ("CTYPE", "CRVAL", "CRPIX", "CDELT", "CUNIT"):
            header.remove(f"{key}{axis}", ignore_missing=True)
    fits.PrimaryHDU(pixels.reshape(NY, NX), header).writeto(tmp_path / "cut.fits")
    check(tmp_path / "cut.fits", truth(name, cuts[name]))


# ---- Other files.


def second_hdu(path: Path, header: fits.Header, pixels: np.ndarray) -> None:
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(pixels, header)]).writeto(path)


def fourth_hdu(path: Path, header: fits.Header, pixels: np.ndarray) -> None:
    table = fits.BinTableHDU.from_columns([fits.Column("A", "E", array=np.ones(3))])
    others = [fits.PrimaryHDU(), table, table.copy()]
    fits.HDUList([*others, fits.ImageHDU(pixels, header)]).writeto(path)


def packed_by_gzip(path: Path, header: fits.Header, pixels: np.ndarray) -> None:
    buffer = io.BytesIO()
    fits.PrimaryHDU(pixels, header).writeto(buffer)
    path.write_bytes(gzip.compress(buffer.getvalue()))


def packed_in_tiles(path: Path, header: fits.Header, pixels: np.ndarray) -> None:
    hdu = fits.CompImageHDU(pixels, header, compression_type="GZIP_2", quantize_level=0.0)
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)


def in_millijansky(path: Path, header: fits.Header, pixels: np.ndarray) -> None:
    header["BUNIT"] = "mJy/beam"
    fits.PrimaryHDU(pixels.astype(np.float64) * 1e3, header).writeto(path)


def in_two_axes(path: Path, header: fits.Header, pixels: np.ndarray) -> None:
    """The cards of the other axes stay, as some programs leave them."""
    fits.PrimaryHDU(pixels.reshape(NY, NX), header).writeto(path)


def in_four_axes(path: Path, header: fits.Header, pixels: np.ndarray) -> None:
    fits.PrimaryHDU(pixels.reshape(1, 1, NY, NX), header).writeto(path)


FILES = {
    "hdu-1": (second_hdu, "cut.fits"),
    "hdu-3": (fourth_hdu, "cut.fits"),
    "gz": (packed_by_gzip, "cut.fits.gz"),
    "fz": (packed_in_tiles, "cut.fits.fz"),
    "mjy": (in_millijansky, "cut.fit"),
    "two-axes": (in_two_axes, "cut.fits"),
    "four-axes": (in_four_axes, "cut.FITS"),
}


@pytest.mark.parametrize("form", FILES)
@pytest.mark.parametrize("name", NAMES)
def test_other_files_of_the_same(
    cuts: dict[str, Cut], name: str, form: str, tmp_path: Path
) -> None:
    header, pixels = cuts[name]
    write, file_name = FILES[form]
    write(tmp_path / file_name, header.copy(), pixels)
    true = truth(name, cuts[name])
    # A factor costs a rounding.
    loss = 1e-7 * float(np.abs(pixels).max()) if form == "mjy" else 0.0
    check(tmp_path / file_name, replace(true, pixels_jy=loss))


@pytest.mark.parametrize("name", NAMES)
def test_a_plane_of_a_cube(cuts: dict[str, Cut], name: str, tmp_path: Path) -> None:
    """The image as the second of three Stokes planes that are made of it."""
    header, pixels = cuts[name][0].copy(), cuts[name][1].reshape(1, 1, NY, NX)
    axis = 4 if header["CTYPE4"] == "STOKES" else 3
    cube = np.concatenate([pixels * 2, pixels, pixels * 3], axis=4 - axis)
    fits.PrimaryHDU(cube, header).writeto(tmp_path / "cut.fits")
    true = replace(truth(name, cuts[name]), stokes=2)
    check(tmp_path / "cut.fits", true, {"images": {"stokes": ["Q"]}})

"""Headers of other dialects: by settings, with old and new forms of everything."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SpectralCoord
from astropy.io import fits
from astropy.time import Time
from astropy.wcs import WCS
from hypothesis import given
from hypothesis import strategies as st

from trap_ops.config.headers import HeaderConfig
from trap_ops.config.model import ImagesConfig
from trap_ops.errors import ImageError
from trap_ops.images import reading
from trap_ops.images.assumed import Assumed
from trap_ops.images.beams import read_beam
from trap_ops.images.cards import Header
from trap_ops.images.frequencies import read_frequency, spectral_axis
from trap_ops.images.header import read_array, read_telescope
from trap_ops.images.times import read_times
from trap_ops.records.images import ArrayInfo, Beam, ImageFile
from unit.images.fits_files import cards, write

C = 299792458.0
REST = 1.420405752e9
START = datetime(2012, 4, 6, 3, 42)
NO_TIMES = {"DATE-OBS": None, "END_UTC": None}


def times(changes: dict[str, Any], **settings: Any) -> tuple[datetime, float, list[str]]:
    return read_times(cards(NO_TIMES | changes), HeaderConfig(**settings), Assumed())


def read(path: Path, **settings: Any) -> ImageFile:
    (made,) = reading.read_headers(str(path), lambda _: ImagesConfig(**settings))
    return made


# ---- Times.


@pytest.mark.parametrize(
    "changes",
    [
        {"DATE-BEG": "2012-04-06T03:42:00", "DATE-OBS": "2012-04-07"},
        {"DATE-BEG": "soon", "DATE-OBS": "2012-04-06T03:42:00"},
        {"DATE-OBS": "2012-04-06", "TIME-OBS": "03:42:00.0"},
        {"DATE-OBS": "06/04/12", "TIME-OBS": "03:42:00", "MJD-OBS": 1.0},
        {"DATE-OBS": "2012-04-06T03:42:00 UTC"},
        {"MJD-OBS": 56023.0 + 222 / 1440},
        {"MJD-BEG": "56023.154166666667"},
        {"DATE-AVG": "2012-04-06T03:47:00", "EXPOSURE": 600.0},
        {"MJD-AVG": 56023.0 + 227 / 1440, "TELAPSE": 600.0},
        {"DATE-END": "2012-04-06T03:52:00", "XPOSURE": 600},
    ],
)
def test_starts(changes: dict[str, Any]) -> None:
    start, _, notes = times(changes)
    # A day as a double has its last digit at a microsecond.
    wanted = START.replace(year=1912) if "/" in str(changes.get("DATE-OBS")) else START
    assert abs(start - wanted) < timedelta(microseconds=5)
    assert all("integration" in note for note in notes)


@pytest.mark.parametrize(
    ("changes", "integration_s"),
    [
        ({"EXPTIME": 8.0}, 8.0),
        ({"EXPOSURE": -1.0, "TELAPSE": 9.0}, 9.0),
        ({"DATE-END": "2012-04-06T03:52:00"}, 600.0),
        ({"MJD-END": 56023.0 + 232 / 1440}, 600.0),
        ({"TAU_TIME": 5.0, "DATE-END": "2012-04-06T03:52:00"}, 5.0),
        ({"TAU_TIME": 1e300, "EXPTIME": 8.0}, 8.0),
    ],
)
def test_integration_times(changes: dict[str, Any], integration_s: float) -> None:
    found = times({"DATE-OBS": START.isoformat()} | changes)
    assert found[0] == START
    assert found[1] == pytest.approx(integration_s, abs=1e-5)
    assert found[2] == []


def test_times_in_words_of_the_telescope() -> None:
    found = times(
        {"T0": 2456023.5 + 222 / 1440, "DWELL": 0.5, "SCALE": "UTC(NIST)"},
        start=["NONE", "T0:JD"],
        integration_s=["DWELL:min"],
        time_scale=["SCALE"],
    )
    assert abs(found[0] - START) < timedelta(milliseconds=0.1)
    assert found[1:] == (30.0, [])


@pytest.mark.parametrize("scale", ["tai", "tt", "tdb", "tcg", "tcb", "gps", "utc"])
@given(seconds=st.floats(0, 1.5e9))
def test_every_scale_against_astropy(scale: str, seconds: float) -> None:
    """GPS time is TAI less 19 s."""
    written = datetime(1980, 1, 7) + timedelta(seconds=round(seconds, 3))
    offset = timedelta(seconds=19) if scale == "gps" else timedelta()
    truth = Time(written + offset, scale="tai" if scale == "gps" else scale).utc
    start, _, _ = times({"DATE-OBS": written.isoformat(), "TIMESYS": scale.upper()})
    assert abs((Time(start, scale="utc") - truth).to_value(u.s)) < 2e-6 or is_leap(truth)


def is_leap(truth: Time) -> bool:
    return ":60" in truth.isot


def test_a_leap_second_is_the_second_after_it() -> None:
    assert times({"DATE-OBS": "2016-12-31T23:59:60.25"})[0] == datetime(2017, 1, 1, 0, 0, 0, 250000)


def test_the_end_is_in_the_scale_of_the_header_unless_it_says_utc() -> None:
    scale = {"TIMESYS": "TAI", "DATE-OBS": "2012-04-06T03:42:00"}
    assert times(scale | {"DATE-END": "2012-04-06T03:52:00"})[1] == 600.0
    assert times(scale | {"END_UTC": "2012-04-06T03:52:00"})[1] == 634.0


# ---- Frequencies.


def axis(ctype: str, value: float, step: float, unit: str = "", **more: Any) -> dict[str, Any]:
    return {
        "CTYPE3": ctype,
        "CRVAL3": value,
        "CDELT3": step,
        "CRPIX3": 2.0,
        "CUNIT3": unit,
        "RESTFRQ": REST,
    } | more


@pytest.mark.parametrize(
    ("ctype", "convention", "unit"),
    [
        ("VRAD", "radio", "m/s"),
        ("VRAD", "radio", "km/s"),
        ("VOPT", "optical", "m/s"),
        ("VELO", "relativistic", ""),
        ("VELO-LSR", "radio", "m/s"),
        ("VELO-HEL", "optical", "m/s"),
    ],
)
@pytest.mark.parametrize("channel", [0, 1, 5])
def test_velocities_are_converted(ctype: str, convention: str, unit: str, channel: int) -> None:
    per = 1e3 if unit == "km/s" else 1.0
    more = {"VELO-LSR": {"VELREF": 257}, "VELO-HEL": {"VELREF": 2}}.get(ctype, {})
    made = cards(axis(ctype, 2e6 / per, -3e4 / per, unit, **more))
    found = spectral_axis(made, channel)
    assert found is not None
    edges = 2e6 - 3e4 * (channel - 1 + np.array([0.0, -0.5, 0.5]))
    truth = (
        SpectralCoord(edges * u.m / u.s, doppler_rest=REST * u.Hz, doppler_convention=convention)
        .to(u.Hz, doppler_rest=REST * u.Hz, doppler_convention=convention)
        .value
    )
    assert found[0] == pytest.approx(truth[0], rel=1e-12)
    assert found[1] == pytest.approx(abs(truth[2] - truth[1]), rel=1e-7)


@pytest.mark.parametrize(
    ("ctype", "value", "step", "unit"),
    [
        ("FREQ", 1.4, 0.001, "GHz"),
        ("WAVE", 0.21, 1e-4, "m"),
        ("WAVE", 21.0, 1e-2, "cm"),
        ("VOPT-F2W", 2e6, 3e4, "m/s"),
        ("FREQ-W2F", 1.4e9, 1e6, "Hz"),
    ],
)
def test_axes_against_astropys_own(ctype: str, value: float, step: float, unit: str) -> None:
    words = axis(ctype, value, step, unit)
    own = WCS(naxis=1)
    own.wcs.ctype, own.wcs.crval, own.wcs.cdelt = [ctype], [value], [step]
    own.wcs.crpix, own.wcs.cunit, own.wcs.restfrq = [2.0], [unit], REST
    if not ctype.startswith("FREQ"):
        own.wcs.set()
        own.wcs.sptr("FREQ-???")
    for channel in (0, 1, 4):
        truth = own.wcs_pix2world([channel], 0)[0][0] * float(own.wcs.cunit[0].to(u.Hz))
        found = spectral_axis(cards(words), channel)
        assert found is not None
        assert found[0] == pytest.approx(truth, rel=1e-12)
        assert found[1] > 0


def test_felo_of_aips_is_regular_in_frequency() -> None:
    """AIPS: optical velocity at the reference pixel, steps of a constant frequency."""
    found = [spectral_axis(cards(axis("FELO-HEL", 2e6, 3e4, "m/s")), n) for n in range(4)]
    steps = np.diff([pair[0] for pair in found if pair is not None])
    np.testing.assert_allclose(steps, steps[0], rtol=1e-9)
    assert found[1] is not None
    assert found[1][0] == pytest.approx(REST / (1 + 2e6 / C), rel=1e-12)


@pytest.mark.parametrize(
    "changes",
    [
        {"CD3_3": 1e6, "CDELT3": None},
        {"PC3_3": 0.5, "CDELT3": 2e6},
        {"CDELT3": 1.0, "CUNIT3": "MHz", "CRVAL3": 140.0},
    ],
)
def test_steps_of_matrices(changes: dict[str, Any]) -> None:
    words = axis("FREQ", 140e6, 1e6, "Hz") | changes
    assert spectral_axis(cards(words), 3) == (142e6, 1e6)


@pytest.mark.parametrize("ctype", ["VRAD", "VOPT", "VELO"])
def test_a_velocity_without_a_rest_frequency_says_nothing(ctype: str) -> None:
    made = cards(axis(ctype, 2e6, 3e4, "m/s") | {"RESTFRQ": None, "OBSFREQ": 1.3e9})
    assert read_frequency(made, HeaderConfig(), Assumed())[0] == 1.3e9


def test_frequencies_in_words_of_the_telescope() -> None:
    rules = HeaderConfig(frequency_hz=["F0:MHz", "RESTFRQ"], bandwidth_hz=["HIERARCH-BW", "BW:kHz"])
    made = cards({"F0": 60.5, "BW": 195.3125})
    assert read_frequency(made, rules, Assumed()) == (60.5e6, 195312.5, [])
    assert read_frequency(cards({"F0": 0.0}), rules, Assumed())[0] == 150e6


# ---- Beams, telescopes, stations.


def test_beams_in_words_of_the_telescope() -> None:
    none = {"BMAJ": None, "BMIN": None, "BPA": None}
    rules = HeaderConfig(
        beam_deg=[("BMAJ", "BMIN", "BPA"), ("BEAMMAJ:arcsec", "BEAMMIN:arcmin", "BEAMPA:rad")],
        beam_history=[r"beam (?P<bmaj>\S+)d x (?P<bmin>\S+)d @ (?P<bpa>\S+)"],
    )
    made = cards(none | {"BEAMMAJ": 36.0, "BEAMMIN": 0.3, "BEAMPA": 1.0})
    beam = read_beam(made, rules, Assumed())
    assert (beam.bmaj_deg, beam.bmin_deg) == pytest.approx((0.01, 0.005), rel=1e-12)
    assert beam.bpa_deg == pytest.approx(np.degrees(1.0), rel=1e-12)
    made = cards(none, history=("beam x x y @ 5", "restored: beam 0.02d x 1d-2d @ -7.5"))
    assert read_beam(made, rules, Assumed()) == Beam(0.02, 0.01, -7.5)


def test_names_of_telescopes_and_stations() -> None:
    rules = HeaderConfig(telescope=["TELESCOP", "INSTRUME"], n_core=["CORES"])
    assert read_telescope(cards({"TELESCOP": None, "INSTRUME": "APERTIF"}), rules) == "APERTIF"
    made = cards({"ANTENNA": "HBA_DUAL", "CORES": 48, "NREMOTE": "14", "SUBBANDW": 195312.5})
    assert read_array(made, rules, Assumed()) == ArrayInfo("HBA_DUAL", 48, 14, None, None, 195312.5)
    assert read_array(cards({"NCORE": -3, "SUBBANDS": 1e300}), HeaderConfig(), Assumed()) == (
        ArrayInfo()
    )


# ---- What is assumed.

LACKING = {
    **dict.fromkeys(("BMAJ", "BMIN", "BPA", "RESTFRQ", "RESTBW", "BUNIT", "TELESCOP")),
    **NO_TIMES,
}
VALUES = {
    "telescope_name": "HERE",
    "start": datetime(2024, 1, 1),
    "integration_s": 8.0,
    "freq_eff_hz": 60e6,
    "freq_bw_hz": 1e5,
    "bmaj_deg": 0.2,
    "bmin_deg": 0.1,
    "bpa_deg": 3.0,
    "stokes": "V",
    "unit": "mJy/beam",
    "antenna_set": "LBA",
    "n_core": 24,
    "n_remote": 14,
    "n_international": 9,
    "subbands": 1,
    "subband_width_hz": 1e5,
}


def summary(made: ImageFile) -> tuple[Any, ...]:
    times_of = (made.start, made.integration_s)
    return (made.telescope, *times_of, made.freq_eff_hz, made.freq_bw_hz, made.beam, made.stokes)


ASSUMED = ("HERE", datetime(2024, 1, 1), 8.0, 60e6, 1e5, Beam(0.2, 0.1, 3.0), 4)


def test_everything_that_is_missing_can_be_assumed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits", LACKING)
    made = read(path, assume=[VALUES])
    assert summary(made) == ASSUMED
    assert made.array == ArrayInfo("LBA", 24, 14, 9, 1, 1e5)
    # All of it is said.
    assert len(made.notes) == len(VALUES) - 2
    assert "beam assumed: 0.2 x 0.1 deg at 3 deg" in made.notes
    assert "freq_eff_hz assumed: 60000000.0" in made.notes
    image = reading.read_image(str(path), made.plane, ImagesConfig(assume=[VALUES]))
    assert image.beam == Beam(0.2, 0.1, 3.0)
    assert image.pixels[0, 1] == np.float32(1e-3)


def test_what_the_header_says_counts_unless_it_is_replaced(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits")
    without = read(path)
    kept = {k: v for k, v in VALUES.items() if not k.startswith(("n_", "sub", "ant", "stokes"))}
    assert summary(read(path, assume=[kept])) == summary(without)
    assert read(path, assume=[kept]).notes == ()
    assert summary(read(path, assume=[VALUES | {"replace": True}])) == ASSUMED


@pytest.mark.parametrize(
    ("entry", "fits_it"),
    [
        ({}, True),
        ({"files": "night_*.fits"}, True),
        ({"files": "night_[2-9].fits"}, False),
        ({"files": "*/deep/*"}, True),
        ({"files": "*/shallow/*"}, False),
        ({"telescope": "something"}, True),
        ({"telescope": "LOFAR"}, False),
    ],
)
def test_which_files_an_entry_is_for(
    tmp_path: Path, entry: dict[str, Any], *, fits_it: bool
) -> None:
    (tmp_path / "deep").mkdir()
    path = write(tmp_path / "deep" / "night_1.fits", {"RESTFRQ": None})
    settings = {"assume": [entry | {"freq_eff_hz": 1e8}]}
    if fits_it:
        assert read(path, **settings).freq_eff_hz == 1e8
    else:
        with pytest.raises(ImageError, match="no frequency"):
            read(path, **settings)


def test_the_first_entry_that_has_a_value_decides(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits", {"RESTFRQ": None, "RESTBW": None})
    entries = [{"freq_bw_hz": 3e6}, {"freq_eff_hz": 1e8, "freq_bw_hz": 5e6}, {"freq_eff_hz": 2e8}]
    made = read(path, assume=entries)
    assert (made.freq_eff_hz, made.freq_bw_hz) == (1e8, 3e6)


def test_a_beam_that_is_wrong_is_not_missing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits", {"BMAJ": 0.0})
    with pytest.raises(ImageError, match="not a beam"):
        read(path, assume=[VALUES])
    assert read(path, assume=[VALUES | {"replace": True}]).beam == Beam(0.2, 0.1, 3.0)


def test_an_image_is_read_by_the_rules_of_its_telescope(tmp_path: Path) -> None:
    """Also of one that only the settings name."""
    own = ImagesConfig(header={"frequency_hz": ["F0:MHz"]})
    named = ImagesConfig(assume=[{"telescope_name": "MINE"}])
    rules = {"MINE": own, "": named}
    lofar = write(tmp_path / "a.fits", {"TELESCOP": "MINE", "F0": 60.0})
    none = write(tmp_path / "b.fits", {"TELESCOP": None, "F0": 60.0})
    for path in (lofar, none):
        (made,) = reading.read_headers(str(path), rules.__getitem__)
        assert made.freq_eff_hz == 60e6
    # What the image is then called is what chooses the same rules for the run.
    assert made.telescope == "MINE"


# ---- Cards.


def test_cards_of_every_form() -> None:
    made = fits.Header()
    made["A"], made["B"], made["C"] = 1.5, "it's / b", True
    made["LONG"] = "x" * 150 + "&" + "y" * 20
    made["HIERARCH obs freq mid"] = 3.5
    raw = made.tostring(endcard=False, padding=False).encode()
    raw += b"D       =  1.5D+03 / Fortran".ljust(80) + b"lower   = 5".ljust(80)
    raw += b"E       = 'twice'".ljust(80) + b"E       = 'second'".ljust(80)
    raw += b"N       = NaN".ljust(80) + b"COMMENT \xff\x00".ljust(80) + b"HISTORY \xff".ljust(80)
    found = Header.parse(raw)
    assert found.number("A") == 1.5
    assert found.text("B") == "it's / b"
    assert found.get("C") is True
    assert found.number("C") is None
    assert found.text("LONG") == made["LONG"]
    assert found.number("OBS FREQ MID") == 3.5
    assert found.number("D") == 1500.0
    assert found.number("LOWER") == 5.0
    assert found.text("E") == "twice"
    assert found.number("N") is None


@pytest.mark.parametrize("text", ["1.5.5", "'abc", "(1.0, 2.0", "1..5", "abc"])
def test_a_damaged_card_is_told_to_who_asks_for_it(text: str) -> None:
    found = Header.parse(f"BMAJ    = {text}".ljust(80).encode() + b"OTHER   = 1".ljust(80))
    assert found.number("OTHER") == 1.0
    with pytest.raises(ImageError, match="BMAJ") as raised:
        found.get("BMAJ")
    assert raised.value.reason == "bad header"


@given(st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**62), 2**62)))
def test_numbers_are_read_as_astropy_writes_them(value: float) -> None:
    made = fits.Header()
    made["X"] = value
    written = fits.Header.fromstring(made.tostring())["X"]
    assert Header.parse(made.tostring(endcard=False, padding=False).encode()).get("X") == written


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=200))
def test_texts_are_read_as_astropy_writes_them(value: str) -> None:
    made = fits.Header()
    made["X"] = value
    read_back = fits.Header.fromstring(made.tostring())["X"]
    found = Header.parse(made.tostring(endcard=False, padding=False).encode())
    assert found.text("X") == str(read_back).strip()

"""Keywords of FITS headers and their fall-back order (SCIENCE.md 1.3 with D8, D10, D14)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from astropy.io import fits

from trap_ops.config.headers import HeaderConfig
from trap_ops.errors import ImageError
from trap_ops.images import beams, frequencies, times
from trap_ops.images import header as of_header
from trap_ops.images.assumed import Assumed
from trap_ops.images.cards import Header
from trap_ops.images.planes import read_stokes
from trap_ops.records.images import Beam
from unit.images.fits_files import cards, header, parsed

FREQ_AXIS = {"CTYPE3": "FREQ", "CRVAL3": 60e6, "CDELT3": 4e6, "CRPIX3": 1.0}
C = 299792458.0
RULES = HeaderConfig()
STOKES_AXIS = {"CTYPE4": "STOKES", "CRVAL4": 1.0, "CDELT4": 1.0, "CRPIX4": 1.0}


def read_beam(made: Header) -> Beam:
    return beams.read_beam(made, RULES, Assumed())


def read_frequency(made: Header) -> tuple[float, float, list[str]]:
    return frequencies.read_frequency(made, RULES, Assumed())


def read_times(made: Header) -> tuple[datetime, float, list[str]]:
    return times.read_times(made, RULES, Assumed())


def read_telescope(made: Header) -> str:
    return of_header.read_telescope(made, RULES)


def read_unit(made: Header) -> tuple[float, list[str]]:
    return of_header.read_unit(made, RULES, Assumed())


# ---- The beam.


def test_beam_of_the_keywords() -> None:
    assert read_beam(cards()) == Beam(30 / 3600, 20 / 3600, 40.0)


def test_a_beam_written_the_wrong_way_round_is_turned() -> None:
    made = read_beam(cards({"BMAJ": 0.01, "BMIN": 0.02, "BPA": 10.0}))
    assert made == Beam(0.02, 0.01, 100.0)


def test_a_beam_written_as_text_is_read() -> None:
    assert read_beam(cards({"BMAJ": "0.02", "BMIN": "1E-2", "BPA": "5"})) == Beam(0.02, 0.01, 5.0)


def test_a_round_beam_needs_no_angle() -> None:
    assert read_beam(cards({"BMAJ": 0.02, "BMIN": 0.02, "BPA": None})) == Beam(0.02, 0.02, 0.0)


@pytest.mark.parametrize(
    ("history", "beam"),
    [
        (
            ("AIPS   CLEAN BMAJ=  1.5067E-02 BMIN=  6.8480E-03 BPA=   5.01",),
            Beam(0.015067, 0.006848, 5.01),
        ),
        (("nothing", "AIPS CLEAN BMAJ=0.02 BMIN=.01 BPA=-30."), Beam(0.02, 0.01, -30.0)),
        # The first record counts; exponents as Fortran writes them; blanks are free.
        (
            ("BMAJ = 2D-2 BMIN = 1D-2   BPA = 0", "BMAJ= 9 BMIN= 8 BPA= 7"),
            Beam(0.02, 0.01, 0.0),
        ),
        # One that is not complete is none.
        (("BMAJ= 9 BMIN= 8", "BMAJ= 2 BMIN= 1 BPA= 3"), Beam(2.0, 1.0, 3.0)),
        (("BMAJ= 1 BMIN= 2 BPA= 3",), Beam(2.0, 1.0, 93.0)),
    ],
)
@pytest.mark.parametrize("absent", ["BMAJ", "BMIN", "BPA"])
def test_beam_of_the_history(history: tuple[str, ...], beam: Beam, absent: str) -> None:
    made = read_beam(cards({absent: None}, history))
    assert (made.bmaj_deg, made.bmin_deg, made.bpa_deg) == pytest.approx(
        (beam.bmaj_deg, beam.bmin_deg, beam.bpa_deg), rel=1e-12
    )


def test_keywords_come_before_the_history() -> None:
    assert read_beam(cards(history=("BMAJ= 2 BMIN= 1 BPA= 3",))).bpa_deg == 40.0


@pytest.mark.parametrize("absent", ["BMAJ", "BMIN", "BPA"])
@pytest.mark.parametrize("history", [(), ("AIPS CLEAN BMAJ= 9 BMIN= 8",)])
def test_no_beam(absent: str, history: tuple[str, ...]) -> None:
    with pytest.raises(ImageError, match=absent) as raised:
        read_beam(cards({absent: None}, history))
    assert raised.value.reason == "no beam"
    assert raised.value.details["missing"] == [absent]


@pytest.mark.parametrize(
    "changes",
    [
        {"BMAJ": 0.0},
        {"BMIN": -0.01},
        {"BMIN": 0.0},
        # Squares of these are beyond what a double holds.
        {"BMAJ": 1e300, "BMIN": 1e300},
        {"BMAJ": 1e-300, "BMIN": 1e-300},
        {"BMAJ": 200.0},
    ],
)
def test_what_is_not_a_beam(changes: dict[str, float]) -> None:
    with pytest.raises(ImageError, match="not a beam") as raised:
        read_beam(cards(changes))
    assert raised.value.reason == "bad beam"


# ---- The frequency.


@pytest.mark.parametrize(
    ("changes", "frequency_hz", "bandwidth_hz"),
    [
        # RESTFRQ is only a reference value where there is a spectral axis (D10).
        (FREQ_AXIS, 60e6, 4e6),
        # Wherever that axis is.
        ({"CTYPE4": "FREQ", "CRVAL4": 70e6, "CDELT4": 1e5, "CRPIX4": 1.0}, 70e6, 1e5),
        ({"CTYPE5": "FREQ-LSR", "CRVAL5": 70e6, "CDELT5": 1e5}, 70e6, 1e5),
        # Its first plane is the image; widths have no sign; units.
        (FREQ_AXIS | {"CRPIX3": 3.0}, 52e6, 4e6),
        (FREQ_AXIS | {"CDELT3": -4e6}, 60e6, 4e6),
        (FREQ_AXIS | {"CRVAL3": 60.0, "CDELT3": 4.0, "CUNIT3": "MHz"}, 60e6, 4e6),
        (FREQ_AXIS | {"CRVAL3": 1.4, "CDELT3": 0.1, "CUNIT3": "GHz", "CRPIX3": 2.0}, 1.3e9, 1e8),
        (FREQ_AXIS | {"CRVAL3": 6e4, "CDELT3": 4e3, "CUNIT3": "kHz"}, 60e6, 4e6),
        # An optical velocity, of RESTFRQ: 60e6 m/s, and 4e6 m/s wide.
        (
            FREQ_AXIS | {"CTYPE3": "VOPT"},
            150e6 / (1 + 60e6 / C),
            150e6 / (1 + 58e6 / C) - 150e6 / (1 + 62e6 / C),
        ),
        # What cannot be read is passed over: RESTFRQ with RESTBW.
        (FREQ_AXIS | {"CUNIT3": "m/s"}, 150e6, 2e6),
        (FREQ_AXIS | {"CRVAL3": 0.0}, 150e6, 2e6),
        (FREQ_AXIS | {"CRVAL3": None}, 150e6, 2e6),
        ({}, 150e6, 2e6),
        ({"RESTBW": -2e6}, 150e6, 2e6),
        # Of an axis without a width, that of the keyword.
        (FREQ_AXIS | {"CDELT3": 0.0}, 60e6, 2e6),
        ({"RESTFRQ": None, "RESTFREQ": 140e6}, 140e6, 2e6),
        ({"RESTFRQ": 0.0, "RESTFREQ": 140e6}, 140e6, 2e6),
        ({"RESTFREQ": 140e6}, 150e6, 2e6),
    ],
)
def test_frequency(changes: dict[str, Any], frequency_hz: float, bandwidth_hz: float) -> None:
    frequency, bandwidth, notes = read_frequency(cards(changes))
    assert (frequency, bandwidth) == pytest.approx((frequency_hz, bandwidth_hz), rel=1e-12)
    assert notes == []


@pytest.mark.parametrize(
    "changes", [{"RESTBW": None}, {"RESTBW": 0.0}, FREQ_AXIS | {"CDELT3": 0.0, "RESTBW": None}]
)
def test_a_missing_bandwidth_is_one_mhz(changes: dict[str, Any]) -> None:
    _, bandwidth, notes = read_frequency(cards(changes))
    assert bandwidth == 1e6
    assert notes == ["no bandwidth: taken as 1 MHz"]


@pytest.mark.parametrize("changes", [{"RESTFRQ": None}, {"RESTFRQ": -1.0}, {"RESTFRQ": "unknown"}])
def test_no_frequency(changes: dict[str, Any]) -> None:
    with pytest.raises(ImageError, match="no frequency") as raised:
        read_frequency(cards(changes))
    assert raised.value.reason == "no frequency"


@pytest.mark.parametrize(
    "changes",
    [
        {"RESTFRQ": 1e300},
        {"RESTFRQ": 1e-300},
        {"RESTBW": 1e300},
        # A band that reaches below 0 Hz would take in all others.
        {"RESTBW": 301e6},
        # Below 0, and beyond a double, at the first plane.
        FREQ_AXIS | {"CRPIX3": 100.0},
        FREQ_AXIS | {"CRVAL3": 1e308, "CUNIT3": "GHz"},
        FREQ_AXIS | {"CDELT3": 1e308, "CRPIX3": -1e308},
    ],
)
def test_what_is_not_a_frequency(changes: dict[str, Any]) -> None:
    with pytest.raises(ImageError, match="frequency is not one") as raised:
        read_frequency(cards(changes))
    assert raised.value.reason == "bad frequency"


def test_a_unit_of_the_spectral_axis_without_value_is_hertz() -> None:
    made = header(FREQ_AXIS)
    made["CUNIT3"] = fits.card.UNDEFINED
    assert read_frequency(parsed(made))[0] == 60e6


# ---- Stokes.


@pytest.mark.parametrize(
    ("changes", "stokes"),
    [
        ({}, None),
        (STOKES_AXIS, 1),
        (STOKES_AXIS | {"CRVAL4": 4.0}, 4),
        # The image is the first plane of its axis.
        (STOKES_AXIS | {"CRPIX4": 0.0}, 2),
        (STOKES_AXIS | {"CRPIX4": -2.0}, 4),
        ({"CTYPE3": "STOKES", "CRVAL3": 2.0}, 2),
        # Circular correlations count backwards.
        (STOKES_AXIS | {"CRVAL4": -1.0, "CDELT4": -1.0, "CRPIX4": 0.0}, -2),
        ({"CTYPE4": "STOKES"}, 1),
    ],
)
def test_stokes(changes: dict[str, Any], stokes: int | None) -> None:
    assert read_stokes(cards(changes)) == stokes


@pytest.mark.parametrize(
    "changes",
    [{"CRVAL4": 1e300}, {"CRVAL4": 1e308, "CDELT4": 1e308, "CRPIX4": -1e308}, {"CRVAL4": 10}],
)
def test_what_is_not_stokes(changes: dict[str, Any]) -> None:
    with pytest.raises(ImageError, match="no Stokes parameter") as raised:
        read_stokes(cards(STOKES_AXIS | changes))
    assert raised.value.reason == "bad Stokes"


# ---- The telescope.


@pytest.mark.parametrize(
    ("value", "telescope"),
    [("LOFAR ", "LOFAR"), (None, ""), (fits.card.UNDEFINED, ""), (3, "3"), ("x" * 68, "x" * 64)],
)
def test_telescope(value: object, telescope: str) -> None:
    """No more of it than the results database can keep."""
    assert read_telescope(cards({"TELESCOP": value})) == telescope


# ---- Times.


@pytest.mark.parametrize(
    ("date_obs", "start"),
    [
        ("2012-04-06", datetime(2012, 4, 6)),
        ("2012-04-06T03:42:00", datetime(2012, 4, 6, 3, 42)),
        ("2012-04-06 03:42:00", datetime(2012, 4, 6, 3, 42)),
        ("2012-04-06T03:42:00.5", datetime(2012, 4, 6, 3, 42, 0, 500000)),
        ("2012-04-29T17:19:23.001599", datetime(2012, 4, 29, 17, 19, 23, 1599)),
        # What is finer than a microsecond is cut.
        ("2012-04-06T03:42:00.1234569", datetime(2012, 4, 6, 3, 42, 0, 123456)),
        ("2012-04-06T03:42:00Z", datetime(2012, 4, 6, 3, 42)),
        ("2012-04-06T03:42:00+02:00", datetime(2012, 4, 6, 1, 42)),
        ("2012-01-01T00:30:00+01:00", datetime(2011, 12, 31, 23, 30)),
        # A list of dates: its first.
        ('"2012-04-06T03:42:00";"2012-04-07T00:00:00"', datetime(2012, 4, 6, 3, 42)),
        # The form before 2000.
        ("06/04/98", datetime(1998, 4, 6)),
        # A year with a fraction, as Westerbork wrote it: 365.242199 days times the fraction.
        (1998.5, datetime(1998, 7, 2, 14, 54, 22, 996800)),
        ("1998.0", datetime(1998, 1, 1)),
    ],
)
def test_start(date_obs: object, start: datetime) -> None:
    assert read_times(cards({"DATE-OBS": date_obs}))[0] == start


@pytest.mark.parametrize("date_obs", [None, "", "  ", fits.card.UNDEFINED])
def test_no_start(date_obs: object) -> None:
    with pytest.raises(ImageError, match="no start time") as raised:
        read_times(cards({"DATE-OBS": date_obs}))
    assert raised.value.reason == "no start time"


@pytest.mark.parametrize(
    "date_obs",
    [
        *("yesterday", "2012-13-01", "2012-04-06T25:00:00", 2012, True, '";"', "31/31/31"),
        # Before and after radio telescopes, and outside the calendar, as written or in UTC.
        *("1899-12-31T23:59:59", "3000-01-01", "0001-01-01", "9999-12-31T23:59:59.999999"),
        *("0000.5", "9999.99999", "0000-01-01"),
        *("9999-12-31T23:59:59-05:00", "0001-01-01T00:00:00+05:00"),
    ],
)
def test_a_start_that_cannot_be_read(date_obs: object) -> None:
    with pytest.raises(ImageError, match="not a date") as raised:
        read_times(cards({"DATE-OBS": date_obs}))
    assert raised.value.reason == "no start time"
    assert raised.value.details["date_obs"] == str(date_obs)


@pytest.mark.parametrize(
    ("timesys", "earlier_s"),
    [
        # 34 leap seconds in April 2012; TT = TAI + 32.184 s.
        ("TAI", 34.0),
        ("TT", 66.184),
        ("tdt", 66.184),
        ("ET", 66.184),
        # TDB differs from TT by less than 2 ms.
        ("TDB", 66.184),
        ("UTC", 0.0),
        ("UT", 0.0),
        ("UT1", 0.0),
        ("GMT", 0.0),
        ("", 0.0),
        (None, 0.0),
    ],
)
def test_time_scales(timesys: str | None, earlier_s: float) -> None:
    start, integration, notes = read_times(cards({"TIMESYS": timesys}))
    earlier = (datetime(2012, 4, 6, 3, 42) - start).total_seconds()
    assert earlier == pytest.approx(earlier_s, abs=0.002 if timesys == "TDB" else 2e-6)
    # The end is in UTC whatever the start is in.
    assert integration == pytest.approx(600.0 + earlier)
    assert notes == []


def test_a_start_outside_the_calendar_in_utc() -> None:
    with pytest.raises(ImageError, match="not a date") as raised:
        read_times(cards({"DATE-OBS": "0001-01-01T00:00:01", "TIMESYS": "TT"}))
    assert raised.value.reason == "no start time"


def test_leap_seconds_that_nobody_knows_yet() -> None:
    """Of a time far ahead those known are taken, and nothing is said of them."""
    start, _, _ = read_times(cards({"DATE-OBS": "2900-01-01", "TIMESYS": "TAI"}))
    assert datetime(2899, 12, 31, 23, 59) < start < datetime(2899, 12, 31, 23, 59, 24)


def test_a_start_within_a_leap_second_is_the_second_after_it() -> None:
    # TAI - UTC was 36 s until the leap second at the end of 2016.
    made = cards({"DATE-OBS": "2017-01-01T00:00:36.5", "TIMESYS": "TAI"})
    assert read_times(made)[0] == datetime(2017, 1, 1, 0, 0, 0, 500000)


def test_an_unknown_time_scale_is_taken_as_utc_and_noted() -> None:
    start, _, notes = read_times(cards({"TIMESYS": "LOCAL"}))
    assert start == datetime(2012, 4, 6, 3, 42)
    assert notes == ["time scale 'LOCAL' is unknown: dates taken as UTC"]


@pytest.mark.parametrize(
    ("changes", "integration_s", "noted"),
    [
        ({}, 600.0, False),
        ({"TAU_TIME": 18654.3}, 18654.3, False),
        ({"END_UTC": None, "TAU_TIME": "30"}, 30.0, False),
        ({"END_UTC": None}, 0.0, True),
        ({"END_UTC": "soon"}, 0.0, True),
        ({"END_UTC": "9999-12-31T23:59:59-05:00"}, 0.0, True),
        ({"END_UTC": fits.card.UNDEFINED}, 0.0, True),
        ({"END_UTC": "2012-04-06T03:41:59"}, 0.0, True),
        # What cannot be one is passed over.
        ({"TAU_TIME": -1.0}, 600.0, False),
        ({"TAU_TIME": -1.0, "END_UTC": None}, 0.0, True),
        # An instant is one without a duration that is known to be 0.
        ({"END_UTC": "2012-04-06T03:42:00"}, 0.0, False),
    ],
)
def test_integration_time(changes: dict[str, Any], integration_s: float, *, noted: bool) -> None:
    _, integration, notes = read_times(cards(changes))
    assert integration == integration_s
    assert notes == (["no integration time: taken as 0 s"] if noted else [])


# ---- Units.


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        ("JY/BEAM", 1.0),
        ("Jy/beam", 1.0),
        ("jy / beam", 1.0),
        ("mJy/beam", 1e-3),
        ("mJY/BEAM", 1e-3),
        ("uJy/beam", 1e-6),
        ("UJY/BEAM", 1e-6),
        # As the FITS standard writes a division.
        ("Jy beam-1", 1.0),
        ("beam-1 Jy", 1.0),
        ("Jy.beam**-1", 1.0),
        ("Jy*beam^(-1)", 1.0),
        ("Jy beam^-1", 1.0),
        ("Jy/BEAM", 1.0),
        ("JY BEAM-1", 1.0),
        ("mJy beam-1", 1e-3),
        ("beam-1 mJy", 1e-3),
        ("beam^-1 uJy", 1e-6),
    ],
)
def test_units(unit: str, factor: float) -> None:
    assert read_unit(cards({"BUNIT": unit})) == (factor, [])


@pytest.mark.parametrize("unit", [None, "", "  ", fits.card.UNDEFINED])
def test_a_missing_unit_is_jansky_per_beam(unit: object) -> None:
    assert read_unit(cards({"BUNIT": unit})) == (1.0, ["no BUNIT: pixels taken as Jy/beam"])


@pytest.mark.parametrize(
    # Nine powers of ten lie between milli and mega, so MJY is not guessed at.
    "unit",
    [
        *("K", "Jy", "JY/PIXEL", "MJy/beam", "MJY/BEAM", "m", "M", "u", "Jy/beam/km"),
        *(
            "Jy beam",
            "Jy beam-2",
            "Jy/beam-1",
            "MJy beam-1",
            "beam-1",
            "beam-1 MJy",
            "Jy beam-1 Jy",
        ),
    ],
)
def test_what_is_no_brightness_per_beam(unit: str) -> None:
    with pytest.raises(ImageError, match="are needed") as raised:
        read_unit(cards({"BUNIT": unit}))
    assert raised.value.reason == "unit"
    assert raised.value.details["unit"] == unit

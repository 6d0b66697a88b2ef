"""Variants of how headers say when an image was taken, and for how long."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from trap_ops.simulate.headers_variant import INTEGRATION_S, START, Variant, variant

# 2012-04-06T03:42:00 is day 56023 of the modified Julian date, and 13320 s of it.
_MJD = 56023.0 + 13320.0 / 86400.0
_NO_TIME = {"DATE-OBS": None, "TIMESYS": None}


def times() -> list[Variant]:
    """Start times and time scales."""
    return _dates() + _days() + _scales() + _integrations()


def _dates() -> list[Variant]:
    forms: dict[str, tuple[Any, datetime, str]] = {
        "plain": ("2012-04-06T03:42:00", START, "The usual form"),
        "fraction": (
            "2012-04-06T03:42:00.250001",
            START + timedelta(microseconds=250_001),
            "Fractions of a second",
        ),
        "many-digits": (
            "2012-04-06T03:42:00.2500010004",
            START + timedelta(microseconds=250_001),
            "More digits than microseconds",
        ),
        "one-digit": (
            "2012-04-06T03:42:00.2",
            START + timedelta(milliseconds=200),
            "One digit of a second, as WSClean writes",
        ),
        "blank": ("2012-04-06 03:42:00", START, "A blank in place of the T"),
        "zone": ("2012-04-06T05:42:00+02:00", START, "A zone in the date"),
        "zulu": ("2012-04-06T03:42:00Z", START, "Z for UTC"),
        "no-time": (
            "2012-04-06",
            datetime(2012, 4, 6),  # noqa: DTZ001 - the store keeps UTC without zone
            "A day without time, as AIPS and Obit write",
        ),
        "old": (
            "06/04/97",
            datetime(1997, 4, 6),  # noqa: DTZ001 - as above
            "The form of the years before 2000",
        ),
        "list": (
            '"2012-04-06T03:42:00";"2012-04-06T04:42:00"',
            START,
            "A list of dates, of which the first counts",
        ),
        "decimal-year": (
            2012.25,
            datetime(2012, 1, 1) + timedelta(days=0.25 * 365.242199),  # noqa: DTZ001 - as above
            "A year with its fraction, as Westerbork wrote",
        ),
    }
    made = [
        variant(f"date-{name}", what, {"DATE-OBS": value}, start=start)
        for name, (value, start, what) in forms.items()
    ]
    made.append(variant("date-none", "No time anywhere", {**_NO_TIME}, refused=("DATE-OBS",)))
    made.append(
        variant(
            "date-assumed",
            "No time anywhere; the configuration has it",
            {**_NO_TIME},
            settings={"images": {"assume": [{"start": "2012-04-06T03:42:00"}]}},
            notes=("start",),
        )
    )
    return made


def _days() -> list[Variant]:
    return [
        variant("time-mjd-obs", "MJD-OBS in place of a date", {**_NO_TIME, "MJD-OBS": _MJD}),
        variant(
            "time-mjd-beside-date",
            "MJD-OBS and DATE-OBS, which tells the time more finely",
            {"DATE-OBS": "2012-04-06T03:42:00.000", "MJD-OBS": 56023.0},
        ),
        variant("time-date-beg", "DATE-BEG", {**_NO_TIME, "DATE-BEG": "2012-04-06T03:42:00"}),
        variant(
            "time-date-beg-before-obs",
            "DATE-BEG and DATE-OBS: the first is the start by name",
            {"DATE-BEG": "2012-04-06T03:42:00", "DATE-OBS": "2012-04-06T03:47:00"},
        ),
        variant("time-mjd-beg", "MJD-BEG", {**_NO_TIME, "MJD-BEG": _MJD}),
        variant(
            "time-date-avg",
            "Only the middle, and the integration time",
            {**_NO_TIME, "DATE-AVG": "2012-04-06T03:47:00"},
        ),
        variant(
            "time-mjd-avg",
            "Only the middle as a day, and the integration time",
            {**_NO_TIME, "MJD-AVG": _MJD + 300.0 / 86400.0},
        ),
        variant(
            "time-date-end",
            "Only the end, and the integration time",
            {**_NO_TIME, "DATE-END": "2012-04-06T03:52:00"},
        ),
        variant(
            "time-jd",
            "A Julian date in a keyword that the configuration names",
            {**_NO_TIME, "JULDATE": 2400000.5 + _MJD},
            settings={"images": {"header": {"start": ["JULDATE:JD"]}}},
        ),
    ]


def _scales() -> list[Variant]:
    # TAI - UTC was 31 s from July 1997 to 1998, 34 s from 2009 to June 2012, 37 s from 2017 on.
    # TT is 32.184 s ahead of TAI, GPS 19 s behind it; TDB is TT within 2 ms.
    forms = {
        "utc": ("UTC", "2012-04-06T03:42:00.000"),
        "tai": ("TAI", "2012-04-06T03:42:34.000"),
        "iat": ("IAT", "2012-04-06T03:42:34.000"),
        "tt": ("TT", "2012-04-06T03:43:06.184"),
        "tdt": ("TDT", "2012-04-06T03:43:06.184"),
        "gps": ("GPS", "2012-04-06T03:42:15.000"),
        "ut": ("UT", "2012-04-06T03:42:00.000"),
        "gmt": ("GMT", "2012-04-06T03:42:00.000"),
        "small": ("tai", "2012-04-06T03:42:34.000"),
    }
    made = [
        variant(
            f"scale-{name}",
            f"TIMESYS {scale}: {date} there is 03:42:00 UTC",
            {"TIMESYS": scale, "DATE-OBS": date},
        )
        for name, (scale, date) in forms.items()
    ]
    made += [
        variant("scale-none", "No TIMESYS: UTC", {"TIMESYS": None}),
        variant(
            "scale-tai-1997",
            "TAI as CASA keeps it of old VLA data: 31 s ahead of UTC then",
            {"TIMESYS": "TAI", "DATE-OBS": "1997-09-19T05:00:21.000002"},
            start=datetime(1997, 9, 19, 4, 59, 50, 2),  # noqa: DTZ001 - the store keeps UTC
        ),
        variant(
            "scale-tai-days",
            "TAI holds for days too",
            {"DATE-OBS": None, "TIMESYS": "TAI", "MJD-OBS": _MJD + 34.0 / 86400.0},
        ),
        variant(
            "scale-unknown",
            "A TIMESYS that nobody knows: taken as UTC, which the notes say",
            {"TIMESYS": "LOCAL"},
            notes=("LOCAL",),
        ),
    ]
    return made


def _integrations() -> list[Variant]:
    none = {"EXPTIME": None}
    made = [
        variant(
            f"exposure-{key}".lower().replace("_", "-"), f"{key} in s", {**none, key: INTEGRATION_S}
        )
        for key in ("TAU_TIME", "XPOSURE", "EXPTIME", "EXPOSURE", "TELAPSE", "DURATION")
    ]
    made += [
        variant(
            "exposure-end-utc",
            "The end in END_UTC, as the classic pipeline reads it",
            {**none, "END_UTC": "2012-04-06T03:52:00"},
        ),
        variant("exposure-date-end", "DATE-END", {**none, "DATE-END": "2012-04-06T03:52:00"}),
        variant("exposure-mjd-end", "MJD-END", {**none, "MJD-END": _MJD + INTEGRATION_S / 86400.0}),
        variant(
            "exposure-date-end-tai",
            "Start and end in TAI",
            {
                **none,
                "TIMESYS": "TAI",
                "DATE-OBS": "2012-04-06T03:42:34",
                "DATE-END": "2012-04-06T03:52:34",
            },
        ),
        variant(
            "exposure-before-end",
            "EXPTIME and the end of a longer span with gaps: the exposure counts",
            {"DATE-END": "2012-04-06T04:42:00"},
        ),
        variant(
            "exposure-in-minutes",
            "A telescope's own keyword, in minutes, named by the configuration",
            {**none, "OBSMIN": 10.0},
            settings={"images": {"header": {"integration_s": ["OBSMIN:min"]}}},
        ),
        variant(
            "exposure-assumed",
            "No integration time; the configuration has it for this telescope",
            none,
            settings={
                "images": {
                    "assume": [
                        {"telescope": "OTHER", "integration_s": 5.0},
                        {"telescope": "SIMULATION", "integration_s": INTEGRATION_S},
                    ]
                }
            },
            notes=("integration",),
        ),
        variant(
            "exposure-replaced",
            "An integration time that is known to be wrong, replaced by the configuration",
            {"EXPTIME": 1.0},
            settings={"images": {"assume": [{"replace": True, "integration_s": INTEGRATION_S}]}},
            notes=("integration",),
        ),
        variant(
            "exposure-none",
            "No integration time anywhere: 0 s, which the notes say",
            none,
            integration_s=0.0,
            notes=("integration",),
        ),
    ]
    return made

"""When an image was made, by its header: every form of date and every time scale, in UTC."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from trap_ops.config.headers import SECONDS_PER_UNIT, HeaderConfig
from trap_ops.errors import ImageError
from trap_ops.images.assumed import Assumed
from trap_ops.images.cards import Header
from trap_ops.images.keywords import first_number, split_unit

_TROPICAL_YEAR_DAYS = 365.242199
# No image has been made before; and the report's time axis must have room beside the last one.
_YEARS = (1900, 2999)
# Three centuries.
_INTEGRATION_MAX_S = 1e10
_MJD_ZERO = datetime(1858, 11, 17)  # noqa: DTZ001 - the store keeps UTC without zone
_MJD_MAX = 1e7
_JD_OF_MJD_ZERO = 2400000.5
_AS_UTC = {"", "UTC", "UT", "UT1", "UT0", "UT2", "GMT", "Z"}
_SCALES = {
    "TAI": "tai",
    "IAT": "tai",
    "GPS": "tai",
    "TT": "tt",
    "TDT": "tt",
    "ET": "tt",
    "TDB": "tdb",
    "TCG": "tcg",
    "TCB": "tcb",
}
_GPS_BEHIND_TAI = timedelta(seconds=19)
_LEAP_SECOND = re.compile(r"(.*\d\d:\d\d):60(\.\d*)?(.*)")


def read_times(
    header: Header, rules: HeaderConfig, assumed: Assumed
) -> tuple[datetime, float, list[str]]:
    """Return start (UTC, no zone), integration time in s, and notes on what was missing.

    Raises
    ------
    ImageError
        If there is no readable start, or of no time with radio telescopes: without its time an
        image has no place in a series.
    """
    clock = _Clock(header, rules.time_scale)
    integration = _integration(header, rules)
    start = clock.first(header, rules.start)
    end = clock.first(header, rules.end) if integration is None or start is None else None
    if integration is None and start is not None and end is not None:
        integration = _usable((end - start).total_seconds())
    integration = assumed.fill("integration_s", integration)
    if start is None:
        start = _start_of_others(clock.first(header, rules.middle), end, integration)
    start = assumed.fill("start", start)
    if start is None:
        raise _no_start(header, rules)
    notes = clock.notes
    if integration is None:
        notes = [*notes, "no integration time: taken as 0 s"]
    return start, integration or 0.0, notes


class _Clock:
    """Reads dates of a header in its time scale."""

    def __init__(self, header: Header, keywords: Sequence[str]) -> None:
        found = next((text for key in keywords if (text := header.text(key))), "")
        # TT(TAI) is TT, UTC(NIST) is UTC.
        self._scale = found.upper().split("(")[0].strip()
        self.notes: list[str] = []
        if self._scale not in _AS_UTC and self._scale not in _SCALES:
            self.notes.append(f"time scale {found!r} is unknown: dates taken as UTC")

    def first(self, header: Header, keywords: Sequence[str]) -> datetime | None:
        """UTC of the first keyword that is a date of a year with radio telescopes."""
        for entry in keywords:
            time = self._of(header, *split_unit(entry))
            if time is not None and _YEARS[0] <= time.year <= _YEARS[1]:
                return time
        return None

    def _of(self, header: Header, key: str, form: str) -> datetime | None:
        if form in {"MJD", "JD"}:
            days = header.number(key)
            return None if days is None else self._to_utc(_of_days(days, form))
        time, is_utc = parse_date(_date_and_time(header, key))
        return time if is_utc or form == "UTC" else self._to_utc(time)

    def _to_utc(self, time: datetime | None) -> datetime | None:
        """Convert a time; one within a leap second becomes the second after it."""
        if time is None or self._scale not in _SCALES:
            return time
        from astropy.time import Time  # noqa: PLC0415 - slow to import, rarely needed

        with warnings.catch_warnings():
            # Of years without announced leap seconds.
            warnings.filterwarnings("ignore", "ERFA function")
            try:
                if self._scale == "GPS":
                    time += _GPS_BEHIND_TAI
                scaled = Time(time, scale=_SCALES[self._scale])
                converted: datetime = scaled.utc.to_datetime(leap_second_strict="silent")
            except (ValueError, OverflowError):
                return None
        return converted


def parse_date(text: str) -> tuple[datetime | None, bool]:
    """Read a date: ISO, the first of a list, dd/mm/yy, a decimal year; and whether it says UTC.

    None for what is none of them, or is outside the years 1 to 9999 (SCIENCE.md 1.3).
    """
    if ";" in text and '"' in text:
        text = text.split('"')[1]
    text = re.sub(r" *(?:UTC|UT|GMT)$", "", text.strip())
    old = re.match(r"(\d{2})/(\d{2})/(\d{2})(?!\d)", text)
    if old:
        text = f"19{old[3]}-{old[2]}-{old[1]}{text[8:]}"
    # Digits beyond microseconds are cut, not refused.
    text = re.sub(r"(\.\d{6})\d+", r"\1", text)
    leap = _LEAP_SECOND.fullmatch(text)
    if leap:  # Python has no second 60: it becomes the second after it.
        text = f"{leap[1]}:59{leap[2] or ''}{leap[3]}"
    try:
        if re.fullmatch(r"\d{4}\.\d+", text):
            return _of_decimal_year(float(text)), False
        parsed = datetime.fromisoformat(text)
        parsed += timedelta(seconds=1 if leap else 0)
        if parsed.tzinfo is not None:
            return parsed.astimezone(UTC).replace(tzinfo=None), True
    except (ValueError, OverflowError):
        return None, False
    return parsed, False


def _date_and_time(header: Header, key: str) -> str:
    """Text of a date; where it has no time, with that of TIME-OBS (of DATE-OBS)."""
    text = header.text(key)
    if re.fullmatch(r"\d{4}-\d\d-\d\d|\d\d/\d\d/\d\d", text):
        time = header.text(f"TIME{key[4:]}") if key.startswith("DATE") else ""
        if re.fullmatch(r"\d\d:\d\d(:\d\d(\.\d*)?)?", time):
            return f"{text}T{time}"
    return text


def _of_days(days: float, form: str) -> datetime | None:
    since = days - (_JD_OF_MJD_ZERO if form == "JD" else 0.0)
    return _MJD_ZERO + timedelta(days=since) if abs(since) < _MJD_MAX and since >= 0 else None


def _of_decimal_year(year: float) -> datetime:
    start = datetime(int(year), 1, 1)  # noqa: DTZ001 - the store keeps UTC without zone
    return start + timedelta(days=_TROPICAL_YEAR_DAYS * (year % 1.0))


def _integration(header: Header, rules: HeaderConfig) -> float | None:
    return first_number(
        header, rules.integration_s, SECONDS_PER_UNIT, lambda value: _usable(value) is not None
    )


def _usable(seconds: float) -> float | None:
    return seconds if 0.0 <= seconds <= _INTEGRATION_MAX_S else None


def _start_of_others(
    middle: datetime | None, end: datetime | None, integration: float | None
) -> datetime | None:
    try:
        if middle is not None:
            return middle - timedelta(seconds=(integration or 0.0) / 2.0)
        if end is not None and integration is not None:
            return end - timedelta(seconds=integration)
    except OverflowError:
        return None
    return None


def _no_start(header: Header, rules: HeaderConfig) -> ImageError:
    keys = [split_unit(entry)[0] for entry in (*rules.start, *rules.middle)]
    for key in keys:
        text = header.text(key)
        if text:
            first, last = _YEARS
            msg = (
                f"its {key} {text!r} is not a date that can be read, of the years {first} to {last}"
            )
            return ImageError(msg, reason="no start time", date_obs=text)
    msg = (
        f"its header has no start time ({', '.join(keys)}); without one it has no place in a "
        "series: say it in images.assume"
    )
    return ImageError(msg, reason="no start time")

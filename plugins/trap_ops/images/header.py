"""What a FITS header says about an image: keywords and their fall-back order (SCIENCE.md 1.3)."""

from __future__ import annotations

import math
import re
import warnings
from datetime import UTC, datetime, timedelta

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning

from trap_ops.errors import ImageError
from trap_ops.records.arrays import FloatArray
from trap_ops.records.images import Beam
from trap_ops.science.coordinates import wrap_ra
from trap_ops.science.sky_plane import linearise

_DEFAULT_BANDWIDTH_HZ = 1e6
_HZ_PER_UNIT = {"HZ": 1.0, "": 1.0, "KHZ": 1e3, "MHZ": 1e6, "GHZ": 1e9}
# Jy/beam as people and the FITS standard write it, blanks left out. mJy and MJy differ by nine
# powers of ten, so the prefix keeps its case.
_JY = r"([muU]?)(?i:jy)"
_PER_BEAM = r"(?i:beam)(?:\^|\*\*)?(?:-1|\(-1\))"
_BRIGHTNESS = re.compile(rf"{_JY}(?:/(?i:beam)|[.*]?{_PER_BEAM})|{_PER_BEAM}[.*]?{_JY}")
_JY_PER_PREFIX = {"": 1.0, "m": 1e-3, "u": 1e-6}
# The record that AIPS' CLEAN leaves in HISTORY.
_NUMBER = r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][-+]?\d+)?)"
_AIPS_BEAM = re.compile(rf"BMAJ\s*=\s*{_NUMBER}\s+BMIN\s*=\s*{_NUMBER}\s+BPA\s*=\s*{_NUMBER}")
_TROPICAL_YEAR_DAYS = 365.242199
# No telescope makes beams, pixels or frequencies beyond these; a header that does is wrong.
_BEAM_RANGE_DEG = (1e-10, 180.0)
_PIXEL_RANGE_DEG = (1e-11, 90.0)
_FREQUENCY_RANGE_HZ = (1e3, 1e16)
# FITS knows the codes -8 to 4, AIPS a few more.
_STOKES_MAX = 9
# No image has been made before; and the report's time axis must have room beside the last one.
_YEARS = (1900, 2999)
# Keywords of the first two axes' place on the sky, old forms included.
_PLACING = re.compile(
    "(CTYPE|CUNIT|CRVAL|CRPIX|CDELT|CROTA)[12]|(PC|CD)([12]_[12]|00[12]00[12])"
    r"|PV[12]_\d+|PROJP\d|LONPOLE|LATPOLE|RADESYS|RADECSYS|EQUINOX|EPOCH"
)
# Projections on the tangent plane at the reference point, undistorted there.
_ZENITHAL = {"SIN", "NCP", "TAN", "STG", "ARC", "ZEA"}
# Characters, of column image.telescope.
_TELESCOPE_MAX = 64
# Least area of a pixel in units of the product of its sides.
_SKEW_MIN = 1e-6


def celestial_wcs(header: fits.Header) -> WCS:
    """Return the two celestial axes of an image.

    Raises
    ------
    ImageError
        If there are none, if astropy cannot read them, or if they are not equatorial J2000 or ICRS.
    """
    _check_placed(header)
    with warnings.catch_warnings():
        # Harmless repairs of units; what matters is checked below.
        warnings.simplefilter("ignore", FITSFixedWarning)
        try:
            wcs = WCS(_placing_cards(header))
            wcs.wcs.set()
        except Exception as error:
            detail = " ".join(str(error).split())
            msg = f"its coordinate system cannot be read: {detail}"
            raise ImageError(msg, reason="no coordinates") from error
    if not wcs.has_celestial:
        msg = "its first two axes are not celestial coordinates (CTYPE1, CTYPE2)"
        raise ImageError(msg, reason="no coordinates")
    longitude, latitude = (str(ctype)[:4] for ctype in wcs.wcs.ctype)
    frame = str(wcs.wcs.radesys).strip().upper() or "ICRS"
    equinox = float(wcs.wcs.equinox)
    of_2000 = math.isnan(equinox) or equinox == 2000.0
    if (longitude, latitude) != ("RA--", "DEC-") or frame not in {"ICRS", "FK5"} or not of_2000:
        msg = (
            f"its coordinates are {longitude}/{latitude} in {frame} {equinox}; "
            "only RA/DEC in ICRS or FK5 J2000 are supported, in this order of axes"
        )
        raise ImageError(msg, reason="coordinate system")
    return wcs


def read_telescope(header: fits.Header) -> str:
    """Return TELESCOP, as much of it as can be kept; empty if absent."""
    return _text(header, "TELESCOP")[:_TELESCOPE_MAX]


def read_beam(header: fits.Header) -> Beam:
    """Return the beam from BMAJ, BMIN and BPA, else from the record of AIPS in HISTORY.

    Raises
    ------
    ImageError
        If there is none, or it is not a beam (zero, negative, not finite, wider than the sky).
    """
    values = [_number(header, key) for key in ("BMAJ", "BMIN", "BPA")]
    if values[2] is None and values[0] is not None and values[0] == values[1]:
        values[2] = 0.0  # A round beam has no position angle.
    if None in values:
        history = "\n".join(str(line) for line in header.get("HISTORY", []))
        match = _AIPS_BEAM.search(history)
        if match is None:
            missing = [k for k, v in zip(("BMAJ", "BMIN", "BPA"), values, strict=True) if v is None]
            msg = (
                f"its header has no {', '.join(missing)}, and its HISTORY no beam of AIPS; "
                "the beam must be known to measure fluxes"
            )
            raise ImageError(msg, reason="no beam", missing=missing)
        values = [float(group.replace("d", "e").replace("D", "E")) for group in match.groups()]
    bmaj, bmin, bpa = (float(value) for value in values if value is not None)
    smallest, largest = _BEAM_RANGE_DEG
    if not (smallest <= min(bmaj, bmin) and max(bmaj, bmin) <= largest and math.isfinite(bpa)):
        msg = (
            f"its beam is not a beam: BMAJ = {bmaj}, BMIN = {bmin}, BPA = {bpa} deg; "
            f"full widths are from {smallest:g} to {largest:g} deg"
        )
        raise ImageError(msg, reason="bad beam")
    return Beam(max(bmaj, bmin), min(bmaj, bmin), bpa if bmaj >= bmin else bpa + 90.0)


def read_frequency(header: fits.Header) -> tuple[float, float, list[str]]:
    """Return centre frequency and bandwidth in Hz, and notes on what was assumed.

    The spectral axis comes first, then RESTFRQ with RESTBW, then RESTFREQ (SCIENCE.md D10).

    Raises
    ------
    ImageError
        If there is no frequency, or it cannot be one.
    """
    found = _frequency_and_width(header)
    if found is None:
        msg = "its header has no frequency: no FREQ axis, RESTFRQ or RESTFREQ"
        raise ImageError(msg, reason="no frequency")
    frequency, width = found
    lowest, highest = _FREQUENCY_RANGE_HZ
    if not (lowest <= frequency <= highest and width <= 2.0 * frequency):
        msg = (
            f"its frequency is not one: {frequency:g} Hz with a bandwidth of {width:g} Hz; "
            f"frequencies are from {lowest:g} to {highest:g} Hz, and no band reaches below 0"
        )
        raise ImageError(msg, reason="bad frequency", frequency_hz=frequency, width_hz=width)
    if width > 0:
        return frequency, width, []
    return frequency, _DEFAULT_BANDWIDTH_HZ, ["no bandwidth: taken as 1 MHz"]


def _frequency_and_width(header: fits.Header) -> tuple[float, float] | None:
    """Frequency and bandwidth in Hz as they are written, the bandwidth 0 where it is not."""
    for axis in range(3, 10):
        if _text(header, f"CTYPE{axis}").upper().startswith("FREQ"):
            unit = _text(header, f"CUNIT{axis}").upper()
            value, step = (
                _number(header, f"CRVAL{axis}"),
                _number(header, f"CDELT{axis}"),
            )
            reference = _number(header, f"CRPIX{axis}")
            if value is None or value <= 0 or unit not in _HZ_PER_UNIT:
                continue
            first = 1.0 - (1.0 if reference is None else reference)
            frequency = (value + first * (step or 0.0)) * _HZ_PER_UNIT[unit]
            return frequency, abs(step or 0.0) * _HZ_PER_UNIT[unit]
    for key, width_key in (("RESTFRQ", "RESTBW"), ("RESTFREQ", "RESTBW")):
        value = _number(header, key)
        if value is not None and value > 0:
            return value, abs(_number(header, width_key) or 0.0)
    return None


def read_stokes(header: fits.Header) -> int:
    """Return the Stokes parameter as FITS counts (1 to 4: I, Q, U, V); 1 without such an axis.

    Raises
    ------
    ImageError
        If the axis has another number.
    """
    for axis in range(3, 10):
        if _text(header, f"CTYPE{axis}").upper() == "STOKES":
            value, step = (
                _number(header, f"CRVAL{axis}"),
                _number(header, f"CDELT{axis}"),
            )
            reference = _number(header, f"CRPIX{axis}")
            first = 1.0 - (1.0 if reference is None else reference)
            stokes = (1.0 if value is None else value) + first * (step or 0.0)
            if not abs(stokes) <= _STOKES_MAX:
                msg = (
                    f"its STOKES axis says {stokes:g}, which is no Stokes parameter (1 to 4: IQUV)"
                )
                raise ImageError(msg, reason="bad Stokes", stokes=stokes)
            return round(stokes)
    return 1


def read_times(header: fits.Header) -> tuple[datetime, float, list[str]]:
    """Return start (UTC, no zone), integration time in s, and notes on what was assumed.

    Raises
    ------
    ImageError
        If there is no readable DATE-OBS, or of no time with radio telescopes: without its time an
        image has no place in a series.
    """
    text = _text(header, "DATE-OBS")
    if not text:
        msg = "its header has no DATE-OBS; without a start time it has no place in a series"
        raise ImageError(msg, reason="no start time")
    start = _parse_time(text)
    scale = _text(header, "TIMESYS").upper() or "UTC"
    notes = []
    if start is not None and scale in {"TAI", "TT", "TDT", "TDB", "ET"}:
        start = _to_utc(start, scale)
    elif scale not in {"UTC", "UT", "UT1", "GMT"}:
        notes.append(f"TIMESYS {scale!r} is unknown: DATE-OBS taken as UTC")
    first, last = _YEARS
    if start is None or not first <= start.year <= last:
        msg = (
            f"its DATE-OBS {text!r} is not a date that can be read, of the years {first} to {last}"
        )
        raise ImageError(msg, reason="no start time", date_obs=text)
    integration = _number(header, "TAU_TIME")
    if integration is None:
        end = _parse_time(_text(header, "END_UTC"))
        integration = (end - start).total_seconds() if end is not None else None
    if integration is None or integration < 0:
        notes.append("no integration time (TAU_TIME, END_UTC): taken as 0 s")
        integration = 0.0
    return start, integration, notes


def read_unit(header: fits.Header) -> tuple[float, list[str]]:
    """Return the factor from pixel values to Jy/beam, and notes on what was assumed.

    Raises
    ------
    ImageError
        If BUNIT is not a brightness per beam.
    """
    unit = _text(header, "BUNIT")
    if not unit:
        return 1.0, ["no BUNIT: pixels taken as Jy/beam"]
    match = _BRIGHTNESS.fullmatch(unit.replace(" ", ""))
    if match is None:
        msg = f"its pixels are in {unit!r}; Jy/beam, mJy/beam or uJy/beam are needed"
        raise ImageError(msg, reason="unit", unit=unit)
    prefix = match[1] or match[2] or ""
    return _JY_PER_PREFIX[prefix.lower()], []


def pixel_matrix(wcs: WCS, nx: int, ny: int) -> FloatArray:
    """Degrees (east, north) per pixel (x, y), (2, 2).

    Of the tangent plane at the reference point for zenithal projections, in which interferometers
    make their images and define their beams; of the image's centre for all others.

    Raises
    ------
    ImageError
        If it is none: the pixels are a line, or too small or too large.
    """
    if wcs.wcs.ctype[0][5:8] in _ZENITHAL and (wcs.wcs.phi0, wcs.wcs.theta0) == (0.0, 90.0):
        matrix = _turn_to_north(wcs) @ np.asarray(wcs.pixel_scale_matrix, dtype=np.float64)
    else:
        matrix = linearise(wcs, np.array([nx / 2]), np.array([ny / 2]))[2][0]
    smallest, largest = _PIXEL_RANGE_DEG
    sides = np.hypot(matrix[0], matrix[1])
    with np.errstate(over="ignore", invalid="ignore"):
        straight = abs(float(np.linalg.det(matrix))) > _SKEW_MIN * float(sides.prod())
    if not (smallest <= sides.min() and sides.max() <= largest and straight):
        msg = (
            f"its pixels are no parallelogram on the sky: sides of {sides[0]:g} and {sides[1]:g} "
            f"deg, which must be from {smallest:g} to {largest:g} and not in line"
        )
        raise ImageError(msg, reason="no coordinates")
    return matrix


def _turn_to_north(wcs: WCS) -> FloatArray:
    """Rotation from the axes of a zenithal projection to (east, north), which LONPOLE gives."""
    usual = 0.0 if wcs.wcs.crval[wcs.wcs.lat] >= 90.0 else 180.0
    if wcs.wcs.lonpole == usual:
        return np.eye(2)
    turn = math.radians(wcs.wcs.lonpole - usual)
    return np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])


def sky_of_field(wcs: WCS, nx: int, ny: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Right ascensions and declinations of an image's centre and its four corners, in degrees.

    The centre is that of pixel (nx/2, ny/2), counted from 0. Corners off the sky are NaN.

    Raises
    ------
    ImageError
        If the centre is not on the sky.
    """
    x = np.array([nx / 2, -0.5, nx - 0.5, -0.5, nx - 0.5])
    y = np.array([ny / 2, -0.5, -0.5, ny - 0.5, ny - 0.5])
    ra, dec = wcs.wcs_pix2world(x, y, 0)
    ra = wrap_ra(ra)
    if not math.isfinite(ra[0] + dec[0]):
        msg = "the centre of the image is not on the sky; its coordinates cannot be right"
        raise ImageError(msg, reason="no coordinates")
    return tuple(ra.tolist()), tuple(dec.tolist())


def _placing_cards(header: fits.Header) -> fits.Header:
    """Cards that place the first two axes on the sky.

    No others: of some that have nothing to do with it (CNPIX1) wcslib crashes.
    """
    placing = fits.Header()
    for key in header:
        if key not in placing and _PLACING.fullmatch(key):
            placing[key] = header[key]
    return placing


def _check_placed(header: fits.Header) -> None:
    """Raise if what places the image on the sky is missing: astropy would assume 0, and 1 deg."""
    missing = [
        key
        for axis in (1, 2)
        for key in (f"CRVAL{axis}", f"CRPIX{axis}")
        if not _is_number(header, key)
    ]
    missing += [
        f"CDELT{axis}"
        for axis in (1, 2)
        if not any(
            _is_number(header, key) for key in (f"CDELT{axis}", f"CD{axis}_1", f"CD{axis}_2")
        )
    ]
    if missing:
        msg = f"its header has no {', '.join(missing)}; it cannot be placed on the sky"
        raise ImageError(msg, reason="no coordinates", missing=missing)


def _is_number(header: fits.Header, key: str) -> bool:
    """Whether a keyword is a number, not one written as text, which astropy passes over."""
    value = header.get(key)
    return isinstance(value, (int, float)) and math.isfinite(value)


def _text(header: fits.Header, key: str) -> str:
    """Value of a keyword as text; empty if it is absent or has none."""
    value = header.get(key)
    return "" if value is None else str(value).strip()


def _number(header: fits.Header, key: str) -> float | None:
    """Value of a keyword if it is a number, also one written as text."""
    try:
        value = float(header[key])
    except (KeyError, TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def _parse_time(text: str) -> datetime | None:
    """Read the forms of SCIENCE.md 1.3: ISO, the first of a list, dd/mm/yy, a decimal year.

    None for what is none of them, or is outside the years 1 to 9999.
    """
    if ";" in text and '"' in text:
        text = text.split('"')[1]
    old = re.fullmatch(r"(\d{2})/(\d{2})/(\d{2})", text)
    if old:
        text = f"19{old[3]}-{old[2]}-{old[1]}"
    # Digits beyond microseconds are cut, not refused.
    text = re.sub(r"(\.\d{6})\d+", r"\1", text)
    try:
        if re.fullmatch(r"\d{4}\.\d+", text):
            return _of_decimal_year(float(text))
        parsed = datetime.fromisoformat(text)
        return parsed.astimezone(UTC).replace(tzinfo=None) if parsed.tzinfo else parsed
    except (ValueError, OverflowError):
        return None


def _of_decimal_year(year: float) -> datetime:
    start = datetime(int(year), 1, 1)  # noqa: DTZ001 - the store keeps UTC without zone
    return start + timedelta(days=_TROPICAL_YEAR_DAYS * (year % 1.0))


def _to_utc(time: datetime, scale: str) -> datetime | None:
    """Convert a time to UTC; one within a leap second becomes the second after it."""
    from astropy.time import Time  # noqa: PLC0415 - slow to import, rarely needed

    name = {"TDT": "tt", "ET": "tt"}.get(scale, scale.lower())
    with warnings.catch_warnings():
        # Of years without announced leap seconds.
        warnings.filterwarnings("ignore", "ERFA function")
        try:
            converted: datetime = Time(time, scale=name).utc.to_datetime(
                leap_second_strict="silent"
            )
        except (ValueError, OverflowError):
            return None
    return converted

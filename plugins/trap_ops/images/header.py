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

_DEFAULT_BANDWIDTH_HZ = 1e6
_HZ_PER_UNIT = {"HZ": 1.0, "": 1.0, "KHZ": 1e3, "MHZ": 1e6, "GHZ": 1e9}
_JY_PER_UNIT = {"JY/BEAM": 1.0, "MJY/BEAM": 1e-3, "UJY/BEAM": 1e-6}
# The record that AIPS' CLEAN leaves in HISTORY.
_NUMBER = r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][-+]?\d+)?)"
_AIPS_BEAM = re.compile(rf"BMAJ\s*=\s*{_NUMBER}\s+BMIN\s*=\s*{_NUMBER}\s+BPA\s*=\s*{_NUMBER}")
_TROPICAL_YEAR_DAYS = 365.242199


def celestial_wcs(header: fits.Header) -> WCS:
    """Return the two celestial axes of an image.

    Raises
    ------
    ImageError
        If there are none, if astropy cannot read them, or if they are not equatorial J2000 or ICRS.
    """
    _check_placed(header)
    with warnings.catch_warnings():
        # Harmless repairs of dates and units; what matters is checked below.
        warnings.simplefilter("ignore", FITSFixedWarning)
        try:
            all_axes = WCS(header)
            wcs = all_axes.celestial
        except Exception as error:
            msg = f"its coordinate system cannot be read: {error}"
            raise ImageError(msg, reason="no coordinates") from error
    if not wcs.has_celestial or (all_axes.wcs.lng, all_axes.wcs.lat) not in {(0, 1), (1, 0)}:
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


def read_beam(header: fits.Header) -> Beam:
    """Return the beam from BMAJ, BMIN and BPA, else from the record of AIPS in HISTORY.

    Raises
    ------
    ImageError
        If there is none, or it is not a beam (zero, negative, not finite).
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
    if not (math.isfinite(bmaj) and math.isfinite(bmin) and math.isfinite(bpa)) or (
        min(bmaj, bmin) <= 0
    ):
        msg = f"its beam is not a beam: BMAJ = {bmaj}, BMIN = {bmin}, BPA = {bpa} deg"
        raise ImageError(msg, reason="bad beam")
    return Beam(max(bmaj, bmin), min(bmaj, bmin), bpa if bmaj >= bmin else bpa + 90.0)


def read_frequency(header: fits.Header) -> tuple[float, float, list[str]]:
    """Return centre frequency and bandwidth in Hz, and notes on what was assumed.

    The spectral axis comes first, then RESTFRQ with RESTBW, then RESTFREQ (SCIENCE.md D10).

    Raises
    ------
    ImageError
        If there is no frequency.
    """
    for axis in range(3, 10):
        if str(header.get(f"CTYPE{axis}", "")).strip().upper().startswith("FREQ"):
            unit = str(header.get(f"CUNIT{axis}", "Hz")).strip().upper()
            value, step = (
                _number(header, f"CRVAL{axis}"),
                _number(header, f"CDELT{axis}"),
            )
            reference = _number(header, f"CRPIX{axis}")
            if value is None or value <= 0 or unit not in _HZ_PER_UNIT:
                continue
            width = abs(step or 0.0) * _HZ_PER_UNIT[unit]
            first = 1.0 - (1.0 if reference is None else reference)
            frequency = (value + first * (step or 0.0)) * _HZ_PER_UNIT[unit]
            return frequency, *_bandwidth(width)
    for key, width_key in (("RESTFRQ", "RESTBW"), ("RESTFREQ", "RESTBW")):
        value = _number(header, key)
        if value is not None and value > 0:
            return value, *_bandwidth(abs(_number(header, width_key) or 0.0))
    msg = "its header has no frequency: no FREQ axis, RESTFRQ or RESTFREQ"
    raise ImageError(msg, reason="no frequency")


def read_stokes(header: fits.Header) -> int:
    """Return the Stokes parameter as FITS counts (1 to 4: I, Q, U, V); 1 without such an axis."""
    for axis in range(3, 10):
        if str(header.get(f"CTYPE{axis}", "")).strip().upper() == "STOKES":
            value, step = (
                _number(header, f"CRVAL{axis}"),
                _number(header, f"CDELT{axis}"),
            )
            reference = _number(header, f"CRPIX{axis}")
            first = 1.0 - (1.0 if reference is None else reference)
            return round((1.0 if value is None else value) + first * (step or 0.0))
    return 1


def read_times(header: fits.Header) -> tuple[datetime, float, list[str]]:
    """Return start (UTC, no zone), integration time in s, and notes on what was assumed.

    Raises
    ------
    ImageError
        If there is no readable DATE-OBS: without its time an image has no place in a series.
    """
    text = header.get("DATE-OBS")
    if text is None or not str(text).strip():
        msg = "its header has no DATE-OBS; without a start time it has no place in a series"
        raise ImageError(msg, reason="no start time")
    start = _parse_time(text)
    if start is None:
        msg = f"its DATE-OBS {text!r} is not a date that can be read"
        raise ImageError(msg, reason="no start time", date_obs=str(text))
    scale = str(header.get("TIMESYS", "UTC")).strip().upper() or "UTC"
    notes = []
    if scale in {"TAI", "TT", "TDT", "TDB", "ET"}:
        start = _to_utc(start, scale)
    elif scale not in {"UTC", "UT", "UT1", "GMT"}:
        notes.append(f"TIMESYS {scale!r} is unknown: DATE-OBS taken as UTC")
    integration = _number(header, "TAU_TIME")
    if integration is None:
        end = _parse_time(header["END_UTC"]) if "END_UTC" in header else None
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
    unit = str(header.get("BUNIT", "")).strip()
    if not unit:
        return 1.0, ["no BUNIT: pixels taken as Jy/beam"]
    # mJy and MJy differ by nine powers of ten, so the prefix keeps its case.
    prefix = unit[0] if unit[0] in "mu" else ""
    key = (prefix + unit[len(prefix) :]).replace(" ", "").upper()
    if unit[0] == "M" and unit[1:2].lower() == "j":
        key = "mega" + key
    if key not in _JY_PER_UNIT:
        msg = f"its pixels are in {unit!r}; Jy/beam, mJy/beam or uJy/beam are needed"
        raise ImageError(msg, reason="unit", unit=unit)
    return _JY_PER_UNIT[key], []


def pixel_matrix(wcs: WCS) -> FloatArray:
    """Degrees (east, north) per pixel (x, y), (2, 2)."""
    return np.asarray(wcs.pixel_scale_matrix, dtype=np.float64)


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


def _bandwidth(width_hz: float) -> tuple[float, list[str]]:
    if width_hz > 0:
        return width_hz, []
    return _DEFAULT_BANDWIDTH_HZ, ["no bandwidth: taken as 1 MHz"]


def _number(header: fits.Header, key: str) -> float | None:
    """Value of a keyword if it is a number, also one written as text."""
    try:
        value = float(header[key])
    except (KeyError, TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def _parse_time(value: object) -> datetime | None:
    """Read the forms of SCIENCE.md 1.3: ISO, the first of a list, dd/mm/yy, a decimal year."""
    text = str(value).strip()
    if ";" in text and '"' in text:
        text = text.split('"')[1]
    if re.fullmatch(r"\d{4}\.\d+", text):
        fraction = float(text) % 1.0
        year = datetime(int(float(text)), 1, 1)  # noqa: DTZ001 - the store keeps UTC without zone
        return year + timedelta(days=_TROPICAL_YEAR_DAYS * fraction)
    old = re.fullmatch(r"(\d{2})/(\d{2})/(\d{2})", text)
    if old:
        text = f"19{old[3]}-{old[2]}-{old[1]}"
    # Digits beyond microseconds are cut, not refused.
    text = re.sub(r"(\.\d{6})\d+", r"\1", text)
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        return None
    return parsed.astimezone(UTC).replace(tzinfo=None) if parsed.tzinfo else parsed


def _to_utc(time: datetime, scale: str) -> datetime:
    from astropy.time import Time  # noqa: PLC0415 - slow to import, rarely needed

    name = {"TDT": "tt", "ET": "tt"}.get(scale, scale.lower())
    converted: datetime = Time(time, scale=name).utc.to_datetime()
    return converted

"""Keywords of a CASA image table, written as the cards of a FITS header.

casacore counts pixels from 0 and keeps angles in radians mostly; FITS counts from 1, in degrees.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
from astropy import units as u
from astropy.io import fits

from trap_ops.errors import ImageError
from trap_ops.records.arrays import FloatArray

_BLOCK = 2880
_PRECISION = 1e-6
# Names of casacore to FITS: axes, frame, equinox.
_SYSTEMS = {
    "J2000": ("RA---", "DEC--", "FK5", 2000.0),
    "ICRS": ("RA---", "DEC--", "ICRS", None),
    "B1950": ("RA---", "DEC--", "FK4", 1950.0),
    "GALACTIC": ("GLON-", "GLAT-", None, None),
}
_STOKES = {
    "I": 1, "Q": 2, "U": 3, "V": 4, "RR": -1, "LL": -2, "RL": -3, "LR": -4,
    "XX": -5, "YY": -6, "XY": -7, "YX": -8,
}  # fmt: skip
_SCALES = {"TDT": "TT", "ET": "TT", "UT": "UT1", "IAT": "TAI"}
_MJD_0 = datetime(1858, 11, 17)  # noqa: DTZ001 - the scale is said beside it
_YEARS_MJD = (-678575.0, 2973483.0)


@dataclass(frozen=True)
class _Axis:
    """An axis beyond the two of the sky.

    Attributes
    ----------
    pixel : int
        Its place in the table, from 0, fastest first; -1 for one that was taken out of the image.
    cards : mapping
        ``CTYPE`` and so on, without the number.
    """

    pixel: int
    cards: Mapping[str, Any]


@dataclass(frozen=True)
class Axes:
    """Axes of an image in the order of FITS: right ascension, declination, others.

    Attributes
    ----------
    sizes : tuple of int
        NAXIS1 and so on.
    sky : tuple of int
        Places of the first two in the table, from 0, fastest first.
    others : tuple of _Axis
    shape : tuple of int
        Of the table, slowest first.
    """

    sizes: tuple[int, ...]
    sky: tuple[int, int]
    others: tuple[_Axis, ...]
    shape: tuple[int, ...]

    def slice_of(self, index: Sequence[int]) -> tuple[list[int], list[int]]:
        """First and last pixel of a plane in the table, slowest axis first, both included.

        Parameters
        ----------
        index : sequence of int
            Places on the other axes, the last one first.
        """
        low = [0] * len(self.shape)
        high = [size - 1 for size in self.shape]
        for axis, place in zip(self.others, reversed(index), strict=True):
            if axis.pixel >= 0:
                low[-1 - axis.pixel] = high[-1 - axis.pixel] = place
        return low, high

    def plane(self, pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return the pixels of such a slice as (ny, nx)."""
        plane = pixels.squeeze(
            tuple(i for i in range(pixels.ndim) if pixels.ndim - 1 - i not in self.sky)
        )
        return plane if self.sky[0] < self.sky[1] else plane.T


def axes_of(keywords: Mapping[str, Any], shape: Sequence[int]) -> Axes:
    """Return the axes of an image.

    Raises
    ------
    ImageError
        If it has no direction, or an axis that FITS cannot express.
    """
    coords = keywords["coords"]
    sky: tuple[int, ...] = ()
    others = []
    for name, record in coords.items():
        match = re.fullmatch(r"(direction|spectral|stokes|linear|tabular)(\d+)", name)
        if match is None:
            continue
        pixels = [int(pixel) for pixel in coords[f"pixelmap{match[2]}"]]
        if match[1] == "direction":
            sky = tuple(pixels)
        else:
            others += [
                _Axis(pixel, _other_cards(match[1], record, coords, match[2], place))
                for place, pixel in enumerate(pixels)
            ]
    if len(sky) != 2 or min(sky) < 0:
        msg = "it has no two axes of directions on the sky (coords.direction)"
        raise ImageError(msg, reason="no coordinates")
    others.sort(key=lambda axis: (axis.pixel < 0, axis.pixel))
    sizes = [shape[-1 - pixel] for pixel in sky]
    sizes += [shape[-1 - axis.pixel] if axis.pixel >= 0 else 1 for axis in others]
    return Axes(tuple(sizes), (sky[0], sky[1]), tuple(others), tuple(shape))


def cards_of(keywords: Mapping[str, Any], axes: Axes) -> fits.Header:
    """Return the header of an image.

    Raises
    ------
    ImageError
        If FITS cannot express its coordinates.
    """
    header = fits.Header()
    header["SIMPLE"] = True
    header["BITPIX"] = -32
    header["NAXIS"] = len(axes.sizes)
    for number, size in enumerate(axes.sizes, 1):
        header[f"NAXIS{number}"] = size
    header["EXTEND"] = True
    coords = keywords["coords"]
    header.update(_direction_cards(coords))
    for number, axis in enumerate(axes.others, 3):
        for key, value in axis.cards.items():
            header[key if key in {"RESTFRQ", "SPECSYS"} else f"{key}{number}"] = value
    header.update(_time_cards(coords.get("obsdate", {})))
    header.update(_beam_cards(keywords.get("imageinfo", {})))
    texts = {
        "TELESCOP": coords.get("telescope"),
        "OBSERVER": coords.get("observer"),
        "OBJECT": keywords.get("imageinfo", {}).get("objectname"),
        "BUNIT": keywords.get("units"),
    }
    header.update({key: _ascii(value) for key, value in texts.items() if _ascii(value)})
    return header


def beam_table(keywords: Mapping[str, Any]) -> bytes:
    """Beams of the planes as the table BEAMS that casacore writes into FITS; empty without any.

    casacore numbers the beams with the channel running fastest.
    """
    planes = keywords.get("imageinfo", {}).get("perplanebeams")
    if not planes:
        return b""
    n_channels, n_stokes = max(int(planes["nChannels"]), 1), max(int(planes["nStokes"]), 1)
    rows = []
    for number in range(n_channels * n_stokes):
        beam = planes[f"*{number}"]
        size = [_quantity(beam[key], "arcsec") for key in ("major", "minor")]
        angle = _quantity(beam["positionangle"], "deg")
        rows.append((*size, angle, number % n_channels, number // n_channels))
    kinds = [("BMAJ", "D", "arcsec"), ("BMIN", "D", "arcsec"), ("BPA", "D", "deg")]
    kinds += [("CHAN", "J", ""), ("POL", "J", "")]
    columns = [
        fits.Column(name, kind, unit or None, array=np.array(values))
        for (name, kind, unit), values in zip(kinds, zip(*rows, strict=True), strict=True)
    ]
    buffer = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns, name="BEAMS")]).writeto(
        buffer
    )
    return buffer.getvalue()[_BLOCK:]


def _direction_cards(coords: Mapping[str, Any]) -> dict[str, Any]:
    record = next(value for key, value in coords.items() if re.fullmatch(r"direction\d+", key))
    system, projection = str(record["system"]), str(record["projection"])
    if system not in _SYSTEMS:
        msg = f"its coordinates are in {system}; {', '.join(_SYSTEMS)} are supported"
        raise ImageError(msg, reason="coordinate system")
    longitude, latitude, frame, equinox = _SYSTEMS[system]
    cards: dict[str, Any] = {}
    for number, name in enumerate((longitude, latitude), 1):
        factor = u.Unit(record["units"][number - 1]).to(u.deg)
        cards[f"CTYPE{number}"] = f"{name}{projection}"
        cards[f"CRVAL{number}"] = float(record["crval"][number - 1]) * factor
        cards[f"CRPIX{number}"] = float(record["crpix"][number - 1]) + 1.0
        cards[f"CDELT{number}"] = float(record["cdelt"][number - 1]) * factor
        cards[f"CUNIT{number}"] = "deg"
        for other in (1, 2):
            cards[f"PC{number}_{other}"] = float(record["pc"][number - 1][other - 1])
    for number, value in enumerate(np.ravel(record.get("projection_parameters", [])), 1):
        cards[f"PV2_{number}"] = float(value)
    for key, name in (("longpole", "LONPOLE"), ("latpole", "LATPOLE")):
        if abs(float(record.get(key, 999.0))) <= 360.0:
            cards[name] = float(record[key])
    return cards | ({"RADESYS": frame} if frame else {}) | ({"EQUINOX": equinox} if equinox else {})


def _other_cards(
    kind: str, record: Mapping[str, Any], coords: Mapping[str, Any], number: str, place: int
) -> dict[str, Any]:
    """Cards of an axis; its value where it was taken out of the image."""
    if kind == "spectral":
        cards = _spectral_cards(record)
    elif kind == "stokes":
        cards = _stokes_cards(record)
    elif "crval" in record:
        cards = {
            "CTYPE": _ascii(record["axes"][place])[:8].upper() or "LINEAR",
            "CRVAL": float(record["crval"][place]),
            "CRPIX": float(record["crpix"][place]) + 1.0,
            "CDELT": float(record["cdelt"][place]),
        }
    else:
        cards = {"CTYPE": "TABULAR", "CRVAL": 0.0, "CRPIX": 1.0, "CDELT": 1.0}
    replaced = coords.get(f"worldreplace{number}")
    if int(coords[f"pixelmap{number}"][place]) < 0 and replaced is not None:
        value = float(replaced[place])
        # casacore counts the polarisations 5 to 12 where FITS has -1 to -8.
        cards |= {"CRPIX": 1.0} if kind == "stokes" else {"CRVAL": value, "CRPIX": 1.0}
    return cards


def _spectral_cards(record: Mapping[str, Any]) -> dict[str, Any]:
    factor = u.Unit(record["unit"]).to(u.Hz)
    if "wcs" in record:
        wcs = record["wcs"]
        value, step, reference = float(wcs["crval"]), float(wcs["cdelt"]), float(wcs["crpix"])
        step *= float(wcs.get("pc", 1.0))
    else:
        value, step, reference = _even(
            np.ravel(record["tabular"]["pixelvalues"]), np.ravel(record["tabular"]["worldvalues"])
        )
    cards = {
        "CTYPE": "FREQ",
        "CRVAL": value * factor,
        "CRPIX": reference + 1.0,
        "CDELT": step * factor,
        "CUNIT": "Hz",
    }
    if float(record.get("restfreq", 0.0)) > 0:
        cards["RESTFRQ"] = float(record["restfreq"]) * factor
    system = {"LSRK": "LSRK", "LSRD": "LSRD", "BARY": "BARYCENT", "TOPO": "TOPOCENT"}
    if record.get("system") in system:
        cards["SPECSYS"] = system[record["system"]]
    return cards


def _even(pixels: FloatArray, worlds: FloatArray) -> tuple[float, float, float]:
    """Value, step and reference pixel of a table of frequencies with even steps."""
    if len(worlds) < 2:
        return float(worlds[0]), 0.0, float(pixels[0])
    step = (worlds[-1] - worlds[0]) / (pixels[-1] - pixels[0])
    off = np.abs(worlds - worlds[0] - (pixels - pixels[0]) * step).max()
    if off > _PRECISION * abs(step):
        msg = (
            f"its channels are not evenly spaced: they are up to {off:g} Hz off steps of {step:g} "
            "Hz; write each as an image of its own"
        )
        raise ImageError(msg, reason="several planes")
    return float(worlds[0]), float(step), float(pixels[0])


def _stokes_cards(record: Mapping[str, Any]) -> dict[str, Any]:
    names = [str(name) for name in record["stokes"]]
    codes = [_STOKES.get(name, 0) for name in names]
    steps = {second - first for first, second in pairwise(codes)} or {1}
    if 0 in codes or len(steps) > 1:
        msg = (
            f"its Stokes axis holds {', '.join(names)}, which FITS cannot express in even steps; "
            "write each as an image of its own"
        )
        raise ImageError(msg, reason="bad Stokes")
    return {"CTYPE": "STOKES", "CRVAL": float(codes[0]), "CRPIX": 1.0, "CDELT": float(steps.pop())}


def _time_cards(obsdate: Mapping[str, Any]) -> dict[str, Any]:
    """Start of the observation in its own time scale; none where it is 0, which says unknown."""
    epoch = obsdate.get("m0")
    if epoch is None or float(epoch["value"]) == 0.0:
        return {}
    mjd = float(u.Quantity(epoch["value"], epoch["unit"]).to_value(u.day))
    if not _YEARS_MJD[0] < mjd < _YEARS_MJD[1]:
        return {}
    scale = str(obsdate.get("refer", "UTC")).upper()
    return {"DATE-OBS": date_of_mjd(mjd), "TIMESYS": _SCALES.get(scale, scale)}


def date_of_mjd(mjd: float) -> str:
    """Date and time of a modified Julian day, to the microsecond, in the scale of the day."""
    return (_MJD_0 + timedelta(days=mjd)).isoformat(timespec="microseconds")


def _beam_cards(info: Mapping[str, Any]) -> dict[str, Any]:
    if info.get("perplanebeams"):
        return {"CASAMBM": True}
    beam = info.get("restoringbeam")
    if not beam:
        return {}
    keys = {"BMAJ": "major", "BMIN": "minor", "BPA": "positionangle"}
    return {key: _quantity(beam[name], "deg") for key, name in keys.items()}


def _quantity(record: Mapping[str, Any], unit: str) -> float:
    return float(u.Quantity(float(record["value"]), record["unit"]).to_value(u.Unit(unit)))


def _ascii(value: object) -> str:
    """Text as a card can hold it."""
    text = str(value or "").encode("ascii", "replace").decode()
    return re.sub(r"[^ -~]", "?", text).strip()[:68]

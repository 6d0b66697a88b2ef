"""Variants of files: endings, compression, number formats, where the image is, cubes."""

from __future__ import annotations

import gzip
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from trap_ops.records.images import Beam
from trap_ops.simulate.headers_variant import (
    NX,
    NY,
    Variant,
    Write,
    plane_values,
    variant,
)

_FIRST_HZ, _STEP_HZ = 144e6, 2e6
_N_CHANNELS = 3
_CARDS_A_BLOCK = 36
_CUBE_CARDS: dict[str, Any] = {
    "RESTFRQ": None,
    "RESTBW": None,
    "CTYPE3": "FREQ",
    "CRVAL3": _FIRST_HZ,
    "CDELT3": _STEP_HZ,
    "CRPIX3": 1.0,
    "CUNIT3": "Hz",
    "CTYPE4": "STOKES",
    "CRVAL4": 1.0,
    "CDELT4": 1.0,
    "CRPIX4": 1.0,
    "CUNIT4": "",
}
_OTHER_ORDER: dict[str, Any] = {
    **{f"{key[:5]}4": value for key, value in _CUBE_CARDS.items() if key[5:] == "3"},
    **{f"{key[:5]}3": value for key, value in _CUBE_CARDS.items() if key[5:] == "4"},
    "RESTFRQ": None,
    "RESTBW": None,
}
_GZIP_TIME = re.compile(rb"(\x1f\x8b\x08\x00).{4}", re.DOTALL)
_ONE: dict[str, Any] = {"frequency_hz": _FIRST_HZ, "bandwidth_hz": _STEP_HZ}


def files() -> list[Variant]:
    """All of them."""
    return _forms() + _numbers() + _hdus() + _axes() + _cubes() + _beam_tables()


# ---- Forms of the file.


def _write_gzip(path: Path, header: fits.Header, data: NDArray[Any]) -> None:
    buffer = io.BytesIO()
    fits.PrimaryHDU(data, header).writeto(buffer)
    path.write_bytes(gzip.compress(buffer.getvalue(), mtime=0))


def _write_packed(kind: str, **options: Any) -> Write:  # noqa: ANN401 - options of astropy
    """As fpack does: the tiles of the image as rows of a table in HDU 1."""

    def write(path: Path, header: fits.Header, data: NDArray[Any]) -> None:
        packed = fits.CompImageHDU(data, header, compression_type=kind, **options)
        buffer = io.BytesIO()
        fits.HDUList([fits.PrimaryHDU(), packed]).writeto(buffer)
        # Each tile that gzip packed begins with the time at which it was.
        path.write_bytes(_GZIP_TIME.sub(rb"\1\0\0\0\0", buffer.getvalue()))

    return write


def _write_padded(place: int) -> Write:
    """With so many cards that END is at this place of a block, from 0."""

    def write(path: Path, header: fits.Header, data: NDArray[Any]) -> None:
        hdu = fits.PrimaryHDU(data, header)
        while len(hdu.header) % _CARDS_A_BLOCK != place:
            hdu.header.add_comment("one more card")
        hdu.writeto(path)

    return write


def _forms() -> list[Variant]:
    # Rice coding of floats keeps a fraction of the noise of each tile; these pixels are a ramp.
    lossless: dict[str, Any] = {"quantize_level": 0.0}
    return [
        variant("file-fits", "A plain .fits file"),
        variant("file-fit", "Ending .fit", ending=".fit"),
        variant("file-capitals", "Ending .FITS", ending=".FITS"),
        variant("file-end-first", "END is the first card of a block", how=_write_padded(0)),
        variant("file-end-last", "END is the last card of a block", how=_write_padded(35)),
        variant("file-gz", "Packed by gzip", ending=".fits.gz", how=_write_gzip),
        variant("file-fit-gz", "Ending .fit.gz", ending=".fit.gz", how=_write_gzip),
        variant(
            "file-fz-gzip",
            "Packed by fpack -g: no loss",
            ending=".fits.fz",
            how=_write_packed("GZIP_2", **lossless),
        ),
        variant(
            "file-fz-rice",
            "Packed by fpack, Rice coding of quantized floats: some loss",
            ending=".fits.fz",
            how=_write_packed("RICE_1", quantize_level=-1e-4),
            pixels_jy=1e-4,
        ),
        variant(
            "file-fz-four-axes",
            "A packed image of four axes",
            _CUBE_CARDS,
            data=plane_values()[np.newaxis, np.newaxis],
            ending=".fits.fz",
            how=_write_packed("GZIP_1", **lossless),
            **_ONE,
        ),
    ]


# ---- Formats of numbers.


def _write_scaled(path: Path, header: fits.Header, data: NDArray[Any]) -> None:
    """Write 16-bit integers with BSCALE, BZERO and BLANK, as AIPS does."""
    hdu = fits.PrimaryHDU(np.round(np.nan_to_num(data) * 64.0 - 100.0).astype(np.int16), header)
    hdu.data[np.isnan(data)] = -32768
    hdu.header["BSCALE"], hdu.header["BZERO"] = 1.0 / 64.0, 100.0 / 64.0
    hdu.header["BLANK"] = -32768
    buffer = io.BytesIO()
    hdu.writeto(buffer)
    path.write_bytes(buffer.getvalue())


def _numbers() -> list[Variant]:
    holes = plane_values()
    holes[:3, :5] = np.nan
    return [
        variant("pixels-double", "64-bit floats", data=plane_values().astype(np.float64)),
        variant(
            "pixels-int32",
            "32-bit integers",
            data=np.arange(NY * NX, dtype=np.int32).reshape(NY, NX),
            pixels=np.arange(NY * NX, dtype=np.float32).reshape(NY, NX),
        ),
        variant("pixels-nan", "NaN where there is nothing", data=holes, pixels=holes),
        variant(
            "pixels-scaled",
            "16-bit integers with BSCALE and BZERO, BLANK where there is nothing",
            data=holes,
            how=_write_scaled,
            pixels=holes,
        ),
        variant(
            "pixels-bscale-one", "BSCALE 1 and BZERO 0 of floats", {"BSCALE": 1.0, "BZERO": 0.0}
        ),
    ]


# ---- Where the image is in the file.


def _write_behind(*before: fits.hdu.base.ExtensionHDU, name: str = "") -> Write:
    """After an empty first HDU and others."""

    def write(path: Path, header: fits.Header, data: NDArray[Any]) -> None:
        image = fits.ImageHDU(data, header, name=name or None)
        fits.HDUList([fits.PrimaryHDU(), *(hdu.copy() for hdu in before), image]).writeto(path)

    return write


def _write_before(path: Path, header: fits.Header, data: NDArray[Any]) -> None:
    """The image, then tables: components of CLEAN, as AIPS and Obit write them."""
    fits.HDUList([fits.PrimaryHDU(data, header), _table("AIPS CC")]).writeto(path)


def _table(name: str) -> fits.BinTableHDU:
    flux = fits.Column("FLUX", "E", array=np.arange(3, dtype=np.float32))
    return fits.BinTableHDU.from_columns([flux], name=name)


def _hdus() -> list[Variant]:
    other = fits.ImageHDU(np.ones((NY, NX), dtype=np.float32), name="WEIGHT")
    return [
        variant("hdu-1", "The image in HDU 1, HDU 0 empty", how=_write_behind()),
        variant(
            "hdu-3",
            "The image in HDU 3, behind tables",
            how=_write_behind(_table("ONE"), _table("TWO")),
        ),
        variant("hdu-tables-behind", "Tables behind the image", how=_write_before),
        variant(
            "hdu-by-number",
            "Another image before it; the configuration says HDU 2",
            how=_write_behind(other),
            settings={"images": {"hdu": 2}},
        ),
        variant(
            "hdu-by-name",
            "Another image before it; the configuration says EXTNAME",
            how=_write_behind(other, _table("ONE"), name="SCI"),
            settings={"images": {"hdu": "SCI"}},
        ),
        variant(
            "hdu-by-name-absent",
            "The configuration names an HDU that is not there",
            how=_write_behind(other),
            settings={"images": {"hdu": "SCIENCE"}},
            refused=("SCIENCE",),
        ),
        variant(
            "hdu-none",
            "Nothing but tables",
            how=lambda path, header, data: fits.HDUList(  # noqa: ARG005 - no image is the point
                [fits.PrimaryHDU(), _table("ONE")]
            ).writeto(path),
            refused=("image",),
        ),
    ]


# ---- Axes.


def _axes() -> list[Variant]:
    flat = plane_values()
    three = {key: value for key, value in _CUBE_CARDS.items() if not key.endswith("4")}
    return [
        variant("axes-2", "Two axes"),
        variant("axes-3", "Three axes, the third FREQ", three, data=flat[None], **_ONE),
        variant("axes-4", "Four axes: FREQ, STOKES", _CUBE_CARDS, data=flat[None, None], **_ONE),
        variant(
            "axes-4-turned",
            "Four axes: STOKES, FREQ",
            _OTHER_ORDER,
            data=flat[None, None],
            **_ONE,
        ),
        variant(
            "axes-5",
            "Five axes, the last without a name",
            {**_CUBE_CARDS, "CTYPE5": "", "CRVAL5": 0.0, "CDELT5": 1.0, "CRPIX5": 1.0},
            data=flat[None, None, None],
            **_ONE,
        ),
    ]


# ---- Cubes.


def _cube(stokes: int = 1) -> NDArray[np.float32]:
    """Planes (stokes, channel, y, x), each with values of its own."""
    planes = [plane_values(number) for number in range(_N_CHANNELS * stokes)]
    return np.array(planes).reshape(stokes, _N_CHANNELS, NY, NX)


def _plane(channel: int, stokes: int = 0) -> dict[str, Any]:
    """What is true of one plane of a cube."""
    return {
        "frequency_hz": _FIRST_HZ + channel * _STEP_HZ,
        "bandwidth_hz": _STEP_HZ,
        "stokes": stokes + 1,
        "pixels": plane_values(stokes * _N_CHANNELS + channel),
    }


def _images(**settings: Any) -> dict[str, Any]:  # noqa: ANN401 - values of settings
    return {"images": settings}


def _cubes() -> list[Variant]:
    every = range(_N_CHANNELS)
    turned = np.swapaxes(_cube(2), 0, 1)
    return [
        variant(
            "cube-not-chosen",
            "Several channels and no choice: refused, with the choice explained",
            _CUBE_CARDS,
            data=_cube(),
            refused=("channels", "3"),
        ),
        variant(
            "cube-stokes-not-chosen",
            "Several Stokes parameters and no choice: refused, with the choice explained",
            _CUBE_CARDS,
            data=_cube(2)[:, :1],
            refused=("stokes", "2"),
        ),
        variant(
            "cube-one-channel",
            "The second of three channels",
            _CUBE_CARDS,
            data=_cube(),
            settings=_images(channels=[1]),
            planes=[_plane(1)],
        ),
        variant(
            "cube-some-channels",
            "Two of three channels",
            _CUBE_CARDS,
            data=_cube(),
            settings=_images(channels=[0, 2]),
            planes=[_plane(0), _plane(2)],
        ),
        variant(
            "cube-all-channels",
            "All channels",
            _CUBE_CARDS,
            data=_cube(),
            settings=_images(channels="all"),
            planes=[_plane(channel) for channel in every],
        ),
        variant(
            "cube-stokes-q",
            "Stokes Q of I and Q, of one channel",
            _CUBE_CARDS,
            data=_cube(2),
            settings=_images(channels=[1], stokes=["Q"]),
            planes=[_plane(1, 1)],
        ),
        variant(
            "cube-everything",
            "All channels of all Stokes parameters",
            _CUBE_CARDS,
            data=_cube(2),
            settings=_images(channels="all", stokes="all"),
            planes=[_plane(channel, stokes) for channel in every for stokes in range(2)],
        ),
        variant(
            "cube-turned",
            "Axes STOKES, FREQ; one channel of one Stokes parameter",
            _OTHER_ORDER,
            data=turned,
            settings=_images(channels=[2], stokes=["Q"]),
            planes=[_plane(2, 1)],
        ),
        variant(
            "cube-channel-absent",
            "A channel that is not there",
            _CUBE_CARDS,
            data=_cube(),
            settings=_images(channels=[7]),
            refused=("channel", "7"),
        ),
        variant(
            "cube-packed",
            "A packed cube, the third channel",
            _CUBE_CARDS,
            data=_cube(),
            ending=".fits.fz",
            how=_write_packed("GZIP_1", quantize_level=0.0),
            settings=_images(channels=[2]),
            planes=[_plane(2)],
        ),
    ]


# ---- Beams of channels, as CASA writes them.


def _write_with_beams(angle_unit: str, per_unit: float) -> Write:
    def write(path: Path, header: fits.Header, data: NDArray[Any]) -> None:
        beams = [_beam(channel) for channel in range(data.shape[1])]
        columns = [
            fits.Column("BMAJ", "E", angle_unit, array=[b.bmaj_deg * per_unit for b in beams]),
            fits.Column("BMIN", "E", angle_unit, array=[b.bmin_deg * per_unit for b in beams]),
            fits.Column("BPA", "E", "deg", array=[b.bpa_deg for b in beams]),
            fits.Column("CHAN", "J", array=np.arange(len(beams))),
            fits.Column("POL", "J", array=np.zeros(len(beams))),
        ]
        table = fits.BinTableHDU.from_columns(columns, name="BEAMS")
        table.header["NCHAN"], table.header["NPOL"] = len(beams), 1
        fits.HDUList([fits.PrimaryHDU(data, header), table]).writeto(path)

    return write


def _beam(channel: int) -> Beam:
    """Beams with values that 32-bit floats hold exactly, in degrees as in arcsec."""
    return Beam(0.03125 - channel / 1024.0, 0.015625, 10.0 + channel)


def _beam_tables() -> list[Variant]:
    cards = {**_CUBE_CARDS, "BMAJ": None, "BMIN": None, "BPA": None, "CASAMBM": True}
    made = [
        variant(
            f"beams-in-{name}",
            f"A beam for each channel in a table, in {unit}; the third channel",
            cards,
            data=_cube(),
            how=_write_with_beams(unit, factor),
            settings=_images(channels=[2]),
            planes=[{**_plane(2), "beam": _beam(2)}],
        )
        for name, unit, factor in (("arcsec", "arcsec", 3600.0), ("degrees", "deg", 1.0))
    ]
    made += [
        variant(
            "beams-of-all",
            "A beam for each channel, all channels",
            cards,
            data=_cube(),
            how=_write_with_beams("arcsec", 3600.0),
            settings=_images(channels="all"),
            planes=[{**_plane(channel), "beam": _beam(channel)} for channel in range(_N_CHANNELS)],
        ),
        variant(
            "beams-of-one",
            "A table of beams of an image with a single channel",
            cards,
            data=_cube()[:, :1],
            how=_write_with_beams("arcsec", 3600.0),
            planes=[{**_plane(0), "beam": _beam(0)}],
        ),
    ]
    return made

"""CASA image tables, made by casacore itself from FITS files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

pytest.importorskip("casacore.images", reason="python-casacore is not installed")

FOUR_AXES: dict[str, Any] = {
    "CTYPE1": "RA---SIN", "CRVAL1": 123.0, "CRPIX1": 10.0, "CDELT1": -0.01, "CUNIT1": "deg",
    "CTYPE2": "DEC--SIN", "CRVAL2": 33.0, "CRPIX2": 11.0, "CDELT2": 0.01, "CUNIT2": "deg",
    "CTYPE3": "STOKES", "CRVAL3": 1.0, "CRPIX3": 1.0, "CDELT3": 1.0,
    "CTYPE4": "FREQ", "CRVAL4": 1.4e9, "CRPIX4": 1.0, "CDELT4": 1e6, "CUNIT4": "Hz",
    "RADESYS": "FK5", "EQUINOX": 2000.0, "RESTFRQ": 1.42e9, "SPECSYS": "TOPOCENT",
    "BMAJ": 0.05, "BMIN": 0.03, "BPA": 20.0, "BUNIT": "Jy/beam",
    "TELESCOP": "VLA", "DATE-OBS": "2012-04-06T03:42:00.25", "TIMESYS": "UTC",
}  # fmt: skip
# Stokes and frequency the other way about.
PERMUTED: dict[str, Any] = {
    "CTYPE3": "FREQ", "CRVAL3": 1.4e9, "CDELT3": 1e6, "CUNIT3": "Hz",
    "CTYPE4": "STOKES", "CRVAL4": 1.0, "CDELT4": 1.0, "CUNIT4": None,
}  # fmt: skip


def planes(n_channels: int = 1, n_stokes: int = 1) -> np.ndarray:
    """Noise, (n_channels, n_stokes, 20, 30), with a hole."""
    made = np.random.default_rng(3).normal(size=(n_channels, n_stokes, 20, 30)).astype(np.float32)
    made[0, 0, 3, 4] = np.nan
    return made


def make_table(
    directory: Path,
    changes: dict[str, Any] | None = None,
    data: np.ndarray | None = None,
    beams: list[tuple[float, float, float]] | None = None,
) -> tuple[Path, Path]:
    """A table that casacore makes of a FITS file, and the FITS file that it makes of the table."""
    from casacore.images import image

    header = fits.Header()
    for key, value in (FOUR_AXES | (changes or {})).items():
        if value is not None:
            header[key] = value
    hdus = fits.HDUList([fits.PrimaryHDU(planes() if data is None else data, header)])
    if beams:
        hdus[0].header["CASAMBM"] = True
        kinds = zip(("BMAJ", "BMIN", "BPA"), ("arcsec", "arcsec", "deg"), strict=True)
        columns = [
            fits.Column(name, "E", unit, array=np.array(values))
            for (name, unit), values in zip(kinds, zip(*beams, strict=True), strict=True)
        ]
        numbers = np.arange(len(beams))
        columns += [
            fits.Column("CHAN", "J", array=numbers),
            fits.Column("POL", "J", array=0 * numbers),
        ]
        hdus.append(fits.BinTableHDU.from_columns(columns, name="BEAMS"))
        hdus[1].header.update({"NCHAN": len(beams), "NPOL": 1})
    hdus.writeto(directory / "in.fits")
    image(str(directory / "in.fits")).saveas(str(directory / "a.image"))
    image(str(directory / "a.image")).tofits(str(directory / "out.fits"), velocity=False)
    return directory / "a.image", directory / "out.fits"

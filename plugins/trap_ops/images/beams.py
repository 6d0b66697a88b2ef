"""The restoring beam of an image: a CASA beam table, keywords, or HISTORY."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from astropy import units as u
from astropy.io import fits

from trap_ops.config.headers import DEG_PER_UNIT, AssumeConfig, HeaderConfig
from trap_ops.errors import ImageError
from trap_ops.images.assumed import Assumed
from trap_ops.images.cards import Header
from trap_ops.images.keywords import number_of, split_unit
from trap_ops.images.planes import ChosenPlane
from trap_ops.images.structure import FitsFile, Hdu
from trap_ops.records.images import Beam

# No telescope makes others; a header that does is wrong.
_RANGE_DEG = (1e-10, 180.0)
# A beam for each of a million planes.
_TABLE_MAX_BYTES = 100_000_000


class BeamTable:
    """Beams of the planes of a CASA image (CASAMBM = T): table BEAMS, one row a plane.

    Parameters
    ----------
    beams : numpy.ndarray, (n, 5)
        Channel and polarisation from 0, full widths and position angle in degrees.
    """

    def __init__(self, beams: np.ndarray[Any, np.dtype[np.float64]]) -> None:
        self._beams = {(int(row[0]), int(row[1])): row[2:] for row in beams}

    def beam(self, channel: int, polarisation: int) -> Beam:
        """Beam of a plane.

        Raises
        ------
        ImageError
            If the table has none, or it is not a beam.
        """
        row = self._beams.get((channel, polarisation))
        if row is None:
            msg = (
                f"its table BEAMS has no beam for channel {channel}, polarisation {polarisation}; "
                "the beam must be known to measure fluxes"
            )
            raise ImageError(msg, reason="no beam", missing=["BEAMS"])
        return _checked(map(float, row), f"channel {channel} of its table BEAMS: ")


def read_beam_table(file: FitsFile, header: Header) -> BeamTable | None:
    """Read the table of beams of a CASA image; None where its header announces none, or it is away.

    Raises
    ------
    ImageError
        If the table is damaged.
    """
    if header.get("CASAMBM") is not True:
        return None
    for hdu in file.hdus():
        if hdu.header.text("EXTNAME").upper() == "BEAMS":
            file.check_whole(hdu)
            return BeamTable(_rows(file, hdu))
    return None


def read_beam(
    header: Header,
    rules: HeaderConfig,
    assumed: Assumed,
    table: BeamTable | None = None,
    chosen: ChosenPlane | None = None,
) -> Beam:
    """Return the beam of a plane: from the table if there is one, else from keywords or HISTORY.

    Raises
    ------
    ImageError
        If there is none, or it is not a beam (zero, negative, not finite, wider than the sky).
    """

    def written() -> Beam:
        if table is not None and chosen is not None:
            return table.beam(chosen.channel, chosen.polarisation)
        return _of_header(header, rules)

    found = assumed.instead("bmaj_deg", written, "no beam")
    if isinstance(found, AssumeConfig):
        sizes = (found.bmaj_deg or 0.0, found.bmin_deg or 0.0, found.bpa_deg or 0.0)
        assumed.notes.append("beam assumed: {:g} x {:g} deg at {:g} deg".format(*sizes))
        return _checked(sizes)
    return found


def _of_header(header: Header, rules: HeaderConfig) -> Beam:
    missing: list[str] = []
    for entries in rules.beam_deg:
        bmaj, bmin, bpa = (number_of(header, entry, DEG_PER_UNIT) for entry in entries)
        if bpa is None and bmaj == bmin:
            bpa = 0.0  # A round beam has no position angle.
        if bmaj is not None and bmin is not None and bpa is not None:
            return _checked((bmaj, bmin, bpa))
        keys = [split_unit(entry)[0] for entry in entries]
        absent = [k for k, v in zip(keys, (bmaj, bmin, bpa), strict=True) if v is None]
        missing = missing or absent
    history = "\n".join(line.rstrip() for line in header.history)
    for expression in rules.beam_history:
        for match in re.finditer(expression, history):
            values = [_number(match[name]) for name in ("bmaj", "bmin", "bpa")]
            if None not in values:
                return _checked(value or 0.0 for value in values)
    msg = (
        f"its header has no {', '.join(missing)}, and its HISTORY no beam; the beam must be known "
        "to measure fluxes: say it in images.assume"
    )
    raise ImageError(msg, reason="no beam", missing=missing)


def _number(text: str) -> float | None:
    """Number as Fortran writes it too."""
    try:
        value = float(text.replace("d", "e").replace("D", "e"))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _checked(values: Iterable[float], where: str = "") -> Beam:
    bmaj, bmin, bpa = values
    smallest, largest = _RANGE_DEG
    if not (smallest <= min(bmaj, bmin) and max(bmaj, bmin) <= largest and math.isfinite(bpa)):
        msg = (
            f"its beam is not a beam: {where}BMAJ = {bmaj}, BMIN = {bmin}, BPA = {bpa} deg; "
            f"full widths are from {smallest:g} to {largest:g} deg"
        )
        raise ImageError(msg, reason="bad beam")
    return Beam(max(bmaj, bmin), min(bmaj, bmin), bpa if bmaj >= bmin else bpa + 90.0)


def _rows(file: FitsFile, hdu: Hdu) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Channel, polarisation, widths and angle in degrees of each row of a table of beams."""
    if hdu.data_size > _TABLE_MAX_BYTES:
        msg = f"its table BEAMS has {hdu.data_size} bytes, more than any image has beams"
        raise ImageError(msg, reason="bad beam table")
    padded = [
        part + fill * (-len(part) % 2880)
        for part, fill in (
            (hdu.raw + b"END".ljust(80), b" "),
            (file.read(hdu.data_start, hdu.data_size), b"\0"),
        )
    ]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            table = fits.BinTableHDU.fromstring(b"".join(padded))
            columns = [
                np.asarray(table.data[name], dtype=np.float64) * _degrees(table.columns, name)
                for name in ("CHAN", "POL", "BMAJ", "BMIN", "BPA")
            ]
            return np.stack(columns, axis=1)
    except Exception as error:
        msg = f"its table BEAMS cannot be read: {' '.join(str(error).split())}"
        raise ImageError(msg, reason="bad beam table") from error


def _degrees(columns: Sequence[Any], name: str) -> float:
    """Factor of a column to degrees; 1 for what is no angle, arcsec as in CASA without a unit."""
    if name in {"CHAN", "POL"}:
        return 1.0
    unit = next(column.unit for column in columns if column.name == name)
    usual = u.deg if name == "BPA" else u.arcsec
    return float((u.Unit(unit) if unit else usual).to(u.deg))

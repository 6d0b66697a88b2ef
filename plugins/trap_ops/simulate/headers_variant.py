"""One made-up image file: its header as some telescope would write it, and what is true of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from trap_ops.records.images import ArrayInfo, Beam
from trap_ops.simulate.headers_sky import Placing, SkyPosition

Pixels = NDArray[np.float32]
# Writes a file from a header and its pixels, which may have more than two axes.
Write = Callable[[Path, fits.Header, NDArray[Any]], None]

NY, NX = 24, 32
START = datetime(2012, 4, 6, 3, 42)  # noqa: DTZ001 - the store keeps UTC without zone
INTEGRATION_S = 600.0
FREQUENCY_HZ = 150e6
BANDWIDTH_HZ = 2e6
BEAM = Beam(30.0 / 3600.0, 20.0 / 3600.0, 40.0)
STOKES_I = 1
_PLAIN = Placing()


@cache
def _plain_sky() -> tuple[tuple[SkyPosition, ...], float]:
    return _PLAIN.positions(), _PLAIN.north_deg


@dataclass(frozen=True)
class Expected:
    """What is true of one image, by construction.

    Attributes
    ----------
    telescope : str
    start : datetime
        UTC, without a zone.
    integration_s, frequency_hz, bandwidth_hz : float
    beam : Beam
        Its position angle from ICRS north.
    stokes : int
        1 to 4: I, Q, U, V.
    positions : tuple of SkyPosition
    position_mas : float
        How far a position may be off.
    matrix_deg : tuple of tuple of float or None
        Degrees (east, north) per pixel (x, y); None where it changes over the image.
    pixels : numpy.ndarray of float32, (ny, nx)
        Jy/beam.
    pixels_jy : float
        How far a pixel may be off: 0 but for lossy compression.
    bandwidth_rtol : float
        How far the bandwidth may be off, relative.
    bpa_tol_deg : float
        How far the beam's position angle may be off.
    array : ArrayInfo
    notes : tuple of str
        Words that the notes must have: what is missing, and assumed. Without any there is no note.
    """

    telescope: str
    start: datetime
    integration_s: float
    frequency_hz: float
    bandwidth_hz: float
    beam: Beam
    stokes: int
    positions: tuple[SkyPosition, ...]
    position_mas: float
    matrix_deg: tuple[tuple[float, float], tuple[float, float]] | None
    pixels: Pixels
    pixels_jy: float = 0.0
    bandwidth_rtol: float = 1e-6
    bpa_tol_deg: float = 1e-8
    array: ArrayInfo = field(default_factory=ArrayInfo)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Variant:
    """A made-up image file.

    Attributes
    ----------
    name : str
        Unique; letters, digits and hyphens.
    what : str
        What is special about it, in words.
    telescope : str
        TELESCOP; empty where the header has none.
    file_name : str
        Name with its ending, which tells the form of the file.
    settings : mapping
        Settings of the run that it needs: ``{section: {key: value}}``.
    expected : tuple of Expected
        One an image; none where the file is to be refused.
    refused : tuple of str
        Words of the reason for that.
    """

    name: str
    what: str
    telescope: str
    file_name: str
    expected: tuple[Expected, ...]
    header: fits.Header = field(repr=False)
    data: NDArray[Any] = field(repr=False)
    how: Write = field(repr=False)
    settings: Mapping[str, Any] = field(default_factory=dict)
    refused: tuple[str, ...] = ()

    def write(self, directory: Path) -> Path:
        """Write the file, and return where it is. Equal variants give equal bytes."""
        path = directory / self.file_name
        self.how(path, self.header.copy(), self.data)
        return path


def plane_values(number: int = 0) -> Pixels:
    """Pixels that tell where they are, and in which plane: exact in every format."""
    values = np.arange(NY * NX, dtype=np.float32).reshape(NY, NX) / 64.0
    return np.asarray(values + 16.0 * number, dtype=np.float32)


def write_primary(path: Path, header: fits.Header, data: NDArray[Any]) -> None:
    """Write the image as the first HDU, the plainest form."""
    fits.PrimaryHDU(data, header).writeto(path)


def base_cards(placing: Placing) -> dict[str, Any]:
    """Every keyword that an image needs, in the plainest form."""
    return {
        **placing.cards(),
        "EQUINOX": 2000.0,
        "BMAJ": BEAM.bmaj_deg,
        "BMIN": BEAM.bmin_deg,
        "BPA": BEAM.bpa_deg,
        "BUNIT": "JY/BEAM",
        "TELESCOP": "SIMULATION",
        "DATE-OBS": "2012-04-06T03:42:00",
        "TIMESYS": "UTC",
        "EXPTIME": INTEGRATION_S,
        "RESTFRQ": FREQUENCY_HZ,
        "RESTBW": BANDWIDTH_HZ,
    }


def as_header(cards: Mapping[str, Any], history: Sequence[str] = ()) -> fits.Header:
    """Make a header of cards; those that are None are left out."""
    header = fits.Header()
    for key, value in cards.items():
        if value is not None:
            header[key] = value
    for line in history:
        header.add_history(line)
    return header


def variant(
    name: str,
    what: str,
    changes: Mapping[str, Any] | None = None,
    *,
    placing: Placing | None = None,
    history: Sequence[str] = (),
    data: NDArray[Any] | None = None,
    how: Write = write_primary,
    ending: str = ".fits",
    settings: Mapping[str, Any] | None = None,
    refused: tuple[str, ...] = (),
    planes: Sequence[Mapping[str, Any]] = ({},),
    whole: bool = False,
    **truth: Any,  # noqa: ANN401 - fields of Expected
) -> Variant:
    """Make a variant from what differs from the plainest image.

    Parameters
    ----------
    name, what : str
    changes : mapping, optional
        Cards; None takes one out.
    placing : Placing, optional
    history : sequence of str
    data : numpy.ndarray, optional
        Pixels as they are in the file.
    how : callable
        Writes the file.
    ending : str
    settings : mapping, optional
    refused : tuple of str
        Words of the reason; then no image is expected.
    planes : sequence of mapping
        What is true of each image of the file beyond ``truth``.
    whole : bool
        Whether ``changes`` are the whole header.
    **truth
        What is true of all of them, where it differs from the plainest image. The beam's angle is
        that of the file, from the north of its frame.
    """
    placing = placing or _PLAIN
    cards = dict(changes or {}) if whole else {**base_cards(placing), **(changes or {})}
    header = as_header(cards, history)
    telescope = str(cards.get("TELESCOP") or "")
    positions, north = (
        _plain_sky() if placing is _PLAIN else (placing.positions(), placing.north_deg)
    )
    turn = np.radians(north)
    to_icrs = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    rows = [(float(of_x), float(of_y)) for of_x, of_y in to_icrs @ placing.matrix_deg]
    plain = Expected(
        telescope=telescope,
        start=START,
        integration_s=INTEGRATION_S,
        frequency_hz=FREQUENCY_HZ,
        bandwidth_hz=BANDWIDTH_HZ,
        beam=BEAM,
        stokes=STOKES_I,
        positions=positions,
        position_mas=1.0,
        matrix_deg=(rows[0], rows[1]),
        pixels=plane_values(),
    )
    truths = [replace(plain, **{**truth, **plane}) for plane in planes]
    expected = tuple(replace(one, beam=_turned(one.beam, north)) for one in truths)
    return Variant(
        name=name,
        what=what,
        telescope=telescope,
        file_name=f"{name}{ending}",
        expected=() if refused else expected,
        header=header,
        data=plane_values() if data is None else data,
        how=how,
        settings=settings or {},
        refused=refused,
    )


def _turned(beam: Beam, north_deg: float) -> Beam:
    """Count the position angle from ICRS north. That of a round beam has no meaning."""
    return replace(beam, bpa_deg=beam.bpa_deg + north_deg)

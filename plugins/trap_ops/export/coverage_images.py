"""Which images of a dataset a question about its coverage is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from trap_ops.errors import ConfigError
from trap_ops.export import wording
from trap_ops.records.images import Band, ImageRow
from trap_ops.records.names import one_line
from trap_ops.store import datasets, images, regions

_MJD_ZERO = datetime(1858, 11, 17)  # noqa: DTZ001 - all times are UTC without a zone


@dataclass(frozen=True)
class Wanted:
    """What images must be to be taken; None and empty: anything.

    Attributes
    ----------
    names : tuple of str
        File names or paths.
    band : float or None
        A frequency in the band, Hz, or the band's id.
    stokes : int or None
        FITS code.
    first, last : datetime or None
        Range of the starts, UTC, both ends included.
    """

    names: tuple[str, ...] = ()
    band: float | None = None
    stokes: int | None = None
    first: datetime | None = None
    last: datetime | None = None


@dataclass(frozen=True)
class Chosen:
    """Images of a dataset in canonical order, and the bands they are in, by id."""

    dataset_id: int
    rows: list[ImageRow]
    bands: dict[int, Band]


def choose_images(connection: Connection, dataset: str, wanted: Wanted) -> Chosen:
    """Find the images that are wanted, whatever their verdict.

    Raises
    ------
    ConfigError
        If there is no such band, or a name is of no image or of several; the message lists what
        there is.
    StoreError
        If there is no such dataset.
    """
    found = datasets.dataset_id(connection, dataset)
    ids, bands = regions.load_bands(connection, found, in_use=True)
    known = dict(zip(ids, bands, strict=True))
    rows = images.images_of(connection, found)
    if wanted.names:
        named = {_by_name(rows, name, dataset) for name in wanted.names}
        rows = [row for row in rows if row.id in named]
    if wanted.band is not None:
        band = _band_id(known, wanted.band, dataset)
        rows = [row for row in rows if row.band == band]
    rows = [
        row
        for row in rows
        if wanted.stokes in {None, row.stokes}
        and (wanted.first is None or row.start >= wanted.first)
        and (wanted.last is None or row.start <= wanted.last)
    ]
    if not rows:
        msg = f"dataset {dataset!r} has no image with this band, Stokes and time"
        raise ConfigError(msg, dataset=dataset)
    return Chosen(found, rows, known)


def mjd(time: datetime) -> float:
    """Return a time as a modified Julian date."""
    return (time - _MJD_ZERO) / timedelta(days=1)


def _by_name(rows: Sequence[ImageRow], name: str, dataset: str) -> int:
    found = [
        row
        for row in rows
        if name in {row.path, row.file_name, row.plane.name_in(row.path), row.shown_name}
    ]
    if len(found) == 1:
        return found[0].id
    shown = one_line(name)
    if not found:
        msg = f"dataset {dataset!r} has no image {shown!r}; write its file name or its path"
        raise ConfigError(msg, name=name)
    paths = "\n  ".join(one_line(row.plane.name_in(row.path)) for row in found)
    msg = (
        f"{len(found)} images are called {shown!r}; write the one you want as it stands here:\n"
        f"  {paths}"
    )
    raise ConfigError(msg, name=name)


def _band_id(bands: dict[int, Band], wanted: float, dataset: str) -> int:
    """Id of the band with this id, or else of the one with this frequency nearest its centre."""
    if wanted in bands:
        return int(wanted)
    near = [i for i, band in bands.items() if band.low_hz <= wanted <= band.high_hz]
    if near:
        return min(near, key=lambda i: abs(bands[i].central_hz - wanted))
    listed = ", ".join(
        f"{i} ({wording.frequency(band.low_hz)} to {wording.frequency(band.high_hz)})"
        for i, band in bands.items()
    )
    msg = (
        f"dataset {dataset!r} has no band {wanted:.10g}: write one of its ids, or a frequency in "
        f"Hz; its bands are {listed or 'none'}"
    )
    raise ConfigError(msg, band=wanted)

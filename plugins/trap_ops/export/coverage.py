"""Coverage of a dataset as files: MOCs, and depth maps in HEALPix cells."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import numpy as np
from astropy.io import fits
from mocpy import MOC
from sqlalchemy import Connection

from trap_ops.errors import ConfigError
from trap_ops.export.coverage_images import Chosen, Wanted, choose_images, mjd
from trap_ops.export.report import safe_name
from trap_ops.records.images import Band, Coverage, ImageRow
from trap_ops.science.sky_cells import cell_area_deg2, moc_of_cells, nearest_order
from trap_ops.science.sky_depth import DepthMap, Exposure, SkyDepth
from trap_ops.store import images
from trap_ops.store.database import Store
from trap_ops.store.outcomes import ACCEPTED

# What HEALPix maps have where there is no number.
BAD_DATA = -1.6375e30
_STOKES = {1: "I", 2: "Q", 3: "U", 4: "V"}

# Told how many of how many steps are done: two an image.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class WrittenFile:
    """A file that was written, and what is in it."""

    path: Path
    kind: str
    images: int
    order: int
    area_deg2: float


@dataclass(frozen=True)
class CoverageFiles:
    """What was written, and accepted images that no file has: they are not extracted yet."""

    files: list[WrittenFile]
    missing: list[str]


@dataclass(frozen=True)
class _Group:
    """Images that share a depth map, in canonical order.

    Attributes
    ----------
    name, band_name : str
        Names of the files of these images, and of all images of the band, without their ends.
    """

    name: str
    band_name: str
    band: Band
    stokes: int
    rows: list[ImageRow]

    @property
    def cards(self) -> dict[str, str | int | float]:
        """What a map says of its images."""
        freq = ("FREQ", self.band.central_hz)
        return dict([*_cards(self.rows).items(), ("STOKES", _stokes(self.stokes)), freq])


class _Steps:
    """Counts steps and tells how many are done."""

    def __init__(self, total: int, progress: Progress) -> None:
        self._done, self._total, self._progress = 0, total, progress

    def count(self) -> None:
        """Count one more."""
        self._done += 1
        self._progress(self._done, self._total)


def write_coverage(
    store: Store,
    dataset: str,
    wanted: Wanted,
    directory: Path,
    order: int | None = None,
    progress: Progress = lambda _done, _total: None,
) -> CoverageFiles:
    """Write what the accepted images of a dataset cover, in place of earlier files.

    Parameters
    ----------
    store : Store
    dataset : str
        Its name.
    wanted : Wanted
        With names, each of these images gets a MOC and a map of its own.
    directory : Path
        Names of files are changed where they could mean something to a file system.
    order : int, optional
        HEALPix order; by default that of cells about half as wide as the minor axis of the smallest
        beam of a band and Stokes.
    progress : callable

    Returns
    -------
    CoverageFiles
        A depth map for each band and Stokes, a MOC for each band and one of all.

    Raises
    ------
    ConfigError
        If no accepted image is wanted, there would be too many cells, or the directory cannot be
        written.
    """
    files: list[WrittenFile] = []
    missing: list[str] = []
    of_band: dict[str, list[tuple[_Group, MOC]]] = {}
    # One view: a run may be writing meanwhile.
    with store.read() as connection:
        chosen = choose_images(connection, dataset, wanted)
        groups = _groups(dataset, chosen, one_each=bool(wanted.names))
        steps = _Steps(2 * sum(len(group.rows) for group in groups), progress)
        for asked in groups:
            footprints = _footprints(connection, asked.rows, steps)
            shown = {row.id for rows in footprints.values() for row in rows}
            missing += [row.shown_name for row in asked.rows if row.id not in shown]
            if not shown:
                continue
            group = replace(asked, rows=[row for row in asked.rows if row.id in shown])
            depth = _depth(connection, group, footprints.values(), order, steps)
            moc = moc_of_cells(depth.cells, depth.order)
            files.append(_write_depth(directory, group, depth))
            of_band.setdefault(group.band_name, []).append((group, moc))
    for name, parts in of_band.items():
        files.append(_write_moc(directory, name, parts))
    every = [part for parts in of_band.values() for part in parts]
    if every and not wanted.names:
        files.append(_write_moc(directory, safe_name(dataset), every))
    return CoverageFiles(files, missing)


def _groups(dataset: str, chosen: Chosen, *, one_each: bool) -> list[_Group]:
    rows = [row for row in chosen.rows if row.verdict == ACCEPTED]
    if not rows:
        msg = (
            f"dataset {dataset!r} has no accepted image among the {len(chosen.rows)} that are "
            "wanted; rejected ones cover nothing"
        )
        raise ConfigError(msg, dataset=dataset)
    if one_each:
        names = _distinct({row.id: safe_name(row.shown_name) for row in rows})
        return [
            _Group(names[row.id], names[row.id], chosen.bands[row.band], row.stokes, [row])
            for row in rows
        ]
    shared: dict[tuple[int, int], list[ImageRow]] = {}
    for row in rows:
        shared.setdefault((row.band, row.stokes), []).append(row)
    bands = {band: chosen.bands[band] for band, _ in shared}
    names = _distinct({i: f"{band.central_hz / 1e6:.6g}MHz" for i, band in bands.items()})
    groups = []
    for band, stokes in sorted(shared, key=lambda key: (bands[key[0]].central_hz, *key)):
        name = f"{safe_name(dataset)}.{names[band]}"
        one = _Group(f"{name}.{_stokes(stokes)}", name, bands[band], stokes, shared[band, stokes])
        groups.append(one)
    return groups


def _footprints(
    connection: Connection, rows: Sequence[ImageRow], steps: _Steps
) -> dict[bytes, list[ImageRow]]:
    """Images by what they cover: many have the same, and their cells are looked up once."""
    found: dict[bytes, list[ImageRow]] = {}
    for row in rows:
        coverage = images.load_coverage(connection, row.id)
        steps.count()
        if coverage is not None:
            found.setdefault(_key(coverage), []).append(row)
    return found


def _depth(
    connection: Connection,
    group: _Group,
    footprints: Iterable[Sequence[ImageRow]],
    order: int | None,
    steps: _Steps,
) -> SkyDepth:
    if order is None:
        # Half of the minor axis is what the tables have.
        order = nearest_order(min(row.beam_semiminor_deg for row in group.rows))
    gathered = DepthMap(order)
    for rows in footprints:
        coverage = images.load_coverage(connection, rows[0].id)
        if coverage is not None:
            gathered.add(coverage, _exposures(connection, rows, steps))
    return gathered.result()


def _exposures(
    connection: Connection, rows: Sequence[ImageRow], steps: _Steps
) -> Iterator[Exposure]:
    for row in rows:
        grid = images.load_noise(connection, row.id).grid
        steps.count()
        yield Exposure(grid, mjd(row.start), row.integration_s)


def _key(coverage: Coverage) -> bytes:
    """Digest of the pixels that are used and where they are; the beam does not matter here."""
    shape = f"{coverage.nx} {coverage.ny} {coverage.wcs}"
    return hashlib.sha256(shape.encode() + b"\0" + coverage.changes).digest()


def _write_depth(directory: Path, group: _Group, depth: SkyDepth) -> WrittenFile:
    def column(name: str, values: np.ndarray, unit: str | None = None) -> fits.Column:
        whole = values.dtype.kind == "i"
        known = values if whole else np.where(np.isnan(values), BAD_DATA, values)
        return fits.Column(name, "K" if whole else "D", unit=unit, array=known)

    table = fits.BinTableHDU.from_columns(
        [
            column("PIXEL", depth.cells),
            column("N_IMAGES", depth.n_images),
            column("RMS_MIN", depth.rms_min_jy, "Jy/beam"),
            column("RMS_COMBINED", depth.rms_combined_jy, "Jy/beam"),
            column("EXPOSURE_S", depth.exposure_s, "s"),
            column("FIRST_MJD", depth.first_mjd, "d"),
            column("LAST_MJD", depth.last_mjd, "d"),
        ],
        name="DEPTH",
    )
    nside = 1 << depth.order
    table.header.update(
        {
            "PIXTYPE": ("HEALPIX", "HEALPix cells"),
            "ORDERING": ("NESTED", "order of the cells"),
            "NSIDE": (nside, "2**MOCORDER"),
            "MOCORDER": (depth.order, "HEALPix order"),
            "FIRSTPIX": 0,
            "LASTPIX": 12 * nside**2 - 1,
            "INDXSCHM": ("EXPLICIT", "cells are named in column PIXEL"),
            "OBJECT": ("PARTIAL", "a part of the sky"),
            "OBS_NPIX": (len(depth.cells), "number of cells"),
            "COORDSYS": ("C", "ICRS"),
            "BAD_DATA": (BAD_DATA, "stands where there is no number"),
            "TIMESYS": "UTC",
            **group.cards,
        }
    )
    path = directory / f"{group.name}.depth.fits"
    with _beside(path) as beside:
        table.writeto(beside)
    return WrittenFile(
        path, "depth", len(group.rows), depth.order, len(depth.cells) * cell_area_deg2(depth.order)
    )


def _write_moc(directory: Path, name: str, parts: Sequence[tuple[_Group, MOC]]) -> WrittenFile:
    moc = parts[0][1].union(*(moc for _, moc in parts[1:])) if len(parts) > 1 else parts[0][1]
    rows = [row for group, _ in parts for row in group.rows]
    path = directory / f"{name}.moc.fits"
    with _beside(path) as beside:
        # As numbers NUNIQ, which MOC 2.0 allows and programs for MOC 1.1 read too.
        moc.save(beside, format="fits", v1_compatible=True, fits_keywords=_cards(rows))
    area = moc.sky_fraction * 12.0 * cell_area_deg2(0)
    return WrittenFile(path, "MOC", len(rows), moc.max_order, area)


def _cards(rows: Sequence[ImageRow]) -> dict[str, str | int | float]:
    ends = [row.start + timedelta(seconds=row.integration_s) for row in rows]
    return {
        "N_IMAGES": len(rows),
        "DATE-BEG": min(row.start for row in rows).isoformat(),
        "DATE-END": max(ends).isoformat(),
    }


def _distinct(names: Mapping[int, str]) -> dict[int, str]:
    """Add the id to names that several have."""
    number = Counter(names.values())
    return {i: f"{name}-{i}" if number[name] > 1 else name for i, name in names.items()}


def _stokes(code: int) -> str:
    return _STOKES.get(code, f"stokes{code}")


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """Give a path to write to; then it takes the place of an earlier file, whole or not at all."""
    # Another process may write the same file.
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            beside.unlink(missing_ok=True)
            yield beside
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        msg = (
            f"{path} cannot be written ({error.strerror}); make the directory writable, make room, "
            "or choose another one with --output"
        )
        raise ConfigError(msg, path=str(path)) from error

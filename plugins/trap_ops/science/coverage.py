"""Where an image shows the sky: the pixels that its sources were searched in, by position."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning

from trap_ops.records.arrays import FloatArray, IntArray, Mask
from trap_ops.records.images import Coverage
from trap_ops.science.beam import axis_ends
from trap_ops.science.sky_plane import to_pixels

_NINE = np.arange(9)


class Sight(StrEnum):
    """What an image has at a position.

    ``EDGE``: a pixel that is used, but not all pixels about it that a source would need.
    ``MASKED``: a pixel that is not used, for want of data or by the margin or radius of the
    extraction. ``OUTSIDE``: no pixel.
    """

    SHOWN = "shown"
    EDGE = "edge"
    MASKED = "masked"
    OUTSIDE = "outside"


@dataclass(frozen=True)
class Look:
    """What an image has at positions; all arrays have shape (n,).

    Attributes
    ----------
    x, y : numpy.ndarray
        0-based pixels; NaN where the projection has none.
    used : numpy.ndarray of bool
        Whether the pixel that holds the position is used: then it is covered.
    sight : tuple of Sight, (n,)
    """

    x: FloatArray
    y: FloatArray
    used: Mask
    sight: tuple[Sight, ...]


def make_coverage(mask: Mask, beam_covariance_px: FloatArray, wcs: WCS) -> Coverage:
    """Describe what an image shows.

    Parameters
    ----------
    mask : numpy.ndarray of bool, (ny, nx)
        True where pixels are not used: :func:`trap_ops.science.masks.pixel_mask`.
    beam_covariance_px : numpy.ndarray, (2, 2)
    wcs : astropy.wcs.WCS
        Of the image: two celestial axes.
    """
    flat = mask.ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    if not flat[0]:
        changes = np.concatenate([[0], changes])
    ny, nx = mask.shape
    return Coverage(
        wcs=wcs.to_header_string(relax=True),
        nx=nx,
        ny=ny,
        beam_covariance_px=tuple(np.asarray(beam_covariance_px, dtype=np.float64).ravel().tolist()),
        changes=changes.astype("<i8").tobytes(),
    )


def shows(coverage: Coverage, ra_deg: FloatArray, dec_deg: FloatArray) -> Mask:
    """Whether an image would show a point source at each position, (n,).

    It would if it has the nine nearest pixels, which a forced fit needs, and those around the ends
    of the beam's axes, which a detection needs: sources nearer to the edge are not detected.
    """
    x, y = to_pixels(wcs_of(coverage), ra_deg, dec_deg)
    on_sky = np.isfinite(x + y)
    x, y = np.where(on_sky, x, -9.0), np.where(on_sky, y, -9.0)
    # Far outside is outside, however far: no integer holds all of it.
    x, y = np.clip(x, -9.0, coverage.nx + 9.0), np.clip(y, -9.0, coverage.ny + 9.0)
    beam = np.array(coverage.beam_covariance_px).reshape(2, 2)
    end_columns, end_rows = axis_ends(x, y, np.broadcast_to(beam, (len(x), 2, 2)))
    columns = np.rint(x).astype(np.intp)[:, None] + _NINE % 3 - 1
    rows = np.rint(y).astype(np.intp)[:, None] + _NINE // 3 - 1
    needed = (
        np.concatenate([columns, end_columns], axis=1),
        np.concatenate([rows, end_rows], axis=1),
    )
    return np.asarray(_has_pixels(coverage, *needed).all(axis=1))


def covers(
    coverage: Coverage, ra_deg: FloatArray, dec_deg: FloatArray
) -> tuple[Mask, FloatArray, FloatArray]:
    """Whether each position falls on a pixel that is used, and its 0-based pixels, (n,) each.

    This is the area that an image covers. It is wider than where it :func:`shows` a source, which
    needs pixels about its position too.
    """
    x, y = to_pixels(wcs_of(coverage), ra_deg, dec_deg)
    columns, rows = _nearest(coverage, x, y)
    return _has_pixels(coverage, columns, rows), x, y


def look(coverage: Coverage, ra_deg: FloatArray, dec_deg: FloatArray) -> Look:
    """What an image has at each position, (n,)."""
    used, x, y = covers(coverage, ra_deg, dec_deg)
    shown = shows(coverage, ra_deg, dec_deg)
    columns, rows = _nearest(coverage, x, y)
    inside = (columns >= 0) & (columns < coverage.nx) & (rows >= 0) & (rows < coverage.ny)
    kinds = np.select([shown, used, inside], [0, 1, 2], 3)
    names = (Sight.SHOWN, Sight.EDGE, Sight.MASKED, Sight.OUTSIDE)
    return Look(x, y, used, tuple(names[kind] for kind in kinds.tolist()))


def used_pixels(coverage: Coverage) -> Mask:
    """Return the pixels that are used, (ny, nx): the inverse of the mask it was made of."""
    changes = np.frombuffer(coverage.changes, dtype="<i8")
    bounds = np.concatenate([[0], changes, [coverage.nx * coverage.ny]])
    flags = np.arange(len(bounds) - 1) % 2 == 1
    return np.repeat(flags, np.diff(bounds)).reshape(coverage.ny, coverage.nx)


def wcs_of(coverage: Coverage) -> WCS:
    """Axes of an image, read once for a pointing, however many images it has."""
    return _read_wcs(coverage.wcs)


@lru_cache(maxsize=256)
def _read_wcs(cards: str) -> WCS:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        return WCS(fits.Header.fromstring(cards))


def _nearest(coverage: Coverage, x: FloatArray, y: FloatArray) -> tuple[IntArray, IntArray]:
    """Column and row of the pixel that holds each position; -9 where there is none."""
    on_sky = np.isfinite(x + y)
    # Far outside is outside, however far: no integer holds all of it.
    columns = np.rint(np.clip(np.where(on_sky, x, -9.0), -9.0, coverage.nx + 9.0))
    rows = np.rint(np.clip(np.where(on_sky, y, -9.0), -9.0, coverage.ny + 9.0))
    return columns.astype(np.intp), rows.astype(np.intp)


def _has_pixels(coverage: Coverage, columns: IntArray, rows: IntArray) -> Mask:
    nx, ny = coverage.nx, coverage.ny
    inside = (columns >= 0) & (columns < nx) & (rows >= 0) & (rows < ny)
    changes = np.frombuffer(coverage.changes, dtype="<i8")
    place = np.searchsorted(changes, np.where(inside, rows * nx + columns, 0), side="right")
    return np.asarray(inside & (place % 2 == 1))

"""Detections and catalogues to associate."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trap_ops.records.sources import Detections
from trap_ops.science.catalogue import Catalogue, first_positions

ARCSEC = 1.0 / 3600.0


def detections(
    ra_deg: npt.ArrayLike,
    dec_deg: npt.ArrayLike,
    sigma_arcsec: npt.ArrayLike = 10.0,
    *,
    sigma_ns_arcsec: npt.ArrayLike | None = None,
    peak_jy: npt.ArrayLike = 1.0,
    flux_err_jy: npt.ArrayLike = 0.01,
    first_id: int = 1,
) -> Detections:
    """Detections with ids counting up, and the same error on both axes if not said otherwise."""
    ra, dec = (axis.copy() for axis in np.broadcast_arrays(*np.atleast_1d(ra_deg, dec_deg)))
    ra, dec = ra.astype(float), dec.astype(float)
    ew = np.broadcast_to(np.asarray(sigma_arcsec, float), ra.shape) * ARCSEC
    ns = ew if sigma_ns_arcsec is None else np.full(ra.shape, sigma_ns_arcsec) * ARCSEC
    return Detections(
        id=np.arange(first_id, first_id + len(ra)),
        ra_deg=ra,
        dec_deg=dec,
        sigma_ew_deg=ew.copy(),
        sigma_ns_deg=ns.copy(),
        ra_err_deg=ew * 0.5,
        dec_err_deg=ns * 0.25,
        peak_jy=np.broadcast_to(np.asarray(peak_jy, float), ra.shape).copy(),
        flux_jy=np.broadcast_to(np.asarray(peak_jy, float), ra.shape).copy(),
        flux_err_jy=np.broadcast_to(np.asarray(flux_err_jy, float), ra.shape).copy(),
        flags=np.zeros(ra.shape, dtype=np.int64),
    )


def catalogue_of(found: Detections, stokes: int = 1) -> Catalogue:
    """A catalogue with one source a detection."""
    catalogue = Catalogue()
    n = len(found)
    catalogue.append(
        found.id,
        first_positions(found, np.arange(n)),
        np.full(n, stokes),
        np.zeros(n, dtype=np.int64),
        np.zeros(n, dtype=np.int64),
        np.full(n, -1),
        catalogue.new_names(found),
    )
    return catalogue

"""Background, rms, model and residual of an image, as FITS images."""

from __future__ import annotations

import io

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from trap_ops.records.arrays import Image
from trap_ops.records.images import Beam
from trap_ops.science.background import upsample
from trap_ops.science.extraction import Extraction
from trap_ops.science.model_image import add_gaussians

MAPS = ("background", "rms", "model", "residual")


def make_map(kind: str, pixels: Image, extraction: Extraction) -> Image:
    """Return a map of the size of an image; NaN where pixels were not used.

    Parameters
    ----------
    kind : str
        ``background``, ``rms``, ``model`` (the fitted Gaussians) or ``residual`` (the image less
        background and model).
    pixels : numpy.ndarray of float32, (ny, nx)
    extraction : Extraction
        Of this image.
    """
    ny, nx = pixels.shape
    grid = extraction.noise.grid
    if kind == "rms":
        made = upsample(grid.rms, grid, 0, ny, nx)
    elif kind == "background":
        made = upsample(grid.background, grid, 0, ny, nx)
    else:
        found = extraction.measurements
        made = np.zeros((ny, nx), dtype=np.float32)
        add_gaussians(made, found.x, found.y, found.peak, found.shape_covariance)
        if kind == "residual":
            made = pixels - upsample(grid.background, grid, 0, ny, nx) - made
    return np.where(extraction.mask, np.float32(np.nan), made)


def as_fits_image(pixels: Image, wcs: WCS, beam: Beam) -> bytes:
    """Return an image in Jy/beam with its place on the sky (ICRS) and its beam."""
    header = wcs.to_header()
    header["BUNIT"] = "Jy/beam"
    header["BMAJ"], header["BMIN"], header["BPA"] = beam.bmaj_deg, beam.bmin_deg, beam.bpa_deg
    buffer = io.BytesIO()
    fits.PrimaryHDU(pixels, header).writeto(buffer)
    return buffer.getvalue()

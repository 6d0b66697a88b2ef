"""An image's pixels, beam and field, from what its header says."""

from __future__ import annotations

import math

import numpy as np

from trap_ops.records.arrays import FloatArray
from trap_ops.records.images import Beam, Geometry, ImageFile
from trap_ops.science.beam import beam_covariance
from trap_ops.science.coordinates import separation, wrap_ra


def geometry(file: ImageFile) -> Geometry:
    """Pixel sizes, half widths of the beam, centre and reach of an image.

    A corner that is off the sky makes the field reach 90 deg: it shows a whole hemisphere.
    """
    (east_x, east_y), (north_x, north_y) = file.pixel_matrix_deg
    deltax = math.copysign(math.hypot(east_x, north_x), east_x or -1.0)
    deltay = math.copysign(math.hypot(east_y, north_y), north_y or 1.0)
    ra, dec = np.array(file.sky_ra_deg), np.array(file.sky_dec_deg)
    distance = separation(ra[0], dec[0], ra[1:], dec[1:])
    return Geometry(
        deltax_deg=deltax,
        deltay_deg=deltay,
        beam_semimajor_deg=file.beam.bmaj_deg / 2.0,
        beam_semiminor_deg=file.beam.bmin_deg / 2.0,
        centre_ra_deg=float(wrap_ra(ra[0])),
        centre_dec_deg=float(dec[0]),
        corner_distance_deg=float(distance.max()) if np.isfinite(distance).all() else 90.0,
    )


def pixel_beam(beam: Beam, pixel_matrix_deg: FloatArray) -> FloatArray:
    """Covariance of a beam over pixel offsets (x, y), (2, 2)."""
    return beam_covariance(beam.bmaj_deg, beam.bmin_deg, beam.bpa_deg, pixel_matrix_deg)

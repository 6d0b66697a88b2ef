"""Measurements in one image."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag
from typing import Any, Self

import numpy as np

from trap_ops.records.arrays import FloatArray, Ids, IntArray, Mask


class Flag(IntFlag):
    """What is special about a measurement."""

    EDGE = 1  # pixels of the footprint are masked or outside the image
    BLEND = 2  # fitted together with neighbours
    POOR_FIT = 4  # residuals six times larger (squared) than noise leaves
    NOT_FITTED = 8  # no fit converged: moments of the pixels, with errors by rule
    RESOLVED = 16  # larger than the beam, by the free fit
    CONTAMINATED = 32  # more than one sigma of a neighbour's light was subtracted
    MASKED = 64  # pixels of the footprint are in the image, and masked
    SHAPE_HELD = 128  # the shape was to be fitted, and no shape within bounds fits: the beam's
    SPLIT = 256  # part of a blend with one peak, which beams fit better than one Gaussian
    NEGATIVE = 512  # below the background


@dataclass(frozen=True)
class Sources:
    """Sources of one image; all arrays (n,) unless said.

    Attributes
    ----------
    ra_deg, dec_deg : numpy.ndarray
    vectors : numpy.ndarray, (n, 3)
        Unit vectors of the positions.
    ra_fit_err_deg, dec_fit_err_deg : numpy.ndarray
        Errors of the fit; of right ascension as a coordinate.
    ra_err_deg, dec_err_deg : numpy.ndarray
        With the systematic part.
    sigma_ew_deg, sigma_ns_deg : numpy.ndarray
        Angles on the sky, with the systematic part; association uses these.
    error_radius_arcsec : numpy.ndarray
    ew_sys_err_arcsec, ns_sys_err_arcsec : float
    semimajor_arcsec, semiminor_arcsec, pa_deg : numpy.ndarray
        Half widths of the (fitted or held) Gaussian, position angle north through east.
    deconvolved_semimajor_arcsec, deconvolved_semiminor_arcsec, deconvolved_pa_deg : numpy.ndarray
        The same without the beam; 0 where it is no wider than the beam, then without an angle
        (NaN).
    semimajor_err_arcsec, semiminor_err_arcsec, pa_err_deg : numpy.ndarray
    deconvolved_semimajor_err_arcsec, deconvolved_semiminor_err_arcsec : numpy.ndarray
    deconvolved_pa_err_deg : numpy.ndarray
        Errors of these; NaN where the shape was not fitted, or there is no size.
    peak_jy, peak_err_jy, flux_jy, flux_err_jy : numpy.ndarray
        Peak in Jy/beam; integrated flux in Jy.
    snr, chisq, reduced_chisq : numpy.ndarray
    rms_jy, background_jy : numpy.ndarray
        Jy/beam, at the position.
    x_px, y_px : numpy.ndarray
        From 0.
    resolved_sigma : numpy.ndarray
        Significance of being larger than the beam.
    flags : numpy.ndarray of int
        See :class:`Flag`.
    fit_type : numpy.ndarray of int
        1 Gaussian, 0 moments.
    """

    ra_deg: FloatArray
    dec_deg: FloatArray
    vectors: FloatArray
    ra_fit_err_deg: FloatArray
    dec_fit_err_deg: FloatArray
    ra_err_deg: FloatArray
    dec_err_deg: FloatArray
    sigma_ew_deg: FloatArray
    sigma_ns_deg: FloatArray
    error_radius_arcsec: FloatArray
    ew_sys_err_arcsec: float
    ns_sys_err_arcsec: float
    semimajor_arcsec: FloatArray
    semiminor_arcsec: FloatArray
    pa_deg: FloatArray
    deconvolved_semimajor_arcsec: FloatArray
    deconvolved_semiminor_arcsec: FloatArray
    deconvolved_pa_deg: FloatArray
    semimajor_err_arcsec: FloatArray
    semiminor_err_arcsec: FloatArray
    pa_err_deg: FloatArray
    deconvolved_semimajor_err_arcsec: FloatArray
    deconvolved_semiminor_err_arcsec: FloatArray
    deconvolved_pa_err_deg: FloatArray
    peak_jy: FloatArray
    peak_err_jy: FloatArray
    flux_jy: FloatArray
    flux_err_jy: FloatArray
    snr: FloatArray
    chisq: FloatArray
    reduced_chisq: FloatArray
    rms_jy: FloatArray
    background_jy: FloatArray
    x_px: FloatArray
    y_px: FloatArray
    resolved_sigma: FloatArray
    flags: Ids
    fit_type: Ids

    def __len__(self) -> int:
        """Count the sources."""
        return len(self.ra_deg)

    def take(self, items: IntArray | Mask) -> Self:
        """Return some of the sources."""
        taken: dict[str, Any] = {
            name: value[items] if isinstance(value, np.ndarray) else value
            for name, value in vars(self).items()
        }
        return type(self)(**taken)


@dataclass(frozen=True)
class Detections:
    """Blind detections of one image as association needs them; all arrays (n,).

    Attributes
    ----------
    id : numpy.ndarray of int
    ra_deg, dec_deg : numpy.ndarray
    sigma_ew_deg, sigma_ns_deg : numpy.ndarray
        Position uncertainties with their systematic part (``uncertainty_ew``, ``uncertainty_ns``).
    ra_err_deg, dec_err_deg : numpy.ndarray
        Errors of the coordinates; only averaged.
    peak_jy : numpy.ndarray
    flux_jy, flux_err_jy : numpy.ndarray
        Integrated.
    flags : numpy.ndarray of int
        See :class:`Flag`.
    """

    id: Ids
    ra_deg: FloatArray
    dec_deg: FloatArray
    sigma_ew_deg: FloatArray
    sigma_ns_deg: FloatArray
    ra_err_deg: FloatArray
    dec_err_deg: FloatArray
    peak_jy: FloatArray
    flux_jy: FloatArray
    flux_err_jy: FloatArray
    flags: Ids

    def __len__(self) -> int:
        """Count the detections."""
        return len(self.id)

    def take(self, items: IntArray) -> Self:
        """Return some of the detections."""
        return type(self)(**{name: value[items] for name, value in vars(self).items()})

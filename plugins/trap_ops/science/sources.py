"""Measurements of one image as they are stored: on the sky, with all errors."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from astropy.wcs import WCS

from trap_ops.records.arrays import FloatArray
from trap_ops.records.sources import Flag, Sources
from trap_ops.science.coordinates import ra_inflation, unit_vectors
from trap_ops.science.deconvolution import deconvolve
from trap_ops.science.forced_fits import ForcedFits
from trap_ops.science.measurement import Measurements
from trap_ops.science.sky_plane import SkyMeasurements, to_sky

# Stored in place of an infinite error radius, arcsec.
_INFINITE_ERROR_RADIUS = 360.0
# With the errors "auto" the systematic position error is this fraction of the beam's major axis.
_AUTO_SYSTEMATIC_BEAMS = 0.1
GAUSSIAN, MOMENTS = 1, 0


def systematic_error_arcsec(setting: str | float, beam_semimajor_deg: float) -> float:
    """Return the systematic position error: the setting, or 0.1 beam major axes if it is ``auto``.

    The beam is given by its semi axis (HWHM), the fraction is of its full width.
    """
    if isinstance(setting, str):
        return _AUTO_SYSTEMATIC_BEAMS * 2.0 * beam_semimajor_deg * 3600.0
    return setting


def blind_sources(
    measurements: Measurements,
    wcs: WCS,
    beam_covariance_px: FloatArray,
    ew_sys_err_arcsec: float,
    ns_sys_err_arcsec: float,
) -> Sources:
    """Place blind measurements on the sky, in canonical order (dec, then ra).

    Those off the sky, or without finite flux errors, are left out.
    """
    sky = to_sky(
        wcs,
        measurements.x,
        measurements.y,
        measurements.position_covariance,
        measurements.shape_covariance,
        measurements.shape_error,
    )
    not_fitted = (measurements.flags & Flag.NOT_FITTED) > 0
    intrinsic = to_sky(
        wcs,
        measurements.x,
        measurements.y,
        measurements.position_covariance,
        deconvolve(measurements.shape_covariance, beam_covariance_px),
        measurements.shape_error,
    )
    sources = _sources(
        sky,
        intrinsic,
        ew_sys_err_arcsec,
        ns_sys_err_arcsec,
        peak_jy=measurements.peak,
        peak_err_jy=measurements.peak_err,
        flux_jy=measurements.flux,
        flux_err_jy=measurements.flux_err,
        snr=measurements.snr,
        chisq=measurements.chisq,
        reduced_chisq=measurements.reduced_chisq,
        rms_jy=measurements.rms,
        background_jy=measurements.background,
        x_px=measurements.x,
        y_px=measurements.y,
        resolved_sigma=measurements.resolved_sigma,
        flags=measurements.flags,
        fit_type=np.where(not_fitted, MOMENTS, GAUSSIAN),
    )
    usable = (
        np.isfinite(sources.ra_deg + sources.dec_deg)
        & np.isfinite(sources.flux_err_jy + sources.peak_err_jy)
        & np.isfinite(sky.error_radius_arcsec)
    )
    kept = sources.take(usable)
    return kept.take(np.lexsort((kept.ra_deg, kept.dec_deg)))


def forced_sources(
    fits: ForcedFits,
    ra_deg: FloatArray,
    dec_deg: FloatArray,
    x: FloatArray,
    y: FloatArray,
    wcs: WCS,
    beam_covariance_px: FloatArray,
    ew_sys_err_arcsec: float,
    ns_sys_err_arcsec: float,
) -> Sources:
    """Place forced fits on the sky: at the requested positions, not at the pixels' rounding.

    The position was not measured. Its error is what a detection of this signal-to-noise ratio would
    have, and a beam's sigma where there is none.
    """
    n = len(ra_deg)
    significance = np.maximum(np.abs(fits.peak / fits.peak_err), 1.0)
    shape = np.broadcast_to(beam_covariance_px, (n, 2, 2))
    sky = to_sky(wcs, x, y, shape / significance[:, None, None] ** 2, shape)
    point = to_sky(wcs, x, y, shape, np.zeros_like(shape))
    exact = SkyMeasurements(**{**vars(sky), "ra_deg": ra_deg, "dec_deg": dec_deg})
    return _sources(
        exact,
        point,
        ew_sys_err_arcsec,
        ns_sys_err_arcsec,
        peak_jy=fits.peak,
        peak_err_jy=fits.peak_err,
        flux_jy=fits.peak,
        flux_err_jy=fits.peak_err,
        snr=fits.snr,
        chisq=fits.chisq,
        reduced_chisq=fits.reduced_chisq,
        rms_jy=fits.rms,
        background_jy=fits.background,
        x_px=x,
        y_px=y,
        resolved_sigma=np.full(n, np.nan),
        flags=np.zeros(n, dtype=np.int64),
        fit_type=np.full(n, GAUSSIAN),
    )


def _sources(
    sky: SkyMeasurements,
    intrinsic: SkyMeasurements,
    ew_sys_err_arcsec: float,
    ns_sys_err_arcsec: float,
    **measured: npt.NDArray[np.generic],
) -> Sources:
    finite = np.isfinite(sky.error_radius_arcsec)
    radius = np.where(finite, sky.error_radius_arcsec, _INFINITE_ERROR_RADIUS)
    systematic_ra = ra_inflation(ew_sys_err_arcsec / 3600.0, sky.dec_deg)
    return Sources(
        ra_deg=sky.ra_deg,
        dec_deg=sky.dec_deg,
        vectors=unit_vectors(sky.ra_deg, sky.dec_deg),
        ra_fit_err_deg=sky.ra_fit_err_deg,
        dec_fit_err_deg=sky.dec_fit_err_deg,
        ra_err_deg=np.hypot(sky.ra_fit_err_deg, systematic_ra),
        dec_err_deg=np.hypot(sky.dec_fit_err_deg, ns_sys_err_arcsec / 3600.0),
        sigma_ew_deg=np.hypot(ew_sys_err_arcsec, radius) / 3600.0,
        sigma_ns_deg=np.hypot(ns_sys_err_arcsec, radius) / 3600.0,
        error_radius_arcsec=radius,
        ew_sys_err_arcsec=ew_sys_err_arcsec,
        ns_sys_err_arcsec=ns_sys_err_arcsec,
        semimajor_arcsec=sky.semimajor_arcsec,
        semiminor_arcsec=sky.semiminor_arcsec,
        pa_deg=sky.pa_deg,
        semimajor_err_arcsec=sky.semimajor_err_arcsec,
        semiminor_err_arcsec=sky.semiminor_err_arcsec,
        pa_err_deg=sky.pa_err_deg,
        deconvolved_semimajor_arcsec=intrinsic.semimajor_arcsec,
        deconvolved_semiminor_arcsec=intrinsic.semiminor_arcsec,
        deconvolved_pa_deg=np.where(
            intrinsic.semimajor_arcsec > intrinsic.semiminor_arcsec, intrinsic.pa_deg, np.nan
        ),
        deconvolved_semimajor_err_arcsec=intrinsic.semimajor_err_arcsec,
        deconvolved_semiminor_err_arcsec=intrinsic.semiminor_err_arcsec,
        deconvolved_pa_err_deg=intrinsic.pa_err_deg,
        **measured,  # type: ignore[arg-type]
    )

"""Measure all peaks of an image: positions, fluxes, shapes and the covariance of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trap_ops.records.arrays import FloatArray, Ids, Image, IntArray, Mask
from trap_ops.records.images import Autocorrelation, NoiseGrid
from trap_ops.records.sources import Flag
from trap_ops.science.background import noise_at
from trap_ops.science.beam import area_of_covariance
from trap_ops.science.component_fits import (
    ComponentFits,
    Scene,
    component_moments,
    fit_components,
)
from trap_ops.science.detection import Peaks
from trap_ops.science.footprints import MAX_GROUP, group_components
from trap_ops.science.gaussian_fit import N_FREE, N_HELD
from trap_ops.science.splitting import changed_components, split_components


@dataclass(frozen=True)
class Measurements:
    """Components of one image on the pixel plane; all arrays have shape (n,) unless said.

    Attributes
    ----------
    x, y : numpy.ndarray
        0-based pixels.
    position_covariance : numpy.ndarray, (n, 2, 2)
        Of (x, y), pixels squared.
    peak, peak_err : numpy.ndarray
        Peak brightness, units of the image.
    flux, flux_err : numpy.ndarray
        Integrated flux, units of the image times beams.
    shape_covariance : numpy.ndarray, (n, 2, 2)
        Covariance of the fitted (or held) Gaussian over pixel offsets, pixels squared.
    shape_error : numpy.ndarray, (n, 3, 3)
        Covariance of the elements xx, xy, yy of that, pixels to the fourth; NaN where the shape was
        not fitted.
    background, rms : numpy.ndarray
        At the peak pixel, units of the image.
    snr : numpy.ndarray
        Highest pixel over the local rms.
    chisq, reduced_chisq : numpy.ndarray
        Sum of squared residuals over rms squared; the same per independent pixel.
    resolved_sigma : numpy.ndarray
        Significance of being larger than the beam: logarithm of the area ratio over its error.
    island : numpy.ndarray of int
    flags : numpy.ndarray of int
        See :class:`Flag`.
    """

    x: FloatArray
    y: FloatArray
    position_covariance: FloatArray
    peak: FloatArray
    peak_err: FloatArray
    flux: FloatArray
    flux_err: FloatArray
    shape_covariance: FloatArray
    shape_error: FloatArray
    background: FloatArray
    rms: FloatArray
    snr: FloatArray
    chisq: FloatArray
    reduced_chisq: FloatArray
    resolved_sigma: FloatArray
    island: IntArray
    flags: Ids

    def __len__(self) -> int:
        """Count the components."""
        return len(self.x)

    def take(self, items: npt.NDArray[np.generic]) -> Measurements:
        """Return some of the components."""
        return Measurements(**{name: value[items] for name, value in vars(self).items()})


def measure_peaks(
    data: Image,
    mask: Mask | None,
    grid: NoiseGrid,
    peaks: Peaks,
    beam_covariance_px: npt.ArrayLike,
    correlation: Autocorrelation,
    *,
    detection_sigma: float,
    analysis_sigma: float,
    force_beam: bool,
    split_blends: bool,
    resolved_limit_sigma: float,
) -> Measurements:
    """Fit Gaussians to all peaks, blended ones together.

    Parameters
    ----------
    data, mask : numpy.ndarray, (ny, nx)
    grid : NoiseGrid
    peaks : Peaks
    beam_covariance_px : array_like, (2, 2)
    correlation : Autocorrelation
        Of the noise; errors follow from it.
    detection_sigma : float
        What both parts of a component that is split must reach.
    analysis_sigma : float
        Threshold that bounds the islands; tells how many pixels a point source would cover.
    force_beam : bool
        Report fluxes and positions with the beam's shape held; the free fit then only says which
        components are resolved.
    split_blends : bool
        Replace components that several beams fit better by these.
    resolved_limit_sigma : float
        Significance at which a component is flagged as resolved.
    """
    beam = np.asarray(beam_covariance_px, dtype=np.float64)
    background, rms = noise_at(grid, peaks.x, peaks.y)
    scene = Scene(
        data=data,
        mask=mask,
        peaks=peaks,
        beam=beam,
        correlation=correlation,
        background=background,
        rms=rms,
        group=group_components(peaks.x, peaks.y, beam),
        analysis_sigma=analysis_sigma,
        grid=grid,
        split=np.zeros(len(peaks), dtype=bool),
    )
    held = fit_components(scene, shape_free=False)
    free = fit_components(scene, shape_free=True, start=held)
    resolved_sigma = _resolved_significance(free, beam)
    changed = np.ones(len(peaks), dtype=bool)
    for _ in range(MAX_GROUP - 1 if split_blends else 0):
        split = split_components(scene, free, resolved_sigma, detection_sigma, changed)
        if split is None:
            break
        changed = changed_components(scene, split)
        held, free = held.moved(split.source), free.moved(split.source)
        new = np.isfinite(split.parameters).all(axis=1)
        for fits in (held, free):
            fits.parameters[new] = split.parameters[new]
            fits.good[new] = True
        scene = split.scene
        held = fit_components(scene, shape_free=False, start=held, changed=changed)
        free = fit_components(scene, shape_free=True, start=free, changed=changed)
        resolved_sigma = _resolved_significance(free, beam)
    if force_beam:
        chosen, shape_held = held, np.zeros(len(scene.peaks), dtype=bool)
    else:
        # What is no beam either is left to moments.
        shape_held = held.good & (scene.split | (~free.good & ~held.poor))
        chosen = _prefer(free, held, shape_held)
    return _collect(scene, chosen, shape_held, resolved_sigma, resolved_limit_sigma)


def _resolved_significance(free: ComponentFits, beam: FloatArray) -> FloatArray:
    """Logarithm of (fitted area over beam area) divided by its error; NaN without a fit.

    The area does not depend on which axis is called the major one, so noise does not bias it.
    """
    q_xx, q_xy, q_yy = (
        free.parameters[:, 3],
        free.parameters[:, 4],
        free.parameters[:, 5],
    )
    determinant = q_xx * q_yy - q_xy**2
    with np.errstate(invalid="ignore", divide="ignore"):
        log_ratio = -0.5 * np.log(determinant * np.linalg.det(beam))
        gradient = np.stack([-q_yy, 2.0 * q_xy, -q_xx], axis=1) / (2.0 * determinant[:, None])
        variance = (gradient[:, None, :] @ free.covariance[:, 3:, 3:] @ gradient[:, :, None])[
            :, 0, 0
        ]
        significance = log_ratio / np.sqrt(variance)
    return np.where(free.good, significance, np.nan)


def _prefer(free: ComponentFits, held: ComponentFits, failed: Mask) -> ComponentFits:
    """The free fit, or, where that failed, the one with the beam's shape."""
    covariance = free.covariance.copy()
    covariance[failed] = 0.0
    covariance[failed, :N_HELD, :N_HELD] = held.covariance[failed]
    excess = free.excess.copy()
    excess[failed] = 0.0
    excess[failed, :N_HELD] = held.excess[failed]

    def pick(first: npt.NDArray, second: npt.NDArray) -> npt.NDArray:  # type: ignore[type-arg]
        return np.where(failed.reshape(-1, *[1] * (first.ndim - 1)), second, first)

    return ComponentFits(
        parameters=pick(free.parameters, held.parameters),
        covariance=covariance,
        excess=excess,
        chi2=pick(free.chi2, held.chi2),
        n_pixels=pick(free.n_pixels, held.n_pixels),
        good=pick(free.good, held.good),
        poor=pick(free.poor, held.poor),
        edge=free.edge | held.edge,
        masked=free.masked | held.masked,
        contaminated=free.contaminated | held.contaminated,
    )


def _collect(
    scene: Scene,
    fits: ComponentFits,
    shape_held: Mask,
    resolved_sigma: FloatArray,
    resolved_limit_sigma: float,
) -> Measurements:
    peaks, beam = scene.peaks, scene.beam
    good = fits.good
    peak = np.where(good, fits.parameters[:, 0], peaks.value)
    x = np.where(good, fits.parameters[:, 1], peaks.x)
    y = np.where(good, fits.parameters[:, 2], peaks.y)
    shape = np.broadcast_to(beam, (len(peaks), 2, 2)).copy()
    q_xx, q_xy, q_yy = (
        fits.parameters[:, 3],
        fits.parameters[:, 4],
        fits.parameters[:, 5],
    )
    determinant = np.where(good, q_xx * q_yy - q_xy**2, 1.0)
    fitted = np.stack([np.stack([q_yy, -q_xy], 1), np.stack([-q_xy, q_xx], 1)], 1)
    shape[good] = (fitted / determinant[:, None, None])[good]
    ratio = np.sqrt(np.where(good, 1.0 / (determinant * np.linalg.det(beam)), 1.0))
    peak_variance = fits.covariance[:, 0, 0]
    # A shape that was held equals the beam to rounding only; then the flux is the peak exactly.
    held = fits.covariance.shape[1] == N_HELD
    if held:
        peak -= np.where(good, fits.excess[:, 0], 0.0)
        flux, flux_variance = peak.copy(), peak_variance
    else:
        flux_variance, flux_excess = _flux_moments(fits, peak * ratio)
        known = good & (flux_excess**2 < flux_variance) & (flux_excess < peak * ratio)
        flux = peak * ratio - np.where(known, flux_excess, 0.0)
        peak -= np.where(good, fits.excess[:, 0], 0.0)
    position = fits.covariance[:, 1:3, 1:3].copy()
    # Where nothing converged: moments, and without a pixel above the threshold what the pixel says,
    # its noise, and a beam over the signal-to-noise ratio.
    rule = beam * 2.0 / np.maximum(peaks.snr, 1.0)[:, None, None] ** 2
    position[~good] = rule[~good]
    peak_err = np.where(good, np.sqrt(np.where(good, peak_variance, 0.0)), scene.rms)
    flux_err = np.where(good, np.sqrt(np.where(good, flux_variance, 0.0)), 2.0 * scene.rms)
    for items, moments in component_moments(scene, ~good, force_beam=held):
        x[items], y[items], peak[items] = moments.x, moments.y, moments.peak
        position[items], shape[items] = moments.position_covariance, moments.shape_covariance
        peak_err[items], flux_err[items] = moments.peak_err, moments.flux_err
        flux[items] = moments.flux
    with np.errstate(invalid="ignore", divide="ignore"):
        per_beam = area_of_covariance(beam) * np.log(2.0) / fits.n_pixels
        reduced = fits.chi2 * per_beam
    flags = (
        Flag.EDGE * fits.edge.astype(np.int64)
        | Flag.BLEND * (np.bincount(scene.group)[scene.group] > 1).astype(np.int64)
        | Flag.POOR_FIT * fits.poor.astype(np.int64)
        | Flag.NOT_FITTED * (~good).astype(np.int64)
        | Flag.RESOLVED * (resolved_sigma > resolved_limit_sigma).astype(np.int64)
        | Flag.CONTAMINATED * fits.contaminated.astype(np.int64)
        | Flag.MASKED * fits.masked.astype(np.int64)
        | Flag.SHAPE_HELD * shape_held.astype(np.int64)
        | Flag.SPLIT * scene.split.astype(np.int64)
    )
    return Measurements(
        x=x,
        y=y,
        position_covariance=position,
        peak=peak,
        peak_err=peak_err,
        flux=flux,
        flux_err=flux_err,
        shape_covariance=shape,
        shape_error=_shape_error(fits, shape, good & ~shape_held),
        background=scene.background,
        rms=scene.rms,
        snr=peaks.snr,
        chisq=fits.chi2,
        reduced_chisq=reduced,
        resolved_sigma=resolved_sigma,
        island=peaks.island,
        flags=flags,
    )


def _shape_error(fits: ComponentFits, shape: FloatArray, fitted: Mask) -> FloatArray:
    """Covariance of the elements of ``M = Q^-1`` from that of Q: ``dM = -M dQ M``."""
    error = np.full((len(shape), 3, 3), np.nan)
    if fits.covariance.shape[1] == N_HELD:
        return error
    xx, xy, yy = (shape[fitted, i, j] for i, j in ((0, 0), (0, 1), (1, 1)))
    derivatives = -np.stack(
        [
            np.stack([xx * xx, 2.0 * xx * xy, xy * xy], axis=1),
            np.stack([xx * xy, xx * yy + xy * xy, xy * yy], axis=1),
            np.stack([xy * xy, 2.0 * xy * yy, yy * yy], axis=1),
        ],
        axis=1,
    )
    error[fitted] = derivatives @ fits.covariance[fitted, 3:, 3:] @ derivatives.swapaxes(1, 2)
    return error


def _flux_moments(fits: ComponentFits, flux: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Variance and mean excess of ``S = A sqrt(det shape / det beam)``.

    With g and H the first and second derivatives of S and e the mean excess of the parameters:
    ``g^T Cov g`` and ``g^T e + tr(H Cov) / 2``.
    """
    amplitude, q_xx, q_xy, q_yy = (fits.parameters[:, i] for i in (0, 3, 4, 5))
    n = len(flux)
    with np.errstate(invalid="ignore", divide="ignore"):
        determinant = q_xx * q_yy - q_xy**2
        # Derivatives of the logarithms of the amplitude and of this determinant.
        along = np.zeros((n, N_FREE))
        along[:, 0] = 1.0 / amplitude
        shape = np.zeros((n, N_FREE))
        shape[:, 3:] = np.stack([q_yy, -2.0 * q_xy, q_xx], axis=1)
        shape /= determinant[:, None]
        gradient = along - 0.5 * shape
        # H / S is the product of the gradients plus the second derivatives of the logarithm.
        second = gradient[:, :, None] * gradient[:, None, :]
        second += 0.5 * shape[:, :, None] * shape[:, None, :]
        second -= along[:, :, None] * along[:, None, :]
        second[:, 3, 5] -= 0.5 / determinant
        second[:, 5, 3] -= 0.5 / determinant
        second[:, 4, 4] += 1.0 / determinant
        variance = (gradient[:, None, :] @ fits.covariance @ gradient[:, :, None])[:, 0, 0]
        mean = (gradient * fits.excess).sum(axis=1)
        mean += 0.5 * (second * fits.covariance).sum(axis=(1, 2))
    return flux**2 * variance, flux * mean

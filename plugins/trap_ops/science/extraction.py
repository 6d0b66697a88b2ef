"""From the pixels of an image to its sources: masks, noise, detection, measurement."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from trap_ops.config.model import ExtractionConfig
from trap_ops.records.arrays import FloatArray, Image, Mask
from trap_ops.records.images import Autocorrelation, NoiseGrid, NoiseModel
from trap_ops.science.background import noise_grid, upsample
from trap_ops.science.beam import FWHM_PER_SIGMA, ellipse_of_covariance
from trap_ops.science.detection import Islands, find_islands, find_peaks, rms_range, threshold
from trap_ops.science.measurement import Measurements, measure_peaks
from trap_ops.science.noise import (
    gaussian_autocorrelation,
    measure_autocorrelation,
)

# Above this fraction of island pixels, background and rms are measured again without them: they
# bias the rms by 8 per cent at 1000 sources per megapixel (FINDERS, section 8).
_CROWDED_FRACTION = 0.03
# A beam this wide (FWHM, pixels) is sampled well enough by every second pixel.
_STRIDE_FWHM_PX = 5.0
# Side of the central square in which the autocorrelation of the noise is measured.
_NOISE_SIDE_PX = 512


@dataclass(frozen=True)
class Extraction:
    """Sources of an image and the noise they were measured against."""

    measurements: Measurements
    noise: NoiseModel


def pixel_mask(data: Image, margin_px: int, radius_px: float, beam_fwhm_px: float) -> Mask:
    """Pixels that must not be used: NaN, Inf, blank borders, the margin, outside the circle.

    Parameters
    ----------
    data : numpy.ndarray of float32, (ny, nx)
    margin_px : int
        The outer so many pixels on each side.
    radius_px : float
        Pixels at this distance or more from the image centre ((n - 1) / 2) are masked; 0: none.
    beam_fwhm_px : float
        A patch of exact zeros larger than this is blank, not data.

    Returns
    -------
    numpy.ndarray of bool, (ny, nx)
        True where masked.
    """
    ny, nx = data.shape
    mask = ~np.isfinite(data)
    zero = data == 0.0
    if np.count_nonzero(zero) >= beam_fwhm_px**2:
        side = max(3, math.ceil(beam_fwhm_px))
        mask |= ndimage.binary_opening(zero, structure=np.ones((side, side), dtype=bool))
    if margin_px > 0:
        mask[:margin_px] = mask[ny - margin_px :] = True
        mask[:, :margin_px] = mask[:, nx - margin_px :] = True
    if radius_px > 0:
        dx = np.arange(nx) - (nx - 1) / 2.0
        dy = np.arange(ny) - (ny - 1) / 2.0
        mask |= dx[None, :] ** 2 + dy[:, None] ** 2 >= radius_px**2
    return mask


def extract(
    data: Image, beam_covariance_px: npt.ArrayLike, config: ExtractionConfig
) -> Extraction | None:
    """Find and measure the sources of an image.

    Parameters
    ----------
    data : numpy.ndarray of float32, (ny, nx)
        Index 0 is y (FITS axis 2), index 1 is x (FITS axis 1). NaN and Inf are masked.
    beam_covariance_px : array_like, (2, 2)
        See :func:`trap_ops.science.beam.beam_covariance`.
    config : ExtractionConfig

    Returns
    -------
    Extraction or None
        None if no part of the image has enough valid pixels, or no noise at all, so that nothing
        can be measured against it. Components come in order of y, then x, of their peak pixel.
    """
    beam = np.asarray(beam_covariance_px, dtype=np.float64)
    ellipse = ellipse_of_covariance(beam)
    fwhm_px = math.sqrt(ellipse.fwhm_major_px * ellipse.fwhm_minor_px)
    masked = pixel_mask(data, config.margin_px, config.radius_px, fwhm_px)
    mask = masked if masked.any() else None
    cell_px = config.background_cell_px or config.background_cell_beams * fwhm_px
    stride = 2 if ellipse.fwhm_minor_px >= _STRIDE_FWHM_PX else 1
    grid = noise_grid(data, mask, cell_px, stride)
    if grid is None:
        return None
    islands = _islands(data, mask, grid, config)
    if _crowded(islands):
        sources = source_mask(islands, fwhm_px)
        if mask is not None:
            sources |= mask
        grid = noise_grid(data, sources, cell_px, stride) or grid
        islands = _islands(data, mask, grid, config)
    correlation = _correlation(data, mask, islands, grid, beam, config)
    factor = cell_bias(correlation, grid.step_x * grid.step_y)
    grid = replace(grid, rms=grid.rms / factor)
    rms_min, rms_max = rms_range(grid, mask, data.shape)
    islands = replace(islands, snr=islands.snr * factor)
    peaks = find_peaks(data, islands, grid, config.detection_threshold_sigma)
    measurements = measure_peaks(
        data,
        mask,
        grid,
        peaks,
        beam,
        correlation,
        analysis_sigma=config.analysis_threshold_sigma,
        force_beam=config.force_beam,
        resolved_limit_sigma=config.resolved_threshold_sigma,
    )
    kept = _axis_ends_valid(measurements, mask, data.shape)
    return Extraction(measurements.take(kept), NoiseModel(grid, correlation, rms_min, rms_max))


def cell_bias(correlation: Autocorrelation, cell_pixels: float) -> float:
    """Ratio by which the rms within a cell is too low, because few of its pixels are independent.

    A cell's own mean takes ``sum(acf) / n`` of the variance away; the median of nine cells lies
    below the mean of their variances by ``2/3 sum(acf^2) / n``, as for chi-squared laws.
    """
    mean_part = float(correlation.values.sum())
    median_part = 2.0 / 3.0 * float((correlation.values**2).sum())
    # A cell of a few beams says too little to correct it by much.
    return math.sqrt(max(1.0 - (mean_part + median_part) / cell_pixels, 0.5))


def source_mask(islands: Islands, fwhm_px: float) -> Mask:
    """Pixels of significant islands, and around them where sources fade into the noise.

    Islands of noise alone stay out of the mask: without them the noise would look too quiet.
    """
    mask = np.zeros(islands.labels.shape, dtype=bool)
    mask.ravel()[islands.flat] = True
    return _widen(mask, math.ceil(0.6 * fwhm_px))


def _widen(mask: Mask, reach: int) -> Mask:
    """Whether anything is set within ``reach`` rows and columns: a square window, by doubling.

    Equivalent to ``scipy.ndimage.maximum_filter(mask, 2 * reach + 1)``, in a fraction of its time.
    """
    wide = np.pad(mask, reach)
    size = 1
    while size < 2 * reach + 1:
        step = min(size, 2 * reach + 1 - size)
        wide = wide[:-step] | wide[step:]
        wide = wide[:, :-step] | wide[:, step:]
        size += step
    return wide


def _islands(data: Image, mask: Mask | None, grid: NoiseGrid, config: ExtractionConfig) -> Islands:
    above = threshold(data, mask, grid, config.analysis_threshold_sigma)
    return find_islands(data, above, grid, config.detection_threshold_sigma)


def _crowded(islands: Islands) -> bool:
    return len(islands.flat) > _CROWDED_FRACTION * islands.labels.size


def _correlation(
    data: Image,
    mask: Mask | None,
    islands: Islands,
    grid: NoiseGrid,
    beam: FloatArray,
    config: ExtractionConfig,
) -> Autocorrelation:
    if config.noise_correlation == "beam":
        return gaussian_autocorrelation(beam, 1.0)
    if config.noise_correlation == "smoothed":
        return gaussian_autocorrelation(beam, 2.0)
    # The central part says enough, and keeps the cost of a large image small.
    ny, nx = data.shape
    y0, x0 = max((ny - _NOISE_SIDE_PX) // 2, 0), max((nx - _NOISE_SIDE_PX) // 2, 0)
    part = (
        slice(y0, min(y0 + _NOISE_SIDE_PX, ny)),
        slice(x0, min(x0 + _NOISE_SIDE_PX, nx)),
    )
    fwhm_px = FWHM_PER_SIGMA * float(np.linalg.det(beam)) ** 0.25
    valid = ~source_mask(islands, fwhm_px)[part]
    if mask is not None:
        valid &= ~mask[part]
    rows = part[0].start, part[0].stop, nx
    background, rms = (upsample(nodes, grid, *rows) for nodes in (grid.background, grid.rms))
    residual = (data[part] - background[:, part[1]]) / rms[:, part[1]]
    return measure_autocorrelation(residual, valid, beam)


def _axis_ends_valid(measurements: Measurements, mask: Mask | None, shape: tuple[int, ...]) -> Mask:
    """Which sources have unmasked pixels around the four ends of their axes (HWHM)."""
    ny, nx = shape
    values, vectors = np.linalg.eigh(measurements.shape_covariance)
    half = np.sqrt(values) * (FWHM_PER_SIGMA / 2.0)
    kept = np.ones(len(measurements), dtype=bool)
    for axis in (0, 1):
        for sign in (-1.0, 1.0):
            x = measurements.x + sign * half[:, axis] * vectors[:, 0, axis]
            y = measurements.y + sign * half[:, axis] * vectors[:, 1, axis]
            for rounding in (np.floor, np.ceil):
                column, row = rounding(x).astype(np.intp), rounding(y).astype(np.intp)
                inside = (column >= 0) & (column < nx) & (row >= 0) & (row < ny)
                kept &= inside
                if mask is not None:
                    kept &= ~mask[np.clip(row, 0, ny - 1), np.clip(column, 0, nx - 1)]
    return kept

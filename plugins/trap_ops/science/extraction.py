"""From the pixels of an image to its sources: masks, noise, detection, measurement."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from trap_ops.config.model import ExtractionConfig
from trap_ops.records.arrays import FloatArray, Image, Mask
from trap_ops.records.images import Autocorrelation, NoiseGrid, NoiseModel
from trap_ops.science.background import noise_grid, upsample
from trap_ops.science.beam import axis_ends, ellipse_of_covariance, fwhm_of_covariance
from trap_ops.science.detection import Islands, find_islands, find_peaks, rms_range, threshold
from trap_ops.science.masks import pixel_mask, widen
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
# Side of the square in which the autocorrelation of the noise is measured: so many pixels or, for a
# wide beam, so many full widths, which hold the 400 beams it needs with a third of them masked.
_NOISE_SIDE_PX = 512
_NOISE_SIDE_FWHM = 26.0


@dataclass(frozen=True)
class Extraction:
    """Sources of an image and the noise they were measured against.

    Attributes
    ----------
    measurements : Measurements
    noise : NoiseModel
    mask : numpy.ndarray of bool, (ny, nx)
        Pixels that were not used.
    """

    measurements: Measurements
    noise: NoiseModel
    mask: Mask


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
    fwhm_px = fwhm_of_covariance(beam)
    masked = pixel_mask(data, config.margin_px, config.radius_px, fwhm_px)
    mask = masked if masked.any() else None
    cell_px = config.background_cell_px or config.background_cell_beams * fwhm_px
    stride = 2 if ellipse.fwhm_minor_px >= _STRIDE_FWHM_PX else 1
    grid = noise_grid(data, mask, cell_px, stride)
    if grid is None:
        return None
    islands = _islands(data, mask, grid, config)
    if _crowded(islands, mask):
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
        detection_sigma=config.detection_threshold_sigma,
        analysis_sigma=config.analysis_threshold_sigma,
        force_beam=config.force_beam,
        resolved_limit_sigma=config.resolved_threshold_sigma,
    )
    kept = _axis_ends_valid(measurements, mask, data.shape)
    noise = NoiseModel(grid, correlation, rms_min, rms_max)
    return Extraction(measurements.take(kept), noise, masked)


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
    return widen(mask, math.ceil(0.6 * fwhm_px))


def _islands(data: Image, mask: Mask | None, grid: NoiseGrid, config: ExtractionConfig) -> Islands:
    above = threshold(data, mask, grid, config.analysis_threshold_sigma)
    return find_islands(data, above, grid, config.detection_threshold_sigma)


def _crowded(islands: Islands, mask: Mask | None) -> bool:
    n_used = islands.labels.size - (0 if mask is None else np.count_nonzero(mask))
    return len(islands.flat) > _CROWDED_FRACTION * n_used


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
    fwhm_px = fwhm_of_covariance(beam)
    valid = ~source_mask(islands, fwhm_px)
    if mask is not None:
        valid &= ~mask
    part = _noise_part(valid, fwhm_px)
    nx = data.shape[1]
    rows = part[0].start, part[0].stop, nx
    background, rms = (upsample(nodes, grid, *rows) for nodes in (grid.background, grid.rms))
    residual = (data[part] - background[:, part[1]]) / rms[:, part[1]]
    return measure_autocorrelation(residual, valid[part], beam)


def _noise_part(valid: Mask, fwhm_px: float) -> tuple[slice, slice]:
    """Return the square that says enough of the noise, and keeps the cost of a large image small.

    The central one; where half of that is masked, the one with the most valid pixels.
    """
    side = max(_NOISE_SIDE_PX, math.ceil(_NOISE_SIDE_FWHM * fwhm_px))
    axes = []
    for n in valid.shape:
        size = min(side, n)
        # First the central one, then others that cover the whole axis.
        starts = [(n - size) // 2, *np.linspace(0, n - size, -(-n // size)).astype(int).tolist()]
        axes.append([slice(start, start + size) for start in starts])
    parts = list(itertools.product(axes[0], axes[1]))
    if np.count_nonzero(valid[parts[0]]) > valid[parts[0]].size // 2:
        return parts[0]
    return max(parts, key=lambda part: int(np.count_nonzero(valid[part])))


def _axis_ends_valid(measurements: Measurements, mask: Mask | None, shape: tuple[int, ...]) -> Mask:
    """Which sources have unmasked pixels around the four ends of their axes (HWHM)."""
    ny, nx = shape
    column, row = axis_ends(measurements.x, measurements.y, measurements.shape_covariance)
    kept = (column >= 0) & (column < nx) & (row >= 0) & (row < ny)
    if mask is not None:
        kept &= ~mask[np.clip(row, 0, ny - 1), np.clip(column, 0, nx - 1)]
    return np.asarray(kept.all(axis=1))

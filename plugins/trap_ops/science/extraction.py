"""From the pixels of an image to its sources: masks, noise, detection, measurement."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from trap_ops.records.arrays import FloatArray, Image, Mask
from trap_ops.records.images import Autocorrelation, NoiseGrid, NoiseModel
from trap_ops.records.sources import Flag
from trap_ops.science.background import noise_at, noise_grid, upsample
from trap_ops.science.beam import (
    area_of_covariance,
    axis_ends,
    ellipse_of_covariance,
    fwhm_of_covariance,
)
from trap_ops.science.detection import (
    Islands,
    false_detection_threshold,
    find_islands,
    find_peaks,
    rms_range,
    threshold,
    without_doubles,
)
from trap_ops.science.island_table import IslandTable, tabulate_islands
from trap_ops.science.masks import blank_pixels, pixel_mask, widen
from trap_ops.science.measurement import Measurements, measure_peaks
from trap_ops.science.noise import (
    gaussian_autocorrelation,
    measure_autocorrelation,
)

if TYPE_CHECKING:  # Its package takes as long to load as half of scipy.
    from trap_ops.config.model import ExtractionConfig

# A beam this wide (FWHM, pixels) is sampled well enough by every second pixel.
_STRIDE_FWHM_PX = 5.0
# Pixels further from the background take no part in the correlation of the noise.
_OUTLIER_SIGMA = 8.0
# Side of the square in which the autocorrelation of the noise is measured: so many pixels or, for a
# wide beam, so many full widths, which hold the 400 beams it needs with a third of them masked.
_NOISE_SIDE_PX = 512
_NOISE_SIDE_FWHM = 26.0


Columns = TypeVar("Columns", Measurements, IslandTable)


@dataclass(frozen=True)
class Extraction:
    """Sources of an image and the noise they were measured against.

    Attributes
    ----------
    measurements : Measurements
    islands : IslandTable
        Row ``measurements.island`` is the island of a component.
    noise : NoiseModel
    detection_sigma, analysis_sigma : float
        Thresholds that were used: those of the settings, or that of the false-detection rate.
    mask : numpy.ndarray of bool, (ny, nx)
        Pixels that were not used.
    """

    measurements: Measurements
    islands: IslandTable
    noise: NoiseModel
    detection_sigma: float
    analysis_sigma: float
    mask: Mask


@dataclass(frozen=True)
class _Search:
    """Where significant pixels are, and the noise that says so.

    The thresholds of islands are in units of the rms before it is divided by ``rms_factor``.
    """

    grid: NoiseGrid
    rms_factor: float
    islands: Islands
    correlation: Autocorrelation
    detection_sigma: float
    analysis_sigma: float


def extract(
    data: Image,
    beam_covariance_px: npt.ArrayLike,
    config: ExtractionConfig,
    *,
    excluded: Mask | None = None,
    detection_image: Image | None = None,
) -> Extraction | None:
    """Find and measure the sources of an image.

    Parameters
    ----------
    data : numpy.ndarray of float32, (ny, nx)
        Index 0 is y (FITS axis 2), index 1 is x (FITS axis 1). NaN and Inf are masked.
    beam_covariance_px : array_like, (2, 2)
        See :func:`trap_ops.science.beam.beam_covariance`.
    config : ExtractionConfig
    excluded : numpy.ndarray of bool, (ny, nx), optional
        Pixels that are not used either; the setting ``mask_circles`` is a matter of the sky, see
        :func:`trap_ops.science.sky_plane.circles_mask`.
    detection_image : numpy.ndarray of float32, (ny, nx), optional
        Find sources in this image, and measure them in the other one. It has the same beam.

    Returns
    -------
    Extraction or None
        None if no part of the image has enough valid pixels, or no noise at all, so that nothing
        can be measured against it. Components come in order of y, then x, of their peak pixel;
        those below the background after the others.
    """
    beam = np.asarray(beam_covariance_px, dtype=np.float64)
    fwhm_px = fwhm_of_covariance(beam)
    masked = pixel_mask(data, config.margin_px, config.radius_px, fwhm_px)
    if detection_image is not None:
        masked |= blank_pixels(detection_image, fwhm_px)
    if excluded is not None:
        masked |= excluded
    mask = masked if masked.any() else None
    own = _search(data, mask, beam, config)
    search = own if detection_image is None else _search(detection_image, mask, beam, config)
    if own is None or search is None:
        return None
    searched = data if detection_image is None else detection_image
    found = [_measured(data, searched, mask, own, search, beam, config)]
    if config.negative:
        below = _negated(own, data, mask, config)
        seen = below if detection_image is None else _negated(search, searched, mask, config)
        measurements, islands = _measured(-data, -searched, mask, below, seen, beam, config)
        found.append(_upside_down(measurements, islands, len(found[0][1])))
    noise = NoiseModel(own.grid, own.correlation, *rms_range(own.grid, mask, data.shape))
    return Extraction(
        _joined([measurements for measurements, _ in found]),
        _joined([islands for _, islands in found]),
        noise,
        search.detection_sigma,
        search.analysis_sigma,
        masked,
    )


def _search(
    data: Image, mask: Mask | None, beam: FloatArray, config: ExtractionConfig
) -> _Search | None:
    """Measure the noise of an image, and find what stands out of it."""
    fwhm_px = fwhm_of_covariance(beam)
    cell_px = config.background_cell_px or config.background_cell_beams * fwhm_px
    minor_px = ellipse_of_covariance(beam).fwhm_minor_px
    stride = 2 if minor_px >= _STRIDE_FWHM_PX else 1
    grid = noise_grid(data, mask, cell_px, stride)
    if grid is None:
        return None
    detection, analysis = _thresholds(data, mask, grid, beam, config)
    islands = _islands(data, mask, grid, detection, analysis, config.connectivity)
    # Sources raise rms and background: measured again without them.
    if len(islands.flat) or config.negative:
        used = _sources_of(data, mask, islands, grid, detection, analysis, fwhm_px, config)
        del islands  # It holds a mask of the image.
        if mask is not None:
            used |= mask
        grid = noise_grid(data, used, cell_px, stride) or grid
        del used
        detection, analysis = _thresholds(data, mask, grid, beam, config)
        islands = _islands(data, mask, grid, detection, analysis, config.connectivity)
    correlation = _fixed_correlation(beam, config)
    if correlation is None:
        sources = _sources_of(data, mask, islands, grid, detection, analysis, fwhm_px, config)
        correlation = _correlation(data, mask, sources, grid, beam)
        del sources
    factor = cell_bias(correlation, grid.step_x * grid.step_y)
    return _Search(
        grid=replace(grid, rms=grid.rms / factor),
        rms_factor=factor,
        islands=replace(islands, snr=islands.snr * factor),
        correlation=correlation,
        detection_sigma=detection,
        analysis_sigma=analysis,
    )


def _thresholds(
    data: Image, mask: Mask | None, grid: NoiseGrid, beam: FloatArray, config: ExtractionConfig
) -> tuple[float, float]:
    detection, analysis = config.detection_threshold_sigma, config.analysis_threshold_sigma
    if config.false_detection_rate > 0.0:
        # Both full widths of the beam times pi / 4, in pixels.
        correlated = math.pi / 4.0 * fwhm_of_covariance(beam) ** 2
        detection = false_detection_threshold(
            data, mask, grid, config.false_detection_rate, correlated
        )
    return detection, min(analysis, detection)


def _negated(search: _Search, data: Image, mask: Mask | None, config: ExtractionConfig) -> _Search:
    """The same search of the negative image; noise and thresholds stay."""
    grid = replace(search.grid, background=-search.grid.background)
    before = replace(grid, rms=grid.rms * search.rms_factor)
    islands = _islands(
        -data, mask, before, search.detection_sigma, search.analysis_sigma, config.connectivity
    )
    islands = replace(islands, snr=islands.snr * search.rms_factor)
    return replace(search, grid=grid, islands=islands)


def _measured(
    data: Image,
    searched: Image,
    mask: Mask | None,
    own: _Search,
    search: _Search,
    beam: FloatArray,
    config: ExtractionConfig,
) -> tuple[Measurements, IslandTable]:
    """Components in ``data`` of the peaks of ``searched``, and the islands that they are in."""
    peaks = find_peaks(searched, search.islands, search.grid, search.detection_sigma)
    peaks = without_doubles(peaks, beam)
    if searched is not data:
        value = data[peaks.y, peaks.x] - noise_at(own.grid, peaks.x, peaks.y)[0]
        peaks = replace(peaks, value=value)
    measurements = measure_peaks(
        data,
        mask,
        own.grid,
        peaks,
        beam,
        own.correlation,
        detection_sigma=search.detection_sigma,
        analysis_sigma=search.analysis_sigma,
        force_beam=config.force_beam,
        split_blends=config.split_blends,
        resolved_limit_sigma=config.resolved_threshold_sigma,
    )
    kept = measurements.take(_axis_ends_valid(measurements, mask, data.shape))
    islands = tabulate_islands(
        search.islands, data.shape[1], peaks, kept.island, area_of_covariance(beam)
    )
    return kept, islands


def _upside_down(
    measurements: Measurements, islands: IslandTable, n_before: int
) -> tuple[Measurements, IslandTable]:
    """Measurements of the negative image as those of the image."""
    return (
        replace(
            measurements,
            peak=-measurements.peak,
            flux=-measurements.flux,
            background=-measurements.background,
            island=measurements.island + n_before,
            flags=measurements.flags | Flag.NEGATIVE,
        ),
        replace(islands, peak=-islands.peak, flux=-islands.flux),
    )


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
    mask = np.zeros(islands.above.shape, dtype=bool)
    mask.ravel()[islands.flat] = True
    return widen(mask, math.ceil(0.6 * fwhm_px))


def _islands(
    data: Image,
    mask: Mask | None,
    grid: NoiseGrid,
    detection_sigma: float,
    analysis_sigma: float,
    connectivity: int,
) -> Islands:
    above = threshold(data, mask, grid, analysis_sigma)
    return find_islands(data, above, grid, detection_sigma, connectivity)


def _sources_of(
    data: Image,
    mask: Mask | None,
    islands: Islands,
    grid: NoiseGrid,
    detection_sigma: float,
    analysis_sigma: float,
    fwhm_px: float,
    config: ExtractionConfig,
) -> Mask:
    """Pixels of sources, of those below the background too where such are looked for."""
    sources = source_mask(islands, fwhm_px)
    if config.negative:
        upside_down = replace(grid, background=-grid.background)
        below = _islands(
            -data, mask, upside_down, detection_sigma, analysis_sigma, config.connectivity
        )
        sources |= source_mask(below, fwhm_px)
    return sources


def _fixed_correlation(beam: FloatArray, config: ExtractionConfig) -> Autocorrelation | None:
    """Noise correlation of the settings; None if it is to be measured."""
    scale = {"beam": 1.0, "smoothed": 2.0}.get(config.noise_correlation)
    return None if scale is None else gaussian_autocorrelation(beam, scale)


def _correlation(
    data: Image, mask: Mask | None, sources: Mask, grid: NoiseGrid, beam: FloatArray
) -> Autocorrelation:
    fwhm_px = fwhm_of_covariance(beam)
    valid = ~sources
    if mask is not None:
        valid &= ~mask
    part = _noise_part(valid, fwhm_px)
    nx = data.shape[1]
    rows = part[0].start, part[0].stop, nx
    background, rms = (upsample(nodes, grid, *rows) for nodes in (grid.background, grid.rms))
    residual = (data[part] - background[:, part[1]]) / rms[:, part[1]]
    # What is far below the background is no noise either: a hole, a negative source, a bad pixel.
    noise_only = valid[part] & (np.abs(residual) < _OUTLIER_SIGMA)
    return measure_autocorrelation(residual, noise_only, beam)


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
    """Which sources have the image around the four ends of their axes (HWHM).

    One of the four pixels around an end may be missing: bad pixels lie within sources, but the
    border of the image, or of a masked region, takes two.
    """
    ny, nx = shape
    column, row = axis_ends(measurements.x, measurements.y, measurements.shape_covariance)
    missing = (column < 0) | (column >= nx) | (row < 0) | (row >= ny)
    if mask is not None:
        missing |= mask[np.clip(row, 0, ny - 1), np.clip(column, 0, nx - 1)]
    return np.asarray((missing.reshape(-1, 4, 4).sum(axis=2) <= 1).all(axis=1))


def _joined(parts: list[Columns]) -> Columns:
    """Rows of several tables of one kind, one after another."""
    if len(parts) == 1:
        return parts[0]
    names = vars(parts[0])
    return type(parts[0])(
        **{name: np.concatenate([vars(part)[name] for part in parts]) for name in names}
    )

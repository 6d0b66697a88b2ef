"""Light curves: their points, statistics and what stands out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from trap_ops.records.arrays import FloatArray, Ids, IntArray, Mask


@dataclass
class FluxSums:
    """Running sums of light curves; all arrays (n,).

    Attributes
    ----------
    count : numpy.ndarray of int
    mean : numpy.ndarray
        Plain mean flux, Jy.
    m2 : numpy.ndarray
        Sum of squared deviations from it, Jy^2.
    sum_weight : numpy.ndarray
        Sum of the weights 1/error^2, Jy^-2.
    weighted_mean : numpy.ndarray
        Jy.
    weighted_m2 : numpy.ndarray
        Weighted sum of squared deviations from it.
    """

    count: Ids
    mean: FloatArray
    m2: FloatArray
    sum_weight: FloatArray
    weighted_mean: FloatArray
    weighted_m2: FloatArray

    def take(self, curves: IntArray | Mask) -> Self:
        """Return the sums of some light curves, as copies."""
        return type(self)(**{name: value[curves] for name, value in vars(self).items()})


@dataclass
class MedianWindow:
    """Fluxes of light curves about their median.

    Attributes
    ----------
    flux_jy : numpy.ndarray, (n, width)
        In ascending order, NaN behind the last one.
    below : numpy.ndarray of int, (n,)
        Number of fluxes that are at most the first of these, and not among them.
    """

    flux_jy: FloatArray
    below: Ids

    def take(self, curves: IntArray | Mask) -> Self:
        """Return those of some light curves, as copies."""
        return type(self)(self.flux_jy[curves], self.below[curves])


@dataclass
class CurveMemory:
    """Light curves in bounded space: cells of neighbouring points, and what stood out of them.

    Attributes
    ----------
    points : numpy.ndarray of int, (n, cells)
        Number of points in each cell, from the oldest one on; 0 behind the last cell.
    weight, flux_jy : numpy.ndarray, (n, cells)
        Sum of the weights 1/error^2, and weighted mean; 0 behind the last cell.
    kept_weight, kept_flux_jy : numpy.ndarray, (n, kept)
        The same of single points, and of whole runs of points, that cells do not show any more;
        see :mod:`trap_ops.science.curve_memory`. Weight 0: none.
    """

    points: IntArray
    weight: FloatArray
    flux_jy: FloatArray
    kept_weight: FloatArray
    kept_flux_jy: FloatArray

    def take(self, curves: IntArray | Mask) -> Self:
        """Return those of some light curves, as copies."""
        return type(self)(**{name: value[curves] for name, value in vars(self).items()})

    def put(self, curves: IntArray, memory: Self) -> None:
        """Replace those of some light curves."""
        for name, value in vars(self).items():
            value[curves] = getattr(memory, name)


@dataclass(frozen=True)
class Points:
    """Points of light curves in canonical order of their images; all arrays (m,).

    Attributes
    ----------
    link : numpy.ndarray of int
        Id of the association row.
    source, band, stokes : numpy.ndarray of int
    kind : numpy.ndarray of int
        How it was measured; see :class:`trap_ops.records.sky.FitKind`. The type of an association
        does not tell: a source that was forked off inherits backward fits too.
    start : numpy.ndarray of datetime64[us]
    flux_jy, flux_err_jy, peak_jy, peak_err_jy : numpy.ndarray
        Integrated flux, peak.
    """

    link: Ids
    source: Ids
    band: Ids
    stokes: Ids
    kind: Ids
    start: npt.NDArray[np.datetime64]
    flux_jy: FloatArray
    flux_err_jy: FloatArray
    peak_jy: FloatArray
    peak_err_jy: FloatArray

    def __len__(self) -> int:
        """Count the points."""
        return len(self.link)

    def take(self, items: IntArray | Mask) -> Self:
        """Return some of the points."""
        return type(self)(**{name: value[items] for name, value in vars(self).items()})


@dataclass(frozen=True)
class CurveShapes:
    """What stands out in light curves, with backward fits; all arrays (n,).

    Attributes
    ----------
    point_sigma : numpy.ndarray
        Largest absolute deviation of a point from the weighted mean of all others, over its error.
    run_sigma, step_sigma : numpy.ndarray
        The same of the mean of a run of points, and of all points before a time from all others.
        0 where there are too few points.
    vs_max, m_vs_max : numpy.ndarray
        Of the pair of points with the largest absolute Vs: that, and its m; NaN for a single point.
    """

    point_sigma: FloatArray
    run_sigma: FloatArray
    step_sigma: FloatArray
    vs_max: FloatArray
    m_vs_max: FloatArray

    def take(self, curves: IntArray) -> Self:
        """Return those of some light curves."""
        return type(self)(**{name: value[curves] for name, value in vars(self).items()})


@dataclass(frozen=True)
class Curves:
    """Statistics of light curves, one a sky source, band and Stokes; all arrays (n,).

    Attributes
    ----------
    source, band, stokes : numpy.ndarray of int
    flux, peak : FluxSums
        Of integrated flux and peak, without backward fits.
    complete : FluxSums
        Of integrated flux with backward fits.
    last_start : numpy.ndarray of datetime64[us]
        Start of the latest point (NaT: only backward fits).
    last_jy, max_jy : numpy.ndarray
        Integrated flux of the latest point; the largest one.
    median : MedianWindow
        Integrated fluxes about their median, without backward fits.
    memory : CurveMemory
        Points with backward fits, those of long ago in bins.
    """

    source: Ids
    band: Ids
    stokes: Ids
    flux: FluxSums
    peak: FluxSums
    complete: FluxSums
    last_start: npt.NDArray[np.datetime64]
    last_jy: FloatArray
    max_jy: FloatArray
    median: MedianWindow
    memory: CurveMemory

    def __len__(self) -> int:
        """Count the light curves."""
        return len(self.source)

    def take(self, curves: IntArray | Mask) -> Self:
        """Return the statistics of some light curves, as copies."""
        return type(self)(
            source=self.source[curves],
            band=self.band[curves],
            stokes=self.stokes[curves],
            flux=self.flux.take(curves),
            peak=self.peak.take(curves),
            complete=self.complete.take(curves),
            last_start=self.last_start[curves],
            last_jy=self.last_jy[curves],
            max_jy=self.max_jy[curves],
            median=self.median.take(curves),
            memory=self.memory.take(curves),
        )


@dataclass(frozen=True)
class LightCurveSummary:
    """What candidates are chosen from: light curves in one band and Stokes; all arrays (n,).

    Attributes
    ----------
    source, band, stokes : numpy.ndarray of int
        Id of the sky source; all its light curves stand together.
    eta, v : numpy.ndarray
        With backward fits.
    count : numpy.ndarray of int
        Points, with backward fits.
    shapes : CurveShapes
    flux_jy : numpy.ndarray
        Weighted mean, with backward fits.
    vectors : numpy.ndarray, (n, 3)
        Unit vectors of the sky sources' positions.
    new_source : numpy.ndarray of int
        Of the sky source: 1 likely, 0 possibly new (SCIENCE.md 8), -1 not.
    detections : numpy.ndarray of int
        Blind detections of the sky source, in all bands.
    """

    source: Ids
    band: Ids
    stokes: Ids
    eta: FloatArray
    v: FloatArray
    count: Ids
    shapes: CurveShapes
    flux_jy: FloatArray
    vectors: FloatArray
    new_source: Ids
    detections: Ids


@dataclass(frozen=True)
class MeasuredPoints:
    """Points of light curves with what is known of their measurement; all arrays (m,) unless said.

    In the order of sky sources, and of each in canonical order of the images.

    Attributes
    ----------
    source, band, stokes : numpy.ndarray of int
    image : numpy.ndarray of int
        Place of the image in canonical order.
    measurement : numpy.ndarray of int
        Id of the measurement: after a fork several light curves have it.
    kind : numpy.ndarray of int
        0 blind, else a :class:`trap_ops.records.sky.FitKind`.
    flags : numpy.ndarray of int
        See :class:`trap_ops.records.sources.Flag`.
    flux_jy, flux_err_jy : numpy.ndarray
        Integrated.
    x_px, y_px : numpy.ndarray
        From 0.
    vectors : numpy.ndarray, (m, 3)
        Unit vectors of the positions.
    """

    source: Ids
    band: Ids
    stokes: Ids
    image: Ids
    measurement: Ids
    kind: Ids
    flags: Ids
    flux_jy: FloatArray
    flux_err_jy: FloatArray
    x_px: FloatArray
    y_px: FloatArray
    vectors: FloatArray

    def __len__(self) -> int:
        """Count the points."""
        return len(self.source)

    def take(self, items: IntArray | Mask) -> Self:
        """Return some of the points."""
        return type(self)(**{name: value[items] for name, value in vars(self).items()})


@dataclass(frozen=True)
class NewSourceEvidence:
    """Why a source counts as new.

    Attributes
    ----------
    kind : int
        1 likely, 0 possible.
    peak_jy : float
        At its first detection.
    low_jy, high_jy : float
        Detection limits in the quietest and the noisiest part of the earlier image.
    image_name : str
        That image.
    rms_there_jy : float
        Rms of that image at the position; NaN without a backward fit.
    """

    kind: int
    peak_jy: float
    low_jy: float
    high_jy: float
    image_name: str
    rms_there_jy: float


@dataclass(frozen=True)
class Detected:
    """Blind detections of sky sources, (n,): first image, highest peak, number, number blended."""

    first_image: Ids
    peak_jy: FloatArray
    detections: Ids
    blended: Ids

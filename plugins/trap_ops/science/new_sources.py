"""Is a source that appears new? It must exceed what an earlier image would have shown."""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from trap_ops.records.arrays import FloatArray, IntArray, Mask
from trap_ops.records.images import Coverage
from trap_ops.records.sources import Detections
from trap_ops.science.coverage import shows


@dataclass(frozen=True)
class DetectionLimits:
    """What an image would have shown: fluxes in Jy/beam.

    Attributes
    ----------
    image : int
        Its id.
    order : int
        Its place in the canonical order of images.
    low_jy, high_jy : float
        Least flux of a sure detection in its quietest and in its noisiest part.
    """

    image: int
    order: int
    low_jy: float
    high_jy: float

    @property
    def depth(self) -> tuple[float, float, int]:
        """What images are compared by: lower ``low``, then lower ``high``, then the earlier one."""
        return (self.low_jy, self.high_jy, self.order)


def detection_limits(
    image: int,
    order: int,
    rms_min_jy: float,
    rms_max_jy: float,
    threshold_sigma: float,
    margin_sigma: float,
) -> DetectionLimits:
    """Limits of one image: its rms times threshold plus margin."""
    factor = threshold_sigma + margin_sigma
    return DetectionLimits(image, order, rms_min_jy * factor, rms_max_jy * factor)


class EarlierLimits:
    """Limits of the images gone through, by region, band and Stokes.

    Parameters
    ----------
    coverage : callable
        Returns what an image shows, by its id; None where that is not known: then all that is in
        its region counts as shown.
    """

    def __init__(self, coverage: Callable[[int], Coverage | None]) -> None:
        self._coverage = coverage
        self._deepest_first: dict[tuple[int, int, int], list[DetectionLimits]] = {}

    def add(self, region: int, band: int, stokes: int, limits: DetectionLimits) -> None:
        """Add an image. One whose limits are not known (NaN) never counts."""
        if not (math.isnan(limits.low_jy) or math.isnan(limits.high_jy)):
            known = self._deepest_first.setdefault((region, band, stokes), [])
            insort(known, limits, key=lambda item: item.depth)

    def exceeded(
        self, band: int, stokes: int, members: Mapping[int, Mask], at: Detections
    ) -> tuple[IntArray, IntArray, IntArray]:
        """Find the new sources among those that appear.

        Parameters
        ----------
        band, stokes : int
        members : mapping of int to numpy.ndarray of bool, (n,)
            Which of them are in which region.
        at : Detections, (n,)
            Their first detections.

        Returns
        -------
        items : numpy.ndarray of int, (m,)
        images : numpy.ndarray of int, (m,)
            Of each, the deepest image of the band that shows its position.
        kind : numpy.ndarray of int, (m,)
            As :func:`classify` returns it.
        """
        best: list[DetectionLimits | None] = [None] * len(at)
        brightness = np.abs(at.peak_jy)  # Of sources below the background, how far below.
        for (region, *rest), known in self._deepest_first.items():
            if rest != [band, stokes] or region not in members:
                continue
            asked = np.flatnonzero(members[region])
            for limits, items in self._first_to_show(known, asked, at, brightness):
                for i in items.tolist():
                    other = best[i]
                    if other is None or limits.depth < other.depth:
                        best[i] = limits
        low = np.array([np.nan if limits is None else limits.low_jy for limits in best])
        high = np.array([np.nan if limits is None else limits.high_jy for limits in best])
        new, kind = classify(brightness, low, high)
        images = [limits.image for limits in (best[i] for i in new.tolist()) if limits is not None]
        return new, np.array(images, dtype=np.int64), kind

    def _first_to_show(
        self,
        known: list[DetectionLimits],
        items: IntArray,
        at: Detections,
        brightness: FloatArray,
    ) -> Iterator[tuple[DetectionLimits, IntArray]]:
        """Go through the images of a region; give those items that none before has shown."""
        tested: set[Coverage] = set()
        for limits in known:
            # The images behind are less deep still.
            items = items[brightness[items] > limits.low_jy]
            if len(items) == 0:
                return
            coverage = self._coverage(limits.image)
            if coverage in tested:
                continue
            here = np.ones(len(items), dtype=bool)
            if coverage is not None:
                tested.add(coverage)
                here = shows(coverage, at.ra_deg[items], at.dec_deg[items])
            yield limits, items[here]
            items = items[~here]


def classify(
    peak_jy: FloatArray, low_jy: FloatArray, high_jy: FloatArray
) -> tuple[IntArray, IntArray]:
    """Find the new sources among those that appear, and how sure each is.

    Parameters
    ----------
    peak_jy : numpy.ndarray, (n,)
        Peak brightness at first detection.
    low_jy, high_jy : numpy.ndarray, (n,)
        Limits of the best earlier image; NaN where there is none, and then nothing is new.

    Returns
    -------
    items : numpy.ndarray of int
        Those strictly above ``low``.
    kind : numpy.ndarray of int
        1 above ``high`` too: it would have been seen anywhere, likely new; 0: possibly new.
    """
    items = np.flatnonzero(peak_jy > low_jy)
    return items, (peak_jy[items] > high_jy[items]).astype(np.intp)

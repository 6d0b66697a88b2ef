"""Is a source that appears new? It must exceed what an earlier image would have shown."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from trap_ops.records.arrays import FloatArray, IntArray


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


def best_limits(first: DetectionLimits | None, second: DetectionLimits) -> DetectionLimits:
    """Return the deeper of two images: lower ``low``, then lower ``high``, then the earlier one.

    One whose limits are not known (NaN) never counts against another.
    """
    if first is None or math.isnan(first.low_jy) or math.isnan(first.high_jy):
        return second
    return min(first, second, key=lambda limits: (limits.low_jy, limits.high_jy, limits.order))


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

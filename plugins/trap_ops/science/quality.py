"""Is an image fit for use? Its rms, and the checks on it (SCIENCE.md 3 with decision D12)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from trap_ops.config.model import QualityConfig
from trap_ops.records.arrays import FloatArray, Image
from trap_ops.records.images import ImageQuality, ImageRow, RejectReason, Verdict


def measure(data: Image, clip_sigma: float, fraction: int) -> ImageQuality:
    """Measure an image's quality.

    Parameters
    ----------
    data : numpy.ndarray of float32, (ny, nx)
        NaN and Inf take no part in rms, minimum and maximum.
    clip_sigma, fraction : float, int
        See :func:`central_rms`.
    """
    finite = np.isfinite(data)
    count = int(finite.sum())
    if count == 0:
        return ImageQuality(math.nan, 1.0, math.nan, math.nan)
    valid = data if count == data.size else data[finite]
    return ImageQuality(
        rms_jy=central_rms(data, clip_sigma, fraction),
        nan_fraction=1.0 - count / data.size,
        min_jy=float(valid.min()),
        max_jy=float(valid.max()),
    )


def central_rms(data: Image, clip_sigma: float, fraction: int) -> float:
    """Rms of the central sub-image about its median, after clipping (SCIENCE.md 3.1).

    Parameters
    ----------
    data : numpy.ndarray, (ny, nx)
    clip_sigma : float
        Pixels further than so many standard deviations from the median go, until none does.
    fraction : int
        The sub-image goes from n // 2 - n // fraction to n // 2 + n // fraction (exclusive).

    Returns
    -------
    float
        NaN if there is no finite pixel. Not corrected for the clipping.

    Notes
    -----
    Equivalent to repeating the clip on the pixels themselves; here it is a window on sorted values,
    their sums taken about a median in double precision.
    """
    ny, nx = data.shape
    part = data[
        ny // 2 - ny // fraction : ny // 2 + ny // fraction,
        nx // 2 - nx // fraction : nx // 2 + nx // fraction,
    ]
    values = np.sort(part[np.isfinite(part)].ravel())
    if len(values) == 0:
        return math.nan
    pivot = float(values[len(values) // 2])
    shifted = values.astype(np.float64) - pivot
    sum1 = np.concatenate([[0.0], np.cumsum(shifted)])
    sum2 = np.concatenate([[0.0], np.cumsum(shifted**2)])
    low, high = 0, len(values)
    while True:
        n = high - low
        mean = (sum1[high] - sum1[low]) / n
        variance = max((sum2[high] - sum2[low]) / n - mean**2, 0.0)
        median = (shifted[(low + high - 1) // 2] + shifted[(low + high) // 2]) / 2.0
        limit = clip_sigma * math.sqrt(variance)
        new_low = max(int(np.searchsorted(shifted, median - limit, side="left")), low)
        new_high = min(int(np.searchsorted(shifted, median + limit, side="right")), high)
        if (new_low, new_high) == (low, high) or new_low >= new_high:
            return float(math.sqrt(variance + (mean - median) ** 2))
        low, high = new_low, new_high


def judge(image: ImageRow, history_jy: Sequence[float], config: QualityConfig) -> Verdict:
    """Judge one measured image; the first check that fails gives the reason.

    Parameters
    ----------
    image : ImageRow
    history_jy : sequence of float
        Rms of earlier accepted images of the same band and Stokes, the latest last.
    config : QualityConfig
    """
    checks = (
        _judge_data(image, config),
        _judge_rms(image.rms_qc_jy, config),
        _judge_beam(image, config),
        _judge_history(image.rms_qc_jy, history_jy, config),
    )
    return next((verdict for verdict in checks if verdict is not None), Verdict(accepted=True))


def _judge_data(image: ImageRow, config: QualityConfig) -> Verdict | None:
    if image.nan_fraction == 1.0:
        return Verdict(False, RejectReason.CONTAINS_NAN, "All pixels are NaN or infinite")
    if image.nan_fraction > config.nan_max_fraction:
        return Verdict(
            False,
            RejectReason.CONTAINS_NAN,
            f"{image.nan_fraction:.1%} of the pixels are NaN or infinite, "
            f"more than {config.nan_max_fraction:.1%}",
        )
    if image.data_min_jy == image.data_max_jy:
        return Verdict(
            False, RejectReason.DATA_FLAT, f"All pixels are {image.data_min_jy:.6g} Jy/beam"
        )
    return None


def _judge_rms(rms_jy: float, config: QualityConfig) -> Verdict | None:
    if math.isnan(rms_jy):
        return Verdict(False, RejectReason.CONTAINS_NAN, "No pixel in the image centre is finite")
    if config.rms_min_jy < rms_jy < config.rms_max_jy:
        return None
    return Verdict(
        False,
        RejectReason.RMS_INVALID,
        f"RMS value {rms_jy:.4g} Jy/beam not within {config.rms_min_jy:.4g} and "
        f"{config.rms_max_jy:.4g}",
    )


def _judge_beam(image: ImageRow, config: QualityConfig) -> Verdict | None:
    pixel = abs(image.deltax_deg)
    major, minor = image.beam_semimajor_deg / pixel, image.beam_semiminor_deg / pixel
    size = f"bmaj={_two_decimals(major)} and bmin={_two_decimals(minor)} (pixels)"
    if not (math.isfinite(major) and math.isfinite(minor)):
        return Verdict(False, RejectReason.BEAM_INVALID, f"Beam infinite. {size}")
    if 2.0 * minor <= config.beam_min_px:
        return Verdict(
            False,
            RejectReason.BEAM_INVALID,
            f"Beam undersampled. {size}; its full width must be above {config.beam_min_px:g}",
        )
    if major > config.beam_max_px:
        return Verdict(
            False,
            RejectReason.BEAM_INVALID,
            f"Beam oversampled. {size}; at most {config.beam_max_px:g}",
        )
    if major / minor > config.beam_max_ratio:
        return Verdict(
            False,
            RejectReason.BEAM_INVALID,
            f"Beam too elliptical. {size}; ratio {major / minor:.2f}, "
            f"at most {config.beam_max_ratio:g}",
        )
    return None


def _judge_history(
    rms_jy: float, history_jy: Sequence[float], config: QualityConfig
) -> Verdict | None:
    """Compare with the latest images, this one included; too few, or all equal, say nothing."""
    values: FloatArray = np.array([*history_jy, rms_jy])[-config.rms_history_images :]
    if len(values) < config.rms_history_images:
        return None
    mean, sigma = float(values.mean()), float(values.std())
    low = mean - config.rms_rejection_sigma * sigma
    high = mean + config.rms_rejection_sigma * sigma
    if sigma == 0.0 or low < rms_jy < high:
        return None
    return Verdict(
        False,
        RejectReason.RMS_INVALID,
        f"RMS value {rms_jy:.4g} Jy/beam not within {low:.4g} and {high:.4g}, the "
        f"{config.rms_rejection_sigma:g} sigma range of the latest {len(values)} images",
    )


def _two_decimals(value: float) -> str:
    return f"{value:.2e}" if value > 9999 or value < 0.01 else f"{value:.2f}"

"""Is an image fit for use? Its rms, and the checks on it (SCIENCE.md 3 with decision D12)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from trap_ops.config.model import QualityConfig
from trap_ops.records.arrays import FloatArray, Image
from trap_ops.records.images import ImageQuality, ImageRow, RejectReason, Verdict
from trap_ops.science.beam import beam_covariance, ellipse_of_covariance


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
    with mean and variance of each window by themselves. Differences of running sums would not do:
    next to one wild pixel the others vanish in them.
    """
    ny, nx = data.shape
    part = data[
        ny // 2 - ny // fraction : ny // 2 + ny // fraction,
        nx // 2 - nx // fraction : nx // 2 + nx // fraction,
    ]
    values = np.sort(part[np.isfinite(part)].ravel()).astype(np.float64)
    if len(values) == 0:
        return math.nan
    while True:
        n = len(values)
        median = float(values[(n - 1) // 2] + values[n // 2]) / 2.0
        limit = clip_sigma * float(values.std())
        low = int(np.searchsorted(values, median - limit, side="left"))
        high = int(np.searchsorted(values, median + limit, side="right"))
        if (low, high) == (0, n) or low >= high:
            return float(np.sqrt(((values - median) ** 2).mean()))
        values = values[low:high]


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
        _judge_rms(image, config),
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


def _judge_rms(image: ImageRow, config: QualityConfig) -> Verdict | None:
    rms_jy = image.rms_qc_jy
    if min(image.nx, image.ny) < config.rms_fraction:
        return Verdict(
            False,
            RejectReason.RMS_INVALID,
            f"Image of {image.nx} x {image.ny} pixels too small to measure its rms; at least "
            f"{config.rms_fraction} x {config.rms_fraction} (rms_fraction)",
        )
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
    """Sampling is judged by the beam in pixels, its shape by that on the sky."""
    if not math.isfinite(image.beam_semimajor_deg + image.beam_semiminor_deg):
        size = f"bmaj={image.beam_semimajor_deg:g} and bmin={image.beam_semiminor_deg:g} (deg)"
        return Verdict(False, RejectReason.BEAM_INVALID, f"Beam infinite. {size}")
    major, minor = _beam_in_pixels(image)
    size = f"bmaj={_two_decimals(major)} and bmin={_two_decimals(minor)} (pixels)"
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
    ratio = image.beam_semimajor_deg / image.beam_semiminor_deg
    if ratio > config.beam_max_ratio:
        return Verdict(
            False,
            RejectReason.BEAM_INVALID,
            f"Beam too elliptical. {size}; ratio {ratio:.2f} on the sky, "
            f"at most {config.beam_max_ratio:g}",
        )
    return None


def _beam_in_pixels(image: ImageRow) -> tuple[float, float]:
    """Half widths of the beam's ellipse over the pixels.

    Of a rotated image the row knows the pixel sizes but not the angle: exact for square pixels at
    any angle, and for others along east and north.
    """
    pixels = ((image.deltax_deg, 0.0), (0.0, image.deltay_deg))
    ellipse = ellipse_of_covariance(
        beam_covariance(
            2.0 * image.beam_semimajor_deg,
            2.0 * image.beam_semiminor_deg,
            image.beam_pa_deg,
            pixels,
        )
    )
    return ellipse.fwhm_major_px / 2.0, ellipse.fwhm_minor_px / 2.0


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

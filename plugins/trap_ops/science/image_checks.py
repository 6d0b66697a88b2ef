"""Is an image fit for use? Every quality check on it (SCIENCE.md 3 with decision D12)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from trap_ops.config.model import QualityConfig
from trap_ops.records.arrays import FloatArray
from trap_ops.records.images import Check, CheckResult, ImageRow, RejectReason, Verdict
from trap_ops.science.beam import beam_covariance, ellipse_of_covariance
from trap_ops.science.bright_sources import BRIGHT_SOURCES

_ACCEPTED, _WARNED = CheckResult.ACCEPTED, CheckResult.WARNED
_REJECTED, _NOT_MADE = CheckResult.REJECTED, CheckResult.NOT_MADE

_LOFAR = "LOFAR"
RMS_HISTORY = "rms_history"
_BEAM = ("beam_infinite", "beam_undersampled", "beam_oversampled", "beam_elliptical")
_BRIGHT = tuple(f"bright_source_{name}" for name in BRIGHT_SOURCES)
_FIRST = ("file", "duplicate", "flat", "nan", "integration_time", "theoretical_noise")
# Of several rejections the first counts; on LOFAR's own checks follow those of every telescope.
_ORDER = (*_FIRST, *_BRIGHT, "rms_range", *_BEAM, RMS_HISTORY)
_ORDER_LOFAR = (*_FIRST, *_BEAM, *_BRIGHT, "rms_range", RMS_HISTORY)
CHECKS = _ORDER


@dataclass(frozen=True)
class Circumstances:
    """What the checks on an image need beside the image.

    Attributes
    ----------
    unreadable : bool
        Whether its pixels cannot be read.
    duplicate : str
        Which image of the dataset it is again, in words; empty: of none.
    history_jy : sequence of float
        Rms of earlier accepted images that it is to be compared with, the latest last.
    bright_deg : mapping
        Distance of the centre from each bright source; NaN where that is not known.
    noise_jy : float
        Theoretical noise; NaN if it is not known.
    noise_missing : str
        Why it is not known.
    """

    unreadable: bool = False
    duplicate: str = ""
    history_jy: Sequence[float] = ()
    bright_deg: Mapping[str, float] = field(default_factory=dict)
    noise_jy: float = math.nan
    noise_missing: str = "not known"


def judge(image: ImageRow, around: Circumstances, config: QualityConfig) -> tuple[Check, ...]:
    """Make every check on a measured image.

    Returns
    -------
    tuple of Check
        In the order in which they count (:func:`verdict_of`), one for each name in ``CHECKS``.
        Those on the pixels of an unreadable image are not made.
    """
    made = (
        _file(around),
        _duplicate(around),
        *_data(image, around, config),
        _integration(image, config),
        _theoretical_noise(image, around, config),
        *(_bright_source(name, around, config) for name in BRIGHT_SOURCES),
        _rms_range(image, around, config),
        *_beam(image, config),
        _rms_history(image, around, config),
    )
    by_name = {check.name: check for check in made}
    order = _ORDER_LOFAR if image.telescope == _LOFAR else _ORDER
    return tuple(by_name[name] for name in order)


def verdict_of(checks: Sequence[Check]) -> Verdict:
    """Verdict that follows from the checks on an image: the first rejection counts."""
    for check in checks:
        if check.result == _REJECTED:
            return Verdict(accepted=False, reason=check.reason, comment=check.comment)
    return Verdict(accepted=True)


def _reject(
    name: str,
    reason: RejectReason,
    comment: str,
    measured: float = math.nan,
    low: float = math.nan,
    high: float = math.nan,
    unit: str = "",
) -> Check:
    return Check(name, _REJECTED, measured, low, high, unit, comment, reason)


def _skip(name: str, comment: str, measured: float = math.nan, unit: str = "") -> Check:
    return Check(name, _NOT_MADE, measured, unit=unit, comment=comment)


def _file(around: Circumstances) -> Check:
    if around.unreadable:
        comment = "its pixels cannot be read; see measure_quality"
        return _reject("file", RejectReason.FILE_UNUSABLE, comment)
    return Check("file", _ACCEPTED)


def _duplicate(around: Circumstances) -> Check:
    if around.duplicate:
        return _reject("duplicate", RejectReason.DUPLICATE, around.duplicate)
    return Check("duplicate", _ACCEPTED)


def _data(image: ImageRow, around: Circumstances, config: QualityConfig) -> tuple[Check, Check]:
    """Constant pixels, and pixels without data."""
    if around.unreadable:
        return _skip("flat", "no pixels"), _skip("nan", "no pixels")
    extent = image.data_max_jy - image.data_min_jy
    flat = Check("flat", _ACCEPTED, extent, low=0.0, unit="Jy/beam")
    if math.isnan(extent):
        flat = _skip("flat", "no pixel is finite")
    elif image.data_min_jy == image.data_max_jy:
        comment = f"All pixels are {image.data_min_jy:.6g} Jy/beam"
        flat = _reject("flat", RejectReason.DATA_FLAT, comment, extent, low=0.0, unit="Jy/beam")
    fraction, limit, warning = (
        image.nan_fraction,
        config.nan_max_fraction,
        config.nan_warn_fraction,
    )
    missing = Check("nan", _ACCEPTED, fraction, high=min(limit, warning))
    words = f"{fraction:.1%} of the pixels are NaN or infinite, more than"
    if fraction == 1.0:
        words = "All pixels are NaN or infinite"
        missing = _reject("nan", RejectReason.CONTAINS_NAN, words, fraction, high=limit)
    elif fraction > limit:
        words = f"{words} {limit:.1%}"
        missing = _reject("nan", RejectReason.CONTAINS_NAN, words, fraction, high=limit)
    elif fraction > warning:
        words = f"{words} {warning:.1%}"
        missing = Check("nan", _WARNED, fraction, high=warning, comment=words)
    return flat, missing


def _integration(image: ImageRow, config: QualityConfig) -> Check:
    """An integration time of 0 is one that nobody knows."""
    name, seconds = "integration_time", image.integration_s
    if seconds > 0.0:
        return Check(name, _ACCEPTED, seconds, low=0.0, unit="s")
    comment = "tau_time is 0"
    if config.integration_zero == "accept":
        return Check(name, _ACCEPTED, seconds, unit="s", comment=comment)
    # An image of LOFAR that some imager wrote lacks all of LOFAR's own metadata (D12).
    bare = image.telescope == _LOFAR and image.array.antenna_set is None
    if config.integration_zero == "warn" or bare:
        return Check(name, _WARNED, seconds, low=0.0, unit="s", comment=comment)
    return _reject(name, RejectReason.TAU_TIME_INVALID, comment, seconds, low=0.0, unit="s")


def _theoretical_noise(image: ImageRow, around: Circumstances, config: QualityConfig) -> Check:
    name, rms_jy, noise_jy = "theoretical_noise", image.rms_qc_jy, around.noise_jy
    if around.unreadable or math.isnan(rms_jy):
        return _skip(name, "no rms")
    if math.isnan(noise_jy):
        return _skip(name, around.noise_missing, rms_jy, "Jy/beam")
    low, high = config.noise_low_factor * noise_jy, config.noise_high_factor * noise_jy
    if low <= rms_jy <= high:
        return Check(name, _ACCEPTED, rms_jy, low, high, "Jy/beam")
    comment = (
        f"rms value ({rms_jy:.4g} Jy/beam) is {rms_jy / noise_jy:.4g} times theoretical noise "
        f"({noise_jy:.4g}); from {config.noise_low_factor:g} to {config.noise_high_factor:g} is "
        "accepted"
    )
    return _reject(name, RejectReason.RMS_INVALID, comment, rms_jy, low, high, "Jy/beam")


def _bright_source(source: str, around: Circumstances, config: QualityConfig) -> Check:
    name, distance = f"bright_source_{source}", around.bright_deg.get(source, math.nan)
    if math.isnan(distance):
        return _skip(name, f"no ephemeris of {source} for the start of the image: 1900 to 2100")
    if source not in config.bright_sources:
        return Check(name, _ACCEPTED, distance, unit="deg")
    comment = f"Pointing is {distance:.2f} degrees from {source}."
    if distance < config.bright_reject_deg:
        limit = config.bright_reject_deg
        reason = RejectReason.BRIGHT_SOURCE_NEAR
        return _reject(name, reason, f"{comment} At least {limit:g}", distance, limit, unit="deg")
    limit = max(config.bright_reject_deg, config.bright_warn_deg)
    if distance < limit:
        return Check(name, _WARNED, distance, low=limit, unit="deg", comment=comment)
    return Check(name, _ACCEPTED, distance, low=limit or math.nan, unit="deg")


def _rms_range(image: ImageRow, around: Circumstances, config: QualityConfig) -> Check:
    name, rms_jy = "rms_range", image.rms_qc_jy
    low, high = config.rms_min_jy, config.rms_max_jy
    if around.unreadable:
        return _skip(name, "no pixels")
    if min(image.nx, image.ny) < config.rms_fraction:
        comment = (
            f"Image of {image.nx} x {image.ny} pixels too small to measure its rms; at least "
            f"{config.rms_fraction} x {config.rms_fraction} (rms_fraction)"
        )
        return _reject(name, RejectReason.RMS_INVALID, comment, low=low, high=high, unit="Jy/beam")
    if math.isnan(rms_jy):
        comment = "No pixel in the image centre is finite"
        return _reject(name, RejectReason.CONTAINS_NAN, comment, low=low, high=high, unit="Jy/beam")
    if low < rms_jy < high:
        return Check(name, _ACCEPTED, rms_jy, low, high, "Jy/beam")
    comment = f"RMS value {rms_jy:.4g} Jy/beam not within {low:.4g} and {high:.4g}"
    return _reject(name, RejectReason.RMS_INVALID, comment, rms_jy, low, high, "Jy/beam")


def _beam(image: ImageRow, config: QualityConfig) -> tuple[Check, ...]:
    """Sampling is judged by the beam in pixels, its shape by that on the sky."""
    wide, narrow = image.beam_semimajor_deg, image.beam_semiminor_deg
    infinite, under, over, elliptical = _BEAM
    if not math.isfinite(wide + narrow + image.beam_pa_deg):
        comment = f"Beam infinite. bmaj={wide:g} and bmin={narrow:g} (deg)"
        return (
            _reject(infinite, RejectReason.BEAM_INVALID, comment, 2.0 * wide, unit="deg"),
            *(_skip(name, "the beam is infinite") for name in _BEAM[1:]),
        )
    major, minor = _beam_in_pixels(image)
    size = f"bmaj={_two_decimals(major)} and bmin={_two_decimals(minor)} (pixels)"
    ratio = wide / narrow if narrow > 0.0 else math.inf
    return (
        Check(infinite, _ACCEPTED, 2.0 * wide, unit="deg"),
        _limited(
            Check(under, _ACCEPTED, 2.0 * minor, low=config.beam_min_px, unit="px"),
            f"Beam undersampled. {size}; its full width must be above {config.beam_min_px:g}",
            fails=2.0 * minor <= config.beam_min_px,
        ),
        _limited(
            Check(over, _ACCEPTED, major, high=config.beam_max_px, unit="px"),
            f"Beam oversampled. {size}; at most {config.beam_max_px:g}",
            fails=major > config.beam_max_px,
        ),
        _limited(
            Check(elliptical, _ACCEPTED, ratio, high=config.beam_max_ratio),
            f"Beam too elliptical. {size}; ratio {ratio:.2f} on the sky, "
            f"at most {config.beam_max_ratio:g}",
            fails=ratio > config.beam_max_ratio,
        ),
    )


def _limited(passed: Check, comment: str, *, fails: bool) -> Check:
    """Return a check on the beam, or its rejection."""
    if not fails:
        return passed
    reason = RejectReason.BEAM_INVALID
    name, measured = passed.name, passed.measured
    return _reject(name, reason, comment, measured, passed.low, passed.high, passed.unit)


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


def _rms_history(image: ImageRow, around: Circumstances, config: QualityConfig) -> Check:
    """Compare with the latest images, this one included; too few, or all equal, say nothing."""
    name, rms_jy, wanted = RMS_HISTORY, image.rms_qc_jy, config.rms_history_images
    if around.unreadable or math.isnan(rms_jy):
        return _skip(name, "no rms")
    values: FloatArray = np.array([*around.history_jy, rms_jy])[-wanted:]
    if len(values) < wanted:
        return _skip(name, f"only {len(values)} of {wanted} images so far", rms_jy, "Jy/beam")
    mean, sigma = float(values.mean()), float(values.std())
    low = mean - config.rms_rejection_sigma * sigma
    high = mean + config.rms_rejection_sigma * sigma
    if sigma == 0.0 or low < rms_jy < high:
        return Check(name, _ACCEPTED, rms_jy, low, high, "Jy/beam")
    comment = (
        f"RMS value {rms_jy:.4g} Jy/beam not within {low:.4g} and {high:.4g}, the "
        f"{config.rms_rejection_sigma:g} sigma range of the latest {len(values)} images"
    )
    return _reject(name, RejectReason.RMS_INVALID, comment, rms_jy, low, high, "Jy/beam")


def _two_decimals(value: float) -> str:
    return f"{value:.2e}" if value > 9999 or value < 0.01 else f"{value:.2f}"

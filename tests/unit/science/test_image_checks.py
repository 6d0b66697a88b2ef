"""Every check on an image, with the worked rules of the classic system."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import pytest

from trap_ops.config.model import QualityConfig
from trap_ops.records.images import ArrayInfo, Check, CheckResult, RejectReason, Verdict
from trap_ops.science.bright_sources import BRIGHT_SOURCES
from trap_ops.science.image_checks import CHECKS, Circumstances, judge, verdict_of

CONFIG = QualityConfig()


def checks(image: Any, around: Circumstances | None = None, **settings: Any) -> tuple[Check, ...]:
    return judge(image, around or Circumstances(), CONFIG.model_copy(update=settings))


def one(name: str, image: Any, around: Circumstances | None = None, **settings: Any) -> Check:
    (found,) = (check for check in checks(image, around, **settings) if check.name == name)
    return found


def verdict(image: Any, history: list[float] | None = None, **settings: Any) -> Verdict:
    return verdict_of(checks(image, Circumstances(history_jy=history or []), **settings))


@pytest.fixture
def good() -> Any:
    """An accepted image: beam of 6 pixels (FWHM), rms 1 mJy."""
    from trap_ops.records.images import ImageRow

    names = dict.fromkeys(ImageRow.__dataclass_fields__)
    names |= {
        "id": 1, "path": "/a.fits", "file_name": "a.fits", "start": datetime(2026, 1, 1),
        "deltax_deg": -0.001, "beam_semimajor_deg": 0.003, "beam_semiminor_deg": 0.003,
        "deltay_deg": 0.001, "beam_pa_deg": 0.0, "nx": 1024, "ny": 1024,
        "telescope": "MADE", "integration_s": 10.0, "array": ArrayInfo(),
        "rms_qc_jy": 1e-3, "nan_fraction": 0.0, "data_min_jy": -1.0, "data_max_jy": 1.0,
    }  # fmt: skip
    return ImageRow(**names)


def test_a_good_image_is_accepted(good: Any) -> None:
    assert verdict(good) == Verdict(accepted=True)


@pytest.mark.parametrize(
    ("changed", "reason", "said"),
    [
        ({"nan_fraction": 1.0}, RejectReason.CONTAINS_NAN, "All pixels"),
        ({"nan_fraction": 0.91}, RejectReason.CONTAINS_NAN, "91.0% of the pixels"),
        ({"data_min_jy": 2.0, "data_max_jy": 2.0}, RejectReason.DATA_FLAT, "All pixels are 2"),
        ({"rms_qc_jy": 0.0}, RejectReason.RMS_INVALID, "not within"),
        ({"rms_qc_jy": 100.0}, RejectReason.RMS_INVALID, "not within"),
        ({"rms_qc_jy": math.nan}, RejectReason.CONTAINS_NAN, "image centre"),
        # Smaller than 8 pixels: its centre of 2/8 of them has none at all.
        (
            {"rms_qc_jy": math.nan, "ny": 7},
            RejectReason.RMS_INVALID,
            "Image of 1024 x 7 pixels too small to measure its rms; at least 8 x 8 (rms_fraction)",
        ),
        ({"beam_semiminor_deg": 0.001}, RejectReason.BEAM_INVALID, "undersampled"),
        (
            {"beam_semimajor_deg": 0.0301, "beam_semiminor_deg": 0.03},
            RejectReason.BEAM_INVALID,
            "oversampled",
        ),
        ({"beam_semimajor_deg": 0.0061}, RejectReason.BEAM_INVALID, "ratio 2.03"),
        ({"beam_semimajor_deg": math.inf}, RejectReason.BEAM_INVALID, "infinite"),
    ],
)
def test_each_check_rejects_with_its_reason(
    good: Any, changed: dict[str, float], reason: RejectReason, said: str
) -> None:
    found = verdict(replace(good, **changed))
    assert not found.accepted
    assert found.reason == reason
    assert said in found.comment


@pytest.mark.parametrize(
    "changed",
    [
        {"nan_fraction": 0.9},
        {"rms_qc_jy": 99.99},
        {"rms_qc_jy": 1e-3, "nx": 8, "ny": 8},
        {"beam_semiminor_deg": 0.0016},
        {"beam_semimajor_deg": 0.005999},
        {"beam_semimajor_deg": 0.02999, "beam_semiminor_deg": 0.02999},
    ],
)
def test_limits_themselves_pass_where_they_should(good: Any, changed: dict[str, float]) -> None:
    assert verdict(replace(good, **changed)).accepted


def test_a_beam_is_sampled_by_pixels_and_elliptical_on_the_sky(good: Any) -> None:
    """Pixels that are not square make a round beam elliptical on their grid, not on the sky."""
    oblong = replace(good, deltax_deg=-0.0022, deltay_deg=0.001)
    assert verdict(oblong).accepted
    # Half widths in x and y: 1.36 and 3 pixels; full widths of at most 2.8 are too few.
    assert "bmaj=3.00 and bmin=1.36" in verdict(oblong, beam_min_px=2.8).comment
    assert verdict(oblong, beam_min_px=2.7).accepted
    assert "oversampled" in verdict(oblong, beam_max_px=2.9).comment
    # A long beam is long on the sky, also if it fills a round patch of pixels.
    long = replace(oblong, beam_semimajor_deg=0.0066, beam_pa_deg=90.0)
    assert "ratio 2.20 on the sky" in verdict(long).comment
    # Its angle counts: across the short side of the pixels it has more of them.
    assert "bmaj=3.00 and bmin=3.00" in verdict(long).comment
    assert "bmaj=6.60 and bmin=1.36" in verdict(replace(long, beam_pa_deg=0.0)).comment


def test_history_says_nothing_until_it_is_long_enough(good: Any) -> None:
    outlier = replace(good, rms_qc_jy=5e-3)
    history = np.random.default_rng(4).normal(1e-3, 1e-5, 30).tolist()
    assert verdict(outlier, history[:8], rms_history_images=10).accepted
    rejected = verdict(outlier, history, rms_history_images=20)
    assert rejected.reason == RejectReason.RMS_INVALID
    assert "latest 20 images" in rejected.comment
    assert verdict(good, history, rms_history_images=20).accepted


def test_history_is_of_the_latest_images_this_one_included(good: Any) -> None:
    # With two images each is one sigma from the mean, whatever they are.
    assert verdict(replace(good, rms_qc_jy=9.0), [1.0], rms_history_images=2).accepted
    # Four and one outlier: (n - 1) / sqrt(n - 1) = 2 sigma.
    history = [50.0, 1.0, 1.0, 1.0, 1.0]
    outlier = replace(good, rms_qc_jy=9.0)
    settings = {"rms_history_images": 5}
    assert verdict(outlier, history, rms_rejection_sigma=2.01, **settings).accepted
    assert not verdict(outlier, history, rms_rejection_sigma=1.99, **settings).accepted


def test_images_all_alike_are_no_reason_to_reject(good: Any) -> None:
    assert verdict(good, [1e-3] * 10, rms_history_images=5).accepted

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


BRIGHT = dict.fromkeys(BRIGHT_SOURCES, 90.0)


def test_every_check_is_made_or_says_why_not(good: Any) -> None:
    made = checks(good, Circumstances(bright_deg=BRIGHT))
    assert tuple(check.name for check in made) == CHECKS
    assert {c.name for c in made if c.result == CheckResult.NOT_MADE} == {
        "theoretical_noise", "rms_history",
    }  # fmt: skip
    unreadable = replace(good, rms_qc_jy=math.nan, nan_fraction=1.0, data_min_jy=math.nan)
    made = checks(unreadable, Circumstances(unreadable=True, bright_deg=BRIGHT))
    by_result = {c.name: c.result for c in made}
    assert [name for name, r in by_result.items() if r == CheckResult.REJECTED] == ["file"]
    for name in ("flat", "nan", "theoretical_noise", "rms_range", "rms_history"):
        assert by_result[name] == CheckResult.NOT_MADE
    assert verdict_of(made).reason == RejectReason.FILE_UNUSABLE
    for check in (*made, *checks(good)):
        assert check.comment or check.result != CheckResult.NOT_MADE, check.name
        assert len(check.name) <= 32
        assert len(check.unit) <= 16


def test_measured_and_limits_stand_beside_the_result(good: Any) -> None:
    around = Circumstances(bright_deg=BRIGHT, noise_jy=1e-4, history_jy=[1.1e-3, 0.9e-3])
    made = {c.name: c for c in checks(good, around, rms_history_images=3)}
    rms = (1e-3, 0.0, 100.0, "Jy/beam")
    found = made["rms_range"]
    assert (found.measured, found.low, found.high, found.unit) == rms
    sigma = math.sqrt(0.02e-6 / 3.0)
    found = made["rms_history"]
    assert (found.low, found.high) == pytest.approx((1e-3 - 3 * sigma, 1e-3 + 3 * sigma))
    found = made["theoretical_noise"]
    assert (found.low, found.high) == pytest.approx((1e-4, 8e-3))
    assert (made["beam_undersampled"].measured, made["beam_undersampled"].low) == (
        pytest.approx(6.0), 2.0,
    )  # fmt: skip
    assert made["beam_elliptical"].measured == 1.0
    assert made["bright_source_Sun"].low == 10.0
    assert made["bright_source_CasA"].measured == 90.0
    assert math.isnan(made["bright_source_CasA"].low)


def test_of_several_rejections_the_first_in_classic_order_counts(good: Any) -> None:
    """LOFAR: noise, beam, bright source, rms range; any telescope: rms range, then beam."""
    bad = replace(good, rms_qc_jy=200.0, beam_semiminor_deg=0.0004, integration_s=0.0)
    near = Circumstances(bright_deg={**BRIGHT, "Sun": 3.0}, noise_jy=1.0)
    settings = {"bright_reject_deg": 10.0, "integration_zero": "reject"}
    order: dict[str, list[RejectReason | None]] = {}
    for telescope in ("LOFAR", "VLA"):
        image = replace(bad, telescope=telescope, array=ArrayInfo("HBA"))
        reasons = [c.reason for c in checks(image, near, **settings) if c.reason is not None]
        order[telescope] = list(dict.fromkeys(reasons))
        assert verdict_of(checks(image, near, **settings)).reason == RejectReason.TAU_TIME_INVALID
    tau, rms, beam, bright = (
        RejectReason.TAU_TIME_INVALID, RejectReason.RMS_INVALID, RejectReason.BEAM_INVALID,
        RejectReason.BRIGHT_SOURCE_NEAR,
    )  # fmt: skip
    assert order["LOFAR"] == [tau, rms, beam, bright]
    assert order["VLA"] == [tau, rms, bright, beam]
    no_noise = Circumstances(bright_deg=near.bright_deg)
    for telescope, expected in (("LOFAR", beam), ("VLA", bright)):
        image = replace(bad, telescope=telescope, integration_s=1.0)
        assert verdict_of(checks(image, no_noise, bright_reject_deg=10.0)).reason == expected
    calm = Circumstances(bright_deg=BRIGHT)
    image = replace(bad, telescope="VLA")
    assert verdict_of(checks(image, calm)).comment.startswith("RMS value 200 Jy/beam not within")


def test_a_duplicate_says_of_what(good: Any) -> None:
    found = one("duplicate", good, Circumstances(duplicate="the same bytes as b.fits"))
    assert (found.reason, found.comment) == (RejectReason.DUPLICATE, "the same bytes as b.fits")


@pytest.mark.parametrize(
    ("fraction", "result"),
    [(0.5, "accepted"), (0.51, "warned"), (0.9, "warned"), (0.91, "rejected")],
)
def test_missing_pixels_warn_before_they_reject(good: Any, fraction: float, result: str) -> None:
    assert one("nan", replace(good, nan_fraction=fraction)).result == result


@pytest.mark.parametrize(
    ("telescope", "antennas", "setting", "result"),
    [
        ("VLA", None, "accept", "accepted"),
        ("VLA", None, "warn", "warned"),
        ("VLA", None, "reject", "rejected"),
        ("LOFAR", "HBA", "reject", "rejected"),
        # Written by some imager: all of LOFAR's own metadata are missing (D12).
        ("LOFAR", None, "reject", "warned"),
    ],
)
def test_an_integration_time_of_zero(
    good: Any, telescope: str, antennas: str | None, setting: str, result: str
) -> None:
    changed = {"telescope": telescope, "array": ArrayInfo(antennas), "integration_s": 0.0}
    found = one("integration_time", replace(good, **changed), integration_zero=setting)
    assert (found.result, found.comment) == (result, "tau_time is 0")
    known = replace(good, **{**changed, "integration_s": 1e-3})
    assert one("integration_time", known, integration_zero=setting).result == "accepted"


@pytest.mark.parametrize(
    ("noise_jy", "result"),
    [(1.01e-3, "rejected"), (1e-3, "accepted"), (1.26e-5, "accepted"), (1.24e-5, "rejected")],
)
def test_rms_against_the_theoretical_noise(good: Any, noise_jy: float, result: str) -> None:
    found = one("theoretical_noise", good, Circumstances(noise_jy=noise_jy))
    assert found.result == result
    if result == "rejected":
        assert found.reason == RejectReason.RMS_INVALID
        assert "times theoretical noise" in found.comment
        assert f"is {1e-3 / noise_jy:.4g} times" in found.comment


def test_without_a_theoretical_noise_the_check_says_what_is_missing(good: Any) -> None:
    found = one("theoretical_noise", good, Circumstances(noise_missing="no antenna set"))
    assert (found.result, found.comment) == (CheckResult.NOT_MADE, "no antenna set")
    assert one("theoretical_noise", good).result == CheckResult.NOT_MADE


@pytest.mark.parametrize(
    ("distance", "settings", "result"),
    [
        (9.9, {}, "warned"),
        (10.0, {}, "accepted"),
        (9.9, {"bright_reject_deg": 9.0}, "warned"),
        (8.9, {"bright_reject_deg": 9.0}, "rejected"),
        (8.9, {"bright_reject_deg": 9.0, "bright_warn_deg": 0.0}, "rejected"),
        (9.9, {"bright_reject_deg": 9.0, "bright_warn_deg": 0.0}, "accepted"),
        (0.1, {"bright_sources": ("Moon",), "bright_reject_deg": 9.0}, "accepted"),
        (0.1, {"bright_warn_deg": 0.0}, "accepted"),
    ],
)
def test_distance_from_the_sun(
    good: Any, distance: float, settings: dict[str, Any], result: str
) -> None:
    around = Circumstances(bright_deg={**BRIGHT, "Sun": distance})
    found = one("bright_source_Sun", good, around, **settings)
    assert (found.result, found.measured) == (result, distance)
    if result != "accepted":
        assert found.comment.startswith(f"Pointing is {distance:.2f} degrees from Sun.")


def test_a_missing_ephemeris_skips_the_check_and_rejects_nothing(good: Any) -> None:
    around = Circumstances(bright_deg={**BRIGHT, "Sun": math.nan})
    assert one("bright_source_Sun", good, around, bright_reject_deg=180.0).result == "not made"
    assert verdict_of(checks(good, around)).accepted

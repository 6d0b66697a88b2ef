"""Numbers, positions and times as people read them: known answers."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest

from trap_ops.export import wording


@pytest.mark.parametrize(
    ("value", "digits", "expected"),
    [
        (2168.4, 3, "2168"),
        (0.2971, 3, "0.297"),
        (9.996, 3, "10.0"),
        (99.96, 3, "100"),
        (-2.671, 3, "−2.67"),
        (0.0, 3, "0"),
        (1.234e-5, 3, "1.23×10⁻⁵"),
        (-1.234e7, 2, "−1.2×10⁷"),
        (None, 3, "–"),
        (float("nan"), 3, "–"),
        (float("inf"), 3, "–"),
    ],
)
def test_number(value: float | None, digits: int, expected: str) -> None:
    assert wording.number(value, digits) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.5, "0.5"),
        (0.0023, "0.0023"),
        (6.4e-5, "6.4×10⁻⁵"),
        (1e-299, "1.0×10⁻²⁹⁹"),
        (0.0, "< 1×10⁻³⁰⁰"),
        (None, "–"),
    ],
)
def test_probability(value: float | None, expected: str) -> None:
    assert wording.probability(value) == expected


@pytest.mark.parametrize(
    ("ra", "dec", "expected"),
    [
        (123.0, 35.0, ("08:12:00.00", "+35:00:00.0")),
        (0.0, -0.5, ("00:00:00.00", "−00:30:00.0")),
        # What rounds to a full minute, hour, turn or degree carries.
        (15.0 - 1e-6, 10.0 - 1e-6, ("01:00:00.00", "+10:00:00.0")),
        (360.0 - 1e-9, 89.99999999, ("00:00:00.00", "+90:00:00.0")),
        (-15.0, -12.3456, ("23:00:00.00", "−12:20:44.2")),
    ],
)
def test_sexagesimal(ra: float, dec: float, expected: tuple[str, str]) -> None:
    assert wording.sexagesimal(ra, dec) == expected


@pytest.mark.parametrize(
    ("value", "error", "expected"),
    [
        (227.91, 1.13, "227.9 ± 1.1"),
        (-0.04, 1.2, "0.0 ± 1.2"),
        (0.01234, 0.00012, "0.01234 ± 0.00012"),
        (5123.0, 77.0, "5123 ± 77"),
        (3.0, float("nan"), "3.00"),
    ],
)
def test_with_error(value: float, error: float, expected: str) -> None:
    assert wording.with_error(value, error) == expected


def test_flux_unit() -> None:
    assert wording.flux_unit([0.5, float("nan"), -0.9]) == ("mJy", 1e3)
    assert wording.flux_unit([0.5, -1.0]) == ("Jy", 1.0)
    assert wording.flux_unit(np.empty(0).tolist()) == ("mJy", 1e3)


def test_times_and_frequencies() -> None:
    noon = datetime(2026, 1, 1, 12)
    assert wording.utc(noon) == "2026-01-01 12:00:00"
    assert wording.utc(noon.replace(microsecond=500_000)) == "2026-01-01 12:00:00.500"
    assert wording.duration(0.123) == "0.12 s"
    assert wording.duration(59.6) == "59.6 s"
    assert wording.duration(200) == "3 min 20 s"
    assert wording.duration(7380) == "2 h 03 min"
    assert wording.frequency(150e6) == "150 MHz"
    assert wording.frequency(1.4e9) == "1.4 GHz"
    assert wording.count(1, "image") == "1 image"
    assert wording.count(0, "image") == "0 images"

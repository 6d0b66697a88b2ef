"""What is said of errors: what was found, whether p-values can be trusted, and what to do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from trap_ops.export.error_models import ErrorWords, error_words, in_words
from trap_ops.records.error_model import ErrorModel
from trap_ops.records.images import Band

# Chosen so that the right share of steady sources is below 0.001.
RIGHT = ErrorModel(
    curves=900, systematic=0.0, variable=0.1, slope=1.01, slope_err=0.02, floor=0.001,
    floor_err=0.0008, false_rate=0.0011, false_rate_low=0.0008, false_rate_high=0.0016,
)  # fmt: skip
MANY = {"false_rate": 0.034, "false_rate_low": 0.03, "false_rate_high": 0.04}
FEW = {"false_rate": 1e-5, "false_rate_low": 0.0, "false_rate_high": 4e-5}


def said(**changes: float) -> ErrorWords:
    return in_words(replace(RIGHT, **changes), "150 MHz")  # type: ignore[arg-type]


def test_right_errors_are_told_without_a_warning() -> None:
    words = said()
    assert words.found == (
        "Errors at 150 MHz: the scatter of 810 steady sources is 1.010 ± 0.020 times their "
        "errors, plus less than 0.23 % of the flux"
    )
    assert words.warning == ""


def test_a_floor_is_told_with_the_value_to_set() -> None:
    words = said(floor=0.021, floor_err=0.003, **MANY)
    assert words.found.endswith("errors, plus 2.10 ± 0.30 % of the flux")
    assert words.warning == (
        "p-values are too small, and there are false candidates: 3.4 % of the steady sources are "
        "below 0.001, not 0.1 %. Set variability.systematic_flux_error = 0.021 in a new dataset "
        "and they will be right."
    )


def test_a_term_that_is_too_large_is_told() -> None:
    words = said(systematic=0.03, **FEW)
    assert words.found.endswith("(3.0 % is set)")
    assert words.warning == (
        "p-values are too large, and variables are missed: 0.0010 % of the steady sources are "
        "below 0.001, not 0.1 %. Set variability.systematic_flux_error = 0 in a new dataset and "
        "they will be right."
    )


@pytest.mark.parametrize(("slope", "word", "share"), [(1.3, "small", MANY), (0.8, "large", FEW)])
def test_a_wrong_slope_is_not_mended_by_a_term(
    slope: float, word: str, share: dict[str, float]
) -> None:
    words = said(slope=slope, **share)
    assert f"The errors of the measurements are too {word} by themselves" in words.warning
    assert "Set " not in words.warning
    both = said(slope=slope, floor=0.05, floor_err=0.001, **share)
    assert "= 0.05 in a new dataset. The errors of the" in both.warning


def test_nothing_to_set_is_said_too() -> None:
    words = said(systematic=0.02, floor=0.0201, floor_err=0.001, **MANY)
    assert words.warning.endswith("Nothing that can be set mends that: do not trust them.")


@pytest.mark.parametrize(
    ("low", "high", "warned"),
    [(0.0021, 0.01, True), (0.0019, 0.01, False), (0.0, 0.0006, False), (0.0, 0.0004, True)],
)
def test_warnings_come_where_the_fit_is_sure(low: float, high: float, warned: bool) -> None:
    words = said(false_rate_low=low, false_rate_high=high)
    assert bool(words.warning) == warned


def test_a_slope_that_is_not_seen_is_a_limit() -> None:
    words = said(slope=0.5, slope_err=1.0, floor=0.03, floor_err=0.001)
    assert "is less than 2.1 times their errors, plus 3.00 ± 0.10 % of the flux" in words.found


def test_too_few_light_curves_have_no_numbers() -> None:
    words = in_words(ErrorModel(curves=7, systematic=0.02), "150 MHz")
    assert words == ErrorWords(
        "Errors at 150 MHz: 7 light curves of sources that may be steady; at least 20 are needed "
        "to compare their scatter with their errors",
        "",
    )


def test_stokes_are_named_where_there_are_several() -> None:
    bands = {3: Band(150e6, 149e6, 151e6), 5: Band(1.4e9, 1.3e9, 1.5e9)}
    one = error_words({(3, 1): RIGHT, (5, 1): RIGHT}, bands)
    assert [item.found.split(":")[0] for item in one] == ["Errors at 150 MHz", "Errors at 1.4 GHz"]
    two = error_words({(3, 1): RIGHT, (3, 4): RIGHT}, bands)
    assert [item.found.split(":")[0] for item in two] == [
        "Errors at 150 MHz, Stokes I",
        "Errors at 150 MHz, Stokes V",
    ]

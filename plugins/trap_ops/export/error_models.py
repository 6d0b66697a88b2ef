"""What the scatter of steady sources says of the errors, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trap_ops.export import wording
from trap_ops.records.error_model import ErrorModel, significance, upper_limit
from trap_ops.records.images import Band
from trap_ops.science.error_model import MIN_CURVES

_SETTING = "variability.systematic_flux_error"


@dataclass(frozen=True)
class ErrorWords:
    """What is said of a band and Stokes: what was found, and what is wrong (empty: nothing)."""

    found: str
    warning: str


def error_words(
    models: Mapping[tuple[int, int], ErrorModel], bands: Mapping[int, Band]
) -> list[ErrorWords]:
    """Words for each band and Stokes; the Stokes is named where there are several."""
    several = len({stokes for _, stokes in models}) > 1
    return [
        in_words(
            model,
            wording.frequency(bands[band].central_hz)
            + (f", {wording.stokes(stokes)}" if several else ""),
        )
        for (band, stokes), model in models.items()
    ]


def in_words(model: ErrorModel, band: str) -> ErrorWords:
    """Words for one band."""
    if not model.measured:
        few = wording.count(model.curves, "light curve")
        return ErrorWords(
            f"Errors at {band}: {few} of sources that may be steady; at least {MIN_CURVES} are "
            "needed to compare their scatter with their errors",
            "",
        )
    steady = round(model.curves * (1.0 - model.variable))
    found = (
        f"Errors at {band}: the scatter of {steady} steady sources is {_slope(model)} their "
        f"errors, plus {_floor(model)} of the flux"
    )
    if model.systematic > 0.0:
        found += f" ({_percent(model.systematic)} % is set)"
    return ErrorWords(found, _warning(model))


def _slope(model: ErrorModel) -> str:
    if significance(model.slope, model.slope_err) < 2.0:
        return f"less than {wording.number(upper_limit(model.slope, model.slope_err), 2)} times"
    return f"{wording.with_error(model.slope, model.slope_err)} times"


def _floor(model: ErrorModel) -> str:
    if significance(model.floor, model.floor_err) < 2.0:
        limit = upper_limit(model.floor, model.floor_err)
        return f"less than {_percent(limit)} %"
    return f"{wording.with_error(100.0 * model.floor, 100.0 * model.floor_err)} %"


def _percent(fraction: float) -> str:
    return wording.number(100.0 * fraction, 2)


def _warning(model: ErrorModel) -> str:
    """Say what is wrong with p-values, and what to do."""
    if not model.misleading:
        return ""
    share = f"{_percent(model.false_rate)} % of the steady sources are below 0.001, not 0.1 %"
    if model.too_many:
        said = f"p-values are too small, and there are false candidates: {share}. "
    else:
        said = f"p-values are too large, and variables are missed: {share}. "
    return said + " ".join(_advice(model))


def _advice(model: ErrorModel) -> list[str]:
    advice = []
    right = model.floor if significance(model.floor, model.floor_err) > 3.0 else 0.0
    if abs(right - model.systematic) > max(2.0 * model.floor_err, 0.1 * model.systematic):
        advice.append(f"Set {_SETTING} = {right:.2g} in a new dataset")
        advice[-1] += "." if _wrong_slope(model) else " and they will be right."
    if _wrong_slope(model):
        size = "small" if model.slope > 1.0 else "large"
        advice.append(
            f"The errors of the measurements are too {size} by themselves, which this setting does "
            "not mend: look at extraction.noise_correlation and at the quality of the images."
        )
    return advice or ["Nothing that can be set mends that: do not trust them."]


def _wrong_slope(model: ErrorModel) -> bool:
    """Whether errors would be wrong without any floor."""
    return abs(model.slope - 1.0) > max(2.0 * model.slope_err, 0.05)

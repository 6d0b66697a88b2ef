"""Axes of plots: where data fall on paper, and which values are worth a tick."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from trap_ops.export.wording import superscript
from trap_ops.records.arrays import FloatArray

_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0
# Steps of a time axis below a month, seconds.
_TIME_STEPS = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5),
    *(1.0, 2.0, 5.0, 10.0, 15.0, 30.0),
    *(_MINUTE, 2 * _MINUTE, 5 * _MINUTE, 10 * _MINUTE, 15 * _MINUTE, 30 * _MINUTE),
    *(_HOUR, 2 * _HOUR, 3 * _HOUR, 4 * _HOUR, 6 * _HOUR, 12 * _HOUR),
    *(_DAY, 2 * _DAY, 4 * _DAY, 7 * _DAY, 14 * _DAY),
)
# Steps above, months.
_MONTH_STEPS = (1, 2, 3, 6, 12, 24, 60, 120, 240, 600, 1200)
_MONTH_S = 30.44 * _DAY
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True)
class Tick:
    """A mark on an axis.

    Attributes
    ----------
    value : float
        In the units of the axis.
    label : str
        Empty for a mark without a number.
    below : str
        Second line of the label: the date or year where it changes.
    """

    value: float
    label: str
    below: str = ""


@dataclass(frozen=True)
class Scale:
    """From values to paper: ``low`` and ``high`` fall on ``start`` and ``end``."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, values: npt.ArrayLike) -> FloatArray:
        """Place values; those off a logarithmic axis (not positive) become NaN."""
        array = np.asarray(values, dtype=np.float64)
        low, high = self.low, self.high
        if self.log:
            with np.errstate(divide="ignore", invalid="ignore"):
                array = np.where(array > 0.0, np.log10(array), np.nan)
            low, high = math.log10(low), math.log10(high)
        return self.start + (array - low) / (high - low) * (self.end - self.start)


def linear_ticks(low: float, high: float, most: int = 6) -> list[Tick]:
    """Multiples of 1, 2 or 5 times a power of ten from ``low`` to ``high`` inclusive.

    Parameters
    ----------
    low, high : float
        ``low < high``.
    most : int
        At most so many, but at least the one or two that the coarsest step leaves.
    """
    span = high - low
    step = 10.0 ** math.floor(math.log10(span / most))
    while span / step > most - 1:
        # 1, 2, 5, 10: the mantissa decides which factor comes next.
        mantissa = round(step / 10.0 ** math.floor(math.log10(step) + 1e-9))
        step *= 2.5 if mantissa == 2 else 2.0
    decimals = max(-math.floor(math.log10(step) + 1e-9), 0)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [
        Tick(number * step, f"{number * step:.{decimals}f}".replace("-", "\N{MINUS SIGN}"))
        for number in range(first, last + 1)
    ]


def log_ticks(low: float, high: float, most: int = 8) -> list[Tick]:
    """Powers of ten from ``low`` to ``high``; 2 and 5 times them too where there are few.

    Parameters
    ----------
    low, high : float
        ``0 < low < high``.
    most : int
        With more powers of ten than this only every second, third ... one is labelled.
    """
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    if last - first < 2:
        return [
            Tick(value, f"{value:g}")
            for exponent in range(first - 1, last + 1)
            for value in (10.0**exponent * factor for factor in (1, 2, 5))
            if low * (1.0 - 1e-9) <= value <= high * (1.0 + 1e-9)
        ]
    every = -(-(last - first + 1) // most)
    return [
        Tick(10.0**exponent, _power_of_ten(exponent) if exponent % every == 0 else "")
        for exponent in range(first, last + 1)
    ]


def _power_of_ten(exponent: int) -> str:
    if -3 <= exponent <= 3:
        return f"{10.0**exponent:g}"
    return f"10{superscript(exponent)}"


def date_ticks(low: datetime, high: datetime, most: int = 7) -> list[Tick]:
    """Round times of day, days, months or years from ``low`` to ``high`` inclusive.

    Parameters
    ----------
    low, high : datetime
        ``low < high``.
    most : int
        At most so many.

    Returns
    -------
    list of Tick
        Values are seconds since ``low``.
    """
    span = (high - low).total_seconds()
    step = next((s for s in _TIME_STEPS if span / s <= most - 1), None)
    if step is not None:
        return list(_by_seconds(low, high, step))
    months = next((m for m in _MONTH_STEPS if span / (m * _MONTH_S) <= most - 1), _MONTH_STEPS[-1])
    return list(_by_months(low, high, months))


def _by_seconds(low: datetime, high: datetime, step: float) -> Iterator[Tick]:
    """Multiples of a step since midnight; several days are counted from a Monday."""
    midnight = low.replace(hour=0, minute=0, second=0, microsecond=0)
    if step > _DAY:
        # Day 1 of the calendar is a Monday: weeks begin on one, and all plots agree.
        midnight -= timedelta(days=(midnight.toordinal() - 1) % round(step / _DAY))
    microseconds = round(step * 1e6)
    offset = (low - midnight) // timedelta(microseconds=1)
    number = -(-offset // microseconds)
    before = ""
    while (time := midnight + timedelta(microseconds=number * microseconds)) <= high:
        label, below = _time_label(time, step)
        yield Tick((time - low).total_seconds(), label, below if below != before else "")
        before = below
        number += 1


def _time_label(time: datetime, step: float) -> tuple[str, str]:
    if step >= _DAY:
        return f"{_MONTHS[time.month - 1]} {time.day}", f"{time.year}"
    date = f"{time:%Y-%m-%d}"
    if step >= _MINUTE:
        return f"{time:%H:%M}", date
    if step >= 1.0:
        return f"{time:%H:%M:%S}", date
    return f"{time:%H:%M:%S}.{time.microsecond // 1000:03d}", date


def _by_months(low: datetime, high: datetime, step: int) -> Iterator[Tick]:
    number = -(-(low.year * 12 + low.month - 1) // step) * step
    before = ""
    while number < 12 * 10_000:
        time = low.replace(
            year=number // 12,
            month=number % 12 + 1,
            day=1,
            hour=0,
            minute=0,
            second=0,
            microsecond=0,
        )
        if time > high:
            return
        year = f"{time.year}"
        if time >= low and step >= 12:
            yield Tick((time - low).total_seconds(), year)
        elif time >= low:
            label = _MONTHS[time.month - 1]
            yield Tick((time - low).total_seconds(), label, year if year != before else "")
            before = year
        number += step

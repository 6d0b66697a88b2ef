"""Parsets of the classic metadata injection (SCIENCE.md 1.7): INI files."""

from __future__ import annotations

import configparser
import math
from collections.abc import Callable
from dataclasses import dataclass

from astropy.io import fits

from trap_ops.config.load import nearest_name
from trap_ops.errors import ConfigError
from trap_ops.images.times import parse_date
from trap_ops.records.names import one_line

SECTION = "inject"
_YEARS = (1900, 2999)
_COUNT_MAX = 1_000_000
# Characters, of column image.antenna_set.
_TEXT_MAX = 64


@dataclass(frozen=True)
class _Kind:
    """Which card a key is written to, and what it may be.

    Attributes
    ----------
    keyword : str
    unit : str
        For the comment of the card; empty for plain numbers and text.
    read : callable
        Value of a text; raises ValueError with what is allowed.
    """

    keyword: str
    unit: str
    read: Callable[[str], str | int | float]


def _date(text: str) -> str:
    time = parse_date(text)[0]
    if time is None or not _YEARS[0] <= time.year <= _YEARS[1]:
        msg = f"a date like 2024-01-01T00:00:00, of the years {_YEARS[0]} to {_YEARS[1]}"
        raise ValueError(msg)
    return text


def _words(text: str) -> str:
    if len(text) > _TEXT_MAX or not text.isascii() or not text.isprintable():
        msg = f"at most {_TEXT_MAX} plain characters (ASCII)"
        raise ValueError(msg)
    return text


def _count(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = -1
    if not 0 <= value <= _COUNT_MAX:
        msg = f"a whole number from 0 to {_COUNT_MAX}"
        raise ValueError(msg)
    return value


def _number(lowest: float, highest: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not lowest <= value <= highest:
            msg = f"a number from {lowest:g} to {highest:g}"
            raise ValueError(msg)
        return value

    return read


# The ranges are those that the reader takes.
_FREQUENCY, _WIDTH = _number(1e3, 1e16), _number(1e-3, 1e16)
_SIDE, _PLACE = _number(1e-10, 180.0), _number(-1e9, 1e9)
KEYS = {
    "taustart_ts": _Kind("DATE-OBS", "", _date),
    "freq_eff": _Kind("RESTFRQ", "Hz", _FREQUENCY),
    "freq_bw": _Kind("RESTBW", "Hz", _WIDTH),
    "tau_time": _Kind("TAU_TIME", "s", _number(0.0, 1e10)),
    "antenna_set": _Kind("ANTENNA", "", _words),
    "subbands": _Kind("SUBBANDS", "", _count),
    "ncore": _Kind("NCORE", "", _count),
    "nremote": _Kind("NREMOTE", "", _count),
    "nintl": _Kind("NINTL", "", _count),
    "subbandwidth": _Kind("SUBBANDW", "Hz", _WIDTH),
    "bmaj": _Kind("BMAJ", "deg", _SIDE),
    "bmin": _Kind("BMIN", "deg", _SIDE),
    "bpa": _Kind("BPA", "deg", _number(-360.0, 360.0)),
    "itrf_position_x": _Kind("ITRFPOSX", "m", _PLACE),
    "itrf_position_y": _Kind("ITRFPOSY", "m", _PLACE),
    "itrf_position_z": _Kind("ITRFPOSZ", "m", _PLACE),
}


def read_parset(text: str, name: str) -> dict[str, str | int | float]:
    """Read what is to be injected.

    Parameters
    ----------
    text : str
        The file.
    name : str
        Of the file, for messages.

    Returns
    -------
    dict
        Values by key of the parset, in its order.

    Raises
    ------
    ConfigError
        One message for all problems.
    """
    parser = configparser.ConfigParser(interpolation=None, inline_comment_prefixes=("#", ";"))
    try:
        parser.read_string(text, source=name)
    except configparser.Error as error:
        msg = f"{name} is no parset: {one_line(str(error))}"
        raise ConfigError(msg, parset=name) from error
    if SECTION not in parser:
        near = nearest_name(SECTION, parser.sections())
        msg = f"{name} has no section [{SECTION}]{near}; begin it with a line [{SECTION}]"
        raise ConfigError(msg, parset=name)
    values: dict[str, str | int | float] = {}
    problems = []
    for key, written in parser[SECTION].items():
        plain = written.strip()
        if len(plain) > 1 and plain[0] == plain[-1] and plain[0] in "'\"":
            plain = plain[1:-1].strip()
        if key not in KEYS:
            problems.append(f"{one_line(key)} is no key{nearest_name(key, KEYS)}")
            continue
        try:
            if not plain:
                problems.append(f"{key} has no value: give it one, or leave the key out")
                continue
            values[key] = KEYS[key].read(plain)
        except ValueError as error:
            problems.append(f"{key} = {one_line(plain)!r}: must be {error}")
    if not values and not problems:
        problems = [f"section [{SECTION}] is empty; there are: {', '.join(KEYS)}"]
    if problems:
        msg = f"{name} has {len(problems)} problem(s), and nothing was changed:\n  "
        raise ConfigError(msg + "\n  ".join(problems), parset=name, problems=problems)
    return values


def card_of(key: str, value: str | float) -> fits.Card:
    """Return the card that a key is written to."""
    kind = KEYS[key]
    comment = f"[{kind.unit}] injected" if kind.unit else "injected"
    card = fits.Card(kind.keyword, value)
    # A long text leaves no room for it.
    return fits.Card(kind.keyword, value, comment) if len(str(card).rstrip()) < 50 else card

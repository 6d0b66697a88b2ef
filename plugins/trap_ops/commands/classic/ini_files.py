"""Settings of classic TraP: INI files whose values are Python literals (SCIENCE.md 10)."""

from __future__ import annotations

import ast
import configparser
import re
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime

from trap_ops.errors import ConfigError
from trap_ops.records.names import one_line

_TIME = "%Y-%m-%dT%H:%M:%S.%f"
# On Python 2 a comment could follow a value; the templates of then have many.
_COMMENT = re.compile(r"(?:^|\s)[;#].*$", re.DOTALL)
_QUOTED = re.compile(r"""('[^']*'|"[^"]*")\s*[;#].*""", re.DOTALL)
# No value has more characters; a longer one is not tried as a literal.
_MAX_LITERAL = 10_000


def read_ini(
    text: str, name: str, variables: Mapping[str, str] | None = None
) -> dict[str, dict[str, str]]:
    """Read an INI file of classic TraP.

    Parameters
    ----------
    text : str
    name : str
        Of the file, for messages.
    variables : mapping, optional
        What ``%(name)s`` stands for, beside the keys of ``[DEFAULT]``.

    Returns
    -------
    dict
        Texts by section and key. Keys of ``[DEFAULT]`` are in a section of that name only.

    Raises
    ------
    ConfigError
        If it is no INI file. The message has no line of it, because it may be one with a password.
    """
    parser = configparser.ConfigParser(default_section=" ", interpolation=None)
    try:
        parser.read_string(text, source=name)
    except configparser.DuplicateOptionError as error:
        where = (
            f"{name}, line {error.lineno}: {one_line(error.option)} of [{one_line(error.section)}]"
        )
        msg = f"{where} is there twice; leave one of them"
        raise ConfigError(msg, name=name) from None
    except configparser.DuplicateSectionError as error:
        where = f"{name}, line {error.lineno}: section [{one_line(error.section)}]"
        msg = f"{where} is there twice; make one of them"
        raise ConfigError(msg, name=name) from None
    except configparser.Error as error:
        line = getattr(error, "lineno", None) or next(
            (number for number, _ in getattr(error, "errors", ())), None
        )
        where = f"{name}, line {line}" if line else name
        msg = f"{where}: this is neither [section] nor key = value"
        raise ConfigError(msg, name=name) from None
    found = {section: dict(parser.items(section, raw=True)) for section in parser.sections()}
    known = {**(variables or {}), **found.get("DEFAULT", {})}
    return {
        section: {key: _filled(value, {**known, **values}) for key, value in values.items()}
        for section, values in found.items()
    }


def _filled(text: str, known: Mapping[str, str]) -> str:
    """Replace ``%(name)s``, as deep as classic TraP did; what has no value stays."""
    for _ in range(configparser.MAX_INTERPOLATION_DEPTH):
        filled = re.sub(r"%\((\w+)\)s", lambda at: known.get(at[1].lower(), at[0]), text)
        if filled == text or len(filled) > _MAX_LITERAL:
            break
        text = filled
    return text


def value_of(text: str) -> object:
    """Value of a text: a Python literal, else a time stamp (UTC), else the text itself.

    A comment behind it is left out, unless it is within quotes.
    """
    return _value_and_text(text)[0]


def without_comment(text: str) -> str:
    """Return a value as it is written, without the comment behind it."""
    return _value_and_text(text)[1]


def _value_and_text(text: str) -> tuple[object, str]:
    whole = text.strip()
    quoted = _QUOTED.fullmatch(whole)
    short = quoted[1] if quoted else _COMMENT.sub("", whole, count=1).strip()
    for candidate in dict.fromkeys((whole, short)):
        try:
            return _literal(candidate), candidate
        except ValueError:
            pass
        try:
            return datetime.strptime(candidate, _TIME).replace(tzinfo=UTC), candidate
        except ValueError:
            pass
    return short, short


def _literal(text: str) -> object:
    if len(text) > _MAX_LITERAL:
        raise ValueError(text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.literal_eval(text)
    except (SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(text) from error

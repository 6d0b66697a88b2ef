"""The text of a Python file of classic TraP: read and parsed, never executed."""

from __future__ import annotations

import ast
import re
import warnings
from pathlib import Path

from trap_ops.errors import ConfigError
from trap_ops.records.names import one_line

# Lists of ten thousand images have 1 MB.
_MAX_BYTES = 2_000_000
# Classic TraP ran on Python 2, and its template for lists of images printed them.
_PRINT = re.compile(r"^(\s*)print\b(?!\s*\().*$", re.MULTILINE)


def read_text(path: Path) -> str:
    """Read a file of classic TraP.

    Raises
    ------
    ConfigError
        If it cannot be read, or is far too long to be one.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        msg = f"{one_line(str(path))} cannot be read: {error.strerror}"
        raise ConfigError(msg, path=str(path)) from error
    if len(content) > _MAX_BYTES:
        msg = (
            f"{one_line(str(path))} has {len(content)} bytes, and no file of settings has more "
            f"than {_MAX_BYTES}; is it the right one?"
        )
        raise ConfigError(msg, path=str(path))
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        # Comments of the time before UTF-8. Every byte is a character there.
        text = content.decode("latin-1")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def parse_python(text: str, name: str) -> list[ast.stmt]:
    """Parse a Python file, of Python 2 if its only difference is how it prints.

    Raises
    ------
    ConfigError
        If it is no Python.
    """
    try:
        return _parsed(text)
    except SyntaxError:
        pass
    try:
        return _parsed(_PRINT.sub(r"\1pass", text))
    except SyntaxError as error:
        where = f", line {error.lineno}" if error.lineno else ""
        msg = f"{name}{where}: this is no Python that can be read"
        raise ConfigError(msg, name=name) from error


def _parsed(text: str) -> list[ast.stmt]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # e.g. of a backslash in a path
            return ast.parse(text).body
    except (ValueError, RecursionError, MemoryError) as error:
        # A NUL among the characters, or brackets in brackets in brackets ...
        raise SyntaxError(str(error)) from error

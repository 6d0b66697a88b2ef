"""Text of files and users as it may be shown, logged and stored: a name may hold any character."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from trap_ops.errors import ConfigError

# Of a dataset or a monitoring position: the width of the columns that keep them.
MAX_NAME_LENGTH = 100
# Of a path, in UTF-8: the classic width of column image.url. PostgreSQL has no index of longer text
# than 2700 bytes.
MAX_PATH_BYTES = 1024
# Characters that are not seen but change how others are: control codes, directions of writing,
# separators of lines; and halves of characters, which are bytes that are not UTF-8.
_UNSEEN = "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_IN_TEXT = re.compile(f"[{_UNSEEN}]")
_IN_LINE = re.compile(f"[{_UNSEEN}\t\n]")


def visible(text: str) -> str:
    """Write characters that would change others unseen as their codes; lines stay lines."""
    return _IN_TEXT.sub(_code, text)


def one_line(text: str) -> str:
    """Write unseen characters as their codes, ends of lines too: a name cannot forge a line."""
    return _IN_LINE.sub(_code, text)


def shown_path(path: Path | str) -> str:
    """Path in one line that can be stored; of a longer one the beginning and a checksum."""
    text = one_line(str(path))
    encoded = text.encode()
    if len(encoded) <= MAX_PATH_BYTES:
        return text
    digest = hashlib.sha256(encoded).hexdigest()[:16]
    start = encoded[: MAX_PATH_BYTES - 64].decode(errors="ignore")
    return f"{start}... ({len(text)} characters, SHA-256 {digest})"


def check_name(name: str, what: str) -> None:
    """Check that a name can be kept and seen.

    Parameters
    ----------
    name : str
    what : str
        What has the name, for the message.

    Raises
    ------
    ConfigError
        If it is blank, too long, or has characters that cannot be seen.
    """
    if not name.strip():
        msg = f"the name of {what} is blank; give it 1 to {MAX_NAME_LENGTH} characters"
    elif len(name) > MAX_NAME_LENGTH:
        msg = (
            f"the name of {what} has {len(name)} characters, and {MAX_NAME_LENGTH} can be kept; "
            f"shorten it: {one_line(name)}"
        )
    elif one_line(name) != name:
        msg = f"the name of {what} has characters that cannot be seen; leave out: {one_line(name)}"
    else:
        return
    raise ConfigError(msg, name=name)


def _code(found: re.Match[str]) -> str:
    number = ord(found[0])
    if 0xDC80 <= number <= 0xDCFF:  # Python's stand-in for a byte of a name that is not UTF-8
        return f"\\x{number - 0xDC00:02x}"
    return f"\\u{number:04x}"

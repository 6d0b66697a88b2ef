"""Which tables of casacore hold what is in them; others lead to tables anywhere on the machine."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from trap_ops.errors import ImageError

TABLE_FILE = "table.dat"
_MAGIC = b"\xbe\xbe\xbe\xbe"
_NAME = b"\x00\x00\x00\x05Table"
_OWN = b"PlainTable"
_KINDS = {b"RefTable": "a selection from another table", b"ConcatTable": "a chain of other tables"}
# Columns that casacore takes from other tables. These names stand plainly in the description.
_ELSEWHERE = re.compile(rb"ForwardColumn\w*|VirtualTaQLColumn")
_NAME_MAX = 64


def check_own(table: Path, files: Iterable[Path]) -> None:
    """Check that a table and those in it keep their content in their own files.

    It is looked at before casacore opens anything, as bytes: casacore follows without asking.

    Parameters
    ----------
    table : Path
    files : iterable of Path
        All files below it.

    Raises
    ------
    ImageError
        If one refers to other tables, or does not begin as a table does.
    OSError
        If one cannot be read.
    """
    for file in files:
        if file.name != TABLE_FILE:
            continue
        content = file.read_bytes()
        kind = _kind(content)
        if kind != _OWN:
            refers = _KINDS.get(kind)
            reason = "refers elsewhere" if refers else "damaged table"
            words = f"it is {refers}" if refers else "it does not begin as a CASA table does"
        elif found := _ELSEWHERE.search(content):
            reason = "refers elsewhere"
            words = f"it has a column kept in another table ({found[0].decode()})"
        else:
            continue
        part = file.parent.relative_to(table)
        where = "" if part == Path() else f"its part {part}: "
        advice = (
            "write it as a table of its own (in CASA: tb.copy(..., deep=True))"
            if reason == "refers elsewhere"
            else "it is a damaged CASA table; copy it again"
        )
        msg = f"{where}{words}; {advice}"
        raise ImageError(msg, reason=reason)


def _kind(content: bytes) -> bytes:
    """Kind of a table by its description, which is canonical AipsIO; empty if it is none."""
    place = len(_MAGIC) + 4
    if content[:4] != _MAGIC or content[place : place + len(_NAME)] != _NAME:
        return b""
    place += len(_NAME)
    version = int.from_bytes(content[place : place + 4], "big")
    # Version, number of rows, byte order of the rows.
    place += 4 + (8 if version > 2 else 4) + 4
    size = int.from_bytes(content[place : place + 4], "big")
    return content[place + 4 : place + 4 + min(size, _NAME_MAX)]

"""The integration time is written into CASA tables of LOFAR (SCIENCE.md 1.7)."""

from __future__ import annotations

import filecmp
import shutil
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from astropy import units as u

from trap_ops.errors import ImageError
from trap_ops.images import casa
from trap_ops.images.replacing import replace_file
from trap_ops.images.structure import named

_PART = "LOFAR_ORIGIN"
_KEY = "tau_time"
_LOCK_FILE = "table.lock"


def inject_table(
    path: Path, values: Mapping[str, str | int | float], *, dry_run: bool
) -> tuple[float, float]:
    """Make END of the first row of LOFAR_ORIGIN what START plus the integration time is.

    Returns
    -------
    tuple of float
        Old and new END, in the unit of its column.

    Raises
    ------
    ImageError
        If it is no such table, or something else is to be injected; it is as it was.
    """
    others = sorted(set(values) - {_KEY})
    if others:
        msg = (
            f"{path.name}: into CASA tables only {_KEY} can be injected, and the parset has "
            f"{', '.join(others)}; say these in images.assume"
        )
        raise ImageError(msg, reason="not for CASA tables")
    with named(path.name):
        casa.check_confined(path)
    if not (path / _PART / "table.dat").is_file():
        msg = (
            f"{path.name}: it has no table {_PART}, as LOFAR's images have; say integration_s in "
            "images.assume"
        )
        raise ImageError(msg, reason="not for CASA tables")
    try:
        return _changed(path, float(values[_KEY]), dry_run=dry_run)
    except ImageError:
        raise
    except ImportError as error:
        msg = (
            f"{path.name}: it is a CASA table, and python-casacore is not installed: run "
            "`.venv/bin/pip install -r requirements-casa.txt`"
        )
        raise ImageError(msg, reason="casacore missing", passing=True) from error
    except Exception as error:
        detail = (str(error).strip().splitlines() or [type(error).__name__])[0]
        msg = f"{path.name}: its table {_PART} cannot be changed, and is as it was: {detail}"
        raise ImageError(msg, reason="damaged table") from error


def _changed(path: Path, integration_s: float, *, dry_run: bool) -> tuple[float, float]:
    """Change a copy of the sub-table; then the one file of it that differs replaces the old one."""
    from casacore.tables import table as open_table  # noqa: PLC0415 - an optional package

    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch, _PART)
        shutil.copytree(path / _PART, copy)
        with open_table(str(copy), readonly=False, ack=False) as table:
            old = float(table.getcell("END", 0))
            start = float(table.getcell("START", 0))
            begun = u.Quantity(start, _unit(table, "START"))
            new = float((begun + integration_s * u.s).to_value(_unit(table, "END")))
            table.putcell("END", 0, new)
        names = sorted(file.name for file in copy.iterdir() if file.name != _LOCK_FILE)
        _, differing, wrong = filecmp.cmpfiles(path / _PART, copy, names, shallow=False)
        if wrong or len(differing) > 1:
            msg = (
                f"{path.name}: its table {_PART} keeps the times in several files "
                f"({', '.join(differing + wrong)}), which cannot be replaced at once; say "
                "integration_s in images.assume"
            )
            raise ImageError(msg, reason="damaged table")
        for name in () if dry_run else differing:
            replace_file(path / _PART / name, partial(_write, (copy / name).read_bytes()))
    return old, new


def _write(content: bytes, _: BinaryIO, new: BinaryIO) -> None:
    new.write(content)


def _unit(table: Any, column: str) -> str:  # noqa: ANN401 - casacore has no types
    if "QuantumUnits" not in table.colkeywordnames(column):
        return "s"
    return str(table.getcolkeyword(column, "QuantumUnits")[0])

"""Positions on the sky as people have them: CSV, VOTable, or ``[[ra, dec], ...]``."""

from __future__ import annotations

import csv
import io
import json
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trap_ops.errors import ConfigError
from trap_ops.records.names import one_line
from trap_ops.records.runs import MonitorPosition
from trap_ops.science.coordinates import parse_position
from trap_ops.science.monitoring import checked_position

# Names of columns of a CSV file, in small letters.
_RA, _DEC, _NAME = ("ra", "ra_deg"), ("dec", "decl", "dec_deg"), ("name",)
_DELIMITERS = ",;\t"

# Where it stands, and right ascension, declination and name as texts or degrees.
Entry = tuple[str, str | float, str | float, str]


def read_positions(source: str) -> tuple[list[MonitorPosition], list[str]]:
    """Read positions from a file, or from the text ``[[ra, dec], ...]`` itself.

    Angles are degrees; as texts with colons, spaces or letters between their parts they are
    sexagesimal, right ascension in hours.

    Parameters
    ----------
    source : str
        Path of a CSV file whose first line names columns ``ra``, ``dec`` or ``decl``, and, if it
        likes, ``name``; of a VOTable with columns of UCD ``pos.eq.ra`` and ``pos.eq.dec``; of a
        file with the text; or the text.

    Returns
    -------
    positions : list of MonitorPosition
        Wrapped and named.
    places : list of str
        Where each stands, e.g. ``line 3``.

    Raises
    ------
    ConfigError
        If anything in it cannot be read; one message names every bad line.
    """
    positions, places, problems = [], [], []
    for place, ra, dec, name in _entries(source):
        try:
            position = checked_position(_position(ra, dec, name))
        except ConfigError as error:
            problems.append(f"{place}: {error.message}")
        else:
            positions.append(position)
            places.append(place)
    if problems:
        msg = "nothing is added:\n  " + "\n  ".join(problems)
        raise ConfigError(msg, problems=problems)
    if not positions:
        msg = f"there are no positions in {one_line(source)}"
        raise ConfigError(msg, source=source)
    return positions, places


def _entries(source: str) -> Iterable[Entry]:
    if source.lstrip().startswith("["):
        return _of_json(source)
    path = Path(source)
    try:
        content = path.read_bytes()
    except OSError as error:
        msg = (
            f"positions {one_line(source)} cannot be read: {error.strerror}; give a CSV file, a "
            "VOTable, or a text like '[[123.4, -20.1], [10.5, 41.2]]'"
        )
        raise ConfigError(msg, source=source) from error
    if re.match(rb"\s*<", content.removeprefix(b"\xef\xbb\xbf")):
        return _of_votable(content, path.name)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        msg = f"{one_line(path.name)} is neither a VOTable nor text in UTF-8"
        raise ConfigError(msg, source=source) from error
    return _of_json(text) if text.lstrip().startswith("[") else _of_csv(text, path.name)


def _of_json(text: str) -> Iterator[Entry]:
    """Entries of ``[[ra, dec], ...]``; a third item is the name."""
    form = 'write [[ra, dec], ...] or [[ra, dec, "name"], ...], in degrees'
    try:
        rows = json.loads(text, parse_int=float)
    except ValueError as error:
        msg = f"the positions are not JSON ({error}); {form}"
        raise ConfigError(msg, text=text) from error
    # One position alone is meant as a list of one.
    if rows and not isinstance(rows[0], list):
        rows = [rows]
    for number, row in enumerate(rows, start=1):
        place = f"position {number}"
        good = isinstance(row, list) and 2 <= len(row) <= 3
        if not good or not all(_is_angle(item) for item in row[:2]):
            yield place, json.dumps(row), "", ""
        else:
            yield place, *row[:2], str(row[2]).strip() if len(row) == 3 else ""


def _is_angle(item: object) -> bool:
    return isinstance(item, str | float)


def _of_csv(text: str, name: str) -> Iterator[Entry]:
    lines = text.splitlines()
    first = next((line for line in lines if line.strip()), "")
    delimiter = max(_DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter)
    columns: Mapping[str, int] | None = None
    try:
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            if columns is None:
                columns = _columns(row, name)
                continue
            cells = {what: row[i].strip() if i < len(row) else "" for what, i in columns.items()}
            yield f"line {reader.line_num}", cells["ra"], cells["dec"], cells.get("name", "")
    except csv.Error as error:
        msg = f"{one_line(name)}, line {reader.line_num}: {error}"
        raise ConfigError(msg, name=name) from error


def _columns(header: Sequence[str], name: str) -> dict[str, int]:
    """Where right ascension, declination and name stand."""
    found = [cell.strip().lower() for cell in header]
    columns = {}
    for what, names in (("ra", _RA), ("dec", _DEC), ("name", _NAME)):
        here = [i for i, cell in enumerate(found) if cell in names]
        if here:
            columns[what] = here[0]
    if "ra" not in columns or "dec" not in columns:
        msg = (
            f"{one_line(name)}: the first line must name a column ra and a column dec or decl "
            f"(and, if you like, name); it is {one_line(','.join(header))!r}"
        )
        raise ConfigError(msg, header=list(header))
    return columns


def _of_votable(content: bytes, name: str) -> Iterator[Entry]:
    """Entries of the first table of a VOTable, its columns chosen by their UCDs."""
    from astropy.io.votable import parse_single_table

    try:
        with warnings.catch_warnings():
            # What is against the standard and can be read all the same is no fault of the user's.
            warnings.simplefilter("ignore")
            table = parse_single_table(io.BytesIO(content))
            values = table.to_table()
    except Exception as error:
        msg = f"{one_line(name)} is no VOTable that can be read: {one_line(str(error))[:300]}"
        raise ConfigError(msg, name=name) from error
    ra = _field(table.fields, "pos.eq.ra", name)
    dec = _field(table.fields, "pos.eq.dec", name)
    named = next((f.ID for f in table.fields if str(f.name).lower() == "name"), None)
    named = named or next((f.ID for f in table.fields if _has_ucd(f, "meta.id")), None)
    for number, row in enumerate(values, start=1):
        angles = [_cell(row[key], values[key].unit) for key in (ra, dec)]
        text = "" if named is None or np.ma.is_masked(row[named]) else str(row[named]).strip()
        yield f"row {number}", angles[0], angles[1], text


def _has_ucd(field: Any, wanted: str) -> bool:  # noqa: ANN401 - of astropy
    """Whether a column is that, and not, say, its error. Older tables have POS_EQ_RA_MAIN."""
    first = str(field.ucd or "").lower().split(";")[0].strip()
    return first in {wanted, wanted.replace(".", "_"), f"{wanted.replace('.', '_')}_main"}


def _field(fields: Sequence[Any], wanted: str, name: str) -> str:
    """Name of the column with a UCD: the main one, where several have it."""
    found = [field for field in fields if _has_ucd(field, wanted)]
    main = [field for field in found if str(field.ucd).lower().endswith("main")]
    chosen = main or found
    if not chosen:
        have = ", ".join(f"{field.name} ({field.ucd})" for field in fields)
        msg = f"{one_line(name)} has no column with the UCD {wanted}; it has {one_line(have)}"
        raise ConfigError(msg, name=name)
    return str(chosen[0].ID)


def _cell(value: Any, unit: Any) -> str | float:  # noqa: ANN401 - of astropy
    """An angle of a VOTable: a text, or degrees. Nothing: an empty text."""
    if np.ma.is_masked(value):
        return ""
    if isinstance(value, str | bytes | np.str_):
        return value.decode() if isinstance(value, bytes) else str(value)
    if unit is None or str(unit) == "deg":
        return float(value)
    from astropy import units

    hours = str(unit) in {"h", "hourangle"}
    try:
        return float(units.Quantity(float(value), "hourangle" if hours else unit).to_value("deg"))
    except units.UnitsError:
        return f"{value} {unit}"


def _position(ra: str | float, dec: str | float, name: str) -> MonitorPosition:
    """Read the two angles of an entry.

    Raises
    ------
    ConfigError
        If one of them is none.
    """
    if isinstance(ra, int | float) and isinstance(dec, int | float):
        return MonitorPosition(ra, dec, name)
    angles = f"{_colons(ra, 'h')}, {_colons(dec, 'd°')}"
    try:
        position = parse_position(angles)
    except ConfigError as error:
        msg = (
            f"{one_line(str(ra))!r}, {one_line(str(dec))!r} is no position: write degrees, or "
            "08:13:36.0 and -20:06:00"
        )
        raise ConfigError(msg) from error
    if position.name:  # There was a third angle.
        msg = f"{one_line(str(ra))!r}, {one_line(str(dec))!r} is no position"
        raise ConfigError(msg)
    return MonitorPosition(position.ra_deg, position.dec_deg, name)


def _colons(angle: str | float, units: str) -> str:
    """An angle with colons between its parts, where spaces or letters stand between them."""
    if isinstance(angle, int | float):
        return repr(float(angle))
    text = angle.strip().lower()
    number = r"\d+(?:\.\d*)?"
    parts = rf"([+-]?\d+)[{units}\s]\s*({number})(?:[m'\s]\s*({number})?[s\"]?)?"
    found = re.fullmatch(parts, text)
    return ":".join(part for part in found.groups() if part) if found else text

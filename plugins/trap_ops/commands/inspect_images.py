"""``trap-manage inspect``: what the pipeline reads from files, and what is wrong with them."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from trap_ops.commands.environment import CONFIGURATIONS, image_access
from trap_ops.commands.run import parse_settings
from trap_ops.commands.summary import make_console
from trap_ops.config.load import AUTO, DEFAULT_FILE, load_configuration, named_file
from trap_ops.config.model import Configuration, ImagesConfig
from trap_ops.errors import ImageError
from trap_ops.images.discovery import absolute_input, find_files
from trap_ops.images.inspection import (
    PLACE,
    Inspection,
    corners_deg,
    inspect,
    mending_lines,
    pixel_sides_deg,
)
from trap_ops.images.planes import STOKES_LETTERS
from trap_ops.records.images import ImageFile
from trap_ops.records.names import one_line

# So many images are shown one after the other, more of them as a table.
_IN_FULL_MAX = 3
_UNKNOWN = "–"


def add_parser(verbs: Any) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "inspect",
        help="say what the pipeline reads from image files, and what is wrong with them",
        description="Say what the pipeline reads from the headers of image files: all that can be "
        "read, all problems together, and the lines of the configuration that mend them. Up to "
        f"{_IN_FULL_MAX} images are shown in full, more as a table. No pixel is read. Exit status "
        "1 if a file cannot be used.",
    )
    parser.add_argument("images", nargs="+", help="as `run` takes them")
    parser.add_argument("--json", action="store_true", help="all of it, for programs")
    add_configuration(parser)
    parser.set_defaults(run=run)


def add_configuration(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose how files are read."""
    parser.add_argument("--config", default=AUTO, help="configuration; default: by telescope")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help='another value for a setting, e.g. images.hdu="SCI"',
    )


class Configurations:
    """How files of each telescope are read, by the options of the command line.

    Raises
    ------
    ConfigError
        If there is no such configuration, or it is wrong.
    """

    def __init__(self, name: str, settings: list[str]) -> None:
        if name != AUTO:
            named_file(CONFIGURATIONS, name)
        self._name = name
        self._overrides = parse_settings(settings)
        default = DEFAULT_FILE.removesuffix(".toml")
        self.images = self._load(default if name == AUTO else name)[1].images
        # Telescopes are few, but a stream may name any number of them.
        self.of_telescope = lru_cache(maxsize=100)(self._of_telescope)

    def rules_of(self, telescope: str) -> ImagesConfig:
        """Settings for images of a telescope."""
        return self.of_telescope(telescope)[1].images

    def _of_telescope(self, telescope: str) -> tuple[str, Configuration]:
        return self._load(self._name, telescope)

    def _load(self, name: str, *telescopes: str) -> tuple[str, Configuration]:
        return load_configuration(CONFIGURATIONS, name, self._overrides, telescopes)


def run(arguments: argparse.Namespace) -> int:
    """Print what is read."""
    configurations = Configurations(arguments.config, arguments.set)
    settings = configurations.images
    access = image_access()
    inputs = [absolute_input(item) for item in arguments.images]
    found = find_files(inputs, settings.suffixes, settings.data_roots, access)
    access = access.below(settings.data_roots)
    inspections = [refused(location, error) for location, error in found.refused]
    for location in found.paths:
        inspections += inspect(location, configurations.rules_of, access)
    items = [(item, as_json(item, configurations)) for item in inspections]
    if arguments.json:
        print(json.dumps([values for _, values in items], indent=1, allow_nan=False))
    else:
        _show(make_console(), items)
    return 0 if all(values["usable"] for _, values in items) else 1


def refused(location: str, error: ImageError) -> Inspection:
    """Return an input that leads to no file."""
    return Inspection(location, None, frozenset(), (error,))


def as_json(item: Inspection, configurations: Configurations) -> dict[str, Any]:
    """All that is known of an image; None for what is not."""
    values: dict[str, Any] = {
        "file": item.location,
        "plane": None if item.image is None else item.image.plane.label,
        "usable": not item.problems,
        "problems": [{"reason": e.reason, "message": e.message} for e in item.problems],
        "notes": [] if item.image is None else list(item.image.notes),
        "configuration": configurations.of_telescope(item.telescope)[0] if item.image else None,
    }
    values |= dict.fromkeys(_KEYS)
    if item.image is not None:
        values |= _quantities(item, item.image)
        values |= _of_sky(item.image) if PLACE not in item.unknown else {}
        values |= {name: None for name in item.unknown - {PLACE} if name in values}
        values["mend"] = mending_lines([item]) or None
    return values


_KEYS = (
    "mend", "telescope", "start_utc", "integration_s", "freq_eff_hz", "freq_bw_hz", "stokes",
    "bmaj_deg", "bmin_deg", "bpa_deg", "unit", "frame", "projection", "nx", "ny",
    "pixel_sides_deg", "size_deg", "centre_ra_deg", "centre_dec_deg", "corners_deg", "hdu", "index",
    "antenna_set", "n_core", "n_remote", "n_international", "subbands", "subband_width_hz",
    "file_size_bytes", "header_sha256",
)  # fmt: skip


def _quantities(item: Inspection, image: ImageFile) -> dict[str, Any]:
    return {
        "telescope": image.telescope or None,
        "start_utc": None if "start" in item.unknown else image.start.isoformat(),
        "integration_s": image.integration_s,
        "freq_eff_hz": image.freq_eff_hz,
        "freq_bw_hz": image.freq_bw_hz,
        "stokes": STOKES_LETTERS.get(image.stokes, str(image.stokes)),
        "bmaj_deg": image.beam.bmaj_deg,
        "bmin_deg": image.beam.bmin_deg,
        "bpa_deg": image.beam.bpa_deg,
        "unit": item.unit or None,
        "frame": item.frame or None,
        "projection": item.projection or None,
        "nx": image.nx,
        "ny": image.ny,
        "hdu": image.plane.hdu,
        "index": list(image.plane.index),
        "antenna_set": image.array.antenna_set,
        "n_core": image.array.n_core,
        "n_remote": image.array.n_remote,
        "n_international": image.array.n_international,
        "subbands": image.array.subbands,
        "subband_width_hz": image.array.subband_width_hz,
        "file_size_bytes": image.file_size,
        "header_sha256": image.header_sha256,
    }


def _of_sky(image: ImageFile) -> dict[str, Any]:
    x, y = pixel_sides_deg(image)
    return {
        "pixel_sides_deg": [x, y],
        "size_deg": [x * image.nx, y * image.ny],
        "centre_ra_deg": image.sky_ra_deg[0],
        "centre_dec_deg": image.sky_dec_deg[0],
        "corners_deg": corners_deg(image),
    }


def _show(console: Console, items: Sequence[tuple[Inspection, Mapping[str, Any]]]) -> None:
    if len(items) > _IN_FULL_MAX:
        table = _table(items)
        # Wider than the terminal rather than with numbers cut off.
        console.width = max(
            console.width,
            Measurement.get(console, console.options.update(width=10_000), table).maximum,
        )
        console.print(table, highlight=False)
        _show_problems(console, items)
    else:
        for item, values in items:
            _show_in_full(console, item, values)
    lines = mending_lines([item for item, _ in items])
    if lines:
        console.print(
            "\nThese lines in the configuration (include/configs/), each ? replaced by the truth, "
            "mend what is missing; no file is edited:\n"
        )
        console.print(lines, highlight=False, soft_wrap=True)
    usable = sum(bool(values["usable"]) for _, values in items)
    console.print(f"{usable} of {len(items)} usable", highlight=False)


def _show_in_full(console: Console, item: Inspection, values: Mapping[str, Any]) -> None:
    state = "usable" if values["usable"] else "cannot be used"
    console.print(f"{one_line(_name(values))}: {state}", style="bold", soft_wrap=True)
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for error in item.problems:
        table.add_row("  problem", one_line(error.message))
    if item.image is not None:
        for name, text in _in_words(values):
            table.add_row(f"  {name}", one_line(text))
    for note in values["notes"]:
        table.add_row("  note", one_line(note))
    console.print(table, highlight=False)


def _show_problems(console: Console, items: Sequence[tuple[Inspection, Mapping[str, Any]]]) -> None:
    notes = Counter(note for _, values in items for note in values["notes"])
    for note, count in notes.items():
        console.print(f"note of {count}: {one_line(note)}", highlight=False, soft_wrap=True)
    names: dict[tuple[str, ...], list[str]] = {}
    for item, values in items:
        if item.problems:
            told = tuple(_without_name(error.message, item, values) for error in item.problems)
            names.setdefault(told, []).append(_name(values))
    for problems, having in names.items():
        more = f" and {len(having) - 1} more, with the same" if len(having) > 1 else ""
        console.print(f"{one_line(having[0])}{more}", style="bold", soft_wrap=True)
        for problem in problems:
            console.print(f"  {one_line(problem)}", highlight=False, soft_wrap=True)


def _without_name(message: str, item: Inspection, values: Mapping[str, Any]) -> str:
    """Return a message without the name of its file: many files may have the same problem."""
    base = item.location.rstrip("/").rsplit("/", 1)[-1]
    for name in (item.location, _name(values), base):
        message = message.removeprefix(f"{name}: ")
    return message


def _in_words(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    stations = [values[name] for name in ("n_core", "n_remote", "n_international")]
    array = f"{_or(values['antenna_set'])}, core, remote, international stations: " + ", ".join(
        map(_or, stations)
    )
    corners = values["corners_deg"] or []
    lines = [
        ("telescope", _or(values["telescope"])),
        ("configuration", _or(values["configuration"])),
        ("start (UTC)", _or(values["start_utc"])),
        ("integration", _number(values["integration_s"], "s")),
        ("frequency", _number(values["freq_eff_hz"], "MHz", 1e-6)),
        ("bandwidth", _number(values["freq_bw_hz"], "MHz", 1e-6)),
        ("Stokes", _or(values["stokes"])),
        ("beam", _beam(values)),
        ("unit", _or(values["unit"])),
        (
            "pixels",
            f"{values['nx']} x {values['ny']}, {_pair(values['pixel_sides_deg'], 3600)} arcsec",
        ),
        ("size", f"{_pair(values['size_deg'])} deg"),
        ("centre", _position((values["centre_ra_deg"], values["centre_dec_deg"]))),
        ("corners", "; ".join(map(_position, corners)) or _UNKNOWN),
        ("coordinates", f"{_or(values['frame'])}, projection {_or(values['projection'])}"),
        ("place in file", f"HDU {values['hdu']}, plane {values['index'] or 'the only one'}"),
    ]
    if any(value is not None for value in (values["antenna_set"], *stations)):
        lines.append(("array", array))
    return lines


def _table(items: Sequence[tuple[Inspection, Mapping[str, Any]]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    names = ("image", "usable", "telescope", "config", "start (UTC)", "s", "MHz", "width", "Stokes",
             "beam arcsec, deg", "centre RA, Dec", "size deg")  # fmt: skip
    for name in names:
        table.add_column(name, no_wrap=True)
    for _, values in items:
        name = values["file"].rstrip("/").rsplit("/", 1)[-1]
        name = f"{name}[{values['plane']}]" if values["plane"] else name
        cells = (
            name,
            "yes" if values["usable"] else "NO",
            _or(values["telescope"]),
            _or(values["configuration"]),
            _or(values["start_utc"])[:19],
            _number(values["integration_s"]),
            _number(values["freq_eff_hz"], "", 1e-6),
            _number(values["freq_bw_hz"], "", 1e-6),
            _or(values["stokes"]),
            _beam(values, short=True),
            _position((values["centre_ra_deg"], values["centre_dec_deg"])),
            _pair(values["size_deg"]),
        )
        table.add_row(*(one_line(cell) for cell in cells))
    return table


def _name(values: Mapping[str, Any]) -> str:
    return f"{values['file']}[{values['plane']}]" if values["plane"] else str(values["file"])


def _or(value: object) -> str:
    return _UNKNOWN if value is None else str(value)


def _number(value: float | None, unit: str = "", factor: float = 1.0) -> str:
    return _UNKNOWN if value is None else f"{value * factor:.9g} {unit}".rstrip()


def _pair(values: list[float] | None, factor: float = 1.0) -> str:
    return _UNKNOWN if values is None else " x ".join(f"{value * factor:.4g}" for value in values)


def _beam(values: Mapping[str, Any], *, short: bool = False) -> str:
    if values["bmaj_deg"] is None:
        return _UNKNOWN
    sides = _pair([values["bmaj_deg"], values["bmin_deg"]], 3600)
    angle = f"{values['bpa_deg']:.4g}"
    return f"{sides}, {angle}" if short else f"{sides} arcsec, position angle {angle} deg"


def _position(position: tuple[float | None, float | None] | None) -> str:
    if position is None:
        return "off the sky"
    ra, dec = position
    return _UNKNOWN if ra is None or dec is None else f"{ra:.5f} {dec:+.5f}"

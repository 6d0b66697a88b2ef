"""``trap-manage coverage``: where and how deep a dataset has looked at the sky."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console, JustifyMethod
from rich.table import Table

from trap_ops.commands.environment import store_url, var_dir
from trap_ops.commands.summary import make_console
from trap_ops.errors import ConfigError
from trap_ops.export import wording
from trap_ops.export.coverage import CoverageFiles, write_coverage
from trap_ops.export.coverage_images import Wanted
from trap_ops.export.position_coverage import DEPTH_SIGMA, PositionAnswer, look_at_positions
from trap_ops.export.report import safe_name
from trap_ops.records.names import one_line
from trap_ops.records.runs import MonitorPosition
from trap_ops.science.coordinates import parse_position, wrap_ra
from trap_ops.science.sky_cells import MAX_ORDER
from trap_ops.store.database import Store

_STOKES = {"I": 1, "Q": 2, "U": 3, "V": 4}


def add_parser(verbs: Any) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "coverage",
        help="was a position observed, and how deep; or write MOC and depth maps",
        description="With --position: which images of a dataset show it, and how deep. Without: "
        "write the area that the accepted images cover as MOC (FITS), and a HEALPix depth map for "
        "each band and Stokes.",
    )
    parser.add_argument("dataset", help="name of the dataset")
    parser.add_argument(
        "--position",
        action="append",
        default=[],
        metavar='"RA DEC"',
        help="degrees, or hours and degrees with colons; may be given several times",
    )
    parser.add_argument(
        "--image",
        action="append",
        default=[],
        metavar="NAME",
        help="only this image, by file name or path; several times for several. Each gets files of "
        "its own",
    )
    parser.add_argument(
        "--band", type=float, metavar="HZ", help="only the band of this frequency, or of this id"
    )
    parser.add_argument("--stokes", type=_stokes, help="only these: I, Q, U or V")
    parser.add_argument(
        "--from",
        dest="first",
        type=_time,
        metavar="TIME",
        help="only images that start at "
        "or after this time (UTC), e.g. 2026-01-31 or 2026-01-31T20:00",
    )
    parser.add_argument(
        "--until",
        dest="last",
        type=_time,
        metavar="TIME",
        help="only images that start at or before this time",
    )
    parser.add_argument(
        "--order",
        type=_order,
        help=f"HEALPix order of the cells, 0 to {MAX_ORDER}; default: cells about half as wide as "
        "the beam's minor axis",
    )
    parser.add_argument(
        "--output", type=Path, help="directory of the files; default: var/coverage/DATASET"
    )
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Answer, or write."""
    positions = [_position(text) for text in arguments.position]
    store = Store(store_url())
    store.check()
    wanted = Wanted(
        tuple(arguments.image), arguments.band, arguments.stokes, arguments.first, arguments.last
    )
    if positions:
        _answer(arguments, store, positions, wanted)
    else:
        _write(arguments, store, wanted)
    return 0


def _answer(
    arguments: argparse.Namespace, store: Store, positions: list[MonitorPosition], wanted: Wanted
) -> None:
    with _progress() as progress:
        answers = look_at_positions(store, arguments.dataset, positions, wanted, progress)
    if arguments.json:
        found = [_answer_json(answer) for answer in answers]
        print(json.dumps({"dataset": arguments.dataset, "positions": found}, indent=1))
        return
    console = make_console()
    for answer in answers:
        _print_answer(console, answer)


def _write(arguments: argparse.Namespace, store: Store, wanted: Wanted) -> None:
    directory = arguments.output or var_dir() / "coverage" / safe_name(arguments.dataset)
    with _progress() as progress:
        written = write_coverage(
            store, arguments.dataset, wanted, directory.absolute(), arguments.order, progress
        )
    if arguments.json:
        files = [{**vars(item), "path": str(item.path)} for item in written.files]
        print(json.dumps({"files": files, "not_extracted": written.missing}, indent=1))
    else:
        _print_files(make_console(), written)


def _position(text: str) -> MonitorPosition:
    position = parse_position(text)
    if not (math.isfinite(position.ra_deg) and abs(position.dec_deg) <= 90.0):
        msg = f"position {text!r} is not on the sky: declination is between -90 and 90 degrees"
        raise ConfigError(msg, text=text)
    return replace(position, ra_deg=float(wrap_ra(position.ra_deg)))


def _stokes(word: str) -> int:
    if word.upper() not in _STOKES:
        msg = f"{word!r} is none of I, Q, U, V"
        raise argparse.ArgumentTypeError(msg)
    return _STOKES[word.upper()]


def _time(word: str) -> datetime:
    try:
        time = datetime.fromisoformat(word)
    except ValueError as error:
        msg = f"{word!r} is no time such as 2026-01-31 or 2026-01-31T20:00:00"
        raise argparse.ArgumentTypeError(msg) from error
    return time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time


def _order(word: str) -> int:
    if not word.isdecimal() or int(word) > MAX_ORDER:
        msg = f"{word!r} is no HEALPix order: 0 to {MAX_ORDER}"
        raise argparse.ArgumentTypeError(msg)
    return int(word)


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """Show in a terminal how far it is: many images take minutes."""
    live = sys.stderr.isatty()

    def show(done: int, total: int) -> None:
        if live and (done % 16 == 0 or done == total):
            sys.stderr.write(f"\r\033[K  {100 * done // total} %")
            sys.stderr.flush()

    try:
        yield show
    finally:
        if live:
            sys.stderr.write("\r\033[K")


def _print_files(console: Console, written: CoverageFiles) -> None:
    for item in written.files:
        console.print(
            f"{item.kind:<6}{wording.count(item.images, 'image'):>12}  order {item.order:<3} "
            f"{wording.number(item.area_deg2, 4):>9} deg2  {one_line(str(item.path))}",
            highlight=False,
        )
    if written.missing:
        console.print(
            f"{wording.count(len(written.missing), 'accepted image')} not searched for sources yet "
            "and in no file: " + ", ".join(written.missing[:10]),
            highlight=False,
        )


def _print_answer(console: Console, answer: PositionAnswer) -> None:
    position = answer.position
    ra, dec = wording.sexagesimal(position.ra_deg, position.dec_deg)
    title = f"{position.name} {ra} {dec} ({position.ra_deg:.5f} {position.dec_deg:+.5f})".strip()
    table = Table(title=title, title_justify="left")
    for name in (
        "start (UTC)",
        "image",
        "frequency",
        "Stokes",
        "position",
        "rms",
        "5 sigma",
        "why",
    ):
        justify: JustifyMethod = "right" if name in {"rms", "5 sigma"} else "left"
        # Long names go on in the next line: what is cut off cannot be looked up.
        table.add_column(name, justify=justify, overflow="fold")
    for item in answer.images:
        table.add_row(
            wording.utc(item.row.start),
            item.row.shown_name,
            wording.frequency(item.row.freq_eff_hz),
            wording.stokes(item.row.stokes).removeprefix("Stokes "),
            item.sight,
            _flux(item.rms_jy),
            _flux(item.depth_jy),
            one_line(item.reason),
        )
    console.print(table)
    for depth in answer.depths:
        what = f"{wording.frequency(depth.band.central_hz)}, {wording.stokes(depth.stokes)}"
        line = f"{what}: {depth.n_shown} of {wording.count(depth.n_images, 'image')} show it"
        if depth.deepest is not None:
            combined = depth.rms_combined_jy
            line += (
                f", from {wording.utc(depth.first)} to {wording.utc(depth.last)}; deepest "
                f"{depth.deepest.shown_name} with rms {_flux(depth.rms_min_jy)}; all together rms "
                f"{_flux(combined)}, 5 sigma {_flux(DEPTH_SIGMA * combined)}"
            )
        console.print(line, highlight=False)


def _flux(value_jy: float) -> str:
    if not math.isfinite(value_jy):
        return wording.NOTHING
    unit, factor = wording.flux_unit([value_jy])
    return f"{wording.number(value_jy * factor)} {unit}/beam"


def _answer_json(answer: PositionAnswer) -> dict[str, Any]:
    position = answer.position
    return {
        "name": position.name,
        "ra_deg": position.ra_deg,
        "dec_deg": position.dec_deg,
        "images": [
            {
                "image": item.row.shown_name,
                "path": item.row.plane.name_in(item.row.path),
                "start": item.row.start.isoformat(),
                "integration_s": item.row.integration_s,
                "frequency_hz": item.row.freq_eff_hz,
                "band": item.row.band,
                "stokes": item.row.stokes,
                "verdict": item.row.verdict,
                "position": item.sight,
                "reason": item.reason,
                "rms_jy_beam": _number(item.rms_jy),
                "depth_5_sigma_jy_beam": _number(item.depth_jy),
            }
            for item in answer.images
        ],
        "depth": [
            {
                "band": depth.band_id,
                "band_centre_hz": depth.band.central_hz,
                "stokes": depth.stokes,
                "images": depth.n_images,
                "shown": depth.n_shown,
                "deepest": depth.deepest.shown_name if depth.deepest else None,
                "rms_min_jy_beam": _number(depth.rms_min_jy),
                "rms_combined_jy_beam": _number(depth.rms_combined_jy),
                "depth_5_sigma_jy_beam": _number(DEPTH_SIGMA * depth.rms_combined_jy),
                "first": depth.first.isoformat() if depth.first else None,
                "last": depth.last.isoformat() if depth.last else None,
            }
            for depth in answer.depths
        ],
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None

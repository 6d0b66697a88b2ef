"""``trap-manage withdraw``: images are taken out of a dataset, with all that rests on them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any

from rich.console import Console
from sqlalchemy import Connection

from trap_ops.commands.changes import run_change
from trap_ops.commands.confirmation import add_yes, confirmed
from trap_ops.commands.environment import store_url
from trap_ops.commands.summary import make_console
from trap_ops.errors import ConfigError
from trap_ops.export.wording import count
from trap_ops.images.addresses import is_address
from trap_ops.records.images import ImageRow
from trap_ops.records.names import one_line
from trap_ops.stages.removal import find_images, name_of
from trap_ops.store import datasets, detections, images, run_requests, runs
from trap_ops.store.database import Store

_MAX_SHOWN = 20


def add_parser(verbs: Any) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "withdraw",
        help="take images out of a dataset",
        description="Take images out of a dataset and recompute what depended on them: verdicts on "
        "other images, bands, regions, sky sources, light curves, forced fits, candidates. The "
        "results are those of a run that never had the images. The files stay; `trap-manage run` "
        "adds them again.",
    )
    parser.add_argument("dataset", help="name of the dataset")
    parser.add_argument("images", nargs="*", help="paths or base names of images")
    parser.add_argument(
        "--from", dest="first", metavar="TIME", help="all that start then (UTC) or later"
    )
    parser.add_argument(
        "--to",
        dest="last",
        metavar="TIME",
        help="all that start then or earlier; a date alone is the whole day",
    )
    parser.add_argument(
        "--file", type=Path, metavar="LIST", help="a file with paths or base names, one a line"
    )
    add_yes(parser)
    parser.add_argument("--verbose", action="store_true", help="show Airflow's own output")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Say what goes, ask, and take it out."""
    in_time = bool(arguments.first or arguments.last)
    if sum((bool(arguments.images), in_time, arguments.file is not None)) != 1:
        msg = "say which images: by their names, by --from and --to, or by --file"
        raise ConfigError(msg)
    store, console = Store(store_url()), make_console()
    store.check()
    with store.read() as connection:
        dataset = datasets.dataset_id(connection, arguments.dataset)
        runs.check_free(connection, arguments.dataset)
        before = run_requests.unfinished_requests(connection, dataset)
        begun = sorted({name for request in before for name in request["withdraw"]})
        if in_time:
            span = time_span(arguments.first, arguments.last)
            rows = [row for row in images.images_of(connection, dataset) if _within(row, span)]
            gone = [] if rows else begun
        else:
            words = arguments.images or _listed(arguments.file)
            rows, gone = find_images(connection, dataset, _absolute(words), before)
        if not rows and not gone:
            msg = f"dataset {arguments.dataset!r} has no image that starts then"
            raise ConfigError(msg)
        _announce(console, connection, arguments.dataset, dataset, rows)
    if not confirmed("Withdraw?", yes=arguments.yes):
        print("nothing is withdrawn")
        return 1
    names = [name_of(row) for row in rows] + gone
    status = run_change(
        console, store, arguments.dataset, {"withdraw": names}, verbose=arguments.verbose
    )
    if status == 0:
        console.print(
            f"{count(len(names), 'image')} withdrawn; a run that is given the files again adds "
            "them again",
            highlight=False,
        )
    return status


def time_span(first: str | None, last: str | None) -> tuple[datetime, datetime]:
    """Earliest and latest start, UTC without a zone, both included.

    Raises
    ------
    ConfigError
        If one of them is no time, or the first is after the last.
    """
    span = (
        datetime.min if first is None else _moment(first, "--from", time.min),  # noqa: DTZ901
        datetime.max if last is None else _moment(last, "--to", time.max),  # noqa: DTZ901
    )
    if span[0] > span[1]:
        msg = f"--from {first} is after --to {last}"
        raise ConfigError(msg)
    return span


def _moment(text: str, option: str, of_day: time) -> datetime:
    """A time of ISO 8601; of a date alone that time of the day."""
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError as error:
        msg = f"{option} {one_line(text)} is no time: write 2026-01-31 or 2026-01-31T12:30:00 (UTC)"
        raise ConfigError(msg, text=text) from error
    if found.tzinfo is not None:
        return found.astimezone(UTC).replace(tzinfo=None)
    return found if ":" in text or "T" in text.upper() else datetime.combine(found, of_day)


def _within(row: ImageRow, span: tuple[datetime, datetime]) -> bool:
    return span[0] <= row.start <= span[1]


def _listed(path: Path) -> list[str]:
    """Names in a file, one a line; empty lines and those that begin with # do not count.

    Raises
    ------
    ConfigError
        If it cannot be read, or there are none.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        detail = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        msg = f"--file {one_line(str(path))} cannot be read: {detail}"
        raise ConfigError(msg, path=str(path)) from error
    words = [line for line in lines if line and not line.startswith("#")]
    if not words:
        msg = f"--file {one_line(str(path))} names no image"
        raise ConfigError(msg, path=str(path))
    return words


def _absolute(words: Sequence[str]) -> list[str]:
    """Paths as the dataset has them; what is no file here, or has no directory, stays a name."""
    return [
        str(Path(word).expanduser().absolute()) if "/" in word and not is_address(word) else word
        for word in words
    ]


def _announce(
    console: Console,
    connection: Connection,
    name: str,
    dataset: int,
    rows: Sequence[ImageRow],
) -> None:
    """Say what will be done."""
    every = images.images_of(connection, dataset)
    chosen = {row.id for row in rows}
    stay = [row for row in every if row.id not in chosen]
    made = detections.count_by_image(connection, dataset)

    def say(text: str) -> None:
        console.print(text, highlight=False)

    if not rows:
        say("The images are gone already: the run that was begun is finished")
    else:
        say(f"Of the {count(len(every), 'image')} of dataset {name!r} go:")
    for row in rows[:_MAX_SHOWN]:
        counts = made.get(row.id, {})
        blind = counts.get(detections.BLIND, 0)
        found = f"{count(blind, 'detection')}, {count(sum(counts.values()) - blind, 'forced fit')}"
        say(
            f"  {row.start:%Y-%m-%d %H:%M:%S}  {row.freq_eff_hz / 1e6:.4g} MHz  "
            f"{row.shown_name}: {row.verdict or 'not judged'}, {found}"
        )
    if len(rows) > _MAX_SHOWN:
        say(f"  and {len(rows) - _MAX_SHOWN} more")
    say(
        f"The other {count(len(stay), 'image')} are judged again, and their stored detections "
        "associated anew; forced fits are made again where positions change."
    )
    away = sum(not is_address(row.path) and not Path(row.path).exists() for row in stay)
    if away:
        say(
            f"{count(away, 'file')} of them cannot be seen from here: what has to be measured "
            "there again is left to a later run"
        )

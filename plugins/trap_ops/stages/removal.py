"""What a run takes out of its dataset, found by what people call it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection

from trap_ops.errors import ConfigError
from trap_ops.records.images import ImageRow
from trap_ops.records.names import one_line
from trap_ops.records.runs import RunRequest
from trap_ops.science.coordinates import parse_position
from trap_ops.science.monitoring import SAME_PLACE_ARCSEC, checked_position, near, places
from trap_ops.store import datasets, images, monitors, run_requests
from trap_ops.store.monitors import Monitored


@dataclass(frozen=True)
class Removal:
    """Images and monitoring positions that are to go.

    Attributes
    ----------
    images : list of ImageRow
        In canonical order.
    image_names : list of str
        Their paths, also of those that an earlier attempt has taken out already.
    monitors : list of Monitored
    """

    images: list[ImageRow]
    image_names: list[str]
    monitors: list[Monitored]


NOTHING = Removal([], [], [])


def find_removal(connection: Connection, request: RunRequest) -> Removal:
    """Find what a request takes out of its dataset.

    What an attempt that did not end well has taken out is no fault: the run goes on from there.

    Raises
    ------
    ConfigError
        If a name is unknown or means several; one message for all.
    StoreError
        If there is no such dataset.
    """
    if not (request.withdraw or request.remove_monitors):
        return NOTHING
    if request.images:
        msg = "a run adds images or takes something out of its dataset: make two runs of it"
        raise ConfigError(msg)
    dataset = datasets.dataset_id(connection, request.dataset)
    before = run_requests.unfinished_requests(connection, dataset, request.run_key)
    rows, gone = find_images(connection, dataset, request.withdraw, before)
    found = find_monitors(connection, dataset, request.remove_monitors, before)
    return Removal(rows, sorted({name_of(row) for row in rows} | set(gone)), found)


def name_of(row: ImageRow) -> str:
    """Name of an image that no other of its dataset has: its path, and the plane of it."""
    return row.plane.name_in(row.path)


def find_images(
    connection: Connection,
    dataset: int,
    words: Sequence[str],
    before: Sequence[Mapping[str, Any]] = (),
) -> tuple[list[ImageRow], list[str]]:
    """Find images by path, path and plane, or base name.

    Parameters
    ----------
    connection : Connection
    dataset : int
    words : sequence of str
    before : sequence of mapping
        Requests whose images may be gone already.

    Returns
    -------
    rows : list of ImageRow
        In canonical order.
    gone : list of str
        Names of those that are gone already.

    Raises
    ------
    ConfigError
        If a word is unknown, or the base name of several files.
    """
    rows = images.images_of(connection, dataset)
    by_word: dict[str, list[ImageRow]] = defaultdict(list)
    for row in rows:
        shown = row.plane.name_in(row.file_name)
        for word in {name_of(row), row.path, row.file_name, shown}:
            by_word[word].append(row)
    asked = {name for request in before for name in request.get("withdraw", ())}
    found: dict[int, ImageRow] = {}
    gone: list[str] = []
    problems = []
    for word in dict.fromkeys(words):
        here = by_word.get(word, [])
        past = [name for name in asked if _is_named(name, word)]
        files = sorted({row.path for row in here})
        if len(files) > 1:
            listed = ", ".join(map(one_line, files))
            problems.append(f"{one_line(word)} is the name of several files: {listed}")
        elif not here and not past:
            problems.append(f"the dataset has no image {one_line(word)}")
        found |= {row.id: row for row in here}
        gone += past
    if problems:
        msg = (
            "nothing is withdrawn:\n  " + "\n  ".join(problems) + "\nname images as the run report "
            "does, or by their paths"
        )
        raise ConfigError(msg, problems=problems)
    return [row for row in rows if row.id in found], gone


def _is_named(name: str, word: str) -> bool:
    """Whether an image, of which nothing but the path is left, would be found by a word."""
    base = name.rsplit("/", 1)[-1]
    return word in {name, base} or name.startswith(f"{word}[") or base.startswith(f"{word}[")


def find_monitors(
    connection: Connection,
    dataset: int,
    words: Sequence[str],
    before: Sequence[Mapping[str, Any]] = (),
) -> list[Monitored]:
    """Find monitoring positions by name, id, or position; parameters as of :func:`find_images`.

    Raises
    ------
    ConfigError
        If a word is unknown or means several.
    """
    known = monitors.monitors_of(connection, dataset)
    vectors = places(known)
    asked = {word for request in before for word in request.get("remove_monitors", ())}
    found: dict[int, Monitored] = {}
    problems = []
    for word in dict.fromkeys(words):
        here = _named(word, known, lambda at: [known[i] for i in near(at, vectors)])
        if len(here) > 1:
            listed = ", ".join(item.shown for item in here)
            problems.append(f"{one_line(word)!r} may be each of {listed}: say which by its id")
        elif not here and word not in asked:
            problems.append(f"there is no monitoring position {one_line(word)!r}")
        found |= {item.id: item for item in here}
    if problems:
        msg = (
            "nothing is removed:\n  " + "\n  ".join(problems) + "\n`trap-manage monitor list` "
            f"lists names, ids and positions; a position must be right to {SAME_PLACE_ARCSEC:g} "
            "arcsec"
        )
        raise ConfigError(msg, problems=problems)
    return [item for item in known if item.id in found]


def _named(
    word: str, known: Sequence[Monitored], at: Callable[[Any], list[Monitored]]
) -> list[Monitored]:
    """What a word may mean: a name or an id, else a position."""
    here = [item for item in known if item.name == word or str(item.id) == word]
    if here:
        return here
    try:
        position = parse_position(word)
        return at(checked_position(replace(position, name="")))
    except ConfigError:
        return []

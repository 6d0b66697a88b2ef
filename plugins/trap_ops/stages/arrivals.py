"""Which files have come to the folders of schedules.toml, and which runs are to take them."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection

from trap_ops.config.load import load_configuration
from trap_ops.config.schedules import (
    ARRIVAL,
    FOLDER,
    SchedulesConfig,
    SeriesConfig,
    load_schedules,
    schedules_file,
)
from trap_ops.errors import ConfigError
from trap_ops.images.arrivals import arrived_files
from trap_ops.records.arrivals import ArrivedFile, Waiting
from trap_ops.records.names import check_name
from trap_ops.store import arrivals, runs
from trap_ops.store.database import Store

# After a run that failed its files go to another one, then after twice the time, and so on.
_FIRST_DELAY_S, _LAST_DELAY_S = 60.0, 6 * 3600.0
# A run that seems to go on for longer may have ended without a word.
_RUNNING_S = 600.0
# After Watch has found something, it does not until a run has taken files, or for so long; then for
# twice as long, and so on.
_FIRST_HOLD_S, _LAST_HOLD_S = 15.0, 600.0
# A folder that cannot be used is told again after this time.
_SAME_PROBLEM_S = 3600.0
# How many files to compare with the database at once.
_CHUNK = 5000


@dataclass(frozen=True)
class Look:
    """What lies in the folder of a series.

    Attributes
    ----------
    series : SeriesConfig
    files : int
        Complete image files.
    unsettled : int
        Files that are not complete yet.
    waiting : list of Waiting
        By dataset, the one with the oldest file in front.
    done : set of ArrivedFile
        Files that nothing is left to do with.
    problem : str
        Why the folder cannot be used; empty if it can.
    """

    series: SeriesConfig
    files: int
    unsettled: int
    waiting: list[Waiting]
    done: set[ArrivedFile]
    problem: str = ""


def look(
    store: Store,
    configurations: Path,
    schedules: SchedulesConfig,
    when: Collection[str],
    done: Collection[ArrivedFile] = (),
) -> list[Look]:
    """Look into the folders of all series that are taken at some occasions.

    Parameters
    ----------
    store : Store
    configurations : Path
        Directory of the configuration files.
    schedules : SchedulesConfig
    when : collection of str
        Occasions: ``night``, ``arrival``.
    done : collection of ArrivedFile
        Files that need not be asked for, because an earlier look has found them done.
    """
    found = []
    for series in schedules.series:
        if series.when in when:
            try:
                found.append(_look(store, configurations, series, done))
            except ConfigError as error:
                problem = f"series {series.name!r}: {error.message}"
                found.append(Look(series, 0, 0, [], set(), problem))
    return found


def take(
    store: Store, waiting: Waiting, run_key: str, limit: int | None = None
) -> Sequence[ArrivedFile]:
    """Give files of a dataset to a run that is about to be triggered; return them.

    Parameters
    ----------
    store : Store
    waiting : Waiting
        Its open run, if it has one, has ended: that gives the dataset up.
    run_key : str
    limit : int, optional
        At most so many, those that were changed first.
    """
    files = sorted([*waiting.files, *waiting.again], key=_by_time)[:limit]
    with store.write() as connection:
        holder = runs.lock_holder(connection, waiting.dataset)
        if holder is not None and holder.key == waiting.open_run:
            why = holder.message or "it ended without a word"
            runs.give_up(connection, holder, f"given up for run {run_key}: {why}")
        arrivals.save_dispatch(connection, waiting.series, waiting.dataset, run_key, files)
    return files


class Watch:
    """Whether trap_watch has something to do; it remembers what it has seen, to ask for little.

    Parameters
    ----------
    configurations : Path
        Directory of the configuration files.
    """

    def __init__(self, configurations: Path) -> None:
        self._configurations = configurations
        self._done: set[ArrivedFile] = set()
        self._hold_s = _FIRST_HOLD_S
        self._quiet_until_s = 0.0
        self._dispatched: object = None
        self._told: dict[str, float] = {}

    def look(self, store: Store) -> str:
        """Say why a run should look for images; empty if none should."""
        now_s = time.monotonic()
        schedules = load_schedules(schedules_file(self._configurations))
        if all(series.when != ARRIVAL for series in schedules.series):
            return ""
        store.prepare()
        found = look(store, self._configurations, schedules, {ARRIVAL}, self._done)
        for item in found:
            self._done |= item.done
        with store.read() as connection:
            dispatched = arrivals.latest_dispatch(connection)
        if dispatched != self._dispatched:
            # The last event has led to something, or there was none.
            self._dispatched = dispatched
            self._hold_s, self._quiet_until_s = _FIRST_HOLD_S, 0.0
        free = [w.dataset for item in found for w in item.waiting if not w.busy]
        if free and now_s >= self._quiet_until_s:
            self._quiet_until_s = now_s + self._hold_s
            self._hold_s = min(2.0 * self._hold_s, _LAST_HOLD_S)
            return f"images for {', '.join(free)}"
        for problem in (item.problem for item in found if item.problem):
            if now_s - self._told.get(problem, -_SAME_PROBLEM_S) >= _SAME_PROBLEM_S:
                self._told[problem] = now_s
                return problem
        return ""


def _look(
    store: Store, configurations: Path, series: SeriesConfig, done: Collection[ArrivedFile]
) -> Look:
    images = load_configuration(
        configurations,
        "default" if series.configuration == "auto" else series.configuration,
        series.overrides,
    )[1].images
    files, unsettled = arrived_files(
        series.folder, images.suffixes, images.data_roots, time.time(), series.settle_s
    )
    asked = [file for file in files if file not in done]
    finished: set[ArrivedFile] = set()
    by_dataset: dict[str, list[ArrivedFile]] = defaultdict(list)
    problems = []
    with store.read() as connection:
        known: dict[ArrivedFile, arrivals.Dispatch] = {}
        for first in range(0, len(asked), _CHUNK):
            known |= arrivals.dispatches(connection, asked[first : first + _CHUNK])
        for file in asked:
            if file in known and known[file].state == runs.FINISHED:
                finished.add(file)
                continue
            try:
                by_dataset[_dataset(series, file)].append(file)
            except ConfigError as error:
                problems.append(f"series {series.name!r}: {error.message}")
        made = [
            _waiting(connection, series.name, name, some, known)
            for name, some in by_dataset.items()
        ]
    waiting = [item for item in made if item.files or item.again]
    return Look(series, len(files), unsettled, waiting, finished, "; ".join(problems[:3]))


def _waiting(
    connection: Connection,
    series: str,
    dataset: str,
    files: Sequence[ArrivedFile],
    known: Mapping[ArrivedFile, arrivals.Dispatch],
) -> Waiting:
    """What a run could take of some files of a dataset that are not done, and whether it may."""
    holder = runs.lock_holder(connection, dataset)
    of = arrivals.open_dispatch(connection, dataset, "" if holder is None else holder.key)
    again = [file for file in files if of and file in known and known[file].run_key == of.run_key]
    wanted = [file for file in files if file not in known or _is_retried(known[file])]
    wanted = [file for file in wanted if file not in set(again)]
    if holder is not None and (of is None or of.run_key != holder.key):
        # It was not started here, so it is left to whom it belongs.
        return Waiting(series, dataset, wanted, f"run {holder.key} has it ({holder.state})")
    if of is None:
        return Waiting(series, dataset, wanted)
    left_s = _patience_s(of) - _age_s(of.dispatched_ts)
    busy = ""
    if left_s > 0:
        state = of.state or "about to begin"
        busy = f"run {of.run_key} has its files ({state}); looked at again in {left_s:.0f} s"
    return Waiting(series, dataset, wanted, busy, of.run_key, again)


def _is_retried(of: arrivals.Dispatch) -> bool:
    """Whether files of a run that was given up go to another one by now."""
    undone = of.state in (runs.FAILED, runs.ABANDONED)
    return undone and _age_s(of.dispatched_ts) > _delay_s(of)


def _patience_s(of: arrivals.Dispatch) -> float:
    """How long after its start a run that has not finished is not asked for."""
    return _RUNNING_S if of.state == runs.RUNNING else _delay_s(of)


def _delay_s(of: arrivals.Dispatch) -> float:
    return min(_FIRST_DELAY_S * 2.0 ** (of.attempts - 1), _LAST_DELAY_S)


def _by_time(file: ArrivedFile) -> tuple[int, str]:
    return file.modified_ns, file.path


def _age_s(since: datetime) -> float:
    return (runs.now() - since).total_seconds()


def _dataset(series: SeriesConfig, file: ArrivedFile) -> str:
    """Name of the dataset that a file belongs to.

    Raises
    ------
    ConfigError
        If it cannot be one.
    """
    if FOLDER in series.dataset and not file.folder:
        msg = (
            f"{file.path} lies in the folder itself, and the dataset is to be named after a folder "
            "below it: move the file into one"
        )
        raise ConfigError(msg)
    name = series.dataset.replace(FOLDER, file.folder)
    check_name(name, "a dataset")
    return name

"""Folders of jobs: ``job.toml``, ``images.txt`` and ``monitor.txt``, as `run` takes them."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from trap_ops.commands.environment import CONFIGURATIONS
from trap_ops.commands.positions import read_positions
from trap_ops.config.load import load_configuration, nearest_name
from trap_ops.config.model import Configuration
from trap_ops.config.toml_files import read_toml
from trap_ops.errors import ConfigError, TrapError
from trap_ops.images.addresses import is_address
from trap_ops.images.discovery import absolute_input
from trap_ops.records.names import check_name, one_line
from trap_ops.records.runs import MonitorPosition
from trap_ops.science.coordinates import parse_position
from trap_ops.science.monitoring import checked_position

JOB_FILE, IMAGES_FILE, MONITOR_FILE = "job.toml", "images.txt", "monitor.txt"
CLASSIC_FILE = "job_params.cfg"
_KEYS = ("dataset", "configuration")
_SECTIONS = tuple(
    name
    for name, field in Configuration.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
)


@dataclass(frozen=True)
class Job:
    """What a job's folder says.

    Attributes
    ----------
    dataset, configuration : str
    settings : dict
        ``{section: {key: value}}``.
    images : tuple of str
        Absolute paths, patterns and addresses.
    monitor : tuple of MonitorPosition
        Wrapped and named.
    """

    dataset: str
    configuration: str
    settings: dict[str, Any]
    images: tuple[str, ...]
    monitor: tuple[MonitorPosition, ...]


def job_folder(inputs: Sequence[str]) -> Path | None:
    """Return the folder of the job that is named, or None if images are.

    Raises
    ------
    ConfigError
        If a job is named together with something else, or is one of classic TraP.
    """
    jobs = [item for item in inputs if _holds(item, JOB_FILE)]
    if jobs and len(inputs) > 1:
        msg = f"{one_line(jobs[0])} is a job, and is run alone: write images into its {IMAGES_FILE}"
        raise ConfigError(msg, inputs=list(inputs))
    if jobs:
        return Path(jobs[0])
    old = [item for item in inputs if _holds(item, CLASSIC_FILE)]
    if old:
        msg = (
            f"{one_line(old[0])} is a job of classic TraP: convert it first, by "
            f"`trap-manage import-job {one_line(old[0])}`"
        )
        raise ConfigError(msg, inputs=list(inputs))
    return None


def _holds(item: str, name: str) -> bool:
    # The method of Path raises for names that are too long.
    return not is_address(item) and os.path.isfile(os.path.join(item, name))  # noqa: PTH113, PTH118


def read_job(folder: Path) -> Job:
    """Read a job.

    Raises
    ------
    ConfigError
        One message for all problems of all its files.
    """
    problems: list[str] = []
    dataset, configuration, settings = _read_toml(folder / JOB_FILE, problems)
    images = []
    told = len(problems)
    for place, line in _lines(folder / IMAGES_FILE, problems, needed=True):
        try:
            images.append(absolute_input(image_below(folder, line)))
        except ConfigError as error:
            problems.append(f"{place}: {error.message}")
    if not images and len(problems) == told:
        problems.append(
            f"{IMAGES_FILE} names no image: write one file, directory or pattern a line"
        )
    monitor = []
    for place, line in _lines(folder / MONITOR_FILE, problems, needed=False):
        try:
            monitor.append(checked_position(parse_position(line)))
        except ConfigError as error:
            problems.append(f"{place}: {error.message}")
    if problems:
        count = "a problem" if len(problems) == 1 else f"{len(problems)} problems"
        msg = f"job {one_line(str(folder))} has {count}:\n  " + "\n  ".join(problems)
        raise ConfigError(msg, problems=problems)
    return Job(dataset, configuration, settings, tuple(images), tuple(monitor))


def image_below(folder: Path, line: str) -> str:
    """Return an image of a list; a relative path or pattern begins at a folder."""
    if is_address(line) or line.startswith("~") or Path(line).is_absolute():
        return line
    begin = str(folder.absolute())
    # The folder itself is no pattern, whatever it is called.
    return f"{glob.escape(begin) if glob.has_magic(line) else begin}/{line}"


def with_settings(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of both; where both have one, that of the second."""
    both = dict(first)
    for key, value in second.items():
        held = both.get(key)
        if isinstance(value, Mapping) and isinstance(held, Mapping):
            both[key] = with_settings(held, value)
        else:
            both[key] = value
    return both


def monitor_texts(
    texts: Sequence[str], coords: str | None, listed: str | None, job: Job | None
) -> list[str]:
    """Positions of a job and of the command line, each once, as the parameter of a run.

    Parameters
    ----------
    texts : sequence of str
        ``RA DEC [NAME]`` each.
    coords : str, optional
        ``[[ra, dec], ...]`` in degrees (JSON).
    listed : str, optional
        A file with the same, or another that :func:`read_positions` reads.
    job : Job, optional

    Raises
    ------
    ConfigError
        If one cannot be read.
    """
    found = [*job.monitor] if job else []
    found += [checked_position(parse_position(text)) for text in texts]
    if coords is not None:
        if not coords.lstrip().startswith("["):
            msg = f"--monitor-coords {one_line(coords)}: write '[[ra, dec], ...]', in degrees"
            raise ConfigError(msg, coords=coords)
        found += read_positions(coords)[0]
    if listed is not None:
        found += read_positions(str(Path(listed)))[0]
    places: dict[tuple[float, float], MonitorPosition] = {}
    for position in found:
        places.setdefault((position.ra_deg, position.dec_deg), position)
    return [f"{p.ra_deg!r}, {p.dec_deg!r}, {p.name}" for p in places.values()]


def _read_toml(path: Path, problems: list[str]) -> tuple[str, str, dict[str, Any]]:
    """Dataset, configuration and settings of ``job.toml``."""
    try:
        given = read_toml(path)
    except ConfigError as error:
        problems.append(error.message)
        return "", "", {}
    settings = {key: value for key, value in given.items() if key in _SECTIONS}
    for key in sorted(given.keys() - settings.keys() - set(_KEYS)):
        near = nearest_name(key, (*_KEYS, *_SECTIONS))
        problems.append(f"{JOB_FILE}: {one_line(key)} is neither a key nor a section of it{near}")
    words = {"dataset": given.get("dataset"), "configuration": given.get("configuration", "auto")}
    for key, value in words.items():
        if not isinstance(value, str):
            said = "is missing" if value is None else f"= {one_line(str(value))} is no text"
            problems.append(f'{JOB_FILE}: {key} {said}: write {key} = "NAME"')
    dataset, configuration = map(str, words.values())
    try:
        check_name(dataset, "the dataset")
    except ConfigError as error:
        problems.append(f"{JOB_FILE}: dataset: {error.message}")
    try:
        load_configuration(CONFIGURATIONS, configuration, settings, source=JOB_FILE)
    except TrapError as error:
        said_of_settings: Any = error.details.get("problems", [f"{JOB_FILE}: {error.message}"])
        problems += said_of_settings
    return dataset, configuration, settings


def _lines(path: Path, problems: list[str], *, needed: bool) -> Iterator[tuple[str, str]]:
    """Lines of a list with their places; blank ones and comments are passed over."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        if needed:
            problems.append(f"{path.name} is missing: write one file, directory or pattern a line")
        return
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        problems.append(f"{path.name} cannot be read: {said}")
        return
    for number, line in enumerate(text.split("\n"), start=1):
        plain = line.strip()
        if plain and not plain.startswith("#"):
            yield f"{path.name}, line {number}", plain

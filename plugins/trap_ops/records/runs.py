"""What a user asks for, and what became of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trap_ops.config.model import Configuration

_PLURAL = re.compile(r"s\b")


@dataclass(frozen=True)
class MonitorPosition:
    """A position that is measured in every image, degrees."""

    ra_deg: float
    dec_deg: float
    name: str = ""


@dataclass(frozen=True)
class RunRequest:
    """What a user asks for.

    Attributes
    ----------
    run_key : str
        Airflow's run id, or ``local__<UTC>``.
    images : tuple of str
        Paths, directories, globs or addresses.
    dataset : str
        Name of the dataset, at most 100 characters.
    configuration : str
        Name of a configuration file, or ``auto``.
    overrides : dict
        ``{section: {key: value}}``.
    monitor : tuple of MonitorPosition
        Positions to add.
    user : str
        Who asked.
    withdraw : tuple of str
        Images to take out of the dataset: paths, or names that only one image has.
    remove_monitors : tuple of str
        Monitoring positions to take out of it: names, ids or positions.
    """

    run_key: str
    images: tuple[str, ...]
    dataset: str
    configuration: str = "auto"
    overrides: dict[str, Any] = field(default_factory=dict)
    monitor: tuple[MonitorPosition, ...] = ()
    user: str = ""
    withdraw: tuple[str, ...] = ()
    remove_monitors: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunIdentity:
    """Which run this is and how it stands: readable whatever code has planned it.

    Attributes
    ----------
    id : int
    key : str
    dataset : int
    dataset_name : str
    state : str
        ``running``, ``failed``, ``finished`` or ``abandoned``.
    """

    id: int
    key: str
    dataset: int
    dataset_name: str
    state: str


@dataclass(frozen=True)
class RunRecord(RunIdentity):
    """A run as stored: its identity and its settings.

    Attributes
    ----------
    configuration_name : str
    configuration : Configuration
    fingerprint : str
        Of the code that planned the run.
    """

    configuration_name: str
    configuration: Configuration
    fingerprint: str


@dataclass(frozen=True)
class StageReport:
    """What a stage did: small counts for people, and the batches for the next mapped stage."""

    stage: str
    seconds: float
    counts: dict[str, int]
    batches: list[list[int]] | None = None


def counts_in_words(counts: Mapping[str, int]) -> str:
    """Return counts for people, e.g. ``3 images, 1 fit``; their names are plurals."""
    words = (
        f"{number} {what if number != 1 else _PLURAL.sub('', what)}"
        for what, number in counts.items()
    )
    return ", ".join(words) or "nothing to do"

"""Positions to measure that a dataset gets: none of them may be one that it has."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from trap_ops.errors import ConfigError
from trap_ops.records.runs import MonitorPosition
from trap_ops.science.monitoring import SAME_PLACE_ARCSEC, near, places
from trap_ops.store.monitors import Monitored


def refuse_doubles(
    positions: Sequence[MonitorPosition],
    stand: Sequence[str],
    known: Sequence[Monitored],
    again: Collection[MonitorPosition],
) -> None:
    """Refuse positions that are one place with another of the dataset, or with each other.

    Parameters
    ----------
    positions : sequence of MonitorPosition
        Wrapped and named.
    stand : sequence of str
        Where each of them stands, for the message.
    known : sequence of Monitored
        Positions of the dataset.
    again : collection of MonitorPosition
        Those that may be named although they are there, as a run that is repeated does.

    Raises
    ------
    ConfigError
        One message for all.
    """
    old, new = places(known), places(positions)
    problems = []
    for i, position in enumerate(positions):
        where = f"{stand[i]}: ({position.ra_deg:.6f}, {position.dec_deg:+.6f}) {position.name!r}"
        may_repeat = position in again
        problems += [
            f"{where} is there already: {known[j].shown}"
            for j in near(position, old)
            if not (may_repeat and _same(position, known[j]))
        ]
        problems += [
            f"{where} is the same as {stand[j]}"
            for j in near(position, new)
            if j < i and not (may_repeat and _same(position, positions[j]))
        ]
    if problems:
        msg = (
            f"nothing is added: positions within {SAME_PLACE_ARCSEC:g} arcsec are one\n  "
            + "\n  ".join(problems)
        )
        raise ConfigError(msg, problems=problems)


def _same(one: MonitorPosition, other: MonitorPosition) -> bool:
    """Whether two positions are equal to the last digit."""
    return (one.ra_deg, one.dec_deg) == (other.ra_deg, other.dec_deg)

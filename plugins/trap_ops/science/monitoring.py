"""Monitoring positions as they are kept, and which of them are one place."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trap_ops.errors import ConfigError
from trap_ops.records.arrays import FloatArray
from trap_ops.records.names import check_name
from trap_ops.records.runs import MonitorPosition
from trap_ops.science.coordinates import (
    separation_of_vectors,
    sexagesimal_name,
    unit_vectors,
    wrap_ra,
)

# Positions that are closer to each other are one: their light curves would be the same.
SAME_PLACE_ARCSEC = 1.0


def checked_position(position: MonitorPosition) -> MonitorPosition:
    """Return a monitoring position that is on the sky, wrapped and well named.

    Raises
    ------
    ConfigError
        If it is not on the sky, or its name cannot be kept.
    """
    ra, dec = position.ra_deg, position.dec_deg
    if not (-360.0 <= ra <= 360.0 and -90.0 <= dec <= 90.0):
        msg = (
            f"monitoring position ({ra}, {dec}) is not on the sky: right ascension must be in "
            "-360..360 and declination in -90..90 degrees"
        )
        raise ConfigError(msg, ra_deg=ra, dec_deg=dec)
    wrapped = float(wrap_ra(ra))
    name = position.name or f"monitor {sexagesimal_name(wrapped, dec)}"
    check_name(name, f"the monitoring position ({ra}, {dec})")
    return MonitorPosition(wrapped, dec, name)


def near(position: MonitorPosition, others: FloatArray) -> list[int]:
    """Numbers of the unit vectors ``others``, (n, 3), that are the same place as a position."""
    here = unit_vectors(position.ra_deg, position.dec_deg)
    apart_arcsec = separation_of_vectors(others, here) * 3600.0
    return [int(i) for i in np.flatnonzero(apart_arcsec <= SAME_PLACE_ARCSEC)]


def places(positions: Sequence[MonitorPosition]) -> FloatArray:
    """Unit vectors of positions, (n, 3)."""
    return unit_vectors(
        np.array([position.ra_deg for position in positions]),
        np.array([position.dec_deg for position in positions]),
    )

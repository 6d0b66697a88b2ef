"""LOFAR's stations: what the theoretical noise of its images follows from."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

import numpy as np

from trap_ops.records.images import DipoleDistances

_TABLE = Path(__file__).with_name("lofar_dipole_distances.json")


@lru_cache(maxsize=1)
def dipole_distances() -> DipoleDistances:
    """Distance of each low band dipole to its nearest neighbour, metres.

    By kind of station (``core``, ``remote``, ``international``) and antenna set. The file says
    where the figures come from.
    """
    table = json.loads(_TABLE.read_text(encoding="utf-8"))
    return {
        kind: {name: np.array(distances) for name, distances in sets.items()}
        for kind, sets in table.items()
        if kind != "source"
    }

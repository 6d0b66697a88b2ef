"""Light curves: which measurement belongs to which sky source, table ``assocxtrsource``."""

from __future__ import annotations

import numpy as np
from sqlalchemy import Connection

from trap_ops.store.database import Store
from trap_ops.store.rows import Values, insert_rows
from trap_ops.store.schema import assocxtrsource


def insert_links(
    store: Store,
    connection: Connection,
    sources: Values,
    measurements: Values,
    link_type: Values,
    distance_arcsec: Values = 0.0,
    r: Values = 0.0,
) -> None:
    """Add measurements to light curves; ``pending`` until the statistics hold them too."""
    count = len(sources) if isinstance(sources, np.ndarray | list) else 1
    insert_rows(
        connection,
        assocxtrsource,
        {
            "id": store.allocate(connection, assocxtrsource, count),
            "runcat": sources,
            "xtrsrc": measurements,
            "type": link_type,
            "distance_arcsec": distance_arcsec,
            "r": r,
            "v_int": 0.0,
            "eta_int": 0.0,
            "f_datapoints": 0,
            "pending": True,
        },
    )

"""Notices when images have come to the folders that trap_watch looks after."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook
from airflow.triggers.base import BaseEventTrigger, TriggerEvent

if TYPE_CHECKING:
    from trap_ops.store.database import Store

logger = logging.getLogger(__name__)

# Folders are looked into so often, or so that looking takes a tenth of the time.
_EVERY_S, _SHARE = 1.0, 0.1
# When the database, or all else, is away.
_AWAY_S = 15.0
CONFIGURATIONS = Path(__file__).resolve().parents[3] / "include" / "configs"


class ArrivalTrigger(BaseEventTrigger):
    """Fires when image files are complete and a run could take them.

    An event says only that it is worth looking: the run that it starts looks itself. So an event
    that is lost, or fired twice, costs nothing.
    """

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what the triggerer makes it of."""
        return ("trap_ops.triggers.arrivals.ArrivalTrigger", {})

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look, again and again."""
        from trap_ops.stages.arrivals import Watch

        watch = Watch(CONFIGURATIONS)
        store = None
        while True:
            started = time.monotonic()
            try:
                if store is None:
                    store = await _open_store()
                what = await asyncio.to_thread(watch.look, store)
            except Exception as error:  # noqa: BLE001 - it must go on, whatever is away
                logger.warning("cannot look for images now: %s", error)
                store, what = None, ""
                await asyncio.sleep(_AWAY_S)
            if what:
                yield TriggerEvent({"why": what})
            await asyncio.sleep(max(_EVERY_S, (time.monotonic() - started) / _SHARE))


async def _open_store() -> Store:
    from trap_ops.store.database import Store, url_of_connection

    connection = await BaseHook.aget_connection("trap_store")
    return Store(
        url_of_connection(
            connection.conn_type,
            connection.host,
            connection.port,
            connection.login,
            connection.password,
            connection.schema,
            connection.extra_dejson,
        )
    )

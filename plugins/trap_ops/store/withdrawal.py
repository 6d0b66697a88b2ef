"""Taking back what was made of images and monitoring positions, and all that rests on it."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, delete, select

from trap_ops.store import detections, forced_fits, images, sky_sources
from trap_ops.store.outcomes import forget_outcomes
from trap_ops.store.rows import id_list
from trap_ops.store.schema import (
    extractedsource,
    forcedfit,
    image,
    imagedata,
    monitor,
    outcome,
    qualitycheck,
    rejection,
)


def undo_images(connection: Connection, dataset_id: int, image_ids: Sequence[int]) -> None:
    """Delete what was made of images, as if they had been rejected from the first.

    Sky sources rest on all images: they are forgotten too, and association begins anew. Forced fits
    in other images stay as orphans until it is known whether they are wanted again.
    """
    sky_sources.wipe(connection, dataset_id)
    forget_outcomes(connection, dataset_id, "associate")
    forced_fits.delete_requests(connection, image_ids)
    detections.delete_measurements(connection, image_ids)
    images.forget_noise(connection, image_ids)


def delete_images(connection: Connection, dataset_id: int, image_ids: Sequence[int]) -> None:
    """Delete images of a dataset, as if it had never had them.

    The bands and regions of the others, which follow from all images, are left to the caller.
    """
    undo_images(connection, dataset_id, image_ids)
    with id_list(connection, image.c.id, image_ids) as gone:
        chosen = select(gone.c.id)
        for table in (outcome, qualitycheck, rejection, imagedata):
            connection.execute(delete(table).where(table.c.image.in_(chosen)))
        connection.execute(delete(image).where(image.c.id.in_(chosen)))


def delete_monitors(connection: Connection, monitor_ids: Sequence[int]) -> None:
    """Delete monitoring positions with their fits and light curves."""
    with id_list(connection, monitor.c.id, monitor_ids) as gone:
        chosen = select(gone.c.id)
        founded = select(monitor.c.runcat).where(
            monitor.c.id.in_(chosen), monitor.c.runcat.is_not(None)
        )
        sources = list(connection.execute(founded).scalars())
    sky_sources.delete_sources(connection, sources)
    with id_list(connection, monitor.c.id, monitor_ids) as gone:
        chosen = select(gone.c.id)
        connection.execute(delete(forcedfit).where(forcedfit.c.monitor.in_(chosen)))
        connection.execute(delete(extractedsource).where(extractedsource.c.ff_monitor.in_(chosen)))
        connection.execute(delete(monitor).where(monitor.c.id.in_(chosen)))

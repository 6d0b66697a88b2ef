"""What was asked of the runs of a dataset."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, func, select

from trap_ops.errors import StoreError
from trap_ops.store.runs import FINISHED
from trap_ops.store.schema import dataset, run


def unfinished_requests(
    connection: Connection, dataset_id: int, run_key: str = ""
) -> list[dict[str, Any]]:
    """What was asked of the runs that did not finish since the latest that did.

    And of the run of this key, which may go on after it has finished.
    """
    mine = run.c.dataset == dataset_id
    finished = select(func.max(run.c.started_ts)).where(mine, run.c.state == FINISHED)
    latest = connection.execute(finished).scalar()
    since = run.c.state != FINISHED
    if latest is not None:
        since &= run.c.started_ts > latest
    query = select(run.c.request).where(mine, since | (run.c.run_key == run_key))
    return [json.loads(text) for text in connection.execute(query).scalars()]


def withdrawn_images(connection: Connection, dataset_name: str) -> set[str]:
    """Paths of all images that runs have ever taken out of a dataset."""
    query = select(run.c.request).join(dataset).where(dataset.c.description == dataset_name)
    asked = (json.loads(text) for text in connection.execute(query).scalars())
    return {name for request in asked for name in request.get("withdraw", ())}


def usual_settings(connection: Connection, dataset_id: int) -> tuple[str, dict[str, Any]]:
    """Configuration and overrides of the latest run of a dataset, for a run that changes it.

    Raises
    ------
    StoreError
        If it has no runs.
    """
    query = select(run.c.configuration_name, run.c.request).where(run.c.dataset == dataset_id)
    found = connection.execute(query.order_by(run.c.started_ts.desc()).limit(1)).first()
    if found is None:
        msg = f"dataset {dataset_id} has no runs"
        raise StoreError(msg, dataset=dataset_id)
    return found.configuration_name, json.loads(found.request)["overrides"]


def parameters(connection: Connection, run_id: int) -> dict[str, Any]:
    """Parameters of trap_batch that ask for the same as a run did."""
    query = select(run.c.request, dataset.c.description)
    row = connection.execute(query.join(dataset).where(run.c.id == run_id)).one()
    asked = json.loads(row.request)
    return {
        "images": asked["images"],
        "dataset": row.description,
        "configuration": asked["configuration"],
        "overrides": asked["overrides"],
        "monitor": [
            # All digits, so that the position is the same.
            f"{position['ra_deg']!r} {position['dec_deg']!r} {position['name']}".strip()
            for position in asked["monitor"]
        ],
        "withdraw": asked["withdraw"],
        "remove_monitors": asked["remove_monitors"],
    }

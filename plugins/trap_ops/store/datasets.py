"""Datasets: series of images that are analysed together, and the settings they share."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, ScalarSelect, func, insert, select, update

from trap_ops.config.load import dataset_settings, settings_difference
from trap_ops.config.model import Configuration
from trap_ops.errors import ConfigError, StoreError
from trap_ops.store.database import Store
from trap_ops.store.outcomes import work_left
from trap_ops.store.rows import fetch_columns, insert_rows
from trap_ops.store.runs import now
from trap_ops.store.schema import candidate, config, dataset, image, run, runningcatalog


@dataclass(frozen=True)
class DatasetSummary:
    """One line of the list of datasets.

    Monitoring positions are no sources, and what may be an artefact is no candidate. The owner is
    who asked for the first run.
    """

    id: int
    name: str
    images: int
    accepted: int
    sources: int
    candidates: int
    runs: int
    owner: str
    started: str


def open_dataset(
    store: Store, connection: Connection, name: str, configuration: Configuration
) -> int:
    """Find a dataset by its name, or make it.

    Returns
    -------
    int
        Id of the dataset.

    Raises
    ------
    ConfigError
        If the settings differ from those the dataset was made with.
    """
    settings = dataset_settings(configuration)
    row = connection.execute(
        select(dataset.c.id, dataset.c.settings).where(dataset.c.description == name)
    ).first()
    if row is None:
        return _make(store, connection, name, configuration, settings)
    difference = settings_difference(json.loads(row.settings), settings)
    of_other_version = [
        item.split(":")[0]
        for item in difference
        if ": absent -> " in item or item.endswith(" -> absent")
    ]
    if of_other_version:
        sections = sorted({key.split(".")[0] for key in of_other_version})
        msg = (
            f"dataset {name!r} was made with another version of the code, whose settings are not "
            f"the same ({len(of_other_version)} differ, in {', '.join(sections)}); its results can "
            "still be read: go on with that version, or use another dataset name"
        )
        raise ConfigError(msg, difference=difference)
    if difference:
        msg = (
            f"dataset {name!r} was made with other settings (then -> now):\n  "
            + "\n  ".join(difference)
            + "\nuse those settings again, or another dataset name"
        )
        raise ConfigError(msg, difference=difference)
    return int(row.id)


def start_run(connection: Connection, dataset_id: int) -> None:
    """Note that a run on the dataset begins: it counts in ``rerun``, and the end is open."""
    count = connection.execute(
        select(func.count()).select_from(run).where(run.c.dataset == dataset_id)
    ).scalar_one()
    connection.execute(
        update(dataset)
        .where(dataset.c.id == dataset_id)
        .values(rerun=max(count - 1, 0), process_end_ts=None)
    )


def end_run(connection: Connection, dataset_id: int) -> None:
    """Note that the dataset is complete as of now."""
    latest = select(func.max(image.c.taustart_ts)).where(image.c.dataset == dataset_id)
    settled = None
    if not work_left(connection, dataset_id, settled_until(connection, dataset_id)):
        settled = connection.execute(latest).scalar()
    connection.execute(
        update(dataset)
        .where(dataset.c.id == dataset_id)
        .values(process_end_ts=now(), settled_ts=settled)
    )


def settled_until(connection: Connection, dataset_id: int) -> datetime | None:
    """Start of the latest images that no run has to look at again, and with them all earlier ones.

    None if that is not known. Whatever voids what a stage made of an image takes this back
    (:func:`trap_ops.store.outcomes.forget_outcomes`).
    """
    query = select(dataset.c.settled_ts).where(dataset.c.id == dataset_id)
    return connection.execute(query).scalar()


def dataset_id(connection: Connection, name: str) -> int:
    """Id of a dataset by name.

    Raises
    ------
    StoreError
        If there is none of that name; the message lists those that exist.
    """
    found = connection.execute(select(dataset.c.id).where(dataset.c.description == name)).scalar()
    if found is None:
        names = list(connection.execute(select(dataset.c.description)).scalars())
        msg = f"there is no dataset {name!r}; there are: {', '.join(names) or 'none'}"
        raise StoreError(msg, name=name)
    return int(found)


def dataset_named(connection: Connection, text: str) -> str:
    """Name of a dataset that is given by its name or, as in classic TraP, by its id.

    A text that is neither is returned as it is.

    Raises
    ------
    ConfigError
        If it is the name of one dataset and the id of another.
    """
    # More digits are no id, and SQLite would refuse them.
    if not re.fullmatch(r"[0-9]{1,18}", text):
        return text
    query = select(dataset.c.id, dataset.c.description)
    either = (dataset.c.id == int(text)) | (dataset.c.description == text)
    found = {row.description: row.id for row in connection.execute(query.where(either))}
    if len(found) > 1:
        other = next(name for name in found if name != text)
        msg = (
            f"{text} is the name of dataset {found[text]}, and the id of dataset {other!r}: give "
            f"the other by its name, and this one as the id {found[text]}"
        )
        raise ConfigError(msg, text=text)
    return next(iter(found), text)


def owner_of(connection: Connection, dataset_id: int) -> str:
    """Return who has begun a dataset: the user of its first run; empty if that is not known."""
    return str(connection.execute(select(_owner(dataset_id))).scalar() or "")


def _owner(of: int | ColumnElement[int]) -> ScalarSelect[str]:
    query = select(run.c.requested_by).where(run.c.dataset == of)
    return query.order_by(run.c.id).limit(1).scalar_subquery()


def list_datasets(connection: Connection) -> list[DatasetSummary]:
    """Return all datasets with counts, the first one first."""

    def count(of: Any, *where: Any) -> Any:  # noqa: ANN401 - SQL expressions
        query = select(func.count()).select_from(of).where(of.c.dataset == dataset.c.id, *where)
        return query.scalar_subquery()

    query = select(
        dataset.c.id,
        dataset.c.description,
        dataset.c.process_start_ts,
        count(image).label("images"),
        count(image, image.c.verdict == "accepted").label("accepted"),
        count(runningcatalog, runningcatalog.c.mon_src.is_(False)).label("sources"),
        count(candidate, candidate.c.veto == "").label("candidates"),
        count(run).label("runs"),
        _owner(dataset.c.id).label("owner"),
    ).order_by(dataset.c.id)
    return [
        DatasetSummary(
            id=row.id,
            name=row.description,
            images=row.images,
            accepted=row.accepted,
            sources=row.sources,
            candidates=row.candidates,
            runs=row.runs,
            owner=row.owner or "",
            started=row.process_start_ts.isoformat(" ", "seconds"),
        )
        for row in connection.execute(query)
    ]


def stored_settings(connection: Connection, dataset_id: int) -> dict[str, list[Any]]:
    """Rows of the classic table ``config`` as columns."""
    query = select(config.c.section, config.c.key, config.c.value, config.c.type)
    return fetch_columns(
        connection,
        query.where(config.c.dataset == dataset_id).order_by(config.c.section, config.c.key),
    )


def _make(
    store: Store,
    connection: Connection,
    name: str,
    configuration: Configuration,
    settings: Mapping[str, Any],
) -> int:
    new_id = int(store.allocate(connection, dataset, 1)[0])
    connection.execute(
        insert(dataset).values(
            id=new_id,
            process_start_ts=now(),
            description=name,
            detection_threshold=configuration.extraction.detection_threshold_sigma,
            analysis_threshold=configuration.extraction.analysis_threshold_sigma,
            assoc_radius=configuration.association.deruiter_radius,
            margin_width=configuration.extraction.margin_px,
            settings=json.dumps(settings, sort_keys=True),
        )
    )
    rows = [
        (section, key, *_classic_value(value))
        for section, values in settings.items()
        for key, value in values.items()
    ]
    sections, keys, values, types = (list(column) for column in zip(*rows, strict=True))
    insert_rows(
        connection,
        config,
        {
            "id": store.allocate(connection, config, len(rows)),
            "dataset": new_id,
            "section": sections,
            "key": keys,
            "value": values,
            "type": types,
        },
    )
    return new_id


def _classic_value(value: object) -> tuple[str, str]:
    """Text and type of a setting as the classic table keeps them."""
    if isinstance(value, bool | int | float | str):
        return str(value)[:500], type(value).__name__
    return json.dumps(value)[:500], "str"

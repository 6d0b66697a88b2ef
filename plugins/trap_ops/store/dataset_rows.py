"""All rows of a dataset, in every table: counted, or deleted together."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Select, Table, delete, func, or_, select, update

from trap_ops.store.database import TURN_OF_PLANNING, Store
from trap_ops.store.datasets import dataset_id
from trap_ops.store.runs import in_use, lock_holder
from trap_ops.store.schema import (
    arrival,
    assocskyrgn,
    assocxtrsource,
    candidate,
    config,
    dataset,
    datasetlock,
    errormodel,
    extractedsource,
    forcedfit,
    frequencyband,
    image,
    imagedata,
    monitor,
    newsource,
    noisemodel,
    outcome,
    qualitycheck,
    referenceflux,
    rejection,
    run,
    runningcatalog,
    runningcatalog_flux,
    skyregion,
    stagerun,
    temprunningcatalog,
    varmetric,
)


@dataclass(frozen=True)
class DatasetContents:
    """What a dataset holds, and which files its runs wrote.

    Attributes
    ----------
    rows : dict of int
        Number of rows by table; tables without any are left out.
    reports : list of str
        Paths of the reports of its runs.
    """

    rows: dict[str, int]
    reports: list[str]


def contents_of(connection: Connection, name: str) -> DatasetContents:
    """What a dataset holds.

    Raises
    ------
    StoreError
        If there is no such dataset.
    """
    number = dataset_id(connection, name)
    query = select(run.c.report).where(run.c.dataset == number, run.c.report.is_not(None))
    reports = connection.execute(query.order_by(run.c.id)).scalars()
    return DatasetContents(count_rows(connection, number), list(reports))


def count_rows(connection: Connection, number: int) -> dict[str, int]:
    """Return the number of rows of a dataset by table; tables without any are left out."""
    counts = {
        table.name: connection.execute(
            select(func.count()).select_from(table).where(mine)
        ).scalar_one()
        for table, mine in _rows_of(number)
    }
    return {name: count for name, count in counts.items() if count}


def delete_dataset(store: Store, name: str) -> dict[str, int]:
    """Delete a dataset with all its rows, in one transaction: all of them, or none.

    Returns
    -------
    dict of int
        Number of rows deleted, by table.

    Raises
    ------
    StoreError
        If there is no such dataset, or a run has it; the message names the run.
    """
    with store.write() as connection:
        # No run is planned meanwhile: one that waits makes the dataset anew.
        store.wait_turn(connection, TURN_OF_PLANNING)
        number = dataset_id(connection, name)
        # A task that is tried again waits for this row too, before it takes the dataset's lock.
        connection.execute(select(dataset.c.id).where(dataset.c.id == number).with_for_update())
        refuse_if_held(connection, name)
        _untie(connection, number)
        gone = {
            table.name: connection.execute(delete(table).where(mine)).rowcount
            for table, mine in _rows_of(number)
        }
    return {table: count for table, count in gone.items() if count}


def refuse_if_held(connection: Connection, name: str) -> None:
    """Check that no run has a dataset.

    Raises
    ------
    StoreError
        If one has; the message names it and says what can be done.
    """
    holder = lock_holder(connection, name)
    if holder is not None:
        raise in_use(holder)


def _untie(connection: Connection, number: int) -> None:
    """Cut the links that go round in circles: sources to measurements and monitors, and back."""
    measured = extractedsource.c.image.in_(_images(number))
    connection.execute(
        update(extractedsource)
        .where(measured)
        .where(
            or_(
                extractedsource.c.ff_runcat.is_not(None),
                extractedsource.c.ff_monitor.is_not(None),
            )
        )
        .values(ff_runcat=None, ff_monitor=None)
    )
    connection.execute(update(monitor).where(monitor.c.dataset == number).values(runcat=None))


def _images(number: int) -> Select[tuple[int]]:
    return select(image.c.id).where(image.c.dataset == number)


def _rows_of(number: int) -> list[tuple[Table, ColumnElement[bool]]]:
    """Tables with what chooses a dataset's rows of them; each before those that it points to."""
    sources = select(runningcatalog.c.id).where(runningcatalog.c.dataset == number)
    runs = select(run.c.id).where(run.c.dataset == number)
    name = select(dataset.c.description).where(dataset.c.id == number)
    images = _images(number)
    by_source: list[Table] = [
        newsource,
        varmetric,
        runningcatalog_flux,
        referenceflux,
        assocskyrgn,
        assocxtrsource,
    ]
    by_image: list[Table] = [extractedsource, imagedata, noisemodel, qualitycheck, rejection]
    return [
        *(
            (table, table.c.dataset == number)
            for table in (temprunningcatalog, candidate, errormodel)
        ),
        *((table, table.c.runcat.in_(sources)) for table in by_source),
        *((table, table.c.dataset == number) for table in (forcedfit, runningcatalog)),
        *((table, table.c.image.in_(images)) for table in by_image),
        *((table, table.c.dataset == number) for table in (outcome, monitor, image)),
        *((table, table.c.dataset == number) for table in (frequencyband, skyregion, config)),
        (arrival, arrival.c.dataset_name.in_(name)),
        (datasetlock, datasetlock.c.dataset == number),
        (stagerun, stagerun.c.run.in_(runs)),
        (run, run.c.dataset == number),
        (dataset, dataset.c.id == number),
    ]

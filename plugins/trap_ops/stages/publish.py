"""End a run: write its report, release the dataset."""

from __future__ import annotations

import logging

from trap_ops.export.report import write_report
from trap_ops.records.runs import StageReport
from trap_ops.stages.context import StageContext, stage
from trap_ops.store import datasets, runs

logger = logging.getLogger(__name__)

STAGE = "publish"


def publish(context: StageContext) -> StageReport:
    """Write the report of the run, note that it has finished, and release the dataset."""
    with stage(context, STAGE) as timer:
        path = write_report(context.store, context.run, context.output_dir, context.access)
        with context.store.write() as connection:
            runs.set_report(connection, context.run.id, str(path))
        timer.count("reports")
    with context.store.write() as connection:
        datasets.end_run(connection, context.run.dataset)
        runs.set_state(connection, context.run.id, runs.FINISHED)
        runs.release_lock(connection, context.run.id)
    logger.info("report: %s", path)
    return timer.report()

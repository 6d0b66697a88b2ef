"""Operators of trap_maintenance."""

from __future__ import annotations

import logging
from typing import Any, ClassVar

from airflow.sdk import BaseOperator, Context

from trap_ops.operators.find_arrivals import AT_WORK, BATCH_DAG
from trap_ops.operators.stage_operator import (
    CONFIGURATIONS,
    errors_mapped,
    open_store,
    output_dir,
)

logger = logging.getLogger(__name__)


class CheckResultsOperator(BaseOperator):
    """Check that the results keep their own rules, as ``trap-manage check`` does."""

    ui_color: ClassVar[str] = "#e8f0f2"

    def execute(self, context: Context) -> None:
        """Check all datasets."""
        from trap_ops.stages.maintenance import check_results

        with errors_mapped(self.task_id, context), open_store() as store:
            store.prepare()
            logger.info("%d datasets are consistent", check_results(store))


class TidyResultsOperator(BaseOperator):
    """Keep the results database quick."""

    ui_color: ClassVar[str] = "#e8f0f2"

    def execute(self, context: Context) -> None:
        """Vacuum and analyse what needs it."""
        from trap_ops.store.upkeep import tidy

        with errors_mapped(self.task_id, context), open_store() as store:
            store.prepare()
            logger.info("tables tidied: %s", ", ".join(tidy(store)) or "none needs it")


class RemoveOldFilesOperator(BaseOperator):
    """Delete old logs and reports, as schedules.toml says."""

    ui_color: ClassVar[str] = "#e8f0f2"

    def execute(self, context: Context) -> dict[str, int]:
        """Delete them; return how many."""
        from trap_ops.config.schedules import load_schedules, schedules_file
        from trap_ops.stages.maintenance import remove_old_files

        with errors_mapped(self.task_id, context):
            keep = load_schedules(schedules_file(CONFIGURATIONS)).maintenance
            return remove_old_files(output_dir(), keep.keep_logs_days, keep.keep_reports_days)


class FreeDatasetsOperator(BaseOperator):
    """Release datasets whose runs will not go on."""

    ui_color: ClassVar[str] = "#e8f0f2"

    def execute(self, context: Context) -> list[str]:
        """Release them; return what was done, in words."""
        from trap_ops.config.schedules import load_schedules, schedules_file
        from trap_ops.stages.maintenance import free_datasets

        ti: Any = context["ti"]

        def at_work(key: str) -> bool | None:
            if ti.get_dr_count(BATCH_DAG, run_ids=[key], states=AT_WORK):
                return True
            return False if ti.get_dr_count(BATCH_DAG, run_ids=[key]) else None

        with errors_mapped(self.task_id, context), open_store() as store:
            store.prepare()
            days = load_schedules(schedules_file(CONFIGURATIONS)).maintenance.give_up_failed_days
            done = free_datasets(store, at_work, days)
        for line in done:
            logger.info("%s", line)
        return done

"""Operator of the task extract_sources."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from airflow.sdk import Context

from trap_ops.operators.batch_operator import BatchOperator

if TYPE_CHECKING:
    from trap_ops.records.runs import StageReport
    from trap_ops.stages.context import StageContext


class ExtractSourcesOperator(BatchOperator):
    """Find and measure the sources of a batch of images."""

    stage: ClassVar[str] = "extract_sources"

    def run_stage(self, stage_context: StageContext, context: Context) -> StageReport:
        """Call the stage on this batch."""
        from trap_ops.stages.extract_sources import extract_sources

        return extract_sources(stage_context, self.image_ids, self.batch(context))

"""Operator of the task measure_quality."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from airflow.sdk import Context

from trap_ops.operators.batch_operator import BatchOperator

if TYPE_CHECKING:
    from trap_ops.records.runs import StageReport
    from trap_ops.stages.context import StageContext


class MeasureQualityOperator(BatchOperator):
    """Measure rms, range and missing pixels of a batch of images."""

    stage: ClassVar[str] = "measure_quality"

    def run_stage(self, stage_context: StageContext, context: Context) -> StageReport:
        """Call the stage on this batch."""
        from trap_ops.stages.measure_quality import measure_quality

        return measure_quality(stage_context, self.image_ids, self.batch(context))

"""Operator of the task fit_forced."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from airflow.sdk import Context

from trap_ops.operators.batch_operator import BatchOperator

if TYPE_CHECKING:
    from trap_ops.records.runs import StageReport
    from trap_ops.stages.context import StageContext


class FitForcedOperator(BatchOperator):
    """Measure fluxes at given positions in a batch of images."""

    stage: ClassVar[str] = "fit_forced"

    def run_stage(self, stage_context: StageContext, context: Context) -> StageReport:
        """Call the stage on this batch."""
        from trap_ops.stages.fit_forced import fit_forced

        return fit_forced(stage_context, self.image_ids, self.batch(context))

"""Operator of the task associate."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from airflow.sdk import Context

from trap_ops.operators.stage_operator import StageOperator

if TYPE_CHECKING:
    from trap_ops.records.runs import StageReport
    from trap_ops.stages.context import StageContext


class AssociateOperator(StageOperator):
    """Say which detection belongs to which sky source. Returns batches for fit_forced."""

    stage: ClassVar[str] = "associate"

    def run_stage(self, stage_context: StageContext, context: Context) -> StageReport:  # noqa: ARG002
        """Call the stage."""
        from trap_ops.stages.associate import associate

        return associate(stage_context)

"""Operator of the task publish."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from airflow.sdk import Context

from trap_ops.operators.stage_operator import StageOperator

if TYPE_CHECKING:
    from trap_ops.records.runs import StageReport
    from trap_ops.stages.context import StageContext


class PublishOperator(StageOperator):
    """Write the report of the run and release the dataset."""

    stage: ClassVar[str] = "publish"

    def run_stage(self, stage_context: StageContext, context: Context) -> StageReport:  # noqa: ARG002
        """Call the stage."""
        from trap_ops.stages.publish import publish

        return publish(stage_context)

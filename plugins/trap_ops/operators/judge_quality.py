"""Operator of the task judge_quality."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from airflow.sdk import Context

from trap_ops.operators.stage_operator import StageOperator

if TYPE_CHECKING:
    from trap_ops.records.runs import StageReport
    from trap_ops.stages.context import StageContext


class JudgeQualityOperator(StageOperator):
    """Give verdicts to all measured images, in time order. Returns batches for extract_sources."""

    stage: ClassVar[str] = "judge_quality"

    def run_stage(self, stage_context: StageContext, context: Context) -> StageReport:  # noqa: ARG002
        """Call the stage."""
        from trap_ops.stages.judge_quality import judge_quality

        return judge_quality(stage_context)

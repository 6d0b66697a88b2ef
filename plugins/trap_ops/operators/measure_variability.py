"""Operator of the task measure_variability."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from airflow.sdk import Context

from trap_ops.operators.stage_operator import StageOperator

if TYPE_CHECKING:
    from trap_ops.records.runs import StageReport
    from trap_ops.stages.context import StageContext


class MeasureVariabilityOperator(StageOperator):
    """Bring the statistics of light curves up to date."""

    stage: ClassVar[str] = "measure_variability"

    def run_stage(self, stage_context: StageContext, context: Context) -> StageReport:  # noqa: ARG002
        """Call the stage."""
        from trap_ops.stages.measure_variability import measure_variability

        return measure_variability(stage_context)

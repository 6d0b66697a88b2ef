"""Operator of the task find_candidates."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from airflow.sdk import Context

from trap_ops.operators.stage_operator import StageOperator

if TYPE_CHECKING:
    from trap_ops.records.runs import StageReport
    from trap_ops.stages.context import StageContext


class FindCandidatesOperator(StageOperator):
    """Rank the sky sources that stand out of a steady sky."""

    stage: ClassVar[str] = "find_candidates"

    def run_stage(self, stage_context: StageContext, context: Context) -> StageReport:  # noqa: ARG002
        """Call the stage."""
        from trap_ops.stages.find_candidates import find_candidates

        return find_candidates(stage_context)

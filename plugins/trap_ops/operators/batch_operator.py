"""Operators that are mapped over batches of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from airflow.sdk import Context

from trap_ops.operators.stage_operator import StageOperator


class BatchOperator(StageOperator):
    """Run one stage on one batch of images.

    Parameters
    ----------
    image_ids : list of int
        The batch; mapped over what the task before returned.
    """

    template_fields: ClassVar[Sequence[str]] = ("image_ids",)

    def __init__(self, *, image_ids: list[int], **kwargs: Any) -> None:  # noqa: ANN401 - Airflow's
        super().__init__(**kwargs)
        self.image_ids = image_ids

    def execute(self, context: Context) -> list[list[int]] | dict[str, Any]:
        """Name the batch in the UI, then run the stage on it."""
        number, count = self.batch(context), len(self.image_ids)
        context["batch_name"] = f"batch {number}: {count} image{'s' if count != 1 else ''}"
        return super().execute(context)

    @staticmethod
    def batch(context: Context) -> str:
        """Number of the batch, from 0."""
        return str(max(context["ti"].map_index or 0, 0))

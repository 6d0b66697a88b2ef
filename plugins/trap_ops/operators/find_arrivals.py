"""Operators of trap_nightly and trap_watch: which new images go to which runs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException

from trap_ops.operators.stage_operator import CONFIGURATIONS, errors_mapped, open_store

if TYPE_CHECKING:
    from trap_ops.config.schedules import SeriesConfig
    from trap_ops.records.arrivals import Waiting
    from trap_ops.stages.arrivals import Look

logger = logging.getLogger(__name__)

BATCH_DAG = "trap_batch"
# States in which Airflow works on a run, or is going to.
AT_WORK = ["queued", "running"]
_PROBLEMS = "problems"


class FindArrivalsOperator(BaseOperator):
    """Look into the folders of schedules.toml, and give their new images to runs of trap_batch.

    Returns what TriggerDagRunOperator is mapped over: the id and the parameters of each run, one
    for each dataset with new images that no run has.

    Parameters
    ----------
    when : str
        Which series: ``night`` or ``arrival``.
    name : str
        What the ids of the runs begin with.
    """

    ui_color = "#e8f0f2"

    def __init__(self, *, when: str, name: str, **kwargs: Any) -> None:  # noqa: ANN401 - Airflow's
        super().__init__(**kwargs)
        self.when = when
        self.name = name

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Look, note which run gets which files, and return the runs to trigger."""
        from trap_ops.config.schedules import ARRIVAL, load_schedules, schedules_file
        from trap_ops.stages.arrivals import look, take

        schedules = load_schedules(schedules_file(CONFIGURATIONS))
        made: list[dict[str, Any]] = []
        given: dict[str, str] = {}
        with errors_mapped(self.task_id, context), open_store() as store:
            store.prepare()
            found = look(store, CONFIGURATIONS, schedules, {self.when})
            for item in found:
                logger.info("%s", in_words(item))
                # A night's images are one run, however many they are.
                limit = item.series.images_per_run if self.when == ARRIVAL else None
                for waiting in item.waiting:
                    # Two series may have one dataset, which has one run at a time.
                    other = given.get(waiting.dataset)
                    why = f"run {other} has it" if other else self._why_not(waiting, context)
                    if why:
                        logger.info("dataset %s waits: %s", waiting.dataset, why)
                        continue
                    run_id = f"{self.name}__{datetime.now(UTC).isoformat()}_{len(made)}"
                    files = take(store, waiting, run_id, limit)
                    given[waiting.dataset] = run_id
                    logger.info("run %s: %d files, dataset %s", run_id, len(files), waiting.dataset)
                    paths = [file.path for file in files]
                    made.append(
                        {"trigger_run_id": run_id, "conf": _conf(item.series, waiting, paths)}
                    )
        problems = "\n".join(item.problem for item in found if item.problem)
        context["ti"].xcom_push(_PROBLEMS, problems)
        return made

    @staticmethod
    def _why_not(waiting: Waiting, context: Context) -> str:
        """Why no run can have the dataset now; empty if one can."""
        if waiting.busy:
            return waiting.busy
        key = waiting.open_run
        if key and context["ti"].get_dr_count(BATCH_DAG, run_ids=[key], states=AT_WORK):
            return f"Airflow works on run {key}"
        return ""


class CheckFoldersOperator(BaseOperator):
    """Fail if a folder of schedules.toml could not be used: the others are taken all the same.

    Parameters
    ----------
    problems : str
        What FindArrivalsOperator has met; empty if nothing.
    """

    template_fields: Sequence[str] = ("problems",)
    ui_color = "#e8f0f2"

    def __init__(self, *, problems: str, **kwargs: Any) -> None:  # noqa: ANN401 - Airflow's
        super().__init__(**kwargs)
        self.problems = problems

    def execute(self, context: Context) -> None:  # noqa: ARG002
        """Look at the problems.

        Raises
        ------
        AirflowFailException
            If there are any.
        """
        if self.problems:
            raise AirflowFailException(self.problems)


def in_words(found: Look) -> str:
    """What a look has found, for people."""
    if found.problem:
        return found.problem
    waiting = sum(len(item.files) for item in found.waiting)
    return (
        f"series {found.series.name!r}, {found.series.folder}: {found.files} image files, "
        f"{waiting} of them new, {found.unsettled} still being written"
    )


def _conf(series: SeriesConfig, waiting: Waiting, paths: list[str]) -> dict[str, Any]:
    return {
        "images": paths,
        "dataset": waiting.dataset,
        "configuration": series.configuration,
        "overrides": series.overrides,
    }

"""Operator of the first task: plan the run and register its images."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator, Context

from trap_ops.operators.stage_operator import (
    CONFIGURATIONS,
    TEMPORARY_RUN,
    errors_mapped,
    image_access,
    in_one_process,
    open_store,
    output_dir,
    result_of,
    run_key,
    testing_one_task,
)

if TYPE_CHECKING:
    from trap_ops.records.runs import RunRequest
    from trap_ops.store.database import Store

logger = logging.getLogger(__name__)


class RegisterImagesOperator(BaseOperator):
    """Find the images that the parameters name, read their headers, and plan the run.

    Reads the DAG's parameters ``images``, ``dataset``, ``configuration``, ``overrides``,
    ``monitor``, ``withdraw`` and ``remove_monitors``. Returns batches of image ids for
    measure_quality.
    """

    stage: ClassVar[str] = "register_images"
    ui_color = "#e8f0f2"

    def execute(self, context: Context) -> list[list[int]] | dict[str, Any]:
        """Plan the run."""
        from trap_ops.records.runs import RunRequest
        from trap_ops.science.coordinates import parse_position
        from trap_ops.stages.register_images import register_images
        from trap_ops.store import runs

        params = context["params"]
        key = run_key(context)
        with errors_mapped(self.stage, context), open_store() as store:
            _check_known(params, context["dag"].params)
            request = RunRequest(
                run_key=key,
                images=tuple(params["images"] or ()),
                dataset=str(params["dataset"]),
                configuration=str(params["configuration"]),
                overrides=dict(params["overrides"] or {}),
                monitor=tuple(parse_position(text) for text in params["monitor"] or ()),
                withdraw=tuple(params["withdraw"] or ()),
                remove_monitors=tuple(params["remove_monitors"] or ()),
                user=runs.current_user() if in_one_process() else _triggered_by(context),
            )
            try:
                _, report = register_images(
                    store,
                    request,
                    CONFIGURATIONS,
                    output_dir(),
                    debugging=testing_one_task(),
                    access=image_access(),
                )
            finally:
                if key.startswith(TEMPORARY_RUN):
                    _give_up(store, request)
            return result_of(report, context)


def _check_known(given: Iterable[str], known: Mapping[str, Any]) -> None:
    """Check that a run was given no parameter that the DAG does not have: Airflow takes any.

    Raises
    ------
    ConfigError
        One message for all, each with the nearest valid name.
    """
    from trap_ops.config.load import nearest_name
    from trap_ops.errors import ConfigError

    unknown = [f"{name!r}{nearest_name(name, known)}" for name in sorted(set(given) - set(known))]
    if unknown:
        msg = (
            f"trap_batch has no parameter {', '.join(unknown)}; there are: {', '.join(known)}. "
            "Settings of the configuration go into overrides"
        )
        raise ConfigError(msg, unknown=unknown)


def _give_up(store: Store, request: RunRequest) -> None:
    """Release the dataset: Airflow deletes this run when the test ends, so it cannot go on."""
    from trap_ops.store import runs

    with store.write() as connection:
        found = runs.planned_run(connection, request)
        if found is not None:
            runs.give_up(connection, found, "a test of register_images without a run id")
            logger.info("registered as a test: the next run on the dataset goes on from here")


def _triggered_by(context: Context) -> str:
    """Name of the user who triggered the run in Airflow, or of the DAG that did."""
    for name in ("watch", "nightly"):
        if run_key(context).startswith(f"{name}__"):
            return f"trap_{name}"
    return str(getattr(context["dag_run"], "triggering_user_name", None) or "")

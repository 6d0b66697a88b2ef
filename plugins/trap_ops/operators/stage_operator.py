"""What all operators of the pipeline have in common."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseHook, BaseOperator, Context
from airflow.sdk.exceptions import AirflowFailException, AirflowTaskTimeout

from trap_ops.operators.interruption import interruptible
from trap_ops.operators.time_limit import ended_in_time, said

if TYPE_CHECKING:
    from trap_ops.images.access import Access
    from trap_ops.records.runs import StageReport
    from trap_ops.stages.context import StageContext
    from trap_ops.store.database import Store

logger = logging.getLogger(__name__)

CHECKOUT = Path(__file__).resolve().parents[3]
CONFIGURATIONS = CHECKOUT / "include" / "configs"
STORE_CONNECTION = "trap_store"
# A temporary run of `airflow tasks test` without a run id: Airflow deletes it afterwards.
TEMPORARY_RUN = "__airflow_temporary_run_"
# The XCom with the reason of a failure that the results database does not have.
FAILURE_KEY = "failure"
# Runs of which a task has failed in this process.
_failed: set[str] = set()


class StageOperator(BaseOperator):
    """Run one stage of a run that register_images has planned.

    Subclasses name the stage and say how to call it. What the stage found goes to the database; the
    counts go to XCom under the key ``counts``, and the return value is what a mapped task behind
    this one is mapped over.
    """

    stage: ClassVar[str]
    ui_color = "#e8f0f2"

    def run_stage(self, stage_context: StageContext, context: Context) -> StageReport:
        """Call the stage."""
        raise NotImplementedError

    def execute(self, context: Context) -> list[list[int]] | dict[str, Any]:
        """Open the run, call the stage, map errors to what Airflow should do about them."""
        from trap_ops.stages.context import open_context

        with errors_mapped(self.stage, context), open_store() as store:
            stage_context = open_context(
                store,
                run_key(context),
                output_dir(),
                debugging=testing_one_task(),
                access=image_access(),
            )
            return result_of(self.run_stage(stage_context, context), context)


def run_key(context: Context) -> str:
    """Return Airflow's id of this run, which is the key of the run in the results database."""
    return str(context["run_id"])


def output_dir() -> Path:
    """Directory that reports are written below: TRAP_VAR, else var/ in the checkout."""
    return Path(os.environ.get("TRAP_VAR") or CHECKOUT / "var")


def testing_one_task() -> bool:
    """Whether this is `airflow tasks test`, which tries a task with code that is being edited."""
    return os.environ.get("AIRFLOW_TEST_MODE") == "True"


def in_one_process() -> bool:
    """Whether this is `airflow dags test` or `tasks test`: then the first error is final."""
    runner = sys.modules.get("airflow.sdk.execution_time.task_runner")
    return type(getattr(runner, "SUPERVISOR_COMMS", None)).__name__ == "InProcessSupervisorComms"


def failed_in_one_process(run: str) -> bool:
    """Whether a run has failed in this very process, without workers."""
    return in_one_process() or run in _failed


@contextmanager
def open_store() -> Iterator[Store]:
    """The results database of the Airflow connection ``trap_store``."""
    from trap_ops.store.database import Store, url_of_connection

    connection = BaseHook.get_connection(STORE_CONNECTION)
    store = Store(
        url_of_connection(
            connection.conn_type,
            connection.host,
            connection.port,
            connection.login,
            connection.password,
            connection.schema,
            connection.extra_dejson,
        )
    )
    try:
        yield store
    finally:
        store.close()


def image_access() -> Access:
    """Access to remote images by the Airflow connection ``trap_images``, if there is one.

    Raises
    ------
    ConfigError
        If there is one that cannot be read: without it images would seem to be away.
    """
    from airflow.sdk.exceptions import AirflowNotFoundException

    from trap_ops.errors import ConfigError
    from trap_ops.images.access import CONNECTION, VARIABLE, Access, options_of_connection

    try:
        connection = BaseHook.get_connection(CONNECTION)
    except AirflowNotFoundException:
        # Airflow takes a variable that it cannot read for one that is not set.
        if os.environ.get(VARIABLE, "").strip():
            msg = f"{VARIABLE} is neither the URI nor the JSON of an Airflow connection"
            raise ConfigError(msg) from None
        return Access(scratch_dir=output_dir() / "scratch")
    _check_json(connection.extra or "{}")
    options = options_of_connection(
        connection.conn_type,
        connection.host,
        connection.port,
        connection.login,
        connection.password,
        connection.extra_dejson,
    )
    return Access(options, scratch_dir=output_dir() / "scratch")


def _check_json(extra: str) -> None:
    """Check the extra fields of the connection, which Airflow takes for none if they are no JSON.

    Raises
    ------
    ConfigError
    """
    from trap_ops.errors import ConfigError
    from trap_ops.images.access import CONNECTION

    try:
        json.loads(extra)
    except ValueError:
        msg = f"the extra fields of the connection {CONNECTION} are not JSON; see them in Airflow"
        raise ConfigError(msg) from None


@contextmanager
def errors_mapped(stage: str, context: Context) -> Iterator[None]:
    """Tell Airflow what to do about an error: retry it, or fail at once with the message.

    In one process the first error ends the run, and so does Ctrl-C: Airflow alone would go on with
    the other batches of a mapped task, and would retry a task that was interrupted.

    Raises
    ------
    AirflowFailException
        For what a retry cannot mend, and, in one process, for everything.
    """
    from trap_ops.errors import Superseded, TrapError, Unavailable

    alone = in_one_process()
    if alone and run_key(context) in _failed:
        msg = "not begun, because this run has failed"
        raise AirflowFailException(msg)
    _note_result(stage, context, None)
    if (number := context["ti"].try_number) > 1:
        logger.info(
            "try %d of %s: the one before failed, was killed or got lost; what it finished is kept",
            number,
            stage,
        )
    try:
        with interruptible() if alone else ended_in_time(context["task"].execution_timeout):
            yield
    except Superseded:
        # The run goes on elsewhere.
        raise
    except (Exception, KeyboardInterrupt, AirflowTaskTimeout) as error:
        message = _message(stage, error, context)
        if isinstance(error, AirflowTaskTimeout):
            logger.warning("%s", message)
        final = alone or (isinstance(error, TrapError) and not isinstance(error, Unavailable))
        if final or _is_last_try(context):
            _note_failure(stage, context, message)
        else:
            # Else somebody might give up a run that goes on in a minute.
            logger.info("the run is not marked as failed: Airflow tries this task again")
        if alone and not testing_one_task():
            _failed.add(run_key(context))
        if os.environ.get("TRAP_PDB") and isinstance(error, Exception):
            _debug(error)
        if final:
            raise AirflowFailException(message) from error
        raise
    _note_result(stage, context, "")


def _is_last_try(context: Context) -> bool:
    """Whether Airflow does not try this task again by itself."""
    return bool(context["ti"].try_number > context["ti"].max_tries)


def result_of(report: StageReport, context: Context) -> list[list[int]] | dict[str, Any]:
    """Show the counts of a stage, and return its batches or the counts."""
    counts = {**report.counts, "seconds": report.seconds}
    context["ti"].xcom_push("counts", counts)
    return counts if report.batches is None else report.batches


def _message(stage: str, error: BaseException, context: Context) -> str:
    from trap_ops.errors import STOPPED, TrapError

    if isinstance(error, KeyboardInterrupt):
        return STOPPED
    if isinstance(error, AirflowTaskTimeout):
        return f"{stage} {said(context['task'].execution_timeout)}"
    return error.message if isinstance(error, TrapError) else f"{stage}: {error!r}"


def _note_failure(stage: str, context: Context, message: str) -> None:
    """Write the failure to the run, so that everybody who looks at it can read the reason."""
    from trap_ops.errors import TrapError
    from trap_ops.store import runs

    _note_result(stage, context, message)
    try:
        with open_store() as store, store.write() as connection:
            runs.note_failure(connection, run_key(context), f"{stage}: {message}")
    except TrapError as error:
        # There is no run yet, or no database: the task's log has the message in any case.
        logger.info("not noted in the results database: %s", error)
        context["ti"].xcom_push(FAILURE_KEY, f"{stage}: {message}")


def _note_result(stage: str, context: Context, message: str | None) -> None:
    """Tell the command that started this process, if it asked, what became of the task.

    A message of None says that it has begun, an empty one that it succeeded.
    The exit status of `airflow tasks test` is 0 even when the task failed.
    """
    path = os.environ.get("TRAP_RESULT_FILE")
    if path:
        line = json.dumps({"stage": stage, "run": run_key(context), "error": message})
        with Path(path).open("a") as file:
            file.write(line + "\n")


def _debug(error: Exception) -> None:
    """Open the debugger where the error was raised."""
    import pdb  # noqa: T100 - `trap-manage debug --pdb` asks for it

    # Airflow redirects the standard streams of a task.
    debugger = pdb.Pdb(stdin=sys.__stdin__, stdout=sys.__stdout__)
    debugger.reset()
    debugger.interaction(None, error.__traceback__)

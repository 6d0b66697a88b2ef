"""What every stage is given, and what all stages have in common: lock, version check, timing."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from trap_ops.errors import StaleWorker, TrapError
from trap_ops.images.access import LOCAL_ONLY, Access
from trap_ops.records.runs import RunRecord, StageReport, counts_in_words
from trap_ops.stages.fingerprint import fingerprint
from trap_ops.store import runs, stage_tries
from trap_ops.store.database import Store
from trap_ops.store.upkeep import tidy

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StageContext:
    """A run and where its results go.

    Attributes
    ----------
    store : Store
    run : RunRecord
    output_dir : Path
        Reports are written below it.
    debugging : bool
        Warn of other code than the run was planned with, instead of refusing.
    access : Access
        To remote images.
    """

    store: Store
    run: RunRecord
    output_dir: Path
    debugging: bool = False
    access: Access = LOCAL_ONLY


@dataclass
class StageTimer:
    """Collects the counts of a stage while it runs."""

    stage: str
    started: float = field(default_factory=time.perf_counter)
    counts: dict[str, int] = field(default_factory=dict)
    batches: list[list[int]] | None = None

    def count(self, name: str, number: int = 1) -> None:
        """Add to a count."""
        self.counts[name] = self.counts.get(name, 0) + number

    def report(self) -> StageReport:
        """Return what the stage did so far."""
        seconds = time.perf_counter() - self.started
        return StageReport(self.stage, round(seconds, 3), dict(self.counts), self.batches)


def open_context(
    store: Store,
    run_key: str,
    output_dir: Path,
    *,
    debugging: bool = False,
    access: Access = LOCAL_ONLY,
) -> StageContext:
    """Find a run that register_images has planned.

    Raises
    ------
    StoreError
        If there is no such run.
    """
    with store.read() as connection:
        record = runs.load_run(connection, run_key)
    access = access.below(record.configuration.images.data_roots)
    return StageContext(store, record, output_dir, debugging, access)


@contextmanager
def stage(context: StageContext, name: str, batch: str = "") -> Iterator[StageTimer]:
    """Run a stage, or one batch of it: hold the dataset's lock, check the version, take the time.

    A failed run that goes on is running again. One that has ended stays ended, and so does a failed
    one of which a single task is tried: nothing would come after it to end the run.

    Raises
    ------
    StoreError
        If another run has the dataset.
    StaleWorker
        If this process runs other code than the run was planned with.
    Superseded
        Where this try writes, if another one has been begun in its place meanwhile.
    """
    check_version(context)
    store, record = context.store, context.run
    with store.write() as connection:
        runs.take_lock(connection, record)
        if record.state == runs.FAILED and not context.debugging:
            runs.set_state(connection, record.id, runs.RUNNING)
        own, before = stage_tries.begin_stage(connection, record.id, name, batch)
    if before is not None:
        _tell_of(before)
    timer = StageTimer(name)
    try:
        with store.checked(lambda connection: stage_tries.check_current(connection, own)):
            yield timer
            report = timer.report()
            with store.write() as connection:
                runs.end_stage(connection, record.id, name, batch, report)
        tidy(store)
    except BaseException:
        _note_end(store, own, timer)
        raise
    finally:
        # A stage that is tried again after its run has ended must leave no lock behind.
        if record.state in runs.ENDED:
            with store.write() as connection:
                runs.release_lock(connection, record.id)
    logger.info("%s: %s in %.1f s", name, counts_in_words(timer.counts), report.seconds)


def _tell_of(before: stage_tries.StageTry) -> None:
    """Say in the log what became of the try before this one: its own log may just break off."""
    if before.finished:
        return
    if before.ended:
        logger.info("an earlier try, begun %s, failed; what it finished is kept", before.in_words)
        return
    logger.warning(
        "an earlier try, begun %s, has not ended: it was killed, or hung, or lost the network or "
        "the database. This one takes its place; what it finished is kept and not repeated",
        before.in_words,
    )


def _note_end(store: Store, own: stage_tries.StageTry, timer: StageTimer) -> None:
    """Note that a try has failed; where that cannot be written the next one takes it for lost."""
    with suppress(TrapError), store.write() as connection:
        stage_tries.fail_stage(connection, own, timer.report().seconds)


def check_version(context: StageContext) -> None:
    """Compare this process' code with that of the run's plan.

    Raises
    ------
    StaleWorker
        If they differ, unless debugging, which only warns.
    """
    planned, here = context.run.fingerprint, fingerprint()
    if planned == here:
        return
    msg = (
        f"{runs.hostname()} runs other code than run {context.run.key!r} was planned with "
        f"({here[:12]} here, {planned[:12]} planned): put the planned version on that host and "
        f"clear the task, or do the run again with this one: `trap-manage replan "
        f"{context.run.key}`"
    )
    if not context.debugging:
        raise StaleWorker(msg, host=runs.hostname(), here=here, planned=planned)
    logger.warning("%s (going on, because this is a test of one task)", msg)


def input_hash(*parts: object) -> str:
    """SHA-256 of what a result depends on (anything JSON knows)."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def cut_into_batches(
    ids: list[int], parallel_tasks: int, max_images_per_task: int, max_tasks: int = 1000
) -> list[list[int]]:
    """Cut a list into batches of nearly equal length: enough of them to keep all workers busy."""
    if not ids:
        return []
    wanted = max(parallel_tasks, -(-len(ids) // max_images_per_task))
    number = min(wanted, len(ids), max_tasks)
    bounds = [len(ids) * i // number for i in range(number + 1)]
    return [ids[first:last] for first, last in pairwise(bounds)]


def plan_batches(
    context: StageContext, timer: StageTimer, waiting: list[int], others: list[int]
) -> None:
    """Say which images the mapped task behind this stage is to work on.

    Parameters
    ----------
    context : StageContext
    timer : StageTimer
        Gets the batches.
    waiting : list of int
        Images with work to do.
    others : list of int
        Images of the dataset that are done.

    Notes
    -----
    When the same run comes here again its batches stay, and what waits beside them is added, so
    that each of its mapped tasks can be tried again by its number. If nothing waits, one batch of
    images that are done goes on: a mapped task with nothing to map over could not be tried alone.
    """
    execution = context.run.configuration.execution
    with context.store.read() as connection:
        before = runs.planned_batches(connection, context.run.id, timer.stage)
    planned = {image_id for batch in before for image_id in batch}
    new = cut_into_batches(
        [image_id for image_id in waiting if image_id not in planned],
        execution.parallel_tasks,
        execution.max_images_per_task,
    )
    batches = [*before, *new]
    if not batches and others:
        batches = [others[-execution.max_images_per_task :]]
    timer.batches = batches

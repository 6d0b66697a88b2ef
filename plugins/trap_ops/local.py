"""All stages in order without Airflow: for notebooks, tests and benchmarks."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

from trap_ops.errors import STOPPED, TrapError
from trap_ops.images.access import LOCAL_ONLY, Access
from trap_ops.records.runs import MonitorPosition, RunRequest, StageReport
from trap_ops.stages.associate import associate
from trap_ops.stages.context import StageContext, open_context
from trap_ops.stages.extract_sources import extract_sources
from trap_ops.stages.find_candidates import find_candidates
from trap_ops.stages.fit_forced import fit_forced
from trap_ops.stages.judge_quality import judge_quality
from trap_ops.stages.measure_quality import measure_quality
from trap_ops.stages.measure_variability import measure_variability
from trap_ops.stages.publish import publish
from trap_ops.stages.register_images import register_images
from trap_ops.store import runs
from trap_ops.store.database import Store

CHECKOUT = Path(__file__).resolve().parents[2]
CONFIGURATIONS = CHECKOUT / "include" / "configs"

_RUNS_BETWEEN_COLLECTIONS = 20
_begun = count(1)

MappedStage = Callable[[StageContext, Sequence[int], str], StageReport]


def run(
    images: Iterable[str | Path],
    dataset: str,
    *,
    store_url: str,
    configuration: str = "auto",
    overrides: Mapping[str, Any] | None = None,
    monitor: Iterable[MonitorPosition] = (),
    withdraw: Iterable[str | Path] = (),
    remove_monitors: Iterable[str] = (),
    run_key: str | None = None,
    configurations: Path = CONFIGURATIONS,
    output_dir: Path = CHECKOUT / "var",
    access: Access = LOCAL_ONLY,
) -> list[StageReport]:
    """Run the whole pipeline in this process.

    Parameters
    ----------
    images : iterable of str or Path
        Absolute paths of files or directories, globs, or addresses. None if the run changes the
        dataset in other ways only.
    dataset : str
        Name of the dataset; an existing one is continued.
    store_url : str
        Database of the results.
    configuration : str
        Name of a file in ``configurations``, or ``auto``.
    overrides : mapping, optional
        ``{section: {key: value}}``.
    monitor : iterable of MonitorPosition
        Positions to measure in every image, also in those that the dataset has already.
    withdraw : iterable of str or Path
        Images to take out of the dataset, by path or base name.
    remove_monitors : iterable of str
        Monitoring positions to take out of it, by name, id or position.
    run_key : str, optional
        Key of the run; by default ``local__<UTC>``.
    configurations, output_dir : Path
    access : Access
        Credentials for remote images; its data roots are those of the configuration.

    Returns
    -------
    list of StageReport
        One a stage and batch, in the order in which they ran.

    Raises
    ------
    TrapError
        Whatever stops a stage. The run, once it is planned, is then marked as failed and keeps its
        dataset; so it is after Ctrl-C.
    """
    store = Store(store_url)
    request = RunRequest(
        run_key=run_key or f"local__{datetime.now(UTC).isoformat()}",
        images=tuple(str(item) for item in images),
        dataset=dataset,
        configuration=configuration,
        overrides=dict(overrides or {}),
        monitor=tuple(monitor),
        user=runs.current_user(),
        withdraw=tuple(map(str, withdraw)),
        remove_monitors=tuple(remove_monitors),
    )
    # The packages' own objects live on anyway: without them, looking for garbage costs a fifth.
    # What earlier runs in this process have left must not live on with them, but to look for that
    # takes as long as a third of a short run.
    if next(_begun) % _RUNS_BETWEEN_COLLECTIONS == 0:
        gc.collect()
    gc.freeze()
    try:
        record, report = register_images(store, request, configurations, output_dir, access=access)
        context = open_context(store, record.key, output_dir, access=access)
        return [report, *_run_stages(context, report)]
    except BaseException as error:
        # Whatever prevents that is less interesting than the error itself.
        with suppress(TrapError):
            _note_failure(store, request, error)
        raise
    finally:
        gc.unfreeze()
        store.close()


def _note_failure(store: Store, request: RunRequest, error: BaseException) -> None:
    stopped = isinstance(error, KeyboardInterrupt)
    with store.write() as connection:
        known = runs.planned_run(connection, request)
        if known is not None:
            reason = STOPPED if stopped else str(error) or repr(error)
            runs.note_failure(connection, known.key, reason)


def _run_stages(context: StageContext, registered: StageReport) -> list[StageReport]:
    reports = _run_batches(context, measure_quality, registered)
    reports.append(judge_quality(context))
    reports += _run_batches(context, extract_sources, reports[-1])
    reports.append(associate(context))
    reports += _run_batches(context, fit_forced, reports[-1])
    reports += [measure_variability(context), find_candidates(context), publish(context)]
    return reports


def _run_batches(
    context: StageContext, stage: MappedStage, before: StageReport
) -> list[StageReport]:
    return [
        stage(context, image_ids, str(number))
        for number, image_ids in enumerate(before.batches or [])
    ]


__all__ = ["CHECKOUT", "CONFIGURATIONS", "run"]

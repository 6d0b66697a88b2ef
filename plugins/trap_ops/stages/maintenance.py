"""What is to be done now and then: check, tidy, delete what is old, free what nobody uses."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from trap_ops.errors import StoreError
from trap_ops.store import runs
from trap_ops.store.consistency import check_datasets
from trap_ops.store.database import Store

logger = logging.getLogger(__name__)

_DAY_S = 86400.0
# A task that is tried again after its run has ended takes no longer.
_TRIED_AGAIN_DAYS = 1.0
# What a run downloads is deleted by it, unless it is killed.
_SCRATCH_DAYS = 2.0


def check_results(store: Store) -> int:
    """Check all datasets; return their number.

    Raises
    ------
    StoreError
        If one breaks a rule; the others are checked all the same.
    """
    broken, number = [], 0
    for found in check_datasets(store):
        number += 1
        names = ", ".join(item.invariant.name for item in found.broken)
        logger.info("%s: %d invariants, broken: %s", found.dataset, found.checked, names or "none")
        if names:
            broken.append(f"{found.dataset!r} ({names})")
    if broken:
        msg = (
            f"datasets that are not consistent: {'; '.join(broken)}; `trap-manage check` names the "
            "rows"
        )
        raise StoreError(msg)
    return number


def remove_old_files(
    output_dir: Path, keep_logs_days: float, keep_reports_days: float
) -> dict[str, int]:
    """Delete old logs and reports, and what killed runs have left; return how many of each.

    Parameters
    ----------
    output_dir : Path
        Directory of everything that runs write.
    keep_logs_days, keep_reports_days : float
        Files that were changed later stay; 0: all stay.
    """
    removed = {}
    for what, folders, days in (
        ("logs", ("logs", "airflow/logs"), keep_logs_days),
        ("reports", ("reports",), keep_reports_days),
        ("downloads", ("scratch",), _SCRATCH_DAYS),
    ):
        before_s = time.time() - days * _DAY_S
        removed[what] = 0
        if days:
            removed[what] = sum(_remove(output_dir / folder, before_s) for folder in folders)
    return removed


def free_datasets(
    store: Store, at_work: Callable[[str], bool | None], give_up_failed_days: float
) -> list[str]:
    """Release datasets whose runs will not go on; return what was done, in words.

    Parameters
    ----------
    store : Store
    at_work : callable
        Whether Airflow works on the run of a key, or is going to; None if it does not know it.
    give_up_failed_days : float
        Runs that have failed earlier give their datasets up; 0: they never do.
    """
    done = []
    with store.read() as connection:
        holders = runs.lock_holders(connection)
    for holder in holders:
        going = at_work(holder.key)
        if going:
            continue
        with store.write() as connection:
            # It may have gone on meanwhile.
            now = runs.lock_holder(connection, holder.dataset_name)
            if now is None or now != holder:
                continue
            name = f"dataset {holder.dataset_name!r}: run {holder.key}"
            if holder.state == runs.RUNNING and going is False:
                runs.note_failure(connection, holder.key, "it ended without a word; try it again")
                done.append(f"{name} ended without a word, and is marked as failed")
            elif holder.state in runs.ENDED and _days(holder.taken_ts) > _TRIED_AGAIN_DAYS:
                runs.release_lock(connection, holder.id)
                done.append(f"{name} has ended, and a task tried again had kept the dataset")
            elif holder.state == runs.FAILED and holder.ended_ts and give_up_failed_days:
                days = _days(holder.ended_ts)
                if days > give_up_failed_days:
                    why = f"given up after {days:.0f} days: {holder.message}"
                    runs.give_up(connection, holder, why)
                    done.append(f"{name} failed {days:.0f} days ago, and is given up")
    return done


def _days(since: datetime) -> float:
    return (runs.now() - since).total_seconds() / _DAY_S


def _remove(folder: Path, before_s: float) -> int:
    """Delete the files below a folder that were not changed since, and folders that get empty."""
    removed = 0
    changed = set()
    for directory, _, names in os.walk(folder, topdown=False):
        here = Path(directory)
        for name in names:
            path = here / name
            try:
                if path.lstat().st_mtime < before_s:
                    path.unlink()
                    removed += 1
                    changed.add(here)
            except FileNotFoundError:
                continue
        if here in changed and here != folder:
            with suppress(OSError):  # It is not empty.
                here.rmdir()
                changed.add(here.parent)
    return removed

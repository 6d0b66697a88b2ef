"""How long a task may take, how often it is tried, and its end when it hangs."""

from __future__ import annotations

import faulthandler
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

# What a cluster tells its processes of [tasks] in cluster.toml, and what is so without one. The
# settings themselves are not imported: DAG files are read all the time.
VARIABLES = {
    "TRAP_TASK_TIMEOUT_MIN": 720.0,
    "TRAP_TASK_RETRIES": 6,
    "TRAP_TASK_RETRY_DELAY_S": 15.0,
}
# Standard error of a task, which Airflow writes into its log.
_TASK_LOG = 2


def task_arguments() -> dict[str, Any]:
    """Arguments of all tasks: what ``[tasks]`` of cluster.toml says, where that is in use."""
    minutes, retries, delay_s = (
        float(os.environ.get(name) or usual) for name, usual in VARIABLES.items()
    )
    return {
        # What may help is retried; everything else fails at once.
        "retries": int(retries),
        "retry_delay": timedelta(seconds=delay_s),
        "retry_exponential_backoff": 2.0,
        "max_retry_delay": timedelta(minutes=10),
        "execution_timeout": timedelta(minutes=minutes),
    }


@contextmanager
def ended_in_time(limit: timedelta | None) -> Iterator[None]:
    """End this process if what is inside goes on after a limit and some grace.

    Airflow raises an exception at the limit, but Python learns of it only where it runs Python:
    not where it waits for a database or a disk that never answer. Then all threads are shown in
    the log, and the process exits with status 1, which Airflow retries.
    """
    if limit is None:
        yield
        return
    seconds = limit.total_seconds()
    grace_s = min(60.0, max(5.0, 0.1 * seconds))
    faulthandler.dump_traceback_later(seconds + grace_s, exit=True, file=_TASK_LOG)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def said(limit: timedelta | None) -> str:
    """What happened to a task at its limit, in words."""
    minutes = limit.total_seconds() / 60.0 if limit else 0.0
    return (
        f"took longer than {minutes:g} min and was ended; it is tried again, and what it finished "
        "is kept. If its work is long, raise tasks.timeout_min in cluster.toml"
    )

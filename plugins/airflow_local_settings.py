"""Which pool, queue and turn a task gets on a cluster; Airflow calls this for each one it makes.

Airflow imports this file in every process, so it loads nothing of the pipeline. TRAP_SHARING says
what to do; without it (one machine, no cluster) nothing is done.
"""

from __future__ import annotations

import json
import os
from functools import lru_cache
from typing import Any

# The task of a run with most batches still has a priority.
_TOP = 1000


@lru_cache(maxsize=1)
def _sharing() -> dict[str, Any]:
    made: dict[str, Any] = json.loads(os.environ.get("TRAP_SHARING") or "{}")
    return made


def task_instance_mutation_hook(task_instance: Any, dag_run: Any = None) -> None:  # noqa: ANN401
    """Give a task of the pipeline its pool, queue and priority.

    The first batch of every run goes before the second one of any, and so on: a run with few
    batches is not kept waiting by one with many, whoever came first.
    """
    sharing = _sharing()
    if not sharing or not task_instance.dag_id.startswith("trap_"):
        return
    asked = task_instance.task.queue if getattr(task_instance, "task", None) else None
    queue = asked or task_instance.queue
    if queue not in sharing["pools"]:
        return
    user = {} if dag_run is None else sharing["users"].get(_user(dag_run), {})
    task_instance.pool = sharing["pools"][queue]
    task_instance.queue = user.get(queue, queue)
    turn = min(max(task_instance.map_index, 0), _TOP - 1)
    task_instance.priority_weight = _TOP * (1 + user.get("priority", 0)) - turn


def _user(dag_run: Any) -> str:  # noqa: ANN401 - Airflow's
    """Name of who has triggered a run; a scheduled one is that of its DAG."""
    for name in ("watch", "nightly"):
        if dag_run.run_id.startswith(f"{name}__"):
            return f"trap_{name}"
    return str(getattr(dag_run, "triggering_user_name", None) or "")

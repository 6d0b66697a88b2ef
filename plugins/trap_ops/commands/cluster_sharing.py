"""How users share the workers of a cluster: pools, queues of groups, turns."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping

from trap_ops.commands.environment import AIRFLOW_COMMAND
from trap_ops.config.cluster import DATABASE, PIXELS, ClusterConfig
from trap_ops.errors import ConfigError

# Read by plugins/airflow_local_settings.py.
VARIABLE = "TRAP_SHARING"
_WHAT_FOR = {
    PIXELS: "work on pixels: cores and memory of the workers",
    DATABASE: "work on the results database",
}
# Runs that go on at the same time, each with at least so many tasks.
_RUNS, _TASKS_OF_A_RUN = 64, 16


def sharing_variables(cluster: ClusterConfig) -> dict[str, str]:
    """Variables for Airflow's processes: limits, and what airflow_local_settings does."""
    slots = {queue: cluster.slots(queue) for queue in (PIXELS, DATABASE)}
    groups = {
        user: {
            PIXELS: group.pixels,
            DATABASE: group.database,
            "priority": group.priority,
        }
        for group in cluster.groups
        for user in group.users
    }
    return {
        VARIABLE: json.dumps({"pools": {q: pool(q) for q in slots}, "users": groups}),
        # What limits tasks is their pools.
        "AIRFLOW__CORE__PARALLELISM": str(sum(slots.values()) + 32),
        "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": str(max(slots[PIXELS], _TASKS_OF_A_RUN)),
        "AIRFLOW__CORE__MAX_ACTIVE_RUNS_PER_DAG": str(_RUNS),
    }


def pool(queue: str) -> str:
    """Name of the pool of a queue."""
    return f"trap_{queue}"


def make_pools(cluster: ClusterConfig, environ: Mapping[str, str]) -> None:
    """Give Airflow the pools, or new sizes of them.

    Raises
    ------
    ConfigError
        If Airflow cannot take them; its output says why.
    """
    pools = {
        pool(queue): {
            "slots": cluster.slots(queue),
            "description": text,
            "include_deferred": False,
        }
        for queue, text in _WHAT_FOR.items()
    }
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(pools, file)
        file.flush()
        made = subprocess.run(
            [*AIRFLOW_COMMAND, "pools", "import", file.name],
            env=dict(environ),
            capture_output=True,
            text=True,
            check=False,
        )
    if made.returncode:
        msg = f"`airflow pools import` failed:\n{made.stdout[-1000:]}{made.stderr[-1000:]}"
        raise ConfigError(msg)

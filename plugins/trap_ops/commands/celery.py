"""``trap-manage celery ...``: Airflow's Celery commands, with the cluster's broker and database."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from trap_ops.commands.cluster import run_airflow
from trap_ops.commands.cluster_environment import check_broker, cluster_settings
from trap_ops.config.cluster import ClusterConfig
from trap_ops.errors import TrapError

# These ask nobody.
_HELP = {"-h", "--help"}


def add_parser(verbs: Any) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the verb to the command line (its words are taken before argparse sees them)."""
    verbs.add_parser(
        "celery",
        help="Airflow's Celery commands (worker, stop, queues, flower ...) on the cluster",
    )


def run(words: list[str]) -> int:
    """Replace this process by ``airflow celery``."""
    try:
        cluster = cluster_settings()
        if words and not _HELP & set(words):
            check_broker(cluster.broker.url)
    except TrapError as error:
        print(f"trap-manage: {error.message}", file=sys.stderr)
        return 1
    return run_airflow(["celery", *with_queues(words, cluster)])


def with_queues(words: Sequence[str], cluster: ClusterConfig) -> list[str]:
    """Words for ``airflow celery``: a worker that is told no queues serves all of the cluster.

    Airflow's own default is the queue ``default`` alone, in which no task of the pipeline waits.
    """
    if not words or words[0] != "worker" or _HELP & set(words):
        return list(words)
    if any(word.startswith(("-q", "--queues")) for word in words):
        return list(words)
    queues = dict.fromkeys(queue for worker in cluster.workers for queue in worker.queues)
    return [words[0], f"--queues={','.join(queues)}", *words[1:]]

"""``trap-manage workers``: who is there, with which code, and what they do."""

from __future__ import annotations

import argparse
import json
from typing import Any

from rich.table import Table

from trap_ops.commands.celery_workers import Worker, workers
from trap_ops.commands.cluster_environment import check_broker, cluster_settings, masked
from trap_ops.commands.summary import make_console
from trap_ops.stages.fingerprint import fingerprint, versions


def add_parser(verbs: Any) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "workers",
        help="list the workers of the cluster",
        description="List the workers that the broker knows: host, queues, tasks at a time, what "
        "they run, and whether their code and packages are those of this checkout. The exit status "
        "is 1 if there are none, or if one has other code.",
    )
    parser.add_argument("--json", action="store_true", help="all that is known, as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """List them."""
    cluster = cluster_settings()
    check_broker(cluster.broker.url)
    found = workers(cluster.broker.url)
    if arguments.json:
        print(json.dumps([vars(worker) for worker in found], indent=2))
    elif not found:
        print(f"No worker answers at {masked(cluster.broker.url)}; `make cluster` starts some")
    else:
        table = Table("worker", "queues", "tasks at a time", "code", "runs", box=None)
        for worker in found:
            table.add_row(
                worker.name,
                " ".join(worker.queues),
                str(worker.concurrency),
                code(worker),
                "\n".join(worker.tasks) or "nothing",
            )
        make_console().print(table)
    return 0 if found and all(worker.fingerprint == fingerprint() for worker in found) else 1


def code(worker: Worker) -> str:
    """How the code of a worker is other than this one, in words."""
    if not worker.fingerprint:
        return f"unknown: {worker.problem or 'it does not say'}"
    if worker.fingerprint == fingerprint():
        return "as here"
    here = versions()
    others = [
        f"{name} {version}, here {here.get(name, 'absent')}"
        for name, version in worker.versions.items()
        if here.get(name) != version
    ]
    what = "; ".join(others) or f"{worker.fingerprint[:12]}, here {fingerprint()[:12]}"
    return f"OTHER: {what}"

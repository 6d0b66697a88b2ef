"""Which workers a broker has, and what they say of themselves."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

_PATIENCE_S = 2.0
# A worker has to look at its code first.
_VERSION_PATIENCE_S = 8.0


@dataclass(frozen=True)
class Worker:
    """A worker that has answered.

    Attributes
    ----------
    name : str
        As ``name@host``.
    queues : list of str
    concurrency : int
        Tasks at the same time.
    tasks : list of str
        What it runs: task, number of the batch and run.
    fingerprint : str
        Of the code and packages that a task would find there now; empty if it does not say.
    versions : dict of str
    problem : str
        Why it does not say.
    """

    name: str
    queues: list[str]
    concurrency: int
    tasks: list[str]
    fingerprint: str
    versions: dict[str, str]
    problem: str


@lru_cache(maxsize=1)
def _app(broker_url: str) -> Any:  # noqa: ANN401 - Celery has no types
    """A Celery application that only asks, without Airflow, which takes seconds to load."""
    from celery import Celery

    return Celery(broker=broker_url, set_as_current=False)


def ping(broker_url: str) -> set[str]:
    """Names of the workers that answer, as ``name@host``."""
    try:
        answers = _app(broker_url).control.ping(timeout=_PATIENCE_S)
    except Exception:  # noqa: BLE001 - each transport has errors of its own
        return set()
    return {name for answer in answers for name in answer}


def workers(broker_url: str) -> list[Worker]:
    """All workers that answer, by name."""
    there = ping(broker_url)
    if not there:
        return []
    control = _app(broker_url).control

    def ask(what: str, patience_s: float) -> dict[str, Any]:
        # Nobody waits longer than until all have answered.
        answers = control.broadcast(what, reply=True, timeout=patience_s, limit=len(there))
        return _merged(answers)

    queues, stats, active = (ask(w, _PATIENCE_S) for w in ("active_queues", "stats", "active"))
    said = ask("trap_version", _VERSION_PATIENCE_S)
    made = []
    for name in sorted(stats):
        version = said.get(name) or {}
        made.append(
            Worker(
                name=name,
                queues=sorted(queue["name"] for queue in queues.get(name) or []),
                concurrency=int((stats[name].get("pool") or {}).get("max-concurrency") or 0),
                tasks=[described(task) for task in active.get(name) or []],
                fingerprint=str(version.get("fingerprint", "")),
                versions=dict(version.get("versions") or {}),
                problem=str(version.get("problem") or version.get("error") or ""),
            )
        )
    return made


def described(task: dict[str, Any]) -> str:
    """What a worker runs, in words."""
    text = str(task.get("args"))
    found = {
        name: match[1]
        for name in ("task_id", "run_id", "map_index")
        if (match := re.search(rf'\\*"{name}\\*": *\\*"?([^"\\,}}]+)', text))
    }
    if "task_id" not in found:
        return str(task.get("name"))
    number = found.get("map_index", "-1")
    batch = "" if number == "-1" else f" [{number}]"
    return f"{found['task_id']}{batch} of {found.get('run_id', '?')}"


def _merged(answers: list[dict[str, Any]] | None) -> dict[str, Any]:
    return {name: said for answer in answers or [] for name, said in answer.items()}


def queue_depths(broker_url: str, names: Sequence[str]) -> dict[str, int | None]:
    """How many messages wait in each queue; None where the broker has no such queue yet."""
    from kombu import Connection
    from kombu.exceptions import ChannelError

    made: dict[str, int | None] = {}
    with Connection(broker_url, connect_timeout=_PATIENCE_S) as connection:
        for name in names:
            # RabbitMQ closes the channel on which it is asked for a queue that it has not.
            channel = connection.channel()
            try:
                made[name] = int(channel.queue_declare(queue=name, passive=True).message_count)
            except (ChannelError, *connection.channel_errors):
                made[name] = None
            else:
                channel.close()
    return made

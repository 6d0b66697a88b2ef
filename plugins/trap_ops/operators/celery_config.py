"""Celery's settings in the workers, and what they can be asked for: ``trap-manage workers``.

Airflow imports this in each worker. Tasks are forks of it: so that they find the code as it is on
the disk by then, nothing else of the pipeline may be loaded here.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from typing import Any

from airflow.providers.celery.executors.default_celery import DEFAULT_CELERY_CONFIG
from celery.worker.control import inspect_command

# A connection that is idle is asked for a sign of life so often, and given up without one: a cable
# that was pulled is noticed by nothing else.
_SIGN_OF_LIFE_S = 15
_REDIS = {
    "socket_keepalive": True,
    "socket_keepalive_options": {
        socket.TCP_KEEPIDLE: _SIGN_OF_LIFE_S,
        socket.TCP_KEEPINTVL: 5,
        socket.TCP_KEEPCNT: 3,
        # What was sent and never confirmed, in milliseconds.
        socket.TCP_USER_TIMEOUT: 30_000,
    },
    "socket_connect_timeout": 10,
    "health_check_interval": _SIGN_OF_LIFE_S,
    "retry_on_timeout": True,
}
# RabbitMQ confirms what it was given. Without that a message to a connection that it has closed
# meanwhile is lost, and nobody learns of it.
_AMQP = {"confirm_publish": True}
_broker = str(DEFAULT_CELERY_CONFIG["broker_url"])
CONFIG = {
    **DEFAULT_CELERY_CONFIG,
    "broker_transport_options": {
        **DEFAULT_CELERY_CONFIG["broker_transport_options"],
        **(_AMQP if _broker.startswith("amqp") else _REDIS),
    },
    "broker_heartbeat": _SIGN_OF_LIFE_S,
    # A broker that is away is waited for, however long.
    "broker_connection_max_retries": None,
    # The scheduler's own limit ends this and tries again; without one here a task would fail.
    "task_publish_retry_policy": {
        "max_retries": None,
        "interval_start": 0,
        "interval_step": 0.2,
        "interval_max": 0.5,
    },
    # After a lost connection a worker would take fewer tasks at a time than it may.
    "worker_enable_prefetch_count_reduction": False,
}
_ASK = (
    "import json; from trap_ops.stages.fingerprint import fingerprint, versions; "
    "print(json.dumps({'fingerprint': fingerprint(), 'versions': versions()}))"
)
_PATIENCE_S = 20.0


@inspect_command()  # type: ignore[untyped-decorator]
def trap_version(_state: Any) -> dict[str, Any]:  # noqa: ANN401 - Celery has no types
    """Code that a task would run here now, and versions of the packages it depends on."""
    made = subprocess.run(  # noqa: S603 - this Python, with a text of its own
        [sys.executable, "-P", "-c", _ASK],
        capture_output=True,
        text=True,
        check=False,
        timeout=_PATIENCE_S,
    )
    if made.returncode:
        return {"problem": made.stderr.strip().splitlines()[-1:]}
    found: dict[str, Any] = json.loads(made.stdout)
    return found

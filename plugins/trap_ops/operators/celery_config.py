"""Celery's settings in the workers, and what they can be asked for: ``trap-manage workers``.

Airflow imports this in each worker. Tasks are forks of it: so that they find the code as it is on
the disk by then, nothing else of the pipeline may be loaded here.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from airflow.providers.celery.executors.default_celery import DEFAULT_CELERY_CONFIG
from celery.worker.control import inspect_command

CONFIG = DEFAULT_CELERY_CONFIG
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

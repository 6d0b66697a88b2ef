"""Which workers a broker has."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

_PATIENCE_S = 2.0


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

"""Ctrl-C in `airflow dags test`, which Airflow itself takes for a failure that it retries."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

# The same wish may arrive twice: from the terminal, and from `trap-manage run` that got it too.
_SAME_WISH_S = 2.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass
class _Wish:
    """Whether the user wants this process to stop: since when (monotonic), and where it is."""

    since_s: float | None = None
    in_stage: bool = False


_wish = _Wish()


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C or a SIGTERM end what is inside, or what comes here next.

    Between two stages the wish is only noted: Airflow would take an interrupt of its own code for a
    failure of the next task, and would retry that. A second wish, later, ends the process at once.

    Raises
    ------
    KeyboardInterrupt
        If the user wants to stop, or did before.
    """
    for number in _SIGNALS:
        # Airflow sets another one for SIGTERM before each task; `nohup` has one ignored.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _on_signal)
    _wish.in_stage = True
    try:
        if _wish.since_s is not None:
            raise KeyboardInterrupt
        yield
    finally:
        _wish.in_stage = False


def _on_signal(number: int, _frame: object) -> None:
    if _wish.since_s is None:
        _wish.since_s = time.monotonic()
        if _wish.in_stage:
            raise KeyboardInterrupt
    elif time.monotonic() - _wish.since_s > _SAME_WISH_S:
        os._exit(128 + number)

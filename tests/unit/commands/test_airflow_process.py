"""Airflow's process must end with the command that has started it."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from trap_ops.commands.airflow_process import _end

DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("code", "by"), [("print(); input()", signal.SIGTERM), (DEAF, signal.SIGKILL)]
)
def test_a_process_ends_even_if_it_does_not_want_to(code: str, by: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        _end(process, grace_s=2.0 if by == signal.SIGTERM else 0.2)
        assert process.returncode == -by

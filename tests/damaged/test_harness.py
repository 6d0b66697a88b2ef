"""The harness sees what it looks for: planted faults are found, each for what it is."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from damaged.files import Damaged, of_bytes, readable
from damaged.reader import Result, read_all
from damaged.test_corpus import faults

# A matter of seconds: not part of make test-fast.
pytestmark = pytest.mark.slow

CASE = of_bytes("a.fits", b"", "empty file", "empty")
REFUSED = Result("refused", "empty file", "a.fits: the file is empty", "header", 0.01, 1.0)


PLANTED = {
    "crash": "crash SIGABRT",
    "crash_below": "crash SIGSEGV",
    "hang": "hang SIGALRM",
    "hang_in_a_system_call": "hang SIGALRM",
    "allocate": "takes 1",
    "allocate_too_much": "MemoryError",
    "raise_another": "ValueError",
    "warn": "UserWarning something",
    "end": "SystemExit",
}


def test_planted_faults_are_found_and_not_seen_by_the_next_file(tmp_path: Path) -> None:
    pipe, empty = tmp_path / "pipe.fits", tmp_path / "a.fits"
    os.mkfifo(pipe)
    empty.touch()
    actions = [each for action in PLANTED for each in (action, "read")]
    results = read_all([pipe, empty] * len(PLANTED), actions, seconds=1)
    for (action, words), planted, after in zip(
        PLANTED.items(), results[::2], results[1::2], strict=True
    ):
        assert words in "; ".join(faults([(CASE, planted)])), action
        assert faults([(CASE, after)]) == [], action


def test_a_true_refusal_is_no_fault() -> None:
    assert faults([(CASE, REFUSED)]) == []


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (replace(REFUSED, reason="no beam"), "reason 'no beam' is not true"),
        (replace(REFUSED, message="a.fits: cannot be used"), "does not say 'empty'"),
        (replace(REFUSED, message="the file is empty"), "is not named in one line"),
        (replace(REFUSED, message="a.fits:\nempty"), "is not named in one line"),
        (replace(REFUSED, stage="pixels"), "is found late"),
        (replace(REFUSED, memory_mb=500.0), "takes 500 MB"),
        (replace(REFUSED, reason="empty file" * 9), "is wordy"),
        (replace(REFUSED, outcome="used", stage="quality"), "is used, but is ['empty file']"),
    ],
)
def test_a_false_refusal_is_found(result: Result, words: str) -> None:
    assert words in "; ".join(faults([(CASE, result)]))


def test_refusing_what_can_be_read_is_found() -> None:
    case: Damaged = readable("a.fits", b"")
    assert "and can be read" in "; ".join(faults([(case, REFUSED)]))

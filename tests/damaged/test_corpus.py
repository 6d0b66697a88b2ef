"""Every damaged file is refused for a reason that is true, and nothing else happens."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path

import pytest

from damaged.files import HEADER, PIXELS, QUALITY, Damaged
from damaged.reader import Result, read_all
from trap_ops.records.names import one_line

pytestmark = pytest.mark.slow

# Beyond what the reader has before: a few copies of the largest of the small images, and blocks.
MEMORY_MB = 96.0


@pytest.fixture(scope="module")
def results(damaged_files: list[tuple[Damaged, Path]]) -> list[tuple[Damaged, Result]]:
    """What became of each file of the corpus."""
    return results_of(damaged_files)


def results_of(made: list[tuple[Damaged, Path]]) -> list[tuple[Damaged, Result]]:
    """Read files; what is forbidden as a user to whom it is, which root is not."""
    forbidden = [(case, path) for case, path in made if case.name.startswith("forbidden")]
    others = [pair for pair in made if pair not in forbidden]
    found = read_all([path for _, path in others])
    if forbidden:
        directory = forbidden[0][1].parent
        for parent in (directory, *directory.parents[:2]):
            parent.chmod(0o755)
        found += read_all([path for _, path in forbidden], nobody=os.geteuid() == 0)
    return [(case, result) for (case, _), result in zip([*others, *forbidden], found, strict=True)]


def faults(results: list[tuple[Damaged, Result]]) -> list[str]:
    """What is wrong with what became of the files, a line each."""
    return [
        f"{case.name!r}: {found}" for case, result in results for found in _faults(case, result)
    ]


def _faults(case: Damaged, result: Result) -> list[str]:
    if result.outcome == "fault":
        return [f"{result.reason} {result.message}"]
    found = []
    if result.memory_mb > MEMORY_MB:
        found.append(f"takes {result.memory_mb:.0f} MB")
    if result.outcome == "refused":
        found += _faults_of_refusal(case, result)
    elif case.must_fail and case.stage != QUALITY:
        found.append(f"is used, but is {sorted(case.reasons)}")
    return found


def _faults_of_refusal(case: Damaged, result: Result) -> list[str]:
    found = []
    if not case.reasons:
        found.append(f"is refused ({result.message}), and can be read")
    elif case.stage != QUALITY and result.reason not in case.reasons:
        found.append(f"reason {result.reason!r} is not true ({result.message})")
    elif not re.search(case.says, result.message, re.IGNORECASE | re.DOTALL):
        found.append(f"does not say {case.says!r}: {result.message}")
    if case.stage == QUALITY:
        found.append(f"is refused unread: {result.message}")
    if case.stage == HEADER and result.stage == PIXELS:
        found.append(f"is found late: {result.message}")
    if one_line(case.name) not in result.message or one_line(result.message) != result.message:
        found.append(f"is not named in one line: {result.message!r}")
    if len(result.reason) > 64 or len(result.message) > 1000:
        found.append(f"is wordy: {len(result.reason)} and {len(result.message)} characters")
    return found


def test_damaged_files_are_refused_for_true_reasons(
    results: list[tuple[Damaged, Result]],
) -> None:
    assert faults(results) == []


def test_there_are_enough(results: list[tuple[Damaged, Result]]) -> None:
    refused = Counter(
        result.reason for case, result in results if case.must_fail and result.outcome == "refused"
    )
    assert refused.total() >= 200
    assert len(refused) >= 14, refused


def test_useless_pixels_are_measured_as_such(results: list[tuple[Damaged, Result]]) -> None:
    for case, result in results:
        if case.reasons == {"DATA_FLAT"}:
            assert result.quality[1] == result.quality[2], case.name
        elif case.reasons == {"CONTAINS_NAN"} and case.name.startswith("all"):
            assert result.quality[0] == 1.0, case.name


def test_no_file_takes_long(results: list[tuple[Damaged, Result]]) -> None:
    """The reader ends what takes longer than its limit; here it is far from it in nearly all."""
    slow = [case.name for case, result in results if result.seconds > 5.0]
    assert slow == []

"""Names that hold anything: how they are shown, and which are refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from trap_ops.errors import ConfigError
from trap_ops.records.names import MAX_PATH_BYTES, check_name, one_line, shown_path, visible


def test_what_changes_other_characters_unseen_is_written_out() -> None:
    assert visible("a\u202eb\x1b[31m\x00") == "a\\u202eb\\u001b[31m\\u0000"
    assert visible("zwei\nZeilen, ü, 日本") == "zwei\nZeilen, ü, 日本"


def test_one_line_stays_one_line() -> None:
    assert one_line("a\nb\tc\rd\u2028ü") == "a\\u000ab\\u0009c\\u000dd\\u2028ü"
    assert one_line(os.fsdecode(b"\xff.fits")) == "\\xff.fits"


@pytest.mark.parametrize("letter", ["x", "\x00", "日", "\udcff"])
def test_a_path_of_any_length_can_be_stored(letter: str) -> None:
    first, second = (shown_path(Path(f"/{letter * 5000}{end}")) for end in "ab")
    assert first != second
    assert first.startswith(f"/{one_line(letter) * 100}")
    assert "(5002 characters" in first or one_line(letter) != letter
    assert len(first.encode()) <= MAX_PATH_BYTES
    assert shown_path("/data/night 1/a.fits") == "/data/night 1/a.fits"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("  ", "is blank"),
        ("x" * 101, "has 101 characters, and 100 can be kept"),
        ("a\x00b", r"has characters that cannot be seen; leave out: a\\u0000b"),
        ("a\nb", r"has characters that cannot be seen; leave out: a\\u000ab"),
    ],
)
def test_a_name_that_cannot_be_kept_or_seen_is_refused(name: str, said: str) -> None:
    with pytest.raises(ConfigError, match=f"the name of a dataset {said}"):
        check_name(name, "a dataset")


def test_other_names_are_taken() -> None:
    for name in ("x" * 100, "nächtliche Reihe 日本", "<b>'\"%s"):
        check_name(name, "a dataset")

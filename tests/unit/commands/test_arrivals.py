"""trap-manage arrivals."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from trap_ops.commands.__main__ import main

SERIES = """
[[series]]
name = "{0}"
folder = "{1}/{0}"
dataset = "{0}"
when = "{2}"
settle_s = 0.1
"""


@pytest.fixture
def folder(tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "schedules.toml"
    texts = [
        SERIES.format(*item) for item in (("a", tmp_path, "night"), ("b", tmp_path, "arrival"))
    ]
    file.write_text("".join(texts))
    monkeypatch.setenv("TRAP_SCHEDULES", str(file))
    monkeypatch.setenv("TRAP_DB", sqlite_url)
    return tmp_path


def test_it_says_what_waits(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "a").mkdir()
    (folder / "b").mkdir()
    (folder / "a" / "one.fits").write_bytes(b"x")
    time.sleep(0.15)
    assert main(["arrivals"]) == 0
    said = capsys.readouterr().out
    assert "1 image file, 0 still being written" in said
    assert "dataset a: 1 file waiting: trap_nightly takes them" in said
    assert main(["arrivals", "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert (first["waiting"], first["median_s"]) == ({"a": 1}, None)
    assert (second["files"], second["waiting"]) == (0, {})


def test_a_folder_that_is_away_is_an_error(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "b").mkdir()
    assert main(["arrivals"]) == 1
    assert "series 'a'" in capsys.readouterr().out


def test_without_series_it_says_where_to_name_some(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("TRAP_SCHEDULES")
    assert main(["arrivals"]) == 0
    assert "schedules.toml" in capsys.readouterr().out

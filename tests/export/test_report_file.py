"""The file of a run report: its name, its place, and that it is whole or not there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from export.conftest import (
    Finished,
)
from trap_ops.errors import ConfigError, DiskUnavailable
from trap_ops.export import report
from trap_ops.export.report import safe_name, write_report


def test_path_stays_below_the_reports(hostile: Finished) -> None:
    path = hostile.path
    assert path.is_absolute()
    assert path.resolve() == path
    assert path.parent.parent == hostile.output / "reports"
    assert re.fullmatch(r"[A-Za-z0-9._+-]+", path.parent.name + path.name)
    assert [item.name for item in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    "name",
    ["..", ".", "a/b", "a\\b", "a:b", "\u00e9", "", "x" * 250, "a\nb", "a\x00b", "\udcff", ".a"],
)
def test_unsafe_names_become_safe_and_stay_apart(name: str) -> None:
    safe = safe_name(name)
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,99}", safe)
    assert safe != safe_name(name + "x")
    assert safe_name(safe) == safe


def test_safe_name_stays_as_it_is() -> None:
    assert safe_name("night-1_2026.v2+b") == "night-1_2026.v2+b"
    assert safe_name("a b") != safe_name("a_b")


def test_a_report_appears_whole_or_not_at_all(
    hostile: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_report(hostile.store, hostile.record, tmp_path)
    whole = path.read_bytes()

    def disk_full(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", disk_full)
    with pytest.raises(DiskUnavailable, match=r"No space.*complete.*TRAP_VAR") as caught:
        write_report(hostile.store, hostile.record, tmp_path)
    assert path.read_bytes() == whole
    assert [item.name for item in path.parent.iterdir()] == [path.name]
    assert str(path.parent) in str(caught.value)


def test_a_report_that_has_no_place_says_which(hostile: Finished, tmp_path: Path) -> None:
    reports = tmp_path / "reports"
    reports.write_text("a file where the directory should be")
    with pytest.raises(ConfigError, match=rf"cannot be written to {reports}/.* \(.+\).*TRAP_VAR"):
        write_report(hostile.store, hostile.record, tmp_path)


def test_the_template_trusts_nobody() -> None:
    """Autoescape is on, and nothing in the template switches it off."""
    template = (Path(report.__file__).parent / "report.html.j2").read_text()
    assert "|safe" not in template.replace(" ", "")
    assert "autoescape" not in template

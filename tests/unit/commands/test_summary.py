"""What a run found, as the terminal shows it."""

from __future__ import annotations

import io
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from trap_ops.commands.summary import _candidate_table, _compare, print_summary, read_truth
from trap_ops.config.model import Configuration
from trap_ops.errors import ConfigError
from trap_ops.records.runs import RunRequest
from trap_ops.store import datasets, quality_checks, runs
from trap_ops.store.database import Store
from trap_ops.store.outcomes import Outcome, save_outcomes


def candidates(**changed: Any) -> dict[str, list[Any]]:
    row = {
        "rank": 1, "source_name": "J080000.0+350000", "kind": "new source", "wm_ra": 120.0,
        "wm_decl": 35.0, "peak_jy": 0.0123, "all_eta_int": 12.3, "all_v_int": 0.5,
        "all_p_value": 0.0, "expected_false": 1e-5, "veto": "",
        "first_seen": datetime(2026, 1, 1, 12),
    }  # fmt: skip
    return {name: [value] for name, value in (row | changed).items()}


def shown(renderable: Any) -> str:
    console = Console(file=io.StringIO(), width=150)
    console.print(renderable)
    return console.file.getvalue()


def test_a_candidate_is_shown_with_all_its_numbers() -> None:
    row = shown(_candidate_table(candidates())).splitlines()[1].split()
    assert row == [
        "1", "J080000.0+350000", "new", "source", "120.00000", "+35.00000", "12.3", "12.3", "0.500",
        "<", "1×10⁻³⁰⁰", "1.0×10⁻⁵", "2026-01-01", "12:00:00",
    ]  # fmt: skip


def test_what_a_candidate_may_be_instead_stands_behind_it() -> None:
    row = shown(_candidate_table(candidates(veto="blend edge"))).splitlines()[1]
    assert row.rstrip().endswith("12:00:00  blend edge")


def test_a_candidate_with_a_single_point_has_dashes() -> None:
    single = candidates(all_eta_int=None, all_v_int=None, all_p_value=None)
    assert shown(_candidate_table(single)).splitlines()[1].count(" – ") == 3


@pytest.mark.parametrize(
    ("ra", "said"),
    [
        (120.0, "1 of 1 transients, 0 of 1 variables, 0 false candidates"),
        (120.001, "1 of 1 transients, 0 of 1 variables, 0 false candidates"),
        (120.5, "0 of 1 transients, 0 of 1 variables, 1 false candidates"),
        (121.0, "0 of 1 transients, 0 of 1 variables, 1 false candidates"),
    ],
)
def test_the_truth_tells_found_from_false(tmp_path: Path, ra: float, said: str) -> None:
    """A candidate far from all sources is false, and so is one at a steady source."""
    truth = tmp_path / "truth.json"
    sources = [("transient", 120.0), ("variable", 122.0), ("steady", 121.0)]
    truth.write_text(
        json.dumps(
            {
                "sources": [
                    {"name": kind, "kind": kind, "ra_deg": at, "dec_deg": 35.0}
                    for kind, at in sources
                ]
            }
        )
    )
    console = Console(file=io.StringIO(), width=150)
    _compare(console, candidates(wm_ra=ra), read_truth(truth))
    assert said in console.file.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, r"/nope\\u001b\.json cannot be read: No such file"),
        ("{", "is not the truth of a simulated series"),
        ('{"sources": [{"name": "a"}]}', "is not the truth of a simulated series"),
    ],
)
def test_a_truth_that_is_none_is_refused(tmp_path: Path, content: str | None, said: str) -> None:
    truth = tmp_path / "nope\x1b.json"
    if content is not None:
        truth.write_text(content)
    with pytest.raises(ConfigError, match=said):
        read_truth(truth)


def test_a_rejected_file_cannot_forge_a_line(store: Store) -> None:
    request = RunRequest("run", (), "series")
    with store.write() as connection:
        made = datasets.open_dataset(store, connection, "series", Configuration())
        key = runs.create_run(store, connection, request, made, "auto", Configuration(), "", {})
        forged = Outcome(
            "measure_quality", "/a", None, "rejected", "", message="a\nReport: \x1b[2J"
        )
        save_outcomes(connection, made, key, [forged])
    console = Console(file=io.StringIO(), width=150)
    print_summary(console, store, "run")
    assert "rejected: a\\u000aReport: \\u001b[2J\n" in console.file.getvalue()


def test_warnings_are_counted_beside_the_accepted_images(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = RunRequest("run", (), "series")
    with store.write() as connection:
        made = datasets.open_dataset(store, connection, "series", Configuration())
        runs.create_run(store, connection, request, made, "auto", Configuration(), "", {})
    shown_lines = []
    for warned in (0, 3):
        monkeypatch.setattr(quality_checks, "warned_images", lambda *_, n=warned: n)
        console = Console(file=io.StringIO(), width=150)
        print_summary(console, store, "run")
        shown_lines.append(console.file.getvalue().strip().splitlines()[0])
    assert shown_lines[0].startswith("0 images accepted, 0 rejected; ")
    assert shown_lines[1].startswith("0 images accepted (3 with a warning), 0 rejected; ")

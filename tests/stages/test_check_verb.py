"""``trap-manage check`` as it is typed."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from trap_ops.commands.__main__ import main
from trap_ops.store import runs
from trap_ops.store.database import Store
from trap_ops.store.datasets import dataset_id
from trap_ops.store.invariants import INVARIANTS


@pytest.fixture
def results(night: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("TRAP_DB", night.url.render_as_string())
    return night


def test_what_is_right_is_one_line(results: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check"]) == 0
    night, other = capsys.readouterr().out.splitlines()
    assert night.startswith(f"night: {len(INVARIANTS)} invariants checked on ")
    assert other.startswith(f"other: {len(INVARIANTS)} invariants checked on ")
    assert main(["check", "other"]) == 0
    assert capsys.readouterr().out.splitlines() == [other]


def test_what_is_wrong_is_named(results: Store, capsys: pytest.CaptureFixture[str]) -> None:
    with results.write() as connection:
        number = dataset_id(connection, "night")
        name = connection.execute(
            text("SELECT min(source_name) FROM runningcatalog WHERE dataset = :number"),
            {"number": number},
        ).scalar_one()
        connection.execute(
            text("UPDATE runningcatalog SET datapoints = datapoints + 1 WHERE dataset = :number"),
            {"number": number},
        )
    assert main(["check"]) == 1
    printed = capsys.readouterr().out
    assert ", 1 broken" in printed
    assert "  datapoints: datapoints is the number of blind points" in printed
    assert f"sky source {name} (id " in printed or "and " in printed
    assert " more" in printed
    assert "other: " in printed
    assert main(["check", "other"]) == 0


def test_an_unfinished_dataset_says_so(results: Store, capsys: pytest.CaptureFixture[str]) -> None:
    with results.write() as connection:
        key = runs.latest_run(connection, dataset_id(connection, "other"))
        runs.set_state(connection, runs.find_run(connection, key).id, runs.FAILED)
    assert main(["check", "other"]) == 0
    assert f"that hold between runs were left out: its latest run, {key}, is failed" in (
        capsys.readouterr().out
    )


def test_unknown_datasets_and_the_list(results: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "other", "nix"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "there is no dataset 'nix'; there are: night, other" in said.err
    assert main(["check", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in lines] == [item.name for item in INVARIANTS]

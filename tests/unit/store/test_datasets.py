"""Datasets by their names, and by their ids as in classic TraP."""

from __future__ import annotations

import pytest

from trap_ops.commands.__main__ import main
from trap_ops.config.model import Configuration
from trap_ops.records.runs import RunRequest
from trap_ops.store.database import Store
from trap_ops.store.datasets import list_datasets, open_dataset
from trap_ops.store.runs import create_run


def names(store: Store) -> list[str]:
    with store.read() as connection:
        return [summary.name for summary in list_datasets(connection)]


def test_an_id_is_as_good_as_a_name_unless_it_is_one(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRAP_DB", store.url.render_as_string(hide_password=False))
    with store.write() as connection:
        night = open_dataset(store, connection, "night", Configuration())
        other = open_dataset(store, connection, str(night), Configuration())
        third = open_dataset(store, connection, "7" * 30, Configuration())
    assert main(["deldataset", str(night), "--yes"]) == 1
    said = capsys.readouterr().err
    assert f"{night} is the name of dataset {other}, and the id of dataset 'night'" in said
    assert main(["deldataset", "9" * 30, "--yes"]) == 1
    assert "there is no dataset '999" in capsys.readouterr().err
    assert names(store) == ["night", str(night), "7" * 30]
    assert main(["deldataset", str(other), "--yes"]) == 0
    assert names(store) == ["night", "7" * 30]
    assert main(["deldataset", str(night), "--yes"]) == 0
    assert "dataset night is deleted" in capsys.readouterr().out
    assert main(["deldataset", "7" * 30, "--yes"]) == 0
    assert names(store) == []
    assert main(["deldataset", str(third), "--yes"]) == 1


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_the_owner_is_who_has_begun(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRAP_DB", store.url.render_as_string(hide_password=False))
    with store.write() as connection:
        shared = open_dataset(store, connection, "shared", Configuration())
        for user in ("anna", "ben"):
            request = RunRequest(f"run of {user}", (), "shared", user=user)
            create_run(store, connection, request, shared, "default", Configuration(), "", {})
    assert main(["datasets"]) == 0
    said = capsys.readouterr().out
    assert "anna" in said
    assert "ben" not in said
    assert main(["deldataset", "shared", "--yes"]) == 0
    assert "dataset shared of anna in" in capsys.readouterr().out

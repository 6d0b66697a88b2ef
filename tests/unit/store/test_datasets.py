"""Datasets by their names, and by their ids as in classic TraP."""

from __future__ import annotations

import pytest

from trap_ops.commands.__main__ import main
from trap_ops.config.model import Configuration
from trap_ops.store.database import Store
from trap_ops.store.datasets import list_datasets, open_dataset


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

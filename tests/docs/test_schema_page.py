"""The page of tables and columns is made from the schema, and says what every column holds."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import Column, Integer, MetaData, Table

from conftest import ROOT
from trap_ops.commands.__main__ import main
from trap_ops.errors import StoreError
from trap_ops.store.schema import metadata
from trap_ops.store.schema.descriptions import describe, load_descriptions

PAGE = (ROOT / "docs" / "schema.md").read_text(encoding="utf-8")


def sections() -> dict[str, str]:
    parts = re.split(r"^## `(\w+)`$", PAGE, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def rows(body: str) -> list[list[str]]:
    """Cells of the rows of a section."""
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in body.splitlines()
        if line.startswith("| `")
    ]


def test_the_page_is_what_the_verb_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert capsys.readouterr().out == PAGE, "docs/schema.md is stale: `make docs` writes it anew"


def test_every_table_and_column_stands_in_it_once() -> None:
    found = {name: [row[0].strip("`") for row in rows(body)] for name, body in sections().items()}
    assert found == {table.name: list(table.columns.keys()) for table in metadata.tables.values()}


@pytest.mark.parametrize("table", metadata.tables.values(), ids=str)
def test_every_column_has_a_sentence(table: Table) -> None:
    for column in table.columns:
        said = describe(column)
        assert re.search(r"\w.*\.$", said.meaning), column
        assert said.unit.strip() == said.unit


def test_nothing_is_described_that_is_not_there() -> None:
    said = load_descriptions()
    assert set(said["tables"]) == set(metadata.tables)
    for name, columns in said["columns"].items():
        assert set(columns) <= set(metadata.tables[name].columns.keys()), name
    everywhere = {column.name for table in metadata.tables.values() for column in table.columns}
    assert set(said["everywhere"]) <= everywhere
    for name, others in said["like"].items():
        assert {name, *others} <= set(metadata.tables)


def test_a_column_without_words_is_named() -> None:
    new = Table("image", MetaData(), Column("new_column", Integer()))
    with pytest.raises(StoreError, match=r"image\.new_column .*descriptions\.toml"):
        describe(new.c.new_column)


def test_null_keys_and_references_are_those_of_the_tables() -> None:
    checked = 0
    for name, body in sections().items():
        for cells in rows(body):
            column = metadata.tables[name].columns[cells[0].strip("`")]
            assert (cells[2] == "NULL") == column.nullable
            assert cells[3].startswith("primary") == column.primary_key
            targets = [key.column.table.name for key in column.foreign_keys]
            assert re.findall(r"→ \[`(\w+)`\]\(#\1\)", cells[3]) == targets
            assert cells[3].endswith("index") == bool(column.index)
            checked += 1
    assert checked > 350


def test_keys_of_several_columns_stand_below_the_table() -> None:
    of_table = sections()
    assert "Unique together: `dataset`, `url`." in of_table["image"]
    assert "; `dataset`, `taustart_ts`; " in of_table["image"]
    assert "Indexes: `runcat` where `pending`." in of_table["assocxtrsource"]


def test_one_table_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "varmetric"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("## `varmetric`")
    assert said.strip() in PAGE
    assert main(["schema", "nothing"]) == 1
    assert "there is no table 'nothing'; there are: dataset, image," in capsys.readouterr().err

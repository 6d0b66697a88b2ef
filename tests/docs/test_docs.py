"""What the documents say is so: their SQL, names, links and commands."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select, text

from conftest import BOTH_DATABASES, ROOT, new_store
from trap_ops import local
from trap_ops.commands.__main__ import VERBS
from trap_ops.records.runs import MonitorPosition
from trap_ops.simulate.series import SeriesPlan, write_series
from trap_ops.store.database import Store
from trap_ops.store.schema import dataset, metadata, runningcatalog

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
RESULTS = ROOT / "docs" / "results.md"
QUESTIONS = re.findall(
    r"^([^\n]*[:?)])\n\n```sql\n(.*?)```", RESULTS.read_text(), re.MULTILINE | re.DOTALL
)
PLAN = SeriesPlan(
    n_epochs=5, size_px=160, n_steady=14, n_variable=2, n_transient=2, seed=3, snr_min=5.0,
    snr_max=40.0, edge_px=12,
)  # fmt: skip


@pytest.fixture(scope="module", params=BOTH_DATABASES)
def results(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    """Results that have everything that the questions are about."""
    directory = tmp_path_factory.mktemp("docs")
    images = write_series(PLAN, directory / "images")
    (directory / "images" / "notes.fits").write_text("not an image")
    with new_store(request.param, request, directory) as store:
        local.run(
            [directory / "images"],
            "night1",
            store_url=store.url.render_as_string(hide_password=False),
            overrides={"extraction": {"detection_threshold_sigma": 6.0, "margin_px": 2}},
            monitor=[MonitorPosition(123.0, 35.0), MonitorPosition(200.0, -30.0, "far away")],
            output_dir=directory,
        )
        assert len(images) == PLAN.n_epochs
        yield store


def values(store: Store) -> dict[str, Any]:
    with store.read() as connection:
        source = connection.execute(select(runningcatalog).limit(1)).mappings().one()
        name = connection.execute(select(dataset.c.description)).scalar_one()
    return {
        "dataset": name,
        "source": source["id"],
        **{axis: source[axis] for axis in "xyz"},
        "cos_radius": math.cos(math.radians(1.0 / 60.0)),
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("question", "sql"), QUESTIONS, ids=[question[:30] for question, _ in QUESTIONS]
)
def test_every_question_has_an_answer(results: Store, question: str, sql: str) -> None:
    names = set(re.findall(r"(?<!:):(\w+)", sql))
    with results.read() as connection:
        given = {name: value for name, value in values(results).items() if name in names}
        rows = connection.execute(text(sql), given).all()
    assert rows, question


@pytest.mark.slow
def test_a_light_curve_is_read_in_python(results: Store) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", RESULTS.read_text(), re.DOTALL)
    url = results.url.render_as_string(hide_password=False)
    scope = {"url": url, "source": values(results)["source"]}
    exec(code, scope)  # noqa: S102 - the document's own example
    assert len(scope["light_curve"]) == PLAN.n_epochs
    assert np.all(np.diff(scope["light_curve"]["time"].jd) > 0.0)


def test_all_sql_is_tried() -> None:
    assert len(QUESTIONS) == RESULTS.read_text().count("```sql") >= 10


def test_every_table_is_explained_and_no_other() -> None:
    (table,) = re.findall(r"## Tables\n(.*?)\n### ", RESULTS.read_text(), re.DOTALL)
    named = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", table, re.MULTILINE))))
    # "idblock" stands in the line of "version".
    assert named | {"idblock"} == set(metadata.tables)
    assert "`idblock`" in table


def columns_and_tables() -> set[str]:
    columns = {column.name for table in metadata.tables.values() for column in table.columns}
    return columns | set(metadata.tables)


def test_columns_that_the_documents_name_exist() -> None:
    known = columns_and_tables()
    prose = re.sub(r"```.*?```", "", RESULTS.read_text(), flags=re.DOTALL)
    words = set(re.findall(r"`([a-z][a-z0-9]*_[a-z0-9_]+)`", prose))
    assert len(words) > 30
    # The end of column names, and their beginning, are named as such.
    assert words - known - {"all_"} == set()
    vocabulary = (ROOT / "docs" / "vocabulary.md").read_text()
    for table, column in re.findall(r"`(\w+)\.(\w+)`", vocabulary):
        if table in metadata.tables:
            assert column in metadata.tables[table].c, f"{table}.{column}"
        else:
            assert f"\n{column} = " in (ROOT / "include/configs/default.toml").read_text()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_and_files_that_a_document_names_exist(document: Path) -> None:
    content = document.read_text()
    verbs = {verb.__name__.rsplit(".", 1)[1] for verb in VERBS}
    assert set(re.findall(r"bin/trap-manage (\w+)", content)) <= verbs
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    in_code = re.findall(r"(?:`|^    )make ([a-z-]+)", content, re.MULTILINE)
    assert set(in_code) <= targets
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", content):
        assert (document.parent / link).exists(), link
    for path in re.findall(r"`((?:plugins|include|dags|docs|benchmarks|changes)/[^`*]*)`", content):
        assert (ROOT / path).exists(), path


def test_the_readme_names_every_room() -> None:
    readme = (ROOT / "README.md").read_text()
    rooms = [path.name for path in (ROOT / "plugins" / "trap_ops").iterdir() if path.is_dir()]
    missing = [room for room in rooms if room[0] != "_" and f"/{room}/`" not in readme]
    # What crosses rooms changes with the rooms.
    assert missing == ["records"]

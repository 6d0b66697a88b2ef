"""What the documents say is so: their SQL, tables, columns, settings, commands and links."""

from __future__ import annotations

import json
import math
import re
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from pydantic import BaseModel
from sqlalchemy import RowMapping, select, text

from conftest import BOTH_DATABASES, ROOT, new_store
from trap_ops import local
from trap_ops.commands.__main__ import VERBS
from trap_ops.config.load import load_configuration
from trap_ops.config.model import Configuration
from trap_ops.errors import ConfigError
from trap_ops.records.images import RejectReason
from trap_ops.records.runs import MonitorPosition
from trap_ops.records.sky import FitKind, LinkType
from trap_ops.records.sources import Flag
from trap_ops.science.artefacts import Veto
from trap_ops.science.catalogue_checks import CATALOGUE_CHECKS
from trap_ops.simulate.series import SeriesPlan, write_series
from trap_ops.stages.order import STAGES
from trap_ops.store.database import Store
from trap_ops.store.schema import (
    REJECT_REASONS,
    assocxtrsource,
    extractedsource,
    metadata,
    runningcatalog,
)

DOCS = ROOT / "docs"
RESULTS = (DOCS / "results.md").read_text(encoding="utf-8")
CONFIGURATION = (DOCS / "configuration.md").read_text(encoding="utf-8")
VOCABULARY = (DOCS / "vocabulary.md").read_text(encoding="utf-8")
DOCUMENTS = [
    *sorted(ROOT.glob("*.md")),
    *sorted(DOCS.glob("*.md")),
    *DOCS.glob("science/*.md"),
    *sorted(DOCS.glob("how-to/*.md")),
]
TELESCOPES = sorted(DOCS.glob("telescopes/*.md"))
QUERIES = [
    pytest.param(query, id=re.findall(r"^### (.*)$", before, re.MULTILINE)[-1])
    for path in sorted(DOCS.glob("*.md"))
    for *_, before, query in [
        (path.read_text()[: block.start()], block[1])
        for block in re.finditer(r"```sql\n(.*?)```", path.read_text(), re.DOTALL)
    ]
]
# Two bands with moving pointings, faint sources and transients: light curves have points of every
# kind, and some fits cannot be made.
NIGHT = SeriesPlan(
    n_epochs=6,
    size_px=160,
    n_steady=20,
    n_variable=2,
    n_transient=2,
    seed=4,
    frequencies_hz=(150e6, 160e6),
    pointing_jitter_px=10.0,
    snr_min=4.0,
    snr_max=60.0,
    edge_px=6,
)
MONITOR = [MonitorPosition(123.0, 35.0, "centre"), MonitorPosition(10.0, -70.0, "away")]


def sections(document: str, level: int) -> dict[str, str]:
    """Text below each heading of a level, up to the next heading of this or a higher one."""
    parts = re.split(rf"^(#{{1,{level}}}) (.*)$", document, flags=re.MULTILINE)
    triples = zip(parts[1::3], parts[2::3], parts[3::3], strict=True)
    return {title: body for marks, title, body in triples if len(marks) == level}


def cells(body: str) -> list[list[str]]:
    """Rows of the tables in a text."""
    lines = [line for line in body.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in rows if set(row[0]) != {"-"}]


def words(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


# ---- The database of a small series, once for each kind of database.


@pytest.fixture(scope="session")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve images, one of them again without data, and a file that is no image."""
    directory = tmp_path_factory.mktemp("night")
    good = write_series(NIGHT, directory)
    (directory / "text.fits").write_text("this is no FITS file\n" * 50)
    with fits.open(good[1]) as hdus:
        hdus[0].data[:] = np.nan
        hdus[0].header["DATE-OBS"] = "2026-01-02T01:00:00"
        hdus.writeto(directory / "all-nan.fits")
    return directory


@pytest.fixture(scope="session", params=BOTH_DATABASES)
def results(
    request: pytest.FixtureRequest, night: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    """Results of the night; tests must not change them."""
    directory = tmp_path_factory.mktemp("results")
    with new_store(request.param, request, directory) as store:
        local.run(
            [night],
            "night1",
            store_url=store.url.render_as_string(hide_password=False),
            overrides={"extraction": {"detection_threshold_sigma": 6.0, "margin_px": 2}},
            monitor=MONITOR,
            output_dir=directory,
        )
        yield store


def some_source(store: Store) -> RowMapping:
    """A sky source with a blind, a forward and a backward point."""
    kind = extractedsource.c.extract_type
    having = [
        select(assocxtrsource.c.runcat)
        .join(extractedsource, extractedsource.c.id == assocxtrsource.c.xtrsrc)
        .where(kind == number)
        for number in (0, int(FitKind.FORWARD), int(FitKind.BACKWARD))
    ]
    query = select(runningcatalog).where(*(runningcatalog.c.id.in_(each) for each in having))
    with store.read() as connection:
        found = connection.execute(query.order_by(runningcatalog.c.id)).mappings().first()
    assert found is not None
    return found


def values(source: RowMapping) -> dict[str, Any]:
    """A value for each parameter that a query may have."""
    return {
        "dataset": "night1",
        "source": source["id"],
        "name": source["source_name"],
        "chord": 2.0 * math.sin(math.radians(1.0 / 60.0) / 2.0),
        **{axis: source[axis] for axis in "xyz"},
    }


def answers(store: Store, query: str) -> list[RowMapping]:
    names = set(re.findall(r"(?<!:):(\w+)", query))
    known = values(some_source(store))
    with store.read() as connection:
        given = {name: known[name] for name in names}
        return list(connection.execute(text(query), given).mappings().all())


def query_of(question: str) -> str:
    (found,) = [str(param.values[0]) for param in QUERIES if param.id == question]
    return found


def test_there_are_queries_to_try() -> None:
    everything = "".join(path.read_text() for path in DOCS.glob("*.md"))
    assert len(QUERIES) == everything.count("```sql") >= 10
    assert everything.count("SELECT") > len(QUERIES)


@pytest.mark.slow
@pytest.mark.parametrize("query", QUERIES)
def test_every_query_has_an_answer(results: Store, query: str) -> None:
    assert answers(results, query)


@pytest.mark.slow
def test_queries_find_what_they_are_for(results: Store) -> None:
    source = some_source(results)
    curve = answers(
        results, query_of("What is the light curve of a source, and how was each point measured?")
    )
    assert {row["kind"] for row in curve} == {"blind", "forward", "backward"}
    assert {row["kind"] for row in curve if row["upper_limit"] is None} >= {"blind"}
    near = answers(results, query_of("Which sky sources are within 1 arcmin of a position?"))
    assert near[0]["source"] == source["id"]
    assert near[0]["chord_squared"] == 0.0
    here = answers(results, query_of("What is the light curve at a position?"))
    assert {row["source_name"] for row in here} == {source["source_name"]}
    assert len(here) == len(curve)
    rejected = answers(results, query_of("Which images were rejected, and why?"))
    assert [row["file_name"] for row in rejected] == ["all-nan.fits"]
    unused = answers(
        results,
        query_of("Which files and images are not used, those included that are no images at all?"),
    )
    assert [Path(row["file"]).name for row in unused] == ["all-nan.fits", "text.fits"]
    once = answers(results, query_of("Which sources were detected only once?"))
    assert not {row["source_name"] for row in once} & {position.name for position in MONITOR}
    refused = answers(results, query_of("Which forced fits could not be made, and why?"))
    assert "away" in {row["name"] for row in refused}


@pytest.mark.slow
def test_a_light_curve_is_read_in_python(results: Store) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", RESULTS, re.DOTALL)
    known = values(some_source(results))
    scope = {"url": results.url, "dataset": known["dataset"], "name": known["name"]}
    exec(code, scope)  # noqa: S102 - the document's own example
    curve = scope["light_curve"]
    question = "What is the light curve of a source, and how was each point measured?"
    points = answers(results, query_of(question))
    assert curve["flux"].to_value(u.Jy).tolist() == [row["f_int"] for row in points]
    assert curve["detected"].tolist() == [row["kind"] == "blind" for row in points]
    assert (np.diff(curve["time"].jd) >= 0.0).all()


# ---- Tables and columns.


def test_other_names_in_prose_are_columns_too() -> None:
    prose = re.sub(r"```.*?```", "", RESULTS, flags=re.DOTALL)
    columns = {column.name for table in metadata.tables.values() for column in table.columns}
    others = {
        *("fitted", "failed", "skipped", "requested", "orphan", "outside_image", "edge"),
        *("masked", "expired", "founded_this_step", "all_", "alembic_version"),
        *CATALOGUE_CHECKS,
        *STAGES,
        *map(str, Veto),
    }
    named = set(re.findall(r"`([a-z][a-z0-9]*_[a-z0-9_]*)`", prose))
    assert len(named) > 15
    assert named - columns - set(metadata.tables) - others == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_dotted_names_are_columns_or_settings(document: Path) -> None:
    known = {f"{table.name}.{c.name}" for table in metadata.tables.values() for c in table.columns}
    known |= set(settings())
    rooms = {*metadata.tables, *Configuration.model_fields}
    dotted = re.findall(r"`([a-z_]+)\.([a-z0-9_]+)`", document.read_text(encoding="utf-8"))
    named = {f"{a}.{b}" for a, b in dotted if a in rooms and b not in {"py", "txt"}}
    assert named - known == set()
    assert len(named) > 40 or document.name != "vocabulary.md"


def test_tasks_of_the_vocabulary_exist() -> None:
    named = re.findall(r"task `(\w+)`", VOCABULARY)
    assert len(named) > 4
    assert set(named) <= set(STAGES)


def test_numbers_in_the_results_are_those_of_the_code() -> None:
    of_tables = sections(RESULTS, 3)
    types = " ".join(row[0] for row in cells(of_tables["`assocxtrsource`"]))
    assert sorted(map(int, re.findall(r"\d+", types))) == sorted(map(int, LinkType))
    numbers = [int(row[0]) for row in cells(of_tables["`extractedsource`"]) if row[0].isdigit()]
    assert numbers == [0, *sorted(map(int, FitKind)), *map(int, Flag)]
    reasons = of_tables["`rejection`, `rejectreason`, `outcome`"]
    flat = " ".join(reasons.split())
    for number in RejectReason:
        assert re.search(rf"\b{int(number)} {REJECT_REASONS[number]}", flat), number


# ---- Settings.


def settings(section: type[BaseModel] = Configuration, prefix: str = "") -> dict[str, Any]:
    """Fields of the configuration by their dotted names."""
    found: dict[str, Any] = {}
    for name, field in section.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            found |= settings(inner, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = field
    return found


def described() -> dict[str, list[str]]:
    """Rows of the document by the dotted names of their settings."""
    found: dict[str, list[str]] = {}
    for title, body in sections(CONFIGURATION, 3).items():
        section = "".join(f"{word.strip('[]')}." for word in words(title))
        for row in cells(body):
            if words(row[0]):
                key = section + words(row[0])[0]
                assert key not in found, key
                found[key] = row
    return found


def test_every_setting_is_described_and_no_other() -> None:
    assert sorted(described()) == sorted(settings())


@pytest.mark.parametrize("key", sorted(settings()))
def test_default_and_bounds_of_a_setting_are_told_truly(key: str) -> None:
    field, row = settings()[key], described()[key]
    default = tomllib.loads(f"value = {words(row[1])[0]}")["value"]
    wanted = json.loads(json.dumps(field.default))  # Tuples are lists there.
    assert (default, type(default)) == (wanted, type(wanted)) or key == "description"
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    bounds = [
        f"{sign} {getattr(limit, name):g}"
        for limit in field.metadata
        for name, sign in signs.items()
        if hasattr(limit, name)
    ]
    # "auto" and "none" have bounds that only the loader knows: the next test tries them.
    if '"auto"' not in row[2] and '"none"' not in row[2]:
        assert re.findall(r"[≥>≤<] [\d.]+", row[2]) == bounds
    assert row[3]


@pytest.mark.parametrize(
    ("section", "key", "word", "least"),
    [
        ("extraction", "ew_sys_err_arcsec", "auto", 0),
        ("extraction", "ns_sys_err_arcsec", "auto", 0),
        ("forced_fits", "expiration", "none", 1),
        ("catalogue_checks", "flux_scale_warn_factor", "none", 1),
        ("catalogue_checks", "flux_scale_reject_factor", "none", 1),
        ("catalogue_checks", "astrometry_warn_beams", "none", 0),
        ("catalogue_checks", "astrometry_reject_beams", "none", 0),
        ("catalogue_checks", "source_count_warn_factor", "none", 1),
        ("catalogue_checks", "source_count_reject_factor", "none", 1),
    ],
)
def test_settings_that_are_a_word_or_a_number(
    section: str, key: str, word: str, least: int
) -> None:
    assert described()[f"{section}.{key}"][2] == f'`"{word}"` or ≥ {least}'
    for good in (word, least):
        load_configuration(local.CONFIGURATIONS, "default", {section: {key: good}})
    with pytest.raises(ConfigError):
        load_configuration(local.CONFIGURATIONS, "default", {section: {key: least - 1}})


def test_the_message_about_mistakes_is_the_real_one() -> None:
    mistakes = {
        "extraction": {"detection_treshold_sigma": 5},
        "quality": {"beam_max_ratio": 0.5},
    }
    with pytest.raises(ConfigError) as raised:
        load_configuration(local.CONFIGURATIONS, "default", mistakes)
    assert f"trap-manage: register_images failed: {raised.value}\n```" in CONFIGURATION


@pytest.mark.slow
def test_the_message_about_other_settings_is_the_real_one(
    night: Path, sqlite_template: Path, tmp_path: Path
) -> None:
    shutil.copy(sqlite_template, tmp_path / "results.db")
    image = sorted(night.glob("t0*.fits"))[:1]
    where = {"store_url": f"sqlite:///{tmp_path / 'results.db'}", "output_dir": tmp_path}
    local.run(image, "night1", **where)
    with pytest.raises(ConfigError) as raised:
        local.run(image, "night1", overrides={"extraction": {"margin_px": 5}}, **where)
    assert f"trap-manage: register_images failed: {raised.value}\n```" in CONFIGURATION


def test_the_file_for_a_telescope_is_taken_for_it(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", CONFIGURATION, re.DOTALL)
    shutil.copytree(local.CONFIGURATIONS, tmp_path / "configs")
    (tmp_path / "configs" / "mine.toml").write_text(example)
    name, made = load_configuration(tmp_path / "configs", "auto", telescopes=["mytel"])
    assert name == "mine"
    assert made.extraction.margin_px == tomllib.loads(example)["extraction"]["margin_px"]


# ---- Commands, targets and links.


@pytest.mark.parametrize("document", [*DOCUMENTS, *TELESCOPES], ids=lambda path: path.name)
def test_commands_that_a_document_names_exist(document: Path) -> None:
    content = document.read_text(encoding="utf-8")
    verbs = set(VERBS)
    assert set(re.findall(r"trap-manage ([a-z]+(?:-[a-z]+)*)", content)) <= verbs
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    in_code = re.findall(r"(?:`|^    )make ([a-z][a-z-]*)", content, re.MULTILINE)
    assert set(in_code) <= targets


@pytest.mark.parametrize("document", [*DOCUMENTS, *TELESCOPES], ids=lambda path: path.name)
def test_links_of_a_document_lead_somewhere(document: Path) -> None:
    content = document.read_text(encoding="utf-8")
    for target, anchor in re.findall(r"\]\((?!\w+:)([^)#\s]*)#?([^)\s]*)\)", content):
        path = (document.parent / target) if target else document
        assert path.exists(), f"{document.name}: {target}"
        if anchor:
            titles = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            plain = [re.sub(r"[^\w\- ]", "", title.lower()) for title in titles]
            assert anchor in [title.replace(" ", "-") for title in plain], f"{target}#{anchor}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_files_that_a_document_names_exist(document: Path) -> None:
    content = document.read_text(encoding="utf-8")
    rooms = "plugins|include|dags|docs|benchmarks|changes|tests"
    for path in re.findall(rf"`((?:{rooms})/[^`*]*)`", content):
        assert (ROOT / path).exists(), path


def test_the_readme_names_every_room() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rooms = [path.name for path in (ROOT / "plugins" / "trap_ops").iterdir() if path.is_dir()]
    missing = [room for room in rooms if room[0] != "_" and f"/{room}/`" not in readme]
    # What crosses rooms changes with the rooms.
    assert missing == ["records"]

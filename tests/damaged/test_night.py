"""A night of which nearly every file is damaged: the good images give what they give alone."""

from __future__ import annotations

import html
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from damaged.files import QUALITY, Damaged
from stages.conftest import SMALL
from trap_ops import local
from trap_ops.records.names import one_line
from trap_ops.simulate.series import SeriesPlan, write_series
from trap_ops.store.checksum import _tables
from trap_ops.store.database import Store
from trap_ops.store.datasets import dataset_id
from trap_ops.store.outcomes import RejectedUnit, rejected_units

pytestmark = pytest.mark.slow

GOOD = SeriesPlan(
    n_epochs=6, size_px=128, n_steady=9, n_variable=2, n_transient=1, seed=8, edge_px=12
)
# What good images alone decide; bands, regions and verdicts list the others too.
OF_THE_SKY = (
    *("extractedsource", "runningcatalog", "runningcatalog_flux", "assocxtrsource"),
    *("varmetric", "newsource", "forcedfit", "candidate", "referenceflux"),
)


@dataclass(frozen=True)
class Night:
    """What came of the good images alone, and of them among damaged ones."""

    clean: dict[str, set[bytes]]
    dirty: dict[str, set[bytes]]
    cases: list[Damaged]
    rejected: dict[str, RejectedUnit]
    report: str


def usable(made: list[tuple[Damaged, Path]]) -> list[tuple[Damaged, Path]]:
    """Cases that a run meets under their own names, and that no reader can use."""
    return [
        (case, path)
        for case, path in made
        if case.must_fail
        # A run follows links, and root may read everything.
        and not case.name.endswith("-device.fits")
        and case.name != "memory.fits"
        and not (case.name == "forbidden.fits" and os.geteuid() == 0)
        # Of a directory its files are read.
        and "directory" not in case.name
    ]


def content(store: Store, name: str) -> dict[str, set[bytes]]:
    """Rows of a dataset by table, as they count in its checksum."""
    with store.read() as connection:
        found = _tables(connection, dataset_id(connection, name))
        return {table: set(rows) for table, rows in found}


@pytest.fixture(scope="module")
def night(
    tmp_path_factory: pytest.TempPathFactory,
    sqlite_template: Path,
    damaged_files: list[tuple[Damaged, Path]],
) -> Iterator[Night]:
    directory = tmp_path_factory.mktemp("night")
    good = write_series(GOOD, directory / "good")
    bad = usable(damaged_files)
    url = f"sqlite:///{directory / 'results.db'}"
    (directory / "results.db").write_bytes(sqlite_template.read_bytes())
    settings = {"store_url": url, "overrides": SMALL, "output_dir": directory / "var"}
    local.run(good, "clean", **settings)
    local.run([*good, *(path for _, path in bad)], "dirty", **settings)
    reports = sorted((directory / "var").rglob("*.html"), key=lambda p: p.stat().st_mtime_ns)
    store = Store(url)
    with store.read() as connection:
        units = rejected_units(connection, dataset_id(connection, "dirty"))
    yield Night(
        content(store, "clean"),
        content(store, "dirty"),
        [case for case, _ in bad],
        {unit.path: unit for unit in units} | {unit.name: unit for unit in units},
        reports[-1].read_text(encoding="utf-8"),
    )
    store.close()


def test_the_sky_is_that_of_the_good_images(night: Night) -> None:
    assert len(night.clean["extractedsource"]) > 30
    assert len(night.clean["assocxtrsource"]) > 30
    for table in OF_THE_SKY:
        assert night.dirty[table] == night.clean[table], table
    assert night.clean["image"] < night.dirty["image"]
    assert night.clean["qualitycheck"] <= night.dirty["qualitycheck"]


def test_each_damaged_file_is_rejected_for_a_true_reason(night: Night) -> None:
    assert len(night.cases) > 400
    wrong = []
    for case in night.cases:
        name = one_line(case.name)
        unit = night.rejected.get(name)
        if unit is None:
            wrong.append(f"{name} has no outcome")
        elif case.stage == QUALITY and unit.stage != "judge_quality":
            wrong.append(f"{name} is rejected by {unit.stage}: {unit.message}")
        elif case.stage != QUALITY and not {unit.reason} & case.reasons:
            wrong.append(f"{name}: {unit.reason} ({unit.message})")
    assert wrong == []


def test_verdicts_on_useless_pixels_are_true(night: Night) -> None:
    says = {
        "CONTAINS_NAN": ("NaN", "finite"),
        "DATA_FLAT": ("All pixels are",),
        "RMS_INVALID": ("RMS", "rms", "too small"),
    }
    judged = [case for case in night.cases if case.stage == QUALITY]
    assert len(judged) > 20
    for case in judged:
        (reason,) = case.reasons
        message = night.rejected[case.name].message
        assert any(words in message for words in says[reason]), message


def test_the_report_lists_every_damaged_file(night: Night) -> None:
    text = html.unescape(night.report)
    missing = [case.name for case in night.cases if one_line(case.name) not in text]
    assert missing == []
    assert "<script>alert" not in night.report

"""A night with everything a report must show, and a page taken apart into what is on it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from trap_ops import local
from trap_ops.records.runs import MonitorPosition, RunRecord
from trap_ops.simulate.series import SeriesPlan, write_series
from trap_ops.store import datasets, runs
from trap_ops.store.database import Store

# Two bands with moving pointings: sources leave the field, so that some fits cannot be made.
NIGHT = SeriesPlan(
    n_epochs=6,
    size_px=160,
    n_steady=12,
    n_variable=2,
    n_transient=2,
    seed=5,
    frequencies_hz=(150e6, 160e6),
    pointing_jitter_px=10.0,
    snr_min=5.0,
    edge_px=6,
)
SETTINGS: dict[str, Any] = {
    "extraction": {"detection_threshold_sigma": 6.0, "margin_px": 2},
    "execution": {"parallel_tasks": 2},
}
SCRIPT = "<script>alert(1)<script>.fits"
QUOTES = 'a" onload="x" \'&amp; \u00fcn\u00ef.fits'
BACKWARDS = "\u202egnp.fits"
# File that is no usable image, and the stage and words that say why.
BAD_FILES = {
    "truncated.fits": ("register_images", "it has 40000 bytes"),
    "text.fits": ("register_images", "not a FITS file"),
    "empty.fits": ("register_images", "the file is empty"),
    SCRIPT: ("register_images", "not a FITS file"),
    QUOTES: ("register_images", "not a FITS file"),
    BACKWARDS: ("register_images", "not a FITS file"),
    "all-nan.fits": ("judge_quality", "All pixels are NaN"),
    "flat.fits": ("judge_quality", "All pixels are 0.5"),
}
HOSTILE_DATASET = "../../<script>alert(2)</script> \"'\u00fc"
HOSTILE_MONITOR = '<img src=x onerror="alert(3)">'


@dataclass
class Element:
    """A start tag with its ancestors."""

    tag: str
    attributes: dict[str, str | None]
    within: tuple[Element, ...]
    text: str = ""

    def inside(self, tag: str, **attributes: str) -> bool:
        """Whether an ancestor is of this kind; class_ stands for class."""
        wanted = {name.rstrip("_"): value for name, value in attributes.items()}
        return any(
            item.tag == tag and wanted.items() <= item.attributes.items() for item in self.within
        )


# Elements without an end, and those whose end the template leaves out.
_EMPTY = {"meta", "img", "br"}
_IMPLIED = {"td": {"td", "th"}, "th": {"td", "th"}, "li": {"li"}, "tr": {"td", "th", "tr"}}


@dataclass
class Page(HTMLParser):
    """An HTML page as a list of its elements in order."""

    elements: list[Element] = field(default_factory=list)
    stack: list[Element] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        while self.stack and self.stack[-1].tag in _IMPLIED.get(tag, ()):
            self.stack.pop()
        element = Element(tag, dict(attrs), tuple(self.stack))
        self.elements.append(element)
        if tag not in _EMPTY:
            self.stack.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, dict(attrs), tuple(self.stack)))

    def handle_endtag(self, tag: str) -> None:
        while self.stack and self.stack.pop().tag != tag:
            pass

    def handle_data(self, data: str) -> None:
        for element in self.stack:
            element.text += data

    def all(self, tag: str) -> list[Element]:
        """Elements of one kind."""
        return [element for element in self.elements if element.tag == tag]

    def one(self, tag: str, **attributes: str) -> Element:
        """The only element of a kind with these attributes."""
        wanted = {name.rstrip("_"): value for name, value in attributes.items()}
        (found,) = (e for e in self.all(tag) if wanted.items() <= e.attributes.items())
        return found

    def table_after(self, heading: str) -> list[list[str]]:
        """Texts of the cells of the first table behind a heading of this id."""
        start = self.elements.index(self.one("h2", id=heading))
        table = next(e for e in self.elements[start:] if e.tag == "table")
        rows = [e for e in self.all("tr") if table in e.within]
        return [
            [e.text.strip() for e in self.elements if e.tag in {"td", "th"} and row in e.within]
            for row in rows
        ]


def parse(text: str) -> Page:
    """Take a page apart."""
    page = Page()
    page.feed(text)
    page.close()
    return page


@pytest.fixture(scope="session")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve images of two bands, and eight files that cannot be used."""
    directory = tmp_path_factory.mktemp("night")
    good = write_series(NIGHT, directory)
    raw = good[0].read_bytes()
    (directory / "truncated.fits").write_bytes(raw[:40000])
    (directory / "empty.fits").touch()
    for name in ("text.fits", SCRIPT, QUOTES, BACKWARDS):
        (directory / name).write_text("this is no FITS file\n" * 50)
    for name, pixels, hour in (("all-nan.fits", np.nan, 1), ("flat.fits", 0.5, 2)):
        with fits.open(good[1]) as hdus:
            hdus[0].data[:] = pixels
            hdus[0].header["DATE-OBS"] = f"2026-01-02T{hour:02d}:00:00"
            hdus.writeto(directory / name)
    return directory


@dataclass(frozen=True)
class Finished:
    """A run that has ended, its report and where everything is."""

    store: Store
    record: RunRecord
    images: Path
    output: Path

    @property
    def path(self) -> Path:
        """Where the run says that its report is."""
        with self.store.read() as connection:
            return Path(str(runs.report_of(connection, self.record.id)))

    @property
    def html(self) -> str:
        """The page as written."""
        return self.path.read_text(encoding="utf-8")

    @property
    def page(self) -> Page:
        """The page taken apart."""
        return parse(self.html)


def run_on(
    store: Store,
    images: Path,
    output: Path,
    dataset: str = "series",
    overrides: dict[str, Any] | None = None,
    **options: Any,
) -> Finished:
    """Run the pipeline on a directory."""
    local.run(
        [images],
        dataset,
        store_url=store.url.render_as_string(hide_password=False),
        overrides={**SETTINGS, **(overrides or {})},
        output_dir=output,
        **options,
    )
    with store.read() as connection:
        found = datasets.dataset_id(connection, dataset)
        record = runs.load_run(connection, runs.latest_run(connection, found))
    return Finished(store, record, images, output)


@pytest.fixture(scope="session")
def hostile(
    night: Path, sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Finished:
    """The night, under names that want to break the page; tests must not change it."""
    directory = tmp_path_factory.mktemp("hostile")
    shutil.copy(sqlite_template, directory / "results.db")
    store = Store(f"sqlite:///{directory / 'results.db'}")
    return run_on(
        store,
        night,
        directory / "var",
        HOSTILE_DATASET,
        run_key="../../<b>key</b>",
        monitor=[
            MonitorPosition(123.0, 35.0, HOSTILE_MONITOR),
            MonitorPosition(10.0, -70.0, "on the other side of the sky"),
        ],
    )


@pytest.fixture
def night_run(store: Store, night: Path, tmp_path: Path) -> Finished:
    """The night on a database of its own, on SQLite and on PostgreSQL."""
    monitor = [MonitorPosition(123.0, 35.0, "field centre"), MonitorPosition(10.0, -70.0, "away")]
    return run_on(store, night, tmp_path / "var", monitor=monitor)

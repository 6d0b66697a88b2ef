"""What the pages on telescopes say is so, and a telescope is added as the page says."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from sqlalchemy import text

from conftest import ROOT
from trap_ops import local
from trap_ops.config.load import configuration_names, load_configuration
from trap_ops.errors import ImageError
from trap_ops.images.reading import read_headers
from trap_ops.simulate.headers import corpus
from trap_ops.simulate.series import SeriesPlan, write_series
from trap_ops.store.database import Store

PAGES = ROOT / "docs" / "telescopes"
OF_TELESCOPES = [
    path for path in sorted(PAGES.glob("*.md")) if path.stem not in {"README", "adding"}
]
ADDING = (PAGES / "adding.md").read_text(encoding="utf-8")
MAKERS = {"wsclean", "casa"}
CORPUS = corpus()
# Variants that a page is about, by the beginning of their names.
NAMES = {"ami-la": "ami", "wsclean": "", "casa": ""}


def rows(page: str) -> list[list[str]]:
    lines = [line.strip("|").split("|") for line in page.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line] for line in lines if "---" not in line[0]]


def test_every_configuration_of_a_telescope_has_a_page_and_stands_in_the_index() -> None:
    index = (PAGES / "README.md").read_text(encoding="utf-8")
    named = set(configuration_names(local.CONFIGURATIONS)) - {"default"}
    assert {path.stem for path in OF_TELESCOPES} == named | MAKERS
    for name in named:
        settings = tomllib.loads((local.CONFIGURATIONS / f"{name}.toml").read_text())
        page = (PAGES / f"{name}.md").read_text(encoding="utf-8")
        (row,) = [row for row in rows(index) if f"({name}.md)" in row[0]]
        assert re.findall(r"`([^`]+)`", row[1]) == settings["telescopes"]
        assert row[2] == f"`{name}`"
        assert f"Configuration: `{name}`" in page
        for telescope in settings["telescopes"]:
            assert f"`{telescope}`" in page
            assert telescope in {variant.telescope for variant in CORPUS} | {"JVLA"}


@pytest.mark.parametrize("path", OF_TELESCOPES, ids=lambda path: path.stem)
def test_keywords_of_a_page_are_in_headers_of_the_corpus(path: Path) -> None:
    """Of the same telescope: so that a test reads what a page tells."""
    prefix = NAMES.get(path.stem, path.stem)
    keys = {
        key
        for variant in CORPUS
        if variant.name.startswith(prefix)
        for key in (*variant.header, *(["HISTORY"] if "HISTORY" in variant.header else []))
    }
    page = path.read_text(encoding="utf-8")
    told = {key for row in rows(page)[1:] for key in re.findall(r"`([A-Z0-9_-]+)`", row[1])}
    assert len(told) >= 6
    assert told - keys == set()
    for row in rows(page)[1:]:
        assert set(re.split(r"[,;] ", row[2])) <= {"seen", "read", "told"}, row


@pytest.mark.parametrize("path", OF_TELESCOPES, ids=lambda path: path.stem)
def test_settings_that_a_page_shows_are_settings(path: Path) -> None:
    page = path.read_text(encoding="utf-8")
    for block in re.findall(r"```toml\n(.*?)```", page, re.DOTALL):
        overrides = tomllib.loads(block)
        name = path.stem if path.stem not in MAKERS else "default"
        made = load_configuration(local.CONFIGURATIONS, name, overrides)[1]
        assert made.images.assume or made.images.channels != "only"


@pytest.mark.parametrize("path", sorted(PAGES.glob("*.md")), ids=lambda path: path.stem)
def test_links_and_files_of_a_page_lead_somewhere(path: Path) -> None:
    page = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!\w+:)([^)#\s]+)", page):
        assert (path.parent / target).exists(), target
    for name in re.findall(r"`((?:plugins|include|docs|tests)/[^`*]*)`", page):
        assert (ROOT / name).exists() or name == "include/configs/nenufar.toml", name


# ---- A telescope is added: what the page says, step by step.

PLAN = SeriesPlan(
    n_epochs=2,
    size_px=96,
    n_steady=3,
    n_variable=0,
    n_transient=0,
    seed=7,
    pixel_arcsec=120.0,
    bmaj_arcsec=720.0,
    bmin_arcsec=540.0,
    bpa_deg=25.0,
    snr_min=60.0,
    snr_max=100.0,
    frequencies_hz=(60.546875e6,),
    bandwidth_hz=195312.5,
    start="2024-03-01T21:00:00",
    min_separation_beams=3.0,
)
# Keywords that the page's header does not have, in any spelling.
GONE = ("BMAJ", "BMIN", "BPA", "RESTFRQ", "RESTBW", "EXPTIME", "TAU_TIME", "END_UTC", "DATE-END")
AXES = ("CTYPE", "CRVAL", "CRPIX", "CDELT", "CUNIT")


def page_block(language: str) -> str:
    (block,) = re.findall(rf"```{language}\n(.*?)```", ADDING, re.DOTALL)
    return str(block)


@pytest.fixture
def odd_images(tmp_path: Path) -> list[Path]:
    """Images whose headers are those of the page; the second an hour later."""
    (tmp_path / "night").mkdir()
    cards = fits.Header.fromstring(page_block("text"), sep="\n")
    paths = write_series(PLAN, tmp_path / "night")
    for number, path in enumerate(paths):
        with fits.open(path) as hdus:
            header, pixels = hdus[0].header.copy(), hdus[0].data.squeeze()
        for key in (*GONE, *(f"{key}{axis}" for key in AXES for axis in (3, 4))):
            header.remove(key, ignore_missing=True)
        header.update(cards)
        later = datetime.fromisoformat(cards["DATE-OBS"]) + timedelta(hours=number)
        header["DATE-OBS"] = later.isoformat()
        fits.PrimaryHDU(pixels, header).writeto(path, overwrite=True)
    return paths


@pytest.fixture
def configurations(tmp_path: Path) -> Path:
    """The configuration directory with the page's file in it."""
    directory = tmp_path / "configs"
    shutil.copytree(local.CONFIGURATIONS, directory)
    (directory / "nenufar.toml").write_text(page_block("toml"), encoding="utf-8")
    return directory


def images_of(directory: Path) -> Any:
    return lambda telescope: load_configuration(directory, "auto", telescopes=[telescope])[1].images


def test_the_page_adds_a_telescope_that_is_not_there() -> None:
    names = tomllib.loads(page_block("toml"))["telescopes"]
    assert names == ["NenuFAR"]
    assert load_configuration(local.CONFIGURATIONS, "auto", telescopes=names)[0] == "default"


def test_headers_of_the_new_telescope_are_read(
    odd_images: list[Path], configurations: Path
) -> None:
    for number, path in enumerate(odd_images):
        (image,) = read_headers(str(path), images_of(configurations))
        assert image.telescope == "NenuFAR"
        # Ten minutes about 21:05.
        assert image.start == datetime(2024, 3, 1, 21, 0) + timedelta(hours=number)
        assert image.integration_s == 600.0
        assert image.freq_eff_hz == pytest.approx(60.546875e6, rel=1e-12)
        assert image.freq_bw_hz == 195312.5
        assert image.beam.bmaj_deg == pytest.approx(0.2, rel=1e-12)
        assert image.beam.bmin_deg == pytest.approx(0.15, rel=1e-12)
        assert image.beam.bpa_deg == pytest.approx(25.0, abs=1e-4)
        assert [note for note in image.notes if "freq_bw_hz" in note]


def test_without_the_file_they_are_refused(odd_images: list[Path]) -> None:
    with pytest.raises(ImageError):
        read_headers(str(odd_images[0]), images_of(local.CONFIGURATIONS))


@pytest.mark.slow
def test_a_run_takes_the_new_file(
    odd_images: list[Path], configurations: Path, tmp_path: Path, sqlite_template: Path
) -> None:
    shutil.copy(sqlite_template, tmp_path / "results.db")
    url = f"sqlite:///{tmp_path / 'results.db'}"
    local.run(
        [odd_images[0].parent],
        "try",
        store_url=url,
        configurations=configurations,
        output_dir=tmp_path,
    )
    store = Store(url)
    with store.read() as connection:
        run = connection.execute(text("SELECT configuration_name FROM run")).scalar_one()
        image = connection.execute(
            text("SELECT taustart_ts, tau_time, freq_eff, freq_bw, verdict, notes FROM image")
        ).all()
        sources = connection.execute(text("SELECT wm_ra, wm_decl FROM runningcatalog")).all()
    store.close()
    assert run == "nenufar"
    assert [row.tau_time for row in image] == [600.0, 600.0]
    assert [row.freq_eff for row in image] == pytest.approx([60.546875e6] * 2)
    assert all(row.verdict == "accepted" and "freq_bw_hz" in row.notes for row in image)
    truth = json.loads((tmp_path / "night" / "truth.json").read_text())["sources"]
    true = SkyCoord(
        [one["ra_deg"] for one in truth] * u.deg, [one["dec_deg"] for one in truth] * u.deg
    )
    found = SkyCoord(
        [row.wm_ra for row in sources] * u.deg, [row.wm_decl for row in sources] * u.deg
    )
    assert len(found) == len(true) == 3
    # A twentieth of the beam; at 60 sigma errors are a hundredth.
    assert true.match_to_catalog_sky(found)[1].max() < 36 * u.arcsec

"""``trap-manage inspect``: all that is read of files, all that is wrong, and what mends it."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import ROOT
from trap_ops.commands.__main__ import main
from trap_ops.config.load import load_configuration
from trap_ops.images import inspection
from trap_ops.images.inspection import inspect
from trap_ops.images.reading import read_headers
from trap_ops.images.structure import FitsFile
from trap_ops.local import CONFIGURATIONS
from unit.images.fits_files import rules_of, write

CUBE = {"CTYPE3": "FREQ", "CRVAL3": 1e8, "CDELT3": 1e6, "CRPIX3": 1.0}
TRUTH = {
    "start": "2020-02-03T04:05:06",
    "freq_eff_hz": 140e6,
    "freq_bw_hz": 3e6,
    "bmaj_deg": 0.02,
    "bmin_deg": 0.01,
    "bpa_deg": 12.0,
    "unit": "Jy/beam",
}
FAULTS: list[tuple[dict[str, Any], list[str], set[str]]] = [
    ({"BMAJ": None}, ["no beam"], {"bmaj_deg", "bmin_deg", "bpa_deg"}),
    ({"BMAJ": -1.0}, ["bad beam"], {"bmaj_deg", "bmin_deg", "bpa_deg"}),
    ({"DATE-OBS": None}, ["no start time"], {"start"}),
    ({"DATE-OBS": "never"}, ["no start time"], {"start"}),
    ({"RESTFRQ": None}, ["no frequency"], {"freq_eff_hz"}),
    ({"RESTBW": 1e12}, ["bad frequency"], {"freq_eff_hz", "freq_bw_hz"}),
    ({"BUNIT": "K"}, ["unit"], {"unit"}),
    (
        {"BMAJ": None, "DATE-OBS": None},
        ["no start time", "no beam"],
        {"start", "bmaj_deg", "bmin_deg", "bpa_deg"},
    ),
    (
        {"BMAJ": None, "DATE-OBS": None, "RESTFRQ": None, "BUNIT": "K", "CRVAL1": None},
        ["no coordinates", "no frequency", "no start time", "unit", "no beam"],
        {"start", "freq_eff_hz", "unit", "bmaj_deg", "bmin_deg", "bpa_deg", inspection.PLACE},
    ),
]


def shown_as_json(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, list[Any]]:
    status = main(["inspect", "--json", *words])
    return status, json.loads(capsys.readouterr().out)


def test_a_good_image_with_all_its_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "a.fits", {"NCORE": 23, "TAU_TIME": 11.25})
    status, (made,) = shown_as_json(capsys, str(path))
    assert status == 0
    for key, value in {
        "file": str(path), "plane": "", "usable": True, "problems": [], "notes": [], "mend": None,
        "configuration": "default", "telescope": "SOMETHING", "start_utc": "2012-04-06T03:42:00",
        "integration_s": 11.25, "freq_eff_hz": 150e6, "freq_bw_hz": 2e6, "stokes": "I",
        "bmaj_deg": 30 / 3600, "bmin_deg": 20 / 3600, "bpa_deg": 40.0, "unit": "JY/BEAM",
        "frame": "ICRS", "projection": "SIN", "nx": 32, "ny": 24, "n_core": 23, "n_remote": None,
        "hdu": 0, "file_size_bytes": path.stat().st_size, "centre_ra_deg": 123.0,
        "centre_dec_deg": 10.0,
    }.items():  # fmt: skip
        assert made[key] == value, key
    np.testing.assert_allclose(made["pixel_sides_deg"], 5 / 3600, rtol=1e-9)
    np.testing.assert_allclose(made["size_deg"], [32 * 5 / 3600, 24 * 5 / 3600], rtol=1e-9)
    # 16.5 pixels east and 12.5 south of the centre, on the tangent plane.
    ra, dec = made["corners_deg"][0]
    x, y = np.radians([16.5 * 5 / 3600, -12.5 * 5 / 3600])
    z = np.sqrt(1 - x**2 - y**2)
    south = np.radians(10.0)
    assert dec == pytest.approx(np.degrees(np.arcsin(y * np.cos(south) + z * np.sin(south))))
    assert ra == pytest.approx(
        123.0 + np.degrees(np.arctan2(x, z * np.cos(south) - y * np.sin(south)))
    )


@pytest.mark.parametrize(("changes", "reasons", "unknown"), FAULTS)
def test_all_problems_are_told_and_the_lines_mend_them(
    changes: dict[str, Any], reasons: list[str], unknown: set[str], tmp_path: Path
) -> None:
    path = write(tmp_path / "a[1].fits", {"TAU_TIME": 60.0, "END_UTC": None} | changes)
    (made,) = inspect(str(path), rules_of)
    assert [error.reason for error in made.problems] == reasons
    assert made.unknown == unknown
    assert made.image is not None
    assert made.image.notes == ()
    assert (made.image.integration_s, made.telescope) == (60.0, "SOMETHING")
    if "freq_bw_hz" not in unknown:
        assert made.image.freq_bw_hz == 2e6
    entries = tomllib.loads(inspection.mending_lines([made]))["images"]["assume"]
    for entry in entries:
        entry |= {key: TRUTH[key] for key, value in entry.items() if value == "?"}
    overrides = {"images": {"assume": entries}}
    rules = load_configuration(CONFIGURATIONS, "default", overrides)[1].images
    (again,) = inspect(str(path), lambda _: rules)
    assert [error.reason for error in again.problems] == (
        ["no coordinates"] if inspection.PLACE in unknown else []
    )
    if again.problems:
        return
    (image,) = read_headers(str(path), lambda _: rules)
    if "bmaj_deg" in unknown:
        assert (image.beam.bmaj_deg, image.beam.bmin_deg, image.beam.bpa_deg) == (0.02, 0.01, 12.0)
    if "start" in unknown:
        assert image.start.isoformat() == TRUTH["start"]
    if "freq_eff_hz" in unknown:
        assert image.freq_eff_hz == 140e6


def test_lines_that_are_not_filled_in_are_refused(tmp_path: Path) -> None:
    (made,) = inspect(str(write(tmp_path / "a.fits", {"BMAJ": None})), rules_of)
    overrides = tomllib.loads(inspection.mending_lines([made]))
    with pytest.raises(Exception, match="bmaj_deg = '\\?'"):
        load_configuration(CONFIGURATIONS, "default", overrides)


def test_planes_are_explained_and_the_first_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "a.fits", CUBE | {"BMAJ": None}, np.zeros((3, 24, 32), np.float32))
    status, (made,) = shown_as_json(capsys, str(path))
    assert status == 1
    assert [p["reason"] for p in made["problems"]] == ["several planes", "no beam"]
    # The file is what is refused, not its first plane.
    assert (made["plane"], made["freq_eff_hz"], made["bmaj_deg"]) == ("", 1e8, None)
    write(tmp_path / "b.fits", CUBE, np.zeros((3, 24, 32), np.float32))
    words = ("--set", 'images.channels="all"', str(tmp_path / "b.fits"))
    status, rows = shown_as_json(capsys, *words)
    assert status == 0
    assert [row["freq_eff_hz"] for row in rows] == [1e8, 1.01e8, 1.02e8]


@pytest.mark.parametrize("changes", [{}, *(fault[0] for fault in FAULTS)])
def test_every_key_is_in_the_documentation(
    changes: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "a.fits", changes)
    _, rows = shown_as_json(capsys, str(path), str(tmp_path / "none.fits"))
    text = (CONFIGURATIONS.parents[1] / "docs" / "inspect.md").read_text()
    table = text.partition("## For programs")[2].partition("\n## ")[0]
    first_cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    documented = set(re.findall("`(.*?)`", " ".join(first_cells)))
    for row in rows:
        assert set(row) == documented


def test_a_problem_that_many_files_have_is_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(5):
        write(tmp_path / f"{number}.fits", {"BMAJ": None})
    (tmp_path / "text.fits").write_text("hello")
    assert main(["inspect", str(tmp_path)]) == 1
    shown = capsys.readouterr().out
    assert f"{tmp_path}/0.fits and 4 more, with the same\n" in shown
    assert shown.count("no beam") == 1
    assert shown.count("not a FITS file") == 1


def test_files_that_are_none_are_told_with_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write(tmp_path / "a.fits")
    big = write(tmp_path / "big.fits")
    (tmp_path / "text.fits").write_text("hello")
    cut = tmp_path / "cut.fits"
    cut.write_bytes(good.read_bytes()[:3000])
    words = [str(tmp_path / name) for name in ("a.fits", "text.fits", "cut.fits", "none.fits")]
    status, rows = shown_as_json(capsys, *words)
    assert status == 1
    found = {Path(row["file"]).name: [p["reason"] for p in row["problems"]] for row in rows}
    assert found == {
        "a.fits": [], "text.fits": ["not a FITS file"], "cut.fits": ["truncated"],
        "none.fits": ["no such file"],
    }  # fmt: skip
    status, (made,) = shown_as_json(capsys, "--set", "images.max_pixels=700", str(big))
    assert [p["reason"] for p in made["problems"]] == ["too many pixels"]
    assert (status, made["nx"], made["bmaj_deg"]) == (1, 32, 30 / 3600)


def test_the_telescope_chooses_the_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(write(tmp_path / "a.fits", {"TELESCOP": "LOFAR"}))
    assert shown_as_json(capsys, path)[1][0]["configuration"] == "lofar"
    assert shown_as_json(capsys, "--config", "default", path)[1][0]["configuration"] == "default"
    assert main(["inspect", "--config", "lofra", path]) == 1
    assert "did you mean 'lofar'?" in capsys.readouterr().err


def test_no_pixel_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.fits", {"BMAJ": None})
    read: list[int] = []
    reads = FitsFile.read

    def watched(self: FitsFile, place: int, size: int) -> bytes:
        read.append(place + size)
        return reads(self, place, size)

    monkeypatch.setattr(FitsFile, "read", watched)
    inspect(str(path), rules_of)
    assert read
    assert max(read) <= 2880 < path.stat().st_size


def test_few_images_are_shown_in_full_and_many_as_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [str(write(tmp_path / f"n{n}-[b].fits", {"NCORE": 9})) for n in range(4)]
    assert main(["inspect", paths[0]]) == 0
    full = capsys.readouterr().out
    for text in (f"{paths[0]}: usable", "30 x 20 arcsec, position angle 40 deg", "150 MHz", "600 s",
                 "123.00000 +10.00000", "32 x 24, 5 x 5 arcsec", "stations: 9, –, –"):  # fmt: skip
        assert text in full
    write(tmp_path / "n0-[b].fits".replace("n0", "n9"), {"BMAJ": None, "TAU_TIME": None})
    assert main(["inspect", str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split() for line in lines if line.startswith("n")]
    assert [row[:3] for row in rows[:5]] == [
        *([f"n{n}-[b].fits", "yes", "SOMETHING"] for n in range(4)),
        ["n9-[b].fits", "NO", "SOMETHING"],
    ]
    assert 'files = "n9-[[]b].fits"' in lines
    assert lines[-1] == "4 of 5 usable"


def test_files_that_lack_the_same_share_an_entry(tmp_path: Path) -> None:
    made = [
        inspect(str(write(tmp_path / name, {"BMAJ": None})), rules_of)[0]
        for name in ("night-01.fits", "night-02.fits", "night-12.fits")
    ]
    (entry,) = tomllib.loads(inspection.mending_lines(made))["images"]["assume"]
    assert entry["files"] == "night-*.fits"
    assert set(entry.values()) == {"night-*.fits", "?"}


def test_the_document_has_every_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = (ROOT / "docs" / "inspect.md").read_text()
    table = document.split("## For programs")[1].split("## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    (made,) = shown_as_json(capsys, str(write(tmp_path / "a.fits")))[1]
    assert sorted(re.findall(r"`(\w+)`", " ".join(rows))) == sorted(made)


def test_the_lines_of_the_document_are_those_that_are_printed(tmp_path: Path) -> None:
    document = (ROOT / "docs" / "inspect.md").read_text()
    lines = document.split("```toml\n")[1].split("```")[0]
    lacking = {"BMAJ": None, "DATE-OBS": None, "END_UTC": None}
    names = ("night1-1.fits", "night1-2.fits")
    made = [inspect(str(write(tmp_path / name, lacking)), rules_of)[0] for name in names]
    assert inspection.mending_lines(made) == lines


def test_real_images(shared_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Against what the README of the images says of them."""
    status, rows = shown_as_json(capsys, str(shared_data / "images"))
    assert status == 0
    found = {row["file"].rsplit("/")[-1][:7]: row for row in rows}
    grb = found["GRB1204"]
    assert grb["bmaj_deg"] == pytest.approx(0.0150675, abs=1e-7)
    assert grb["freq_eff_hz"] == pytest.approx(16505187505, abs=1)
    assert grb["start_utc"].startswith("2012-04-29T17:19:23.0015")
    assert (grb["centre_ra_deg"], grb["centre_dec_deg"]) == pytest.approx(
        (136.91025, 14.01822), abs=2e-3
    )
    assert found["GRB2010"]["configuration"] == "lofar"

"""``trap-manage coverage`` as it is typed: answers in words and in JSON, files in their place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mocpy import MOC

from conftest import new_store
from export.covered_images import REJECTED, Covered, save
from trap_ops.commands.__main__ import main

NIGHT = (
    Covered("a.fits", 0.0, rms=((3.0,),)),
    Covered("b.fits", 1.0, rms=((4.0,),)),
    Covered("<b>far.fits", 2.0, ra=200.0, stokes=4),
    Covered("bad.fits", 3.0, **REJECTED),
)


@pytest.fixture
def var(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where everything is written; the results database has a night."""
    with new_store("sqlite", request, tmp_path) as store:
        save(store, "night 1", NIGHT)
        monkeypatch.setenv("TRAP_DB", store.url.render_as_string())
    monkeypatch.setenv("TRAP_VAR", str(tmp_path / "var"))
    return tmp_path / "var"


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert main(["coverage", "night 1", "--json", *words]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.usefixtures("var")
def test_positions_in_degrees_and_sexagesimal(capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "--position",
        "123 35 here",
        "--position",
        "08:12:00 +35:00:00",
        "--position",
        "-160 35",
    ]
    here, same, far = answer(capsys, *words)["positions"]
    assert (here["name"], same["name"], far["ra_deg"]) == ("here", "", 200.0)
    assert here["images"] == same["images"]
    assert [(item["image"], item["position"]) for item in here["images"]] == [
        ("a.fits", "shown"), ("b.fits", "shown"), ("<b>far.fits", "outside"),
        ("bad.fits", "rejected"),
    ]  # fmt: skip
    assert [item["position"] for item in far["images"]] == [
        "outside", "outside", "shown", "rejected",
    ]  # fmt: skip
    first = here["images"][0]
    assert first["rms_jy_beam"] == pytest.approx(0.003)
    assert first["depth_5_sigma_jy_beam"] == pytest.approx(0.015)
    assert here["images"][2]["rms_jy_beam"] is None
    stokes_i, stokes_v = here["depth"]
    assert stokes_i["rms_combined_jy_beam"] == pytest.approx(0.0024)
    assert stokes_i["depth_5_sigma_jy_beam"] == pytest.approx(0.012)
    assert (stokes_i["first"], stokes_i["last"]) == ("2026-01-01T00:00:00", "2026-01-01T01:00:00")
    assert (stokes_v["shown"], stokes_v["rms_min_jy_beam"], stokes_v["first"]) == (0, None, None)


@pytest.mark.usefixtures("var")
def test_a_position_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["coverage", "night 1", "--position", "123 35"]) == 0
    printed = capsys.readouterr().out
    assert "08:12:00.00 +35:00:00.0" in printed
    assert "All pixels are NaN" in printed
    assert (
        "150 MHz, Stokes I: 2 of 2 images show it, from 2026-01-01 00:00:00 to 2026-01-01 "
        "01:00:00; deepest a.fits with rms 3.00 mJy/beam; all together rms 2.40 mJy/beam, "
        "5 sigma 12.0 mJy/beam"
    ) in printed
    assert "150 MHz, Stokes V: 0 of 1 image show it" in printed


@pytest.mark.usefixtures("var")
def test_only_some_images_are_asked(capsys: pytest.CaptureFixture[str]) -> None:
    def asked(*words: str) -> list[str]:
        found = answer(capsys, "--position", "123 35", *words)["positions"][0]["images"]
        return [item["image"] for item in found]

    assert asked("--stokes", "v") == ["<b>far.fits"]
    assert asked("--from", "2026-01-01T01:00", "--until", "2026-01-01T02:00:00Z") == [
        "b.fits",
        "<b>far.fits",
    ]
    assert asked("--image", "b.fits", "--image", "a.fits", "--band", "150e6") == [
        "a.fits",
        "b.fits",
    ]


def test_files_are_below_var(var: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["coverage", "night 1"]) == 0
    printed = capsys.readouterr().out
    (directory,) = (var / "coverage").iterdir()
    assert directory.name.startswith("night_1-")
    paths = sorted(directory.iterdir())
    assert [path.name.removeprefix(directory.name) for path in paths] == [
        ".150MHz.I.depth.fits", ".150MHz.V.depth.fits", ".150MHz.moc.fits", ".moc.fits",
    ]  # fmt: skip
    assert all(str(path) in printed for path in paths)
    assert "MOC" in printed


def test_order_and_directory_are_the_users(
    var: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--order", "10", "--output", str(tmp_path / "mine"), "--image", "<b>far.fits"]
    found = answer(capsys, *words)
    assert found["not_extracted"] == []
    assert [item["order"] for item in found["files"]] == [10, 10]
    assert {Path(item["path"]).parent for item in found["files"]} == {tmp_path / "mine"}
    assert not var.exists()
    (moc,) = (tmp_path / "mine").glob("*.moc.fits")
    assert MOC.from_fits(moc).max_order == 10


@pytest.mark.usefixtures("var")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--position", "somewhere"], "position 'somewhere' cannot be read"),
        (["--position", "10 91"], "is not on the sky"),
        (["--position", "nan 10"], "is not on the sky"),
        (["--position", "123 35", "--image", "x.fits"], "no image 'x.fits'"),
        (["--order", "29"], "choose larger ones with --order 19"),
        (["--band", "3e8"], "its bands are"),
    ],
)
def test_mistakes_are_explained(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["coverage", "night 1", *words]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["--order", "30"], ["--order", "-1"], ["--stokes", "X"], ["--from", "yesterday"]]
)
def test_words_that_are_none_are_refused(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["coverage", "night 1", *words])
    assert stop.value.code == 2
    assert words[0] in capsys.readouterr().err


def test_a_long_name_is_shown_whole(
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = f"[b]{'x' * 150}.fits"
    with new_store("sqlite", request, tmp_path) as store:
        save(store, "night 1", (Covered(name, 0.0, rms=((3.0,),)),))
        monkeypatch.setenv("TRAP_DB", store.url.render_as_string())
    assert main(["coverage", "night 1", "--position", "123 35"]) == 0
    table = capsys.readouterr().out.partition("150 MHz, Stokes I: ")[0]
    cells = [line.split("│")[2].strip() for line in table.splitlines() if line.startswith("│")]
    assert "".join(cells) == name

"""``trap-manage inject``: what it says, and what it leaves alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from trap_ops.commands import inspect_images
from trap_ops.commands.__main__ import main
from unit.images.fits_files import read_header, write

PARSET = "[inject]\nbmaj = 0.5\nbmin = 0.25\nbpa = 3\ntau_time = 7\n"


@pytest.fixture
def parset(tmp_path: Path) -> str:
    path = tmp_path / "night.ini"
    path.write_text(PARSET)
    return str(path)


def test_what_would_change_is_told_and_then_changed(
    parset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "a.fits", {"BMAJ": None})
    before = path.read_bytes()
    assert main(["inject", parset, str(path), "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{path}: 2 of 4 would change",
        "  BMAJ: absent -> 0.5",
        "  BMIN: 0.005555555555555556 kept; --over replaces it by 0.25",
        "  BPA: 40.0 kept; --over replaces it by 3.0",
        "  TAU_TIME: absent -> 7.0",
    ]
    assert path.read_bytes() == before
    assert main(["inject", parset, str(path), "--over"]) == 0
    assert "2 of 4" not in capsys.readouterr().out
    beam = read_header(path).beam
    assert (beam.bmaj_deg, beam.bmin_deg, beam.bpa_deg) == (0.5, 0.25, 3.0)


def test_a_target_that_cannot_be_read_does_not_stop_the_others(
    parset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.fits").write_text("no image")
    path = write(tmp_path / "b.fits", {"BMAJ": None})
    assert main(["inject", parset, str(tmp_path), str(tmp_path / "none.fits")]) == 1
    errors = capsys.readouterr().err
    assert "a.fits: it is not a FITS file" in errors
    assert "none.fits: no such file" in errors
    assert read_header(path).beam.bmaj_deg == 0.5


def test_a_wrong_parset_touches_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "a.fits", {"BMAJ": None})
    before = path.read_bytes()
    wrong = tmp_path / "wrong.ini"
    wrong.write_text(PARSET + "bmajor = 1\nncore = many\n")
    assert main(["inject", str(wrong), str(path)]) == 1
    errors = capsys.readouterr().err
    assert "bmajor is no key" in errors
    assert "ncore = 'many'" in errors
    assert main(["inject", str(tmp_path / "no.ini"), str(path)]) == 1
    assert "cannot be read: No such file" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_links_are_followed_but_not_out_of_the_data_roots(
    parset: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("inside", "outside", "configs"):
        (tmp_path / name).mkdir()
    (tmp_path / "configs" / "default.toml").write_text(
        f'[images]\ndata_roots = ["{tmp_path / "inside"}"]\n'
    )
    monkeypatch.setattr(inspect_images, "CONFIGURATIONS", tmp_path / "configs")
    inside = write(tmp_path / "inside" / "a.fits", {"BMAJ": None})
    outside = write(tmp_path / "outside" / "b.fits", {"BMAJ": None})
    before = outside.read_bytes()
    (tmp_path / "inside" / "to-b.fits").symlink_to(outside)
    (tmp_path / "inside" / "to-a.fits").symlink_to(inside)
    links = [str(tmp_path / "inside" / name) for name in ("to-a.fits", "to-b.fits")]
    assert main(["inject", parset, *links]) == 1
    assert "leads outside the data roots" in capsys.readouterr().err
    assert outside.read_bytes() == before
    assert (tmp_path / "inside" / "to-a.fits").is_symlink()
    assert read_header(inside).beam.bmaj_deg == 0.5
    assert main(["inspect", *links]) == 1
    told = capsys.readouterr().out
    assert "leads outside the data roots" in told
    # Refused before it is opened: where the link leads is not shown.
    assert str(outside) not in told


def test_addresses_are_not_changed(parset: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inject", parset, "s3://bucket/a.fits"]) == 1
    assert "remote" in capsys.readouterr().err

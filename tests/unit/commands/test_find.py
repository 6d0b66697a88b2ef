"""``trap-manage find`` as it is typed: what it shows, what it writes, what it says of bad input."""

from __future__ import annotations

import csv
import os
import re
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.io.votable import parse
from astropy.io.votable.ucd import check_ucd
from astropy.table import Table

from trap_ops.commands.__main__ import main
from trap_ops.export.source_table import flag_words
from trap_ops.records.sources import Flag
from trap_ops.science.beam import beam_covariance
from trap_ops.science.model_image import add_gaussians
from trap_ops.simulate.noise import correlated_noise
from unit.images.fits_files import write

PIXEL_DEG = 5.0 / 3600.0
SHAPE = (120, 160)
BEAM = beam_covariance(30 / 3600, 20 / 3600, 40.0, np.diag([-PIXEL_DEG, PIXEL_DEG]))
PLACES = np.array([[40.3, 50.2, 2.0], [110.8, 70.6, 0.9], [70.0, 30.0, 0.3]])
CLASSIC = [
    "image", "ra", "decl", "ra_fit_err", "decl_fit_err", "f_peak", "f_peak_err", "f_int",
    "f_int_err", "det_sigma", "semimajor", "semiminor", "pa",
]  # fmt: skip


def image(path: Path, *, seed: int = 1, scale: float = 1.0) -> Path:
    """Three sources at 200, 90 and 30 sigma in noise of 10 mJy/beam."""
    data = 0.01 * correlated_noise(SHAPE, BEAM, "natural", np.random.default_rng(seed))
    add_gaussians(data, PLACES[:, 0], PLACES[:, 1], PLACES[:, 2] * scale, BEAM)
    return write(path, data=data)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_sources_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = image(tmp_path / "a.fits")
    assert main(["find", str(path)]) == 0
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert lines[0].split() == [
        "image", "ra", "decl", "f_peak", "f_peak_err", "f_int", "f_int_err", "det_sigma",
        "flag_words",
    ]  # fmt: skip
    assert len(lines) == 4
    assert "3 sources" in shown.err


def test_all_formats_hold_the_same_and_what_was_simulated(tmp_path: Path) -> None:
    path = image(tmp_path / "a.fits")
    files = {name: tmp_path / f"out/a.{name}" for name in ("csv", "votable", "fits", "regions")}
    options = [word for name, file in files.items() for word in (f"--{name}", str(file))]
    assert main(["find", str(path), "--set", "extraction.force_beam=false", *options]) == 0
    rows = rows_of(files["csv"])
    assert list(rows[0])[: len(CLASSIC)][:5] == CLASSIC[:5]
    assert set(CLASSIC) <= set(rows[0])
    votable = parse(files["votable"]).get_first_table()
    binary = Table.read(files["fits"])
    for name in CLASSIC[1:]:
        values = np.array([float(row[name]) for row in rows])
        np.testing.assert_allclose(votable.array[name], values, rtol=1e-12)
        np.testing.assert_allclose(binary[name], values, rtol=1e-12)
    ucds = {field.name: field.ucd for field in votable.fields}
    assert ucds["ra"] == "pos.eq.ra;meta.main"
    for ucd in ucds.values():
        assert check_ucd(ucd, check_controlled_vocabulary=True), ucd
    units = {field.name: str(field.unit) for field in votable.fields}
    assert (units["ra"], units["f_int"], units["semimajor"]) == ("deg", "Jy", "arcsec")
    assert str(binary["f_peak"].unit) in {"Jy / beam", "beam-1 Jy", "Jy beam-1"}
    # Against the truth.
    x = np.array([float(row["x_px"]) for row in rows])
    peak = np.array([float(row["f_peak"]) for row in rows])
    error = np.array([float(row["f_peak_err"]) for row in rows])
    order = np.argsort(-peak)
    np.testing.assert_allclose(x[order], PLACES[:, 0], atol=0.5)
    assert (abs(peak[order] - PLACES[:, 2]) < 4 * error[order]).all()
    regions = files["regions"].read_text().splitlines()
    assert regions[1] == "icrs"
    ellipse = re.compile(r'ellipse\(([\d.]+),([-\d.]+),([\d.]+)",([\d.]+)",([\d.]+)\)')
    drawn = [match for line in regions if (match := ellipse.match(line))]
    assert [float(match[1]) for match in drawn] == pytest.approx(
        [float(row["ra"]) for row in rows], abs=1e-7
    )
    # Half widths of 15 and 10 arcsec at 40 degrees from north: 130 from the axis of DS9.
    brightest = drawn[int(order[0])]
    assert float(brightest[3]) == pytest.approx(15.0, abs=0.5)
    assert float(brightest[5]) == pytest.approx(130.0, abs=3.0)


def test_maps_add_up_to_the_image(tmp_path: Path) -> None:
    path = image(tmp_path / "a.fits")
    assert main(["find", str(path), "--maps", str(tmp_path / "maps")]) == 0
    maps = {}
    for kind in ("background", "rms", "model", "residual"):
        with fits.open(tmp_path / f"maps/a.fits.{kind}.fits") as hdus:
            maps[kind], header = hdus[0].data, hdus[0].header
        assert header["CTYPE1"] == "RA---SIN"
        assert header["BMAJ"] == pytest.approx(30 / 3600)
        assert header["BUNIT"] == "Jy/beam"
    pixels = fits.getdata(path)
    used = np.isfinite(maps["rms"])
    # The margin of ten pixels is not used.
    assert used.sum() == 100 * 140
    total = maps["background"] + maps["model"] + maps["residual"]
    np.testing.assert_allclose(total[used], pixels[used], atol=1e-6)
    assert 0.008 < np.nanmedian(maps["rms"]) < 0.012
    assert np.nanstd(maps["residual"]) < 0.013


def test_a_bad_image_is_told_and_the_others_are_searched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image(tmp_path / "a.fits")
    (tmp_path / "b.fits").write_text("hello")
    write(tmp_path / "c.fits", data=np.zeros(SHAPE, np.float32))
    assert main(["find", str(tmp_path), "--csv", str(tmp_path / "all.csv")]) == 1
    told = capsys.readouterr().err
    assert "b.fits: " in told
    assert "c.fits: no part of it has noise" in told
    rows = rows_of(tmp_path / "all.csv")
    assert {row["image"] for row in rows} == {"a.fits"}


def test_images_of_equal_name_are_told_apart(tmp_path: Path) -> None:
    for night, scale in (("one", 1.0), ("two", 0.5)):
        (tmp_path / night).mkdir()
        image(tmp_path / night / "a.fits", scale=scale)
    maps, out = tmp_path / "maps", tmp_path / "all.csv"
    words = ["find", str(tmp_path / "*" / "a.fits"), "--csv", str(out), "--maps", str(maps)]
    assert main(words) == 0
    assert {row["image"] for row in rows_of(out)} == {
        str(tmp_path / night / "a.fits") for night in ("one", "two")
    }
    peaks = sorted(np.nanmax(fits.getdata(path)) for path in maps.glob("*.model.fits"))
    np.testing.assert_allclose(peaks, [1.0, 2.0], atol=0.1)


def test_sources_of_a_deep_image_are_measured_in_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deep = image(tmp_path / "deep.fits")
    faint = image(tmp_path / "faint.fits", seed=2, scale=0.1)
    out = tmp_path / "faint.csv"
    words = ["find", str(faint), "--csv", str(out)]
    assert main(words) == 0
    assert len(rows_of(out)) == 2
    assert main([*words, "--detection-image", str(deep)]) == 0
    rows = rows_of(out)
    flux = sorted((float(row["f_int"]) for row in rows), reverse=True)
    np.testing.assert_allclose(flux, PLACES[:, 2] * 0.1, atol=0.04)
    small = write(tmp_path / "small.fits")
    assert main([*words, "--detection-image", str(small)]) == 1
    assert "they must be equal" in capsys.readouterr().err
    elsewhere = write(
        tmp_path / "elsewhere.fits", {"CRVAL2": 12.0}, data=np.zeros(SHAPE, np.float32)
    )
    assert main([*words, "--detection-image", str(elsewhere)]) == 1
    assert "not where those of the detection image are" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--csv", "/proc/none/a.csv"], "cannot be written"),
        (["--detection-image", "/no/such.fits"], "no such file"),
        (["--set", "extraction.conectivity=4"], "did you mean 'connectivity'"),
    ],
)
def test_mistakes_are_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    path = image(tmp_path / "a.fits")
    assert main(["find", str(path), *words]) == 1
    assert told in capsys.readouterr().err


def test_what_is_no_file_is_written_to_not_replaced(tmp_path: Path) -> None:
    """As /dev/stdout, which is a link to a pipe."""
    path, pipe, link = image(tmp_path / "a.fits"), tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert main(["find", str(path), "--csv", str(link)]) == 0
        assert pipe.is_fifo()
        assert link.is_symlink()
        assert len(os.read(reader, 1 << 16).splitlines()) == 4
    finally:
        os.close(reader)


def test_an_image_without_sources_gives_an_empty_table(tmp_path: Path) -> None:
    data = correlated_noise(SHAPE, BEAM, "natural", np.random.default_rng(1))
    path = write(tmp_path / "a.fits", data=data)
    out = {name: tmp_path / f"a.{name}" for name in ("csv", "votable", "fits", "regions")}
    assert main(["find", str(path), *(w for n, f in out.items() for w in (f"--{n}", str(f)))]) == 0
    assert len(out["csv"].read_text().splitlines()) == 1
    assert len(parse(out["votable"]).get_first_table().array) == 0
    assert len(Table.read(out["fits"])) == 0


def test_names_of_images_may_hold_any_character(tmp_path: Path) -> None:
    path = image(tmp_path / "ü <&\x01>.fits")
    out = {name: tmp_path / f"a.{name}" for name in ("csv", "votable", "fits", "regions")}
    assert main(["find", str(path), *(w for n, f in out.items() for w in (f"--{n}", str(f)))]) == 0
    name = r"ü <&\u0001>.fits"
    assert {row["image"] for row in rows_of(out["csv"])} == {name}
    assert set(parse(out["votable"]).get_first_table().array["image"]) == {name}
    assert set(Table.read(out["fits"])["image"]) == {r"\xfc <&\u0001>.fits"}


def test_flags_in_words() -> None:
    assert flag_words(0) == ""
    assert flag_words(Flag.EDGE | Flag.NEGATIVE) == "edge negative"

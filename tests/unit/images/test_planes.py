"""Cubes: which planes are images, and what each of them is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from trap_ops.config.model import ImagesConfig
from trap_ops.errors import ImageError
from trap_ops.images import reading
from trap_ops.records.images import Beam, ImageFile, Plane
from unit.images.fits_files import header, pixels

FREQ = {"CTYPE": "FREQ", "CRVAL": 140e6, "CDELT": 2e6, "CRPIX": 1.0, "CUNIT": "Hz"}
STOKES = {"CTYPE": "STOKES", "CRVAL": 1.0, "CDELT": 3.0, "CRPIX": 1.0}
ALL = {"channels": "all", "stokes": "all"}


def axes(*kinds: dict[str, Any]) -> dict[str, Any]:
    """Cards of the axes from the third on."""
    return {
        f"{key}{axis}": value
        for axis, kind in enumerate(kinds, start=3)
        for key, value in kind.items()
    }


def cube(path: Path, shape: tuple[int, ...], *kinds: dict[str, Any], **cards: Any) -> Path:
    data = pixels((*shape, 6, 8))
    fits.PrimaryHDU(data, header(axes(*kinds) | cards)).writeto(path)
    return path


def read(path: Path, **settings: Any) -> list[ImageFile]:
    return reading.read_headers(str(path), lambda _: ImagesConfig(**settings))


def plane_of(path: Path, plane: Plane, **settings: Any) -> np.ndarray[Any, Any]:
    return reading.read_image(str(path), plane, ImagesConfig(**settings)).pixels


@pytest.fixture
def four(tmp_path: Path) -> Path:
    """Three channels and two Stokes parameters (I and V)."""
    return cube(tmp_path / "four.fits", (2, 3), FREQ, STOKES)


def test_a_choice_is_explained(four: Path) -> None:
    with pytest.raises(ImageError) as raised:
        read(four)
    assert raised.value.reason == "several planes"
    assert raised.value.message == (
        "four.fits: it holds 3 channels (0 to 2: 140 MHz to 144 MHz) and 2 Stokes planes (I, V); "
        'choose by images.channels = "all" or a list like [0] and images.stokes = "all" or a list '
        'like ["I"]'
    )
    # Only what is open is asked.
    with pytest.raises(ImageError, match=r"holds 2 Stokes planes \(I, V\); choose by images.st"):
        read(four, channels="all")
    with pytest.raises(ImageError, match=r"holds 3 channels .*; choose by images.channels"):
        read(four, stokes=["V"])


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (ALL, [(1, 0), (1, 1), (1, 2), (4, 0), (4, 1), (4, 2)]),
        ({"channels": [1], "stokes": ["V"]}, [(4, 1)]),
        ({"channels": [2, 0, 2], "stokes": ["V", "I", "Q"]}, [(1, 0), (1, 2), (4, 0), (4, 2)]),
    ],
)
def test_planes_that_are_chosen(
    four: Path, settings: dict[str, Any], expected: list[tuple[int, int]]
) -> None:
    made = read(four, **settings)
    assert [(item.stokes, item.plane.index[1]) for item in made] == expected
    data = fits.getdata(four)
    for item in made:
        channel = item.plane.index[1]
        assert (item.freq_eff_hz, item.freq_bw_hz) == (140e6 + 2e6 * channel, 2e6)
        assert item.plane.label == f"channel {channel}, Stokes {'I' if item.stokes == 1 else 'V'}"
        # The place alone leads back to the pixels, whatever is chosen by then.
        np.testing.assert_array_equal(plane_of(four, item.plane), data[item.plane.index])
        assert Plane.parse(item.plane.text) == item.plane


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"channels": [3], "stokes": "all"}, "no channel 3 .*it has 3, from 0 to 2"),
        ({"channels": "all", "stokes": ["U"]}, r"no Stokes U \(images.stokes\); it has I, V"),
    ],
)
def test_planes_that_are_not_there(four: Path, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ImageError, match=said) as raised:
        read(four, **settings)
    assert raised.value.reason == "no such plane"


def test_the_order_of_axes_is_the_files_own(tmp_path: Path) -> None:
    """Stokes before frequency, and an axis between them that is none."""
    path = cube(tmp_path / "a.fits", (3, 1, 2), STOKES, {"CTYPE": "TIME"}, FREQ)
    made = read(path, channels=[2], stokes=["V"])
    assert [item.plane for item in made] == [Plane(0, (2, 0, 1), "channel 2, Stokes V")]
    assert (made[0].freq_eff_hz, made[0].stokes) == (144e6, 4)
    np.testing.assert_array_equal(plane_of(path, made[0].plane), fits.getdata(path)[2, 0, 1])


def test_where_there_is_no_choice_nothing_is_chosen(tmp_path: Path) -> None:
    """Settings for cubes do not keep out images of one plane, nor give them another name."""
    path = cube(tmp_path / "a.fits", (1, 1), FREQ, STOKES | {"CRVAL": 4.0})
    for settings in ({}, ALL, {"channels": [7], "stokes": ["I"]}):
        (made,) = read(path, **settings)
        assert (made.plane, made.stokes, made.freq_eff_hz) == (Plane(0, (0, 0), ""), 4, 140e6)


@pytest.mark.parametrize("kind", [{"CTYPE": "TIME"}, {}])
def test_other_axes_cannot_be_chosen(tmp_path: Path, kind: dict[str, Any]) -> None:
    path = cube(tmp_path / "a.fits", (3,), kind)
    with pytest.raises(ImageError, match="3 planes along its axis 3") as raised:
        read(path, **ALL)
    assert raised.value.reason == "several planes"


def test_channels_without_a_frequency_are_refused(tmp_path: Path) -> None:
    """RESTFRQ would be the same for all of them."""
    path = cube(tmp_path / "a.fits", (2,), FREQ | {"CUNIT": "furlong"})
    for channel in (0, 1):
        with pytest.raises(ImageError, match="no spectral axis that can be read") as raised:
            read(path, channels=[channel])
    assert raised.value.reason == "no frequency"


@pytest.mark.parametrize("index", [(5, 0), (0,), (0, 0, 0), (0, 3)])
def test_a_plane_that_a_file_no_longer_has(four: Path, index: tuple[int, ...]) -> None:
    with pytest.raises(ImageError, match="it has no plane") as raised:
        plane_of(four, Plane(0, index, "x"))
    assert raised.value.reason == "no such plane"


# ---- Beams of CASA.


def beam_table(rows: list[tuple[int, int, float, float, float]], units: tuple[str, ...]) -> Any:
    columns = list(zip(*rows, strict=True))
    made = fits.BinTableHDU.from_columns(
        [
            fits.Column("BMAJ", "E", unit=units[0], array=columns[2]),
            fits.Column("BMIN", "E", unit=units[1], array=columns[3]),
            fits.Column("BPA", "E", unit=units[2], array=columns[4]),
            fits.Column("CHAN", "J", array=columns[0]),
            fits.Column("POL", "J", array=columns[1]),
        ]
    )
    made.header["EXTNAME"] = "BEAMS"
    return made


ROWS = [(c, p, 30.0 + c + 10 * p, 20.0 + c, 40.0 + c) for p in (0, 1) for c in (0, 1, 2)]
ARCSEC = ("arcsec", "arcsec", "deg")


def casa(path: Path, rows: list[Any], units: tuple[str, ...] = ARCSEC, **cards: Any) -> Path:
    none = {"BMAJ": None, "BMIN": None, "BPA": None, "CASAMBM": True}
    image = fits.PrimaryHDU(pixels((2, 3, 6, 8)), header(axes(FREQ, STOKES) | none | cards))
    fits.HDUList([image, *([beam_table(rows, units)] if rows else [])]).writeto(path)
    return path


@pytest.mark.parametrize(
    ("units", "factors"),
    [
        (ARCSEC, (1.0, 1.0, 1.0)),
        (("", "", ""), (1.0, 1.0, 1.0)),
        (("deg", "arcmin", "rad"), (1 / 3600, 1 / 60, np.pi / 180)),
    ],
)
def test_each_plane_has_its_beam(
    tmp_path: Path, units: tuple[str, ...], factors: tuple[float, ...]
) -> None:
    rows = [
        (c, p, *(value * factor for value, factor in zip(beam, factors, strict=True)))
        for c, p, *beam in ROWS
    ]
    path = casa(tmp_path / "a.fits", rows, units)
    made = read(path, **ALL)
    expected = [(30.0 + c + 10 * p, 20.0 + c, 40.0 + c) for p in (0, 1) for c in (0, 1, 2)]
    for item, (bmaj, bmin, bpa) in zip(made, expected, strict=True):
        assert item.beam.bmaj_deg == pytest.approx(bmaj / 3600, rel=1e-6)
        assert item.beam.bmin_deg == pytest.approx(bmin / 3600, rel=1e-6)
        assert item.beam.bpa_deg == pytest.approx(bpa, rel=1e-6)
        image = reading.read_image(str(path), item.plane, ImagesConfig())
        assert image.beam == item.beam


@pytest.mark.parametrize(
    ("row", "reason", "said"),
    [
        (None, "no beam", "no beam for channel 1, polarisation 0"),
        ((1, 0, 0.0, 0.0, 0.0), "bad beam", "channel 1 of its table BEAMS"),
        ((1, 0, np.nan, 1.0, 0.0), "bad beam", "channel 1 of its table BEAMS"),
    ],
)
def test_a_plane_without_a_beam_is_refused(
    tmp_path: Path, row: Any, reason: str, said: str
) -> None:
    rows = [each for each in ROWS if each[:2] != (1, 0)] + ([row] if row else [])
    path = casa(tmp_path / "a.fits", rows)
    with pytest.raises(ImageError, match=said) as raised:
        read(path, channels=[1], stokes=["I"])
    assert raised.value.reason == reason
    # The others have theirs.
    assert len(read(path, channels=[0, 2], stokes="all")) == 4


def test_a_table_that_is_announced_and_away(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no BMAJ") as raised:
        read(casa(tmp_path / "a.fits", []), **ALL)
    assert raised.value.reason == "no beam"
    made = read(casa(tmp_path / "b.fits", [], BMAJ=0.02, BMIN=0.01, BPA=5.0), **ALL)
    assert {item.beam for item in made} == {Beam(0.02, 0.01, 5.0)}


def test_a_table_of_beams_that_cannot_be_read(tmp_path: Path) -> None:
    path = casa(tmp_path / "a.fits", ROWS)
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b"'BMIN    '", b"'BXXX    '"))
    with pytest.raises(ImageError, match="BEAMS cannot be read") as raised:
        read(path, **ALL)
    assert raised.value.reason == "bad beam table"
    path.write_bytes(raw[: raw.index(b"XTENSION") + 2880 + 10])
    with pytest.raises(ImageError, match="truncated") as raised:
        read(path, **ALL)
    assert raised.value.reason == "truncated"

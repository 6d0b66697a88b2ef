"""Positions in the forms in which people have them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io.votable import from_table, writeto
from astropy.table import Table

from trap_ops.commands.positions import read_positions
from trap_ops.errors import ConfigError
from trap_ops.records.runs import MonitorPosition


def read(tmp_path: Path, text: str, name: str = "positions.csv") -> list[MonitorPosition]:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return read_positions(str(path))[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ra,dec\n123.4,-20.1\n", [(123.4, -20.1, "monitor J081336.0-200600")]),
        ("name,Decl,RA\nmine,-20.1,-236.6\n", [(360.0 - 236.6, -20.1, "mine")]),
        ("\ufeffra;dec;name\r\n\r\n1;2;a, b\r\n 3 ; 4 ; c \r\n", [(1, 2, "a, b"), (3, 4, "c")]),
        ('ra,dec,flux,name\n1,2,9,"x, y"\n', [(1.0, 2.0, "x, y")]),
        ("ra\tdec\n08:13:36\t-20:06:00\n", [(123.4, -20.1, "monitor J081336.0-200600")]),
        ("ra,dec\n08 13 36.0,-20 06 00\n", [(123.4, -20.1, "monitor J081336.0-200600")]),
        ("ra,dec\n08h13m36s,-20d06m00s\n", [(123.4, -20.1, "monitor J081336.0-200600")]),
        ("ra_deg,dec_deg\n0.1,-00:30\n", [(0.1, -0.5, "monitor J000024.0-003000")]),
        ('[[1, 2], [3.5, -4, "five"]]\n', [(1, 2, "monitor J000400.0+020000"), (3.5, -4, "five")]),
    ],
)
def test_files_of_text(tmp_path: Path, text: str, expected: list[tuple[float, float, str]]) -> None:
    made = read(tmp_path, text)
    assert [(p.ra_deg, p.dec_deg, p.name) for p in made] == [
        (pytest.approx(ra, abs=1e-11), pytest.approx(dec, abs=1e-11), name)
        for ra, dec, name in expected
    ]


def test_degrees_keep_every_bit(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    ra, dec = rng.uniform(0, 360, 50).tolist(), rng.uniform(-90, 90, 50).tolist()
    lines = "".join(f"{r!r},{d!r}\n" for r, d in zip(ra, dec, strict=True))
    made = read(tmp_path, f"ra,dec\n{lines}")
    assert [(p.ra_deg, p.dec_deg) for p in made] == list(zip(ra, dec, strict=True))


def test_the_text_itself() -> None:
    made, places = read_positions('[[123.4, -20.1], ["08:13:36", "-20:06:10"]]')
    assert [p.dec_deg for p in made] == [-20.1, pytest.approx(-20.1 - 10 / 3600)]
    assert places == ["position 1", "position 2"]
    assert read_positions("[123.4, -20.1]")[0] == made[:1]


@pytest.mark.parametrize("tabledata_format", ["tabledata", "binary", "binary2"])
def test_votables_by_ucd(tmp_path: Path, tabledata_format: str) -> None:
    table = Table(
        {
            "e_alpha": [0.1, 0.2],
            "alpha": [123.4, 10.0],
            "delta": [-20.1, np.pi / 6],
            "designation": ["one", "two"],
        }
    )
    table["delta"].unit = "deg"
    made = from_table(table)
    for field, ucd in zip(
        made.get_first_table().fields,
        ["stat.error;pos.eq.ra", "pos.eq.ra;meta.main", "pos.eq.dec;meta.main", "meta.id"],
        strict=True,
    ):
        field.ucd = ucd
    writeto(made, str(tmp_path / "x.vot"), tabledata_format=tabledata_format)
    assert read_positions(str(tmp_path / "x.vot"))[0] == [
        MonitorPosition(123.4, -20.1, "one"),
        MonitorPosition(10.0, np.pi / 6, "two"),
    ]


def test_units_of_a_votable(tmp_path: Path) -> None:
    table = Table({"a": [8.0], "d": [-0.5]})
    table["a"].unit, table["d"].unit = "h", "rad"
    made = from_table(table)
    for field, ucd in zip(made.get_first_table().fields, ["POS_EQ_RA", "pos.eq.dec"], strict=True):
        field.ucd = ucd
    writeto(made, str(tmp_path / "x.vot"))
    ((position,), _) = read_positions(str(tmp_path / "x.vot"))
    assert position.ra_deg == pytest.approx(120.0)
    assert position.dec_deg == pytest.approx(np.degrees(-0.5))


def test_every_bad_line_is_named(tmp_path: Path) -> None:
    text = (
        "ra,dec,name\n1,2,good\n,5,\n3,95,high\n\n12:60:00,5,\n4,5,a\x07b\n12d30m00s,5,\nnan,1,\n"
        "6,7\n"
    )
    with pytest.raises(ConfigError) as raised:
        read(tmp_path, text)
    lines = raised.value.message.splitlines()
    assert lines[0] == "nothing is added:"
    assert [line.split(":")[0].strip() for line in lines[1:]] == [
        "line 3", "line 4", "line 6", "line 7", "line 8", "line 9",
    ]  # fmt: skip
    assert "not on the sky" in lines[2]
    assert "cannot be seen" in lines[4]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must name a column ra|there are no positions"),
        ("ra,dec\n", "there are no positions"),
        ("1,2\n", "the first line must name a column ra .* it is '1,2'"),
        ("[[1, 2], [3]]", r"position 2: '\[3.0\]'"),
        ("[[1, 2]", "are not JSON"),
        ("[[true, 2]]", "position 1"),
        ("[[1e999, 2]]", "position 1: .*not on the sky"),
        ("<VOTABLE>", "no VOTable that can be read"),
        ("<html><body>Not found</body></html>", "no VOTable that can be read"),
        ('ra,dec,name\n1,2,"' + "x" * 200_000 + '"\n', "line 2"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, text)


def test_a_votable_without_the_columns(tmp_path: Path) -> None:
    writeto(from_table(Table({"alpha": [1.0]})), str(tmp_path / "x.vot"))
    with pytest.raises(ConfigError, match=r"no column with the UCD pos.eq.ra; it has alpha"):
        read_positions(str(tmp_path / "x.vot"))


def test_a_file_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_positions(str(tmp_path / "nothing.csv"))
    (tmp_path / "x.csv").write_bytes(b"ra,dec\n\xff\xfe\n")
    with pytest.raises(ConfigError, match="neither a VOTable nor text"):
        read_positions(str(tmp_path / "x.csv"))

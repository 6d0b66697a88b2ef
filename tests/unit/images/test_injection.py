"""Metadata injection: what is read afterwards, what stays as it was, and what interrupts it."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import math
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import ROOT
from trap_ops.config.model import ImagesConfig
from trap_ops.errors import ConfigError, ImageError
from trap_ops.images import replacing
from trap_ops.images.injection import Change, inject
from trap_ops.images.parset import KEYS, read_parset
from trap_ops.images.reading import read_headers
from trap_ops.images.replacing import scratch_name
from unit.images.fits_files import header, pixels, read_header, rules_of, write

VALUES: dict[str, Any] = {
    "taustart_ts": "2021-02-03T04:05:06.5", "freq_eff": 61234567.25, "freq_bw": 195312.5,
    "tau_time": 11.0, "antenna_set": "LBA_OUTER", "subbands": 10, "ncore": 23, "nremote": 8,
    "nintl": 3, "subbandwidth": 195312.5, "bmaj": 0.012, "bmin": 0.0098765432101234, "bpa": -12.5,
    "itrf_position_x": 3826577.5, "itrf_position_y": 461022.75, "itrf_position_z": 5064892.25,
}  # fmt: skip
# SCIENCE.md 1.7.
CARDS = {
    "taustart_ts": "DATE-OBS", "freq_eff": "RESTFRQ", "freq_bw": "RESTBW", "tau_time": "TAU_TIME",
    "antenna_set": "ANTENNA", "subbands": "SUBBANDS", "ncore": "NCORE", "nremote": "NREMOTE",
    "nintl": "NINTL", "subbandwidth": "SUBBANDW", "bmaj": "BMAJ", "bmin": "BMIN", "bpa": "BPA",
    "itrf_position_x": "ITRFPOSX", "itrf_position_y": "ITRFPOSY", "itrf_position_z": "ITRFPOSZ",
}  # fmt: skip
BARE = dict.fromkeys(("BMAJ", "BMIN", "BPA", "RESTFRQ", "RESTBW", "DATE-OBS", "END_UTC"))


def plain(path: Path) -> Path:
    return write(path, BARE)


def packed(path: Path) -> Path:
    content = plain(path.with_suffix(".fits")).read_bytes()
    path = path.with_suffix(".fits.gz")
    path.write_bytes(gzip.compress(content))
    return path


def tiled(path: Path) -> Path:
    path = path.with_suffix(".fits.fz")
    noise = np.random.default_rng(1).normal(size=(24, 32)).astype(np.float32)
    hdu = fits.CompImageHDU(noise, header(BARE), compression_type="RICE_1")
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    return path


def extension(path: Path) -> Path:
    """An image between a table and another image, with checksums."""
    table = fits.BinTableHDU.from_columns([fits.Column("A", "E", array=[1.0, 2.0])])
    images = [fits.ImageHDU(pixels(), header(BARE), name=name) for name in ("SCI", "ERR")]
    fits.HDUList([fits.PrimaryHDU(), table, *images]).writeto(path, checksum=True)
    return path


def full(path: Path) -> Path:
    """A header with END as the last card of a block: new cards need another one."""
    made = header(BARE)
    made["LONG"] = "long " * 30
    made["HIERARCH ESO a b"] = 1.5
    while len(whole := fits.PrimaryHDU(pixels(), made).header.tostring(padding=False)) % 2880:
        made.add_history("filled")
    assert whole.endswith("END".ljust(80))
    fits.PrimaryHDU(pixels(), made).writeto(path)
    return path


FORMS = [plain, packed, tiled, extension, full]


def unpacked(path: Path) -> bytes:
    content = path.read_bytes()
    return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content


def hdus_of(content: bytes) -> list[tuple[fits.Header, bytes]]:
    """Header and bytes of the data of each HDU, as astropy finds them, tiles not unpacked."""
    with fits.open(io.BytesIO(content), disable_image_compression=True) as hdus:
        places = [(hdu.header.copy(), hdu.fileinfo()) for hdu in hdus]
    return [
        (head, content[place["datLoc"] : place["datLoc"] + place["datSpan"]])
        for head, place in places
    ]


@pytest.mark.parametrize("form", FORMS)
def test_what_is_injected_is_read_and_all_else_stays(form: Any, tmp_path: Path) -> None:
    path = form(tmp_path / "a.fits")
    before = hdus_of(unpacked(path))
    changes = inject(path, VALUES, rules_of)
    assert [(c.keyword, c.old, c.kept) for c in changes] == [
        (CARDS[key], None, False) for key in VALUES
    ]
    made = read_header(path)
    assert made.start.isoformat() == "2021-02-03T04:05:06.500000"
    assert (made.freq_eff_hz, made.freq_bw_hz, made.integration_s) == (61234567.25, 195312.5, 11.0)
    assert (made.beam.bmaj_deg, made.beam.bmin_deg, made.beam.bpa_deg) == (
        0.012, 0.0098765432101234, -12.5,
    )  # fmt: skip
    array = made.array
    assert (array.antenna_set, array.n_core, array.n_remote, array.n_international) == (
        "LBA_OUTER", 23, 8, 3,
    )  # fmt: skip
    assert (array.subbands, array.subband_width_hz) == (10, 195312.5)
    after = hdus_of(unpacked(path))
    assert [data for _, data in after] == [data for _, data in before]
    for number, ((old, _), (new, _)) in enumerate(zip(before, after, strict=True)):
        names = {*CARDS.values(), "CHECKSUM"} if number == made.plane.hdu else set()
        kept = [card.image for card in new.cards if card.keyword not in names]
        assert kept == [card.image for card in old.cards if card.keyword not in names]
        if names:
            assert {key: new[CARDS[key]] for key in VALUES} == VALUES
            assert all(type(new[CARDS[key]]) is type(VALUES[key]) for key in VALUES)
            assert all("injected" in new.comments[CARDS[key]] for key in VALUES)
    assert len(unpacked(path)) % 2880 == 0
    assert not scratch_name(path).exists()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with fits.open(path, checksum=True) as hdus:
            hdus.verify("exception")
            assert all(hdu.data is None or hdu.data.size for hdu in hdus)


def test_cards_that_are_there_are_kept_unless_asked_otherwise(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits", {"TAU_TIME": 5.0})
    before = path.read_bytes()
    assert inject(path, {"bmaj": 0.5}, rules_of) == [Change("BMAJ", 30 / 3600, 0.5, kept=True)]
    assert path.read_bytes() == before
    changes = inject(path, {"bmaj": 0.5, "tau_time": 7.0}, rules_of, over=True, dry_run=True)
    assert [change.kept for change in changes] == [False, False]
    assert path.read_bytes() == before
    inject(path, {"bmaj": 0.5, "tau_time": 7.0}, rules_of, over=True)
    old, new = (
        list(fits.Header.fromstring(c[:2880].decode())) for c in (before, path.read_bytes())
    )
    assert new == old
    made = read_header(path)
    assert (made.beam.bmaj_deg, made.integration_s) == (0.5, 7.0)


def test_a_card_that_is_there_in_another_form_is_replaced_whole(tmp_path: Path) -> None:
    """Twice, and as a long text with its continuation."""
    path = write(tmp_path / "a.fits", {"ANTENNA": "x" * 150})
    content = path.read_bytes()
    tau = b"TAU_TIME=                  1.0".ljust(80)
    place = content.index(b"BMAJ    ")
    assert content[2880 - 240 : 2880].strip(b" ") == b""
    twice = content[:place] + tau + tau + content[place : 2880 - 160] + content[2880:]
    path.write_bytes(twice)
    inject(path, {"antenna_set": "HBA", "tau_time": 9.0}, rules_of, over=True)
    cards = [path.read_bytes()[i : i + 80] for i in range(0, 2880, 80)]
    assert not any(card.startswith(b"CONTINUE") for card in cards)
    assert sum(card.startswith(b"TAU_TIME") for card in cards) == 1
    made = read_header(path)
    assert (made.array.antenna_set, made.integration_s) == ("HBA", 9.0)


def test_the_hdu_that_the_settings_choose_is_changed(tmp_path: Path) -> None:
    path = extension(tmp_path / "a.fits")

    def of_err(_: str) -> ImagesConfig:
        return ImagesConfig(hdu="ERR")

    inject(path, VALUES, of_err)
    assert read_headers(str(path), of_err)[0].beam.bmaj_deg == 0.012
    with pytest.raises(ImageError, match="no frequency"):
        read_header(path)


def test_a_checksum_that_did_not_fit_is_not_made_to_fit(tmp_path: Path) -> None:
    path = extension(tmp_path / "a.fits")
    with fits.open(path) as hdus:
        place = hdus["SCI"].fileinfo()["datLoc"]
    content = bytearray(path.read_bytes())
    content[place + 10] ^= 1
    path.write_bytes(content)
    with pytest.raises(ImageError, match="CHECKSUM does not fit"):
        inject(path, VALUES, rules_of)
    assert path.read_bytes() == content


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    frequency=st.floats(1e3, 1e15),
    tau=st.floats(0.0, 1e10),
    sides=st.tuples(st.floats(1e-10, 180.0), st.floats(1e-10, 180.0)),
    angle=st.floats(-360.0, 360.0),
    antennas=st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=64),
    start=st.datetimes(),
)
def test_any_value_is_read_as_it_was_given(
    tmp_path: Path, frequency: float, tau: float, sides: tuple[float, float], angle: float,
    antennas: str, start: Any,
) -> None:  # fmt: skip
    """By way of a parset; what the parset refuses is refused before the file is touched."""
    path = tmp_path / "any.fits"
    if not path.exists():
        write(path, BARE | {"RESTBW": 1.0})
    text = (
        f"[inject]\nfreq_eff = {frequency!r}\ntau_time = {tau!r}\nbmaj = {max(sides)!r}\n"
        f"bmin = {min(sides)!r}\nbpa = {angle!r}\ntaustart_ts = {start.isoformat()}\n"
    )
    if not 1900 <= start.year <= 2999:
        with pytest.raises(ConfigError, match="of the years"):
            read_parset(text, "p")
        return
    values = read_parset(text, "p")
    # Those at the ends are not a part of FITS's texts, and a card has no room for many quotes.
    if antennas.strip() == antennas and antennas.count("'") < 5:
        values["antenna_set"] = antennas
    inject(path, values, rules_of, over=True)
    made = read_header(path)
    # A number has 20 columns in a card: with an exponent, room for 15 digits.
    exact = pytest.approx([frequency, tau, max(sides), min(sides)], rel=1e-14, abs=0.0)
    assert [made.freq_eff_hz, made.integration_s, made.beam.bmaj_deg, made.beam.bmin_deg] == exact
    assert made.start == start
    # A beam turned by half a turn is the same.
    assert math.remainder(made.beam.bpa_deg - angle, 180.0) == pytest.approx(0.0, abs=1e-10)
    assert abs(made.beam.bpa_deg) <= 180.0
    if "antenna_set" in values:
        assert made.array.antenna_set == antennas


# ---- Never half a file.


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_link_stays_and_what_it_leads_to_keeps_its_permissions(tmp_path: Path) -> None:
    path = plain(tmp_path / "a.fits")
    path.chmod(0o640)
    link = tmp_path / "link.fits"
    link.symlink_to(path)
    inject(link.resolve(), VALUES, rules_of)
    assert link.is_symlink()
    assert read_header(path).beam.bmaj_deg == 0.012
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("what", ["write", "fsync", "rename"])
def test_a_disk_that_is_full_leaves_the_old_file(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = plain(tmp_path / "a.fits")
    before = path.read_bytes()

    def full_disk(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if what == "write":
        monkeypatch.setattr("trap_ops.images.injection.shutil.copyfileobj", full_disk)
    elif what == "fsync":
        monkeypatch.setattr(replacing.os, "fsync", full_disk)
    else:
        monkeypatch.setattr(Path, "replace", full_disk)
    with pytest.raises(ImageError, match="No space left on device; the file is as it was"):
        inject(path, VALUES, rules_of)
    assert path.read_bytes() == before
    assert names_in(tmp_path) == ["a.fits"]


KILLED = """
import os, sys
from pathlib import Path
from trap_ops.config.model import ImagesConfig
from trap_ops.images import replacing
from trap_ops.images.injection import inject
os.fsync = lambda _: os.kill(os.getpid(), 9)
inject(Path(sys.argv[1]), {"bmaj": 0.5, "bmin": 0.25, "bpa": 3.0}, lambda _: ImagesConfig())
"""


def test_what_a_killed_process_leaves_is_removed_by_the_next(tmp_path: Path) -> None:
    path = plain(tmp_path / "a.fits")
    before = path.read_bytes()
    made = subprocess.run(
        [sys.executable, "-c", KILLED, str(path)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "plugins")},
        capture_output=True,
        check=False,
    )
    assert made.returncode == -9, made.stderr
    assert path.read_bytes() == before
    assert names_in(tmp_path) == [".a.fits.trap-inject", "a.fits"]
    inject(path, VALUES, rules_of)
    assert names_in(tmp_path) == ["a.fits"]
    assert read_header(path).beam.bmaj_deg == 0.012


def test_a_file_that_another_process_changes_is_left_to_it(tmp_path: Path) -> None:
    import fcntl

    path = plain(tmp_path / "a.fits")
    before = path.read_bytes()
    with path.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(ImageError, match="another process is changing it"):
            inject(path, VALUES, rules_of)
    assert path.read_bytes() == before


def test_a_file_that_changes_while_it_is_read_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = plain(tmp_path / "a.fits")
    real = replacing._keep_status

    def meanwhile(old: int, new: int) -> None:
        with path.open("ab") as file:
            file.write(bytes(2880))
        real(old, new)

    monkeypatch.setattr(replacing, "_keep_status", meanwhile)
    with pytest.raises(ImageError, match="changed while it was read"):
        inject(path, VALUES, rules_of)
    assert names_in(tmp_path) == ["a.fits"]


def test_a_read_only_file_and_directory_are_left_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = plain(tmp_path / "a.fits")
    before = path.read_bytes()
    real = os.open

    def read_only(name: Any, flags: int, *rest: Any, **more: Any) -> int:
        if flags & os.O_CREAT:  # The tests may run as root, who may do anything.
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(name, flags, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(replacing.os, "open", read_only)
        with pytest.raises(ImageError, match="Permission denied; the file is as it was"):
            inject(path, VALUES, rules_of)
    with monkeypatch.context() as patch:
        patch.setattr(replacing.os, "access", lambda *_: False)
        with pytest.raises(ImageError, match="read-only for you"):
            inject(path, VALUES, rules_of)
    assert path.read_bytes() == before


# ---- The parset.


def test_every_key_has_its_card() -> None:
    assert {key: kind.keyword for key, kind in KEYS.items()} == CARDS


def test_a_parset_as_classic_users_have_it() -> None:
    text = (
        "; what the correlator forgot\n[inject]\ntaustart_ts = '2012-01-01T01:01:01'\n"
        "freq_eff = 60e6 ; Hz\nNCORE = 23\n"
    )
    assert read_parset(text, "p") == {
        "taustart_ts": "2012-01-01T01:01:01",
        "freq_eff": 60e6,
        "ncore": 23,
    }


def test_the_document_has_every_key_and_an_example_that_is_read() -> None:
    document = (ROOT / "docs" / "inspect.md").read_text()
    example = document.split("```ini\n")[1].split("```")[0]
    assert len(read_parset(example, "p")) == 3
    table = document.split("```ini")[1].split("| key |")[1]
    found = {}
    for line in table.splitlines():
        if line.startswith("| `"):
            keys, cards = (re.findall(r"`([^`]+)`", cell) for cell in line.split("|")[1:3])
            found |= dict(zip(keys, cards, strict=True))
    assert found == CARDS


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[injct]\nbmaj = 1\n", "no section [inject] (did you mean"),
        ("bmaj = 1\n", "is no parset"),
        ("[inject]\n", "is empty"),
        ("[inject]\nbmaj = 1\nbmaj = 2\n", "already exists"),
        ("[inject]\nbmajor = 1\n", "bmajor is no key (did you mean 'bmaj'?)"),
        ("[inject]\nbmaj =\n", "bmaj has no value"),
        ("[inject]\nbmaj = nan\n", "bmaj = 'nan': must be a number from"),
        ("[inject]\nncore = 1.5\n", "must be a whole number"),
        ("[inject]\ntaustart_ts = yesterday\n", "must be a date"),
        ("[inject]\nantenna_set = " + "x" * 65 + "\n", "at most 64 plain"),
    ],
)
def test_a_wrong_parset_is_refused_in_words(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read_parset(text, "night.ini")
    assert "night.ini" in raised.value.message
    assert said in raised.value.message


def test_all_problems_of_a_parset_are_told_together() -> None:
    with pytest.raises(ConfigError) as raised:
        read_parset("[inject]\nbmajor = 1\nbmin = x\nfreq_bw = -1\nbpa = 3\n", "p")
    assert len(raised.value.details["problems"]) == 3


# ---- CASA tables.


def lofar_table(directory: Path, rows: int = 1) -> Path:
    tables = pytest.importorskip("casacore.tables", reason="python-casacore is not installed")
    path = directory / "a.image"
    main = tables.maketabdesc([tables.makearrcoldesc("map", 0.0)])
    tables.table(str(path), main, nrow=1, ack=False).close()
    columns = [tables.makescacoldesc(name, 0.0) for name in ("START", "END")]
    with tables.table(
        str(path / "LOFAR_ORIGIN"), tables.maketabdesc(columns), nrow=rows, ack=False
    ) as origin:
        for row in range(rows):
            origin.putcell("START", row, 4.8e9 + 100.0 * row)
            origin.putcell("END", row, 4.8e9 + 100.0 * row + 10.0)
        for name in ("START", "END"):
            origin.putcolkeyword(name, "QuantumUnits", ["s"])
    return path


def ends_of(path: Path) -> list[float]:
    from casacore.tables import table

    with table(str(path / "LOFAR_ORIGIN"), ack=False) as origin:
        return list(origin.getcol("END"))


def test_the_integration_time_of_a_table_of_lofar(tmp_path: Path) -> None:
    path = lofar_table(tmp_path, rows=2)
    files = {p: p.read_bytes() for p in path.rglob("*") if p.is_file() and p.name != "table.lock"}
    inject(path, {"tau_time": 44.5}, rules_of, dry_run=True)
    assert ends_of(path) == [4.8e9 + 10.0, 4.8e9 + 110.0]
    (change,) = inject(path, {"tau_time": 44.5}, rules_of)
    assert (change.old, change.new) == (4.8e9 + 10.0, 4.8e9 + 44.5)
    assert ends_of(path) == [4.8e9 + 44.5, 4.8e9 + 110.0]
    changed = [p.name for p, content in files.items() if p.read_bytes() != content]
    assert changed == ["table.f0"]
    assert not list(path.rglob("*.trap-inject"))


def test_nothing_else_is_injected_into_a_table(tmp_path: Path) -> None:
    path = lofar_table(tmp_path)
    with pytest.raises(ImageError, match="only tau_time can be injected, and the parset has bmaj"):
        inject(path, {"tau_time": 44.5, "bmaj": 1.0}, rules_of)
    assert ends_of(path) == [4.8e9 + 10.0]
    outside = tmp_path / "outside"
    (path / "LOFAR_ORIGIN").rename(outside)
    (path / "LOFAR_ORIGIN").symlink_to(outside)
    before = hashlib.sha256((outside / "table.f0").read_bytes()).hexdigest()
    with pytest.raises(ImageError, match="is a link"):
        inject(path, {"tau_time": 44.5}, rules_of)
    (path / "LOFAR_ORIGIN").unlink()
    with pytest.raises(ImageError, match="no table LOFAR_ORIGIN"):
        inject(path, {"tau_time": 44.5}, rules_of)
    assert hashlib.sha256((outside / "table.f0").read_bytes()).hexdigest() == before

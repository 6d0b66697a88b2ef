"""CASA image tables, compared with the FITS files that casacore makes of them."""

from __future__ import annotations

import faulthandler
import os
import shutil
import signal
import sys
import time
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trap_ops.config.model import ImagesConfig
from trap_ops.errors import ImageError
from trap_ops.images import casa, reading
from trap_ops.images.casa_lofar import union_length
from trap_ops.images.discovery import find_files
from trap_ops.images.injection import inject
from trap_ops.records.images import ImageFile, Plane
from unit.images.casa_tables import PERMUTED, make_table, planes

# A matter of seconds: not part of make test-fast.
pytestmark = pytest.mark.slow

ALL = ImagesConfig(channels="all", stokes="all")
# What two files of one image need not share.
OF_FILE = {"path", "file_name", "file_size", "file_mtime_ns", "header_sha256"}
TURNED = {"PC1_1": 0.8, "PC1_2": 0.6, "PC2_1": -0.6, "PC2_2": 0.8}


def headers(path: Path, rules: ImagesConfig = ALL) -> list[ImageFile]:
    return reading.read_headers(str(path), lambda _: rules)


def reason_of(path: Path) -> tuple[str, str]:
    with pytest.raises(ImageError) as raised:
        headers(path)
    assert str(raised.value).startswith(path.name)
    return raised.value.reason, str(raised.value)


def flat(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [item for part in value.values() for item in flat(part)]
    if isinstance(value, (list, tuple)):
        return [item for part in value for item in flat(part)]
    return [value]


@pytest.mark.parametrize(
    ("changes", "shape"),
    [
        pytest.param({}, (1, 1), id="SIN"),
        pytest.param({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", **TURNED}, (1, 1), id="TAN"),
        pytest.param({"CTYPE1": "RA---ZEA", "CTYPE2": "DEC--ZEA", **TURNED}, (1, 1), id="ZEA"),
        pytest.param({"CTYPE1": "RA---NCP", "CTYPE2": "DEC--NCP"}, (1, 1), id="NCP"),
        pytest.param({"CTYPE1": "RA---CAR", "CTYPE2": "DEC--CAR", "CRVAL2": 0.0}, (1, 1), id="CAR"),
        pytest.param({"PV2_1": 0.01, "PV2_2": 0.02}, (1, 1), id="slant"),
        pytest.param({"CRVAL2": 89.99}, (1, 1), id="pole"),
        pytest.param({"CRVAL1": 0.01}, (1, 1), id="0h"),
        pytest.param(
            {"CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN", "RADESYS": None, "EQUINOX": None},
            (1, 1),
            id="galactic",
        ),
        pytest.param({"RADESYS": "FK4", "EQUINOX": 1950.0}, (1, 1), id="FK4"),
        pytest.param({"RADESYS": "ICRS", "EQUINOX": None}, (1, 1), id="ICRS"),
        pytest.param({"BUNIT": "mJy/beam"}, (1, 1), id="mJy"),
        pytest.param({}, (3, 1), id="channels"),
        pytest.param({}, (2, 4), id="channels and Stokes"),
        pytest.param(PERMUTED, (4, 2), id="permuted"),
        pytest.param({"CDELT4": -1e6}, (2, 1), id="falling frequency"),
        pytest.param({"CRVAL3": -1.0, "CDELT3": -1.0}, (1, 2), id="RR LL"),
    ],
)
def test_a_table_says_what_its_fits_file_says(
    tmp_path: Path, changes: dict[str, Any], shape: tuple[int, int]
) -> None:
    table, file = make_table(tmp_path, changes, planes(*shape))
    made, truth = headers(table), headers(file)
    assert len(made) == len(truth) == shape[0] * shape[1]
    for one, other in zip(made, truth, strict=True):
        mine, others = asdict(one), asdict(other)
        for key in mine.keys() - OF_FILE:
            for a, b in zip(flat(mine[key]), flat(others[key]), strict=True):
                near = isinstance(b, float)
                assert a == (pytest.approx(b, 1e-10, 1e-10, nan_ok=True) if near else b), key
        read, right = (reading.read_image(x.path, x.plane, ALL) for x in (one, other))
        np.testing.assert_array_equal(read.pixels, right.pixels)
        corners = [[0, 0], [29, 0], [0, 19], [29, 19]]
        sky, true_sky = (image.wcs.wcs_pix2world(corners, 0) for image in (read, right))
        np.testing.assert_allclose(sky, true_sky, rtol=0, atol=1e-10)
    assert np.isnan(reading.read_image(made[0].path, made[0].plane, ALL).pixels[3, 4])


def test_an_image_of_two_axes(tmp_path: Path) -> None:
    away = {f"{key}{n}": None for key in ("CTYPE", "CRVAL", "CRPIX", "CDELT") for n in (3, 4)}
    table, _ = make_table(tmp_path, {**away, "CUNIT4": None, "RESTFRQ": None}, planes()[0, 0])
    assert reason_of(table)[0] == "no frequency"
    rules = ImagesConfig.model_validate({"assume": [{"files": "*", "freq_eff_hz": 1.5e8}]})
    (made,) = headers(table, rules)
    assert made.freq_eff_hz == 1.5e8
    image = reading.read_image(str(table), made.plane, rules)
    np.testing.assert_array_equal(image.pixels, planes()[0, 0])


def test_each_plane_has_its_own_beam(tmp_path: Path) -> None:
    beams = [(90.0, 72.0, 1.0), (91.0, 73.0, 2.0), (92.0, 74.0, 3.0)]
    changes = {"BMAJ": None, "BMIN": None, "BPA": None}
    table, file = make_table(tmp_path, changes, planes(3), beams)
    made = headers(table)
    assert [round(image.beam.bmaj_deg * 3600, 6) for image in made] == [90.0, 91.0, 92.0]
    for one, other in zip(made, headers(file), strict=True):
        assert one.beam.bmin_deg == pytest.approx(other.beam.bmin_deg, rel=1e-6)
        assert one.beam.bpa_deg == pytest.approx(other.beam.bpa_deg, abs=1e-6)
    assert reading.read_image(str(table), made[2].plane, ALL).beam == made[2].beam


def test_several_planes_must_be_chosen(tmp_path: Path) -> None:
    table, _ = make_table(tmp_path, {}, planes(3))
    with pytest.raises(ImageError, match="3 channels"):
        headers(table, ImagesConfig())
    (made,) = headers(table, ImagesConfig(channels=(1,)))
    np.testing.assert_array_equal(
        reading.read_image(str(table), made.plane, ALL).pixels, planes(3)[1, 0]
    )


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_table(tmp_path_factory.mktemp("casa"))[0]


@pytest.fixture
def copy(table: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(table, tmp_path / "b.image"))


def edited(path: Path, **keywords: Any) -> None:
    """Put other values into the keyword ``coords`` of a table; ``None`` takes one out."""
    from casacore.tables import table as open_table

    with open_table(str(path), readonly=False, ack=False) as opened:
        coords = opened.getkeyword("coords")
        for name, value in keywords.items():
            coords.pop(name, None)
            if value is not None:
                coords[name] = value
        opened.putkeyword("coords", coords)


def test_times_are_of_their_scale_and_not_of_the_machine(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = {"unit": "d", "value": 56023.0 + 13_320.0 / 86400.0}
    for scale, start in (
        ("UTC", datetime(2012, 4, 6, 3, 42)),
        ("TAI", datetime(2012, 4, 6, 3, 41, 26)),
    ):
        edited(copy, obsdate={"type": "epoch", "refer": scale, "m0": day})
        (made,) = headers(copy)
        assert abs((made.start - start).total_seconds()) < 2e-6
    monkeypatch.setenv("TZ", "Pacific/Apia")
    time.tzset()
    try:
        assert headers(copy)[0].start == made.start
    finally:
        monkeypatch.undo()
        time.tzset()
    edited(copy, obsdate=None)
    assert reason_of(copy)[0] == "no start time"


def test_frequencies_in_a_table(copy: Path) -> None:
    def tabular(worlds: list[float]) -> dict[str, Any]:
        from casacore.tables import table as open_table

        with open_table(str(copy), ack=False) as opened:
            spectral = opened.getkeyword("coords")["spectral2"]
        spectral.pop("wcs", None)
        pixels = np.arange(len(worlds), dtype=float)
        spectral["tabular"] = {"pixelvalues": pixels, "worldvalues": np.array(worlds)}
        return {"spectral2": spectral}

    edited(copy, **tabular([1.5e8]))
    assert headers(copy)[0].freq_eff_hz == 1.5e8
    edited(copy, **tabular([1.5e8, 1.51e8, 1.52e8]))
    assert (headers(copy)[0].freq_eff_hz, headers(copy)[0].freq_bw_hz) == (1.5e8, 1e6)
    edited(copy, **tabular([1.5e8, 1.51e8, 1.53e8]))
    assert "not evenly spaced" in reason_of(copy)[1]


def test_what_is_no_image_is_refused_for_true_reasons(copy: Path, tmp_path: Path) -> None:
    from casacore.tables import makearrcoldesc, makescacoldesc, maketabdesc
    from casacore.tables import table as open_table

    description = maketabdesc([makescacoldesc("TIME", 0.0), makearrcoldesc("UVW", 0.0)])
    with open_table(str(tmp_path / "night.ms"), description, nrow=3, ack=False):
        pass
    reason, message = reason_of(tmp_path / "night.ms")
    assert (reason, "no image" in message, "TIME, UVW" in message) == ("not an image", True, True)

    from casacore.images import image

    image(str(tmp_path / "complex.image"), values=np.ones((4, 4), np.complex64))
    assert "complex numbers" in reason_of(tmp_path / "complex.image")[1]

    edited(copy, direction0=None)
    assert reason_of(copy)[0] == "no coordinates"


@pytest.mark.parametrize("part", ["table.dat", "table.f0", "table.f0_TSM0", "mask0/table.f0"])
@pytest.mark.parametrize("fault", ["missing", "empty", "short"])
def test_damaged_tables(copy: Path, part: str, fault: str) -> None:
    file = copy / part
    data = file.read_bytes()
    file.unlink()
    if fault != "missing":
        file.write_bytes(data[: len(data) // 2 if fault == "short" else 0])
    with pytest.raises(ImageError) as raised:  # noqa: PT012 - one of both must notice
        (made,) = headers(copy)
        reading.read_image(str(copy), made.plane, ALL)
    no_table = part == "table.dat" and fault == "missing"
    expected = {"unreadable file"} if no_table else {"damaged table", "mask"}
    assert raised.value.reason in expected
    assert str(copy.parent) not in str(raised.value)


def test_pipes_and_links_in_a_table_are_refused(copy: Path) -> None:
    (copy / "table.f0").unlink()
    os.mkfifo(copy / "table.f0")
    assert "a pipe" in reason_of(copy)[1]
    (copy / "table.f0").unlink()
    (copy / "table.f0").symlink_to("/etc/passwd")
    assert "table.f0 is a link" in reason_of(copy)[1]


def test_a_sub_table_elsewhere_is_refused(copy: Path, tmp_path: Path) -> None:
    """casacore would follow it out of the data roots."""
    (tmp_path / "elsewhere").mkdir()
    (copy / "LOFAR_ORIGIN").symlink_to(tmp_path / "elsewhere")
    reason, message = reason_of(copy)
    assert reason == "not a file"
    assert "LOFAR_ORIGIN is a link" in message


def test_tables_that_refer_to_others_are_refused_before_they_are_opened(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """casacore would follow them out of the data roots, for reading and for writing."""
    from casacore.tables import table as open_table

    inside = tmp_path / "inside"
    inside.mkdir()
    reference = inside / "reference.image"
    with open_table(str(copy), ack=False) as table:
        table.query("rowid()==0", name=str(reference)).close()
    chained = inside / "chained.image"
    chained.mkdir()
    kinds = (reference / "table.dat").read_bytes()
    name = b"\x00\x00\x00\x08RefTable"
    assert kinds.count(name) == 2
    (chained / "table.dat").write_bytes(kinds.replace(name, b"\x00\x00\x00\x0bConcatTable"))
    forwarded = shutil.copytree(copy, inside / "forwarded.image")
    described = (forwarded / "table.dat").read_bytes()
    manager = b"TiledCellStMan"
    assert manager in described
    (forwarded / "table.dat").write_bytes(described.replace(manager, b"ForwardColumnX"))
    holding = shutil.copytree(copy, inside / "holding.image")
    shutil.copytree(reference, holding / "LOFAR_ORIGIN")

    def opened(*_: object, **__: object) -> None:
        msg = "casacore was asked"
        raise AssertionError(msg)

    monkeypatch.setattr("casacore.tables.table", opened)
    for path, words in (
        (reference, "a selection from another table"),
        (chained, "a chain of other tables"),
        (forwarded, "a column kept in another table (ForwardColumnX)"),
        (holding, "its part LOFAR_ORIGIN: it is a selection from another table"),
    ):
        for call in (
            lambda path=path: reading.read_headers(str(path), lambda _: ImagesConfig()),
            lambda path=path: reading.read_image(str(path), Plane(), ImagesConfig()),
            lambda path=path: inject(path, {"tau_time": 60.0}, lambda _: ImagesConfig()),
        ):
            with pytest.raises(ImageError) as raised:
                call()
            assert raised.value.reason == "refers elsewhere"
            assert raised.value.message.startswith(f"{path.name}: ")
            assert words in raised.value.message


def listing(path: Path) -> list[tuple[str, int, int, bytes]]:
    return [
        (str(p), p.stat().st_mode, p.stat().st_mtime_ns, p.read_bytes() if p.is_file() else b"")
        for p in sorted([path, *path.rglob("*")])
    ]


def test_reading_changes_nothing(copy: Path) -> None:
    for path in [*copy.rglob("*"), copy]:
        path.chmod(path.stat().st_mode & ~0o222)
    (copy / "table.lock").chmod(0o644)
    before = listing(copy)
    (made,) = headers(copy)
    reading.read_image_and_checksum(str(copy), made.plane, ALL)
    assert listing(copy) == before


def test_a_change_of_any_file_is_noticed_but_not_of_the_lock(copy: Path) -> None:
    (made,) = headers(copy)
    size, mtime = made.file_size, made.file_mtime_ns
    assert size == sum(
        p.stat().st_size for p in copy.rglob("*") if p.is_file() and p.name != "table.lock"
    )
    before = reading.content_sha256(str(copy))
    (copy / "table.lock").write_bytes(b"another process")
    reading.check_unchanged(str(copy), size, mtime, before)
    assert reading.content_sha256(str(copy)) == before
    later = time.time_ns() + 10**9
    os.utime(copy / "table.f0", ns=(later, later))
    reading.check_unchanged(str(copy), size, mtime, before)
    data = bytearray((copy / "table.f0_TSM0").read_bytes())
    data[40] ^= 1
    (copy / "table.f0_TSM0").write_bytes(data)
    with pytest.raises(ImageError, match="has changed"):
        reading.check_unchanged(str(copy), size, mtime, before)
    # A name is content too.
    (copy / "logtable").rename(copy / "logbook")
    assert reading.content_sha256(str(copy)) not in {before, ""}


def test_a_table_is_one_image(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "c.fits").touch()
    (tmp_path / "no-table").mkdir()
    names = [str(copy), str(tmp_path / "c.fits")]
    for inputs, expected in (
        ([str(copy)], names[:1]),
        ([str(tmp_path)], names),
        ([str(tmp_path / "*")], names),
        ([str(tmp_path / "*.image")], names[:1]),
    ):
        assert find_files(inputs, (".fits",), ()).paths == tuple(expected)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "way-out.image").symlink_to(copy)
    found = find_files([str(tmp_path / "c.fits"), str(tmp_path / "sub")], (".fits",), [])
    assert str(copy) in found.paths
    with pytest.raises(Exception, match="outside the data roots"):
        find_files([str(tmp_path / "sub")], (".fits",), [str(tmp_path / "sub")])


def test_without_casacore_the_message_says_how_to_get_it(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "casacore.tables", None)
    reason, message = reason_of(copy)
    assert reason == "casacore missing"
    assert "pip install -r requirements-casa.txt" in message


def test_a_header_pass_reads_no_pixels(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(casa, "_pixels", lambda *_: pytest.fail("pixels were read"))
    headers(copy)


def lofar_tables(path: Path) -> None:
    """Add what LOFAR's imager writes: two sub-bands, overlapping in time, five stations."""
    from casacore.tables import makearrcoldesc, makescacoldesc, maketabdesc
    from casacore.tables import table as open_table

    def sub_table(name: str, columns: dict[str, Any], units: dict[str, str]) -> None:
        descriptions = [
            makescacoldesc(key, values[0])
            if np.ndim(values) == 1
            else makearrcoldesc(key, 0, ndim=np.ndim(values) - 1)
            for key, values in columns.items()
        ]
        rows = len(next(iter(columns.values())))
        made = open_table(str(path / name), maketabdesc(descriptions), nrow=rows, ack=False)
        with made:
            for key, values in columns.items():
                made.putcol(key, values)
            for key, unit in units.items():
                made.putcolkeyword(key, "QuantumUnits", [unit])

    start = 56023.0 * 86400.0
    visibilities = np.array([[[5, 5], [0, 1], [0, 0], [2, 2], [3, 3], [1, 0]]])
    sub_table(
        "LOFAR_OBSERVATION",
        {
            "OBSERVATION_START": np.array([start + 60.0]),
            "ANTENNA_SET": ["LBA_INNER"],
            "CLOCK_FREQUENCY": np.array([200.0]),
            "NVIS_USED": visibilities,
        },
        {"CLOCK_FREQUENCY": "MHz"},
    )
    sub_table(
        "LOFAR_ORIGIN",
        {
            "START": np.array([start + 60.0, start + 90.0, start + 300.0]),
            "END": np.array([start + 120.0, start + 150.0, start + 310.0]),
            "NUM_CHAN": [64, 64, 64],
        },
        {},
    )
    names = ["CS001LBA", "CS002LBA", "CS003LBA", "RS106LBA", "DE601LBA", "SE607LBA"]
    sub_table("LOFAR_ANTENNA", {"NAME": names}, {})
    with open_table(str(path), readonly=False, ack=False) as opened:
        groups = ("LOFAR_OBSERVATION", "LOFAR_ORIGIN", "LOFAR_ANTENNA")
        opened.putkeyword("ATTRGROUPS", {name: f"Table: {path / name}" for name in groups})


def test_lofar_keeps_its_array_in_sub_tables(copy: Path) -> None:
    lofar_tables(copy)
    (made,) = headers(copy)
    assert made.start == datetime(2012, 4, 6, 0, 1)
    assert made.integration_s == 100.0
    assert asdict(made.array) == {
        "antenna_set": "LBA_INNER",
        "n_core": 2,
        "n_remote": 1,
        "n_international": 2,
        "subbands": 64,
        "subband_width_hz": 200e6 / 1024,
    }


def test_the_time_on_the_sky_counts_overlaps_once() -> None:
    starts, ends = np.array([10.0, 0.0, 2.0, 30.0]), np.array([12.0, 5.0, 3.0, 31.5])
    assert union_length(starts, ends) == 5.0 + 2.0 + 1.5
    assert union_length(np.array([1.0]), np.array([0.0])) == 0.0


def test_a_plane_that_is_not_there(table: Path) -> None:
    with pytest.raises(ImageError, match="no plane"):
        reading.read_image(str(table), Plane(0, (3, 0)), ALL)


def test_a_table_that_casacore_aborts_on_ends_no_run(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def aborts(*_: object) -> None:
        faulthandler.disable()  # pytest's: this abort is meant.
        os.abort()

    monkeypatch.setattr(casa, "_pieces", aborts)
    reason, message = reason_of(copy)
    assert (reason, "SIGABRT" in message) == ("damaged table", True)


def test_a_reader_that_is_stopped_does_not_make_a_table_damaged(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(casa, "_pieces", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(ImageError, match=r"stopped from outside \(SIGKILL\)") as raised:
        reading.read_headers(str(copy), lambda _: ImagesConfig())
    assert (raised.value.reason, raised.value.passing) == ("unreadable file", True)


def test_a_table_that_never_ends(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(casa, "_TRIAL_S", 1)
    monkeypatch.setattr(casa, "_pieces", lambda *_: time.sleep(20))
    assert reason_of(copy)[0] == "unreadable file"
    assert "could not be read within 1 s" in reason_of(copy)[1]


def test_sizes_that_cannot_be_take_no_memory(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(casa, "_shape", lambda *_: [1, 1, 100_000, 100_000])
    assert reason_of(copy)[0] == "truncated"
    with pytest.raises(ImageError, match="announces 10000000000 pixels"):
        reading.read_image(str(copy), Plane(0, (0, 0)), ALL)

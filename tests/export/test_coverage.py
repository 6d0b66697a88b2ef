"""Coverage as files, read back by mocpy and astropy; positions against the images themselves."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy_healpix import HEALPix, healpix_to_lonlat
from mocpy import MOC

from conftest import new_store
from export.covered_images import BANDS, REJECTED, START, Covered, save
from trap_ops.errors import ConfigError, StoreError
from trap_ops.export.coverage import write_coverage
from trap_ops.export.coverage_images import Wanted, mjd
from trap_ops.export.position_coverage import PositionAnswer, look_at_positions
from trap_ops.records.runs import MonitorPosition
from trap_ops.store.database import Store

# Two fields that overlap by half, two bands, two Stokes, a hole, one image that is not used.
NODES = ((1.0, 2.0, 3.0), (2.0, 4.0, 2.0))
NIGHT = (
    Covered("a.fits", 0.0, rms=NODES),
    Covered("b.fits", 1.0, ra=123.25, rms=((3.0, 3.0, 4.0), (1.0, 1.0, 1.0)), seconds=300.0),
    Covered("c.fits", 2.0, rms=((2.0,),), seconds=60.0),
    Covered("d.fits", 3.0, band=1, hole=(slice(10, 20), slice(15, 25))),
    Covered("v.fits", 4.0, stokes=4, rms=((0.5,),)),
    Covered("bad.fits", 5.0, **REJECTED),
)
# In the middle of the first field.
MIDDLE = MonitorPosition(123.0, 35.0, "middle")


def truth(item: Covered, cells: np.ndarray, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Whether an image uses the pixels at cells, and its rms there, by astropy and by hand."""
    lon, lat = healpix_to_lonlat(cells, 2**order, order="nested")
    x, y = item.wcs.wcs_world2pix(lon.deg, lat.deg, 0)
    column, row = np.floor(x + 0.5).astype(int), np.floor(y + 0.5).astype(int)
    inside = (column >= 0) & (column < 40) & (row >= 0) & (row < 30)
    used = inside & ~item.mask[np.where(inside, row, 0), np.where(inside, column, 0)]
    nodes = np.array(item.rms) / 1e3
    gx = nodes.shape[1]
    # Nodes every 12 columns from 5 and every 9 rows from 4.
    along_x = [np.interp(x, 5.0 + 12.0 * np.arange(gx), line) for line in nodes]
    first, last = along_x[0], along_x[-1]
    fraction = np.clip((y - 4.0) / 9.0, 0.0, 1.0)
    return used, first + (last - first) * fraction


@pytest.fixture
def here(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A database on SQLite; what depends on the kind has the fixture store."""
    with new_store("sqlite", request, tmp_path) as store:
        yield store


@pytest.fixture
def night(here: Store) -> Store:
    save(here, "night1", NIGHT)
    return here


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory of its own: the database is in the other."""
    (tmp_path / "coverage").mkdir()
    return tmp_path / "coverage"


def read_map(path: Path) -> tuple[Table, fits.Header]:
    return Table.read(path, hdu=1), fits.getheader(path, 1)


def test_depth_map_is_that_of_a_loop_over_cells_and_images(night: Store, folder: Path) -> None:
    write_coverage(night, "night1", Wanted(), folder)
    table, header = read_map(folder / "night1.150MHz.I.depth.fits")
    order = header["MOCORDER"]
    grid = HEALPix(nside=header["NSIDE"], order=header["ORDERING"].lower())
    cells = np.asarray(table["PIXEL"])
    middle = grid.lonlat_to_healpix(123.1 * u.deg, 35.0 * u.deg)
    neighbourhood = np.unique(np.concatenate([cells, grid.neighbours(cells).ravel()]))
    images = NIGHT[:3]
    seen = [truth(item, neighbourhood, order) for item in images]
    anywhere = np.any([used for used, _ in seen], axis=0)
    assert cells.tolist() == neighbourhood[anywhere].tolist()
    assert middle in cells
    for line in table[::11]:
        here = [
            (item, float(rms[0]))
            for item in images
            for used, rms in [truth(item, np.array([line["PIXEL"]]), order)]
            if used[0]
        ]
        rms = [value for _, value in here]
        assert line["N_IMAGES"] == len(here)
        assert line["RMS_MIN"] == pytest.approx(min(rms), rel=1e-9)
        assert line["RMS_COMBINED"] == pytest.approx(
            1.0 / math.sqrt(sum(value**-2 for value in rms)), rel=1e-9
        )
        assert line["EXPOSURE_S"] == sum(item.seconds for item, _ in here)
        assert line["FIRST_MJD"] == pytest.approx(61041.0 + here[0][0].hours / 24.0, abs=1e-9)
        assert line["LAST_MJD"] == pytest.approx(61041.0 + here[-1][0].hours / 24.0, abs=1e-9)
    assert set(table["N_IMAGES"]) == {1, 2, 3}


def test_each_band_and_stokes_has_a_map_and_each_band_a_moc(night: Store, folder: Path) -> None:
    found = write_coverage(night, "night1", Wanted(), folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        "night1.150MHz.I.depth.fits", "night1.150MHz.V.depth.fits", "night1.150MHz.moc.fits",
        "night1.160MHz.I.depth.fits", "night1.160MHz.moc.fits", "night1.moc.fits",
    ]  # fmt: skip
    assert found.missing == []
    assert {item.path.name: item.images for item in found.files} == {
        "night1.150MHz.I.depth.fits": 3, "night1.150MHz.V.depth.fits": 1,
        "night1.150MHz.moc.fits": 4, "night1.160MHz.I.depth.fits": 1, "night1.160MHz.moc.fits": 1,
        "night1.moc.fits": 5,
    }  # fmt: skip
    mocs = {p.name: MOC.from_fits(p) for p in folder.glob("*.moc.fits")}
    low, high = mocs["night1.150MHz.moc.fits"], mocs["night1.160MHz.moc.fits"]
    assert mocs["night1.moc.fits"] == low.union(high)
    # The hole of one band is in the other; the field that only the first has is to its east.
    hole = (123.0 * u.deg, 35.0 * u.deg)
    assert [moc.contains_lonlat(*hole)[0] for moc in (low, high)] == [True, False]
    assert [moc.contains_lonlat(123.4 * u.deg, 35.0 * u.deg)[0] for moc in (low, high)] == [
        True,
        False,
    ]
    for stokes, band in (("I", low), ("V", None)):
        table, header = read_map(folder / f"night1.150MHz.{stokes}.depth.fits")
        cells = MOC.from_healpix_cells(
            np.asarray(table["PIXEL"]), np.uint8(header["MOCORDER"]), header["MOCORDER"]
        )
        assert band is None or cells == band
        assert header["STOKES"] == stokes
    # 36 x 26 pixels of 0.01 deg, and half of them again.
    areas = {item.path.name: item.area_deg2 for item in found.files}
    assert areas["night1.150MHz.V.depth.fits"] == pytest.approx(0.36 * 0.26, rel=0.02)
    assert areas["night1.160MHz.moc.fits"] == pytest.approx(0.36 * 0.26 - 0.01, rel=0.03)
    assert areas["night1.moc.fits"] == mocs["night1.moc.fits"].sky_fraction * 360.0**2 / math.pi


def test_headers_say_what_programs_ask_for(night: Store, folder: Path) -> None:
    write_coverage(night, "night1", Wanted(), folder, order=13)
    table, header = read_map(folder / "night1.150MHz.I.depth.fits")
    wanted = {
        "PIXTYPE": "HEALPIX", "ORDERING": "NESTED", "NSIDE": 8192, "INDXSCHM": "EXPLICIT",
        "OBJECT": "PARTIAL", "COORDSYS": "C", "FIRSTPIX": 0, "LASTPIX": 12 * 8192**2 - 1,
        "BAD_DATA": -1.6375e30, "TTYPE1": "PIXEL", "N_IMAGES": 3, "FREQ": 150e6, "STOKES": "I",
        "DATE-BEG": "2026-01-01T00:00:00", "DATE-END": "2026-01-01T02:01:00",
        "OBS_NPIX": len(table),
    }  # fmt: skip
    assert {name: header[name] for name in wanted} == wanted
    units = {name: str(table[name].unit or "") for name in table.colnames}
    assert units == {
        "PIXEL": "", "N_IMAGES": "", "RMS_MIN": "Jy / beam", "RMS_COMBINED": "Jy / beam",
        "EXPOSURE_S": "s", "FIRST_MJD": "d", "LAST_MJD": "d",
    }  # fmt: skip
    assert (np.diff(np.asarray(table["PIXEL"])) > 0).all()
    with fits.open(folder / "night1.moc.fits") as hdus:
        hdus.verify("exception")
        assert hdus[1].header["MOCVERS"] == "2.0"
        assert hdus[1].header["MOCORD_S"] == 13
        assert hdus[1].header["COORDSYS"] == "C"
        # NUNIQ: 4^(order + 1) and the cell's number; every cell within the field.
        numbers = hdus[1].data["UNIQ"].astype(np.int64)
        orders = (np.log2(numbers // 4) // 2).astype(int)
        assert orders.max() == 13
        area = (360.0**2 / math.pi / 12.0 / 4.0**orders).sum()
        moc = MOC.from_fits(folder / "night1.moc.fits")
        assert area == pytest.approx(moc.sky_fraction * 360.0**2 / math.pi)


def test_cells_are_about_half_a_beam_wide(night: Store, folder: Path) -> None:
    """The minor axis is 0.03 deg; cells of order 12 are 0.0143 deg wide."""
    found = write_coverage(night, "night1", Wanted(), folder)
    assert {item.order for item in found.files} == {12}


def test_files_do_not_depend_on_the_order_of_arrival(store: Store, folder: Path) -> None:
    """Not by a bit: enough images of one field for sums to be rounded otherwise."""
    rms = np.random.default_rng(6).uniform(1.0, 5.0, 20)
    many = [Covered(f"m{n}.fits", n / 7.0, rms=((value,),)) for n, value in enumerate(rms.tolist())]
    items = [*NIGHT, *many]
    shuffled = np.random.default_rng(7).permutation(len(items)).tolist()
    save(store, "night1", items)
    save(store, "again", [items[n] for n in shuffled])
    for name in ("night1", "again"):
        write_coverage(store, name, Wanted(), folder / name)
    for path in (folder / "night1").iterdir():
        other = folder / "again" / path.name.replace("night1", "again")
        assert path.read_bytes() == other.read_bytes(), path.name


def test_fields_with_other_holes_are_other_fields(here: Store, folder: Path) -> None:
    hole = (slice(10, 20), slice(15, 25))
    save(here, "holes", [Covered("whole.fits"), Covered("hole.fits", 1.0, hole=hole)])
    write_coverage(here, "holes", Wanted(), folder, order=14)
    table, _ = read_map(folder / "holes.150MHz.I.depth.fits")
    once = np.count_nonzero(np.asarray(table["N_IMAGES"]) == 1)
    assert once * 360.0**2 / math.pi / 12.0 / 4.0**14 == pytest.approx(0.01, rel=0.05)
    assert set(table["N_IMAGES"]) == {1, 2}


def test_an_image_has_files_of_its_own(night: Store, folder: Path) -> None:
    found = write_coverage(night, "night1", Wanted(names=("b.fits", "/night/d.fits")), folder)
    assert sorted(item.path.name for item in found.files) == [
        "b.fits.depth.fits", "b.fits.moc.fits", "d.fits.depth.fits", "d.fits.moc.fits",
    ]  # fmt: skip
    moc = MOC.from_fits(folder / "d.fits.moc.fits")
    assert not moc.contains_lonlat(123.0 * u.deg, 35.0 * u.deg)[0]
    table, _ = read_map(folder / "b.fits.depth.fits")
    assert np.asarray(table["RMS_MIN"]) == pytest.approx(np.asarray(table["RMS_COMBINED"]))


def test_names_that_are_of_no_image_or_of_several(here: Store, folder: Path) -> None:
    save(here, "two", [Covered("a.fits"), Covered("a.fits", 1.0, directory="/other")])
    with pytest.raises(ConfigError, match="no image 'x'; write its file name or its path"):
        write_coverage(here, "two", Wanted(names=("x",)), folder)
    with pytest.raises(ConfigError, match=r"2 images are called 'a\.fits'") as raised:
        write_coverage(here, "two", Wanted(names=("a.fits",)), folder)
    assert str(raised.value).splitlines()[1:] == ["  /night/a.fits", "  /other/a.fits"]
    both = Wanted(names=("/night/a.fits", "/other/a.fits"))
    assert len({item.path for item in write_coverage(here, "two", both, folder).files}) == 4


def test_what_is_wanted_narrows_the_images(night: Store, folder: Path) -> None:
    def maps(**wanted: object) -> list[tuple[str, int]]:
        found = write_coverage(night, "night1", Wanted(**wanted), folder)
        files = [item for item in found.files if item.kind == "depth"]
        return [(item.path.name.split(".", 1)[1], item.images) for item in files]

    low, low_v, high = "150MHz.I.depth.fits", "150MHz.V.depth.fits", "160MHz.I.depth.fits"
    assert maps(band=160.4e6) == [(high, 1)]
    assert maps(stokes=4) == [(low_v, 1)]
    hour = timedelta(hours=1)
    assert maps(first=START + hour, last=START + 3 * hour) == [(low, 2), (high, 1)]
    with pytest.raises(ConfigError, match="no image with this band, Stokes and time"):
        maps(stokes=2)
    with pytest.raises(ConfigError, match=r"no band 155000000: .* \(159 MHz to 161 MHz\)"):
        maps(band=155e6)
    with pytest.raises(ConfigError, match="no accepted image among the 1 that are wanted"):
        maps(first=START + 5 * hour)
    with pytest.raises(StoreError, match="there is no dataset 'other'; there are: night1"):
        write_coverage(night, "other", Wanted(), folder)


def test_images_without_footprint_are_named(here: Store, folder: Path) -> None:
    save(here, "half", [Covered("a.fits"), Covered("late.fits", 1.0, extracted=False)])
    found = write_coverage(here, "half", Wanted(), folder)
    assert found.missing == ["late.fits"]
    assert {item.images for item in found.files} == {1}


def test_names_of_datasets_stay_in_the_directory(here: Store, folder: Path) -> None:
    save(here, "../../<up>", [Covered("../a.fits")])
    found = write_coverage(here, "../../<up>", Wanted(), folder / "in")
    found = (
        found.files
        + write_coverage(here, "../../<up>", Wanted(names=("../a.fits",)), folder / "in").files
    )
    assert {item.path.parent for item in found} == {folder / "in"}
    assert [path.name for path in folder.iterdir()] == ["in"]
    assert len(found) == 5
    assert all(item.path.exists() for item in found)


def test_a_directory_that_cannot_be_written(night: Store, folder: Path) -> None:
    (folder / "file").write_text("")
    with pytest.raises(ConfigError, match="choose another one with --output"):
        write_coverage(night, "night1", Wanted(), folder / "file" / "in")


def test_a_file_is_replaced_whole_or_not_at_all(
    night: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_coverage(night, "night1", Wanted(), folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(self: fits.BinTableHDU, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fits.BinTableHDU, "writeto", full)
    with pytest.raises(ConfigError, match="No space left on device"):
        write_coverage(night, "night1", Wanted(), folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_progress_is_told(night: Store, folder: Path) -> None:
    told: list[tuple[int, int]] = []
    write_coverage(night, "night1", Wanted(), folder, None, lambda *step: told.append(step))
    assert told == [(done, 10) for done in range(1, 11)]


# ---- Positions.


def ask(store: Store, *positions: MonitorPosition, **wanted: object) -> list[PositionAnswer]:
    return look_at_positions(store, "night1", positions, Wanted(**wanted))


def test_every_image_answers_for_a_position(night: Store) -> None:
    (answer,) = ask(night, MIDDLE)
    assert [(item.row.file_name, item.sight) for item in answer.images] == [
        ("a.fits", "shown"), ("b.fits", "outside"), ("c.fits", "shown"), ("d.fits", "masked"),
        ("v.fits", "shown"), ("bad.fits", "rejected"),
    ]  # fmt: skip
    assert answer.images[-1].reason == "All pixels are NaN"
    # Pixel (19.5, 14.5): beyond the last row of nodes, 2.5 columns after the second of three.
    rms = 4e-3 + (2e-3 - 4e-3) * 2.5 / 12.0
    assert answer.images[0].rms_jy == pytest.approx(rms, rel=1e-9)
    assert answer.images[0].depth_jy == pytest.approx(5 * rms, rel=1e-9)
    assert [math.isnan(item.rms_jy) for item in answer.images] == [0, 1, 0, 1, 0, 1]
    low, low_v, high = answer.depths
    assert (low.band, low.stokes, low.n_images, low.n_shown) == (BANDS[0], 1, 3, 2)
    assert low.deepest is not None
    assert low.deepest.file_name == "c.fits"
    assert low.rms_min_jy == 0.002
    assert low.rms_combined_jy == pytest.approx(1.0 / math.sqrt(rms**-2 + 0.002**-2), rel=1e-9)
    assert (low.first, low.last) == (START, START + timedelta(hours=2))
    assert (low_v.n_shown, low_v.rms_combined_jy) == (1, pytest.approx(0.0005))
    assert (high.n_images, high.n_shown, high.deepest, high.first) == (1, 0, None, None)
    assert math.isnan(high.rms_combined_jy)


def test_near_the_edge_pixels_are_used_but_no_source_is_shown(night: Store) -> None:
    ra, dec = NIGHT[0].wcs.wcs_pix2world(2.3, 15.0, 0)
    edge, moved = ask(
        night, MonitorPosition(float(ra), float(dec), ""), MonitorPosition(123.25, 35.0, "")
    )
    first = edge.images[0]
    assert (first.sight, first.shown) == ("edge", False)
    assert first.rms_jy > 0.0
    assert math.isnan(first.depth_jy)
    assert [item.sight for item in moved.images[:3]] == ["outside", "shown", "outside"]


def test_images_that_are_not_finished_say_so(here: Store) -> None:
    items = [
        Covered("new.fits", verdict=None, extracted=False),
        Covered("next.fits", 1.0, extracted=False),
    ]
    save(here, "night1", items)
    (answer,) = ask(here, MIDDLE)
    assert [item.sight for item in answer.images] == ["not judged", "not extracted"]
    assert {item.reason for item in answer.images} == {"run the dataset again"}


def test_positions_agree_with_the_map(night: Store, folder: Path) -> None:
    """Where images show a position, the map has at least as many; but for a cell's width."""
    write_coverage(night, "night1", Wanted(), folder, order=15)
    table, _ = read_map(folder / "night1.150MHz.I.depth.fits")
    chosen = table[:: len(table) // 40]
    lon, lat = healpix_to_lonlat(np.asarray(chosen["PIXEL"]), 2**15, order="nested")
    positions = [MonitorPosition(r, d, "") for r, d in zip(lon.deg, lat.deg, strict=True)]
    for line, answer in zip(chosen, ask(night, *positions, stokes=1, band=150e6), strict=True):
        seen = [item for item in answer.images if item.sight in {"shown", "edge"}]
        assert len(seen) == line["N_IMAGES"]
        assert min(item.rms_jy for item in seen) == pytest.approx(line["RMS_MIN"], rel=1e-9)


def test_dates_are_modified_julian() -> None:
    assert mjd(START) == 61041.0
    assert mjd(START + timedelta(hours=6)) == 61041.25

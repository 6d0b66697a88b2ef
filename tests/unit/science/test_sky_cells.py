"""Cells that an image covers: against astropy's WCS cell by cell, and against analytic areas."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning
from astropy_healpix import healpix_to_lonlat, lonlat_to_healpix
from mocpy import MOC
from scipy.integrate import dblquad

from trap_ops.errors import ConfigError
from trap_ops.records.images import Coverage
from trap_ops.science import sky_cells
from trap_ops.science.coverage import covers, make_coverage
from trap_ops.science.sky_cells import (
    cell_area_deg2,
    moc_cells,
    moc_of_cells,
    nearest_order,
)

SPHERE_DEG2 = 360.0**2 / math.pi
BEAM = np.diag([2.0, 2.0])


def made_wcs(
    projection: str, nx: int, ny: int, pixel_deg: float, at: tuple[float, float], rotated: float = 0
) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = [f"RA---{projection}", f"DEC--{projection}"]
    wcs.wcs.crval = at
    wcs.wcs.crpix = [(nx + 1) / 2, (ny + 1) / 2]
    wcs.wcs.cdelt = [-pixel_deg, pixel_deg]
    angle = math.radians(rotated)
    wcs.wcs.pc = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    return wcs


def in_astropy(wcs: WCS, mask: np.ndarray, lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    """Whether directions fall on pixels that are not masked, by nothing of ours."""
    x, y = wcs.wcs_world2pix(lon, lat, 0)
    ny, nx = mask.shape
    with np.errstate(invalid="ignore"):
        inside = (x > -0.5) & (x < nx - 0.5) & (y > -0.5) & (y < ny - 0.5)
    column = np.floor(np.where(inside, x, 0.0) + 0.5).astype(int)
    row = np.floor(np.where(inside, y, 0.0) + 0.5).astype(int)
    return inside & ~mask[row, column]


def centres(cells: np.ndarray, order: int) -> tuple[np.ndarray, np.ndarray]:
    lon, lat = healpix_to_lonlat(cells, 2**order, order="nested")
    return lon.to_value(u.deg), lat.to_value(u.deg)


def random_holes(shape: tuple[int, int], fraction: float) -> np.ndarray:
    return np.random.default_rng(7).random(shape) < fraction


def pieces(shape: tuple[int, int]) -> np.ndarray:
    mask = np.ones(shape, dtype=bool)
    mask[3:9, 5:30] = mask[-14:-2, -6:-1] = False
    mask[5, 60] = False
    return mask


PLAIN = np.zeros
# Projection, shape (ny, nx), pixel in deg, centre, rotation; the mask of a shape.
FIELDS: dict[str, tuple[tuple[str, tuple[int, int], float, tuple[float, float], float], Any]] = {
    "plain": (("SIN", (60, 90), 0.2, (123.0, 35.0), 0.0), PLAIN),
    "across RA 0": (("SIN", (80, 80), 0.2, (0.01, -20.0), 0.0), PLAIN),
    "north pole": (("SIN", (80, 80), 0.2, (10.0, 89.8), 0.0), PLAIN),
    "south pole": (("TAN", (80, 80), 0.2, (10.0, -90.0), 0.0), PLAIN),
    "rotated strip": (("ZEA", (30, 300), 0.2, (200.0, 50.0), 37.0), PLAIN),
    "holes": (("SIN", (80, 80), 0.2, (359.9, 10.0), 0.0), lambda s: random_holes(s, 0.5)),
    "pieces": (("SIN", (100, 120), 0.3, (80.0, -40.0), 0.0), pieces),
    # AARTFAAC: zenith in the middle, no sky in the corners; here without any NaN there.
    "whole hemisphere": (("SIN", (128, 128), 1.1, (200.0, 53.0), 0.0), PLAIN),
    "few pixels, whole hemisphere": (("SIN", (24, 24), 6.0, (20.0, 53.0), 0.0), PLAIN),
    "whole sky, ZEA": (("ZEA", (90, 90), 3.0, (30.0, 53.0), 0.0), PLAIN),
    "whole sky, AIT": (("AIT", (90, 180), 2.0, (0.0, 0.0), 0.0), PLAIN),
    "whole sky, CAR": (("CAR", (90, 180), 2.0, (100.0, 0.0), 0.0), PLAIN),
    "more than the sky, CAR": (("CAR", (120, 210), 2.0, (100.0, 0.0), 0.0), PLAIN),
    "wide TAN": (("TAN", (150, 150), 1.0, (100.0, 60.0), 0.0), PLAIN),
    "NCP": (("NCP", (80, 80), 0.2, (100.0, 60.0), 10.0), PLAIN),
    "cube": (("TSC", (90, 120), 3.0, (1.0, 2.0), 0.0), PLAIN),
    "one pixel": (("SIN", (1, 1), 2.0, (359.5, 5.0), 0.0), PLAIN),
    "nothing": (("SIN", (9, 9), 2.0, (359.5, 5.0), 0.0), lambda s: np.ones(s, dtype=bool)),
}
ORDER = 7
ALL_CELLS = np.arange(12 * 4**ORDER)
ALL_CENTRES = centres(ALL_CELLS, ORDER)


def field(name: str) -> tuple[WCS, np.ndarray, Coverage]:
    (projection, (ny, nx), pixel, at, rotated), masked = FIELDS[name]
    wcs = made_wcs(projection, nx, ny, pixel, at, rotated)
    mask = np.asarray(masked((ny, nx)), dtype=bool)
    return wcs, mask, make_coverage(mask, BEAM, wcs)


@pytest.mark.parametrize("name", FIELDS)
def test_cells_are_those_whose_centres_astropy_puts_on_used_pixels(name: str) -> None:
    wcs, mask, coverage = field(name)
    wanted = ALL_CELLS[in_astropy(wcs, mask, *ALL_CENTRES)]
    found = moc_cells(coverage, ORDER)
    assert found.tolist() == wanted.tolist()
    assert len(found) > 0 or name == "nothing"


def test_cells_one_by_one() -> None:
    """Python's own loop over the cells within some degrees of the field."""
    wcs, mask, coverage = field("holes")
    order, wanted = 5, []
    lon, lat = centres(np.arange(12 * 4**order), order)
    for cell in np.flatnonzero((abs(lat - 10.0) < 15.0) & (abs(lon - 180.0) > 160.0)).tolist():
        x, y = wcs.wcs_world2pix(lon[cell], lat[cell], 0)
        column, row = round(float(x)), round(float(y))
        if 0 <= column < 80 and 0 <= row < 80 and not mask[row, column]:
            wanted.append(cell)
    assert moc_cells(coverage, order).tolist() == wanted
    assert len(wanted) > 20


@pytest.mark.parametrize("order", [0, 3, 11])
def test_cells_that_are_larger_or_smaller_than_pixels(order: int) -> None:
    """A field of 6 deg with pixels of 0.2 deg: cells of 59 deg, of 7 deg and of 0.03 deg."""
    # No centre of a cell is on the border of two pixels.
    wcs = made_wcs("SIN", 30, 30, 0.2, (44.3, 9.7))
    mask = random_holes((30, 30), 0.3)
    found = moc_cells(make_coverage(mask, BEAM, wcs), order)
    if order == 11:
        # All cells of those of order 6 that are in the field.
        inside = np.unique(found >> 10)
        cells = (inside[:, None] * 4**5 + np.arange(4**5)).ravel()
    else:
        cells = np.arange(12 * 4**order)
    wanted = cells[in_astropy(wcs, mask, *centres(cells, order))]
    assert found.tolist() == wanted.tolist()


@pytest.mark.parametrize("name", ["SWIFT_554620-130504", "GRB201006A-t0002-cutout"])
def test_cells_of_real_images(shared_data: Path, name: str) -> None:
    """In cells of two pixels; those about the field are found by mocpy."""
    with fits.open(shared_data / "images" / f"{name}.fits") as hdus, warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        wcs = WCS(hdus[0].header).celestial
        mask = ~np.isfinite(np.squeeze(hdus[0].data))
    ny, nx = mask.shape
    pixel = float(wcs.proj_plane_pixel_scales()[0].to_value(u.deg))
    order = nearest_order(2.0 * pixel)
    ra, dec = wcs.wcs_pix2world(nx / 2, ny / 2, 0)
    around = MOC.from_cone(
        lon=ra * u.deg, lat=dec * u.deg, radius=max(nx, ny) * pixel * u.deg, max_depth=order
    )
    cells = np.sort(around.flatten().astype(np.int64))
    wanted = cells[in_astropy(wcs, mask, *centres(cells, order))]
    found = moc_cells(make_coverage(mask, BEAM, wcs), order)
    assert found.tolist() == wanted.tolist()
    area = (~mask).sum() * pixel**2
    assert len(found) * cell_area_deg2(order) == pytest.approx(area, rel=0.01)


def solid_angle_deg2(half_width: float, half_height: float) -> float:
    """Of a rectangle in the plane of SIN: the integral of dl dm / n."""
    found, _ = dblquad(
        lambda y, x: 1.0 / math.sqrt(1.0 - x * x - y * y),
        -half_width, half_width, -half_height, half_height,
    )  # fmt: skip
    return found * (180.0 / math.pi) ** 2


@pytest.mark.parametrize("at", [(0.0, 0.0), (77.0, 89.5), (359.99, -60.0)])
def test_area_of_a_rectangle(at: tuple[float, float]) -> None:
    """8 x 12 deg without a margin of 2 pixels of 0.1 deg, in cells of 0.11 deg."""
    mask = np.ones((120, 80), dtype=bool)
    mask[2:-2, 2:-2] = False
    cells = moc_cells(make_coverage(mask, BEAM, made_wcs("SIN", 80, 120, 0.1, at)), 9)
    analytic = solid_angle_deg2(math.radians(7.6 / 2), math.radians(11.6 / 2))
    area = len(cells) * cell_area_deg2(9)
    # Each cell on the border is in or out by chance: a hundredth of them is three sigma or more.
    border = 2 * (7.6 + 11.6) * math.sqrt(cell_area_deg2(9))
    assert area == pytest.approx(analytic, abs=0.05 * border)
    assert 0.05 * border < 0.005 * analytic
    assert moc_of_cells(cells, 9).sky_fraction * SPHERE_DEG2 == pytest.approx(area, rel=1e-12)


def test_area_of_a_circle_and_of_a_hemisphere() -> None:
    y, x = np.mgrid[:128, :128] - 63.5
    circle = make_coverage(
        x * x + y * y >= 60.0**2, BEAM, made_wcs("ARC", 128, 128, 0.25, (0.0, 88.0))
    )
    cap = SPHERE_DEG2 / 2.0 * (1.0 - math.cos(math.radians(15.0)))
    assert len(moc_cells(circle, 8)) * cell_area_deg2(8) == pytest.approx(cap, rel=5e-3)
    _, _, hemisphere = field("whole hemisphere")
    area = len(moc_cells(hemisphere, 7)) * cell_area_deg2(7)
    assert area == pytest.approx(SPHERE_DEG2 / 2.0, rel=1e-3)


def test_the_moc_agrees_with_the_pixels_but_for_the_border() -> None:
    wcs = made_wcs("SIN", 90, 60, 0.05, (0.0, 60.0), 20.0)
    mask = np.zeros((60, 90), dtype=bool)
    mask[20:30, 40:60] = True
    order = 11
    moc = moc_of_cells(moc_cells(make_coverage(mask, BEAM, wcs), order), order)
    rng = np.random.default_rng(3)
    x, y = rng.uniform(-10.0, 100.0, 20_000), rng.uniform(-10.0, 70.0, 20_000)
    ra, dec = wcs.wcs_pix2world(x, y, 0)
    in_moc = moc.contains_lonlat(ra * u.deg, dec * u.deg)
    in_pixels = in_astropy(wcs, mask, ra, dec)
    # From the borders of field and hole, pixels; a cell is 0.57 of them wide.
    outer = np.minimum(np.minimum(x + 0.5, 89.5 - x), np.minimum(y + 0.5, 59.5 - y))
    hole = np.maximum(np.maximum(39.5 - x, x - 59.5), np.maximum(19.5 - y, y - 29.5))
    border = np.minimum(np.abs(outer), np.abs(hole))
    assert in_pixels.sum() > 5000
    assert (in_moc == in_pixels)[border > 0.57].all()
    assert (in_moc != in_pixels).any()


def test_a_moc_has_the_cells_it_is_made_of() -> None:
    cells = np.array([0, 1, 2, 3, 17, 100, 101, 12 * 4**3 - 1])
    assert moc_of_cells(cells, 3).flatten().tolist() == cells.tolist()
    assert moc_of_cells(cells, 3).max_order == 3
    assert moc_of_cells(np.empty(0, dtype=np.int64), 5).empty()
    deep = lonlat_to_healpix(12.3 * u.deg, 45.6 * u.deg, 2**29, order="nested")
    assert moc_of_cells(np.array([deep]), 29).contains_lonlat(12.3 * u.deg, 45.6 * u.deg).all()


@pytest.mark.parametrize(("name", "order"), [("plain", 8), ("holes", 8), ("plain", 29)])
def test_too_many_cells_are_refused_before_they_fill_the_memory(name: str, order: int) -> None:
    _, _, coverage = field(name)
    number = 20_000
    if order == 8:
        number = len(moc_cells(coverage, order))
        assert len(moc_cells(coverage, order, max_cells=number)) == number
        number -= 1
    with pytest.raises(ConfigError, match=rf"more than {number} cells") as raised:
        moc_cells(coverage, order, max_cells=number)
    # What is advised fits, and is no smaller than it must be.
    advice = int(str(raised.value).rsplit("--order ", 1)[1])
    assert number / 5 < len(moc_cells(coverage, advice, max_cells=number)) <= number


def test_few_cells_are_looked_up_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """One pixel among many that are not used, in cells of a sixtieth of its side."""
    looked_up = []

    def counted(coverage: Coverage, ra: np.ndarray, dec: np.ndarray) -> Any:
        looked_up.append(len(ra))
        return covers(coverage, ra, dec)

    monkeypatch.setattr(sky_cells, "covers", counted)
    mask = np.ones((64, 64), dtype=bool)
    mask[40, 11] = False
    wcs = made_wcs("SIN", 64, 64, 0.1, (10.0, 20.0))
    area = len(moc_cells(make_coverage(mask, BEAM, wcs), 15, max_cells=4000)) * cell_area_deg2(15)
    assert area == pytest.approx(0.01, rel=0.02)
    assert sum(looked_up) < 100_000


@pytest.mark.parametrize("order", [0, 5, 15, 29])
def test_the_nearest_order_is_that_of_the_side(order: int) -> None:
    side = math.sqrt(cell_area_deg2(order))
    assert cell_area_deg2(order) == pytest.approx(SPHERE_DEG2 / 12 / 4**order, rel=1e-12)
    assert nearest_order(side) == nearest_order(side * 1.4) == nearest_order(side / 1.4) == order
    assert nearest_order(1e9) == 0
    assert nearest_order(1e-15) == 29

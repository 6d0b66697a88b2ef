"""One sky, imaged in four celestial frames: sources are where they are, and as long as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import FK4, FK5, ICRS, BaseCoordinateFrame, Galactic, SkyCoord
from astropy.io import fits
from astropy.time import Time
from astropy.wcs import WCS
from scipy.ndimage import gaussian_filter
from sqlalchemy import select

from trap_ops import local
from trap_ops.store.database import Store
from trap_ops.store.schema import assocxtrsource, extractedsource, image, runningcatalog

SIZE, PIXEL_ARCSEC = 200, 5.0
CENTRE = SkyCoord(123.0 * u.deg, 35.0 * u.deg)
# Arcsec, arcsec, degrees from the north of ICRS through east.
BMAJ, BMIN, BPA = 40.0, 20.0, 30.0
FRAMES: dict[str, tuple[BaseCoordinateFrame, dict[str, Any]]] = {
    "icrs.fits": (ICRS(), {"RADESYS": "ICRS"}),
    "galactic.fits": (Galactic(), {}),
    "b1950.fits": (FK4(equinox=Time("B1950")), {"EQUINOX": 1950.0}),
    "j1975.fits": (FK5(equinox=Time("J1975")), {"RADESYS": "FK5", "EQUINOX": 1975.0}),
}
SETTINGS = {
    "extraction": {"detection_threshold_sigma": 8.0, "margin_px": 2, "force_beam": False},
}


def lon_lat(positions: SkyCoord) -> tuple[Any, Any]:
    spherical = positions.spherical
    return spherical.lon.deg, spherical.lat.deg


def write(path: Path, sources: SkyCoord, flux_jy: np.ndarray, day: int) -> None:
    """Gaussians of the beam's shape, laid out by astropy alone."""
    frame, cards = FRAMES[path.name]
    centre = CENTRE.transform_to(frame)
    names = ("GLON", "GLAT") if isinstance(frame, Galactic) else ("RA--", "DEC-")
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = [f"{name}-SIN" for name in names]
    wcs.wcs.crval = lon_lat(centre)
    wcs.wcs.crpix = [SIZE / 2 + 0.5] * 2
    wcs.wcs.cdelt = [-PIXEL_ARCSEC / 3600.0, PIXEL_ARCSEC / 3600.0]
    north = SkyCoord(CENTRE.ra, CENTRE.dec + 0.001 * u.deg).transform_to(frame)
    angle = BPA + centre.position_angle(north).deg
    x, y = wcs.wcs_world2pix(*lon_lat(sources.transform_to(frame)), 0)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    east = -(columns - x[:, None, None]) * PIXEL_ARCSEC
    up = (rows - y[:, None, None]) * PIXEL_ARCSEC
    sine, cosine = np.sin(np.radians(angle)), np.cos(np.radians(angle))
    along, across = east * sine + up * cosine, east * cosine - up * sine
    shapes = np.exp(-4.0 * np.log(2.0) * ((along / BMAJ) ** 2 + (across / BMIN) ** 2))
    noise = gaussian_filter(np.random.default_rng(day).normal(size=(SIZE, SIZE)), 2.5)
    pixels = np.einsum("i,ijk", flux_jy, shapes) + noise * 1e-3 / noise.std()
    header = wcs.to_header()
    for key in ("RADESYS", "EQUINOX"):
        header.remove(key, ignore_missing=True)
    header.update(
        {
            **cards, "BMAJ": BMAJ / 3600.0, "BMIN": BMIN / 3600.0, "BPA": angle,
            "RESTFRQ": 150e6, "RESTBW": 2e6, "BUNIT": "JY/BEAM", "TAU_TIME": 600.0,
            "DATE-OBS": f"2024-01-{day:02d}T00:00:00",
        }
    )  # fmt: skip
    fits.PrimaryHDU(pixels.astype(np.float32), header).writeto(path)


@pytest.mark.slow
def test_a_source_is_one_source_in_every_frame(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    # On a grid, so that none overlap.
    grid = (np.arange(4) - 1.5) * 0.055
    east, up = (axis.ravel() + rng.uniform(-0.01, 0.01, 16) for axis in np.meshgrid(grid, grid))
    sources = CENTRE.spherical_offsets_by(east * u.deg, up * u.deg)
    flux = rng.uniform(0.05, 0.2, 16)
    (tmp_path / "images").mkdir()
    for day, name in enumerate(FRAMES, start=1):
        write(tmp_path / "images" / name, sources, flux, day)
    store = Store(f"sqlite:///{tmp_path / 'results.db'}")
    local.run(
        [tmp_path / "images"],
        "frames",
        store_url=store.url.render_as_string(),
        overrides=SETTINGS,
        output_dir=tmp_path,
    )
    columns = (
        image.c.file_name, image.c.rb_pa, runningcatalog.c.id, extractedsource.c.ra,
        extractedsource.c.decl, extractedsource.c.pa, extractedsource.c.f_peak,
    )  # fmt: skip
    with store.read() as connection:
        rows = connection.execute(
            select(*columns)
            .select_from(assocxtrsource)
            .join(runningcatalog, runningcatalog.c.id == assocxtrsource.c.runcat)
            .join(extractedsource, extractedsource.c.id == assocxtrsource.c.xtrsrc)
            .join(image, image.c.id == extractedsource.c.image)
        ).all()
    store.close()
    assert len({row.id for row in rows}) == 16
    for name in FRAMES:
        mine = [row for row in rows if row.file_name == name]
        assert len(mine) == 16
        (angle,) = {row.rb_pa for row in mine}
        assert abs(angle) <= 180.0
        assert (angle - BPA + 90.0) % 180.0 - 90.0 == pytest.approx(0.0, abs=0.01)
        found = SkyCoord([row.ra for row in mine] * u.deg, [row.decl for row in mine] * u.deg)
        nearest, _, _ = found.match_to_catalog_sky(sources)
        away_east, away_up = sources[nearest].spherical_offsets_to(found)
        # Errors are about 0.15 arcsec; FK5 of J1975 taken for J2000 would be off by 1200.
        assert abs(np.median(away_east.arcsec)) < 0.2
        assert abs(np.median(away_up.arcsec)) < 0.2
        turned = (np.array([row.pa for row in mine]) - BPA + 90.0) % 180.0 - 90.0
        assert abs(np.median(turned)) < 1.0
        ratio = np.array([row.f_peak for row in mine]) / flux[nearest]
        assert abs(np.median(ratio) - 1.0) < 0.02

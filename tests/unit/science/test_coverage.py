"""What an image shows: the same pixels as detection and forced fits need."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.wcs import WCS

from trap_ops.config.model import ExtractionConfig
from trap_ops.records.images import NoiseGrid, NoiseModel
from trap_ops.science.beam import beam_covariance
from trap_ops.science.coverage import Sight, covers, look, make_coverage, shows, used_pixels
from trap_ops.science.extraction import extract
from trap_ops.science.forced_fits import fit_positions
from trap_ops.science.masks import blank_pixels, pixel_mask
from trap_ops.science.noise import gaussian_autocorrelation

NX, NY = 60, 44
PIXEL = np.array([[-0.002, 0.0], [0.0, 0.002]])
# FWHM 6 x 4 pixels.
BEAM = beam_covariance(0.012, 0.008, 30.0, PIXEL)


def wcs_at(ra_deg: float = 123.0, dec_deg: float = 35.0) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---SIN", "DEC--SIN"]
    wcs.wcs.crval = [ra_deg, dec_deg]
    wcs.wcs.crpix = [NX / 2, NY / 2]
    wcs.wcs.cdelt = [-0.002, 0.002]
    wcs.wcs.set()
    return wcs


def shown(mask: np.ndarray, x: np.ndarray, y: np.ndarray, wcs: WCS | None = None) -> np.ndarray:
    wcs = wcs or wcs_at()
    ra, dec = wcs.wcs_pix2world(x, y, 0)
    return shows(make_coverage(mask, BEAM, wcs), ra, dec)


def grid_of(reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Positions in and around the image, off the middles of pixels."""
    y, x = np.mgrid[-reach : NY + reach : 1.37, -reach : NX + reach : 1.37]
    return x.ravel(), y.ravel()


@pytest.mark.parametrize("position", [(0.0, 0.0), (359.99, -20.0), (200.0, 89.97), (10.0, -89.99)])
def test_an_image_shows_its_inside_wherever_it_is(position: tuple[float, float]) -> None:
    x, y = grid_of(15.0)
    inside = shown(np.zeros((NY, NX), dtype=bool), x, y, wcs_at(*position))
    expected = (x > 3.5) & (x < NX - 4.5) & (y > 3.5) & (y < NY - 4.5)
    assert inside[expected].all()
    assert not inside[(x < 1.5) | (x > NX - 2.5) | (y < 0.5) | (y > NY - 1.5)].any()


def test_the_far_side_of_the_sky_is_not_shown() -> None:
    coverage = make_coverage(np.zeros((NY, NX), dtype=bool), BEAM, wcs_at())
    assert shows(coverage, np.array([303.0, 123.0]), np.array([-35.0, 35.0])).tolist() == [
        False,
        True,
    ]


@pytest.mark.parametrize("margin_px", [0, 4])
@pytest.mark.parametrize("radius_px", [0.0, 18.0])
def test_where_it_shows_a_forced_fit_can_be_made(margin_px: int, radius_px: float) -> None:
    rng = np.random.default_rng(1)
    data = rng.normal(size=(NY, NX)).astype(np.float32)
    data[20:24, 25:30] = np.nan
    data[rng.random((NY, NX)) < 0.005] = np.nan
    mask = pixel_mask(data, margin_px, radius_px, 5.0)
    x, y = grid_of(5.0)
    one = np.ones((1, 1))
    noise = NoiseModel(
        NoiseGrid(one * 0, one, 0.0, 0.0, 1.0, 1.0), gaussian_autocorrelation(BEAM, 1.0), 1.0, 1.0
    )
    blank = blank_pixels(data, 5.0)
    fits = fit_positions(data, blank, x, y, noise, BEAM, margin_px=margin_px, radius_px=radius_px)
    here = shown(mask, x, y)
    assert here.sum() > 100
    assert set(fits.reason[here]) == {""}
    assert set(fits.reason[~here]) >= {"", "edge", "masked", "outside_image"}


def test_where_it_does_not_show_nothing_is_detected() -> None:
    """A bright source of the beam's shape, moved over the edge of the data in small steps."""
    rng = np.random.default_rng(2)
    noise = rng.normal(size=(NY, NX)).astype(np.float32)
    config = ExtractionConfig(
        margin_px=3, detection_threshold_sigma=5.0, noise_correlation="beam", background_cell_px=20
    )
    inverse = np.linalg.inv(BEAM)
    row, column = np.mgrid[:NY, :NX]
    found = []
    for x in np.arange(1.0, 10.0, 0.25):
        u, v = column - x, row - 22.3
        shape = inverse[0, 0] * u * u + 2 * inverse[0, 1] * u * v + inverse[1, 1] * v * v
        data = noise + (50.0 * np.exp(-0.5 * shape)).astype(np.float32)
        extraction = extract(data, BEAM, config)
        assert extraction is not None
        here = shown(extraction.mask, np.array([x]), np.array([22.3]))[0]
        detected = np.hypot(extraction.measurements.x - x, extraction.measurements.y - 22.3) < 1.0
        found.append((bool(here), bool(detected.any())))
    # They may differ where the fit's noise moves the end of an axis over a pixel's border.
    assert sum(here != detected for here, detected in found) <= 2
    assert {here for here, _ in found} == {True, False}


def test_pixels_that_are_used_are_told_from_the_others() -> None:
    mask = np.random.default_rng(4).random((NY, NX)) < 0.3
    for first in (True, False):
        mask[0, 0] = first
        assert (used_pixels(make_coverage(mask, BEAM, wcs_at())) == ~mask).all()
    for all_of_one in (np.zeros((NY, NX), dtype=bool), np.ones((NY, NX), dtype=bool)):
        coverage = make_coverage(all_of_one, BEAM, wcs_at())
        assert (used_pixels(coverage) == ~all_of_one).all()


def test_a_position_is_covered_by_the_pixel_it_falls_on() -> None:
    mask = np.random.default_rng(5).random((NY, NX)) < 0.3
    x, y = grid_of(5.0)
    ra, dec = wcs_at().wcs_pix2world(x, y, 0)
    used, found_x, found_y = covers(make_coverage(mask, BEAM, wcs_at()), ra, dec)
    padded = np.pad(~mask, 20)
    assert (
        used.tolist() == padded[np.rint(y).astype(int) + 20, np.rint(x).astype(int) + 20].tolist()
    )
    assert found_x == pytest.approx(x, abs=1e-6)
    assert found_y == pytest.approx(y, abs=1e-6)


def test_what_an_image_has_at_a_position() -> None:
    mask = np.zeros((NY, NX), dtype=bool)
    mask[:, 40:] = True
    x = np.array([20.0, 0.2, 38.8, 45.0, 70.0])
    ra, dec = wcs_at().wcs_pix2world(x, np.full(5, 22.0), 0)
    # And the far side of the sky, where there is no pixel at all.
    seen = look(make_coverage(mask, BEAM, wcs_at()), np.append(ra, 303.0), np.append(dec, -35.0))
    assert seen.sight == (
        Sight.SHOWN, Sight.EDGE, Sight.EDGE, Sight.MASKED, Sight.OUTSIDE, Sight.OUTSIDE,
    )  # fmt: skip
    assert seen.used.tolist() == [True, True, True, False, False, False]
    assert np.isnan(seen.x).tolist() == [False] * 5 + [True]

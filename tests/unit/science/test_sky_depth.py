"""Depth of cells: against sums over images cell by cell."""

from __future__ import annotations

import math

import numpy as np
import pytest

from trap_ops.errors import ConfigError
from trap_ops.records.images import NoiseGrid
from trap_ops.science import sky_depth
from trap_ops.science.background import nodes_around, noise_at
from trap_ops.science.coverage import covers, make_coverage
from trap_ops.science.sky_cells import cell_centres, moc_cells
from trap_ops.science.sky_depth import DepthMap, Exposure, combined_rms
from unit.science.test_sky_cells import BEAM, made_wcs

ORDER = 9


def made_grid(rng: np.random.Generator, shape: tuple[int, int] = (4, 5)) -> NoiseGrid:
    rms = rng.uniform(1e-3, 2e-3, shape)
    return NoiseGrid(rng.normal(size=shape), rms, 6.0, 7.5, 11.0, 13.0)


@pytest.mark.parametrize("shape", [(4, 5), (1, 5), (4, 1), (1, 1)])
def test_weights_of_the_nodes_give_the_noise(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    grid = made_grid(rng, shape)
    x, y = rng.uniform(-20.0, 90.0, 200), rng.uniform(-20.0, 90.0, 200)
    nodes, weights = nodes_around(grid, x, y)
    background, rms = noise_at(grid, x, y)
    assert (grid.rms.ravel()[nodes] * weights).sum(axis=1) == pytest.approx(rms, rel=1e-12)
    assert (grid.background.ravel()[nodes] * weights).sum(axis=1) == pytest.approx(
        background, rel=1e-12, abs=1e-12
    )


def test_depth_of_overlapping_fields_cell_by_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three footprints across RA 0, 12 images with grids of two shapes, blocks of 3 images."""
    monkeypatch.setattr(sky_depth, "_IMAGES", 3)
    monkeypatch.setattr(sky_depth, "_CELLS", 64)
    rng = np.random.default_rng(2)
    gathered = DepthMap(ORDER)
    images = []
    for number, (ra, hole) in enumerate([(359.0, 0), (3.0, 9), (1.0, 0)]):
        mask = np.zeros((50, 60), dtype=bool)
        mask[20 : 20 + hole, 20:40] = True
        coverage = make_coverage(mask, BEAM, made_wcs("SIN", 60, 50, 0.1, (ra, 40.0)))
        exposures = [
            Exposure(made_grid(rng, (4, 5) if i % 3 else (3, 5)), rng.uniform(6e4, 6.1e4), 10.0 + i)
            for i in range(4)
        ]
        gathered.add(coverage, iter(exposures))
        images += [(coverage, exposure) for exposure in exposures]
        assert number < 3
    found = gathered.result()
    every = [moc_cells(coverage, ORDER) for coverage, _ in images]
    assert found.cells.tolist() == sorted({cell for cells in every for cell in cells.tolist()})
    assert {4, 8} <= set(found.n_images.tolist())
    ra, dec = cell_centres(found.cells, ORDER)
    for place in range(0, len(found.cells), 19):
        here = [
            (exposure, float(noise_at(exposure.grid, x, y)[1][0]))
            for coverage, exposure in images
            for used, x, y in [covers(coverage, ra[place : place + 1], dec[place : place + 1])]
            if used[0]
        ]
        rms = [value for _, value in here]
        assert found.n_images[place] == len(here)
        assert found.rms_min_jy[place] == pytest.approx(min(rms), rel=1e-12)
        combined = 1.0 / math.sqrt(sum(1.0 / value**2 for value in rms))
        assert found.rms_combined_jy[place] == pytest.approx(combined, rel=1e-12)
        assert found.exposure_s[place] == sum(exposure.seconds for exposure, _ in here)
        assert found.first_mjd[place] == min(exposure.start_mjd for exposure, _ in here)
        assert found.last_mjd[place] == max(exposure.start_mjd for exposure, _ in here)


def test_an_image_without_rms_adds_no_depth() -> None:
    coverage = make_coverage(
        np.zeros((20, 20), dtype=bool), BEAM, made_wcs("SIN", 20, 20, 0.1, (9.0, 40.0))
    )

    def grid(value: float) -> NoiseGrid:
        return NoiseGrid(np.zeros((1, 1)), np.full((1, 1), value), 0.0, 0.0, 1.0, 1.0)

    gathered = DepthMap(ORDER)
    gathered.add(coverage, [Exposure(grid(value), 6e4, 1.0) for value in (np.nan, 0.0)])
    none = gathered.result()
    assert set(none.n_images.tolist()) == {2}
    assert np.isnan(none.rms_min_jy).all()
    assert np.isnan(none.rms_combined_jy).all()
    gathered.add(coverage, [Exposure(grid(0.003), 6e4, 1.0), Exposure(grid(0.004), 6e4, 1.0)])
    both = gathered.result()
    assert both.rms_min_jy == pytest.approx(0.003, rel=1e-12)
    # 1 / sqrt(1/3^2 + 1/4^2) = 12 / 5.
    assert both.rms_combined_jy == pytest.approx(0.0024, rel=1e-12)


def test_rms_together() -> None:
    assert combined_rms(np.array([0.003, np.nan, 0.004])) == pytest.approx(0.0024, rel=1e-12)
    assert math.isnan(combined_rms(np.array([np.nan])))
    assert math.isnan(combined_rms(np.empty(0)))


def test_fields_that_are_too_many_together_are_refused() -> None:
    fields = [
        make_coverage(
            np.zeros((20, 20), dtype=bool), BEAM, made_wcs("SIN", 20, 20, 0.1, (ra, 40.0))
        )
        for ra in (10.0, 50.0)
    ]
    most = max(len(moc_cells(coverage, ORDER)) for coverage in fields)
    gathered = DepthMap(ORDER, max_cells=most + 1)
    gathered.add(fields[0], [])
    with pytest.raises(ConfigError, match="--order 8"):
        gathered.add(fields[1], [])

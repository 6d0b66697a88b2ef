"""A source is new against an image that shows its position, wherever pointings overlap in part."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from sqlalchemy import select

from stages.conftest import Run, checksum
from trap_ops.simulate.series import SeriesPlan, write_series
from trap_ops.store.database import Store
from trap_ops.store.schema import candidate, forcedfit, image, newsource, runningcatalog, varmetric

# Steady sources, all far above the threshold; of the field each image is one part.
FIELD = SeriesPlan(
    n_epochs=3,
    size_px=220,
    n_steady=40,
    n_variable=0,
    n_transient=0,
    seed=8,
    snr_min=30.0,
    snr_max=60.0,
    edge_px=2,
)
# Where the parts begin, pixels: they overlap, and each covers much of its neighbours' circles.
CORNERS = ((0, 0), (90, 20), (30, 90))
SIDE = 130
# The transient, in the last image only; the first has no data there, the second would show it.
FLASH = (115, 120)
HOLE = np.s_[..., 60:128, 35:123]


def cut(path: Path, corner: tuple[int, int], target: Path, *, flash: bool, hole: bool) -> Path:
    """Write a part of an image."""
    x, y = corner
    with fits.open(path) as hdus:
        header, data = hdus[0].header.copy(), hdus[0].data.astype(np.float32)
    if flash:
        row, column = np.mgrid[: data.shape[-2], : data.shape[-1]]
        # Full width at half maximum 6 pixels.
        distance2 = (column - FLASH[0]) ** 2 + (row - FLASH[1]) ** 2
        data += (0.1 * np.exp(-0.5 * distance2 / (6 / 2.3548) ** 2)).astype(np.float32)
    if hole:
        data[HOLE] = np.nan
    header["CRPIX1"] -= x
    header["CRPIX2"] -= y
    part = data[..., y : y + SIDE, x : x + SIDE]
    fits.PrimaryHDU(part, header).writeto(target)
    return target


@pytest.fixture(scope="module")
def mosaic(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three pointings, one an epoch; the first has a hole, the last a transient."""
    whole = write_series(FIELD, tmp_path_factory.mktemp("field"))
    directory = tmp_path_factory.mktemp("mosaic")
    return [
        cut(path, corner, directory / path.name, flash=number == 2, hole=number == 0)
        for number, (path, corner) in enumerate(zip(whole, CORNERS, strict=True))
    ]


@pytest.mark.parametrize("settings", [{}, {"backward": False}, {"backward_max_images": 1}])
def test_a_steady_source_that_enters_the_field_is_not_new(
    store: Store, mosaic: list[Path], run: Run, settings: dict[str, object]
) -> None:
    run(store, mosaic, overrides={"forced_fits": settings, "candidates": {"min_v": 0.3}})
    with store.read() as connection:
        new = connection.execute(
            select(
                newsource, image.c.file_name, runningcatalog.c.source_name, varmetric.c.newsource
            )
            .join(image, image.c.id == newsource.c.previous_limits_image)
            .join(runningcatalog, runningcatalog.c.id == newsource.c.runcat)
            .join(varmetric, varmetric.c.runcat == newsource.c.runcat)
        ).all()
        sources = connection.execute(select(runningcatalog)).all()
        marked = connection.execute(
            select(varmetric.c.runcat).where(varmetric.c.newsource.is_not(None))
        ).scalars()
        candidates = connection.execute(select(candidate.c.runcat, candidate.c.kind)).all()
        failed = connection.execute(
            select(forcedfit.c.reason).where(forcedfit.c.kind == 3, forcedfit.c.status == "failed")
        ).scalars()
        assert set(marked) == {row.runcat for row in new}
        # The sky that one pointing shows and the others' circles hold: all would seem new.
        assert settings or set(failed) == {"outside_image", "edge", "masked"}
    assert len(sources) > 25
    assert [(row.newsource_type, row.file_name) for row in new] == [(1, mosaic[1].name)]
    assert [row.runcat for row in candidates] == [new[0].runcat]
    assert candidates[0].kind == "new source"


def test_late_images_choose_the_same_earlier_image(
    store: Store, mosaic: list[Path], run: Run
) -> None:
    run(store, mosaic, "batch")
    for path in (mosaic[2], mosaic[0], mosaic[1]):
        run(store, [path], "late")
    assert checksum(store, "batch") == checksum(store, "late")

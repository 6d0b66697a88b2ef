"""Cut-outs: the right pixels, the right way up, and words where there are none."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image as Picture

from trap_ops import local
from trap_ops.config.model import ImagesConfig
from trap_ops.export.cutouts import Cutout, CutoutRequest, cut_out
from trap_ops.images.reading import read_image
from trap_ops.records.images import ImageRow
from trap_ops.simulate.series import SeriesPlan, write_series
from trap_ops.store.database import Store
from trap_ops.store.datasets import dataset_id
from trap_ops.store.images import images_of

PIXEL_DEG = 5.0 / 3600.0
PLAN = SeriesPlan(n_epochs=1, size_px=128, n_steady=1, n_variable=0, n_transient=0)

RULES = ImagesConfig()


@pytest.fixture(scope="module")
def row(tmp_path_factory: pytest.TempPathFactory) -> ImageRow:
    """A registered image whose pixels are 0 but for one of 1 at (x, y) = (80, 50)."""
    directory = tmp_path_factory.mktemp("cutouts")
    (path,) = write_series(PLAN, directory)
    pixels = np.zeros((128, 128), dtype=np.float32)
    pixels[50, 80] = 1.0
    pixels[100:, 100:] = np.nan
    with fits.open(path, mode="update") as hdus:
        hdus[0].data[:] = pixels
    url = f"sqlite:///{directory / 'results.db'}"
    local.run([path], "one", store_url=url, output_dir=directory)
    store = Store(url)
    with store.read() as connection:
        (found,) = images_of(connection, dataset_id(connection, "one"))
    store.close()
    return found


def request(row: ImageRow, x: float, y: float, side_px: float = 21.0) -> CutoutRequest:
    wcs = read_image(row.path, row.plane, ImagesConfig()).wcs
    ra, dec = wcs.wcs_pix2world([x], [y], 0)
    return CutoutRequest(float(ra[0]), float(dec[0]), side_px * PIXEL_DEG, 0.0, 0.01, 1.0)


def decoded(cutout: Cutout) -> Picture.Image:
    data = cutout.uri.removeprefix("data:image/png;base64,")
    return Picture.open(io.BytesIO(base64.b64decode(data)))


def test_the_position_is_where_the_mark_is(row: ImageRow) -> None:
    (cutout,) = cut_out(row, [request(row, 80.0, 50.0)], RULES)
    shades = np.array(decoded(cutout))
    assert shades.shape == (cutout.height, cutout.width) == (21, 21)
    assert (cutout.x, cutout.y) == pytest.approx((10.5, 10.5), abs=1e-6)
    assert shades[10, 10] == 1
    assert (np.delete(shades.ravel(), 10 * 21 + 10) > 100).all()


def test_a_position_between_pixels_is_marked_between_them(row: ImageRow) -> None:
    (cutout,) = cut_out(row, [request(row, 80.3, 49.8)], RULES)
    assert (cutout.x, cutout.y) == pytest.approx((10.8, 10.7), abs=1e-6)


def test_north_is_up_and_east_to_the_left(row: ImageRow) -> None:
    """A source north-east of the centre stands in the upper left."""
    centre = request(row, 84.0, 47.0)
    (cutout,) = cut_out(row, [centre], RULES)
    line, column = np.argwhere(np.array(decoded(cutout)) == 1)[0]
    assert (line, column) == (10 - 3, 10 - 4)
    assert cutout.north == pytest.approx((0.0, -1.0), abs=1e-6)
    assert cutout.east == pytest.approx((-1.0, 0.0), abs=1e-6)
    assert cutout.beam[:2] == pytest.approx((6.0, 6.0))


def test_what_is_outside_or_has_no_data_is_transparent(row: ImageRow) -> None:
    at_corner, at_gap = cut_out(row, [request(row, 1.0, 1.0), request(row, 99.0, 99.0)], RULES)
    opaque = np.array(decoded(at_corner).convert("RGBA"))[:, :, 3] > 0
    assert opaque.sum() == 12 * 12
    assert opaque[:12, 9:].all()
    opaque = np.array(decoded(at_gap).convert("RGBA"))[:, :, 3] > 0
    assert not opaque[:10, 11:].any()
    assert opaque.sum() == 21 * 21 - 10 * 10


def test_words_where_there_is_no_picture(row: ImageRow) -> None:
    outside, far, empty = cut_out(
        row,
        [
            request(row, 140.0, 50.0),
            CutoutRequest(10.0, -60.0, 0.1, 0.0, 0.01, 1.0),
            request(row, 120.0, 120.0),
        ],
        RULES,
    )
    assert outside.uri == far.uri == empty.uri == ""
    assert outside.problem == far.problem == "The position is outside this image."
    assert empty.problem == "No pixel around the position has data."


def test_a_large_cut_out_is_averaged_down(row: ImageRow) -> None:
    (cutout,) = cut_out(row, [request(row, 64.0, 64.0, 1000.0)], RULES)
    picture = decoded(cutout)
    assert max(picture.size) <= 112
    assert cutout.width == cutout.height == picture.width * 3
    assert len(cutout.uri) < 20_000


def test_grey_scale_follows_the_rms_and_not_the_picture(row: ImageRow) -> None:
    def centre(rms_jy: float) -> int:
        asked = request(row, 30.0, 30.0)
        noisy = CutoutRequest(asked.ra_deg, asked.dec_deg, asked.side_deg, -0.02, rms_jy, 1.0)
        return int(np.array(decoded(cut_out(row, [noisy], RULES)[0]))[10, 10])

    # A pixel of 0 Jy over a background of -0.02 Jy is at 2 and at 0.2 sigma; black is at 102 and at
    # 10.2 sigma, white at -3, and 3 sigma is where arcsinh(sigma / 3) bends.
    assert (centre(0.01), centre(0.1)) == (180, 170)


def test_a_file_that_is_another_one_now_is_not_shown(row: ImageRow, tmp_path: Path) -> None:
    data = Path(row.path).read_bytes()
    changed = tmp_path / row.file_name
    changed.write_bytes(data + b"\0" * 2880)
    moved = type(row)(**{**vars(row), "path": str(changed)})
    (cutout,) = cut_out(moved, [request(row, 80.0, 50.0)], RULES)
    assert cutout.uri == ""
    assert "changed since it was registered" in cutout.problem
    gone = type(row)(**{**vars(row), "path": str(tmp_path / "gone.fits")})
    (cutout,) = cut_out(gone, [request(row, 80.0, 50.0)], RULES)
    assert "gone.fits" in cutout.problem

"""HDUs, packed files and sizes: nothing is waited for, allocated or read that is not needed."""

from __future__ import annotations

import gzip
import os
import tracemalloc
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from astropy.io import fits

from trap_ops.config.model import ImagesConfig
from trap_ops.errors import ImageError
from trap_ops.images import fits as door
from trap_ops.images import reading
from trap_ops.images.files import SourceFile
from trap_ops.records.images import ImageFile, Plane
from unit.images.fits_files import header, pixels, rules_of, write


def read(path: Path, **settings: Any) -> ImageFile:
    (made,) = reading.read_headers(str(path), lambda _: ImagesConfig(**settings))
    return made


def refused(path: Path, **settings: Any) -> ImageError:
    with pytest.raises(ImageError) as raised:
        read(path, **settings)
    return raised.value


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """Images in the first and the third HDU, a table between them."""
    table = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1, 2])], name="LIST")
    second = fits.ImageHDU(pixels() + 1, header({"RESTFRQ": 2e8}), name="DEEP")
    path = tmp_path / "three.fits"
    fits.HDUList([fits.PrimaryHDU(pixels(), header()), table, second]).writeto(path)
    return path


@pytest.mark.parametrize(
    ("hdu", "frequency", "number"),
    [("first", 150e6, 0), (0, 150e6, 0), (2, 2e8, 2), ("DEEP", 2e8, 2), ("deep", 2e8, 2)],
)
def test_the_hdu_is_chosen(three: Path, hdu: int | str, frequency: float, number: int) -> None:
    made = read(three, hdu=hdu)
    assert (made.freq_eff_hz, made.plane.hdu) == (frequency, number)
    image = reading.read_image(str(three), made.plane, ImagesConfig())
    np.testing.assert_array_equal(image.pixels, pixels() + (number > 0))
    assert image.header_sha256 == made.header_sha256


@pytest.mark.parametrize(
    ("hdu", "said"),
    [
        (1, "HDU 1 is no image"),
        ("LIST", "HDU LIST is no image"),
        (5, r"images.hdu = 5\); it has 0 \(image\), 1 LIST, 2 DEEP \(image\)"),
        ("SCI", "images.hdu = 'SCI'"),
    ],
)
def test_an_hdu_that_is_no_image(three: Path, hdu: int | str, said: str) -> None:
    error = refused(three, hdu=hdu)
    assert error.reason == "no image"
    with pytest.raises(ImageError, match=said):
        raise error


def test_an_extension_inherits_what_it_says_it_does(tmp_path: Path) -> None:
    first = fits.PrimaryHDU(header=header())
    second = header({"DATE-OBS": None, "TELESCOP": None})
    for inherit in (True, False):
        second["INHERIT"] = inherit
        path = tmp_path / f"{inherit}.fits"
        fits.HDUList([first, fits.ImageHDU(pixels(), second)]).writeto(path)
    assert read(tmp_path / "True.fits").telescope == "SOMETHING"
    assert refused(tmp_path / "False.fits").reason == "no start time"


@pytest.mark.parametrize("more", range(72))
def test_headers_of_every_length(tmp_path: Path, more: int) -> None:
    """END may be the first card of a block, or the last."""
    made = header()
    for number in range(more):
        made[f"X{number}"] = number
    path = tmp_path / "a.fits"
    fits.HDUList([fits.PrimaryHDU(pixels(), made), fits.ImageHDU(pixels() + 1, made)]).writeto(path)
    for hdu in (0, 1):
        plane = read(path, hdu=hdu).plane
        image = reading.read_image(str(path), plane, ImagesConfig())
        np.testing.assert_array_equal(image.pixels, pixels() + hdu)


class Counted(BytesIO):
    """A file that says which of its bytes were read."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.last = 0

    def read(self, size: int | None = -1) -> bytes:
        found = super().read(size)
        self.last = max(self.last, self.tell())
        return found


def test_a_header_pass_reads_no_pixel_and_a_plane_no_other(tmp_path: Path) -> None:
    """Through any file that can be opened: it need not be one of this machine."""
    axis = {"CTYPE3": "FREQ", "CRVAL3": 1e8, "CDELT3": 1e6, "CRPIX3": 1.0}
    content = write(tmp_path / "a.fits", axis, pixels((8, 24, 32))).read_bytes()
    opened: list[Counted] = []

    def open_it() -> BinaryIO:
        opened.append(Counted(content))
        return opened[-1]

    source = SourceFile("s3://bucket/a.fits", "a.fits", len(content), 0, open_it)
    made = door.read_headers(source, lambda _: ImagesConfig(channels=[2]))
    assert opened[-1].last == 2880
    assert made[0].path == "s3://bucket/a.fits"
    image = door.read_image(source, made[0].plane, ImagesConfig())
    np.testing.assert_array_equal(image.pixels, pixels((8, 24, 32))[2])
    assert opened[-1].last == 2880 + 3 * 24 * 32 * 4
    assert all(each.closed for each in opened)


def test_pixels_that_are_holes_are_not_read(tmp_path: Path) -> None:
    """A file of 4 GB takes no memory as long as only its header is wanted."""
    path = tmp_path / "a.fits"
    raw = fits.PrimaryHDU(pixels(), header()).header
    raw["NAXIS1"], raw["NAXIS2"] = 31_000, 32_000
    path.write_bytes(raw.tostring().encode())
    os.truncate(path, 2880 + 31_000 * 32_000 * 4)
    tracemalloc.start()
    try:
        assert read(path).nx == 31_000
        assert tracemalloc.get_traced_memory()[1] < 10e6
    finally:
        tracemalloc.stop()


SIZES: list[tuple[dict[str, Any], str]] = [
    ({"NAXIS1": 2_000_000_000, "NAXIS2": 2_000_000_000}, "too many pixels"),
    ({"NAXIS1": 30_000, "NAXIS2": 30_000}, "truncated"),
    ({"NAXIS3": 2_000_000_000}, "truncated"),
    ({"NAXIS3": 10**30}, "truncated"),
]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("sizes", "reason"), SIZES)
def test_absurd_sizes_take_no_memory(
    tmp_path: Path, sizes: dict[str, Any], reason: str, *, packed: bool
) -> None:
    raw = fits.PrimaryHDU(pixels((1, 24, 32)), header({"CTYPE3": "FREQ", "CRVAL3": 1e8})).header
    for key, value in sizes.items():
        raw[key] = value
    content = raw.tostring().encode() + pixels().tobytes()
    path = tmp_path / "a.fits"
    path.write_bytes(gzip.compress(content) if packed else content)
    tracemalloc.start()
    try:
        assert refused(path, channels="all").reason == reason
        with pytest.raises(ImageError) as raised:
            reading.read_image(str(path), Plane(0, (0,)), ImagesConfig())
        assert raised.value.reason == reason
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


def test_the_limit_of_pixels_is_the_settings(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits")
    assert read(path, max_pixels=24 * 32).nx == 32
    error = refused(path, max_pixels=24 * 32 - 1)
    assert error.message == (
        "a.fits: its header announces 32 x 24 pixels, more than images.max_pixels = 767"
    )


# ---- Packed files.


def test_an_image_behind_other_data_of_a_packed_file(three: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.fits.gz"
    path.write_bytes(gzip.compress(three.read_bytes()))
    made = read(path, hdu="DEEP")
    image = reading.read_image(str(path), made.plane, ImagesConfig())
    np.testing.assert_array_equal(image.pixels, pixels() + 1)


def test_a_packed_file_is_unpacked_no_further_than_its_header_announces(tmp_path: Path) -> None:
    """A small file may hold terabytes; here 200 MB of zeros follow the image."""
    path = tmp_path / "a.fits.gz"
    content = write(tmp_path / "a.fits").read_bytes()
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(content)
        for _ in range(20):
            file.write(bytes(10_000_000))
    tracemalloc.start()
    try:
        image = reading.read_image(str(path), read(path).plane, ImagesConfig())
        assert tracemalloc.get_traced_memory()[1] < 10e6
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(image.pixels, pixels())


@pytest.mark.parametrize(
    ("spoil", "reasons"),
    [
        (lambda raw: raw[: len(raw) // 2], {"truncated"}),
        (lambda raw: raw[:-9], {"read", "truncated"}),
        (lambda raw: raw[:12], {"truncated"}),
        (lambda raw: raw[:200] + b"\xff" * 60 + raw[260:], {"bad gzip file", "truncated"}),
        (lambda raw: raw[:3] + b"\xff" * 7 + raw[10:], {"bad gzip file", "truncated"}),
        (lambda _: gzip.compress(b"hello " * 1000), {"not a FITS file"}),
        (lambda _: gzip.compress(b""), {"empty file"}),
    ],
)
def test_damaged_packed_files(
    tmp_path: Path, spoil: Callable[[bytes], bytes], reasons: set[str]
) -> None:
    rng = np.random.default_rng(1)
    data = rng.normal(0, 1, (200, 200)).astype(np.float32)
    path = tmp_path / "a.fits.gz"
    path.write_bytes(spoil(gzip.compress(write(tmp_path / "a.fits", data=data).read_bytes())))
    try:
        reading.read_image(str(path), Plane(), ImagesConfig())
        found = "read"
    except ImageError as error:
        found = error.reason
    assert found in reasons


def test_tiles_that_are_not_there_take_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.fits.fz"
    hdu = fits.CompImageHDU(pixels((200, 200)), header(), compression_type="RICE_1")
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    plane = read(path).plane
    raw = path.read_bytes()
    for key in (b"ZNAXIS2", b"ZNAXIS1"):
        card = raw[raw.index(key + b" =") :][:80]
        path.write_bytes(raw.replace(card, key + b" =              3000000".ljust(73)))
        with pytest.raises(ImageError) as raised:
            reading.read_image(str(path), plane, ImagesConfig(max_pixels=10**12))
        assert raised.value.reason in {"bad header", "unreadable pixels"}


# ---- Headers that do not end.


def test_a_header_without_end(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    path.write_bytes(write(tmp_path / "b.fits").read_bytes()[:800] + b" " * 2880 * 4_100)
    error = refused(path)
    assert (error.reason, "no END" in error.message) == ("bad header", True)


def test_sizes_do_not_lead_round_in_circles(tmp_path: Path) -> None:
    """HDUs without data, one after the other, and then none."""
    path = tmp_path / "a.fits"
    fits.HDUList([fits.PrimaryHDU(), *(fits.ImageHDU() for _ in range(300))]).writeto(path)
    assert refused(path).reason == "no image"


def test_a_file_that_changed_is_noticed_by_its_header(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits")
    before = read(path)
    path.unlink()
    write(path, {"BPA": 41.0})
    image = reading.read_image(str(path), before.plane, ImagesConfig())
    assert image.header_sha256 != before.header_sha256
    assert image.header_sha256 == reading.read_headers(str(path), rules_of)[0].header_sha256

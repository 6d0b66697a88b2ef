"""FITS files: whole and damaged ones, and where an image may be in them."""

from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from trap_ops.errors import ImageError
from trap_ops.images import reading
from trap_ops.records.images import Beam
from unit.images.fits_files import PIXEL_DEG, header, pixels, read_header, read_image, write

READERS = [read_header, read_image]


def content_sha256(path: Path) -> str:
    return reading.content_sha256(str(path))


def check_unchanged(path: Path, size: int, mtime_ns: int, sha256: str | None) -> None:
    reading.check_unchanged(str(path), size, mtime_ns, sha256)


def reason_of(reader: Callable[[Path], object], path: Path) -> str:
    with pytest.raises(ImageError) as raised:
        reader(path)
    # The user must know which file it is.
    assert raised.value.message.startswith(f"{path.name}: ")
    return raised.value.reason


# ---- Whole files.


def test_a_telescope_of_any_length_can_be_stored(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits", {"TELESCOP": "X" * 200})
    assert read_header(path).telescope == "X" * 64


def test_control_characters_of_files_are_written_out(tmp_path: Path) -> None:
    raw = bytearray(write(tmp_path / "a.fits").read_bytes())
    place = raw.index(b"SOMETHING")
    raw[place : place + 5] = b"\x1b[31m"
    path = tmp_path / "b\n.fits"
    path.write_bytes(raw)
    with pytest.raises(ImageError, match=r"^b\\u000a\.fits: .*damaged.*\\x1b\[31m"):
        read_header(path)


def test_header_of_an_image(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits")
    made = read_header(path)
    assert (made.path, made.file_name) == (str(path), "a.fits")
    assert (made.file_size, made.file_mtime_ns) == (path.stat().st_size, path.stat().st_mtime_ns)
    assert made.telescope == "SOMETHING"
    assert made.stokes == 1
    assert (made.freq_eff_hz, made.freq_bw_hz) == (150e6, 2e6)
    assert (made.start, made.integration_s) == (datetime(2012, 4, 6, 3, 42), 600.0)
    assert made.beam == Beam(30 / 3600, 20 / 3600, 40.0)
    assert (made.nx, made.ny) == (32, 24)
    np.testing.assert_allclose(made.pixel_matrix_deg, [[-PIXEL_DEG, 0], [0, PIXEL_DEG]], rtol=1e-12)
    assert (made.sky_ra_deg[0], made.sky_dec_deg[0]) == pytest.approx((123.0, 10.0))
    assert made.notes == ()


def test_assumptions_are_noted(tmp_path: Path) -> None:
    changes = {"RESTBW": None, "END_UTC": None, "BUNIT": None, "TELESCOP": None, "TIMESYS": "X"}
    made = read_header(write(tmp_path / "a.fits", changes))
    assert made.telescope == ""
    assert [note.split(":")[0] for note in made.notes] == [
        "no bandwidth",
        "time scale 'X' is unknown",
        "no integration time",
        "no BUNIT",
    ]


def test_the_hash_of_the_header_changes_with_its_cards_only(tmp_path: Path) -> None:
    first = read_header(write(tmp_path / "a.fits"))
    same = read_header(write(tmp_path / "b.fits", data=pixels() + 1))
    other = read_header(write(tmp_path / "c.fits", {"BPA": 41.0}))
    assert first.header_sha256 == same.header_sha256 != other.header_sha256


def test_pixels_of_an_image(tmp_path: Path) -> None:
    image = read_image(write(tmp_path / "a.fits"))
    assert image.pixels.dtype == np.float32
    assert image.pixels.dtype.isnative
    assert image.pixels.flags.writeable
    np.testing.assert_array_equal(image.pixels, pixels())
    assert image.beam == Beam(30 / 3600, 20 / 3600, 40.0)
    # Index 0 is y: the pixel of the reference value.
    ra, dec = image.wcs.wcs_pix2world(16.0, 12.0, 0)
    assert (float(ra), float(dec)) == pytest.approx((123.0, 10.0), abs=1e-12)
    np.testing.assert_allclose(image.pixel_matrix_deg[1, 1], PIXEL_DEG, rtol=1e-12)


@pytest.mark.parametrize("shape", [(1, 24, 32), (1, 1, 24, 32), (1, 1, 1, 24, 32)])
def test_axes_of_one_plane_are_dropped(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = write(tmp_path / "a.fits", data=pixels().reshape(shape))
    assert (read_header(path).nx, read_header(path).ny) == (32, 24)
    np.testing.assert_array_equal(read_image(path).pixels, pixels())


@pytest.mark.parametrize("shape", [(2, 24, 32), (1, 2, 24, 32), (2, 1, 24, 32), (2, 3, 24, 32)])
@pytest.mark.parametrize("reader", READERS)
def test_several_planes_are_refused(
    tmp_path: Path, shape: tuple[int, ...], reader: Callable[[Path], object]
) -> None:
    assert reason_of(reader, write(tmp_path / "a.fits", data=pixels(shape))) == "several planes"


def test_units_are_applied(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits", {"BUNIT": "mJy/beam"})
    np.testing.assert_allclose(read_image(path).pixels, pixels() * 1e-3, rtol=1e-6)


@pytest.mark.parametrize("dtype", [">f8", ">i2", ">i4"])
def test_other_types_of_pixels(tmp_path: Path, dtype: str) -> None:
    path = write(tmp_path / "a.fits", data=pixels().astype(dtype))
    np.testing.assert_array_equal(read_image(path).pixels, pixels())


def test_scaled_integers_with_blanks(tmp_path: Path) -> None:
    """As AIPS writes them: BSCALE, BZERO and a value for pixels without data."""
    stored = np.arange(24 * 32, dtype=np.int16).reshape(24, 32)
    stored[3, 4] = -32768
    path = write(tmp_path / "a.fits", data=stored)
    with fits.open(path, mode="update", do_not_scale_image_data=True) as hdus:
        hdus[0].header["BSCALE"], hdus[0].header["BZERO"] = 0.5, 10.0
        hdus[0].header["BLANK"] = -32768
    made = read_image(path).pixels
    expected = stored * np.float32(0.5) + np.float32(10.0)
    expected[3, 4] = np.nan
    np.testing.assert_array_equal(made, expected)


def test_nan_and_infinite_pixels_are_kept(tmp_path: Path) -> None:
    data = pixels()
    data[0, :3] = np.nan, np.inf, -np.inf
    np.testing.assert_array_equal(read_image(write(tmp_path / "a.fits", data=data)).pixels, data)


@pytest.mark.parametrize("reader", READERS)
def test_an_image_in_an_extension(tmp_path: Path, reader: Callable[[Path], object]) -> None:
    table = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1, 2])])
    path = tmp_path / "a.fits"
    fits.HDUList([fits.PrimaryHDU(), table, fits.ImageHDU(pixels(), header())]).writeto(path)
    reader(path)
    np.testing.assert_array_equal(read_image(path).pixels, pixels())
    assert read_header(path).freq_eff_hz == 150e6


def test_the_first_image_counts(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    fits.HDUList(
        [
            fits.PrimaryHDU(np.zeros(5)),
            fits.ImageHDU(pixels(), header({"RESTFRQ": 1e8})),
            fits.ImageHDU(pixels() + 1, header({"RESTFRQ": 2e8})),
        ]
    ).writeto(path)
    assert read_header(path).freq_eff_hz == 1e8
    np.testing.assert_array_equal(read_image(path).pixels, pixels())


def test_a_tile_compressed_image(tmp_path: Path) -> None:
    path = tmp_path / "a.fits.fz"
    hdu = fits.CompImageHDU(pixels(), header(), compression_type="GZIP_2")
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    made = read_header(path)
    assert (made.nx, made.ny, made.freq_eff_hz) == (32, 24, 150e6)
    np.testing.assert_array_equal(read_image(path).pixels, pixels())


def test_a_gzipped_image(tmp_path: Path) -> None:
    """Smaller than its header announces, and whole all the same."""
    path = tmp_path / "a.fits.gz"
    path.write_bytes(gzip.compress(write(tmp_path / "a.fits").read_bytes()))
    made = read_header(path)
    assert (made.nx, made.file_size) == (32, path.stat().st_size)
    np.testing.assert_array_equal(read_image(path).pixels, pixels())


def test_real_images_read_as_their_independent_values_say(shared_data: Path) -> None:
    """The table in the README of the shared data."""
    folder = shared_data / "images"
    grb = read_header(folder / "GRB120422A-120429.fits")
    assert (grb.nx, grb.ny, grb.stokes, grb.telescope) == (512, 512, 1, "AMI-LA")
    assert grb.beam.bmaj_deg == pytest.approx(0.0150675, abs=5e-8)
    assert grb.beam.bmin_deg == pytest.approx(0.0068480, abs=5e-8)
    assert grb.beam.bpa_deg == pytest.approx(5.0145, abs=5e-5)
    assert grb.freq_eff_hz == pytest.approx(16505187505.0, abs=1.0)
    assert grb.start == datetime(2012, 4, 29, 17, 19, 23, 1599)
    assert grb.pixel_matrix_deg[1][1] == pytest.approx(0.0013889, abs=5e-8)
    centre = (grb.sky_ra_deg[0], grb.sky_dec_deg[0])
    assert centre == pytest.approx((136.91025, 14.01822), abs=1e-5)
    swift = read_header(folder / "SWIFT_554620-130504.fits")
    assert swift.beam.bpa_deg == pytest.approx(13.5456, abs=5e-5)
    assert (swift.freq_eff_hz, swift.freq_bw_hz) == pytest.approx((16879928130.0, 2248443750.0))
    assert swift.start == datetime(2013, 5, 4, 18, 59, 19, 996801)
    centre = (swift.sky_ra_deg[0], swift.sky_dec_deg[0])
    assert centre == pytest.approx((173.13871, 27.69150), abs=1e-5)
    lofar = read_header(folder / "GRB201006A-t0002-cutout.fits")
    assert (lofar.freq_eff_hz, lofar.freq_bw_hz) == pytest.approx((143650817.87, 46875000.0))
    assert lofar.start == datetime(2020, 10, 6, 1, 26, 36, 800000)
    assert lofar.beam.bmaj_deg == pytest.approx(0.0090191, abs=5e-8)
    assert lofar.beam.bpa_deg == pytest.approx(38.686, abs=5e-4)


# ---- Files that are not an image, or not all of one.

MISSING = [
    ("BMAJ", "no beam", READERS),
    ("BMIN", "no beam", READERS),
    ("BPA", "no beam", READERS),
    ("CRVAL1", "no coordinates", READERS),
    ("CRPIX2", "no coordinates", READERS),
    ("CDELT1", "no coordinates", READERS),
    ("CTYPE2", "no coordinates", READERS),
    ("RESTFRQ", "no frequency", [read_header]),
    ("DATE-OBS", "no start time", [read_header]),
]


@pytest.mark.parametrize(
    ("key", "reason", "reader"),
    [(key, reason, reader) for key, reason, readers in MISSING for reader in readers],
)
def test_missing_keywords(
    tmp_path: Path, key: str, reason: str, reader: Callable[[Path], object]
) -> None:
    assert reason_of(reader, write(tmp_path / "a.fits", {key: None})) == reason


@pytest.mark.parametrize("reader", READERS)
def test_a_wrong_unit(tmp_path: Path, reader: Callable[[Path], object]) -> None:
    assert reason_of(reader, write(tmp_path / "a.fits", {"BUNIT": "K"})) == "unit"


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("length", "reason"),
    [
        (0, "empty file"),
        (5, "not a FITS file"),
        (6, "truncated"),
        (80, "truncated"),
        (1000, "truncated"),
        (2879, "truncated"),
        (2880, "truncated"),
        (2881, "truncated"),
        (2880 + 24 * 32 * 4 - 1, "truncated"),
    ],
)
def test_truncated_files(
    tmp_path: Path, reader: Callable[[Path], object], length: int, reason: str
) -> None:
    whole = write(tmp_path / "whole.fits").read_bytes()
    assert len(whole) == 2880 + 2 * 2880
    path = tmp_path / "a.fits"
    path.write_bytes(whole[:length])
    assert reason_of(reader, path) == reason


def test_missing_padding_is_no_truncation(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.fits").read_bytes()
    path = tmp_path / "a.fits"
    path.write_bytes(whole[: 2880 + 24 * 32 * 4])
    assert read_header(path).nx == 32
    np.testing.assert_array_equal(read_image(path).pixels, pixels())


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("length", "reason"),
    [
        # An empty primary HDU alone is a whole file without an image.
        (2880, "no image"),
        (2881, "truncated"),
        (4000, "truncated"),
        (5759, "truncated"),
        (5760, "truncated"),
        (5760 + 24 * 32 * 4 - 1, "truncated"),
    ],
)
def test_a_truncated_extension(
    tmp_path: Path, reader: Callable[[Path], object], length: int, reason: str
) -> None:
    whole = tmp_path / "whole.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(pixels(), header())]).writeto(whole)
    path = tmp_path / "a.fits"
    path.write_bytes(whole.read_bytes()[:length])
    assert reason_of(reader, path) == reason


def test_a_truncated_compressed_image(tmp_path: Path) -> None:
    """Its header may be two blocks long, of which one is left."""
    whole = tmp_path / "whole.fits"
    hdu = fits.CompImageHDU(pixels((200, 200)), header(), compression_type="RICE_1")
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(whole)
    data = whole.read_bytes()
    start = data.index(b"XTENSION")
    end = data.index(b"END" + b" " * 77, start)
    blocks = -(-(end + 80 - start) // 2880)
    assert blocks == 2
    path = tmp_path / "a.fits"
    path.write_bytes(data[: start + 2880])
    assert {reason_of(reader, path) for reader in READERS} == {"truncated"}
    path.write_bytes(data[: start + blocks * 2880 + 100])
    assert {reason_of(reader, path) for reader in READERS} == {"truncated"}


def test_a_truncated_gzipped_image(tmp_path: Path) -> None:
    packed = gzip.compress(write(tmp_path / "a.fits", data=pixels((200, 200))).read_bytes())
    path = tmp_path / "a.fits.gz"
    for length in (10, len(packed) // 2):
        path.write_bytes(packed[:length])
        assert reason_of(read_image, path) == "truncated"


@pytest.mark.parametrize("reader", READERS)
def test_files_that_are_not_fits(tmp_path: Path, reader: Callable[[Path], object]) -> None:
    path = tmp_path / "a.fits"
    path.write_text("hello world\n" * 1000)
    assert reason_of(reader, path) == "not a FITS file"
    path.write_bytes(b"\x00" * 10000)
    assert reason_of(reader, path) == "not a FITS file"


@pytest.mark.parametrize("reader", [*READERS, content_sha256])
def test_files_that_are_away(tmp_path: Path, reader: Callable[[Path], object]) -> None:
    for path, reason in (
        (tmp_path, "unreadable file"),
        (tmp_path / "missing.fits", "no such file"),
    ):
        with pytest.raises(ImageError, match="cannot be read") as raised:
            reader(path)
        assert raised.value.reason == reason
        # It may be back when the next run tries.
        assert raised.value.passing


@pytest.mark.parametrize("reader", READERS)
def test_files_without_an_image(tmp_path: Path, reader: Callable[[Path], object]) -> None:
    table = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1, 2])])
    path = tmp_path / "a.fits"
    for hdus in ([fits.PrimaryHDU()], [fits.PrimaryHDU(), table], [fits.PrimaryHDU(pixels((32,)))]):
        fits.HDUList(hdus).writeto(path, overwrite=True)
        assert reason_of(reader, path) == "no image"


def _card(key: str, value: str) -> bytes:
    return f"{key:8}= {value:>20}".ljust(80).encode()


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("key", "value"),
    [
        # Sizes below zero: astropy alone goes round in circles for ever.
        ("NAXIS2", "-24"),
        ("NAXIS2", "24.5"),
        ("NAXIS2", "'x'"),
        ("NAXIS2", ""),
        ("NAXIS", "3"),
        # So many that astropy would never end.
        ("NAXIS", "99999999999"),
        ("BITPIX", "'x'"),
        ("BMAJ", "1.\x01"),
    ],
)
def test_damaged_headers(
    tmp_path: Path, reader: Callable[[Path], object], key: str, value: str
) -> None:
    path = write(tmp_path / "a.fits")
    data = path.read_bytes()
    place = data.index(f"{key:8}=".encode())
    path.write_bytes(data[:place] + _card(key, value) + data[place + 80 :])
    assert reason_of(reader, path) == "bad header"


@pytest.mark.parametrize("seed", range(4))
def test_no_damage_raises_anything_but_an_image_error(tmp_path: Path, seed: int) -> None:
    """A bad image never stops a run, however it is bad."""
    rng = np.random.default_rng(seed)
    whole = write(tmp_path / "whole.fits", {"CTYPE3": "FREQ", "CRVAL3": 1e8}).read_bytes()
    path = tmp_path / "a.fits"
    outcomes = set()
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(rng.integers(1, 4)):
            place = int(rng.integers(0, 28 * 80))
            if rng.random() < 0.5:
                data[place] = rng.integers(0, 256)
            else:
                place = place // 80 * 80 + 10
                words = ["", "nan", "-99.9", "T", "1.5.5", "'text'", "1E400", "9999", "0", "-1"]
                data[place : place + 20] = f"{rng.choice(words):>20}".encode()
        path.write_bytes(bytes(data))
        for reader in READERS:
            try:
                reader(path)
                outcomes.add("read")
            except ImageError as error:
                outcomes.add(error.reason)
    assert {"read", "bad header", "no coordinates"} < outcomes


# ---- Files that change.


def test_content_hash(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc" * 1_000_000)
    assert content_sha256(path) == hashlib.sha256(b"abc" * 1_000_000).hexdigest()
    path.write_bytes(b"")
    assert content_sha256(path) == hashlib.sha256(b"").hexdigest()


def test_an_unchanged_file_passes(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    status = path.stat()
    check_unchanged(path, 5, status.st_mtime_ns, None)
    # Its hash is not asked for as long as size and time agree.
    check_unchanged(path, 5, status.st_mtime_ns, "0" * 64)
    os.utime(path, ns=(0, 0))
    check_unchanged(path, 5, status.st_mtime_ns, content_sha256(path))


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    mtime, sha256 = path.stat().st_mtime_ns, content_sha256(path)
    path.write_bytes(b"12346")
    os.utime(path, ns=(0, 0))
    with pytest.raises(ImageError, match=r"^a: the file has changed") as raised:
        check_unchanged(path, 5, mtime, sha256)
    assert raised.value.reason == "file changed"
    path.write_bytes(b"123456")
    with pytest.raises(ImageError, match="it had 5 bytes, it has 6") as raised:
        check_unchanged(path, 5, path.stat().st_mtime_ns, sha256)
    assert raised.value.reason == "file changed"


def test_a_file_that_has_gone_is_no_changed_one(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cannot be read") as raised:
        check_unchanged(tmp_path / "a", 5, 0, None)
    assert raised.value.reason == "no such file"

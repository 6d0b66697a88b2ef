"""Packed files that are cut, broken or swell; and files that are no FITS at all."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from functools import cache

import numpy as np
from astropy.io import fits

from damaged.cards import CARDS, NX, card, extension, header, image, noise
from damaged.files import PIXELS, Damaged, of_bytes, readable

WHOLE = image()
NO_FITS = ("not a FITS file",)
BROKEN = (
    "bad gzip file",
    "truncated",
    "bad header",
    "unreadable pixels",
    "unreadable file",
    "not a FITS file",
)
# Of a file that can be told from FITS by its beginning, or that is unpacked and then read.
PACKED = (
    "bad gzip file",
    "not a FITS file",
    "bad header",
    "truncated",
    "unreadable file",
    "unreadable pixels",
)
TOO_LARGE = ("too many pixels",)


def damaged_packed() -> list[Damaged]:
    return [*_gzip(), *_bombs(), *_tiles(), *_other_formats()]


def _packed(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def _gzip() -> Iterator[Damaged]:
    whole = _packed(WHOLE)
    yield readable("whole.fits.gz", whole)
    yield readable("not-packed.fits.gz", WHOLE)
    yield readable("packed.fits", whole)
    # Random pixels hardly shrink: the header's end is at about 700 bytes.
    for size in (2, 5, 9, 10, 11, 18, 100, 300):
        yield of_bytes(f"cut-at-{size}.fits.gz", whole[:size], BROKEN, stage=PIXELS)
    for size in (2000, len(whole) // 2, len(whole) - 500):
        yield of_bytes(
            f"cut-at-{size}.fits.gz", whole[:size], ("truncated", "unreadable pixels"), stage=PIXELS
        )
    for size in (len(whole) - 9, len(whole) - 8, len(whole) - 1):  # No pixel is cut.
        reasons = ("truncated", "unreadable pixels")
        yield of_bytes(f"cut-at-{size}.fits.gz", whole[:size], reasons, stage=PIXELS, may_pass=True)
    for place in (0, 1, 2, 3, 20, 60, 200, 3000, len(whole) // 2, len(whole) - 1000):
        broken = bytearray(whole)
        broken[place] ^= 0xFF
        name = f"byte-{place}-wrong.fits.gz"
        yield of_bytes(name, bytes(broken), BROKEN, stage=PIXELS, may_pass=place == 3)
    checksum = bytearray(whole)
    checksum[-6] ^= 1
    yield of_bytes("checksum-wrong.fits.gz", bytes(checksum), BROKEN, stage=PIXELS, may_pass=True)
    yield of_bytes("only-magic.fits.gz", b"\x1f\x8b", BROKEN, stage=PIXELS)
    yield of_bytes("empty-inside.fits.gz", _packed(b""), (*BROKEN, "empty file"), stage=PIXELS)
    yield of_bytes("text-inside.fits.gz", _packed(b"no FITS\n" * 500), PACKED, "FITS|header")
    yield of_bytes("cut-inside.fits.gz", _packed(WHOLE[:9000]), BROKEN, stage=PIXELS)
    yield of_bytes("header-cut-inside.fits.gz", _packed(WHOLE[:2000]), PACKED, "trunc|header|cut")
    yield of_bytes("twice-packed.fits.gz", _packed(whole), PACKED, "FITS|header")
    for value in ("1000000000", "-1"):
        content = _packed(image({"NAXIS": value}))
        yield of_bytes(f"naxis-{value}.fits.gz", content, (*PACKED, "no image"))
    blanks = b"".join(card(key, value) for key, value in CARDS.items()) + b" " * (20 << 20)
    yield of_bytes("no-end.fits.gz", _packed(blanks), (*PACKED, "no image"), "END|header|trunc")


@cache
def _member(filler: bytes) -> bytes:
    """8 MB of one character as a member of a packed file."""
    return gzip.compress(filler * (8 << 20), 9, mtime=0)


def _bombs() -> Iterator[Damaged]:
    """Ten gigabytes of zeros in ten megabytes."""
    zeros = _member(b"\x00") * 1200
    yield of_bytes("bomb.fits.gz", zeros, PACKED)
    large = header({"NAXIS1": "50000", "NAXIS2": "50000", "CDELT1": "-1E-7", "CDELT2": "1E-7"})
    yield of_bytes("bomb-with-header.fits.gz", _packed(large) + zeros, TOO_LARGE, "pixels")
    yield of_bytes("bomb-without-end.fits.gz", _packed(header()[:2880]) + zeros, PACKED)
    blanks = _member(b" ") * 1200
    yield of_bytes("bomb-of-blanks.fits.gz", _packed(header()[:2880]) + blanks, PACKED)
    many = image({"NAXIS": "0"} | {f"NAXIS{axis}": None for axis in (1, 2, 3, 4)})
    yield of_bytes("bomb-behind.fits.gz", _packed(many) + zeros, (*PACKED, "no image"))
    second = header(cards={"SIMPLE": "T", "BITPIX": "8", "NAXIS": "1", "NAXIS1": str(10**10)})
    content = _packed(second) + zeros + _packed(extension() + WHOLE[5760:])
    yield of_bytes(
        "bomb-between.fits.gz", content, (*PACKED, "no image", "too large"), may_pass=True
    )


@cache
def tiled(kind: str = "RICE_1", **changes: str) -> bytes:
    """An image in compressed tiles, cards of its table replaced afterwards."""
    plain = fits.HDUList.fromstring(WHOLE)
    data = noise() if kind != "PLIO_1" else np.abs(np.rint(1e4 * noise())).astype(np.int32)
    hdu = fits.CompImageHDU(data, plain[0].header, compression_type=kind, tile_shape=(8, NX))
    file = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(file)
    content = file.getvalue()
    for key, value in changes.items():
        start = content.index(f"{key:8}=".encode())
        content = content[:start] + card(key, value) + content[start + 80 :]
    return content


def _tiles() -> Iterator[Damaged]:
    yield readable("whole.fits.fz", tiled())
    yield readable("whole-gzip.fits.fz", tiled("GZIP_1"))
    whole = tiled()
    table = whole.index(b"XTENSION")
    data = whole.index(b"END" + b" " * 77, table) // 2880 * 2880 + 2880
    for size in (table, table + 80, table + 3000):
        reasons = ("truncated", "no image", "bad header")
        yield of_bytes(f"cut-at-{size}.fits.fz", whole[:size], reasons)
    for size in (data, data + 8, data + 300, data + 3000, (data + len(whole)) // 2):
        reasons = ("truncated", "unreadable pixels", "bad header")
        yield of_bytes(f"cut-at-{size}.fits.fz", whole[:size], reasons, stage=PIXELS)
    broken = (
        "bad header",
        "unreadable pixels",
        "no image",
        "truncated",
        "no coordinates",
        *TOO_LARGE,
    )
    for key, values in {
        "ZNAXIS1": ("0", "-1", "1000000000", "128", "'x'", str(2**63)),
        "ZNAXIS2": ("0", "-1", "1000000000", "128", "'x'", str(2**63)),
        "ZNAXIS": ("0", "-1", "1", "999", "1000000000", "'x'"),
        "ZTILE1": ("0", "-1", "1000000000", "'x'"),
        "ZTILE2": ("0", "-1", "1000000000", "3"),
        "ZBITPIX": ("7", "'x'", "0"),
        "ZCMPTYPE": ("'NOSUCH'", "1.0"),
        "PCOUNT": ("0", "-1", "99999999999999"),
        "NAXIS2": ("0", "-1", "1000000000000"),
        "NAXIS1": ("0", "1"),
        "TFIELDS": ("0", "999", "-1"),
        "TFORM1": ("'1PB(-5)'", "'XX'", "'1QB(9)'"),
        "ZVAL1": ("0", "-1", "1000000000"),
        "ZVAL2": ("7", "-1"),
    }.items():
        for value in values:
            name = f"{key}-{value}.fits.fz".lower().replace("'", "")
            # What the unpacking does not look at may be wrong without a loss.
            yield of_bytes(name, tiled(**{key: value}), broken, stage=PIXELS, may_pass=True)
    # The descriptors of the tiles, 8 bytes each: their lengths and places in the heap.
    for number, filler in enumerate((b"\xff", b"\x7f", b"\x00")):
        content = whole[:data] + filler * 64 + whole[data + 64 :]
        # Tiles of no length are taken for empty ones: all their pixels are zero or NaN.
        yield of_bytes(
            f"descriptors-{number}.fits.fz", content, broken, stage=PIXELS, may_pass=not filler[0]
        )
    lost = whole[:data] + b"\xff" * (len(whole) - data)
    yield of_bytes("all-ones.fits.fz", lost, (*broken, "CONTAINS_NAN"), stage=PIXELS)


def _other_formats() -> Iterator[Damaged]:
    page = b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head></html>\n"
    tar, zipped = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        entry = tarfile.TarInfo("a.fits")
        entry.size = len(WHOLE)
        archive.addfile(entry, io.BytesIO(WHOLE))
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("a.fits", WHOLE)
        archive.writestr("b.fits", WHOLE)
    yield of_bytes("empty.fits", b"", "empty file", "empty")
    yield of_bytes("empty.fits.gz", b"", "empty file", "empty")
    yield of_bytes("one-byte.fits", b"S", (*NO_FITS, "truncated"))
    yield of_bytes("new-line.fits", b"\n", NO_FITS, "not a FITS")
    for name, content in {
        "text": b"this is no FITS file\n" * 50,
        "web-page": page * 40,
        "short-web-page": page,
        "json": b'{"error": "no such object"}',
        "xml": b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
        "png": b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 12,
        "hdf5": b"\x89HDF\r\n\x1a\n" + bytes(3000),
        "elf": b"\x7fELF\x02\x01\x01" + bytes(3000),
        "pickle": b"\x80\x04\x95" + bytes(range(100)),
        "utf-16": "SIMPLE  = T".encode("utf-16"),
        "random": np.random.default_rng(1).bytes(5000),
        "lfs-pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
        "simply": b"SIMPLY a text that begins like one" * 100,
        "tar": tar.getvalue(),
    }.items():
        yield of_bytes(f"{name}.fits", content, NO_FITS, "not a FITS")
    for name, content in {
        "zip": zipped.getvalue(),
        "xz": lzma.compress(WHOLE),
        "bz2": bz2.compress(WHOLE),
        "z": b"\x1f\x9d\x90" + zlib.compress(WHOLE),
        "xz-cut": lzma.compress(WHOLE)[:3000],
        "bz2-cut": bz2.compress(WHOLE)[:3000],
        "xz-text": lzma.compress(b"no FITS" * 600),
        "xz-bomb": lzma.compress(bytes(2_000_000)) * 500,
        "bz2-bomb": bz2.compress(bytes(2_000_000)) * 500,
    }.items():
        may_pass = name in {"xz", "bz2"}
        yield of_bytes(f"{name}.fits", content, PACKED, stage=PIXELS, may_pass=may_pass)

"""Files that are cut, announce what they do not hold, or never end."""

from __future__ import annotations

from collections.abc import Iterator

from damaged.cards import (
    BLOCK,
    CARDS,
    EMPTY_PRIMARY,
    NX,
    NY,
    card,
    extension,
    header,
    image,
    noise,
    padded,
    pixels,
    table,
)
from damaged.files import PIXELS, Damaged, of_bytes, readable

WHOLE = image()
N_HEADER = len(header())
N_DATA = 4 * NX * NY
# Pixels so small that the largest image is on the sky.
FINE = {"CDELT1": "-1E-9", "CDELT2": "1E-9"}
LAST = padded(pixels(noise()))
CUT = ("truncated",)
BAD = ("bad header",)
NO_IMAGE = ("no image",)
TOO_LARGE = ("too many pixels",)


def damaged_structures() -> list[Damaged]:
    return [
        *_cut(),
        *_cut_further_on(),
        *_axes(),
        *_pixel_types(),
        *_groups_and_parameters(),
        *_absurd_sizes(),
        *_without_end(),
        *_units(),
    ]


def _cut() -> Iterator[Damaged]:
    for size in (6, 9, 30):
        reasons = (*CUT, "not a FITS file")
        yield of_bytes(f"cut-at-{size}.fits", WHOLE[:size], reasons, "truncated|not a FITS")
    for size in (79, 80, 81, 160, 240, 800, 1601, 2000, 2879, 2880, 2881, 3200, 4000, 5759):
        yield of_bytes(f"cut-at-{size}.fits", WHOLE[:size], CUT, f"truncated.*{size}")
    for into in (0, 1, 4, 240, 2879, 2880, N_DATA // 2, N_DATA - 256, N_DATA - 4, N_DATA - 1):
        size = N_HEADER + into
        yield of_bytes(f"cut-at-{size}.fits", WHOLE[:size], CUT, f"truncated.*{size}")
    for size in (N_HEADER + N_DATA, N_HEADER + N_DATA + 1, len(WHOLE) - 1):
        yield readable(f"cut-in-padding-at-{size}.fits", WHOLE[:size])
    yield readable("more-behind.fits", WHOLE + b"x" * 100)


def _cut_further_on() -> Iterator[Damaged]:
    second = EMPTY_PRIMARY + extension() + LAST
    start = len(EMPTY_PRIMARY)
    yield of_bytes("only-empty-primary.fits", second[:start], NO_IMAGE, "no image")
    for into in (1, 79, 80, 400, 2000, 2880, 4001):
        size = start + into
        yield of_bytes(f"second-cut-at-{size}.fits", second[:size], CUT, "truncated")
    for into in (0, 5, 2880, N_DATA - 1):
        size = start + len(extension()) + into
        yield of_bytes(f"second-cut-at-{size}.fits", second[:size], CUT, f"truncated.*{size}")
    # The beam is in a table behind the image, as CASA writes it.
    beams = header({"BMAJ": None, "BMIN": None, "BPA": None, "CASAMBM": "T"}) + LAST
    whole = beams + table(1)
    for size in (len(beams), len(beams) + 100, len(beams) + 2000, len(whole) - BLOCK):
        reasons = ("no beam", "bad beam", "truncated", "bad header")
        yield of_bytes(f"beams-cut-at-{size}.fits", whole[:size], reasons, "beam|BMAJ|truncated")


def _axes() -> Iterator[Damaged]:
    for value in ("0", "1"):
        yield of_bytes(
            f"naxis-{value}.fits", image({"NAXIS": value}), (*NO_IMAGE, *BAD), "axes|image"
        )
    for value in ("-1", "'x'", "T", "2.5", "1000000000", "1000", "99999999999", "", "(1.0, 2.0)"):
        yield of_bytes(
            f"naxis-{value or 'undefined'}.fits".replace("'", ""),
            image({"NAXIS": value}),
            (*BAD, "no image", "not a FITS file", "truncated"),
            "header|image|NAXIS|axes",
        )
    yield of_bytes("naxis-999.fits", image({"NAXIS": "999"}), (*BAD, *NO_IMAGE), "header|image")
    for axis in (1, 2):
        key = f"NAXIS{axis}"
        for value in ("0", "-1", "-64", "'x'", "T", "", "64.5", "NAN"):
            name = f"{key.lower()}-{value or 'undefined'}.fits".replace("'", "")
            yield of_bytes(name, image({key: value}), (*BAD, *NO_IMAGE), "header|no image|NAXIS")
        for value in ("100", "129", "1000000", "99999999999"):
            reasons = (*CUT, *TOO_LARGE)
            yield of_bytes(f"{key.lower()}-{value}.fits", image({key: value}), reasons)
        yield of_bytes(
            f"{key.lower()}-missing.fits",
            image({key: None}),
            (*BAD, *NO_IMAGE),
            "NAXIS|header|no im",
        )
    for value in (2**31, 2**63 - 1, 2**63, 2**64, 2**64 + 64, 10**30):
        changes = {"NAXIS1": str(value), "NAXIS2": str(value)}
        reasons = (*CUT, *TOO_LARGE, *BAD)
        yield of_bytes(f"both-axes-{value}.fits", image(changes), reasons)
    # The product of the axes is 2^64 + 4096 and 2^64: as a 64-bit number 4096, which is there.
    overflow = {"NAXIS1": str(2**32), "NAXIS2": str(2**32)}
    yield of_bytes("product-2-to-64.fits", image(overflow), (*CUT, *TOO_LARGE))
    for planes in (2, 3, 100):
        data = {"NAXIS3": str(planes)}
        content = header(data) + LAST * planes
        yield of_bytes(
            f"{planes}-channels.fits", content, ("several planes",), f"{planes}.*(planes|channels)"
        )
    yield of_bytes("no-channel.fits", image({"NAXIS3": "0"}), (*NO_IMAGE, *BAD))
    yield of_bytes("minus-one-channel.fits", image({"NAXIS3": "-1"}), (*NO_IMAGE, *BAD))


def _pixel_types() -> Iterator[Damaged]:
    for value in ("7", "-33", "0", "'x'", "T", "", "1E300", "128", "-31"):
        name = f"bitpix-{value or 'undefined'}.fits".replace("'", "")
        # Of pixels with so many bits the file would also be too short.
        reasons = (*BAD, *CUT) if value in {"128", "1E300"} else BAD
        yield of_bytes(name, image({"BITPIX": value}), reasons, "header|BITPIX|truncated")
    yield of_bytes("bitpix-missing.fits", image({"BITPIX": None}), BAD, "header|BITPIX")
    for value in ("64", "-64"):
        yield of_bytes(f"bitpix-{value}.fits", image({"BITPIX": value}), CUT, "truncated")


def _groups_and_parameters() -> Iterator[Damaged]:
    for key in ("PCOUNT", "GCOUNT"):
        for value in ("-1", "-1000000000000", "0", "99999999999999", "'x'", "T"):
            content = EMPTY_PRIMARY + extension(changes={key: value}) + LAST
            name = f"{key.lower()}-{value}.fits".replace("'", "")
            yield of_bytes(name, content, (*BAD, *CUT, *NO_IMAGE), may_pass=True)
    groups = {"NAXIS1": "0", "GROUPS": "T", "PCOUNT": "3", "GCOUNT": "10", "NAXIS2": "4"}
    yield of_bytes("random-groups.fits", image(groups), (*NO_IMAGE, *CUT, *BAD), "image|trunc|head")
    yield of_bytes("only-table.fits", EMPTY_PRIMARY + table(3), NO_IMAGE, "no image")
    backwards = table(3, {"PCOUNT": "-99999"})
    yield of_bytes("table-backwards.fits", EMPTY_PRIMARY + backwards, (*BAD, *NO_IMAGE))
    back = {"NAXIS2": "-1000", "NAXIS": "1", "NAXIS1": "-1"}
    yield of_bytes(
        "image-backwards.fits", EMPTY_PRIMARY + extension(changes=back) + LAST, (*BAD, *NO_IMAGE)
    )
    yield of_bytes(
        "long-chain.fits", EMPTY_PRIMARY + _empty_extension() * 4000, NO_IMAGE, "no image"
    )
    yield readable("table-first.fits", EMPTY_PRIMARY + table(3) + extension() + LAST)


def _empty_extension() -> bytes:
    return extension(changes={"NAXIS": "0"} | {f"NAXIS{axis}": None for axis in (1, 2, 3, 4)})[
        : 2 * BLOCK
    ]


def _absurd_sizes() -> Iterator[Damaged]:
    """As large as they say they are, without a byte of it on the disk."""
    for nx, ny, size in (
        (1_500_000, 1_500_000, 10**13),
        (40_000, 30_000, 5 * 10**9),
        (2_000_000_000, 1, 10**10),
        (1, 2_000_000_000, 10**10),
    ):
        changes = {"NAXIS1": str(nx), "NAXIS2": str(ny), **FINE}
        for key, content in (
            ("", header(changes)),
            ("second-", EMPTY_PRIMARY + extension(changes=changes)),
        ):
            name = f"{key}sparse-{nx}-by-{ny}.fits"
            yield of_bytes(name, content, TOO_LARGE, "pixels", size=size)
    yield of_bytes(
        "sparse-scaled.fits",
        header({"NAXIS1": "100000", "NAXIS2": "100000", "BITPIX": "8", "BSCALE": "2.0", **FINE}),
        TOO_LARGE,
        "pixels",
        size=10**10 + 5760,
    )
    yield of_bytes(
        "sparse-channels.fits",
        header({"NAXIS3": "1000000", "NAXIS4": "100"}),
        ("several planes", "bad Stokes", *TOO_LARGE),
        size=10**13,
    )


def _without_end() -> Iterator[Damaged]:
    lines = [card(key, value) for key, value in CARDS.items()]
    start = b"".join(lines)
    blank = padded(start, b" ")
    reasons = (*BAD, *CUT)
    yield of_bytes("no-end.fits", blank, reasons, "END|header")
    yield of_bytes("no-end-but-data.fits", blank + LAST, reasons, "END|header")
    yield of_bytes("no-end-blanks.fits", blank + b" " * (20 << 20), reasons, "END|header")
    comments = (b"COMMENT and so on".ljust(80)) * 36
    yield of_bytes("no-end-comments.fits", blank + comments * 8000, reasons, "END|header")
    yield of_bytes("no-end-hole.fits", blank, reasons, "END|header", size=10**9)
    yield of_bytes("no-end-huge-hole.fits", blank, reasons, "END|header", size=10**13)
    for end in ("end", "END=", "ENDE", "EMD", "ENd"):
        content = blank[: len(start)] + end.encode().ljust(80)
        content = padded(content, b" ") + LAST
        may_pass = end in {"end", "END="}
        yield of_bytes(f"ends-with-{end}.fits", content, reasons, "END|header", may_pass=may_pass)
    yield of_bytes("hole.fits", b"", ("not a FITS file", *BAD), size=10**12)
    yield of_bytes("blanks.fits", b" " * 1_000_000, ("not a FITS file", *BAD))
    yield of_bytes("many-ends.fits", END_ONLY * 50, ("not a FITS file", *BAD))


END_ONLY = padded(b"END", b" ")


def _units() -> Iterator[Damaged]:
    yield of_bytes(
        "simple-false.fits", image({"SIMPLE": "F"}), (*BAD, "not a FITS file"), may_pass=True
    )
    yield of_bytes("simple-missing.fits", image({"SIMPLE": None}), ("not a FITS file", *BAD))
    yield of_bytes(
        "extension-first.fits", extension() + LAST, ("not a FITS file", *BAD), may_pass=True
    )
    yield of_bytes(
        "unknown-extension.fits",
        EMPTY_PRIMARY + extension("NOSUCH") + LAST,
        NO_IMAGE,
        "no image",
    )
    yield of_bytes(
        "between-extensions.fits",
        EMPTY_PRIMARY + b"rubbish between" * 192 + extension() + LAST,
        (*BAD, *NO_IMAGE, *CUT, "not a FITS file"),
        may_pass=True,
    )
    yield of_bytes(
        "shifted-by-one.fits", b" " + WHOLE, ("not a FITS file", *BAD, *CUT), stage=PIXELS
    )
    yield of_bytes(
        "lines-not-cards.fits", WHOLE.replace(b"  CTYPE", b"\nCTYPE"), CUT, may_pass=True
    )

"""The bytes of the image stream: what is read, what is refused, and that nothing else happens."""

from __future__ import annotations

import contextlib
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trap_ops.errors import ImageError
from trap_ops.images.cards import CARD, Header
from trap_ops.images.stream import (
    ANNOUNCEMENT_SIZE,
    HEADER_MAX,
    Announcement,
    announce,
    file_pixels,
    parse_announcement,
    parse_header,
)

VALUES = {"SIMPLE": "T", "BITPIX": "-32", "NAXIS": "2", "NAXIS1": "3", "NAXIS2": "2", "BMAJ": "1"}
CARDS = [f"{key:8}= {value}" for key, value in VALUES.items()]
SIZE = 3 * 2 * 4


def text(cards: list[str], end: str = "END") -> bytes:
    return "".join(card.ljust(CARD) for card in [*cards, *([end] if end else [])]).encode("latin-1")


def read(raw: bytes, size: int = SIZE) -> Header:
    return Header.parse(parse_header(raw, Announcement(len(raw), size)))


def test_the_announcement_is_that_of_classic_trap() -> None:
    raw = announce(2880, SIZE)
    # As `struct.pack('=QLL496x', 0x47494A53484F4D4F, ...)` makes it on the machines it ran on.
    assert raw == b"OMOHSJIG" + bytes([0x40, 0x0B, 0, 0, SIZE, 0, 0, 0]) + bytes(496)
    assert parse_announcement(raw, 1000) == Announcement(2880, SIZE)
    # What stands behind the numbers is nobody's business.
    assert parse_announcement(raw[:16] + b"x" * 496, 1000) == Announcement(2880, SIZE)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"GET / HTTP/1.1\r\n".ljust(512), "it begins with b'GET / HT'"),
        (struct.pack(">QII496x", 0x47494A53484F4D4F, 2880, SIZE), "big-endian"),
        (announce(0, SIZE), "a header of 0 bytes"),
        (announce(HEADER_MAX + 1, SIZE), f"80 to {HEADER_MAX} bytes"),
        (announce(2880, 0), "0 bytes of pixels"),
        (announce(2880, 0xFFFFFFFF), "up to 1000 bytes here"),
        (announce(2880, SIZE + 1), "4 for each pixel"),
    ],
)
def test_what_is_no_announcement_is_refused(raw: bytes, said: str) -> None:
    with pytest.raises(ImageError, match=said):
        parse_announcement(raw, 1000)


@pytest.mark.parametrize("end", [b"", b"\0", b" " * 2240, b"\0" * 2240])
def test_a_header_ends_as_its_sender_likes(end: bytes) -> None:
    for raw in (text(CARDS), text(CARDS, ""), text(CARDS).rstrip(), text([*CARDS, "END", "BMAJ"])):
        found = parse_header(raw + end, Announcement(len(raw + end), SIZE))
        assert len(found) == len(CARDS) * CARD
        assert Header.parse(found).values == {
            "SIMPLE": True, "BITPIX": -32, "NAXIS": 2, "NAXIS1": 3, "NAXIS2": 2, "BMAJ": 1,
        }  # fmt: skip


def test_what_fits_wants_first_comes_first_and_sums_of_the_old_file_go() -> None:
    mixed = ["BMAJ    = 1", "CHECKSUM= 'x'", "DATASUM = '1'", *reversed(CARDS[:5]), "NAXIS3  = 7"]
    found = parse_header(text(mixed), Announcement(0, SIZE)).decode()
    made = [found[start : start + 8].strip() for start in range(0, len(found), CARD)]
    # An axis beyond the last one is the user's, not ours.
    assert made == [*VALUES, "NAXIS3"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"BITPIX": "-64"}, "BITPIX = -64; the stream has float32"),
        ({"BITPIX": ""}, "BITPIX = None"),
        ({"NAXIS": "1"}, "NAXIS = 1"),
        ({"NAXIS": "999"}, "NAXIS = 999"),
        ({"NAXIS": "T"}, "NAXIS = True"),
        ({"NAXIS1": "0"}, "NAXIS1 = 0"),
        ({"NAXIS1": "-3"}, "NAXIS1 = -3"),
        ({"NAXIS1": "3.0"}, "NAXIS1 = 3.0"),
        ({"NAXIS1": "4"}, "4 x 2 pixels, which are 32 bytes, and 24 are announced"),
        ({"NAXIS1": "9" * 30}, "pixels, which are"),
        ({"NAXIS2": "!!"}, "damaged"),
        ({"BMAJ": "'\xff'"}, "not plain text"),
        ({"BMAJ": "1\n"}, "not plain text"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(changes: dict[str, str], said: str) -> None:
    cards = [f"{key:8}= {value}" for key, value in (VALUES | changes).items()]
    with pytest.raises(ImageError, match=said):
        read(text(cards))


def test_pixels_are_turned_bit_for_bit() -> None:
    values = np.array([1.5, -0.0, np.inf, np.nan], "<f4")
    values[3:] = np.array([0x7FA00001], "<u4").view("<f4")  # a NaN that says something
    turned = np.frombuffer(file_pixels(values.tobytes()), ">u4")
    assert turned.tolist() == values.view("<u4").tolist()


@given(st.binary(min_size=ANNOUNCEMENT_SIZE, max_size=ANNOUNCEMENT_SIZE))
def test_garbage_is_refused_in_a_sentence(raw: bytes) -> None:
    with pytest.raises(ImageError, match="it "):
        parse_announcement(raw, 1 << 30)


@given(
    st.lists(
        st.tuples(st.integers(0, len(text(CARDS)) - 1), st.integers(0, 255)),
        min_size=1,
        max_size=8,
    )
)
def test_a_header_with_other_bytes_is_read_or_refused(changes: list[tuple[int, int]]) -> None:
    raw = bytearray(text(CARDS))
    for place, byte in changes:
        raw[place] = byte
    with contextlib.suppress(ImageError):
        found = parse_header(bytes(raw), Announcement(len(raw), SIZE))
        assert len(found) % CARD == 0
        assert found.isascii()
        header = Header.parse(found)
        assert header.get("NAXIS1") * header.get("NAXIS2") * 4 == SIZE

"""Cards are written into the header of an image; every other byte of its file stays as it is."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from astropy.io import fits

from trap_ops.errors import ImageError
from trap_ops.images import casa
from trap_ops.images.cards import CARD, Header
from trap_ops.images.casa_injection import inject_table
from trap_ops.images.files import local_file
from trap_ops.images.fits import RulesOf, find_image_hdu
from trap_ops.images.parset import KEYS, card_of
from trap_ops.images.replacing import replace_file
from trap_ops.images.structure import BLOCK, Hdu

_Stream = BinaryIO | gzip.GzipFile
_CHUNK = 1 << 20
_GZIP = b"\x1f\x8b"
_END = b"END".ljust(CARD)
_WORD = 0xFFFFFFFF
# Characters that the encoding of a checksum leaves out (FITS standard 4.0, appendix J).
_SKIPPED = frozenset(b":;<=>?@[\\]^_`")


@dataclass(frozen=True)
class Change:
    """What becomes of one card.

    Attributes
    ----------
    keyword : str
    old : object
        None where there is none.
    new : object
    kept : bool
        The old one stays, because it is there.
    """

    keyword: str
    old: object
    new: object
    kept: bool


def inject(
    path: Path,
    values: Mapping[str, str | int | float],
    rules_of: RulesOf,
    *,
    over: bool = False,
    dry_run: bool = False,
) -> list[Change]:
    """Write metadata into the header of an image, the whole file or nothing.

    Parameters
    ----------
    path : Path
        A FITS file or a CASA table of LOFAR, without links in its path.
    values : mapping
        By key of the parset.
    rules_of : callable
        Settings by telescope: they say which HDU is the image.
    over : bool
        Replace cards that are there.
    dry_run : bool
        Change nothing.

    Returns
    -------
    list of Change
        One for each value.

    Raises
    ------
    ImageError
        If the file cannot be read or changed; it is as it was.
    """
    if casa.is_table(path):
        old, new = inject_table(path, values, dry_run=dry_run)
        return [Change("END of LOFAR_ORIGIN", old, new, kept=False)]
    hdu, header = find_image_hdu(local_file(path), rules_of)
    changes, wanted = _changes(values, header, over=over)
    if wanted and not dry_run:
        replace_file(path, lambda old, new: _rewrite(path.name, hdu, wanted, old, new))
    return changes


def with_values(
    raw: bytes, values: Mapping[str, str | int | float], *, over: bool = False
) -> bytes:
    """Cards of a header, without END, with metadata as :func:`inject` writes it into a file.

    Parameters
    ----------
    raw : bytes
    values : mapping
        By key of the parset.
    over : bool
        Replace cards that are there.
    """
    return _with_cards(raw, _changes(values, Header.parse(raw), over=over)[1])


def whole_header(cards: bytes) -> bytes:
    """Cards with END, in whole blocks."""
    return (cards + _END).ljust(_padded(len(cards) + CARD), b" ")


def _changes(
    values: Mapping[str, str | int | float], header: Header, *, over: bool
) -> tuple[list[Change], dict[str, bytes]]:
    """What becomes of each card, and the cards to be written by keyword."""
    changes = [_change(key, value, header, over=over) for key, value in values.items()]
    wanted = {
        change.keyword: str(card_of(key, values[key])).encode("ascii")
        for key, change in zip(values, changes, strict=True)
        if not change.kept
    }
    return changes, wanted


def _change(key: str, value: str | float, header: Header, *, over: bool) -> Change:
    keyword = KEYS[key].keyword
    old = header.values.get(keyword)
    return Change(keyword, old, value, kept=keyword in header.values and not over)


def _rewrite(
    name: str, hdu: Hdu, wanted: Mapping[str, bytes], old: BinaryIO, new: BinaryIO
) -> None:
    packed = old.read(2) == _GZIP
    old.seek(0)
    # Without a name and a time in it: equal files are packed to equal bytes.
    reader = gzip.GzipFile(fileobj=old, mode="rb") if packed else nullcontext(old)
    writer = gzip.GzipFile("", fileobj=new, mode="wb", mtime=0) if packed else nullcontext(new)
    with reader as source, writer as target:
        start = hdu.data_start - _padded(len(hdu.raw) + CARD)
        _copy(source, target, start)
        raw = source.read(hdu.data_start - start)
        if raw[: len(hdu.raw)] != hdu.raw:
            msg = f"{name}: it changed while it was read, and is left as it is; try again"
            raise ImageError(msg, reason="file changed", passing=True)
        cards = _with_cards(hdu.raw, wanted)
        if "CHECKSUM" in hdu.header.values:
            cards = _with_checksum(name, hdu, raw, cards, source)
        target.write(whole_header(cards))
        shutil.copyfileobj(source, target, _CHUNK)


def _copy(source: _Stream, target: _Stream, size: int) -> None:
    while size > 0:
        data = source.read(min(size, _CHUNK))
        if not data:
            msg = "the file is truncated; copy it again"
            raise ImageError(msg, reason="truncated")
        target.write(data)
        size -= len(data)


def _with_cards(raw: bytes, wanted: Mapping[str, bytes]) -> bytes:
    """Cards with new ones in the place of the first of their name, or at the end."""
    waiting = dict(wanted)
    made = []
    dropping = False
    for start in range(0, len(raw), CARD):
        card = raw[start : start + CARD]
        if dropping and card.startswith(b"CONTINUE"):
            continue  # More of a text that has been replaced.
        keyword = next(iter(Header.parse(card).values), "")
        dropping = keyword in wanted
        if not dropping:
            made.append(card)
        elif keyword in waiting:
            made.append(waiting.pop(keyword))
    # Behind the last card that says something: blank ones at the end are room for more.
    n = len(made)
    while n and not made[n - 1].strip():
        n -= 1
    rest = made[n:]
    return b"".join([*made[:n], *waiting.values(), *rest[len(waiting) :]])


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _with_checksum(name: str, hdu: Hdu, header: bytes, cards: bytes, source: _Stream) -> bytes:
    """Cards with a CHECKSUM that fits; the data are read once for it."""
    place = source.tell()
    of_data, size = 0, _padded(hdu.data_size)
    while size > 0 and (data := source.read(min(size, BLOCK * 360))):
        of_data = _added(of_data, data)
        size -= len(data)
    source.seek(place)
    if _added(of_data, header) not in {0, _WORD}:
        msg = (
            f"{name}: its CHECKSUM does not fit what it holds: it is damaged, or was changed by "
            "hand, and is left as it is; copy the file again"
        )
        raise ImageError(msg, reason="bad checksum")
    empty = str(fits.Card("CHECKSUM", "0" * 16, "HDU checksum")).encode("ascii")
    cards = _with_cards(cards, {"CHECKSUM": empty})
    text = _encoded(_WORD ^ _added(of_data, whole_header(cards)))
    return _with_cards(cards, {"CHECKSUM": empty.replace(b"0" * 16, text)})


def _added(total: int, data: bytes) -> int:
    """Add big-endian 32-bit words to a sum in ones' complement."""
    total += int(
        np.frombuffer(data.ljust(-(-len(data) // 4) * 4, b"\0"), ">u4").sum(dtype=np.uint64)
    )
    while total > _WORD:
        total = (total & _WORD) + (total >> 32)
    return total


def _encoded(value: int) -> bytes:
    """16 letters and digits whose sum, as words, is a value (FITS standard 4.0, appendix J)."""
    made = bytearray(16)
    for place, byte in enumerate(value.to_bytes(4, "big")):
        quarter, rest = divmod(byte, 4)
        parts = [quarter + rest + 48, quarter + 48, quarter + 48, quarter + 48]
        while any(part in _SKIPPED for part in parts):
            for first in (0, 2):
                if _SKIPPED & {parts[first], parts[first + 1]}:
                    parts[first] += 1
                    parts[first + 1] -= 1
        made[place::4] = bytes(parts)
    # In its card the text begins one byte after a word does.
    return bytes(made[-1:] + made[:-1])

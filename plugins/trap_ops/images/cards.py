"""The cards of a FITS header, read once into values."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from astropy.io.fits import Card

from trap_ops.errors import ImageError

CARD = 80
# KEYWORD = value / comment, as FITS has it: text in quotes, T or F, a number, or nothing.
_FIXED = re.compile(
    r"([A-Z0-9_-]{1,8}) *= *(?:"
    r"'((?:[^']|'')*)'"
    r"|([-+]?(?:\d+\.?\d*|\.\d+)(?:[EDed][-+]?\d+)?)"
    r"|([TF])"
    r")? *(?:/.*)?"
)
_NO_NUMBER = re.compile(r"[-+]?(?:nan|inf|infinity)", re.IGNORECASE)
_COMMENTARY = ("COMMENT ", " " * 8)
_PRINTABLE = re.compile(r"[ -~]*")


@dataclass(frozen=True)
class _Damaged:
    """A card without a value that can be read: told to whoever asks for it."""

    card: str


@dataclass(frozen=True)
class Header:
    """Values by keyword; of a keyword that is there twice, the first.

    Attributes
    ----------
    values : mapping
    history : sequence of str
        Text of the HISTORY cards.
    """

    values: Mapping[str, object]
    history: Sequence[str] = ()

    @classmethod
    def parse(cls, raw: bytes) -> Header:
        """Read cards of 80 bytes, without END.

        What is not text is forgiven in comments only.
        """
        text = raw.decode("latin-1")
        values: dict[str, object] = {}
        history: list[str] = []
        long_text = ""
        for start in range(0, len(text), CARD):
            name = text[start : start + 8]
            if name == "HISTORY ":
                history.append(text[start + 8 : start + CARD])
                continue
            card = text[start : start + CARD]
            if name == "CONTINUE" and long_text:
                values[long_text] = _continued(str(values[long_text]), card)
            elif name not in _COMMENTARY:
                key, value = _value_of(card)
                continues = isinstance(value, str) and value.endswith("&")
                long_text = key if continues and key not in values else ""
                values.setdefault(key, value)
        return cls(values, history)

    def get(self, key: str) -> object:
        """Value of a keyword; None if it is absent or has none.

        Raises
        ------
        ImageError
            If its card is damaged.
        """
        value = self.values.get(key)
        if isinstance(value, _Damaged):
            msg = f"its header is damaged: {value.card!r} cannot be read; copy the file again"
            raise ImageError(msg, reason="bad header")
        return value

    def text(self, key: str) -> str:
        """Value of a keyword as text; empty if it is absent or has none."""
        value = self.get(key)
        return "" if value is None else str(value).strip()

    def number(self, key: str) -> float | None:
        """Value of a keyword if it is a finite number, also one written as text."""
        value = self.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            return None
        try:
            number = float(value)
        except (ValueError, OverflowError):
            return None
        return number if math.isfinite(number) else None

    def plain_number(self, key: str) -> float | None:
        """Value of a keyword if it is a finite number that is not written as text."""
        return None if isinstance(self.get(key), str) else self.number(key)


def _value_of(card: str) -> tuple[str, object]:
    match = _FIXED.fullmatch(card) if _PRINTABLE.fullmatch(card) else None
    if match is None:
        return _unusual_value_of(card)
    key, text, number, logical = match.groups()
    if text is not None:
        return key, text.replace("''", "'").rstrip()
    if number is not None:
        return key, _number_of(number)
    return key, None if logical is None else logical == "T"


def _number_of(text: str) -> object:
    try:
        return int(text)
    except ValueError:
        return float(text.replace("D", "E").replace("d", "e"))


def _unusual_value_of(card: str) -> tuple[str, object]:
    """What the standard does not have but astropy can read: HIERARCH, lower case and so on."""
    key = card[:8].strip().upper()
    word = card[10:].split("/", maxsplit=1)[0].strip()
    if card[8:9] == "=" and _NO_NUMBER.fullmatch(word):
        return key, math.nan
    if not _PRINTABLE.fullmatch(card):
        return key, _Damaged(card.rstrip())
    try:
        made = Card.fromstring(card)
        made.verify("silentfix")
        value = made.value
        # What is no value at all it takes for text.
        if isinstance(value, str) and ("'" not in card or value.startswith("'")):
            return key, _Damaged(card.rstrip())
        return str(made.keyword).upper(), value
    except Exception:  # noqa: BLE001 - of damaged cards astropy raises whatever it stumbles over
        return key, _Damaged(card.rstrip())


def _continued(begun: str, card: str) -> str:
    """Join a long text (CONTINUE convention): ``&`` at its end says that it goes on."""
    match = re.match(r"CONTINUE +'((?:[^']|'')*)'", card)
    more = "" if match is None else match[1].replace("''", "'").rstrip()
    return begun.removesuffix("&") + more

"""Damaged files, each with the reason that is true of it: written down here, not by the reader."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HEADER, PIXELS, QUALITY = "header", "pixels", "quality"


@dataclass(frozen=True)
class Damaged:
    """A damaged file.

    Attributes
    ----------
    name : str
        Of the file.
    make : callable
        Writes it to a path.
    reasons : frozenset of str
        Words for the reason that are true of it; empty if it can be read all the same.
    says : str
        Pattern that the message must show, whatever its case.
    stage : str
        Where it is found at the latest: its header, its pixels, or their quality.
    may_pass : bool
        A forgiving reader may read it, and then reads it right.
    """

    name: str
    make: Callable[[Path], object]
    reasons: frozenset[str]
    says: str = ""
    stage: str = HEADER
    may_pass: bool = False

    @property
    def must_fail(self) -> bool:
        """Whether no reader can take it for an image."""
        return bool(self.reasons) and not self.may_pass


def of_bytes(
    name: str,
    content: bytes,
    reasons: str | tuple[str, ...] | frozenset[str],
    says: str = "",
    stage: str = HEADER,
    *,
    may_pass: bool = False,
    size: int = 0,
) -> Damaged:
    """A file with this content, stretched to a size by a hole."""

    def make(path: Path) -> None:
        path.write_bytes(content)
        if size:
            with path.open("r+b") as file:
                file.truncate(size)

    words = frozenset({reasons} if isinstance(reasons, str) else reasons)
    return Damaged(name, make, words, says, stage, may_pass)


def readable(name: str, content: bytes) -> Damaged:
    """A file that looks damaged, and holds all of its image."""
    return of_bytes(name, content, ())

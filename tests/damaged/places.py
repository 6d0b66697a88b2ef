"""What stands at the place of a file and is none, or cannot be opened."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

from damaged.cards import image
from damaged.files import Damaged

WHOLE = image()
UNREADABLE = frozenset({"unreadable file", "not a file"})
GONE = frozenset({"no such file", "unreadable file"})


def damaged_places() -> list[Damaged]:
    def linked(target: str) -> Callable[[Path], None]:
        return lambda path: path.symlink_to(target)

    def to_itself(path: Path) -> None:
        path.symlink_to(path.name)

    def to_each_other(path: Path) -> None:
        other = path.with_suffix(".other")
        path.symlink_to(other.name)
        other.symlink_to(path.name)

    def full_directory(path: Path) -> None:
        path.mkdir()
        (path / "note.txt").write_text("not an image")

    def forbidden(path: Path) -> None:
        path.write_bytes(WHOLE)
        path.chmod(0)

    def forbidden_directory(path: Path) -> None:
        path.mkdir()
        path.chmod(0)

    return [
        Damaged("directory.fits", Path.mkdir, UNREADABLE, "director"),
        Damaged("full-directory.fits", full_directory, UNREADABLE, "director"),
        Damaged("directory.fits.gz", Path.mkdir, UNREADABLE, "director"),
        Damaged("socket.fits", _socket, UNREADABLE, "socket"),
        Damaged("pipe.fits", os.mkfifo, UNREADABLE, "pipe"),
        Damaged("nothing-device.fits", linked("/dev/null"), UNREADABLE, "device"),
        Damaged("zeros-device.fits", linked("/dev/zero"), UNREADABLE, "device"),
        Damaged("random-device.fits", linked("/dev/urandom"), UNREADABLE, "device"),
        Damaged("memory.fits", linked("/proc/self/mem"), UNREADABLE),
        Damaged("link-to-itself.fits", to_itself, UNREADABLE, "link|read"),
        Damaged("links-to-each-other.fits", to_each_other, UNREADABLE, "link|read"),
        Damaged("link-to-nothing.fits", linked("/nowhere/a.fits"), GONE, "No such file|link"),
        Damaged("never-there.fits", _nothing, GONE, "No such file"),
        Damaged("forbidden.fits", forbidden, UNREADABLE, "Permission denied"),
        Damaged("forbidden-directory.fits", forbidden_directory, UNREADABLE, "denied|director"),
    ]


def odd_names() -> list[Damaged]:
    """Whole files whose names must not break a line, a log or a table."""
    names = (
        *("new\nline.fits", "bell\a.fits", "escape\x1b[31m.fits", "tab\t.fits", " blank .fits"),
        *(
            "-rf.fits",
            "'; DROP TABLE image; --.fits",
            "<script>alert(1)</script>.fits".replace("/", ""),
        ),
        *(
            "%s%n{0}.fits",
            "$(reboot).fits",
            "日本.fits",
            "\u202etsif.fits",
            "\x7f.fits",
            "a[0].fits",
        ),
        *("*.fits", "x" * 250 + ".fits", os.fsdecode(b"latin-\xe4.fits"), "a::b?c#d.fits"),
    )
    return [
        # What is in the file, or a name that the results database has no room for.
        Damaged(
            name,
            lambda path: path.write_bytes(b"no FITS"),
            frozenset({"not a FITS file", "file name"}),
        )
        for name in names
    ]


def _nothing(path: Path) -> None:
    """What vanished before it was read."""


def _socket(path: Path) -> None:
    """A socket; names of sockets are short, so it is made beside and moved."""
    here = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)

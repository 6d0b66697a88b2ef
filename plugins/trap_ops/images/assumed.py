"""Values that the configuration gives to files whose headers lack them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import TypeVar

from trap_ops.config.headers import AssumeConfig
from trap_ops.errors import ImageError

T = TypeVar("T")


class Assumed:
    """What is assumed of one file; says so in notes when it is used.

    Parameters
    ----------
    entries : sequence of AssumeConfig
        Of those that fit the file the first that has a value decides.
    location : str
        Path or address of the file.
    telescope : str
        What its header says.
    """

    def __init__(
        self, entries: Sequence[AssumeConfig] = (), location: str = "", telescope: str = ""
    ) -> None:
        self._entries = [entry for entry in entries if _fits(entry, location, telescope)]
        self.notes: list[str] = []

    def fill(self, name: str, found: T | None) -> T | None:
        """Value of a quantity: what was found, or what is assumed where nothing was."""
        entry = self._entry(name)
        if entry is None or (found is not None and not entry.replace):
            return found
        value: T = getattr(entry, name)
        self.notes.append(f"{name} assumed: {value}")
        return value

    def instead(self, name: str, read: Callable[[], T], missing: str) -> T | AssumeConfig:
        """Read a quantity; the entry that has it where reading raises that it is missing.

        Parameters
        ----------
        name : str
        read : callable
        missing : str
            Reason of the error that says so.
        """
        entry = self._entry(name)
        if entry is not None and entry.replace:
            return entry
        try:
            return read()
        except ImageError as error:
            if entry is None or error.reason != missing:
                raise
            return entry

    def _entry(self, name: str) -> AssumeConfig | None:
        return next((e for e in self._entries if getattr(e, name) is not None), None)


def _fits(entry: AssumeConfig, location: str, telescope: str) -> bool:
    name = location if "/" in entry.files else PurePosixPath(location).name
    wanted = entry.telescope.strip().upper()
    return fnmatchcase(name, entry.files) and wanted in {"", telescope.strip().upper()}

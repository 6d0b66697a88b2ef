"""What became of one key of classic TraP."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One line of the report of an import.

    Attributes
    ----------
    where : str
        File, section and key, or line.
    said : str
        What became of it; never a password.
    problem : bool
        Whether the user has to do something about it.
    """

    where: str
    said: str
    problem: bool = False

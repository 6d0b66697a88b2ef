"""Image files that have come to a folder, and what is to become of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, order=True)
class ArrivedFile:
    """A complete image file as it was found.

    Attributes
    ----------
    path : str
        Absolute.
    size_bytes : int
    modified_ns : int
        Time of its last change, nanoseconds since 1970.
    folder : str
        First folder below that of the series; empty if it lies in that itself.
    """

    path: str
    size_bytes: int
    modified_ns: int
    folder: str = field(default="", compare=False)


@dataclass(frozen=True)
class Waiting:
    """Files of one dataset that no run has taken yet, or that a run has to take again.

    Attributes
    ----------
    series : str
        Name of the series they came to.
    dataset : str
    files : sequence of ArrivedFile
        The one changed first in front.
    busy : str
        Why they cannot go now, e.g. the run that has the dataset; empty if they can.
    open_run : str
        Key of the run that was given files of the dataset and has not finished: only if Airflow no
        longer works on it they can go. Empty if there is none.
    again : sequence of ArrivedFile
        Files of that run, which go with the others then.
    """

    series: str
    dataset: str
    files: Sequence[ArrivedFile]
    busy: str = ""
    open_run: str = ""
    again: Sequence[ArrivedFile] = ()

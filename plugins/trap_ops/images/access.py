"""What reading remote images needs beside their address."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Access:
    """Options of remote storage, with credentials in them: never shown, logged or stored.

    Attributes
    ----------
    options : mapping
        By protocol (``s3``, ``https``): what fsspec's file system of that name takes.
    """

    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)


LOCAL_ONLY = Access()

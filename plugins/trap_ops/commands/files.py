"""Files that verbs write: whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from trap_ops.errors import ConfigError
from trap_ops.records.names import one_line


def save_file(path: Path, content: bytes) -> None:
    """Write a file whole or not at all.

    Raises
    ------
    ConfigError
        If it cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            beside.write_bytes(content)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        msg = f"{one_line(str(path))} cannot be written: {error.strerror}; name another file"
        raise ConfigError(msg) from error

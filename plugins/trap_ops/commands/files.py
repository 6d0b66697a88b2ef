"""Files that verbs write: whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from trap_ops.errors import ConfigError
from trap_ops.records.names import one_line


def save_file(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; a link, a pipe or a device such as /dev/stdout in place.

    Raises
    ------
    ConfigError
        If it cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink() or (path.exists() and not path.is_file()):
            path.write_bytes(content)
            return
        try:
            beside.write_bytes(content)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        msg = f"{one_line(str(path))} cannot be written: {error.strerror}; name another file"
        raise ConfigError(msg) from error

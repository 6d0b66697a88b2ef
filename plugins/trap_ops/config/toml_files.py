"""Reading a file of settings."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from trap_ops.errors import ConfigError


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises
    ------
    ConfigError
        If it is missing, or no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        msg = f"configuration file {path} is missing; restore it from the repository"
        raise ConfigError(msg, path=str(path)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        msg = f"configuration file {path} is not valid TOML: {error}"
        raise ConfigError(msg, path=str(path)) from error

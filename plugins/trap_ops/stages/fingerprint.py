"""Which code is this? A worker must not run another version than the run was planned with."""

from __future__ import annotations

import hashlib
import platform
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

from trap_ops import __version__

# What decides results: not how they are shown, triggered or simulated.
_ROOMS = ("config", "images", "records", "science", "stages", "store")
_FILES = ("errors.py",)
# Code, and the tables that it reads.
_ENDINGS = ("*.py", "*.json")
_PACKAGES = ("astropy", "numpy", "pydantic", "scipy", "SQLAlchemy")


@lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    """Versions of this pipeline, of Python and of the packages that results depend on."""
    found = {name: version(name) for name in _PACKAGES}
    return {"trap_ops": __version__, "python": platform.python_version(), **found}


@lru_cache(maxsize=1)
def fingerprint() -> str:
    """SHA-256 over code and tables that decide results and the versions of what they use."""
    package = Path(__file__).resolve().parents[1]
    files = [
        path for room in _ROOMS for ending in _ENDINGS for path in (package / room).rglob(ending)
    ]
    files += [package / name for name in _FILES]
    digest = hashlib.sha256(repr(sorted(versions().items())).encode())
    for path in sorted(files):
        digest.update(f"{path.relative_to(package)}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()

"""A corpus of image files with headers of every dialect, and what is true of each.

Nothing here is read by the pipeline's own reader: what is true of a file is what it was made from.
"""

from __future__ import annotations

from pathlib import Path

from trap_ops.simulate.headers_files import files
from trap_ops.simulate.headers_places import places
from trap_ops.simulate.headers_quantities import beams, frequencies, stokes, units
from trap_ops.simulate.headers_sky import SkyPosition
from trap_ops.simulate.headers_telescopes import telescopes
from trap_ops.simulate.headers_times import times
from trap_ops.simulate.headers_variant import Expected, Variant


def corpus() -> list[Variant]:
    """All variants, always the same ones in the same order."""
    return [
        *files(),
        *beams(),
        *frequencies(),
        *units(),
        *stokes(),
        *times(),
        *places(),
        *telescopes(),
    ]


def write_corpus(directory: Path) -> dict[str, Path]:
    """Write all variants to a directory that exists, and return their files by name."""
    return {variant.name: variant.write(directory) for variant in corpus()}


__all__ = ["Expected", "SkyPosition", "Variant", "corpus", "write_corpus"]

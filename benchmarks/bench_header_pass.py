"""Headers read in a second, and the memory that takes: ``python -m benchmarks.bench_header_pass``.

The files are as large as images of 1024 x 1024 pixels, but their pixels are holes in the file: none
is stored, and none is read.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from astropy.io import fits

from benchmarks import CHECKOUT
from benchmarks.environment import code_has_changed, describe_environment, print_environment
from trap_ops.config.load import load_configuration
from trap_ops.config.model import ImagesConfig
from trap_ops.images.reading import read_headers

SIDE_PX = 1024
BUDGET_FILES_PER_S = 150.0
# Files after which memory is looked at for the first time.
EARLY = 1000
_BLOCK = 2880
_FIRST = datetime(2026, 1, 1)  # noqa: DTZ001 - as headers have it


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes
    ----------
    name : str
    pointings : bool
        Every file has a pointing of its own; otherwise all have the same.
    history : int
        HISTORY cards.
    frame : str
        RADESYS.
    """

    name: str
    pointings: bool
    history: int
    frame: str


KINDS = (
    Kind("different pointings", pointings=True, history=20, frame="ICRS"),
    Kind("equal pointings", pointings=False, history=20, frame="ICRS"),
    Kind("FK5, turned to ICRS", pointings=True, history=20, frame="FK5"),
    Kind("300 HISTORY cards", pointings=True, history=300, frame="ICRS"),
    Kind("3000 HISTORY cards", pointings=True, history=3000, frame="ICRS"),
)


def write_files(directory: Path, kind: Kind, count: int) -> list[Path]:
    """Write so many files of a kind; their pixels are holes."""
    header = _header(kind)
    paths = []
    for number in range(count):
        step = number if kind.pointings else 0
        header["CRVAL1"], header["CRVAL2"] = step * 0.0359, 80.0 - step * 0.0123
        header["DATE-OBS"] = (_FIRST + timedelta(seconds=8 * number)).isoformat()
        raw = header.tostring().encode("ascii")
        path = directory / f"{number:06d}.fits"
        path.write_bytes(raw)
        os.truncate(path, len(raw) + -(-SIDE_PX * SIDE_PX * 4 // _BLOCK) * _BLOCK)
        paths.append(path)
    return paths


def read_all(paths: Sequence[Path]) -> dict[str, float]:
    """Read all headers twice, the first time to warm the cache; return what the second one took."""
    configurations = CHECKOUT / "include" / "configs"

    @cache
    def rules_of(telescope: str) -> ImagesConfig:
        return load_configuration(configurations, "auto", telescopes=[telescope])[1].images

    for path in paths[:EARLY]:
        read_headers(str(path), rules_of)
    early = _resident_mb()
    for path in paths[EARLY:]:
        read_headers(str(path), rules_of)
    read, cpu, wall = _bytes_read(), time.process_time(), time.perf_counter()
    for path in paths:
        read_headers(str(path), rules_of)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {
        "files_per_cpu_s": round(len(paths) / cpu, 1),
        "files_per_s": round(len(paths) / wall, 1),
        "bytes_read_per_file": round((_bytes_read() - read) / len(paths)),
        "mb_early": round(early, 1),
        "mb_at_the_end": round(_resident_mb(), 1),
    }


def main(words: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the benchmark; print a table and one line of JSON; return what is in that line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000, help="files of each kind")
    arguments = parser.parse_args(words)
    environment = describe_environment()
    print_environment(environment)
    print(f"\n{arguments.files} files each; at least {BUDGET_FILES_PER_S:g} files/s per core asked")
    print(f"{'':<22}files/s per core   files/s   bytes read   MB after {EARLY}   at the end")
    results = []
    for kind in KINDS:
        with tempfile.TemporaryDirectory(prefix="trap-bench-") as name:
            figures = read_all(write_files(Path(name), kind, arguments.files))
        print(
            f"{kind.name:<22}{figures['files_per_cpu_s']:>16}{figures['files_per_s']:>10}"
            f"{figures['bytes_read_per_file']:>13}{figures['mb_early']:>16}"
            f"{figures['mb_at_the_end']:>13}"
        )
        results.append(asdict(kind) | figures)
    result = {
        "benchmark": "header_pass",
        "environment": environment,
        "code_changed_meanwhile": code_has_changed(environment),
        "files": arguments.files,
        "budget_files_per_s": BUDGET_FILES_PER_S,
        "kinds": results,
    }
    print(json.dumps(result))
    return result


def _header(kind: Kind) -> fits.Header:
    """A header as WSClean writes it."""
    made = fits.Header()
    made["SIMPLE"], made["BITPIX"], made["NAXIS"] = True, -32, 4
    for axis, size in enumerate((SIDE_PX, SIDE_PX, 1, 1), start=1):
        made[f"NAXIS{axis}"] = size
    made["EXTEND"], made["BSCALE"], made["BZERO"], made["BUNIT"] = True, 1.0, 0.0, "JY/BEAM"
    made["BMAJ"], made["BMIN"], made["BPA"] = 0.0061, 0.0049, 42.5
    made["EQUINOX"], made["RADESYS"], made["LONPOLE"] = 2000.0, kind.frame, 180.0
    made["BTYPE"], made["TELESCOP"], made["OBSERVER"] = "Intensity", "BENCHMARK", "unknown"
    made["OBJECT"], made["ORIGIN"], made["SPECSYS"] = "field", "WSClean", "TOPOCENT"
    for axis, (name, value, step, pixel, unit) in enumerate(
        (
            ("RA---SIN", 0.0, -0.001, 513.0, "deg"),
            ("DEC--SIN", 0.0, 0.001, 513.0, "deg"),
            ("FREQ", 1.5e8, 2e6, 1.0, "Hz"),
            ("STOKES", 1.0, 1.0, 1.0, ""),
        ),
        start=1,
    ):
        made[f"CTYPE{axis}"], made[f"CRPIX{axis}"] = name, pixel
        made[f"CRVAL{axis}"], made[f"CDELT{axis}"], made[f"CUNIT{axis}"] = value, step, unit
    made["DATE-OBS"], made["TAU_TIME"] = _FIRST.isoformat(), 8.0
    for number in range(15):
        made[f"WSC{number:05d}"] = 1.5 * number
    for number in range(kind.history):
        made.add_history(f"step {number} of a long way from visibilities to this image")
    return made


def _bytes_read() -> int:
    """Bytes that this process has asked of files so far."""
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["rchar"])


def _resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    main()

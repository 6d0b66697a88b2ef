"""Source finders on the same simulated images: what they find, how true their errors are, the cost.

``python -m benchmarks.bench_finders --help``; README.md beside it says what the figures mean.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import CHECKOUT
from benchmarks.environment import (
    best_of,
    child_environment,
    code_has_changed,
    describe_environment,
    print_environment,
)
from benchmarks.finder_sets import SETS, field_of, joined, match, plan_of, statistics, write_field

SCRIPTS = CHECKOUT / "benchmarks" / "finders"


@dataclass(frozen=True)
class Finder:
    """A finder and how it is called."""

    name: str
    python: Path
    script: str
    options: tuple[str, ...] = ()


def finders_of(arguments: argparse.Namespace) -> list[Finder]:
    """Return this project's finder, and the others whose Python was given."""
    made = [
        Finder("ours, shape free", Path(sys.executable), "ours.py", ("free",)),
        Finder("ours, shape held", Path(sys.executable), "ours.py", ("held",)),
    ]
    if arguments.sep:
        made.append(Finder("sep", arguments.sep, "peer_sep.py"))
    if arguments.pyse:
        made.append(
            Finder("pyse, TraP's way", arguments.pyse, "peer_pyse.py", ("vectorized", "held"))
        )
        made.append(Finder("pyse, fits", arguments.pyse, "peer_pyse.py"))
    if arguments.bdsf:
        made.append(Finder("PyBDSF", arguments.bdsf, "peer_bdsf.py"))
    if arguments.aegean:
        made.append(Finder("Aegean", arguments.aegean, "peer_aegean.py"))
    return [item for item in made if not arguments.only or arguments.only in item.name]


def run_finder(finder: Finder, images: Path, output: Path, repetitions: int) -> dict[str, Any]:
    """Run a finder on all images of a directory in one process; return its report.

    Raises
    ------
    RuntimeError
        If it fails, with the end of its output.
    """
    output.mkdir(parents=True, exist_ok=True)
    command = [finder.python, SCRIPTS / finder.script, images, output, str(repetitions)]
    done = subprocess.run(  # noqa: S603 - the benchmark's own commands
        [str(word) for word in (*command, *finder.options)],
        capture_output=True,
        text=True,
        check=False,
        env=child_environment(),
        cwd=output,
    )
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        msg = f"{finder.name} failed ({done.returncode}):\n{done.stderr[-2000:]}"
        raise RuntimeError(msg)
    report: dict[str, Any] = json.loads(lines[-1])
    return report


def accuracy(
    finders: Sequence[Finder], names: Sequence[str], n_images: int, size_px: int, cache: Path
) -> dict[str, Any]:
    """Tables of all finders for all sets."""
    made: dict[str, Any] = {}
    for name in names:
        fields = [field_of(name, size_px, number) for number in range(n_images)]
        images = cache / f"{name}-{size_px}"
        images.mkdir(parents=True, exist_ok=True)
        for number, field in enumerate(fields):
            write_field(field, plan_of(name, size_px), images / f"{number:04d}.fits")
        for finder in finders:
            try:
                report = run_finder(finder, images, images / finder.name, 1)
            except RuntimeError as error:
                print(error, file=sys.stderr)
                continue
            catalogues = [
                dict(np.load(images / finder.name / f"{number:04d}.npz"))
                for number in range(n_images)
            ]
            matches = joined([match(name, *item) for item in zip(fields, catalogues, strict=True)])
            # The first image of a process pays for what is loaded or compiled late.
            seconds = [value[0] for value in report["cpu_s"].values()][1:]
            entry = {
                "sources": len(matches.snr),
                "spurious": matches.n_spurious,
                "megapixels": matches.megapixels,
                "cpu_ms_per_image": round(1e3 * float(np.median(seconds or [np.nan])), 1),
                "bins": statistics(matches),
                "version": report["version"],
            }
            made.setdefault(name, {})[finder.name] = entry
            _print_entry(name, finder.name, entry)
    return made


def speed(
    finders: Sequence[Finder], sizes: Sequence[int], repetitions: int, cache: Path
) -> dict[str, Any]:
    """CPU time and memory of finders, in turns, on the set ``base`` of several sizes."""
    made: dict[str, Any] = {}
    for size in sizes:
        images = cache / f"speed-{size}"
        images.mkdir(parents=True, exist_ok=True)
        write_field(field_of("base", size, 0), plan_of("base", size), images / "image.fits")
        samples: dict[str, list[float]] = {}
        reports: dict[str, dict[str, Any]] = {}
        for _ in range(3):  # In turns: the speed of a machine drifts.
            for finder in finders:
                try:
                    report = run_finder(finder, images, images / finder.name, repetitions + 1)
                except RuntimeError as error:
                    print(error, file=sys.stderr)
                    continue
                samples.setdefault(finder.name, []).extend(report["cpu_s"]["image"][1:])
                reports[finder.name] = report
        for name, report in reports.items():
            made.setdefault(name, {})[str(size)] = {
                "cpu_s": best_of(samples[name]),
                "peak_mb": round(report["peak_mb"], 1),
                "import_cpu_s": round(report["import_cpu_s"], 2),
            }
            entry = made[name][str(size)]
            print(
                f"{size:>5} px  {name:<18} CPU {entry['cpu_s']['min'] * 1e3:8.1f} ms (median "
                f"{entry['cpu_s']['median'] * 1e3:.1f})  peak {entry['peak_mb']:7.1f} MB  "
                f"import {entry['import_cpu_s']:.2f} s"
            )
    return made


def _print_entry(name: str, finder: str, entry: dict[str, Any]) -> None:
    print(
        f"\n{name}, {finder}: {entry['sources']} sources, {entry['spurious']} spurious in "
        f"{entry['megapixels']:g} Mpix, {entry['cpu_ms_per_image']} ms of CPU an image"
    )
    for row in entry["bins"]:
        if "pulls" not in row:
            continue
        low, high = row["snr"]
        print(
            f"  SNR {low:>5g} to {high or '':<5} n {row['n']:>6}"
            f"  complete {row['completeness']:.4f}"
            f"  peak {row['peak_bias_sigma']:+.3f} ({row['peak_bias_percent']:+.3f} %) "
            f"~{row['peak_scatter_sigma']:.2f}  int {row['flux_bias_sigma']:+.3f} "
            f"({row['flux_bias_percent']:+.3f} %) ~{row['flux_scatter_sigma']:.2f}  pulls "
            + " ".join(f"{pull:.3f}" for pull in row["pulls"])
            + f" +-{row['pull_error']:.3f}"
        )


def main(words: Sequence[str] | None = None) -> None:
    """Measure and print; the last line is all of it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.bench_finders")
    parser.add_argument("--sets", default=",".join(SETS), help="which, separated by commas")
    parser.add_argument("--images", type=int, default=8, help="images of each set; default 8")
    parser.add_argument("--size", type=int, default=1024, help="their side in pixels")
    parser.add_argument(
        "--speed", default="512,1024,2048,4096", help="sides of the images that are timed"
    )
    parser.add_argument("--repetitions", type=int, default=3, help="of each timing, three times")
    for name in ("sep", "pyse", "bdsf", "aegean"):
        parser.add_argument(
            f"--{name}", type=Path, metavar="PYTHON", help=f"Python of an environment with {name}"
        )
    parser.add_argument("--only", default="", help="only finders whose name has this in it")
    arguments = parser.parse_args(words)
    environment = describe_environment()
    print_environment(environment)
    finders = finders_of(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        sizes = [int(size) for size in arguments.speed.split(",") if size]
        made = {
            "benchmark": "finders",
            "speed": speed(finders, sizes, arguments.repetitions, Path(scratch)),
            "accuracy": accuracy(
                finders,
                [name for name in arguments.sets.split(",") if name],
                arguments.images,
                arguments.size,
                Path(scratch),
            ),
            "environment": environment,
        }
    if code_has_changed(environment):
        sys.exit("the code has changed meanwhile: run it again")
    print(json.dumps(made))


if __name__ == "__main__":
    main()

"""Source finders on the same simulated images: what they find, how true their errors are, the cost.

``python -m benchmarks.bench_finders --help``; README.md beside it says what the figures mean.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.environment import code_has_changed, describe_environment, print_environment
from benchmarks.finder_process import (
    OURS,
    Finder,
    FinderError,
    FinderPool,
    FinderProcess,
    finder_pool,
    import_cpu_s,
)
from benchmarks.finder_sets import BLEND, EMPTY, FAINT, SETS, joined, make_image, match
from benchmarks.finder_statistics import (
    FaintMatches,
    compare_at_equal_rate,
    false_detections,
    statistics,
)
from benchmarks.finder_tables import markdown, print_accuracy, print_faint, print_speed
from benchmarks.finder_targets import judge, print_targets
from trap_ops.simulate.fields import Field

_DETECTION_SIGMA = 5.0
# Completeness at equal false rate: each finder is cut at its own significance, above this.
_FAINT_DETECTION_SIGMA = 4.0
_FALSE_ABOVE_SIGMA = (4.0, 5.0)
_SLOW_UP_TO_PX = 1024
_FREE_SPLIT = "ours, free, split"


def finders_of(arguments: argparse.Namespace) -> list[Finder]:
    """Return this project's finder, and the others whose Python was given."""
    made = [
        Finder("ours, shape held", Path(sys.executable), OURS, ("held",)),
        Finder("ours, shape free", Path(sys.executable), OURS),
        Finder("ours, held, split", Path(sys.executable), OURS, ("held", "split")),
        Finder(_FREE_SPLIT, Path(sys.executable), OURS, ("split",)),
    ]
    if arguments.sep:
        made.append(Finder("sep", arguments.sep, "peer_sep.py"))
    if arguments.pyse:
        way = ("vectorized", "held")
        made += [
            Finder("pyse, TraP's way", arguments.pyse, "peer_pyse.py", way),
            Finder("pyse, fits", arguments.pyse, "peer_pyse.py", slow=True),
        ]
    if arguments.bdsf:
        made.append(Finder("PyBDSF", arguments.bdsf, "peer_bdsf.py", slow=True))
    if arguments.aegean:
        made.append(Finder("Aegean", arguments.aegean, "peer_aegean.py", slow=True))
    return [item for item in made if not arguments.only or arguments.only in item.name]


@contextmanager
def made_images(
    name: str, size_px: int, n_images: int, processes: int
) -> Iterator[tuple[list[Path], list[Field]]]:
    """Files of a set, which are there within the block, and the truth about each."""
    # This process has threads, so it must not fork.
    context = multiprocessing.get_context("forkserver")
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(processes, context) as workers,
    ):
        paths = [Path(folder, f"{number:04d}.fits") for number in range(n_images)]
        truth = workers.map(make_image, repeat(name), repeat(size_px), range(n_images), paths)
        yield paths, list(truth)


def accuracy(
    finders: Sequence[Finder],
    names: Sequence[str],
    n_images: int,
    n_slow: int,
    size_px: int,
    pool: FinderPool,
    processes: int,
) -> dict[str, Any]:
    """Tables of all finders for all sets."""
    made: dict[str, Any] = {}
    for name in names:
        with made_images(name, size_px, n_images, processes) as (images, fields):
            for finder in finders:
                if finder.splits and name != BLEND:
                    continue
                n = min(n_slow, n_images) if finder.slow else n_images
                try:
                    catalogues, seconds = pool.catalogues(finder, images[:n], _DETECTION_SIGMA)
                except FinderError as error:
                    print(error, file=sys.stderr)
                    continue
                pairs = zip(fields[:n], catalogues, strict=True)
                matches = joined([match(name, *pair) for pair in pairs])
                entry = {
                    "sources": len(matches.snr),
                    "spurious": len(matches.spurious),
                    "megapixels": n * size_px**2 / 2**20,
                    # What is loaded or compiled late makes the first ones dear.
                    "cpu_ms_per_image": round(1e3 * float(np.median(seconds)), 1),
                    "bins": statistics(matches),
                    "version": pool.version(finder),
                }
                made.setdefault(name, {})[finder.name] = entry
                print_accuracy(name, finder.name, entry)
    return made


def faint(
    finders: Sequence[Finder],
    names: Sequence[str],
    n_images: int,
    n_noise: int,
    rate: float,
    size_px: int,
    pool: FinderPool,
    processes: int,
) -> dict[str, Any]:
    """Completeness of all finders when each is cut so that all have one rate of false detections.

    All finders see the same images, so it takes as long as the slowest ones take.
    """
    made: dict[str, Any] = {}
    for name in names:
        with (
            made_images(f"{name}-{FAINT}", size_px, n_images, processes) as (images, fields),
            made_images(f"{name}-{EMPTY}", size_px, n_noise, processes) as (noise, _),
        ):
            megapixels = n_noise * size_px**2 / 2**20
            matches, programs, n_tiles = {}, {}, 0
            for finder in finders:
                if finder.splits:
                    continue
                try:
                    empty, _ = pool.catalogues(finder, noise, _FAINT_DETECTION_SIGMA)
                    catalogues, _ = pool.catalogues(finder, images, _FAINT_DETECTION_SIGMA)
                except FinderError as error:
                    print(error, file=sys.stderr)
                    continue
                significance, tile, n_tiles = false_detections(empty, size_px)
                pairs = zip(fields, catalogues, strict=True)
                found = joined([match(name, *pair) for pair in pairs])
                matches[finder.name] = FaintMatches(
                    found.snr, found.significance, significance, tile, found.spurious
                )
                programs[finder.name] = finder.script
            compared = compare_at_equal_rate(matches, programs, n_tiles, rate * megapixels)
        for finder_name, entry in compared.items():
            significance = matches[finder_name].false_significance
            entry["false_above"] = {
                f"{threshold:g}": int((significance >= threshold).sum())
                for threshold in _FALSE_ABOVE_SIGMA
            }
        made[name] = {"rate": rate, "noise_megapixels": megapixels, "finders": compared}
        print_faint(name, made[name])
    return made


def speed(finders: Sequence[Finder], sizes: Sequence[int], repetitions: int) -> dict[str, Any]:
    """CPU time and memory of finders, one at a time and in turns, on images of the set ``base``."""
    made: dict[str, Any] = {}
    for size in sizes:
        timed = [item for item in finders if not item.slow or size <= _SLOW_UP_TO_PX]
        with made_images("base", size, 1, 1) as ((image,), _):
            running = dict(_started(timed))
            samples: dict[str, list[float]] = {}
            peaks = {}
            for turn in range(3):  # In turns: the speed of a machine drifts.
                for finder in timed:
                    if finder.name not in running or (finder.slow and turn):
                        continue
                    # The first image of a process pays for what is loaded or compiled late.
                    n = 2 if finder.slow else repetitions + (turn == 0)
                    target = image.with_suffix(".npz")
                    try:
                        cost = running[finder.name].find(finder, image, target, _DETECTION_SIGMA, n)
                    except FinderError as error:
                        print(error, file=sys.stderr)
                        continue
                    samples.setdefault(finder.name, []).extend(cost["cpu_s"][turn == 0 :])
                    peaks[finder.name] = cost["peak_mb"]
            for process in running.values():
                process.close()
        for name, seconds in samples.items():
            entry = {
                "cpu_s": {
                    "min": round(min(seconds), 4),
                    "median": round(float(np.median(seconds)), 4),
                },
                "peak_mb": round(peaks[name], 1),
                "import_cpu_s": round(running[name].import_cpu_s, 2),
            }
            made.setdefault(name, {})[str(size)] = entry
            print_speed(size, name, entry)
    return made


def _started(finders: Sequence[Finder]) -> Iterator[tuple[str, FinderProcess]]:
    """Names and processes of all finders that can be loaded."""
    for finder in finders:
        try:
            yield finder.name, FinderProcess(finder)
        except FinderError as error:
            print(error, file=sys.stderr)


def main(words: Sequence[str] | None = None) -> None:
    """Measure, print and judge; the last line is all of it as JSON."""
    arguments = _arguments(words)
    environment = describe_environment()
    print_environment(environment)
    finders = finders_of(arguments)
    # Splitting costs about the same with either shape.
    timed = [item for item in finders if item.name != _FREE_SPLIT]
    costs = speed(timed, [int(size) for size in arguments.speed], arguments.repetitions)
    imported = import_cpu_s("trap_ops.science.extraction")
    with finder_pool(arguments.processes) as pool:
        shared = (arguments.size, pool, arguments.processes)
        slow = arguments.images if arguments.slow_images is None else arguments.slow_images
        tables = accuracy(finders, arguments.sets, arguments.images, slow, *shared)
        at_equal_rate = faint(
            finders,
            arguments.faint_sets,
            arguments.faint_images,
            arguments.noise_images,
            arguments.rate,
            *shared,
        )
    targets = judge({item.name: item for item in finders}, tables, at_equal_rate, costs, imported)
    print_targets(targets)
    if arguments.markdown:
        arguments.markdown.write_text(markdown(tables, at_equal_rate, costs))
    if code_has_changed(environment):
        sys.exit("the code has changed meanwhile: run it again")
    made = {
        "benchmark": "finders",
        "speed": costs,
        "import_cpu_s": round(imported, 3),
        "accuracy": tables,
        "equal_false_rate": at_equal_rate,
        "targets": [{**vars(item), "verdict": item.verdict} for item in targets],
        "environment": environment,
    }
    print(json.dumps(made))


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    def listed(text: str) -> list[str]:
        return [word for word in text.split(",") if word]

    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.bench_finders")
    parser.add_argument("--sets", type=listed, default=list(SETS), help="which; commas between")
    parser.add_argument("--images", type=int, default=8, help="images of each set; default 8")
    parser.add_argument(
        "--slow-images", type=int, help="of these for finders that take seconds; default: all"
    )
    parser.add_argument("--size", type=int, default=1024, help="their side in pixels")
    parser.add_argument(
        "--faint-sets",
        type=listed,
        default=["base", "nat", "coarse"],
        help="sets whose noise and beam are used for completeness at equal false rate",
    )
    parser.add_argument("--faint-images", type=int, default=4, help="with faint sources; default 4")
    parser.add_argument("--noise-images", type=int, default=8, help="without sources; default 8")
    parser.add_argument("--rate", type=float, default=1.0, help="false detections in 2**20 pixels")
    parser.add_argument(
        "--speed",
        type=listed,
        default=["512", "1024", "2048", "4096"],
        help="sides of the images that are timed; slow finders see those up to 1024",
    )
    parser.add_argument("--repetitions", type=int, default=3, help="of each timing, three times")
    parser.add_argument(
        "--processes", type=int, default=1, help="of each finder at a time, except for the timing"
    )
    for name in ("sep", "pyse", "bdsf", "aegean"):
        parser.add_argument(
            f"--{name}", type=Path, metavar="PYTHON", help=f"Python of an environment with {name}"
        )
    parser.add_argument("--only", default="", help="only finders whose name has this in it")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there too")
    return parser.parse_args(words)


if __name__ == "__main__":
    # It takes hours: whoever reads along in a file wants whole tables.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    main()

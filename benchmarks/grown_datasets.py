"""Datasets that grow very long, and very large: cost of an image, memory, rows and disk."""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import func, select, text

from benchmarks.made_series import Series, Sky
from trap_ops import local
from trap_ops.simulate.series import SeriesPlan, write_series
from trap_ops.store.database import Store
from trap_ops.store.schema import assocxtrsource, candidate, extractedsource, runningcatalog

# Bright enough to be detected in every image, and so far apart that the catalogue is fixed.
_SMALL = {"size_px": 128, "n_steady": 20, "n_variable": 0, "n_transient": 0, "snr_min": 20.0,
          "snr_max": 200.0, "min_separation_beams": 3.0, "edge_px": 12, "cadence_s": 30.0,
          "integration_s": 10.0, "seed": 11}  # fmt: skip
_PIECE = 250


def small_images(n: int, directory: Path) -> list[Path]:
    """Write n images of 128 x 128 pixels with 20 sources, in time order."""
    return sorted(write_series(SeriesPlan(n_epochs=n, **_SMALL), directory))  # type: ignore[arg-type]


def appended(url: str, images: Sequence[Path], n_timed: int, scratch: Path) -> dict[str, Any]:
    """Cost of an image appended in a run of its own: for the first ones, and for the last.

    Those between come in runs of 250, which leaves the same dataset as runs of one: that is tested.
    """

    def run(some: Sequence[Path]) -> tuple[float, float]:
        wall, cpu = time.perf_counter(), time.process_time()
        local.run(some, "appended", store_url=url, output_dir=scratch)
        return time.perf_counter() - wall, time.process_time() - cpu

    first = [run([image]) for image in images[:n_timed]]
    between = images[n_timed : len(images) - n_timed]
    for begin in range(0, len(between), _PIECE):
        run(between[begin : begin + _PIECE])
        _progress(url, n_timed + begin, len(images))
    last = [run([image]) for image in images[len(images) - n_timed :]]
    found: dict[str, Any] = {"images": len(images), "timed": n_timed}
    for number, what in enumerate(("wall", "cpu")):
        early, late = ([each[number] for each in part] for part in (first, last))
        found[what] = {
            "first_s": statistics.fmean(early),
            "last_s": statistics.fmean(late),
            "ratio": statistics.fmean(late) / statistics.fmean(early),
            "ratio_of_medians": statistics.median(late) / statistics.median(early),
        }
    found |= contents(url)
    name = url.split(":", 1)[0]
    for what in ("wall", "cpu"):
        of = found[what]
        print(
            f"{name}: {len(images)} images, a run each: {of['first_s'] * 1e3:.0f} ms of {what} for "
            f"the first {n_timed}, {of['last_s'] * 1e3:.0f} ms for the last {n_timed}: ratio "
            f"{of['ratio']:.2f} (of medians {of['ratio_of_medians']:.2f})"
        )
    return found


def drawn(url: str, n_images: int, n_sources: int) -> dict[str, Any]:
    """Images without pixels with very many sources each, associated in one run, and one more."""
    store = Store(url)
    store.prepare()
    series = Series(store, Sky.draw(n_sources))
    made, detections = time.perf_counter(), 0
    for number in range(0, n_images, 10):
        detections += series.add(min(10, n_images - number))
        _progress(url, number, n_images)
    made = time.perf_counter() - made
    before = _peak_mb()
    seconds = _timed(series.run)
    series.add(1)
    one_more = _timed(series.run)
    store.close()
    found = {"images": n_images, "sources": n_sources, "detections": detections,
             "drawn_s": made, "run_s": seconds, "one_more_s": one_more, "peak_before_mb": before,
             "peak_mb": _peak_mb(), **contents(url)}  # fmt: skip
    found["points_per_s"] = found["points"] / seconds
    print(
        f"{url.split(':', 1)[0]}: {n_images} images of {n_sources} sources: {found['points']} "
        f"points in {seconds:.0f} s ({found['points_per_s']:.0f}/s), one more image in "
        f"{one_more:.1f} s; peak {found['peak_mb']:.0f} MB ({before:.0f} before it); "
        f"{found['disk_mb']:.0f} MB of disk"
    )
    return found


def contents(url: str) -> dict[str, Any]:
    """Rows and size of a database."""
    store = Store(url)
    with store.read() as connection:

        def count(table: Any) -> int:  # noqa: ANN401 - any table
            return int(connection.execute(select(func.count()).select_from(table)).scalar_one())

        size = "SELECT pg_database_size(current_database())"
        if connection.dialect.name == "sqlite":
            size = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
        found = {
            "sky_sources": count(runningcatalog),
            "measurements": count(extractedsource),
            "points": count(assocxtrsource),
            "candidates": count(candidate),
            "disk_mb": connection.execute(text(size)).scalar_one() / 1e6,
        }
    store.close()
    return found


def _timed(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def _progress(url: str, number: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{url.split(':', 1)[0]}: {number} of {total} images", end="", file=sys.stderr)

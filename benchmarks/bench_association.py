"""Association and what follows it, without pixels: ``python -m benchmarks.bench_association``."""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.environment import (
    best_of,
    code_has_changed,
    describe_environment,
    print_environment,
)
from benchmarks.made_series import BEAM_DEG, Series, Sky, look
from trap_ops.records.sources import Detections, Sources
from trap_ops.science.association import match, score
from trap_ops.science.catalogue import Catalogue, first_positions
from trap_ops.store.database import Store


def detections_of(sources: Sources) -> Detections:
    """Return measurements as association has them."""
    return Detections(
        id=np.arange(1, len(sources) + 1), ra_deg=sources.ra_deg, dec_deg=sources.dec_deg,
        sigma_ew_deg=sources.sigma_ew_deg, sigma_ns_deg=sources.sigma_ns_deg,
        ra_err_deg=sources.ra_err_deg, dec_err_deg=sources.dec_err_deg, peak_jy=sources.peak_jy,
        flux_jy=sources.flux_jy, flux_err_jy=sources.flux_err_jy, flags=sources.flags,
    )  # fmt: skip


def one_image(n: int, repetitions: int) -> dict[str, Any]:
    """CPU seconds of scoring and matching n detections against n sky sources, in memory."""
    sky, rng = Sky.draw(n), np.random.default_rng(5)
    first, second = (detections_of(look(sky, rng)) for _ in range(2))
    catalogue = Catalogue()
    count = len(first)
    zeros = np.zeros(count, dtype=np.int64)
    catalogue.append(
        first.id, first_positions(first, np.arange(count)), zeros + 1, zeros, zeros, zeros - 1,
        catalogue.new_names(first),
    )  # fmt: skip
    seconds, pairs, matched = [], 0, 0
    for _ in range(repetitions):
        started = time.process_time()
        found = score(
            catalogue, second, stokes=1, max_separation_deg=1.5 * BEAM_DEG, max_deruiter=5.68
        )
        made = match(found, len(second))
        seconds.append(time.process_time() - started)
        pairs, matched = len(found), len(made.updates)
    print(
        f"{len(second)} detections, {count} sky sources: {min(seconds):.3f} s of CPU "
        f"({pairs} pairs, {matched} matched)"
    )
    return {"detections": len(second), "pairs": pairs, "cpu_s": best_of(seconds)}


def appended(url: str, n_images: int, n_sources: int) -> dict[str, Any]:
    """CPU seconds of an image, appended one run after the other, at the start and at the end."""
    store = Store(url)
    store.prepare()
    series = Series(store, Sky.draw(n_sources))
    series.add(20)
    series.run()
    seconds = []
    for number in range(20, n_images):
        series.add(1)
        started = time.process_time()
        series.run()
        seconds.append(time.process_time() - started)
        if number % 200 == 0 and sys.stderr.isatty():
            print(f"\r{number} of {n_images} images", end="", file=sys.stderr)
    store.close()
    part = max(1, len(seconds) // 20)
    first, last = float(np.mean(seconds[:part])), float(np.mean(seconds[-part:]))
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    name = url.split(":", 1)[0]
    print(
        f"{name}: {n_images} images of {n_sources} sources, a run each: {first * 1e3:.0f} ms of "
        f"CPU for the first {part}, {last * 1e3:.0f} ms for the last, ratio {last / first:.2f}; "
        f"peak {peak_mb:.0f} MB"
    )
    return {"first_s": first, "last_s": last, "ratio": last / first, "peak_mb": peak_mb}


def main(words: Sequence[str] | None = None) -> None:
    """Measure and print; the last line is all of it as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, prog="python -m benchmarks.bench_association"
    )
    parser.add_argument("--detections", type=int, default=100_000, help="of one large image")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--images", type=int, default=400, help="appended one after the other")
    parser.add_argument("--sources", type=int, default=100, help="in each of these")
    parser.add_argument(
        "--postgresql", metavar="URL", help="an empty database that is filled too, and left so"
    )
    arguments = parser.parse_args(words)
    environment = describe_environment()
    print_environment(environment)
    made: dict[str, Any] = {
        "benchmark": "association",
        "one_image": one_image(arguments.detections, arguments.repetitions),
    }
    with tempfile.TemporaryDirectory() as scratch:
        urls = [f"sqlite:///{Path(scratch) / 'results.db'}"]
        urls += [arguments.postgresql] if arguments.postgresql else []
        made["appended"] = {
            url.split(":", 1)[0]: appended(url, arguments.images, arguments.sources) for url in urls
        }
    if code_has_changed(environment):
        sys.exit("the code has changed meanwhile: run it again")
    print(json.dumps(made | {"environment": environment}))


if __name__ == "__main__":
    main()

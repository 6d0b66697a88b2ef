"""Forced fits: how true their fluxes and errors are, and the time of each.

``python -m benchmarks.bench_forced_fits --help``; README.md beside it says what the figures mean.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from benchmarks.environment import (
    SETTINGS,
    child_environment,
    code_has_changed,
    describe_environment,
    print_environment,
)
from benchmarks.finder_sets import field_of
from trap_ops.config.model import ExtractionConfig
from trap_ops.records.images import NoiseModel
from trap_ops.science.beam import fwhm_of_covariance
from trap_ops.science.extraction import extract
from trap_ops.science.forced_fits import ForcedFits, fit_positions
from trap_ops.science.masks import blank_pixels
from trap_ops.simulate.fields import Field

FloatArray = npt.NDArray[np.float64]
NAMES = ("base", "nat", "ell", "coarse")
# Positions on blank sky are so many beams from every source.
_BLANK_BEAMS = 3.0
_BUDGET_US = 3.0
_PULLS = (0.97, 1.03)
_BIAS_SIGMA = 0.02


def fields_of(name: str, n_images: int, size_px: int) -> list[tuple[Field, NoiseModel]]:
    """Images of a set, whose sources are isolated, and their noise as it is measured."""
    made = []
    for number in range(n_images):
        field = field_of(name, size_px, number)
        found = extract(field.pixels, field.beam_covariance_px, ExtractionConfig(margin_px=0))
        if found is not None:
            made.append((field, found.noise))
    return made


def fit(field: Field, noise: NoiseModel, x: FloatArray, y: FloatArray) -> ForcedFits:
    """Forced fits of an image without any blank pixel or margin."""
    beam = field.beam_covariance_px
    blank = blank_pixels(field.pixels, fwhm_of_covariance(beam))
    return fit_positions(field.pixels, blank, x, y, noise, beam, margin_px=0, radius_px=0.0)


def accuracy(
    fields: Sequence[tuple[Field, NoiseModel]], n_positions: int, rng: np.random.Generator
) -> dict[str, Any]:
    """Bias and pull of fluxes on blank sky and on sources, by moments: no outlier is left out."""
    pulls: dict[str, list[FloatArray]] = {"blank": [], "sources": []}
    biases: dict[str, list[FloatArray]] = {"blank": [], "sources": []}
    for field, noise in fields:
        beam_px = fwhm_of_covariance(field.beam_covariance_px)
        size = len(field.pixels)
        places = rng.uniform(beam_px, size - 1 - beam_px, (n_positions // len(fields), 2))
        sources = np.stack([field.x, field.y], axis=1)
        far = cKDTree(sources).query(places)[0] > _BLANK_BEAMS * beam_px
        for kind, at, truth in (
            ("blank", places[far], np.zeros(np.count_nonzero(far))),
            ("sources", sources, field.peak),
        ):
            found = fit(field, noise, *at.T)
            # The noise of all these sets has the rms 1.
            biases[kind].append(found.peak - truth)
            pulls[kind].append((found.peak - truth) / found.peak_err)
    made = {}
    for kind, parts in pulls.items():
        pull, bias = np.concatenate(parts), np.concatenate(biases[kind])
        # Neighbouring positions share noise: images, not positions, are independent.
        means = [part.mean() for part in biases[kind]]
        made[kind] = {
            "positions": len(pull),
            "pull": round(float(pull.std()), 4),
            "bias_sigma": round(float(bias.mean()), 4),
            "bias_error": round(float(np.std(means) / np.sqrt(max(len(means) - 1, 1))), 4),
        }
    return made


def speed(
    field: Field, noise: NoiseModel, counts: Sequence[int], repetitions: int
) -> dict[str, dict[str, float]]:
    """CPU time of a fit at random places of one image, in turns; microseconds."""
    rng = np.random.default_rng(1)
    places = {n: rng.uniform(0.0, len(field.pixels) - 1.0, (2, n)) for n in counts}
    samples: dict[int, list[float]] = {n: [] for n in counts}
    for _ in range(repetitions):
        for n, (x, y) in places.items():
            begun = time.process_time()
            fit(field, noise, x, y)
            samples[n].append((time.process_time() - begun) / n * 1e6)
    return {
        str(n): {
            "min_us": round(min(values), 3),
            "median_us": round(float(np.median(values)), 3),
        }
        for n, values in samples.items()
    }


def main(words: Sequence[str] | None = None) -> None:
    """Measure and print; the last line is all of it as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, prog="python -m benchmarks.bench_forced_fits"
    )
    parser.add_argument("--images", type=int, default=40, help="images of each set; default 40")
    parser.add_argument("--size", type=int, default=1024, help="their side in pixels")
    parser.add_argument("--counts", default="12000,100000", help="numbers of positions timed")
    parser.add_argument("--repetitions", type=int, default=15, help="of each timing")
    arguments = parser.parse_args(words)
    environment = describe_environment()
    print_environment(environment)
    counts = [int(count) for count in arguments.counts.split(",")]
    found: dict[str, Any] = {}
    times: dict[str, dict[str, float]] = {}
    for name in NAMES:
        fields = fields_of(name, arguments.images, arguments.size)
        if not times:
            times = speed(*fields[0], counts, arguments.repetitions)
            for count, entry in times.items():
                print(
                    f"{count:>7} positions  {entry['min_us']:.2f} us of CPU each (median "
                    f"{entry['median_us']:.2f}; budget {_BUDGET_US:g})"
                )
        found[name] = accuracy(fields, max(counts), np.random.default_rng(2))
        for kind, entry in found[name].items():
            print(
                f"{name:<7} {kind:<8} n {entry['positions']:>6}  pull {entry['pull']:.3f} "
                f"({_PULLS[0]} to {_PULLS[1]})  bias {entry['bias_sigma']:+.4f} "
                f"+-{entry['bias_error']:.4f} sigma (within {_BIAS_SIGMA})"
            )
    if code_has_changed(environment):
        sys.exit("the code has changed meanwhile: run it again")
    print(
        json.dumps(
            {
                "benchmark": "forced_fits",
                "speed": times,
                "accuracy": found,
                "environment": environment,
            }
        )
    )


if __name__ == "__main__":
    if any(os.environ.get(name) != value for name, value in SETTINGS.items()):
        # Numpy and the system's allocator look at them once, when they are loaded.
        command = [sys.executable, "-m", "benchmarks.bench_forced_fits", *sys.argv[1:]]
        os.execve(sys.executable, command, child_environment())  # noqa: S606 - itself
    main()

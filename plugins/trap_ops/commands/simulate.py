"""``trap-manage simulate``: a series of images of a known sky."""

from __future__ import annotations

import argparse
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

from trap_ops.simulate.series import SeriesPlan, write_series

# The settings that have an option of their own, with their help.
OPTIONS = {
    "n_epochs": "number of epochs",
    "size_px": "side of the images in pixels",
    "n_steady": "number of steady sources",
    "n_variable": "number of variable sources",
    "n_transient": "number of transients",
    "seed": "equal seeds give equal images",
    "noise": "natural (autocorrelation is the beam) or beam-smoothed",
    "noise_gradient": "noise at the corners over noise at the centre",
    "min_separation_beams": "least distance between sources; 0 gives blends as they come",
    "position_jitter_arcsec": "sigma of each image's astrometric offset",
    "pointing_jitter_px": "sigma of each image's pointing",
    "cadence_s": "time between epochs",
}


def add_parser(verbs: Any) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "simulate",
        help="write a series of simulated images and its truth",
        description="Write FITS images of a sky of known sources, and the truth as truth.csv and "
        "truth.json. A directory that holds the same series already is left alone.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("directory", type=Path, help="where to write")
    plan = {field.name: field.default for field in fields(SeriesPlan)}
    for name, text in OPTIONS.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=type(plan[name]), default=plan[name], help=text
        )
    parser.add_argument(
        "--frequency-mhz", type=float, action="append", help="one image an epoch and frequency"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the series."""
    chosen = {name: getattr(arguments, name) for name in OPTIONS}
    if arguments.frequency_mhz:
        chosen["frequencies_hz"] = tuple(mhz * 1e6 for mhz in arguments.frequency_mhz)
    plan = SeriesPlan(**chosen)
    started = time.perf_counter()
    paths = write_series(plan, arguments.directory)
    print(
        f"{len(paths)} images of {plan.size_px} x {plan.size_px} pixels with {plan.n_steady} "
        f"steady sources, {plan.n_variable} variables and {plan.n_transient} transients in "
        f"{arguments.directory} ({time.perf_counter() - started:.1f} s)"
    )
    return 0

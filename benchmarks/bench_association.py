"""Association, and datasets that grow: ``python -m benchmarks.bench_association``."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import create_engine, make_url, text

from benchmarks.environment import (
    best_of,
    code_has_changed,
    describe_environment,
    print_environment,
)
from benchmarks.grown_datasets import appended, drawn, small_images
from benchmarks.made_series import BEAM_DEG, Sky, look
from benchmarks.trap_association import associated_by_trap, grown_by_trap
from trap_ops.records.sources import Detections, Sources
from trap_ops.science.association import match, score
from trap_ops.science.catalogue import Catalogue, first_positions


def detections_of(sources: Sources) -> Detections:
    """Return measurements as association has them."""
    return Detections(
        id=np.arange(1, len(sources) + 1), ra_deg=sources.ra_deg, dec_deg=sources.dec_deg,
        sigma_ew_deg=sources.sigma_ew_deg, sigma_ns_deg=sources.sigma_ns_deg,
        ra_err_deg=sources.ra_err_deg, dec_err_deg=sources.dec_err_deg, peak_jy=sources.peak_jy,
        flux_jy=sources.flux_jy, flux_err_jy=sources.flux_err_jy, flags=sources.flags,
    )  # fmt: skip


def one_image(
    n: int, repetitions: int, trap_environment: Path | None, scratch: Path
) -> dict[str, Any]:
    """CPU seconds of scoring and matching n detections against n sky sources, in memory."""
    sky, rng = Sky.draw(n), np.random.default_rng(5)
    seen = look(sky, rng), look(sky, rng)
    first, second = map(detections_of, seen)
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
    made = {"detections": len(second), "pairs": pairs, "cpu_s": best_of(seconds)}
    if trap_environment:
        made["trap"] = associated_by_trap(trap_environment, *seen, repetitions, scratch)
    return made


@contextmanager
def database(server: str, scratch: Path) -> Iterator[str]:
    """Address of a new database, which is gone afterwards."""
    name = f"bench_{uuid.uuid4().hex[:12]}"
    if server == "sqlite":
        yield f"sqlite:///{scratch / name}.db"
        return
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f'CREATE DATABASE "{name}"'))
    try:
        yield make_url(server).set(database=name).render_as_string(hide_password=False)
    finally:
        with engine.connect() as connection:
            connection.execute(text(f'DROP DATABASE "{name}" WITH (FORCE)'))
        engine.dispose()


def main(words: Sequence[str] | None = None) -> None:
    """Measure and print; the last line is all of it as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, prog="python -m benchmarks.bench_association"
    )
    parser.add_argument("--detections", type=int, default=100_000, help="of one large image")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--images", type=int, default=1000, help="small ones, appended")
    parser.add_argument("--timed", type=int, default=100, help="of these, the first and the last")
    parser.add_argument("--drawn", type=int, default=100, help="images without pixels, in one run")
    parser.add_argument("--sources", type=int, default=1000, help="in each of those")
    parser.add_argument(
        "--postgresql",
        metavar="URL",
        help="server, as postgresql+psycopg2://user@host/postgres: databases are made and dropped",
    )
    parser.add_argument(
        "--trap-env", type=Path, help="virtual environment with trap==1.4.0 radio-pyse==0.7.1"
    )
    parser.add_argument("--trap-images", type=int, default=500, help="of the small ones, for TraP")
    arguments = parser.parse_args(words)
    environment = describe_environment()
    print_environment(environment)
    trap = arguments.trap_env
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        made: dict[str, Any] = {
            "benchmark": "association",
            "one_image": one_image(arguments.detections, arguments.repetitions, trap, scratch),
        }
        images = small_images(arguments.images, scratch / "images")
        if trap:
            made["trap"] = grown_by_trap(trap, images[: arguments.trap_images], scratch)
        for server in filter(None, ("sqlite", arguments.postgresql)):
            kind = server.split("+")[0].split(":")[0]
            with database(server, scratch) as url:
                made.setdefault("appended", {})[kind] = appended(
                    url, images, arguments.timed, scratch
                )
            with database(server, scratch) as url:
                made.setdefault("drawn", {})[kind] = drawn(url, arguments.drawn, arguments.sources)
    if code_has_changed(environment):
        sys.exit("the code has changed meanwhile: run it again")
    print(json.dumps(made | {"environment": environment}))


if __name__ == "__main__":
    main()

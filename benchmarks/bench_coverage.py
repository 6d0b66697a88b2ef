"""``trap-manage coverage`` on made-up datasets: ``python -m benchmarks.bench_coverage``."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from astropy.wcs import WCS

from benchmarks import CHECKOUT
from benchmarks.environment import (
    child_environment,
    code_has_changed,
    describe_environment,
    print_environment,
    run_measured,
)
from trap_ops import local
from trap_ops.config.load import load_configuration
from trap_ops.records.images import (
    Autocorrelation,
    Band,
    Beam,
    ImageFile,
    NoiseGrid,
    NoiseModel,
    Region,
    Verdict,
)
from trap_ops.science.coverage import make_coverage
from trap_ops.science.geometry import geometry, pixel_beam
from trap_ops.store import datasets, images, regions
from trap_ops.store.database import Store

PIXEL_DEG = 5.0 / 3600.0
BEAM = Beam(4.5 * PIXEL_DEG, 4.0 * PIXEL_DEG, 30.0)
MARGIN_PX = 10
# As extraction has it: cells of 12 beams.
NODES_PX = 50
DATASET = "bench"
POSITION = "123.0 35.0"


@dataclass(frozen=True)
class Case:
    """Images of one size, all of the same field or each of its own."""

    images: int
    size_px: int
    moving: bool = False

    @property
    def title(self) -> str:
        """What it is, in words."""
        fields = "each with a field of its own" if self.moving else "of one field"
        return f"{self.images} images of {self.size_px} x {self.size_px}, {fields}"


CASES = (Case(1000, 1024), Case(100, 1024, moving=True), Case(1, 4096))


def write_case(case: Case, url: str) -> None:
    """Write the images into a database as the stages leave them."""
    store = Store(url)
    store.prepare()
    rng = np.random.default_rng(1)
    _, configuration = load_configuration(local.CONFIGURATIONS, "default")
    mask = np.zeros((case.size_px, case.size_px), dtype=bool)
    mask[:MARGIN_PX] = mask[-MARGIN_PX:] = mask[:, :MARGIN_PX] = mask[:, -MARGIN_PX:] = True
    matrix = ((-PIXEL_DEG, 0.0), (0.0, PIXEL_DEG))
    files = [_header(case, number, matrix) for number in range(case.images)]
    with store.write() as connection:
        found = datasets.open_dataset(store, connection, DATASET, configuration)
        band = regions.save_bands(store, connection, found, [], [Band(150e6, 149e6, 151e6)])[0]
        region = regions.save_regions(
            store, connection, found, [], [Region(123.0, 35.0, 1.0)], np.array([[1.0, 0.0, 0.0]])
        )[0]
        headers = [(file, geometry(file), band, region) for file in files]
        ids = images.insert_images(store, connection, found, headers)
        for image_id, file in zip(ids, files, strict=True):
            wcs = WCS(naxis=2)
            wcs.wcs.ctype = ["RA---SIN", "DEC--SIN"]
            wcs.wcs.crval = [file.sky_ra_deg[0], file.sky_dec_deg[0]]
            wcs.wcs.crpix = [case.size_px / 2 + 0.5] * 2
            wcs.wcs.cdelt = [-PIXEL_DEG, PIXEL_DEG]
            nodes = case.size_px // NODES_PX
            rms = rng.uniform(0.9e-3, 1.1e-3, (nodes, nodes))
            grid = NoiseGrid(
                np.zeros_like(rms), rms, NODES_PX / 2, NODES_PX / 2, NODES_PX, NODES_PX
            )
            correlation = Autocorrelation(np.ones((1, 1)), measured=False)
            noise = NoiseModel(grid, correlation, float(rms.min()), float(rms.max()))
            coverage = make_coverage(mask, pixel_beam(BEAM, np.array(matrix)), wcs)
            images.set_noise(connection, image_id, noise, coverage, 8.0, 3.0)
        images.set_verdicts(store, connection, {i: Verdict(accepted=True) for i in ids})
    store.close()


def _header(
    case: Case, number: int, matrix: tuple[tuple[float, float], tuple[float, float]]
) -> ImageFile:
    shift = number * 3.3 * PIXEL_DEG if case.moving else 0.0
    return ImageFile(
        path=f"/bench/{number:05d}.fits",
        file_name=f"{number:05d}.fits",
        file_size=1,
        file_mtime_ns=1,
        header_sha256="0" * 64,
        telescope="BENCH",
        stokes=1,
        freq_eff_hz=150e6,
        freq_bw_hz=2e6,
        start=datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None) + timedelta(minutes=number),
        integration_s=60.0,
        beam=BEAM,
        pixel_matrix_deg=matrix,
        nx=case.size_px,
        ny=case.size_px,
        sky_ra_deg=(123.0 + shift,) * 5,
        sky_dec_deg=(35.0 + shift, *[35.5 + shift] * 4),
    )


def measure(case: Case, directory: Path) -> dict[str, Any]:
    """Time the export, and the question about a position."""
    url = f"sqlite:///{directory / f'{case.images}-{case.size_px}-{case.moving}.db'}"
    started = time.perf_counter()
    write_case(case, url)
    print(f"{case.title} made in {time.perf_counter() - started:.1f} s", file=sys.stderr)
    environ = child_environment({"TRAP_DB": url, "TRAP_VAR": str(directory)})
    command = [CHECKOUT / "bin" / "trap-manage", "coverage", DATASET, "--json"]
    log = directory / "coverage.log"
    export = run_measured(command, log, environ=environ, directory=directory)
    files = json.loads(log.read_text())["files"]
    question = run_measured(
        [*command, "--position", POSITION], log, environ=environ, directory=directory
    )
    shown = json.loads(log.read_text())["positions"][0]["depth"][0]["shown"]
    return {
        **asdict(case),
        "order": files[0]["order"],
        "area_deg2": round(files[0]["area_deg2"], 4),
        "map_mb": round(Path(files[0]["path"]).stat().st_size / 1e6, 1),
        "shown": shown,
        "export": _figures(export),
        "position": _figures(question),
    }


def _figures(measured: Any) -> dict[str, float]:  # noqa: ANN401 - Measured, or one like it
    return {
        "wall_s": round(measured.wall_s, 2),
        "cpu_s": round(measured.cpu_s, 2),
        "peak_mb": round(measured.peak_mb, 1),
    }


def main(words: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the benchmark; print a table and one line of JSON; return what is in that line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bench_coverage",
        description="Time `trap-manage coverage` on made-up datasets. The last line is JSON.",
    )
    parser.add_argument("--small", action="store_true", help="few and small images")
    small = parser.parse_args(words).small
    environment = describe_environment()
    print_environment(environment)
    cases = [
        Case(max(case.images // 100, 1), case.size_px // 8, case.moving) if small else case
        for case in CASES
    ]
    with tempfile.TemporaryDirectory(prefix="trap-bench-") as name:
        found = [measure(case, Path(name)) for case in cases]
    for case, figures in zip(cases, found, strict=True):
        print(f"\n{case.title}: order {figures['order']}, map of {figures['map_mb']} MB")
        for what in ("export", "position"):
            print(
                "    {:<10}{wall_s:>8} s{cpu_s:>8} s CPU{peak_mb:>8} MB".format(
                    what, **figures[what]
                )
            )
    result = {
        "benchmark": "coverage",
        "environment": environment,
        "code_changed_meanwhile": code_has_changed(environment),
        "cases": found,
    }
    print(json.dumps(result))
    return result


if __name__ == "__main__":
    main()

"""Rankings of this pipeline, of cuts in eta and V, and of TraP 1.4.0, for the same images."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from sqlalchemy import select

from benchmarks import CHECKOUT
from benchmarks.discovery_ranking import Ranking, eta_v_significance
from benchmarks.environment import child_environment, run_measured
from benchmarks.trap_peer import SETTINGS, database_of, trap_command
from trap_ops import local
from trap_ops.config.model import CandidatesConfig
from trap_ops.records.arrays import FloatArray
from trap_ops.science.candidates import find
from trap_ops.stages.find_candidates import size_in_beams
from trap_ops.store import candidates
from trap_ops.store.database import Store
from trap_ops.store.schema import candidate, runningcatalog, varmetric

DETECTION_SIGMA = 5.0
# TraP_tools' users cut at 1.5 to 2.
CUT_SIGMA = 2.0
_DATASET = "discovery"


@dataclass(frozen=True)
class PipelineRun:
    """What one run of this pipeline made of a series.

    Attributes
    ----------
    rankings : dict of Ranking
        By the name of the method: the candidates, and cuts on the table ``varmetric``.
    ra_deg, dec_deg : numpy.ndarray, (m,)
        Of the candidates, the best first.
    vetoes : list of set of str
        Of each.
    cpu_s : float
    stage_s : dict of float
        Seconds of each stage.
    """

    rankings: dict[str, Ranking]
    ra_deg: FloatArray
    dec_deg: FloatArray
    vetoes: list[set[str]]
    cpu_s: float
    stage_s: Counter[str] = field(default_factory=Counter)


def run_pipeline(folder: Path, directory: Path, *, split_blends: bool) -> PipelineRun:
    """Run the stages on images, with the defaults but for the detection threshold."""
    url = f"sqlite:///{directory / f'{split_blends}.db'}"
    began = time.process_time()
    reports = local.run(
        [folder],
        _DATASET,
        store_url=url,
        overrides={
            "extraction": {
                "detection_threshold_sigma": DETECTION_SIGMA,
                "split_blends": split_blends,
            }
        },
        output_dir=directory,
    )
    cpu = time.process_time() - began
    stages: Counter[str] = Counter()
    for report in reports:
        stages[report.stage] += report.seconds
    store = Store(url)
    try:
        return _read(store, cpu, stages)
    finally:
        store.close()


def _read(store: Store, cpu_s: float, stages: Counter[str]) -> PipelineRun:
    source = runningcatalog
    with store.read() as connection:
        listed = connection.execute(
            select(candidate.c.runcat, candidate.c.veto).order_by(candidate.c.rank)
        ).all()
        rows = connection.execute(
            select(
                source.c.id, source.c.wm_ra, source.c.wm_decl, varmetric.c.eta_int,
                varmetric.c.v_int, varmetric.c.f_datapoints, varmetric.c.newsource,
            ).join(varmetric, varmetric.c.runcat == source.c.id).order_by(source.c.id)
        ).all()  # fmt: skip
        summary = candidates.load_summary(connection, 1)
        beams = size_in_beams(connection, 1)
    place = {row.id: i for i, row in enumerate(rows)}
    ra, dec, eta, v, points = (
        np.array([row[k] for row in rows], dtype=np.float64) for k in range(1, 6)
    )
    new = np.array([row.newsource is not None for row in rows], dtype=bool)
    # Behind the candidates all others, as they would be ranked without a limit.
    others = summary.source[
        find(summary, np.inf, 0.0, beams, CandidatesConfig().error_uncertainty).item
    ]
    ranked = list(dict.fromkeys([*(row.runcat for row in listed), *others.tolist()]))
    ranked += [i for i in place if i not in set(ranked)]
    order = np.array([place[i] for i in ranked])
    vetoes = [set(row.veto.split()) for row in listed]
    unexcused = sum(not veto for veto in vetoes)
    sigma = eta_v_significance(eta, v, (points > 1) & ~new)
    first_new = np.where(new, np.inf, sigma)
    rankings = {
        "candidates": Ranking(ra[order], dec[order], unexcused),
        "eta": _sorted(ra, dec, eta, 0),
        "eta and V": _sorted(ra, dec, sigma, int((sigma >= CUT_SIGMA).sum())),
        "new, eta and V": _sorted(ra, dec, first_new, int((first_new >= CUT_SIGMA).sum())),
    }
    there = order[: len(listed)]
    return PipelineRun(rankings, ra[there], dec[there], vetoes, cpu_s, stages)


def run_trap(environment: Path, folder: Path, directory: Path) -> tuple[dict[str, Ranking], float]:
    """Run TraP 1.4.0 on images: rankings from its table of variability, and CPU time."""
    directory.mkdir(parents=True, exist_ok=True)
    settings = [
        f"--detection_threshold={DETECTION_SIGMA:g}" if "detection_threshold" in word else word
        for word in SETTINGS
    ]
    measured = run_measured(
        trap_command(environment, folder, directory, "single-threaded", settings),
        directory / "trap.log",
        environ=child_environment(),
        directory=CHECKOUT,
    )
    connection = sqlite3.connect(database_of(directory))
    try:
        rows = connection.execute(
            "SELECT wm_ra, wm_dec, eta_int, v_int, nr_datapoints FROM variability ORDER BY src_id"
        ).fetchall()
    finally:
        connection.close()
    ra, dec, eta, v, points = np.array(rows, dtype=np.float64).T
    eta, v = np.nan_to_num(eta), np.nan_to_num(v)
    sigma = eta_v_significance(eta, v, points > 1)
    return {
        "trap 1.4.0: eta": _sorted(ra, dec, eta, 0),
        "trap 1.4.0: eta and V": _sorted(ra, dec, sigma, int((sigma >= CUT_SIGMA).sum())),
    }, measured.cpu_s


def _sorted(ra: FloatArray, dec: FloatArray, score: FloatArray, listed: int) -> Ranking:
    order = np.argsort(-score, kind="stable")
    return Ranking(ra[order], dec[order], listed)

"""How well transients and variables are found in simulated images, and what the vetoes lose.

``python -m benchmarks.bench_discovery --help``; README.md beside it says what the figures mean.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.discovery_programs import PipelineRun, run_pipeline, run_trap
from benchmarks.discovery_ranking import Outcome, compare, figures
from benchmarks.discovery_skies import ARTEFACTS, CLOSE, SKIES, sky_of, spoiled_sky
from benchmarks.discovery_tables import markdown, print_tables
from benchmarks.discovery_vetoes import Judged, by_distance, judge, losses
from benchmarks.environment import code_has_changed, describe_environment, print_environment
from benchmarks.trap_peer import trap_versions
from trap_ops.simulate.discovery import DiscoveryTruth, write_discovery

AS_FOUND, SPLIT = "as found", "blends split"


def measure_sky(
    name: str, seed: int, directory: Path, trap_environment: Path | None, *, split: bool
) -> dict[str, Any]:
    """Run all programs on one sky; figures of each ranking, and what became of the injected."""
    plan = sky_of(name, seed)
    truth = write_discovery(plan, directory / "images")
    beam_deg = plan.series.bmaj_arcsec / 3600.0
    made: dict[str, Any] = {"seed": seed, "rankings": {}, "runs": {}}
    for way in [AS_FOUND, SPLIT] if split else [AS_FOUND]:
        run = run_pipeline(directory / "images", directory, split_blends=way == SPLIT)
        judged = judge(truth, run, beam_deg)
        for method, ranking in run.rankings.items():
            outcome = compare(truth, ranking, beam_deg)
            if way == AS_FOUND or method == "candidates":
                label = method if way == AS_FOUND else f"{method}, {SPLIT}"
                made["rankings"][label] = figures(outcome)
            if method == "candidates":
                made["runs"][way] = _of_run(truth, run, judged, outcome)
    if trap_environment:
        rankings, cpu_s = run_trap(trap_environment, directory / "images", directory / "trap")
        for method, ranking in rankings.items():
            made["rankings"][method] = figures(compare(truth, ranking, beam_deg))
        made["trap_cpu_s"] = round(cpu_s, 1)
    return made


def _of_run(
    truth: DiscoveryTruth, run: PipelineRun, judged: Judged, outcome: Outcome
) -> dict[str, Any]:
    missed = []
    injected = np.flatnonzero(truth.injected)
    for i in outcome.missed.tolist():
        source = injected[i]
        if judged.row[i] >= 0:
            why = " ".join(sorted(judged.vetoes[i])) or f"row {outcome.best[i] + 1}"
        else:
            why = "no candidate" if outcome.best[i] < len(outcome.is_false) else "not detected"
        missed.append(
            {
                "name": truth.sky.name[source],
                "excess_sigma": round(float(truth.excess_sigma[source]), 1),
                "neighbour_beams": round(float(truth.neighbour_beams[source]), 2),
                "neighbour_ratio": round(float(judged.neighbour_ratio[i]), 1),
                "why": why,
            }
        )
    found = judged.row >= 0
    return {
        "injected": len(judged.row),
        "missed": missed,
        "candidates": int(found.sum()),
        "lost": losses(v for v, there in zip(judged.vetoes, found, strict=True) if there),
        "rows": len(run.vetoes),
        "false": len(judged.false_vetoes),
        "false_vetoed": losses(judged.false_vetoes),
        "second": len(run.vetoes) - len(judged.false_vetoes) - len(set(judged.row[found].tolist())),
        "cpu_s": round(run.cpu_s, 2),
        "stage_s": {stage: round(seconds, 2) for stage, seconds in run.stage_s.items()},
    }


def measure_close(seeds: Sequence[int], directory: Path, *, split: bool) -> dict[str, Any]:
    """Injected sources beside brighter ones: found, and vetoed, by distance."""
    made = {}
    for way in [AS_FOUND, SPLIT] if split else [AS_FOUND]:
        judged = []
        for seed in seeds:
            here = directory / f"{way}-{seed}"
            plan = sky_of(CLOSE, seed)
            truth = write_discovery(plan, here / "images")
            run = run_pipeline(here / "images", here, split_blends=way == SPLIT)
            judged.append(judge(truth, run, plan.series.bmaj_arcsec / 3600.0))
        made[way] = by_distance(judged)
    return made


def measure_artefacts(seeds: Sequence[int], directory: Path) -> dict[str, Any]:
    """Candidates in steady skies with artefacts: how many, and with which vetoes."""
    made = {}
    for veto in ARTEFACTS:
        rows = 0
        caught: Counter[str] = Counter()
        for seed in seeds:
            here = directory / f"{veto}-{seed}"
            spoiled = spoiled_sky(veto, seed)
            write_discovery(spoiled.plan, here / "images", spoiled.spoil)
            run = run_pipeline(here / "images", here, split_blends=False)
            rows += len(run.vetoes)
            caught.update(losses(run.vetoes))
        made[veto] = {"candidates": rows, "with it": caught[veto], "with any": caught["any"]}
    return made


def main(words: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure and print; the last line is all of it as JSON."""
    arguments = _arguments(words)
    environment = describe_environment()
    print_environment(environment)
    result: dict[str, Any] = {"benchmark": "discovery", "skies": {}}
    seeds = range(1, arguments.seeds + 1)
    with tempfile.TemporaryDirectory(prefix="trap-bench-") as folder:
        for name in arguments.skies:
            for seed in seeds:
                trap = arguments.trap_env if seed <= arguments.trap_seeds else None
                with tempfile.TemporaryDirectory(dir=folder) as here:
                    made = measure_sky(name, seed, Path(here), trap, split=arguments.split)
                result["skies"].setdefault(name, []).append(made)
                print(f"{name}, seed {seed}: done", file=sys.stderr)
        few = range(1, arguments.artefact_seeds + 1)
        result["close"] = measure_close(few, Path(folder, "close"), split=arguments.split)
        result["artefacts"] = measure_artefacts(few, Path(folder, "artefacts"))
    print_tables(result)
    if arguments.markdown:
        arguments.markdown.write_text(markdown(result))
    if code_has_changed(environment):
        sys.exit("the code has changed meanwhile: run it again")
    result["trap"] = trap_versions(arguments.trap_env) if arguments.trap_env else None
    result["environment"] = environment
    print(json.dumps(result))
    return result


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    def listed(text: str) -> list[str]:
        return [word for word in text.split(",") if word]

    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bench_discovery",
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--skies", type=listed, default=list(SKIES), help="which; commas between")
    add("--seeds", type=int, default=6, help="skies of each kind, of 100 injected sources each")
    add("--split", action=argparse.BooleanOptionalAction, default=True, help="split blends too")
    add("--artefact-seeds", type=int, default=5, help="skies with artefacts, and of close pairs")
    add("--trap-env", type=Path, help="virtual environment with trap==1.4.0 radio-pyse==0.7.1")
    add("--trap-seeds", type=int, default=3, help="TraP sees so many of the skies of each kind")
    add("--markdown", type=Path, metavar="FILE", help="write the tables there too")
    return parser.parse_args(words)


if __name__ == "__main__":
    # It takes long: whoever reads along in a file wants whole lines.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    main()

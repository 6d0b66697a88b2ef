"""Tables of the discovery benchmark, in the terminal and for the documents."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from benchmarks.discovery_skies import ARTEFACTS
from benchmarks.discovery_vetoes import ANY

_SUMMED = (
    "wanted",
    "within",
    "within_of_all",
    "false_in_first_rows",
    "listed_wanted",
    "listed_false",
)
_MEANS = ("average_precision", "roc at 0.001", "roc at 0.01", "roc at 0.1", "roc area")


def pooled(skies: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Sums and means over the seeds of each ranking, over those that it was made for."""
    made: dict[str, dict[str, float]] = {}
    for name in dict.fromkeys(name for sky in skies for name in sky["rankings"]):
        parts = [sky["rankings"][name] for sky in skies if name in sky["rankings"]]
        made[name] = {"skies": len(parts)}
        made[name] |= {key: sum(part[key] for part in parts) for key in _SUMMED}
        made[name] |= {key: float(np.mean([part[key] for part in parts])) for key in _MEANS}
    return made


def markdown(result: dict[str, Any]) -> str:
    """All tables."""
    parts = []
    for name, skies in result["skies"].items():
        parts += [f"Rankings, sky `{name}`", _rankings(skies)]
        parts += [f"Missed, sky `{name}`", _missed(skies)]
    parts += ["Vetoes", _vetoes(result), "Blends", _ways(result), "Beside brighter ones"]
    parts.append(_close(result))
    return "\n\n".join(parts) + "\n"


def print_tables(result: dict[str, Any]) -> None:
    """Print all tables."""
    print(markdown(result))


def _table(head: list[str], rows: list[list[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def _rankings(skies: list[dict[str, Any]]) -> str:
    head = [
        "ranking",
        "skies",
        "in the first 1.1 N rows",
        "1.1 x all injected",
        "false there",
        "listed",
        "false listed",
    ]
    head += ["average precision", "found at 0.1 % false", "1 %", "10 %", "area"]
    rows = []
    for name, made in pooled(skies).items():
        wanted = int(made["wanted"])
        listed = [f"{made['listed_wanted']:.0f}", f"{made['listed_false']:.0f}"]
        if not any(map(float, listed)):
            listed = ["", ""]
        row = [name, int(made["skies"]), f"{made['within']:.0f} of {wanted}"]
        row += [f"{made['within_of_all']:.0f}", f"{made['false_in_first_rows']:.0f}", *listed]
        rows.append(row + [f"{made[key]:.3f}" for key in _MEANS])
    return _table(head, rows)


def _missed(skies: list[dict[str, Any]]) -> str:
    head = ["split", "seed", "source", "excess, rms", "neighbour, beams", "its flux/excess", "why"]
    rows = [
        [way, sky["seed"], *lost.values()]
        for sky in skies
        for way, run in sky["runs"].items()
        for lost in run["missed"]
    ]
    return _table(head, rows)


def _vetoes(result: dict[str, Any]) -> str:
    """Of the default way to find sources."""
    names = list(result["skies"])
    columns = []
    for name in names:
        runs = [sky["runs"]["as found"] for sky in result["skies"][name]]
        lost: Counter[str] = Counter()
        for run in runs:
            lost.update(run["lost"])
        columns.append((lost, sum(run["candidates"] for run in runs)))
    rows = []
    for veto in [*ARTEFACTS, ANY]:
        row: list[Any] = [f"`{veto}`" if veto != ANY else veto]
        row += [f"{lost[veto]} of {total}" for lost, total in columns]
        made = result["artefacts"].get(veto)
        row += (
            [f"{made[key]} of {made['candidates']}" for key in ("with it", "with any")]
            if made
            else ["", ""]
        )
        rows.append(row)
    head = ["`veto`", *(f"lost, sky `{name}`" for name in names)]
    return _table([*head, "artefacts with it", "with any"], rows)


def _ways(result: dict[str, Any]) -> str:
    head = ["sky", "`split_blends`", "rows", "injected", "second rows", "false", "with a veto"]
    head += ["injected with a veto", "CPU s a sky"]
    rows = []
    for name, skies in result["skies"].items():
        for way in skies[0]["runs"]:
            runs = [sky["runs"][way] for sky in skies]
            total = {
                key: sum(run[key] for run in runs)
                for key in ("rows", "candidates", "second", "false")
            }
            vetoed = sum(run["false_vetoed"][ANY] for run in runs)
            lost = sum(run["lost"][ANY] for run in runs)
            cpu = np.mean([run["cpu_s"] for run in runs])
            rows.append([name, way, *total.values(), vetoed, lost, f"{cpu:.1f}"])
    return _table(head, rows)


def _close(result: dict[str, Any]) -> str:
    head = ["beams", "injected"]
    ways = list(result["close"])
    for way in ways:
        head += [f"no candidate, {way}", f"`blend`, {way}"]
    rows = []
    for i, part in enumerate(result["close"][ways[0]]):
        row: list[Any] = [f"{part['from']:g}-{part['to']:g}", part["injected"]]
        for way in ways:
            row += [result["close"][way][i][key] for key in ("no candidate", "blend")]
        rows.append(row)
    return _table(head, rows)

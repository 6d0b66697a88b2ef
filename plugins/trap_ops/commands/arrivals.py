"""``trap-manage arrivals``: what lies in the folders of schedules.toml, and what waits for what."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any

from trap_ops.commands.environment import CONFIGURATIONS, store_url
from trap_ops.commands.summary import make_console
from trap_ops.config.schedules import ARRIVAL, NIGHT, load_schedules, schedules_file
from trap_ops.export.wording import count
from trap_ops.stages.arrivals import Look, look
from trap_ops.store.arrivals import latencies_s
from trap_ops.store.database import Store

_NEXT = {NIGHT: "trap_nightly takes them", ARRIVAL: "trap_watch takes them"}


def add_parser(verbs: Any) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "arrivals",
        help="show which new images wait for trap_nightly and trap_watch, and why",
        description="Look into the folders of schedules.toml and say how many images are there, "
        "how many are new, and what they wait for; and how long the latest took from their last "
        "change to the end of their run. Nothing is changed. The exit status is 1 if a folder "
        "cannot be used.",
    )
    parser.add_argument("--latest", type=int, default=100, help="images to take the time of")
    parser.add_argument("--json", action="store_true", help="the same as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Look and print."""
    file = schedules_file(CONFIGURATIONS)
    schedules = load_schedules(file)
    store = Store(store_url())
    store.prepare()
    found = look(store, CONFIGURATIONS, schedules, {NIGHT, ARRIVAL})
    with store.read() as connection:
        shown = [
            _summary(item, latencies_s(connection, item.series.name, arguments.latest))
            for item in found
        ]
    if arguments.json:
        print(json.dumps([vars(item) for item in shown], indent=2))
    elif not shown:
        print(f"No folder is looked after; {file} says how to name some")
    else:
        console = make_console()
        for item in shown:
            for line in _lines(item):
                console.print(line, highlight=False)
    return 1 if any(item.problem for item in shown) else 0


@dataclass(frozen=True)
class Summary:
    """A series in numbers: files, seconds from a file's last change to the end of its run."""

    series: str
    folder: str
    when: str
    files: int
    unsettled: int
    waiting: dict[str, int]
    busy: dict[str, str]
    measured: int
    median_s: float | None
    percentile_95_s: float | None
    problem: str


def _summary(item: Look, latencies: list[float]) -> Summary:
    some = len(latencies) > 1
    return Summary(
        series=item.series.name,
        folder=item.series.folder,
        when=item.series.when,
        files=item.files,
        unsettled=item.unsettled,
        waiting={of.dataset: len(of.files) + len(of.again) for of in item.waiting},
        busy={of.dataset: of.busy for of in item.waiting if of.busy},
        measured=len(latencies),
        median_s=round(median(latencies), 3) if some else None,
        percentile_95_s=(
            round(quantiles(latencies, n=20, method="inclusive")[-1], 3) if some else None
        ),
        problem=item.problem,
    )


def _lines(item: Summary) -> list[str]:
    files = count(item.files, "image file")
    head = f"{item.series} ({item.folder}, taken at {item.when})"
    lines = [f"{head}: {files}, {item.unsettled} still being written"]
    if item.problem:
        lines.append(f"  {item.problem}")
    for dataset, number in item.waiting.items():
        why = item.busy.get(dataset) or _NEXT[item.when]
        lines.append(f"  dataset {dataset}: {count(number, 'file')} waiting: {why}")
    if item.median_s is not None:
        lines.append(
            f"  from the last change of a file to the end of its run: {item.median_s:.1f} s "
            f"(median), {item.percentile_95_s:.1f} s (95 per cent); latest {item.measured}"
        )
    return lines

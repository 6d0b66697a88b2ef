"""Tables of the run report: summary, images, settings, times. Plain text; the template escapes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from trap_ops.config.model import Configuration
from trap_ops.export import quality, wording
from trap_ops.export.contents import Contents
from trap_ops.records.runs import counts_in_words
from trap_ops.records.sky import FITTED
from trap_ops.store.outcomes import ACCEPTED, REJECTED, RejectedUnit
from trap_ops.store.runs import RUNNING

_LAST_STAGE = "publish"
# Stages that have an outcome for every image, in order.
_UNIT_STAGES = (
    "register_images",
    "measure_quality",
    "judge_quality",
    "extract_sources",
    "associate",
    "fit_forced",
)
_FIT_STATUS = ("fitted", "failed", "skipped", "requested", "orphan")


@dataclass(frozen=True)
class Fact:
    """A line of the summary; ``lines`` has more than one where there is a list to show."""

    name: str
    lines: list[str]


@dataclass(frozen=True)
class Tile:
    """A number that is seen first, what it counts, and more about it."""

    number: int
    what: str
    more: str = ""
    link: str = ""
    alarming: bool = False


@dataclass(frozen=True)
class FitRow:
    """Forced fits of a kind: their number by status, and why some were not made."""

    kind: str
    numbers: list[int]
    reasons: list[str]


@dataclass(frozen=True)
class ImageLine:
    """What became of an image or file: a (text, CSS class, message) a stage."""

    name: str
    path: str
    start: str
    band: str
    detections: str
    cells: list[tuple[str, str, str]]
    note: str


@dataclass(frozen=True)
class Setting:
    """A setting of the run; ``default`` is empty where the value is the default."""

    name: str
    value: str
    default: str
    meaning: str


@dataclass(frozen=True)
class StageLine:
    """How long a stage took: sum over its batches, and from the first start to the last end."""

    name: str
    batches: int
    seconds: str
    wall: str
    counts: str
    hosts: str


def facts(contents: Contents, written: datetime) -> list[Fact]:
    """Who asked for the run, when, where, for what, and what became of it."""
    details, record = contents.details, contents.run
    request = details.request
    lines = {
        "Dataset": [record.dataset_name],
        "Run": [record.key],
        "State": [_state(contents)],
        "Message": [details.message] if details.message else [],
        "Requested by": [details.requested_by or "an unknown user"],
        "Host": [details.host],
        "Started": [f"{wording.utc(details.started.replace(microsecond=0))} UTC"],
        "Finished": [f"{wording.utc(details.finished.replace(microsecond=0))} UTC"]
        if details.finished
        else [],
        "Report written": [f"{wording.utc(written)} UTC"],
        "Configuration": [_configuration(contents)],
        "Images asked for": [str(item) for item in request.get("images", [])],
        "Images withdrawn": _first([str(item) for item in request.get("withdraw", [])]),
        "Positions added": _first([_position(item) for item in request.get("monitor", [])]),
        "Positions removed": _first([str(item) for item in request.get("remove_monitors", [])]),
        "Images span": [_span(contents)] if contents.images else [],
        "Bands": [
            f"{wording.frequency(band.central_hz)} ({wording.frequency(band.low_hz)} to "
            f"{wording.frequency(band.high_hz)})"
            for band in sorted(contents.bands.values(), key=lambda band: band.central_hz)
        ],
    }
    return [Fact(name, values) for name, values in lines.items() if values]


def _first(items: Sequence[str], number: int = 20) -> list[str]:
    """Return the first of many, and how many more there are."""
    more = [f"and {len(items) - number} more"] if len(items) > number else []
    return [*items[:number], *more]


def _position(asked: Mapping[str, Any]) -> str:
    return f"{asked['ra_deg']:.6f} {asked['dec_deg']:+.6f} {asked['name']}".strip()


def _state(contents: Contents) -> str:
    publishing = any(row["stage"] == _LAST_STAGE for row in contents.stages)
    if contents.details.state == RUNNING and publishing:
        return "complete: writing this report is its last stage"
    return contents.details.state


def _configuration(contents: Contents) -> str:
    asked = contents.details.request.get("configuration", "")
    name = contents.run.configuration_name
    return f"{name} (chosen automatically)" if asked == "auto" else name


def _span(contents: Contents) -> str:
    starts = [row.start for row in contents.images.values()]
    return f"{wording.utc(min(starts))} to {wording.utc(max(starts))} UTC"


def tiles(contents: Contents) -> list[Tile]:
    """Return the numbers that are seen first."""
    accepted = sum(row.verdict == ACCEPTED for row in contents.images.values())
    new = _registered_by_run(contents)
    kept = [item for item in contents.candidates if not item.veto]
    artefacts = len(contents.candidates) - len(kept)
    kinds = Counter(item.kind for item in kept)
    fitted = sum(n for (_, status, _), n in contents.fits.items() if status == FITTED)
    asked = sum(contents.fits.values())
    warned = quality.warned_images(contents)
    more = "" if new == contents.n_images else f"{new} of the dataset's images new in this run"
    if contents.n_images > len(contents.images):
        more = f"of {len(contents.images)} that this run worked on; {contents.n_images} in all"
    return [
        Tile(accepted, _plural(accepted, "image") + " accepted", more, "images"),
        Tile(
            len(contents.rejected),
            _plural(len(contents.rejected), "image") + " rejected",
            link="rejected",
            alarming=bool(contents.rejected),
        ),
        Tile(warned, _plural(warned, "image") + " with a warning", link="checks"),
        Tile(len(contents.sources.id), _plural(len(contents.sources.id), "sky source")),
        Tile(
            len(kept),
            _plural(len(kept), "candidate"),
            ", ".join(
                [
                    *(wording.count_kind(number, kind) for kind, number in sorted(kinds.items())),
                    *([wording.count(artefacts, "possible artefact")] if artefacts else []),
                ]
            ),
            "candidates",
        ),
        Tile(fitted, _plural(fitted, "forced fit"), f"of {asked} asked for" if asked else ""),
    ]


def _plural(number: int, what: str) -> str:
    return what if number == 1 else f"{what}s"


def _registered_by_run(contents: Contents) -> int:
    columns = contents.outcomes
    return sum(
        stage == _UNIT_STAGES[0] and run == contents.run.id and image is not None
        for stage, run, image in zip(
            columns["stage"], columns["run"], columns["image"], strict=True
        )
    )


def fit_table(contents: Contents) -> tuple[list[str], list[FitRow]]:
    """Forced fits by kind and status: the statuses that occur, and a row a kind."""
    statuses = {status for _, status, _ in contents.fits}
    shown = [status for status in _FIT_STATUS if status in statuses]
    rows = []
    for kind in sorted({kind for kind, _, _ in contents.fits}):
        mine = {key: n for key, n in contents.fits.items() if key[0] == kind}
        numbers = [sum(n for key, n in mine.items() if key[1] == status) for status in shown]
        reasons = [
            f"{n} {status}: {wording.NOT_MEASURED.get(reason, reason)}"
            for (_, status, reason), n in sorted(mine.items())
            if reason
        ]
        rows.append(FitRow(wording.FIT_KINDS.get(kind, str(kind)), numbers, reasons))
    return shown, rows


def without_fits(contents: Contents) -> list[RejectedUnit]:
    """Images that are accepted but whose forced fits could not be made."""
    columns = contents.outcomes
    found = []
    for row in range(len(columns["unit"])):
        image = contents.images.get(columns["image"][row])
        refused = (columns["stage"][row], columns["result"][row]) == ("fit_forced", REJECTED)
        if refused and image is not None:
            reason, message = columns["reason"][row], columns["message"][row]
            message = message.removeprefix(f"{image.file_name}: ")
            found.append(RejectedUnit(image.file_name, "fit_forced", reason, message, image.path))
    return sorted(found, key=lambda unit: unit.name)


def image_table(contents: Contents) -> tuple[list[str], list[ImageLine]]:
    """Stages, and what became of every image and file in each of them."""
    columns = contents.outcomes
    cells: dict[str, dict[str, tuple[str, str, str]]] = {}
    for unit, stage, result, reason, message in zip(
        *(columns[name] for name in ("unit", "stage", "result", "reason", "message")), strict=True
    ):
        text = f"{result}: {reason}" if reason else result
        css = "bad" if result == REJECTED else "good"
        cells.setdefault(unit, {})[stage] = (text, css, message)
    met = {stage for of_unit in cells.values() for stage in of_unit}
    stages = [*_UNIT_STAGES, *sorted(met - set(_UNIT_STAGES))]
    nothing = (wording.NOTHING, "none", "")
    lines = []
    for row in contents.images.values():
        mine = cells.pop(str(row.id), {})
        lines.append(
            ImageLine(
                row.file_name,
                row.path,
                wording.utc(row.start),
                wording.frequency(row.freq_eff_hz),
                str(contents.detected.get(row.id, wording.NOTHING)),
                [mine.get(stage, nothing) for stage in stages],
                contents.notes.get(row.id, ""),
            )
        )
    for unit, mine in sorted(cells.items()):
        name = unit.rsplit("/", 1)[-1]
        found = [mine.get(stage, nothing) for stage in stages]
        lines.append(ImageLine(name, unit, wording.NOTHING, "", "", found, ""))
    return stages, lines


def settings(configuration: Configuration) -> list[tuple[str, str, list[Setting]]]:
    """Name, meaning and settings of every section; those outside of one come first."""
    (_, _, outside), *sections = _sections("", configuration)
    return [("", "", outside), *sections]


def _sections(name: str, section: BaseModel) -> list[tuple[str, str, list[Setting]]]:
    """A section, and those within it."""
    meaning = (type(section).__doc__ or "").strip().split("\n")[0]
    rows, inner = [], []
    values = section.model_dump(mode="json", exclude_none=True)
    for key, field in type(section).model_fields.items():
        value = getattr(section, key)
        if isinstance(value, BaseModel):
            inner += _sections(f"{name}.{key}".lstrip("."), value)
        else:
            rows.append(_setting(key, field.description, values[key], field.get_default()))
    return [(name, meaning, rows), *inner]


def _setting(name: str, meaning: str | None, value: object, default: object) -> Setting:
    text, usual = _json(value), _json(default)
    return Setting(name, text, "" if text == usual else usual, meaning or "")


def _json(value: object) -> str:
    return json.dumps(to_jsonable_python(value), ensure_ascii=False)


def stage_table(stages: list[dict[str, Any]]) -> tuple[list[StageLine], str]:
    """Return a line a stage in the order in which they began, and the wall time of all of them."""
    by_name: dict[str, list[dict[str, Any]]] = {}
    for row in stages:
        by_name.setdefault(row["stage"], []).append(row)
    lines = []
    for name, rows in by_name.items():
        counts: Counter[str] = Counter()
        for row in rows:
            counts.update(row["counts"])
        done = [row["seconds"] for row in rows if row["seconds"] is not None]
        lines.append(
            StageLine(
                name,
                len(rows),
                wording.duration(sum(done)) if done else wording.NOTHING,
                wording.duration(_wall(rows)),
                counts_in_words(counts) if counts else "",
                ", ".join(sorted({row["host"] for row in rows})),
            )
        )
    return lines, wording.duration(_wall(stages))


def _wall(rows: list[dict[str, Any]]) -> float | None:
    """Seconds from the first start to the last end of those that have ended."""
    ended = [row for row in rows if row["finished_ts"] is not None]
    if not ended:
        return None
    first = min(row["started_ts"] for row in ended)
    last = max(row["finished_ts"] for row in ended)
    return float((last - first).total_seconds())

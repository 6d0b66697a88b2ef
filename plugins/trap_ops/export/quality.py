"""Quality checks of the run report: what was measured, against which limits, with what result."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace

from trap_ops.export import wording
from trap_ops.export.contents import Contents
from trap_ops.records.images import Check, CheckResult, ImageRow
from trap_ops.records.names import one_line
from trap_ops.store.outcomes import ACCEPTED, RejectedUnit

_CSS = {CheckResult.REJECTED: "bad", CheckResult.WARNED: "warn"}
# The worst first.
_SEVERITY = (
    CheckResult.REJECTED,
    CheckResult.WARNED,
    CheckResult.NOT_MADE,
    CheckResult.ACCEPTED,
)


@dataclass(frozen=True)
class CheckLine:
    """A check over all images: how often each result, and the range of what was measured."""

    name: str
    numbers: list[int]
    measured: str
    limits: str


@dataclass(frozen=True)
class Finding:
    """A check that warns, and on which image."""

    image: str
    path: str
    check: str
    measured: str
    limits: str
    comment: str


@dataclass(frozen=True)
class ImageChecks:
    """All checks of an image: a (text, CSS class, title) for each column."""

    image: str
    path: str
    verdict: str
    cells: list[tuple[str, str, str]]


@dataclass(frozen=True)
class RejectedLine:
    """An image or file that is not used, and what decided it."""

    unit: RejectedUnit
    measured: str
    limits: str


def measured(check: Check) -> str:
    """Return what was measured, with its unit; a dash where nothing was."""
    text = wording.number(check.measured)
    return text if text == wording.NOTHING or not check.unit else f"{text} {check.unit}"


def limits(check: Check) -> str:
    """Return the limits in words; empty without any."""
    low, high = wording.number(check.low), wording.number(check.high)
    if math.isfinite(check.low) and math.isfinite(check.high):
        return f"{low} to {high}"
    if math.isfinite(check.low):
        return f"above {low}"
    return f"up to {high}" if math.isfinite(check.high) else ""


def check_names(contents: Contents) -> list[str]:
    """Return the names of the checks: those with rejections first, then those that warn."""
    worst: dict[str, int] = {}
    for checks in contents.checks.values():
        for check in checks:
            severity = _SEVERITY.index(check.result)
            worst[check.name] = min(worst.get(check.name, severity), severity)
    # A check that is not made says less than one that is.
    rank = {0: 0, 1: 1, 2: 3, 3: 2}
    return sorted(worst, key=lambda name: (rank[worst[name]], name))


def check_table(contents: Contents) -> list[CheckLine]:
    """Return a line for each check."""
    by_name: dict[str, list[Check]] = {name: [] for name in check_names(contents)}
    for checks in contents.checks.values():
        for check in checks:
            by_name[check.name].append(check)
    lines = []
    for name, made in by_name.items():
        numbers = Counter(check.result for check in made)
        values = [check.measured for check in made if math.isfinite(check.measured)]
        unit = next((check.unit for check in made if check.unit), "")
        lines.append(
            CheckLine(
                name,
                [numbers[result] for result in CheckResult],
                _range(values, unit),
                _common_limits(made),
            )
        )
    return lines


def _range(values: list[float], unit: str) -> str:
    if not values:
        return wording.NOTHING
    low, high = wording.number(min(values)), wording.number(max(values))
    text = low if low == high else f"{low} to {high}"
    return f"{text} {unit}".rstrip()


def _common_limits(made: list[Check]) -> str:
    """Return the limits that all images have, or say that they differ."""
    found = {limits(check) for check in made} - {""}
    return next(iter(found), "") if len(found) < 2 else "differ from image to image"


def warnings(contents: Contents) -> list[Finding]:
    """Checks that warn of images which are accepted, in order of the images."""
    return [
        Finding(row.shown_name, row.path, check.name, measured(check), limits(check), check.comment)
        for row in contents.images.values()
        if row.verdict == ACCEPTED
        for check in contents.checks.get(row.id, ())
        if check.result == CheckResult.WARNED
    ]


def warned_images(contents: Contents) -> int:
    """Count the accepted images that a check warns of."""
    return len({finding.path + finding.image for finding in warnings(contents)})


def image_checks(contents: Contents, names: list[str]) -> list[ImageChecks]:
    """Return the checks of every image; rejected images first, then those with warnings."""
    lines = []
    for row in contents.images.values():
        checks = {check.name: check for check in contents.checks.get(row.id, ())}
        severity = min((_SEVERITY.index(c.result) for c in checks.values()), default=9)
        cells = [_cell(checks.get(name)) for name in names]
        lines.append((severity, _image_line(row, cells)))
    return [line for _, line in sorted(lines, key=lambda item: min(item[0], 2))]


def _image_line(row: ImageRow, cells: list[tuple[str, str, str]]) -> ImageChecks:
    return ImageChecks(row.shown_name, row.path, row.verdict or wording.NOTHING, cells)


def _cell(check: Check | None) -> tuple[str, str, str]:
    if check is None:
        return (wording.NOTHING, "none", "")
    if check.result == CheckResult.NOT_MADE:
        return (str(check.result), "none", check.comment)
    text = wording.number(check.measured)
    if text == wording.NOTHING:
        text = str(check.result)
    title = "; ".join(filter(None, (str(check.result), limits(check), check.comment)))
    return (text, _CSS.get(check.result, ""), title)


def rejected(contents: Contents) -> list[RejectedLine]:
    """Images and files that are not used; messages without the name, which has its own column."""
    checks = {
        one_line(row.plane.name_in(row.path)): contents.checks.get(row.id, ())
        for row in contents.images.values()
    }
    lines = []
    for unit in contents.rejected:
        message = unit.message.removeprefix(f"{unit.name}: ")
        check = next(
            (
                check
                for check in checks.get(unit.path, ())
                if check.result == CheckResult.REJECTED and check.comment == message
            ),
            None,
        )
        lines.append(
            RejectedLine(
                replace(unit, message=message),
                measured(check) if check else wording.NOTHING,
                limits(check) if check else "",
            )
        )
    return lines

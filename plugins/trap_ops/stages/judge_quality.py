"""Judge images in time order: which are accepted, which rejected and why."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from sqlalchemy import Connection

from trap_ops.config.model import QualityConfig
from trap_ops.errors import ScienceError
from trap_ops.images.lofar import dipole_distances
from trap_ops.records.images import ArrayInfo, Check, CheckResult, ImageRow, Verdict
from trap_ops.records.names import visible
from trap_ops.records.runs import StageReport
from trap_ops.science.bright_sources import bright_separations
from trap_ops.science.duplicates import same_observations
from trap_ops.science.image_checks import CHECKS, RMS_HISTORY, Circumstances, judge, verdict_of
from trap_ops.science.theoretical_noise import lofar_noise_jy, radiometer_noise_jy
from trap_ops.stages.context import StageContext, input_hash, plan_batches, stage
from trap_ops.store import images, quality_checks, withdrawal
from trap_ops.store.outcomes import (
    ACCEPTED,
    DONE,
    REJECTED,
    Outcome,
    finished_images,
    forget_outcomes,
    image_outcomes,
    save_outcomes,
)
from trap_ops.store.quality_checks import save_checks

logger = logging.getLogger(__name__)

STAGE = "judge_quality"
# What LOFAR's noise follows from, beside frequency, bandwidth and integration time.
_STATIONS = ("n_core", "n_remote", "n_international")
_NOT_SET = "noise_sefd_jy and noise_antennas are not set"


@dataclass(frozen=True)
class _Judgement:
    """What came of all checks on an image."""

    verdict: Verdict
    checks: tuple[Check, ...]

    @property
    def input_hash(self) -> str:
        """A judgement costs little to find again, so it is its own input."""
        verdict = (self.verdict.accepted, self.verdict.reason, self.verdict.comment)
        return input_hash(STAGE, verdict, [list(vars(check).values()) for check in self.checks])

    @property
    def result(self) -> str:
        return ACCEPTED if self.verdict.accepted else REJECTED

    @property
    def warned(self) -> bool:
        return any(check.result == CheckResult.WARNED for check in self.checks)


def judge_quality(context: StageContext) -> StageReport:
    """Make the quality checks on all measured images of the dataset, and give verdicts.

    The verdict on an image depends on earlier ones (history of the rms, duplicates), so those after
    a late image are judged again. Only what changes is written. An image that was used and is
    rejected now loses all that was made of it, as if it had been rejected from the first.

    Returns
    -------
    StageReport
        Its batches hold the accepted images whose sources are not extracted yet.

    Notes
    -----
    The outcome of this stage is the verdict of its own checks. ``associate`` may reject an image
    that is accepted here; judging again leaves that alone as long as the verdict here stays.
    """
    started = time.perf_counter()
    with stage(context, STAGE) as timer:
        with context.store.read() as connection:
            rows = images.unsettled_images(connection, context.run.dataset)
            ids = [row.id for row in rows]
            measured = image_outcomes(connection, context.run.dataset, "measure_quality", ids)
            before = image_outcomes(connection, context.run.dataset, STAGE, ids)
            rows = [row for row in rows if row.id in measured]
            history = _histories(connection, context, rows)
        judged = _judge_in_order(context, rows, measured, history)
        changed = {
            image_id: judgement
            for image_id, judgement in judged.items()
            if before.get(image_id, ("", ""))[1] != judgement.input_hash
        }
        seconds = (time.perf_counter() - started) / max(len(changed), 1)
        _save(context, changed, before, seconds)
        _log({row.id: row for row in rows}, changed)
        with context.store.read() as connection:
            extracted = finished_images(connection, context.run.dataset, "extract_sources", judged)
        accepted = [i for i, judgement in judged.items() if judgement.verdict.accepted]
        timer.count("images accepted", sum(item.verdict.accepted for item in changed.values()))
        timer.count("images rejected", sum(not item.verdict.accepted for item in changed.values()))
        warned = sum(item.verdict.accepted and item.warned for item in changed.values())
        if warned:
            timer.count("images accepted with a warning", warned)
        plan_batches(
            context,
            timer,
            [image_id for image_id in accepted if image_id not in extracted],
            [image_id for image_id in accepted if image_id in extracted],
        )
    return timer.report()


def _histories(
    connection: Connection, context: StageContext, rows: Sequence[ImageRow]
) -> dict[tuple[int, ...], list[float]]:
    """Rms of the latest images that were accepted before some, in canonical order, by history."""
    settings = context.run.configuration.quality
    return {
        key: quality_checks.latest_rms(
            connection, context.run.dataset, rows[0].start, settings.rms_history_images, *key
        )
        for key in {_history_of(row, settings) for row in rows}
    }


def _judge_in_order(
    context: StageContext,
    rows: Sequence[ImageRow],
    measured: Mapping[int, tuple[str, str]],
    history: Mapping[tuple[int, ...], list[float]],
) -> dict[int, _Judgement]:
    settings = context.run.configuration.quality
    by_content: dict[tuple[object, ...], ImageRow] = {}
    again = same_observations(rows)
    separations = bright_separations(rows)
    judged: dict[int, _Judgement] = {}
    for place, row in enumerate(rows):
        earlier = history[_history_of(row, settings)]
        content = _content(row)
        same = [rows[i] for i in again[place] if judged[rows[i].id].verdict.accepted]
        noise_jy, noise_missing = _theoretical_noise(row, settings)
        around = Circumstances(
            unreadable=measured[row.id][0] == REJECTED,
            duplicate=_duplicate_of(row, by_content.get(content), same),
            history_jy=earlier[-settings.rms_history_images :],
            bright_deg={name: float(values[place]) for name, values in separations.items()},
            noise_jy=noise_jy,
            noise_missing=noise_missing,
        )
        checks = judge(row, around, settings)
        judged[row.id] = _Judgement(verdict_of(checks), checks)
        if judged[row.id].verdict.accepted:
            earlier.append(row.rms_qc_jy)
            by_content[content] = row
    return judged


def _history_of(row: ImageRow, settings: QualityConfig) -> tuple[int, ...]:
    """Images with the same key have one history of the rms."""
    if settings.rms_history_of == "region":
        return (row.band, row.stokes, row.region)
    return (row.band, row.stokes)


def _content(row: ImageRow) -> tuple[object, ...]:
    """What only copies of an image have in common; the planes of a file have the same bytes."""
    return (row.content_sha256 or row.id, row.plane.hdu, row.plane.index)


def _duplicate_of(row: ImageRow, copy: ImageRow | None, same: Sequence[ImageRow]) -> str:
    """Say which accepted image of the dataset an image is again; nothing if it is new.

    A copy of an image that is itself rejected takes its place.
    """
    if copy is not None:
        where = " in another directory" if copy.file_name == row.file_name else ""
        return f"the same bytes as {visible(copy.shown_name)}{where}"
    if same:
        return (
            f"the same observation as {visible(same[0].shown_name)}: start, integration time, "
            "frequency, Stokes, centre and beam are equal"
        )
    return ""


@lru_cache(maxsize=1024)
def _lofar_noise(
    freq_hz: float, bandwidth_hz: float, integration_s: float, array: ArrayInfo
) -> tuple[float, str]:
    """Noise of an image of LOFAR, or why there is none. Many images are alike."""
    try:
        noise = lofar_noise_jy(freq_hz, bandwidth_hz, integration_s, array, dipole_distances())
    except ScienceError as error:
        return math.nan, str(error)
    return noise, ""


def _theoretical_noise(row: ImageRow, settings: QualityConfig) -> tuple[float, str]:
    """Theoretical noise of an image, or why it is not known."""
    stations = row.telescope == "LOFAR"
    by_settings = settings.noise_sefd_jy > 0.0 and settings.noise_antennas > 1
    if not (stations or by_settings):
        return math.nan, _NOT_SET
    missing = [
        name
        for name, value in (
            ("integration time", row.integration_s),
            ("bandwidth", row.freq_bw_hz),
            *((("antenna set", row.array.antenna_set),) if not by_settings else ()),
        )
        if not value
    ]
    if stations and not by_settings and not any(getattr(row.array, n) for n in _STATIONS):
        missing.append("number of stations")
    if missing:
        return math.nan, f"the header does not say: {', '.join(missing)}"
    if by_settings:
        noise = radiometer_noise_jy(
            settings.noise_sefd_jy,
            settings.noise_antennas,
            settings.noise_efficiency,
            row.freq_bw_hz,
            row.integration_s,
        )
        return noise, ""
    return _lofar_noise(row.freq_eff_hz, row.freq_bw_hz, row.integration_s, row.array)


def _save(
    context: StageContext,
    judged: Mapping[int, _Judgement],
    before: Mapping[int, tuple[str, str]],
    seconds: float,
) -> None:
    """Write what changed. A verdict that stays is not written: ``associate`` may have its own."""
    outcomes = [
        Outcome(
            STAGE,
            str(image_id),
            image_id,
            item.result,
            item.input_hash,
            "" if item.verdict.reason is None else images.reason_text(item.verdict.reason),
            item.verdict.comment,
            seconds,
        )
        for image_id, item in judged.items()
    ]
    verdicts = {
        image_id: item.verdict
        for image_id, item in judged.items()
        if not (item.verdict.accepted and before.get(image_id, ("", ""))[0] == ACCEPTED)
    }
    with context.store.write() as connection:
        _withdraw(
            connection, context.run.dataset, [i for i, v in verdicts.items() if not v.accepted]
        )
        images.set_verdicts(context.store, connection, verdicts)
        save_checks(connection, {i: item.checks for i, item in judged.items()}, CHECKS)
        save_outcomes(connection, context.run.dataset, context.run.id, outcomes)


def _log(rows: Mapping[int, ImageRow], judged: Mapping[int, _Judgement]) -> None:
    """Say what is wrong with each image, and once for all of them which checks lacked something."""
    skipped: Counter[tuple[str, str]] = Counter()
    for image_id, item in judged.items():
        name = rows[image_id].shown_name
        if not item.verdict.accepted:
            logger.warning("%s rejected: %s", name, item.verdict.comment)
            continue
        for check in item.checks:
            if check.result == CheckResult.WARNED:
                logger.warning("%s: %s: %s", name, check.name, check.comment)
            elif check.result == CheckResult.NOT_MADE:
                skipped[check.name, check.comment] += 1
    for (name, why), number in skipped.items():
        usual = why == _NOT_SET or name == RMS_HISTORY
        level = logging.DEBUG if usual else logging.WARNING
        logger.log(level, "check %s is not made on %d images: %s", name, number, why)


def _withdraw(connection: Connection, dataset: int, rejected: Sequence[int]) -> None:
    """Delete what was made of images that were accepted before, and all that rests on it.

    Association begins anew then. Should such an image be accepted again, its sources are extracted
    again: its pixels may have been the reason why it was not used.
    """
    extracted = image_outcomes(connection, dataset, "extract_sources", rejected)
    before = [image_id for image_id in rejected if image_id in extracted]
    if not before:
        return
    if any(extracted[image_id][0] == DONE for image_id in before):
        logger.info("not all images that were used are accepted any more: association begins anew")
        withdrawal.undo_images(connection, dataset, before)
    for stage_name in ("extract_sources", "fit_forced"):
        forget_outcomes(connection, dataset, stage_name, before)

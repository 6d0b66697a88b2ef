"""Was this position observed, and how deep? The answer for every image of a dataset."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from sqlalchemy import Connection

from trap_ops.export.coverage_images import Wanted, choose_images
from trap_ops.records.arrays import FloatArray
from trap_ops.records.images import Band, ImageRow
from trap_ops.records.runs import MonitorPosition
from trap_ops.science.background import noise_at
from trap_ops.science.coverage import Sight, look
from trap_ops.science.sky_depth import combined_rms
from trap_ops.store import images
from trap_ops.store.database import Store
from trap_ops.store.outcomes import ACCEPTED, REJECTED

# A source of so many times the local rms is what depth means.
DEPTH_SIGMA = 5.0

_REASONS = {
    Sight.SHOWN: "",
    Sight.EDGE: "too near to the edge of the data for a source to be detected",
    Sight.MASKED: "pixels there are not used: without data, or in the margin or beyond the radius",
    Sight.OUTSIDE: "outside the image",
}


@dataclass(frozen=True)
class ImageAnswer:
    """What one image has at a position.

    Attributes
    ----------
    row : ImageRow
    sight : str
        A :class:`~trap_ops.science.coverage.Sight`, or ``rejected``, ``not judged``,
        ``not extracted``.
    reason : str
        Why it is not shown; empty if it is.
    rms_jy : float
        Local rms, Jy/beam; NaN where no pixel is used.
    """

    row: ImageRow
    sight: str
    reason: str
    rms_jy: float

    @property
    def shown(self) -> bool:
        """Whether a source there would be found, if it were bright enough."""
        return self.sight == Sight.SHOWN

    @property
    def depth_jy(self) -> float:
        """Peak of a source of five sigma, Jy/beam; NaN where none is shown."""
        return DEPTH_SIGMA * self.rms_jy if self.shown else math.nan


@dataclass(frozen=True)
class Depth:
    """What the images of one band and Stokes that show a position have together.

    Attributes
    ----------
    band_id, band, stokes
    n_images : int
        Accepted images, whether they show it or not.
    n_shown : int
    deepest : ImageRow or None
        The image with the least rms there.
    rms_min_jy, rms_combined_jy : float
        Least rms; rms of the mean of all, weighted by inverse squared rms. NaN if none shows it.
    first, last : datetime or None
        Starts of the first and last image that shows it.
    """

    band_id: int
    band: Band
    stokes: int
    n_images: int
    n_shown: int
    deepest: ImageRow | None
    rms_min_jy: float
    rms_combined_jy: float
    first: datetime | None
    last: datetime | None


@dataclass(frozen=True)
class PositionAnswer:
    """What a dataset has at a position: by image in canonical order, and by band and Stokes."""

    position: MonitorPosition
    images: list[ImageAnswer]
    depths: list[Depth]


def look_at_positions(
    store: Store,
    dataset: str,
    positions: Sequence[MonitorPosition],
    wanted: Wanted,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[PositionAnswer]:
    """Say for each position which images show it, and how deep.

    A position is shown where the pipeline would look for a source: the same test decides whether a
    source is new (:func:`trap_ops.science.coverage.shows`).

    Raises
    ------
    ConfigError, StoreError
        As :func:`trap_ops.export.coverage_images.choose_images`.
    """
    ra = np.array([position.ra_deg for position in positions])
    dec = np.array([position.dec_deg for position in positions])
    with store.read() as connection:
        chosen = choose_images(connection, dataset, wanted)
        rejections = images.rejections_of(connection, chosen.dataset_id)
        answers: list[list[ImageAnswer]] = [[] for _ in positions]
        for done, row in enumerate(chosen.rows, start=1):
            comment = rejections.get(row.id, (0, ""))[1]
            for of_position, answer in zip(
                answers, _look_at(connection, row, ra, dec, comment), strict=True
            ):
                of_position.append(answer)
            progress(done, len(chosen.rows))
    return [
        PositionAnswer(position, of_position, _depths(of_position, chosen.bands))
        for position, of_position in zip(positions, answers, strict=True)
    ]


def _look_at(
    connection: Connection, row: ImageRow, ra: FloatArray, dec: FloatArray, comment: str
) -> list[ImageAnswer]:
    """Answers of one image for all positions."""
    if row.verdict == REJECTED:
        return [ImageAnswer(row, "rejected", comment, math.nan)] * len(ra)
    if row.verdict != ACCEPTED:
        return [ImageAnswer(row, "not judged", "run the dataset again", math.nan)] * len(ra)
    coverage = images.load_coverage(connection, row.id)
    if coverage is None:
        return [ImageAnswer(row, "not extracted", "run the dataset again", math.nan)] * len(ra)
    seen = look(coverage, ra, dec)
    _, rms = noise_at(
        images.load_noise(connection, row.id).grid,
        np.where(seen.used, seen.x, 0.0),
        np.where(seen.used, seen.y, 0.0),
    )
    rms = np.where(seen.used, rms, np.nan)
    return [
        ImageAnswer(row, str(sight), _REASONS[sight], value)
        for sight, value in zip(seen.sight, rms.tolist(), strict=True)
    ]


def _depths(answers: Sequence[ImageAnswer], bands: dict[int, Band]) -> list[Depth]:
    accepted = [answer for answer in answers if answer.row.verdict == ACCEPTED]
    shared: dict[tuple[int, int], list[ImageAnswer]] = {}
    for answer in accepted:
        shared.setdefault((answer.row.band, answer.row.stokes), []).append(answer)
    depths = []
    for band, stokes in sorted(shared, key=lambda key: (bands[key[0]].central_hz, *key)):
        asked = shared[band, stokes]
        shown = [answer for answer in asked if answer.shown]
        deepest = min(shown, key=lambda answer: answer.rms_jy, default=None)
        starts = [answer.row.start for answer in shown]
        depths.append(
            Depth(
                band_id=band,
                band=bands[band],
                stokes=stokes,
                n_images=len(asked),
                n_shown=len(shown),
                deepest=None if deepest is None else deepest.row,
                rms_min_jy=math.nan if deepest is None else deepest.rms_jy,
                rms_combined_jy=combined_rms(np.array([answer.rms_jy for answer in shown])),
                first=min(starts, default=None),
                last=max(starts, default=None),
            )
        )
    return depths

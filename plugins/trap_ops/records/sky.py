"""Sky sources, their links to measurements, and the forced fits that are wanted of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import NamedTuple, Self

from trap_ops.records.arrays import FloatArray, Ids, IntArray, Mask, Words
from trap_ops.records.images import Check

NO_PARENT = -1
# Status of a forced fit that is wanted.
REQUESTED, FITTED, FAILED, SKIPPED, ORPHAN = "requested", "fitted", "failed", "skipped", "orphan"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC).replace(tzinfo=None)


class LinkType(IntEnum):
    """How a measurement came into a light curve (column ``assocxtrsource.type``)."""

    FORKED = 2  # the detection that a fork was founded by
    ONE_TO_ONE = 3  # also many sources to one detection
    FOUNDING = 4
    INHERITED = 6  # history that a fork took over
    FORCED = 7
    MONITOR_FIRST = 8
    MONITOR = 9
    BACKWARD = 10


class FitKind(IntEnum):
    """Why a forced fit is wanted (columns ``forcedfit.kind``, ``extractedsource.extract_type``)."""

    FORWARD = 1  # a known source that is not seen
    MONITOR = 2  # a position that the user wants
    BACKWARD = 3  # a new source, in images up to the time step it was first seen in


def step_number(start: datetime) -> int:
    """Number of the time step that starts then: microseconds since 1970."""
    return (start - _EPOCH) // timedelta(microseconds=1)


def step_start(number: int) -> datetime:
    """Return the start of the time step with this number."""
    return _EPOCH + timedelta(microseconds=number)


@dataclass
class Positions:
    """Position statistics of sky sources; all arrays (n,). Exactly what the table keeps.

    Attributes
    ----------
    n : numpy.ndarray of int
        Blind detections, of all bands (``datapoints``).
    ra_deg, dec_deg : numpy.ndarray
        Weighted means (``wm_ra``, ``wm_decl``).
    sigma_ew_deg, sigma_ns_deg : numpy.ndarray
        Their errors (``wm_uncertainty_ew``, ``_ns``).
    mean_ra_err_deg, mean_dec_err_deg : numpy.ndarray
        Plain means of the errors (``avg_ra_err``, ``avg_decl_err``).
    mean_wra, mean_wdec : numpy.ndarray
        Means of weight times coordinate, 1/deg (``avg_wra``, ``avg_wdecl``).
    mean_weight_ra, mean_weight_dec : numpy.ndarray
        Means of the weights, 1/deg^2 (``avg_weight_ra``, ``_decl``).
    """

    n: Ids
    ra_deg: FloatArray
    dec_deg: FloatArray
    sigma_ew_deg: FloatArray
    sigma_ns_deg: FloatArray
    mean_ra_err_deg: FloatArray
    mean_dec_err_deg: FloatArray
    mean_wra: FloatArray
    mean_wdec: FloatArray
    mean_weight_ra: FloatArray
    mean_weight_dec: FloatArray

    def take(self, items: IntArray) -> Self:
        """Return the statistics of some sources, as copies."""
        return type(self)(**{name: value[items] for name, value in vars(self).items()})


@dataclass(frozen=True)
class SkySourceRows:
    """Sky sources as they are stored; all arrays (n,) unless said.

    Attributes
    ----------
    id : numpy.ndarray of int
        Id of the founding detection, which is the source's id too.
    positions : Positions
    vectors : numpy.ndarray, (n, 3)
        Unit vectors of the mean positions.
    stokes : numpy.ndarray of int
    attempts : numpy.ndarray of int
        Forced-fit requests since the last blind detection (``forcedfits_count``).
    founded : numpy.ndarray of int
        Time step in which the source was founded or forked, as :func:`step_number` counts.
    parent : numpy.ndarray of int
        Id of the source it was forked from, -1 if none.
    name : list of str
    """

    id: Ids
    positions: Positions
    vectors: FloatArray
    stokes: Ids
    attempts: Ids
    founded: Ids
    parent: Ids
    name: list[str]


class LinkRows(NamedTuple):
    """Rows of light curves: which source has which measurement, and how."""

    source: Ids
    measurement: Ids
    type: Ids
    distance_arcsec: FloatArray
    r: FloatArray


class RequestRows(NamedTuple):
    """Wanted forced fits; ``origin`` numbers the first request of those that share a fit."""

    source: Ids
    image: Ids
    kind: Ids
    ra_deg: FloatArray
    dec_deg: FloatArray
    link_type: Ids
    status: Words
    reason: Words
    origin: Ids


class MembershipRows(NamedTuple):
    """Which sources should be visible in which region; distance NaN for a source's own region."""

    source: Ids
    region: Ids
    distance_deg: FloatArray


class NewSourceRows(NamedTuple):
    """Sources that are new against an earlier image; ``kind`` 1 likely, 0 possibly."""

    source: Ids
    trigger: Ids
    previous_limits_image: Ids
    kind: Ids


class ReferenceFluxRows(NamedTuple):
    """Fluxes of sky sources as their blind detections have them; all arrays (n,), a row a band.

    ``number`` counts the detections; ``sum_weight`` (1/Jy^2) and ``mean_jy`` are sum and mean with
    weights of the inverse variance; ``known`` says whether the row is stored already.
    """

    source: Ids
    band: Ids
    stokes: Ids
    number: Ids
    sum_weight: FloatArray
    mean_jy: FloatArray
    known: Mask


@dataclass(frozen=True)
class SkyChanges:
    """What association found and is to be stored; rows name sources by id.

    Attributes
    ----------
    sources : SkySourceRows
        New ones, and those that changed.
    links, requests, memberships, new_sources : row tuples
    heirs : list of (int, int)
        A new source made by a fork, and the stored source whose rows it inherits.
    removed : list of int
        Stored sources that were forked.
    references : ReferenceFluxRows
        New ones, and those that changed.
    checks : dict of int
        Checks of each image against the catalogue, by image id.
    """

    sources: SkySourceRows
    links: LinkRows
    requests: RequestRows
    memberships: MembershipRows
    new_sources: NewSourceRows
    heirs: list[tuple[int, int]]
    removed: list[int]
    references: ReferenceFluxRows
    checks: dict[int, tuple[Check, ...]]


@dataclass(frozen=True)
class Requests:
    """Forced fits wanted in one image, in canonical order; all arrays (n,), one row a fit.

    Attributes
    ----------
    origin : numpy.ndarray of int
        Names the fit: rows of several sources may share it after a fork.
    kind : numpy.ndarray of int
        A :class:`FitKind`.
    ra_deg, dec_deg : numpy.ndarray
    """

    origin: Ids
    kind: Ids
    ra_deg: FloatArray
    dec_deg: FloatArray

    def __len__(self) -> int:
        """Count the fits."""
        return len(self.origin)

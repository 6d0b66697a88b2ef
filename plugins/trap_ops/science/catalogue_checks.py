"""Checks of an image against the catalogue as it stood before the image's time step.

Flux scale and astrometry are medians over the sources that the image shows again; the number of
sources is compared with that of earlier images. Definitions and figures: docs/catalogue-checks.md.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import Literal, NamedTuple

import numpy as np

from trap_ops.config.model import CatalogueChecksConfig
from trap_ops.records.arrays import FloatArray, IntArray
from trap_ops.records.images import Check, CheckResult, RejectReason
from trap_ops.records.sources import Detections, Flag
from trap_ops.science.catalogue import Catalogue
from trap_ops.science.catalogue_match import Counterparts, Frame, find_counterparts
from trap_ops.science.coordinates import unit_vectors
from trap_ops.science.reference_fluxes import ReferenceFluxes
from trap_ops.science.robust import SIGMA_PER_MAD, robust_centre
from trap_ops.science.time_steps import HistoryImage

ASTROMETRY, FLUX_SCALE, SOURCE_COUNT = "astrometry", "flux_scale", "source_count"
CATALOGUE_CHECKS = (ASTROMETRY, FLUX_SCALE, SOURCE_COUNT)

# A detection with one of these has no flux that could be compared.
_NO_POINT_SOURCE = Flag.EDGE | Flag.BLEND | Flag.NOT_FITTED | Flag.RESOLVED | Flag.CONTAMINATED
# Fluxes of one source scatter by so much of it beside the noise: the brightest few do not decide.
_FLUX_SCATTER = 0.03
# The flux scale decides which sources are bright enough, and these decide the flux scale.
_SCALE_ROUNDS = 4
# Sources counted above a flux grow at most with its -1.5th power (Euclidean counts).
_EUCLIDEAN = 1.5

Limit = Literal["none"] | float


class Counted(NamedTuple):
    """Number of detections of an image, and its rms in Jy/beam."""

    number: float
    rms_jy: float


class CatalogueChecks:
    """The checks, and what they need of the images gone through before.

    Parameters
    ----------
    config : CatalogueChecksConfig
    references : ReferenceFluxes
        Its owner keeps it up to date.
    """

    def __init__(self, config: CatalogueChecksConfig, references: ReferenceFluxes) -> None:
        self._config = config
        self._references = references
        self._images: dict[tuple[int, int], int] = defaultdict(int)
        length = config.history_images
        self._scales: dict[tuple[int, int], deque[float]] = defaultdict(
            lambda: deque(maxlen=length)
        )
        self._counts: dict[tuple[int, int, int], deque[Counted]] = defaultdict(
            lambda: deque(maxlen=length)
        )

    def check(self, catalogue: Catalogue, image: HistoryImage, at: Detections) -> tuple[Check, ...]:
        """Compare an image with the catalogue as it is now, and with the images remembered."""
        key = image.band, image.stokes
        frame = Frame.at(image.centre_ra_deg, image.centre_dec_deg)
        reach = image.radius_deg + self._config.search_beams * image.beam_deg
        here = np.flatnonzero(
            catalogue.active
            & (catalogue.stokes == image.stokes)
            & frame.within(catalogue.vectors, reach)
        )
        known = catalogue.positions.n[here] >= self._config.min_detections
        found = find_counterparts(
            frame,
            catalogue.vectors[here],
            known,
            unit_vectors(at.ra_deg, at.dec_deg),
            beam_deg=image.beam_deg,
            search_beams=self._config.search_beams,
        )
        source, detection = here[found.source], found.detection
        positions = catalogue.positions
        sigma_deg = np.sqrt(
            (
                positions.sigma_ew_deg[source] ** 2
                + positions.sigma_ns_deg[source] ** 2
                + at.sigma_ew_deg[detection] ** 2
                + at.sigma_ns_deg[detection] ** 2
            )
            / 2.0
        )
        tried = f"{len(found)} of {int(known.sum())} sources with at least "
        tried += f"{self._config.min_detections} detections are found again"
        few = self._images[key] < self._config.min_images
        usual = self._scales[key]
        return (
            check_astrometry(found, sigma_deg, image.beam_deg, tried, self._config, few=few),
            self._check_flux_scale(image.band, source, at.take(detection), found, usual, few=few),
            check_source_count(
                len(at),
                image.rms_jy,
                self._counts[image.band, image.region, image.stokes],
                self._config,
            ),
        )

    def recall(self, band: int, stokes: int, n_images: int, scales: Iterable[float]) -> None:
        """Take the history of earlier runs: number of images, and latest flux scales, in order."""
        self._images[band, stokes] += n_images
        self._scales[band, stokes].extend(scales)

    def recall_counts(
        self, band: int, region: int, stokes: int, counted: Iterable[Counted]
    ) -> None:
        """Take the latest numbers of sources of earlier runs, in order."""
        self._counts[band, region, stokes].extend(counted)

    def remember(self, image: HistoryImage, measured: Mapping[str, float]) -> None:
        """Take an image that is not rejected into the history; ``measured`` is by check."""
        key = image.band, image.stokes
        self._images[key] += 1
        if math.isfinite(measured[FLUX_SCALE]):
            self._scales[key].append(measured[FLUX_SCALE])
        self._counts[image.band, image.region, image.stokes].append(
            Counted(measured[SOURCE_COUNT], image.rms_jy)
        )

    def _check_flux_scale(
        self,
        band: int,
        source: IntArray,
        at: Detections,
        found: Counterparts,
        usual: Sequence[float],
        *,
        few: bool,
    ) -> Check:
        count, mean, error = self._references.of(band, source)
        with np.errstate(invalid="ignore"):
            usable = (
                found.isolated
                & (count >= self._config.min_detections)
                & (at.flags & int(_NO_POINT_SOURCE) == 0)
                & (mean > 0.0)
                & (at.flux_jy > 0.0)
                & (at.flux_err_jy > 0.0)
                & np.isfinite(at.flux_err_jy)
            )
        return check_flux_scale(
            at.flux_jy[usable],
            at.flux_err_jy[usable],
            mean[usable],
            error[usable],
            usual,
            self._config,
            few=few,
        )


def check_astrometry(
    found: Counterparts,
    sigma_deg: FloatArray,
    beam_deg: float,
    tried: str,
    config: CatalogueChecksConfig,
    *,
    few: bool,
) -> Check:
    """Judge the median offset of an image from the catalogue.

    Parameters
    ----------
    found : Counterparts, (n,)
    sigma_deg : numpy.ndarray, (n,)
        Errors of the offsets per axis, up to a common factor.
    beam_deg : float
    tried : str
        How many sources were looked for, in words.
    config : CatalogueChecksConfig
    few : bool
        Too few images were gone through before to reject one.
    """
    if len(found) < config.min_sources:
        comment = f"{tried}; {config.min_sources} are needed"
        return Check(ASTROMETRY, CheckResult.NOT_MADE, unit="beam", comment=comment)
    east, east_error = robust_centre(found.east_beams, sigma_deg)
    north, north_error = robust_centre(found.north_beams, sigma_deg)
    offset, error = math.hypot(east, north), max(east_error, north_error)
    arcsec = beam_deg * 3600.0
    comment = (
        f"{east * arcsec:.3g} +- {east_error * arcsec:.2g} arcsec east and {north * arcsec:.3g} "
        f"+- {north_error * arcsec:.2g} north of the catalogue, {offset:.3g} of the beam "
        f"(median of {len(found)} sources)"
    )
    sigma = _in_sigma(offset, error)
    return _judged(
        Check(ASTROMETRY, CheckResult.ACCEPTED, offset, unit="beam", comment=comment),
        warn=_limits_of(config.astrometry_warn_beams, lambda beams: (math.nan, beams)),
        reject=_limits_of(config.astrometry_reject_beams, lambda beams: (math.nan, beams)),
        warns=sigma > config.warn_sigma,
        rejects=sigma > config.reject_sigma,
        reason=RejectReason.ASTROMETRY,
        held_back=_too_few(config) if few else "",
    )


def check_flux_scale(
    flux_jy: FloatArray,
    flux_err_jy: FloatArray,
    reference_jy: FloatArray,
    reference_err_jy: FloatArray,
    usual: Sequence[float],
    config: CatalogueChecksConfig,
    *,
    few: bool,
) -> Check:
    """Judge the median ratio of an image's fluxes to those of the catalogue.

    Parameters
    ----------
    flux_jy, flux_err_jy : numpy.ndarray, (n,)
        Of the image, above 0.
    reference_jy, reference_err_jy : numpy.ndarray, (n,)
        Of the catalogue, above 0.
    usual : sequence of float
        Ratios of earlier images. One that is near their median is not rejected: then it is the
        catalogue that has another flux scale.
    config : CatalogueChecksConfig
    few : bool
        As for :func:`check_astrometry`.
    """
    ratio, error, count = flux_ratio(
        flux_jy, flux_err_jy, reference_jy, reference_err_jy, config.min_snr
    )
    if count < config.min_sources:
        comment = (
            f"{count} point sources can be compared (isolated, unresolved, above "
            f"{config.min_snr:g} sigma); {config.min_sources} are needed"
        )
        return Check(FLUX_SCALE, CheckResult.NOT_MADE, comment=comment)
    comment = (
        f"fluxes are {ratio:.4g} +- {error:.2g} times those of the catalogue (median of {count} "
        "sources)"
    )
    held_back = _too_few(config) if few else ""
    typical = median(usual) if usual else 1.0
    limit = config.flux_scale_reject_factor
    if limit != "none" and max(ratio / typical, typical / ratio) <= limit:
        held_back = f"not rejected, because {typical:.4g} is usual: the catalogue's scale is off"
    sigma = _in_sigma(abs(ratio - 1.0), error)
    return _judged(
        Check(FLUX_SCALE, CheckResult.ACCEPTED, ratio, comment=comment),
        warn=_limits_of(config.flux_scale_warn_factor, lambda factor: (1.0 / factor, factor)),
        reject=_limits_of(limit, lambda factor: (1.0 / factor, factor)),
        warns=sigma > config.warn_sigma,
        rejects=sigma > config.reject_sigma,
        reason=RejectReason.FLUX_SCALE,
        held_back=held_back,
    )


def flux_ratio(
    flux_jy: FloatArray,
    flux_err_jy: FloatArray,
    reference_jy: FloatArray,
    reference_err_jy: FloatArray,
    min_snr: float,
) -> tuple[float, float, int]:
    """Median ratio of fluxes to reference fluxes, its error, and the number of sources used.

    Parameters
    ----------
    flux_jy, flux_err_jy, reference_jy, reference_err_jy : numpy.ndarray, (n,)
        All above 0.
    min_snr : float
        A source is used if it has this significance in the image, and would have it on the flux
        scale of the catalogue.

    Returns
    -------
    ratio, error : float
        NaN without a source.
    count : int

    Notes
    -----
    Sources are chosen, and weighted, by the mean of both fluxes, weighted with their inverse
    variances: its error is not correlated with their difference, so that the choice favours no
    ratio. With either flux by itself it would: of the sources near a limit, those are chosen whose
    noise is positive.
    """
    ratio, error = 1.0, math.nan
    chosen = np.zeros(len(flux_jy), dtype=bool)
    for number in range(_SCALE_ROUNDS):
        weight, reference_weight = (ratio / flux_err_jy) ** 2, 1.0 / reference_err_jy**2
        mean = (flux_jy / ratio * weight + reference_jy * reference_weight) / (
            weight + reference_weight
        )
        bright = min(ratio, 1.0) * mean >= min_snr * flux_err_jy
        if not bright.any():
            return math.nan, math.nan, 0
        if number > 1 and (bright == chosen).all():
            break
        chosen = bright
        noise = np.hypot(flux_err_jy[bright] / ratio, reference_err_jy[bright]) / mean[bright]
        ratio, error = robust_centre(
            flux_jy[bright] / reference_jy[bright], ratio * np.hypot(noise, _FLUX_SCATTER)
        )
    return ratio, error, int(chosen.sum())


def check_source_count(
    number: int, rms_jy: float, history: Sequence[Counted], config: CatalogueChecksConfig
) -> Check:
    """Judge the number of detections by that of earlier images of the band, region and Stokes.

    Parameters
    ----------
    number : int
    rms_jy : float
        Of the image: a deeper one may show more.
    history : sequence of Counted
    config : CatalogueChecksConfig
    """
    detections = f"{number} detection{'' if number == 1 else 's'}"
    if len(history) < config.min_images:
        comment = (
            f"{detections}; only {len(history)} earlier images of its band, region and "
            f"Stokes, {config.min_images} are needed"
        )
        return Check(SOURCE_COUNT, CheckResult.NOT_MADE, float(number), comment=comment)
    numbers = [counted.number for counted in history]
    usual = median(numbers)
    spread = SIGMA_PER_MAD * median([abs(item - usual) for item in numbers])
    sigma = max(spread, math.sqrt(max(usual, 1.0)))
    usual_rms = median([counted.rms_jy for counted in history])
    depth = max(usual_rms / rms_jy, 1.0) ** _EUCLIDEAN if usual_rms > 0.0 and rms_jy > 0.0 else 1.0
    comment = (
        f"{detections}; {usual:g} +- {sigma:.3g} in the latest {len(history)} images of "
        "its band, region and Stokes"
    )
    if depth > 1.0:
        comment += f" ({depth:.3g} times as many may be seen, because it is deeper)"
    warn, reject = config.source_count_warn_factor, config.source_count_reject_factor
    return _judged(
        Check(SOURCE_COUNT, CheckResult.ACCEPTED, float(number), comment=comment),
        warn=_limits_of(
            warn,
            lambda factor: (
                min(usual / factor, usual - config.warn_sigma * sigma),
                max(usual * factor, usual + config.warn_sigma * sigma) * depth,
            ),
        ),
        # Too few sources do no harm.
        reject=_limits_of(
            reject,
            lambda factor: (
                math.nan,
                max(usual * factor, usual + config.reject_sigma * sigma) * depth,
            ),
        ),
        warns=True,
        rejects=True,
        reason=RejectReason.SOURCE_COUNT,
        held_back="",
    )


def _limits_of(limit: Limit, limits: Callable[[float], tuple[float, float]]) -> tuple[float, float]:
    """Least and largest accepted value; NaN where there is none."""
    return (math.nan, math.nan) if limit == "none" else limits(limit)


def _judged(
    check: Check,
    *,
    warn: tuple[float, float],
    reject: tuple[float, float],
    warns: bool,
    rejects: bool,
    reason: RejectReason,
    held_back: str,
) -> Check:
    """Return a check with its result and the limits that decided it.

    ``warns`` and ``rejects`` say whether the measurement is significant enough; ``held_back`` why
    there is a warning in place of a rejection, if so.
    """
    beyond = rejects and _outside(check.measured, reject)
    if beyond and not held_back:
        return replace(
            check,
            result=CheckResult.REJECTED,
            low=reject[0],
            high=reject[1],
            comment=f"{check.comment}; {_in_words(reject, check.unit)}",
            reason=reason,
        )
    limited = replace(check, low=warn[0], high=warn[1])
    if beyond:
        words = f"{_in_words(reject, check.unit)}; {held_back}"
        return replace(limited, result=CheckResult.WARNED, comment=f"{check.comment}; {words}")
    if warns and _outside(check.measured, warn):
        words = _in_words(warn, check.unit)
        return replace(limited, result=CheckResult.WARNED, comment=f"{check.comment}; {words}")
    return limited


def _outside(value: float, limits: tuple[float, float]) -> bool:
    # A limit of NaN is none.
    return value < limits[0] or value > limits[1]


def _in_words(limits: tuple[float, float], unit: str) -> str:
    low, high = limits
    unit = f" {unit}" if unit else ""
    if math.isnan(low):
        return f"at most {high:.3g}{unit}"
    return f"not within {low:.3g} and {high:.3g}{unit}"


def _in_sigma(difference: float, error: float) -> float:
    return difference / error if error > 0.0 else math.inf


def _too_few(config: CatalogueChecksConfig) -> str:
    return (
        f"not rejected, because fewer than {config.min_images} images of its band and Stokes came "
        "before"
    )

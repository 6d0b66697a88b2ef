"""One image full of sources whose pixel positions, fluxes and shapes are known, as arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from trap_ops.science.beam import FWHM_PER_SIGMA, area_of_covariance
from trap_ops.science.model_image import add_gaussians
from trap_ops.simulate.noise import NoiseKind, correlated_noise

FloatArray = npt.NDArray[np.float64]
_ATTEMPTS = 200


@dataclass(frozen=True)
class FieldPlan:
    """What to simulate. The least rms of the noise is 1, the unit of all fluxes.

    Attributes
    ----------
    size_px : int
    beam_fwhm_px : (float, float)
        Full widths of the major and minor axis.
    beam_theta_deg : float
        From the +y axis towards -x.
    per_megapixel : float
        Number of sources in 2**20 pixels; of pairs, both count.
    snr : (float, float)
        Peak over local rms, log-uniform between these; of pairs, of the brighter one.
    noise : {"beam-smoothed", "natural"}
    rms_ratio : float
        The rms grows linearly from 1 at the left edge to this at the right one.
    pairs_beams : (float, float) or None
        Every source has a companion at a distance between these, in beams (of the beam's own
        metric), at any angle. None: single sources.
    pair_flux_ratio : (float, float)
        Companion over brighter one, uniform between these.
    intrinsic_fwhm_beams : (float, float) or None
        Sources are Gaussians of their own, convolved with the beam: full width of the major axis in
        beams (geometric mean), uniform between these, with an axis ratio between 0.4 and 1 and any
        angle. The SNR is that of the peak in the image. None: point sources.
    separation_beams : float
        Least distance between sources, or pairs, in beams.
    """

    size_px: int = 1024
    beam_fwhm_px: tuple[float, float] = (6.0, 6.0)
    beam_theta_deg: float = 0.0
    per_megapixel: float = 315.0
    snr: tuple[float, float] = (4.0, 1000.0)
    noise: NoiseKind = "beam-smoothed"
    rms_ratio: float = 1.0
    pairs_beams: tuple[float, float] | None = None
    pair_flux_ratio: tuple[float, float] = (0.2, 1.0)
    intrinsic_fwhm_beams: tuple[float, float] | None = None
    separation_beams: float = 4.0

    @property
    def beam_covariance_px(self) -> FloatArray:
        """Covariance of the beam over pixel offsets, (2, 2)."""
        return ellipse_covariance(*self.beam_fwhm_px, math.radians(self.beam_theta_deg))


@dataclass(frozen=True)
class Field:
    """An image and the truth about it; all arrays of sources (n,) unless said.

    Attributes
    ----------
    pixels : numpy.ndarray of float32, (ny, nx)
    beam_covariance_px : numpy.ndarray, (2, 2)
    x, y : numpy.ndarray
        0-based pixels.
    peak : numpy.ndarray
    flux : numpy.ndarray
        Integrated, in units of the image times beams.
    shape_covariance_px : numpy.ndarray, (n, 2, 2)
    rms : numpy.ndarray
        True rms of the noise at the source.
    """

    pixels: npt.NDArray[np.float32]
    beam_covariance_px: FloatArray
    x: FloatArray
    y: FloatArray
    peak: FloatArray
    flux: FloatArray
    shape_covariance_px: FloatArray
    rms: FloatArray


def ellipse_covariance(major_fwhm: float, minor_fwhm: float, theta_rad: float) -> FloatArray:
    """Covariance of a Gaussian of given full widths and angle from +y towards -x, (2, 2)."""
    along = np.array([-math.sin(theta_rad), math.cos(theta_rad)])
    across = np.array([math.cos(theta_rad), math.sin(theta_rad)])
    major, minor = (major_fwhm / FWHM_PER_SIGMA) ** 2, (minor_fwhm / FWHM_PER_SIGMA) ** 2
    return np.asarray(major * np.outer(along, along) + minor * np.outer(across, across))


def make_field(plan: FieldPlan, rng: np.random.Generator) -> Field:
    """Simulate an image; equal states of the generator give equal images."""
    beam = plan.beam_covariance_px
    n = round(plan.per_megapixel * plan.size_px**2 / 2**20)
    x, y, snr = _placed(plan, n, rng)
    rms = _rms(plan, x)
    peak = snr * rms
    shape = np.broadcast_to(beam, (len(x), 2, 2)).copy()
    if plan.intrinsic_fwhm_beams is not None:
        mean = math.sqrt(plan.beam_fwhm_px[0] * plan.beam_fwhm_px[1])
        major = rng.uniform(*plan.intrinsic_fwhm_beams, len(x)) * mean
        minor = major * rng.uniform(0.4, 1.0, len(x))
        theta = rng.uniform(0.0, math.pi, len(x))
        shape += np.array(
            [ellipse_covariance(*item) for item in zip(major, minor, theta, strict=True)]
        )
    pixels = correlated_noise((plan.size_px, plan.size_px), beam, plan.noise, rng)
    pixels *= _rms(plan, np.arange(plan.size_px)).astype(np.float32)
    add_gaussians(pixels, x, y, peak, shape)
    area = 2.0 * math.pi * np.sqrt(np.linalg.det(shape))
    return Field(pixels, beam, x, y, peak, peak * area / area_of_covariance(beam), shape, rms)


def _rms(plan: FieldPlan, x: npt.ArrayLike) -> FloatArray:
    share = np.asarray(x, dtype=np.float64) / (plan.size_px - 1)
    return np.asarray(1.0 + (plan.rms_ratio - 1.0) * share)


def _placed(
    plan: FieldPlan, n: int, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Positions and significances of all sources."""
    beam = max(plan.beam_fwhm_px)
    edge = plan.separation_beams * beam
    n_placed = n if plan.pairs_beams is None else n // 2
    places = rng.uniform(edge, plan.size_px - 1 - edge, (n_placed, 2))
    # What is too close to an earlier one is thrown again; what never fits is left out.
    for attempt in range(_ATTEMPTS):
        pairs = cKDTree(places).query_pairs(plan.separation_beams * beam, output_type="ndarray")
        again = np.unique(pairs.max(axis=1, initial=-1))
        if len(again) == 0:
            break
        if attempt == _ATTEMPTS - 1:
            places = np.delete(places, again, axis=0)
        else:
            places[again] = rng.uniform(edge, plan.size_px - 1 - edge, (len(again), 2))
    low, high = np.log(plan.snr)
    snr = np.exp(rng.uniform(low, high, len(places)))
    if plan.pairs_beams is None:
        return places[:, 0], places[:, 1], snr
    angle = rng.uniform(0.0, 2.0 * math.pi, len(places))
    distance = rng.uniform(*plan.pairs_beams, len(places))
    direction = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    step = direction @ np.linalg.cholesky(plan.beam_covariance_px).T * FWHM_PER_SIGMA
    companion = places + distance[:, None] * step
    ratio = rng.uniform(*plan.pair_flux_ratio, len(places))
    both = np.concatenate([places, companion])
    return both[:, 0], both[:, 1], np.concatenate([snr, snr * ratio])

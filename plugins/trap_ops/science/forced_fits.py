"""Fluxes at given positions: the beam's shape, exactly centred, only the peak free.

The least-squares peak is a weighted sum of a few pixels, so thousands of positions are one gather
and a few row sums. No position's arithmetic depends on the others in its batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from trap_ops.records.arrays import FloatArray, Image, IntArray, Mask, Words
from trap_ops.records.images import NoiseModel
from trap_ops.science.background import noise_at
from trap_ops.science.beam import area_of_covariance
from trap_ops.science.component_fits import HELD_RADIUS_FWHM, stamp_correlation
from trap_ops.science.footprints import (
    MAX_GROUP,
    Footprint,
    cut_stamps,
    group_components,
    make_footprint,
)
from trap_ops.science.noise import correlation_at

# Positions are measured in chunks of so many footprint pixels, which bounds memory for any beam.
_CHUNK_PIXELS = 1 << 17
# Positions whose templates are more alike than this (least eigenvalue of their products over the
# trace: about a tenth of a beam) are one.
_LEAST_APART = 1e-3
# Offsets (y, x) of the pixels that a measurement cannot do without.
_NEAREST = np.mgrid[-1:2, -1:2]


class NoFit(StrEnum):
    """Why a position could not be measured; empty where it could."""

    FITTED = ""
    OUTSIDE = "outside_image"
    EDGE = "edge"
    MASKED = "masked"


@dataclass(frozen=True)
class ForcedFits:
    """Fluxes at fixed positions; all arrays have shape (n,), NaN where there is no fit.

    Attributes
    ----------
    reason : numpy.ndarray of str
        A :class:`NoFit`; empty for a fit.
    peak, peak_err : numpy.ndarray
        Units of the image. A point source's integrated flux is its peak. May be negative.
    background, rms : numpy.ndarray
        At the position.
    snr : numpy.ndarray
        Highest pixel of the footprint, minus background, over rms.
    chisq, reduced_chisq : numpy.ndarray
        Sum of squared residuals over rms squared; the same per independent pixel.
    """

    reason: Words
    peak: FloatArray
    peak_err: FloatArray
    background: FloatArray
    rms: FloatArray
    snr: FloatArray
    chisq: FloatArray
    reduced_chisq: FloatArray


def fit_positions(
    data: Image,
    blank: Mask,
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    noise: NoiseModel,
    beam_covariance_px: npt.ArrayLike,
    *,
    margin_px: int,
    radius_px: float,
    joint: bool = False,
) -> ForcedFits:
    """Measure the peak of a point source at each position.

    Parameters
    ----------
    data : numpy.ndarray of float32, (ny, nx)
    blank : numpy.ndarray of bool, (ny, nx)
        Pixels without data; see :func:`trap_ops.science.masks.blank_pixels`.
    x, y : array_like, (n,)
        0-based pixel positions; NaN is outside the image.
    noise : NoiseModel
        Of this image.
    beam_covariance_px : array_like, (2, 2)
    margin_px, radius_px : int, float
        As in :func:`trap_ops.science.masks.pixel_mask`.
    joint : bool
        Fit positions together that are less than two beams apart, at most five: then none has light
        of the others, but its flux depends on which other positions there are.

    Notes
    -----
    With g the beam on the pixels of the footprint (out to half a full width) and d the pixels minus
    background: ``P = sum(g d) / sum(g^2)`` and ``var P = rms^2 g^T C g / sum(g^2)^2``, C being the
    noise correlation of the image (FINDERS, section 6). A pixel without data takes no part; a
    position with one among the nine nearest is not measured.
    """
    xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    beam = np.asarray(beam_covariance_px, dtype=np.float64)
    footprint = make_footprint(beam, HELD_RADIUS_FWHM)
    step = max(1, _CHUNK_PIXELS // len(footprint))
    parts = [
        _fit_chunk(
            data, blank, xs[i : i + step], ys[i : i + step], noise, beam, footprint, margin_px,
            radius_px,
        )
        for i in range(0, max(len(xs), 1), step)
    ]  # fmt: skip
    fits = ForcedFits(
        **{name: np.concatenate([vars(part)[name] for part in parts]) for name in vars(parts[0])}
    )
    if joint:
        _fit_together(data, blank, xs, ys, noise, beam, fits, margin_px, radius_px)
    return fits


def _fit_together(
    data: Image,
    blank: Mask,
    x: FloatArray,
    y: FloatArray,
    noise: NoiseModel,
    beam: FloatArray,
    fits: ForcedFits,
    margin_px: int,
    radius_px: float,
) -> None:
    """Replace fits of positions near each other by those of all of them; chi-squared is one.

    Positions that cannot be told apart keep what they have.
    """
    fitted = np.flatnonzero(fits.reason == NoFit.FITTED.value)
    group = group_components(x[fitted], y[fitted], beam)
    size = np.bincount(group)
    order = np.argsort(group, kind="stable")
    first = np.cumsum(size) - size
    inverse = np.linalg.inv(beam)
    for k in range(2, MAX_GROUP + 1):
        footprint = make_footprint(beam, HELD_RADIUS_FWHM, k)
        # The correlation of the pixels is the larger part of the memory.
        step = max(1, _CHUNK_PIXELS // (k * len(footprint)) ** 2)
        groups = np.flatnonzero(size == k)
        for begin in range(0, len(groups), step):
            chosen = first[groups[begin : begin + step], None] + np.arange(k)
            members = fitted[order[chosen]]
            column, row = (np.rint(axis[members]).astype(np.intp) for axis in (x, y))
            cut = cut_stamps(
                data, blank, footprint, column, row, fits.background[members],
                fits.rms[members], beam,
            )  # fmt: skip
            # Places of clipped pixels have no weight.
            allowed = _allowed(cut.column, cut.row, data.shape, margin_px, radius_px)
            stamps = cut.stamps
            u = stamps.x[:, None, :] - (x[members] - column[:, :1])[:, :, None]
            v = stamps.y[:, None, :] - (y[members] - row[:, :1])[:, :, None]
            exponent = inverse[0, 0] * u * u + 2.0 * inverse[0, 1] * u * v + inverse[1, 1] * v * v
            template = np.exp(-0.5 * exponent) * (stamps.weight * allowed)[:, None, :]
            normal = template @ template.swapaxes(1, 2)
            apart = np.linalg.eigvalsh(normal)[:, 0] > _LEAST_APART * np.trace(
                normal, axis1=1, axis2=2
            )
            if not apart.any():
                continue
            template, normal, members = template[apart], normal[apart], members[apart]
            inverse_normal = np.linalg.inv(normal)
            value = (template @ stamps.value[apart, :, None])[:, :, 0]
            peak = (inverse_normal @ value[:, :, None])[:, :, 0]
            correlation = stamp_correlation(noise.correlation, stamps.take(apart), k)
            middle = (template @ correlation) @ template.swapaxes(1, 2)
            covariance = inverse_normal @ middle @ inverse_normal
            variance = np.einsum("bii->bi", covariance)
            # See _fit_chunk: no error is far below that of independent pixels.
            least = 0.25 * np.einsum("bii->bi", inverse_normal)
            unit = cut.rms[apart, None]
            fits.peak[members] = peak * unit
            fits.peak_err[members] = np.sqrt(np.maximum(variance, least)) * unit
            weight = (stamps.weight * allowed)[apart]
            model = (template * peak[:, :, None]).sum(axis=1)
            chisq = ((stamps.value[apart] * weight - model) ** 2).sum(axis=1)
            fits.chisq[members] = chisq[:, None]
            per_beam = area_of_covariance(beam) * np.log(2.0) / weight.sum(axis=1)
            fits.reduced_chisq[members] = (chisq * per_beam)[:, None]


def _fit_chunk(
    data: Image,
    blank: Mask,
    x: FloatArray,
    y: FloatArray,
    noise: NoiseModel,
    beam: FloatArray,
    footprint: Footprint,
    margin_px: int,
    radius_px: float,
) -> ForcedFits:
    ny, nx = data.shape
    inside = (x >= -0.5) & (x <= nx - 0.5) & (y >= -0.5) & (y <= ny - 0.5)
    x, y = np.where(inside, x, 0.0), np.where(inside, y, 0.0)
    column, row = np.rint(x).astype(np.intp), np.rint(y).astype(np.intp)
    place = (row * nx + column)[:, None]
    # Indices into the flattened image: what they are beyond its borders is not allowed below.
    pixels = place + (footprint.dy * nx + footprint.dx)
    nearest = place + (_NEAREST[0] * nx + _NEAREST[1]).ravel()
    bounds = (ny, nx), margin_px, radius_px
    reach = max(1, int(np.abs(footprint.dx).max()), int(np.abs(footprint.dy).max()))
    corner_x, corner_y = np.array([-reach, reach, -reach, reach]), np.repeat([-reach, reach], 2)
    # What is allowed is convex: where the corners about a footprint are, its pixels are too.
    rim = ~_allowed(column[:, None] + corner_x, row[:, None] + corner_y, *bounds).all(axis=1)
    rim_x, rim_y = column[rim, None], row[rim, None]
    unused = blank.ravel().take(pixels, mode="clip")
    unused[rim] |= ~_allowed(rim_x + footprint.dx, rim_y + footprint.dy, *bounds)
    masked = blank.ravel().take(nearest, mode="clip").any(axis=1)
    edge = np.zeros(len(x), dtype=bool)
    near = _allowed(rim_x + _NEAREST[1].ravel(), rim_y + _NEAREST[0].ravel(), *bounds)
    edge[rim] = ~near.all(axis=1)
    reason = np.full(len(x), NoFit.FITTED.value, dtype="U16")
    reason[masked] = NoFit.MASKED.value
    reason[edge] = NoFit.EDGE.value
    reason[~inside] = NoFit.OUTSIDE.value
    fitted = inside & ~edge & ~masked
    unused |= ~fitted[:, None]
    background, rms = noise_at(noise.grid, x, y)
    pixel = data.ravel().take(pixels, mode="clip") - background[:, None]
    np.putmask(pixel, unused, 0.0)
    inverse = np.linalg.inv(beam)
    u, v = footprint.dx - (x - column)[:, None], footprint.dy - (y - row)[:, None]
    exponent = inverse[0, 0] * u * u + 2.0 * inverse[0, 1] * u * v + inverse[1, 1] * v * v
    template = np.exp(-0.5 * exponent)
    np.putmask(template, unused, 0.0)
    correlation = correlation_at(
        noise.correlation,
        footprint.dx[:, None] - footprint.dx[None, :],
        footprint.dy[:, None] - footprint.dy[None, :],
    )
    # One row at a time: a product of all rows at once would round differently per batch size.
    spread = np.vecmat(template, correlation)
    norm = np.vecdot(template, template)
    with np.errstate(invalid="ignore", divide="ignore"):
        peak = np.vecdot(template, pixel) / norm
        variance = np.vecdot(spread, template) / norm**2
        # A measured correlation need not be positive definite; no error is below that of
        # independent pixels by more than rounding would explain.
        peak_err = rms * np.sqrt(np.maximum(variance, 0.25 / norm))
        residual = pixel - peak[:, None] * template
        chisq = np.vecdot(residual, residual) / rms**2
        n_pixels = len(footprint) - np.count_nonzero(unused, axis=1)
        reduced_chisq = chisq * (area_of_covariance(beam) * np.log(2.0) / n_pixels)
        np.putmask(pixel, unused, -np.inf)
        # The largest of each row: twice as fast as ``max(axis=1)``, as rows are short.
        snr = np.maximum.reduceat(pixel.ravel(), np.arange(0, pixel.size, len(footprint))) / rms
    return ForcedFits(
        reason=reason,
        peak=np.where(fitted, peak, np.nan),
        peak_err=np.where(fitted, peak_err, np.nan),
        background=np.where(fitted, background, np.nan),
        rms=np.where(fitted, rms, np.nan),
        snr=np.where(fitted, snr, np.nan),
        chisq=np.where(fitted, chisq, np.nan),
        reduced_chisq=np.where(fitted, reduced_chisq, np.nan),
    )


def _allowed(
    column: IntArray,
    row: IntArray,
    shape: tuple[int, int],
    margin_px: int,
    radius_px: float,
) -> Mask:
    """Whether pixels are in the image, inside the margin and inside the circle."""
    ny, nx = shape
    allowed = (
        (column >= margin_px)
        & (column < nx - margin_px)
        & (row >= margin_px)
        & (row < ny - margin_px)
    )
    if radius_px > 0:
        distance2 = (column - (nx - 1) / 2.0) ** 2 + (row - (ny - 1) / 2.0) ** 2
        allowed &= distance2 < radius_px**2
    return allowed


def upper_limits(
    peak: FloatArray, peak_err: FloatArray, sigma: float, *, signed: bool
) -> FloatArray:
    """Return upper limits where fluxes are not significant, else NaN; arrays (n,).

    With ``size`` the flux, or 0 where it is below 0, that is ``size + sigma * peak_err`` where
    ``size < sigma * peak_err``.

    Parameters
    ----------
    peak, peak_err : numpy.ndarray, (n,)
        In one unit; NaN where nothing was measured.
    sigma : float
        Number of errors.
    signed : bool
        True fluxes may be negative (Stokes Q, U, V, difference images): ``size`` is then the
        absolute flux, and what is limited is that.

    Notes
    -----
    A true flux S is above its limit only if noise has taken more than ``sigma`` errors off it: the
    chance is at most that of the Gaussian tail, for any S. Without the cut at 0 a flux of -4 errors
    would limit S to less than nothing; with it no limit is below what noise allows.
    """
    size = np.abs(peak) if signed else np.maximum(peak, 0.0)
    least = sigma * peak_err
    return np.where(size < least, size + least, np.nan)

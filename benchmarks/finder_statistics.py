"""What catalogues are worth against the truth: biases, pulls, completeness at equal false rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import integrate, special

from benchmarks.finder_sets import PULLS, Catalogue, FloatArray, Matches

# By the true peak over the true rms.
BINS = ((5.0, 6.0), (6.0, 8.0), (8.0, 20.0), (20.0, 100.0), (100.0, np.inf))
FAINT_BINS = ((4.0, 5.0), (5.0, 6.0), (6.0, 8.0), (8.0, 12.0))
_CLIP_SIGMA = 3.0
_TILE_PX = 256
_RESAMPLINGS = 500


def statistics(matches: Matches) -> list[dict[str, Any]]:
    """Completeness, biases, scatters and pulls by significance.

    ``_bias`` is the median of measured minus true, ``_mean_bias`` the mean of what is within three
    widths of it. Scatters and pulls are 1.4826 times the median absolute deviation. All
    ``_error`` are standard errors; that of a pull, ``1.17 / sqrt(n)``, and of a median,
    ``1.25 width / sqrt(n)``, are those of normal deviates.
    """
    rows = []
    for low, high in BINS:
        chosen = (matches.snr >= low) & (matches.snr < high)
        seen = chosen & matches.found
        n, share = int(chosen.sum()), float(seen.sum() / max(chosen.sum(), 1))
        row: dict[str, Any] = {
            "snr": [low, high if np.isfinite(high) else None],
            "n": n,
            "completeness": _rounded(share, 4),
            "completeness_error": _rounded(np.sqrt(share * (1.0 - share) / max(n, 1)), 4),
        }
        if seen.sum() > 2:
            for name in ("peak", "flux"):
                off = matches.difference[name][seen]
                row[f"{name}_scatter_sigma"] = _rounded(_width(off), 2)
                row |= _biases(f"{name}_", "_sigma", off)
                row |= _biases(f"{name}_", "_percent", 100.0 * off / matches.snr[seen])
            unit = matches.position_unit[seen]
            row["position_scatter"] = [
                _rounded(_width(matches.difference[axis][seen] / unit), 3) for axis in ("x", "y")
            ]
            row["pulls"] = [_rounded(_width(matches.pull[name][seen]), 3) for name in PULLS]
            row["pull_error"] = _rounded(1.17 / np.sqrt(seen.sum()), 3)
        rows.append(row)
    return rows


def _biases(before: str, after: str, off: FloatArray) -> dict[str, float]:
    """Median and clipped mean, with their standard errors."""
    middle, width = float(np.median(off)), _width(off)
    kept = off[np.abs(off - middle) <= _CLIP_SIGMA * width]
    if len(kept) < 2:
        kept = off
    values = {
        "bias": middle,
        "bias_error": 1.2533 * width / np.sqrt(len(off)),
        "mean_bias": float(kept.mean()),
        "mean_bias_error": float(kept.std(ddof=1)) / np.sqrt(len(kept)),
    }
    return {
        f"{before}{name.removesuffix('_error')}{after}"
        + ("_error" if name.endswith("_error") else ""): _rounded(value, 4)
        for name, value in values.items()
    }


@dataclass(frozen=True)
class FaintMatches:
    """What one finder made of faint sources, and of the same noise without any.

    Attributes
    ----------
    snr, significance : numpy.ndarray, (n,)
        True one, and the one that the finder gives; -inf where it found nothing.
    false_significance : numpy.ndarray, (m,)
        Of its components in noise alone.
    tile : numpy.ndarray of int, (m,)
        Part of the noise images that each of these is in.
    spurious : numpy.ndarray
        Significances of the components of no source, in the images with sources.
    """

    snr: FloatArray
    significance: FloatArray
    false_significance: FloatArray
    tile: npt.NDArray[np.intp]
    spurious: FloatArray


def false_detections(
    catalogues: Sequence[Catalogue], size_px: int
) -> tuple[FloatArray, npt.NDArray[np.intp], int]:
    """Significances of all components of images, the tile that each is in, and number of tiles."""
    side = max(size_px // _TILE_PX, 1)
    significances, tiles = [], []
    for number, catalogue in enumerate(catalogues):
        column, row = (
            np.clip(catalogue[axis] * side // size_px, 0, side - 1).astype(np.intp)
            for axis in ("x", "y")
        )
        significances.append(catalogue["snr"])
        tiles.append((number * side + row) * side + column)
    return np.concatenate(significances), np.concatenate(tiles), len(catalogues) * side**2


def false_rate_cut(
    significance: FloatArray, n_allowed: float, weight: FloatArray | None = None
) -> float:
    """Significance above which so many false detections are left.

    Parameters
    ----------
    significance : numpy.ndarray, (n,)
        Of false detections.
    n_allowed : float
        Need not be whole: it is interpolated between them, each counting half at its own value.
    weight : numpy.ndarray, (n,), optional
        How many times each counts.

    Returns
    -------
    float
        The least of all if there are fewer; 0 without any.
    """
    if len(significance) == 0:
        return 0.0
    order = np.argsort(-significance)
    counts = np.ones(len(order)) if weight is None else weight[order]
    return float(np.interp(n_allowed, np.cumsum(counts) - counts / 2.0, significance[order]))


def compare_at_equal_rate(
    matches: Mapping[str, FaintMatches],
    programs: Mapping[str, str],
    n_tiles: int,
    n_allowed: float,
) -> dict[str, dict[str, Any]]:
    """Completeness of finders, each cut at its own significance so that all have one false rate.

    Parameters
    ----------
    matches : mapping
        By finder; of the same sources in the same images.
    programs : mapping
        Finders of one program are not compared with each other.
    n_tiles : int
        Parts of the noise images; these are drawn anew to see how much cuts are a matter of chance.
    n_allowed : float
        False detections in all noise images.

    Returns
    -------
    dict
        For each finder the cut, its standard error, and per bin of true SNR the completeness with
        its binomial error and that from the cut, and the difference to the best finder of another
        program: with its paired error ``sqrt(n10 + n01) / n`` from sources that one of both finds,
        that from both cuts (drawn together), and itself in units of both.
    """
    # The same parts for all finders: they have the same excursions in them.
    drawn = np.random.default_rng(0).multinomial(
        n_tiles, np.full(n_tiles, 1.0 / n_tiles), size=_RESAMPLINGS
    )
    made: dict[str, dict[str, Any]] = {}
    cuts = {}
    for name, item in matches.items():
        cut = false_rate_cut(item.false_significance, n_allowed)
        cuts[name] = np.array(
            [cut]
            + [
                false_rate_cut(item.false_significance, n_allowed, counts[item.tile].astype(float))
                for counts in drawn
            ]
        )
        made[name] = {
            "cut": _rounded(cut, 3),
            "cut_error": _rounded(cuts[name][1:].std(), 3),
            "false": len(item.false_significance),
            "enough_false": bool(len(item.false_significance) > n_allowed),
            "spurious_beside_sources": int((item.spurious >= cut).sum()),
            "bins": [],
        }
    for low, high in FAINT_BINS:
        # First at the cuts, then at those of the noise drawn anew: (1 + resamplings, sources).
        seen = {
            name: (item.significance >= cuts[name][:, None])[
                :, (item.snr >= low) & (item.snr < high)
            ]
            for name, item in matches.items()
        }
        for name, entry in made.items():
            others = [other for other in made if programs[other] != programs[name]]
            best = max(others, key=lambda other: seen[other][0].sum(), default=None)
            row = {"snr": [low, high], **_share(seen[name])}
            if best is not None:
                row |= {"best_other": best, **paired_difference(seen[name], seen[best])}
            entry["bins"].append(row)
    return made


def _share(seen: npt.NDArray[np.bool_]) -> dict[str, float]:
    n = seen.shape[1]
    share = seen.mean(axis=1) if n else np.zeros(len(seen))
    return {
        "n": n,
        "completeness": _rounded(share[0], 4),
        "completeness_error": _rounded(np.sqrt(share[0] * (1.0 - share[0]) / max(n, 1)), 4),
        "completeness_cut_error": _rounded(share[1:].std(), 4),
    }


def paired_difference(
    seen: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]
) -> dict[str, float]:
    """Difference of two completenesses of the same sources, and its errors.

    Parameters
    ----------
    seen, other : numpy.ndarray of bool, (1 + resamplings, sources)
        Which sources are found: with the best cuts first, then with those of resampled noise.
    """
    n = seen.shape[1]
    if n == 0:
        return {"difference": 0.0, "paired_error": 0.0, "cuts_error": 0.0, "in_errors": 0.0}
    differences = seen.mean(axis=1) - other.mean(axis=1)
    paired = np.sqrt((seen[0] != other[0]).sum()) / n
    cuts = differences[1:].std()
    error = np.hypot(paired, cuts)
    return {
        "difference": _rounded(differences[0], 4),
        "paired_error": _rounded(paired, 4),
        "cuts_error": _rounded(cuts, 4),
        "in_errors": _rounded(differences[0] / error if error else 0.0, 2),
    }


def expected_maxima(threshold_sigma: float, acf_covariance_px: FloatArray) -> float:
    """Maxima above a threshold that a Gaussian field has per pixel.

    Parameters
    ----------
    threshold_sigma : float
    acf_covariance_px : numpy.ndarray, (2, 2)
        ``A`` of the autocorrelation ``exp(-d^T A^-1 d / 2)``: the beam's for natural weighting,
        twice that for white noise smoothed with the beam.

    Notes
    -----
    Bond and Efstathiou 1987 (MNRAS 226, 655, their A1.9), for the field's parameters
    ``gamma^2 = 1/2`` and ``theta^2 = a^2 / 2``; a linear map makes the ellipse a circle. High above
    the noise it is Adler's ``(2 pi)^-1.5 u exp(-u^2 / 2) / a^2``.
    """
    gamma2 = 0.5

    def density(u: float) -> float:
        x = np.sqrt(gamma2) * u
        rest, wide = 1.0 - gamma2, 3.0 - 2.0 * gamma2
        shape = (
            (x**2 - gamma2) * special.ndtr(x / np.sqrt(rest))
            + x * rest * np.exp(-(x**2) / (2.0 * rest)) / np.sqrt(2.0 * np.pi * rest)
            + np.exp(-(x**2) / wide) / np.sqrt(wide) * special.ndtr(x / np.sqrt(rest * wide))
        )
        return float(2.0 / (2.0 * np.pi) ** 1.5 * np.exp(-(u**2) / 2.0) * shape)

    # In units of the correlation's own area. It is tiny, so only its relative error matters.
    integral, _ = integrate.quad(density, threshold_sigma, np.inf, epsabs=0.0)
    return float(integral / np.sqrt(np.linalg.det(acf_covariance_px)))


def expected_peaks(threshold_sigma: float, acf_covariance_px: FloatArray) -> float:
    """Maxima of a Gaussian field whose highest pixel is above a threshold, per pixel.

    A maximum lies anywhere between pixels, and high ones have the shape of the autocorrelation, so
    the pixel at a distance d has ``exp(-d^T A^-1 d / 2)`` of its height. With a beam of three
    pixels this costs a quarter of them at 4 sigma.
    """
    places = (np.arange(8) + 0.5) / 8.0 - 0.5
    offset = np.stack(np.meshgrid(places, places), axis=-1).reshape(-1, 2)
    distance = np.einsum("ni,ij,nj->n", offset, np.linalg.inv(acf_covariance_px), offset)
    return float(
        np.mean(
            [
                expected_maxima(threshold_sigma * factor, acf_covariance_px)
                for factor in np.exp(distance / 2.0)
            ]
        )
    )


def _width(values: FloatArray) -> float:
    finite = values[np.isfinite(values)]
    if len(finite) == 0:
        return float("nan")
    return float(1.4826 * np.median(np.abs(finite - np.median(finite))))


def _rounded(value: float, digits: int) -> float:
    return round(float(value), digits)

"""Image sets for source finders, and what a catalogue of them is worth against the truth."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits
from scipy.spatial import cKDTree

from trap_ops.science.beam import FWHM_PER_SIGMA
from trap_ops.simulate.fields import Field, FieldPlan, make_field

FloatArray = npt.NDArray[np.float64]
BLEND = "blend"
SETS = {
    "base": FieldPlan(),
    "ell": FieldPlan(beam_fwhm_px=(8.0, 5.0), beam_theta_deg=35.0),
    "grad": FieldPlan(rms_ratio=4.0),
    "coarse": FieldPlan(beam_fwhm_px=(3.2, 3.2)),
    "nat": FieldPlan(noise="natural"),
    "ext": FieldPlan(intrinsic_fwhm_beams=(0.3, 1.5), separation_beams=5.0),
    BLEND: FieldPlan(pairs_beams=(0.7, 2.2), separation_beams=6.0),
    "noise": FieldPlan(per_megapixel=0.0),
}
# By the true peak over the true rms.
BINS = ((5.0, 6.0), (6.0, 8.0), (8.0, 20.0), (20.0, 100.0), (100.0, np.inf))
_PIXEL_DEG = 5.0 / 3600.0
_MATCH_BEAMS = {BLEND: 0.5}
PULLS = ("peak", "flux", "x", "y")


@dataclass(frozen=True)
class Matches:
    """Sources of a set: what is true of them, and what was found; all arrays (n,).

    Attributes
    ----------
    snr : numpy.ndarray
        True.
    found : numpy.ndarray of bool
    difference, pull : dict of str to numpy.ndarray
        Measured minus true (fluxes in units of the true rms, positions in pixels), and that over
        the error that was given; NaN where nothing was found.
    n_spurious : int
        Components of no source.
    megapixels : float
    """

    snr: FloatArray
    found: npt.NDArray[np.bool_]
    difference: dict[str, FloatArray]
    pull: dict[str, FloatArray]
    n_spurious: int
    megapixels: float


def plan_of(name: str, size_px: int) -> FieldPlan:
    """Plan of a set for images of another size."""
    return replace(SETS[name], size_px=size_px)


def field_of(name: str, size_px: int, number: int) -> Field:
    """Image number so-and-so of a set: always the same."""
    seed = [number, size_px, *name.encode()]
    return make_field(plan_of(name, size_px), np.random.default_rng(seed))


def write_field(field: Field, plan: FieldPlan, path: Path) -> None:
    """Write an image as FITS, on the equator, where x is west and y north."""
    header = fits.Header()
    header["CTYPE1"], header["CTYPE2"] = "RA---SIN", "DEC--SIN"
    header["CRVAL1"], header["CRVAL2"] = 180.0, 0.0
    header["CRPIX1"] = header["CRPIX2"] = plan.size_px / 2
    header["CDELT1"], header["CDELT2"] = -_PIXEL_DEG, _PIXEL_DEG
    header["CUNIT1"] = header["CUNIT2"] = "deg"
    header["BMAJ"], header["BMIN"] = (width * _PIXEL_DEG for width in plan.beam_fwhm_px)
    header["BPA"] = plan.beam_theta_deg
    header["BUNIT"], header["TELESCOP"], header["DATE-OBS"] = (
        "Jy/beam",
        "SIM",
        "2024-01-01T00:00:00",
    )
    header["CTYPE3"], header["CRVAL3"], header["CRPIX3"] = "FREQ", 150e6, 1.0
    header["CDELT3"], header["CUNIT3"] = 1e6, "Hz"
    header["CTYPE4"], header["CRVAL4"], header["CRPIX4"], header["CDELT4"] = "STOKES", 1.0, 1.0, 1.0
    header["RESTFRQ"] = 150e6
    fits.PrimaryHDU(field.pixels[None, None], header).writeto(path, overwrite=True)


def match(name: str, field: Field, catalogue: dict[str, FloatArray]) -> Matches:
    """Compare a catalogue with the truth: pairs that are each other's nearest, within 0.6 beams."""
    lower = np.linalg.cholesky(field.beam_covariance_px) * FWHM_PER_SIGMA
    truth = np.linalg.solve(lower, np.stack([field.x, field.y])).T
    places = np.linalg.solve(lower, np.stack([catalogue["x"], catalogue["y"]])).T
    n = len(truth)
    partner = np.full(n, -1)
    if n and len(places):
        distance, nearest = cKDTree(truth).query(places)
        back = cKDTree(places).query(truth)[1]
        mutual = back[nearest] == np.arange(len(places))
        mutual &= distance < _MATCH_BEAMS.get(name, 0.6)
        partner[nearest[mutual]] = np.flatnonzero(mutual)
    found = partner >= 0
    units = {"peak": field.rms, "flux": field.rms, "x": np.ones(n), "y": np.ones(n)}
    difference, pull = {}, {}
    for column in PULLS:
        difference[column] = np.full(n, np.nan)
        pull[column] = np.full(n, np.nan)
        off = catalogue[column][partner[found]] - vars(field)[column][found]
        difference[column][found] = off / units[column][found]
        with np.errstate(divide="ignore", invalid="ignore"):
            pull[column][found] = off / catalogue[f"{column}_err"][partner[found]]
    return Matches(
        field.peak / field.rms,
        found,
        difference,
        pull,
        int(len(places) - np.count_nonzero(found)),
        field.pixels.size / 2**20,
    )


def joined(parts: list[Matches]) -> Matches:
    """Return the matches of several images as one."""
    return Matches(
        np.concatenate([part.snr for part in parts]),
        np.concatenate([part.found for part in parts]),
        *(
            {name: np.concatenate([getattr(part, kind)[name] for part in parts]) for name in PULLS}
            for kind in ("difference", "pull")
        ),
        sum(part.n_spurious for part in parts),
        sum(part.megapixels for part in parts),
    )


def statistics(matches: Matches) -> list[dict[str, Any]]:
    """Completeness, biases, scatters and pulls by significance.

    Scatters and pulls are 1.4826 times the median absolute deviation. The standard error of a pull
    is ``1.17 / sqrt(n)`` (asymptotic, for normal deviates).
    """
    rows = []
    for low, high in BINS:
        chosen = (matches.snr >= low) & (matches.snr < high)
        seen = chosen & matches.found
        row: dict[str, Any] = {
            "snr": [low, high if np.isfinite(high) else None],
            "n": int(chosen.sum()),
            "completeness": _rounded(seen.sum() / max(chosen.sum(), 1), 4),
        }
        if seen.sum() > 2:
            snr = matches.snr[seen]
            for name in ("peak", "flux"):
                off = matches.difference[name][seen]
                row[f"{name}_bias_sigma"] = _rounded(np.median(off), 3)
                row[f"{name}_bias_percent"] = _rounded(100.0 * np.median(off / snr), 3)
                row[f"{name}_scatter_sigma"] = _rounded(_width(off), 2)
            row["pulls"] = [_rounded(_width(matches.pull[name][seen]), 3) for name in PULLS]
            row["pull_error"] = _rounded(1.17 / np.sqrt(seen.sum()), 3)
        rows.append(row)
    return rows


def _width(values: FloatArray) -> float:
    finite = values[np.isfinite(values)]
    if len(finite) == 0:
        return float("nan")
    return float(1.4826 * np.median(np.abs(finite - np.median(finite))))


def _rounded(value: float, digits: int) -> float:
    return round(float(value), digits)

"""Image sets for source finders, and which of their sources a catalogue has."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from astropy.io import fits
from scipy.spatial import cKDTree

from trap_ops.science.beam import FWHM_PER_SIGMA
from trap_ops.simulate.fields import Field, FieldPlan, make_field

FloatArray = npt.NDArray[np.float64]
Catalogue = dict[str, FloatArray]
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
# Sources about the threshold, and the same noise without any.
FAINT, EMPTY = "faint", "empty"
_FAINT_SNR = (3.5, 12.0)
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
    significance : numpy.ndarray
        As the finder judges it; -inf where nothing was found.
    position_unit : numpy.ndarray
        Width (one sigma) of the beam over ``snr``, pixels: the error of a position in white noise
        of the same rms, but for a factor near one.
    spurious : numpy.ndarray, (m,)
        Significances of components of no source.
    """

    snr: FloatArray
    found: npt.NDArray[np.bool_]
    difference: dict[str, FloatArray]
    pull: dict[str, FloatArray]
    significance: FloatArray
    position_unit: FloatArray
    spurious: FloatArray


def plan_of(name: str, size_px: int) -> FieldPlan:
    """Plan of a set for images of another size; ``base-faint`` and ``base-empty`` are sets too."""
    base, _, kind = name.partition("-")
    plan = replace(SETS[base], size_px=size_px)
    if kind == FAINT:
        return replace(plan, snr=_FAINT_SNR)
    return replace(plan, per_megapixel=0.0) if kind == EMPTY else plan


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


def make_image(name: str, size_px: int, number: int, path: Path) -> Field:
    """Write an image of a set; return the truth about it, without its pixels."""
    field = field_of(name, size_px, number)
    write_field(field, plan_of(name, size_px), path)
    return replace(field, pixels=field.pixels[:0])


def match(name: str, field: Field, catalogue: Catalogue) -> Matches:
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
    snr = field.peak / field.rms
    significance = np.full(n, -np.inf)
    significance[found] = catalogue["snr"][partner[found]]
    width = np.linalg.det(field.beam_covariance_px) ** 0.25
    spurious = np.delete(catalogue["snr"], partner[found])
    return Matches(snr, found, difference, pull, significance, width / snr, spurious)


def joined(parts: list[Matches]) -> Matches:
    """Return the matches of several images as one."""

    def all_of(name: str) -> FloatArray:
        return np.concatenate([getattr(part, name) for part in parts])

    def columns(name: str) -> dict[str, FloatArray]:
        return {
            column: np.concatenate([getattr(part, name)[column] for part in parts])
            for column in PULLS
        }

    return Matches(
        snr=all_of("snr"),
        found=np.concatenate([part.found for part in parts]),
        difference=columns("difference"),
        pull=columns("pull"),
        significance=all_of("significance"),
        position_unit=all_of("position_unit"),
        spurious=all_of("spurious"),
    )

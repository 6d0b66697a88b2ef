"""The skies that the search for transients is measured on, and artefacts in place of transients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from astropy.coordinates import GCRS, ICRS, SkyCoord, get_body
from astropy.time import Time, TimeDelta
from astropy.utils import iers
from astropy.wcs import WCS

from trap_ops.science.beam import beam_covariance
from trap_ops.science.model_image import add_gaussians
from trap_ops.simulate.discovery import DiscoveryPlan
from trap_ops.simulate.series import SeriesPlan, SimulatedImage

Spoil = Callable[[SimulatedImage], None]

_FIRST = DiscoveryPlan()
_FIRST = replace(_FIRST, series=replace(_FIRST.series, snr_max=10_000.0))
# Other beam, noise, density (1.4 times), pointings, part of the sky.
_SECOND = DiscoveryPlan(
    series=SeriesPlan(
        n_epochs=24,
        size_px=1280,
        n_steady=1000,
        bmaj_arcsec=40.0,
        bmin_arcsec=25.0,
        bpa_deg=35.0,
        noise="beam-smoothed",
        noise_gradient=3.0,
        snr_min=6.0,
        snr_max=10_000.0,
        pointing_jitter_px=3.0,
        position_jitter_arcsec=1.0,
        start="2026-03-01T00:00:00",
        centre_ra_deg=210.0,
        centre_dec_deg=-30.0,
    )
)
# Whatever varies is beside a source that is brighter than what it varies by.
_CLOSE = replace(
    _FIRST,
    series=replace(_FIRST.series, size_px=1024, n_steady=200, snr_max=100.0),
    n_each=40,
    fork_share=0.0,
    blend_share=0.0,
    edge_share=0.0,
    injected_blend_share=1.0,
    injected_edge_share=0.0,
    injected_blend_beams=(0.8, 2.0),
    neighbour_ratio=(1.0, 10.0),
)
SKIES = {"first": _FIRST, "second": _SECOND}
CLOSE = "close"

# Steady sources on their own, for artefacts.
_STEADY = replace(
    _FIRST,
    series=replace(_FIRST.series, size_px=768, n_epochs=24, n_steady=200, snr_max=1000.0),
    n_each=0,
    fork_share=0.0,
    blend_share=0.0,
    edge_share=0.0,
)
ARTEFACTS = ("sidelobe", "edge", "crowded_image", "fixed_pixel", "solar_system", "blend")


@dataclass(frozen=True)
class Spoiled:
    """A sky where nothing varies, and what makes it look otherwise."""

    plan: DiscoveryPlan
    spoil: Spoil | None


def sky_of(name: str, seed: int) -> DiscoveryPlan:
    """Plan of one of the SKIES, or of CLOSE."""
    plan = _CLOSE if name == CLOSE else SKIES[name]
    return replace(plan, series=replace(plan.series, seed=seed))


def spoiled_sky(veto: str, seed: int) -> Spoiled:
    """Artefacts that a veto is made for, in images of a steady sky."""
    plan = replace(_STEADY, series=replace(_STEADY.series, seed=seed))
    rms, size, n = plan.series.rms_jy, plan.series.size_px, plan.series.n_epochs
    rng = np.random.default_rng([seed, 3])
    if veto == "sidelobe":
        return Spoiled(plan, _sidelobes(rng, rms))
    if veto == "edge":
        return Spoiled(replace(plan, edge_share=0.3), _ragged_edge(rng, rms, n, size))
    if veto == "crowded_image":
        bad, places = n // 3, rng.uniform(20.0, size - 20.0, (2, 40))
        peak = rms * rng.uniform(8.0, 30.0, 40)
        return Spoiled(plan, lambda image: image.epoch == bad and _add(image, *places, peak))
    if veto == "fixed_pixel":
        moving = replace(plan, series=replace(plan.series, pointing_jitter_px=40.0))
        places, peak = rng.uniform(100.0, size - 100.0, (2, 4)), rms * rng.uniform(10.0, 40.0, 4)
        shown = rng.random((n, 4)) < 0.5
        return Spoiled(moving, lambda image: _add(image, *places, peak * shown[image.epoch]))
    if veto == "solar_system":
        return _jupiter(plan)
    return Spoiled(replace(plan, fork_share=1.0), None)


def _add(image: SimulatedImage, x: np.ndarray, y: np.ndarray, peak: np.ndarray) -> None:
    header = image.header
    beam = header["BMAJ"], header["BMIN"], header["BPA"]
    matrix = WCS(header).celestial.pixel_scale_matrix
    add_gaussians(image.pixels, x, y, peak, beam_covariance(*beam, matrix))


def _sidelobes(rng: np.random.Generator, rms_jy: float) -> Spoil:
    """Six bright sources; a third of the images have three spots near each, up to 0.4 per cent."""
    bright = rms_jy * rng.uniform(5_000.0, 20_000.0, 6)

    def spoil(image: SimulatedImage) -> None:
        _add(image, image.x[:6], image.y[:6], bright)
        angle, away = rng.uniform(0.0, 2 * np.pi, (3, 6)), 6.0 * rng.uniform(2.0, 4.5, (3, 6))
        peak = bright * rng.uniform(0.001, 0.004, (3, 6)) * (rng.random(6) < 1.0 / 3.0)
        x, y = image.x[:6] + away * np.cos(angle), image.y[:6] + away * np.sin(angle)
        _add(image, x.ravel(), y.ravel(), peak.ravel())

    return spoil


def _ragged_edge(rng: np.random.Generator, rms_jy: float, n_epochs: int, size_px: int) -> Spoil:
    """Each image begins at another column, and in a third of them something shines at its edge."""
    border = rng.uniform(0.0, 40.0, n_epochs)
    away, y = rng.uniform(0.0, 4.0, (n_epochs, 4)), rng.uniform(20.0, size_px - 20.0, (n_epochs, 4))
    peak = rms_jy * rng.uniform(10.0, 40.0, (n_epochs, 4)) * (rng.random((n_epochs, 1)) < 1.0 / 3.0)

    def spoil(image: SimulatedImage) -> None:
        epoch = image.epoch
        _add(image, border[epoch] + away[epoch], y[epoch], peak[epoch])
        image.pixels[:, : round(border[epoch])] = np.nan

    return spoil


def _jupiter(plan: DiscoveryPlan) -> Spoiled:
    """Jupiter moves through the field, at its apparent places, with 30 times the rms."""
    series = replace(plan.series, cadence_s=6 * 3600.0)
    begin = Time(series.start, scale="utc") + TimeDelta(series.integration_s / 2.0, format="sec")
    times = begin + TimeDelta(np.arange(series.n_epochs) * series.cadence_s, format="sec")
    with iers.conf.set_temp("auto_download", False):
        seen = get_body("jupiter", times, ephemeris="builtin")
        # Its direction from the centre of the Earth; a place at infinity in the axes of ICRS.
        places = SkyCoord(seen.ra, seen.dec, frame=GCRS(obstime=times)).transform_to(ICRS())
    ra, dec = places.ra.deg, places.dec.deg
    middle = series.n_epochs // 2
    series = replace(series, centre_ra_deg=float(ra[middle]), centre_dec_deg=float(dec[middle]))

    def spoil(image: SimulatedImage) -> None:
        wcs = WCS(image.header).celestial
        x, y = wcs.world_to_pixel_values(ra[image.epoch], dec[image.epoch])
        _add(image, np.atleast_1d(x), np.atleast_1d(y), np.array([30.0 * series.rms_jy]))

    return Spoiled(replace(plan, series=series), spoil)

"""A series of simulated images, written as FITS, and its truth as CSV and JSON."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
from astropy.io import fits
from astropy.wcs import WCS
from scipy.spatial import cKDTree

from trap_ops.errors import ConfigError
from trap_ops.science.beam import FWHM_PER_SIGMA, beam_covariance
from trap_ops.science.model_image import add_gaussians
from trap_ops.simulate.noise import NoiseKind, correlated_noise
from trap_ops.simulate.sky import (
    FloatArray,
    SimulatedSky,
    SourceKind,
    transient_light_curves,
    variable_light_curves,
)

TELESCOPE = "SIMULATION"


@dataclass(frozen=True)
class SeriesPlan:
    """What to simulate. Equal plans give equal bytes.

    Attributes
    ----------
    n_epochs, size_px : int
        Number of epochs and side of the square images.
    n_steady, n_variable, n_transient : int
        Number of sources of each kind.
    seed : int
    pixel_arcsec, bmaj_arcsec, bmin_arcsec, bpa_deg : float
        Pixel size; full widths and position angle of the beam at the first frequency (it shrinks
        with frequency as an interferometer's does if ``beam_scales``).
    rms_jy : float
        Noise in the image centre.
    noise : {"beam-smoothed", "natural"}
        See :func:`trap_ops.simulate.noise.correlated_noise`.
    noise_gradient : float
        Ratio of the noise at the image corner to that at the centre; it grows with the distance.
    snr_min, snr_max : float
        Steady sources are log-uniform in signal-to-noise between these, in units of ``rms_jy``.
    frequencies_hz, bandwidth_hz : tuple of float, float
        One image an epoch and frequency.
    cadence_s, integration_s : float
        Time between starts of epochs, integration time.
    start : str
        Start of the first epoch, ISO, UTC.
    skipped_epochs : tuple of int
        Epochs without images: gaps in the series.
    position_jitter_arcsec : float
        Sigma of the astrometric offset of each image, per axis.
    gain_error : float
        Sigma of the flux scale of each image, relative: its pixels are all off by one factor.
    pointing_jitter_px : float
        Sigma of the offset of each image's field centre, per axis; the header tells it truly.
    centre_ra_deg, centre_dec_deg : float
    min_separation_beams : float
        Least distance between two sources, in major axes of the beam. 0 gives blends as they come.
    isolation_beams : float
        Least distance of a variable or transient from any other source: what varies in a blend
        cannot be told.
    edge_px : int
        No source closer than this to the edge.
    """

    n_epochs: int = 24
    size_px: int = 1024
    n_steady: int = 286
    n_variable: int = 10
    n_transient: int = 4
    seed: int = 1
    pixel_arcsec: float = 5.0
    bmaj_arcsec: float = 30.0
    bmin_arcsec: float = 30.0
    bpa_deg: float = 0.0
    beam_scales: bool = False
    rms_jy: float = 1e-3
    noise: NoiseKind = "natural"
    noise_gradient: float = 1.0
    snr_min: float = 12.0
    snr_max: float = 1000.0
    frequencies_hz: tuple[float, ...] = (150e6,)
    bandwidth_hz: float = 2e6
    cadence_s: float = 3600.0
    integration_s: float = 600.0
    start: str = "2026-01-01T00:00:00"
    skipped_epochs: tuple[int, ...] = ()
    position_jitter_arcsec: float = 0.0
    gain_error: float = 0.0
    pointing_jitter_px: float = 0.0
    centre_ra_deg: float = 123.0
    centre_dec_deg: float = 35.0
    min_separation_beams: float = 0.0
    isolation_beams: float = 3.0
    edge_px: int = 20


@dataclass(frozen=True)
class SimulatedImage:
    """One image of a series, in memory."""

    file_name: str
    epoch: int
    frequency_hz: float
    pixels: npt.NDArray[np.float32]
    header: fits.Header
    rms_jy: npt.NDArray[np.float32]
    x: FloatArray
    y: FloatArray


def make_sky(plan: SeriesPlan) -> SimulatedSky:
    """Draw the sources of a plan.

    Raises
    ------
    ConfigError
        If so many sources do not fit with ``min_separation_beams`` between them.
    """
    rng = np.random.default_rng([plan.seed, 0])
    n_sources = plan.n_steady + plan.n_variable + plan.n_transient
    x, y = _scatter(plan, n_sources, rng)
    wcs = field_wcs(plan, 0.0, 0.0)
    ra, dec = wcs.pixel_to_world_values(x, y)
    steady = plan.rms_jy * np.exp(
        rng.uniform(math.log(plan.snr_min), math.log(plan.snr_max), plan.n_steady)
    )
    # Bright enough that tens of per cent are many sigma in every epoch.
    variable_mean = plan.rms_jy * rng.uniform(50.0, 150.0, plan.n_variable)
    variable, shapes = variable_light_curves(variable_mean, plan.n_epochs, rng)
    peak = plan.rms_jy * rng.uniform(25.0, 60.0, plan.n_transient)
    transient = transient_light_curves(peak, plan.n_epochs, rng)
    kinds: list[SourceKind] = (
        ["steady"] * plan.n_steady  # type: ignore[assignment]
        + ["variable"] * plan.n_variable
        + ["transient"] * plan.n_transient
    )
    names = [
        f"{kind}-{index:03d}"
        for kind, count in (
            ("steady", plan.n_steady),
            ("variable", plan.n_variable),
            ("transient", plan.n_transient),
        )
        for index in range(count)
    ]
    return SimulatedSky(
        name=names,
        kind=kinds,
        ra_deg=np.asarray(ra),
        dec_deg=np.asarray(dec),
        flux_jy=np.hstack([np.tile(steady, (plan.n_epochs, 1)), variable, transient]),
        spectral_index=rng.normal(-0.7, 0.2, n_sources),
        shape=["constant"] * plan.n_steady + shapes + ["burst"] * plan.n_transient,
    )


def make_images(plan: SeriesPlan, sky: SimulatedSky) -> Iterator[SimulatedImage]:
    """The images of a plan one by one, in time order, then frequency.

    Each image has a random stream of its own, so that leaving out epochs changes no other image.
    """
    start = datetime.fromisoformat(plan.start)
    for epoch in range(plan.n_epochs):
        if epoch in plan.skipped_epochs:
            continue
        for band, frequency in enumerate(plan.frequencies_hz):
            rng = _stream(plan, epoch, band)
            begin = start + timedelta(seconds=epoch * plan.cadence_s)
            yield _make_image(plan, sky, epoch, frequency, begin, rng)


def write_series(plan: SeriesPlan, directory: Path) -> list[Path]:
    """Write the images of a plan and their truth into a directory.

    A directory that already holds this very plan is left alone, so that a second call is instant.

    Returns
    -------
    list of Path
        The FITS files, in time order.
    """
    plan_file = directory / "plan.json"
    plan_text = json.dumps(asdict(plan), indent=1)
    if plan_file.exists() and plan_file.read_text() == plan_text:
        return sorted(directory.glob("*.fits"))
    paths = write_sky(plan, make_sky(plan), directory)
    # Last: its presence says that the directory is complete.
    plan_file.write_text(plan_text)
    return paths


def write_sky(
    plan: SeriesPlan,
    sky: SimulatedSky,
    directory: Path,
    spoil: Callable[[SimulatedImage], None] | None = None,
) -> list[Path]:
    """Write the images of a plan of any sky, in place of others, and its truth.

    Parameters
    ----------
    plan : SeriesPlan
        Its numbers of sources do not count.
    sky : SimulatedSky
    directory : Path
    spoil : callable, optional
        Changes the pixels of each image before they are written.

    Returns
    -------
    list of Path
        The FITS files, in time order.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for stale in directory.glob("*.fits"):
        stale.unlink()
    paths = []
    images: list[dict[str, object]] = []
    for image in make_images(plan, sky):
        if spoil is not None:
            spoil(image)
        path = directory / image.file_name
        fits.PrimaryHDU(image.pixels[None, None], image.header).writeto(path, overwrite=True)
        paths.append(path)
        flux = sky.flux_at(image.epoch, image.frequency_hz, plan.frequencies_hz[0])
        images.append(
            {
                "file": image.file_name,
                "epoch": image.epoch,
                "start": image.header["DATE-OBS"],
                "frequency_hz": image.frequency_hz,
                "flux_jy": dict(zip(sky.name, flux.tolist(), strict=True)),
            }
        )
    _write_truth(plan, sky, images, directory)
    return paths


def _write_truth(
    plan: SeriesPlan,
    sky: SimulatedSky,
    images: list[dict[str, object]],
    directory: Path,
) -> None:
    with (directory / "truth.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            [
                *("name", "kind", "light_curve", "ra_deg", "dec_deg", "spectral_index"),
                *("flux_min_jy", "flux_mean_jy", "flux_max_jy"),
            ]
        )
        for index, name in enumerate(sky.name):
            flux = sky.flux_jy[:, index]
            writer.writerow(
                [name, sky.kind[index], sky.shape[index]]
                + [repr(float(sky.ra_deg[index])), repr(float(sky.dec_deg[index]))]
                + [f"{sky.spectral_index[index]:.6f}"]
                + [f"{value:.9g}" for value in (flux.min(), flux.mean(), flux.max())]
            )
    truth = {
        "plan": asdict(plan),
        "sources": [
            {"name": n, "kind": k, "light_curve": s, "ra_deg": r, "dec_deg": d}
            for n, k, s, r, d in zip(
                sky.name,
                sky.kind,
                sky.shape,
                sky.ra_deg.tolist(),
                sky.dec_deg.tolist(),
                strict=True,
            )
        ],
        "images": images,
    }
    (directory / "truth.json").write_text(json.dumps(truth, indent=1))


def _make_image(
    plan: SeriesPlan,
    sky: SimulatedSky,
    epoch: int,
    frequency: float,
    begin: datetime,
    rng: np.random.Generator,
) -> SimulatedImage:
    wcs = _pointed(plan, rng)
    scale = plan.frequencies_hz[0] / frequency if plan.beam_scales else 1.0
    beam = (
        plan.bmaj_arcsec / 3600 * scale,
        plan.bmin_arcsec / 3600 * scale,
        plan.bpa_deg,
    )
    covariance = beam_covariance(*beam, wcs.pixel_scale_matrix)
    jitter = rng.normal(0.0, 1.0, 2) * plan.position_jitter_arcsec / plan.pixel_arcsec
    x, y = wcs.world_to_pixel_values(sky.ra_deg, sky.dec_deg)
    x, y = np.asarray(x) + jitter[0], np.asarray(y) + jitter[1]
    shape = (plan.size_px, plan.size_px)
    rms = noise_map(plan)
    pixels = correlated_noise(shape, covariance, plan.noise, rng) * rms
    flux = sky.flux_at(epoch, frequency, plan.frequencies_hz[0])
    add_gaussians(pixels, x, y, flux, covariance)
    if plan.gain_error > 0.0:
        scale_rng = np.random.default_rng([plan.seed, 2, epoch, round(frequency)])
        pixels *= np.float32(1.0 + plan.gain_error * scale_rng.standard_normal())
    header = _header_wcs(wcs, frequency, plan.bandwidth_hz).to_header()
    header["BUNIT"] = "JY/BEAM"
    header["BMAJ"], header["BMIN"], header["BPA"] = beam
    header["TELESCOP"] = TELESCOPE
    header["TIMESYS"] = "UTC"
    header["DATE-OBS"] = begin.isoformat(timespec="microseconds")
    end = begin + timedelta(seconds=plan.integration_s)
    header["END_UTC"] = end.isoformat(timespec="microseconds")
    return SimulatedImage(
        file_name=f"t{epoch:05d}-{frequency / 1e6:.3f}MHz.fits",
        epoch=epoch,
        frequency_hz=frequency,
        pixels=pixels,
        header=header,
        rms_jy=rms,
        x=x,
        y=y,
    )


def _scatter(
    plan: SeriesPlan, n_sources: int, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Random positions at least the wanted distances apart, by throwing again those too close.

    The steady sources are the first ``n_steady``.
    """
    low, high = plan.edge_px, plan.size_px - 1 - plan.edge_px
    beam_px = plan.bmaj_arcsec / plan.pixel_arcsec
    apart = np.full(n_sources, plan.min_separation_beams * beam_px)
    apart[plan.n_steady :] = max(plan.min_separation_beams, plan.isolation_beams) * beam_px
    positions = rng.uniform(low, high, (n_sources, 2))
    for _ in range(1000):
        pairs = cKDTree(positions).query_pairs(float(apart.max(initial=0.0)), output_type="ndarray")
        distance = np.hypot(*(positions[pairs[:, 0]] - positions[pairs[:, 1]]).T)
        # The later one of a pair moves: a variable, if there is one.
        close = distance < np.maximum(apart[pairs[:, 0]], apart[pairs[:, 1]])
        if not close.any():
            return positions[:, 0], positions[:, 1]
        again = np.unique(pairs[close].max(axis=1))
        positions[again] = rng.uniform(low, high, (len(again), 2))
    msg = (
        f"{n_sources} sources do not fit into {plan.size_px} x {plan.size_px} pixels with "
        f"{plan.min_separation_beams} beams between them and {plan.isolation_beams} about each "
        "variable; take fewer sources or smaller distances"
    )
    raise ConfigError(msg, n_sources=n_sources, size_px=plan.size_px)


def noise_map(plan: SeriesPlan) -> npt.NDArray[np.float32]:
    """Rms of the noise in Jy in each pixel, (size_px, size_px)."""
    offset = np.arange(plan.size_px) - (plan.size_px - 1) / 2
    radius2 = (offset[:, None] ** 2 + offset[None, :] ** 2) / (2 * offset[0] ** 2)
    return np.asarray(plan.rms_jy * (1.0 + (plan.noise_gradient - 1.0) * radius2), dtype=np.float32)


def field_wcs(plan: SeriesPlan, shift_x_px: float, shift_y_px: float) -> WCS:
    """Celestial WCS of an image whose field centre is shifted by so many pixels."""
    pixel_deg = plan.pixel_arcsec / 3600.0
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---SIN", "DEC--SIN"]
    wcs.wcs.crval = [
        plan.centre_ra_deg - shift_x_px * pixel_deg / math.cos(math.radians(plan.centre_dec_deg)),
        plan.centre_dec_deg + shift_y_px * pixel_deg,
    ]
    wcs.wcs.crpix = [(plan.size_px + 1) / 2, (plan.size_px + 1) / 2]
    wcs.wcs.cdelt = [-pixel_deg, pixel_deg]
    wcs.wcs.cunit = ["deg", "deg"]
    wcs.wcs.radesys = "ICRS"
    wcs.wcs.set()
    return wcs


def image_wcs(plan: SeriesPlan, epoch: int, band: int = 0) -> WCS:
    """Celestial WCS of an image of the series."""
    return _pointed(plan, _stream(plan, epoch, band))


def _stream(plan: SeriesPlan, epoch: int, band: int) -> np.random.Generator:
    return np.random.default_rng([plan.seed, 1, epoch, band])


def _pointed(plan: SeriesPlan, rng: np.random.Generator) -> WCS:
    """First of what an image draws from its stream."""
    shift_x, shift_y = rng.normal(0.0, 1.0, 2) * plan.pointing_jitter_px
    return field_wcs(plan, shift_x, shift_y)


def _header_wcs(celestial: WCS, frequency_hz: float, bandwidth_hz: float) -> WCS:
    """The celestial WCS with a frequency and a Stokes axis, as imagers write it."""
    wcs = WCS(naxis=4)
    wcs.wcs.ctype = [*celestial.wcs.ctype, "FREQ", "STOKES"]
    wcs.wcs.crval = [*celestial.wcs.crval, frequency_hz, 1.0]
    wcs.wcs.crpix = [*celestial.wcs.crpix, 1.0, 1.0]
    wcs.wcs.cdelt = [*celestial.wcs.cdelt, bandwidth_hz, 1.0]
    wcs.wcs.cunit = ["deg", "deg", "Hz", ""]
    wcs.wcs.radesys = "ICRS"
    wcs.wcs.set()
    return wcs


def beam_fwhm_px(plan: SeriesPlan) -> float:
    """Geometric mean of the beam's full widths in pixels at the first frequency."""
    area = np.linalg.det(
        beam_covariance(
            plan.bmaj_arcsec / 3600,
            plan.bmin_arcsec / 3600,
            plan.bpa_deg,
            field_wcs(plan, 0.0, 0.0).pixel_scale_matrix,
        )
    )
    return float(FWHM_PER_SIGMA * area**0.25)

"""What the stages make of ideal measurements: Gaussian about the truth, with exactly their errors.

No pixels: what a finder would say of ten thousand steady sources is drawn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from astropy.wcs import WCS
from scipy.spatial import cKDTree
from scipy.stats import kstest
from sqlalchemy import func, select

from conftest import new_store
from stages.made_images import HALF_WIDTH_DEG, PIXEL_DEG, MadeImage, Observatory
from trap_ops.records.images import Beam, ImageFile
from trap_ops.records.sky import FitKind, Requests
from trap_ops.records.sources import Sources
from trap_ops.science.coordinates import unit_vectors
from trap_ops.science.measurement import Measurements
from trap_ops.science.sources import blind_sources
from trap_ops.stages.fit_forced import ForcedMeasurements
from trap_ops.store.schema import extractedsource, runningcatalog, varmetric

pytestmark = pytest.mark.slow

BEAM_PX = np.diag([1.6, 1.3]) / 100.0
# The made images are wide for so many sources: with fine pixels and a small beam all are apart.
FINE = 10.0


@dataclass(frozen=True, eq=False)
class Grid:
    """Steady sources in rows and columns; pixels of the made images, Jy; all arrays (n,)."""

    x: np.ndarray
    y: np.ndarray
    flux_jy: np.ndarray

    @classmethod
    def draw(cls, side: int, rng: np.random.Generator) -> Grid:
        """Draw side x side sources of 10 mJy to 1 Jy, well inside the images."""
        place = np.linspace(2.0, 2.0 * HALF_WIDTH_DEG / PIXEL_DEG - 3.0, side)
        x, y = (axis.ravel() for axis in np.meshgrid(place, place))
        return cls(x, y, 10.0 ** rng.uniform(-2.0, 0.0, side**2))


@dataclass(frozen=True, eq=False)
class DrawnImage(MadeImage):
    """An image in which a share of the sources is found, and all can be measured.

    Attributes
    ----------
    sky : Grid
    flux_jy, flux_err_jy : numpy.ndarray, (n,)
        What is measured of each source.
    position_err_px : numpy.ndarray, (n,)
        Sigma of the found position, per axis.
    share : float
    """

    sky: Grid = None  # type: ignore[assignment]
    flux_jy: np.ndarray = None  # type: ignore[assignment]
    flux_err_jy: np.ndarray = None  # type: ignore[assignment]
    position_err_px: np.ndarray = None  # type: ignore[assignment]
    share: float = 1.0

    def header(self) -> ImageFile:
        coarse = super().header()
        beam = Beam(coarse.beam.bmaj_deg / FINE, coarse.beam.bmin_deg / FINE, 0.0)
        pixel = PIXEL_DEG / FINE
        return replace(
            coarse,
            beam=beam,
            pixel_matrix_deg=((-pixel, 0.0), (0.0, pixel)),
            nx=round(coarse.nx * FINE),
            ny=round(coarse.ny * FINE),
        )

    @property
    def wcs(self) -> WCS:
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = ["RA---SIN", "DEC--SIN"]
        wcs.wcs.crval = [self.ra, self.dec]
        wcs.wcs.crpix = [36.5, 36.5]
        wcs.wcs.cdelt = [-PIXEL_DEG, PIXEL_DEG]
        return wcs

    def sources(self) -> Sources:
        rng = np.random.default_rng([self.night, 1])
        n = len(self.sky.x)
        east, north = rng.normal(0.0, self.position_err_px, (2, n))
        return self._measured(self.sky.x + east, self.sky.y + north, rng.random(n) < self.share)

    def fit(self, requests: Requests) -> ForcedMeasurements:
        """Measure the sources that the requests are nearest to, at the requested positions."""
        made = self._measured(self.sky.x, self.sky.y, np.ones(len(self.sky.x), dtype=bool))
        at = unit_vectors(requests.ra_deg, requests.dec_deg)
        nearest = made.take(cKDTree(made.vectors).query(at)[1])
        placed = replace(nearest, ra_deg=requests.ra_deg, dec_deg=requests.dec_deg, vectors=at)
        return ForcedMeasurements(placed, [""] * len(at))

    def _measured(self, x: np.ndarray, y: np.ndarray, chosen: np.ndarray) -> Sources:
        n = len(x)
        none, rms = np.full(n, np.nan), np.full(n, self.rms_jy)
        measurements = Measurements(
            x=x,
            y=y,
            position_covariance=self.position_err_px[:, None, None] ** 2 * np.eye(2),
            peak=self.flux_jy,
            peak_err=self.flux_err_jy,
            flux=self.flux_jy,
            flux_err=self.flux_err_jy,
            shape_covariance=np.broadcast_to(BEAM_PX, (n, 2, 2)),
            shape_error=np.full((n, 3, 3), np.nan),
            background=np.zeros(n),
            rms=rms,
            snr=self.flux_jy / rms,
            chisq=np.ones(n),
            reduced_chisq=np.ones(n),
            resolved_sigma=none,
            island=np.arange(n),
            flags=np.zeros(n, dtype=np.int64),
        )
        return blind_sources(measurements.take(chosen), self.wcs, BEAM_PX, 0.0, 0.0)


def draw_images(sky: Grid, n: int, rng: np.random.Generator, share: float) -> list[DrawnImage]:
    """Draw images with errors that differ by source and by image."""
    images = []
    for night in range(n):
        flux_err = 0.002 * 10.0 ** rng.uniform(-0.5, 0.5, len(sky.x)) * rng.uniform(0.7, 1.4)
        images.append(
            DrawnImage(
                f"{night:02d}.fits",
                night,
                sky=sky,
                flux_jy=rng.normal(sky.flux_jy, flux_err),
                flux_err_jy=flux_err,
                position_err_px=10.0 ** rng.uniform(-2.5, -2.0, len(sky.x)),
                share=share,
            )
        )
    return images


@pytest.fixture
def observatory(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Observatory]:
    with new_store("sqlite", request, tmp_path) as store:
        yield Observatory(store, tmp_path, monkeypatch)


def test_p_values_of_ideal_fluxes_are_uniform(observatory: Observatory) -> None:
    """Of ten thousand light curves of two to six points, blind, forced and backward ones.

    Whether a source is found in an image does not depend on its flux.
    """
    rng = np.random.default_rng(3)
    observatory.run("series", draw_images(Grid.draw(100, rng), 6, rng, share=0.85))
    with observatory.store.read() as connection:
        kinds = dict(
            connection.execute(
                select(extractedsource.c.extract_type, func.count())
                .group_by(extractedsource.c.extract_type)
            ).all()
        )  # fmt: skip
        metrics = connection.execute(select(varmetric)).mappings().all()
    assert min(kinds[kind] for kind in (0, FitKind.FORWARD, FitKind.BACKWARD)) > 1000
    assert len(metrics) == pytest.approx(10_000, abs=20)
    for prefix, number in (("", "f_datapoints"), ("all_", "all_datapoints")):
        counted = sum(kinds.values()) - (0 if prefix else kinds[FitKind.BACKWARD])
        assert sum(row[number] for row in metrics) == counted
        several = [row for row in metrics if row[number] > 1]
        counts = {row[number] for row in several}
        assert counts == ({6} if prefix else set(range(2, 7)))
        p = np.array([row[f"{prefix}p_value"] for row in several])
        assert len(p) > 9900
        assert kstest(p, "uniform").pvalue > 0.01
        # Far out, where candidates are: four standard errors of a share of 1 in 1000.
        assert abs((p < 1e-3).mean() - 1e-3) < 4.0 * np.sqrt(1e-3 / len(p))
        eta = np.array([row[f"{prefix}eta_int"] for row in several])
        freedom = np.array([row[number] for row in several]) - 1
        assert eta.mean() == pytest.approx(1.0, abs=4.0 * np.sqrt((2.0 / freedom).mean() / len(p)))


@pytest.mark.parametrize("limit", [1.5, 2.0, 2.5])
def test_pairs_lost_to_the_de_ruiter_limit(observatory: Observatory, limit: float) -> None:
    """SCIENCE.md 5.1: exp(-R^2), since the classic error radius is a corner distance.

    Nothing else can be taken for a source: the next one is ten times further away.
    """
    rng = np.random.default_rng(4)
    observatory.settings = {
        "association": {"deruiter_radius": limit},
        "forced_fits": {"forward": False, "backward": False},
    }
    sky = Grid.draw(110, rng)
    observatory.run("series", draw_images(sky, 2, rng, share=1.0))
    founding = (
        select(extractedsource.c.image, func.count())
        .join(runningcatalog, runningcatalog.c.xtrsrc == extractedsource.c.id)
        .group_by(extractedsource.c.image)
        .order_by(extractedsource.c.image)
    )
    with observatory.store.read() as connection:
        (_, first), (_, lost) = connection.execute(founding).all()
        assert connection.execute(select(func.count()).select_from(extractedsource)).scalar() == (
            2 * len(sky.x)
        )
    assert first == len(sky.x)
    expected = np.exp(-(limit**2))
    error = np.sqrt(expected * (1.0 - expected) / first)
    assert abs(lost / first - expected) < 3.0 * error, (lost / first, expected, error)

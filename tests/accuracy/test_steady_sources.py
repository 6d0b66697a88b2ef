"""Light curves of steady sources, from simulated images through the finder and all stages.

Chi-squared as it must be, and blind points that say the same as forced ones. ``make test`` has a
few hundred sources; ``make test-long`` ten thousand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree
from sqlalchemy import select

from trap_ops import local
from trap_ops.records.runs import MonitorPosition
from trap_ops.records.sky import FitKind
from trap_ops.science.coordinates import unit_vectors
from trap_ops.simulate.series import SeriesPlan, make_sky, write_series
from trap_ops.store.database import Store
from trap_ops.store.datasets import dataset_id
from trap_ops.store.schema import (
    assocxtrsource,
    extractedsource,
    image,
    runningcatalog,
    varmetric,
)

BLIND = 0
# Datasets of a field: the default threshold, and a lower one; sigma.
THRESHOLDS = {"usual": 8.0, "low": 5.0}


def plan_of(field: int, size_px: int, n_steady: int, n_epochs: int) -> SeriesPlan:
    """A field of steady sources of 8 to 100 sigma, none within the resolution of another."""
    return SeriesPlan(
        n_epochs=n_epochs,
        size_px=size_px,
        n_steady=n_steady,
        n_variable=0,
        n_transient=0,
        seed=700 + field,
        noise="natural" if field % 2 == 0 else "beam-smoothed",
        snr_min=8.0,
        snr_max=100.0,
        min_separation_beams=2.5,
        edge_px=24,
    )


@dataclass(frozen=True)
class Points:
    """All points of all light curves of some datasets; arrays (m,).

    Attributes
    ----------
    source : numpy.ndarray of int
        Simulated source, numbered through all fields.
    image : numpy.ndarray of int
        Likewise.
    kind : numpy.ndarray of int
    flux_jy, flux_err_jy, truth_jy : numpy.ndarray
    """

    source: np.ndarray
    image: np.ndarray
    kind: np.ndarray
    flux_jy: np.ndarray
    flux_err_jy: np.ndarray
    truth_jy: np.ndarray

    def take(self, chosen: np.ndarray) -> Points:
        return Points(**{name: value[chosen] for name, value in vars(self).items()})


@dataclass(frozen=True)
class Steady:
    """What the pipeline made of some fields.

    Attributes
    ----------
    rms_jy : float
    metrics : dict of str to numpy.ndarray, (n,)
        Columns of ``varmetric`` of the detected sources at the usual threshold.
    usual, low : Points
        At the usual threshold, with all true positions monitored; at the low one.
    """

    rms_jy: float
    metrics: dict[str, np.ndarray]
    usual: Points
    low: Points


METRICS = ("eta_int", "p_value", "all_eta_int", "all_p_value", "all_datapoints")


def measure(plans: Sequence[SeriesPlan], n_low: int, directory: Path) -> Steady:
    """Simulate and run all fields, some of them at the low threshold too."""
    metrics, points = [], {name: [] for name in THRESHOLDS}
    for number, plan in enumerate(plans):
        paths = write_series(plan, directory / f"{number}")
        sky = make_sky(plan)
        url = f"sqlite:///{directory / f'{number}.db'}"
        positions = [
            MonitorPosition(ra, dec)
            for ra, dec in zip(sky.ra_deg.tolist(), sky.dec_deg.tolist(), strict=True)
        ]
        for name, threshold in THRESHOLDS.items():
            if name == "low" and number >= n_low:
                continue
            local.run(
                paths,
                name,
                store_url=url,
                overrides={"extraction": {"detection_threshold_sigma": threshold}},
                monitor=positions if name == "usual" else (),
                output_dir=directory,
            )
        store = Store(url)
        tree = cKDTree(unit_vectors(sky.ra_deg, sky.dec_deg))
        for name in THRESHOLDS if number < n_low else ("usual",):
            points[name].append(load_points(store, name, tree, sky.flux_jy[0], number))
        metrics.append(load_metrics(store))
        store.close()
        for path in paths:
            path.unlink()
    return Steady(
        plans[0].rms_jy,
        {name: np.concatenate([m[name] for m in metrics]) for name in METRICS},
        *(
            Points(
                **{
                    name: np.concatenate([getattr(p, name) for p in points[which]])
                    for name in vars(points[which][0])
                }
            )
            for which in THRESHOLDS
        ),
    )


def load_metrics(store: Store) -> dict[str, np.ndarray]:
    with store.read() as connection:
        rows = connection.execute(
            select(varmetric)
            .join(runningcatalog, runningcatalog.c.id == varmetric.c.runcat)
            .where(
                runningcatalog.c.dataset == dataset_id(connection, "usual"),
                ~runningcatalog.c.mon_src,
            )
        ).mappings().all()  # fmt: skip
    return {name: np.array([row[name] for row in rows], dtype=float) for name in METRICS}


def load_points(
    store: Store, dataset: str, tree: cKDTree, truth_jy: np.ndarray, number: int
) -> Points:
    with store.read() as connection:
        rows = connection.execute(
            select(
                extractedsource.c.extract_type,
                extractedsource.c.f_int,
                extractedsource.c.f_int_err,
                runningcatalog.c.wm_ra,
                runningcatalog.c.wm_decl,
                image.c.taustart_ts,
            )
            .join(assocxtrsource, assocxtrsource.c.xtrsrc == extractedsource.c.id)
            .join(runningcatalog, runningcatalog.c.id == assocxtrsource.c.runcat)
            .join(image, image.c.id == extractedsource.c.image)
            .where(runningcatalog.c.dataset == dataset_id(connection, dataset))
        ).all()
    kind, flux, flux_err, ra, dec = np.array([row[:5] for row in rows], dtype=float).T
    source = tree.query(unit_vectors(ra, dec))[1]
    epoch = np.unique([row[5] for row in rows], return_inverse=True)[1]
    return Points(
        source + 100_000 * number,
        epoch + 1000 * number,
        kind.astype(int),
        flux,
        flux_err,
        truth_jy[source],
    )


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((2, 512, 120, 10, 2), id="some", marks=pytest.mark.slow),
        pytest.param(
            (24, 1024, 450, 16, 8),
            id="many",
            marks=[pytest.mark.long, pytest.mark.timeout(7200)],
        ),
    ],
)
def steady(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Steady:
    """Fields, side in pixels, sources a field, epochs, and fields at the low threshold too."""
    n_fields, size_px, n_steady, n_epochs, n_low = request.param
    plans = [plan_of(field, size_px, n_steady, n_epochs) for field in range(n_fields)]
    made = measure(plans, n_low, tmp_path_factory.mktemp("steady"))
    # A source is one light curve, and each has been seen at least once.
    assert len(made.metrics["eta_int"]) == pytest.approx(n_fields * n_steady, rel=0.01)
    assert set(made.metrics["all_datapoints"]) == {n_epochs}
    return made


@pytest.mark.parametrize("prefix", ["", "all_"], ids=["classic", "with backward fits"])
def test_eta_and_p_values(steady: Steady, prefix: str) -> None:
    """The mean of eta, and how often a steady source looks variable at 1 in 1000.

    Of some hundred sources these are known to four standard errors only.
    """
    eta, p = (steady.metrics[f"{prefix}{name}"] for name in ("eta_int", "p_value"))
    several = np.isfinite(p)
    eta, p = eta[several], p[several]
    share, n = (p < 1e-3).mean(), len(p)
    if n < 10_000:
        freedom = steady.metrics["all_datapoints"].max() - 1.0
        assert eta.mean() == pytest.approx(1.0, abs=4.0 * np.sqrt(2.0 / freedom / n))
        assert share < 1e-3 + 4.0 * np.sqrt(1e-3 / n)
        return
    assert 0.95 < eta.mean() < 1.05, eta.mean()
    assert share < 0.002, share


def paired(first: Points, second: Points, scale_jy: tuple[float, float]) -> np.ndarray:
    """Differences of points of the same source in the same image, in errors of the first.

    Of sources whose true flux is between two limits.
    """
    parts = []
    for points in (first, second):
        inside = (points.truth_jy >= scale_jy[0]) & (points.truth_jy < scale_jy[1])
        chosen = points.take(inside)
        keys = chosen.source * 1_000_000 + chosen.image
        # Where light curves share a point it is the same.
        unique, index = np.unique(keys, return_index=True)
        parts.append((unique, chosen.take(index)))
    (keys, one), (other_keys, other) = parts
    _, i, j = np.intersect1d(keys, other_keys, return_indices=True)
    return (one.flux_jy[i] - other.flux_jy[j]) / one.flux_err_jy[i]


def of_kind(points: Points, *kinds: int) -> Points:
    return points.take(np.isin(points.kind, kinds))


def standard_error(values: np.ndarray) -> float:
    return float(values.std() / np.sqrt(len(values)))


def test_blind_and_forced_points_of_bright_sources_have_the_same_mean(steady: Steady) -> None:
    """Four sigma and more above the threshold a source is found whatever the noise does.

    The forced points are those of a monitoring position at the same place. Both kinds see the same
    noise, so that their difference is known much better than either.
    """
    bright = (12.0 * steady.rms_jy, np.inf)
    blind, forced = (of_kind(steady.usual, kind) for kind in (BLIND, FitKind.MONITOR))
    difference = paired(blind, forced, bright)
    # Nothing was selected: there is a blind point for each forced one.
    assert len(difference) > 0.999 * (forced.truth_jy >= bright[0]).sum() > 1000
    assert abs(difference.mean()) < 3.0 * standard_error(difference), difference.mean()
    assert standard_error(difference) < 0.01
    for points in (blind, forced):
        chosen = points.take(points.truth_jy >= bright[0])
        pull = (chosen.flux_jy - chosen.truth_jy) / chosen.flux_err_jy
        assert abs(pull.mean()) < 3.0 * standard_error(pull), pull.mean()


def test_forced_points_of_faint_sources_are_what_a_lower_threshold_finds(steady: Steady) -> None:
    """About the threshold noise decides whether a point is blind: the forced ones are too faint.

    So these are compared with what the finder measures in the same images at a threshold that all
    of them reach. A forced fit is made where the source was seen in other images. Of the flux S
    ``S d^2 / 4 s^2`` is lost at a distance of d, s being the beam's sigma; a single detection has
    ``d^2 = 2 (4/3 s / SNR)^2`` in natural noise and ``4 (s / SNR)^2`` in smoothed noise (see
    ``test_closed_forms``): at most 1 / SNR of the rms is lost.
    """
    faint = (8.0 * steady.rms_jy, 10.0 * steady.rms_jy)
    forced = of_kind(steady.usual, FitKind.FORWARD, FitKind.BACKWARD)
    inside = (forced.truth_jy >= faint[0]) & (forced.truth_jy < faint[1])
    pull = ((forced.flux_jy - forced.truth_jy) / forced.flux_err_jy)[inside]
    assert pull.mean() < -0.5
    difference = paired(of_kind(steady.low, BLIND), forced, faint)
    assert len(difference) > 50
    error = standard_error(difference)
    assert -3.0 * error < difference.mean() < 1.0 / 8.0 + 3.0 * error, (difference.mean(), error)

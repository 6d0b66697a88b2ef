"""What the page about light curves says is so: its numbers are made again, by other means."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from scipy.stats import chi2, kstest, norm
from sqlalchemy import select

from conftest import ROOT
from trap_ops import local
from trap_ops.export.wording import NOT_MEASURED
from trap_ops.records.images import NoiseGrid, NoiseModel
from trap_ops.records.sky import LinkType
from trap_ops.science.beam import beam_covariance
from trap_ops.science.coordinates import separation
from trap_ops.science.curve_memory import measure_shapes
from trap_ops.science.forced_fits import fit_positions
from trap_ops.science.model_image import add_gaussians
from trap_ops.science.noise import gaussian_autocorrelation
from trap_ops.science.variability import (
    add_points,
    empty_sums,
    eta,
    p_value,
    variation,
    weighted_mean_error,
)
from trap_ops.simulate.series import SeriesPlan, make_sky, write_series
from trap_ops.store.database import Store
from trap_ops.store.schema import assocxtrsource, extractedsource, runningcatalog, varmetric

PAGE = (ROOT / "docs" / "science" / "light-curves.md").read_text(encoding="utf-8")
FLAT = " ".join(PAGE.split())


def table(head: str) -> list[list[str]]:
    """Rows of the table whose head begins like this."""
    (body,) = re.findall(rf"^\| {re.escape(head)}.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in body.splitlines()]


def number(cell: str) -> float:
    return float(cell.replace("−", "-").removesuffix("%"))


def said(pattern: str) -> list[float]:
    """Numbers of the groups of a sentence of the page."""
    (found,) = re.findall(pattern, FLAT)
    return [float(word) for word in (found if isinstance(found, tuple) else (found,))]


def test_types_and_reasons_are_those_of_the_code() -> None:
    types = [int(n) for row in table("`type` |") for n in row[0].split(",")]
    assert sorted(types) == sorted(map(int, LinkType))
    reasons = {row[0].strip("`"): row[1] for row in table("reason |")}
    assert set(reasons) == set(NOT_MEASURED)
    assert all(reasons[name].startswith(words) for name, words in NOT_MEASURED.items())


def test_the_example_is_right() -> None:
    (fluxes,) = re.findall(r"^\| S \(mJy\) \|(.*)\|$", PAGE, re.MULTILINE)
    (errors,) = re.findall(r"^\| e \(mJy\) \|(.*)\|$", PAGE, re.MULTILINE)
    s, e = (np.array([float(cell) for cell in row.split("|")]) for row in (fluxes, errors))
    mean, error, eta_said, v, p, per_1000 = said(
        r"weighted mean is ([\d.]+) ± ([\d.]+) mJy, eta ([\d.]+), V ([\d.]+) and p ([\d.]+): of "
        r"1000 steady sources ([\d.]+) "
    )
    # By the formulas of the page.
    w = 1.0 / e**2
    xi = (w * s).sum() / w.sum()
    by_hand = (w * (s - xi) ** 2).sum() / (len(s) - 1)
    chance = chi2.sf(by_hand * (len(s) - 1), len(s) - 1)
    assert [mean, error] == [round(xi, 2), round(w.sum() ** -0.5, 2)]
    assert [eta_said, v] == [round(by_hand, 2), round(s.std(ddof=1) / s.mean(), 3)]
    assert [p, per_1000] == [round(chance, 4), round(1000 * chance, 1)]
    assert said(r"with 300 such light curves that is ([\d.]+),") == [round(300 * chance, 1)]
    # And by the pipeline.
    sums = empty_sums(1)
    add_points(sums, np.zeros(len(s), dtype=np.intp), s, e)
    assert sums.weighted_mean[0] == pytest.approx(xi, rel=1e-12)
    assert weighted_mean_error(sums)[0] == pytest.approx(w.sum() ** -0.5, rel=1e-12)
    assert eta(sums)[0] == pytest.approx(by_hand, rel=1e-12)
    assert variation(sums)[0] == pytest.approx(s.std(ddof=1) / s.mean(), rel=1e-12)
    assert p_value(sums)[0] == pytest.approx(chance, rel=1e-10)
    # The point that stands out: against the mean of the others.
    apart = [
        (s[i] - np.average(np.delete(s, i), weights=np.delete(w, i)))
        / np.sqrt(e[i] ** 2 + 1.0 / np.delete(w, i).sum())
        for i in range(len(s))
    ]
    last, p_point = said(r"`point_sigma` is ([\d.]+), of the last point.*? so that p is ([\d.]+)\.")
    assert last == round(apart[-1], 2) == round(np.abs(apart).max(), 2)
    assert p_point == round(1.0 - (1.0 - 2.0 * norm.sf(apart[-1])) ** len(s), 4)
    shapes = measure_shapes(np.zeros(len(s), dtype=np.intp), s, e, 1)
    assert shapes.point_sigma[0] == pytest.approx(apart[-1], rel=1e-12)


def test_the_law_of_chi_squared() -> None:
    rows = table("points | eta")
    assert [row[0] for row in rows] == ["2", "5", "10", "24", "100", "1000"]
    for points, limit, scatter in rows:
        freedom = int(points) - 1
        assert number(limit) == round(chi2.isf(1e-3, freedom) / freedom, 2)
        assert number(scatter) == round(np.sqrt(2.0 / freedom), 2)
    percents = said(r"\(f = 1\.1\) p is below 0\.001 in ([\d.]+) % .* f = 1\.2 in ([\d.]+) %")
    for factor, percent in zip((1.1, 1.2), percents, strict=True):
        wrong = chi2.sf(chi2.isf(1e-3, 23) / factor**2, 23)
        assert percent == round(100.0 * wrong, 1)
    assert said(r"(\d+) and (\d+) times too many") == [round(10.0 * each) for each in percents]


def light_curves(flux: np.ndarray, error: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """eta and V of light curves (n, points)."""
    sums = empty_sums(len(flux))
    for i in range(flux.shape[1]):
        add_points(sums, np.arange(len(flux)), flux[:, i], error[:, i])
    return eta(sums), variation(sums)


def test_what_eta_and_v_become_when_something_is_wrong() -> None:
    rng = np.random.default_rng(1)
    n, points = 4000, 24
    noise, one = rng.standard_normal((n, points)), np.ones((n, points))

    def mean_eta(flux: np.ndarray) -> float:
        return float(light_curves(flux, one)[0].mean())

    # V of noise, and what a real V adds.
    for snr in (10.0, 100.0):
        assert np.median(light_curves(snr + noise, one)[1]) * snr == pytest.approx(1.0, abs=0.03)
        varying = snr * (1.0 + rng.standard_normal((n, points)) / snr)
        assert mean_eta(varying + noise) == pytest.approx(2.0, abs=0.05)
    # A flux scale that differs by 2 per cent.
    scale = 1.0 + 0.02 * rng.standard_normal((n, points))
    for snr, expected in zip(
        (100.0, 500.0), said(r"make it (\d+) at 100 sigma, (\d+) at"), strict=True
    ):
        assert mean_eta(snr * scale + noise) == pytest.approx(expected, rel=0.03)
    # Errors that are too small, and noise of which half is the same in all images.
    for factor in (1.1, 1.2):
        assert mean_eta(100.0 + factor * noise) == pytest.approx(factor**2, rel=0.02)
    same = rng.standard_normal((n, 1))
    (half,) = said(r"half of the noise \(in variance\) eta is ([\d.]+),")
    assert mean_eta(100.0 + (same + noise) / np.sqrt(2.0)) == pytest.approx(half, rel=0.02)


def test_the_largest_of_all_pairs_of_a_steady_source() -> None:
    rng = np.random.default_rng(2)
    rows = table("points | median")
    assert [row[0] for row in rows] == ["2", "5", "24", "100", "1000"]
    for points, median, above in rows:
        n = int(points)
        # The largest Vs is the range of N normal deviates over sqrt 2.
        chance = chance_of_a_range(n, 4.3 * np.sqrt(2.0))
        assert number(above) / 100.0 == pytest.approx(chance, rel=0.04)
        m = 4000 if n < 1000 else 400
        flux = 100.0 + rng.standard_normal(n * m)
        vs = measure_shapes(np.repeat(np.arange(m), n), flux, np.ones(n * m), m).vs_max
        assert np.median(vs) == pytest.approx(number(median), abs=0.06)
        assert (vs > 4.3).mean() == pytest.approx(chance, abs=4.0 * np.sqrt(chance / m) + 1e-9)


def chance_of_a_range(n: int, width: float) -> float:
    """Chance that the range of n normal deviates is wider, by its integral."""
    x = np.linspace(-9.0, 9.0, 20_001)
    # Of these the lowest is at x, and not all others are within the width of it.
    above = norm.sf(x)
    inside = norm.cdf(x + width) - norm.cdf(x)
    density = n * norm.pdf(x) * (above ** (n - 1) - inside ** (n - 1))
    return float(np.trapezoid(density, x))


def test_what_a_displaced_fit_loses_and_a_neighbour_lends() -> None:
    beam = beam_covariance(6.0, 6.0, 0.0, [[-1.0, 0.0], [0.0, 1.0]])
    grid = NoiseGrid(np.zeros((1, 1)), np.ones((1, 1)), 128.0, 128.0, 256.0, 256.0)
    noise = NoiseModel(grid, gaussian_autocorrelation(beam, 1.0), 1.0, 1.0)

    def fitted(beams: float) -> float:
        """Mean over directions of the flux at so many beams from a source of 100."""
        y, x = np.mgrid[24:256:48, 24:256:48].reshape(2, -1).astype(float)
        data = np.zeros((256, 256), dtype=np.float32)
        add_gaussians(data, x, y, np.full(len(x), 100.0), beam)
        angle = np.linspace(0.0, 2.0 * np.pi, len(x), endpoint=False)
        at = x + 6.0 * beams * np.cos(angle), y + 6.0 * beams * np.sin(angle)
        none = np.zeros(data.shape, dtype=bool)
        made = fit_positions(data, none, *at, noise, beam, margin_px=0, radius_px=0.0)
        return float(made.peak.mean())

    lost = said(r"by 0\.1 beams it loses (\d+) per cent, by 0\.2 beams (\d+), by 0\.3 beams (\d+);")
    for beams, percent in zip((0.1, 0.2, 0.3), lost, strict=True):
        assert round(100.0 - fitted(beams)) == percent
    lent = said(r"of one at half a beam (\d+) per cent of its flux, at one beam (\d+)")
    assert [round(fitted(0.5)), round(fitted(1.0))] == lent


# ---- Steady sources near the threshold, through all stages.

SKY = SeriesPlan(
    n_epochs=24,
    size_px=768,
    n_steady=130,
    n_variable=0,
    n_transient=0,
    seed=42,
    snr_min=6.0,
    snr_max=12.0,
    min_separation_beams=3.0,
)


@pytest.mark.slow
def test_blind_points_near_the_threshold_are_too_high_and_all_together_are_right(
    tmp_path: Path,
) -> None:
    write_series(SKY, tmp_path / "images")
    url = f"sqlite:///{tmp_path / 'results.db'}"
    local.run([tmp_path / "images"], "sky", store_url=url, output_dir=tmp_path)
    truth = json.loads((tmp_path / "images" / "truth.json").read_text())["sources"]
    flux = make_sky(SKY).flux_jy[0]
    query = (
        select(
            assocxtrsource.c.runcat,
            runningcatalog.c.wm_ra,
            runningcatalog.c.wm_decl,
            extractedsource.c.extract_type,
            extractedsource.c.f_int,
            extractedsource.c.f_int_err,
        )
        .join(runningcatalog, runningcatalog.c.id == assocxtrsource.c.runcat)
        .join(extractedsource, extractedsource.c.id == assocxtrsource.c.xtrsrc)
    )
    with Store(url).read() as connection:
        rows = connection.execute(query).all()
        chances = list(connection.execute(select(varmetric.c.all_p_value)).scalars())
    runcat, ra, dec, kind, f_int, error = (np.array(column) for column in zip(*rows, strict=True))
    apart = separation(
        ra[:, None], dec[:, None],
        np.array([source["ra_deg"] for source in truth]),
        np.array([source["dec_deg"] for source in truth]),
    )  # fmt: skip
    nearest = apart.argmin(axis=1)
    assert apart.min(axis=1).max() < 15.0 / 3600.0
    snr = flux[nearest] / SKY.rms_jy
    pull = (f_int - flux[nearest]) / error
    rows_said = {row[0]: row[1:] for row in table("true flux, sigma |")}
    checked = 0
    for name, (blind, forced, _, _) in rows_said.items():
        bounds = [float(word) for word in re.findall(r"\d+", name)]
        if bounds[0] < 6.0 or bounds[0] > 8.0:
            continue  # There are too few of them in one sky.
        inside = (snr >= bounds[0]) & (snr < bounds[1])
        for chosen, expected in ((kind == 0, blind), (kind != 0, forced)):
            found = pull[inside & chosen]
            assert len(found) > 50
            # Where in the bin the sources are makes a difference of its own.
            assert found.mean() == pytest.approx(number(expected), abs=0.3)
            checked += 1
        # Every source has all 24 points, and they have no bias.
        assert abs(pull[inside].mean()) < 4.0 / np.sqrt(inside.sum())
    assert checked == 6
    assert abs(pull[snr > 6.0].mean()) < 3.0 / np.sqrt((snr > 6.0).sum())
    assert kstest(chances, "uniform").pvalue > 0.001
    assert (np.unique(runcat, return_counts=True)[1] == 24).all()


@pytest.mark.slow
@pytest.mark.parametrize("force_beam", [True, False])
def test_a_wide_source_near_the_threshold_varies_if_shapes_are_fitted(
    tmp_path: Path, force_beam: bool
) -> None:
    """Four of 1.5 beams that are steady, each with blind points and forced fits."""
    plan = SeriesPlan(
        n_epochs=12, size_px=260, n_steady=0, n_variable=0, n_transient=0, seed=3
    )  # fmt: skip
    wide = beam_covariance(45.0, 45.0, 0.0, [[-5.0, 0.0], [0.0, 5.0]])
    x, y = np.array([[60.0, 60.0, 200.0, 200.0], [60.0, 200.0, 60.0, 200.0]])
    for path in write_series(plan, tmp_path / "images"):
        with fits.open(path, mode="update") as hdus:
            pixels = hdus[0].data[0, 0].astype(np.float32)
            add_gaussians(pixels, x, y, np.full(4, 8.3e-3), wide)
            hdus[0].data = pixels[None, None]
    url = f"sqlite:///{tmp_path / 'results.db'}"
    settings = {"extraction": {"force_beam": force_beam}}
    local.run([tmp_path / "images"], "w", store_url=url, output_dir=tmp_path, overrides=settings)
    query = (
        select(assocxtrsource.c.runcat, extractedsource.c.extract_type, extractedsource.c.f_int)
        .join(extractedsource, extractedsource.c.id == assocxtrsource.c.xtrsrc)
    )  # fmt: skip
    with Store(url).read() as connection:
        source, kind, flux = (np.array(c) for c in zip(*connection.execute(query), strict=True))
        etas = list(connection.execute(select(varmetric.c.all_eta_int)).scalars())
    mean = {
        (i, blind): 1e3 * flux[(source == i) & ((kind == 0) == blind)].mean()
        for i in np.unique(source).tolist()
        for blind in (True, False)
    }
    assert len(etas) == 4
    low, high, forced, least, most = said(
        r"blind points of (\d+) to (\d+) mJy, forced fits of (\d+) mJy, and eta (\d+) to (\d+)"
    )
    for (_, blind), value in mean.items():
        if blind and not force_beam:
            assert low - 1.0 < value < high + 1.0
        elif not blind:
            assert value == pytest.approx(forced, abs=2.0)
    if force_beam:
        assert said(r"and eta was ([\d.]+) to ([\d.]+)\.") == [
            round(min(etas), 1),
            round(max(etas), 1),
        ]
    else:
        assert [least, most] == [round(min(etas)), round(max(etas))]

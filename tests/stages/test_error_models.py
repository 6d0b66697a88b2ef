"""The scatter of steady sources against their errors, through the real stages and real stores."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import delete, select, update

from conftest import new_store
from stages.conftest import Run, checksum
from stages.made_images import MadeImage, Observatory, Seen, random_images
from trap_ops.commands.__main__ import main
from trap_ops.errors import ConfigError
from trap_ops.export.error_models import in_words
from trap_ops.records.error_model import ErrorModel
from trap_ops.science.candidate_kinds import tell_kinds
from trap_ops.science.judged_errors import judged_errors
from trap_ops.science.variability import add_points, empty_sums, eta, p_value, weighted_mean_error
from trap_ops.simulate.series import SeriesPlan, write_series
from trap_ops.stages import candidate_vetoes
from trap_ops.store.consistency import check_datasets
from trap_ops.store.database import Store
from trap_ops.store.datasets import dataset_id
from trap_ops.store.error_models import list_error_models
from trap_ops.store.schema import (
    assocxtrsource,
    dataset,
    errormodel,
    extractedsource,
    image,
    newsource,
    runningcatalog,
    varmetric,
)

SLOPE, FLOOR = 1.2, 0.03
RMS = 1e-3


def night(seed: int, n_images: int, *, n_variable: int = 12) -> list[MadeImage]:
    """Images of 144 sources with known errors: steady ones, a few variables, one new source."""
    rng = np.random.default_rng([seed, 31])
    offsets = np.linspace(-0.18, 0.18, 12)
    ra, dec = (axis.ravel() for axis in np.meshgrid(10.0 + offsets, 10.0 + offsets))
    level = RMS * np.exp(rng.uniform(np.log(8.0), np.log(300.0), len(ra)))
    level[:n_variable] = 0.05
    images = []
    for number in range(n_images):
        flux = level * (1.0 + FLOOR * rng.standard_normal(len(ra)))
        flux += SLOPE * RMS * rng.standard_normal(len(ra))
        flux[:n_variable] *= rng.uniform(0.5, 1.5, n_variable)
        seen = [
            Seen(*row, error_arcsec=2.0)
            for row in zip(*map(np.ndarray.tolist, (ra, dec, flux)), strict=True)
        ]
        if number >= n_images // 2:
            seen.append(Seen(10.1, 10.016, 0.2 + 0.05 * rng.standard_normal(), 2.0))
        images.append(MadeImage(f"i{number:03d}.fits", number, tuple(seen), rms_jy=RMS))
    return images


def models_of(store: Store, name: str = "series") -> list[ErrorModel]:
    with store.read() as connection:
        return list(list_error_models(connection, dataset_id(connection, name)).values())


@pytest.fixture
def observatory(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Observatory]:
    with new_store("sqlite", request, tmp_path) as store:
        yield Observatory(store, tmp_path, monkeypatch)


def test_slope_and_floor_are_found_told_and_set(observatory: Observatory) -> None:
    store, images = observatory.store, night(1, 14)
    observatory.run("series", images)
    (model,) = models_of(store)
    # The new source has no part in it, nor would it be steady.
    assert model.curves == 144
    assert model.slope == pytest.approx(SLOPE, abs=3.0 * model.slope_err)
    assert model.floor == pytest.approx(FLOOR, abs=3.0 * model.floor_err)
    assert model.slope_err < 0.05
    assert model.floor_err < 0.002
    assert model.variable == pytest.approx(12 / 144, abs=0.02)
    assert model.too_many
    said = in_words(model, "140 MHz")
    assert re.match(
        r"Errors at 140 MHz: the scatter of 13\d steady sources is 1\.\d+ ± ", said.found
    )
    value = re.search(
        r"Set variability.systematic_flux_error = (\S+) in a new dataset\.", said.warning
    )
    assert value
    assert float(value[1]) == pytest.approx(model.floor, rel=0.02)
    assert "errors of the measurements are too small" in said.warning
    # Once it is set the same floor is found, and what is left is the slope.
    observatory.settings = {"variability": {"systematic_flux_error": float(value[1])}}
    observatory.run("set", images)
    (again,) = models_of(store, "set")
    assert again.floor == pytest.approx(model.floor, abs=model.floor_err)
    assert again.slope == pytest.approx(model.slope, abs=model.slope_err)
    assert again.systematic == float(value[1])
    assert again.false_rate < 0.1 * model.false_rate
    assert "in a new dataset" not in in_words(again, "140 MHz").warning
    assert [item.broken for item in check_datasets(store)] == [[], []]


def test_every_statistic_is_of_the_errors_it_is_judged_with(observatory: Observatory) -> None:
    """Recomputed from the stored points, of which none is changed."""
    store, images = observatory.store, random_images(22, 5)
    observatory.run("plain", images)
    observatory.settings = {"variability": {"systematic_flux_error": 0.2}}
    observatory.run("judged", images)
    with store.read() as connection:
        stored = [
            connection.execute(
                select(extractedsource.c.f_int, extractedsource.c.f_int_err)
                .join(image, image.c.id == extractedsource.c.image)
                .where(image.c.dataset == dataset_id(connection, name))
                .order_by(*extractedsource.c["ra", "decl", "extract_type", "f_int"])
            ).all()
            for name in ("plain", "judged")
        ]
        number = dataset_id(connection, "judged")
        points = connection.execute(
            select(
                assocxtrsource.c.runcat, image.c.band, image.c.stokes,
                extractedsource.c.f_int, extractedsource.c.f_int_err,
            )
            .join(extractedsource, extractedsource.c.id == assocxtrsource.c.xtrsrc)
            .join(image, image.c.id == extractedsource.c.image)
            .where(image.c.dataset == number)
            .order_by(
                *image.c["taustart_ts", "freq_eff", "stokes", "file_name", "content_sha256"]
            )
        ).all()  # fmt: skip
        rows = connection.execute(
            select(varmetric)
            .join(runningcatalog, runningcatalog.c.id == varmetric.c.runcat)
            .where(runningcatalog.c.dataset == number, varmetric.c.all_datapoints > 1)
        ).all()
    assert stored[0] == stored[1]
    assert len(rows) > 20
    for row in rows:
        mine = [
            p for p in points if (p.runcat, p.band, p.stokes) == (row.runcat, row.band, row.stokes)
        ]
        flux = np.array([p.f_int for p in mine])
        error = np.array([p.f_int_err for p in mine])
        curve = np.zeros(len(mine), dtype=np.int64)
        sums = empty_sums(1)
        judged = judged_errors(sums, curve, flux, error, 0.2)
        assert (judged > error).all()
        add_points(sums, curve, flux, judged)
        assert row.all_eta_int == pytest.approx(eta(sums)[0], rel=1e-9)
        assert row.all_p_value == pytest.approx(p_value(sums)[0], rel=1e-7)
        assert row.all_wmean_int == pytest.approx(sums.weighted_mean[0], rel=1e-9)
        assert row.all_wmean_int_err == pytest.approx(weighted_mean_error(sums)[0], rel=1e-9)
        pair = max(
            (flux[i] - flux[j]) / np.hypot(judged[i], judged[j])
            for i in range(len(mine))
            for j in range(len(mine))
        )
        assert row.vs_max == pytest.approx(pair, rel=1e-9)
        weight = judged**-2.0
        rest = [np.delete(np.arange(len(mine)), i) for i in range(len(mine))]
        alone = max(
            abs(flux[i] - np.average(flux[o], weights=weight[o]))
            / np.sqrt(judged[i] ** 2 + 1.0 / weight[o].sum())
            for i, o in enumerate(rest)
        )
        assert row.point_sigma == pytest.approx(alone, rel=1e-9)


def test_kinds_and_vetoes_are_told_from_the_same_errors(
    observatory: Observatory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of candidates and their neighbours: with 20 per cent of the mean before each point."""
    seen = []

    def spied(curve: np.ndarray, flux: np.ndarray, error: np.ndarray, n: int) -> Any:
        seen.append((curve, flux, error))
        return tell_kinds(curve, flux, error, n)

    monkeypatch.setattr(candidate_vetoes, "tell_kinds", spied)
    observatory.settings = {
        "variability": {"systematic_flux_error": 0.2},
        "candidates": {"max_expected_false": 1e9},
    }
    observatory.run("series", night(7, 8))
    ((curve, flux, error),) = seen
    assert len(np.unique(curve)) == 145
    plain = np.full(len(flux), RMS)
    judged = judged_errors(empty_sums(145), curve, flux, plain, 0.2)
    assert error == pytest.approx(judged, rel=1e-12)


@pytest.mark.postgres
def test_both_databases_have_the_same_with_a_term(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    term = {"variability": {"systematic_flux_error": 0.05}}
    found = []
    for kind in ("sqlite", "postgres"):
        with new_store(kind, request, tmp_path) as store:
            observatory = Observatory(store, tmp_path, monkeypatch, settings=term)
            observatory.run("series", random_images(22, 4))
            found.append(observatory.run_all("night", [night(6, 5)]))
            found.append(checksum(store))
            assert models_of(store, "night")[0].measured
            assert [item.broken for item in check_datasets(store)] == [[], []]
    assert found[:2] == found[2:]


@pytest.mark.parametrize("seed", [22, pytest.param(40, marks=pytest.mark.long)])
def test_with_a_term_any_way_to_the_dataset_gives_the_same(
    seed: int, observatory: Observatory
) -> None:
    """In one run, in time order, and shuffled: late images, forks, new bands, backward fits."""
    observatory.settings = {"variability": {"systematic_flux_error": 0.05}}
    images = random_images(seed, 6)
    in_time = sorted(images, key=lambda item: item.night)
    whole = observatory.run_all("whole", [images])
    assert observatory.run_all("nights", [in_time[:5], in_time[5:9], in_time[9:]]) == whole
    assert observatory.run_all("shuffled", [images[::3], images[1::3], images[2::3]]) == whole
    assert [item.broken for item in check_datasets(observatory.store)] == [[], [], []]
    observatory.settings = {}
    assert observatory.run_all("without", [images]) != whole


def test_withdrawn_images_leave_no_trace_in_it(observatory: Observatory) -> None:
    images = night(2, 10)
    # A band of its own, which goes with its only image.
    other = replace(images[3], name="other.fits", freq_hz=180e6)
    without = observatory.run_all("without", [images])
    observatory.run("series", [*images, other])
    assert [model.curves for model in models_of(observatory.store)] == [144, 0]
    observatory.change("series", withdraw=[other.path])
    assert checksum(observatory.store) == without
    assert models_of(observatory.store) == models_of(observatory.store, "without")


def test_the_checksum_covers_it(observatory: Observatory) -> None:
    before = observatory.run_all("series", [night(3, 6)])
    with observatory.store.write() as connection:
        connection.execute(update(errormodel).values(floor=errormodel.c.floor + 1e-9))
    assert checksum(observatory.store) != before


def test_a_changed_term_is_refused_and_says_what_to_do(observatory: Observatory) -> None:
    """Settings belong to a dataset: sums with two kinds of errors in them would mean nothing."""
    images = night(4, 4)
    before = observatory.run_all("series", [images[:3]])
    observatory.settings = {"variability": {"systematic_flux_error": 0.02}}
    with pytest.raises(
        ConfigError,
        match=r"(?s)variability.systematic_flux_error: 0.0 -> 0.02.*another dataset name",
    ):
        observatory.run("series", images)
    assert checksum(observatory.store) == before


def test_errors_of_another_term_are_found_by_the_check(observatory: Observatory) -> None:
    observatory.run("series", random_images(22, 6))
    store = observatory.store
    with store.write() as connection:
        settings = json.loads(connection.execute(select(dataset.c.settings)).scalar_one())
        settings["variability"]["systematic_flux_error"] = 0.01
        connection.execute(update(dataset).values(settings=json.dumps(settings)))
    (found,) = check_datasets(store)
    broken = {item.invariant.name for item in found.broken}
    assert broken == {"flux-means", "running-statistics", "varmetric-values", "error-models"}


def test_a_dataset_of_an_earlier_version_needs_none(observatory: Observatory) -> None:
    observatory.run("series", night(5, 3))
    store = observatory.store
    with store.write() as connection:
        connection.execute(delete(errormodel))
    (found,) = check_datasets(store)
    assert [item.invariant.name for item in found.broken] == ["error-models"]
    with store.write() as connection:
        settings = json.loads(connection.execute(select(dataset.c.settings)).scalar_one())
        del settings["variability"]
        connection.execute(update(dataset).values(settings=json.dumps(settings)))
    assert [item.broken for item in check_datasets(store)] == [[]]


def test_a_dataset_without_sky_sources_has_none(observatory: Observatory) -> None:
    observatory.run("series", [MadeImage("empty.fits", 0)])
    assert models_of(observatory.store) == []
    observatory.run(
        "few", [MadeImage(f"{n}.fits", n, (Seen(10.0, 10.0, 0.05 + 0.001 * n),)) for n in range(3)]
    )
    (model,) = models_of(observatory.store, "few")
    assert (model.curves, model.measured) == (1, False)
    assert in_words(model, "140 MHz").found == (
        "Errors at 140 MHz: 1 light curve of sources that may be steady; at least 20 are needed to "
        "compare their scatter with their errors"
    )
    assert [item.broken for item in check_datasets(observatory.store)] == [[], []]


# ---- With pixels.


def scales(plan: SeriesPlan, images: list[Path], directory: Path) -> float:
    """Standard deviation of the flux scales of images, from the same images without."""
    from astropy.io import fits

    right = write_series(replace(plan, gain_error=0.0), directory)
    peaks = [[np.nanmax(fits.getdata(path)) for path in paths] for paths in (images, right)]
    ratio = np.array(peaks[0]) / np.array(peaks[1])
    return float(np.std(ratio, ddof=1))


def p_values(store: Store) -> np.ndarray:
    query = select(varmetric.c.all_p_value).where(varmetric.c.all_datapoints > 1)
    with store.read() as connection:
        return np.array(connection.execute(query).scalars().all())


def of_field(seed: int, gain_error: float, run: Run, store: Store, directory: Path) -> Any:
    """Share of p-values below 0.001 of a field's sources without and with the term that is told."""
    plan = SeriesPlan(
        n_epochs=12, size_px=512, n_steady=190, n_variable=0, n_transient=0, seed=seed,
        snr_min=8.0, snr_max=400.0, min_separation_beams=2.0, gain_error=gain_error,
    )  # fmt: skip
    images = write_series(plan, directory / f"field{seed}")
    run(store, images, f"plain{seed}")
    (model,) = models_of(store, f"plain{seed}")
    plain = p_values(store)
    # As many as stand in the message.
    term = {"variability": {"systematic_flux_error": float(f"{model.floor:.2g}")}}
    with store.write() as connection:
        connection.execute(delete(varmetric))
    run(store, images, f"set{seed}", term)
    return model, plain, p_values(store), scales(plan, images, directory / f"right{seed}")


@pytest.mark.parametrize(
    "gain_error", [0.03, *(pytest.param(gain, marks=pytest.mark.long) for gain in (0.02, 0.05))]
)
def test_a_flux_scale_that_varies_is_measured_and_mended(
    gain_error: float, run: Run, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with new_store("sqlite", request, tmp_path) as store:
        model, plain, judged, scale = of_field(3, gain_error, run, store, tmp_path)
        assert len(plain) == len(judged) >= 185
        assert model.floor == pytest.approx(scale, abs=0.002 + 0.03 * scale)
        assert model.slope == pytest.approx(1.0, abs=0.1)
        assert model.too_many
        assert np.mean(plain < 0.001) > 0.3
        assert np.mean(plain < 0.001) == pytest.approx(model.false_rate, rel=0.15)
        assert np.mean(judged < 0.001) < 0.006  # One of 190: the next test has more.
        (again,) = models_of(store, "set3")
        assert not again.misleading
        assert again.floor == pytest.approx(model.floor, rel=0.05)


@pytest.mark.long
@pytest.mark.parametrize("gain_error", [0.0, 0.02, 0.05])
def test_of_many_steady_sources_few_have_small_p_values(
    gain_error: float, run: Run, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """5,700 sources in 30 fields: below 0.002 at p = 0.001, whatever the flux scale does."""
    shares = []
    for seed in range(100, 130):
        with new_store("sqlite", request, tmp_path) as store:
            shares.append(of_field(seed, gain_error, run, store, tmp_path)[2])
    assert np.mean(np.concatenate(shares) < 0.001) < 0.002


# ---- As it is shown.


def test_the_terminal_says_whether_errors_are_right(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with new_store("sqlite", request, tmp_path) as store:
        with pytest.MonkeyPatch.context() as patch:
            Observatory(store, tmp_path, patch).run("series", night(1, 14))
        monkeypatch.setenv("TRAP_DB", store.url.render_as_string())
        monkeypatch.setenv("TRAP_VAR", str(tmp_path / "var"))
        with store.read() as connection:
            name = connection.execute(
                select(runningcatalog.c.source_name).where(
                    runningcatalog.c.id.not_in(select(newsource.c.runcat))
                )
            ).scalars().first()  # fmt: skip
        (model,) = models_of(store)
        said = in_words(model, "140 MHz")
        assert main(["report", "series"]) == 0
        assert f"{said.found}. {said.warning}\n" in capsys.readouterr().out
        (page,) = (tmp_path / "var" / "reports" / "series").glob("*.html")
        html = page.read_text()
        assert f'<p>{said.found}. <span class="bad">{said.warning}</span></p>' in html
        assert main(["lightcurve", name, "--dataset", "series"]) == 0
        assert f"{said.found}. {said.warning}\n" in capsys.readouterr().out
        with store.write() as connection:
            connection.execute(update(errormodel).values(false_rate_low=0.0005))
        assert main(["lightcurve", name, "--dataset", "series"]) == 0
        assert "p-values are too small" not in capsys.readouterr().out

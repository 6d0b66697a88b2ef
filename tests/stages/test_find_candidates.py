"""Candidates of small series with planted variables and artefacts: kinds, vetoes, order."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from sqlalchemy import Row, select, update

from stages.conftest import Run, checksum, counts
from trap_ops.science.artefacts import crowded
from trap_ops.science.beam import beam_covariance
from trap_ops.science.model_image import add_gaussians
from trap_ops.simulate.series import SeriesPlan, write_series
from trap_ops.store.candidates import list_candidates
from trap_ops.store.database import Store
from trap_ops.store.datasets import dataset_id
from trap_ops.store.schema import (
    assocxtrsource,
    candidate,
    extractedsource,
    image,
    newsource,
    runningcatalog,
    runningcatalog_flux,
    varmetric,
)

pytestmark = pytest.mark.slow

PLAN: dict[str, Any] = {
    "n_epochs": 8, "size_px": 220, "n_steady": 8, "n_variable": 0, "n_transient": 0, "seed": 31,
    "snr_min": 15.0, "snr_max": 40.0, "min_separation_beams": 4.0, "edge_px": 60,
}  # fmt: skip
RMS = 1e-3
BEAM = beam_covariance(30.0, 30.0, 0.0, [[-5.0, 0.0], [0.0, 5.0]])
QUIET = np.full(8, 30.0)
BURST = np.where(np.arange(8) == 5, 40.0, 0.0)


def series(
    directory: Path,
    added: Sequence[tuple[float, float, Any]] = (),
    fixed: Sequence[tuple[float, float, Any]] = (),
    **changed: Any,
) -> list[Path]:
    """Images of steady sources and others: (x, y, flux of each epoch in rms).

    Those of ``added`` are at pixels of the nominal pointing, of ``fixed`` at pixels of each image.
    """
    paths = write_series(SeriesPlan(**{**PLAN, **changed}), directory)
    nominal = WCS(fits.getheader(paths[0])).celestial
    nominal.wcs.crpix = [110.5, 110.5]
    plan = SeriesPlan(**{**PLAN, **changed})
    nominal.wcs.crval = [plan.centre_ra_deg, plan.centre_dec_deg]
    for epoch, path in enumerate(paths):
        with fits.open(path, mode="update") as hdus:
            pixels = hdus[0].data[0, 0].astype(np.float32)
            here = WCS(hdus[0].header).celestial
            places = [here.world_to_pixel_values(*nominal.pixel_to_world_values(x, y))
                      for x, y, _ in added]  # fmt: skip
            places += [(x, y) for x, y, _ in fixed]
            for (x, y), (*_, flux) in zip(places, [*added, *fixed], strict=True):
                if flux[epoch] != 0.0:
                    peak = np.array([flux[epoch] * RMS])
                    add_gaussians(pixels, np.array([float(x)]), np.array([float(y)]), peak, BEAM)
            hdus[0].data = pixels[None, None]
    return paths


def ranked(store: Store) -> Sequence[Row[Any]]:
    with store.read() as connection:
        return connection.execute(
            select(candidate, runningcatalog.c.wm_ra, runningcatalog.c.wm_decl)
            .join(runningcatalog, runningcatalog.c.id == candidate.c.runcat)
            .order_by(candidate.c.rank)
        ).all()


def vetoes(rows: Sequence[Row[Any]]) -> list[str]:
    return [row.veto for row in rows]


NO_MARGIN: Mapping[str, Any] = {"extraction": {"margin_px": 0}}


def test_kinds_and_their_order(store: Store, tmp_path: Path, run: Run) -> None:
    curves = {
        "flare": QUIET + np.where(np.arange(8) == 4, 50.0, 0.0),
        "vanished": np.where(np.arange(8) < 4, 40.0, 0.0),
        "fading": 90.0 * 0.8 ** np.arange(8),
        "variable": QUIET + 12.0 * (-1.0) ** np.arange(8),
        "new source": BURST,
    }
    added = [(35.0 + 35.0 * i, 30.0, flux) for i, flux in enumerate(curves.values())]
    reports = run(store, series(tmp_path / "images", added))
    rows = ranked(store)
    order = np.argsort([row.wm_ra for row in rows])[::-1]
    assert [rows[i].kind for i in order] == list(curves)
    assert vetoes(rows) == [""] * 5
    assert [row.rank for row in rows] == [1, 2, 3, 4, 5]
    assert (np.diff([row.score for row in rows]) <= 0).all()
    found = counts(reports, "find_candidates")
    assert {name: found[name] for name in ("flares", "vanished", "fading", "variables")} == {
        "flares": 1, "vanished": 1, "fading": 1, "variables": 1,
    }  # fmt: skip
    assert found["new sources"] == 1
    assert found["possible artefacts"] == 0
    for row in rows:
        said = " ".join(json.loads(row.reasons))
        assert row.kind.split()[0] in said or row.kind == "variable", said
        assert "Vs " in said
        assert row.statistic in {"eta", "point", "run", "step"}
    with store.read() as connection:
        listed = list_candidates(connection, dataset_id(connection, "series"))
        metrics = {row.runcat: row for row in connection.execute(select(varmetric))}
        fluxes = {row.runcat: row for row in connection.execute(select(runningcatalog_flux))}
    # 50 rms and more between two epochs, each with an error of 1.
    assert max(listed["vs_max"]) > 30.0
    for name in ("point_sigma", "run_sigma", "step_sigma", "vs_max", "m_vs_max"):
        assert all(getattr(metrics[i], name) == getattr(fluxes[i], name) for i in metrics), name


PLANTED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "sidelobe": (
        {"added": [(60.0, 30.0, np.full(8, 9000.0)), (60.0 + 24.0, 30.0, BURST)]},
        {"sidelobe_radius_beams": 3.0},
    ),
    "edge": ({"added": [(110.0, 4.5, BURST)]}, {}),
    "crowded_image": (
        {"added": [(30.0 + 30.0 * i, 30.0, BURST) for i in range(6)]},
        {"crowded_image_sources": 7},
    ),
    "fixed_pixel": (
        {
            "fixed": [(30.0, 30.0, np.where(np.arange(8) % 2 == 1, 40.0, 0.0))],
            "pointing_jitter_px": 15.0,
        },
        {"fixed_pixel_sources": 7},
    ),
    "solar_system": ({"added": [(110.0, 30.0, BURST)]}, {}),
}


@pytest.mark.parametrize("veto", PLANTED)
def test_planted_artefacts_have_their_veto(
    store: Store, tmp_path: Path, run: Run, veto: str
) -> None:
    """And stand behind a real flare that is less significant; with other limits they have none."""
    planted, free = PLANTED[veto]
    planted = dict(planted)
    if veto == "solar_system":
        planted |= _at_jupiter()
    flare = (190.0, 190.0, QUIET + np.where(np.arange(8) == 4, 15.0, 0.0))
    added = [*planted.pop("added", ()), flare]
    paths = series(tmp_path / "images", added, planted.pop("fixed", ()), **planted)
    run(store, paths, overrides=NO_MARGIN)
    rows = ranked(store)
    assert len(rows) > 1
    assert rows[0].veto == "", vetoes(rows)
    assert rows[0].kind == "flare"
    assert all(veto in row.veto.split() for row in rows[1:]), vetoes(rows)
    assert all(row.score > rows[0].score for row in rows[1:])
    assert all(f"may be an artefact ({veto})" in row.reasons for row in rows[1:])
    before = [(row.runcat, row.kind, row.score) for row in rows]
    others = [name for name in (*PLANTED, "blend") if name != veto]
    for settings in ({"vetoes": others}, free):
        if settings:
            again = f"again-{len(settings)}-{'vetoes' in settings}"
            run(store, paths, again, overrides={**NO_MARGIN, "candidates": settings})
            with store.read() as connection:
                found = list_candidates(connection, dataset_id(connection, again))
            assert not any(veto in item.split() for item in found["veto"])
            assert len(found["rank"]) == len(before)


def _at_jupiter() -> dict[str, Any]:
    """Field that has Jupiter at pixel (110, 30) in the sixth image."""
    from astropy.coordinates import get_body
    from astropy.time import Time

    body = get_body("jupiter", Time("2026-01-01T05:05:00"), ephemeris="builtin")
    return {
        "centre_ra_deg": float(body.ra.deg),
        "centre_dec_deg": float(body.dec.deg) + 80.0 * 5.0 / 3600.0,
    }


def test_the_checksum_has_vetoes_and_shapes(store: Store, tmp_path: Path, run: Run) -> None:
    run(store, series(tmp_path / "images", [(110.0, 110.0, BURST)]))
    before = checksum(store)
    for table, change in (
        (candidate, {"veto": "edge"}),
        (candidate, {"statistic": "run"}),
        (candidate, {"kind": "flare"}),
        (varmetric, {"vs_max": 1.0}),
        (runningcatalog_flux, {"step_sigma": 1.0}),
    ):
        with store.engine.connect() as connection:
            connection.execute(update(table).values(**change))
            connection.commit()
        after = checksum(store)
        assert after != before, change
        before = after


def test_faint_sources_that_an_image_has_just_missed_do_not_make_the_next_one_crowded(
    store: Store, tmp_path: Path, run: Run
) -> None:
    """By all new sources the second image is: but what is new in it is steady in all images."""
    burst = np.where(np.arange(8) == 1, 40.0, 0.0)
    paths = series(
        tmp_path / "images", [(25.0, 25.0, burst), (195.0, 195.0, burst)], n_steady=50, snr_min=4.5,
        snr_max=6.0, min_separation_beams=3.0, edge_px=20,
    )  # fmt: skip
    low = {"detection_threshold_sigma": 5.0, "margin_px": 0}
    run(store, paths, overrides={"extraction": low, "new_sources": {"sigma_margin": 0.0}})
    with store.read() as connection:
        images = connection.execute(select(image.c.id).order_by(image.c.taustart_ts)).scalars()
        place = {number: i for i, number in enumerate(images)}
        first = connection.execute(
            select(extractedsource.c.image).join(
                newsource, newsource.c.trigger_xtrsrc == extractedsource.c.id
            )
        ).scalars()
        count = np.bincount([place[number] for number in first], minlength=8)
    assert crowded(count, 1e-3, 5)[1], count
    rows = ranked(store)
    assert [row.kind for row in rows] == ["new source"] * 2
    assert vetoes(rows) == ["", ""]


def test_bright_sources_at_the_margin_do_not_vary_by_what_forced_fits_lose(
    store: Store, tmp_path: Path, run: Run
) -> None:
    """They are found where the sky is displaced inwards; fits in other images miss them by that."""
    away = np.where(np.arange(8) % 2 == 0, 0.3, -0.3)
    steady = [(12.75 + away[i], 110.0, np.where(np.arange(8) == i, 400.0, 0.0)) for i in range(8)]
    flare = (190.0, 190.0, QUIET + np.where(np.arange(8) == 4, 11.0, 0.0))
    paths = series(tmp_path / "images", [*steady, flare])
    margin = {"extraction": {"margin_px": 10}}
    run(store, paths, overrides=margin)
    rows = ranked(store)
    assert vetoes(rows) == ["", "edge"]
    assert rows[1].score > rows[0].score
    trusting = {**margin, "candidates": {"displacement_beams": 0.0}}
    run(store, paths, "trusted", overrides=trusting)
    with store.read() as connection:
        listed = list_candidates(connection, dataset_id(connection, "trusted"))
    assert listed["veto"] == ["", ""]


def test_a_burst_before_a_fork_is_one_candidate_without_a_veto(
    store: Store, tmp_path: Path, run: Run
) -> None:
    """A second source is there from the sixth image on, and gets the first one's history."""
    when = np.arange(8)
    first = (110.0, 30.0, QUIET + np.where(when == 2, 40.0, 0.0))
    second = (118.5, 30.0, np.where(when >= 5, 30.0, 0.0))
    paths = series(tmp_path / "images", [first, second])
    run(store, paths, overrides={"association": {"deruiter_radius": 20.0}})
    rows = ranked(store)
    assert vetoes(rows) == ["", "blend"]
    assert "a branch of a fork" in rows[1].reasons
    # What the first branch has is not taken from it.
    assert rows[0].kind == "flare"
    assert rows[0].score == pytest.approx(rows[1].score, rel=0.2)


def test_a_burst_that_outshines_its_neighbour_has_no_veto(
    store: Store, tmp_path: Path, run: Run
) -> None:
    """Where it shines its neighbour is not detected: all detections change by less than half."""
    burst = (116.3, 30.0, np.where(np.arange(8) == 5, 40.0, 0.0))
    run(store, series(tmp_path / "images", [(110.0, 30.0, np.full(8, 25.0)), burst]))
    rows = ranked(store)
    assert vetoes(rows) == [""]
    assert rows[0].kind == "new source"
    with store.read() as connection:
        blind = connection.execute(
            select(assocxtrsource.c.runcat)
            .join(extractedsource, extractedsource.c.id == assocxtrsource.c.xtrsrc)
            .where(assocxtrsource.c.runcat == rows[0].runcat, extractedsource.c.extract_type == 0)
        ).all()
    assert len(blind) == 1

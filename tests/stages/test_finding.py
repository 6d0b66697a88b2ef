"""Settings of extraction and forced fits, from a configuration through the stages to the store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from sqlalchemy import Row, select

from stages.conftest import Run, counts
from trap_ops.config.model import ExtractionConfig
from trap_ops.records.images import NoiseGrid
from trap_ops.records.runs import MonitorPosition
from trap_ops.records.sources import Flag
from trap_ops.science.beam import beam_covariance
from trap_ops.science.coordinates import separation
from trap_ops.science.detection import false_detection_threshold
from trap_ops.science.extraction import extract
from trap_ops.science.model_image import add_gaussians
from trap_ops.simulate.series import SeriesPlan, field_wcs, write_series
from trap_ops.store.database import Store
from trap_ops.store.schema import (
    assocxtrsource,
    candidate,
    extractedsource,
    forcedfit,
    image,
    monitor,
    newsource,
    runningcatalog,
    varmetric,
)

pytestmark = pytest.mark.slow

PLAN = SeriesPlan(
    n_epochs=4,
    size_px=220,
    n_steady=12,
    n_variable=0,
    n_transient=0,
    seed=21,
    snr_min=15.0,
    snr_max=60.0,
    min_separation_beams=4.0,
    edge_px=30,
)
RMS = PLAN.rms_jy
BEAM = beam_covariance(30.0, 30.0, 0.0, [[-5.0, 0.0], [0.0, 5.0]])
WCS = field_wcs(PLAN, 0.0, 0.0)
BEAM_DEG = 30.0 / 3600.0


def series(
    directory: Path, plan: SeriesPlan = PLAN, added: Sequence[tuple[float, float, Any]] = ()
) -> tuple[list[Path], np.ndarray, np.ndarray]:
    """Images of steady sources, and of more: (x, y, flux of each epoch). RA and Dec of the first.

    A flux is in units of the rms.
    """
    paths = write_series(plan, directory)
    for epoch, path in enumerate(paths):
        with fits.open(path, mode="update") as hdus:
            pixels = hdus[0].data[0, 0].astype(np.float32)
            for x, y, flux in added:
                peak = np.array([flux[epoch] * RMS])
                add_gaussians(pixels, np.array([x]), np.array([y]), peak, BEAM)
            hdus[0].data = pixels[None, None]
    sources = json.loads((directory / "truth.json").read_text())["sources"]
    return (
        paths,
        np.array([source["ra_deg"] for source in sources]),
        np.array([source["dec_deg"] for source in sources]),
    )


def rows_of(store: Store, *columns: Any, where: Any = None) -> Sequence[Row[Any]]:
    statement = select(*columns)
    with store.read() as connection:
        return connection.execute(statement if where is None else statement.where(where)).all()


def at(store: Store, x: float, y: float) -> int:
    """Sky source at a pixel."""
    ra, dec = (float(value) for value in WCS.pixel_to_world_values(x, y))
    known = rows_of(store, runningcatalog.c.id, runningcatalog.c.wm_ra, runningcatalog.c.wm_decl)
    near = [row.id for row in known if separation(ra, dec, row.wm_ra, row.wm_decl) < 0.5 * BEAM_DEG]
    assert len(near) == 1, (x, y, len(near))
    return int(near[0])


def points(store: Store, source: int) -> Sequence[Row[Any]]:
    """Light curve of a sky source, in time order."""
    with store.read() as connection:
        return connection.execute(
            select(extractedsource)
            .join(assocxtrsource, assocxtrsource.c.xtrsrc == extractedsource.c.id)
            .join(image, image.c.id == extractedsource.c.image)
            .where(assocxtrsource.c.runcat == source)
            .order_by(image.c.taustart_ts)
        ).all()


def test_masked_circles_hold_no_source_and_no_fit(store: Store, tmp_path: Path, run: Run) -> None:
    """One holds a source that is monitored; one empty sky."""
    paths, ra, dec = series(tmp_path / "images")
    radius = 1.5 * BEAM_DEG
    circle = {"ra_deg": ra[0], "dec_deg": dec[0], "radius_deg": radius}
    empty = {
        "ra_deg": PLAN.centre_ra_deg + 0.02,
        "dec_deg": PLAN.centre_dec_deg,
        "radius_deg": 0.02,
    }
    settings = {"extraction": {"mask_circles": [circle, empty]}}
    beside = MonitorPosition(float(ra[1]), float(dec[1]), "beside")
    watched = [MonitorPosition(float(ra[0]), float(dec[0]), "masked"), beside]
    reports = run(store, paths, overrides=settings, monitor=watched)
    assert counts(reports, "extract_sources")["images"] == PLAN.n_epochs
    found = rows_of(store, extractedsource.c.ra, extractedsource.c.decl)
    assert len(found) >= (len(ra) - 1) * PLAN.n_epochs
    for masked in (circle, empty):
        away = [separation(masked["ra_deg"], masked["dec_deg"], row.ra, row.decl) for row in found]
        assert min(away) > masked["radius_deg"]
    fitted = rows_of(
        store, monitor.c.name, forcedfit.c.status, forcedfit.c.reason, forcedfit.c.xtrsrc,
        where=forcedfit.c.monitor == monitor.c.id,
    )  # fmt: skip
    assert len(fitted) == 2 * PLAN.n_epochs
    for name, status, reason, measurement in fitted:
        if name == "masked":
            assert (status, reason, measurement) == ("failed", "masked", None)
        else:
            assert (status, reason) == ("fitted", "")


def test_sources_that_get_under_a_mask_have_a_reason_for_every_image(
    store: Store, tmp_path: Path, run: Run
) -> None:
    """The mask is of the sky: where pointings differ, a source is at other pixels, and masked."""
    plan = SeriesPlan(**{**vars(PLAN), "pointing_jitter_px": 6.0, "seed": 22})
    paths, ra, dec = series(tmp_path / "images", plan)
    # At the rim: the nine nearest pixels of its position are masked in part.
    circle = {"ra_deg": ra[0], "dec_deg": dec[0] + 0.02, "radius_deg": 0.02}
    run(store, paths, overrides={"extraction": {"mask_circles": [circle]}},
        monitor=[MonitorPosition(float(ra[0]), float(dec[0]))])  # fmt: skip
    found = rows_of(store, extractedsource.c.ra, extractedsource.c.decl)
    away = [separation(ra[0], dec[0], row.ra, row.decl) for row in found]
    assert min(away) > 0.5 * BEAM_DEG
    reasons = rows_of(store, forcedfit.c.reason, where=forcedfit.c.monitor.is_not(None))
    assert [row.reason for row in reasons] == ["masked"] * PLAN.n_epochs


NEGATIVE = {"extraction": {"negative": True}}


def test_negative_sources_are_measured_and_followed(store: Store, tmp_path: Path, run: Run) -> None:
    """A steady one, one that varies, one that appears: with negative fluxes and the flag 512."""
    steady, varying = (50.3, 60.7, [-40.0] * 4), (150.2, 150.1, [-30.0, -60.0, -30.0, -45.0])
    appearing = (60.4, 160.8, [0.0, 0.0, -50.0, -50.0])
    plan = SeriesPlan(**{**vars(PLAN), "n_steady": 0})
    bright = (110.0, 30.0, [50.0] * 4)
    paths, _, _ = series(tmp_path / "images", plan, [steady, varying, appearing, bright])
    run(store, paths, overrides=NEGATIVE)
    blind = rows_of(
        store, extractedsource, where=extractedsource.c.extract_type == 0
    )  # fmt: skip
    assert len(blind) == 4 + 4 + 2 + 4
    assert all((row.f_peak < 0) == (row.flags & Flag.NEGATIVE > 0) for row in blind)
    assert all((row.f_int < 0) == (row.f_peak < 0) for row in blind)
    assert all(row.f_int_err > 0 and row.f_peak_err > 0 and row.det_sigma > 6 for row in blind)
    for x, y, flux in (steady, varying, appearing, bright):
        curve = points(store, at(store, x, y))
        assert len(curve) == PLAN.n_epochs
        for point, wanted in zip(curve, flux, strict=True):
            # Some 16 values: 4.5 sigma.
            assert abs(point.f_int - wanted * RMS) < 4.5 * point.f_int_err
    # What appears was fitted where it was not yet seen.
    curve = points(store, at(store, *appearing[:2]))
    assert [point.extract_type for point in curve] == [3, 3, 0, 0]
    # Fluxes of both signs are real there: limits are of the absolute flux.
    before = rows_of(
        store, extractedsource.c.f_peak, extractedsource.c.f_peak_err, forcedfit.c.upper_limit,
        where=extractedsource.c.id == forcedfit.c.xtrsrc,
    )  # fmt: skip
    assert min(row.f_peak for row in before) < 0.0
    for row in before:
        assert row.upper_limit == abs(row.f_peak) + 3.0 * row.f_peak_err


def test_what_is_significantly_negative_has_a_limit_in_stokes_i_only(
    store: Store, tmp_path: Path, run: Run
) -> None:
    """Monitored: a hole of 40 sigma, in images of Stokes I and, copied, of Stokes V."""
    plan = SeriesPlan(**{**vars(PLAN), "n_steady": 0})
    hole, bright = (50.3, 60.7, [-40.0] * 4), (110.0, 30.0, [50.0] * 4)
    paths, _, _ = series(tmp_path / "images", plan, [hole, bright])
    ra, dec = (float(value) for value in WCS.pixel_to_world_values(*hole[:2]))
    for path in paths:
        with fits.open(path) as hdus:
            hdus[0].header["CRVAL4"] = 4.0
            hdus.writeto(path.with_name(f"v-{path.name}"))
    run(store, [*paths, *(path.with_name(f"v-{path.name}") for path in paths)],
        monitor=[MonitorPosition(ra, dec, "hole")])  # fmt: skip
    fitted = rows_of(
        store, image.c.stokes, extractedsource.c.f_peak, extractedsource.c.f_peak_err,
        forcedfit.c.upper_limit,
        where=(forcedfit.c.monitor.is_not(None)) & (extractedsource.c.id == forcedfit.c.xtrsrc)
        & (image.c.id == extractedsource.c.image),
    )  # fmt: skip
    assert sorted(row.stokes for row in fitted) == [1] * 4 + [4] * 4
    for row in fitted:
        assert row.f_peak < -30.0 * row.f_peak_err
        assert row.upper_limit == (3.0 * row.f_peak_err if row.stokes == 1 else None)


def test_negative_sources_become_candidates_by_how_they_vary(
    store: Store, tmp_path: Path, run: Run
) -> None:
    steady, varying = (50.3, 60.7, [-40.0] * 4), (150.2, 150.1, [-30.0, -60.0, -30.0, -45.0])
    appearing = (60.4, 160.8, [0.0, 0.0, -50.0, -50.0])
    plan = SeriesPlan(**{**vars(PLAN), "n_steady": 0})
    rising = (110.0, 30.0, [0.0, 0.0, 50.0, 50.0])
    paths, _, _ = series(tmp_path / "images", plan, [steady, varying, appearing, rising])
    run(store, paths, overrides=NEGATIVE)
    chosen = {row.runcat: row for row in rows_of(store, candidate)}
    places = {name: at(store, *item[:2]) for name, item in
              (("steady", steady), ("varying", varying), ("appearing", appearing),
               ("rising", rising))}  # fmt: skip
    assert places["steady"] not in chosen
    assert set(chosen) == {places[name] for name in ("varying", "appearing", "rising")}
    metrics = {row.runcat: row for row in rows_of(store, varmetric)}
    for name in ("steady", "varying", "appearing"):
        metric = metrics[places[name]]
        assert metric.all_v_int < 0 < metric.all_eta_int, name
        assert metric.wmean_int < 0
    assert metrics[places["steady"]].all_eta_int < 6.0
    assert places["rising"] in {row.runcat for row in rows_of(store, newsource)}


def test_the_threshold_of_a_false_detection_rate_is_stored(
    store: Store, tmp_path: Path, run: Run
) -> None:
    """In each image its own, as of the pixels; what is new is judged by it."""
    paths, _, _ = series(tmp_path / "images")
    settings = {"extraction": {"false_detection_rate": 1e-3, "margin_px": 0}}
    run(store, paths, overrides=settings)
    stored = rows_of(
        store, image.c.file_name, image.c.detection_thresh, image.c.analysis_thresh, image.c.rms_min
    )
    assert len({row.detection_thresh for row in stored}) == PLAN.n_epochs
    config = ExtractionConfig(false_detection_rate=1e-3, margin_px=0, detection_threshold_sigma=6.0)
    for row in stored:
        with fits.open(tmp_path / "images" / row.file_name) as hdus:
            pixels = hdus[0].data[0, 0].astype(np.float32)
        made = extract(pixels, BEAM, config)
        assert made is not None
        assert row.detection_thresh == pytest.approx(made.detection_sigma, rel=1e-6)
        assert row.analysis_thresh == 3.0
        assert 3.0 < row.detection_thresh < 6.0
        # By hand, in units of the rms of the whole image.
        flat = NoiseGrid(np.zeros((1, 1)), np.full((1, 1), RMS), 0.0, 0.0, 1.0, 1.0)
        roughly = false_detection_threshold(pixels, None, flat, 1e-3, np.pi / 4 * 36.0)
        assert row.detection_thresh == pytest.approx(roughly, rel=0.1)
    lowest = min(
        row.det_sigma
        for row in rows_of(store, extractedsource, where=extractedsource.c.extract_type == 0)
    )
    assert lowest >= 0.98 * min(row.detection_thresh for row in stored)


def test_an_image_of_noise_alone_has_no_threshold_and_no_source(
    store: Store, tmp_path: Path, run: Run
) -> None:
    """No pixel is significant at such a rate; a source that appears later is not called new."""
    plan = SeriesPlan(**{**vars(PLAN), "n_steady": 0})
    paths, _, _ = series(tmp_path / "images", plan, [(110.0, 110.0, [0.0, 0.0, 60.0, 60.0])])
    run(store, paths, overrides={"extraction": {"false_detection_rate": 1e-6}})
    by_time = sorted(rows_of(store, image.c.taustart_ts, image.c.detection_thresh))
    thresholds = [row.detection_thresh for row in by_time]
    assert thresholds[:2] == [np.inf, np.inf]
    assert np.isfinite(thresholds[2:]).all()
    source = at(store, 110.0, 110.0)
    assert [point.extract_type for point in points(store, source)] == [3, 3, 0, 0]
    # By its detections nothing is known of it before; by its forced fits it varies.
    assert rows_of(store, newsource) == []
    assert [row.runcat for row in rows_of(store, candidate)] == [source]


@pytest.mark.parametrize(("connectivity", "number"), [(8, 1), (4, 2)])
def test_sources_that_touch_at_a_corner(
    store: Store, tmp_path: Path, run: Run, connectivity: int, number: int
) -> None:
    """One island, whose fainter part has no peak of its own, or several, of which two count.

    The others are within half a beam of these.
    """
    plan = SeriesPlan(**{**vars(PLAN), "n_epochs": 1, "n_steady": 0})
    paths, _, _ = series(tmp_path / "images", plan)
    with fits.open(paths[0], mode="update") as hdus:
        pixels = hdus[0].data[0, 0]
        pixels[95:107, 95:107] = 0.5 * RMS
        for place, snr in ((100, 30.0), (101, 27.5), (102, 27.4), (103, 28.5)):
            pixels[place, place] = snr * RMS
    run(
        store,
        paths,
        overrides={
            "extraction": {
                "connectivity": connectivity, "background_cell_px": 55.0,
            }
        },
    )  # fmt: skip
    found = rows_of(store, extractedsource.c.x, extractedsource.c.y)
    assert len(found) == number


def test_joint_forced_fits_tell_neighbours_apart(store: Store, tmp_path: Path, run: Run) -> None:
    """Two monitors 0.8 beams apart on two sources; alone each has the light of the other."""
    plan = SeriesPlan(**{**vars(PLAN), "n_epochs": 2, "n_steady": 0})
    first, second = (100.0, 100.0, [5.0, 5.0]), (104.8, 100.0, [4.0, 4.0])
    paths, _, _ = series(tmp_path / "images", plan, [first, second])
    watched = []
    for name, (x, y, _) in (("first", first), ("second", second)):
        ra, dec = (float(value) for value in WCS.pixel_to_world_values(x, y))
        watched.append(MonitorPosition(ra, dec, name))
    fluxes = {}
    for joint in (False, True):
        settings = {
            "forced_fits": {"joint": joint}, "extraction": {"detection_threshold_sigma": 12.0},
        }  # fmt: skip
        run(store, paths, f"joint {joint}", overrides=settings, monitor=watched)
        with store.read() as connection:
            fitted = connection.execute(
                select(monitor.c.name, extractedsource.c.f_peak, extractedsource.c.f_peak_err)
                .join(forcedfit, forcedfit.c.monitor == monitor.c.id)
                .join(extractedsource, extractedsource.c.id == forcedfit.c.xtrsrc)
            ).all()
        fluxes[joint] = fitted[-4:]
        assert len(fluxes[joint]) == 4
    truth = {"first": 5.0 * RMS, "second": 4.0 * RMS}
    for name, peak, error in fluxes[True]:
        assert abs(peak - truth[name]) < 4.5 * error
    # A fifth of the neighbour is in the footprint of half a full width; the noise is the same.
    alone, together = (np.mean([row[1] for row in fluxes[joint]]) for joint in (False, True))
    assert (alone - together) / RMS > 0.5
    assert np.mean([row[2] for row in fluxes[True]]) > np.mean([row[2] for row in fluxes[False]])

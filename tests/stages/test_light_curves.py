"""Light curves are complete: a point or a stated reason for every image that covers a source."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from sqlalchemy import select

from stages.conftest import Run
from trap_ops.errors import ConfigError
from trap_ops.records.runs import MonitorPosition
from trap_ops.store.database import Store
from trap_ops.store.schema import (
    assocskyrgn,
    assocxtrsource,
    extractedsource,
    forcedfit,
    image,
    monitor,
    runningcatalog,
    runningcatalog_flux,
    varmetric,
)


def gaps(store: Store) -> list[tuple[int, int]]:
    """Pairs (sky source, accepted image that covers it) with neither a point nor a reason."""
    with store.read() as connection:
        covered = connection.execute(
            select(assocskyrgn.c.runcat, image.c.id)
            .join(image, image.c.skyrgn == assocskyrgn.c.skyrgn)
            .join(runningcatalog, runningcatalog.c.id == assocskyrgn.c.runcat)
            .where(image.c.verdict == "accepted", image.c.stokes == runningcatalog.c.stokes)
        ).all()
        points = connection.execute(
            select(assocxtrsource.c.runcat, extractedsource.c.image).join(
                extractedsource, extractedsource.c.id == assocxtrsource.c.xtrsrc
            )
        ).all()
        reasons = connection.execute(
            select(forcedfit.c.runcat, forcedfit.c.image).where(
                forcedfit.c.status.in_(["failed", "skipped"]), forcedfit.c.reason != ""
            )
        ).all()
        waiting = connection.execute(
            select(forcedfit.c.id).where(forcedfit.c.status == "requested")
        ).all()
    assert not waiting
    assert len(covered) > 50
    known = {tuple(row) for row in points} | {tuple(row) for row in reasons}
    return sorted({tuple(row) for row in covered} - known)


def test_every_pair_has_a_point_or_a_reason(store: Store, hard: list[Path], run: Run) -> None:
    run(store, hard)
    assert gaps(store) == []


def test_no_source_has_two_points_of_one_image_and_kind(
    store: Store, hard: list[Path], run: Run
) -> None:
    run(store, hard)
    with store.read() as connection:
        rows = connection.execute(
            select(assocxtrsource.c.runcat, extractedsource.c.image).join(
                extractedsource, extractedsource.c.id == assocxtrsource.c.xtrsrc
            )
        ).all()
    assert max(Counter(tuple(row) for row in rows).values()) == 1


def test_statistics_are_those_of_the_points(store: Store, hard: list[Path], run: Run) -> None:
    """eta and V of the summary, computed anew from the stored points."""
    run(store, hard)
    with store.read() as connection:
        metrics = connection.execute(select(varmetric)).all()
        rows = connection.execute(
            select(
                assocxtrsource.c.runcat,
                extractedsource.c.extract_type,
                image.c.band,
                extractedsource.c.f_int,
                extractedsource.c.f_int_err,
            )
            .join(extractedsource, extractedsource.c.id == assocxtrsource.c.xtrsrc)
            .join(image, image.c.id == extractedsource.c.image)
        ).all()
    checked = 0
    for metric in metrics:
        curve = [r for r in rows if r.runcat == metric.runcat and r.band == metric.band]
        for prefix, points in (
            ("", [r for r in curve if r.extract_type != 3]),
            ("all_", curve),
        ):
            n = len(points)
            count = metric.f_datapoints if prefix == "" else metric.all_datapoints
            assert count == n
            if n < 2:
                continue
            weights = [1 / p.f_int_err**2 for p in points]
            mean = sum(w * p.f_int for w, p in zip(weights, points, strict=True)) / sum(weights)
            chi2 = sum(w * (p.f_int - mean) ** 2 for w, p in zip(weights, points, strict=True))
            plain = sum(p.f_int for p in points) / n
            deviation = (sum((p.f_int - plain) ** 2 for p in points) / (n - 1)) ** 0.5
            assert metric._mapping[f"{prefix}eta_int"] == pytest.approx(chi2 / (n - 1), rel=1e-9)
            assert metric._mapping[f"{prefix}v_int"] == pytest.approx(deviation / plain, rel=1e-9)
            assert metric._mapping[f"{prefix}wmean_int"] == pytest.approx(mean, rel=1e-12)
            checked += 1
    assert checked > 20


def test_of_images_that_start_together_the_brightest_point_is_the_latest(
    store: Store, easy: list[Path], run: Run, tmp_path: Path
) -> None:
    """SCIENCE.md 7.3: whichever of them comes last in canonical order."""
    with fits.open(easy[-1]) as hdus:
        header, data = hdus[0].header, hdus[0].data
        for name, factor in (("a.fits", 1.1), ("z.fits", 0.9)):
            # Another integration time: else they would be duplicates.
            header["TAU_TIME"] = 100.0 * factor
            fits.PrimaryHDU((data * factor).astype(np.float32), header).writeto(tmp_path / name)
    run(store, [*easy, tmp_path / "a.fits", tmp_path / "z.fits"])
    with store.read() as connection:
        curves = connection.execute(select(runningcatalog_flux)).all()
        points = connection.execute(
            select(assocxtrsource.c.runcat, image.c.taustart_ts, extractedsource.c.f_int)
            .join(extractedsource, extractedsource.c.id == assocxtrsource.c.xtrsrc)
            .join(image, image.c.id == extractedsource.c.image)
            .where(extractedsource.c.extract_type != 3)
        ).all()
    assert len(curves) > 10
    for curve in curves:
        mine = [point for point in points if point.runcat == curve.runcat]
        last = max(point.taustart_ts for point in mine)
        fluxes = [point.f_int for point in mine if point.taustart_ts == last]
        assert (curve.last_ts, curve.last_int) == (last, max(fluxes))
        assert len(fluxes) == 3


def test_monitoring_positions(store: Store, easy: list[Path], run: Run) -> None:
    positions = [
        MonitorPosition(123.0, 35.0, "centre"),
        MonitorPosition(-237.0, 35.01, "the same RA, written negative"),
        MonitorPosition(10.0, -60.0, "elsewhere"),
    ]
    run(store, easy, monitor=positions)
    with store.read() as connection:
        rows = {row.name: row for row in connection.execute(select(monitor))}
        fits = connection.execute(select(forcedfit).where(forcedfit.c.kind == 2)).all()
        sources = {
            row.id: row
            for row in connection.execute(
                select(runningcatalog).where(runningcatalog.c.mon_src.is_(True))
            )
        }
        types = connection.execute(
            select(assocxtrsource.c.type).where(assocxtrsource.c.runcat == rows["centre"].runcat)
        ).scalars()
        assert sorted(types) == [8, 9, 9, 9, 9]
    assert rows["the same RA, written negative"].ra == 123.0
    assert len(fits) == 3 * len(easy)
    assert set(sources) == {rows["centre"].runcat, rows["the same RA, written negative"].runcat}
    assert rows["elsewhere"].runcat is None
    away = [fit for fit in fits if fit.monitor == rows["elsewhere"].id]
    assert {(fit.status, fit.reason) for fit in away} == {("failed", "outside_image")}
    assert all(source.datapoints == len(easy) for source in sources.values())


def test_monitoring_position_off_the_sky_is_refused(
    store: Store, easy: list[Path], run: Run
) -> None:
    with pytest.raises(ConfigError, match="not on the sky"):
        run(store, easy, monitor=[MonitorPosition(10.0, 95.0)])


def test_backward_fits_can_be_switched_off_and_limited(
    store: Store, easy: list[Path], run: Run
) -> None:
    def backward(dataset: str, settings: dict[str, object]) -> list[int]:
        run(store, easy, dataset, overrides={"forced_fits": settings})
        with store.read() as connection:
            query = (
                select(forcedfit.c.runcat)
                .join(image, image.c.id == forcedfit.c.image)
                .where(forcedfit.c.kind == 3)
            )
            from trap_ops.store.datasets import dataset_id

            mine = query.where(forcedfit.c.dataset == dataset_id(connection, dataset))
            return list(Counter(connection.execute(mine).scalars()).values())

    everything = backward("all", {})
    assert max(everything) > 1
    assert backward("off", {"backward": False}) == []
    limited = backward("one", {"backward_max_images": 1})
    assert len(limited) == len(everything)
    assert set(limited) == {1}


def test_expiration_counts_attempts(store: Store, easy: list[Path], run: Run) -> None:
    run(store, easy, overrides={"forced_fits": {"expiration": 1}})
    with store.read() as connection:
        rows = connection.execute(
            select(forcedfit.c.runcat, forcedfit.c.status, forcedfit.c.reason, image.c.taustart_ts)
            .join(image, image.c.id == forcedfit.c.image)
            .where(forcedfit.c.kind == 1)
            .order_by(forcedfit.c.runcat, image.c.taustart_ts)
        ).all()
    expired = [row for row in rows if row.reason == "expired"]
    assert expired
    assert gaps(store) == []
    for row in expired:
        before = [r for r in rows if r.runcat == row.runcat and r.taustart_ts < row.taustart_ts]
        assert before
        assert before[-1].status in {"fitted", "failed", "skipped"}

"""One source that later proves to be two: both take over its history, on pixels end to end."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from sqlalchemy import select

from stages.conftest import Run
from trap_ops.simulate.series import SeriesPlan, make_images
from trap_ops.simulate.sky import SimulatedSky
from trap_ops.store.database import Store
from trap_ops.store.schema import assocxtrsource, extractedsource, image, runningcatalog, varmetric

PLAN = SeriesPlan(n_epochs=5, size_px=160, seed=11)
# Right ascension offset in beams, and signal-to-noise in each epoch: two that are seen at first as
# one between them, after an epoch in which there was nothing.
OFFSETS = (0.0, -0.75, 0.75)
SNR = ((0, 60, 0, 0, 0), (0, 0, 40, 40, 40), (0, 0, 50, 50, 50))


@pytest.fixture(scope="module")
def splitting(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Five images: nothing, one source, then two in its place."""
    beam_deg = PLAN.bmaj_arcsec / 3600.0
    ra = PLAN.centre_ra_deg + np.array(OFFSETS) * beam_deg / np.cos(np.radians(PLAN.centre_dec_deg))
    sky = SimulatedSky(
        name=["one", "west", "east"],
        kind=["variable"] * 3,
        ra_deg=ra,
        dec_deg=np.full(3, PLAN.centre_dec_deg),
        flux_jy=np.array(SNR, dtype=np.float64).T * PLAN.rms_jy,
        spectral_index=np.zeros(3),
        shape=["given"] * 3,
    )
    directory = tmp_path_factory.mktemp("splitting")
    paths = []
    for made in make_images(PLAN, sky):
        paths.append(directory / made.file_name)
        fits.PrimaryHDU(made.pixels, made.header).writeto(paths[-1])
    return paths


def curves(store: Store) -> dict[int, list[Any]]:
    """Points of every sky source, in time order."""
    query = (
        select(
            assocxtrsource.c.runcat,
            assocxtrsource.c.type,
            assocxtrsource.c.v_int,
            assocxtrsource.c.eta_int,
            assocxtrsource.c.f_datapoints,
            extractedsource.c.extract_type,
            extractedsource.c.f_int,
            extractedsource.c.f_int_err,
            image.c.taustart_ts,
        )
        .join(extractedsource, extractedsource.c.id == assocxtrsource.c.xtrsrc)
        .join(image, image.c.id == extractedsource.c.image)
        .order_by(image.c.taustart_ts)
    )
    found: dict[int, list[Any]] = {}
    with store.read() as connection:
        for row in connection.execute(query):
            found.setdefault(row.runcat, []).append(row)
    return found


def test_inherited_backward_fits_stay_out_of_classic_statistics(
    store: Store, splitting: list[Path], run: Run
) -> None:
    """SCIENCE.md D5: a fork copies them; their rows carry zeros and count only in ``all_*``."""
    run(store, splitting)
    with store.read() as connection:
        parents = Counter(connection.execute(select(runningcatalog.c.parent)).scalars())
        metrics = {row.runcat: row for row in connection.execute(select(varmetric))}
    found = curves(store)
    assert len(found) == 2
    assert list(parents.values()) == [2]
    for source, points in found.items():
        # A backward fit before the first detection, that detection, and the half's own three.
        kinds = [(p.type, p.extract_type) for p in points]
        assert kinds == [(6, 3), (6, 0), (2, 0), (3, 0), (3, 0)]
        backward, *shown = points
        assert (backward.v_int, backward.eta_int, backward.f_datapoints) == (0.0, 0.0, 0)
        assert [p.f_datapoints for p in shown] == [1, 2, 3, 4]
        metric = metrics[source]
        assert metric.f_datapoints == 4
        assert metric.all_datapoints == 5
        for prefix, used in (("", shown), ("all_", points)):
            flux = np.array([p.f_int for p in used])
            weight = np.array([p.f_int_err for p in used]) ** -2.0
            mean = np.average(flux, weights=weight)
            eta = np.sum(weight * (flux - mean) ** 2) / (len(used) - 1)
            row = metric._mapping
            assert row[f"{prefix}eta_int"] == pytest.approx(eta, rel=1e-9)
            assert row[f"{prefix}v_int"] == pytest.approx(flux.std(ddof=1) / flux.mean(), rel=1e-9)
        assert metric.lightcurve_max == max(p.f_int for p in shown)
        assert metric.lightcurve_median == pytest.approx(np.median([p.f_int for p in shown]))

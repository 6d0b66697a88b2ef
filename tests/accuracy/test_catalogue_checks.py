"""Checks against the catalogue on simulated images with known faults, through the real finder."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from sqlalchemy import select

from trap_ops import local
from trap_ops.records.images import Check
from trap_ops.simulate.series import SeriesPlan, write_series
from trap_ops.store.database import Store
from trap_ops.store.outcomes import rejected_units
from trap_ops.store.quality_checks import checks_of
from trap_ops.store.schema import (
    assocxtrsource,
    extractedsource,
    image,
    referenceflux,
    runningcatalog,
)

pytestmark = pytest.mark.slow

PLAN = SeriesPlan(
    n_epochs=20,
    size_px=352,
    n_steady=60,
    n_variable=0,
    n_transient=0,
    seed=11,
    snr_min=25.0,
    snr_max=300.0,
    min_separation_beams=2.2,
    edge_px=24,
)
# By epoch: fluxes and noise times a factor; beams to the east; false sources.
SCALED = {12: 3.0, 13: 0.4, 18: 1.2}
SHIFTED = {14: 2.0, 17: 0.3}
STORM = 15
SETTINGS = {"catalogue_checks": {"min_sources": 15}}


def spoil(path: Path, epoch: int) -> None:
    """Give an image its fault."""
    with fits.open(path, mode="update") as hdus:
        hdu = hdus[0]
        if epoch in SCALED:
            hdu.data *= np.float32(SCALED[epoch])
        if epoch in SHIFTED:
            beam_deg = PLAN.bmaj_arcsec / 3600.0
            dec = np.radians(hdu.header["CRVAL2"])
            hdu.header["CRVAL1"] += SHIFTED[epoch] * beam_deg / np.cos(dec)
        if epoch == STORM:
            hdu.data += false_sources(hdu.data.shape[-2:])


def false_sources(shape: tuple[int, int]) -> np.ndarray:
    """Of twenty times the number of true ones, at random, 10 to 30 sigma."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[: shape[0], : shape[1]]
    sigma = PLAN.bmaj_arcsec / PLAN.pixel_arcsec / np.sqrt(8 * np.log(2))
    added = np.zeros(shape, dtype=np.float32)
    for _ in range(20 * PLAN.n_steady):
        x0, y0 = rng.uniform(15, shape[1] - 15, 2)
        near = np.s_[int(y0) - 14 : int(y0) + 15, int(x0) - 14 : int(x0) + 15]
        radius2 = (x[near] - x0) ** 2 + (y[near] - y0) ** 2
        added[near] += rng.uniform(10, 30) * PLAN.rms_jy * np.exp(-radius2 / 2 / sigma**2)
    return added


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Store]:
    """Of the series with bad images, and of the good images alone."""
    directory = tmp_path_factory.mktemp("checks")
    paths = write_series(PLAN, directory / "images")
    bad = {*SCALED, *SHIFTED, STORM}
    stores = []
    for epoch in bad:
        spoil(paths[epoch], epoch)
    rejected = {12, 13, 14, STORM}
    for name, chosen in (
        ("all", paths),
        ("good", [path for epoch, path in enumerate(paths) if epoch not in rejected]),
    ):
        url = f"sqlite:///{directory / name}.db"
        local.run(chosen, "field", store_url=url, overrides=SETTINGS, output_dir=directory)
        stores.append(Store(url))
    return stores[0], stores[1]


def checks(store: Store) -> list[dict[str, Check]]:
    """By epoch and name."""
    with store.read() as connection:
        ids = connection.execute(select(image.c.id).order_by(image.c.taustart_ts)).scalars().all()
        made = checks_of(connection, ids)
    return [{check.name: check for check in made[number]} for number in ids]


def values(check: Check) -> list[tuple[float, float]]:
    pairs = re.findall(r"(-?[\d.e-]+) \+- ([\d.e-]+)", check.comment)
    return [(float(value), float(error)) for value, error in pairs]


def test_bad_images_are_rejected_for_what_is_wrong_with_them(
    results: tuple[Store, Store],
) -> None:
    with results[0].read() as connection:
        reasons = {unit.name: unit.reason for unit in rejected_units(connection, 1)}
        names = connection.execute(
            select(image.c.file_name).order_by(image.c.taustart_ts)
        ).scalars().all()  # fmt: skip
    flux_scale = "flux scale differs from the catalogue"
    assert reasons == {
        names[12]: flux_scale,
        names[13]: flux_scale,
        names[14]: "displaced against the catalogue",
        names[STORM]: "number of sources unusual",
    }


def test_measured_faults_are_the_true_ones(results: tuple[Store, Store]) -> None:
    made = checks(results[0])
    for epoch, factor in SCALED.items():
        ((ratio, error),) = values(made[epoch]["flux_scale"])
        assert error < 0.02 * factor
        assert abs(ratio - factor) < 4.0 * error + 5e-4 * factor
    for epoch, beams in SHIFTED.items():
        (east, east_error), (north, north_error) = values(made[epoch]["astrometry"])
        assert max(east_error, north_error) < 0.02 * PLAN.bmaj_arcsec
        assert abs(east - beams * PLAN.bmaj_arcsec) < 4.0 * east_error
        assert abs(north) < 4.0 * north_error
    assert made[18]["flux_scale"].result == "warned"
    assert made[17]["astrometry"].result == "warned"


def test_an_image_that_is_only_warned_of_moves_the_catalogue(
    results: tuple[Store, Store],
) -> None:
    """Fourteen images of weight 1, and one of 1.2 times the flux with 1.2 times the error."""
    ((ratio, error),) = values(checks(results[0])[19]["flux_scale"])
    catalogue = (14 + 1.2 / 1.2**2) / (14 + 1 / 1.2**2)
    assert catalogue > 1.009
    assert abs(ratio * catalogue - 1.0) < 4.0 * error


def test_good_images_are_accepted_with_errors_that_are_true(
    results: tuple[Store, Store],
) -> None:
    pulls: dict[str, list[float]] = {"flux_scale": [], "astrometry": []}
    for epoch, made in enumerate(checks(results[0])):
        if epoch in {*SCALED, *SHIFTED, STORM, 19}:
            continue
        assert {str(check.result) for check in made.values()} <= {"accepted", "not made"}
        for name, truth in (("flux_scale", 1.0), ("astrometry", 0.0)):
            pulls[name] += [(value - truth) / error for value, error in values(made[name])]
    for name, found in pulls.items():
        assert len(found) >= 10, name
        assert 0.4 < np.sqrt(np.mean(np.square(found))) < 1.7, name


def test_light_curves_of_the_others_are_untouched(results: tuple[Store, Store]) -> None:
    everything = []
    for store in results:
        with store.read() as connection:
            points = connection.execute(
                select(
                    runningcatalog.c.source_name, image.c.file_name, extractedsource.c.f_int,
                    assocxtrsource.c.type, assocxtrsource.c.v_int, assocxtrsource.c.eta_int,
                )
                .join(assocxtrsource, assocxtrsource.c.runcat == runningcatalog.c.id)
                .join(extractedsource, extractedsource.c.id == assocxtrsource.c.xtrsrc)
                .join(image, image.c.id == extractedsource.c.image)
            ).all()  # fmt: skip
            references = connection.execute(
                select(
                    runningcatalog.c.source_name, referenceflux.c.datapoints,
                    referenceflux.c.sumw_int, referenceflux.c.wmean_int,
                ).join(referenceflux, referenceflux.c.runcat == runningcatalog.c.id)
            ).all()  # fmt: skip
        everything.append((sorted(map(tuple, points)), sorted(map(tuple, references))))
    assert len(everything[0][0]) > 500
    assert everything[0] == everything[1]

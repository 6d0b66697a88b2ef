"""The pipeline against a simulated sky: what it must find, measure and not invent."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree
from sqlalchemy import select

from trap_ops import local
from trap_ops.science.coordinates import ra_difference, unit_vectors
from trap_ops.simulate.series import SeriesPlan, write_series
from trap_ops.store.database import Store
from trap_ops.store.schema import (
    assocskyrgn,
    assocxtrsource,
    candidate,
    extractedsource,
    forcedfit,
    image,
    runningcatalog,
    varmetric,
)

pytestmark = pytest.mark.slow

DETECTION = 8.0
N_FIELDS = 6
N_EPOCHS = 12
PLANS = [
    SeriesPlan(
        n_epochs=N_EPOCHS,
        size_px=448,
        n_steady=70,
        n_variable=3,
        n_transient=2,
        seed=100 + field,
        noise="natural" if field % 2 == 0 else "beam-smoothed",
        bmaj_arcsec=36.0 if field % 3 == 0 else 30.0,
        bmin_arcsec=26.0 if field % 3 == 0 else 30.0,
        bpa_deg=35.0,
        snr_min=8.0,
        snr_max=60.0,
        # No two sources within the finder's resolution: what is
        # measured of a blend has no truth of its own to compare with.
        min_separation_beams=2.5,
        isolation_beams=4.0,
        edge_px=24,
    )
    for field in range(N_FIELDS)
]


@dataclass
class Field:
    """One simulated series, its truth, and what the pipeline made of it."""

    plan: SeriesPlan
    truth: dict
    flux: np.ndarray  # (epochs, sources)
    vectors: np.ndarray
    kind: np.ndarray
    store: Store

    def nearest(self, ra: np.ndarray, dec: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Simulated source nearest to each position, and whether it is within half a beam."""
        chord, index = cKDTree(self.vectors).query(unit_vectors(ra, dec))
        beam = np.radians(self.plan.bmaj_arcsec / 3600.0)
        return index, chord < beam / 2.0


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory) -> list[Field]:
    made = []
    for plan in PLANS:
        directory = tmp_path_factory.mktemp("field")
        paths = write_series(plan, directory / "images")
        url = f"sqlite:///{directory / 'results.db'}"
        local.run(paths, "field", store_url=url, output_dir=directory)
        truth = json.loads((directory / "images" / "truth.json").read_text())
        sources = truth["sources"]
        made.append(
            Field(
                plan=plan,
                truth=truth,
                flux=np.array([list(im["flux_jy"].values()) for im in truth["images"]]),
                vectors=unit_vectors(
                    [s["ra_deg"] for s in sources], [s["dec_deg"] for s in sources]
                ),
                kind=np.array([s["kind"] for s in sources]),
                store=Store(url),
            )
        )
    return made


def blind(field: Field) -> dict[str, np.ndarray]:
    """All blind detections of a field, with epoch, nearest simulated source and its flux."""
    with field.store.read() as connection:
        rows = connection.execute(
            select(extractedsource, image.c.taustart_ts)
            .join(image, image.c.id == extractedsource.c.image)
            .where(extractedsource.c.extract_type == 0)
        ).mappings().all()  # fmt: skip
    starts = sorted({row["taustart_ts"] for row in rows})
    columns = {
        name: np.array([row[name] for row in rows], dtype=float)
        for name in (
            "ra", "decl", "ra_fit_err", "decl_fit_err", "f_peak", "f_peak_err", "f_int",
            "f_int_err", "rms",
        )
    }  # fmt: skip
    epoch = np.array([starts.index(row["taustart_ts"]) for row in rows])
    index, close = field.nearest(columns["ra"], columns["decl"])
    sources = field.truth["sources"]
    return columns | {
        "epoch": epoch,
        "source": index,
        "close": close,
        "truth": field.flux[epoch, index],
        "true_ra": np.array([sources[i]["ra_deg"] for i in index]),
        "true_dec": np.array([sources[i]["dec_deg"] for i in index]),
    }


def test_completeness_is_one_four_sigma_above_the_threshold(fields: list[Field]) -> None:
    wanted = found = 0
    for field in fields:
        made = blind(field)
        seen = set(zip(made["epoch"][made["close"]], made["source"][made["close"]], strict=True))
        bright = field.flux >= (DETECTION + 4.0) * field.plan.rms_jy
        for epoch, source in zip(*np.nonzero(bright), strict=True):
            wanted += 1
            found += (epoch, source) in seen
    assert wanted > 3000
    assert found == wanted


def test_no_false_detection(fields: list[Field]) -> None:
    """In 14 megapixels of noise nothing reaches 8 sigma that is not there."""
    assert sum(int((~blind(field)["close"]).sum()) for field in fields) == 0


@pytest.mark.parametrize("split", [False, True], ids=["as found", "blends split"])
def test_close_pairs_at_random_places_make_no_candidates(tmp_path: Path, split: bool) -> None:
    """In this sky pairs that are told apart in some images only would make a dozen.

    Where blends are split there are as many, and all have the veto.
    """
    plan = SeriesPlan(seed=11)
    paths = write_series(plan, tmp_path / "images")
    url = f"sqlite:///{tmp_path / 'results.db'}"
    overrides = {"extraction": {"split_blends": split}}
    local.run(paths, "field", store_url=url, output_dir=tmp_path, overrides=overrides)
    sources = json.loads((tmp_path / "images" / "truth.json").read_text())["sources"]
    tree = cKDTree(unit_vectors([s["ra_deg"] for s in sources], [s["dec_deg"] for s in sources]))
    store = Store(url)
    with store.read() as connection:
        rows = connection.execute(
            select(candidate.c.veto, runningcatalog.c.wm_ra, runningcatalog.c.wm_decl)
            .join(runningcatalog, candidate.c.runcat == runningcatalog.c.id)
            .order_by(candidate.c.rank)
        ).all()
    store.close()
    veto, *place = zip(*rows, strict=True)
    found = tree.query(unit_vectors(*np.array(place)))[1]
    wanted = [number for number, source in enumerate(sources) if source["kind"] != "steady"]
    assert len(wanted) == 14
    assert sorted(found[:14]) == wanted
    assert veto[:14] == ("",) * 14
    assert set(veto[14:]) == ({"blend"} if split else set())


def test_candidates_are_the_variables_and_transients_and_nothing_else(
    fields: list[Field],
) -> None:
    for field in fields:
        with field.store.read() as connection:
            rows = connection.execute(
                select(runningcatalog.c.wm_ra, runningcatalog.c.wm_decl)
                .join(candidate, candidate.c.runcat == runningcatalog.c.id)
                .order_by(candidate.c.rank)
            ).all()
        ra, dec = np.array(rows).T
        index, close = field.nearest(ra, dec)
        assert close.all()
        assert set(index) == set(np.flatnonzero(field.kind != "steady")), field.plan.seed
        assert len(index) == len(set(index))


def pulls(fields: list[Field]) -> dict[str, np.ndarray]:
    """Error over quoted error of peak, integrated flux, RA and Dec, of bright enough sources."""
    collected: dict[str, list[np.ndarray]] = {
        "peak": [],
        "int": [],
        "ra": [],
        "dec": [],
        "bias": [],
    }
    for field in fields:
        made = blind(field)
        good = made["close"] & (made["truth"] >= (DETECTION + 4.0) * field.plan.rms_jy)
        east = ra_difference(made["ra"], made["true_ra"])
        collected["peak"].append(((made["f_peak"] - made["truth"]) / made["f_peak_err"])[good])
        collected["int"].append(((made["f_int"] - made["truth"]) / made["f_int_err"])[good])
        collected["ra"].append((east / made["ra_fit_err"])[good])
        collected["dec"].append(((made["decl"] - made["true_dec"]) / made["decl_fit_err"])[good])
        collected["bias"].append(((made["f_peak"] - made["truth"]) / made["rms"])[good])
    return {name: np.concatenate(values) for name, values in collected.items()}


@pytest.mark.parametrize("quantity", ["peak", "int", "ra", "dec"])
def test_pulls_are_one(fields: list[Field], quantity: str) -> None:
    pull = pulls(fields)[quantity]
    assert len(pull) > 3000
    assert 0.9 < pull.std() < 1.1, pull.std()


def test_fluxes_are_unbiased(fields: list[Field]) -> None:
    found = pulls(fields)
    assert abs(found["bias"].mean()) < 0.1, found["bias"].mean()
    assert abs(found["int"].mean()) < 0.1, found["int"].mean()
    assert abs(found["ra"].mean()) < 0.1, found["ra"].mean()
    assert abs(found["dec"].mean()) < 0.1, found["dec"].mean()


def steady(field: Field) -> list[dict]:
    """Summaries of sky sources that are steady in truth."""
    with field.store.read() as connection:
        rows = connection.execute(
            select(varmetric, runningcatalog.c.wm_ra, runningcatalog.c.wm_decl).join(
                runningcatalog, runningcatalog.c.id == varmetric.c.runcat
            )
        ).mappings().all()  # fmt: skip
    index, _ = field.nearest(
        np.array([row["wm_ra"] for row in rows]), np.array([row["wm_decl"] for row in rows])
    )
    return [dict(row) for row, i in zip(rows, index, strict=True) if field.kind[i] == "steady"]


@pytest.mark.parametrize("prefix", ["", "all_"], ids=["classic", "with backward fits"])
def test_eta_of_steady_sources_is_one(fields: list[Field], prefix: str) -> None:
    values = [
        (row[f"{prefix}eta_int"], row[f"{prefix}datapoints" if prefix else "f_datapoints"])
        for field in fields
        for row in steady(field)
    ]
    eta = np.array([value for value, count in values if count > 1])
    assert len(eta) > 400
    assert 0.95 < eta.mean() < 1.05, eta.mean()


def test_p_values_of_steady_sources_are_uniform(fields: list[Field]) -> None:
    """Kolmogorov-Smirnov distance by hand: the law of the p-value is the uniform one."""
    p = np.sort([row["all_p_value"] for field in fields for row in steady(field)])
    n = len(p)
    rank = np.arange(1, n + 1) / n
    distance = max(np.abs(rank - p).max(), np.abs(rank - 1 / n - p).max())
    # 1.63 / sqrt(n) is exceeded by chance once in a hundred.
    assert distance < 1.63 / np.sqrt(n), distance


def test_blind_and_forced_points_agree(fields: list[Field]) -> None:
    """Sources about the threshold: all their points together scatter about the true flux."""
    deviation, error, kinds = [], [], []
    for field in fields:
        with field.store.read() as connection:
            rows = connection.execute(
                select(
                    extractedsource.c.extract_type,
                    extractedsource.c.f_int,
                    extractedsource.c.f_int_err,
                    runningcatalog.c.wm_ra,
                    runningcatalog.c.wm_decl,
                )
                .join(assocxtrsource, assocxtrsource.c.xtrsrc == extractedsource.c.id)
                .join(runningcatalog, runningcatalog.c.id == assocxtrsource.c.runcat)
            ).all()
        kind, flux, flux_err, ra, dec = np.array(rows, dtype=float).T
        index, _ = field.nearest(ra, dec)
        truth = field.flux[0, index]
        faint = (field.kind[index] == "steady") & (truth < 11.0 * field.plan.rms_jy)
        deviation.append((flux - truth)[faint])
        error.append(flux_err[faint])
        kinds.append(kind[faint])
    forced = np.concatenate(kinds) == 1
    assert forced.sum() > 50, forced.sum()
    pull = np.concatenate(deviation) / np.concatenate(error)
    assert len(pull) > 700
    assert 0.9 < pull.std() < 1.1, pull.std()
    assert abs(pull.mean()) < 0.1 + 2.0 / np.sqrt(len(pull)), pull.mean()


def test_light_curves_have_no_gaps(fields: list[Field]) -> None:
    for field in fields:
        with field.store.read() as connection:
            covered = connection.execute(
                select(assocskyrgn.c.runcat, image.c.id).join(
                    image, image.c.skyrgn == assocskyrgn.c.skyrgn
                )
            ).all()
            points = connection.execute(
                select(assocxtrsource.c.runcat, extractedsource.c.image).join(
                    extractedsource, extractedsource.c.id == assocxtrsource.c.xtrsrc
                )
            ).all()
            stated = connection.execute(
                select(forcedfit.c.runcat, forcedfit.c.image).where(forcedfit.c.reason != "")
            ).all()
        known = {tuple(row) for row in [*points, *stated]}
        assert len(covered) == len({row[0] for row in covered}) * N_EPOCHS
        assert {tuple(row) for row in covered} <= known

"""The corpus of headers: complete, the same every time, and true by other means than the reader."""

from __future__ import annotations

import ast
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import FK4, FK5, Galactic, SkyCoord
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning
from astropy.wcs.utils import wcs_to_celestial_frame

from conftest import ROOT
from trap_ops.simulate.headers import corpus, write_corpus
from trap_ops.simulate.headers_sky import Placing
from trap_ops.simulate.headers_variant import as_header

CORPUS = corpus()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


def test_the_corpus_is_the_same_every_time(written: dict[str, Path], tmp_path: Path) -> None:
    again = write_corpus(tmp_path)
    assert list(again) == list(written) == [variant.name for variant in CORPUS]
    assert len(again) == len({path.name for path in again.values()}) >= 100
    for name, path in written.items():
        assert path.read_bytes() == again[name].read_bytes(), name


def test_every_file_is_valid_enough_for_astropy(written: dict[str, Path]) -> None:
    for path in written.values():
        with fits.open(path) as hdus:
            assert any(hdu.is_image and hdu.header["NAXIS"] >= 2 for hdu in hdus) or (
                "none" in path.name
            )


def test_names_say_what_variants_are_about() -> None:
    for variant in CORPUS:
        assert variant.what
        assert set(variant.name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-"), variant.name
        assert bool(variant.refused) != bool(variant.expected), variant.name


def test_the_corpus_has_every_dialect() -> None:
    """Keywords of the specification, each at least once."""
    keys = {key for variant in CORPUS for key in variant.header}
    assert keys >= {
        *("BMAJ", "CLEANBMJ", "CASAMBM", "RESTFRQ", "RESTFREQ", "RESTBW", "DATE-OBS", "MJD-OBS"),
        *("DATE-BEG", "DATE-AVG", "DATE-END", "TIMESYS", "TAU_TIME", "END_UTC", "EXPTIME"),
        *("CD1_1", "PC1_1", "PC001001", "CROTA2", "LONPOLE", "PV2_1", "RADESYS", "RADECSYS"),
        *("EQUINOX", "EPOCH", "BUNIT", "TELESCOP", "ANTENNA", "NCORE", "SUBBANDW", "DURATION"),
    }
    projections = {str(variant.header["CTYPE1"])[5:8] for variant in CORPUS}
    assert projections >= {"SIN", "TAN", "NCP", "ZEA", "CAR", "ARC", "STG", "AIT", "MOL", "HPX"}
    endings = {variant.file_name.partition(".")[2].lower() for variant in CORPUS}
    assert endings == {"fits", "fit", "fits.gz", "fit.gz", "fits.fz"}
    telescopes = {variant.telescope for variant in CORPUS}
    assert telescopes >= {"LOFAR", "AARTFAAC", "MeerKAT", "ASKAP", "MWA", "VLA", "EVLA", "AMI-LA"}
    assert {variant.data.ndim for variant in CORPUS} >= {2, 3, 4, 5}


def test_the_generator_knows_nothing_of_the_reader() -> None:
    files = sorted((ROOT / "plugins" / "trap_ops" / "simulate").glob("headers*.py"))
    assert len(files) >= 6
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert not str(node.module).startswith(("trap_ops.images", "astropy.wcs")), path


# ---- The formulas of positions, against wcslib.


PLACINGS = [
    *(
        (Placing(projection=name, lat_deg=40.0, cdelt_deg=(-0.1, 0.1), turn_deg=20.0), {})
        for name in ("SIN", "TAN", "ARC", "STG", "ZEA", "NCP")
    ),
    *(
        (Placing(projection=name, lat_deg=lat, cdelt_deg=(-2.0, 2.0)), {})
        for name in ("CAR", "CEA", "SFL", "MER", "AIT", "MOL", "HPX")
        for lat in (0.0, 20.0, -20.0)
    ),
    (Placing(lat_deg=90.0), {"LONPOLE": 180.0}),
    (Placing(lat_deg=90.0, lonpole_deg=0.0), {}),
    (Placing(lat_deg=-90.0), {}),
    (Placing(lat_deg=50.0, lonpole_deg=150.0), {"LONPOLE": 150.0}),
    (Placing(slant=(0.1, -0.2), cdelt_deg=(-0.5, 0.5)), {"PV2_1": 0.1, "PV2_2": -0.2}),
    (Placing(frame=Galactic()), {}),
    (Placing(frame=FK4(equinox="B1950")), {"RADESYS": "FK4", "EQUINOX": 1950.0}),
    (Placing(frame=FK5(equinox="J1975")), {"RADESYS": "FK5", "EQUINOX": 1975.0}),
]


@pytest.mark.parametrize(("placing", "more"), PLACINGS)
def test_positions_are_those_of_wcslib(placing: Placing, more: dict[str, float]) -> None:
    turn = {"CROTA2": placing.turn_deg} if placing.turn_deg else {}
    cards = {"EQUINOX": 2000.0, **placing.cards(), **turn, **more}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)  # NCP is turned into SIN.
        wcs = WCS(as_header(cards))
    places = placing.positions()
    x, y = np.array([(place.x_px, place.y_px) for place in places]).T
    frame = wcs_to_celestial_frame(wcs)
    lon, lat = wcs.wcs_pix2world(x, y, 0)
    found = SkyCoord(lon * u.deg, lat * u.deg, frame=frame).icrs
    true = SkyCoord([p.ra_deg for p in places] * u.deg, [p.dec_deg for p in places] * u.deg)
    assert found.separation(true).max() < 1e-3 * u.mas
    assert len(places) == 5
    assert np.hypot(x - x[:, None], y - y[:, None])[~np.eye(5, dtype=bool)].min() > 3.0

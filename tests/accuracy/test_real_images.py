"""Real images, with the configuration that is chosen by their headers, against other finders."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from sqlalchemy import select

from trap_ops import local
from trap_ops.science.coordinates import ra_difference
from trap_ops.store import runs
from trap_ops.store.database import Store
from trap_ops.store.schema import dataset, extractedsource, run

AMI = "ami-la"
LOFAR = "lofar"


class Reference(NamedTuple):
    """What a finder measures at 5 sigma: mJy."""

    finder: str
    peak: float
    peak_error: float
    integrated: float
    integrated_error: float


class Place(NamedTuple):
    """A source and what radio-pyse 0.7.1, PyBDSF 1.14.1 and Aegean 2.3.5 make of it.

    0-based pixels, degrees.
    """

    x: float
    y: float
    ra: float
    dec: float
    by: list[Reference]


REFERENCES = {
    ("GRB120422A-120429.fits", AMI): [
        Place(
            265.92,
            258.83,
            136.89604,
            14.02215,
            [
                Reference("radio-pyse", 0.742, 0.101, 0.599, 0.152),
                Reference("Aegean", 0.747, 0.104, 0.569, 0.090),
            ],
        ),
    ],
    ("SWIFT_554620-130504.fits", AMI): [
        Place(
            257.66,
            260.82,
            173.13611,
            27.69819,
            [
                Reference("radio-pyse", 0.511, 0.052, 0.484, 0.088),
                Reference("PyBDSF", 0.507, 0.049, 0.485, 0.097),
                Reference("Aegean", 0.512, 0.050, 0.469, 0.052),
            ],
        ),
    ],
    ("GRB201006A-t0002-cutout.fits", LOFAR): [
        Place(
            8.28,
            108.23,
            61.79308,
            63.30671,
            [
                Reference("radio-pyse", 90.7, 7.2, 113.0, 14.0),
                Reference("PyBDSF", 92.3, 7.7, 115.0, 16.0),
                Reference("Aegean", 93.8, 6.6, 110.0, 8.0),
            ],
        ),
        Place(
            120.36,
            126.82,
            61.44615,
            63.33190,
            [
                Reference("radio-pyse", 51.4, 6.3, 50.8, 10.9),
                Reference("PyBDSF", 52.0, 6.2, 52.4, 11.2),
                Reference("Aegean", 51.7, 6.1, 50.9, 6.5),
            ],
        ),
        Place(
            140.14,
            52.95,
            61.38670,
            63.22908,
            [
                # PyBDSF makes two components of it, of which the README has one.
                Reference("radio-pyse", 99.2, 6.0, 127.0, 12.0),
                Reference("Aegean", 103.4, 5.5, 117.0, 7.0),
            ],
        ),
        Place(
            205.31,
            115.50,
            61.18366,
            63.31512,
            [
                Reference("radio-pyse", 73.7, 6.1, 74.5, 10.7),
                Reference("PyBDSF", 73.4, 6.7, 72.4, 11.7),
                Reference("Aegean", 73.7, 5.9, 71.7, 6.3),
            ],
        ),
    ],
}


@pytest.mark.parametrize(
    ("file", "configuration", "references"),
    [(*key, references) for key, references in REFERENCES.items()],
    ids=[file for file, _ in REFERENCES],
)
def test_sources_of_real_images_are_found_and_measured(
    shared_data: Path,
    tmp_path: Path,
    sqlite_url: str,
    file: str,
    configuration: str,
    references: list[Place],
) -> None:
    local.run([shared_data / "images" / file], "real", store_url=sqlite_url, output_dir=tmp_path)
    store = Store(sqlite_url)
    with store.read() as connection:
        (key,) = connection.execute(select(run.c.run_key).join(dataset)).scalars()
        record = runs.load_run(connection, key)
        found = connection.execute(select(extractedsource)).mappings().all()
    assert record.configuration_name == configuration
    # The finders agree on these; near the threshold each has one or two of its own.
    assert len(references) <= len(found) <= len(references) + 1
    for source in references:
        dec = np.array([row["decl"] for row in found])
        east = ra_difference(np.array([row["ra"] for row in found]), source.ra)
        east = east * np.cos(np.radians(source.dec))
        nearest = int(np.argmin(np.hypot(east, dec - source.dec)))
        mine = found[nearest]
        # The other finders quote no errors of positions: ours, of the noise alone.
        assert abs(east[nearest]) < mine["ra_fit_err"] * np.cos(np.radians(source.dec))
        assert abs(dec[nearest] - source.dec) < mine["decl_fit_err"]
        # Errors are 0.2 to 0.9 pixels.
        assert (mine["x_px"], mine["y_px"]) == pytest.approx((source.x, source.y), abs=0.35)
        for other in source.by:
            # One image, one noise: finders differ by less than its errors, but quote others: those
            # of Aegean for integrated fluxes are up to half of what they should be.
            error = max(other.peak_error, mine["f_peak_err"] * 1e3)
            assert mine["f_peak"] * 1e3 == pytest.approx(other.peak, abs=error), other.finder
            error = max(other.integrated_error, mine["f_int_err"] * 1e3)
            assert mine["f_int"] * 1e3 == pytest.approx(other.integrated, abs=error), other.finder
            assert 1 / 1.5 < mine["f_peak_err"] * 1e3 / other.peak_error < 1.5, other.finder
            if other.finder != "Aegean":
                ratio = mine["f_int_err"] * 1e3 / other.integrated_error
                assert 1 / 1.5 < ratio < 1.5, other.finder

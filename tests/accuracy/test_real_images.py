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
    """What radio-pyse 0.7.1 measures at 5 sigma: degrees and mJy."""

    ra: float
    dec: float
    peak: float
    peak_error: float
    integrated: float
    integrated_error: float


REFERENCES = {
    ("GRB120422A-120429.fits", AMI): [
        Reference(136.89604, 14.02215, 0.742, 0.101, 0.599, 0.152),
    ],
    ("SWIFT_554620-130504.fits", AMI): [
        Reference(173.13611, 27.69819, 0.511, 0.052, 0.484, 0.088),
    ],
    ("GRB201006A-t0002-cutout.fits", LOFAR): [
        Reference(61.79308, 63.30671, 90.7, 7.2, 113.0, 14.0),
        Reference(61.44615, 63.33190, 51.4, 6.3, 50.8, 10.9),
        Reference(61.38670, 63.22908, 99.2, 6.0, 127.0, 12.0),
        Reference(61.18366, 63.31512, 73.7, 6.1, 74.5, 10.7),
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
    references: list[Reference],
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
        assert abs(east[nearest]) < mine["ra_fit_err"]
        assert abs(dec[nearest] - source.dec) < mine["decl_fit_err"]
        assert mine["f_peak"] * 1e3 == pytest.approx(source.peak, abs=source.peak_error)
        assert mine["f_int"] * 1e3 == pytest.approx(source.integrated, abs=source.integrated_error)

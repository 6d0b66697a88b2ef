"""A database of an earlier revision, with results in it, is brought to that of this code."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import MetaData, Table, insert, select

import trap_ops.store
from conftest import BOTH_DATABASES
from trap_ops.errors import StoreError
from trap_ops.records.images import ArrayInfo, Check, CheckResult, Plane, RejectReason, Verdict
from trap_ops.store import images, quality_checks
from trap_ops.store.checksum import dataset_checksum
from trap_ops.store.database import SCHEMA_REVISION, Store
from trap_ops.store.schema import image, metadata, rejection, rejectreason

IMAGE: dict[str, Any] = {
    "dataset": 1, "band": 1, "skyrgn": 1, "stokes": 4, "tau_time": 8.5, "freq_eff": 150e6,
    "freq_bw": 2e6, "taustart_ts": datetime(2024, 2, 3, 4, 5, 6, 700000), "rb_smaj": 0.005,
    "rb_smin": 0.004, "rb_pa": 30.0, "deltax": -0.001, "deltay": 0.001, "rms_qc": 1e-3,
    "file_size": 1, "file_mtime_ns": 2, "header_sha256": "h", "nx": 100, "ny": 100,
    "centre_ra": 359.5, "centre_decl": -30.25, "corner_distance": 0.1, "nan_fraction": 0.25,
    "data_min": -1.0, "data_max": 2.0, "telescope": "LOFAR", "notes": "assumed",
}  # fmt: skip


@pytest.fixture(params=BOTH_DATABASES)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A database of the first revision with two images, one of them rejected."""
    if request.param == "sqlite":
        store = Store(f"sqlite:///{tmp_path / 'old.db'}")
    else:
        store = Store(request.getfixturevalue("postgres_url"))
    config = Config()
    config.set_main_option(
        "script_location", str(Path(trap_ops.store.__file__).parent / "migrations")
    )
    with store.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    tables = MetaData()
    with store.write() as connection:
        tables.reflect(connection)

        def fill(name: str, *rows: dict[str, Any]) -> None:
            connection.execute(insert(tables.tables[name]), list(rows))

        fill("dataset", {"id": 1, **_needed(tables.tables["dataset"]), "description": "old"})
        band = {"freq_central": 150e6, "freq_low": 149e6, "freq_high": 151e6}
        fill("frequencyband", {"id": 1, "dataset": 1, **band})
        region = {"centre_ra": 359.5, "centre_decl": -30.25, "xtr_radius": 0.1}
        fill("skyregion", {"id": 1, "dataset": 1, "x": 1.0, "y": 0.0, "z": 0.0, **region})
        files = [{"file_name": f"{n}.fits", "url": f"/n/{n}.fits", "id": n} for n in (1, 2)]
        fill("image", *({**IMAGE, **file} for file in files))
        fill("rejectreason", {"id": 0, "description": "RMS invalid"})
        fill("rejection", {"id": 1, "image": 2, "rejectreason": 0, "comment": "noisy"})
        for table in (rejection, image):
            store.allocate(connection, table, 2)
    yield store
    store.close()


def _needed(table: Table) -> dict[str, Any]:
    """Values for the columns that have to have one."""
    kinds: dict[type, Any] = {str: "{}", int: 0, float: 0.0, datetime: datetime(2024, 1, 1)}
    return {
        column.name: kinds.get(column.type.python_type, False)
        for column in table.c
        if not column.nullable and column.server_default is None and not column.primary_key
    }


def test_a_filled_database_of_the_first_revision_is_brought_up(old: Store) -> None:
    assert old.revision() == "0001"
    with pytest.raises(StoreError, match=r"schema '0001'.*trap-manage initdb"):
        old.check()
    old.upgrade()
    old.check()
    assert old.revision() == SCHEMA_REVISION
    with old.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        rows = images.images_of(connection, 1)
        reasons = set(connection.execute(select(rejectreason.c.id)).scalars())
        assert images.rejections_of(connection, 1) == {2: (0, "noisy")}
        assert quality_checks.checks_of(connection, [1, 2]) == {}
    assert [row.file_name for row in rows] == ["1.fits", "2.fits"]
    assert {(row.plane, row.array) for row in rows} == {(Plane(), ArrayInfo())}
    first = rows[0]
    assert (first.start, first.stokes, first.path) == (IMAGE["taustart_ts"], 4, "/n/1.fits")
    assert (first.rms_qc_jy, first.nan_fraction, first.centre_dec_deg) == (1e-3, 0.25, -30.25)
    assert reasons == {int(reason) for reason in RejectReason}


def test_what_is_new_can_be_written_into_it(old: Store) -> None:
    old.upgrade()
    before = dataset_checksum(old, 1)
    check = Check("rms_range", CheckResult.REJECTED, 2.0, 0.0, 1.0, "Jy/beam", "too high")
    with old.write() as connection:
        images.set_verdicts(
            old, connection, {1: Verdict(False, RejectReason.DUPLICATE, "of another")}
        )
        quality_checks.save_checks(connection, {1: [check]}, ["rms_range"])
    with old.read() as connection:
        (found,) = quality_checks.checks_of(connection, [1])[1]
        assert images.rejections_of(connection, 1)[1] == (7, "of another")
    assert found == check
    assert dataset_checksum(old, 1) != before
    old.upgrade()
    old.check()

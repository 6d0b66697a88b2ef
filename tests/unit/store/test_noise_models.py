"""Noise and footprint of an image, stored and read again: bit for bit, also of older databases."""

from __future__ import annotations

import io

import numpy as np
import pytest
from sqlalchemy import select, update

from export.covered_images import Covered, save
from trap_ops.records.images import Coverage
from trap_ops.science.coverage import make_coverage
from trap_ops.store import images
from trap_ops.store.database import Store
from trap_ops.store.schema import noisemodel

ITEM = Covered("a.fits", rms=((1.0, 2.0), (3.0, 4.0)), hole=(slice(5, 9), slice(7, 20)))


def stored(store: Store) -> bytes:
    with store.read() as connection:
        return connection.execute(select(noisemodel.c.arrays)).scalar_one()


def loaded(store: Store) -> Coverage | None:
    with store.read() as connection:
        image_id = connection.execute(select(noisemodel.c.image)).scalar_one()
        return images.load_coverage(connection, image_id)


def test_what_is_read_is_what_was_written(store: Store) -> None:
    save(store, "night", [ITEM])
    assert loaded(store) == ITEM.coverage
    with store.read() as connection:
        image_id = connection.execute(select(noisemodel.c.image)).scalar_one()
        grid = images.load_noise(connection, image_id).grid
    assert grid.rms.tolist() == ITEM.grid.rms.tolist()


def test_masks_of_every_kind_are_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(1).random((30, 40)) < 0.4
    noise[0, 0] = True
    for number, mask in enumerate((noise, ~noise, noise | True, noise & False)):
        coverage = make_coverage(mask, np.eye(2), ITEM.wcs)
        monkeypatch.setattr(Covered, "coverage", coverage)
        with store.write() as connection:
            connection.execute(noisemodel.delete())
        save(store, f"night{number}", [ITEM])
        assert loaded(store) == coverage


def test_older_databases_are_read(store: Store) -> None:
    """They have the places where runs begin and end as they are."""
    save(store, "night", [ITEM])
    with np.load(io.BytesIO(stored(store)), allow_pickle=False) as arrays:
        columns = {name: arrays[name] for name in arrays.files if name != "runs"}
        assert len(columns) == len(arrays.files) - 1
    columns["changes"] = np.frombuffer(ITEM.coverage.changes, dtype=np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **columns)
    with store.write() as connection:
        connection.execute(update(noisemodel).values(arrays=buffer.getvalue()))
    assert loaded(store) == ITEM.coverage


def test_footprints_take_little_room(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    mask = np.random.default_rng(2).random((512, 512)) < 0.01
    coverage = make_coverage(mask, np.eye(2), ITEM.wcs)
    monkeypatch.setattr(Covered, "coverage", coverage)
    save(store, "night", [ITEM])
    # An eighth; and of rows without holes, next to nothing. The rest takes 6 kB.
    assert len(stored(store)) < 7000 + len(coverage.changes) / 7
    plain = make_coverage(
        np.pad(np.zeros((500, 500), dtype=bool), 6, constant_values=True), np.eye(2), ITEM.wcs
    )
    monkeypatch.setattr(Covered, "coverage", plain)
    with store.write() as connection:
        connection.execute(noisemodel.delete())
    save(store, "plain", [ITEM])
    assert len(plain.changes) == 8000
    assert len(stored(store)) < 7000

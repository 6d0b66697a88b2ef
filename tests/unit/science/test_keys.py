"""Rows of keys among others, against looking each one up."""

from __future__ import annotations

import numpy as np

from trap_ops.science.keys import numbers_of


def test_each_key_gets_the_row_where_it_stands() -> None:
    rng = np.random.default_rng(1)
    known = rng.permutation(np.unique(rng.integers(0, 5, (40, 3)), axis=0))
    keys = rng.integers(0, 6, (200, 3))
    rows = {tuple(key): row for row, key in enumerate(known.tolist())}
    wanted = [rows.get(tuple(key), -1) for key in keys.tolist()]
    assert numbers_of(keys, known).tolist() == wanted
    assert -1 in wanted
    assert numbers_of(keys, known[:0]).tolist() == [-1] * 200
    assert numbers_of(keys[:0], known).tolist() == []

"""Rows of keys, such as sky source, band and Stokes, found among others."""

from __future__ import annotations

import numpy as np

from trap_ops.records.arrays import Ids, IntArray


def numbers_of(keys: Ids | IntArray, known: Ids | IntArray) -> IntArray:
    """Row of each key, (m, k), among known ones that differ, (n, k); -1 of those not there."""
    unique, index = np.unique(np.concatenate([known, keys]), axis=0, return_inverse=True)
    index = index.reshape(-1)
    number = np.full(len(unique), -1)
    number[index[: len(known)]] = np.arange(len(known))
    return number[index[len(known) :]]

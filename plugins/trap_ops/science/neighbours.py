"""Which places are near each other, and what they chain together.

Written out here because scipy.spatial and scipy.sparse, which have the same, take longer to load
than an image of a megapixel takes to be searched, and each task is a new process.
"""

from __future__ import annotations

import numpy as np

from trap_ops.records.arrays import FloatArray, IntArray


def close_pairs(places: FloatArray, reach: float) -> IntArray:
    """Pairs of places at most so far from each other, (m, 2), each once.

    Parameters
    ----------
    places : numpy.ndarray, (n, 2)
    reach : float
    """
    if len(places) < 2:
        return np.empty((0, 2), dtype=np.intp)
    # A hair wider, so that rounding takes no pair more than one cell apart.
    cell = np.floor(places / (reach * (1.0 + 1e-9))).astype(np.intp)
    column, row = (cell - cell.min(axis=0)).T
    width = int(column.max()) + 3  # Beyond the last column nothing is: rows do not touch.
    key = row * width + column
    order = np.argsort(key, kind="stable")
    key = key[order]
    # Of each place those after it in its own cell and the next; and three cells of the next row.
    first = np.concatenate([np.arange(1, len(key) + 1), np.searchsorted(key, key + width - 1)])
    last = np.searchsorted(key, np.concatenate([key + 1, key + width + 1]), side="right")
    count = last - first
    one = np.repeat(np.tile(order, 2), count)
    begin = np.cumsum(count) - count
    other = order[np.arange(len(one)) - np.repeat(begin - first, count)]
    near = ((places[one] - places[other]) ** 2).sum(axis=1) <= reach**2
    return np.stack([one[near], other[near]], axis=1)


def chained(n: int, pairs: IntArray) -> IntArray:
    """Lowest number that each of n items is connected to by a chain of pairs, (n,)."""
    lowest = np.arange(n)
    while True:
        one, other = lowest[pairs].T
        apart = one != other
        if not apart.any():
            return lowest
        # Chains hang on to the lower one of two; then everything moves to the end of its chain.
        np.minimum.at(lowest, np.maximum(one, other)[apart], np.minimum(one, other)[apart])
        while True:
            further = lowest[lowest]
            if np.array_equal(further, lowest):
                break
            lowest = further

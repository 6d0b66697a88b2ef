"""Pairs and chains are those that scipy finds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from trap_ops.science.neighbours import chained, close_pairs


def sets_of(pairs: np.ndarray) -> list[tuple[int, ...]]:
    return sorted(tuple(sorted(pair)) for pair in pairs.tolist())


@pytest.mark.parametrize("reach", [0.3, 2.0, 5.0])
@pytest.mark.parametrize("n", [0, 1, 2, 30, 400])
def test_pairs_are_those_of_a_tree(n: int, reach: float) -> None:
    rng = np.random.default_rng(n)
    for extent in (1.0, 10.0, 60.0):
        anywhere = rng.uniform(-extent, extent, (n, 2))
        # Whole pixels in units of a beam of 6: many are exactly as far apart as they may be.
        for places in (anywhere, np.rint(anywhere * 6.0) / 6.0):
            wanted = cKDTree(places).query_pairs(reach, output_type="ndarray")
            assert sets_of(close_pairs(places, reach)) == sets_of(wanted)


@pytest.mark.parametrize("n_pairs", [0, 20, 90, 300])
def test_chains_are_the_components_of_a_graph(n_pairs: int) -> None:
    pairs = np.random.default_rng(n_pairs).integers(0, 100, (n_pairs, 2))
    graph = coo_matrix((np.ones(n_pairs), pairs.T), shape=(100, 100))
    label = connected_components(graph, directed=False)[1]
    first = np.unique(label, return_index=True)[1]
    assert chained(100, pairs).tolist() == first[label].tolist()


def test_a_long_chain_is_one() -> None:
    order = np.random.default_rng(1).permutation(5000)
    assert (chained(5000, np.stack([order[1:], order[:-1]], axis=1)) == 0).all()

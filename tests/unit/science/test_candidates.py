"""The ranked list: what is on it, in which order, and how often by chance."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from trap_ops.records.light_curves import LightCurveSummary
from trap_ops.science.candidates import CandidateKind, find


def summary(
    eta: list[float],
    count: int | list[int] = 10,
    v: list[float] | None = None,
    new: list[int] | None = None,
) -> LightCurveSummary:
    n = len(eta)
    return LightCurveSummary(
        source=np.arange(100, 100 + n),
        eta=np.array(eta, dtype=float),
        v=np.array(v or [0.5] * n),
        count=np.broadcast_to(np.array(count), n).copy(),
        new_source=np.array(new or [-1] * n),
    )


def test_the_limit_is_on_what_chance_alone_would_give() -> None:
    n = 200
    # Chance of one in 20 001 and one in 19 999 times 200 light curves: 0.01 either side.
    etas = stats.chi2.isf([1 / 20_001, 1 / 19_999], 9) / 9
    found = find(summary([*etas, *[1.0] * (n - 2)]), 0.01, 0.0)
    assert found.item.tolist() == [0]
    assert found.expected_false == pytest.approx([200 / 20_001])
    assert found.score == pytest.approx([np.log10(20_001)])


def test_the_best_come_first_and_equals_in_their_order() -> None:
    found = find(summary([5.0, 100.0, 20.0, 100.0, 1e9, 1e8]), 0.01, 0.0)
    assert found.item.tolist() == [4, 5, 1, 3, 2, 0]
    assert (np.diff(found.score) <= 0).all()
    assert (np.diff(found.expected_false) >= 0).all()


def test_more_points_make_the_same_eta_less_likely() -> None:
    found = find(summary([4.0, 4.0], [5, 50]), 1.0, 0.0)
    assert found.item.tolist() == [1, 0]


def test_a_variable_needs_v_and_a_new_source_does_not() -> None:
    made = summary([50.0] * 4, v=[0.01, 0.2, -0.2, 0.01], new=[-1, -1, -1, 0])
    found = find(made, 0.01, 0.1)
    assert sorted(found.item.tolist()) == [1, 2, 3]
    kinds = dict(zip(found.item.tolist(), found.kind, strict=True))
    assert kinds[1] == kinds[2] == CandidateKind.VARIABLE
    assert kinds[3] == CandidateKind.NEW_SOURCE


def test_a_likely_new_source_with_one_point_comes_last_with_score_0() -> None:
    made = summary([0.0, 50.0, 0.0, 0.0], [1, 10, 1, 1], new=[1, -1, 0, -1])
    found = find(made, 0.01, 0.0)
    assert found.item.tolist() == [1, 0]
    assert found.score[1] == 0.0
    assert found.expected_false[1] == 1.0


def test_a_new_source_that_is_steady_is_none() -> None:
    assert len(find(summary([1.0], new=[1]), 0.01, 0.0).item) == 0


def test_a_steady_sky_has_few_candidates() -> None:
    rng = np.random.default_rng(1)
    found = [
        len(find(summary((rng.chisquare(9, 1000) / 9).tolist()), 0.5, 0.0).item) for _ in range(200)
    ]
    # Poisson with a mean of 100.
    assert sum(found) == pytest.approx(100, abs=40)


def test_nothing_to_choose_from() -> None:
    assert len(find(summary([]), 0.01, 0.0).item) == 0

"""What stands out of light curves, against slow definitions and the laws of noise."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from trap_ops.science import curve_shapes
from trap_ops.science.curve_memory import measure_shapes
from trap_ops.science.curve_shapes import log10_chance, n_runs, run_lengths


def contrast(flux: np.ndarray, error: np.ndarray, first: int, last: int) -> float:
    """Mean of a run minus that of all others, over its error."""
    inside = np.zeros(len(flux), dtype=bool)
    inside[first:last] = True
    weight = 1.0 / error**2
    means = [np.average(flux[part], weights=weight[part]) for part in (inside, ~inside)]
    variance = 1.0 / weight[inside].sum() + 1.0 / weight[~inside].sum()
    return abs(means[0] - means[1]) / np.sqrt(variance)


def slow(flux: np.ndarray, error: np.ndarray) -> list[float]:
    n = len(flux)
    points = [contrast(flux, error, i, i + 1) for i in range(n) if n > 1]
    runs = [
        contrast(flux, error, i, i + length)
        for length in run_lengths(n)
        for i in range(n - length + 1)
    ]
    steps = [contrast(flux, error, 0, k) for k in range(2, n - 1)]
    pairs = [
        (abs(flux[i] - flux[j]) / np.hypot(error[i], error[j]),
         abs(2.0 * (flux[i] - flux[j]) / (flux[i] + flux[j])))
        for i, j in itertools.combinations(range(n), 2)
    ]  # fmt: skip
    vs, m = max(pairs, default=(np.nan, np.nan))
    return [max(points, default=0.0), max(runs, default=0.0), max(steps, default=0.0), vs, m]


def ragged(rng: np.random.Generator, n: int, longest: int) -> tuple[np.ndarray, ...]:
    """Light curves of all lengths, their points mixed with each other."""
    curve = np.repeat(np.arange(n), rng.integers(0, longest, n))
    rng.shuffle(curve)
    error = rng.uniform(0.2, 3.0, len(curve))
    return curve, 5.0 + error * rng.standard_normal(len(curve)), error


@pytest.mark.parametrize("cells", [1_000_000, 50])
def test_shapes_are_those_of_the_definition(monkeypatch: pytest.MonkeyPatch, cells: int) -> None:
    monkeypatch.setattr(curve_shapes, "_BLOCK_PAIRS", cells)
    curve, flux, error = ragged(np.random.default_rng(3), 60, 25)
    made = measure_shapes(curve, flux, error, 60)
    for i in range(60):
        mine = curve == i
        wanted = slow(flux[mine], error[mine])
        found = [values[i] for values in vars(made).values()]
        assert found == pytest.approx(wanted, rel=1e-9, nan_ok=True), i


def test_shapes_do_not_depend_on_what_else_is_measured() -> None:
    """To the last bit: one source alone, or among many in any order."""
    rng = np.random.default_rng(4)
    curve, flux, error = ragged(rng, 40, 60)
    together = measure_shapes(curve, flux, error, 40)
    for i in range(40):
        mine = curve == i
        alone = measure_shapes(np.zeros(mine.sum(), dtype=int), flux[mine], error[mine], 1)
        for name, values in vars(together).items():
            assert values[i].tobytes() == getattr(alone, name)[0].tobytes(), name


def test_the_best_pair_is_found_where_errors_differ() -> None:
    """Not the brightest and the faintest point: these are hardly known."""
    flux = np.array([100.0, 10.0, 20.0, -80.0])
    error = np.array([50.0, 1.0, 1.0, 50.0])
    made = measure_shapes(np.zeros(4, dtype=int), flux, error, 1)
    assert made.vs_max == pytest.approx([10.0 / np.sqrt(2.0)])
    assert made.m_vs_max == pytest.approx([2.0 / 3.0])


def test_fluxes_that_add_up_to_nothing_have_no_m() -> None:
    made = measure_shapes(np.zeros(2, dtype=int), np.array([1.0, -1.0]), np.ones(2), 1)
    assert made.vs_max == pytest.approx([np.sqrt(2.0)])
    assert np.isnan(made.m_vs_max).all()


def test_bright_steady_sources_have_no_rounding_for_shapes() -> None:
    """1e7 times the error: differences of running sums still tell a 6-sigma run."""
    rng = np.random.default_rng(5)
    flux = 1e7 + rng.standard_normal(3000)
    shifted = measure_shapes(np.zeros(3000, dtype=int), flux - 1e7, np.ones(3000), 1)
    made = measure_shapes(np.zeros(3000, dtype=int), flux, np.ones(3000), 1)
    assert made.run_sigma == pytest.approx(shifted.run_sigma, abs=1e-5)


def uniformity(p: np.ndarray) -> float:
    """Kolmogorov-Smirnov distance from the uniform law over that exceeded once in a hundred."""
    n = len(p)
    rank = np.arange(1, n + 1) / n
    p = np.sort(p)
    return max(np.abs(rank - p).max(), np.abs(rank - 1 / n - p).max()) / (1.63 / np.sqrt(n))


def chances(seed: int, fewest: int) -> dict[str, np.ndarray]:
    """Chances of 10,000 steady sources of 5 to 100 points with unlike errors."""
    rng = np.random.default_rng(seed)
    count = rng.integers(fewest, 101, 10_000)
    curve = np.repeat(np.arange(10_000), count)
    error = rng.uniform(0.5, 2.0, len(curve))
    made = measure_shapes(curve, error * rng.standard_normal(len(curve)), error, 10_000)
    return {
        "point": 10.0 ** log10_chance(made.point_sigma, count),
        "run": 10.0 ** log10_chance(made.run_sigma, n_runs(count)),
        "step": 10.0 ** log10_chance(made.step_sigma, count - 3),
    }


def test_the_chance_of_a_point_is_uniform() -> None:
    assert uniformity(chances(1, 5)["point"]) < 1.0


@pytest.mark.parametrize("statistic", ["run", "step"])
def test_the_chance_of_overlapping_runs_is_an_upper_limit(statistic: str) -> None:
    """Runs share points: chances are 2 to 4 times too large, never too small."""
    for seed in (1, 2):
        p = chances(seed, 6)[statistic]
        p = p[np.isfinite(p)]
        for limit in (0.5, 0.1, 0.01):
            spread = 3.0 * np.sqrt(limit / len(p))
            assert limit / 5.0 < (p < limit).mean() < limit + spread, (statistic, limit)


def test_logarithms_of_chances_join_where_they_leave_the_floats() -> None:
    sigma = np.linspace(5.0, 45.0, 4001)
    found = log10_chance(sigma, np.full(4001, 30))
    slope = np.diff(found) / np.diff(sigma)
    assert (np.abs(np.diff(slope)) < 0.01).all()
    assert log10_chance(np.array([1.96]), np.array([1])) == pytest.approx(np.log10(0.05), abs=1e-4)
    assert log10_chance(np.array([0.0]), np.array([5])) == pytest.approx([0.0])
    assert np.isnan(log10_chance(np.array([5.0]), np.array([0]))).all()

"""Light curves in bounded space: exact while short, true and close to the best when long."""

from __future__ import annotations

import numpy as np
import pytest

from trap_ops.records.light_curves import CurveMemory, CurveShapes
from trap_ops.science.curve_memory import (
    CELLS,
    empty_memory,
    measure_shapes,
    remember,
    shapes_of,
)
from trap_ops.science.curve_shapes import log10_chance, n_runs, run_lengths
from trap_ops.store.curve_states import pack_memory, unpack_memory


def exact(flux: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Best point, run and step, and Vs, over all points of a light curve."""
    weight, n = 1.0 / error**2, len(flux)
    deviation = flux - np.average(flux, weights=weight)
    sum_weight = np.r_[0.0, np.cumsum(weight)]
    sums = np.r_[0.0, np.cumsum(weight * deviation)]

    def contrast(first: np.ndarray, last: np.ndarray) -> float:
        of_run = sum_weight[last] - sum_weight[first]
        found = np.abs(sums[last] - sums[first])
        return float((found / np.sqrt(of_run * (1.0 - of_run / sum_weight[-1]))).max())

    at = np.arange(n)
    vs = np.abs(flux[:, None] - flux) / np.hypot(error[:, None], error)
    runs = [contrast(at[: n - k + 1], at[: n - k + 1] + k) for k in run_lengths(n)]
    behind = np.arange(2, n - 1)
    step = contrast(np.zeros_like(behind), behind)
    return np.array([contrast(at, at + 1), max(runs), step, vs.max()])


def measured(flux: np.ndarray, error: np.ndarray) -> np.ndarray:
    """The same from bounded states, for rows of fluxes."""
    curve = np.repeat(np.arange(len(flux)), flux.shape[1])
    made = measure_shapes(curve, flux.ravel(), error.ravel(), len(flux))
    return np.stack([made.point_sigma, made.run_sigma, made.step_sigma, made.vs_max], axis=1)


def test_long_light_curves_keep_their_best_points_and_pairs_exactly() -> None:
    rng = np.random.default_rng(1)
    error = rng.uniform(0.5, 2.0, (50, 700))
    flux = 5.0 + error * rng.standard_normal(error.shape)
    made = measured(flux, error)
    wanted = np.array([exact(f, e) for f, e in zip(flux, error, strict=True)])
    assert made[:, [0, 3]] == pytest.approx(wanted[:, [0, 3]], rel=1e-9)
    # Of steps, the best of very many is not always among those that are looked at; none is higher.
    assert (made[:, 2] <= wanted[:, 2] * (1.0 + 1e-9)).all()
    assert made[:, 1].mean() == pytest.approx(wanted[:, 1].mean(), abs=0.05)


@pytest.mark.parametrize(
    ("first", "length", "statistic"),
    [(500, 1, 0), (500, 7, 1), (333, 40, 1), (850, 100, 1), (100, 150, 1), (0, 300, 2),
     (0, 960, 2), (970, 30, 2)],
)  # fmt: skip
def test_what_stands_out_of_a_long_light_curve_is_found(
    first: int, length: int, statistic: int
) -> None:
    """Of a signal of ten errors at most a tenth is lost, wherever it is and whatever follows."""
    rng = np.random.default_rng(length)
    flux = rng.standard_normal((60, 1000))
    weight = length * (1.0 - length / 1000.0)
    flux[:, first : first + length] += 10.0 / np.sqrt(weight)
    error = np.ones_like(flux)
    made = measured(flux, error)[:, statistic]
    wanted = np.array([exact(f, e)[statistic] for f, e in zip(flux, error, strict=True)])
    assert (made > 0.9 * wanted - 0.5).all()
    assert made.mean() > 0.95 * wanted.mean()


def test_the_best_pair_is_kept_where_others_are_brighter_and_fainter() -> None:
    """Single points that stand out more, on either side, have unlike errors: their Vs is less."""
    flux = np.r_[20.0, -20.0, np.full(5, 2400.0), np.full(5, -2.4), np.zeros(300)]
    error = np.r_[1.0, 1.0, np.full(5, 100.0), np.full(5, 0.1), np.full(300, 0.05)]
    made = measure_shapes(np.zeros(len(flux), dtype=int), flux, error, 1)
    assert made.vs_max == pytest.approx([40.0 / np.sqrt(2.0)])
    assert made.vs_max == pytest.approx([exact(flux, error)[3]])


def same(first: CurveMemory | CurveShapes, second: CurveMemory | CurveShapes) -> bool:
    return all(
        value.tobytes() == getattr(second, name).tobytes() for name, value in vars(first).items()
    )


def test_how_many_points_come_together_does_not_matter() -> None:
    """To the last bit: all at once, one by one, in pieces, packed and unpacked in between."""
    rng = np.random.default_rng(3)
    curve = rng.integers(0, 5, 1500)
    error = rng.uniform(0.2, 3.0, 1500)
    flux = 1e4 + error * rng.standard_normal(1500)
    whole = empty_memory(6)
    remember(whole, curve, flux, error)
    for pieces in (1500, 37, 3):
        memory = empty_memory(6)
        for part in np.array_split(np.arange(1500), pieces):
            remember(memory, curve[part], flux[part], error[part])
            memory = unpack_memory(pack_memory(memory))
        assert same(memory, whole), pieces
        assert same(shapes_of(memory), shapes_of(whole))


def test_other_light_curves_do_not_matter() -> None:
    rng = np.random.default_rng(4)
    count = np.array([3, 64, 65, 80, 81, 400, 2000])
    curve = np.repeat(np.arange(7), count)
    rng.shuffle(curve)
    error = rng.uniform(0.5, 2.0, len(curve))
    flux = error * rng.standard_normal(len(curve))
    together = measure_shapes(curve, flux, error, 7)
    for i in range(7):
        mine = curve == i
        alone = measure_shapes(np.zeros(count[i], dtype=int), flux[mine], error[mine], 1)
        assert same(alone, together.take(np.array([i]))), count[i]


def test_states_are_bounded_and_hold_every_point() -> None:
    rng = np.random.default_rng(5)
    error = rng.uniform(0.5, 2.0, 5000)
    flux = 3.0 + error * rng.standard_normal(5000)
    memory = empty_memory(1)
    remember(memory, np.zeros(5000, dtype=int), flux, error)
    assert memory.points.sum() == 5000
    assert memory.weight.sum() == pytest.approx((1.0 / error**2).sum())
    mean = np.average(flux, weights=1.0 / error**2)
    assert np.average(memory.flux_jy, weights=memory.weight) == pytest.approx(mean)
    assert len(pack_memory(memory)[0]) < 2000
    sizes = memory.points[0][memory.points[0] > 0]
    assert len(sizes) <= CELLS
    age = np.cumsum(sizes[::-1])[::-1]
    assert sizes[-3:].tolist() == [1, 1, 1]
    assert (sizes[age > 100] < 0.35 * age[age > 100]).all()


def test_chances_of_long_steady_light_curves_are_upper_limits() -> None:
    """No more runs and steps of steady sources stand out than the number of trials allows."""
    rng = np.random.default_rng(6)
    n, count = 4000, 300
    flux = rng.standard_normal((n, count))
    made = measured(flux, np.ones_like(flux))
    counts = np.full(n, count)
    for column, trials in ((0, counts), (1, n_runs(counts)), (2, counts - 3)):
        p = 10.0 ** log10_chance(made[:, column], trials)
        for limit in (0.5, 0.1, 0.01):
            spread = 3.0 * np.sqrt(limit * (1.0 - limit) / n)
            assert (p < limit).mean() < limit + spread, (column, limit)

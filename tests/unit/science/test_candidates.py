"""Which light curves become candidates, in which order, and how many steady ones do by chance."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.ndimage import maximum_filter

from trap_ops.records.light_curves import CurveShapes, LightCurveSummary
from trap_ops.science.candidates import STATISTICS, Statistic, find, log10_noise_peaks
from trap_ops.simulate.noise import correlated_noise

BEAMS = 1e6
# Statistics of a light curve of 10 points: eta, point, run, step.
N_TRIED = 4


def summary(
    eta: list[float],
    count: int | list[int] = 10,
    v: list[float] | None = None,
    new: list[int] | None = None,
    source: list[int] | None = None,
    detections: list[int] | None = None,
    **shapes: list[float],
) -> LightCurveSummary:
    n = len(eta)
    zero = [0.0] * n
    return LightCurveSummary(
        source=np.array(source or range(100, 100 + n), dtype=np.int64),
        band=np.ones(n, dtype=np.int64),
        stokes=np.ones(n, dtype=np.int64),
        eta=np.array(eta, dtype=float),
        v=np.array(v or [0.5] * n),
        count=np.broadcast_to(np.array(count, dtype=np.int64), n).copy(),
        shapes=CurveShapes(
            *(np.array(shapes.get(name, zero), dtype=float)
              for name in ("point_sigma", "run_sigma", "step_sigma", "vs_max", "m_vs_max"))
        ),
        flux_jy=np.ones(n),
        vectors=np.tile([1.0, 0.0, 0.0], (n, 1)),
        new_source=np.array(new or [-1] * n, dtype=np.int64),
        detections=np.array(detections or [2] * n, dtype=np.int64),
    )  # fmt: skip


def test_the_limit_is_on_what_chance_alone_would_give() -> None:
    n = 200
    # Chance of one in 80 004 and one in 79 996 times 200 light curves and 4 statistics: 0.01
    # either side.
    etas = stats.chi2.isf([1 / 80_004, 1 / 79_996], 9) / 9
    found = find(summary([*etas, *[1.0] * (n - 2)]), 0.01, 0.0, BEAMS)
    assert found.item.tolist() == [0]
    assert found.expected_false == pytest.approx([200 / 20_001])
    assert found.score == pytest.approx([np.log10(20_001)])


def test_the_best_come_first_and_equals_in_their_order() -> None:
    found = find(summary([6.0, 100.0, 20.0, 100.0, 1e9, 1e8]), 0.01, 0.0, BEAMS)
    assert found.item.tolist() == [4, 5, 1, 3, 2, 0]
    assert (np.diff(found.score) <= 0).all()
    assert (np.diff(found.expected_false) >= 0).all()


def test_more_points_make_the_same_eta_less_likely() -> None:
    found = find(summary([5.0, 5.0], [5, 50]), 1.0, 0.0, BEAMS)
    assert found.item.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("name", "trials"), [("point_sigma", 10), ("run_sigma", 9 + 8), ("step_sigma", 7)]
)
def test_any_statistic_makes_a_candidate_with_its_trials_counted(name: str, trials: int) -> None:
    """One in 1000 and a bit either side, of two light curves."""
    chance = 1e-3 / (2 * N_TRIED * trials)
    sigma = stats.norm.isf(np.array([chance * 0.99, chance * 1.01]) / 2.0)
    made = summary([1.0, 1.0], **{name: sigma.tolist()})
    found = find(made, 1e-3, 0.0, BEAMS)
    assert found.item.tolist() == [0]
    assert found.expected_false == pytest.approx([0.99e-3], rel=1e-3)
    statistic = STATISTICS[found.statistic[0]]
    assert f"{statistic}_sigma" == name


def test_a_single_bright_epoch_is_not_diluted_by_many_quiet_ones() -> None:
    """8 sigma in 1 of 1000 images: chi-squared grows from 999 to 1063, which happens."""
    made = summary([1063 / 999, 1.0], 1000, point_sigma=[8.0, 3.0])
    found = find(made, 1e-9, 0.0, BEAMS)
    assert found.item.tolist() == [0]
    assert STATISTICS[found.statistic[0]] is Statistic.POINT
    assert find(summary([1063 / 999], 1000), 1e-2, 0.0, BEAMS).item.tolist() == []


def test_chances_too_small_for_a_float_still_have_an_order() -> None:
    found = find(summary([1.0] * 3, point_sigma=[100.0, 300.0, 200.0]), 1.0, 0.0, BEAMS)
    assert found.item.tolist() == [1, 2, 0]
    assert np.isfinite(found.score).all()
    assert found.score[0] == pytest.approx(300.0**2 / 2 / np.log(10), rel=1e-3)


def test_shapes_that_were_never_measured_do_not_count() -> None:
    """After a migration: the light curve is judged by eta alone."""
    missing = summary([20.0], **{name: [np.nan] for name in ("point_sigma", "run_sigma")})
    assert find(missing, 0.01, 0.0, BEAMS).item.tolist() == [0]


def test_a_source_with_several_bands_is_one_candidate_by_its_best() -> None:
    made = summary([20.0, 50.0, 1.0, 40.0], source=[7, 7, 7, 8])
    found = find(made, 0.01, 0.0, BEAMS)
    assert found.item.tolist() == [1, 3]


def test_a_source_that_varies_in_one_band_is_no_untried_new_source_in_another() -> None:
    made = summary([0.0, 1.0, 0.0], [1, 10, 1], new=[1, 1, 1], source=[7, 7, 8])
    assert find(made, 0.01, 0.0, BEAMS).item.tolist() == [2]


def test_a_variable_needs_v_and_a_new_source_does_not() -> None:
    made = summary([50.0] * 4, v=[0.01, 0.2, -0.2, 0.01], new=[-1, -1, -1, 0])
    assert sorted(find(made, 0.01, 0.1, BEAMS).item.tolist()) == [1, 2, 3]


def test_a_likely_new_source_with_one_point_comes_last_with_score_0() -> None:
    made = summary([0.0, 50.0, 0.0, 0.0], [1, 10, 1, 1], new=[1, -1, 0, -1])
    found = find(made, 0.01, 0.0, BEAMS)
    assert found.item.tolist() == [1, 0]
    assert found.score[1] == 0.0
    assert found.expected_false[1] == 1.0
    assert found.statistic[1] == -1


def test_a_new_source_that_is_steady_is_none() -> None:
    assert len(find(summary([1.0], new=[1]), 0.01, 0.0, BEAMS).item) == 0


def test_a_steady_sky_has_few_candidates() -> None:
    """A quarter of the limit for each statistic that is tried."""
    rng = np.random.default_rng(1)
    found = [
        len(find(summary((rng.chisquare(9, 1000) / 9).tolist()), 2.0, 0.0, BEAMS).item)
        for _ in range(200)
    ]
    # Poisson with a mean of 100.
    assert sum(found) == pytest.approx(100, abs=40)


def test_nothing_to_choose_from() -> None:
    assert len(find(summary([]), 0.01, 0.0, BEAMS).item) == 0


def test_what_is_detected_once_has_the_peaks_of_all_noise_to_beat() -> None:
    """6 sigma in 30 points: 36 Q(6) a beam, so 0.0355 such maxima in a million beams."""
    once = summary([1.0] * 1000, 30, detections=[1, 2] * 500, point_sigma=[6.0, 6.0, *[1.0] * 998])
    found = find(once, 0.1, 0.0, BEAMS)
    assert sorted(found.item.tolist()) == [0, 1]
    expected = dict(zip(found.item.tolist(), found.expected_false.tolist(), strict=True))
    assert expected[0] == pytest.approx(1e6 * 36.0 * stats.norm.sf(6.0), rel=1e-6)
    assert expected[1] == pytest.approx(1000 * 4 * 30 * 2.0 * stats.norm.sf(6.0), rel=1e-3)
    assert found.item.tolist() == [1, 0]
    assert find(once, 0.01, 0.0, BEAMS).item.tolist() == [1]
    # Larger images have more noise, and a brighter one stands out of it all the same.
    assert find(once, 0.1, 0.0, 10.0 * BEAMS).item.tolist() == [1]
    bright = summary([1.0] * 1000, 30, detections=[1] * 1000, point_sigma=[9.0, *[1.0] * 999])
    assert find(bright, 0.01, 0.0, BEAMS).item.tolist() == [0]


def test_maxima_of_noise_are_as_many_as_are_counted() -> None:
    """20 fields of 1 Mpix, correlated as a beam of 12 pixels: maxima above 3.5 and 4 sigma."""
    rng = np.random.default_rng(4)
    beam = np.eye(2) * (12.0 / np.sqrt(8.0 * np.log(2.0))) ** 2
    n_beams = 20 * 1024**2 / (np.pi / (4.0 * np.log(2.0)) * 144.0)
    heights = []
    for _ in range(20):
        field = correlated_noise((1024, 1024), beam, "natural", rng)
        highest = maximum_filter(field, 3, mode="wrap") == field
        heights.append(field[highest & (field > 3.5)])
    high = np.concatenate(heights)
    for limit in (3.5, 4.0):
        number = int((high > limit).sum())
        expected = 10.0 ** log10_noise_peaks(np.array([limit]), n_beams)[0]
        # The law is that of high maxima: true to a tenth here, and pixels cut off a little.
        assert abs(number - expected) < 0.1 * expected + 3.0 * np.sqrt(expected), (limit, number)

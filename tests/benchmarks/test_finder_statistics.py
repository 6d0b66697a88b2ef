"""Statistics of source finders against what they are made from, and faults that they must show."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.finder_sets import PULLS, Matches, match, plan_of
from benchmarks.finder_statistics import (
    FaintMatches,
    compare_at_equal_rate,
    expected_maxima,
    expected_peaks,
    false_detections,
    false_rate_cut,
    paired_difference,
    statistics,
)
from scipy import ndimage

from trap_ops.simulate.fields import make_field
from trap_ops.simulate.noise import correlated_noise

N_TILES = 400
PROGRAMS = {"ours": "ours.py", "other": "peer.py"}


def made_matches(
    rng: np.random.Generator, *, scale: float = 1.0, n_false: int = 300, n: int = 4000
) -> FaintMatches:
    """A finder whose significance is the true one and unit noise, times a factor."""
    snr = np.exp(rng.uniform(np.log(3.5), np.log(12.0), n))
    return FaintMatches(
        snr,
        scale * (snr + rng.standard_normal(n)),
        scale * (4.0 + rng.exponential(0.2, n_false)),
        rng.integers(0, N_TILES, n_false),
        np.zeros(0),
    )


def with_significance(item: FaintMatches, significance: np.ndarray) -> FaintMatches:
    return FaintMatches(item.snr, significance, item.false_significance, item.tile, item.spurious)


class TestFalseRateCut:
    def test_leaves_as_many_as_allowed(self):
        values = np.random.default_rng(1).permutation(np.arange(100.0))
        assert false_rate_cut(values, 10) == pytest.approx(89.5)
        assert (values > false_rate_cut(values, 10)).sum() == 10

    def test_is_interpolated_between_detections(self):
        assert false_rate_cut(np.array([7.0, 5.0, 4.0]), 1.25) == pytest.approx(5.5)

    def test_is_the_least_if_there_are_too_few(self):
        assert false_rate_cut(np.array([6.0, 5.0]), 10) == 5.0
        assert false_rate_cut(np.zeros(0), 10) == 0.0

    def test_a_weight_counts_as_often(self):
        values = np.array([6.0, 9.0, 8.0, 5.0, 7.0])
        counts = np.array([1.0, 3.0, 0.0, 4.0, 2.0])
        # Equal ones stand at the middle of their ranks: 9 at 1.5, 7 at 4, 6 at 5.5.
        assert false_rate_cut(values, 4.0, counts) == pytest.approx(7.0)
        assert false_rate_cut(values, 4.75, counts) == pytest.approx(6.5)


class TestFalseDetections:
    def test_each_is_in_the_tile_of_its_place(self):
        catalogue = {
            "x": np.array([0.0, 300.0, 511.4, 511.9]),
            "y": np.array([0.0, -0.3, 500.0, 10.0]),
            "snr": np.arange(4.0),
        }
        significance, tile, n_tiles = false_detections([catalogue, catalogue], 512)
        assert n_tiles == 8
        assert tile.tolist() == [0, 1, 3, 1, 4, 5, 7, 5]
        assert significance.tolist() == [0.0, 1.0, 2.0, 3.0] * 2


class TestCompareAtEqualRate:
    def test_the_unit_of_significance_does_not_matter(self):
        one = made_matches(np.random.default_rng(2))
        same = made_matches(np.random.default_rng(2), scale=1.3)
        made = compare_at_equal_rate({"ours": one, "other": same}, PROGRAMS, N_TILES, 30.0)
        assert made["other"]["cut"] == pytest.approx(1.3 * made["ours"]["cut"], abs=2e-3)
        assert [row["difference"] for row in made["ours"]["bins"]] == [0.0] * 4
        # At one cut in its own unit for both, the second one would look far better.
        assert (same.significance > 4.5).mean() > (one.significance > 4.5).mean() + 0.1

    def test_a_finder_that_loses_sources_is_seen(self):
        rng = np.random.default_rng(3)
        good = made_matches(rng)
        lost = (good.snr > 6.0) & (good.snr < 8.0) & (rng.uniform(size=len(good.snr)) < 0.02)
        bad = with_significance(good, np.where(lost, -np.inf, good.significance))
        made = compare_at_equal_rate({"ours": bad, "other": good}, PROGRAMS, N_TILES, 30.0)
        in_errors = [row["in_errors"] for row in made["ours"]["bins"]]
        assert in_errors[2] < -2.0
        assert in_errors[:2] == [0.0, 0.0]
        assert made["other"]["bins"][2]["in_errors"] == -in_errors[2]

    def test_finders_of_one_program_are_not_compared(self):
        item = made_matches(np.random.default_rng(4))
        made = compare_at_equal_rate(
            {"a": item, "b": item}, {"a": "ours.py", "b": "ours.py"}, N_TILES, 30.0
        )
        assert "best_other" not in made["a"]["bins"][0]

    def test_too_few_false_detections_are_reported(self):
        item = made_matches(np.random.default_rng(5), n_false=20)
        made = compare_at_equal_rate({"ours": item}, PROGRAMS, N_TILES, 30.0)
        assert not made["ours"]["enough_false"]

    def test_the_error_of_a_cut_is_its_scatter(self):
        rng = np.random.default_rng(6)
        made = [
            compare_at_equal_rate(
                {"ours": made_matches(rng, n=0, n_false=rng.poisson(300))}, PROGRAMS, N_TILES, 30.0
            )["ours"]
            for _ in range(60)
        ]
        scatter = np.std([item["cut"] for item in made])
        assert np.mean([item["cut_error"] for item in made]) == pytest.approx(scatter, rel=0.25)
        # Poisson's 1 / sqrt(30) of a law that falls by e in 0.2.
        assert scatter == pytest.approx(0.2 / np.sqrt(30.0), rel=0.3)


class TestPairedDifference:
    def test_its_error_is_the_scatter_of_repeated_trials(self):
        rng = np.random.default_rng(7)
        n, both, one = 400, 0.6, 0.03
        made = []
        for _ in range(800):
            u = rng.uniform(size=n)
            first, second = u < both, (u < both - one) | (u > 1.0 - one)
            made.append(paired_difference(first[None].repeat(2, 0), second[None].repeat(2, 0)))
        scatter = np.std([item["difference"] for item in made])
        errors = np.mean([item["paired_error"] for item in made])
        assert errors == pytest.approx(scatter, rel=0.1)
        # As if the sources were different ones, it would be three times as large.
        assert np.sqrt(2.0 * both * (1.0 - both) / n) > 2.5 * scatter

    def test_cuts_that_move_together_add_little(self):
        rng = np.random.default_rng(8)
        significance = rng.normal(5.0, 1.0, 2000)
        cuts = rng.normal(4.5, 0.2, 201)[:, None]
        together = paired_difference(significance >= cuts, significance >= cuts + 0.01)
        apart = paired_difference(significance >= cuts, significance >= rng.permutation(cuts))
        assert together["cuts_error"] < 0.1 * apart["cuts_error"]


class TestExpectedMaxima:
    @pytest.mark.parametrize(("kind", "scale"), [("natural", 1.0), ("beam-smoothed", 2.0)])
    def test_agrees_with_simulated_noise(self, kind, scale):
        beam = plan_of("ell", 1024).beam_covariance_px
        rng = np.random.default_rng(9)
        for threshold, tolerance in ((1.0, 0.05), (3.0, 0.1)):
            n = 0
            for _ in range(4):
                noise = correlated_noise((1024, 1024), beam, kind, rng)
                highest = noise == ndimage.maximum_filter(noise, 3, mode="wrap")
                n += int((highest & (noise > threshold)).sum())
            expected = [
                expected_maxima(threshold, factor * beam) * 4 * 2**20 for factor in (scale, 1.5)
            ]
            assert n == pytest.approx(expected[0], rel=tolerance)
            assert n != pytest.approx(expected[1], rel=tolerance)

    def test_the_highest_pixel_of_a_maximum_is_below_it(self):
        beam = plan_of("coarse", 1024).beam_covariance_px
        rng = np.random.default_rng(15)
        n = 0
        for _ in range(12):
            noise = correlated_noise((1024, 1024), beam, "natural", rng)
            n += int(
                ((noise == ndimage.maximum_filter(noise, 3, mode="wrap")) & (noise > 3.5)).sum()
            )
        assert n == pytest.approx(expected_peaks(3.5, beam) * 12 * 2**20, rel=0.08)
        assert n < 0.7 * expected_maxima(3.5, beam) * 12 * 2**20

    def test_high_above_the_noise_it_is_adlers(self):
        a2 = 13.0
        adler = (2.0 * np.pi) ** -1.5 * 5.0 * np.exp(-12.5) / a2
        assert expected_maxima(5.0, a2 * np.eye(2)) == pytest.approx(adler, rel=1e-4)


class TestStatistics:
    @staticmethod
    def made(off: np.ndarray, error: float = 1.0) -> dict:
        n = len(off)
        columns = dict.fromkeys(PULLS, off)
        return statistics(
            Matches(
                np.full(n, 50.0), np.ones(n, dtype=bool), columns,
                dict.fromkeys(PULLS, off / error), np.full(n, 50.0), np.full(n, 0.5),
                np.zeros(0),
            )
        )[3]  # fmt: skip

    def test_a_bias_is_seen_in_median_and_mean(self):
        off = np.random.default_rng(10).standard_normal(4000) + 0.3
        row = self.made(off)
        for key in ("bias", "mean_bias"):
            for quantity in ("peak", "flux"):
                value, error = (row[f"{quantity}_{key}_sigma{end}"] for end in ("", "_error"))
                assert abs(value - 0.3) < 4.0 * error
                assert row[f"{quantity}_{key}_percent"] == pytest.approx(2.0 * value, abs=1e-3)

    def test_errors_are_the_scatter_of_repeated_trials(self):
        rng = np.random.default_rng(11)
        rows = [self.made(rng.standard_normal(300)) for _ in range(300)]
        for key in ("peak_bias_sigma", "peak_mean_bias_sigma"):
            scatter = np.std([row[key] for row in rows])
            errors = np.mean([row[f"{key}_error"] for row in rows])
            assert errors == pytest.approx(scatter, rel=0.15)

    def test_outliers_do_not_move_the_clipped_mean(self):
        off = np.random.default_rng(12).standard_normal(1000)
        off[:10] = 500.0
        assert off.mean() > 4.0
        assert abs(self.made(off)["peak_mean_bias_sigma"]) < 0.15

    def test_errors_that_are_too_small_are_seen(self):
        off = np.random.default_rng(13).standard_normal(5000)
        assert self.made(off, error=0.8)["pulls"] == pytest.approx([1.25] * 4, abs=0.06)
        assert self.made(off)["position_scatter"] == pytest.approx([2.0] * 2, abs=0.1)


class TestMatch:
    def test_what_is_no_source_is_spurious_and_the_rest_keeps_its_significance(self):
        field = make_field(plan_of("base", 256), np.random.default_rng(14))
        n = len(field.x)
        columns = {name: np.append(vars(field)[name], 1.0) for name in ("x", "y", "peak", "flux")}
        columns |= {f"{name}_err": np.ones(n + 1) for name in PULLS}
        columns["snr"] = np.arange(n + 1.0)
        columns["x"][0] += 0.5 * 6.0
        columns["x"][1] += 0.7 * 6.0
        made = match("base", field, columns)
        assert made.found.tolist() == [True, False, *[True] * (n - 2)]
        assert made.significance.tolist() == [0.0, -np.inf, *np.arange(2.0, n)]
        assert made.spurious.tolist() == [1.0, n]
        assert made.position_unit == pytest.approx(6.0 / 2.3548 / made.snr, rel=1e-4)

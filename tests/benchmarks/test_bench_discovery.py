"""Parts of the discovery benchmark against rankings that can be judged by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from benchmarks.discovery_programs import PipelineRun
from benchmarks.discovery_ranking import (
    Outcome,
    Ranking,
    average_precision,
    compare,
    eta_v_significance,
    figures,
    true_rates,
)
from benchmarks.discovery_skies import ARTEFACTS, SKIES, sky_of, spoiled_sky
from benchmarks.discovery_tables import markdown
from benchmarks.discovery_vetoes import by_distance, judge, losses

from trap_ops.science.artefacts import bodies_at
from trap_ops.science.coordinates import unit_vectors
from trap_ops.simulate.discovery import DiscoveryTruth, Setting
from trap_ops.simulate.series import make_images
from trap_ops.simulate.sky import SimulatedSky

BEAM_DEG = 30.0 / 3600.0


def truth() -> DiscoveryTruth:
    """Three that vary, the second by 8 rms only, and a steady one, each a degree from the next."""
    sky = SimulatedSky(
        name=["burst-000", "flare-001", "step-002", "steady-0000"],
        kind=["transient", "variable", "variable", "steady"],
        ra_deg=np.array([10.0, 11.0, 12.0, 13.0]),
        dec_deg=np.zeros(4),
        flux_jy=np.full((2, 4), 0.03),
        spectral_index=np.zeros(4),
        shape=["burst", "flare", "step", "constant"],
    )
    return DiscoveryTruth(
        sky=sky,
        setting=[Setting.FIELD] * 4,
        quiescent_jy=np.zeros(4),
        rms_jy=np.full(4, 1e-3),
        excess_sigma=np.array([30.0, 8.0, 20.0, 0.0]),
        neighbour_beams=np.array([0.85, 1.5, 1.1, 9.0]),
        neighbour_jy=np.full(4, 0.06),
    )


def ranking(*ra_deg: float, listed: int = 0) -> Ranking:
    return Ranking(np.array(ra_deg), np.zeros(len(ra_deg)), listed)


class TestRanking:
    def test_rows_within_a_beam_are_of_the_source(self):
        made = compare(truth(), ranking(13.0, 12.0 + 0.9 * BEAM_DEG, 10.0, 10.0, 11.5), BEAM_DEG)
        assert made.best.tolist() == [2, 5, 1]
        assert made.is_false.tolist() == [True, False, False, False, True]
        far = compare(truth(), ranking(12.0 + 1.1 * BEAM_DEG), BEAM_DEG)
        assert far.best.tolist() == [1, 1, 1]

    def test_the_first_rows_are_eleven_for_ten(self):
        excess = np.array([10.0] * 20 + [9.9] * 10)
        best = np.arange(30)
        best[[18, 19]] = 21, 22
        made = Outcome(best, excess, np.zeros(40, dtype=bool), 0)
        assert made.first_rows == 22
        assert made.rows_for_all == 33
        assert made.missed.tolist() == [19]
        assert figures(made)["within"] == 19
        assert figures(made)["within_of_all"] == 20

    def test_average_precision_by_hand(self):
        # False, true, true: 1/2 and 2/3; the one of 8 rms counts neither way.
        made = compare(truth(), ranking(13.0, 12.0, 11.0, 10.0), BEAM_DEG)
        assert average_precision(made) == pytest.approx((1 / 2 + 2 / 3) / 2)
        best = compare(truth(), ranking(12.0, 11.0, 10.0, 13.0), BEAM_DEG)
        assert average_precision(best) == 1.0
        half = compare(truth(), ranking(12.0, 13.0), BEAM_DEG)
        assert average_precision(half) == 0.5

    def test_true_rates_by_hand(self):
        false = [20.0 + i for i in range(10)]
        rows = [12.0, *false[:2], 10.0, *false[2:]]
        made = true_rates(compare(truth(), ranking(*rows), BEAM_DEG))
        assert made["at 0.001"] == 0.5
        assert made["at 0.1"] == 0.5
        assert made["area"] == pytest.approx((1.0 + 0.8) / 2)
        # What is in no row is never found.
        missing = true_rates(compare(truth(), ranking(12.0, *false), BEAM_DEG))
        assert missing["area"] == 0.5

    def test_significance_is_the_lesser_of_both(self):
        rng = np.random.default_rng(2)
        eta, v = 10.0 ** rng.normal(0.0, 0.2, 5000), 10.0 ** rng.normal(-1.0, 0.1, 5000)
        fitted = np.ones(5000, dtype=bool)
        eta[:2], v[:2], fitted[:3] = [10.0, 10.0], [10.0**-0.7, 1.0], False
        eta[2] = 0.0
        made = eta_v_significance(eta, v, fitted)
        assert made[:2] == pytest.approx([3.0, 5.0], abs=0.2)
        assert made[2] == -np.inf


class TestVetoes:
    def judged(self):
        ra = np.array([12.0, 20.0, 10.0, 10.0, 21.0])
        vetoes = [set(), set(), {"blend", "edge"}, {"sidelobe"}, {"blend"}]
        run = PipelineRun({}, ra, np.zeros(5), vetoes, 1.0)
        return judge(truth(), run, BEAM_DEG)

    def test_the_first_row_of_a_source_counts(self):
        made = self.judged()
        assert made.row.tolist() == [2, -1, 0]
        assert made.vetoes == [{"blend", "edge"}, set(), set()]
        assert made.false_vetoes == [set(), {"blend"}]
        assert losses(made.vetoes) == {"blend": 1, "edge": 1, "any": 1}
        assert made.neighbour_ratio == pytest.approx([2.0, 7.5, 3.0])

    def test_by_distance(self):
        made = by_distance([self.judged()], (0.8, 1.0, 1.3, 2.0))
        assert [part["injected"] for part in made] == [1, 1, 0]
        assert [part["blend"] for part in made] == [1, 0, 0]
        assert [part["no candidate"] for part in made] == [0, 0, 0]


class TestSkies:
    def test_seeds_are_different_skies(self):
        for name in SKIES:
            assert sky_of(name, 2) == replace(
                sky_of(name, 1), series=replace(sky_of(name, 1).series, seed=2)
            )

    @pytest.mark.parametrize("veto", [veto for veto in ARTEFACTS if veto != "blend"])
    def test_artefacts_are_in_some_images_only(self, veto):
        made = spoiled_sky(veto, 1)
        series = replace(made.plan.series, n_epochs=12, rms_jy=1e-9)
        empty = SimulatedSky([], [], *np.zeros((2, 10)), np.zeros((24, 10)), np.zeros(10))
        changed = []
        for image in make_images(series, empty):
            # Bright sources of which the sidelobes are: far from all else.
            image.x[:], image.y[:] = 100.0 * np.arange(10.0), 384.0
            made.spoil(image)
            spots = np.nan_to_num(image.pixels) > 5e-3
            changed.append(int(spots.sum()))
        assert max(changed) > 0
        if veto == "crowded_image":
            assert np.count_nonzero(changed) == 1
        elif veto == "solar_system":
            assert np.count_nonzero(changed) > 6
        else:
            assert min(changed) < max(changed)

    def test_jupiter_is_where_the_veto_looks(self):
        """Two ephemerides of it, one of which has light time and aberration."""
        made = spoiled_sky("solar_system", 1).plan.series
        vectors = unit_vectors([made.centre_ra_deg], [made.centre_dec_deg])
        middle = (
            np.array([made.n_epochs // 2 * made.cadence_s + made.integration_s / 2.0]) / 86400.0
        )
        days = np.array([2461041.5])  # 2026-01-01
        assert bodies_at(vectors, days, middle, np.array([0.0])) == ["Jupiter"]


def test_tables_have_what_was_measured():
    outcome = compare(truth(), ranking(12.0, 10.0, 13.0, listed=2), BEAM_DEG)
    run = {
        "injected": 3, "missed": [{"name": "burst-000", "why": "blend"}], "candidates": 2,
        "lost": {"blend": 1, "any": 1}, "rows": 3, "false": 1, "false_vetoed": {"any": 1},
        "second": 0, "cpu_s": 2.0,
    }  # fmt: skip
    run["lost"], run["false_vetoed"] = losses([{"blend"}]), losses([{"edge"}])
    sky = {"seed": 1, "rankings": {"candidates": figures(outcome)}, "runs": {"as found": run}}
    part = {"from": 0.8, "to": 0.9, "injected": 4, "no candidate": 1, "blend": 2}
    made = markdown(
        {
            "skies": {"first": [sky, sky]},
            "close": {"as found": [part]},
            "artefacts": {"blend": {"candidates": 5, "with it": 4, "with any": 5}},
        }
    )
    assert "| candidates | 2 | 4 of 4 |" in made
    assert "| `blend` | 2 of 4 | 4 of 5 | 5 of 5 |" in made
    assert "| 0.8-0.9 | 4 | 1 | 2 |" in made
    assert "| first | as found | 6 | 4 | 0 | 2 | 2 | 2 | 2.0 |" in made

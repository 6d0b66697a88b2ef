"""Checks against the catalogue: values and errors that are true, and what they decide."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trap_ops.config.model import CatalogueChecksConfig
from trap_ops.records.images import Check, CheckResult, RejectReason
from trap_ops.records.sources import Flag
from trap_ops.science.catalogue_checks import (
    CATALOGUE_CHECKS,
    Counted,
    check_flux_scale,
    check_source_count,
    flux_ratio,
)
from trap_ops.science.catalogue_match import Frame, find_counterparts
from trap_ops.science.coordinates import unit_vectors
from trap_ops.science.robust import robust_centre
from unit.science.made_fields import BEAM_DEG, RMS_JY, Field

# A matter of seconds: not part of make test-fast.
pytestmark = pytest.mark.slow

ACCEPTED, WARNED = CheckResult.ACCEPTED, CheckResult.WARNED
REJECTED, NOT_MADE = CheckResult.REJECTED, CheckResult.NOT_MADE
CONFIG = CatalogueChecksConfig()
NUMBERS = re.compile(r"(-?[\d.]+(?:e[-+]\d+)?) \+- ([\d.]+(?:e[-+]\d+)?)")
# What the weights take for granted: each source's flux and position scatter in each image.
SCATTER = {"flux_scatter": 0.03, "position_scatter": 0.1}


def measured(check: Check) -> list[tuple[float, float]]:
    """Value and error as a check's comment tells them: arcsec of offsets."""
    return [(float(value), float(error)) for value, error in NUMBERS.findall(check.comment)]


def results(made: dict[str, Check]) -> tuple[CheckResult, ...]:
    return tuple(made[name].result for name in CATALOGUE_CHECKS)


# ---- Medians.


def test_of_equal_weights_it_is_the_median() -> None:
    values = np.array([3.0, 1.0, 100.0, 2.0])
    assert robust_centre(values, np.ones(4))[0] == np.median(values)
    assert robust_centre(values[:3], np.full(3, 7.0))[0] == np.median(values[:3])


def test_half_of_the_weight_is_on_either_side() -> None:
    values, sigma = np.array([1.0, 2.0, 3.0]), 1.0 / np.array([1.0, 2.0, 4.0])
    assert 2.0 < robust_centre(values, sigma)[0] < 3.0
    assert robust_centre(np.array([1.0, 2.0, 9.0]), np.array([1.0, 0.1, 1.0]))[0] == 2.0


@pytest.mark.parametrize("outliers", [0.0, 0.2])
@pytest.mark.parametrize("factor", [1.0, 3.0])
@pytest.mark.parametrize("n", [20, 100])
def test_pulls_of_a_median_are_of_unit_width(n: int, factor: float, outliers: float) -> None:
    """Also if all errors are wrong by a factor, and with one value in five far off."""
    rng = np.random.default_rng(n)
    pulls = []
    for _ in range(600):
        sigma = rng.uniform(0.5, 3.0, n)
        values = 7.0 + factor * rng.normal(0.0, sigma)
        wild = rng.random(n) < outliers
        values[wild] += rng.normal(0.0, 50.0, wild.sum())
        centre, error = robust_centre(values, sigma)
        pulls.append((centre - 7.0) / error)
    assert abs(np.mean(pulls)) < 4.0 / math.sqrt(600)
    assert 0.85 < np.std(pulls) < 1.2


def test_wrong_ratios_of_errors_leave_the_error_of_a_median_right() -> None:
    rng = np.random.default_rng(2)
    pulls = []
    for _ in range(600):
        values = rng.normal(0.0, rng.permutation(np.geomspace(0.1, 10.0, 60)))
        centre, error = robust_centre(values, rng.uniform(0.5, 3.0, 60))
        pulls.append(centre / error)
    assert abs(np.mean(pulls)) < 4.0 / math.sqrt(600)
    # A peaked distribution: the interval of 1.5 sigma is a little more than 1.5 times that of 1.
    assert 0.7 < np.std(pulls) < 1.15


# ---- Flux scale.


@pytest.mark.parametrize(
    ("scale", "result"),
    [(1.0, ACCEPTED), (1.2, WARNED), (3.0, REJECTED), (0.8, WARNED), (0.45, REJECTED)],
)
def test_flux_scale_is_measured_and_judged(scale: float, result: CheckResult) -> None:
    pulls = []
    for seed in range(6):
        field = Field(seed=seed, n_sources=400, **SCATTER).learn(11)
        for _ in range(25):
            made = field.check(field.look(scale=scale)[0])
            assert made["flux_scale"].result == result
            assert made["astrometry"].result == ACCEPTED
            ((value, error),) = measured(made["flux_scale"])
            assert made["flux_scale"].measured == pytest.approx(value, rel=1e-3)
            pulls.append((value - scale) / error)
    # Images of a field share its references, whose errors are a third of theirs.
    assert abs(np.mean(pulls)) < 0.5
    assert 0.75 < np.std(pulls) < 1.3


def test_variable_sources_do_not_move_the_flux_scale() -> None:
    """A third of all sources, by e times up or down."""
    ratios = []
    for seed in range(30):
        field = Field(seed=seed, n_sources=200).learn(5)
        ratios.append(field.check(field.look(variable=0.33)[0])["flux_scale"].measured)
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.005)
    assert np.std(ratios) < 0.02


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32), scale=st.floats(0.2, 5.0), reference_error=st.floats(0.3, 3.0))
@example(seed=1, scale=1.0, reference_error=3.0)
def test_the_choice_of_sources_favours_no_ratio(
    seed: int, scale: float, reference_error: float
) -> None:
    """Many faint sources with noisy references: chosen by either flux, the ratio would be off."""
    rng = np.random.default_rng(seed)
    true = 10.0 / rng.random(20_000)
    error = np.ones(20_000)
    ratio, sigma, n = flux_ratio(
        scale * true + rng.normal(0.0, error),
        error,
        np.abs(true + rng.normal(0.0, reference_error, 20_000)),
        np.full(20_000, reference_error),
        15.0,
    )
    assert n > 2000
    assert abs(ratio - scale) < 5.0 * sigma


@pytest.mark.parametrize("flag", [Flag.RESOLVED, Flag.BLEND, Flag.EDGE, Flag.CONTAMINATED])
def test_only_isolated_point_sources_have_a_part(flag: Flag) -> None:
    """Half of the sources are bad, and ten times too bright."""
    field = Field(n_sources=300).learn(5)
    at, source = field.look()
    bad = source % 2 == 0
    at.flags[bad] |= int(flag)
    at.flux_jy[bad] *= 10.0
    assert field.check(at)["flux_scale"].measured == pytest.approx(1.0, abs=0.02)
    at.flags[:] = 0
    assert field.check(at)["flux_scale"].measured > 1.5


def test_a_close_neighbour_takes_a_source_out() -> None:
    field = Field(n_sources=100).learn(5)
    source = np.flatnonzero(field.flux > 0.05)
    assert len(source) > 5

    def used(**changes: Any) -> int:
        made = field.check(field.look(**changes)[0])["flux_scale"]
        found = re.search(r"median of (\d+)|^(\d+) point", made.comment)
        assert found is not None
        return int(found[1] or found[2])

    before = used()
    # So many false detections that hardly a source is alone within two beams.
    assert used(n_false=20000) < 0.4 * before


def test_where_another_flux_scale_is_usual_it_is_the_catalogue_that_is_wrong() -> None:
    flux = np.full(50, 1.0)
    error = np.full(50, 0.01)

    def judge(ratio: float, usual: list[float], *, few: bool = False) -> Check:
        return check_flux_scale(ratio * flux, error, flux, error, usual, CONFIG, few=few)

    assert judge(5.0, []).result == REJECTED
    assert judge(5.0, [1.0, 1.1, 0.9]).reason == RejectReason.FLUX_SCALE
    wrong = judge(5.0, [6.0, 5.1, 4.0])
    assert (wrong.result, wrong.high) == (WARNED, 1.1)
    assert "5.1 is usual" in wrong.comment
    assert judge(5.0, [], few=True).result == WARNED
    assert judge(0.4, [1.0]).result == REJECTED
    assert judge(0.6, [1.0]).result == WARNED


# ---- Astrometry.

CENTRES = [(0.001, 45.0), (359.999, -30.0), (180.0, 90.0), (77.0, -89.95), (210.0, 0.0)]


@pytest.mark.parametrize("centre", CENTRES)
@pytest.mark.parametrize(
    ("shift", "result"),
    [((0.0, 0.0), ACCEPTED), ((0.3, 0.0), WARNED), ((-1.2, 1.6), REJECTED), ((0, -2.9), REJECTED)],
)
def test_offset_is_measured_and_judged(
    centre: tuple[float, float], shift: tuple[float, float], result: CheckResult
) -> None:
    pulls = []
    for seed in range(12):
        field = Field(*centre, seed=seed, n_sources=150, **SCATTER).learn(11)
        made = field.check(field.look(shift_beams=shift)[0])
        assert made["astrometry"].result == result, made["astrometry"].comment
        assert made["flux_scale"].result == ACCEPTED
        # The direction of the fields' own axes, which at a pole is that of the centre.
        for (value, error), true in zip(measured(made["astrometry"]), shift, strict=True):
            pulls.append((value / BEAM_DEG / 3600.0 - true) / error * BEAM_DEG * 3600.0)
    assert abs(np.mean(pulls)) < 4.0 / math.sqrt(len(pulls))
    assert 0.65 < np.std(pulls) < 1.45


def test_crowding_does_not_pull_the_offset() -> None:
    """A source in seven beam areas, and as many false ones beside it."""
    offsets = []
    for seed in range(8):
        field = Field(seed=seed, n_sources=3000, radius_deg=0.6).learn(3)
        field.flux[:] = np.maximum(field.flux, 0.02)
        made = field.check(field.look(shift_beams=(0.7, 0.0), n_false=3000)[0])["astrometry"]
        (east, error), _ = measured(made)
        offsets.append((east / 3600.0 / BEAM_DEG, error / 3600.0 / BEAM_DEG))
    value, error = np.array(offsets).T
    assert np.abs(value.mean() - 0.7) < 4.0 * error.mean() / math.sqrt(8)


def test_pairs_by_chance_are_no_counterparts() -> None:
    """An image of another sky, however crowded, is not displaced: it is not measured at all."""
    for seed in range(20):
        field = Field(seed=seed, n_sources=2000).learn(3)
        other = Field(seed=1000 + seed, n_sources=2000)
        made = field.check(other.look()[0])
        assert results(made) == (NOT_MADE, NOT_MADE, NOT_MADE)
        assert "found again; 20 are needed" in made["astrometry"].comment


def test_frame_is_local_east_and_north_away_from_the_poles() -> None:
    frame = Frame.at(359.9, 20.0)
    ra, dec = np.array([0.3, 359.7]), np.array([20.4, 19.7])
    step = 1e-4
    at, east = unit_vectors(ra, dec), unit_vectors(ra + step / np.cos(np.radians(dec)), dec)
    components = frame.components(at, east - at)
    assert np.degrees(components[0]) == pytest.approx(step, rel=1e-4)
    assert np.abs(np.degrees(components[1])).max() < 0.005 * step


def test_frame_shortens_nothing_far_from_the_centre() -> None:
    """In an image of the whole sky a step along a great circle through the centre is a step."""
    frame = Frame.at(10.0, 20.0)
    for dec in (-69.0, -40.0, 75.0):
        at, stepped = unit_vectors([10.0], [dec]), unit_vectors([10.0], [dec + 1e-4])
        east, north = frame.components(at, stepped - at)
        assert np.degrees(north[0]) == pytest.approx(1e-4, rel=1e-4)
        assert abs(np.degrees(east[0])) < 1e-9


@pytest.mark.parametrize(("n_sources", "n_detections"), [(0, 0), (0, 3), (3, 0), (1, 1)])
def test_hardly_anything_to_match(n_sources: int, n_detections: int) -> None:
    vectors = unit_vectors(np.array([10.0, 10.1, 10.2]), np.array([20.0, 20.0, 20.0]))
    found = find_counterparts(
        Frame.at(10.0, 20.0),
        vectors[:n_sources],
        np.ones(n_sources, dtype=bool),
        vectors[:n_detections],
        beam_deg=0.01,
        search_beams=3.0,
    )
    assert len(found) == min(n_sources, n_detections)


def test_a_source_and_a_detection_have_one_counterpart_each() -> None:
    field = Field(n_sources=3000, radius_deg=0.5)
    at, _ = field.look(n_false=3000)
    other, _ = field.look(n_false=3000)
    first, second = (unit_vectors(item.ra_deg, item.dec_deg) for item in (at, other))
    found = find_counterparts(
        field.frame, first, np.arange(len(first)) % 3 > 0, second, beam_deg=BEAM_DEG,
        search_beams=3.0,
    )  # fmt: skip
    assert len(found) > 100
    assert len(set(found.source.tolist())) == len(set(found.detection.tolist())) == len(found)
    assert (found.source % 3 > 0).all()


# ---- Number of sources.


def usually(number: float, n: int = 12, rms_jy: float = RMS_JY) -> Any:
    return [Counted(number + i % 3 - 1, rms_jy) for i in range(n)]


@pytest.mark.parametrize(
    ("number", "result"),
    [(100, ACCEPTED), (199, ACCEPTED), (201, WARNED), (501, REJECTED), (49, WARNED), (0, WARNED)],
)
def test_source_count_is_judged(number: int, result: CheckResult) -> None:
    check = check_source_count(number, RMS_JY, usually(100), CONFIG)
    assert (check.measured, check.result) == (number, result)
    assert (check.reason == RejectReason.SOURCE_COUNT) == (result == REJECTED)


def test_of_few_sources_the_poisson_error_decides() -> None:
    """Three, then fifteen: five times as many, but not ten sigma."""
    assert check_source_count(16, RMS_JY, usually(3), CONFIG).result == WARNED
    assert check_source_count(21, RMS_JY, usually(3), CONFIG).result == REJECTED
    assert check_source_count(0, RMS_JY, usually(3), CONFIG).result == ACCEPTED
    assert check_source_count(10, RMS_JY, usually(1), CONFIG).result == WARNED


def test_one_storm_in_the_history_changes_nothing() -> None:
    history = [*usually(100), Counted(3000, RMS_JY)]
    assert check_source_count(600, RMS_JY, history, CONFIG).result == REJECTED


def test_a_deeper_image_may_show_more() -> None:
    """Of a quarter of the rms, up to eight times as many sources (Euclidean counts)."""
    assert check_source_count(3900, RMS_JY / 4, usually(100), CONFIG).result == WARNED
    assert check_source_count(4100, RMS_JY / 4, usually(100), CONFIG).result == REJECTED
    assert check_source_count(1500, RMS_JY / 4, usually(100), CONFIG).result == ACCEPTED
    # One with more noise is compared as it is.
    assert check_source_count(600, RMS_JY * 4, usually(100), CONFIG).result == REJECTED


def test_too_few_images_say_nothing() -> None:
    check = check_source_count(5000, RMS_JY, usually(100, 9), CONFIG)
    assert (check.result, check.measured) == (NOT_MADE, 5000)
    assert "only 9 earlier images" in check.comment


# ---- All of them.


def test_a_storm_hides_no_good_astrometry() -> None:
    field = Field(n_sources=100).learn(11)
    made = field.check(field.look(n_false=2000)[0])
    assert made["source_count"].result == REJECTED
    assert made["astrometry"].result == ACCEPTED


def test_good_images_get_no_warnings() -> None:
    """A thousand images of twenty fields, with the scatter that is taken for granted."""
    warned = 0
    for seed in range(20):
        field = Field(seed=seed, n_sources=70 + 8 * seed, **SCATTER).learn(11)
        for _ in range(50):
            made = field.check(field.look(variable=0.05)[0])
            assert made["astrometry"].result == ACCEPTED
            assert REJECTED not in results(made)
            warned += WARNED in results(made)
    assert warned == 0


@pytest.mark.parametrize(
    "spoil",
    [
        lambda at: at.flux_jy.__setitem__(slice(None), np.nan),
        lambda at: at.flux_err_jy.__setitem__(slice(None), 0.0),
        lambda at: at.flux_err_jy.__setitem__(slice(None), np.inf),
        lambda at: at.flux_jy.__setitem__(slice(None), -1.0),
    ],
)
def test_fluxes_that_are_none_are_left_out(spoil: Callable[[Any], None]) -> None:
    field = Field(n_sources=100).learn(5)
    at, _ = field.look()
    spoil(at)
    assert results(field.check(at))[:2] == (ACCEPTED, NOT_MADE)
    before = [values.copy() for values in field.references.of(1, np.arange(20))]
    if not (at.flux_jy == -1.0).all():
        field.references.add(1, np.arange(20), at.flux_jy[:20], at.flux_err_jy[:20])
        for values, was in zip(field.references.of(1, np.arange(20)), before, strict=True):
            assert np.array_equal(values, was)

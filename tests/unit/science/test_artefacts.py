"""Vetoes, each with what it must find and what it must leave alone."""

from __future__ import annotations

import numpy as np
import pytest

from trap_ops.records.light_curves import MeasuredPoints
from trap_ops.records.sources import Flag
from trap_ops.science.artefacts import (
    bodies_at,
    branches,
    brightest_near,
    crowded,
    log10_chance_of,
    near_pairs,
    same_pixel,
)
from trap_ops.science.blends import Surroundings, look_around
from trap_ops.science.coordinates import unit_vectors

BEAM = 30.0 / 3600.0


def test_pairs_are_near_each_other_on_the_sphere() -> None:
    first = unit_vectors([0.01, 180.0], [0.0, 90.0])
    second = unit_vectors([359.99, 0.0, 77.0], [0.0, 1.0, 89.995])
    one, other, apart = near_pairs(first, second, 0.03)
    assert list(zip(one, other, strict=True)) == [(0, 0), (1, 2)]
    assert apart == pytest.approx([0.02, 0.005])
    assert [len(part) for part in near_pairs(first[:0], second, 1.0)] == [0, 0, 0]


def test_the_brightest_neighbour_that_is_bright_enough() -> None:
    flux = np.array([1.0, 300.0, -500.0, 199.0, 900.0])
    one, other = np.array([0, 0, 0, 1, 2]), np.array([0, 1, 2, 3, 4])
    found = brightest_near(np.array([1.0, 1.0, 10.0]), one, other, flux, 200.0)
    assert found.tolist() == [2, -1, -1]


def test_images_with_many_more_new_sources_than_others_are_crowded() -> None:
    count = np.array([0, 1, 0, 2, 25, 1, 0, 0])
    assert crowded(count, 1e-3, 5).tolist() == [False] * 4 + [True] + [False] * 3
    # Few are never too many, in a dataset where nothing else is new.
    assert not crowded(np.array([0] * 50 + [4]), 1e-3, 5).any()
    assert crowded(np.array([0] * 50 + [5]), 1e-3, 5).sum() == 1
    assert not crowded(np.array([30]), 1e-3, 5).any()
    assert not crowded(np.zeros(5, dtype=int), 1e-3, 5).any()


def test_images_are_crowded_by_chance_as_seldom_as_is_said() -> None:
    rng = np.random.default_rng(2)
    wrong = sum(crowded(rng.poisson(8.0, 30), 1e-2, 5).any() for _ in range(2000))
    # The mean of the others is not known exactly: a few more than 20.
    assert 2 < wrong < 60, wrong


def test_the_same_pixel_elsewhere_on_the_sky() -> None:
    vectors = unit_vectors([10.0, 10.1, 10.2, 10.2001, 10.3], [0.0] * 5)
    x = np.array([100.0, 100.6, 99.5, 99.6, 300.0])
    found = same_pixel(np.arange(5), x, np.full(5, 50.0), vectors, 1.0, 2 * BEAM)
    # The two at one place do not count for each other; the second and third are 1.1 pixels apart.
    assert found.tolist() == [3, 2, 1, 2, 0]
    x[3] = np.nan
    found = same_pixel(np.arange(5), x, np.full(5, 50.0), vectors, 1.0, 2 * BEAM)
    assert found.tolist() == [2, 1, 1, 0, 0]
    assert same_pixel(np.arange(1), x[:1], x[:1], vectors[:1], 1.0, BEAM).tolist() == [0]


def test_the_moon_and_planets_are_where_they_are() -> None:
    """On 2020-12-21 at 12:00, by astropy's get_body; Jupiter is 6 arcmin from Saturn."""
    days, fractions = np.full(3, 2459204.5), np.full(3, 0.5)
    places = unit_vectors([302.437, 269.9, 302.437], [-20.587, -23.436, -19.0])
    found = bodies_at(places, days, fractions, np.array([0.03, 0.0, 0.03]))
    assert found == ["Jupiter", "Sun", ""]
    assert bodies_at(unit_vectors([0.0], [90.0]), days[:1], fractions[:1], np.ones(1)) == [""]


def test_the_chance_of_a_light_curve() -> None:
    rng = np.random.default_rng(1)
    curve, flux = np.repeat([0, 1, 2], [30, 30, 1]), rng.standard_normal(61)
    flux[40] += 12.0
    chance = log10_chance_of(curve, flux, np.ones(61), 4)
    assert chance[0] > -3.0
    assert -35.0 < chance[1] < -20.0
    assert chance[2:].tolist() == [0.0, 0.0]


# ---- Blends. Positions in beams along a line; candidates first.


def points(
    place: float, fluxes: list[float], *, kind: int | list[int] = 0, flags: int | list[int] = 0,
    number: int = 0, images: list[int] | None = None,
) -> MeasuredPoints:  # fmt: skip
    n = len(fluxes)
    full = np.ones(n, dtype=np.int64)
    return MeasuredPoints(
        source=full * number, band=full, stokes=full,
        image=np.arange(n) if images is None else np.array(images),
        measurement=1000 * number + np.arange(n), kind=full * np.array(kind),
        flags=full * np.array(flags), flux_jy=np.array(fluxes, dtype=float), flux_err_jy=np.ones(n),
        x_px=np.zeros(n), y_px=np.zeros(n), vectors=unit_vectors(full * 0.0, full * place * BEAM),
    )  # fmt: skip


def surroundings(own: MeasuredPoints, *others: MeasuredPoints) -> Surroundings:
    parts = [own.take(own.kind == 0), *others]
    members = MeasuredPoints(
        **{name: np.concatenate([getattr(p, name) for p in parts]) for name in vars(own)}
    )
    zero = np.zeros(len(own), dtype=int)
    return look_around(
        own, zero, members, np.zeros(len(members), dtype=int), own.vectors[:1], np.array([BEAM])
    )


NOISE = np.random.default_rng(8).standard_normal((4, 24))


def test_parts_that_exchange_flux_are_not_variable() -> None:
    share = np.tile([30.0, 5.0, 30.0, 10.0], 6)
    found = surroundings(points(0.0, 40.0 + share + NOISE[0]),
                         points(0.9, 60.0 - share + NOISE[1], number=1))  # fmt: skip
    assert found.share[0] + found.share_err[0] < 0.5
    assert found.share[0] == pytest.approx(0.0, abs=0.1)


def test_a_variable_beside_a_steady_source_is_variable() -> None:
    varying = np.tile([30.0, 5.0, 30.0, 10.0], 6)
    found = surroundings(points(0.0, 40.0 + varying + NOISE[0]),
                         points(0.9, 60.0 + NOISE[1], number=1))  # fmt: skip
    assert found.share[0] == pytest.approx(1.0, abs=0.1)
    assert found.certain.all()
    assert (found.flux_jy == 40.0 + varying + NOISE[0]).all()


def test_a_pair_that_is_found_as_one_in_some_images() -> None:
    """Then the other has a forced fit there, which measures the light of both."""
    apart = np.tile([True, True, False], 8)
    a = np.where(apart, 50.0, 85.0) + NOISE[0]
    b = np.where(apart, 40.0, 80.0) + NOISE[1]
    kind = np.where(apart, 0, 1)
    own, other = points(0.0, a), points(0.5, b, kind=kind.tolist(), number=1)
    found = surroundings(own, other)
    assert found.share[0] + found.share_err[0] < 0.5
    # And from the other's side: what is left of its forced fits is hardly known.
    found = surroundings(other, own)
    forced = ~apart
    assert (found.flux_err_jy[forced] > 30.0).all()
    assert (found.flux_err_jy[apart] == 1.0).all()


def beam_at(beams: float) -> float:
    return float(np.exp(-4.0 * np.log(2.0) * beams**2))


def test_a_burst_that_outshines_its_neighbour_is_real() -> None:
    """1.1 beams apart: in the burst's image the neighbour has but a forced fit."""
    burst, quiet, overlap = 40.0, 25.0, beam_at(1.1)
    on = np.arange(24) == 7
    own = points(0.0, np.where(on, burst + quiet * overlap, quiet * overlap) + NOISE[0],
                 kind=np.where(on, 0, 1).tolist())  # fmt: skip
    other = points(1.1, np.where(on, quiet + burst * overlap, quiet) + NOISE[1],
                   kind=np.where(on, 1, 0).tolist(), number=1)  # fmt: skip
    found = surroundings(own, other)
    # All detections together change by what the burst has more than its neighbour.
    assert found.share[0] == pytest.approx((burst - quiet) / burst, abs=0.05)
    assert found.complete_share[0] == pytest.approx(1.0, abs=0.1)
    # What light both may have of each other: 2 * 1.1 of 40.
    assert 0.05 < found.complete_share_err[0] < 0.2


def test_a_pair_whose_fit_takes_light_of_both_is_not_shown_to_be_real() -> None:
    """1.05 beams apart: found as one, which is the brighter by a fifth, in half of the images."""
    one = np.tile([True, False], 12)
    own = points(0.0, np.where(one, 30.0, 25.0) + NOISE[0])
    forced = 23.0 + 30.0 * beam_at(1.05)
    other = points(1.05, np.where(one, forced, 23.0) + NOISE[1],
                   kind=np.where(one, 1, 0).tolist(), number=1)  # fmt: skip
    found = surroundings(own, other)
    assert found.share[0] + found.share_err[0] < 0.0
    # By these sums it would be real, but the light that both may count is as much as it varies by.
    assert found.complete_share[0] == pytest.approx(1.0, abs=0.2)
    assert found.complete_share[0] - found.complete_share_err[0] < 0.5


def test_branches_of_a_fork_show_nothing_of_their_own() -> None:
    candidate = np.array([0, 0, 1, 2, 2, 3, 4])
    measurement = np.array([10, 11, 11, 11, 12, 13, 13])
    # The second shows a part of the first, the third something else too; the last two share one.
    none = np.zeros(6, dtype=bool)
    assert branches(candidate, measurement, none).tolist() == [1, 4]
    excused = np.array([True, False, False, False, False, False])
    assert branches(candidate, measurement, excused).tolist() == [4]
    assert branches(candidate[:0], measurement[:0], none).tolist() == []


def test_a_measurement_that_several_light_curves_share_counts_once() -> None:
    varying = np.tile([30.0, 5.0, 30.0, 10.0], 6)
    own = points(0.0, 40.0 + varying)
    found = surroundings(own, own, own)
    assert found.share == pytest.approx([1.0])


def test_images_in_which_a_blend_was_not_fitted_are_left_out() -> None:
    bad = Flag.BLEND | Flag.NOT_FITTED
    flags = [0] * 20 + [int(bad)] * 4
    fluxes = 40.0 + NOISE[0] + np.where(np.arange(24) < 20, 0.0, 200.0)
    found = surroundings(points(0.0, fluxes, flags=flags))
    assert found.certain.tolist() == [True] * 20 + [False] * 4
    found = surroundings(points(0.0, fluxes), points(1.0, fluxes, flags=flags, number=1))
    assert found.certain.tolist() == [True] * 20 + [False] * 4
    alone = surroundings(points(0.0, fluxes, flags=int(Flag.NOT_FITTED)))
    assert alone.certain.all()


def test_a_transient_near_a_bright_source_is_one() -> None:
    """Forced fits 1.5 beams off a source of 300 sigma, then a burst."""
    stray = 300.0 * np.exp(-4 * np.log(2) * 1.5**2)
    fluxes = stray + NOISE[0]
    fluxes[12] += 20.0
    kind = [1] * 12 + [0] + [1] * 11
    found = surroundings(points(0.0, fluxes, kind=kind), points(1.5, 300.0 + NOISE[1], number=1))
    assert found.share[0] == pytest.approx(1.0, abs=0.35)
    chance = log10_chance_of(np.zeros(24, dtype=int), found.flux_jy, found.flux_err_jy, 1)
    assert chance[0] < -30.0


def test_nothing_to_compare() -> None:
    found = surroundings(points(0.0, [5.0]))
    assert np.isnan(found.share).all()

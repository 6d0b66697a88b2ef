"""Scoring of pairs and the decision on them (SCIENCE.md 5.1 to 5.4)."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trap_ops.records.sources import Detections
from trap_ops.science.association import Matches, Pairs, match, score
from trap_ops.science.catalogue import Catalogue
from trap_ops.science.coordinates import wrap_ra
from unit.science.made_detections import ARCSEC, catalogue_of, detections
from unit.science.slow_association import Place, candidate_pairs, decided, places

WIDE = {"stokes": 1, "max_separation_deg": 1.0, "max_deruiter": 1e6}


def pairs_of(
    r: dict[tuple[int, int], float], distance: dict[tuple[int, int], float] | None = None
) -> Pairs:
    """Pairs {(source, detection): r} in the order that ``score`` gives them."""
    keys = sorted(r)
    return Pairs(
        np.array([s for s, _ in keys], dtype=np.intp),
        np.array([d for _, d in keys], dtype=np.intp),
        np.array([r[key] for key in keys], dtype=float),
        np.array([(distance or r)[key] for key in keys], dtype=float),
    )


def as_set(pairs: Pairs) -> set[tuple[int, int]]:
    return set(zip(pairs.source.tolist(), pairs.detection.tolist(), strict=True))


# ---- score.


def test_de_ruiter_radius_of_the_worked_pair() -> None:
    """SCIENCE.md 5.1: 72 arcsec apart with errors of 10 arcsec each."""
    pairs = score(catalogue_of(detections(10.00, 0.0)), detections(10.02, 0.0), **WIDE)
    assert pairs.r[0] == pytest.approx(72.0 / math.sqrt(200.0), rel=1e-10)
    assert pairs.r[0] == pytest.approx(5.0912, abs=5e-5)
    assert pairs.distance_arcsec[0] == pytest.approx(72.0, rel=1e-9)


@pytest.mark.parametrize(
    ("first", "second", "systematic_arcsec", "r"),
    [
        # Worked examples A04, A06, A16, A17, A23 and A12 (section 5.7): error radius 10 arcsec.
        ((30.0, 10.5), (30.0 + 50 * ARCSEC, 10.5 + 50 * ARCSEC), 20, "2.2174"),
        ((123.0, 10.0), (122.967, 10.0), 100, "0.823175"),
        ((123.1235, 10.55), (123.12349, 10.549), 20, "0.113847"),
        ((122.985, 10.5), (123.0, 10.5), 20, "1.67904"),
        ((123.1235, 10.55), (123.1235 + 100 * ARCSEC, 10.55), 20, "3.10882"),
        ((10.0, 85.0), (10.1, 85.0), 20, "0.992"),
    ],
)
def test_de_ruiter_radii_of_worked_examples(
    first: tuple[float, float], second: tuple[float, float], systematic_arcsec: float, r: str
) -> None:
    sigma = math.hypot(10, systematic_arcsec)
    pairs = score(catalogue_of(detections(*first, sigma)), detections(*second, sigma), **WIDE)
    half_a_digit = 0.5 * 10.0 ** -len(r.split(".")[1])
    assert pairs.r[0] == pytest.approx(float(r), abs=1.001 * half_a_digit)


def test_a_worked_example_across_0h() -> None:
    """A07: r = 0.0387757 of the third detection, at 359.9999, against a mean of two."""
    sigma = math.hypot(10, 20)
    source = catalogue_of(detections(0.0002, 10.5, sigma / math.sqrt(2)))
    assert score(source, detections(359.9999, 10.5, sigma), **WIDE).r[0] == pytest.approx(
        0.0387757, abs=5e-8
    )


def test_each_axis_has_errors_of_its_own() -> None:
    source = catalogue_of(detections(10.0, 0.0, 3.0, sigma_ns_arcsec=12.0))
    found = detections(10.0 + 10 * ARCSEC, 26 * ARCSEC, 4.0, sigma_ns_arcsec=5.0)
    expected = math.hypot(10.0 / math.hypot(3, 4), 26.0 / math.hypot(12, 5))
    assert score(source, found, **WIDE).r[0] == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("limit", [1.0, 2.0, 3.0])
def test_the_limit_loses_the_fraction_that_it_should(limit: float) -> None:
    """r of true pairs follows a Rayleigh law: exp(-R^2 / 2) of them lie beyond R."""
    rng = np.random.default_rng(4)
    n = 20_000
    ra, dec = np.divmod(np.arange(n), 100) * np.array([[1.0], [1.0]]) + np.array([[10.0], [-50.0]])
    sigma_1, sigma_2 = rng.uniform(1.0, 5.0, n), rng.uniform(1.0, 5.0, n)

    def scattered(sigma: npt.NDArray[np.float64]) -> Detections:
        east, north = rng.normal(0.0, sigma * ARCSEC, (2, n))
        return detections(ra + east / np.cos(np.radians(dec)), dec + north, sigma)

    pairs = score(
        catalogue_of(scattered(sigma_1)),
        scattered(sigma_2),
        stokes=1,
        max_separation_deg=0.1,
        max_deruiter=limit,
    )
    lost = math.exp(-(limit**2) / 2)
    assert n - len(pairs) == pytest.approx(n * lost, abs=4 * math.sqrt(n * lost * (1 - lost)))


def places_of(catalogue: Catalogue) -> list[Place]:
    mean = catalogue.positions
    columns = (mean.ra_deg, mean.dec_deg, mean.sigma_ew_deg, mean.sigma_ns_deg)
    return [tuple(map(float, row)) for row in zip(*columns, strict=True)]


@pytest.mark.parametrize("field", ["0h", "middle", "north pole", "south pole", "whole sky"])
@pytest.mark.parametrize("seed", range(3))
def test_score_finds_what_testing_every_pair_finds(field: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = 60
    ra = {"0h": lambda: rng.normal(0.0, 0.05, n) % 360, "middle": lambda: rng.normal(123, 0.05, n)}
    dec = {
        "north pole": lambda: 90.0 - np.abs(rng.normal(0.0, 0.05, n)),
        "south pole": lambda: -90.0 + np.abs(rng.normal(0.0, 0.05, n)),
        "whole sky": lambda: np.degrees(np.arcsin(rng.uniform(-1, 1, n))),
    }

    def drawn() -> Detections:
        return detections(
            ra.get(field, lambda: rng.uniform(0, 360, n))(),
            dec.get(field, lambda: rng.normal(10.0, 0.05, n))(),
            rng.uniform(20, 100, n),
            sigma_ns_arcsec=None,
        )

    catalogue, found = catalogue_of(drawn()), drawn()
    limits = (40.0, 1000.0) if field == "whole sky" else (0.04, 1.5)
    pairs = score(catalogue, found, stokes=1, max_separation_deg=limits[0], max_deruiter=limits[1])
    expected = candidate_pairs(places_of(catalogue), places(found), *limits)
    assert len(expected) > 20
    # In order of source, then detection.
    made = list(zip(pairs.source.tolist(), pairs.detection.tolist(), strict=True))
    assert made == sorted(expected)
    np.testing.assert_allclose(pairs.r, [expected[key][0] for key in made], rtol=1e-9)
    arcsec = [expected[key][1] for key in made]
    np.testing.assert_allclose(pairs.distance_arcsec, arcsec, rtol=1e-7, atol=1e-6)


def test_limits_are_strict() -> None:
    catalogue = catalogue_of(detections(0.0, 0.0))
    found = detections(0.0, [0.1, -0.1, 0.05])
    r = 0.05 * 3600 / math.sqrt(200)
    at_limit = score(catalogue, found, stokes=1, max_separation_deg=0.1, max_deruiter=1e9)
    assert at_limit.detection.tolist() == [2]
    for factor, number in ((1.0 + 1e-12, 1), (1.0 - 1e-12, 0)):
        made = score(catalogue, found, stokes=1, max_separation_deg=0.09, max_deruiter=r * factor)
        assert len(made) == number


@pytest.mark.parametrize("beam_mas", [1.0, 0.05])
@pytest.mark.parametrize("place", [(0.0, 0.0), (187.7, 12.39), (359.9999999, -89.0)])
def test_beams_of_milliarcseconds(place: tuple[float, float], beam_mas: float) -> None:
    """Very long baselines: sources a third of a beam apart match, and two beams apart do not."""
    mas = ARCSEC / 1000.0
    ra, dec = place
    step = beam_mas * mas * np.array([0.0, 0.3, 0.9, 2.0])
    found = detections(wrap_ra(ra + step / np.cos(np.radians(dec))), dec, beam_mas / 1000.0)
    pairs = score(
        catalogue_of(detections(ra, dec, beam_mas / 1000.0)),
        found,
        stokes=1,
        max_separation_deg=beam_mas * mas,
        max_deruiter=1e9,
    )
    assert pairs.detection.tolist() == [0, 1, 2]
    assert pairs.distance_arcsec * 1000.0 / beam_mas == pytest.approx([0, 0.3, 0.9], abs=1e-2)


def test_another_stokes_and_inactive_sources_take_no_part() -> None:
    catalogue = catalogue_of(detections([10.0, 10.0], [0.0, 0.001]))
    found = detections(10.0, 0.0)
    assert len(score(catalogue, found, **WIDE)) == 2
    assert len(score(catalogue, found, **(WIDE | {"stokes": 4}))) == 0
    catalogue.retire(np.array([0]))
    made = score(catalogue, found, **WIDE)
    # Indices are those of the whole catalogue.
    assert made.source.tolist() == [1]


def test_nothing_to_associate() -> None:
    nothing, something = detections([], []), detections(10.0, 0.0)
    for catalogue, found in (
        (Catalogue(), something),
        (catalogue_of(something), nothing),
        (Catalogue(), nothing),
    ):
        pairs = score(catalogue, found, **WIDE)
        assert len(pairs) == 0
        made = match(pairs, len(found))
        assert len(made.updates) == len(made.forks) == 0
        assert made.new.tolist() == list(range(len(found)))


def test_a_limit_of_half_the_sphere_and_more_takes_all() -> None:
    catalogue = catalogue_of(detections([0.0, 90.0], [0.0, 60.0]))
    found = detections([179.0, 10.0], [1.0, -60.0])
    made = score(catalogue, found, stokes=1, max_separation_deg=720.0, max_deruiter=1e9)
    assert len(made) == 4


fields = st.tuples(
    st.lists(st.tuples(st.floats(-0.05, 0.05), st.floats(-0.05, 0.05)), min_size=1, max_size=8),
    st.lists(st.tuples(st.floats(-0.05, 0.05), st.floats(-0.05, 0.05)), min_size=1, max_size=8),
)


@given(fields, st.floats(0.0, 360.0), st.floats(-60.0, 60.0))
def test_the_place_of_0h_does_not_matter(
    field: tuple[list[tuple[float, float]], list[tuple[float, float]]], turn: float, dec: float
) -> None:
    def placed(offsets: list[tuple[float, float]], ra: float) -> Detections:
        x, y = np.array(offsets).T
        return detections(wrap_ra(ra + x), dec + y, 60.0)

    limits = {"stokes": 1, "max_separation_deg": 0.05, "max_deruiter": 2.0}
    here, there = (
        score(catalogue_of(placed(field[0], ra)), placed(field[1], ra), **limits)
        for ra in (123.0, turn)
    )
    # Rounding of the right ascensions may move a pair over a limit.
    sources, found = places(placed(field[0], 123.0)), places(placed(field[1], 123.0))
    wide = candidate_pairs(sources, found, 0.0500001, 2.000001)
    close = wide.keys() - candidate_pairs(sources, found, 0.0499999, 1.999999).keys()
    assert as_set(here) - close == as_set(there) - close
    if not close:
        np.testing.assert_allclose(here.r, there.r, rtol=1e-6, atol=1e-8)


# ---- match.


@given(
    st.dictionaries(
        st.tuples(st.integers(0, 5), st.integers(0, 5)),
        # Few values, so that ties are common; some within the tolerance of a tie, some outside.
        st.tuples(
            st.sampled_from([1.0, 1.0 + 5e-10, 1.0 + 2e-9, 2.0, 0.0]), st.sampled_from([3.0, 4.0])
        ),
        max_size=24,
    )
)
def test_match_decides_as_the_rule_says(
    rows: dict[tuple[int, int], tuple[float, float]],
) -> None:
    pairs = pairs_of(
        {key: r for key, (r, _) in rows.items()}, {key: a for key, (_, a) in rows.items()}
    )
    made = match(pairs, 6)
    assert (as_set(made.updates), as_set(made.forks), set(made.new.tolist())) == decided(rows, 6)
    # Every detection with a pair has a home, and each pair keeps its numbers.
    for part in (made.updates, made.forks):
        for s, d, r, a in zip(
            part.source, part.detection, part.r, part.distance_arcsec, strict=True
        ):
            assert rows[int(s), int(d)] == (r, a)


@given(st.permutations(range(6)), st.integers(0, 1000))
def test_the_order_of_detections_does_not_matter(order: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    r = {(s, d): float(rng.random()) for s in range(5) for d in range(6) if rng.random() < 0.4}
    first = match(pairs_of(r), 6)
    second = match(pairs_of({(s, order[d]): value for (s, d), value in r.items()}), 6)
    for part in ("updates", "forks"):
        renamed = {(s, order[d]) for s, d in as_set(getattr(first, part))}
        assert renamed == as_set(getattr(second, part))
    assert {order[d] for d in first.new.tolist()} == set(second.new.tolist())


def case(r: dict[tuple[int, int], float], n_detections: int) -> Matches:
    return match(pairs_of(r), n_detections)


def test_one_to_one_and_new() -> None:
    made = case({(0, 1): 0.1, (2, 0): 0.2}, 4)
    assert as_set(made.updates) == {(0, 1), (2, 0)}
    assert len(made.forks) == 0
    assert made.new.tolist() == [2, 3]


def test_many_sources_to_one_detection_all_take_it() -> None:
    """A17."""
    made = case({(0, 0): 1.67904, (1, 0): 1.67904}, 1)
    assert as_set(made.updates) == {(0, 0), (1, 0)}


def test_one_source_with_two_detections_forks() -> None:
    """A16. It is never updated as well."""
    made = case({(0, 0): 0.11, (0, 1): 0.11}, 2)
    assert as_set(made.forks) == {(0, 0), (0, 1)}
    assert len(made.updates) == 0


def test_a_contested_pair_goes_to_the_nearest_source() -> None:
    """A18: W and E, N and S; both detections prefer E, so W is left without."""
    made = case({(0, 0): 2.0, (0, 1): 2.0, (1, 0): 1.93521, (1, 1): 1.93522}, 2)
    assert as_set(made.forks) == {(1, 0), (1, 1)}
    assert len(made.updates) == 0
    # A detection that lost all but one is never new.
    assert made.new.tolist() == []


def test_exact_ties_go_to_the_source_that_was_founded_first() -> None:
    """A20, where the classic system aborts."""
    tied = dict.fromkeys([(0, 0), (0, 1), (1, 0), (1, 1)], 1.0)
    assert as_set(case(tied, 2).forks) == {(0, 0), (0, 1)}
    # The distance comes before that, and the radius before both.
    nearer = match(pairs_of(tied, tied | {(1, 1): 0.9}), 2)
    assert as_set(nearer.updates) == {(0, 0), (1, 1)}
    smaller = case(tied | {(1, 1): 1.0 - 1e-6}, 2)
    assert as_set(smaller.updates) == {(0, 0), (1, 1)}
    # A difference of rounding is none.
    rounded = case(tied | {(1, 1): 1.0 - 1e-12}, 2)
    assert as_set(rounded.forks) == {(0, 0), (0, 1)}


def test_uncontested_pairs_are_never_dropped() -> None:
    """A31: X-R1, X-R2, Y-R1 all stay, because R2 has a single pair."""
    made = case({(0, 0): 1.0, (1, 0): 5.0, (0, 1): 2.0}, 2)
    assert as_set(made.forks) == {(0, 0), (0, 1)}
    assert as_set(made.updates) == {(1, 0)}

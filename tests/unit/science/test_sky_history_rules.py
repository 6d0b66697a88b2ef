"""Single rules of going through images in time order (SCIENCE.md 2.2, 5, 6, 8)."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from trap_ops.records.sky import LinkType
from trap_ops.records.sources import Detections
from trap_ops.science.catalogue import canonical
from trap_ops.science.sky_history import SkyHistory
from unit.science.made_detections import detections
from unit.science.made_histories import (
    REGIONS,
    RULES,
    Step,
    Stored,
    everything,
    fresh,
    image_of,
    run,
)
from unit.science.slow_association import places


def one(ra: float = 0.0, dec: float = 10.0, *, number: int, peak_jy: float = 1.5) -> Detections:
    return detections(ra, dec, 20.0, peak_jy=peak_jy, first_id=number)


NONE = detections([], [])


def steps_of(*found: Detections) -> list[Step]:
    """One image a step, all of one region, band and Stokes."""
    return [Step((image_of(i),), {i: item}) for i, item in enumerate(found)]


def requests_of(stored: Stored, source: int) -> list[tuple[object, ...]]:
    """(image, kind, status, reason) of a source's requests."""
    return sorted((r[0], r[1], r[5], r[6]) for r in stored.requests.get(source, []))


def test_a_flare_is_fitted_before_and_after() -> None:
    """T04 and T02: no fit where it is seen; backward at the place of its first detection."""
    steps = steps_of(NONE, one(number=1), one(0.001, number=2), NONE)
    stored, _ = run(steps)
    assert requests_of(stored, 1) == [(0, 3, "requested", ""), (3, 1, "requested", "")]
    by_image = {r[0]: r[2] for r in stored.requests[1]}
    assert by_image[0] == 0.0
    assert by_image[3] == pytest.approx(0.0005)


@pytest.mark.parametrize(("expiration", "last"), [(1, 1), (2, 2), (None, 5)])
def test_expiration_counts_attempts(expiration: int | None, last: int) -> None:
    """D4: requested, fitted or not."""
    stored, _ = run(
        steps_of(one(number=1), *[NONE] * 5), replace(RULES, expiration=expiration, backward=False)
    )
    asked = [image for image, _, status, _ in requests_of(stored, 1) if status == "requested"]
    assert asked == list(range(1, last + 1))
    expired = [image for image, *_, reason in requests_of(stored, 1) if reason == "expired"]
    assert expired == list(range(last + 1, 6))


def test_a_detection_starts_the_count_anew() -> None:
    found = [one(number=1), NONE, one(number=2), NONE, NONE]
    stored, _ = run(steps_of(*found), replace(RULES, expiration=1))
    assert requests_of(stored, 1) == [
        (1, 1, "requested", ""),
        (3, 1, "requested", ""),
        (4, 1, "skipped", "expired"),
    ]


def test_all_bands_of_a_step_are_asked_before_the_count_moves() -> None:
    """T21: three bands and an expiration of 3; only the first step after the detection is asked."""
    images = [tuple(image_of(10 * step + b, band=b) for b in (1, 2, 3)) for step in range(3)]
    steps = [Step(i, {image.id: NONE for image in i}) for i in images]
    steps[0] = Step(images[0], {1: one(number=1), 2: NONE, 3: NONE})
    stored, _ = run(steps, replace(RULES, expiration=3, backward=False))
    asked = [image for image, _, status, _ in requests_of(stored, 1) if status == "requested"]
    assert asked == [11, 12, 13]
    # Seen in any band of a step, it starts anew.
    steps.insert(2, Step((image_of(50), image_of(51, band=2)), {50: NONE, 51: one(number=9)}))
    stored, _ = run(steps, replace(RULES, expiration=4, backward=False))
    asked = [image for image, _, status, _ in requests_of(stored, 1) if status == "requested"]
    assert asked == [11, 12, 13, 21, 22, 23, 50]


def test_bands_of_the_founding_step_are_fitted_backward_not_forward() -> None:
    """6.1: founded in this very step."""
    images = (image_of(1, band=1), image_of(2, band=2))
    step = Step(images, {1: one(number=1), 2: NONE})
    assert requests_of(run([step])[0], 1) == [(2, 3, "requested", "")]
    without = run([step], replace(RULES, backward=False))[0]
    assert requests_of(without, 1) == [(2, 1, "skipped", "founded_this_step")]
    # The other way round: the image without it comes first.
    step = Step(images, {1: NONE, 2: one(number=1)})
    assert requests_of(run([step])[0], 1) == [(1, 3, "requested", "")]


def test_requests_come_after_all_associations_of_a_step() -> None:
    """T24: a band forks what an earlier band of the same step does not see."""
    first = Step((image_of(1),), {1: one(number=1)})
    pair = canonical(detections([0.0, 0.0], [9.99, 10.01], 20.0, first_id=2))
    second = Step((image_of(2), image_of(3, band=2)), {2: NONE, 3: pair})
    stored, _ = run([first, second])
    assert stored.sources.keys() == {2, 3}
    for child in (2, 3):
        assert requests_of(stored, child) == [(2, 1, "skipped", "founded_this_step")]
        assert stored.links[child] == [(1, 6), (child, 2)]


def test_a_source_that_is_forked_in_the_step_of_its_founding_is_still_fitted_backward() -> None:
    """D5: requests at its founding position; forks copy them, and one fit serves all."""
    pair = canonical(detections([0.0, 0.0], [9.99, 10.01], 20.0, first_id=2))
    last = Step((image_of(1), image_of(2, band=2)), {1: one(number=1), 2: pair})
    stored, _ = run([Step((image_of(0),), {0: NONE}), last])
    assert stored.sources.keys() == {2, 3}
    rows = [stored.requests[child] for child in (2, 3)]
    for requests in rows:
        assert [(r[0], r[1], r[2], r[3], r[4]) for r in requests if r[1] == 3] == [
            (0, 3, 0.0, 10.0, int(LinkType.INHERITED))
        ]
    assert rows[0][0][7] == rows[1][0][7]


def test_an_image_has_no_second_request_of_a_source_that_was_forked_when_it_was_founded() -> None:
    """Founded in band 1, forked in band 2, and not seen in band 3 of one step."""
    pair = canonical(detections([0.0, 0.0], [9.99, 10.01], 20.0, first_id=2))
    images = tuple(image_of(i, band=i) for i in (1, 2, 3))
    step = Step(images, {1: one(number=1), 2: pair, 3: NONE})
    stored, _ = run([step])
    assert stored.sources.keys() == {2, 3}
    for child in (2, 3):
        assert requests_of(stored, child) == [(3, 3, "requested", "")]
    without, _ = run([step], replace(RULES, backward=False))
    for child in (2, 3):
        assert requests_of(without, child) == [(3, 1, "skipped", "founded_this_step")]


def test_forks_are_named_after_their_founding_detections() -> None:
    """D20: not after their mean positions, which a late image moves; parents' names are free."""
    pair = canonical(detections([0.0, 0.0], [10.0, 10.01], 20.0, first_id=5))
    early, _ = run(steps_of(one(number=1), pair))
    late, _ = run(steps_of(one(dec=9.996, number=1), one(dec=9.998, number=2), pair))
    assert early.names == late.names == {5: "J000000.0+100000", 6: "J000000.0+100036"}


def test_backward_fits_in_the_latest_images_only() -> None:
    found = [NONE, NONE, NONE, one(number=1)]
    stored, _ = run(steps_of(*found), replace(RULES, backward_max_images=2))
    assert requests_of(stored, 1) == [(1, 3, "requested", ""), (2, 3, "requested", "")]


def test_other_stokes_are_not_asked() -> None:
    """D14."""
    steps = [
        Step((image_of(0, stokes=4),), {0: NONE}),
        Step((image_of(1),), {1: one(number=1)}),
        Step((image_of(2, stokes=4),), {2: one(number=2)}),
        Step((image_of(3, stokes=4),), {3: NONE}),
    ]
    stored, _ = run(steps)
    assert stored.sources.keys() == {1, 2}
    assert stored.requests.keys() == {2}
    assert requests_of(stored, 2) == [(0, 3, "requested", ""), (3, 1, "requested", "")]
    # Nor is the other Stokes parameter's source what was not seen before.
    assert stored.new == {2: (2, 0, 0)}


def test_memberships_are_made_when_a_source_or_a_region_is_first_met() -> None:
    """2.2: a source is in its own image's region, and in others that hold it."""
    at = detections([0.1, 359.9], [10.0, 10.0], 20.0)
    steps = [Step((image_of(1),), {1: at}), Step((), {}, rejected_regions=(2,))]
    stored, _ = run(steps)
    assert stored.members[1].keys() == {1, 2}
    assert math.isnan(stored.members[1][1])
    assert stored.members[1][2] == pytest.approx(0.2 * math.cos(math.radians(10)), rel=1e-4)
    # 0.4 deg of right ascension is more than region 2's radius.
    assert stored.members[2].keys() == {1}
    # Even one outside of it, e.g. in the corner of its image.
    corner = detections(0.0, 10.6, 20.0)
    stored, _ = run([Step((image_of(1),), {1: corner})])
    assert stored.members[1].keys() == {1}


def test_a_membership_does_not_move_with_its_source() -> None:
    steps = [
        Step((image_of(1),), {1: one(number=1)}),
        Step((image_of(2, region=2),), {2: NONE}),
        Step((image_of(3),), {3: one(0.08, 10.0, number=2)}),
    ]
    rules = replace(RULES, max_deruiter=100.0)
    # 0.3 cos(10) = 0.2954 deg from the centre of region 2, whose radius is 0.3.
    stored, _ = run(steps, rules)
    assert stored.members[1][2] == pytest.approx(0.29544, abs=1e-4)


@pytest.mark.parametrize(
    ("peak_jy", "new"),
    # T22: at the limit it is not new; above the noisy part's limit it is surely new.
    [(1.0, None), (1.0001, 0), (2.0, 0), (2.0001, 1)],
)
def test_new_sources_exceed_an_earlier_image(peak_jy: float, new: int | None) -> None:
    stored, _ = run(steps_of(NONE, one(number=1, peak_jy=peak_jy)))
    assert stored.new == ({} if new is None else {1: (1, 0, new)})


def test_the_deepest_earlier_image_of_the_band_counts() -> None:
    """T10: lowest limit in the quietest part, then in the noisiest."""
    limits = [(2.4, 6.0), (2.0, 6.0), (2.0, 5.0), (2.0, 6.0), (2.4, 6.0)]
    images = [image_of(i, low_jy=low, high_jy=high) for i, (low, high) in enumerate(limits)]
    other = image_of(8, band=2, low_jy=0.1, high_jy=0.2)
    now = image_of(9, low_jy=0.1, high_jy=0.2)
    steps = [Step((image,), {image.id: NONE}) for image in (*images, other)]
    stored, _ = run([*steps, Step((now,), {9: one(number=1, peak_jy=5.5)})])
    assert stored.new == {1: (1, 2, 1)}


def test_nothing_is_new_at_the_first_look() -> None:
    """T09, T13: another band, another region, or only the same step."""
    seen = one(number=1)
    assert run(steps_of(seen))[0].new == {}
    other_band = [Step((image_of(0, band=2),), {0: NONE}), Step((image_of(1),), {1: seen})]
    assert run(other_band)[0].new == {}
    elsewhere = [Step((image_of(0, region=3),), {0: NONE}), Step((image_of(1),), {1: seen})]
    assert run(elsewhere)[0].new == {}
    same_step = [Step((image_of(0), image_of(1)), {0: NONE, 1: seen})]
    assert run(same_step)[0].new == {}


def test_a_fork_is_not_new_but_keeps_that_its_parent_was() -> None:
    pair = canonical(detections([0.0, 0.0], [9.99, 10.01], 20.0, peak_jy=3.0, first_id=5))
    stored, _ = run(steps_of(NONE, one(number=1, peak_jy=3.0), pair))
    assert stored.new == {5: (1, 0, 1), 6: (1, 0, 1)}
    stored, _ = run(steps_of(one(number=1, peak_jy=3.0), pair))
    assert stored.new == {}


def test_earlier_images_are_asked_for_only_if_a_source_is_founded() -> None:
    first, _ = run(steps_of(one(number=1)))
    asked = []
    history = SkyHistory(
        *fresh(first),
        REGIONS,
        {1},
        lambda: asked.append(1) or [image_of(0)],
        everything,
        RULES,
    )
    history.advance(1, [1], [image_of(1)], {1: one(number=2)})
    assert asked == []
    history.advance(2, [1], [image_of(2)], {2: one(0.3, number=3)})
    assert asked == [1]
    history.advance(3, [1], [image_of(3)], {3: one(359.7, number=4)})
    assert asked == [1]
    first.save(history.take_changes())
    # Images of before and of this run.
    assert [r[0] for r in requests_of(first, 3)] == [0, 1, 3]
    assert [r[0] for r in requests_of(first, 4)] == [0, 1, 2]


def test_an_empty_step_and_an_empty_image_change_nothing() -> None:
    _, history = run(steps_of(one(number=1)))
    history.advance(5, [], [], {})
    changes = history.take_changes()
    assert len(changes.sources.id) == len(changes.links.source) == len(changes.requests.source) == 0
    assert places(NONE) == []

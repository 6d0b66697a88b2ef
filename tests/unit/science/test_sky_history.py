"""Going through images in time order: founding, forks, requests (SCIENCE.md 2.2, 5, 6, 8)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from trap_ops.records.images import Region
from trap_ops.records.sky import LinkType, MembershipRows, SkyChanges, SkySourceRows
from trap_ops.records.sources import Detections
from trap_ops.science.catalogue import Catalogue, canonical
from trap_ops.science.new_sources import DetectionLimits
from trap_ops.science.sky_history import HistoryImage, Rules, SkyHistory
from unit.science.made_detections import detections
from unit.science.slow_association import SlowSky, SlowSource, places

RULES = Rules(max_deruiter=3.0, forward=True, backward=True, backward_max_images=0, expiration=None)
REGIONS = {1: Region(0.0, 10.0, 0.5), 2: Region(0.3, 10.0, 0.3), 3: Region(40.0, 10.0, 0.5)}


def image_of(
    number: int,
    *,
    region: int = 1,
    band: int = 1,
    stokes: int = 1,
    low_jy: float = 1.0,
    high_jy: float = 2.0,
) -> HistoryImage:
    """An image whose id and order are the same number."""
    limits = DetectionLimits(number, number, low_jy, high_jy)
    return HistoryImage(number, number, region, band, stokes, 0.1, limits)


@dataclass(frozen=True)
class Step:
    """A time step: its accepted images with their detections, and regions of rejected ones."""

    images: tuple[HistoryImage, ...]
    found: Mapping[int, Detections]
    rejected_regions: tuple[int, ...] = ()

    @property
    def regions(self) -> list[int]:
        return [*self.rejected_regions, *(image.region for image in self.images)]


@dataclass
class Stored:
    """What the database makes of changes: rows by source id."""

    sources: dict[int, dict[str, np.ndarray]] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    links: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    requests: dict[int, list[tuple[object, ...]]] = field(default_factory=dict)
    fits: dict[tuple[int, int], set[int]] = field(default_factory=dict)
    members: dict[int, dict[int, float]] = field(default_factory=dict)
    new: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    memberships: list[MembershipRows] = field(default_factory=list)
    n_fits: int = 0

    def save(self, changes: SkyChanges) -> None:
        for heir, parent in changes.heirs:
            inherited = int(LinkType.INHERITED)
            self.links[heir] = [(m, inherited) for m, _ in self.links.get(parent, [])]
            self.requests[heir] = [
                (*row[:4], inherited, *row[5:]) for row in self.requests.get(parent, [])
            ]
            if parent in self.new:
                self.new[heir] = self.new[parent]
        rows = changes.sources
        for i, number in enumerate(rows.id.tolist()):
            self.sources[number] = {
                **{name: value[i] for name, value in vars(rows.positions).items()},
                **{
                    name: getattr(rows, name)[i]
                    for name in ("stokes", "attempts", "founded", "parent")
                },
                "vectors": rows.vectors[i],
            }
            self.names[number] = rows.name[i]
        for source, measurement, kind in zip(
            *(column.tolist() for column in changes.links[:3]), strict=True
        ):
            self.links.setdefault(source, []).append((measurement, kind))
        for source, *row, origin in zip(
            *(column.tolist() for column in changes.requests), strict=True
        ):
            self.requests.setdefault(source, []).append((*row, self.n_fits + origin))
        self.n_fits += 1 + int(changes.requests.origin.max(initial=0))
        for source, region, distance in zip(
            *(column.tolist() for column in changes.memberships), strict=True
        ):
            assert region not in self.members.setdefault(source, {}), "a membership twice"
            self.members[source][region] = distance
        for source, *row in zip(*(column.tolist() for column in changes.new_sources), strict=True):
            self.new[source] = tuple(row)
        for number in changes.removed:
            for table in (
                self.sources,
                self.names,
                self.links,
                self.requests,
                self.members,
                self.new,
            ):
                table.pop(number, None)

    def rows(self) -> tuple[SkySourceRows, MembershipRows]:
        """Return what a later run loads, in canonical order: here that of the ids."""
        ids = sorted(self.sources)
        catalogue = Catalogue()
        empty = catalogue.rows(np.empty(0, dtype=np.intp))
        columns = {
            name: np.array([self.sources[i][name] for i in ids]) if ids else value
            for name, value in {
                **vars(empty.positions),
                "vectors": empty.vectors,
                "stokes": empty.stokes,
                "attempts": empty.attempts,
                "founded": empty.founded,
                "parent": empty.parent,
            }.items()
        }
        positions = type(empty.positions)(**{n: columns[n] for n in vars(empty.positions)})
        others = {n: columns[n] for n in ("vectors", "stokes", "attempts", "founded", "parent")}
        rows = SkySourceRows(
            id=np.array(ids, dtype=np.int64),
            positions=positions,
            name=[self.names[i] for i in ids],
            **others,
        )
        members = [(i, r, d) for i in ids for r, d in self.members.get(i, {}).items()]
        table = np.array(members, dtype=float).reshape(-1, 3).T
        return rows, MembershipRows(table[0].astype(int), table[1].astype(int), table[2])


def run(
    steps: Sequence[Step], rules: Rules = RULES, *, save: str = "at the end"
) -> tuple[Stored, SkyHistory]:
    """Go through steps; changes are stored at the end, after each step, or with a fresh start."""
    stored, done = Stored(), list[HistoryImage]()
    introduced: set[int] = set()
    history = SkyHistory(*_fresh(stored), REGIONS, introduced, list, rules)
    for number, step in enumerate(steps):
        history.advance(number, step.regions, step.images, step.found)
        done += step.images
        if save != "at the end":
            stored.save(history.take_changes())
        if save == "fresh start":
            before = tuple(done)
            catalogue, memberships = _fresh(stored)
            history = SkyHistory(
                catalogue, memberships, REGIONS, introduced, lambda before=before: before, rules
            )
    stored.save(history.take_changes())
    return stored, history


def _fresh(stored: Stored) -> tuple[Catalogue, MembershipRows]:
    rows, memberships = stored.rows()
    return Catalogue.of_rows(rows), memberships


def random_steps(seed: int) -> list[Step]:
    """Crowded fields about 0h with several bands, Stokes parameters and regions."""
    rng = np.random.default_rng(seed)
    truth = np.stack([rng.uniform(-0.3, 0.6, 14), 10 + rng.uniform(-0.3, 0.3, 14)])
    # Close companions of most, so that there are forks and many-to-one.
    truth = np.hstack([truth, truth[:, :10] + rng.normal(0, 0.02, (2, 10))])
    steps, number, first_id = [], 0, 1
    for _ in range(7):
        images, found = [], {}
        for _ in range(rng.integers(0, 4)):
            number += 1
            image = image_of(
                number,
                region=int(rng.choice([1, 1, 2, 2, 3])),
                band=int(rng.integers(1, 3)),
                stokes=int(rng.choice([1, 1, 1, 4])),
                low_jy=float(rng.choice([0.9, 1.0])),
                high_jy=float(rng.choice([1.1, 1.2])),
            )
            circle = REGIONS[image.region]
            shown = np.flatnonzero(rng.random(truth.shape[1]) < 0.6)
            x, y = truth[:, shown] + rng.normal(0, 0.008, (2, len(shown)))
            near = np.hypot(x - circle.ra_deg, y - circle.dec_deg) < circle.radius_deg
            at = canonical(
                detections(
                    x[near] % 360.0,
                    y[near],
                    rng.uniform(10, 60, near.sum()),
                    peak_jy=rng.uniform(0.8, 1.4, near.sum()),
                )
            )
            found[number] = replace(at, id=np.arange(first_id, first_id + len(at)))
            first_id += len(at)
            images.append(image)
        rejected = (int(rng.integers(1, 4)),) if rng.random() < 0.3 else ()
        steps.append(Step(tuple(images), found, rejected))
    return steps


RULE_SETS = [
    RULES,
    replace(RULES, expiration=1),
    replace(RULES, expiration=2, backward_max_images=2),
    replace(RULES, backward=False),
    replace(RULES, forward=False),
]


def differences(stored: Stored, slow: SlowSky) -> list[str]:
    """Everything in which the fast and the slow way differ."""
    expected = {source.id: source for source in slow.sources}
    if stored.sources.keys() != expected.keys():
        return [f"sources {sorted(stored.sources)}, expected {sorted(expected)}"]
    return [
        f"{source.id}: {problem}"
        for source in slow.sources
        for problem in _source_differences(stored, source)
    ]


def _source_differences(stored: Stored, source: SlowSource) -> list[str]:
    row = stored.sources[source.id]
    ra, dec, ew, ns = source.mean()
    problems = []
    if abs((row["ra_deg"] - ra + 180) % 360 - 180) > 1e-11 or abs(row["dec_deg"] - dec) > 1e-11:
        problems.append(f"position {row['ra_deg'], row['dec_deg']}, expected {ra, dec}")
    if not np.allclose([row["sigma_ew_deg"], row["sigma_ns_deg"]], [ew, ns], rtol=1e-12):
        problems.append("position errors")
    counts = {
        "n": len(source.seen),
        "stokes": source.stokes,
        "attempts": source.attempts,
        "founded": source.founded,
        "parent": source.parent,
    }
    problems += [f"{k} {row[k]}, expected {v}" for k, v in counts.items() if row[k] != v]
    members = stored.members.get(source.id, {})
    if members.keys() != source.members.keys() or not np.allclose(
        [members[region] for region in source.members],
        list(source.members.values()),
        atol=1e-9,
        equal_nan=True,
    ):
        problems.append(f"members {members}, expected {source.members}")
    links = sorted(stored.links.get(source.id, []))
    if links != sorted(source.links):
        problems.append(f"links {links}, expected {sorted(source.links)}")
    made, wanted = (
        sorted((*r[:2], *(round(x, 8) for x in r[2:4]), *r[4:7]) for r in requests)
        for requests in (stored.requests.get(source.id, []), source.requests)
    )
    if made != wanted:
        problems.append(f"requests {made}, expected {wanted}")
    new = stored.new.get(source.id)
    if new != source.new:
        problems.append(f"new source {new}, expected {source.new}")
    return problems


@pytest.mark.parametrize("rules", RULE_SETS)
@pytest.mark.parametrize("seed", range(16))
def test_all_at_once_is_as_one_source_after_the_other(seed: int, rules: Rules) -> None:
    steps = random_steps(seed)
    slow = SlowSky(REGIONS, rules)
    for number, step in enumerate(steps):
        slow.advance(number, step.regions, step.images, step.found)
    stored, _ = run(steps, rules)
    assert differences(stored, slow) == []


def test_the_random_skies_are_rich() -> None:
    """Or the test above would prove little."""
    kinds, several, reasons, new = set(), 0, set(), 0
    for seed in range(12):
        stored, history = run(random_steps(seed), replace(RULES, expiration=1))
        kinds |= {kind for rows in stored.links.values() for _, kind in rows}
        measured = [m for rows in stored.links.values() for m, kind in rows if kind == 3]
        several += len(measured) - len(set(measured))
        reasons |= {(row[1], row[6]) for rows in stored.requests.values() for row in rows}
        new += len(stored.new)
        assert not history.catalogue.active.all()
    assert kinds == {2, 3, 4, 6}
    assert min(several, new) > 10
    assert reasons == {(1, ""), (1, "expired"), (1, "founded_this_step"), (3, "")}


@pytest.mark.parametrize("rules", RULE_SETS)
@pytest.mark.parametrize("save", ["after each step", "fresh start"])
@pytest.mark.parametrize("seed", range(6))
def test_when_changes_are_stored_does_not_matter(seed: int, save: str, rules: Rules) -> None:
    """Append equals batch, to the last bit."""
    steps = random_steps(seed)
    whole, _ = run(steps, rules)
    pieces, _ = run(steps, rules, save=save)
    assert whole.names == pieces.names
    assert {k: sorted(v) for k, v in whole.links.items()} == {
        k: sorted(v) for k, v in pieces.links.items()
    }
    for number, row in whole.sources.items():
        for name, value in row.items():
            np.testing.assert_array_equal(pieces.sources[number][name], value, err_msg=name)
    assert {k: sorted(r[:7] for r in v) for k, v in whole.requests.items() if v} == {
        k: sorted(r[:7] for r in v) for k, v in pieces.requests.items() if v
    }
    np.testing.assert_equal(pieces.members, whole.members)
    assert pieces.new == whole.new


@pytest.mark.parametrize("seed", range(6))
def test_copies_of_a_request_share_its_fit(seed: int) -> None:
    """Rows with one origin ask for the same position in the same image."""
    stored, _ = run(random_steps(seed))
    by_fit: dict[int, set[tuple[object, ...]]] = {}
    for rows in stored.requests.values():
        for row in rows:
            by_fit.setdefault(row[7], set()).add(row[:4])
    assert all(len(asked) == 1 for asked in by_fit.values())


@pytest.mark.parametrize("seed", range(4))
def test_the_place_of_0h_does_not_matter(seed: int) -> None:
    """Turned by 77 deg everything has the same links, requests and memberships."""

    def turned(found: Detections) -> Detections:
        return replace(found, ra_deg=(found.ra_deg + 77.0) % 360.0)

    steps = random_steps(seed)
    here, _ = run(steps)
    there_steps = [
        replace(step, found={i: turned(found) for i, found in step.found.items()}) for step in steps
    ]
    saved = dict(REGIONS)
    try:
        for number, region in saved.items():
            REGIONS[number] = replace(region, ra_deg=region.ra_deg + 77.0)
        there, _ = run(there_steps)
    finally:
        REGIONS.update(saved)
    assert {k: sorted(v) for k, v in here.links.items()} == {
        k: sorted(v) for k, v in there.links.items()
    }
    assert here.new == there.new
    assert {k: v.keys() for k, v in here.members.items()} == {
        k: v.keys() for k, v in there.members.items()
    }


# ---- Single rules.


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
    catalogue, memberships = _fresh(first)
    asked = []
    history = SkyHistory(
        catalogue, memberships, REGIONS, {1}, lambda: asked.append(1) or [image_of(0)], RULES
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

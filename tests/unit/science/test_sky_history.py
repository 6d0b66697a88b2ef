"""Going through images in time order: founding, forks, requests (SCIENCE.md 2.2, 5, 6, 8)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from astropy.wcs import WCS

from trap_ops.config.model import CatalogueChecksConfig
from trap_ops.records.images import Coverage
from trap_ops.records.sources import Detections
from trap_ops.science.catalogue_checks import CATALOGUE_CHECKS
from trap_ops.science.coverage import make_coverage, shows
from trap_ops.science.time_steps import Rules
from unit.science.made_histories import (
    REGIONS,
    RULES,
    Stored,
    random_steps,
    run,
)
from unit.science.slow_association import SlowSky, SlowSource

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


@pytest.mark.parametrize("save", ["at the end", "fresh start"])
@pytest.mark.parametrize("seed", range(8))
def test_images_that_show_a_part_of_their_region(seed: int, save: str) -> None:
    """Every second image has data in the eastern half of its region only, every third nowhere."""
    steps = random_steps(seed)
    region_of = {image.id: REGIONS[image.region] for step in steps for image in step.images}

    def coverage(image: int) -> Coverage:
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
        wcs.wcs.crval = [region_of[image].ra_deg, region_of[image].dec_deg]
        wcs.wcs.crpix = [101.0, 101.0]
        wcs.wcs.cdelt = [-0.01, 0.01]
        mask = np.zeros((200, 200), dtype=bool)
        mask[:, 100 if image % 2 == 0 else 200 :] = True
        return make_coverage(mask | (image % 3 == 0), np.eye(2), wcs)

    def shown(image: int, ra: float, dec: float) -> bool:
        return bool(shows(coverage(image), np.array([ra]), np.array([dec]))[0])

    slow = SlowSky(REGIONS, RULES, shown)
    for number, step in enumerate(steps):
        slow.advance(number, step.regions, step.images, step.found)
    stored, _ = run(steps, save=save, coverage=coverage)
    assert differences(stored, slow) == []
    hidden = [image for _, image, _ in stored.new.values() if image % 3 == 0]
    assert hidden == []


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


# Limits that random fields with their few sources often exceed.
STRICT = CatalogueChecksConfig(
    min_detections=1, min_sources=3, min_snr=1.0, min_images=2, warn_sigma=0.1, reject_sigma=0.2,
    astrometry_reject_beams=0.1, flux_scale_reject_factor=1.05, source_count_reject_factor=1.2,
)  # fmt: skip


@pytest.mark.parametrize("save", ["after each step", "fresh start"])
@pytest.mark.parametrize("seed", range(8))
def test_when_checks_and_reference_fluxes_are_stored_does_not_matter(seed: int, save: str) -> None:
    """To the last bit, forks included."""
    steps = random_steps(seed)
    whole, _ = run(steps, config=STRICT)
    pieces, _ = run(steps, config=STRICT, save=save)
    assert pieces.checks == whole.checks
    assert pieces.references == whole.references
    assert pieces.links == whole.links


def test_random_fields_have_every_result() -> None:
    """Else the test before would say nothing."""
    found = set()
    for seed in range(8):
        stored, _ = run(random_steps(seed), config=STRICT)
        found |= {(c.name, str(c.result)) for checks in stored.checks.values() for c in checks}
        assert any(stored.is_rejected(image) for image in stored.checks)
    results = {"accepted", "warned", "rejected", "not made"}
    assert {result for _, result in found} == results
    assert {name for name, result in found if result == "rejected"} == set(CATALOGUE_CHECKS)


@pytest.mark.parametrize("seed", range(4))
def test_a_rejected_image_is_as_none(seed: int) -> None:
    steps = random_steps(seed)
    stored, _ = run(steps, config=STRICT)
    kept = [
        replace(
            step,
            images=tuple(image for image in step.images if not stored.is_rejected(image.id)),
            rejected_regions=tuple(step.regions),
        )
        for step in steps
    ]
    without, _ = run(kept, config=STRICT)
    assert without.links == stored.links
    assert without.references == stored.references
    assert without.new == stored.new
    np.testing.assert_equal(without.members, stored.members)
    assert {k: [r[:6] for r in v] for k, v in without.requests.items() if v} == {
        k: [r[:6] for r in v] for k, v in stored.requests.items() if v
    }


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

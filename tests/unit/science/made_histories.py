"""Made-up images and a store in memory for tests of the history of the sky."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from trap_ops.config.model import CatalogueChecksConfig
from trap_ops.records.images import Check, CheckResult, Coverage, Region
from trap_ops.records.sky import (
    LinkType,
    MembershipRows,
    ReferenceFluxRows,
    SkyChanges,
    SkySourceRows,
)
from trap_ops.records.sources import Detections
from trap_ops.science.catalogue import Catalogue, canonical
from trap_ops.science.catalogue_checks import CatalogueChecks
from trap_ops.science.new_sources import DetectionLimits
from trap_ops.science.reference_fluxes import NO_REFERENCES, ReferenceFluxes
from trap_ops.science.sky_history import SkyHistory
from trap_ops.science.time_steps import HistoryImage, Rules
from unit.science.made_detections import detections

RULES = Rules(max_deruiter=3.0, forward=True, backward=True, backward_max_images=0, expiration=None)
CHECKS = CatalogueChecksConfig()
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
    circle = REGIONS[region]
    return HistoryImage(
        number,
        number,
        region,
        band,
        stokes,
        0.1,
        limits,
        centre_ra_deg=circle.ra_deg,
        centre_dec_deg=circle.dec_deg,
        radius_deg=circle.radius_deg,
        beam_deg=0.02,
        rms_jy=0.1,
    )


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
    references: dict[tuple[int, int], tuple[float, ...]] = field(default_factory=dict)
    checks: dict[int, tuple[Check, ...]] = field(default_factory=dict)
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
        self._save_checks(changes)
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

    def _save_checks(self, changes: SkyChanges) -> None:
        self.checks |= changes.checks
        for source, band, *row, known in zip(
            *(column.tolist() for column in changes.references), strict=True
        ):
            assert known == ((source, band) in self.references), "inserted twice, or lost"
            self.references[source, band] = tuple(row)
        gone = set(changes.removed)
        self.references = {key: row for key, row in self.references.items() if key[0] not in gone}

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

    def reference_rows(self) -> ReferenceFluxRows:
        rows = [(*key, *row, True) for key, row in sorted(self.references.items())]
        if not rows:
            return NO_REFERENCES
        return ReferenceFluxRows(*map(np.array, zip(*rows, strict=True)))

    def is_rejected(self, image: int) -> bool:
        return any(check.result == CheckResult.REJECTED for check in self.checks[image])


def everything(_: int) -> None:
    """Of no image it is known what it shows: all that is in its region."""
    return


def run(
    steps: Sequence[Step],
    rules: Rules = RULES,
    *,
    save: str = "at the end",
    coverage: Callable[[int], Coverage | None] = everything,
    config: CatalogueChecksConfig = CHECKS,
) -> tuple[Stored, SkyHistory]:
    """Go through steps; changes are stored at the end, after each step, or with a fresh start."""
    stored, done = Stored(), list[HistoryImage]()
    introduced: set[int] = set()
    history = SkyHistory(*fresh(stored, done, config), REGIONS, introduced, list, coverage, rules)
    for number, step in enumerate(steps):
        history.advance(number, step.regions, step.images, step.found)
        if save != "at the end":
            stored.save(history.take_changes())
        if save == "fresh start":
            done += [image for image in step.images if not stored.is_rejected(image.id)]
            before = tuple(done)
            history = SkyHistory(
                *fresh(stored, done, config),
                REGIONS,
                introduced,
                lambda before=before: before,
                coverage,
                rules,
            )
    stored.save(history.take_changes())
    return stored, history


def fresh(
    stored: Stored,
    done: Sequence[HistoryImage] = (),
    config: CatalogueChecksConfig = CHECKS,
) -> tuple[Catalogue, ReferenceFluxes, CatalogueChecks, MembershipRows]:
    """What a later run starts from, after some images that are used."""
    rows, memberships = stored.rows()
    catalogue = Catalogue.of_rows(rows)
    references = ReferenceFluxes(stored.reference_rows(), catalogue)
    checks = CatalogueChecks(config, references)
    for image in done:
        checks.remember(image, {check.name: check.measured for check in stored.checks[image.id]})
    return catalogue, references, checks, memberships


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

"""Association as SCIENCE.md says it, pair by pair and source by source: slow, and easy to check."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from trap_ops.records.images import Region
from trap_ops.records.sky import FitKind, LinkType
from trap_ops.records.sources import Detections
from trap_ops.science.time_steps import HistoryImage, Rules

# Right ascension, declination, and their errors; all in degrees.
Place = tuple[float, float, float, float]


def places(found: Detections) -> list[Place]:
    """Detections one by one."""
    columns = (found.ra_deg, found.dec_deg, found.sigma_ew_deg, found.sigma_ns_deg)
    return [tuple(map(float, row)) for row in zip(*columns, strict=True)]


def apart_deg(ra1: float, dec1: float, ra2: float, dec2: float) -> float:
    """Angle between two directions."""
    a, b, d = math.radians(dec1), math.radians(dec2), math.radians(ra1 - ra2)
    chord = math.sin((a - b) / 2) ** 2 + math.cos(a) * math.cos(b) * math.sin(d / 2) ** 2
    return math.degrees(2 * math.asin(math.sqrt(chord)))


def candidate_pairs(
    sources: Sequence[Place],
    found: Sequence[Place],
    max_separation_deg: float,
    max_deruiter: float,
) -> dict[tuple[int, int], tuple[float, float]]:
    """SCIENCE.md 5.1 and 5.2: De Ruiter radius and distance (arcsec) of each candidate pair."""
    made = {}
    for (i, one), (j, two) in itertools.product(enumerate(sources), enumerate(found)):
        d_ra = (one[0] - two[0] + 180.0) % 360.0 - 180.0
        d_dec = one[1] - two[1]
        distance = apart_deg(one[0], one[1], two[0], two[1])
        r = math.hypot(
            d_ra * math.cos(math.radians((one[1] + two[1]) / 2)) / math.hypot(one[2], two[2]),
            d_dec / math.hypot(one[3], two[3]),
        )
        if abs(d_dec) <= max_separation_deg and distance < max_separation_deg and r < max_deruiter:
            made[i, j] = (r, distance * 3600.0)
    return made


def decided(
    rows: Mapping[tuple[int, int], tuple[float, float]], n_detections: int
) -> tuple[set[tuple[int, int]], set[tuple[int, int]], set[int]]:
    """SCIENCE.md 5.3 and 5.4 with D7: pairs that update, pairs that fork, new detections."""
    of_source, of_detection = defaultdict(list), defaultdict(list)
    for source, detection in rows:
        of_source[source].append((source, detection))
        of_detection[detection].append((source, detection))
    active = []
    for pair in rows:
        rivals = [
            other
            for other in of_detection[pair[1]]
            if len(of_source[other[0]]) > 1 and len(of_detection[other[1]]) > 1
        ]
        if pair in rivals:
            for column in (0, 1):
                least = min(rows[other][column] for other in rivals)
                rivals = [o for o in rivals if rows[o][column] <= least * (1 + 1e-9)]
            if pair != min(rivals):
                continue
        active.append(pair)
    forks = {pair for pair in active if sum(other[0] == pair[0] for other in active) > 1}
    return set(active) - forks, forks, set(range(n_detections)) - of_detection.keys()


@dataclass
class SlowSource:
    """One sky source with all that belongs to it."""

    id: int
    stokes: int
    founded: int
    parent: int
    # When and where the first detection of its line was: forks keep these.
    origin: tuple[int, float, float]
    seen: list[Place]
    attempts: int = 0
    members: dict[int, float] = field(default_factory=dict)
    links: list[tuple[int, int]] = field(default_factory=list)
    requests: list[tuple[object, ...]] = field(default_factory=list)
    new: tuple[int, int, int] | None = None

    def mean(self) -> Place:
        """Weighted mean position and its errors, from all detections anew."""
        ra0 = self.seen[0][0]
        w_ra = [1 / s[2] ** 2 for s in self.seen]
        w_dec = [1 / s[3] ** 2 for s in self.seen]
        east = [(s[0] - ra0 + 180.0) % 360.0 - 180.0 for s in self.seen]
        ra = ra0 + math.fsum(w * e for w, e in zip(w_ra, east, strict=True)) / math.fsum(w_ra)
        dec = math.fsum(w * s[1] for w, s in zip(w_dec, self.seen, strict=True)) / math.fsum(w_dec)
        return ra % 360.0, dec, math.fsum(w_ra) ** -0.5, math.fsum(w_dec) ** -0.5


class SlowSky:
    """The state of association, changed one source at a time."""

    def __init__(
        self,
        regions: Mapping[int, Region],
        rules: Rules,
        shows: Callable[[int, float, float], bool] = lambda *_: True,
    ) -> None:
        self.regions = regions
        self.rules = rules
        self.shows = shows
        self.sources: list[SlowSource] = []
        self.introduced: list[int] = []
        self.images: list[HistoryImage] = []

    def advance(
        self,
        step: int,
        regions: Sequence[int],
        images: Sequence[HistoryImage],
        found: Mapping[int, Detections],
    ) -> None:
        """Go through one time step."""
        for region in regions:
            if region not in self.introduced:
                self.introduced.append(region)
                for source in self.sources:
                    self._join(source, region, *source.mean()[:2])
        seen: dict[int, set[int]] = {image.id: set() for image in images}
        for image in images:
            self._associate(step, image, found[image.id], seen)
        if self.rules.forward:
            self._forward(step, images, seen)
        if self.rules.backward:
            self._backward(step, images, seen)
        self.images += images

    def _join(self, source: SlowSource, region: int, ra: float, dec: float) -> None:
        circle = self.regions[region]
        distance = apart_deg(ra, dec, circle.ra_deg, circle.dec_deg)
        if distance < circle.radius_deg:
            source.members[region] = distance

    def _associate(
        self, step: int, image: HistoryImage, at: Detections, seen: dict[int, set[int]]
    ) -> None:
        candidates = [source for source in self.sources if source.stokes == image.stokes]
        point = places(at)
        rows = candidate_pairs(
            [source.mean() for source in candidates],
            point,
            image.max_separation_deg,
            self.rules.max_deruiter,
        )
        updates, forks, new = decided(rows, len(at))
        entering: list[tuple[int, SlowSource]] = []
        for s, d in sorted(forks):
            parent = candidates[s]
            child = SlowSource(
                id=int(at.id[d]),
                stokes=image.stokes,
                founded=step,
                parent=parent.id,
                origin=parent.origin,
                seen=[*parent.seen, point[d]],
                members=dict(parent.members),
                links=[
                    *((measurement, int(LinkType.INHERITED)) for measurement, _ in parent.links),
                    (int(at.id[d]), int(LinkType.FORKED)),
                ],
                requests=[
                    (*request[:4], int(LinkType.INHERITED), *request[5:])
                    for request in parent.requests
                ],
                new=parent.new,
            )
            entering.append((d, child))
            for there in seen.values():
                if parent.id in there:
                    there.add(child.id)
        for s, d in updates:
            candidates[s].seen.append(point[d])
            candidates[s].links.append((int(at.id[d]), int(LinkType.ONE_TO_ONE)))
            seen[image.id].add(candidates[s].id)
        for d in new:
            ra, dec = point[d][:2]
            number = int(at.id[d])
            made = SlowSource(number, image.stokes, step, -1, (step, ra, dec), [point[d]])
            made.links.append((number, int(LinkType.FOUNDING)))
            for region in self.introduced:
                self._join(made, region, ra, dec)
            made.members[image.region] = math.nan
            self._compare_with_earlier(made, image, float(at.peak_jy[d]))
            entering.append((d, made))
        gone = {candidates[s].id for s, _ in forks}
        self.sources = [source for source in self.sources if source.id not in gone]
        for _, made in sorted(entering, key=lambda item: item[0]):
            seen[image.id].add(made.id)
            self.sources.append(made)

    def _compare_with_earlier(
        self, source: SlowSource, image: HistoryImage, peak_jy: float
    ) -> None:
        """SCIENCE.md 8: the earlier image of the band that shows it and has the least limits."""
        earlier = [
            other
            for other in self.images
            if (other.band, other.stokes) == (image.band, image.stokes)
            and other.region in source.members
            and self.shows(other.id, *source.origin[1:])
        ]
        if not earlier:
            return
        best = min(earlier, key=lambda o: (o.limits.low_jy, o.limits.high_jy, o.order)).limits
        if peak_jy > best.low_jy:
            source.new = (source.id, best.image, int(peak_jy > best.high_jy))

    def _forward(
        self, step: int, images: Sequence[HistoryImage], seen: Mapping[int, set[int]]
    ) -> None:
        """SCIENCE.md 6.1 with D4, D5, D6: requests of all images, then the counters."""
        requested: dict[int, int] = defaultdict(int)
        for image in images:
            for source in self.sources:
                if (
                    source.stokes != image.stokes
                    or image.region not in source.members
                    or source.id in seen[image.id]
                ):
                    continue
                ra, dec = source.mean()[:2]
                here = (image.id, int(FitKind.FORWARD), ra, dec, int(LinkType.FORCED))
                if source.founded == step:
                    if source.origin[0] != step or not self.rules.backward:
                        source.requests.append((*here, "skipped", "founded_this_step"))
                elif self.rules.expiration is not None and source.attempts >= self.rules.expiration:
                    source.requests.append((*here, "skipped", "expired"))
                else:
                    source.requests.append((*here, "requested", ""))
                    requested[source.id] += 1
        for source in self.sources:
            if any(source.id in there for there in seen.values()):
                source.attempts = 0
            else:
                source.attempts += requested[source.id]

    def _backward(
        self, step: int, images: Sequence[HistoryImage], seen: Mapping[int, set[int]]
    ) -> None:
        """D5: all images up to this step that cover a source founded in it and do not show it."""
        for source in self.sources:
            if source.origin[0] != step:
                continue
            covering = [
                image
                for image in (*self.images, *images)
                if image.stokes == source.stokes
                and image.region in source.members
                and source.id not in seen.get(image.id, set())
            ]
            covering.sort(key=lambda image: image.order)
            if self.rules.backward_max_images:
                covering = covering[-self.rules.backward_max_images :]
            kind = LinkType.BACKWARD if source.parent == -1 else LinkType.INHERITED
            source.requests += [
                (image.id, int(FitKind.BACKWARD), *source.origin[1:], int(kind), "requested", "")
                for image in covering
            ]

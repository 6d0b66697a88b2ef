"""Go through images in time order: associate, found, fork, and say which forced fits are wanted.

:class:`SkyHistory` holds the catalogue and what it needs to go on, and collects what is to be
stored. Nothing here reads pixels: a forced fit never moves a position and never founds a source, so
all images of a run can be gone through before any fit is made (SCIENCE.md D3).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from trap_ops.records.arrays import FloatArray, IntArray
from trap_ops.records.images import CheckResult, Coverage, Region
from trap_ops.records.sky import (
    NO_PARENT,
    REQUESTED,
    SKIPPED,
    FitKind,
    LinkRows,
    LinkType,
    MembershipRows,
    NewSourceRows,
    Positions,
    RequestRows,
    SkyChanges,
)
from trap_ops.records.sources import Detections
from trap_ops.science.association import Matches, Pairs, match, score
from trap_ops.science.catalogue import (
    Catalogue,
    first_positions,
    updated_positions,
)
from trap_ops.science.catalogue_checks import CatalogueChecks
from trap_ops.science.ledger import Ledger, copies
from trap_ops.science.new_sources import EarlierLimits
from trap_ops.science.reference_fluxes import ReferenceFluxes
from trap_ops.science.sky_regions import inside_region
from trap_ops.science.time_steps import Founded, HistoryImage, Rules

EXPIRED, FOUNDED_THIS_STEP = "expired", "founded_this_step"


class SkyHistory:
    """The state of association between two images.

    Parameters
    ----------
    catalogue : Catalogue
    references : ReferenceFluxes
        Of the sources in the catalogue.
    checks : CatalogueChecks
        Remember the images gone through before.
    memberships : MembershipRows
        Of the sources in the catalogue, named by id.
    regions : mapping of int to Region
        All regions of the dataset, by id.
    introduced : set of int
        Regions whose first image has been gone through.
    earlier : callable
        Returns the images gone through before and not rejected, in canonical order; called when
        the first source is founded, because a run that founds none need not know them.
    coverage : callable
        As in :class:`trap_ops.science.new_sources.EarlierLimits`.
    rules : Rules
    """

    def __init__(
        self,
        catalogue: Catalogue,
        references: ReferenceFluxes,
        checks: CatalogueChecks,
        memberships: MembershipRows,
        regions: Mapping[int, Region],
        introduced: set[int],
        earlier: Callable[[], Sequence[HistoryImage]],
        coverage: Callable[[int], Coverage | None],
        rules: Rules,
    ) -> None:
        self.catalogue = catalogue
        self._references = references
        self._checks = checks
        self._ledger = Ledger()
        self.introduced = introduced
        self._regions = regions
        self._rules = rules
        self._earlier = earlier
        self._earlier_known = False
        # Images gone through in this run, kept until it is known whether earlier ones are needed.
        self._waiting: list[HistoryImage] = []
        self._covering: dict[tuple[int, int], list[HistoryImage]] = {}
        self._limits = EarlierLimits(coverage)
        self._members: dict[int, list[IntArray]] = {}
        order = np.argsort(catalogue.id)
        index = order[np.searchsorted(catalogue.id[order], memberships.source)]
        self._all_memberships = [memberships._replace(source=index)]
        for region in np.unique(memberships.region):
            self._members[int(region)] = [index[memberships.region == region]]
        self._stored = len(catalogue)

    def advance(
        self,
        step: int,
        regions: Sequence[int],
        images: Sequence[HistoryImage],
        detections: Mapping[int, Detections],
    ) -> None:
        """Go through one time step.

        Its images are checked against the catalogue as it is before any of them is associated. One
        that is rejected leaves no trace but its checks.

        Parameters
        ----------
        step : int
            Number of the step; grows with time.
        regions : sequence of int
            Regions of all its images, rejected ones too, in canonical order.
        images : sequence of HistoryImage
            Its images that are accepted so far, in canonical order.
        detections : mapping of int to Detections
            By image id, in canonical order.
        """
        for region in regions:
            self._introduce(region)
        images = self._check(images, detections)
        seen: dict[int, list[IntArray]] = {image.id: [] for image in images}
        none = np.empty(0, dtype=np.intp)
        founding = Founded(none, none, np.empty(0), np.empty(0))
        for image in images:
            at = detections[image.id]
            pairs = score(
                self.catalogue,
                at,
                stokes=image.stokes,
                max_separation_deg=image.max_separation_deg,
                max_deruiter=self._rules.max_deruiter,
            )
            matches = match(pairs, len(at))
            forked, founded = self._apply(step, image, at, matches, seen)
            founding = founding.joined(
                founding.forked(matches.forks.source, forked),
                Founded(founded, founded, at.ra_deg[matches.new], at.dec_deg[matches.new]),
            )
        self._request_forward(step, images, seen, founding)
        if self._rules.backward and images:
            self._request_backward(images, seen, founding)
        self._remember(images)

    def take_changes(self) -> SkyChanges:
        """Return what is to be stored, and begin anew: all that is in it counts as stored."""
        references = self._references.take_changes(self.catalogue)
        changes = self._ledger.changes(self.catalogue, references)
        self._ledger = Ledger()
        self.catalogue.touched[:] = False
        self._stored = len(self.catalogue)
        return changes

    def _check(
        self, images: Sequence[HistoryImage], detections: Mapping[int, Detections]
    ) -> list[HistoryImage]:
        """Check the images of a time step; return those that are not rejected."""
        checks = {
            image.id: self._checks.check(self.catalogue, image, detections[image.id])
            for image in images
        }
        self._ledger.checks |= checks
        kept = [
            image
            for image in images
            if all(check.result != CheckResult.REJECTED for check in checks[image.id])
        ]
        for image in kept:
            measured = {check.name: check.measured for check in checks[image.id]}
            self._checks.remember(image, measured)
        return kept

    def _introduce(self, region: int) -> None:
        """Find the known sources that should be in a region that is seen for the first time."""
        if region in self.introduced:
            return
        self.introduced.add(region)
        active = np.flatnonzero(self.catalogue.active)
        inside, distance = inside_region(
            self._regions[region],
            self.catalogue.positions.dec_deg[active],
            self.catalogue.vectors[active],
        )
        self._add_members(active[inside], region, distance[inside])

    def _add_members(self, sources: IntArray, region: int, distance_deg: FloatArray) -> None:
        if len(sources) == 0:
            return
        rows = MembershipRows(sources, np.full(len(sources), region), distance_deg)
        self._all_memberships.append(rows)
        self._ledger.memberships.append(rows)
        self._members.setdefault(region, []).append(sources)

    def _apply(
        self,
        step: int,
        image: HistoryImage,
        at: Detections,
        matches: Matches,
        seen: dict[int, list[IntArray]],
    ) -> tuple[IntArray, IntArray]:
        """Write the matches of one image into the catalogue; return the forks and the new sources.

        All changes are computed from the catalogue as it was before the image.
        """
        before = self.catalogue.positions
        moved = updated_positions(
            before.take(matches.updates.source), at, matches.updates.detection
        )
        children = updated_positions(before.take(matches.forks.source), at, matches.forks.detection)
        newborn = first_positions(at, matches.new)
        self.catalogue.move(matches.updates.source, moved)
        self._link(matches.updates.source, at, matches.updates, LinkType.ONE_TO_ONE)
        # Before anything enters, so that the names of what was forked are free again.
        self.catalogue.retire(matches.forks.source)
        # Forks and new sources enter together, in the order of their founding detections.
        n_forks = len(matches.forks)
        founder = np.concatenate([matches.forks.detection, matches.new])
        parent = np.concatenate(
            [
                self.catalogue.id[matches.forks.source],
                np.full(len(matches.new), NO_PARENT),
            ]
        )
        order = np.argsort(founder, kind="stable")
        entered = self.catalogue.append(
            at.id[founder[order]],
            _joined(children, newborn, order),
            np.full(len(founder), image.stokes),
            np.zeros(len(founder), dtype=np.int64),
            np.full(len(founder), step),
            parent[order],
            self.catalogue.new_names(at.take(founder[order])),
        )
        index = np.empty(len(founder), dtype=np.intp)
        index[order] = entered
        forked, founded = index[:n_forks], index[n_forks:]
        self._inherit(matches.forks.source, forked, seen)
        for sources, items in (
            (matches.updates.source, matches.updates.detection),
            (forked, matches.forks.detection),
            (founded, matches.new),
        ):
            self._references.add(image.band, sources, at.flux_jy[items], at.flux_err_jy[items])
        self._link(forked, at, matches.forks, LinkType.FORKED)
        zero = np.zeros(len(founded))
        self._link(founded, at, Pairs(founded, matches.new, zero, zero), LinkType.FOUNDING)
        self._place(image, founded)
        seen[image.id] += [matches.updates.source, forked, founded]
        self._test_new(image, at, matches.new, founded)
        return forked, founded

    def _link(self, sources: IntArray, at: Detections, pairs: Pairs, kind: LinkType) -> None:
        if len(sources):
            self._ledger.links.append(
                LinkRows(
                    sources,
                    at.id[pairs.detection],
                    np.full(len(sources), kind),
                    pairs.distance_arcsec,
                    pairs.r,
                )
            )

    def _inherit(
        self, parents: IntArray, children: IntArray, seen: dict[int, list[IntArray]]
    ) -> None:
        """Give each child all that its parent has."""
        if len(parents) == 0:
            return
        ledger, catalogue = self._ledger, self.catalogue
        ledger.inherit(parents, children)
        self._references.inherit(parents, children)
        for rows in copies(self._all_memberships, parents, children):
            for region in np.unique(rows.region):
                inside = rows.region == region
                self._add_members(rows.source[inside], int(region), rows.distance_deg[inside])
        for sources in seen.values():
            present = np.concatenate([np.empty(0, dtype=np.intp), *sources])
            sources.append(children[np.isin(parents, present)])
        for parent, child in zip(parents.tolist(), children.tolist(), strict=True):
            if parent < self._stored:
                ledger.ancestor[child] = int(catalogue.id[parent])
            elif parent in ledger.ancestor:
                ledger.ancestor[child] = ledger.ancestor[parent]
        retired = np.unique(parents)
        ledger.removed += catalogue.id[retired[retired < self._stored]].tolist()

    def _place(self, image: HistoryImage, founded: IntArray) -> None:
        """Make new sources members of their image's region and of all others that hold them."""
        if len(founded) == 0:
            return
        self._add_members(founded, image.region, np.full(len(founded), np.nan))
        dec = self.catalogue.positions.dec_deg[founded]
        vectors = self.catalogue.vectors[founded]
        for region in sorted(self.introduced - {image.region}):
            inside, distance = inside_region(self._regions[region], dec, vectors)
            self._add_members(founded[inside], region, distance[inside])

    def _test_new(
        self, image: HistoryImage, at: Detections, items: IntArray, founded: IntArray
    ) -> None:
        """Compare new sources with the deepest earlier image of the same band that shows each."""
        if len(founded) == 0:
            return
        self._know_earlier()
        members = {
            region: np.isin(founded, np.concatenate(sources))
            for region, sources in self._members.items()
        }
        at = at.take(items)
        new, images, kind = self._limits.exceeded(image.band, image.stokes, members, at)
        if len(new):
            self._ledger.new_sources.append(NewSourceRows(founded[new], at.id[new], images, kind))

    def _request_forward(
        self,
        step: int,
        images: Sequence[HistoryImage],
        seen: Mapping[int, list[IntArray]],
        founding: Founded,
    ) -> None:
        """Ask for fits of known sources that the images of this step do not show."""
        if not self._rules.forward:
            return
        catalogue = self.catalogue
        backward = founding.source if self._rules.backward else founding.source[:0]
        requested = np.zeros(len(catalogue), dtype=np.int64)
        detected = np.zeros(len(catalogue), dtype=bool)
        for image in images:
            here = np.concatenate([np.empty(0, dtype=np.intp), *seen[image.id]])
            detected[here] = True
            members = self._unseen_members(image, here)
            now = catalogue.founded[members] == step
            expired = ~now & self._is_expired(members)
            waits = now & ~np.isin(members, backward)
            wanted = members[~now & ~expired]
            requested[wanted] += 1
            self._request(image.id, FitKind.FORWARD, wanted, REQUESTED, "")
            self._request(image.id, FitKind.FORWARD, members[expired], SKIPPED, EXPIRED)
            self._request(image.id, FitKind.FORWARD, members[waits], SKIPPED, FOUNDED_THIS_STEP)
        changed = (requested > 0) | (detected & (catalogue.attempts > 0))
        catalogue.attempts = np.where(detected, 0, catalogue.attempts + requested)
        catalogue.touched |= changed

    def _unseen_members(self, image: HistoryImage, here: IntArray) -> IntArray:
        members = np.concatenate(self._members.get(image.region, [np.empty(0, dtype=np.intp)]))
        usable = self.catalogue.active & (self.catalogue.stokes == image.stokes)
        usable[here] = False
        return np.sort(members[usable[members]])

    def _is_expired(self, sources: IntArray) -> npt.NDArray[np.bool_]:
        if self._rules.expiration is None:
            return np.zeros(len(sources), dtype=bool)
        return np.asarray(self.catalogue.attempts[sources] >= self._rules.expiration)

    def _request_backward(
        self,
        images: Sequence[HistoryImage],
        seen: Mapping[int, list[IntArray]],
        founding: Founded,
    ) -> None:
        """Ask for fits of new sources in all images up to this step that cover them (D5)."""
        # Of one that was forked in the step of its founding, its children have the requests.
        founding = founding.take(self.catalogue.active[founding.source])
        founded = founding.source
        if len(founded) == 0:
            return
        self._know_earlier()
        pairs: list[tuple[HistoryImage, IntArray]] = []
        for (region, stokes), covering in self._covering.items():
            members = np.concatenate(self._members.get(region, [np.empty(0, dtype=np.intp)]))
            inside = np.isin(founded, members) & (self.catalogue.stokes[founded] == stokes)
            if inside.any():
                pairs += [(image, np.flatnonzero(inside)) for image in covering]
        for image in images:
            here = np.concatenate([np.empty(0, dtype=np.intp), *seen[image.id]])
            unseen = self._unseen_members(image, here)
            pairs.append((image, np.flatnonzero(np.isin(founded, unseen))))
        pairs.sort(key=lambda pair: -pair[0].order)
        count = np.zeros(len(founded), dtype=np.int64)
        limit = self._rules.backward_max_images or None
        chosen: list[tuple[HistoryImage, IntArray]] = []
        for image, items in pairs:
            wanted = items if limit is None else items[count[items] < limit]
            count[wanted] += 1
            chosen.append((image, wanted))
        for image, items in reversed(chosen):
            self._request(
                image.id,
                FitKind.BACKWARD,
                founded[items],
                REQUESTED,
                "",
                founding.take(items),
            )

    def _request(
        self,
        image: int,
        kind: FitKind,
        sources: IntArray,
        status: str,
        reason: str,
        founding: Founded | None = None,
    ) -> None:
        """Write requests: at the mean positions as they are now, or where sources were founded."""
        if len(sources) == 0:
            return
        ledger = self._ledger
        if founding is None:
            ra_deg = self.catalogue.positions.ra_deg[sources]
            dec_deg = self.catalogue.positions.dec_deg[sources]
            link_type = np.full(len(sources), LinkType.FORCED)
            fit = np.arange(len(sources))
        else:
            ra_deg, dec_deg = founding.ra_deg, founding.dec_deg
            own = founding.founder == sources
            link_type = np.where(own, LinkType.BACKWARD, LinkType.INHERITED)
            # The forks of one source share its fit.
            fit = np.unique(founding.founder, return_inverse=True)[1]
        ledger.requests.append(
            RequestRows(
                source=sources,
                image=np.full(len(sources), image),
                kind=np.full(len(sources), kind),
                ra_deg=ra_deg,
                dec_deg=dec_deg,
                link_type=link_type,
                status=np.full(len(sources), status),
                reason=np.full(len(sources), reason),
                origin=ledger.n_requests + fit,
            )
        )
        ledger.n_requests += int(fit.max()) + 1

    def _know_earlier(self) -> None:
        """Fetch the images of earlier runs, once it turns out that they matter."""
        if self._earlier_known:
            return
        self._earlier_known = True
        for image in (*self._earlier(), *self._waiting):
            self._file(image)
        self._waiting = []

    def _remember(self, images: Sequence[HistoryImage]) -> None:
        for image in images:
            if self._earlier_known:
                self._file(image)
            else:
                self._waiting.append(image)

    def _file(self, image: HistoryImage) -> None:
        self._covering.setdefault((image.region, image.stokes), []).append(image)
        self._limits.add(image.region, image.band, image.stokes, image.limits)


def _joined(first: Positions, second: Positions, order: IntArray) -> Positions:
    return Positions(
        **{
            name: np.concatenate([value, getattr(second, name)])[order]
            for name, value in vars(first).items()
        }
    )

"""What association finds, row by row, until it is stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from trap_ops.records.arrays import IntArray
from trap_ops.records.images import Check
from trap_ops.records.sky import (
    LinkRows,
    LinkType,
    MembershipRows,
    NewSourceRows,
    ReferenceFluxRows,
    RequestRows,
    SkyChanges,
)
from trap_ops.science.catalogue import Catalogue

Rows = TypeVar("Rows", LinkRows, RequestRows, MembershipRows, NewSourceRows)


@dataclass
class Ledger:
    """Rows since the last call of :meth:`changes`; they name sources by their catalogue index.

    Attributes
    ----------
    links, requests, memberships, new_sources : list of row tuples
        Those of sources that were forked are in them too.
    ancestor : dict of int to int
        For a source made by a fork: the stored source whose rows it inherits.
    removed : list of int
        Ids of stored sources that were forked.
    n_requests : int
        Requests so far: the next one's ``origin``.
    checks : dict of int
        Checks of the images, by image id.
    """

    links: list[LinkRows] = field(default_factory=list)
    requests: list[RequestRows] = field(default_factory=list)
    memberships: list[MembershipRows] = field(default_factory=list)
    new_sources: list[NewSourceRows] = field(default_factory=list)
    ancestor: dict[int, int] = field(default_factory=dict)
    removed: list[int] = field(default_factory=list)
    n_requests: int = 0
    checks: dict[int, tuple[Check, ...]] = field(default_factory=dict)

    def inherit(self, parents: IntArray, children: IntArray) -> None:
        """Give each child copies of its parent's links, requests and marks of being new."""
        inherited = int(LinkType.INHERITED)
        for links in copies(self.links, parents, children):
            self.links.append(links._replace(type=np.full(len(links.source), inherited)))
        for requests in copies(self.requests, parents, children):
            link_type = np.full(len(requests.source), inherited)
            self.requests.append(requests._replace(link_type=link_type))
        self.new_sources += copies(self.new_sources, parents, children)

    def changes(self, catalogue: Catalogue, references: ReferenceFluxRows) -> SkyChanges:
        """Return what is to be stored: rows of sources that stand, naming them by id."""
        active = catalogue.active
        changed = np.flatnonzero(catalogue.touched & active)
        return SkyChanges(
            sources=catalogue.rows(changed),
            links=_of_standing(self.links, LinkRows, catalogue),
            requests=_of_standing(self.requests, RequestRows, catalogue),
            memberships=_of_standing(self.memberships, MembershipRows, catalogue),
            new_sources=_of_standing(self.new_sources, NewSourceRows, catalogue),
            heirs=[
                (int(catalogue.id[child]), ancestor)
                for child, ancestor in self.ancestor.items()
                if active[child]
            ],
            removed=self.removed,
            references=references,
            checks=self.checks,
        )


def merged(rows_list: list[Rows], kind: type[Rows]) -> Rows:
    """Return all rows as one; of no rows, empty columns."""
    if not rows_list:
        nothing: list[Any] = [np.empty(0, dtype=np.int64)] * len(kind._fields)
        return kind(*nothing)
    return kind(*map(np.concatenate, zip(*rows_list, strict=True)))


def copies(rows_list: list[Rows], parents: IntArray, children: IntArray) -> list[Rows]:
    """Rows of the parents, once for each of their children, who take the parents' place."""
    if not rows_list:
        return []
    # Merging in place keeps later forks from merging the same rows again.
    rows_list[:] = [merged(rows_list, type(rows_list[0]))]
    rows = rows_list[0]
    order = np.argsort(rows.source, kind="stable")
    first = np.searchsorted(rows.source[order], parents, side="left")
    last = np.searchsorted(rows.source[order], parents, side="right")
    count = last - first
    if count.sum() == 0:
        return []
    start = np.repeat(first - (np.cumsum(count) - count), count)
    picked = order[start + np.arange(count.sum())]
    columns: list[Any] = [column[picked] for column in rows]
    taken = type(rows)(*columns)
    return [taken._replace(source=np.repeat(children, count))]


def _of_standing(rows_list: list[Rows], kind: type[Rows], catalogue: Catalogue) -> Rows:
    rows = merged(rows_list, kind)
    keep = catalogue.active[rows.source]
    columns: list[Any] = [column[keep] for column in rows]
    kept = kind(*columns)
    return kept._replace(source=catalogue.id[kept.source])

"""Rows that association finds, until they are stored."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trap_ops.records.sky import LinkRows, LinkType, MembershipRows, NewSourceRows, RequestRows
from trap_ops.science.ledger import Ledger, copies, merged
from trap_ops.science.reference_fluxes import NO_REFERENCES
from unit.science.made_detections import catalogue_of, detections


def memberships(*rows: tuple[int, int, float]) -> MembershipRows:
    source, region, distance = zip(*rows, strict=True)
    return MembershipRows(np.array(source), np.array(region), np.array(distance))


def as_rows(table: MembershipRows) -> list[tuple[int, int, float]]:
    return [tuple(row) for row in zip(*(column.tolist() for column in table), strict=True)]


def test_rows_are_merged_in_order() -> None:
    made = merged(
        [memberships((3, 1, 0.5)), memberships((1, 2, 0.25), (0, 2, 0.0))], MembershipRows
    )
    assert as_rows(made) == [(3, 1, 0.5), (1, 2, 0.25), (0, 2, 0.0)]
    nothing = merged([], RequestRows)
    assert all(len(column) == 0 for column in nothing)


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9)), min_size=1, max_size=4),
        max_size=4,
    ),
    st.lists(st.integers(0, 5), max_size=5),
)
def test_children_get_the_rows_of_their_parents(
    tables: list[list[tuple[int, int]]], parents: list[int]
) -> None:
    """A parent may have many children; rows stay in the order in which they were written."""
    rows_list = [memberships(*((s, r, 0.0) for s, r in table)) for table in tables]
    children = [100 + i for i in range(len(parents))]
    all_rows = [row for table in tables for row in table]
    expected = [
        (child, region, 0.0)
        for parent, child in zip(parents, children, strict=True)
        for source, region in all_rows
        if source == parent
    ]
    made = copies(rows_list, np.array(parents, dtype=np.intp), np.array(children, dtype=np.intp))
    assert [row for table in made for row in as_rows(table)] == expected
    # The rows themselves are still there.
    assert [row[:2] for table in rows_list for row in as_rows(table)] == all_rows


def ledger() -> Ledger:
    made = Ledger()
    made.links.append(
        LinkRows(
            np.array([0, 1]),
            np.array([11, 12]),
            np.array([LinkType.FOUNDING, LinkType.FOUNDING]),
            np.array([0.0, 0.0]),
            np.array([0.0, 0.0]),
        )
    )
    made.links.append(
        LinkRows(
            np.array([0]),
            np.array([21]),
            np.array([LinkType.ONE_TO_ONE]),
            np.array([1.5]),
            np.array([0.25]),
        )
    )
    made.requests.append(
        RequestRows(
            np.array([1]),
            np.array([2]),
            np.array([1]),
            np.array([20.0]),
            np.array([0.0]),
            np.array([LinkType.FORCED]),
            np.array(["requested"]),
            np.array([""]),
            np.array([0]),
        )
    )
    made.memberships.append(memberships((0, 1, 0.5), (1, 1, 0.5)))
    made.new_sources.append(
        NewSourceRows(np.array([1]), np.array([12]), np.array([7]), np.array([1]))
    )
    return made


def test_a_fork_inherits_links_requests_and_being_new() -> None:
    made = ledger()
    # Source 1 becomes 2 and 3.
    made.inherit(np.array([1, 1]), np.array([2, 3]))
    links = merged(made.links, LinkRows)
    inherited = links.type == LinkType.INHERITED
    assert links.source[inherited].tolist() == [2, 3]
    assert links.measurement[inherited].tolist() == [12, 12]
    requests = merged(made.requests, RequestRows)
    assert requests.source.tolist() == [1, 2, 3]
    assert requests.link_type.tolist() == [LinkType.FORCED] + [LinkType.INHERITED] * 2
    # One fit serves them all.
    assert requests.origin.tolist() == [0, 0, 0]
    assert merged(made.new_sources, NewSourceRows).source.tolist() == [1, 2, 3]
    # Source 0 is not concerned.
    assert links.source[~inherited].tolist() == [0, 1, 0]


def test_what_an_inherited_link_keeps() -> None:
    """Its distance and radius (SCIENCE.md 5.6)."""
    made = ledger()
    made.inherit(np.array([0, 0]), np.array([2, 3]))
    links = merged(made.links, LinkRows)
    last = [(2, 11, 0.0, 0.0), (2, 21, 1.5, 0.25), (3, 11, 0.0, 0.0), (3, 21, 1.5, 0.25)]
    made_last = zip(
        links.source[3:].tolist(),
        links.measurement[3:].tolist(),
        links.distance_arcsec[3:].tolist(),
        links.r[3:].tolist(),
        strict=True,
    )
    assert list(made_last) == last


def test_changes_name_standing_sources_by_their_id() -> None:
    catalogue = catalogue_of(
        detections([10.0, 20.0, 20.0, 20.0], [0.0, 0.0, 0.1, 0.2], first_id=51)
    )
    made = ledger()
    made.inherit(np.array([1, 1]), np.array([2, 3]))
    made.ancestor |= {2: 52, 3: 52, 1: 40}
    made.removed.append(52)
    catalogue.retire(np.array([1]))
    catalogue.touched[0] = False
    changes = made.changes(catalogue, NO_REFERENCES)
    # Touched and standing: the two children.
    assert changes.sources.id.tolist() == [53, 54]
    assert changes.links.source.tolist() == [51, 51, 53, 54]
    assert changes.requests.source.tolist() == [53, 54]
    assert changes.memberships.source.tolist() == [51]
    assert changes.new_sources.source.tolist() == [53, 54]
    assert changes.heirs == [(53, 52), (54, 52)]
    assert changes.removed == [52]


@pytest.mark.parametrize("n_sources", [0, 2])
def test_an_empty_ledger(n_sources: int) -> None:
    catalogue = catalogue_of(detections([10.0] * n_sources, [0.0] * n_sources))
    catalogue.touched[:] = False
    changes = Ledger().changes(catalogue, NO_REFERENCES)
    assert len(changes.sources.id) == len(changes.links.source) == len(changes.heirs) == 0
    assert len(changes.requests.source) == len(changes.memberships.source) == 0

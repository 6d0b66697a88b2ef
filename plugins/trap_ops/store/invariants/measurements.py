"""Invariants of measurements in images."""

from __future__ import annotations

from typing import Any

import numpy as np
from sqlalchemy import Select, and_, func, not_, or_, select

from trap_ops.records.names import one_line
from trap_ops.science.coordinates import unit_vectors
from trap_ops.store.detections import BLIND
from trap_ops.store.invariants.invariant import (
    Breaches,
    Invariant,
    Scope,
    breaches,
    breaches_at,
    measurement_columns,
    measurement_label,
    place_is_wrong,
)
from trap_ops.store.rows import fetch_columns, floats, id_list
from trap_ops.store.schema import extractedsource, image

_measured = extractedsource
# Rounding.
_VECTOR, _DEGREES = 1e-14, 1e-11


def _of_dataset(scope: Scope) -> Select[Any]:
    return (
        select(*measurement_columns(), _measured.c.zone)
        .select_from(_measured)
        .join(image, image.c.id == _measured.c.image)
        .where(image.c.dataset == scope.dataset)
    )


def _places(scope: Scope) -> Breaches:
    wrong = place_is_wrong(_measured.c.ra, _measured.c.decl, _measured.c.zone)
    return breaches(
        scope,
        _of_dataset(scope).where(wrong),
        lambda row: f"{measurement_label(row)}, zone {row.zone}",
    )


def _errors(scope: Scope) -> Breaches:
    positive = and_(
        _measured.c.uncertainty_ew > 0.0,
        _measured.c.uncertainty_ns > 0.0,
        _measured.c.f_int_err > 0.0,
        _measured.c.f_peak_err > 0.0,
        _measured.c.f_int.is_not(None),
        _measured.c.f_peak.is_not(None),
    )
    query = _of_dataset(scope).where(not_(func.coalesce(positive, False)))
    return breaches(scope, query, measurement_label)


def _doubled(scope: Scope) -> Breaches:
    query = (
        select(
            func.min(_measured.c.id).label("measurement"),
            _measured.c.extract_type,
            _measured.c.ra,
            _measured.c.decl,
            func.min(image.c.file_name).label("file_name"),
        )
        .select_from(_measured)
        .join(image, image.c.id == _measured.c.image)
        .where(image.c.dataset == scope.dataset, _measured.c.extract_type == BLIND)
        .group_by(_measured.c.image, _measured.c.extract_type, _measured.c.ra, _measured.c.decl)
        .having(func.count() > 1)
    )
    return breaches(scope, query, measurement_label)


def _kinds(scope: Scope) -> Breaches:
    known = or_(_measured.c.extract_type.between(0, 3))
    query = _of_dataset(scope).where(not_(func.coalesce(known, False)))
    return breaches(scope, query, measurement_label)


def _vectors(scope: Scope) -> Breaches:
    columns = ("ra", "decl", "x", "y", "z", "racosdecl")
    found = Breaches()
    for images in scope.image_blocks:
        with id_list(scope.connection, image.c.id, images) as wanted:
            rows = fetch_columns(
                scope.connection,
                select(*(_measured.c[name] for name in columns), image.c.file_name)
                .join(wanted, wanted.c.id == _measured.c.image)
                .join(image, image.c.id == _measured.c.image),
            )
        ra, dec = floats(rows["ra"]), floats(rows["decl"])
        stored = np.stack([floats(rows[axis]) for axis in "xyz"], axis=1)
        wrong = ~(np.abs(stored - unit_vectors(ra, dec)) <= _VECTOR).all(axis=1)
        shrunk = ra * np.cos(np.radians(dec))
        wrong |= ~(np.abs(floats(rows["racosdecl"]) - shrunk) <= _DEGREES)

        def say(i: int, rows: dict[str, list[Any]] = rows) -> str:
            name = one_line(rows["file_name"][i])
            return f"measurement at {rows['ra'][i]:.5f} {rows['decl'][i]:+.5f} in {name}"

        found += breaches_at(wrong, say)
    return found


INVARIANTS = (
    Invariant(
        "measurement-places",
        "RA of a measurement is in [0, 360), declination in [-90, 90], zone is its floor",
        _places,
    ),
    Invariant(
        "measurement-vectors",
        "x, y, z of a measurement are the unit vector of its position, racosdecl is RA cos(Dec)",
        _vectors,
    ),
    Invariant(
        "measurement-kinds", "a measurement is of a known kind (extract_type 0 to 3)", _kinds
    ),
    Invariant(
        "measurement-errors",
        "a measurement has fluxes, and errors of fluxes and position above zero",
        _errors,
    ),
    Invariant(
        "no-doubled-detections",
        "no two blind detections in an image have the same position",
        _doubled,
    ),
)

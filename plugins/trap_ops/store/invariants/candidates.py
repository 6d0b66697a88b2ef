"""Invariants of the ranked candidates."""

from __future__ import annotations

import json

from sqlalchemy import exists, not_, or_, select

from trap_ops.store.detections import BLIND
from trap_ops.store.invariants.forced_fits import used_images
from trap_ops.store.invariants.invariant import (
    Breaches,
    Invariant,
    Scope,
    breaches,
    breaches_at,
    source_columns,
    source_label,
)
from trap_ops.store.rows import fetch_columns, integers
from trap_ops.store.schema import assocxtrsource, candidate, extractedsource, image, runningcatalog


def _ranks(scope: Scope) -> Breaches:
    query = (
        select(candidate.c.rank, *source_columns())
        .join(runningcatalog, runningcatalog.c.id == candidate.c.runcat)
        .where(candidate.c.dataset == scope.dataset)
        .order_by(candidate.c.rank, candidate.c.id)
    )
    rows = fetch_columns(scope.connection, query)
    ranks = integers(rows["rank"])
    wrong = ranks != range(1, len(ranks) + 1)
    return breaches_at(
        wrong,
        lambda i: (
            f"sky source {rows['source_name'][i]} (id {rows['source'][i]}): rank {ranks[i]} in "
            f"place {i + 1}"
        ),
    )


def _reasons(scope: Scope) -> Breaches:
    query = (
        select(candidate.c.reasons, *source_columns())
        .join(runningcatalog, runningcatalog.c.id == candidate.c.runcat)
        .where(candidate.c.dataset == scope.dataset)
        .order_by(candidate.c.rank)
    )
    rows = scope.connection.execute(query).all()
    without = [row for row in rows if not _has_words(row.reasons)]
    return Breaches(len(without), [source_label(row) for row in without])


def _has_words(text: str) -> bool:
    try:
        reasons = json.loads(text)
    except ValueError:
        return False
    return bool(reasons) and all(reasons)


def _sources(scope: Scope) -> Breaches:
    link, measured = assocxtrsource, extractedsource
    seen = (
        select(link.c.id)
        .join(measured, measured.c.id == link.c.xtrsrc)
        .where(link.c.runcat == candidate.c.runcat, measured.c.image == candidate.c.first_image)
        .where(measured.c.extract_type == BLIND)
    )
    earlier, first = image.alias("earlier"), image.alias("first")
    seen_earlier = (
        select(link.c.id)
        .join(measured, measured.c.id == link.c.xtrsrc)
        .join(earlier, earlier.c.id == measured.c.image)
        .where(link.c.runcat == candidate.c.runcat, measured.c.extract_type == BLIND)
        .where(earlier.c.taustart_ts < first.c.taustart_ts)
    )
    query = (
        select(*source_columns(), first.c.file_name)
        .select_from(candidate)
        .join(runningcatalog, runningcatalog.c.id == candidate.c.runcat)
        .outerjoin(first, first.c.id == candidate.c.first_image)
        .where(candidate.c.dataset == scope.dataset)
        .where(
            or_(
                runningcatalog.c.dataset != scope.dataset,
                runningcatalog.c.mon_src,
                candidate.c.first_image.not_in(used_images(scope)),
                not_(exists(seen)),
                exists(seen_earlier),
            )
        )
    )
    return breaches(scope, query, lambda row: f"{source_label(row)}, first in {row.file_name}")


INVARIANTS = (
    Invariant("candidate-ranks", "ranks of candidates are 1, 2, 3 ... without gaps", _ranks),
    Invariant("candidate-reasons", "every candidate has its reasons, in words", _reasons),
    Invariant(
        "candidate-sources",
        "a candidate is a sky source of the dataset, first seen in the used image that it says",
        _sources,
    ),
)

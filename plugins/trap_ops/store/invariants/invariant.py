"""What an invariant is: a rule that rows of the results keep, and a function that finds breaches.

A check asks the database with a few queries for a whole dataset, or takes columns in blocks of
bounded size; never a query a row.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Row,
    Select,
    case,
    func,
    literal,
    or_,
    select,
)

from trap_ops.records.arrays import FloatArray, Ids, IntArray, Mask
from trap_ops.store.invariants.points import CurveBlock, load_block
from trap_ops.store.rows import integers
from trap_ops.store.schema import assocxtrsource, dataset, extractedsource, image, runningcatalog

# So many offending rows are named.
MAX_NAMED = 10
# So many points of light curves, or measurements, are in memory at a time.
BLOCK_ROWS = 100_000
# Numbers that are summed up in another order agree to this, relatively.
RELATIVE = 1e-9
_KINDS = {0: "blind detection", 1: "forward fit", 2: "monitoring fit", 3: "backward fit"}


@dataclass(frozen=True)
class Breaches:
    """Rows that break an invariant: how many, and the first ones by their natural names."""

    number: int = 0
    named: Sequence[str] = ()

    def __add__(self, other: Breaches) -> Breaches:
        """Join what was found in two parts of the rows."""
        named = [*self.named, *other.named][:MAX_NAMED]
        return Breaches(self.number + other.number, named)


@dataclass
class Scope:
    """The dataset that is looked at.

    Attributes
    ----------
    connection : sqlalchemy.Connection
        A consistent view of the database.
    dataset : int
    block_rows : int
        Size of the blocks.
    """

    connection: Connection
    dataset: int
    block_rows: int = BLOCK_ROWS
    _kept: dict[tuple[int, ...], CurveBlock] = field(default_factory=dict)

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """Settings of the dataset, by section and key."""
        query = select(dataset.c.settings).where(dataset.c.id == self.dataset)
        settings: dict[str, Any] = json.loads(self.connection.execute(query).scalar() or "{}")
        return settings

    def setting(self, section: str, key: str, default: Any) -> Any:  # noqa: ANN401 - a setting
        """Return a setting; the default for a dataset made without it."""
        return self.settings.get(section, {}).get(key, default)

    @cached_property
    def source_blocks(self) -> list[Ids]:
        """Ids of the sky sources, in blocks of bounded numbers of points."""
        query = (
            select(runningcatalog.c.id, func.count(assocxtrsource.c.id))
            .outerjoin(assocxtrsource, assocxtrsource.c.runcat == runningcatalog.c.id)
            .where(runningcatalog.c.dataset == self.dataset)
            .group_by(runningcatalog.c.id)
            .order_by(runningcatalog.c.id)
        )
        return in_blocks(self.connection.execute(query).all(), self.block_rows)

    @cached_property
    def image_blocks(self) -> list[Ids]:
        """Ids of the images, in blocks of bounded numbers of measurements."""
        query = (
            select(image.c.id, func.count(extractedsource.c.id))
            .outerjoin(extractedsource, extractedsource.c.image == image.c.id)
            .where(image.c.dataset == self.dataset)
            .group_by(image.c.id)
            .order_by(image.c.id)
        )
        return in_blocks(self.connection.execute(query).all(), self.block_rows)

    def curves(self) -> Iterator[CurveBlock]:
        """Light curves in blocks; the last block is kept, so one that is all is read once."""
        for ids in self.source_blocks:
            key = (int(ids[0]), int(ids[-1]))
            if key not in self._kept:
                self._kept = {key: load_block(self.connection, self.dataset, ids)}
            yield self._kept[key]


@dataclass(frozen=True)
class Invariant:
    """A rule that rows keep.

    Attributes
    ----------
    name : str
        Short, unique.
    description : str
        The rule in words.
    check : callable
    when_finished : bool
        Whether it holds only between runs: of a run that is not finished something is to be done.
    """

    name: str
    description: str
    check: Callable[[Scope], Breaches]
    when_finished: bool = False


def breaches(scope: Scope, query: Select[Any], say: Callable[[Row[Any]], str]) -> Breaches:
    """Count the rows of a query, which are all that break the rule, and name the first ones."""
    counted = select(func.count()).select_from(query.order_by(None).subquery())
    number = scope.connection.execute(counted).scalar_one()
    if not number:
        return Breaches()
    rows = scope.connection.execute(query.limit(MAX_NAMED))
    return Breaches(number, [say(row) for row in rows])


def total(places: IntArray, values: FloatArray, n: int) -> FloatArray:
    """Sum up values by place, (n,)."""
    return np.asarray(np.bincount(places, values, minlength=n), dtype=np.float64)


def breaches_at(wrong: Mask, say: Callable[[int], str]) -> Breaches:
    """Count where an array says that something is wrong, and name the first places."""
    places = np.flatnonzero(wrong)
    return Breaches(len(places), [say(int(i)) for i in places[:MAX_NAMED]])


def in_blocks(counted: Sequence[Any], block_rows: int) -> list[Ids]:
    """Cut ids with numbers of rows into blocks of about so many rows; at least one id each."""
    blocks: list[Ids] = []
    block: list[int] = []
    total = 0
    for number, rows in counted:
        if block and total + rows > block_rows:
            blocks.append(integers(block))
            block, total = [], 0
        block.append(number)
        total += rows
    return [*blocks, integers(block)] if block else blocks


def differ(stored: npt.NDArray[Any], right: npt.NDArray[Any], slack: npt.ArrayLike = 0.0) -> Mask:
    """Where numbers differ by more than rounding; NaN (NULL) equals NaN only.

    ``slack`` is what more is allowed, absolutely: where the right number is a small difference of
    large ones.
    """
    both = np.isnan(stored) & np.isnan(right)
    with np.errstate(invalid="ignore"):
        near = np.abs(stored - right) <= RELATIVE * np.abs(right) + slack
    # Infinite errors have equal infinite numbers.
    return np.asarray(~(both | near | (stored == right)))


def source_label(row: Row[Any]) -> str:
    """Name of a sky source, from the columns ``source_name`` and ``source``."""
    return f"sky source {row.source_name or 'without a name'} (id {row.source})"


def measurement_label(row: Row[Any]) -> str:
    """Name of a measurement, from the columns of :func:`measurement_columns`."""
    if row.file_name is None or row.ra is None:
        return f"measurement {row.measurement}, which does not exist"
    kind = _KINDS.get(row.extract_type, f"measurement of kind {row.extract_type}")
    return f"{kind} at {row.ra:.5f} {row.decl:+.5f} in {row.file_name}"


def source_columns(table: FromClause = runningcatalog) -> list[ColumnElement[Any]]:
    """Columns that name a sky source."""
    return [table.c.source_name, table.c.id.label("source")]


def measurement_columns() -> list[ColumnElement[Any]]:
    """Columns that name a measurement."""
    measured = extractedsource
    return [
        measured.c.id.label("measurement"),
        measured.c.extract_type,
        measured.c.ra,
        measured.c.decl,
        image.c.file_name,
    ]


def place_is_wrong(
    ra: ColumnElement[float], decl: ColumnElement[float], zone: ColumnElement[int]
) -> ColumnElement[bool]:
    """RA outside [0, 360), declination outside [-90, 90], or a zone that is not its floor."""
    return or_(
        ra < 0.0, ra >= 360.0, decl < -90.0, decl > 90.0, decl < zone, decl >= zone + literal(1)
    )


def one_if(condition: ColumnElement[bool]) -> ColumnElement[int]:
    """1 where a condition holds, else 0: to be summed up."""
    return case((condition, 1), else_=0)

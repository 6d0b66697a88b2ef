"""Kinds of columns that the tables share, and the metadata that they belong to."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Integer,
    MetaData,
    SmallInteger,
    text,
)
from sqlalchemy.types import TypeEngine

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite keys its rows by a column of type INTEGER only.
BIG = BigInteger().with_variant(Integer(), "sqlite")


def id_column(type_: TypeEngine[int] | None = None) -> Column[int]:
    """Primary key; values come from :meth:`Store.allocate`."""
    return Column("id", type_ or Integer(), primary_key=True, autoincrement=False)


def link(
    name: str,
    table: str,
    *,
    nullable: bool = False,
    index: bool = True,
    big: bool = False,
    primary_key: bool = False,
) -> Column[int]:
    """Foreign key to the id of another table."""
    return Column(
        name,
        BIG if big else Integer(),
        ForeignKey(f"{table}.id"),
        nullable=nullable,
        index=index and not primary_key,
        primary_key=primary_key,
        autoincrement=False,
    )


def double(name: str, *, nullable: bool = True, index: bool = False) -> Column[float]:
    """Floating-point number in double precision; NaN is stored as NULL."""
    return Column(name, Double(), nullable=nullable, index=index)


def doubles(*names: str, nullable: bool = True) -> list[Column[float]]:
    """Several of :func:`double`."""
    return [double(name, nullable=nullable) for name in names]


def one(name: str) -> Column[int]:
    """Small integer that is 1 unless said."""
    return Column(name, SmallInteger(), nullable=False, server_default=text("1"))


def flag(name: str) -> Column[bool]:
    """Truth value that is false unless said."""
    return Column(name, Boolean(), nullable=False, server_default=text("false"))

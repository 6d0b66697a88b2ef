"""What queries tell SQLite."""

from __future__ import annotations

from sqlalchemy import create_engine, select, text
from sqlalchemy.dialects import postgresql

from trap_ops.store.hints import unindexed
from trap_ops.store.schema import image, metadata


def test_sqlite_does_not_look_it_up() -> None:
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        metadata.create_all(connection)

        def plan(column: object) -> str:
            query = select(image.c.id).where(column == 3)  # type: ignore[arg-type]
            words = str(query.compile(engine, compile_kwargs={"literal_binds": True}))
            rows = connection.execute(text(f"EXPLAIN QUERY PLAN {words}")).all()
            return " ".join(row[-1] for row in rows)

        assert "ix_image_band" in plan(image.c.band)
        assert plan(unindexed(image.c.band)).startswith("SCAN image")


def test_for_postgresql_it_is_the_column() -> None:
    query = select(image.c.id).where(unindexed(image.c.band) == 3)
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    words = str(query.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    assert words.split("WHERE ")[1] == "image.band = 3"


def test_two_columns_are_two_statements() -> None:
    """SQLAlchemy keeps what it has compiled, by what it takes for equal."""
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE image (band INTEGER, stokes INTEGER)"))
        connection.execute(text("INSERT INTO image VALUES (1, 2)"))
        for column, value in [(image.c.band, 1), (image.c.stokes, 2), (image.c.band, 1)]:
            assert connection.execute(select(unindexed(column))).scalar_one() == value

"""Run by alembic: migrate over the connection that ``Store.upgrade`` gives."""

from __future__ import annotations

from alembic import context

from trap_ops.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    compare_type=True,
    # SQLite cannot alter a column: alembic then copies the table.
    render_as_batch=True,
)
context.run_migrations()

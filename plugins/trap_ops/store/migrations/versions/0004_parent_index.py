"""Index of the parents of forks: else each deleted measurement is looked for in all sources."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the index."""
    op.create_index("ix_runningcatalog_parent", "runningcatalog", ["parent"])

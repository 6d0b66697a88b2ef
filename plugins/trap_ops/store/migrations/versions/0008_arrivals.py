"""Image files that scheduled runs were given."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Migrate one revision up."""
    op.create_table(
        "arrival",
        sa.Column("path", sa.String(1024), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("modified_ns", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("series", sa.String(40), nullable=False),
        sa.Column("dataset_name", sa.String(100), nullable=False),
        sa.Column("run_key", sa.String(250), nullable=False),
        sa.Column("dispatched_ts", sa.DateTime(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("path", "size_bytes", "modified_ns", name="pk_arrival"),
    )
    op.create_index("ix_arrival_dataset_name", "arrival", ["dataset_name", "run_key"])
    op.create_index("ix_arrival_run_key", "arrival", ["run_key"])

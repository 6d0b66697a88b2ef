"""States of light curves, so that a new point needs none of those before it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Migrate one revision up."""
    table = "runningcatalog_flux"
    op.add_column(table, sa.Column("median_window", sa.LargeBinary(), nullable=True))
    op.add_column(table, sa.Column("median_below", sa.Integer(), nullable=True))
    op.add_column(table, sa.Column("memory", sa.LargeBinary(), nullable=True))

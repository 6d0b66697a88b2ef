"""What the scatter of steady sources says of the errors."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Migrate one revision up."""
    op.create_table(
        "errormodel",
        sa.Column("dataset", sa.Integer(), nullable=False),
        sa.Column("band", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("stokes", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("curves", sa.Integer(), nullable=False),
        sa.Column("variable", sa.Double(), nullable=True),
        sa.Column("slope", sa.Double(), nullable=True),
        sa.Column("slope_err", sa.Double(), nullable=True),
        sa.Column("floor", sa.Double(), nullable=True),
        sa.Column("floor_err", sa.Double(), nullable=True),
        sa.Column("systematic", sa.Double(), nullable=False),
        sa.Column("false_rate", sa.Double(), nullable=True),
        sa.Column("false_rate_low", sa.Double(), nullable=True),
        sa.Column("false_rate_high", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["band"], ["frequencyband.id"], name="fk_errormodel_band"),
        sa.ForeignKeyConstraint(["dataset"], ["dataset.id"], name="fk_errormodel_dataset"),
        sa.PrimaryKeyConstraint("band", "stokes", name="pk_errormodel"),
    )
    op.create_index("ix_errormodel_dataset", "errormodel", ["dataset"])

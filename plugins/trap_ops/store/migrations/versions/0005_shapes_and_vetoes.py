"""What stands out of light curves, and what candidates may be instead."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Migrate one revision up."""
    for table in ("runningcatalog_flux", "varmetric"):
        for name in ("point_sigma", "run_sigma", "step_sigma", "vs_max", "m_vs_max"):
            op.add_column(table, sa.Column(name, sa.Double(), nullable=True))
    for name, length in (("veto", 100), ("statistic", 16)):
        column = sa.Column(name, sa.String(length), nullable=False, server_default="")
        op.add_column("candidate", column)
    with op.batch_alter_table("candidate") as candidate:
        candidate.add_column(sa.Column("band", sa.Integer(), nullable=True))
        candidate.add_column(sa.Column("stokes", sa.SmallInteger(), nullable=True))
        candidate.create_foreign_key("fk_candidate_band", "frequencyband", ["band"], ["id"])

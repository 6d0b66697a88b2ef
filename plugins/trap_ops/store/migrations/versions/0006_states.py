"""What a run continues from, so that it need not read what is long done."""

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
    op.add_column("dataset", sa.Column("settled_ts", sa.DateTime(), nullable=True))
    for name, condition in (
        ("file", "image IS NULL"),
        ("again", "input_hash = ''"),
        ("rejected", "result = 'rejected'"),
    ):
        op.create_index(
            f"ix_outcome_{name}",
            "outcome",
            ["dataset"],
            sqlite_where=sa.text(condition),
            postgresql_where=sa.text(condition),
        )
    op.create_index("ix_image_dataset_telescope", "image", ["dataset", "telescope"])
    op.create_index("ix_image_dataset_file_name", "image", ["dataset", "file_name"])
    shape = ["dataset", "verdict", "nx", "ny", "deltax", "deltay", "rb_smaj", "rb_smin"]
    op.create_index("ix_image_shape", "image", shape)
    op.add_column(
        "forcedfit",
        sa.Column("pending", sa.Boolean(), server_default=sa.text("false"), nullable=False),
    )
    op.create_index(
        "ix_forcedfit_pending",
        "forcedfit",
        ["monitor"],
        sqlite_where=sa.text("pending"),
        postgresql_where=sa.text("pending"),
    )
    op.execute(
        "UPDATE forcedfit SET pending = true WHERE monitor IS NOT NULL AND status = 'fitted' "
        "AND xtrsrc NOT IN (SELECT xtrsrc FROM assocxtrsource WHERE xtrsrc IS NOT NULL)"
    )

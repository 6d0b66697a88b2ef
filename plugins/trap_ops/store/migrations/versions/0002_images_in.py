"""Planes of files, LOFAR's stations, every quality check, reference fluxes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Migrate one revision up."""
    for name in ("plane", "array_info"):
        op.add_column(
            "image", sa.Column(name, sa.String(length=255), server_default="", nullable=False)
        )
    op.create_table(
        "qualitycheck",
        sa.Column("image", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("check_name", sa.String(length=32), nullable=False),
        sa.Column("result", sa.String(length=16), nullable=False),
        sa.Column("measured", sa.Double(), nullable=True),
        sa.Column("limit_low", sa.Double(), nullable=True),
        sa.Column("limit_high", sa.Double(), nullable=True),
        sa.Column("unit", sa.String(length=16), server_default="", nullable=False),
        sa.Column("comment", sa.String(length=512), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["image"], ["image.id"], name=op.f("fk_qualitycheck_image")),
        sa.PrimaryKeyConstraint("image", "check_name", name=op.f("pk_qualitycheck")),
    )
    op.create_table(
        "referenceflux",
        sa.Column(
            "runcat",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("band", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("stokes", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("datapoints", sa.Integer(), nullable=False),
        sa.Column("sumw_int", sa.Double(), nullable=False),
        sa.Column("wmean_int", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["runcat"], ["runningcatalog.id"], name=op.f("fk_referenceflux_runcat")
        ),
        sa.ForeignKeyConstraint(["band"], ["frequencyband.id"], name=op.f("fk_referenceflux_band")),
        sa.PrimaryKeyConstraint("runcat", "band", "stokes", name=op.f("pk_referenceflux")),
    )

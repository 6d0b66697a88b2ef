"""Errors of the sizes of sources, and sizes without the beam."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Migrate one revision up."""
    for name in (
        "deconv_semimajor", "deconv_semiminor", "deconv_pa",
        "semimajor_err", "semiminor_err", "pa_err",
    ):  # fmt: skip
        op.add_column("extractedsource", sa.Column(name, sa.Double(), nullable=True))

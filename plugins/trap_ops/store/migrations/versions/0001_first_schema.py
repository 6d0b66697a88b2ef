"""The first schema: the classic tables with our columns and tables beside them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Migrate one revision up."""
    op.create_table(
        "dataset",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("rerun", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("type", sa.SmallInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("process_start_ts", sa.DateTime(), nullable=False),
        sa.Column("process_end_ts", sa.DateTime(), nullable=True),
        sa.Column("detection_threshold", sa.Double(), nullable=True),
        sa.Column("analysis_threshold", sa.Double(), nullable=True),
        sa.Column("assoc_radius", sa.Double(), nullable=True),
        sa.Column("backsize_x", sa.SmallInteger(), nullable=True),
        sa.Column("backsize_y", sa.SmallInteger(), nullable=True),
        sa.Column("margin_width", sa.Double(), nullable=True),
        sa.Column("description", sa.String(length=100), nullable=False),
        sa.Column("node", sa.SmallInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("nodes", sa.SmallInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("settings", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dataset")),
        sa.UniqueConstraint("description", name=op.f("uq_dataset_description")),
    )
    op.create_table(
        "idblock",
        sa.Column("table_name", sa.String(length=64), nullable=False),
        sa.Column("next_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("table_name", name=op.f("pk_idblock")),
    )
    op.create_table(
        "node",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("node", sa.SmallInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("zone", sa.SmallInteger(), nullable=False),
        sa.Column("zone_min", sa.SmallInteger(), nullable=True),
        sa.Column("zone_max", sa.SmallInteger(), nullable=True),
        sa.Column("zone_min_incl", sa.Boolean(), server_default=sa.text("true"), nullable=True),
        sa.Column("zone_max_incl", sa.Boolean(), server_default=sa.text("false"), nullable=True),
        sa.Column("zoneheight", sa.Double(), server_default=sa.text("1.0"), nullable=True),
        sa.Column("nodes", sa.SmallInteger(), server_default=sa.text("1"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_node")),
        sa.UniqueConstraint("node", "zone", name=op.f("uq_node_node_zone")),
    )
    op.create_table(
        "rejectreason",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("description", sa.String(length=512), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rejectreason")),
    )
    op.create_table(
        "version",
        sa.Column("name", sa.String(length=12), nullable=False),
        sa.Column("value", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_version")),
    )
    op.create_table(
        "config",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("dataset", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("section", sa.String(length=100), nullable=True),
        sa.Column("key", sa.String(length=100), nullable=True),
        sa.Column("value", sa.String(length=500), nullable=True),
        sa.Column("type", sa.String(length=5), nullable=True),
        sa.ForeignKeyConstraint(["dataset"], ["dataset.id"], name=op.f("fk_config_dataset")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_config")),
        sa.UniqueConstraint(
            "dataset", "section", "key", name=op.f("uq_config_dataset_section_key")
        ),
    )
    op.create_table(
        "frequencyband",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("dataset", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("freq_central", sa.Double(), nullable=True),
        sa.Column("freq_low", sa.Double(), nullable=True),
        sa.Column("freq_high", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["dataset"], ["dataset.id"], name=op.f("fk_frequencyband_dataset")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_frequencyband")),
    )
    with op.batch_alter_table("frequencyband", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_frequencyband_dataset"), ["dataset"], unique=False)

    op.create_table(
        "monitor",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("dataset", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("runcat", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("ra", sa.Double(), nullable=False),
        sa.Column("decl", sa.Double(), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=True),
        sa.ForeignKeyConstraint(["dataset"], ["dataset.id"], name=op.f("fk_monitor_dataset")),
        sa.ForeignKeyConstraint(
            ["runcat"], ["runningcatalog.id"], name=op.f("fk_monitor_runcat"), use_alter=True
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_monitor")),
    )
    with op.batch_alter_table("monitor", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_monitor_dataset"), ["dataset"], unique=False)
        batch_op.create_index(batch_op.f("ix_monitor_runcat"), ["runcat"], unique=False)

    op.create_table(
        "run",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("run_key", sa.String(length=250), nullable=False),
        sa.Column("dataset", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("requested_by", sa.String(length=100), server_default="", nullable=False),
        sa.Column("started_ts", sa.DateTime(), nullable=False),
        sa.Column("finished_ts", sa.DateTime(), nullable=True),
        sa.Column("host", sa.String(length=100), nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("configuration_name", sa.String(length=100), nullable=False),
        sa.Column("configuration", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("versions", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), server_default="", nullable=False),
        sa.Column("report", sa.String(length=1024), nullable=True),
        sa.ForeignKeyConstraint(["dataset"], ["dataset.id"], name=op.f("fk_run_dataset")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run")),
        sa.UniqueConstraint("run_key", name=op.f("uq_run_run_key")),
    )
    with op.batch_alter_table("run", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_run_dataset"), ["dataset"], unique=False)

    op.create_table(
        "skyregion",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("dataset", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("centre_ra", sa.Double(), nullable=False),
        sa.Column("centre_decl", sa.Double(), nullable=False),
        sa.Column("xtr_radius", sa.Double(), nullable=False),
        sa.Column("x", sa.Double(), nullable=False),
        sa.Column("y", sa.Double(), nullable=False),
        sa.Column("z", sa.Double(), nullable=False),
        sa.Column("introduced", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.ForeignKeyConstraint(["dataset"], ["dataset.id"], name=op.f("fk_skyregion_dataset")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_skyregion")),
    )
    with op.batch_alter_table("skyregion", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_skyregion_dataset"), ["dataset"], unique=False)

    op.create_table(
        "datasetlock",
        sa.Column("dataset", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("run", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("taken_ts", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["dataset"], ["dataset.id"], name=op.f("fk_datasetlock_dataset")),
        sa.ForeignKeyConstraint(["run"], ["run.id"], name=op.f("fk_datasetlock_run")),
        sa.PrimaryKeyConstraint("dataset", name=op.f("pk_datasetlock")),
    )
    with op.batch_alter_table("datasetlock", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_datasetlock_run"), ["run"], unique=False)

    op.create_table(
        "image",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("dataset", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("band", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("skyrgn", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("tau", sa.Integer(), nullable=True),
        sa.Column("stokes", sa.SmallInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("tau_time", sa.Double(), nullable=True),
        sa.Column("freq_eff", sa.Double(), nullable=False),
        sa.Column("freq_bw", sa.Double(), nullable=True),
        sa.Column("taustart_ts", sa.DateTime(), nullable=False),
        sa.Column("rb_smaj", sa.Double(), nullable=False),
        sa.Column("rb_smin", sa.Double(), nullable=False),
        sa.Column("rb_pa", sa.Double(), nullable=False),
        sa.Column("deltax", sa.Double(), nullable=False),
        sa.Column("deltay", sa.Double(), nullable=False),
        sa.Column("fwhm_arcsec", sa.Double(), nullable=True),
        sa.Column("fov_degrees", sa.Double(), nullable=True),
        sa.Column("rms_qc", sa.Double(), nullable=True),
        sa.Column("rms_min", sa.Double(), nullable=True),
        sa.Column("rms_max", sa.Double(), nullable=True),
        sa.Column("detection_thresh", sa.Double(), nullable=True),
        sa.Column("analysis_thresh", sa.Double(), nullable=True),
        sa.Column("url", sa.String(length=1024), nullable=True),
        sa.Column("node", sa.SmallInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("nodes", sa.SmallInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("file_name", sa.String(length=255), nullable=False),
        sa.Column("file_size", sa.BigInteger(), nullable=False),
        sa.Column("file_mtime_ns", sa.BigInteger(), nullable=False),
        sa.Column("header_sha256", sa.String(length=64), nullable=False),
        sa.Column("content_sha256", sa.String(length=64), nullable=True),
        sa.Column("telescope", sa.String(length=64), server_default="", nullable=False),
        sa.Column("nx", sa.Integer(), nullable=False),
        sa.Column("ny", sa.Integer(), nullable=False),
        sa.Column("centre_ra", sa.Double(), nullable=False),
        sa.Column("centre_decl", sa.Double(), nullable=False),
        sa.Column("corner_distance", sa.Double(), nullable=False),
        sa.Column("nan_fraction", sa.Double(), nullable=True),
        sa.Column("data_min", sa.Double(), nullable=True),
        sa.Column("data_max", sa.Double(), nullable=True),
        sa.Column("verdict", sa.String(length=16), nullable=True),
        sa.Column("notes", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["band"], ["frequencyband.id"], name=op.f("fk_image_band")),
        sa.ForeignKeyConstraint(["dataset"], ["dataset.id"], name=op.f("fk_image_dataset")),
        sa.ForeignKeyConstraint(["skyrgn"], ["skyregion.id"], name=op.f("fk_image_skyrgn")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_image")),
        sa.UniqueConstraint("dataset", "url", name=op.f("uq_image_dataset_url")),
    )
    with op.batch_alter_table("image", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_image_band"), ["band"], unique=False)
        batch_op.create_index(batch_op.f("ix_image_dataset"), ["dataset"], unique=False)
        batch_op.create_index(
            "ix_image_dataset_taustart_ts", ["dataset", "taustart_ts"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_image_skyrgn"), ["skyrgn"], unique=False)
        batch_op.create_index(batch_op.f("ix_image_taustart_ts"), ["taustart_ts"], unique=False)

    op.create_table(
        "stagerun",
        sa.Column("run", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("stage", sa.String(length=32), nullable=False),
        sa.Column("batch", sa.String(length=64), nullable=False),
        sa.Column("started_ts", sa.DateTime(), nullable=False),
        sa.Column("finished_ts", sa.DateTime(), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("host", sa.String(length=100), nullable=False),
        sa.Column("counts", sa.Text(), server_default="{}", nullable=False),
        sa.Column("batches", sa.Text(), server_default="[]", nullable=False),
        sa.ForeignKeyConstraint(["run"], ["run.id"], name=op.f("fk_stagerun_run")),
        sa.PrimaryKeyConstraint("run", "stage", "batch", name=op.f("pk_stagerun")),
    )
    op.create_table(
        "extractedsource",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("image", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("ff_runcat", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("ff_monitor", sa.Integer(), autoincrement=False, nullable=True),
        sa.Column("zone", sa.Integer(), nullable=False),
        sa.Column("ra", sa.Double(), nullable=False),
        sa.Column("decl", sa.Double(), nullable=False),
        sa.Column("uncertainty_ew", sa.Double(), nullable=False),
        sa.Column("uncertainty_ns", sa.Double(), nullable=False),
        sa.Column("ra_err", sa.Double(), nullable=False),
        sa.Column("decl_err", sa.Double(), nullable=False),
        sa.Column("ra_fit_err", sa.Double(), nullable=False),
        sa.Column("decl_fit_err", sa.Double(), nullable=False),
        sa.Column("ew_sys_err", sa.Double(), nullable=False),
        sa.Column("ns_sys_err", sa.Double(), nullable=False),
        sa.Column("error_radius", sa.Double(), nullable=False),
        sa.Column("x", sa.Double(), nullable=False),
        sa.Column("y", sa.Double(), nullable=False),
        sa.Column("z", sa.Double(), nullable=False),
        sa.Column("racosdecl", sa.Double(), nullable=False),
        sa.Column("margin", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("det_sigma", sa.Double(), nullable=False),
        sa.Column("semimajor", sa.Double(), nullable=True),
        sa.Column("semiminor", sa.Double(), nullable=True),
        sa.Column("pa", sa.Double(), nullable=True),
        sa.Column("f_peak", sa.Double(), nullable=True),
        sa.Column("f_peak_err", sa.Double(), nullable=True),
        sa.Column("f_int", sa.Double(), nullable=True),
        sa.Column("f_int_err", sa.Double(), nullable=True),
        sa.Column("chisq", sa.Double(), nullable=True),
        sa.Column("reduced_chisq", sa.Double(), nullable=True),
        sa.Column("extract_type", sa.SmallInteger(), nullable=True),
        sa.Column("fit_type", sa.SmallInteger(), nullable=True),
        sa.Column("node", sa.SmallInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("nodes", sa.SmallInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("rms", sa.Double(), nullable=True),
        sa.Column("background", sa.Double(), nullable=True),
        sa.Column("x_px", sa.Double(), nullable=True),
        sa.Column("y_px", sa.Double(), nullable=True),
        sa.Column("resolved_sigma", sa.Double(), nullable=True),
        sa.Column("flags", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.ForeignKeyConstraint(
            ["ff_monitor"], ["monitor.id"], name=op.f("fk_extractedsource_ff_monitor")
        ),
        sa.ForeignKeyConstraint(
            ["ff_runcat"],
            ["runningcatalog.id"],
            name=op.f("fk_extractedsource_ff_runcat"),
            use_alter=True,
        ),
        sa.ForeignKeyConstraint(["image"], ["image.id"], name=op.f("fk_extractedsource_image")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_extractedsource")),
    )
    with op.batch_alter_table("extractedsource", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_extractedsource_decl"), ["decl"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_extractedsource_ff_monitor"), ["ff_monitor"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_extractedsource_ff_runcat"), ["ff_runcat"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_extractedsource_image"), ["image"], unique=False)
        batch_op.create_index(batch_op.f("ix_extractedsource_ra"), ["ra"], unique=False)

    op.create_table(
        "imagedata",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("image", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("fits_header", sa.Text(), nullable=True),
        sa.Column("fits_data", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["image"], ["image.id"], name=op.f("fk_imagedata_image")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_imagedata")),
    )
    with op.batch_alter_table("imagedata", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_imagedata_image"), ["image"], unique=False)

    op.create_table(
        "noisemodel",
        sa.Column("image", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("arrays", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["image"], ["image.id"], name=op.f("fk_noisemodel_image")),
        sa.PrimaryKeyConstraint("image", name=op.f("pk_noisemodel")),
    )
    op.create_table(
        "outcome",
        sa.Column("dataset", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("stage", sa.String(length=32), nullable=False),
        sa.Column("unit", sa.String(length=1100), nullable=False),
        sa.Column("image", sa.Integer(), autoincrement=False, nullable=True),
        sa.Column("run", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("result", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=64), server_default="", nullable=False),
        sa.Column("message", sa.Text(), server_default="", nullable=False),
        sa.Column("input_hash", sa.String(length=64), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("host", sa.String(length=100), nullable=False),
        sa.Column("finished_ts", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["dataset"], ["dataset.id"], name=op.f("fk_outcome_dataset")),
        sa.ForeignKeyConstraint(["image"], ["image.id"], name=op.f("fk_outcome_image")),
        sa.ForeignKeyConstraint(["run"], ["run.id"], name=op.f("fk_outcome_run")),
        sa.PrimaryKeyConstraint("dataset", "stage", "unit", name=op.f("pk_outcome")),
    )
    with op.batch_alter_table("outcome", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_outcome_image"), ["image"], unique=False)
        batch_op.create_index(batch_op.f("ix_outcome_run"), ["run"], unique=False)

    op.create_table(
        "rejection",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("image", sa.Integer(), autoincrement=False, nullable=True),
        sa.Column("rejectreason", sa.Integer(), autoincrement=False, nullable=True),
        sa.Column("comment", sa.String(length=512), nullable=True),
        sa.ForeignKeyConstraint(["image"], ["image.id"], name=op.f("fk_rejection_image")),
        sa.ForeignKeyConstraint(
            ["rejectreason"], ["rejectreason.id"], name=op.f("fk_rejection_rejectreason")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rejection")),
    )
    with op.batch_alter_table("rejection", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_rejection_image"), ["image"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_rejection_rejectreason"), ["rejectreason"], unique=False
        )

    op.create_table(
        "runningcatalog",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("xtrsrc", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("dataset", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("datapoints", sa.Integer(), nullable=False),
        sa.Column("zone", sa.Integer(), nullable=False),
        sa.Column("wm_ra", sa.Double(), nullable=False),
        sa.Column("wm_decl", sa.Double(), nullable=False),
        sa.Column("wm_uncertainty_ew", sa.Double(), nullable=False),
        sa.Column("wm_uncertainty_ns", sa.Double(), nullable=False),
        sa.Column("avg_ra_err", sa.Double(), nullable=False),
        sa.Column("avg_decl_err", sa.Double(), nullable=False),
        sa.Column("avg_wra", sa.Double(), nullable=False),
        sa.Column("avg_wdecl", sa.Double(), nullable=False),
        sa.Column("avg_weight_ra", sa.Double(), nullable=False),
        sa.Column("avg_weight_decl", sa.Double(), nullable=False),
        sa.Column("x", sa.Double(), nullable=False),
        sa.Column("y", sa.Double(), nullable=False),
        sa.Column("z", sa.Double(), nullable=False),
        sa.Column("inactive", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("mon_src", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("forcedfits_count", sa.Integer(), server_default=sa.text("0"), nullable=True),
        sa.Column("stokes", sa.SmallInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("source_name", sa.String(length=40), nullable=False),
        sa.Column("parent", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("founded_ts", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["dataset"], ["dataset.id"], name=op.f("fk_runningcatalog_dataset")
        ),
        sa.ForeignKeyConstraint(
            ["parent"], ["extractedsource.id"], name=op.f("fk_runningcatalog_parent")
        ),
        sa.ForeignKeyConstraint(
            ["xtrsrc"], ["extractedsource.id"], name=op.f("fk_runningcatalog_xtrsrc")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runningcatalog")),
        sa.UniqueConstraint("xtrsrc", name=op.f("uq_runningcatalog_xtrsrc")),
    )
    with op.batch_alter_table("runningcatalog", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_runningcatalog_dataset"), ["dataset"], unique=False)
        batch_op.create_index(batch_op.f("ix_runningcatalog_wm_decl"), ["wm_decl"], unique=False)
        batch_op.create_index(batch_op.f("ix_runningcatalog_wm_ra"), ["wm_ra"], unique=False)
        batch_op.create_index(batch_op.f("ix_runningcatalog_zone"), ["zone"], unique=False)

    op.create_table(
        "assocskyrgn",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column(
            "runcat",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("skyrgn", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("distance_deg", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["runcat"], ["runningcatalog.id"], name=op.f("fk_assocskyrgn_runcat")
        ),
        sa.ForeignKeyConstraint(["skyrgn"], ["skyregion.id"], name=op.f("fk_assocskyrgn_skyrgn")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_assocskyrgn")),
        sa.UniqueConstraint("runcat", "skyrgn", name=op.f("uq_assocskyrgn_runcat_skyrgn")),
    )
    with op.batch_alter_table("assocskyrgn", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_assocskyrgn_runcat"), ["runcat"], unique=False)
        batch_op.create_index(batch_op.f("ix_assocskyrgn_skyrgn"), ["skyrgn"], unique=False)

    op.create_table(
        "assocxtrsource",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column(
            "runcat",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("xtrsrc", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("type", sa.SmallInteger(), nullable=False),
        sa.Column("distance_arcsec", sa.Double(), nullable=True),
        sa.Column("r", sa.Double(), nullable=True),
        sa.Column("loglr", sa.Double(), nullable=True),
        sa.Column("v_int", sa.Double(), nullable=False),
        sa.Column("eta_int", sa.Double(), nullable=False),
        sa.Column("f_datapoints", sa.Integer(), nullable=False),
        sa.Column("pending", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.ForeignKeyConstraint(
            ["runcat"], ["runningcatalog.id"], name=op.f("fk_assocxtrsource_runcat")
        ),
        sa.ForeignKeyConstraint(
            ["xtrsrc"], ["extractedsource.id"], name=op.f("fk_assocxtrsource_xtrsrc")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_assocxtrsource")),
        sa.UniqueConstraint("runcat", "xtrsrc", name=op.f("uq_assocxtrsource_runcat_xtrsrc")),
    )
    with op.batch_alter_table("assocxtrsource", schema=None) as batch_op:
        batch_op.create_index(
            "ix_assocxtrsource_pending",
            ["runcat"],
            unique=False,
            sqlite_where=sa.text("pending"),
            postgresql_where=sa.text("pending"),
        )
        batch_op.create_index(batch_op.f("ix_assocxtrsource_xtrsrc"), ["xtrsrc"], unique=False)

    op.create_table(
        "candidate",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("dataset", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("runcat", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("expected_false", sa.Double(), nullable=False),
        sa.Column("reasons", sa.Text(), nullable=False),
        sa.Column("first_image", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("peak_jy", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["dataset"], ["dataset.id"], name=op.f("fk_candidate_dataset")),
        sa.ForeignKeyConstraint(
            ["first_image"], ["image.id"], name=op.f("fk_candidate_first_image")
        ),
        sa.ForeignKeyConstraint(
            ["runcat"], ["runningcatalog.id"], name=op.f("fk_candidate_runcat")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_candidate")),
        sa.UniqueConstraint("runcat", name=op.f("uq_candidate_runcat")),
    )
    with op.batch_alter_table("candidate", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_candidate_dataset"), ["dataset"], unique=False)

    op.create_table(
        "forcedfit",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("dataset", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("image", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column(
            "runcat",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=True,
        ),
        sa.Column("monitor", sa.Integer(), autoincrement=False, nullable=True),
        sa.Column("origin", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("ra", sa.Double(), nullable=False),
        sa.Column("decl", sa.Double(), nullable=False),
        sa.Column("link_type", sa.SmallInteger(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=32), server_default="", nullable=False),
        sa.Column("upper_limit", sa.Double(), nullable=True),
        sa.Column("xtrsrc", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.ForeignKeyConstraint(["dataset"], ["dataset.id"], name=op.f("fk_forcedfit_dataset")),
        sa.ForeignKeyConstraint(["image"], ["image.id"], name=op.f("fk_forcedfit_image")),
        sa.ForeignKeyConstraint(["monitor"], ["monitor.id"], name=op.f("fk_forcedfit_monitor")),
        sa.ForeignKeyConstraint(
            ["runcat"], ["runningcatalog.id"], name=op.f("fk_forcedfit_runcat")
        ),
        sa.ForeignKeyConstraint(
            ["xtrsrc"], ["extractedsource.id"], name=op.f("fk_forcedfit_xtrsrc")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_forcedfit")),
        sa.UniqueConstraint("image", "kind", "monitor", name="uq_forcedfit_monitor"),
        sa.UniqueConstraint("image", "kind", "runcat", name="uq_forcedfit_source"),
    )
    with op.batch_alter_table("forcedfit", schema=None) as batch_op:
        batch_op.create_index("ix_forcedfit_dataset_status", ["dataset", "status"], unique=False)
        batch_op.create_index("ix_forcedfit_image_status", ["image", "status"], unique=False)
        batch_op.create_index(batch_op.f("ix_forcedfit_monitor"), ["monitor"], unique=False)
        batch_op.create_index(batch_op.f("ix_forcedfit_runcat"), ["runcat"], unique=False)
        batch_op.create_index(batch_op.f("ix_forcedfit_xtrsrc"), ["xtrsrc"], unique=False)

    op.create_table(
        "newsource",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column(
            "runcat",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column(
            "trigger_xtrsrc",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("previous_limits_image", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("newsource_type", sa.SmallInteger(), nullable=False),
        sa.Column("previous_limits_rms", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["previous_limits_image"], ["image.id"], name=op.f("fk_newsource_previous_limits_image")
        ),
        sa.ForeignKeyConstraint(
            ["runcat"], ["runningcatalog.id"], name=op.f("fk_newsource_runcat")
        ),
        sa.ForeignKeyConstraint(
            ["trigger_xtrsrc"], ["extractedsource.id"], name=op.f("fk_newsource_trigger_xtrsrc")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_newsource")),
    )
    with op.batch_alter_table("newsource", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_newsource_runcat"), ["runcat"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_newsource_trigger_xtrsrc"), ["trigger_xtrsrc"], unique=False
        )

    op.create_table(
        "runningcatalog_flux",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column(
            "runcat",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("band", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("stokes", sa.SmallInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("f_datapoints", sa.Integer(), nullable=False),
        sa.Column("avg_f_peak", sa.Double(), nullable=True),
        sa.Column("avg_f_peak_sq", sa.Double(), nullable=True),
        sa.Column("avg_f_peak_weight", sa.Double(), nullable=True),
        sa.Column("avg_weighted_f_peak", sa.Double(), nullable=True),
        sa.Column("avg_weighted_f_peak_sq", sa.Double(), nullable=True),
        sa.Column("avg_f_int", sa.Double(), nullable=True),
        sa.Column("avg_f_int_sq", sa.Double(), nullable=True),
        sa.Column("avg_f_int_weight", sa.Double(), nullable=True),
        sa.Column("avg_weighted_f_int", sa.Double(), nullable=True),
        sa.Column("avg_weighted_f_int_sq", sa.Double(), nullable=True),
        sa.Column("mean_int", sa.Double(), nullable=True),
        sa.Column("m2_int", sa.Double(), nullable=True),
        sa.Column("sumw_int", sa.Double(), nullable=True),
        sa.Column("wmean_int", sa.Double(), nullable=True),
        sa.Column("wm2_int", sa.Double(), nullable=True),
        sa.Column("mean_peak", sa.Double(), nullable=True),
        sa.Column("m2_peak", sa.Double(), nullable=True),
        sa.Column("sumw_peak", sa.Double(), nullable=True),
        sa.Column("wmean_peak", sa.Double(), nullable=True),
        sa.Column("wm2_peak", sa.Double(), nullable=True),
        sa.Column("all_datapoints", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("all_mean_int", sa.Double(), nullable=True),
        sa.Column("all_m2_int", sa.Double(), nullable=True),
        sa.Column("all_sumw_int", sa.Double(), nullable=True),
        sa.Column("all_wmean_int", sa.Double(), nullable=True),
        sa.Column("all_wm2_int", sa.Double(), nullable=True),
        sa.Column("last_ts", sa.DateTime(), nullable=True),
        sa.Column("last_int", sa.Double(), nullable=True),
        sa.Column("max_int", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["band"], ["frequencyband.id"], name=op.f("fk_runningcatalog_flux_band")
        ),
        sa.ForeignKeyConstraint(
            ["runcat"], ["runningcatalog.id"], name=op.f("fk_runningcatalog_flux_runcat")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runningcatalog_flux")),
        sa.UniqueConstraint(
            "runcat", "band", "stokes", name=op.f("uq_runningcatalog_flux_runcat_band_stokes")
        ),
    )
    with op.batch_alter_table("runningcatalog_flux", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_runningcatalog_flux_band"), ["band"], unique=False)

    op.create_table(
        "temprunningcatalog",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column(
            "runcat",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column(
            "xtrsrc",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("dataset", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("band", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("distance_arcsec", sa.Double(), nullable=True),
        sa.Column("r", sa.Double(), nullable=False),
        sa.Column("stokes", sa.SmallInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("datapoints", sa.Integer(), nullable=False),
        sa.Column("zone", sa.Integer(), nullable=False),
        sa.Column("wm_ra", sa.Double(), nullable=False),
        sa.Column("wm_decl", sa.Double(), nullable=False),
        sa.Column("wm_uncertainty_ew", sa.Double(), nullable=False),
        sa.Column("wm_uncertainty_ns", sa.Double(), nullable=False),
        sa.Column("avg_ra_err", sa.Double(), nullable=False),
        sa.Column("avg_decl_err", sa.Double(), nullable=False),
        sa.Column("avg_wra", sa.Double(), nullable=False),
        sa.Column("avg_wdecl", sa.Double(), nullable=False),
        sa.Column("avg_weight_ra", sa.Double(), nullable=False),
        sa.Column("avg_weight_decl", sa.Double(), nullable=False),
        sa.Column("x", sa.Double(), nullable=False),
        sa.Column("y", sa.Double(), nullable=False),
        sa.Column("z", sa.Double(), nullable=False),
        sa.Column("margin", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("inactive", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("beam_semimaj", sa.Double(), nullable=True),
        sa.Column("beam_semimin", sa.Double(), nullable=True),
        sa.Column("beam_pa", sa.Double(), nullable=True),
        sa.Column("f_datapoints", sa.Integer(), nullable=True),
        sa.Column("avg_f_peak", sa.Double(), nullable=True),
        sa.Column("avg_f_peak_sq", sa.Double(), nullable=True),
        sa.Column("avg_f_peak_weight", sa.Double(), nullable=True),
        sa.Column("avg_weighted_f_peak", sa.Double(), nullable=True),
        sa.Column("avg_weighted_f_peak_sq", sa.Double(), nullable=True),
        sa.Column("avg_f_int", sa.Double(), nullable=True),
        sa.Column("avg_f_int_sq", sa.Double(), nullable=True),
        sa.Column("avg_f_int_weight", sa.Double(), nullable=True),
        sa.Column("avg_weighted_f_int", sa.Double(), nullable=True),
        sa.Column("avg_weighted_f_int_sq", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["band"], ["frequencyband.id"], name=op.f("fk_temprunningcatalog_band")
        ),
        sa.ForeignKeyConstraint(
            ["dataset"], ["dataset.id"], name=op.f("fk_temprunningcatalog_dataset")
        ),
        sa.ForeignKeyConstraint(
            ["runcat"], ["runningcatalog.id"], name=op.f("fk_temprunningcatalog_runcat")
        ),
        sa.ForeignKeyConstraint(
            ["xtrsrc"], ["extractedsource.id"], name=op.f("fk_temprunningcatalog_xtrsrc")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_temprunningcatalog")),
    )
    with op.batch_alter_table("temprunningcatalog", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_temprunningcatalog_band"), ["band"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_temprunningcatalog_dataset"), ["dataset"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_temprunningcatalog_runcat"), ["runcat"], unique=False)
        batch_op.create_index(batch_op.f("ix_temprunningcatalog_xtrsrc"), ["xtrsrc"], unique=False)

    op.create_table(
        "varmetric",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("runcat", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("v_int", sa.Double(), nullable=True),
        sa.Column("eta_int", sa.Double(), nullable=True),
        sa.Column("band", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("newsource", sa.Integer(), nullable=True),
        sa.Column("sigma_rms_max", sa.Double(), nullable=True),
        sa.Column("sigma_rms_min", sa.Double(), nullable=True),
        sa.Column("lightcurve_max", sa.Double(), nullable=True),
        sa.Column("lightcurve_avg", sa.Double(), nullable=True),
        sa.Column("lightcurve_median", sa.Double(), nullable=True),
        sa.Column("stokes", sa.SmallInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("f_datapoints", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("p_value", sa.Double(), nullable=True),
        sa.Column("wmean_int", sa.Double(), nullable=True),
        sa.Column("wmean_int_err", sa.Double(), nullable=True),
        sa.Column("all_datapoints", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("all_v_int", sa.Double(), nullable=True),
        sa.Column("all_eta_int", sa.Double(), nullable=True),
        sa.Column("all_p_value", sa.Double(), nullable=True),
        sa.Column("all_wmean_int", sa.Double(), nullable=True),
        sa.Column("all_wmean_int_err", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["band"], ["frequencyband.id"], name=op.f("fk_varmetric_band")),
        sa.ForeignKeyConstraint(
            ["runcat"], ["runningcatalog.id"], name=op.f("fk_varmetric_runcat")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_varmetric")),
        sa.UniqueConstraint("runcat", name=op.f("uq_varmetric_runcat")),
    )
    with op.batch_alter_table("varmetric", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_varmetric_band"), ["band"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_varmetric_lightcurve_avg"), ["lightcurve_avg"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_varmetric_lightcurve_max"), ["lightcurve_max"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_varmetric_lightcurve_median"), ["lightcurve_median"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_varmetric_sigma_rms_max"), ["sigma_rms_max"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_varmetric_sigma_rms_min"), ["sigma_rms_min"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_varmetric_v_int"), ["v_int"], unique=False)

    # Two tables point at each other: on PostgreSQL the second constraint can only follow both.
    # SQLite takes it with the table and cannot add it later.
    if op.get_bind().dialect.name != "sqlite":
        for table, column in (("monitor", "runcat"), ("extractedsource", "ff_runcat")):
            op.create_foreign_key(f"fk_{table}_{column}", table, "runningcatalog", [column], ["id"])

"""Tables of datasets, their runs, and what became of every image in every stage."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    Index,
    Integer,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from trap_ops.store.schema.columns import double, doubles, id_column, link, metadata, one

# Revision of the classic schema whose tables these are; tools read it from table "version".
CLASSIC_REVISION = 40

version = Table(
    "version",
    metadata,
    Column("name", String(12), primary_key=True),
    Column("value", Integer(), nullable=False),
)

dataset = Table(
    "dataset",
    metadata,
    id_column(),
    Column("rerun", Integer(), nullable=False, server_default=text("0")),
    one("type"),
    Column("process_start_ts", DateTime(), nullable=False),
    Column("process_end_ts", DateTime()),
    *doubles("detection_threshold", "analysis_threshold", "assoc_radius"),
    Column("backsize_x", SmallInteger()),
    Column("backsize_y", SmallInteger()),
    double("margin_width"),
    Column("description", String(100), nullable=False, unique=True),
    one("node"),
    one("nodes"),
    # new: settings that all runs of the dataset share, canonical JSON
    Column("settings", Text(), nullable=False, server_default=""),
    # new: all images that start at or before this have been through all stages, and no run has to
    # look at them again; NULL: not known
    Column("settled_ts", DateTime()),
)

run = Table(
    "run",
    metadata,
    id_column(),
    Column("run_key", String(250), nullable=False, unique=True),
    link("dataset", "dataset"),
    Column("state", String(16), nullable=False),
    Column("requested_by", String(100), nullable=False, server_default=""),
    Column("started_ts", DateTime(), nullable=False),
    Column("finished_ts", DateTime()),
    Column("host", String(100), nullable=False),
    Column("request", Text(), nullable=False),
    Column("configuration_name", String(100), nullable=False),
    Column("configuration", Text(), nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("versions", Text(), nullable=False),
    Column("message", Text(), nullable=False, server_default=""),
    Column("report", String(1024)),
)

datasetlock = Table(
    "datasetlock",
    metadata,
    link("dataset", "dataset", primary_key=True),
    link("run", "run"),
    Column("taken_ts", DateTime(), nullable=False),
)

stagerun = Table(
    "stagerun",
    metadata,
    link("run", "run", primary_key=True),
    Column("stage", String(32), primary_key=True),
    Column("batch", String(64), primary_key=True),
    Column("started_ts", DateTime(), nullable=False),
    Column("finished_ts", DateTime()),
    double("seconds"),
    Column("host", String(100), nullable=False),
    Column("counts", Text(), nullable=False, server_default="{}"),
    # Batches of image ids for the mapped task behind this one, JSON.
    Column("batches", Text(), nullable=False, server_default="[]"),
)

arrival = Table(
    "arrival",
    metadata,
    Column("path", String(1024), primary_key=True),
    Column("size_bytes", BigInteger(), primary_key=True, autoincrement=False),
    Column("modified_ns", BigInteger(), primary_key=True, autoincrement=False),
    Column("series", String(40), nullable=False),
    # The dataset may not be there yet, and the run is planned later.
    Column("dataset_name", String(100), nullable=False),
    Column("run_key", String(250), nullable=False, index=True),
    Column("dispatched_ts", DateTime(), nullable=False),
    Column("attempts", Integer(), nullable=False),
    Index("ix_arrival_dataset_name", "dataset_name", "run_key"),
)

config = Table(
    "config",
    metadata,
    id_column(),
    link("dataset", "dataset", index=False),
    Column("section", String(100)),
    Column("key", String(100)),
    Column("value", String(500)),
    Column("type", String(5)),
    UniqueConstraint("dataset", "section", "key"),
)

outcome = Table(
    "outcome",
    metadata,
    link("dataset", "dataset", primary_key=True),
    Column("stage", String(32), primary_key=True),
    # An image's id or a file's path.
    Column("unit", String(1100), primary_key=True),
    link("image", "image", nullable=True),
    link("run", "run"),
    Column("result", String(16), nullable=False),
    Column("reason", String(64), nullable=False, server_default=""),
    Column("message", Text(), nullable=False, server_default=""),
    Column("input_hash", String(64), nullable=False),
    double("seconds", nullable=False),
    Column("host", String(100), nullable=False),
    Column("finished_ts", DateTime(), nullable=False),
    # Files that are no images, work to be done again, and what is not used: few of very many rows.
    Index(
        "ix_outcome_file",
        "dataset",
        sqlite_where=text("image IS NULL"),
        postgresql_where=text("image IS NULL"),
    ),
    Index(
        "ix_outcome_again",
        "dataset",
        sqlite_where=text("input_hash = ''"),
        postgresql_where=text("input_hash = ''"),
    ),
    Index(
        "ix_outcome_rejected",
        "dataset",
        sqlite_where=text("result = 'rejected'"),
        postgresql_where=text("result = 'rejected'"),
    ),
)

node = Table(
    "node",
    metadata,
    id_column(),
    one("node"),
    Column("zone", SmallInteger(), nullable=False),
    Column("zone_min", SmallInteger()),
    Column("zone_max", SmallInteger()),
    Column("zone_min_incl", Boolean(), server_default=text("true")),
    Column("zone_max_incl", Boolean(), server_default=text("false")),
    Column("zoneheight", Double(), server_default=text("1.0")),
    one("nodes"),
    UniqueConstraint("node", "zone"),
)

idblock = Table(
    "idblock",
    metadata,
    Column("table_name", String(64), primary_key=True),
    Column("next_id", BigInteger(), nullable=False),
)

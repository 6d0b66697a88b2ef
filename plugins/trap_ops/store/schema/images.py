"""Tables of images, what they have in common, and why they are rejected."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from trap_ops.records.images import RejectReason
from trap_ops.store.schema.columns import double, doubles, flag, id_column, link, metadata, one

frequencyband = Table(
    "frequencyband",
    metadata,
    id_column(),
    link("dataset", "dataset"),
    *doubles("freq_central", "freq_low", "freq_high"),
)

skyregion = Table(
    "skyregion",
    metadata,
    id_column(),
    link("dataset", "dataset"),
    *doubles("centre_ra", "centre_decl", "xtr_radius", "x", "y", "z", nullable=False),
    # new: whether association has reached the first image of the region
    flag("introduced"),
)

image = Table(
    "image",
    metadata,
    id_column(),
    link("dataset", "dataset"),
    link("band", "frequencyband"),
    link("skyrgn", "skyregion"),
    Column("tau", Integer()),
    one("stokes"),
    double("tau_time"),
    double("freq_eff", nullable=False),
    double("freq_bw"),
    Column("taustart_ts", DateTime(), nullable=False, index=True),
    *doubles("rb_smaj", "rb_smin", "rb_pa", "deltax", "deltay", nullable=False),
    *doubles("fwhm_arcsec", "fov_degrees"),
    # classic: not null. An image without valid pixels has none; it is rejected.
    double("rms_qc"),
    *doubles("rms_min", "rms_max", "detection_thresh", "analysis_thresh"),
    Column("url", String(1024)),
    one("node"),
    one("nodes"),
    # new
    Column("file_name", String(255), nullable=False),
    Column("file_size", BigInteger(), nullable=False),
    Column("file_mtime_ns", BigInteger(), nullable=False),
    Column("header_sha256", String(64), nullable=False),
    Column("content_sha256", String(64)),
    Column("telescope", String(64), nullable=False, server_default=""),
    Column("nx", Integer(), nullable=False),
    Column("ny", Integer(), nullable=False),
    *doubles("centre_ra", "centre_decl", "corner_distance", nullable=False),
    *doubles("nan_fraction", "data_min", "data_max"),
    Column("verdict", String(16)),
    Column("notes", Text(), nullable=False, server_default=""),
    # of a file with several images: which one this is; and LOFAR's stations as JSON
    Column("plane", String(255), nullable=False, server_default=""),
    Column("array_info", String(255), nullable=False, server_default=""),
    UniqueConstraint("dataset", "url"),
    Index("ix_image_dataset_taustart_ts", "dataset", "taustart_ts"),
    Index("ix_image_dataset_telescope", "dataset", "telescope"),
    Index("ix_image_dataset_file_name", "dataset", "file_name"),
    # What the number of beams in all images follows from, without reading the images.
    Index(
        "ix_image_shape",
        *("dataset", "verdict", "nx", "ny", "deltax", "deltay", "rb_smaj", "rb_smin"),
    ),
)

imagedata = Table(
    "imagedata",
    metadata,
    id_column(),
    link("image", "image"),
    Column("fits_header", Text()),
    Column("fits_data", LargeBinary()),
)

noisemodel = Table(
    "noisemodel",
    metadata,
    link("image", "image", primary_key=True),
    Column("arrays", LargeBinary(), nullable=False),
)

rejectreason = Table("rejectreason", metadata, id_column(), Column("description", String(512)))

rejection = Table(
    "rejection",
    metadata,
    id_column(),
    link("image", "image", nullable=True),
    link("rejectreason", "rejectreason", nullable=True),
    Column("comment", String(512)),
)

# new: every quality check of every image
qualitycheck = Table(
    "qualitycheck",
    metadata,
    link("image", "image", primary_key=True),
    Column("check_name", String(32), primary_key=True),
    Column("result", String(16), nullable=False),
    *doubles("measured", "limit_low", "limit_high"),
    Column("unit", String(16), nullable=False, server_default=""),
    Column("comment", String(512), nullable=False, server_default=""),
)

# Rows of table rejectreason.
REJECT_REASONS = {
    RejectReason.RMS_INVALID: "RMS invalid",
    RejectReason.BEAM_INVALID: "beam invalid",
    RejectReason.BRIGHT_SOURCE_NEAR: "bright source near",
    RejectReason.TAU_TIME_INVALID: "tau_time invalid",
    RejectReason.CONTAINS_NAN: "contains NaN",
    RejectReason.DATA_FLAT: "data is flat",
    RejectReason.FILE_UNUSABLE: "file unusable",
    RejectReason.DUPLICATE: "duplicate image",
    RejectReason.NO_NOISE: "no noise to measure against",
    RejectReason.FLUX_SCALE: "flux scale differs from the catalogue",
    RejectReason.ASTROMETRY: "displaced against the catalogue",
    RejectReason.SOURCE_COUNT: "number of sources unusual",
}

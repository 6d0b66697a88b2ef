"""Tables of detections, sky sources, their light curves, and what is found in them."""

from __future__ import annotations

from sqlalchemy import (
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from trap_ops.store.schema.columns import BIG, double, doubles, flag, id_column, link, metadata, one

monitor = Table(
    "monitor",
    metadata,
    id_column(),
    link("dataset", "dataset"),
    Column("runcat", BIG, ForeignKey("runningcatalog.id", use_alter=True), index=True),
    *doubles("ra", "decl", nullable=False),
    Column("name", String(100)),
)

extractedsource = Table(
    "extractedsource",
    metadata,
    id_column(BIG),
    link("image", "image"),
    Column("ff_runcat", BIG, ForeignKey("runningcatalog.id", use_alter=True), index=True),
    link("ff_monitor", "monitor", nullable=True),
    Column("zone", Integer(), nullable=False),
    double("ra", nullable=False, index=True),
    double("decl", nullable=False, index=True),
    *doubles("uncertainty_ew", "uncertainty_ns", nullable=False),
    double("ra_err", nullable=False),
    double("decl_err", nullable=False),
    *doubles("ra_fit_err", "decl_fit_err", "ew_sys_err", "ns_sys_err", nullable=False),
    double("error_radius", nullable=False),
    *doubles("x", "y", "z", "racosdecl", nullable=False),
    flag("margin"),
    double("det_sigma", nullable=False),
    *doubles("semimajor", "semiminor", "pa"),
    *doubles("f_peak", "f_peak_err", "f_int", "f_int_err", "chisq", "reduced_chisq"),
    Column("extract_type", SmallInteger()),
    Column("fit_type", SmallInteger()),
    one("node"),
    one("nodes"),
    # new: local rms and background (Jy/beam), pixel position from 0, flags of the measurement, half
    # widths (arcsec) and position angle without the beam, errors of the fitted ones
    *doubles("rms", "background", "x_px", "y_px", "resolved_sigma"),
    Column("flags", Integer(), nullable=False, server_default=text("0")),
    *doubles("deconv_semimajor", "deconv_semiminor", "deconv_pa"),
    *doubles("semimajor_err", "semiminor_err", "pa_err"),
)

runningcatalog = Table(
    "runningcatalog",
    metadata,
    id_column(BIG),
    Column("xtrsrc", BIG, ForeignKey("extractedsource.id"), nullable=False, unique=True),
    link("dataset", "dataset"),
    Column("datapoints", Integer(), nullable=False),
    Column("zone", Integer(), nullable=False, index=True),
    double("wm_ra", nullable=False, index=True),
    double("wm_decl", nullable=False, index=True),
    *doubles("wm_uncertainty_ew", "wm_uncertainty_ns", nullable=False),
    *doubles("avg_ra_err", "avg_decl_err", "avg_wra", "avg_wdecl", nullable=False),
    *doubles("avg_weight_ra", "avg_weight_decl", "x", "y", "z", nullable=False),
    flag("inactive"),
    flag("mon_src"),
    Column("forcedfits_count", Integer(), server_default=text("0")),
    # new: Stokes of the founding detection; name; founding detection of the source it was forked
    # from; start of the time step in which it got its present identity
    one("stokes"),
    Column("source_name", String(40), nullable=False),
    Column("parent", BIG, ForeignKey("extractedsource.id"), index=True),
    Column("founded_ts", DateTime(), nullable=False),
)

_FLUX_MEANS = [
    f"{name}{kind}{suffix}"
    for kind in ("f_peak", "f_int")
    for name, suffix in (
        ("avg_", ""),
        ("avg_", "_sq"),
        ("avg_", "_weight"),
        ("avg_weighted_", ""),
        ("avg_weighted_", "_sq"),
    )
]

# new: what stands out of a light curve, backward fits included: largest significance of a point, of
# a run of points and of a step; largest Vs of two epochs, and the m of these
SHAPES = ["point_sigma", "run_sigma", "step_sigma", "vs_max", "m_vs_max"]

runningcatalog_flux = Table(
    "runningcatalog_flux",
    metadata,
    id_column(BIG),
    link("runcat", "runningcatalog", index=False, big=True),
    link("band", "frequencyband"),
    one("stokes"),
    Column("f_datapoints", Integer(), nullable=False),
    *doubles(*_FLUX_MEANS),
    # new: running sums in the form that does not cancel, without and with backward fits
    *doubles("mean_int", "m2_int", "sumw_int", "wmean_int", "wm2_int"),
    *doubles("mean_peak", "m2_peak", "sumw_peak", "wmean_peak", "wm2_peak"),
    Column("all_datapoints", Integer(), nullable=False, server_default=text("0")),
    *doubles("all_mean_int", "all_m2_int", "all_sumw_int", "all_wmean_int", "all_wm2_int"),
    # new: start of the latest point in the sums, its flux, and the largest flux
    Column("last_ts", DateTime()),
    *doubles("last_int", "max_int"),
    *doubles(*SHAPES),
    # new: what a further point needs of those before it, so that they are not read again; packed
    # doubles (store/curve_states.py). Fluxes about the median and the number of those below; cells
    # of points and what stood out of them.
    Column("median_window", LargeBinary()),
    Column("median_below", Integer()),
    Column("memory", LargeBinary()),
    UniqueConstraint("runcat", "band", "stokes"),
)

# new: flux of a sky source as its blind detections so far have it; images are compared with it
referenceflux = Table(
    "referenceflux",
    metadata,
    link("runcat", "runningcatalog", big=True, primary_key=True),
    link("band", "frequencyband", primary_key=True),
    Column("stokes", SmallInteger(), primary_key=True, autoincrement=False),
    Column("datapoints", Integer(), nullable=False),
    *doubles("sumw_int", "wmean_int", nullable=False),
)

assocxtrsource = Table(
    "assocxtrsource",
    metadata,
    id_column(BIG),
    link("runcat", "runningcatalog", index=False, big=True),
    Column("xtrsrc", BIG, ForeignKey("extractedsource.id"), index=True),
    Column("type", SmallInteger(), nullable=False),
    *doubles("distance_arcsec", "r", "loglr"),
    *doubles("v_int", "eta_int", nullable=False),
    Column("f_datapoints", Integer(), nullable=False),
    # new: not yet in the statistics
    flag("pending"),
    UniqueConstraint("runcat", "xtrsrc"),
    Index(
        "ix_assocxtrsource_pending",
        "runcat",
        sqlite_where=text("pending"),
        postgresql_where=text("pending"),
    ),
)

assocskyrgn = Table(
    "assocskyrgn",
    metadata,
    id_column(BIG),
    link("runcat", "runningcatalog", big=True),
    link("skyrgn", "skyregion"),
    double("distance_deg"),
    UniqueConstraint("runcat", "skyrgn"),
)

newsource = Table(
    "newsource",
    metadata,
    id_column(BIG),
    link("runcat", "runningcatalog", big=True),
    link("trigger_xtrsrc", "extractedsource", big=True),
    link("previous_limits_image", "image", index=False),
    Column("newsource_type", SmallInteger(), nullable=False),
    # new: rms at the position in the previous limits image (Jy/beam), from the backward fit
    double("previous_limits_rms"),
)

varmetric = Table(
    "varmetric",
    metadata,
    id_column(BIG),
    Column("runcat", BIG, ForeignKey("runningcatalog.id"), nullable=False, unique=True),
    double("v_int", index=True),
    double("eta_int"),
    link("band", "frequencyband"),
    Column("newsource", Integer()),
    double("sigma_rms_max", index=True),
    double("sigma_rms_min", index=True),
    double("lightcurve_max", index=True),
    double("lightcurve_avg", index=True),
    double("lightcurve_median", index=True),
    # new: of the same band and Stokes; "all" includes backward fits
    one("stokes"),
    Column("f_datapoints", Integer(), nullable=False, server_default=text("0")),
    *doubles("p_value", "wmean_int", "wmean_int_err"),
    Column("all_datapoints", Integer(), nullable=False, server_default=text("0")),
    *doubles("all_v_int", "all_eta_int", "all_p_value", "all_wmean_int", "all_wmean_int_err"),
    *doubles(*SHAPES),
)

forcedfit = Table(
    "forcedfit",
    metadata,
    id_column(BIG),
    link("dataset", "dataset", index=False),
    link("image", "image", index=False),
    # As extract_type: 1 null detection, 2 monitoring position, 3 backward.
    Column("kind", SmallInteger(), nullable=False),
    link("runcat", "runningcatalog", nullable=True, big=True),
    link("monitor", "monitor", nullable=True),
    # The request that this one inherited its fit from when its source was forked; else itself.
    Column("origin", BIG, nullable=False),
    *doubles("ra", "decl", nullable=False),
    # Type of the association row that the fit gets: 7 or 10; 6 where it was inherited by a fork.
    Column("link_type", SmallInteger(), nullable=False),
    # requested, fitted, failed, skipped; orphan: fitted or failed, waiting whether it is asked for
    # again
    Column("status", String(16), nullable=False),
    Column("reason", String(32), nullable=False, server_default=""),
    double("upper_limit"),
    Column("xtrsrc", BIG, ForeignKey("extractedsource.id"), index=True),
    # A monitoring position's fit that is not in a light curve yet.
    flag("pending"),
    Index(
        "ix_forcedfit_pending",
        "monitor",
        sqlite_where=text("pending"),
        postgresql_where=text("pending"),
    ),
    Index("ix_forcedfit_image_status", "image", "status"),
    Index("ix_forcedfit_dataset_status", "dataset", "status"),
    UniqueConstraint("image", "kind", "runcat", name="uq_forcedfit_source"),
    UniqueConstraint("image", "kind", "monitor", name="uq_forcedfit_monitor"),
)

candidate = Table(
    "candidate",
    metadata,
    id_column(BIG),
    link("dataset", "dataset"),
    Column("runcat", BIG, ForeignKey("runningcatalog.id"), nullable=False, unique=True),
    Column("rank", Integer(), nullable=False),
    Column("kind", String(16), nullable=False),
    double("score", nullable=False),
    double("expected_false", nullable=False),
    Column("reasons", Text(), nullable=False),
    link("first_image", "image", index=False),
    double("peak_jy", nullable=False),
    # Names of the artefacts that it may be, with a space between; the statistic that its score is
    # of, and the band and Stokes of that light curve.
    Column("veto", String(100), nullable=False, server_default=""),
    Column("statistic", String(16), nullable=False, server_default=""),
    link("band", "frequencyband", nullable=True, index=False),
    Column("stokes", SmallInteger()),
)

# new: what the scatter of steady sources says of the errors, as the latest run found it; without
# numbers where there are too few
errormodel = Table(
    "errormodel",
    metadata,
    link("dataset", "dataset"),
    link("band", "frequencyband", primary_key=True),
    Column("stokes", SmallInteger(), primary_key=True, autoincrement=False),
    Column("curves", Integer(), nullable=False),
    double("variable"),
    *doubles("slope", "slope_err", "floor", "floor_err"),
    double("systematic", nullable=False),
    *doubles("false_rate", "false_rate_low", "false_rate_high"),
)

temprunningcatalog = Table(
    "temprunningcatalog",
    metadata,
    id_column(),
    link("runcat", "runningcatalog", big=True),
    link("xtrsrc", "extractedsource", big=True),
    link("dataset", "dataset"),
    link("band", "frequencyband"),
    double("distance_arcsec"),
    double("r", nullable=False),
    one("stokes"),
    Column("datapoints", Integer(), nullable=False),
    Column("zone", Integer(), nullable=False),
    *doubles("wm_ra", "wm_decl", "wm_uncertainty_ew", "wm_uncertainty_ns", nullable=False),
    *doubles("avg_ra_err", "avg_decl_err", "avg_wra", "avg_wdecl", nullable=False),
    *doubles("avg_weight_ra", "avg_weight_decl", "x", "y", "z", nullable=False),
    flag("margin"),
    flag("inactive"),
    *doubles("beam_semimaj", "beam_semimin", "beam_pa"),
    Column("f_datapoints", Integer()),
    *doubles(*_FLUX_MEANS),
)

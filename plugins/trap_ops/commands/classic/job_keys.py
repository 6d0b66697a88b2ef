"""Keys of ``job_params.cfg``: what each is called here, or why it has no meaning here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["number", "whole", "flag", "text"]


@dataclass(frozen=True)
class Key:
    """A key of ``job_params.cfg``.

    Attributes
    ----------
    section, name : str
        Where it is in release 6.
    setting : str
        What it is called here, ``section.key``; empty if there is none.
    kind : str
        What its value must be.
    note : str
        What is different here, or why there is none.
    older : tuple of (str, str)
        Sections and names of it in older releases.
    """

    section: str
    name: str
    setting: str = ""
    kind: Kind = "number"
    note: str = ""
    older: tuple[tuple[str, str], ...] = ()

    @property
    def places(self) -> tuple[tuple[str, str], ...]:
        """All sections and names, the one of release 6 first."""
        return ((self.section, self.name), *self.older)


def _quality(name: str, setting: str, kind: Kind = "number") -> Key:
    return Key("quality", name, f"quality.{setting}", kind, older=(("persistence", name),))


def _beam(name: str, setting: str) -> Key:
    return Key("quality", name, f"quality.{setting}", older=(("quality_lofar", name),))


# Full widths, semi axes and units are the same on both sides, unless the note says otherwise.
KEYS = (
    Key("persistence", "description", kind="text"),
    Key("persistence", "dataset_id", kind="whole"),
    Key(
        "persistence",
        "rms_est_sigma",
        "quality.rms_clip_sigma",
        older=(("persistence", "sigma"), ("quality", "rms_est_sigma")),
    ),
    Key(
        "persistence",
        "rms_est_fraction",
        "quality.rms_fraction",
        "whole",
        older=(("persistence", "f"), ("quality", "rms_est_fraction")),
    ),
    Key("persistence", "bandwidth_max", "images.bandwidth_max_hz"),
    _quality("rms_est_history", "rms_history_images", "whole"),
    _quality("rms_est_max", "rms_max_jy"),
    _quality("rms_est_min", "rms_min_jy"),
    _quality("rms_rej_sigma", "rms_rejection_sigma"),
    _beam("oversampled_x", "beam_max_px"),
    _beam("elliptical_x", "beam_max_ratio"),
    Key("quality_lofar", "low_bound", "quality.noise_low_factor"),
    Key("quality_lofar", "high_bound", "quality.noise_high_factor"),
    Key("quality_lofar", "min_separation", "quality.bright_reject_deg"),
    Key("source_extraction", "detection_threshold", "extraction.detection_threshold_sigma"),
    Key("source_extraction", "analysis_threshold", "extraction.analysis_threshold_sigma"),
    Key("source_extraction", "back_size_x", "extraction.background_cell_px"),
    Key("source_extraction", "back_size_y", "extraction.background_cell_px"),
    Key("source_extraction", "margin", "extraction.margin_px", "whole"),
    Key(
        "source_extraction",
        "deblend_nthresh",
        kind="whole",
        note="islands are always parted at their peaks; extraction.split_blends does more",
    ),
    Key("source_extraction", "extraction_radius_pix", "extraction.radius_px"),
    Key("source_extraction", "force_beam", "extraction.force_beam", "flag"),
    Key(
        "source_extraction",
        "box_in_beampix",
        note="a forced fit takes the pixels that its beam fills",
    ),
    Key("source_extraction", "ew_sys_err", "extraction.ew_sys_err_arcsec"),
    Key("source_extraction", "ns_sys_err", "extraction.ns_sys_err_arcsec"),
    Key(
        "source_extraction",
        "expiration",
        "forced_fits.expiration",
        "whole",
        note="fits that fail count too; all bands count",
    ),
    Key("association", "deruiter_radius", "association.deruiter_radius"),
    Key("association", "beamwidths_limit", "association.beamwidths_limit"),
    Key("transient_search", "new_source_sigma_margin", "new_sources.sigma_margin"),
    Key("pipeline", "mode", kind="text"),
    Key("pipeline", "hosts", kind="text"),
    Key("pipeline", "ports", kind="text"),
)
# Distance to bright sources (degrees) that lofar.toml has, as the classic template; classic TraP
# looked at LOFAR's images alone.
LOFAR_MIN_SEPARATION_DEG = 10.0
# The dataset name that the classic template gives to every job: one for all is one dataset here.
TEMPLATE_DESCRIPTION = "TRAP dataset"

"""Every setting: its name, default, bounds, unit and meaning, once.

``include/configs/default.toml`` holds the same keys with the same defaults; a test compares them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trap_ops.config.headers import AssumeConfig, HeaderConfig, StokesLetter
from trap_ops.config.section import Section


class ImagesConfig(Section):
    """Which files are images, and how their headers are read."""

    data_roots: tuple[str, ...] = Field(
        (),
        description="Only images below these directories and addresses are read; empty: any of "
        "this machine, nothing remote. Set by the site, not by a run.",
    )
    suffixes: tuple[str, ...] = Field(
        (".fits", ".fit", ".fts", ".fits.gz", ".fit.gz", ".fits.fz"),
        min_length=1,
        description="Endings of the files that are taken from a directory (case ignored).",
    )
    bandwidth_max_hz: float = Field(
        0.0,
        ge=0,
        description="If not 0, replaces the bandwidth of every image when bands are assigned.",
    )
    hdu: Annotated[int, Field(ge=0)] | str = Field(
        "first",
        description='HDU that is the image: the "first" one, a number from 0, or an EXTNAME.',
    )
    channels: Literal["only", "all"] | tuple[Annotated[int, Field(ge=0)], ...] = Field(
        "only",
        description='Channels of a cube that are images: "all" or numbers; "only": refused.',
    )
    stokes: Literal["only", "all"] | tuple[StokesLetter, ...] = Field(
        "only",
        description='Stokes planes of a file that are images: "all", or letters; "only": refused.',
    )
    max_pixels: int = Field(
        1_000_000_000, ge=1, description="An image with more pixels is refused."
    )
    assume: tuple[AssumeConfig, ...] = Field(
        (), description="Values for files whose headers lack them."
    )
    header: HeaderConfig = HeaderConfig()


class QualityConfig(Section):
    """When an image is warned of, or rejected, before its sources are used."""

    rms_clip_sigma: float = Field(
        4.0,
        gt=0,
        description="Clip of the pixels that the image's rms is measured from.",
    )
    rms_fraction: int = Field(
        8,
        ge=2,
        description="The central sub-image has a side of 2/this of the image's.",
    )
    rms_min_jy: float = Field(0.0, ge=0, description="Reject an rms at or below this, Jy/beam.")
    rms_max_jy: float = Field(100.0, gt=0, description="Reject an rms at or above this, Jy/beam.")
    rms_history_images: int = Field(
        100,
        ge=2,
        description="Compare the rms with so many accepted images of the band.",
    )
    rms_history_of: Literal["region", "band"] = Field(
        "region",
        description="Compare the rms with images of the same band and sky region, or of the band.",
    )
    rms_rejection_sigma: float = Field(
        3.0,
        gt=0,
        description="Reject an rms so many sigma from the mean of its history.",
    )
    beam_min_px: float = Field(
        2.0,
        ge=0,
        description="Reject a beam whose full width (FWHM) is at most this, pixels.",
    )
    beam_max_px: float = Field(
        30.0,
        gt=0,
        description="Reject a beam with a semi axis (HWHM) above this, pixels.",
    )
    beam_max_ratio: float = Field(
        2.0,
        ge=1,
        description="Reject a beam whose axes differ by more than this ratio.",
    )
    nan_max_fraction: float = Field(
        0.9,
        ge=0,
        lt=1,
        description="Reject an image with more than this fraction without data.",
    )
    nan_warn_fraction: float = Field(
        0.5,
        ge=0,
        lt=1,
        description="Warn of an image with more than this fraction without data.",
    )
    integration_zero: Literal["accept", "warn", "reject"] = Field(
        "accept",
        description="What becomes of an image whose integration time is 0, or not known.",
    )
    noise_low_factor: float = Field(
        1.0, ge=0, description="Reject an rms below this many times the theoretical noise."
    )
    noise_high_factor: float = Field(
        80.0, gt=0, description="Reject an rms above this many times the theoretical noise."
    )
    noise_sefd_jy: float = Field(
        0.0,
        ge=0,
        description="System equivalent flux density of an antenna, Jy; 0: not known. "
        "That of LOFAR follows from its stations.",
    )
    noise_antennas: int = Field(0, ge=0, description="Number of antennas; 0: not known.")
    noise_efficiency: float = Field(
        1.0, gt=0, le=1, description="Efficiency of the correlation of antennas."
    )
    bright_sources: tuple[
        Literal["CasA", "CygA", "TauA", "HerA", "VirA", "Sun", "Moon", "Jupiter"], ...
    ] = Field(
        ("Sun", "Moon"),
        description="Warn of, or reject, images near these; distances to all are stored.",
    )
    bright_warn_deg: float = Field(
        10.0,
        ge=0,
        le=180,
        description="Warn of a bright source closer to the image centre, degrees; 0: never.",
    )
    bright_reject_deg: float = Field(
        0.0,
        ge=0,
        le=180,
        description="Reject a bright source closer to the image centre, degrees; 0: never.",
    )


class MaskCircle(Section):
    """A part of the sky that is not used."""

    ra_deg: float = Field(ge=0, lt=360, description="Right ascension of the centre, ICRS.")
    dec_deg: float = Field(ge=-90, le=90, description="Declination of the centre, ICRS.")
    radius_deg: float = Field(gt=0, le=180, description="Radius.")


class ExtractionConfig(Section):
    """Finding and measuring sources in one image."""

    detection_threshold_sigma: float = Field(
        8.0, gt=0, description="A source has a pixel at or above this, in local rms."
    )
    analysis_threshold_sigma: float = Field(
        3.0, gt=0, description="Pixels above this, in local rms, belong to islands."
    )
    false_detection_rate: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Detect at the threshold at which noise makes this share of the pixels, in "
        "each image; 0: at detection_threshold_sigma.",
    )
    connectivity: Literal[4, 8] = Field(
        8, description="Pixels of an island share sides (4), or sides or corners (8)."
    )
    negative: bool = Field(
        False, description="Find sources below the background too (Stokes V, difference images)."
    )
    margin_px: int = Field(10, ge=0, description="Pixels at the image edge that are not used.")
    radius_px: float = Field(
        0.0, ge=0, description="Use pixels within this distance of the centre; 0: all."
    )
    mask_circles: tuple[MaskCircle, ...] = Field(
        (), description="Parts of the sky that are not used: ra_deg, dec_deg, radius_deg of each."
    )
    background_cell_beams: float = Field(
        12.0,
        gt=0,
        description="Side of a cell of the background grid, in beams (FWHM).",
    )
    background_cell_px: float = Field(
        0.0, ge=0, description="The same in pixels; 0: background_cell_beams decides."
    )
    force_beam: bool = Field(
        True, description="Hold the beam's shape in the fit; else the shape is fitted."
    )
    split_blends: bool = Field(
        False,
        description="Split components with one peak where several beams fit better. Each image "
        "decides by itself, so that light curves of close pairs may jump.",
    )
    resolved_threshold_sigma: float = Field(
        5.0, gt=0, description="Flag a source as resolved from this significance on."
    )
    noise_correlation: Literal["measured", "beam", "smoothed"] = Field(
        "measured",
        description="Autocorrelation of the noise that errors follow from: measured in every "
        "image, the beam (natural weighting), or white noise smoothed with the beam.",
    )
    ew_sys_err_arcsec: Literal["auto"] | float = Field(
        "auto",
        description='Systematic position error east-west, arcsec; "auto": 0.1 beam major axes.',
    )
    ns_sys_err_arcsec: Literal["auto"] | float = Field(
        "auto",
        description='Systematic position error north-south, arcsec; "auto": 0.1 beam major axes.',
    )

    @property
    def circles(self) -> list[tuple[float, float, float]]:
        """Masked circles as plain numbers: right ascension, declination, radius, degrees."""
        return [(item.ra_deg, item.dec_deg, item.radius_deg) for item in self.mask_circles]


class AssociationConfig(Section):
    """Which detection belongs to which sky source."""

    deruiter_radius: float = Field(
        5.68,
        gt=0,
        description="Largest De Ruiter radius of a pair: 5.68 loses one in 1e7.",
    )
    beamwidths_limit: float = Field(
        3.0,
        gt=0,
        description="Largest distance of a pair, in semi-major axes of the beam.",
    )


class ForcedFitsConfig(Section):
    """Fluxes at the positions of sky sources in images that do not show them."""

    forward: bool = Field(True, description="Fit sources in later images where they are not seen.")
    backward: bool = Field(True, description="Fit new sources in the images before their first.")
    backward_max_images: int = Field(
        0, ge=0, description="Fit backward in at most so many latest images; 0: all."
    )
    expiration: Literal["none"] | int = Field(
        "none",
        description='Stop after so many images without a detection (all bands count); "none".',
    )
    joint: bool = Field(
        False,
        description="Fit positions together that are less than two beams apart. Then results "
        "depend on which positions are fitted in one go.",
    )
    upper_limit_sigma: float = Field(
        3.0,
        gt=0,
        description="A fit that is not so many errors above nothing gets an upper limit.",
    )


class NewSourcesConfig(Section):
    """When a source that appears is new and not merely seen for the first time."""

    sigma_margin: float = Field(
        1.0,
        ge=0,
        description="Excess over the detection threshold of the earlier image, sigma.",
    )


class CatalogueChecksConfig(Section):
    """When an image is warned of, or rejected, because it does not fit the dataset's catalogue."""

    min_detections: int = Field(
        3, ge=1, description="Compare with sky sources that have so many detections before."
    )
    min_sources: int = Field(
        20,
        ge=3,
        description="Flux scale and astrometry are measured from at least so many sources.",
    )
    min_snr: float = Field(
        15.0,
        gt=0,
        description="Sources from this significance on have a part in the flux scale.",
    )
    min_images: int = Field(
        10,
        ge=1,
        description="Count sources against, and reject after, at least so many earlier images.",
    )
    history_images: int = Field(
        100, ge=1, description="Compare with so many latest images, at least min_images."
    )
    search_beams: float = Field(
        3.0, ge=1, description="Largest displacement that is looked for, in beams (FWHM)."
    )
    warn_sigma: float = Field(
        5.0, gt=0, description="Warn of a difference from this significance on."
    )
    reject_sigma: float = Field(
        10.0, gt=0, description="Reject a difference from this significance on."
    )
    flux_scale_warn_factor: Literal["none"] | float = Field(
        1.1, description='Warn of fluxes that are off by more than this factor; "none".'
    )
    flux_scale_reject_factor: Literal["none"] | float = Field(
        2.0, description='Reject fluxes that are off by more than this factor; "none".'
    )
    astrometry_warn_beams: Literal["none"] | float = Field(
        0.2, description='Warn of a displacement of more beams (FWHM) than this; "none".'
    )
    astrometry_reject_beams: Literal["none"] | float = Field(
        0.5, description='Reject a displacement of more beams (FWHM) than this; "none".'
    )
    source_count_warn_factor: Literal["none"] | float = Field(
        2.0, description='Warn of so many times more, or fewer, detections than usual; "none".'
    )
    source_count_reject_factor: Literal["none"] | float = Field(
        5.0, description='Reject so many times more detections than usual; "none".'
    )


class VariabilityConfig(Section):
    """With which errors light curves are judged."""

    systematic_flux_error: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description="Systematic error of a flux, as a fraction of it: added in quadrature to the "
        "errors of all points when light curves are judged.",
    )


class CandidatesConfig(Section):
    """Which sky sources become transient candidates."""

    max_expected_false: float = Field(
        0.01,
        gt=0,
        description="A sky of steady sources alone would give so many candidates by chance.",
    )
    min_v: float = Field(
        0.0,
        ge=0,
        description="Least V (standard deviation over mean flux) of a variable.",
    )
    error_uncertainty: float = Field(
        0.03,
        ge=0,
        le=0.5,
        description="Fraction to which the flux errors of a source are known, all together: "
        "without it the eta of very many points tells errors that are 1 per cent off.",
    )
    vetoes: tuple[
        Literal["sidelobe", "edge", "crowded_image", "fixed_pixel", "solar_system", "blend"], ...
    ] = Field(
        ("sidelobe", "edge", "crowded_image", "fixed_pixel", "solar_system", "blend"),
        description="Artefacts that candidates are tried for; those that may be one come last.",
    )
    sidelobe_radius_beams: float = Field(
        5.0, ge=0, description="Sidelobes are so near to their source (beams, FWHM)"
    )
    sidelobe_flux_ratio: float = Field(
        200.0, ge=1, description="and fainter by at least this factor."
    )
    edge_beams: float = Field(
        1.0, ge=0, description="Points are doubtful so near to the border of an image (beams)."
    )
    displacement_beams: float = Field(
        0.1,
        ge=0,
        description="Forced fits at the margin miss their source by so much (beams): the flux that "
        "they lose by it is added to their errors.",
    )
    crowded_image_chance: float = Field(
        1e-3,
        gt=0,
        description="Chance that any image has so many new sources, below which it has too many.",
    )
    crowded_image_sources: int = Field(
        5, ge=2, description="Fewer new sources in an image are never too many."
    )
    fixed_pixel_radius_px: float = Field(
        1.0, gt=0, description="Detections so near to each other in their images (pixels)"
    )
    fixed_pixel_sources: int = Field(
        3, ge=2, description="of so many candidates at different places are one fault."
    )
    solar_system_radius_beams: float = Field(
        1.0, ge=0, description="The Sun, the Moon and planets reach so far beyond their size."
    )
    blend_radius_beams: float = Field(
        2.0, ge=0, description="Neighbours so near can exchange flux with a candidate (beams)."
    )
    blend_least_share: float = Field(
        0.5,
        gt=0,
        lt=1,
        description="Where the flux of all together changes by less than this part of the "
        "candidate's change, or by more than its inverse, the change is not the candidate's.",
    )


class ExecutionConfig(Section):
    """How a run is cut into tasks. Never changes a result."""

    parallel_tasks: int = Field(
        4,
        ge=1,
        description="Cut each mapped stage into at least so many tasks, if it has the images.",
    )
    max_images_per_task: int = Field(
        25, ge=1, description="A task handles at most so many images, up to 1000 tasks."
    )


class ReportConfig(Section):
    """What the run report shows."""

    max_candidates: int = Field(
        50,
        ge=0,
        description="Show light curves and cut-outs of so many best candidates.",
    )
    max_images: int = Field(
        200,
        ge=0,
        description="List all images of a dataset that has at most so many; of a larger one those "
        "that the run worked on.",
    )
    cutout_beams: float = Field(
        12.0, gt=1, description="Side of a cut-out image, in beams (FWHM major axis)."
    )


class Configuration(Section):
    """All settings of a run.

    ``execution`` and ``report`` never change a result and may differ between runs on one dataset;
    all other sections are part of the dataset.
    """

    description: str = Field("", description="What this file is for.")
    telescopes: tuple[str, ...] = Field(
        (),
        description='Values of TELESCOP that the configuration "auto" takes this file for.',
    )
    images: ImagesConfig = ImagesConfig()
    quality: QualityConfig = QualityConfig()
    extraction: ExtractionConfig = ExtractionConfig()
    association: AssociationConfig = AssociationConfig()
    forced_fits: ForcedFitsConfig = ForcedFitsConfig()
    catalogue_checks: CatalogueChecksConfig = CatalogueChecksConfig()
    new_sources: NewSourcesConfig = NewSourcesConfig()
    variability: VariabilityConfig = VariabilityConfig()
    candidates: CandidatesConfig = CandidatesConfig()
    execution: ExecutionConfig = ExecutionConfig()
    report: ReportConfig = ReportConfig()


# Keys of default.toml alone: they guard the site against its users.
SITE_ONLY = (("images", "data_roots"),)
# Sections that change how or where a run works, never what it finds.
NOT_PART_OF_DATASET = ("description", "telescopes", "execution", "report")

"""Images: what their files say, where they are on the sky, how good they are, their noise."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum, StrEnum

from trap_ops.records.arrays import FloatArray
from trap_ops.records.names import one_line

# As FITS counts them: 1 I, 2 Q, 3 U, 4 V.
STOKES_I = 1


@dataclass(frozen=True)
class Beam:
    """Restoring beam: full widths at half maximum, position angle north through east, degrees."""

    bmaj_deg: float
    bmin_deg: float
    bpa_deg: float


@dataclass(frozen=True)
class Plane:
    """Which part of a file is the image.

    Attributes
    ----------
    hdu : int
        Header and data unit of a FITS file, from 0; 0 in other formats.
    index : tuple of int
        Places on the axes beyond the first two, from 0, in numpy's order: the slowest axis first.
    label : str
        What was chosen, in words (``channel 3, Stokes V``); empty where there is no choice.
    """

    hdu: int = 0
    index: tuple[int, ...] = ()
    label: str = ""

    @property
    def text(self) -> str:
        """The whole plane in one line, for :meth:`parse`."""
        return f"{self.hdu}:{','.join(map(str, self.index))}:{self.label}"

    @classmethod
    def parse(cls, text: str) -> Plane:
        """Read what :attr:`text` wrote; of an empty text the plane of a plain image."""
        if not text:
            return cls()
        hdu, index, label = text.split(":", 2)
        return cls(int(hdu), tuple(int(item) for item in index.split(",") if item), label)

    def name_in(self, path: str) -> str:
        """Name of the image in a file: the file's own, and the choice behind it in brackets."""
        return f"{path}[{self.label}]" if self.label else path


@dataclass(frozen=True)
class ArrayInfo:
    """The stations of LOFAR that made an image; None where the header does not say.

    Attributes
    ----------
    antenna_set : str or None
        ``HBA...``, ``LBA_INNER`` and so on.
    n_core, n_remote, n_international : int or None
        Stations.
    subbands : int or None
    subband_width_hz : float or None
    """

    antenna_set: str | None = None
    n_core: int | None = None
    n_remote: int | None = None
    n_international: int | None = None
    subbands: int | None = None
    subband_width_hz: float | None = None


# Metres from each dipole to its nearest neighbour, by kind of station and antenna set.
DipoleDistances = Mapping[str, Mapping[str, FloatArray]]


@dataclass(frozen=True)
class ImageFile:
    """What a file and its header say of an image.

    Attributes
    ----------
    path : str
        Absolute path, or address of a remote file.
    file_name : str
        Base name; part of an image's natural key.
    file_size, file_mtime_ns : int
        Bytes; nanoseconds since 1970, 0 where a remote file has no time.
    header_sha256 : str
        Of the header's cards.
    telescope : str
        TELESCOP, empty if absent.
    stokes : int
        1 to 4 for I, Q, U, V; other FITS codes as they are.
    freq_eff_hz, freq_bw_hz : float
    start : datetime
        UTC, without a zone.
    integration_s : float
    beam : Beam
    pixel_matrix_deg : tuple of tuple of float
        Degrees (east, north) per pixel (x, y).
    nx, ny : int
    sky_ra_deg, sky_dec_deg : tuple of float
        Of the centre (pixel (nx/2, ny/2), counted from 0) and the four corners; NaN off the sky.
    notes : tuple of str
        What was missing and assumed.
    plane : Plane
        Of a file with several images: which one this is.
    array : ArrayInfo
    """

    path: str
    file_name: str
    file_size: int
    file_mtime_ns: int
    header_sha256: str
    telescope: str
    stokes: int
    freq_eff_hz: float
    freq_bw_hz: float
    start: datetime
    integration_s: float
    beam: Beam
    pixel_matrix_deg: tuple[tuple[float, float], tuple[float, float]]
    nx: int
    ny: int
    sky_ra_deg: tuple[float, ...]
    sky_dec_deg: tuple[float, ...]
    notes: tuple[str, ...] = ()
    plane: Plane = Plane()
    array: ArrayInfo = ArrayInfo()


@dataclass(frozen=True)
class Geometry:
    """An image's pixels, beam and field, as the results tables keep them.

    Attributes
    ----------
    deltax_deg, deltay_deg : float
        Pixel size with sign.
    beam_semimajor_deg, beam_semiminor_deg : float
        Half widths (HWHM) on the sky.
    centre_ra_deg, centre_dec_deg : float
    corner_distance_deg : float
        From the centre to the farthest corner.
    """

    deltax_deg: float
    deltay_deg: float
    beam_semimajor_deg: float
    beam_semiminor_deg: float
    centre_ra_deg: float
    centre_dec_deg: float
    corner_distance_deg: float


@dataclass(frozen=True)
class ImageRow:
    """An image of a dataset as the stages need it; NaN for what is not measured yet."""

    id: int
    path: str
    file_name: str
    file_size: int
    file_mtime_ns: int
    header_sha256: str
    content_sha256: str | None
    telescope: str
    start: datetime
    integration_s: float
    band: int
    region: int
    stokes: int
    freq_eff_hz: float
    freq_bw_hz: float
    beam_semimajor_deg: float
    beam_semiminor_deg: float
    beam_pa_deg: float
    deltax_deg: float
    deltay_deg: float
    centre_ra_deg: float
    centre_dec_deg: float
    corner_distance_deg: float
    nx: int
    ny: int
    rms_qc_jy: float
    nan_fraction: float
    data_min_jy: float
    data_max_jy: float
    rms_min_jy: float
    rms_max_jy: float
    detection_threshold_sigma: float
    verdict: str | None
    plane: Plane = Plane()
    array: ArrayInfo = ArrayInfo()

    @property
    def order(self) -> tuple[datetime, float, int, str, str, str]:
        """Canonical order of images (SCIENCE.md D19); of equal copies, order of their paths."""
        return (
            self.start,
            self.freq_eff_hz,
            self.stokes,
            self.file_name,
            self.content_sha256 or self.header_sha256,
            self.plane.name_in(self.path),
        )

    @property
    def shown_name(self) -> str:
        """Name of the image for messages and logs."""
        return one_line(self.plane.name_in(self.file_name))


@dataclass(frozen=True)
class ImageQuality:
    """What the quality checks need of an image's pixels.

    Attributes
    ----------
    rms_jy : float
        Jy/beam, in the centre; NaN without valid pixels there.
    nan_fraction : float
        Of all pixels: NaN or Inf.
    min_jy, max_jy : float
        Range of the valid pixels; NaN without any.
    """

    rms_jy: float
    nan_fraction: float
    min_jy: float
    max_jy: float


class RejectReason(IntEnum):
    """Why an image is not used: id in table ``rejectreason``. 0 to 5 are the classic ones."""

    RMS_INVALID = 0
    BEAM_INVALID = 1
    BRIGHT_SOURCE_NEAR = 2
    TAU_TIME_INVALID = 3
    CONTAINS_NAN = 4
    DATA_FLAT = 5
    FILE_UNUSABLE = 6
    DUPLICATE = 7
    NO_NOISE = 8
    FLUX_SCALE = 9
    ASTROMETRY = 10
    SOURCE_COUNT = 11


# Against the dataset's own catalogue; given by ``associate``, all others by the stages before it.
CATALOGUE_REASONS = (RejectReason.FLUX_SCALE, RejectReason.ASTROMETRY, RejectReason.SOURCE_COUNT)


class CheckResult(StrEnum):
    """What came out of one quality check."""

    ACCEPTED = "accepted"
    WARNED = "warned"
    REJECTED = "rejected"
    NOT_MADE = "not made"


@dataclass(frozen=True)
class Check:
    """One quality check on one image.

    Attributes
    ----------
    name : str
        At most 32 characters; once an image.
    result : CheckResult
        ``NOT_MADE`` where something that it needs is missing; the comment says what.
    measured : float
        NaN where nothing was measured.
    low, high : float
        Limits that decided the result; NaN where there is none.
    unit : str
        Of these three; empty for plain numbers.
    comment : str
        Measured value and limit in words; empty if accepted and there is nothing to say.
    reason : RejectReason or None
        Of a rejection.
    """

    name: str
    result: CheckResult
    measured: float = math.nan
    low: float = math.nan
    high: float = math.nan
    unit: str = ""
    comment: str = ""
    reason: RejectReason | None = None


@dataclass(frozen=True)
class Verdict:
    """Judgement on one image: a value, not an exception.

    Attributes
    ----------
    accepted : bool
    reason : RejectReason or None
        None if accepted.
    comment : str
        Measured value and limit in words.
    """

    accepted: bool
    reason: RejectReason | None = None
    comment: str = ""


@dataclass(frozen=True)
class Band:
    """A frequency interval in Hz. It never grows after its first image."""

    central_hz: float
    low_hz: float
    high_hz: float


@dataclass(frozen=True)
class Region:
    """A circle on the sky, degrees."""

    ra_deg: float
    dec_deg: float
    radius_deg: float


@dataclass(frozen=True)
class NoiseGrid:
    """Background and rms at the centres of cells, bilinear between them, constant beyond them.

    Attributes
    ----------
    background, rms : numpy.ndarray, (gy, gx)
        In the units of the image.
    x0, y0 : float
        Pixel coordinates (0-based) of the first node.
    step_x, step_y : float
        Distance of nodes in pixels.
    """

    background: FloatArray
    rms: FloatArray
    x0: float
    y0: float
    step_x: float
    step_y: float


@dataclass(frozen=True)
class Autocorrelation:
    """Correlation of the noise between pixels, as a function of their offset.

    Attributes
    ----------
    values : numpy.ndarray, (2 L + 1, 2 L + 1)
        At integer offsets (dy, dx) from -L to L; 1 at the centre; 0 beyond.
    measured : bool
        False where the image is too small to measure it and the beam stands in.
    """

    values: FloatArray
    measured: bool


@dataclass(frozen=True)
class Coverage:
    """Which pixels of an image are used, and where they are on the sky. Equal ones are alike.

    Attributes
    ----------
    wcs : str
        Celestial axes, as the cards of a FITS header.
    nx, ny : int
    beam_covariance_px : tuple of float, (4,)
        Of the beam, over pixel offsets (x, y): row by row.
    changes : bytes
        Little-endian 64-bit integers: pixels, counted row by row, from which on pixels are used,
        then not used, and so on.
    """

    wcs: str
    nx: int
    ny: int
    beam_covariance_px: tuple[float, ...]
    changes: bytes


@dataclass(frozen=True)
class NoiseModel:
    """What measuring at any position of an image needs beside its pixels.

    Attributes
    ----------
    grid : NoiseGrid
    correlation : Autocorrelation
    rms_min, rms_max : float
        Range of the rms over unmasked pixels, units of the image.
    """

    grid: NoiseGrid
    correlation: Autocorrelation
    rms_min: float
    rms_max: float

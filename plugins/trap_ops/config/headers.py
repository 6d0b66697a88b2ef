"""How headers are read: keywords for each quantity, and values where they are missing."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field, NaiveDatetime, StringConstraints, model_validator

from trap_ops.config.section import Section

# Units that keywords may be in, and how many of the quantity's own unit each is.
HZ_PER_UNIT = {"Hz": 1.0, "kHz": 1e3, "MHz": 1e6, "GHz": 1e9}
SECONDS_PER_UNIT = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "min": 60.0, "h": 3600.0, "d": 86400.0}
DEG_PER_UNIT = {
    "deg": 1.0,
    "arcmin": 1 / 60,
    "arcsec": 1 / 3600,
    "mas": 1 / 3.6e6,
    "rad": 57.29577951308232,
}
_NAME = r"[A-Za-z0-9_-]+( [A-Za-z0-9_-]+)*"


def _keyword(units: str) -> StringConstraints:
    return StringConstraints(pattern=rf"^{_NAME}(:({units}))?$")


Keyword = Annotated[str, StringConstraints(pattern=f"^{_NAME}$")]
TimeKeyword = Annotated[str, _keyword("UTC|MJD|JD")]
DurationKeyword = Annotated[str, _keyword("|".join(SECONDS_PER_UNIT))]
FrequencyKeyword = Annotated[str, _keyword("|".join(HZ_PER_UNIT))]
AngleKeyword = Annotated[str, _keyword("|".join(DEG_PER_UNIT))]
StokesLetter = Literal["I", "Q", "U", "V", "RR", "LL", "RL", "LR", "XX", "YY", "XY", "YX"]


class HeaderConfig(Section):
    """Keywords to look for, in this order; the first that holds a usable value is taken.

    ``KEY`` is in the unit of the quantity's name, ``KEY:unit`` in another one.
    """

    telescope: tuple[Keyword, ...] = Field(("TELESCOP",), description="Name of the telescope.")
    start: tuple[TimeKeyword, ...] = Field(
        ("DATE-BEG", "DATE-OBS", "MJD-BEG:MJD", "MJD-OBS:MJD"),
        description="Start: dates, or with :MJD and :JD days; :UTC whatever the time scale says.",
    )
    middle: tuple[TimeKeyword, ...] = Field(
        ("DATE-AVG", "MJD-AVG:MJD"),
        description="Middle, where there is no start: half the integration time after it.",
    )
    end: tuple[TimeKeyword, ...] = Field(
        ("DATE-END", "END_UTC:UTC", "MJD-END:MJD"),
        description="End: gives the integration time, or from it the start, where one is missing.",
    )
    time_scale: tuple[Keyword, ...] = Field(
        ("TIMESYS",), description="Time scale of dates: UTC, TAI, TT, TDB, GPS and so on."
    )
    integration_s: tuple[DurationKeyword, ...] = Field(
        ("TAU_TIME", "XPOSURE", "EXPTIME", "EXPOSURE", "TELAPSE", "DURATION", "INTTIME"),
        description="Integration time, s.",
    )
    frequency_hz: tuple[FrequencyKeyword, ...] = Field(
        ("RESTFRQ", "RESTFREQ", "OBSFREQ", "CRFREQ", "FREQ"),
        description="Frequency where there is no spectral axis, Hz.",
    )
    bandwidth_hz: tuple[FrequencyKeyword, ...] = Field(
        ("RESTBW", "BANDWIDT", "BANDWID", "BANDWIDTH", "BW"),
        description="Bandwidth where the spectral axis has none, Hz.",
    )
    beam_deg: tuple[tuple[AngleKeyword, AngleKeyword, AngleKeyword], ...] = Field(
        (("BMAJ", "BMIN", "BPA"), ("CLEANBMJ", "CLEANBMN", "CLEANBPA")),
        description="Major and minor axis (full widths) and position angle of the beam.",
    )
    beam_history: tuple[str, ...] = Field(
        (
            "\\s+".join(
                rf"{name.upper()}\s*=\s*(?P<{name}>[-+.0-9EDed]+)"
                for name in ("bmaj", "bmin", "bpa")
            ),
        ),
        description="Beam in HISTORY: expressions with groups bmaj, bmin and bpa, degrees.",
    )
    unit: tuple[Keyword, ...] = Field(("BUNIT",), description="Unit of the pixels.")
    antenna_set: tuple[Keyword, ...] = Field(("ANTENNA",), description="LOFAR's antenna set.")
    n_core: tuple[Keyword, ...] = Field(("NCORE",), description="LOFAR's core stations.")
    n_remote: tuple[Keyword, ...] = Field(("NREMOTE",), description="LOFAR's remote stations.")
    n_international: tuple[Keyword, ...] = Field(
        ("NINTL",), description="LOFAR's international stations."
    )
    subbands: tuple[Keyword, ...] = Field(("SUBBANDS",), description="LOFAR's subbands.")
    subband_width_hz: tuple[FrequencyKeyword, ...] = Field(
        ("SUBBANDW",), description="Width of a subband of LOFAR, Hz."
    )

    @model_validator(mode="after")
    def _expressions(self) -> Self:
        for text in self.beam_history:
            try:
                groups = re.compile(text).groupindex.keys()
            except re.error as error:
                msg = f"beam_history: {text!r} is no regular expression: {error}"
                raise ValueError(msg) from error
            if not {"bmaj", "bmin", "bpa"} <= groups:
                msg = f"beam_history: {text!r} lacks a group of bmaj, bmin and bpa"
                raise ValueError(msg)
        return self


class AssumeConfig(Section):
    """Values for files whose headers lack them."""

    files: str = Field(
        "*",
        min_length=1,
        description="Pattern of the base name, or of the whole path if it has a slash.",
    )
    telescope: str = Field("", description="Only for images of this TELESCOP; empty: any.")
    replace: bool = Field(False, description="Also where the header has a value.")
    telescope_name: str | None = Field(None, max_length=64, description="Name of the telescope.")
    start: NaiveDatetime | None = Field(None, description="Start, UTC: 2024-01-01T00:00:00.")
    integration_s: float | None = Field(None, ge=0, le=1e10, description="Integration time, s.")
    freq_eff_hz: float | None = Field(None, ge=1e3, le=1e16, description="Frequency, Hz.")
    freq_bw_hz: float | None = Field(None, gt=0, le=1e16, description="Bandwidth, Hz.")
    bmaj_deg: float | None = Field(None, gt=0, le=180, description="Beam, full width, deg.")
    bmin_deg: float | None = Field(None, gt=0, le=180, description="Beam, full width, deg.")
    bpa_deg: float | None = Field(None, ge=-360, le=360, description="Its position angle, deg.")
    stokes: StokesLetter | None = Field(None, description="Stokes parameter.")
    unit: str | None = Field(None, description="Unit of the pixels.")
    antenna_set: str | None = Field(None, description="LOFAR's antenna set.")
    n_core: int | None = Field(None, ge=0, description="LOFAR's core stations.")
    n_remote: int | None = Field(None, ge=0, description="LOFAR's remote stations.")
    n_international: int | None = Field(None, ge=0, description="LOFAR's international stations.")
    subbands: int | None = Field(None, ge=0, description="LOFAR's subbands.")
    subband_width_hz: float | None = Field(None, gt=0, description="Width of a subband, Hz.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.bmaj_deg is None) != (self.bmin_deg is None) or (
            self.bpa_deg is not None and self.bmaj_deg is None
        ):
            msg = "a beam needs bmaj_deg and bmin_deg (and bpa_deg unless it is round)"
            raise ValueError(msg)
        return self

"""Headers as the programs that make images write them: which cards, in which order and dialect."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from numpy.typing import NDArray

from trap_ops.records.images import Beam
from trap_ops.simulate.headers_sky import Placing
from trap_ops.simulate.headers_variant import Variant, plane_values, variant

# What is true of images that do not say how long they were integrated.
NO_EXPOSURE: dict[str, Any] = {"integration_s": 0.0, "notes": ("integration",)}


@dataclass(frozen=True)
class Field:
    """What a maker of images is told.

    Attributes
    ----------
    telescope, target : str
    date : str
        As it is to stand in DATE-OBS.
    placing : Placing
    beam : Beam
    frequency_hz, bandwidth_hz : float
    stokes : int
    """

    telescope: str
    target: str
    date: str
    placing: Placing
    beam: Beam
    frequency_hz: float
    bandwidth_hz: float
    stokes: int = 1


def _beam(beam: Beam) -> dict[str, Any]:
    return {"BMAJ": beam.bmaj_deg, "BMIN": beam.bmin_deg, "BPA": beam.bpa_deg}


def _spectral(field: Field, axis: int, unit: str | None = "Hz") -> dict[str, Any]:
    return {
        f"CTYPE{axis}": "FREQ",
        f"CRPIX{axis}": 1.0,
        f"CRVAL{axis}": field.frequency_hz,
        f"CDELT{axis}": field.bandwidth_hz,
        f"CUNIT{axis}": unit,
    }


def _stokes(field: Field, axis: int, unit: str | None = "") -> dict[str, Any]:
    return {
        f"CTYPE{axis}": "STOKES",
        f"CRPIX{axis}": 1.0,
        f"CRVAL{axis}": float(field.stokes),
        f"CDELT{axis}": 1.0,
        f"CUNIT{axis}": unit,
    }


def _identity(spelling: str, axes: int) -> dict[str, float]:
    """A PC matrix that does nothing, in a spelling of its own."""
    return {
        spelling.format(row, column): float(row == column)
        for column in range(1, axes + 1)
        for row in range(1, axes + 1)
    }


def wsclean(field: Field) -> dict[str, Any]:
    """WSClean: no exposure, no RADESYS, the spectral axis says centre and width of the channel."""
    return {
        "BSCALE": 1.0,
        "BZERO": 0.0,
        "BUNIT": "JY/BEAM",
        **_beam(field.beam),
        "EQUINOX": 2000.0,
        "BTYPE": "Intensity",
        "TELESCOP": field.telescope,
        "OBSERVER": "unknown",
        "OBJECT": field.target,
        "ORIGIN": "WSClean",
        **field.placing.cards(),
        **_spectral(field, 3),
        **_stokes(field, 4),
        "SPECSYS": "TOPOCENT",
        "DATE-OBS": field.date,
        "WSCDATAC": "CORRECTED_DATA",
        "WSCVERSI": "3.4",
        "WSCWEIGH": "Briggs'(-0.5)",
        "WSCFIELD": 0.0,
        "WSCNITER": 50000.0,
        "WSCMAJOR": 4.0,
        "WSCNVIS": 1234567.0,
        "WSCIMGWG": 98765.0,
    }


WSCLEAN_HISTORY = ("wsclean -name snapshot -size 4096 4096 -scale 5asec -niter 50000 night.ms",)


def casa(field: Field, *, stokes_first: bool = True, scale: str = "UTC") -> dict[str, Any]:
    """CASA's exportfits: no exposure, PC matrix in an old spelling, RESTFRQ beside the axis."""
    third, fourth = (4, 3) if stokes_first else (3, 4)
    return {
        "BSCALE": 1.0,
        "BZERO": 0.0,
        **_beam(field.beam),
        "BTYPE": "Intensity",
        "OBJECT": field.target,
        "BUNIT": "Jy/beam",
        "EQUINOX": 2000.0,
        "RADESYS": "FK5",
        "LONPOLE": 180.0,
        "LATPOLE": field.placing.lat_deg,
        **_identity("PC{:02d}_{:02d}", 4),
        **field.placing.cards(),
        **dict(sorted((_stokes(field, fourth) | _spectral(field, third)).items())),
        "PV2_1": 0.0,
        "PV2_2": 0.0,
        "RESTFRQ": field.frequency_hz,
        "SPECSYS": "LSRK",
        "ALTRVAL": -0.0,
        "ALTRPIX": 1.0,
        "VELREF": 257,
        "COMMENT": "casacore non-standard usage: 4 LSD, 5 GEO, 6 SOU, 7 GAL",
        "TELESCOP": field.telescope,
        "OBSERVER": "somebody",
        "DATE-OBS": field.date,
        "TIMESYS": scale,
        "OBSRA": field.placing.lon_deg,
        "OBSDEC": field.placing.lat_deg,
        "DATE": "2024-05-01T12:00:00.000000",
        "ORIGIN": "CASA 6.5.4",
    }


CASA_HISTORY = (
    "CASA START LOGTABLE",
    "2024-05-01T12:00:00 INFO SRCCODE='::tclean'",
    "2024-05-01T12:00:00 INFO Restoring with beam: 1 by 1 (arcsec)",
    "CASA END LOGTABLE",
)


def aips(field: Field, epoch: float = 2000.0) -> dict[str, Any]:
    """AIPS: EPOCH, CROTA, no CUNIT, no time scale, often a date without time; beam in HISTORY."""
    cards = {key: value for key, value in field.placing.cards().items() if key[:5] != "CUNIT"}
    return {
        "BLOCKED": True,
        "OBJECT": field.target,
        "TELESCOP": field.telescope,
        "INSTRUME": field.telescope,
        "OBSERVER": "AB123",
        "DATE-OBS": field.date,
        "DATE-MAP": "2024-05-01",
        "BSCALE": 1.0,
        "BZERO": 0.0,
        "BUNIT": "JY/BEAM",
        "EPOCH": epoch,
        "VELREF": 3,
        "ALTRPIX": 1.0,
        "OBSRA": field.placing.lon_deg,
        "OBSDEC": field.placing.lat_deg,
        "RESTFREQ": field.frequency_hz,
        "DATAMAX": 1.5,
        "DATAMIN": -0.2,
        **cards,
        "CROTA1": 0.0,
        "CROTA2": 0.0,
        **_spectral(field, 3, None),
        "CROTA3": 0.0,
        **_stokes(field, 4, None),
        "CROTA4": 0.0,
        "ORIGIN": "AIPS",
    }


def aips_history(beam: Beam) -> tuple[str, ...]:
    """HISTORY of AIPS with the record of CLEAN, which rounds the beam."""
    axes = f"BMAJ={beam.bmaj_deg:12.4E} BMIN={beam.bmin_deg:12.4E}"
    return (
        "FITLD OUTNAME ='FIELD       '     OUTCLASS='ICL001'",
        "IMAGR RELEASE ='31DEC23'",
        "IMAGR BMAJ=  0.00  BMIN=  0.00 /fitted",
        f"AIPS   CLEAN {axes} BPA={beam.bpa_deg:7.2f}",
        "AIPS   CLEAN NITER=     5000 PRODUCT=1   / NORMAL",
    )


def obit(field: Field) -> dict[str, Any]:
    """Obit's MFImage: AIPS' dialect with CLEANBMJ, a SPECLNMF axis, both EPOCH and EQUINOX."""
    return {
        **aips(field),
        "CTYPE3": "SPECLNMF",
        "EQUINOX": 2000.0,
        "CLEANBMJ": field.beam.bmaj_deg,
        "CLEANBMN": field.beam.bmin_deg,
        "CLEANBPA": field.beam.bpa_deg,
        "NTERM": 2,
        "NSPEC": 14,
        "FREQ0001": 886e6,
        "FREL0001": 856e6,
        "FREH0001": 916e6,
        "ORIGIN": "Obit",
    }


def miriad(field: Field) -> dict[str, Any]:
    """Miriad: EPOCH, RESTFREQ, no CUNIT, no exposure, BMAJ in degrees."""
    cards = {key: value for key, value in field.placing.cards().items() if key[:5] != "CUNIT"}
    return {
        "BSCALE": 1.0,
        "BZERO": 0.0,
        **_beam(field.beam),
        "BTYPE": "intensity",
        "BUNIT": "JY/BEAM",
        **cards,
        **_spectral(field, 3, None),
        **_stokes(field, 4, None),
        "CELLSCAL": "CONSTANT",
        "DATE-OBS": field.date,
        "EPOCH": 2000.0,
        "LTYPE": "channel",
        "NITERS": 4000,
        "OBJECT": field.target,
        "OBSERVER": "observer",
        "OBSRA": field.placing.lon_deg,
        "OBSDEC": field.placing.lat_deg,
        "RESTFREQ": field.frequency_hz,
        "TELESCOP": field.telescope,
        "VELREF": 0,
        "ORIGIN": "Miriad fits: version 1.1",
    }


def flat(cards: dict[str, Any]) -> dict[str, Any]:
    """Without the axes beyond the second: two axes, as mosaicking programs leave them."""
    gone = ("CTYPE", "CRVAL", "CRPIX", "CDELT", "CUNIT", "CROTA")
    return {key: value for key, value in cards.items() if key[:5] not in gone or key[5:] in "12"}


def made_by(
    name: str,
    what: str,
    field: Field,
    cards: dict[str, Any],
    start: datetime,
    *,
    data: NDArray[Any] | None = None,
    **more: Any,  # noqa: ANN401 - as variant takes them
) -> Variant:
    """A variant with the whole header of a maker, and what the maker was told as the truth."""
    truth = {
        "start": start,
        "frequency_hz": field.frequency_hz,
        "bandwidth_hz": field.bandwidth_hz,
        "beam": field.beam,
        "stokes": field.stokes,
    }
    if data is None:
        axes = max(int(key[5:]) for key in cards if key.startswith("CRPIX"))
        data = plane_values().reshape((1,) * (axes - 2) + plane_values().shape)
    return variant(
        name, what, cards, placing=field.placing, whole=True, data=data, **{**truth, **more}
    )


def utc(text: str) -> datetime:
    """Read a date and time."""
    return datetime.fromisoformat(text)


def pixels(arcsec: float) -> tuple[float, float]:
    """CDELT of square pixels of a size."""
    return (-arcsec / 3600.0, arcsec / 3600.0)

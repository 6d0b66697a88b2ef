"""Variants of how headers say the beam, the frequency, the unit and the Stokes parameter."""

from __future__ import annotations

from typing import Any

import numpy as np

from trap_ops.records.images import Beam
from trap_ops.simulate.headers_variant import (
    BANDWIDTH_HZ,
    FREQUENCY_HZ,
    Variant,
    plane_values,
    variant,
)

_NO_BEAM = {"BMAJ": None, "BMIN": None, "BPA": None}
_NO_FREQUENCY = {"RESTFRQ": None, "RESTBW": None}
_LIGHT_M_S = 299792458.0
_HYDROGEN_HZ = 1420405751.77


def beams() -> list[Variant]:
    """How headers say the beam."""
    aips = "AIPS   CLEAN BMAJ=  8.3333E-03 BMIN=  5.5556E-03 BPA=  40.00"
    of_aips = Beam(8.3333e-3, 5.5556e-3, 40.0)
    fitted = Beam(0.01, 0.004, -33.5)
    return [
        variant("beam-plain", "BMAJ, BMIN and BPA in degrees"),
        variant(
            "beam-round",
            "A round beam without BPA, as Miriad writes it",
            {"BMIN": 30.0 / 3600.0, "BPA": None},
            beam=Beam(30.0 / 3600.0, 30.0 / 3600.0, 0.0),
        ),
        variant(
            "beam-as-text",
            "Numbers of the beam written as text",
            {"BMAJ": "0.01", "BMIN": "4.0E-03", "BPA": "-33.5"},
            beam=fitted,
        ),
        variant(
            "beam-aips-history",
            "The beam only in the record of CLEAN of AIPS in HISTORY",
            _NO_BEAM,
            history=("AIPS   IMNAME='FIELD       '", aips, "AIPS   CLEAN NITER=   10000"),
            beam=of_aips,
        ),
        variant(
            "beam-aips-convl",
            "A convolution's beam in arcsec stands in HISTORY before the record of CLEAN",
            _NO_BEAM,
            history=("CONVL BMAJ=  5.0000 BMIN=  5.0000 BPA=   0.0/Output beam", aips),
            beam=of_aips,
        ),
        variant(
            "beam-aips-exponents",
            "Exponents of Fortran's double precision in HISTORY",
            _NO_BEAM,
            history=("AIPS   CLEAN BMAJ=  1.0000D-02 BMIN=  4.0000D-03 BPA= -33.50",),
            beam=fitted,
        ),
        variant(
            "beam-header-before-history",
            "Keywords and HISTORY disagree: the keywords describe the image as it is",
            {"BMAJ": 0.01, "BMIN": 0.004, "BPA": -33.5},
            history=(aips,),
            beam=fitted,
        ),
        variant(
            "beam-obit",
            "CLEANBMJ, CLEANBMN and CLEANBPA of Obit",
            {**_NO_BEAM, "CLEANBMJ": 0.01, "CLEANBMN": 0.004, "CLEANBPA": -33.5},
            beam=fitted,
        ),
        variant(
            "beam-keywords-in-arcsec",
            "A telescope's own keywords, in arcsec, named by the configuration",
            {**_NO_BEAM, "BEAMMAJ": 36.0, "BEAMMIN": 14.4, "BEAMPA": -33.5},
            settings={
                "images": {
                    "header": {
                        "beam_deg": [
                            ["BMAJ", "BMIN", "BPA"],
                            ["BEAMMAJ:arcsec", "BEAMMIN:arcsec", "BEAMPA"],
                        ]
                    }
                }
            },
            beam=fitted,
        ),
        variant(
            "beam-assumed",
            "No beam anywhere; the configuration has it for files of this name",
            _NO_BEAM,
            settings={
                "images": {
                    "assume": [
                        {"files": "other-*", "bmaj_deg": 0.5, "bmin_deg": 0.5},
                        {
                            "files": "beam-assumed*",
                            "bmaj_deg": 0.01,
                            "bmin_deg": 0.004,
                            "bpa_deg": -33.5,
                        },
                    ]
                }
            },
            beam=fitted,
            notes=("beam",),
        ),
        variant("beam-none", "No beam anywhere", _NO_BEAM, refused=("beam",)),
    ]


def _axis(number: int, ctype: str, value: float, step: float, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - values of cards
    return {
        f"CTYPE{number}": ctype,
        f"CRVAL{number}": value,
        f"CDELT{number}": step,
        f"CRPIX{number}": more.get("crpix", 1.0),
        f"CUNIT{number}": more.get("unit", "Hz"),
    }


def _stokes_axis(number: int, value: float = 1.0, crpix: float = 1.0) -> dict[str, Any]:
    return _axis(number, "STOKES", value, 1.0, crpix=crpix, unit="")


def frequencies() -> list[Variant]:
    """How headers say frequency and bandwidth."""
    flat4 = plane_values()[np.newaxis, np.newaxis]
    on_axis_3 = {**_NO_FREQUENCY, **_stokes_axis(4)}
    made = [
        variant("freq-restfrq", "RESTFRQ and RESTBW, no spectral axis"),
        variant(
            "freq-restfreq",
            "RESTFREQ, the spelling of AIPS, and no bandwidth",
            {**_NO_FREQUENCY, "RESTFREQ": 325e6},
            frequency_hz=325e6,
            bandwidth_hz=1e6,
            notes=("bandwidth",),
        ),
        variant(
            "freq-axis-before-restfrq",
            "A spectral axis and another RESTFRQ: the axis is the image's own",
            {"RESTFRQ": 1.42e9, "RESTBW": 5e6, **_axis(3, "FREQ", 144e6, 48e6), **_stokes_axis(4)},
            data=flat4,
            frequency_hz=144e6,
            bandwidth_hz=48e6,
        ),
        variant(
            "freq-axis-3",
            "FREQ on axis 3, STOKES on axis 4",
            {**on_axis_3, **_axis(3, "FREQ", 144e6, 48e6)},
            data=flat4,
            frequency_hz=144e6,
            bandwidth_hz=48e6,
        ),
        variant(
            "freq-axis-4",
            "STOKES on axis 3, FREQ on axis 4",
            {**_NO_FREQUENCY, **_stokes_axis(3), **_axis(4, "FREQ", 144e6, 48e6)},
            data=flat4,
            frequency_hz=144e6,
            bandwidth_hz=48e6,
        ),
        variant(
            "freq-negative-step",
            "Channels that count down: the bandwidth is positive all the same",
            {**on_axis_3, **_axis(3, "FREQ", 144e6, -48e6)},
            data=flat4,
            frequency_hz=144e6,
            bandwidth_hz=48e6,
        ),
        variant(
            "freq-crpix",
            "The reference of the spectral axis is not the image's channel",
            {**on_axis_3, **_axis(3, "FREQ", 144e6, 2e6, crpix=5.5)},
            data=flat4,
            frequency_hz=135e6,
            bandwidth_hz=2e6,
        ),
        variant(
            "freq-axis-not-there",
            "Two axes, but cards of a third that says the frequency",
            {**on_axis_3, **_axis(3, "FREQ", 1.2841e9, 544e6)},
            frequency_hz=1.2841e9,
            bandwidth_hz=544e6,
        ),
        variant(
            "freq-specification-of-obit",
            "SPECLNMF, the spectral axis of Obit's MFImage, in Hz",
            {**on_axis_3, **_axis(3, "SPECLNMF", 1.284e9, 54.6e6)},
            data=flat4,
            frequency_hz=1.284e9,
            bandwidth_hz=54.6e6,
        ),
        variant(
            "freq-keyword",
            "The frequency in the keyword FREQ, without any axis (GLEAM-X mosaics)",
            {**_NO_FREQUENCY, "FREQ": 200.315e6},
            frequency_hz=200.315e6,
            bandwidth_hz=1e6,
            notes=("bandwidth",),
        ),
        variant(
            "freq-keywords-in-mhz",
            "A telescope's own keywords, in MHz, named by the configuration",
            {**_NO_FREQUENCY, "FREQUENC": 60.25, "FREQWID": 0.195},
            settings={
                "images": {
                    "header": {"frequency_hz": ["FREQUENC:MHz"], "bandwidth_hz": ["FREQWID:MHz"]}
                }
            },
            frequency_hz=60.25e6,
            bandwidth_hz=195e3,
        ),
        variant(
            "freq-assumed",
            "No frequency anywhere; the configuration has it",
            _NO_FREQUENCY,
            settings={"images": {"assume": [{"freq_eff_hz": 144e6, "freq_bw_hz": 48e6}]}},
            frequency_hz=144e6,
            bandwidth_hz=48e6,
            notes=("freq_eff_hz", "freq_bw_hz"),
        ),
        variant("freq-none", "No frequency anywhere", _NO_FREQUENCY, refused=("frequency",)),
    ]
    for name, unit, factor in (
        ("khz", "kHz", 1e3),
        ("mhz", "MHz", 1e6),
        ("ghz", "GHz", 1e9),
        ("capitals", "HZ", 1.0),
    ):
        made.append(
            variant(
                f"freq-axis-in-{name}",
                f"The spectral axis in {unit}",
                {**on_axis_3, **_axis(3, "FREQ", 144e6 / factor, 48e6 / factor, unit=unit)},
                data=flat4,
                frequency_hz=144e6,
                bandwidth_hz=48e6,
            )
        )
    return made + _velocities(flat4)


def _velocities(data: Any) -> list[Variant]:  # noqa: ANN401 - an array
    """Spectral axes of velocities, with the rest frequency that they count from."""
    step = 20e3
    rest = {"RESTFRQ": _HYDROGEN_HZ, "RESTBW": None, **_stokes_axis(4)}
    return [
        variant(
            "velocity-radio",
            "Radio velocities: the frequency follows from RESTFRQ",
            {**rest, **_axis(3, "VRAD", 1.5e6, step, unit="m/s")},
            data=data,
            frequency_hz=_HYDROGEN_HZ * (1.0 - 1.5e6 / _LIGHT_M_S),
            bandwidth_hz=_HYDROGEN_HZ * step / _LIGHT_M_S,
        ),
        variant(
            "velocity-radio-km",
            "Radio velocities in km/s that count down",
            {**rest, **_axis(3, "VRAD", 1500.0, -20.0, unit="km/s")},
            data=data,
            frequency_hz=_HYDROGEN_HZ * (1.0 - 1.5e6 / _LIGHT_M_S),
            bandwidth_hz=_HYDROGEN_HZ * step / _LIGHT_M_S,
        ),
        variant(
            "velocity-optical-zero",
            "An optical velocity of 0 at the image: its frequency is the rest frequency (CASA)",
            {**rest, "RESTFRQ": 16.5e9, **_axis(3, "VOPT", -0.0, -step, unit="m/s")},
            data=data,
            frequency_hz=16.5e9,
            bandwidth_hz=16.5e9 * step / _LIGHT_M_S,
        ),
        variant(
            "velocity-optical",
            "Optical velocities: the wavelength grows with them",
            {**rest, **_axis(3, "VOPT", 1.5e6, step, unit="m/s")},
            data=data,
            frequency_hz=_HYDROGEN_HZ / (1.0 + 1.5e6 / _LIGHT_M_S),
            bandwidth_hz=_HYDROGEN_HZ / (1.0 + 1.5e6 / _LIGHT_M_S) ** 2 * step / _LIGHT_M_S,
        ),
    ]


def units() -> list[Variant]:
    """How headers say the unit of the pixels."""
    good = {
        "capitals": ("JY/BEAM", 1.0),
        "usual": ("Jy/beam", 1.0),
        "small": ("jy/beam", 1.0),
        "blanks": ("Jy / beam", 1.0),
        "power": ("Jy beam-1", 1.0),
        "power-first": ("beam-1 Jy", 1.0),
        "stars": ("Jy*beam**(-1)", 1.0),
        "dot": ("Jy.beam^-1", 1.0),
        "milli": ("mJy/beam", 1e-3),
        "micro": ("uJy/beam", 1e-6),
    }
    made = [
        variant(
            f"unit-{name}",
            f"Pixels in {text}",
            {"BUNIT": text},
            pixels=(plane_values().astype(np.float64) * factor).astype(np.float32),
        )
        for name, (text, factor) in good.items()
    ]
    made.append(
        variant(
            "unit-none",
            "No BUNIT: taken as Jy/beam, which the notes say",
            {"BUNIT": None},
            notes=("Jy/beam",),
        )
    )
    made += [
        variant(f"unit-{name}", f"Pixels in {text}: refused", {"BUNIT": text}, refused=(text,))
        for name, text in (("kelvin", "K"), ("per-pixel", "Jy/pixel"), ("per-sr", "MJy/sr"))
    ]
    return made


def stokes() -> list[Variant]:
    """How headers say the Stokes parameter of the only plane."""
    spectral = {**_NO_FREQUENCY, **_axis(4, "FREQ", FREQUENCY_HZ, BANDWIDTH_HZ)}
    data = plane_values()[np.newaxis, np.newaxis]
    return [
        variant(
            f"stokes-{letter}".lower(),
            f"A STOKES axis with {letter} only",
            {**spectral, **_stokes_axis(3, number)},
            data=data,
            stokes=number,
        )
        for number, letter in ((2, "Q"), (3, "U"), (4, "V"))
    ] + [
        variant(
            "stokes-by-crpix",
            "Stokes V said by the reference pixel, as the SKA's data models do",
            {**spectral, **_stokes_axis(3, 1.0, -2.0)},
            data=data,
            stokes=4,
        ),
        variant(
            "stokes-three-axes",
            "Three axes, the third STOKES",
            {**_stokes_axis(3, 4.0)},
            data=plane_values()[np.newaxis],
            stokes=4,
        ),
    ]

"""A whole realistic header for telescopes that have no configuration of their own."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from astropy.coordinates import FK4, ICRS

from trap_ops.records.images import Beam
from trap_ops.simulate.headers_makers import (
    NO_EXPOSURE,
    Field,
    aips,
    aips_history,
    casa,
    made_by,
    miriad,
    pixels,
    utc,
    wsclean,
)
from trap_ops.simulate.headers_sky import Placing
from trap_ops.simulate.headers_variant import Variant


def other_telescopes() -> list[Variant]:
    """All of them."""
    start = utc("2020-11-18T02:20:10.5")
    plain = Field(
        "GMRT",
        "FIELD",
        "2020-11-18T02:20:10.5",
        Placing(lon_deg=351.2, lat_deg=-12.5, cdelt_deg=pixels(1.5)),
        Beam(0.0021, 0.0014, 35.25),
        402e6,
        200e6,
    )
    atca = replace(plain, telescope="ATCA", frequency_hz=5.5e9, bandwidth_hz=2.048e9)
    slanted = Placing(lon_deg=49.95, lat_deg=41.5117, projection="NCP", frame=FK4(equinox="B1950"))
    wsrt = replace(plain, telescope="WSRT", placing=slanted)
    lwa = replace(plain, telescope="OVRO_MMA", frequency_hz=55e6, bandwidth_hz=24e6)
    nenufar = replace(lwa, telescope="NenuFAR")
    kat7 = replace(plain, telescope="KAT-7", frequency_hz=1.822e9, bandwidth_hz=234e6)
    ska = replace(plain, placing=replace(plain.placing, frame=ICRS()), stokes=1)
    oskar = replace(plain, telescope="OSKAR")
    made = [
        made_by(
            f"{name}-wsclean",
            f"{field.telescope}, WSClean",
            field,
            wsclean(field),
            start,
            **NO_EXPOSURE,
        )
        for name, field in (("ovro-lwa", lwa), ("nenufar", nenufar))
    ]
    return [
        *made,
        made_by(
            "gmrt-aips",
            "GMRT, AIPS or SPAM",
            plain,
            {**aips(plain), "DATE-OBS": "2020-11-18"},
            utc("2020-11-18T00:00:00"),
            history=aips_history(plain.beam),
            **NO_EXPOSURE,
        ),
        made_by("gmrt-casa", "GMRT, CASA", plain, casa(plain), start, **NO_EXPOSURE),
        made_by(
            "atca-miriad",
            "ATCA, Miriad",
            atca,
            miriad(atca),
            start,
            history=("RESTOR: Miriad RestorII", "RESTOR:   model = field.cc"),
            **NO_EXPOSURE,
        ),
        made_by("kat7-casa", "KAT-7, CASA", kat7, casa(kat7), start, **NO_EXPOSURE),
        made_by(
            "dsa110-casa",
            "DSA-110 under the name that CASA knows",
            replace(lwa, frequency_hz=1.4e9),
            casa(replace(lwa, frequency_hz=1.4e9)),
            start,
            **NO_EXPOSURE,
        ),
        made_by(
            "wsrt-newstar",
            "Westerbork: NCP, B1950, the date as a year with a fraction",
            wsrt,
            {
                **aips(wsrt, 1950.0),
                "BMAJ": 0.0021,
                "BMIN": 0.0014,
                "BPA": 35.25,
                "DATE-OBS": 1993.5,
            },
            datetime(1993, 1, 1) + timedelta(days=0.5 * 365.242199),  # noqa: DTZ001 - UTC
            bpa_tol_deg=1e-3,
            matrix_deg=None,
            **NO_EXPOSURE,
        ),
        made_by(
            "ska-sdp",
            "The SKA's data models: Stokes by CRPIX, no BUNIT, ICRS",
            replace(ska, telescope="SKA"),
            {
                **casa(replace(ska, telescope="SKA")),
                "RADESYS": "ICRS",
                "BUNIT": None,
                "RESTFRQ": None,
                "CRVAL3": 2.0,
                "CRPIX3": 2.0,
            },
            start,
            integration_s=0.0,
            notes=("integration", "Jy/beam"),
        ),
        made_by(
            "oskar",
            "OSKAR's imager: CROTA of 0, no CUNIT; it has no beam, which the configuration has",
            oskar,
            {
                **{k: v for k, v in aips(oskar).items() if k[-1] != "4" and k != "EPOCH"},
                "EQUINOX": 2000.0,
            },
            start,
            settings={
                "images": {
                    "assume": [
                        {
                            "telescope": "OSKAR",
                            "bmaj_deg": 0.0021,
                            "bmin_deg": 0.0014,
                            "bpa_deg": 35.25,
                        }
                    ]
                }
            },
            integration_s=0.0,
            notes=("integration", "beam"),
        ),
    ]

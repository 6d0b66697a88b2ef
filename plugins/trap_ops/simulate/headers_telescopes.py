"""A whole realistic header for each telescope and the programs that its users work with."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from astropy.coordinates import FK4, ICRS
from numpy.typing import NDArray

from trap_ops.records.images import ArrayInfo, Beam
from trap_ops.simulate.headers_makers import (
    CASA_HISTORY,
    WSCLEAN_HISTORY,
    Field,
    aips,
    aips_history,
    casa,
    flat,
    miriad,
    obit,
    wsclean,
)
from trap_ops.simulate.headers_sky import Placing
from trap_ops.simulate.headers_variant import Variant, plane_values, variant

_NO_EXPOSURE = {"integration_s": 0.0, "notes": ("integration",)}


def telescopes() -> list[Variant]:
    """All of them."""
    return [
        *_lofar(),
        *_aartfaac(),
        *_meerkat(),
        *_askap(),
        *_mwa(),
        *_vla(),
        *_ami(),
        *_others(),
    ]


def _of(
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


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _pixels(arcsec: float) -> tuple[float, float]:
    return (-arcsec / 3600.0, arcsec / 3600.0)


def _lofar() -> list[Variant]:
    date = "2015-08-26T16:30:05.0"
    lba = Field(
        "LOFAR",
        "BEAM_0",
        date,
        Placing(lon_deg=-9.13375, lat_deg=58.8117777778, cdelt_deg=_pixels(2.0)),
        Beam(0.00264824850407388, 0.00205277482609264, 88.7325624575301),
        53807067.8710938,
        47656250.0,
    )
    hba = replace(
        lba,
        placing=Placing(lon_deg=218.0, lat_deg=34.5, cdelt_deg=_pixels(1.5), frame=ICRS()),
        beam=Beam(6.0 / 3600.0, 6.0 / 3600.0, 90.0),
        frequency_hz=143650000.0,
        bandwidth_hz=47000000.0,
    )
    awimager = {
        **casa(replace(lba, date="2013-02-03T23:11:10.000000"), stokes_first=True),
        "RESTBW": lba.bandwidth_hz,
        "ANTENNA": "LBA_INNER",
        "NCORE": 23,
        "NREMOTE": 8,
        "NINTL": 0,
        "SUBBANDS": 244,
        "SUBBANDW": 195312.5,
        "TAU_TIME": 18654.3,
        "END_UTC": "2013-02-04T05:00:00",
    }
    mosaic = {
        **flat(casa(hba)),
        "RADESYS": "ICRS",
        "RESTFRQ": 144e6,
        "DATE-OBS": None,
        "TELESCOP": "LOFAR",
        "ORIGIN": "ddf-pipeline v2.3",
    }
    return [
        _of(
            "lofar-wsclean",
            "LOFAR, WSClean: CRVAL1 below 0, no integration time",
            lba,
            wsclean(lba),
            _utc(date),
            history=WSCLEAN_HISTORY,
            **_NO_EXPOSURE,
        ),
        _of(
            "lofar-awimager",
            "LOFAR, AWimager through the classic injection of metadata",
            lba,
            awimager,
            _utc("2013-02-03T23:11:10"),
            integration_s=18654.3,
            array=ArrayInfo("LBA_INNER", 23, 8, 0, 244, 195312.5),
        ),
        _of(
            "lofar-ddfacet",
            "LOFAR, DDFacet: STOKES before FREQ, ICRS",
            hba,
            {**casa(hba), "RADESYS": "ICRS", "ORIGIN": "DDFacet 0.7.2", "DATE-OBS": date},
            _utc(date),
            **_NO_EXPOSURE,
        ),
        _of(
            "lofar-lotss-mosaic",
            "LOFAR, a mosaic of LoTSS: two axes, RESTFRQ, no date, which the configuration has",
            hba,
            mosaic,
            _utc("2016-05-01T00:00:00"),
            frequency_hz=144e6,
            bandwidth_hz=48e6,
            integration_s=28800.0,
            settings={
                "images": {
                    "assume": [
                        {"start": "2016-05-01T00:00:00", "integration_s": 28800.0, "freq_bw_hz": 48e6}
                    ]
                }
            },
            notes=("start", "integration_s", "freq_bw_hz"),
        ),
    ]


def _aartfaac() -> list[Variant]:
    size = float(np.degrees(np.arcsin(1.0 / 16.0)))
    sky = Field(
        "LOFAR",
        "Aartfaac image",
        "2016-11-21T18:21:21.500",
        Placing(lon_deg=254.25, lat_deg=52.915122495, cdelt_deg=(-size, size)),
        Beam(1.0, 1.0, 0.0),
        57.6171875e6,
        3.125e6,
    )
    squasher = {
        **casa(sky),
        "AUTHOR": "pysquasher.py",
        "PC01_01": 1.0,
        "CUNIT3": "",
        "CUNIT4": "Hz",
        "RESTBW": sky.bandwidth_hz,
        "INSTRUME": "AARTFAAC",
        "END_UTC": "2016-11-21T18:21:22.500",
        "ORIGIN": "Anton Pannekoek Institute",
    }
    named = {
        **squasher,
        "TELESCOP": "AARTFAAC",
        "CUNIT3": "stokes-unit",
        "TAU_TIME": 1.0,
        "END_UTC": None,
    }
    start = _utc("2016-11-21T18:21:21.500")
    return [
        _of(
            "aartfaac-squasher",
            "AARTFAAC, pysquasher: the whole sky, TELESCOP is LOFAR, END_UTC gives the time",
            sky,
            squasher,
            start,
            integration_s=1.0,
            history=("AARTFAAC 6 stations superterp", "RMS 24.5", "DYNAMIC RANGE 4000:24"),
        ),
        _of(
            "aartfaac-named",
            "AARTFAAC under its own name",
            replace(sky, telescope="AARTFAAC"),
            named,
            start,
            integration_s=1.0,
        ),
    ]


def _meerkat() -> list[Variant]:
    date = "2019-10-12T17:36:40.2"
    thunder = Field(
        "MeerKAT",
        "GX339-4",
        date,
        Placing(lon_deg=255.7057818, lat_deg=-48.78974722, cdelt_deg=_pixels(1.1)),
        Beam(0.00194, 0.00153, 167.5),
        1283987304.6875,
        856e6,
    )
    sdp = replace(thunder, date="2019-10-12", frequency_hz=1.284e9, bandwidth_hz=54.6e6)
    deep = replace(
        thunder,
        placing=Placing(lon_deg=35.5, lat_deg=-4.83, projection="TAN", cdelt_deg=_pixels(1.1)),
        beam=Beam(8.9 / 3600.0, 8.9 / 3600.0, 0.0),
    )
    rounded = Beam(1.94e-3, 1.53e-3, 167.5)
    planes = np.array([plane_values(number) for number in range(4)])[None]
    return [
        _of(
            "meerkat-wsclean",
            "MeerKAT, WSClean",
            thunder,
            wsclean(thunder),
            _utc(date),
            history=WSCLEAN_HISTORY,
            **_NO_EXPOSURE,
        ),
        _of(
            "meerkat-sdp",
            "MeerKAT, the observatory's continuum pipeline (Obit): plane 0 is the broad band",
            sdp,
            obit(sdp),
            _utc("2019-10-12T00:00:00"),
            data=planes,
            settings={"images": {"channels": [0]}},
            history=aips_history(sdp.beam),
            **_NO_EXPOSURE,
        ),
        _of(
            "meerkat-sdp-history",
            "The same with the beam in HISTORY alone, and one plane",
            sdp,
            {**obit(sdp), "CLEANBMJ": None, "CLEANBMN": None, "CLEANBPA": None},
            _utc("2019-10-12T00:00:00"),
            history=aips_history(sdp.beam),
            beam=rounded,
            **_NO_EXPOSURE,
        ),
        _of(
            "meerkat-mightee",
            "MeerKAT, a mosaic by Montage: two axes, cards of axes 3 and 4 left behind",
            deep,
            {**wsclean(deep), "BUNIT": "Jy/beam", "ORIGIN": "Montage"},
            _utc(date),
            data=plane_values(),
            **_NO_EXPOSURE,
        ),
        _of(
            "meerkat-casa",
            "MeerKAT, CASA: FREQ before STOKES",
            thunder,
            casa(replace(thunder, date="2019-10-12T17:36:40.200000"), stokes_first=False),
            _utc(date),
            history=CASA_HISTORY,
            **_NO_EXPOSURE,
        ),
    ]


def _askap() -> list[Variant]:
    start = _utc("2019-04-29T11:25:40.5")
    racs = Field(
        "ASKAP",
        "RACS_1307-25A",
        "2019-04-29T11:25:40.5",
        Placing(lon_deg=196.9125, lat_deg=-25.13, cdelt_deg=_pixels(2.5)),
        Beam(0.0042, 0.0031, 77.4),
        887491000.0,
        288e6,
    )
    archive = {
        **{k: v for k, v in casa(racs).items() if k[:3] != "PC0"},
        "SBID": "8569",
        "PROJECT": "AS110",
        "DURATION": 906.3,
        "ORIGIN": "ASKAPsoft",
    }
    days = {
        **archive,
        "DATE-OBS": None,
        "DURATION": None,
        "TMIN": 58602.476163194444,
        "TMAX": 58602.476163194444 + 906.3 / 86400.0,
        "INTIME": 906.3,
    }
    flint = replace(racs, frequency_hz=943.5e6)
    return [
        _of(
            "askap-casda",
            "ASKAP from the archive: DURATION, SBID, STOKES before FREQ",
            racs,
            archive,
            start,
            integration_s=906.3,
            history=("Produced with ASKAPsoft version 0.24.1",),
        ),
        _of(
            "askap-casda-days",
            "ASKAP with the archive's TMIN, TMAX (days) and INTIME",
            racs,
            days,
            start,
            integration_s=906.3,
        ),
        _of(
            "askap-wsclean",
            "ASKAP, WSClean",
            flint,
            wsclean(flint),
            start,
            history=WSCLEAN_HISTORY,
            **_NO_EXPOSURE,
        ),
    ]


def _mwa() -> list[Variant]:
    start = _utc("2018-10-14T13:02:38.0")
    snapshot = Field(
        "MWA",
        "high_2018B_Dec-27",
        "2018-10-14T13:02:38.0",
        Placing(lon_deg=-37.5, lat_deg=-26.7, cdelt_deg=_pixels(26.0)),
        Beam(0.0312, 0.0268, -42.0),
        200315000.0,
        30.72e6,
    )
    mosaic = replace(
        snapshot, placing=replace(snapshot.placing, lon_deg=150.0, projection="ZEA")
    )
    return [
        _of(
            "mwa-wsclean",
            "MWA, WSClean: CRVAL1 below 0",
            snapshot,
            wsclean(snapshot),
            start,
            history=WSCLEAN_HISTORY,
            **_NO_EXPOSURE,
        ),
        _of(
            "mwa-gleam-x",
            "MWA, a mosaic of GLEAM-X: ZEA, EPOCH, the frequency in FREQ, date from the configuration",
            mosaic,
            {
                **flat(miriad(mosaic)),
                "RESTFREQ": None,
                "FREQ": 200315000.0,
                "DATE-OBS": None,
            },
            start,
            integration_s=120.0,
            settings={
                "images": {
                    "assume": [
                        {
                            "telescope": "MWA",
                            "start": "2018-10-14T13:02:38",
                            "integration_s": 120.0,
                            "freq_bw_hz": 30.72e6,
                        }
                    ]
                }
            },
            notes=("start", "integration_s", "freq_bw_hz"),
        ),
    ]


def _vla() -> list[Variant]:
    old = Field(
        "VLA",
        "3C286",
        "1997-09-19",
        Placing(lon_deg=202.784533, lat_deg=30.509155, cdelt_deg=_pixels(0.5)),
        Beam(4.2000e-4, 3.9000e-4, -17.25),
        4860100000.0,
        50e6,
    )
    sky = replace(
        old,
        telescope="EVLA",
        target="J2000 tile",
        date="2019-05-01T03:11:20.000000",
        beam=Beam(8.1e-4, 6.5e-4, 12.0),
        frequency_hz=2987741050.8,
        bandwidth_hz=2.0e9,
    )
    atomic = replace(old, date="1997-09-19T04:59:50.000002")
    b1950 = replace(
        old, date="19/09/83", placing=replace(old.placing, frame=FK4(equinox="B1950"))
    )
    return [
        _of(
            "vla-aips",
            "VLA, AIPS: a date without time, EPOCH, the beam in HISTORY",
            old,
            aips(old),
            _utc("1997-09-19T00:00:00"),
            history=aips_history(old.beam),
            **_NO_EXPOSURE,
        ),
        _of(
            "vla-aips-1950",
            "VLA, AIPS of the eighties: EPOCH 1950, the date as dd/mm/yy",
            b1950,
            aips(b1950, 1950.0),
            _utc("1983-09-19T00:00:00"),
            history=aips_history(old.beam),
            position_mas=1000.0,
            bpa_tol_deg=1e-3,
            matrix_deg=None,
            **_NO_EXPOSURE,
        ),
        _of(
            "vla-casa-tai",
            "VLA, CASA with times in TAI, as importuvfits leaves them",
            atomic,
            casa(atomic, scale="TAI"),
            _utc("1997-09-19T04:59:19.000002"),
            history=CASA_HISTORY,
            **_NO_EXPOSURE,
        ),
        _of(
            "vla-vlass",
            "VLA, CASA: a quick-look image of VLASS, EVLA",
            sky,
            casa(sky, stokes_first=False),
            _utc("2019-05-01T03:11:20"),
            history=CASA_HISTORY,
            **_NO_EXPOSURE,
        ),
    ]


def _ami() -> list[Variant]:
    start = _utc("2012-04-29T17:19:23.001599")
    burst = Field(
        "AMI-LA",
        "GRB",
        "2012-04-29T17:19:23.001599",
        Placing(lon_deg=136.91025, lat_deg=14.01822222),
        Beam(1.5068e-2, 6.8480e-3, 5.01),
        16505187505.0,
        1.375e9,
    )
    light = 299792458.0
    velocity = {
        **casa(burst),
        "CTYPE4": "VOPT",
        "CRVAL4": -0.0,
        "CDELT4": -burst.bandwidth_hz / burst.frequency_hz * light,
        "CUNIT4": "m/s",
        "SPECSYS": "TOPOCENT",
        "RADESYS": None,
    }
    return [
        _of(
            "ami-casa",
            "AMI-LA, CASA: an optical velocity axis of 0, RESTFRQ the frequency",
            burst,
            velocity,
            start,
            # The width as a velocity is that of a narrow channel.
            bandwidth_rtol=5e-3,
            history=CASA_HISTORY,
            **_NO_EXPOSURE,
        ),
        _of(
            "ami-aips",
            "AMI-LA, AIPS: the beam in HISTORY",
            burst,
            {**aips(burst), "DATE-OBS": "2012-04-29"},
            _utc("2012-04-29T00:00:00"),
            history=aips_history(burst.beam),
            **_NO_EXPOSURE,
        ),
    ]


def _others() -> list[Variant]:
    start = _utc("2020-11-18T02:20:10.5")
    plain = Field(
        "GMRT",
        "FIELD",
        "2020-11-18T02:20:10.5",
        Placing(lon_deg=351.2, lat_deg=-12.5, cdelt_deg=_pixels(1.5)),
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
        _of(
            f"{name}-wsclean",
            f"{field.telescope}, WSClean",
            field,
            wsclean(field),
            start,
            **_NO_EXPOSURE,
        )
        for name, field in (("ovro-lwa", lwa), ("nenufar", nenufar))
    ]
    return [
        *made,
        _of(
            "gmrt-aips",
            "GMRT, AIPS or SPAM",
            plain,
            {**aips(plain), "DATE-OBS": "2020-11-18"},
            _utc("2020-11-18T00:00:00"),
            history=aips_history(plain.beam),
            **_NO_EXPOSURE,
        ),
        _of("gmrt-casa", "GMRT, CASA", plain, casa(plain), start, **_NO_EXPOSURE),
        _of(
            "atca-miriad",
            "ATCA, Miriad",
            atca,
            miriad(atca),
            start,
            history=("RESTOR: Miriad RestorII", "RESTOR:   model = field.cc"),
            **_NO_EXPOSURE,
        ),
        _of("kat7-casa", "KAT-7, CASA", kat7, casa(kat7), start, **_NO_EXPOSURE),
        _of("dsa110-casa", "DSA-110 under the name that CASA knows", replace(lwa, frequency_hz=1.4e9),
            casa(replace(lwa, frequency_hz=1.4e9)), start, **_NO_EXPOSURE),
        _of(
            "wsrt-newstar",
            "Westerbork: NCP, B1950, the date as a year with a fraction",
            wsrt,
            {**aips(wsrt, 1950.0), "BMAJ": 0.0021, "BMIN": 0.0014, "BPA": 35.25, "DATE-OBS": 1993.5},
            datetime(1993, 1, 1) + timedelta(days=0.5 * 365.242199),  # noqa: DTZ001 - UTC
            position_mas=1000.0,
            bpa_tol_deg=1e-3,
            matrix_deg=None,
            **_NO_EXPOSURE,
        ),
        _of(
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
        _of(
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
                        {"telescope": "OSKAR", "bmaj_deg": 0.0021, "bmin_deg": 0.0014, "bpa_deg": 35.25}
                    ]
                }
            },
            integration_s=0.0,
            notes=("integration", "beam"),
        ),
    ]

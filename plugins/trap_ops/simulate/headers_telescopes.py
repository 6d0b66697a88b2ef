"""A whole realistic header for each telescope and the programs that its users work with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from astropy.coordinates import FK4, ICRS

from trap_ops.records.images import ArrayInfo, Beam
from trap_ops.simulate.headers_makers import (
    CASA_HISTORY,
    NO_EXPOSURE,
    WSCLEAN_HISTORY,
    Field,
    aips,
    aips_history,
    casa,
    flat,
    made_by,
    miriad,
    obit,
    pixels,
    utc,
    wsclean,
)
from trap_ops.simulate.headers_other_telescopes import other_telescopes
from trap_ops.simulate.headers_sky import Placing
from trap_ops.simulate.headers_variant import Variant, plane_values


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
        *other_telescopes(),
    ]


def _lofar() -> list[Variant]:
    date = "2015-08-26T16:30:05.0"
    lba = Field(
        "LOFAR",
        "BEAM_0",
        date,
        Placing(lon_deg=-9.13375, lat_deg=58.8117777778, cdelt_deg=pixels(2.0)),
        Beam(0.00264824850407388, 0.00205277482609264, 88.7325624575301),
        53807067.8710938,
        47656250.0,
    )
    hba = replace(
        lba,
        placing=Placing(lon_deg=218.0, lat_deg=34.5, cdelt_deg=pixels(1.5), frame=ICRS()),
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
        made_by(
            "lofar-wsclean",
            "LOFAR, WSClean: CRVAL1 below 0, no integration time",
            lba,
            wsclean(lba),
            utc(date),
            history=WSCLEAN_HISTORY,
            **NO_EXPOSURE,
        ),
        made_by(
            "lofar-awimager",
            "LOFAR, AWimager through the classic injection of metadata",
            lba,
            awimager,
            utc("2013-02-03T23:11:10"),
            integration_s=18654.3,
            array=ArrayInfo("LBA_INNER", 23, 8, 0, 244, 195312.5),
        ),
        made_by(
            "lofar-ddfacet",
            "LOFAR, DDFacet: STOKES before FREQ, ICRS",
            hba,
            {**casa(hba), "RADESYS": "ICRS", "ORIGIN": "DDFacet 0.7.2", "DATE-OBS": date},
            utc(date),
            **NO_EXPOSURE,
        ),
        made_by(
            "lofar-lotss-mosaic",
            "LOFAR, a mosaic of LoTSS: two axes, RESTFRQ, no date, which the configuration has",
            hba,
            mosaic,
            utc("2016-05-01T00:00:00"),
            frequency_hz=144e6,
            bandwidth_hz=48e6,
            integration_s=28800.0,
            settings={
                "images": {
                    "assume": [
                        {
                            "start": "2016-05-01T00:00:00",
                            "integration_s": 28800.0,
                            "freq_bw_hz": 48e6,
                        }
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
    start = utc("2016-11-21T18:21:21.500")
    return [
        made_by(
            "aartfaac-squasher",
            "AARTFAAC, pysquasher: the whole sky, TELESCOP is LOFAR, END_UTC gives the time",
            sky,
            squasher,
            start,
            integration_s=1.0,
            history=("AARTFAAC 6 stations superterp", "RMS 24.5", "DYNAMIC RANGE 4000:24"),
        ),
        made_by(
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
        Placing(lon_deg=255.7057818, lat_deg=-48.78974722, cdelt_deg=pixels(1.1)),
        Beam(0.00194, 0.00153, 167.5),
        1283987304.6875,
        856e6,
    )
    sdp = replace(thunder, date="2019-10-12", frequency_hz=1.284e9, bandwidth_hz=54.6e6)
    deep = replace(
        thunder,
        placing=Placing(lon_deg=35.5, lat_deg=-4.83, projection="TAN", cdelt_deg=pixels(1.1)),
        beam=Beam(8.9 / 3600.0, 8.9 / 3600.0, 0.0),
    )
    rounded = Beam(1.94e-3, 1.53e-3, 167.5)
    planes = np.array([plane_values(number) for number in range(4)])[None]
    return [
        made_by(
            "meerkat-wsclean",
            "MeerKAT, WSClean",
            thunder,
            wsclean(thunder),
            utc(date),
            history=WSCLEAN_HISTORY,
            **NO_EXPOSURE,
        ),
        made_by(
            "meerkat-sdp",
            "MeerKAT, the observatory's continuum pipeline (Obit): plane 0 is the broad band",
            sdp,
            obit(sdp),
            utc("2019-10-12T00:00:00"),
            data=planes,
            settings={"images": {"channels": [0]}},
            history=aips_history(sdp.beam),
            **NO_EXPOSURE,
        ),
        made_by(
            "meerkat-sdp-history",
            "The same with the beam in HISTORY alone, and one plane",
            sdp,
            {**obit(sdp), "CLEANBMJ": None, "CLEANBMN": None, "CLEANBPA": None},
            utc("2019-10-12T00:00:00"),
            history=aips_history(sdp.beam),
            beam=rounded,
            **NO_EXPOSURE,
        ),
        made_by(
            "meerkat-mightee",
            "MeerKAT, a mosaic by Montage: two axes, cards of axes 3 and 4 left behind",
            deep,
            {**wsclean(deep), "BUNIT": "Jy/beam", "ORIGIN": "Montage"},
            utc(date),
            data=plane_values(),
            **NO_EXPOSURE,
        ),
        made_by(
            "meerkat-casa",
            "MeerKAT, CASA: FREQ before STOKES",
            thunder,
            casa(replace(thunder, date="2019-10-12T17:36:40.200000"), stokes_first=False),
            utc(date),
            history=CASA_HISTORY,
            **NO_EXPOSURE,
        ),
    ]


def _askap() -> list[Variant]:
    start = utc("2019-04-29T11:25:40.5")
    racs = Field(
        "ASKAP",
        "RACS_1307-25A",
        "2019-04-29T11:25:40.5",
        Placing(lon_deg=196.9125, lat_deg=-25.13, cdelt_deg=pixels(2.5)),
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
        made_by(
            "askap-casda",
            "ASKAP from the archive: DURATION, SBID, STOKES before FREQ",
            racs,
            archive,
            start,
            integration_s=906.3,
            history=("Produced with ASKAPsoft version 0.24.1",),
        ),
        made_by(
            "askap-casda-days",
            "ASKAP with the archive's TMIN, TMAX (days) and INTIME",
            racs,
            days,
            start,
            integration_s=906.3,
        ),
        made_by(
            "askap-wsclean",
            "ASKAP, WSClean",
            flint,
            wsclean(flint),
            start,
            history=WSCLEAN_HISTORY,
            **NO_EXPOSURE,
        ),
    ]


def _mwa() -> list[Variant]:
    start = utc("2018-10-14T13:02:38.0")
    snapshot = Field(
        "MWA",
        "high_2018B_Dec-27",
        "2018-10-14T13:02:38.0",
        Placing(lon_deg=-37.5, lat_deg=-26.7, cdelt_deg=pixels(26.0)),
        Beam(0.0312, 0.0268, -42.0),
        200315000.0,
        30.72e6,
    )
    mosaic = replace(snapshot, placing=replace(snapshot.placing, lon_deg=150.0, projection="ZEA"))
    return [
        made_by(
            "mwa-wsclean",
            "MWA, WSClean: CRVAL1 below 0",
            snapshot,
            wsclean(snapshot),
            start,
            history=WSCLEAN_HISTORY,
            **NO_EXPOSURE,
        ),
        made_by(
            "mwa-gleam-x",
            "MWA, a mosaic of GLEAM-X: ZEA, EPOCH, FREQ; the date from the configuration",
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
        Placing(lon_deg=202.784533, lat_deg=30.509155, cdelt_deg=pixels(0.5)),
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
    b1950 = replace(old, date="19/09/83", placing=replace(old.placing, frame=FK4(equinox="B1950")))
    return [
        made_by(
            "vla-aips",
            "VLA, AIPS: a date without time, EPOCH, the beam in HISTORY",
            old,
            aips(old),
            utc("1997-09-19T00:00:00"),
            history=aips_history(old.beam),
            **NO_EXPOSURE,
        ),
        made_by(
            "vla-aips-1950",
            "VLA, AIPS of the eighties: EPOCH 1950, the date as dd/mm/yy",
            b1950,
            aips(b1950, 1950.0),
            utc("1983-09-19T00:00:00"),
            history=aips_history(old.beam),
            bpa_tol_deg=1e-3,
            matrix_deg=None,
            **NO_EXPOSURE,
        ),
        made_by(
            "vla-casa-tai",
            "VLA, CASA with times in TAI, as importuvfits leaves them",
            atomic,
            casa(atomic, scale="TAI"),
            utc("1997-09-19T04:59:19.000002"),
            history=CASA_HISTORY,
            **NO_EXPOSURE,
        ),
        made_by(
            "vla-vlass",
            "VLA, CASA: a quick-look image of VLASS, EVLA",
            sky,
            casa(sky, stokes_first=False),
            utc("2019-05-01T03:11:20"),
            history=CASA_HISTORY,
            **NO_EXPOSURE,
        ),
    ]


def _ami() -> list[Variant]:
    start = utc("2012-04-29T17:19:23.001599")
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
        made_by(
            "ami-casa",
            "AMI-LA, CASA: an optical velocity axis of 0, RESTFRQ the frequency",
            burst,
            velocity,
            start,
            # The width as a velocity is that of a narrow channel.
            bandwidth_rtol=5e-3,
            history=CASA_HISTORY,
            **NO_EXPOSURE,
        ),
        made_by(
            "ami-aips",
            "AMI-LA, AIPS: the beam in HISTORY",
            burst,
            {**aips(burst), "DATE-OBS": "2012-04-29"},
            utc("2012-04-29T00:00:00"),
            history=aips_history(burst.beam),
            **NO_EXPOSURE,
        ),
    ]

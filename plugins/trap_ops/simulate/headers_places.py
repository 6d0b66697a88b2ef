"""Variants of how headers place an image on the sky: projections, matrices, frames, wraps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from astropy.coordinates import FK4, FK5, ICRS, Galactic

from trap_ops.simulate.headers_sky import PIXEL_DEG, Placing
from trap_ops.simulate.headers_variant import Variant, variant

_NO_SIZES = {"CDELT1": None, "CDELT2": None}


def places() -> list[Variant]:
    """All of them."""
    return _projections() + _matrices() + _wraps() + _frames()


def _projections() -> list[Variant]:
    # Pixels of 6 arcmin: curvature shows.
    wide = Placing(lat_deg=40.0, cdelt_deg=(-0.1, 0.1))
    made = [
        variant(
            f"projection-{name}".lower(),
            f"Projection {name}",
            placing=replace(wide, projection=name),
        )
        for name in ("SIN", "TAN", "ARC", "STG", "ZEA")
    ]
    sky = Placing(lat_deg=0.0, cdelt_deg=(-2.0, 2.0))
    made += [
        variant(
            f"projection-{name}".lower(),
            f"Projection {name}, pixels of 2 degrees",
            placing=replace(sky, projection=name),
            matrix_deg=None,
        )
        for name in ("CAR", "CEA", "SFL", "MER", "AIT", "MOL", "HPX")
    ]
    made += [
        variant(
            f"projection-{name}-{where}".lower(),
            f"Projection {name} about declination {lat:+g}: its equator is not the sky's",
            placing=replace(sky, projection=name, lat_deg=lat),
            matrix_deg=None,
        )
        for name, where, lat in (
            ("CAR", "north", 35.0),
            ("CAR", "south", -35.0),
            ("AIT", "north", 20.0),
        )
    ]
    made += [
        variant(
            "projection-slant-sin",
            "SIN seen aslant (PV2_1, PV2_2): an east-west array or a snapshot",
            {"PV2_1": 0.1, "PV2_2": -0.2},
            placing=replace(wide, slant=(0.1, -0.2)),
        ),
        variant(
            "projection-sin-zero-slant",
            "SIN with PV2_1 and PV2_2 of zero, as CASA writes",
            {"PV2_1": 0.0, "PV2_2": 0.0, "LONPOLE": 180.0, "LATPOLE": 40.0},
            placing=wide,
        ),
        variant(
            "projection-ncp",
            "NCP: the projection of an east-west array",
            placing=replace(wide, projection="NCP"),
            matrix_deg=None,
        ),
        variant(
            "projection-ncp-south",
            "NCP in the southern sky",
            placing=replace(wide, projection="NCP", lat_deg=-60.0),
            matrix_deg=None,
        ),
    ]
    return made


def _matrices() -> list[Variant]:
    plain = Placing()
    turned = replace(plain, turn_deg=30.0, lat_deg=50.0)
    (xx, xy), (yx, yy) = turned.matrix_deg.tolist()
    east, north = turned.cdelt_deg
    linear = {"11": xx / east, "12": xy / east, "21": yx / north, "22": yy / north}
    oblong = replace(plain, cdelt_deg=(-2.0 * PIXEL_DEG, PIXEL_DEG))
    mirrored = replace(plain, cdelt_deg=(PIXEL_DEG, PIXEL_DEG))
    return [
        variant("matrix-cdelt", "CDELT alone", placing=plain),
        variant("matrix-crota2", "CROTA2", {"CROTA2": 30.0}, placing=turned),
        variant(
            "matrix-crota-zero",
            "CROTA1 to CROTA4 of zero, as AIPS writes",
            {"CROTA1": 0.0, "CROTA2": 0.0, "CROTA3": 0.0, "CROTA4": 0.0},
            placing=plain,
        ),
        variant(
            "matrix-cd",
            "A CD matrix in place of CDELT",
            {**_NO_SIZES, "CD1_1": xx, "CD1_2": xy, "CD2_1": yx, "CD2_2": yy},
            placing=turned,
        ),
        variant(
            "matrix-cd-diagonal",
            "A CD matrix without the elements that are zero",
            {**_NO_SIZES, "CD1_1": -PIXEL_DEG, "CD2_2": PIXEL_DEG},
            placing=plain,
        ),
        variant(
            "matrix-pc",
            "A PC matrix and CDELT",
            {f"PC{key[0]}_{key[1]}": value for key, value in linear.items()},
            placing=turned,
        ),
        variant(
            "matrix-pc-old",
            "PC001001 and so on, the draft's spelling, as CASA wrote",
            {f"PC00{key[0]}00{key[1]}": value for key, value in linear.items()},
            placing=turned,
        ),
        variant(
            "matrix-pc-half-old",
            "PC01_01 and so on, CASA's later spelling, of no rotation",
            {"PC01_01": 1.0, "PC01_02": 0.0, "PC02_01": 0.0, "PC02_02": 1.0},
            placing=plain,
        ),
        variant(
            "matrix-lonpole",
            "A rotation by LONPOLE",
            {"LONPOLE": 150.0},
            placing=replace(plain, lat_deg=50.0, lonpole_deg=150.0),
            matrix_deg=None,
        ),
        variant("matrix-oblong", "Pixels twice as wide as they are high", placing=oblong),
        variant(
            "matrix-oblong-turned",
            "The same, rotated",
            {"CROTA2": -70.0},
            placing=replace(oblong, turn_deg=-70.0),
        ),
        variant("matrix-mirrored", "East to the right: a positive CDELT1", placing=mirrored),
        variant(
            "matrix-upside-down",
            "South up: a negative CDELT2",
            placing=replace(plain, cdelt_deg=(-PIXEL_DEG, -PIXEL_DEG)),
        ),
        variant(
            "matrix-arcsec",
            "Values and sizes of the axes in arcsec",
            {
                "CUNIT1": "arcsec",
                "CUNIT2": "arcsec",
                "CRVAL1": 123.0 * 3600.0,
                "CRVAL2": 10.0 * 3600.0,
                "CDELT1": -5.0,
                "CDELT2": 5.0,
            },
            placing=plain,
        ),
        variant("matrix-no-units", "No CUNIT: degrees", {"CUNIT1": None, "CUNIT2": None}),
        variant(
            "matrix-far-reference",
            "A cut-out: the reference pixel is far outside",
            placing=replace(plain, crpix=(-1200.0, 1436.0), lat_deg=65.0),
        ),
    ]


def _wraps() -> list[Variant]:
    # In ICRS: a frame whose pole is another has another north there.
    icrs = {"RADESYS": "ICRS"}
    north = Placing(lat_deg=90.0, frame=ICRS())
    return [
        variant(
            "wrap-negative", "CRVAL1 below 0, as WSClean writes", placing=Placing(lon_deg=-9.13375)
        ),
        variant("wrap-beyond", "CRVAL1 above 360", placing=Placing(lon_deg=372.5)),
        variant("wrap-across", "A field across right ascension 0", placing=Placing(lon_deg=0.005)),
        variant(
            "wrap-across-negative",
            "The same with CRVAL1 just below 0",
            placing=Placing(lon_deg=-0.005, lat_deg=-45.0),
        ),
        variant("wrap-360", "CRVAL1 of 360", placing=Placing(lon_deg=360.0)),
        variant("pole-north", "The pole in the field", placing=Placing(lat_deg=89.99)),
        variant(
            "pole-at-reference",
            "The pole at the reference pixel, LONPOLE 180 as in the rest of the sky",
            {**icrs, "LONPOLE": 180.0},
            placing=north,
            matrix_deg=None,
        ),
        variant(
            "pole-standard",
            "The same without LONPOLE, which then is 0 by the standard: half a turn",
            icrs,
            placing=replace(north, lonpole_deg=0.0),
            matrix_deg=None,
        ),
        variant(
            "pole-south",
            "The southern pole at the reference pixel",
            icrs,
            placing=replace(north, lat_deg=-90.0),
        ),
    ]


def _frame(
    name: str,
    what: str,
    frame: Any,  # noqa: ANN401 - a frame of astropy
    changes: dict[str, Any],
    **placing: Any,  # noqa: ANN401 - fields of Placing
) -> Variant:
    """An image in a frame; the beam's angle counts from the north of that frame."""
    more: dict[str, Any] = {}
    if frame.name == "fk4":  # Aberration bends it a little: north is not the same everywhere.
        more = {"bpa_tol_deg": 1e-3, "matrix_deg": None}
    elif placing.get("projection", "SIN") != "SIN":
        more = {"matrix_deg": None}
    return variant(f"frame-{name}", what, changes, placing=Placing(frame=frame, **placing), **more)


def _frames() -> list[Variant]:
    # Positions in FK4 turn against the stars, by an arcsecond in a century, so that they need an
    # epoch; headers tell none but the equinox.
    b1950 = FK4(equinox="B1950")
    j2000 = FK5(equinox="J2000")
    return [
        _frame("icrs", "RADESYS ICRS", ICRS(), {"RADESYS": "ICRS", "EQUINOX": None}),
        _frame(
            "icrs-equinox",
            "RADESYS ICRS with an EQUINOX that it does not need",
            ICRS(),
            {"RADESYS": "ICRS"},
        ),
        _frame("fk5", "RADESYS FK5, EQUINOX 2000", j2000, {"RADESYS": "FK5"}),
        _frame(
            "fk5-no-equinox",
            "RADESYS FK5 alone: its equinox is 2000",
            j2000,
            {"RADESYS": "FK5", "EQUINOX": None},
        ),
        _frame("equinox", "EQUINOX 2000 alone: FK5", j2000, {}),
        _frame("none", "Neither RADESYS nor EQUINOX: ICRS", ICRS(), {"EQUINOX": None}),
        _frame(
            "radecsys",
            "RADECSYS, the old name of RADESYS",
            ICRS(),
            {"RADECSYS": "ICRS", "EQUINOX": None},
        ),
        _frame(
            "epoch-2000",
            "EPOCH, the old name of EQUINOX, of 2000",
            j2000,
            {"EQUINOX": None, "EPOCH": 2000.0},
        ),
        _frame(
            "epoch-1950",
            "EPOCH 1950 alone: FK4",
            b1950,
            {"EQUINOX": None, "EPOCH": 1950.0},
        ),
        _frame("equinox-1950", "EQUINOX 1950 alone: FK4", b1950, {"EQUINOX": 1950.0}),
        _frame(
            "fk4",
            "RADESYS FK4, EQUINOX 1950",
            b1950,
            {"RADESYS": "FK4", "EQUINOX": 1950.0},
            lat_deg=60.0,
        ),
        _frame(
            "fk4-ncp",
            "FK4 and NCP, as Westerbork's maps are",
            b1950,
            {"RADESYS": "FK4", "EQUINOX": 1950.0},
            lat_deg=60.0,
            projection="NCP",
        ),
        _frame(
            "fk5-1975",
            "FK5 of another equinox",
            FK5(equinox="J1975"),
            {"RADESYS": "FK5", "EQUINOX": 1975.0},
        ),
        _frame(
            "fk5-of-date",
            "FK5 of the equinox of the observation, at the pole",
            FK5(equinox="J2012.26"),
            {"RADESYS": "FK5", "EQUINOX": 2012.26},
            lat_deg=89.0,
        ),
        _frame("galactic", "Galactic coordinates, SIN", Galactic(), {"EQUINOX": None}),
        _frame(
            "galactic-car",
            "Galactic coordinates, plate carree along the plane",
            Galactic(),
            {"EQUINOX": None},
            lon_deg=359.99,
            lat_deg=0.0,
            projection="CAR",
        ),
        _frame("galactic-equinox", "Galactic coordinates with an EQUINOX", Galactic(), {}),
        variant(
            "frame-ecliptic",
            "Ecliptic coordinates: refused",
            {"CTYPE1": "ELON-SIN", "CTYPE2": "ELAT-SIN"},
            refused=("ELON",),
        ),
        variant(
            "frame-swapped",
            "Declination on the first axis",
            {
                "CTYPE1": "DEC--SIN",
                "CTYPE2": "RA---SIN",
                "CRVAL1": 10.0,
                "CRVAL2": 123.0,
            },
            refused=("axes",),
        ),
        variant(
            "frame-linear",
            "No celestial axes",
            {"CTYPE1": "X", "CTYPE2": "Y"},
            refused=("celestial",),
        ),
    ]

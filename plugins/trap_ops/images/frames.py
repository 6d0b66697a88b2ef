"""Where an image is on the sky: its projection, and from its own frame to ICRS."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from astropy.coordinates import (
    FK4,
    FK5,
    ICRS,
    BaseCoordinateFrame,
    CartesianRepresentation,
    FK4NoETerms,
    Galactic,
)
from astropy.wcs import PRJ_CODES, WCS

from trap_ops.errors import ImageError
from trap_ops.images.cards import Header
from trap_ops.records.arrays import FloatArray
from trap_ops.science.coordinates import unit_vectors, wrap_ra
from trap_ops.science.sky_plane import linearise

_PIXEL_RANGE_DEG = (1e-11, 90.0)
_PROJECTIONS = {*PRJ_CODES, "NCP", "GLS", "TPV"}
# Projections on the tangent plane at the reference point, undistorted there.
_ZENITHAL = {"SIN", "NCP", "TAN", "STG", "ARC", "ZEA"}
# Least area of a pixel in units of the product of its sides.
_SKEW_MIN = 1e-6
_DEG_PER_UNIT = {
    **dict.fromkeys(("", "DEG", "DEGREE", "DEGREES"), 1.0),
    **dict.fromkeys(("RAD", "RADIAN", "RADIANS"), math.degrees(1.0)),
    "ARCMIN": 1 / 60,
    "ARCSEC": 1 / 3600,
    "MAS": 1 / 3.6e6,
}
_LONGITUDE_LATITUDE = {("RA--", "DEC-"), ("GLON", "GLAT")}
# Names of frames in RADESYS, those of CASA and AIPS among them.
_FRAMES = {
    "ICRS": "ICRS",
    "GCRS": "ICRS",
    "FK5": "FK5",
    "J2000": "FK5",
    "FK4": "FK4",
    "B1950": "FK4",
    "FK4-NO-E": "FK4-NO-E",
}
_EQUINOX = {"FK5": 2000.0, "FK4": 1950.0, "FK4-NO-E": 1950.0}
# Without RADESYS an equinox before this is one of FK4 (FITS paper II).
_FIRST_FK5 = 1984.0
_EQUINOXES = (1800.0, 2200.0)
# Where the E-terms of FK4 are fitted by a rotation: this far from the image's centre.
_FIT_DEG = 1.0
_AXES = np.eye(3)


@dataclass(frozen=True)
class Frame:
    """A celestial frame.

    Attributes
    ----------
    name : str
        ICRS, FK5, FK4, FK4-NO-E or galactic.
    equinox : float
        Julian or, for FK4, Besselian year; 0 where there is none.
    """

    name: str
    equinox: float = 0.0


@dataclass(frozen=True)
class Place:
    """An image on the sky.

    Attributes
    ----------
    wcs : astropy.wcs.WCS
        Two celestial axes, ICRS, degrees.
    matrix_deg : numpy.ndarray, (2, 2)
        Degrees (east, north) per pixel (x, y), by the north of ICRS.
    turn_deg : float
        From the north of ICRS to that of the file, through east: to be added to its position
        angles.
    """

    wcs: WCS
    matrix_deg: FloatArray
    turn_deg: float


def read_place(header: Header, nx: int, ny: int) -> Place:
    """Place an image on the sky in ICRS.

    Raises
    ------
    ImageError
        If it cannot be.
    """
    own = celestial_wcs(header)
    frame = read_frame(header)
    matrix = pixel_matrix(own, nx, ny)
    if frame.name == "ICRS":
        return Place(own, matrix, 0.0)
    wcs = turned(own, _rotation(frame, own, nx, ny))
    new = pixel_matrix(wcs, nx, ny)
    # What the file calls north, in ICRS.
    east, north = new @ np.linalg.inv(matrix) @ [0.0, 1.0]
    return Place(wcs, new, math.degrees(math.atan2(east, north)))


def celestial_wcs(header: Header) -> WCS:
    """Return the two celestial axes of an image, in its own frame, degrees.

    Raises
    ------
    ImageError
        If there are none, or wcslib cannot read them.
    """
    ctype = [header.text(f"CTYPE{axis}").upper() for axis in (1, 2)]
    _check_axes(ctype)
    _check_placed(header)
    factors = [_degrees(header, axis) for axis in (1, 2)]
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ctype
    wcs.wcs.cunit = ["deg", "deg"]
    wcs.wcs.crpix = [_required(header, f"CRPIX{axis}") for axis in (1, 2)]
    wcs.wcs.crval = [_required(header, f"CRVAL{axis}") * factors[axis - 1] for axis in (1, 2)]
    _set_matrix(wcs, header, factors)
    try:
        wcs.wcs.set_pv(_parameters(header))
        if ctype[0].endswith("-NCP"):
            _set_ncp(wcs)
        for key in ("LONPOLE", "LATPOLE"):
            value = header.plain_number(key)
            if value is not None:
                setattr(wcs.wcs, key.lower(), value)
        wcs.wcs.radesys = "ICRS"
        if "GLS" in ctype[0]:
            wcs.wcs.celfix()
        wcs.wcs.set()
    except Exception as error:
        detail = " ".join(str(error).split())
        msg = f"its coordinate system cannot be read: {detail}"
        raise ImageError(msg, reason="no coordinates") from error
    return wcs


def read_frame(header: Header) -> Frame:
    """Return the frame of an image's coordinates (RADESYS, EQUINOX and their old names).

    Raises
    ------
    ImageError
        If it is none that can be converted to ICRS.
    """
    if header.text("CTYPE1").upper().startswith("GLON"):
        return Frame("galactic")
    said = (header.text("RADESYS") or header.text("RADECSYS")).upper()
    year = _equinox(header)
    if said:
        name = _FRAMES.get(said, "")
    elif year is None:
        name = "ICRS"
    else:
        name = "FK4" if year < _FIRST_FK5 else "FK5"
    if name == "ICRS":
        return Frame("ICRS")
    year = _EQUINOX.get(name, 0.0) if year is None else year
    first, last = _EQUINOXES
    if not name or not first <= year <= last:
        msg = (
            f"its coordinates are in {said or name} of {year:g}; only ICRS, FK5 and FK4 with an "
            f"equinox from {first:g} to {last:g} and galactic ones can be converted to ICRS"
        )
        raise ImageError(msg, reason="coordinate system")
    return Frame(name, year)


def turned(wcs: WCS, rotation: FloatArray) -> WCS:
    """The same projection in another frame.

    Parameters
    ----------
    wcs : astropy.wcs.WCS
    rotation : numpy.ndarray, (3, 3)
        From unit vectors of its frame to those of the other one.

    Notes
    -----
    A projection is fixed to the sky by three Euler angles: the celestial position of its native
    pole, and the native longitude of the celestial pole (Calabretta & Greisen 2002, section 2.4).
    A rotation of the sky changes these alone, so the result is exact for every projection. The new
    angles are written as CRVAL and LONPOLE, with the native pole as the reference point, which it
    is for zenithal projections anyhow; for others PVi_1 and PVi_2 say so.
    """
    alpha, colatitude, phi = np.radians(wcs.wcs.cel.euler[:3])
    matrix = rotation @ _about_z(alpha) @ _about_y(colatitude) @ _about_z(math.pi - phi)
    x, y, z = matrix[:, 2]
    alpha, colatitude = math.atan2(y, x), math.atan2(math.hypot(x, y), z)
    # What is left of the rotation: well defined at the poles too, where two angles are one.
    rest = (_about_z(alpha) @ _about_y(colatitude)).T @ matrix
    phi = math.pi - math.atan2(rest[1, 0], rest[0, 0])
    made = wcs.deepcopy()
    made.wcs.crval = [math.degrees(alpha) % 360.0, 90.0 - math.degrees(colatitude)]
    made.wcs.lonpole = (math.degrees(phi) + 180.0) % 360.0 - 180.0
    made.wcs.latpole = 90.0 - math.degrees(colatitude)
    longitude = wcs.wcs.lng + 1
    # The last two are other names of LONPOLE and LATPOLE; the first says that CRPIX is not at the
    # origin of the projection but at the reference point, which is going to be another one.
    replaced = {(longitude, index) for index in (0, 1, 2, 3, 4)}
    if wcs.wcs.cel.offset:
        origin = [wcs.wcs.cel.prj.x0, wcs.wcs.cel.prj.y0]
        made.wcs.crpix = wcs.wcs.crpix - np.linalg.inv(wcs.pixel_scale_matrix) @ origin
    kept = [item for item in wcs.wcs.get_pv() if item[:2] not in replaced]
    if (wcs.wcs.phi0, wcs.wcs.theta0) != (0.0, 90.0):
        kept += [(longitude, 1, 0.0), (longitude, 2, 90.0)]
    made.wcs.set_pv(kept)
    made.wcs.ctype = [
        f"{name}{kind[4:]}" for name, kind in zip(("RA--", "DEC-"), wcs.wcs.ctype, strict=True)
    ]
    made.wcs.radesys = "ICRS"
    made.wcs.set()
    return made


def pixel_matrix(wcs: WCS, nx: int, ny: int) -> FloatArray:
    """Degrees (east, north) per pixel (x, y), (2, 2).

    Of the tangent plane at the reference point for zenithal projections, in which interferometers
    make their images and define their beams; of the image's centre for all others.

    Raises
    ------
    ImageError
        If it is none: the pixels are a line, or too small or too large.
    """
    smallest, largest = _PIXEL_RANGE_DEG
    # Numbers of damaged headers may be beyond all others; then there are no sides.
    with np.errstate(over="ignore", invalid="ignore"):
        if wcs.wcs.ctype[0][5:8] in _ZENITHAL and (wcs.wcs.phi0, wcs.wcs.theta0) == (0.0, 90.0):
            matrix = _turn_to_north(wcs) @ np.asarray(wcs.pixel_scale_matrix, dtype=np.float64)
        else:
            matrix = linearise(wcs, np.array([nx / 2]), np.array([ny / 2]))[2][0]
        sides = np.hypot(matrix[0], matrix[1])
        straight = abs(float(np.linalg.det(matrix))) > _SKEW_MIN * float(sides.prod())
    if not (smallest <= sides.min() and sides.max() <= largest and straight):
        msg = (
            f"its pixels are no parallelogram on the sky: sides of {sides[0]:g} and {sides[1]:g} "
            f"deg, which must be from {smallest:g} to {largest:g} and not in line"
        )
        raise ImageError(msg, reason="no coordinates")
    return matrix


def sky_of_field(wcs: WCS, nx: int, ny: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Right ascensions and declinations of an image's centre and its four corners, in degrees.

    The centre is that of pixel (nx/2, ny/2), counted from 0. Corners off the sky are NaN.

    Raises
    ------
    ImageError
        If the centre is not on the sky.
    """
    x = np.array([nx / 2, -0.5, nx - 0.5, -0.5, nx - 0.5])
    y = np.array([ny / 2, -0.5, -0.5, ny - 0.5, ny - 0.5])
    ra, dec = wcs.wcs_pix2world(x, y, 0)
    ra = wrap_ra(ra)
    if not math.isfinite(ra[0] + dec[0]):
        raise _off_sky()
    return tuple(ra.tolist()), tuple(dec.tolist())


def _off_sky() -> ImageError:
    msg = "the centre of the image is not on the sky; its coordinates cannot be right"
    return ImageError(msg, reason="no coordinates")


def _turn_to_north(wcs: WCS) -> FloatArray:
    """Rotation from the axes of a zenithal projection to (east, north), which LONPOLE gives."""
    usual = 0.0 if wcs.wcs.crval[wcs.wcs.lat] >= 90.0 else 180.0
    if wcs.wcs.lonpole == usual:
        return np.eye(2)
    turn = math.radians(wcs.wcs.lonpole - usual)
    return np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])


def _rotation(frame: Frame, wcs: WCS, nx: int, ny: int) -> FloatArray:
    """Rotation of unit vectors from a frame to ICRS, by astropy.

    FK4 has the E-terms of aberration in it, which are no rotation: of them the rotation about the
    image's centre is taken that fits best within 1 deg. It is wrong by at most 0.0001 arcsec there
    and 0.03 arcsec at 5 deg.
    """
    if frame.name != "FK4":
        return _rotation_to_icrs(frame)
    ra, dec = wcs.wcs_pix2world(nx / 2, ny / 2, 0)
    if not math.isfinite(float(ra) + float(dec)):
        raise _off_sky()
    centre = unit_vectors(ra, dec)
    across = np.linalg.svd(centre[None])[2][1:] * math.tan(math.radians(_FIT_DEG))
    around = np.concatenate([centre + across, centre - across])
    old = np.concatenate([centre[None], around / np.linalg.norm(around, axis=1)[:, None]])
    new = _to_icrs(frame, old)
    turn = _nearest_rotation(new.T @ old)
    # Exact at the centre: the least turn that is still missing there.
    return _least_turn(turn @ centre, new[0]) @ turn


@lru_cache(maxsize=256)
def _rotation_to_icrs(frame: Frame) -> FloatArray:
    return _nearest_rotation(_to_icrs(frame, _AXES).T)


def _to_icrs(frame: Frame, vectors: FloatArray) -> FloatArray:
    """Directions in ICRS of directions in a frame, (n, 3) each."""
    equinox = f"{'B' if frame.name.startswith('FK4') else 'J'}{frame.equinox}"
    kinds: dict[str, BaseCoordinateFrame] = {"galactic": Galactic()}
    if frame.name != "galactic":
        kinds[frame.name] = {"FK5": FK5, "FK4": FK4, "FK4-NO-E": FK4NoETerms}[frame.name](
            equinox=equinox
        )
    directions = kinds[frame.name].realize_frame(CartesianRepresentation(vectors.T))
    made = directions.transform_to(ICRS()).cartesian.xyz.value.T
    return np.asarray(made / np.linalg.norm(made, axis=1)[:, None])


def _nearest_rotation(matrix: FloatArray) -> FloatArray:
    """Rotation that is nearest to a matrix (Kabsch)."""
    left, _, right = np.linalg.svd(matrix)
    return np.asarray(left @ np.diag([1.0, 1.0, np.linalg.det(left @ right)]) @ right)


def _least_turn(first: FloatArray, second: FloatArray) -> FloatArray:
    """Rotation of one direction to another that is near, along the great circle (Rodrigues)."""
    x, y, z = np.cross(first, second)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.asarray(np.eye(3) + cross + cross @ cross / (1.0 + first @ second))


def _about_z(angle: float) -> FloatArray:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def _about_y(angle: float) -> FloatArray:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])


def _equinox(header: Header) -> float | None:
    for key in ("EQUINOX", "EPOCH"):
        value = header.get(key)
        if isinstance(value, str):
            value = value.strip().upper().lstrip("JB")
            try:
                return float(value)
            except ValueError:
                continue
        number = header.number(key)
        if number is not None:
            return number
    return None


def _check_axes(ctype: list[str]) -> None:
    """Raise unless the first two axes are longitude and latitude of a frame that is known."""
    kinds = (ctype[0][:4], ctype[1][:4])
    if kinds in _LONGITUDE_LATITUDE:
        if ctype[0][4:] != ctype[1][4:] or ctype[0][5:] not in _PROJECTIONS:
            msg = (
                f"its coordinate system cannot be read: {ctype[0]} and {ctype[1]} are no "
                "projection that wcslib knows"
            )
            raise ImageError(msg, reason="no coordinates")
        return
    if kinds[::-1] in _LONGITUDE_LATITUDE:
        msg = (
            f"its axes are {ctype[0]} and {ctype[1]}: longitude must be the first axis; "
            "write the image with its axes the other way round"
        )
        raise ImageError(msg, reason="coordinate system")
    if kinds[0][1:] == "LON" or kinds[0][2:] == "LN":
        msg = (
            f"its coordinates are {ctype[0]}/{ctype[1]}; only RA/DEC and galactic ones can be "
            "converted to ICRS"
        )
        raise ImageError(msg, reason="coordinate system")
    said = ", ".join(f"CTYPE{axis + 1} {kind!r}" for axis, kind in enumerate(ctype))
    msg = f"its first two axes are not celestial coordinates ({said})"
    raise ImageError(msg, reason="no coordinates")


def _check_placed(header: Header) -> None:
    """Raise if what places the image on the sky is missing: astropy would assume 0, and 1 deg."""
    missing = [
        key
        for axis in (1, 2)
        for key in (f"CRVAL{axis}", f"CRPIX{axis}")
        if header.plain_number(key) is None
    ]
    missing += [
        f"CDELT{axis}"
        for axis in (1, 2)
        if all(header.plain_number(key) is None for key in (f"CDELT{axis}", *_names("CD", axis)))
    ]
    if missing:
        msg = f"its header has no {', '.join(missing)}; it cannot be placed on the sky"
        raise ImageError(msg, reason="no coordinates", missing=missing)


def _required(header: Header, key: str) -> float:
    value = header.plain_number(key)
    return math.nan if value is None else value


def _degrees(header: Header, axis: int) -> float:
    unit = header.text(f"CUNIT{axis}")
    factor = _DEG_PER_UNIT.get(unit.upper())
    if factor is None:
        msg = f"its CUNIT{axis} is {unit!r}; coordinates must be in deg, arcmin, arcsec or rad"
        raise ImageError(msg, reason="no coordinates")
    return factor


def _names(kind: str, axis: int) -> dict[str, int]:
    """Keywords of a row of the matrix, with the old ones, and the column of each."""
    return {
        f"{kind}{axis}_1": 0,
        f"{kind}{axis}_2": 1,
        f"{kind}00{axis}001": 0,
        f"{kind}00{axis}002": 1,
    }


def _matrix(header: Header, kind: str, default: FloatArray) -> FloatArray | None:
    """The matrix PC or CD, with the default where an element is missing; None without any."""
    made, found = default.copy(), False
    for row in (0, 1):
        for key, column in _names(kind, row + 1).items():
            value = header.plain_number(key)
            if value is not None:
                made[row, column], found = value, True
    return made if found else None


def _set_matrix(wcs: WCS, header: Header, factors: list[float]) -> None:
    """Set CD, or CDELT with PC or CROTA, in degrees."""
    cd = _matrix(header, "CD", np.zeros((2, 2)))
    pc = _matrix(header, "PC", np.eye(2))
    deltas = [header.plain_number(f"CDELT{axis}") for axis in (1, 2)]
    if pc is None and cd is not None:
        # An axis without a row of its own has its CDELT.
        for axis in (0, 1):
            if not cd[axis].any() and deltas[axis] is not None:
                cd[axis, axis] = deltas[axis]
        wcs.wcs.cd = cd * np.array(factors)[:, None]
        return
    wcs.wcs.cdelt = [(delta or 0.0) * f for delta, f in zip(deltas, factors, strict=True)]
    rotations = [header.plain_number(f"CROTA{axis}") for axis in (1, 2)]
    if pc is not None:
        wcs.wcs.pc = pc
    elif any(rotations):
        wcs.wcs.crota = [rotation or 0.0 for rotation in rotations]


def _set_ncp(wcs: WCS) -> None:
    """Write the old projection NCP as the SIN projection that it is (FITS paper II, section 5.1.5).

    Its slant depends on the declination of the reference point, which another frame changes.
    """
    wcs.wcs.ctype = [kind.replace("-NCP", "-SIN") for kind in wcs.wcs.ctype]
    slant = 1.0 / math.tan(math.radians(wcs.wcs.crval[1]))
    wcs.wcs.set_pv([(2, 1, 0.0), (2, 2, slant)])


def _parameters(header: Header) -> list[tuple[int, int, float]]:
    """Parameters of the projection: PVi_m, or their old name PROJPm."""
    found = []
    for key in header.values:
        axis, number = key[2:3], key[4:]
        if key[:2] == "PV" and key[3:4] == "_" and axis in {"1", "2"} and number.isdecimal():
            index = (int(axis), int(number))
        elif key[:5] == "PROJP" and key[5:].isdecimal():
            index = (2, int(key[5:]))
        else:
            continue
        value = header.plain_number(key)
        if value is not None and index[1] < 100:
            found.append((*index, value))
    return found

"""Headers with values as hypothesis draws them, told in forms of the generator, are read right."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from astropy.coordinates import FK4, FK5, ICRS, Galactic
from astropy.time import Time
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from trap_ops.records.images import Beam
from trap_ops.simulate.headers_sky import Placing
from trap_ops.simulate.headers_variant import Variant, plane_values, variant
from unit.images.reading_truth import read_all, wrong

FRAMES: dict[str, tuple[Any, dict[str, Any]]] = {
    "icrs": (ICRS(), {"RADESYS": "ICRS", "EQUINOX": None}),
    "fk5": (FK5(equinox="J2000"), {"RADESYS": "FK5"}),
    "of-date": (FK5(equinox="J2033.5"), {"RADESYS": "FK5", "EQUINOX": 2033.5}),
    "fk4": (FK4(equinox="B1950"), {"RADESYS": None, "EQUINOX": 1950.0}),
    "galactic": (Galactic(), {"EQUINOX": None}),
}
HERTZ = {"Hz": 1.0, "kHz": 1e3, "MHz": 1e6, "GHz": 1e9}
SCALES = {"UTC": "utc", "TAI": "tai", "IAT": "tai", "TT": "tt", "TDT": "tt"}
# A file is written for each example; the directory is shared, the file is written over.
shared_directory = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40
)


def finite(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False, allow_infinity=False)


def check(made: Variant, directory: Path) -> None:
    path = directory / made.file_name
    path.unlink(missing_ok=True)
    ((image, opened),) = read_all(made.write(directory), made.settings)
    assert wrong(image, opened, made.expected[0]) == []


@shared_directory
@given(
    lon=finite(-360.0, 720.0),
    lat=finite(-89.0, 89.0),
    turn=finite(-180.0, 180.0),
    size=finite(1e-5, 0.02),
    ratio=finite(0.5, 2.0),
    mirrored=st.booleans(),
    crpix=st.tuples(finite(-300.0, 300.0), finite(-300.0, 300.0)),
    projection=st.sampled_from(["SIN", "TAN", "ARC", "STG", "ZEA"]),
    frame=st.sampled_from(sorted(FRAMES)),
    form=st.sampled_from(["crota", "cd"]),
)
def test_places(
    lon: float,
    lat: float,
    turn: float,
    size: float,
    ratio: float,
    mirrored: bool,
    crpix: tuple[float, float],
    projection: str,
    frame: str,
    form: str,
    tmp_path: Path,
) -> None:
    coordinates, cards = FRAMES[frame]
    placing = Placing(
        lon_deg=lon,
        lat_deg=lat,
        projection=projection,
        frame=coordinates,
        crpix=crpix,
        cdelt_deg=(size if mirrored else -size, size * ratio),
        turn_deg=turn,
    )
    matrix = placing.matrix_deg
    told: dict[str, Any] = {"CROTA2": turn}
    if form == "cd":
        told = {f"CD{i + 1}_{j + 1}": matrix[i, j] for i in range(2) for j in range(2)}
        told |= {"CDELT1": None, "CDELT2": None}
    more: dict[str, Any] = {"bpa_tol_deg": 1e-7}
    if frame == "fk4":
        # Aberration bends the frame: a rotation fits it exactly in the middle only.
        more = {"bpa_tol_deg": 1e-2, "position_mas": 20.0, "matrix_deg": None}
    check(variant("places", "", {**cards, **told}, placing=placing, **more), tmp_path)


@shared_directory
@given(
    frequency=finite(10e6, 100e9),
    width=finite(1e-6, 0.1),
    down=st.booleans(),
    place=finite(-100.0, 100.0),
    unit=st.sampled_from(sorted(HERTZ)),
    axis=st.sampled_from([3, 4]),
)
def test_frequencies(
    frequency: float,
    width: float,
    down: bool,
    place: float,
    unit: str,
    axis: int,
    tmp_path: Path,
) -> None:
    step = frequency * width * (-1.0 if down else 1.0)
    reference = frequency + (place - 1.0) * step
    assume(reference > 0.0)
    cards = {
        "RESTFRQ": 1.42e9,
        "RESTBW": None,
        f"CTYPE{axis}": "FREQ",
        f"CRVAL{axis}": reference / HERTZ[unit],
        f"CRPIX{axis}": place,
        f"CDELT{axis}": step / HERTZ[unit],
        f"CUNIT{axis}": unit,
        f"CTYPE{7 - axis}": "STOKES",
        f"CRVAL{7 - axis}": 4.0,
        f"CRPIX{7 - axis}": 1.0,
        f"CDELT{7 - axis}": 1.0,
    }
    truth = {"frequency_hz": frequency, "bandwidth_hz": abs(step), "stokes": 4}
    data = plane_values()[None, None]
    check(variant("frequencies", "", cards, data=data, **truth), tmp_path)


@shared_directory
@given(
    start=st.datetimes(datetime(1972, 2, 1), datetime(2027, 1, 1)),
    seconds=finite(0.0, 1e6),
    scale=st.sampled_from(sorted(SCALES)),
    form=st.sampled_from(["begin", "middle", "end", "days"]),
)
def test_times(start: datetime, seconds: float, scale: str, form: str, tmp_path: Path) -> None:
    """Against astropy's time scales; days hold a tenth of a millisecond."""
    length = timedelta(seconds=seconds)
    ends = Time([start, start + length / 2, start + length], scale="utc", precision=6)
    # A length that leaps is measured in UTC, and told in seconds: leave it out.
    leaps = (ends[2] - ends[0]).sec - seconds
    assume(abs(leaps) < 0.5)
    begin, middle, end = getattr(ends, SCALES[scale])
    cards: dict[str, Any] = {"TIMESYS": scale, "EXPTIME": seconds, "DATE-OBS": None}
    cards |= {
        "begin": {"DATE-OBS": begin.isot, "EXPTIME": None, "DATE-END": end.isot},
        "middle": {"DATE-AVG": middle.isot},
        "end": {"DATE-END": end.isot},
        "days": {"MJD-OBS": begin.mjd},
    }[form]
    check(variant("times", "", cards, start=start, integration_s=seconds), tmp_path)


@shared_directory
@given(
    bmaj=finite(1e-7, 10.0),
    ratio=finite(0.01, 0.99),
    bpa=finite(-360.0, 360.0),
    form=st.sampled_from(["deg", "arcsec", "rad", "text"]),
)
def test_beams(bmaj: float, ratio: float, bpa: float, form: str, tmp_path: Path) -> None:
    bmin = bmaj * ratio
    per_deg = {"arcsec": 3600.0, "rad": 0.017453292519943295}.get(form, 1.0)
    values: list[Any] = [bmaj * per_deg, bmin * per_deg, bpa]
    unit = f":{form}" if form in {"arcsec", "rad"} else ""
    if form == "text":
        values = [f"{value:.12g}" for value in values]
    cards = {"BMAJ": None, "BMIN": None, "BPA": None}
    cards |= dict(zip(("MAJ", "MIN", "PA"), values, strict=True))
    keywords = [[f"MAJ{unit}", f"MIN{unit}", "PA"]]
    made = variant(
        "beams",
        "",
        cards,
        beam=Beam(bmaj, bmin, bpa),
        bpa_tol_deg=1e-7,
        settings={"images": {"header": {"beam_deg": keywords}}},
    )
    check(made, tmp_path)


def test_the_drawn_values_can_be_wrong(tmp_path: Path) -> None:
    """A header that says another thing than the truth does is found."""
    made = variant("places", "", {"CRVAL1": 123.0 + 1e-6})
    with pytest.raises(AssertionError, match="positions are off"):
        check(made, tmp_path)

"""Distances from bright sources, against other theories of where Sun, Moon and Jupiter are."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from astropy.coordinates import SkyCoord, get_body
from astropy.time import Time
from astropy.utils import iers

from conftest import ROOT
from trap_ops.science.bright_sources import BRIGHT_SOURCES, bright_separations, moving_directions
from trap_ops.science.coordinates import separation, separation_of_vectors, unit_vectors

CLASSIC = datetime(2012, 4, 6, 3, 42)
DATES = [datetime(1965, 2, 1), CLASSIC, datetime(2020, 10, 6, 1, 26), datetime(2026, 7, 15, 12)]


def image(start: datetime, ra: float = 0.0, dec: float = 0.0) -> Any:
    return SimpleNamespace(start=start, centre_ra_deg=ra, centre_dec_deg=dec)


def directions(dates: list[datetime]) -> dict[str, np.ndarray]:
    times = Time(dates, scale="tdb")  # Only for its Julian dates.
    return moving_directions(times.jd1, times.jd2)


def test_pointings_of_the_classic_tests() -> None:
    found = bright_separations(
        [image(CLASSIC), image(CLASSIC, 90.0, 0.0), image(CLASSIC, 212.836, 52.2025)]
    )
    assert tuple(found) == BRIGHT_SOURCES
    classic = [name for name in BRIGHT_SOURCES if name != "Moon"]
    near = [{n for n in classic if found[n][row] < 20.0} for row in range(3)]
    assert near == [{"Sun"}, set(), set()]


def test_places_of_the_fixed_sources() -> None:
    """Against positions of the NASA/IPAC Extragalactic Database and SIMBAD, J2000."""
    known = {
        "CasA": ("23h23m24s", "+58d48m54s"),
        "CygA": ("19h59m28.36s", "+40d44m02.1s"),
        "TauA": ("05h34m31.94s", "+22d00m52.2s"),
        "HerA": ("16h51m08.15s", "+04d59m33.3s"),
        "VirA": ("12h30m49.42s", "+12d23m28.0s"),
    }
    for name, (ra, dec) in known.items():
        place = SkyCoord(ra, dec)
        found = bright_separations([image(CLASSIC, place.ra.deg, place.dec.deg)])
        assert float(found[name][0]) < 0.02, name


def of_date_to_j2000(lon_deg: float, lat_deg: float, days: float) -> tuple[float, float]:
    """Ecliptic of date to RA and Dec of J2000: general precession, mean obliquity."""
    lon = np.radians(lon_deg - 3.82394e-5 * days)
    lat, tilt = np.radians(lat_deg), np.radians(23.4393)
    x, y = np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon)
    z = np.sin(lat)
    y, z = y * np.cos(tilt) - z * np.sin(tilt), y * np.sin(tilt) + z * np.cos(tilt)
    return float(np.degrees(np.arctan2(y, x))), float(np.degrees(np.arcsin(z)))


def sun(days: float) -> tuple[float, float]:
    """Astronomical Almanac, page C5: to 0.01 deg from 1950 to 2050."""
    mean, anomaly = 280.460 + 0.9856474 * days, np.radians(357.528 + 0.9856003 * days)
    return of_date_to_j2000(
        mean + 1.915 * np.sin(anomaly) + 0.020 * np.sin(2.0 * anomaly), 0.0, days
    )


def moon(days: float) -> tuple[float, float]:
    """Astronomical Almanac, page D22: to 0.3 deg."""
    t = days / 36525.0

    def wave(size: float, phase: float, rate: float) -> float:
        return size * float(np.sin(np.radians(phase + rate * t)))

    lon = 218.32 + 481267.881 * t + wave(6.29, 135.0, 477198.87) - wave(1.27, 259.3, -413335.36)
    lon += wave(0.66, 235.7, 890534.22) + wave(0.21, 269.9, 954397.74)
    lon += -wave(0.19, 357.5, 35999.05) - wave(0.11, 186.5, 966404.03)
    lat = wave(5.13, 93.3, 483202.02) + wave(0.28, 228.2, 960400.89)
    lat += -wave(0.28, 318.3, 6003.15) - wave(0.17, 217.6, -407332.21)
    return of_date_to_j2000(lon, lat, days)


# JPL, Approximate Positions of the Planets (Standish), 1800 to 2050, J2000: a (AU), e, inclination,
# mean longitude, longitude of perihelion, of the node (deg); and changes in a century.
ELEMENTS = {
    "earth": (
        (1.00000261, 0.01671123, -0.00001531, 100.46457166, 102.93768193, 0.0),
        (0.00000562, -0.00004392, -0.01294668, 35999.37244981, 0.32327364, 0.0),
    ),
    "jupiter": (
        (5.20288700, 0.04838624, 1.30439695, 34.39644051, 14.72847983, 100.47390909),
        (-0.00011607, -0.00013253, -0.00183714, 3034.74612775, 0.21252668, 0.20469106),
    ),
}


def from_the_sun(planet: str, days: float) -> np.ndarray:
    """AU, in the ecliptic of J2000."""
    now, rate = (np.array(row) for row in ELEMENTS[planet])
    a, e, tilt, lon, perihelion, node = now + rate * days / 36525.0
    anomaly = np.radians(lon - perihelion)
    eccentric = anomaly
    for _ in range(20):
        eccentric = anomaly + e * np.sin(eccentric)
    x, y = a * (np.cos(eccentric) - e), a * np.sqrt(1.0 - e * e) * np.sin(eccentric)
    w, n, i = np.radians([perihelion - node, node, tilt])
    x, y = x * np.cos(w) - y * np.sin(w), x * np.sin(w) + y * np.cos(w)
    return np.array(
        [
            x * np.cos(n) - y * np.sin(n) * np.cos(i),
            x * np.sin(n) + y * np.cos(n) * np.cos(i),
            y * np.sin(i),
        ]
    )


def jupiter(days: float) -> tuple[float, float]:
    x, y, z = from_the_sun("jupiter", days) - from_the_sun("earth", days)
    tilt = np.radians(23.43928)
    y, z = y * np.cos(tilt) - z * np.sin(tilt), y * np.sin(tilt) + z * np.cos(tilt)
    return float(np.degrees(np.arctan2(y, x))), float(np.degrees(np.arctan2(z, np.hypot(x, y))))


@pytest.mark.parametrize(
    ("body", "formula", "tolerance_deg"),
    [("Sun", sun, 0.02), ("Moon", moon, 0.4), ("Jupiter", jupiter, 0.15)],
)
def test_directions_are_those_of_simpler_theories(
    body: str, formula: Any, tolerance_deg: float
) -> None:
    found = directions(DATES)[body]
    for row, date in enumerate(DATES):
        days = (date - datetime(2000, 1, 1, 12)).total_seconds() / 86400.0
        expected = unit_vectors(*formula(days))
        assert float(separation_of_vectors(found[row], expected)) < tolerance_deg, date


def test_directions_are_those_of_astropy_but_for_aberration_and_light_time() -> None:
    found = directions(DATES)
    with iers.conf.set_temp("auto_download", False):
        for body, vectors in found.items():
            place = get_body(body.lower(), Time(DATES, scale="utc"))
            apart = separation_of_vectors(vectors, unit_vectors(place.ra.deg, place.dec.deg))
            assert apart.max() < 0.015, body


def test_sun_and_moon_meet_in_eclipses_and_jupiter_meets_saturn() -> None:
    """Greatest eclipses of 2017 August 21 and 2024 April 8; the conjunction of 2020 December 21."""
    found = directions([datetime(2017, 8, 21, 18, 26), datetime(2024, 4, 8, 18, 17)])
    assert separation_of_vectors(found["Sun"], found["Moon"]).max() < 0.5
    jupiter_then = directions([datetime(2020, 12, 21, 18)])["Jupiter"]
    assert float(separation_of_vectors(jupiter_then[0], unit_vectors(302.6, -20.6))) < 0.3


def test_an_image_alone_has_the_distances_that_it_has_among_others() -> None:
    images = [
        image(CLASSIC + timedelta(hours=7 * n), 13.0 * n % 360.0, n - 20.0) for n in range(40)
    ]
    together = bright_separations(images)
    for number in (0, 1, 17, 39):
        alone = bright_separations([images[number]])
        assert {n: v[0] for n, v in alone.items()} == {n: v[number] for n, v in together.items()}


def test_outside_the_theories_nothing_is_said() -> None:
    images = [image(datetime(1899, 12, 31)), image(CLASSIC), image(datetime(2100, 1, 1))]
    found = bright_separations(images)
    for name in ("Sun", "Moon", "Jupiter"):
        assert np.isnan(found[name]).tolist() == [True, False, True]
    assert not any(np.isnan(found[name]).any() for name in BRIGHT_SOURCES[:5])
    assert all(len(values) == 0 for values in bright_separations([]).values())


def test_the_network_is_never_tried() -> None:
    """In a process of its own: leap seconds are looked for once, when times are first used."""
    program = """
import socket
from datetime import datetime, timedelta
from types import SimpleNamespace

tried = []

def refuse(*args, **options):
    tried.append(args)
    raise OSError("no network")

socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
from astropy.time import core
from astropy.utils import iers
from trap_ops.science.bright_sources import bright_separations

# As if all tables of leap seconds that are here had expired long ago.
iers.conf.auto_max_age = 10
iers.LeapSeconds._today = classmethod(lambda cls: core.Time("2090-01-01", scale="tai"))
image = SimpleNamespace(start=datetime(2026, 1, 1), centre_ra_deg=0.0, centre_dec_deg=0.0)
print(float(bright_separations([image])["Sun"][0]), tried)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT / "plugins")},
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    assert done.stdout.split()[1:] == ["[]"], done.stdout + done.stderr


def test_distances_are_angles_on_the_sky() -> None:
    found = bright_separations([image(CLASSIC, 350.85, 58.8)])
    there = directions([CLASSIC])["Sun"][0]
    ra = np.degrees(np.arctan2(there[1], there[0]))
    dec = np.degrees(np.arcsin(there[2]))
    assert float(found["Sun"][0]) == pytest.approx(float(separation(350.85, 58.8, ra, dec)))
    assert float(found["CasA"][0]) < 0.03

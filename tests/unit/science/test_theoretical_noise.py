"""Theoretical noise: the figures of the classic system, and what its slip makes of them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from trap_ops.errors import ScienceError
from trap_ops.images.lofar import dipole_distances
from trap_ops.records.images import ArrayInfo
from trap_ops.science.theoretical_noise import (
    lofar_noise_jy,
    radiometer_noise_jy,
    receiver_temperature_k,
    sky_temperature_k,
    station_area_m2,
    station_sefd_jy,
)

DISTANCES = dipole_distances()
LBA = (66308593.75, 200e3, 18654.3, ArrayInfo("LBA_INNER", 23, 8, 0))
HBA = (150e6, 200e3, 3600.0, ArrayInfo("HBA", 24, 12, 0))
HBA_AREAS = {
    120: (600, 1200, 2400),
    150: (512, 1024, 2048),
    180: (356, 711, 1422),
    200: (288, 576, 1152),
    240: (200, 400, 800),
}


def noise_with_slip(freq_hz: float, bandwidth_hz: float, seconds: float, array: ArrayInfo) -> float:
    """As the classic code has it: core and remote for a baseline of two remote stations."""
    core, remote = (
        station_sefd_jy(freq_hz, str(array.antenna_set), kind, DISTANCES)
        for kind in ("core", "remote")
    )
    n_core, n_remote = array.n_core or 0, array.n_remote or 0
    baselines = (
        n_core * (n_core - 1) / 2.0 / core**2
        + n_remote * (n_remote - 1) / 2.0 / (remote * core)
        + n_core * n_remote / (core * remote)
    )
    return 1.0 / math.sqrt(4.0 * bandwidth_hz * seconds * baselines)


def test_low_band_noise_is_the_quoted_one() -> None:
    assert lofar_noise_jy(*LBA, DISTANCES) == pytest.approx(0.0159015, rel=1e-5)
    assert noise_with_slip(*LBA) == pytest.approx(0.0159015, rel=1e-5)


def test_high_band_noise_is_the_quoted_one_with_the_slip_and_less_without() -> None:
    """A remote station is twice a core station: its baselines are better than the slip says."""
    assert noise_with_slip(*HBA) == pytest.approx(1.76691e-3, rel=3e-6)
    assert lofar_noise_jy(*HBA, DISTANCES) == pytest.approx(1.65913e-3, rel=3e-6)


@pytest.mark.parametrize(("freq_mhz", "areas_m2"), HBA_AREAS.items())
def test_areas_of_high_band_stations(freq_mhz: int, areas_m2: tuple[float, ...]) -> None:
    for area_m2, kind in zip(areas_m2, ("core", "remote", "international"), strict=True):
        area = station_area_m2(freq_mhz * 1e6, "HBA_DUAL", kind, DISTANCES)
        assert area == pytest.approx(area_m2, abs=3.0)


def test_receiver_temperature_between_the_tabulated_frequencies() -> None:
    for freq_mhz, skies in ((10, 0.1), (25, 0.4), (52.5, 0.875), (65, 0.725), (85, 0.15), (100, 0)):
        freq_hz = freq_mhz * 1e6
        assert receiver_temperature_k(freq_hz) / sky_temperature_k(freq_hz) == pytest.approx(skies)
    for freq_mhz, kelvin in ((115, 100.0), (120, 200.0), (211, 200.0), (300, 200.0)):
        assert receiver_temperature_k(freq_mhz * 1e6) == pytest.approx(kelvin)
    # 60 K at 1 m, and 60 K times 2 to the power 2.55 at 2 m.
    assert sky_temperature_k(299792458.0) == pytest.approx(60.0)
    assert sky_temperature_k(299792458.0 / 2.0) == pytest.approx(351.38, abs=0.01)


@pytest.mark.parametrize("freq_hz", [-1.0, 0.0, 300.1e6, 1.4e9])
def test_frequencies_without_a_receiver_are_refused(freq_hz: float) -> None:
    with pytest.raises(ScienceError, match="only for 0 to 300 MHz"):
        receiver_temperature_k(freq_hz)


def test_stations_that_are_in_no_table_are_named() -> None:
    with pytest.raises(ScienceError, match=r"LBA_SPARSE0 of international stations .* LBA_OUTER"):
        lofar_noise_jy(60e6, 1e5, 10.0, ArrayInfo("LBA_SPARSE0", 1, 1, 1), DISTANCES)
    with pytest.raises(ScienceError, match="fewer than two stations"):
        lofar_noise_jy(60e6, 1e5, 10.0, ArrayInfo("LBA_OUTER", 1), DISTANCES)
    # Without international stations their table is not asked.
    assert lofar_noise_jy(60e6, 1e5, 10.0, ArrayInfo("LBA_SPARSE0", 2, 1), DISTANCES) > 0.0


def test_equal_stations_follow_the_radiometer_equation() -> None:
    sefd = station_sefd_jy(150e6, "HBA", "core", DISTANCES)
    made = lofar_noise_jy(150e6, 2e5, 60.0, ArrayInfo("HBA", 24), DISTANCES)
    assert made == pytest.approx(radiometer_noise_jy(sefd, 24, 1.0, 2e5, 60.0), rel=1e-12)


def test_radiometer_noise_of_a_published_array() -> None:
    """The VLA at L band: 420 Jy, 27 antennas, efficiency 0.93, 600 MHz, 1 h: 8 uJy/beam.

    NRAO's Guide to Observing with the VLA, Sensitivity, whose formula has N (N - 1) and two
    polarisations.
    """
    expected = 420.0 / (0.93 * math.sqrt(2 * 27 * 26 * 3600.0 * 600e6))
    assert radiometer_noise_jy(420.0, 27, 0.93, 600e6, 3600.0) == pytest.approx(expected)
    assert expected == pytest.approx(8.2e-6, abs=0.1e-6)


def test_noise_of_simulated_visibilities() -> None:
    """Mean of all baselines and both polarisations of one second and one hertz."""
    rng, antennas, sefd = np.random.default_rng(1), 6, 300.0
    baselines = antennas * (antennas - 1) // 2
    # Real part of a visibility of one polarisation: SEFD / sqrt(2 B t).
    real = rng.normal(0.0, sefd / math.sqrt(2.0), (20000, 2, baselines))
    made = real.mean(axis=(1, 2)).std()
    assert made == pytest.approx(radiometer_noise_jy(sefd, antennas, 1.0, 1.0, 1.0), rel=0.02)


def test_the_dipoles_are_those_of_the_antenna_fields() -> None:
    """Numbers of dipoles; the sparse sets take every other one of inner and outer."""
    assert {kind: len(sets) for kind, sets in DISTANCES.items()} == {
        "core": 7, "remote": 7, "international": 3,
    }  # fmt: skip
    for kind, full in (("core", 96), ("remote", 96), ("international", 96)):
        assert len(DISTANCES[kind]["LBA"]) == full
    core = DISTANCES["core"]
    both = np.concatenate([core["LBA_INNER"], core["LBA_OUTER"]])
    assert sorted(core["LBA"]) == sorted(both)
    assert all((values > 2.0).all() for sets in DISTANCES.values() for values in sets.values())

"""Noise that an image would have if only the receivers and the sky made it (SCIENCE.md 3.5)."""

from __future__ import annotations

import math

import numpy as np

from trap_ops.errors import ScienceError
from trap_ops.records.arrays import FloatArray
from trap_ops.records.images import ArrayInfo, DipoleDistances

_LIGHT_M_S = 299792458.0
_BOLTZMANN_J_K = 1.380649e-23
_JY_PER_SI = 1e26
# Area of a dipole in a high band tile at most, m2: four by four dipoles on 5 m by 5 m.
_HBA_DIPOLE_M2 = 1.5625
_HBA_DIPOLES_PER_TILE = 16
_HBA_TILES = {"core": 24, "remote": 48, "international": 96}
# Temperature of the receivers: in units of the sky's below 110 MHz, in K from 120 MHz on.
_RECEIVER_MHZ = (0.0, 10.0, 40.0, 50.0, 55.0, 60.0, 70.0, 80.0, 90.0, 110.0, 120.0, 300.0)
_RECEIVER_SKIES = (0.0, 0.1, 0.7, 0.85, 0.9, 0.85, 0.6, 0.3, 0.0, 0.0, 0.0, 0.0)
_RECEIVER_K = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 200.0, 200.0)


def radiometer_noise_jy(
    sefd_jy: float, antennas: int, efficiency: float, bandwidth_hz: float, integration_s: float
) -> float:
    """Noise of a naturally weighted image of Stokes I from equal antennas, Jy/beam.

    Parameters
    ----------
    sefd_jy : float
        System equivalent flux density of one antenna, one polarisation.
    antennas : int
        At least two.
    efficiency : float
        Of the correlation.
    bandwidth_hz, integration_s : float

    Notes
    -----
    sefd / (efficiency sqrt(2 B t n (n - 1))): Thompson, Moran and Swenson, Interferometry and
    Synthesis in Radio Astronomy, chapter 6; two polarisations.
    """
    baselines = antennas * (antennas - 1)
    return sefd_jy / (efficiency * math.sqrt(2.0 * bandwidth_hz * integration_s * baselines))


def lofar_noise_jy(
    freq_hz: float,
    bandwidth_hz: float,
    integration_s: float,
    array: ArrayInfo,
    distances: DipoleDistances,
) -> float:
    """Noise of a naturally weighted image of LOFAR, Jy/beam.

    Parameters
    ----------
    freq_hz, bandwidth_hz, integration_s : float
    array : ArrayInfo
        Antenna set and numbers of stations; a number that is None counts as 0.
    distances : mapping
        See :func:`station_area_m2`.

    Raises
    ------
    ScienceError
        If the frequency is outside 0 to 300 MHz, the antenna set is in no table, or there are fewer
        than two stations.

    Notes
    -----
    1 / sqrt(4 B t sum over baselines of 1 / (S_i S_j)) with the SEFD S of the stations at both
    ends. The classic pipeline took S_core S_remote instead of S_remote squared for baselines
    between remote stations, a slip.
    """
    counts = {
        "core": array.n_core or 0,
        "remote": array.n_remote or 0,
        "international": array.n_international or 0,
    }
    if sum(counts.values()) < 2:
        msg = "fewer than two stations have no baseline"
        raise ScienceError(msg, **counts)
    # Sensitivity 1/S of the stations of each kind that are there.
    used = [
        (number, 1.0 / station_sefd_jy(freq_hz, array.antenna_set or "", kind, distances))
        for kind, number in counts.items()
        if number
    ]
    total = sum(number * weight for number, weight in used)
    alone = sum(number * weight * weight for number, weight in used)
    # All ordered pairs without the stations with themselves, halved.
    baselines = (total * total - alone) / 2.0
    return 1.0 / math.sqrt(4.0 * bandwidth_hz * integration_s * baselines)


def station_sefd_jy(
    freq_hz: float, antenna_set: str, kind: str, distances: DipoleDistances
) -> float:
    """System equivalent flux density of a station of LOFAR, Jy, at an efficiency of 1."""
    temperature_k = sky_temperature_k(freq_hz) + receiver_temperature_k(freq_hz)
    area_m2 = station_area_m2(freq_hz, antenna_set, kind, distances)
    return 2.0 * _BOLTZMANN_J_K / area_m2 * temperature_k * _JY_PER_SI


def station_area_m2(
    freq_hz: float, antenna_set: str, kind: str, distances: DipoleDistances
) -> float:
    """Effective area of a station of LOFAR, m2.

    Parameters
    ----------
    freq_hz : float
    antenna_set : str
        ``HBA...`` or ``LBA...``; it decides, not the wavelength.
    kind : str
        ``core``, ``remote`` or ``international``.
    distances : mapping
        Metres from each dipole to its nearest neighbour, by kind and low band antenna set.

    Raises
    ------
    ScienceError
        If the antenna set is in no table.
    """
    third = (_LIGHT_M_S / freq_hz) ** 2 / 3.0
    if antenna_set.startswith("HBA"):
        return _HBA_DIPOLES_PER_TILE * _HBA_TILES[kind] * min(third, _HBA_DIPOLE_M2)
    if antenna_set not in distances[kind]:
        known = ", ".join(["HBA...", *sorted(distances[kind])])
        msg = f"antenna set {antenna_set} of {kind} stations is not known; known are {known}"
        raise ScienceError(msg)
    discs: FloatArray = np.pi * distances[kind][antenna_set] ** 2 / 4.0
    return float(np.minimum(third, discs).sum())


def sky_temperature_k(freq_hz: float) -> float:
    """Brightness of the sky, K: 60 K at a wavelength of 1 m, to the power 2.55."""
    return 60.0 * float((_LIGHT_M_S / freq_hz) ** 2.55)


def receiver_temperature_k(freq_hz: float) -> float:
    """Temperature of LOFAR's receivers, K, linear between tabulated frequencies.

    Raises
    ------
    ScienceError
        Outside 0 to 300 MHz.
    """
    freq_mhz = freq_hz / 1e6
    if not 0.0 < freq_mhz <= _RECEIVER_MHZ[-1]:
        msg = f"LOFAR has no receiver for {freq_mhz:.6g} MHz, only for 0 to 300 MHz"
        raise ScienceError(msg, freq_hz=freq_hz)
    # Interpolated each by itself: the temperature of the sky is that at the frequency itself.
    skies = float(np.interp(freq_mhz, _RECEIVER_MHZ, _RECEIVER_SKIES))
    kelvin = float(np.interp(freq_mhz, _RECEIVER_MHZ, _RECEIVER_K))
    return skies * sky_temperature_k(freq_hz) + kelvin

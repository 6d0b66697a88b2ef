"""Cards on which wcslib ends the process do not reach it, whatever else a header says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from damaged.cards import header, noise, padded, pixels
from damaged.reader import read_all

# A matter of seconds: not part of make test-fast.
pytestmark = pytest.mark.slow

PIXELS = padded(pixels(noise()))
# Each of these ends a process that gives all cards to astropy's WCS: text, or T and F, for numbers.
DEADLY = {
    **dict.fromkeys(("CNPIX1", "CNPIX2", "PPO1", "PPO3", "PPO6"), "'x'"),
    **dict.fromkeys(("AMDX1", "AMDY1", "AMDX20", "AMDY20"), "'x'"),
    **dict.fromkeys(("XPIXELSZ", "YPIXELSZ", "PLTRAH"), "'x'"),
    **dict.fromkeys(("A_0_2", "A_9_9", "B_2_0", "AP_0_1", "BP_1_0"), "'AXIS.1: 1'"),
}
KEYS = (
    *(
        "PV1_0",
        "PV1_4",
        "PV2_1",
        "PV2_30",
        "PV2_99",
        "PV2_999",
        "PV9_1",
        "PS1_0",
        "PS2_1",
        "PS1_99",
    ),
    *("PROJP1", "PROJP9", "CQDIS1", "CPDIS1", "CPDIS2", "DP1", "DQ1", "D2IMDIS1", "D2IMERR1"),
    *("A_ORDER", "B_ORDER", "AP_ORDER", "BP_ORDER", "A_0_2", "B_2_0", "AP_0_1", "CTYPE3", "CUNIT3"),
    *("MJD-OBS", "MJD-AVG", "DATE-AVG", "DATEREF", "MJDREF", "TIMESYS", "TREFPOS", "PLEPHEM"),
    *("OBSGEO-X", "OBSGEO-L", "VELOSYS", "SSYSOBS", "VELANGL", "WCSAXES", "WCSNAME", "LONPOLE"),
    *("LATPOLE", "EQUINOX", "RADESYS", "EPOCH", "CROTA1", "CROTA2", "CD1_1", "CD1_2", "CD2_1"),
    *("CD2_2", "PC1_1", "PC1_2", "PC3_3", "CD001001", "PC001002", "CRDER1", "CSYER1", "CNAME1"),
    *("CZPHS1", "CPERI1", "CTYPE1A", "CRVAL1A", "PV1_1A", "CRVAL99", "CTYPE99", "1CTYP1", "TCTYP1"),
)
NUMBERS = (
    *("0", "1", "-1", "3", "99", "2147483648", "-2147483648", "9223372036854775808", "0.0", "0.5"),
    *("1E300", "-1E300", "1E-300", "90.0", "-90.0", "180.0", "360.0", "1E10", "NAN", "T", ""),
)
TEXTS = (
    *(
        "x",
        "x" * 68,
        "TAB",
        "-TAB",
        "Polynomial",
        "TPD",
        "Lookup",
        "SIP",
        "NAXES: 2",
        "NAXES: 99999",
    ),
    *("AXIS.1: 1", "AXIS.1: 999", "TPD.FWD.0: 1", "NAXES: -1", "2016-12-31T23:59:60", "GLON-CAR"),
)
PROJECTIONS = (
    *("TAB", "TPV", "TPD", "TNX", "ZPX", "TAN-SIP", "SIN-SIP", "DSS", "PLATE", "HPX", "XPH", "QSC"),
    *("CSC", "TSC", "BON", "COE", "COP", "COD", "COO", "PCO", "AZP", "SZP", "ZPN", "AIR", "CYP"),
    *("CEA", "CAR", "MER", "SFL", "PAR", "MOL", "AIT", "STG", "ARC", "ZEA", "TAN", "NCP", "GLS"),
    *("Z" * 60, "-", "SIN-", ""),
)


def cards_of(rng: np.random.Generator) -> dict[str, str]:
    """Up to eight cards of coordinates with values of any kind, in a projection of any kind."""
    changes = {}
    if rng.random() < 0.8:
        projection = rng.choice(PROJECTIONS)
        changes = {"CTYPE1": f"'RA---{projection}'", "CTYPE2": f"'DEC--{projection}'"}
    for key in rng.choice(KEYS, rng.integers(0, 9), replace=False):
        text = f"'{rng.choice(TEXTS)}'"
        changes[str(key)] = str(rng.choice(NUMBERS) if rng.random() < 0.6 else text)
    return changes


def faults_in(directory: Path, headers: list[dict[str, str]]) -> list[str]:
    paths = []
    for number, changes in enumerate(headers):
        paths.append(directory / f"{number}.fits")
        paths[-1].write_bytes(header(changes) + PIXELS)
    results = read_all(paths)
    return [
        f"{changes}: {result.reason} {result.message}"
        for changes, result in zip(headers, results, strict=True)
        if result.outcome == "fault"
    ]


def test_deadly_cards_are_harmless(tmp_path: Path) -> None:
    of_each = [{key: value} for key, value in DEADLY.items()]
    assert faults_in(tmp_path, [*of_each, DEADLY]) == []


def test_no_coordinates_end_the_process(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    assert faults_in(tmp_path, [cards_of(rng) for _ in range(300)]) == []


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_very_many_coordinates_end_no_process(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    for _ in range(10):
        assert faults_in(tmp_path, [cards_of(rng) for _ in range(5000)]) == []

"""A bad image never stops a run: whatever a header says, it is read or refused with a reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trap_ops.errors import ImageError
from trap_ops.science.geometry import geometry, pixel_beam
from trap_ops.science.quality import measure
from unit.images.fits_files import read_header, read_image, write

NUMBERS = (
    *("1E300", "-1E300", "1E-300", "1E-320", "1E308", "1E400", "-1", "0", "-0.0", "1", "2", "3"),
    *("0.5", "90.0", "-90.0", "91", "180", "1E10", "2147483648", "9223372036854775807", "1E20"),
    *("NAN", "INF", "T", "F", "", "'x'", "''", "'12.5'", "'1E300'", "(1.0, 2.0)"),
)
TIMES = (
    *(
        "'0000.5'",
        "'9999.99999'",
        "'0001.0'",
        "'0001-01-01'",
        "'2016-12-31T23:59:60'",
        "",
        "1998.5",
    ),
    *("'9999-12-31T23:59:59-05:00'", "'0001-01-01T00:00:00+05:00'", "'9999-12-31T23:59:59.9'"),
)
WORDS = ("''", "'x'", "", "T", "1E300", "'deg'", "'rad'", "'m'", "'GHz'", "'FREQ'", "'STOKES'")
PROJECTIONS = (
    *("XXX", "CAR", "TAN", "ZPN", "AZP", "SZP", "AIT", "COE", "TAB", "HPX", "CSC", "NCP", "GLS"),
    *("TPV", "SIN-SIP", "TSC", "AIR", "BON"),
)
SIZES = (
    "0",
    "-1",
    "1",
    "2",
    "24",
    "31",
    "1000000",
    "99999999999",
    "-32",
    "8",
    "16",
    "64",
    "T",
    "'x'",
)
AXES = [f"{key}{axis}" for key in ("CRVAL", "CRPIX", "CDELT", "CROTA") for axis in (1, 2, 3, 4)]
MATRIX = ("PC1_1", "PC1_2", "CD1_1", "CD1_2", "CD2_2", "PV2_1", "PV1_1", "PV1_2", "PV1_3")
VALUES = {
    **dict.fromkeys(AXES, NUMBERS),
    **dict.fromkeys(MATRIX, NUMBERS),
    **dict.fromkeys(("BMAJ", "BMIN", "BPA", "LONPOLE", "LATPOLE", "EQUINOX"), NUMBERS),
    **dict.fromkeys(("RESTFRQ", "RESTBW", "TAU_TIME", "BSCALE", "BZERO", "BLANK"), NUMBERS),
    **dict.fromkeys(("CNPIX1", "A_ORDER", "WCSAXES", "MJD-OBS", "OBSGEO-X", "PS1_0"), NUMBERS),
    **dict.fromkeys(("DATE-OBS", "END_UTC"), TIMES),
    **dict.fromkeys(("CUNIT1", "CUNIT2", "CUNIT3", "CTYPE3", "CTYPE4", "RADESYS", "BUNIT"), WORDS),
    "TIMESYS": ("'TAI'", "'TDB'", "'UT1'", "'x'", "1E300"),
    **dict.fromkeys(("NAXIS", "NAXIS1", "NAXIS2", "BITPIX", "PCOUNT", "GCOUNT"), SIZES),
    "HISTORY": (
        *("AIPS CLEAN BMAJ= 1E300 BMIN= 1E300 BPA= 0", "BMAJ= 1E400 BMIN= 1 BPA= 1"),
        *("BMAJ= 1E-320 BMIN= 1E-320 BPA= 1E300", "BMAJ= 1 BMIN= 0 BPA= 1"),
    ),
    "CTYPE1": PROJECTIONS,
}


def spoilt(cards: list[bytes], rng: np.random.Generator) -> list[bytes]:
    """Cards with one to four of them absurd, in pairs where one alone would only contradict."""
    cards = list(cards)
    for key in rng.choice(list(VALUES), rng.integers(1, 5), replace=False).tolist():
        value = rng.choice(VALUES[key])
        if key == "HISTORY":
            cards = [card for card in cards if not card.startswith((b"BMAJ", b"HISTORY"))]
            cards.append(f"HISTORY {value}".ljust(80).encode())
            continue
        pairs = {key: value}
        if key == "CTYPE1":
            pairs = {"CTYPE1": f"'RA---{value}'", "CTYPE2": f"'DEC--{value}'"}
        elif key in {"BMAJ", "CDELT1"} and rng.random() < 0.5:
            pairs[{"BMAJ": "BMIN", "CDELT1": "CDELT2"}[key]] = value
        for name, text in pairs.items():
            cards = [card for card in cards if card[:8].strip() != name.encode()]
            place = 3 if name.startswith("NAXIS") else len(cards)
            cards.insert(place, f"{name:8}= {text:>20}".ljust(80).encode())
    return cards


def use(path: Path) -> str:
    """Go through all that is done with an image before its sources; return what came of it."""
    try:
        shape = geometry(read_header(path))
        assert all(np.isfinite(value) for value in vars(shape).values())
        assert 0 < shape.beam_semiminor_deg <= shape.beam_semimajor_deg
        image = read_image(path)
        beam = pixel_beam(image.beam, image.pixel_matrix_deg)
        assert np.isfinite(beam).all()
        assert np.linalg.det(beam) > 0
        measure(image.pixels, 4.0, 8)
    except ImageError as error:
        return error.reason
    return "used"


@pytest.mark.parametrize("seed", range(5))
def test_no_header_raises_anything_but_an_image_error(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = rng.normal(0.0, 1.0, (24, 32)).astype(np.float32)
    whole = write(tmp_path / "whole.fits", data=data).read_bytes()
    end = whole.index(b"END" + b" " * 77)
    cards = [whole[i : i + 80] for i in range(0, end, 80)]
    path = tmp_path / "a.fits"
    outcomes = set()
    for _ in range(60):
        header = b"".join(spoilt(cards, rng)) + b"END".ljust(80)
        pixels = whole[2880 : 2880 + int(rng.choice([5760, 5760, 5760, 100]))]
        path.write_bytes(header + b" " * (-len(header) % 2880) + pixels)
        outcomes.add(use(path))
    # The results database keeps so much of a reason.
    assert all(0 < len(reason) <= 64 for reason in outcomes)
    assert {"used", "no coordinates", "truncated"} < outcomes

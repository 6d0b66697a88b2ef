"""Whatever stands in a header, an image has numbers that can be used, or is refused."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from damaged.cards import CARDS, NX, NY, card, header, noise, padded, pixels
from damaged.reader import rules
from trap_ops.errors import ImageError
from trap_ops.images.reading import read_headers, read_image
from trap_ops.records.images import ImageFile, Plane

# A matter of seconds: not part of make test-fast.
pytestmark = pytest.mark.slow

PIXELS = padded(pixels(noise()))
# Keywords that are read, beside those of the axes.
READ = (
    *("BMAJ", "BMIN", "BPA", "BUNIT", "TELESCOP", "STOKES", "CASAMBM", "ANTENNA", "NCORE"),
    *("NREMOTE", "NINTL", "SUBBANDS", "SUBBANDW", "RESTFRQ", "RESTFREQ", "RESTBW", "SPECSYS"),
    *("DATE-OBS", "DATE-BEG", "DATE-AVG", "DATE-END", "END_UTC", "MJD-OBS", "MJD-BEG", "MJD-AVG"),
    *("MJD-END", "TIMESYS", "TAU_TIME", "XPOSURE", "EXPTIME", "EXPOSURE", "TELAPSE", "MJDREF"),
    *("RADESYS", "RADECSYS", "EQUINOX", "EPOCH", "LONPOLE", "LATPOLE", "WCSAXES", "VELREF"),
    *("CD1_1", "CD1_2", "CD2_1", "CD2_2", "PC1_1", "PC1_2", "PC2_1", "PC2_2", "CROTA1", "CROTA2"),
    *("PV1_1", "PV1_2", "PV2_1", "PV2_2", "PV2_3", "PROJP1", "PROJP2", "OBSFREQ", "FREQ"),
    *("INHERIT", "EXTNAME", "GROUPS", "PCOUNT", "GCOUNT", "BSCALE", "BZERO", "BLANK", "ZIMAGE"),
)
KEYS = [key for key in CARDS if key != "SIMPLE"] + list(READ)
# What these say decides where the pixels are, or what they are.
OF_PIXELS = {"BSCALE", "BZERO", "BLANK", "ZIMAGE", "PCOUNT", "GCOUNT", "GROUPS", "BITPIX"}
WORDS = (
    *("RA---SIN", "DEC--TAN", "GLON-CAR", "GLAT-CAR", "RA---NCP", "DEC--ZEA", "RA---TPV", "FREQ"),
    *("STOKES", "VOPT", "Hz", "GHz", "deg", "rad", "arcsec", "mJy/beam", "JY/BEAM", "FK4", "FK5"),
    *("ICRS", "GALACTIC", "UTC", "TAI", "TDB", "LOFAR", "MeerKAT", "2026-03-01", "01/02/99"),
    *("2016-12-31T23:59:60", "1998.5", "60000.5", "1E300", "NaN", "HBA_DUAL", "&", "'", ""),
)
EXTREMES = (
    "1E400",
    "-1E400",
    "1E-400",
    "NAN",
    "INF",
    "9" * 60,
    "1D10",
    "0x10",
    "1,5",
    "(1.0, 2.0)",
)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=70)
NUMBERS = st.one_of(
    st.floats(),
    st.floats(-400.0, 400.0),
    st.integers(-(2**70), 2**70),
    st.integers(-5, 100),
).map(lambda number: repr(number).upper())
VALUES = st.one_of(
    NUMBERS,
    NUMBERS.map(_quoted),
    st.sampled_from(EXTREMES),
    st.sampled_from(WORDS).map(_quoted),
    st.sampled_from(("T", "F", "")),
    TEXTS.map(_quoted),
    TEXTS,
)
HEADERS = st.dictionaries(st.sampled_from(KEYS), st.none() | VALUES, min_size=1, max_size=6)
# Only a number or two are wrong, by any number of powers of ten: what bounds must stop.
QUANTITIES = (
    *("BMAJ", "BMIN", "BPA", "CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2", "CDELT1", "CDELT2", "CRVAL3"),
    *(
        "CRPIX3",
        "CDELT3",
        "CRVAL4",
        "CRPIX4",
        "CDELT4",
        "TAU_TIME",
        "LONPOLE",
        "LATPOLE",
        "EQUINOX",
    ),
    *("CROTA2", "PC1_1", "PC1_2", "CD1_1", "PV2_1", "NCORE", "SUBBANDW"),
)
MAGNITUDES = st.builds(
    lambda sign, digits, power: f"{sign}{digits:.6f}E{power}",
    st.sampled_from(("", "-")),
    st.floats(1.0, 9.9),
    st.one_of(st.integers(-320, 308), st.integers(-12, 12), st.integers(0, 3)),
)
NEARLY = st.dictionaries(st.sampled_from(QUANTITIES), MAGNITUDES, min_size=1, max_size=2)
# Of the header's bytes some are written over.
SPLICES = st.lists(
    st.tuples(st.integers(0, len(header()) - 80), st.binary(min_size=1, max_size=40)),
    min_size=1,
    max_size=4,
)
QUICK = settings(
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=200,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def check_bounds(image: ImageFile) -> None:
    """What is said of an image can be used, stored and shown."""
    assert image.nx >= 1
    assert image.ny >= 1
    assert 1e3 <= image.freq_eff_hz <= 1e16
    assert 0.0 < image.freq_bw_hz <= max(2.0 * image.freq_eff_hz, 1e6)
    assert 0.0 <= image.integration_s < math.inf
    assert 1900 <= image.start.year <= 2999
    assert image.start.tzinfo is None
    assert 1e-10 <= image.beam.bmin_deg <= image.beam.bmaj_deg <= 180.0
    assert math.isfinite(image.beam.bpa_deg)
    assert abs(image.stokes) <= 9
    matrix = np.array(image.pixel_matrix_deg)
    sides = np.hypot(*matrix)
    assert ((sides >= 1e-11) & (sides <= 90.0)).all()
    assert np.linalg.det(matrix) != 0.0
    assert math.isfinite(image.sky_ra_deg[0] + image.sky_dec_deg[0])
    for ra, dec in zip(image.sky_ra_deg, image.sky_dec_deg, strict=True):
        assert math.isnan(ra) or 0.0 <= ra < 360.0
        assert math.isnan(dec) or -90.0 <= dec <= 90.0
    assert len(image.telescope) <= 64
    assert len(image.header_sha256) == 64
    assert all("\n" not in note and len(note) < 1000 for note in image.notes)
    for value in vars(image.array).values():
        assert value is None or isinstance(value, str) or 0 <= value < math.inf


def check(path: Path, *, whole: bool) -> str:
    """Read a file as far as it can be; return what came of it.

    Where the pixels are whole, an image whose header is read has pixels that are.
    """
    images: list[ImageFile] = []
    reason = refused = ""
    try:
        images = read_headers(str(path), lambda _: rules())
    except ImageError as error:
        reason = _checked(path, error)
    for image in images:
        check_bounds(image)
    plane: Any = images[0].plane if images else Plane()
    try:
        opened = read_image(str(path), plane, rules())
        if images:
            assert opened.pixels.shape == (images[0].ny, images[0].nx)
            assert opened.beam == images[0].beam
            assert opened.header_sha256 == images[0].header_sha256
    except ImageError as error:
        refused = _checked(path, error)
    assert bool(images) != bool(reason)
    assert not (images and whole and refused), refused
    return reason or refused or "read"


def _checked(path: Path, error: ImageError) -> str:
    assert 0 < len(error.reason) <= 64
    assert str(error).startswith(f"{path.name}: ")
    assert str(error).isprintable()
    return error.reason


def write(path: Path, changes: dict[str, str | None], extra: tuple[bytes, ...] = ()) -> Path:
    path.write_bytes(header(changes, extra) + PIXELS)
    return path


def check_values(path: Path, changes: dict[str, str | None]) -> None:
    """Each value once in the place of the card, once behind all others."""
    whole = not OF_PIXELS & changes.keys()
    check(write(path, changes), whole=whole)
    behind = tuple(card(key, value) for key, value in changes.items() if value is not None)
    check(write(path, dict.fromkeys(changes.keys() & CARDS.keys()), behind), whole=whole)


def check_splices(path: Path, splices: list[tuple[int, bytes]]) -> None:
    content = bytearray(header() + PIXELS)
    for place, found in splices:
        content[place : place + len(found)] = found
    path.write_bytes(content)
    check(path, whole=False)


@QUICK
@given(changes=HEADERS)
@example(changes={"CDELT1": "1.000000E1", "PC1_1": "1.000000E308"})
def test_values_of_any_kind_are_read_or_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    check_values(tmp_path / "a.fits", changes)


@QUICK
@given(changes=NEARLY)
def test_numbers_of_any_size_are_read_or_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    check(write(tmp_path / "a.fits", changes), whole=True)


@QUICK
@given(splices=SPLICES)
def test_bytes_of_any_kind_are_read_or_refused(
    tmp_path: Path, splices: list[tuple[int, bytes]]
) -> None:
    check_splices(tmp_path / "a.fits", splices)


@pytest.mark.long
@pytest.mark.timeout(1800)
@settings(QUICK, max_examples=20_000)
@given(changes=HEADERS | NEARLY)
def test_very_many_values(tmp_path: Path, changes: dict[str, Any]) -> None:
    check_values(tmp_path / "a.fits", changes)


@pytest.mark.long
@pytest.mark.timeout(1800)
@settings(QUICK, max_examples=20_000)
@given(splices=SPLICES)
def test_very_many_bytes(tmp_path: Path, splices: list[tuple[int, bytes]]) -> None:
    check_splices(tmp_path / "a.fits", splices)


def test_the_base_of_all_of_these_is_an_image(tmp_path: Path) -> None:
    (image,) = read_headers(str(write(tmp_path / "a.fits", {})), lambda _: rules())
    check_bounds(image)
    assert (image.nx, image.ny) == (NX, NY)
    assert check(tmp_path / "a.fits", whole=True) == "read"

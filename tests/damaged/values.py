"""Headers of which one keyword is missing, of another type, or says what cannot be."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from damaged.cards import CARDS, card, image
from damaged.files import Damaged, of_bytes, readable

# What the absence of a keyword means, and what the message must name.
NEEDED: dict[str, tuple[str, str]] = {
    **{f"{key}{n}": ("no coordinates", key) for key in ("CRVAL", "CRPIX", "CDELT") for n in (1, 2)},
    **{f"CTYPE{n}": ("no coordinates", "CTYPE") for n in (1, 2)},
    "CTYPE3": ("no frequency", "frequency|FREQ"),
    "CRVAL3": ("no frequency", "frequency|FREQ"),
    "BMAJ": ("no beam", "BMAJ"),
    "BMIN": ("no beam", "BMIN"),
    "DATE-OBS": ("no start time", "DATE-OBS|start"),
}
# Of these kinds a wrong value is another reason than none, or the same.
BROAD = {
    "no coordinates": ("no coordinates", "coordinate system"),
    "no frequency": ("no frequency", "bad frequency"),
    "no beam": ("no beam", "bad beam"),
    "no start time": ("no start time",),
}
NO_NUMBERS = {"text": "'x'", "logical": "T", "complex": "(1.0, 2.0)", "undefined": ""}
NO_TEXTS = {
    "number": "1.5",
    "logical": "T",
    "complex": "(1.0, 2.0)",
    "undefined": "",
    "empty": "''",
}


def damaged_values() -> list[Damaged]:
    return [
        *_missing(),
        *_wrong_types(),
        *_flipped_bits(),
        *_broken_cards(),
        *_beams(),
        *_times(),
        *_frequencies(),
        *_stokes(),
        *_units(),
        *_coordinates(),
    ]


def _named(key: str, value: str) -> str:
    """A file name of a keyword and its value."""
    return f"{key}-{re.sub(r'[^A-Za-z0-9.+-]', '_', value)}.fits".lower()


def _changed(
    key: str, values: tuple[str, ...], reasons: str | tuple[str, ...], says: str = ""
) -> Iterator[Damaged]:
    for value in values:
        yield of_bytes(_named(key, value), image({key: value}), reasons, says)


def _missing() -> Iterator[Damaged]:
    for key, (reason, says) in NEEDED.items():
        yield of_bytes(f"no-{key.lower()}.fits", image({key: None}), reason, says)
    yield of_bytes("no-bpa.fits", image({"BPA": None}), ("no beam",), "BPA", may_pass=True)
    yield of_bytes("nothing.fits", image(dict.fromkeys(list(CARDS)[8:])), tuple(BROAD))
    for key in ("CUNIT1", "CUNIT2", "CUNIT3", "CRPIX3", "TELESCOP", "BUNIT", "CTYPE4", "TAU_TIME"):
        yield readable(f"without-{key.lower()}.fits", image({key: None}))


def _wrong_types() -> Iterator[Damaged]:
    for key, (reason, says) in NEEDED.items():
        is_text = CARDS[key].startswith("'")
        for kind, value in (NO_TEXTS if is_text else NO_NUMBERS).items():
            yield of_bytes(
                f"{key.lower()}-is-{kind}.fits", image({key: value}), BROAD[reason], says
            )
    for kind, value in NO_NUMBERS.items():
        yield of_bytes(
            f"bpa-is-{kind}.fits", image({"BPA": value}), BROAD["no beam"], "BPA", may_pass=True
        )


def _flipped_bits() -> Iterator[Damaged]:
    """Bit 0 or 7 of a keyword's first letter, bits 6 and 7 of its value's first character."""
    whole = image()
    for key, (reason, says) in NEEDED.items():
        place = whole.index(f"{key:8}=".encode())
        value = CARDS[key]
        in_value = whole.index(value.encode(), place)
        is_text = value.startswith("'")
        for offset, bit in ((place, 0), (place, 7), (in_value + is_text, 6), (in_value, 7)):
            flipped = bytearray(whole)
            flipped[offset] ^= 1 << bit
            name = f"{key.lower()}-bit-{bit}-of-{offset - place}.fits"
            # Bit 6 of a letter makes a control code of it, which no header may hold.
            reasons = (*BROAD[reason], "bad header")
            yield of_bytes(name, bytes(flipped), reasons, f"{says}|{key}|printable")


def _broken_cards() -> Iterator[Damaged]:
    beam = "no beam"
    for name, line in {
        "umlaut": "BMAJ    =              0.0\xe4\xf6\xfc".encode("latin-1"),
        "utf-8": "BMAJ    = '日本'".encode(),
        "nul": b"BMAJ    = 0.008\x00\x00",
        "comma": b"BMAJ    =               0,0083333",
        "no-value": b"BMAJ    =",
        "two-dots": b"BMAJ    =              0.0.0083",
        "open-quote": b"BMAJ    = '0.0083",
        "hexadecimal": b"BMAJ    = 0x1F",
        "unit-behind": b"BMAJ    = 30 arcsec",
        "only-slash": b"BMAJ    = / 0.0083",
    }.items():
        content = image({"BMAJ": None}, extra=(line,))
        reasons = (*BROAD[beam], "bad header")  # The beam, or the card.
        yield of_bytes(f"card-{name}.fits", content, reasons, "BMAJ|beam|printable")
    for name, line in {
        "no-equals": b"BMAJ      0.0083",
        "equals-early": b"BMAJ=  0.00833333333333",
        "equals-late": b"BMAJ        = 0.00833333333333",
        "lower-case": b"bmaj    = 0.00833333333333",
        "hierarch": b"HIERARCH BMAJ = 0.00833333333333",
        "fortran-d": b"BMAJ    = 8.33333333333D-3",
        "no-blank": b"BMAJ    =0.00833333333333",
        "text-number": b"BMAJ    = '0.00833333333333'",
    }.items():
        content = image({"BMAJ": None}, extra=(line,))
        reasons = (*BROAD[beam], "bad header")
        yield of_bytes(f"card-{name}.fits", content, reasons, "BMAJ|beam", may_pass=True)
    chaos = (b"CONTINUE  'of nothing", b"CONTINUE  '&'", b"CONTINUE", b"CONTINUE= 1")
    yield of_bytes("continue-chaos.fits", image(extra=chaos * 5), ("bad header",), may_pass=True)
    long_date = (card("DATE-OBS", "'2026-&'"), *[b"CONTINUE  '03-&'"] * 300)
    content = image({"DATE-OBS": None}, extra=long_date)
    yield of_bytes("continued-date.fits", content, "no start time", "DATE-OBS|start")
    twice = (card("BMAJ", "1.0"), card("NAXIS1", "7"), card("END1", "7"), card("SIMPLE", "F"))
    yield of_bytes("keywords-twice.fits", image(extra=twice), ("bad header",), may_pass=True)
    binary = tuple(bytes([byte]) * 80 for byte in (0, 1, 7, 10, 27, 127, 128, 255))
    yield of_bytes("binary-cards.fits", image(extra=binary), ("bad header",), may_pass=True)


def _beams() -> Iterator[Damaged]:
    values = ("0.0", "-0.00833333", "1E300", "-1E300", "1E-300", "1E-320", "400.0", "1E400")
    for key in ("BMAJ", "BMIN"):
        yield from _changed(key, values, ("bad beam", "no beam"), "beam")
        yield from _changed(key, ("NAN", "INF", "-INF", "'NaN'", "'inf'"), BROAD["no beam"], "beam")
    yield from _changed("BPA", ("NAN", "INF", "1E400"), BROAD["no beam"], "BPA")
    yield of_bytes(
        "beam-0-by-0.fits", image({"BMAJ": "0.0", "BMIN": "0.0"}), BROAD["no beam"], "beam"
    )
    wanted = image({"BMAJ": None, "BMIN": None, "BPA": None}, extra=(AIPS_BEAM,))
    yield readable("beam-of-aips.fits", wanted)
    for name, record in {
        "zero": b"HISTORY AIPS   CLEAN BMAJ=  0.0 BMIN=  0.0 BPA=   0.0",
        "huge": b"HISTORY AIPS   CLEAN BMAJ=  1E300 BMIN=  1E300 BPA=   0.0",
        "overflow": b"HISTORY AIPS   CLEAN BMAJ=  1E999 BMIN=  1.0 BPA=   0.0",
        "stars": b"HISTORY AIPS   CLEAN BMAJ=  ******** BMIN=  1.0 BPA=   0.0",
        "cut": b"HISTORY AIPS   CLEAN BMAJ=  8.3333E-03 BMIN=",
    }.items():
        content = image({"BMAJ": None, "BMIN": None, "BPA": None}, extra=(record,))
        yield of_bytes(f"aips-beam-{name}.fits", content, BROAD["no beam"], "beam")
    yield readable("beam-swapped.fits", image({"BMAJ": CARDS["BMIN"], "BMIN": CARDS["BMAJ"]}))


AIPS_BEAM = b"HISTORY AIPS   CLEAN BMAJ=  8.3333E-03 BMIN=  6.9444E-03 BPA=  40.00"


def _times() -> Iterator[Damaged]:
    dates = (
        *("yesterday", "2026-13-01", "2026-02-30", "2026-00-10", "2026-03-01T25:00:00"),
        *("2026-03-01T10:61:00", "0000-01-01", "0001-01-01", "1850-01-01", "3000-01-01"),
        *("32/13/99", "9999-12-31T23:59:59-05:00", "99999-01-01", "NaN", "inf", "-2026-03-01"),
        *("2026-03-01Tnoon", "    ", "2026/03/01 ten", "\x80\x81\x82", "0000.5", "1e300"),
    )
    for date in dates:
        # Bytes that are not ASCII are no date, and no card either.
        reasons = ("no start time",) if date.isascii() else ("no start time", "bad header")
        yield of_bytes(
            _named("date", date), image({"DATE-OBS": f"'{date}'"}), reasons, "DATE|start"
        )
    for value in ("NAN", "1E300", "1E400"):
        yield of_bytes(
            _named("date-number", value), image({"DATE-OBS": value}), "no start time", "DATE|start"
        )


def _frequencies() -> Iterator[Damaged]:
    reasons = ("no frequency", "bad frequency")
    values = ("0.0", "-1.5E8", "NAN", "INF", "1E300", "1E400", "1.0", "1E-300", "'NaN'")
    yield from _changed("CRVAL3", values, reasons, "frequency|FREQ")
    yield from _changed("CUNIT3", ("'m'", "'parsec'", "'xyz'"), reasons, "frequency|FREQ|CUNIT3")
    yield from _changed("CDELT3", ("1E300", "4E8"), "bad frequency", "frequency")
    yield from _changed("CRPIX3", ("1E300", "-1E300", "1000.0"), "bad frequency", "frequency")
    for value in ("0.0", "-1.0", "NAN", "1E300", "'x'"):
        changes = {"CTYPE3": "'NOTHING'", "RESTFRQ": value}
        yield of_bytes(_named("restfrq", value), image(changes), reasons, "frequency")


def _stokes() -> Iterator[Damaged]:
    for value in ("1E300", "-1E300", "99.0", "-20.0", "2.5", "1000000000000"):
        yield of_bytes(_named("stokes", value), image({"CRVAL4": value}), "bad Stokes", "Stokes")
    for value in ("'x'", "NAN", "T", "(1.0, 2.0)"):
        yield of_bytes(_named("stokes", value), image({"CRVAL4": value}), "bad Stokes", "Stokes")


def _units() -> Iterator[Damaged]:
    words = (
        *("K", "JY/PIXEL", "counts", "Jy", "MJy/sr", "adu", "W/m2", "Jy km/s", "Jy/beam km/s"),
        *("mag", "Jy/arcsec2", "nonsense", "JY/BEAM/BEAM", "1e-26 W", "\xb5Jy/pixel"),
    )
    for word in words:
        reasons = ("unit",) if word.isascii() else ("unit", "bad header")
        content = image({"BUNIT": f"'{word}'"})
        yield of_bytes(_named("bunit", word), content, reasons, "Jy/beam|BUNIT")
    for value in ("T", "12.0", "(1.0, 2.0)"):
        yield of_bytes(_named("bunit", value), image({"BUNIT": value}), "unit", "Jy/beam")


def _coordinates() -> Iterator[Damaged]:
    none = ("no coordinates", "coordinate system")
    for axis in (1, 2):
        yield from _changed(f"CRVAL{axis}", ("NAN", "INF", "'abc'", "1E400"), none, f"CRVAL{axis}")
        yield from _changed(f"CDELT{axis}", ("0.0", "1E300", "1E-300", "NAN", "400.0"), none)
        yield from _changed(f"CRPIX{axis}", ("1E300", "NAN", "-1E9", "1E9"), none)
        yield from _changed(f"CUNIT{axis}", ("'m'", "'Hz'", "'xyz'"), none)
    yield from _changed("CRVAL2", ("95.0", "-91.0", "1E300"), none)
    pairs: dict[str, Mapping[str, str]] = {
        "unknown-projection": {"CTYPE1": "'RA---XXX'", "CTYPE2": "'DEC--XXX'"},
        "unequal-projections": {"CTYPE1": "'RA---SIN'", "CTYPE2": "'DEC--TAN'"},
        "ra-twice": {"CTYPE1": "'RA---SIN'", "CTYPE2": "'RA---SIN'"},
        "dec-first": {"CTYPE1": "'DEC--SIN'", "CTYPE2": "'RA---SIN'"},
        "linear": {"CTYPE1": "'LINEAR'", "CTYPE2": "'LINEAR'"},
        "pixels": {"CTYPE1": "'PIXEL'", "CTYPE2": "'PIXEL'"},
        "freq-first": {"CTYPE1": "'FREQ'", "CTYPE2": "'DEC--SIN'"},
        "sun": {"CTYPE1": "'HPLN-TAN'", "CTYPE2": "'HPLT-TAN'"},
        "mixed-frames": {"CTYPE1": "'GLON-SIN'", "CTYPE2": "'DEC--SIN'"},
        "lookup-table": {"CTYPE1": "'RA---TAB'", "CTYPE2": "'DEC--TAB'"},
        "cd-singular": {"CD1_1": "1E-3", "CD1_2": "1E-3", "CD2_1": "1E-3", "CD2_2": "1E-3"},
        "cd-huge": {"CD1_1": "-1E300", "CD1_2": "0.0", "CD2_1": "0.0", "CD2_2": "1E300"},
        "pc-singular": {"PC1_1": "1.0", "PC1_2": "1.0", "PC2_1": "1.0", "PC2_2": "1.0"},
        "conic-without-pv": {"CTYPE1": "'RA---COE'", "CTYPE2": "'DEC--COE'"},
        "zpn-without-pv": {"CTYPE1": "'RA---ZPN'", "CTYPE2": "'DEC--ZPN'"},
        "bonne-without-pv": {"CTYPE1": "'RA---BON'", "CTYPE2": "'DEC--BON'"},
        "off-the-sky": {"CRPIX1": "100000.0", "CRPIX2": "100000.0"},
        "unknown-frame": {"RADESYS": "'NOSUCH'"},
        "equinox-huge": {"RADESYS": "'FK5'", "EQUINOX": "1E300"},
        "axes-alike": {"CRVAL1": "NAN", "CRVAL2": "NAN"},
    }
    for name, changes in pairs.items():
        yield of_bytes(f"{name}.fits", image(changes), none, "coordinate|CTYPE|CRVAL|sky|axes")
    for key in ("LONPOLE", "LATPOLE"):
        for value in ("1E300", "NAN", "'x'"):
            yield of_bytes(_named(key, value), image({key: value}), none, may_pass=True)

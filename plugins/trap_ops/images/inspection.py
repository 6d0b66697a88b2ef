"""Everything that can be read of a file, and all that is wrong with it together.

The reader stops at the first problem. Here it is asked again with a stand-in for what it lacks,
until it has no more to say: so what is told is what a run would meet, in the same words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from trap_ops.config.headers import AssumeConfig
from trap_ops.config.model import ImagesConfig
from trap_ops.errors import ImageError
from trap_ops.images import fits
from trap_ops.images.access import LOCAL_ONLY, Access
from trap_ops.images.cards import Header
from trap_ops.images.files import SourceFile
from trap_ops.images.frames import Place, celestial_wcs, read_frame, read_place
from trap_ops.images.keywords import first_text
from trap_ops.images.reading import RulesOf, read_headers
from trap_ops.records.images import ImageFile, Plane

PLACE = "place"
# What stands in for a quantity while the rest is read. No bandwidth is too wide for this frequency.
_STAND_INS: Mapping[str, Any] = {
    "start": "2000-01-01T00:00:00",
    "freq_eff_hz": 1e16,
    "freq_bw_hz": 1.0,
    "bmaj_deg": 1.0,
    "bmin_deg": 1.0,
    "bpa_deg": 0.0,
    "unit": "Jy/beam",
}
_BEAM = ("bmaj_deg", "bmin_deg", "bpa_deg")
# By the reason of an error: which quantities of images.assume mend it, and whether they have to
# replace what the header says.
_MENDED_BY: Mapping[str, tuple[tuple[str, ...], bool]] = {
    "no beam": (_BEAM, False),
    "bad beam": (_BEAM, True),
    "bad beam table": (_BEAM, True),
    "no start time": (("start",), False),
    "no frequency": (("freq_eff_hz",), False),
    "bad frequency": (("freq_eff_hz", "freq_bw_hz"), True),
    "unit": (("unit",), True),
}
_OF_PLANES = {"several planes", "no such plane"}


@dataclass(frozen=True)
class Inspection:
    """What the pipeline reads of one image.

    Attributes
    ----------
    location : str
        Path or address of the file.
    image : ImageFile or None
        None where nothing can be read. Quantities in `unknown` are stand-ins in it.
    unknown : frozenset of str
        Names of quantities, as in ``images.assume``; :data:`PLACE` for place and pixel size.
    problems : tuple of ImageError
        Why the file is refused; empty if it is usable.
    replaced : frozenset of str
        Those of the unknown ones that the header has, but wrong.
    telescope : str
        By this name ``auto`` chooses the configuration.
    unit, frame, projection : str
        As they are written; empty where they are not.
    """

    location: str
    image: ImageFile | None
    unknown: frozenset[str]
    problems: tuple[ImageError, ...]
    replaced: frozenset[str] = frozenset()
    telescope: str = ""
    unit: str = ""
    frame: str = ""
    projection: str = ""


def inspect(location: str, rules_of: RulesOf, access: Access = LOCAL_ONLY) -> list[Inspection]:
    """Read all that a file says of its images, whether it is usable or not; no pixel is read.

    Parameters
    ----------
    location : str
        Absolute path, or address of a remote file.
    rules_of : callable
        Gives the settings for images of a telescope.
    access : Access

    Returns
    -------
    list of Inspection
        One for each plane that the settings choose. Of a file that is refused one: of the first
        plane, where planes are what is wrong.
    """
    return _inspected(
        location,
        rules_of,
        lambda rules, place: read_headers(location, rules, access, place),
    )


def inspect_source(source: SourceFile, rules_of: RulesOf) -> list[Inspection]:
    """Read all that a FITS file says of its images, which need not be on a disk.

    Parameters
    ----------
    source : SourceFile
        Its header is read only; its size is that of the whole.
    rules_of : callable
        Gives the settings for images of a telescope.
    """
    return _inspected(
        source.location,
        rules_of,
        lambda rules, place: fits.read_headers(source, rules, place),
    )


def _inspected(
    location: str, rules_of: RulesOf, read: Callable[[RulesOf, fits.PlaceOf], list[ImageFile]]
) -> list[Inspection]:
    reader = _Reader(rules_of)
    while True:
        try:
            found = read(reader.rules_of, reader.place_of)
        except ImageError as error:
            if not reader.go_on_without(error):
                return [reader.told(location, None)]
        else:
            return [reader.told(location, image) for image in found[: reader.n_planes]]


@dataclass
class _Reader:
    """Settings and places with stand-ins, and what was seen on the way."""

    configured: RulesOf
    problems: list[ImageError] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)
    replaced: set[str] = field(default_factory=set)
    changes: dict[str, Any] = field(default_factory=dict)
    misplaced: ImageError | None = None
    rules: ImagesConfig = field(default_factory=ImagesConfig)
    telescope: str = ""
    seen: dict[str, str] = field(default_factory=dict)

    @property
    def n_planes(self) -> int | None:
        """How many planes are told; None for all."""
        return 1 if self.problems or self.misplaced else None

    def rules_of(self, telescope: str) -> ImagesConfig:
        """Settings with stand-ins for what is known to be missing."""
        self.telescope = telescope
        self.rules = self.configured(telescope)
        stand_ins = [
            AssumeConfig.model_validate(
                {name: _STAND_INS[name] for name in names} | {"replace": instead}
            )
            for names, instead in (
                (self.unknown & set(_STAND_INS) - self.replaced, False),
                (self.replaced, True),
            )
            if names
        ]
        assume = (*stand_ins, *self.rules.assume)
        return self.rules.model_copy(update={"assume": assume, **self.changes})

    def place_of(self, header: Header, nx: int, ny: int) -> Place:
        """Place of an image; a stand-in where it has none."""
        self.seen = _as_written(header, self.rules)
        try:
            return read_place(header, nx, ny)
        except ImageError as error:
            self.misplaced = error
            return read_place(Header(_SOMEWHERE), nx, ny)

    def go_on_without(self, error: ImageError) -> bool:
        """Note a problem; whether a stand-in may help to find the next one."""
        self.problems.append(error)
        if error.reason in _OF_PLANES and "channels" not in self.changes:
            self.changes |= {"channels": (0,), "stokes": "all"}
            return True
        if error.reason == "too many pixels" and "max_pixels" not in self.changes:
            self.changes["max_pixels"] = int(str(error.details["nx"])) * int(
                str(error.details["ny"])
            )
            return True
        names, instead = _MENDED_BY.get(error.reason, ((), False))
        if set(names) <= (self.replaced if instead else self.unknown):
            return False
        self.unknown.update(names)
        if instead:
            self.replaced.update(names)
        return True

    def told(self, location: str, image: ImageFile | None) -> Inspection:
        """Put together what was found."""
        problems, unknown = list(self.problems), set(self.unknown)
        if self.misplaced is not None:
            name = "" if image is None else f"{image.file_name}: "
            error = self.misplaced
            problems.insert(0, ImageError(f"{name}{error.message}", reason=error.reason))
            unknown.add(PLACE)
        if image is not None:
            of_stand_ins = tuple(
                f"{'beam' if name == 'bmaj_deg' else name} assumed: " for name in self.unknown
            )
            notes = [note for note in image.notes if not note.startswith(of_stand_ins or ("\0",))]
            image = replace(image, notes=tuple(notes))
            if any(error.reason in _OF_PLANES for error in problems):
                # It stands for the file: none of its planes was chosen.
                image = replace(image, plane=Plane(image.plane.hdu))
        return Inspection(
            location=location,
            image=image,
            unknown=frozenset(unknown),
            problems=tuple(problems),
            replaced=frozenset(self.replaced),
            telescope=self.telescope,
            **self.seen,
        )


# Cards of an image on the sky, whatever its size.
_SOMEWHERE: Mapping[str, object] = {
    "CTYPE1": "RA---CAR",
    "CTYPE2": "DEC--CAR",
    **dict.fromkeys(("CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2"), 0.0),
    **dict.fromkeys(("CDELT1", "CDELT2"), 1e-9),
}


def _as_written(header: Header, rules: ImagesConfig) -> dict[str, str]:
    """Unit, frame and projection of an image, as far as they can be read."""
    seen = {"unit": first_text(header, rules.header.unit)}
    try:
        frame = read_frame(header)
        seen["frame"] = f"{frame.name} {frame.equinox or ''}".strip()
        seen["projection"] = str(celestial_wcs(header).wcs.ctype[0])[5:8]
    except ImageError:
        pass
    return seen


def corners_deg(image: ImageFile) -> list[tuple[float, float] | None]:
    """Right ascension and declination of the corners of an image; None off the sky."""
    pairs = zip(image.sky_ra_deg[1:], image.sky_dec_deg[1:], strict=True)
    return [pair if np.isfinite(pair).all() else None for pair in pairs]


def pixel_sides_deg(image: ImageFile) -> tuple[float, float]:
    """Sides of a pixel in x and y."""
    x, y = np.hypot(*np.array(image.pixel_matrix_deg))
    return float(x), float(y)


def mending_lines(inspections: list[Inspection]) -> str:
    """Lines of a configuration that mend what images.assume can, values to be filled in as ``"?"``.

    Files that lack the same share an entry.
    """
    by_need: dict[tuple[frozenset[str], frozenset[str]], list[str]] = {}
    for item in inspections:
        need = item.unknown - {PLACE}
        if need and item.image is not None:
            by_need.setdefault((need, item.replaced), []).append(item.image.file_name)
    entries = []
    for (need, replaced), names in by_need.items():
        for wanted, instead in ((need - replaced, False), (replaced, True)):
            if wanted:
                entries.append(_entry(sorted(set(names)), wanted, instead=instead))
    return "\n".join(entries)


def _entry(names: list[str], wanted: frozenset[str], *, instead: bool) -> str:
    lines = [f"[[images.assume]]\nfiles = {_toml_text(_pattern(names))}"]
    lines += ["replace = true"] if instead else []
    lines += [f'{name} = "?"  # {_WORDS[name]}' for name in _STAND_INS if name in wanted]
    return "\n".join(lines) + "\n"


_WORDS = {
    "start": "UTC, like 2024-01-01T00:00:00",
    "freq_eff_hz": "centre frequency, Hz",
    "freq_bw_hz": "bandwidth, Hz",
    "bmaj_deg": "full width of the major axis, degrees",
    "bmin_deg": "full width of the minor axis, degrees",
    "bpa_deg": "position angle, degrees north through east",
    "unit": "what the pixels are in: Jy/beam, mJy/beam or uJy/beam",
}


def _pattern(names: list[str]) -> str:
    """Pattern of names: what they have in common at both ends."""
    first = names[0]
    if len(names) == 1:
        return _literally(first)
    shortest = min(map(len, names))
    start = next((n for n in range(shortest) if len({name[n] for name in names}) > 1), shortest)
    end = next(
        (n for n in range(shortest - start) if len({name[-1 - n] for name in names}) > 1),
        shortest - start,
    )
    return f"{_literally(first[:start])}*{_literally(first[len(first) - end :])}"


def _literally(text: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in text)


def _toml_text(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'

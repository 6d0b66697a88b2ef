"""FITS files: what they say of their images, and the pixels of one."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from astropy.wcs import WCS

from trap_ops.config.model import ImagesConfig
from trap_ops.errors import ImageError
from trap_ops.images.assumed import Assumed
from trap_ops.images.beams import BeamTable, read_beam, read_beam_table
from trap_ops.images.cards import Header
from trap_ops.images.files import SourceFile
from trap_ops.images.frames import Place, read_place, sky_of_field
from trap_ops.images.frequencies import read_frequency
from trap_ops.images.header import read_array, read_telescope, read_unit
from trap_ops.images.pixels import read_plane
from trap_ops.images.planes import STOKES_CODES, ChosenPlane, choose_planes, plane_at
from trap_ops.images.structure import FitsFile, Hdu, named, open_fits
from trap_ops.images.times import read_times
from trap_ops.records.arrays import FloatArray, Image
from trap_ops.records.images import Beam, ImageFile, Plane

# Settings by TELESCOP: how a header is read depends on who wrote it.
RulesOf = Callable[[str], ImagesConfig]
PlaceOf = Callable[[Header, int, int], Place]
_FIRST = "first"
_SHOWN_MAX = 12
_TELESCOPE = "TELESCOP"


@dataclass(frozen=True)
class OpenImage:
    """An image ready for work.

    Attributes
    ----------
    pixels : numpy.ndarray of float32, (ny, nx)
        Jy/beam. Index 0 is y (FITS axis 2).
    wcs : astropy.wcs.WCS
        The celestial axes, ICRS.
    beam : Beam
        Its position angle counts from the north of ICRS.
    pixel_matrix_deg : numpy.ndarray, (2, 2)
        Degrees (east, north) per pixel (x, y).
    header_sha256 : str
        Of the header that was read, as in :class:`~trap_ops.records.images.ImageFile`.
    """

    pixels: Image
    wcs: WCS
    beam: Beam
    pixel_matrix_deg: FloatArray
    header_sha256: str


@dataclass(frozen=True)
class _ImageHdu:
    """An HDU with an image, its header with what it inherits, and who made it."""

    hdu: Hdu
    header: Header
    header_sha256: str


def read_headers(
    source: SourceFile, rules_of: RulesOf, place_of: PlaceOf = read_place
) -> list[ImageFile]:
    """Read what a FITS file says of its images; no pixel is read.

    Parameters
    ----------
    source : SourceFile
    rules_of : callable
        Gives the settings for images of a telescope.
    place_of : callable
        Places an image on the sky; another one may go on where that cannot be done.

    Returns
    -------
    list of ImageFile
        One for each plane that the settings choose, in the order of the file.

    Raises
    ------
    ImageError
        If the file cannot be used, with the reason.
    """
    with _opened(source) as file:
        image, telescope, name, rules = _find_image(file, rules_of)
        hdu, header = image.hdu, image.header
        _check_size(file, hdu, rules)
        chosen = choose_planes(header, hdu.shape, hdu.number, rules)
        table = read_beam_table(file, header)
        nx, ny = hdu.shape[:2]
        place = place_of(header, nx, ny)
        sky_ra, sky_dec = sky_of_field(place.wcs, nx, ny)
        (east_x, east_y), (north_x, north_y) = place.matrix_deg.tolist()
        of_name = [] if name == telescope else [f"telescope_name assumed: {name}"]
        made = []
        for each in chosen:
            assumed = Assumed(rules.assume, source.location, telescope)
            frequency, bandwidth, frequency_notes = read_frequency(
                header, rules.header, assumed, each.channel, each.of_channels
            )
            start, integration, time_notes = read_times(header, rules.header, assumed)
            unit_notes = read_unit(header, rules.header, assumed)[1]
            item = ImageFile(
                path=source.location,
                file_name=source.name,
                file_size=source.size,
                file_mtime_ns=source.mtime_ns,
                header_sha256=image.header_sha256,
                telescope=name,
                stokes=_stokes(each, assumed),
                freq_eff_hz=frequency,
                freq_bw_hz=bandwidth,
                start=start,
                integration_s=integration,
                beam=_beam(header, rules, assumed, table, each, place),
                pixel_matrix_deg=((east_x, east_y), (north_x, north_y)),
                nx=nx,
                ny=ny,
                sky_ra_deg=sky_ra,
                sky_dec_deg=sky_dec,
                plane=each.plane,
                array=read_array(header, rules.header, assumed),
            )
            notes = (*frequency_notes, *time_notes, *unit_notes, *of_name, *assumed.notes)
            made.append(replace(item, notes=notes))
        return made


def read_image(source: SourceFile, plane: Plane, rules: ImagesConfig) -> OpenImage:
    """Read the pixels of one plane with what places them on the sky.

    Raises
    ------
    ImageError
        If the file cannot be used, with the reason.
    """
    with _opened(source) as file:
        image = _chosen_image(file, plane.hdu)
        hdu, header = image.hdu, image.header
        _check_size(file, hdu, rules)
        chosen = plane_at(header, hdu.shape, plane)
        telescope = read_telescope(header, rules.header)
        assumed = Assumed(rules.assume, source.location, telescope)
        table = read_beam_table(file, header)
        place = read_place(header, *hdu.shape[:2])
        beam = _beam(header, rules, assumed, table, chosen, place)
        factor = read_unit(header, rules.header, assumed)[0]
        pixels = read_plane(file, hdu, chosen.plane.index)
    if factor != 1.0:
        pixels *= pixels.dtype.type(factor)
    return OpenImage(pixels, place.wcs, beam, place.matrix_deg, image.header_sha256)


@contextmanager
def _opened(source: SourceFile) -> Iterator[FitsFile]:
    with named(source.name), open_fits(source) as file:
        yield file


def _find_image(file: FitsFile, rules_of: RulesOf) -> tuple[_ImageHdu, str, str, ImagesConfig]:
    """The HDU that is the image, its telescope as its header and as the settings call it, settings.

    Which HDU it is may depend on the telescope, and this is said in the header of the first one.
    """
    first = next(iter(file.hdus()))
    said = first.header.text(_TELESCOPE)
    image = None
    if not said:
        image = _chosen_image(file, _FIRST)
        said = image.header.text(_TELESCOPE)
    rules = rules_of(said)
    if image is None or rules.hdu != _FIRST:
        image = _chosen_image(file, rules.hdu)
    telescope = read_telescope(image.header, rules.header)
    assumed = Assumed(rules.assume, file.source.location, telescope)
    name = assumed.fill("telescope_name", telescope or None) or ""
    return image, telescope, name, rules if name == said else rules_of(name)


def _chosen_image(file: FitsFile, which: int | str) -> _ImageHdu:
    """The HDU of a number or an EXTNAME, or the first one that is an image."""
    first: Hdu | None = None
    names = []
    for hdu in file.hdus():
        first = first or hdu
        name = hdu.header.text("EXTNAME")
        names.append(f"{hdu.number} {name}".rstrip() + (" (image)" if hdu.is_image else ""))
        if which == _FIRST:
            if hdu.is_image:
                return _with_inherited(hdu, first)
        elif which == hdu.number or str(which).upper() == name.upper():
            if hdu.is_image:
                return _with_inherited(hdu, first)
            msg = f"its HDU {which} is no image with two or more axes"
            raise ImageError(msg, reason="no image")
    wanted = "" if which == _FIRST else f", and none of images.hdu = {which!r}"
    shown = ", ".join(names[:_SHOWN_MAX]) + (", ..." if len(names) > _SHOWN_MAX else "")
    msg = f"it holds no image (no HDU with two or more axes{wanted}); it has {shown}"
    raise ImageError(msg, reason="no image")


def _with_inherited(hdu: Hdu, first: Hdu) -> _ImageHdu:
    """Add what an extension inherits from the first header (INHERIT = T)."""
    if hdu.number == 0 or hdu.header.get("INHERIT") is not True:
        return _ImageHdu(hdu, hdu.header, hdu.header_sha256)
    header = Header({**first.header.values, **hdu.header.values}, hdu.header.history)
    both = hashlib.sha256(first.raw + hdu.raw).hexdigest()
    return _ImageHdu(hdu, header, both)


def _check_size(file: FitsFile, hdu: Hdu, rules: ImagesConfig) -> None:
    nx, ny = hdu.shape[:2]
    if nx * ny > rules.max_pixels:
        msg = (
            f"its header announces {nx} x {ny} pixels, more than images.max_pixels = "
            f"{rules.max_pixels}"
        )
        raise ImageError(msg, reason="too many pixels", nx=nx, ny=ny)
    file.check_whole(hdu)


def _stokes(chosen: ChosenPlane, assumed: Assumed) -> int:
    letter = None if chosen.stokes is None else str(chosen.stokes)
    found = assumed.fill("stokes", letter)
    return 1 if found is None else STOKES_CODES.get(found) or int(found)


def _beam(
    header: Header,
    rules: ImagesConfig,
    assumed: Assumed,
    table: BeamTable | None,
    chosen: ChosenPlane,
    place: Place,
) -> Beam:
    """Beam of a plane, by the north of ICRS."""
    beam = read_beam(header, rules.header, assumed, table, chosen)
    angle = beam.bpa_deg + place.turn_deg
    # A beam looks the same after half a turn; angles that are as usual stay as they are written.
    return replace(beam, bpa_deg=angle if abs(angle) <= 180.0 else math.remainder(angle, 180.0))


def find_image_hdu(source: SourceFile, rules_of: RulesOf) -> tuple[Hdu, Header]:
    """Return the HDU that is the image, and its header with what it inherits; no pixel is read.

    Raises
    ------
    ImageError
        If the file cannot be used, with the reason.
    """
    with _opened(source) as file:
        image, *_, rules = _find_image(file, rules_of)
        _check_size(file, image.hdu, rules)
        return image.hdu, image.header

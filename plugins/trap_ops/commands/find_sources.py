"""``trap-manage find``: the sources of images, without a dataset."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table
from rich.measure import Measurement
from rich.table import Table as ShownTable

from trap_ops.commands.environment import image_access
from trap_ops.commands.files import save_file
from trap_ops.commands.inspect_images import Configurations, add_configuration
from trap_ops.commands.summary import make_console
from trap_ops.errors import ConfigError, ImageError
from trap_ops.export.report import safe_name
from trap_ops.export.source_maps import MAPS, as_fits_image, make_map
from trap_ops.export.source_table import (
    as_csv,
    as_fits,
    as_regions,
    as_votable,
    source_table,
)
from trap_ops.images.access import Access
from trap_ops.images.discovery import absolute_input, find_files
from trap_ops.images.fits import OpenImage
from trap_ops.images.reading import read_headers, read_image
from trap_ops.records.images import ImageFile
from trap_ops.records.names import one_line
from trap_ops.records.sources import Sources
from trap_ops.science.sky_plane import linearise, to_pixels
from trap_ops.stages.extract_sources import find_sources

# Format, its option, and what writes it.
_FORMATS: tuple[tuple[str, str, Callable[[Table], bytes]], ...] = (
    ("csv", "CSV", as_csv),
    ("votable", "VOTable", as_votable),
    ("fits", "FITS table", as_fits),
    ("regions", "DS9 regions", as_regions),
)
# A pixel of the detection image may be so far from its partner.
_SAME_PLACE_PX = 0.5
_SHOWN = ("ra", "decl", "f_peak", "f_peak_err", "f_int", "f_int_err", "det_sigma", "flag_words")


def add_parser(verbs: Any) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "find",
        help="find and measure the sources of images, without a dataset",
        description="Find and measure the sources of images as a run would, and show them or write "
        "them into files. No database is used, and no quality check is made. Exit status 1 if an "
        "image cannot be used.",
    )
    parser.add_argument("images", nargs="+", help="as `run` takes them")
    for name, title, _ in _FORMATS:
        parser.add_argument(f"--{name}", type=Path, metavar="FILE", help=f"write a {title}")
    parser.add_argument(
        "--maps",
        type=Path,
        metavar="DIRECTORY",
        help=f"write {', '.join(MAPS)} of each image there, as FITS",
    )
    parser.add_argument(
        "--detection-image",
        metavar="FILE",
        help="find the sources in this image, and measure them in the others: equal pixels, place "
        "on the sky and beam",
    )
    add_configuration(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Find sources; show or write them."""
    configurations = Configurations(arguments.config, arguments.set)
    settings = configurations.images
    access = image_access()
    inputs = [absolute_input(item) for item in arguments.images]
    found = find_files(inputs, settings.suffixes, settings.data_roots, access)
    access = access.below(settings.data_roots)
    detection = None
    if arguments.detection_image:
        detection = _detection_image(arguments.detection_image, configurations, access)
    failed = [error for _, error in found.refused]
    parts: list[tuple[str, Sources]] = []
    # Where base names repeat, the whole path tells files apart: in the table and in names of maps.
    names = Counter(location.rsplit("/", 1)[-1] for location in found.paths)
    for number, location in enumerate(found.paths, 1):
        _show_progress(number, len(found.paths))
        try:
            images = read_headers(location, configurations.rules_of, access)
            base = location.rsplit("/", 1)[-1]
            file = base if names[base] == 1 else location
            parts += [
                _find(image, file, configurations, access, detection, arguments.maps)
                for image in images
            ]
        except ImageError as error:
            failed.append(error)
    table = source_table(parts)
    _write(arguments, table)
    for problem in failed:
        print(f"trap-manage: {one_line(problem.message)}", file=sys.stderr)
    return 1 if failed else 0


def _find(
    image: ImageFile,
    file: str,
    configurations: Configurations,
    access: Access,
    detection: OpenImage | None,
    maps: Path | None,
) -> tuple[str, Sources]:
    """Name and sources of an image."""
    whole = configurations.of_telescope(image.telescope)[1]
    opened = read_image(image.path, image.plane, whole.images, access)
    name = f"{file}[{image.plane.label}]" if image.plane.label else file
    if detection is not None:
        _require_equal_pixels(opened, detection, name)
    searched = None if detection is None else detection.pixels
    sources, extraction = find_sources(opened, name, whole.extraction, searched)
    if maps is not None:
        for kind in MAPS:
            made = as_fits_image(make_map(kind, opened.pixels, extraction), opened.wcs, opened.beam)
            save_file(maps / f"{safe_name(name)}.{kind}.fits", made)
    return name, sources


def _require_equal_pixels(image: OpenImage, detection: OpenImage, name: str) -> None:
    """Refuse an image whose pixels are not those of the detection image.

    Raises
    ------
    ImageError
        If their numbers differ, or their places on the sky by more than half a pixel at a corner.
    """
    (ny, nx), (detection_ny, detection_nx) = image.pixels.shape, detection.pixels.shape
    if (ny, nx) != (detection_ny, detection_nx):
        msg = (
            f"{name}: has {nx} x {ny} pixels, and the detection image has "
            f"{detection_nx} x {detection_ny}; they must be equal"
        )
        raise ImageError(msg, reason="detection image")
    x = np.array([0.0, nx - 1.0, 0.0, nx - 1.0, (nx - 1) / 2.0])
    y = np.array([0.0, 0.0, ny - 1.0, ny - 1.0, (ny - 1) / 2.0])
    there_x, there_y = to_pixels(image.wcs, *detection.wcs.wcs_pix2world(x, y, 0))
    moved = np.hypot(there_x - x, there_y - y)
    on_sky = np.isfinite(linearise(image.wcs, x, y)[0])  # Corners of a whole sky are not.
    if not (moved[on_sky] <= _SAME_PLACE_PX).all():
        msg = f"{name}: its pixels are not where those of the detection image are on the sky"
        raise ImageError(msg, reason="detection image")


def _detection_image(text: str, configurations: Configurations, access: Access) -> OpenImage:
    """Open the image that sources are found in.

    Raises
    ------
    ConfigError
        If it is not one image that can be used.
    """
    settings = configurations.images
    found = find_files([absolute_input(text)], settings.suffixes, access.data_roots, access)
    if len(found.paths) != 1:
        msg = f"--detection-image {one_line(text)} is {len(found.paths)} files; give one"
        raise ConfigError(msg)
    try:
        images = read_headers(found.paths[0], configurations.rules_of, access)
        if len(images) != 1:
            msg = f"--detection-image {one_line(text)} has {len(images)} planes; choose one"
            raise ConfigError(msg)
        rules = configurations.rules_of(images[0].telescope)
        return read_image(images[0].path, images[0].plane, rules, access)
    except ImageError as error:
        msg = f"--detection-image cannot be used: {error.message}"
        raise ConfigError(msg) from error


def _write(arguments: argparse.Namespace, table: Table) -> None:
    """Write the files that are wanted; show the table if there are none."""
    written = [
        (path, write(table))
        for name, _, write in _FORMATS
        if (path := getattr(arguments, name)) is not None
    ]
    for path, content in written:
        save_file(path, content)
    if not written and arguments.maps is None:
        _show(table)
    images = len(set(table["image"].tolist()))
    print(f"{len(table)} sources in {images} images with sources", file=sys.stderr)


def _show(table: Table) -> None:
    console = make_console()
    shown = ShownTable(box=None, pad_edge=False, header_style="bold")
    for name in ("image", *_SHOWN):
        shown.add_column(name, no_wrap=True)
    for row in table:
        numbers = [_number(name, row[name]) for name in _SHOWN[:-1]]
        shown.add_row(one_line(str(row["image"])), *numbers, str(row["flag_words"]))
    wanted = Measurement.get(console, console.options.update(width=10_000), shown).maximum
    console.width = max(console.width, wanted)
    console.print(shown, highlight=False)


def _number(name: str, value: float) -> str:
    if name in {"ra", "decl"}:
        return f"{value:.5f}"
    return f"{value:.4g}"


def _show_progress(number: int, total: int) -> None:
    if total > 1 and sys.stderr.isatty():
        end = "\r\033[K" if number == total else ""
        sys.stderr.write(f"\r\033[K  image {number} of {total}{end}")
        sys.stderr.flush()

"""Small pictures of the sky around a position, from the images themselves."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image as Picture

from trap_ops.config.model import ImagesConfig
from trap_ops.errors import ImageError
from trap_ops.images.access import LOCAL_ONLY, Access
from trap_ops.images.fits import OpenImage
from trap_ops.images.reading import read_registered
from trap_ops.records.arrays import FloatArray
from trap_ops.records.images import ImageRow
from trap_ops.science.beam import ellipse_of_covariance
from trap_ops.science.geometry import pixel_beam
from trap_ops.science.sky_plane import to_pixels

# Larger stamps are averaged down to this, so that a report of many candidates stays small.
_MAX_SIDE_PX = 112
# Whatever side is asked for.
_MAX_HALF_SIDE_PX = 1000
# White; and black where the source is fainter: local rms above the background.
_LOW_SIGMA, _LEAST_HIGH_SIGMA = -3.0, 10.0
# Below this the grey is linear in flux, above it logarithmic.
_SOFTENING_SIGMA = 3.0


@dataclass(frozen=True)
class CutoutRequest:
    """What to cut out of an image.

    Attributes
    ----------
    ra_deg, dec_deg : float
        Centre.
    side_deg : float
    background_jy, rms_jy : float
        Jy/beam, at the position; the grey scale follows from them.
    peak_jy : float
        Flux that is to be black, unless it is below ten rms.
    """

    ra_deg: float
    dec_deg: float
    side_deg: float
    background_jy: float
    rms_jy: float
    peak_jy: float

    @property
    def high_sigma(self) -> float:
        """Black, in local rms above the background."""
        return max((self.peak_jy - self.background_jy) / self.rms_jy, _LEAST_HIGH_SIGMA)


@dataclass(frozen=True)
class Cutout:
    """A picture, or why there is none.

    Attributes
    ----------
    uri : str
        PNG as a data URI; empty if there is no picture.
    problem : str
        Why there is none, in words.
    width, height : int
        Pixels of the image across and up; a shown pixel may be the mean of several.
    x, y : float
        The position in these, from the upper left corner.
    north, east : tuple of float
        Unit vectors on the picture, y downwards.
    beam : tuple of float
        Full widths along both axes in pixels, and the angle of the major axis from upwards to the
        left, degrees.
    """

    uri: str = ""
    problem: str = ""
    width: int = 0
    height: int = 0
    x: float = 0.0
    y: float = 0.0
    north: tuple[float, float] = (0.0, -1.0)
    east: tuple[float, float] = (-1.0, 0.0)
    beam: tuple[float, float, float] = (0.0, 0.0, 0.0)


def cut_out(
    row: ImageRow,
    requests: Iterable[CutoutRequest],
    rules: ImagesConfig,
    access: Access = LOCAL_ONLY,
) -> list[Cutout]:
    """Cut several positions out of one image, which is read once.

    A file that cannot be read, or is not the one that was analysed, gives the reason instead.
    """
    wanted = list(requests)
    try:
        image = read_registered(row, rules, access)
    except (ImageError, OSError) as error:
        return [Cutout(problem=str(error)) for _ in wanted]
    x, y = to_pixels(
        image.wcs,
        np.array([request.ra_deg for request in wanted]),
        np.array([request.dec_deg for request in wanted]),
    )
    return [
        _cut_one(image, row, request, float(column), float(line))
        for request, column, line in zip(wanted, x, y, strict=True)
    ]


def cut_out_all(
    rows: Mapping[int, ImageRow],
    requests: Mapping[tuple[int, int], CutoutRequest],
    rules: ImagesConfig,
    access: Access = LOCAL_ONLY,
) -> dict[tuple[int, int], Cutout]:
    """Cut out of many images; keys are (image, whatever the caller likes)."""
    of_image: dict[int, list[tuple[int, int]]] = {}
    for key in requests:
        of_image.setdefault(key[0], []).append(key)
    found: dict[tuple[int, int], Cutout] = {}
    for image_id, keys in of_image.items():
        cutouts = cut_out(rows[image_id], [requests[key] for key in keys], rules, access)
        found.update(zip(keys, cutouts, strict=True))
    return found


def _cut_one(image: OpenImage, row: ImageRow, request: CutoutRequest, x: float, y: float) -> Cutout:
    ny, nx = image.pixels.shape
    if not (-0.5 <= x <= nx - 0.5 and -0.5 <= y <= ny - 0.5):
        return Cutout(problem="The position is outside this image.")
    half_x = _half_side(request.side_deg, row.deltax_deg, nx)
    half_y = _half_side(request.side_deg, row.deltay_deg, ny)
    left, low = round(x) - half_x, round(y) - half_y
    stamp = _window(image, left, low, 2 * half_x + 1, 2 * half_y + 1)
    if not np.isfinite(stamp).any():
        return Cutout(problem="No pixel around the position has data.")
    north, east = _compass(image)
    ellipse = ellipse_of_covariance(pixel_beam(image.beam, image.pixel_matrix_deg))
    factor = -(-max(stamp.shape) // _MAX_SIDE_PX)
    shown = _reduced(stamp, factor)
    height, width = (side * factor for side in shown.shape)
    return Cutout(
        uri=_png(shown, request),
        width=width,
        height=height,
        x=x - left + 0.5,
        # Images count lines from below, pictures from above.
        y=height - 0.5 - (y - low),
        north=north,
        east=east,
        beam=(ellipse.fwhm_major_px, ellipse.fwhm_minor_px, ellipse.theta_deg),
    )


def _half_side(side_deg: float, pixel_deg: float, image_px: int) -> int:
    return min(max(round(side_deg / abs(pixel_deg) / 2.0), 4), image_px, _MAX_HALF_SIDE_PX)


def _window(image: OpenImage, left: int, low: int, width: int, height: int) -> FloatArray:
    """Pixels of a window, (height, width); NaN where it reaches beyond the image."""
    ny, nx = image.pixels.shape
    stamp = np.full((height, width), np.nan)
    x0, x1 = max(left, 0), min(left + width, nx)
    y0, y1 = max(low, 0), min(low + height, ny)
    stamp[y0 - low : y1 - low, x0 - left : x1 - left] = image.pixels[y0:y1, x0:x1]
    return stamp


def _reduced(stamp: FloatArray, factor: int) -> FloatArray:
    """Means over square blocks, where the stamp is too large to show each of its pixels."""
    if factor == 1:
        return stamp
    height, width = (-(-side // factor) for side in stamp.shape)
    padded = np.full((height * factor, width * factor), np.nan)
    padded[: stamp.shape[0], : stamp.shape[1]] = stamp
    blocks = padded.reshape(height, factor, width, factor)
    valid = np.isfinite(blocks)
    total = np.where(valid, blocks, 0.0).sum(axis=(1, 3))
    with np.errstate(invalid="ignore"):
        return np.asarray(total / valid.sum(axis=(1, 3)))


def _png(stamp: FloatArray, request: CutoutRequest) -> str:
    """Grey picture, dark on light, as a data URI; pixels without data are transparent."""
    sigma = (stamp - request.background_jy) / request.rms_jy
    low, high, grey = (
        np.arcsinh(np.asarray(value) / _SOFTENING_SIGMA)
        for value in (_LOW_SIGMA, request.high_sigma, sigma)
    )
    valid = np.isfinite(grey)
    level = np.clip((np.where(valid, grey, low) - low) / (high - low), 0.0, 1.0)
    # 0 is kept for pixels without data.
    shade = np.where(valid, 255.0 - 254.0 * level, 0.0)
    buffer = io.BytesIO()
    picture = Picture.fromarray(np.rint(shade[::-1]).astype(np.uint8))
    picture.save(buffer, "PNG", optimize=True, transparency=0)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _compass(image: OpenImage) -> tuple[tuple[float, float], tuple[float, float]]:
    """Directions of north and east on the picture."""
    to_pixel = np.linalg.inv(image.pixel_matrix_deg)
    vectors = []
    for direction in ((0.0, 1.0), (1.0, 0.0)):
        x, y = (to_pixel @ np.array(direction)).tolist()
        length = math.hypot(x, y)
        vectors.append((x / length, -y / length))
    return vectors[0], vectors[1]

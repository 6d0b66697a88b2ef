"""Sky regions: circles that images cover, and which sources should be visible in them (2.2)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from trap_ops.records.arrays import FloatArray, Mask
from trap_ops.records.images import Region
from trap_ops.science.coordinates import (
    separation,
    separation_of_vectors,
    unit_vectors,
)

# Two pointings are the same region within this fraction of its radius or this many degrees.
_RELATIVE_TOLERANCE = 1e-6
_TOLERANCE_DEG = 1.0 / 3600.0


def assign_regions(
    images: Iterable[Region], known: Sequence[Region]
) -> tuple[list[int], list[Region]]:
    """Give each image the first region that equals its own within the tolerance, or a new one.

    Parameters
    ----------
    images : iterable of Region
        What each image covers, in canonical order.
    known : sequence of Region
        Regions of the dataset so far, in order of their first images.

    Returns
    -------
    index : list of int
        Region of each image, into ``regions``.
    regions : list of Region
    """
    regions = list(known)
    index = []
    for image in images:
        number = _same_region(image, regions)
        if number is None:
            number = len(regions)
            regions.append(image)
        index.append(number)
    return index, regions


def inside_region(
    region: Region, dec_deg: npt.ArrayLike, vectors: FloatArray
) -> tuple[Mask, FloatArray]:
    """Which positions are strictly inside a region, and their distances from its centre in degrees.

    Parameters
    ----------
    region : Region
    dec_deg : array_like, (n,)
    vectors : numpy.ndarray, (n, 3)
        Unit vectors of the positions.
    """
    centre = unit_vectors(region.ra_deg, region.dec_deg)
    difference = vectors - centre
    chord2 = difference[:, 0] ** 2 + difference[:, 1] ** 2 + difference[:, 2] ** 2
    limit = 2.0 * math.sin(math.radians(min(region.radius_deg, 180.0)) / 2.0)
    near = np.abs(np.asarray(dec_deg) - region.dec_deg) <= region.radius_deg
    return near & (chord2 < limit**2), separation_of_vectors(vectors, centre[None, :])


def _same_region(image: Region, regions: Sequence[Region]) -> int | None:
    if not regions:
        return None
    ra, dec, radius = np.array([(r.ra_deg, r.dec_deg, r.radius_deg) for r in regions]).T
    tolerance = np.maximum(_RELATIVE_TOLERANCE * radius, _TOLERANCE_DEG)
    same = (separation(ra, dec, image.ra_deg, image.dec_deg) <= tolerance) & (
        np.abs(radius - image.radius_deg) <= tolerance
    )
    return int(same.argmax()) if same.any() else None

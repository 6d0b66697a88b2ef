"""What going through a time step needs to know, and what it remembers until the step's end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from trap_ops.records.arrays import FloatArray, IntArray, Mask
from trap_ops.science.new_sources import DetectionLimits


@dataclass(frozen=True)
class HistoryImage:
    """What going through an image needs to know of it.

    Attributes
    ----------
    id, order : int
        ``order`` grows with the canonical order of the dataset's images.
    region, band, stokes : int
    max_separation_deg : float
        Largest distance of a detection from its source.
    limits : DetectionLimits
    centre_ra_deg, centre_dec_deg, radius_deg : float
        Circle that holds the image.
    beam_deg : float
        Full width at half maximum of the beam's major axis.
    rms_jy : float
        Of the image's centre, Jy/beam.
    """

    id: int
    order: int
    region: int
    band: int
    stokes: int
    max_separation_deg: float
    limits: DetectionLimits
    centre_ra_deg: float
    centre_dec_deg: float
    radius_deg: float
    beam_deg: float
    rms_jy: float


@dataclass(frozen=True)
class Rules:
    """Settings of association, forced fits and new sources."""

    max_deruiter: float
    forward: bool
    backward: bool
    backward_max_images: int
    expiration: int | None


class Founded(NamedTuple):
    """Sources founded in a time step, and where their first detections are; all arrays (n,).

    Forks of them in the same step are there too: they keep the place of their ``founder``.
    """

    source: IntArray
    founder: IntArray
    ra_deg: FloatArray
    dec_deg: FloatArray

    def take(self, items: IntArray | Mask) -> Founded:
        """Return some of them."""
        return Founded(
            self.source[items], self.founder[items], self.ra_deg[items], self.dec_deg[items]
        )

    def joined(self, *others: Founded) -> Founded:
        """Return these and others."""
        return Founded(*map(np.concatenate, zip(self, *others, strict=True)))

    def forked(self, parents: IntArray, children: IntArray) -> Founded:
        """Return the children of those that were forked."""
        known = np.isin(parents, self.source)
        order = np.argsort(self.source)
        place = np.searchsorted(self.source, parents[known], sorter=order)
        return self.take(order[place])._replace(source=children[known])

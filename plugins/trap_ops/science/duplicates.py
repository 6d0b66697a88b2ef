"""Images that a dataset has already: the same content, or the same observation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trap_ops.records.images import ImageRow
from trap_ops.science.coordinates import separation_of_vectors, unit_vectors

# Two headers of one image may differ in the last digits that they are written with.
_FREQUENCY_TOLERANCE = 1e-6
_BEAM_TOLERANCE = 1e-4
_INTEGRATION_TOLERANCE = 1e-6
# Beams of an array that look at once are beam widths apart.
_CENTRE_TOLERANCE_BEAMS = 0.01
_CENTRE_TOLERANCE_ARCSEC = 0.1


def same_observations(images: Sequence[ImageRow]) -> list[list[int]]:
    """Which earlier images each image is the same observation as.

    That is the same start, Stokes parameter, frequency (within 1e-6 of it), integration time
    (1e-6), beam (both axes, 1e-4) and centre (within 0.01 of the beam's minor axis or 0.1 arcsec,
    whichever is more). Images that differ in one of these are none: simultaneous beams, pointings,
    subbands, channels, Stokes parameters.

    Parameters
    ----------
    images : sequence of ImageRow
        In canonical order.

    Returns
    -------
    list of list of int
        A list an image: places of earlier images in ``images``, the first one first.
    """
    found: list[list[int]] = [[] for _ in images]
    first = 0
    while first < len(images):
        last = first + 1
        while last < len(images) and images[last].start == images[first].start:
            last += 1
        if last - first > 1:
            _compare(images[first:last], found, first)
        first = last
    return found


def _compare(images: Sequence[ImageRow], found: list[list[int]], offset: int) -> None:
    """Compare the images of one time step: in order of their frequency."""
    frequency = np.array([image.freq_eff_hz for image in images])
    stokes = np.array([image.stokes for image in images])
    integration = np.array([image.integration_s for image in images])
    major = np.array([image.beam_semimajor_deg for image in images])
    minor = np.array([image.beam_semiminor_deg for image in images])
    centre = unit_vectors(
        [image.centre_ra_deg for image in images], [image.centre_dec_deg for image in images]
    )
    near_deg = np.maximum(2.0 * _CENTRE_TOLERANCE_BEAMS * minor, _CENTRE_TOLERANCE_ARCSEC / 3600.0)
    begins = np.searchsorted(frequency, frequency * (1.0 - _FREQUENCY_TOLERANCE), side="left")
    for place in np.flatnonzero(begins < np.arange(len(images))).tolist():
        earlier = slice(int(begins[place]), place)
        same = stokes[earlier] == stokes[place]
        for values, tolerance in (
            (integration, _INTEGRATION_TOLERANCE),
            (major, _BEAM_TOLERANCE),
            (minor, _BEAM_TOLERANCE),
        ):
            value = values[place]
            with np.errstate(invalid="ignore"):
                same &= np.abs(values[earlier] - value) <= tolerance * np.abs(value)
        if same.any():
            apart = separation_of_vectors(centre[earlier], centre[place])
            same &= apart <= near_deg[place]
            places = np.flatnonzero(same) + earlier.start + offset
            found[place + offset] = places.tolist()

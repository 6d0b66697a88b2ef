"""Frequency bands: which images are compared with each other (SCIENCE.md 2.1)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from trap_ops.records.images import Band

# Bands that share less than this fraction of their frequency touch: it is rounding.
_TOUCHING = 1e-8


def assign_bands(
    images: Iterable[tuple[float, float]],
    known: Sequence[Band],
    bandwidth_max_hz: float = 0.0,
) -> tuple[list[int], list[Band]]:
    """Give each image the first band that its interval overlaps, or a new one.

    Parameters
    ----------
    images : iterable of (float, float)
        Centre frequency and bandwidth in Hz, in canonical order; the sign of the width is ignored.
    known : sequence of Band
        Bands of the dataset so far, in order of their first images.
    bandwidth_max_hz : float
        If not 0, replaces every width.

    Returns
    -------
    index : list of int
        Band of each image, into ``bands``.
    bands : list of Band
        The known ones and the new ones.

    Notes
    -----
    Intervals overlap if their union is shorter than their widths together. Touching is not enough,
    nor is what rounding makes of it: contiguous channels are bands of their own.
    """
    bands = list(known)
    index = []
    for frequency, bandwidth in images:
        width = bandwidth_max_hz or abs(bandwidth)
        low, high = frequency - width / 2.0, frequency + width / 2.0
        for number, band in enumerate(bands):
            band_width = band.high_hz - band.low_hz
            union = max(high, band.high_hz) - min(low, band.low_hz)
            # The widths matter only to bands narrower than rounding: they overlap with themselves.
            touching = min(_TOUCHING * frequency, width / 2.0, band_width / 2.0)
            if width + band_width - union > touching:
                index.append(number)
                break
        else:
            index.append(len(bands))
            bands.append(Band(frequency, low, high))
    return index, bands

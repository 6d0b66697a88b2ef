"""What islands are: pixels, extent and light, without any model of sources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trap_ops.records.arrays import FloatArray, IntArray
from trap_ops.science.detection import Islands, Peaks


@dataclass(frozen=True)
class IslandTable:
    """What islands are, without any model of sources; all arrays (n,), one row an island.

    Attributes
    ----------
    n_pixels, n_components : numpy.ndarray of int
        Pixels above the analysis threshold; components measured in them.
    x_min, x_max, y_min, y_max : numpy.ndarray of int
        Outermost pixels, 0-based.
    x, y : numpy.ndarray
        Mean position, weighted with the brightness, 0-based pixels.
    peak : numpy.ndarray
        Brightest pixel minus background, units of the image.
    snr : numpy.ndarray
        Highest significance of a pixel.
    flux : numpy.ndarray
        Sum of the pixels minus background over the pixels of a beam: what extended emission has,
        whatever its shape. Light below the analysis threshold is missing.
    """

    n_pixels: IntArray
    n_components: IntArray
    x_min: IntArray
    x_max: IntArray
    y_min: IntArray
    y_max: IntArray
    x: FloatArray
    y: FloatArray
    peak: FloatArray
    snr: FloatArray
    flux: FloatArray

    def __len__(self) -> int:
        """Count the islands."""
        return len(self.n_pixels)


def tabulate_islands(
    islands: Islands, nx: int, peaks: Peaks, components: IntArray, beam_pixels: float
) -> IslandTable:
    """Sum up the islands that have a peak, in the order of :attr:`Peaks.island`.

    Parameters
    ----------
    islands : Islands
    nx : int
        Columns of the image.
    peaks : Peaks
        Of these islands.
    components : numpy.ndarray of int, (m,)
        Island of each component that was measured.
    beam_pixels : float
        Solid angle of the beam in pixels.
    """
    with_peak = np.zeros(int(islands.label.max(initial=-1)) + 1, dtype=bool)
    with_peak[islands.label[np.searchsorted(islands.flat, peaks.y * nx + peaks.x)]] = True
    kept = with_peak[islands.label]
    number = (np.cumsum(with_peak) - 1)[islands.label[kept]]
    y, x = np.divmod(islands.flat[kept], nx)
    value = islands.value[kept]
    n = int(np.count_nonzero(with_peak))

    def extreme(function: np.ufunc, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        # Begins with any value of each island.
        made = np.empty(n, dtype=values.dtype)
        made[number] = values
        function.at(made, number, values)
        return made

    total = np.bincount(number, value, n)
    return IslandTable(
        n_pixels=np.bincount(number, minlength=n),
        n_components=np.bincount(components, minlength=n),
        x_min=extreme(np.minimum, x),
        x_max=extreme(np.maximum, x),
        y_min=extreme(np.minimum, y),
        y_max=extreme(np.maximum, y),
        x=np.bincount(number, value * x, n) / total,
        y=np.bincount(number, value * y, n) / total,
        peak=extreme(np.maximum, value),
        snr=extreme(np.maximum, islands.snr[kept]),
        flux=total / beam_pixels,
    )

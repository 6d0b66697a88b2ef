"""Sources of known flux: steady, variable and transient, as functions of the epoch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

SourceKind = Literal["steady", "variable", "transient"]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SimulatedSky:
    """The truth of a simulated series.

    Attributes
    ----------
    name : list of str
        One name a source, e.g. ``steady-007``.
    kind : list of str
        ``steady``, ``variable`` or ``transient``.
    ra_deg, dec_deg : numpy.ndarray, (n,)
        Positions, ICRS.
    flux_jy : numpy.ndarray, (n_epochs, n)
        Flux density at the reference frequency.
    spectral_index : numpy.ndarray, (n,)
        alpha in S ~ frequency**alpha.
    shape : list of str
        The law of the light curve: ``constant``, ``sinusoid``, ``flare``, ``step``, ``burst``.
    """

    name: list[str]
    kind: list[SourceKind]
    ra_deg: FloatArray
    dec_deg: FloatArray
    flux_jy: FloatArray
    spectral_index: FloatArray
    shape: list[str] = field(default_factory=list)

    def flux_at(self, epoch: int, frequency_hz: float, reference_hz: float) -> FloatArray:
        """Flux densities in Jy, (n,), at one epoch and frequency."""
        scale = (frequency_hz / reference_hz) ** self.spectral_index
        return np.asarray(self.flux_jy[epoch] * scale)


def variable_light_curves(
    mean_jy: FloatArray, n_epochs: int, rng: np.random.Generator
) -> tuple[FloatArray, list[str]]:
    """Light curves of variable sources, whose flux changes by tens of per cent.

    Parameters
    ----------
    mean_jy : numpy.ndarray, (n,)
        Quiescent or mean flux density.
    n_epochs : int
    rng : numpy.random.Generator

    Returns
    -------
    flux_jy : numpy.ndarray, (n_epochs, n)
    shape : list of str
        ``sinusoid``, ``flare`` or ``step``, in turn.
    """
    time = np.arange(n_epochs)
    flux = np.empty((n_epochs, len(mean_jy)))
    shapes: list[str] = []
    for index, mean in enumerate(mean_jy):
        shape = ("sinusoid", "flare", "step")[index % 3]
        shapes.append(shape)
        if shape == "sinusoid":
            period = rng.uniform(n_epochs / 5, n_epochs / 2)
            phase = rng.uniform(0, 2 * np.pi)
            factor = 1.0 + rng.uniform(0.3, 0.6) * np.sin(2 * np.pi * time / period + phase)
        elif shape == "flare":
            peak = rng.uniform(0.25, 0.75) * n_epochs
            decay = rng.uniform(0.08, 0.2) * n_epochs
            rise = np.where(time < peak, decay / 4, decay)
            factor = 1.0 + rng.uniform(0.8, 2.0) * np.exp(-np.abs(time - peak) / rise)
        else:
            step = rng.integers(n_epochs // 4, 3 * n_epochs // 4 + 1)
            factor = np.where(time < step, 1.0, rng.choice([0.4, 1.8]))
        flux[:, index] = mean * factor
    return flux, shapes


def transient_light_curves(
    peak_jy: FloatArray, n_epochs: int, rng: np.random.Generator
) -> FloatArray:
    """Light curves that are zero but for a burst of one to a third of the epochs.

    The first burst has one epoch, later ones are longer; none is on in the first epoch, because a
    source that was always there when one began to look is not known to be new.

    Returns
    -------
    flux_jy : numpy.ndarray, (n_epochs, n)
    """
    flux = np.zeros((n_epochs, len(peak_jy)))
    longest = max(1, n_epochs // 3)
    for index, peak in enumerate(peak_jy):
        duration = min(longest, 1 + 2 * index)
        start = int(rng.integers(1, max(2, n_epochs - duration)))
        decay = np.exp(-np.arange(duration) / max(duration, 2))
        flux[start : start + duration, index] = (peak * decay)[: n_epochs - start]
    return flux

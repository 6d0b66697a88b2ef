"""Sizes of sources without the beam."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trap_ops.records.arrays import FloatArray


def deconvolve(shape_covariance: npt.ArrayLike, beam_covariance: npt.ArrayLike) -> FloatArray:
    """Gaussians that, convolved with the beam, give the measured ones.

    Parameters
    ----------
    shape_covariance : array_like, (n, 2, 2)
        Of the measured Gaussians.
    beam_covariance : array_like, (2, 2)
        In the same plane and unit.

    Returns
    -------
    numpy.ndarray, (n, 2, 2)
        An axis along which the source is no wider than the beam has the variance 0.

    Notes
    -----
    Covariances of convolved Gaussians add up. The difference has the axes that Wild (1970, Aust. J.
    Phys. 23, 113) gives with angles; a negative one is set to zero.
    """
    difference = np.asarray(shape_covariance, dtype=np.float64) - np.asarray(beam_covariance)
    values, vectors = np.linalg.eigh((difference + difference.swapaxes(1, 2)) / 2.0)
    # What rounding leaves of a held beam is no size.
    largest = np.linalg.eigvalsh(np.asarray(beam_covariance, dtype=np.float64))[1]
    values = np.where(values > 1e-9 * largest, values, 0.0)
    return np.asarray((vectors * values[:, None, :]) @ vectors.swapaxes(1, 2))

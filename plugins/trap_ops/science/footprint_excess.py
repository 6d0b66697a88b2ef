"""What it does to a fit that its footprint lies about the brightest pixel."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trap_ops.records.arrays import FloatArray
from trap_ops.records.images import Autocorrelation
from trap_ops.science.footprints import Footprint
from trap_ops.science.gaussian_fit import N_FREE, N_HELD, Stamps, model_derivatives
from trap_ops.science.noise import correlation_at

_SIDES = np.array([[1, 0], [-1, 0], [0, 1], [0, -1]])


def footprint_excess(
    footprint: Footprint,
    covariance_px: npt.ArrayLike,
    correlation: Autocorrelation,
    *,
    shape_free: bool,
) -> FloatArray:
    """Mean excess of the parameters of a source of peak 1 in noise of rms 1, (n,).

    It goes with the square of the noise: an amplitude A in units of the rms has ``1 / A`` of the
    first value, an inverse covariance ``1 / A^2`` of its values.

    Parameters
    ----------
    footprint : Footprint
        A thinned one changes as a whole when it moves: nothing is said of these.
    covariance_px : array_like, (2, 2)
        Of the source, pixels squared.
    correlation : Autocorrelation
        Of the noise.
    shape_free : bool

    Notes
    -----
    The brightest pixel is where ``A q^-1`` times the gradient of the noise n leads to. That moves
    the rim of the footprint to where the residual r is correlated with that gradient:
    ``N^-1 sum J <dW r>`` with dW the change of the pixels that take part.
    """
    covariance = np.asarray(covariance_px, dtype=np.float64)
    n_per = N_FREE if shape_free else N_HELD
    if footprint.stride > 1:
        return np.zeros(n_per)
    reach = int(max(np.abs(footprint.dx).max(), np.abs(footprint.dy).max())) + 1
    box = np.zeros((2 * reach + 1, 2 * reach + 1))
    box[footprint.dy + reach, footprint.dx + reach] = 1.0
    inside = box.ravel()
    change = np.stack([np.roll(box, 1, axis) - np.roll(box, -1, axis) for axis in (1, 0)]) / 2.0
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1).astype(np.float64)
    inverse = np.linalg.inv(covariance)
    source = np.array([[[1.0, 0.0, 0.0, inverse[0, 0], inverse[0, 1], inverse[1, 1]]]])
    everywhere = Stamps(np.zeros((1, len(x))), x[None], y[None], np.ones((1, len(x))))
    jacobian = model_derivatives(source, everywhere, n_per)[0]
    used = jacobian * inside
    normal_inverse = np.linalg.inv(used @ jacobian.T)
    offset_x, offset_y = _SIDES[:, :1] - x, _SIDES[:, 1:] - y
    beside = correlation_at(correlation, offset_x.astype(np.intp), offset_y.astype(np.intp))
    gradient = np.stack([beside[0] - beside[1], beside[2] - beside[3]]) / 2.0
    shift = covariance @ gradient
    residual = shift - shift @ used.T @ normal_inverse @ jacobian
    return np.asarray(
        normal_inverse @ (jacobian * (change.reshape(2, -1) * residual).sum(axis=0)).sum(axis=1)
    )

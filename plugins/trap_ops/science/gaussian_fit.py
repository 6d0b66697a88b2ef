"""Least-squares fits of Gaussians to many stamps at once, and their errors in correlated noise.

A batch holds stamps of equal size with equally many components. Every operation acts on one item of
the batch at a time (stacked matrix products, row sums), so that a fit never depends on its
batch-mates, not even in its last bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trap_ops.records.arrays import FloatArray, Mask

# Per component: amplitude, x, y, and the inverse covariance (q_xx, q_xy, q_yy).
N_FREE = 6
N_HELD = 3
MAX_ITERATIONS = 60
_LAMBDA_START = 1e-3
_LAMBDA_STOP = 1e9
# Damping is never less: what only rounding keeps from being singular could not be solved.
_LAMBDA_LEAST = 1e-12
# Relative change of chi-squared at which a fit has converged.
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Stamps:
    """Pixels of a batch of footprints.

    Attributes
    ----------
    value : numpy.ndarray, (b, p)
        Pixel minus background over the local rms of the stamp.
    x, y : numpy.ndarray, (b, p)
        Offsets of the pixels from the reference pixel of each stamp.
    weight : numpy.ndarray, (b, p)
        1 for a pixel that takes part, 0 for one that does not (then ``value`` is 0).
    """

    value: FloatArray
    x: FloatArray
    y: FloatArray
    weight: FloatArray

    def take(self, items: Mask | np.ndarray) -> Stamps:
        """Return some stamps of the batch."""
        return Stamps(self.value[items], self.x[items], self.y[items], self.weight[items])


@dataclass(frozen=True)
class Fit:
    """Result of a batch of fits.

    Attributes
    ----------
    parameters : numpy.ndarray, (b, k, 6)
        Amplitude, x, y, q_xx, q_xy, q_yy of each component.
    chi2 : numpy.ndarray, (b,)
        Sum of squared residuals, in units of the local rms.
    converged : numpy.ndarray of bool, (b,)
    """

    parameters: FloatArray
    chi2: FloatArray
    converged: Mask


def model(parameters: FloatArray, stamps: Stamps) -> FloatArray:
    """Sum of the components on the pixels of each stamp, (b, p)."""
    return np.asarray(_components(parameters, stamps)[0].sum(axis=1))


def fit_gaussians(
    stamps: Stamps,
    start: FloatArray,
    *,
    shape_free: bool,
    max_shift_px: float,
    sigma_limits_px: tuple[float, float],
    max_iterations: int = MAX_ITERATIONS,
    tolerance: float = TOLERANCE,
) -> Fit:
    """Unweighted Levenberg-Marquardt fits of k Gaussians to each stamp.

    Parameters
    ----------
    stamps : Stamps
    start : numpy.ndarray, (b, k, 6)
        First guess. With ``shape_free`` false its shapes are held.
    shape_free : bool
        Fit the shape, or only amplitude and position.
    max_shift_px : float
        A step that takes a component further than this from its start is refused.
    sigma_limits_px : (float, float)
        A step that takes the sigma of an axis below or above these is refused.
    max_iterations : int
    tolerance : float
        Relative change of chi-squared at which a fit has converged.

    Returns
    -------
    Fit
        Where the fit did not converge its parameters are the last accepted ones.
    """
    n_per = N_FREE if shape_free else N_HELD
    best = start.copy()
    chi2 = np.empty(len(start))
    converged = np.zeros(len(start), dtype=bool)
    damping = np.full(len(start), _LAMBDA_START)
    active = np.arange(len(start))
    part = stamps
    normal, gradient, chi2[:] = _normal_equations(best, part, n_per)
    for _ in range(max_iterations):
        if len(active) == 0:
            break
        step = _solve(normal, gradient, damping[active])
        # Where a step that is hardly damped promises no gain, there is none to be had.
        promised = (step * gradient).sum(axis=1)
        arrived = promised <= tolerance * (chi2[active] + 1e-12)
        arrived &= damping[active] <= _LAMBDA_START
        if arrived.any():
            converged[active[arrived]] = True
            going = ~arrived
            active, part = active[going], part.take(going)
            normal, gradient, step = normal[going], gradient[going], step[going]
        trial = best[active]
        trial[:, :, :n_per] += step.reshape(len(active), start.shape[1], n_per)
        allowed = _within(trial, start[active], max_shift_px, sigma_limits_px)
        trial = np.where(allowed[:, None, None], trial, best[active])
        new_normal, new_gradient, new_chi2 = _normal_equations(trial, part, n_per)
        before = chi2[active]
        # A tie is a fixed point: accept it, so that an exact fit ends at once.
        better = allowed & (new_chi2 <= before)
        best[active] = np.where(better[:, None, None], trial, best[active])
        chi2[active] = np.where(better, new_chi2, before)
        done = better & (before - new_chi2 <= tolerance * (new_chi2 + 1e-12))
        # A step that is damped to nothing gains nothing anywhere.
        done &= damping[active] <= 1.0
        converged[active[done]] = True
        smaller = np.maximum(damping[active] * 0.1, _LAMBDA_LEAST)
        damping[active] = np.where(better, smaller, damping[active] * 10.0)
        going = ~done & (damping[active] < _LAMBDA_STOP)
        normal = np.where(better[:, None, None], new_normal, normal)[going]
        gradient = np.where(better[:, None], new_gradient, gradient)[going]
        part = part.take(going)
        active = active[going]
    return Fit(best, chi2, converged)


@dataclass(frozen=True)
class FitErrors:
    """What noise does to a batch of fits of k components with n free parameters each.

    Attributes
    ----------
    covariance : numpy.ndarray, (b, k n, k n)
        n is 6 with the shape free, 3 without. NaN where the normal matrix is singular.
    excess : numpy.ndarray, (b, k, n)
        How far fitted parameters lie above the true ones on average.
    expected_chi2 : numpy.ndarray, (b,)
        What noise alone leaves of squared residuals.
    """

    covariance: FloatArray
    excess: FloatArray
    expected_chi2: FloatArray


def fit_errors(
    parameters: FloatArray, stamps: Stamps, correlation: FloatArray, *, shape_free: bool
) -> FitErrors:
    """Covariance and bias of unweighted least squares in correlated noise.

    Parameters
    ----------
    parameters : numpy.ndarray, (b, k, 6)
    stamps : Stamps
        In units of the local rms, so the errors are in these units too.
    correlation : numpy.ndarray, (p, p) or (b, p, p)
        Correlation of the noise between the pixels of a stamp.
    shape_free : bool

    Notes
    -----
    The covariance is the sandwich ``N^-1 (J C J^T) N^-1`` with ``N = J J^T`` (FINDERS, section 6).
    The mean square sum of what noise alone leaves is ``tr C - tr(N^-1 J C J^T)``.

    A fit moves to where the noise makes the amplitude largest: the amplitude's excess is about
    ``A / SNR**2``, as in Condon's correction ``P - n^2 / P``, but depends on noise and footprint.
    It is the second order of the solution of ``J(t) (d - m(t)) = 0`` in the noise n. With H the
    second derivatives of the model, ``t1 = N^-1 J n`` and ``r = n - J^T t1`` the residual:
    ``t2 = N^-1 (H[t1] r - J H[t1, t1] / 2)``. In its mean, ``<t1 t1^T>`` is the covariance and
    ``<t1 r^T> = N^-1 J C - Cov J``, which is zero in white noise only (Box 1971). The model is a
    Gaussian G, so that ``J_i = G L_i`` and ``H_ij = G (L_i L_j + L_ij)`` with L the derivatives of
    its logarithm.
    """
    n_batch, k = parameters.shape[:2]
    n_per = N_FREE if shape_free else N_HELD
    gaussian, unit, u, v = _components(parameters, stamps)
    jacobian = _jacobian_of(parameters, gaussian, unit, u, v, n_per)
    correlated = jacobian @ correlation
    middle = correlated @ jacobian.swapaxes(1, 2)
    inverse = _inverse(jacobian @ jacobian.swapaxes(1, 2))
    covariance = inverse @ middle @ inverse
    absorbed = np.einsum("bij,bji->b", inverse, middle)
    with_residual = inverse @ correlated - covariance @ jacobian
    along = gaussian[:, :, None] * with_residual.reshape(n_batch, k, n_per, -1)
    # Unlike the Jacobian these are not zero where a pixel takes no part; there the Gaussian is.
    logarithmic = _jacobian_of(parameters, np.ones_like(u), np.ones_like(u), u, v, n_per)
    logarithmic = logarithmic.reshape(n_batch, k, n_per, -1)
    # NaN where there is no amplitude, and nothing that could be too large.
    amplitude = np.where(parameters[:, :, 0] == 0.0, np.nan, parameters[:, :, 0])[:, :, None]
    logarithmic[:, :, 0] /= amplitude
    own = np.arange(k)
    blocks = covariance.reshape(n_batch, k, n_per, k, n_per)
    variance = np.ascontiguousarray(blocks[:, own, :, own].swapaxes(0, 1))
    q_xx, q_xy, q_yy = (parameters[:, :, i, None] for i in (3, 4, 5))
    # The residual is orthogonal to J, so to G times 1, x and y: the L_ij, which are made of these,
    # have no part in this. Plain sums: the order of einsum's may depend on the size of the batch.
    pull = (logarithmic * (logarithmic * along).sum(axis=2)[:, :, None]).sum(axis=3)
    curved = ((variance @ logarithmic) * logarithmic).sum(axis=2)
    var = variance[:, :, :, :, None]
    curved -= var[:, :, 0, 0] / amplitude**2
    curved -= q_xx * var[:, :, 1, 1] + 2.0 * q_xy * var[:, :, 1, 2] + q_yy * var[:, :, 2, 2]
    if shape_free:
        curved += 2.0 * u * (var[:, :, 1, 3] + var[:, :, 2, 4])
        curved += 2.0 * v * (var[:, :, 1, 4] + var[:, :, 2, 5])
    curvature = (gaussian * curved).sum(axis=1)
    right = pull.reshape(n_batch, -1, 1) - 0.5 * (jacobian @ curvature[:, :, None])
    excess = (inverse @ right).reshape(n_batch, k, n_per)
    return FitErrors(covariance, excess, stamps.weight.sum(axis=1) - absorbed)


def _components(
    parameters: FloatArray, stamps: Stamps
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Each component on the pixels, (b, k, p); its unit-peak form; and the offsets."""
    u = stamps.x[:, None, :] - parameters[:, :, 1, None]
    v = stamps.y[:, None, :] - parameters[:, :, 2, None]
    exponent = (
        parameters[:, :, 3, None] * u * u
        + 2.0 * parameters[:, :, 4, None] * u * v
        + parameters[:, :, 5, None] * v * v
    )
    unit = np.exp(-0.5 * exponent) * stamps.weight[:, None, :]
    return parameters[:, :, 0, None] * unit, unit, u, v


def model_derivatives(parameters: FloatArray, stamps: Stamps, n_per: int) -> FloatArray:
    """Derivatives of the model by the first n parameters (6 or 3) of components, (b, k n, p)."""
    return _jacobian_of(parameters, *_components(parameters, stamps), n_per)


def _jacobian_of(
    parameters: FloatArray,
    gaussian: FloatArray,
    unit: FloatArray,
    u: FloatArray,
    v: FloatArray,
    n_per: int,
) -> FloatArray:
    n_batch, n_components, n_pixels = gaussian.shape
    q_xx = parameters[:, :, 3, None]
    q_xy = parameters[:, :, 4, None]
    q_yy = parameters[:, :, 5, None]
    jacobian = np.empty((n_batch, n_components, n_per, n_pixels))
    jacobian[:, :, 0] = unit
    jacobian[:, :, 1] = gaussian * (q_xx * u + q_xy * v)
    jacobian[:, :, 2] = gaussian * (q_xy * u + q_yy * v)
    if n_per == N_FREE:
        jacobian[:, :, 3] = -0.5 * gaussian * u * u
        jacobian[:, :, 4] = -gaussian * u * v
        jacobian[:, :, 5] = -0.5 * gaussian * v * v
    return jacobian.reshape(n_batch, n_components * n_per, n_pixels)


def _normal_equations(
    parameters: FloatArray, stamps: Stamps, n_per: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    gaussian, unit, u, v = _components(parameters, stamps)
    residual = stamps.value - gaussian.sum(axis=1)
    jacobian = _jacobian_of(parameters, gaussian, unit, u, v, n_per)
    normal = jacobian @ jacobian.swapaxes(1, 2)
    gradient = (jacobian @ residual[:, :, None])[:, :, 0]
    return normal, gradient, (residual**2).sum(axis=1)


def _solve(normal: FloatArray, gradient: FloatArray, damping: FloatArray) -> FloatArray:
    """Damped steps. A parameter that no pixel constrains does not move."""
    diagonal = np.einsum("bii->bi", normal).copy()
    diagonal[diagonal <= 0.0] = 1.0
    damped = normal.copy()
    index = np.arange(normal.shape[1])
    damped[:, index, index] += damping[:, None] * diagonal
    # Scaled to a unit diagonal: amplitudes and shapes differ by many powers of ten.
    scale = 1.0 / np.sqrt(diagonal)
    scaled = damped * scale[:, :, None] * scale[:, None, :]
    return np.asarray(np.linalg.solve(scaled, (gradient * scale)[:, :, None])[:, :, 0] * scale)


def _inverse(normal: FloatArray) -> FloatArray:
    diagonal = np.einsum("bii->bi", normal)
    scale = 1.0 / np.sqrt(np.where(diagonal > 0.0, diagonal, 1.0))
    scaled = normal * scale[:, :, None] * scale[:, None, :]
    # Its eigenvalues add up to its order, so the smallest alone tells how singular it is.
    singular = ~(np.linalg.eigvalsh(scaled)[:, 0] > 1e-12)
    scaled[singular] = np.eye(normal.shape[1])
    inverse = np.linalg.inv(scaled) * scale[:, :, None] * scale[:, None, :]
    inverse[singular] = np.nan
    return np.asarray(inverse)


def _within(
    trial: FloatArray,
    start: FloatArray,
    max_shift_px: float,
    sigma_limits_px: tuple[float, float],
) -> Mask:
    """Which items have all components near their start and of sensible shape."""
    shift = np.hypot(trial[:, :, 1] - start[:, :, 1], trial[:, :, 2] - start[:, :, 2])
    determinant = trial[:, :, 3] * trial[:, :, 5] - trial[:, :, 4] ** 2
    trace = trial[:, :, 3] + trial[:, :, 5]
    # Both eigenvalues of the inverse covariance lie beyond a bound if the characteristic polynomial
    # is positive there and their mean is beyond it: no root of what could be negative.
    least, most = 1.0 / sigma_limits_px[1] ** 2, 1.0 / sigma_limits_px[0] ** 2
    good = (
        (shift <= max_shift_px)
        & (trace > 2.0 * least)
        & (determinant - trace * least + least**2 > 0.0)
        & (trace < 2.0 * most)
        & (determinant - trace * most + most**2 > 0.0)
    )
    return np.asarray(good.all(axis=1) & np.isfinite(trial).all(axis=(1, 2)))

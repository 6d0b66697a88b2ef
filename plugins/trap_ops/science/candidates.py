"""Which sky sources are worth a look: what stands out of a steady sky, and by how much."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy.special import log_ndtr

from trap_ops.records.arrays import FloatArray, IntArray, Mask
from trap_ops.records.light_curves import CurveShapes, LightCurveSummary
from trap_ops.science.curve_shapes import log10_chance, n_runs
from trap_ops.science.variability import log10_p_value


class Statistic(StrEnum):
    """What a light curve is compared with a steady one by."""

    ETA = "eta"  # all deviations together
    POINT = "point"  # the point that deviates most from the others
    RUN = "run"  # the run of neighbouring points that does
    STEP = "step"  # all points before a time against those after it


STATISTICS = tuple(Statistic)


@dataclass(frozen=True)
class Candidates:
    """Candidates from the best to the worst; all arrays (m,).

    Attributes
    ----------
    item : numpy.ndarray of int
        Index into the summary: the light curve of the source that is the least like a steady one.
    score : numpy.ndarray
        Decimal orders of magnitude that a steady source of this many points is less likely.
    statistic : numpy.ndarray of int
        The one of STATISTICS that the score is of; -1 for a single point.
    expected_false : numpy.ndarray
        So many light curves of steady sources would reach this score by chance.
    """

    item: IntArray
    score: FloatArray
    statistic: IntArray
    expected_false: FloatArray

    def take(self, items: IntArray) -> Candidates:
        """Return some of the candidates, in the order given."""
        return Candidates(**{name: value[items] for name, value in vars(self).items()})


def find(
    summary: LightCurveSummary,
    max_expected_false: float,
    min_v: float,
    n_beams: float,
    error_uncertainty: float = 0.0,
) -> Candidates:
    """Choose and order candidates.

    Parameters
    ----------
    summary : LightCurveSummary
    max_expected_false : float
        A light curve is a candidate if the chance that a steady source looks like it, times the
        number of light curves tried, is at most this. A likely new source with a single point has
        nothing to be compared with; it is a candidate of score 0.
    min_v : float
        Least absolute V of a variable; new sources need none.
    n_beams : float
        Size of all images together in solid angles of their beams.
    error_uncertainty : float
        Fraction to which the errors of a source's points are known, all together.

    Notes
    -----
    The chance of a light curve is the smallest one of its statistics times their number. A source
    that is detected only once may be a peak of the noise: then all places in all images have been
    tried, and not only the light curves that came of it.
    """
    chances = log10_chances(summary.eta, summary.count, summary.shapes, error_uncertainty)
    log_p = log10_of_all(chances)
    tried = np.isfinite(log_p)
    log_tried = np.log10(max(int(tried.sum()), 1))
    once = tried & (summary.detections == 1) & (summary.count > 2)
    peaks = log10_noise_peaks(summary.shapes.point_sigma[once], n_beams)
    log_p[once] = np.minimum(np.maximum(log_p[once], peaks - log_tried), 0.0)
    log_false = log_p + log_tried
    new = summary.new_source >= 0
    unusual = tried & (log_false <= np.log10(max_expected_false))
    chosen = unusual & (new | (np.abs(summary.v) >= min_v))
    score = np.where(tried, -log_p, 0.0)
    best = _best_of_source(summary.source, np.where(chosen, score, -1.0))
    # A source with nothing to compare has a single point in each of its bands.
    compared = np.isin(summary.source, summary.source[tried])
    chosen |= ~compared & (summary.new_source == 1)
    items = np.flatnonzero(chosen & best)
    # Equal scores in the order of the summary, which is canonical.
    items = items[np.argsort(-score[items], kind="stable")]
    statistic = np.full(len(score), -1)
    statistic[tried] = np.argmin(np.nan_to_num(chances[tried], nan=np.inf), axis=1)
    false = 10.0 ** np.minimum(np.where(tried, log_false, 0.0), 300.0)
    return Candidates(items, score[items], statistic[items], false[items])


def log10_chances(
    eta: FloatArray, count: IntArray, shapes: CurveShapes, error_uncertainty: float = 0.0
) -> FloatArray:
    """Chance that a steady source of as many points reaches each of the STATISTICS, (n, 4).

    Decimal logarithms; NaN where there are too few points. The two points of a curve have one
    deviation between them, which eta has already; runs have at most a third of the points, and
    steps at least two on either side.
    """
    return np.stack(
        [
            log10_p_value(eta, count, error_uncertainty),
            _log10_chance(shapes.point_sigma, np.where(count > 2, count, 0)),
            _log10_chance(shapes.run_sigma, n_runs(count)),
            _log10_chance(shapes.step_sigma, np.maximum(count - 3, 0)),
        ],
        axis=1,
    )


def _log10_chance(sigma: FloatArray, trials: IntArray) -> FloatArray:
    known = np.isfinite(sigma)
    return log10_chance(np.where(known, sigma, 0.0), np.where(known, trials, 0))


def log10_noise_peaks(sigma: FloatArray, n_beams: float) -> FloatArray:
    """Decimal logarithm of the number of maxima of noise that are so high.

    Parameters
    ----------
    sigma : numpy.ndarray, (n,)
        Height over the rms.
    n_beams : float
        Size of the noise in solid angles of the beam.

    Notes
    -----
    sigma^2 Q(sigma) a beam, for high maxima of a Gaussian field whose autocorrelation is the beam
    (Bond and Efstathiou 1987, MNRAS 226, 655); noise that is correlated wider has fewer.
    """
    sigma = np.maximum(sigma, 1.0)
    number = np.log(max(n_beams, 1.0)) + 2.0 * np.log(sigma) + log_ndtr(-sigma)
    return np.asarray(number / np.log(10.0))


def log10_of_all(chances: FloatArray) -> FloatArray:
    """Chance of the smallest of some chances, (n,): that times their number, at most 1.

    True for independent statistics that are small, and an upper limit for any.
    """
    number = np.isfinite(chances).sum(axis=1)
    smallest = np.fmin.reduce(chances, axis=1, initial=np.nan)
    return np.asarray(np.minimum(smallest + np.log10(np.maximum(number, 1)), 0.0))


def _best_of_source(source: IntArray, score: FloatArray) -> Mask:
    """Whether a light curve is the best of its source; of equal ones the first."""
    order = np.lexsort((-score, source))
    found = np.zeros(len(source), dtype=bool)
    found[order[np.unique(source[order], return_index=True)[1]]] = True
    return found

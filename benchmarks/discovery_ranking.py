"""How good a ranking of sky sources is, where it is known which of them vary."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from trap_ops.records.arrays import FloatArray, IntArray, Mask
from trap_ops.science.coordinates import unit_vectors
from trap_ops.simulate.discovery import DiscoveryTruth

REACHED_SIGMA = 10.0
# So many rows for one that is wanted.
ROWS_FOR_ONE = 1.1
FALSE_RATES = (0.001, 0.01, 0.1)


@dataclass(frozen=True)
class Ranking:
    """Sky sources of a program from the most to the least remarkable; arrays (n,).

    Attributes
    ----------
    ra_deg, dec_deg : numpy.ndarray
    listed : int
        So many of the first ones the program itself calls variable.
    """

    ra_deg: FloatArray
    dec_deg: FloatArray
    listed: int


@dataclass(frozen=True)
class Outcome:
    """What stands where in a ranking of one sky.

    Attributes
    ----------
    best : numpy.ndarray of int, (n_injected,)
        First row within one beam of each injected source; number of rows if there is none.
    excess_sigma : numpy.ndarray, (n_injected,)
    is_false : numpy.ndarray of bool, (n_rows,)
        No injected source is within one beam.
    listed : int
    """

    best: IntArray
    excess_sigma: FloatArray
    is_false: Mask
    listed: int

    @property
    def wanted(self) -> Mask:
        """Injected sources that must be found."""
        return np.asarray(self.excess_sigma >= REACHED_SIGMA)

    @property
    def first_rows(self) -> int:
        """Number of rows that all those must stand in."""
        return int(ROWS_FOR_ONE * self.wanted.sum())

    @property
    def rows_for_all(self) -> int:
        """The same with all injected sources counted, as those below 10 rms are true rows too."""
        return int(ROWS_FOR_ONE * len(self.best))

    @property
    def missed(self) -> IntArray:
        """Wanted ones that stand further down, or nowhere."""
        return np.flatnonzero(self.wanted & (self.best >= self.first_rows))


def compare(truth: DiscoveryTruth, ranking: Ranking, beam_deg: float) -> Outcome:
    """Find injected sources in a ranking.

    Two rows within one beam of an injected source count as one: the first; a neighbour's light
    curve shows the same event.
    """
    sky, injected = truth.sky, truth.injected
    rows = cKDTree(unit_vectors(ranking.ra_deg, ranking.dec_deg).reshape(-1, 3))
    places = unit_vectors(sky.ra_deg[injected], sky.dec_deg[injected])
    n = len(ranking.ra_deg)
    near = rows.query_ball_point(places, 2.0 * np.sin(np.radians(beam_deg) / 2.0))
    best = np.array([min(found, default=n) for found in near], dtype=np.int64)
    is_false = np.ones(n, dtype=bool)
    for found in near:
        is_false[found] = False
    return Outcome(best, truth.excess_sigma[injected], is_false, ranking.listed)


def average_precision(outcome: Outcome) -> float:
    """Mean over the wanted ones of the share of true rows down to theirs; 0 of those not there.

    Rows of injected sources that need not be found, and second rows, count neither way.
    """
    n = len(outcome.is_false)
    best = np.sort(outcome.best[outcome.wanted & (outcome.best < n)])
    if not outcome.wanted.any():
        return float("nan")
    true = np.arange(1, len(best) + 1)
    false = np.cumsum(outcome.is_false)[best] if len(best) else best
    return float((true / (true + false)).sum() / outcome.wanted.sum())


def true_rates(outcome: Outcome) -> dict[str, float]:
    """Share of the wanted ones found before shares of the false sky sources, and the area."""
    n_false = max(int(outcome.is_false.sum()), 1)
    n = len(outcome.is_false)
    before = np.concatenate([[0], np.cumsum(outcome.is_false)])
    false_rate = np.where(outcome.best < n, before[np.minimum(outcome.best, n)] / n_false, np.inf)
    wanted = false_rate[outcome.wanted]
    made = {f"at {rate:g}": float((wanted <= rate).mean()) for rate in FALSE_RATES}
    return made | {"area": float(np.clip(1.0 - wanted, 0.0, None).mean())}


def figures(outcome: Outcome) -> dict[str, float]:
    """All figures of one ranking of one sky."""
    listed = outcome.best < outcome.listed
    return {
        "wanted": int(outcome.wanted.sum()),
        "within": int(outcome.wanted.sum()) - len(outcome.missed),
        "first_rows": outcome.first_rows,
        "within_of_all": int((outcome.wanted & (outcome.best < outcome.rows_for_all)).sum()),
        "false_in_first_rows": int(outcome.is_false[: outcome.first_rows].sum()),
        "listed_rows": outcome.listed,
        "listed_wanted": int((listed & outcome.wanted).sum()),
        "listed_false": int(outcome.is_false[: outcome.listed].sum()),
        "average_precision": average_precision(outcome),
        **{f"roc {name}": value for name, value in true_rates(outcome).items()},
    }


def eta_v_significance(eta: FloatArray, v: FloatArray, fitted: Mask) -> FloatArray:
    """By how many sigma both eta and V exceed those of the others, (n,); -inf where not positive.

    Parameters
    ----------
    eta, v : numpy.ndarray, (n,)
    fitted : numpy.ndarray of bool, (n,)
        Which sources the Gaussians are fitted to, in log10 eta and log10 V, as TraP_tools does:
        those with several points that are not new sources.
    """
    positive = (eta > 0.0) & (v > 0.0)
    made = np.full(len(eta), np.inf)
    for values in (eta, v):
        log = np.log10(np.where(positive, values, 1.0))
        chosen = log[positive & fitted]
        if len(chosen) < 2:
            return np.where(positive, 0.0, -np.inf)
        # Mean and standard deviation: what a Gaussian of most likelihood has.
        made = np.minimum(made, (log - chosen.mean()) / chosen.std())
    return np.where(positive, made, -np.inf)

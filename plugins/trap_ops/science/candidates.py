"""Which sky sources are worth a look: what stands out of a steady sky, and by how much."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from trap_ops.records.arrays import FloatArray, IntArray
from trap_ops.records.light_curves import LightCurveSummary
from trap_ops.science.variability import log10_p_value


class CandidateKind(StrEnum):
    """What makes a sky source a candidate."""

    NEW_SOURCE = "new source"  # it was not there, to the depth of an earlier image
    VARIABLE = "variable"  # its flux is not constant


@dataclass(frozen=True)
class Candidates:
    """Candidates from the best to the worst; all arrays (m,).

    Attributes
    ----------
    item : numpy.ndarray of int
        Index into the summary.
    kind : list of CandidateKind
    score : numpy.ndarray
        Decimal orders of magnitude that a steady source of this many points is less likely.
    expected_false : numpy.ndarray
        So many steady sources of the dataset would reach this score by chance.
    """

    item: IntArray
    kind: list[CandidateKind]
    score: FloatArray
    expected_false: FloatArray


def find(summary: LightCurveSummary, max_expected_false: float, min_v: float) -> Candidates:
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
    """
    log_p = log10_p_value(summary.eta, summary.count)
    tried = np.isfinite(log_p)
    log_false = log_p + np.log10(max(int(tried.sum()), 1))
    new = summary.new_source >= 0
    unusual = tried & (log_false <= np.log10(max_expected_false))
    untried = ~tried & (summary.new_source == 1)
    chosen = (unusual & (new | (np.abs(summary.v) >= min_v))) | untried
    score = np.where(tried, -log_p, 0.0)
    items = np.flatnonzero(chosen)
    # Equal scores in the order of the summary, which is canonical.
    items = items[np.argsort(-score[items], kind="stable")]
    false = np.where(tried, 10.0 ** np.minimum(log_false, 300.0), np.nan)
    return Candidates(
        item=items,
        kind=[
            CandidateKind.NEW_SOURCE if is_new else CandidateKind.VARIABLE
            for is_new in new[items].tolist()
        ],
        score=score[items],
        expected_false=np.where(np.isnan(false), 1.0, false)[items],
    )

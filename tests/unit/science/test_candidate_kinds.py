"""What kind of light curve a candidate has, and which points make it one."""

from __future__ import annotations

import numpy as np
import pytest

from trap_ops.science.candidate_kinds import CandidateKind, Kinds, excess, tell_kinds

QUIET = [20.0] * 24


def told(*curves: list[float], error: float = 1.0, seed: int | None = 1) -> Kinds:
    """Kinds of light curves with noise of 1."""
    curve = np.repeat(np.arange(len(curves)), [len(flux) for flux in curves])
    flux = np.concatenate([np.array(flux, dtype=float) for flux in curves])
    if seed is not None:
        flux = flux + error * np.random.default_rng(seed).standard_normal(len(flux))
    return tell_kinds(curve, flux, np.full(len(flux), error), len(curves))


def changed(flux: list[float], **values: float) -> list[float]:
    """A light curve with other fluxes at some epochs: e12=30.0."""
    flux = list(flux)
    for epoch, value in values.items():
        flux[int(epoch[1:])] = value
    return flux


@pytest.mark.parametrize(
    ("flux", "kind"),
    [
        (changed(QUIET, e12=40.0), CandidateKind.FLARE),
        (changed(QUIET, e12=30.0, e13=45.0, e14=35.0), CandidateKind.FLARE),
        (changed(QUIET, e23=40.0), CandidateKind.FLARE),
        (changed([0.0] * 24, e12=30.0), CandidateKind.FLARE),
        ([20.0] * 10 + [0.0] * 14, CandidateKind.VANISHED),
        ([30.0] + [0.0] * 23, CandidateKind.VANISHED),
        ([20.0, 40.0, 25.0, 30.0] + [0.0] * 20, CandidateKind.VANISHED),
        ([40.0] * 10 + [15.0] * 14, CandidateKind.FADING),
        ((50.0 * np.exp(-np.arange(24) / 15.0)).tolist(), CandidateKind.FADING),
        ((20.0 + 10.0 * np.sin(np.arange(24))).tolist(), CandidateKind.VARIABLE),
        (changed(QUIET, e5=0.0), CandidateKind.VARIABLE),
        ([20.0] * 12 + [40.0] * 12, CandidateKind.VARIABLE),
        # A second flare: the rest is not steady.
        (changed(QUIET, e5=40.0, e15=45.0), CandidateKind.VARIABLE),
        # Gone, and back again.
        ([20.0] * 8 + [0.0] * 8 + [20.0] * 8, CandidateKind.VARIABLE),
        # Not there at the start.
        ([0.0] * 4 + [20.0] * 8 + [0.0] * 12, CandidateKind.FLARE),
    ],
)
@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["above", "below"])
def test_kinds_by_their_light_curves(flux: list[float], kind: CandidateKind, sign: float) -> None:
    """Of sources below the background too, with whatever noise."""
    for seed in range(10):
        kinds = told((sign * np.array(flux)).tolist(), seed=seed)
        assert kinds.kind(0, new=False) is kind, seed
    assert kinds.kind(0, new=True) is CandidateKind.NEW_SOURCE


def test_where_it_happens() -> None:
    kinds = told(changed(QUIET, e12=40.0, e13=40.0), [20.0] * 9 + [0.0] * 6, seed=None)
    assert (kinds.first[0], kinds.last[0]) == (12, 13)
    assert kinds.run_sigma[0] == pytest.approx(20.0 / np.sqrt(1 / 2 + 1 / 22))
    assert kinds.behind[1] == 8
    assert kinds.drop_sigma[1] == pytest.approx(20.0 / np.sqrt(1 / 9 + 1 / 6))


def test_evidence_is_what_deviates() -> None:
    kinds = told(changed(QUIET, e12=40.0, e13=35.0, e14=23.5), [5.0], seed=None)
    assert np.flatnonzero(kinds.evidence).tolist() == [12, 13, 24]
    curve = np.repeat([0, 1], [24, 1])
    flux = np.array([*changed(QUIET, e12=40.0, e13=35.0, e14=23.5), 5.0])
    found = excess(curve, flux, np.ones(25), kinds.evidence, 2)
    assert found == pytest.approx([40.0 - (21 * 20.0 + 23.5) / 22, 5.0])


def test_few_points_are_no_trouble() -> None:
    kinds = told([20.0], [20.0, 0.0], [20.0, 20.0, 40.0], [0.0, 30.0], seed=None)
    assert [kinds.kind(i, new=False) for i in range(4)] == [
        CandidateKind.VARIABLE,
        CandidateKind.VANISHED,
        CandidateKind.FLARE,
        CandidateKind.VARIABLE,
    ]

"""Medians that are kept up with a window of fluxes, against those of all fluxes."""

from __future__ import annotations

import numpy as np
import pytest

from trap_ops.science.running_median import WIDTH, empty_window, insert, medians, window_of


def grown(curve: np.ndarray, flux: np.ndarray, n: int, pieces: int) -> tuple[np.ndarray, ...]:
    """Medians after fluxes came in pieces; lost windows are made anew from what came so far."""
    window, count, seen = empty_window(n), np.zeros(n, dtype=np.int64), 0
    rebuilt = np.zeros(n, dtype=int)
    median = np.full(n, np.nan)
    for part in np.array_split(np.arange(len(flux)), pieces):
        insert(window, count, curve[part], flux[part])
        seen += len(part)
        count = np.bincount(curve[:seen], minlength=n)
        median, lost = medians(window, count)
        whole = window_of(curve[:seen], flux[:seen], n)
        window.flux_jy[lost], window.below[lost] = whole.flux_jy[lost], whole.below[lost]
        rebuilt += lost
        median[lost] = medians(whole.take(lost), count[lost])[0]
        wanted = [np.median(m) if len(m := flux[:seen][curve[:seen] == i]) else np.nan
                  for i in range(n)]  # fmt: skip
        assert median.tolist() == pytest.approx(wanted, rel=0, abs=0, nan_ok=True)
    return median, rebuilt


@pytest.mark.parametrize("pieces", [1, 40, 400])
def test_medians_are_exact_in_whatever_pieces_fluxes_come(pieces: int) -> None:
    rng = np.random.default_rng(pieces)
    curve = rng.integers(0, 7, 2000)
    flux = np.round(rng.standard_normal(2000), 2 if pieces == 40 else 9)
    _, rebuilt = grown(curve, flux, 8, pieces)
    if pieces > 1:
        assert rebuilt.sum() <= 7


def test_of_a_steady_source_the_window_serves_for_thousands_of_points() -> None:
    flux = np.random.default_rng(1).standard_normal(20_000)
    window, lost_at = empty_window(1), []
    for number, value in enumerate(flux):
        insert(window, np.array([number]), np.zeros(1, dtype=int), np.array([value]))
        _, lost = medians(window, np.array([number + 1]))
        if lost[0]:
            lost_at.append(number)
            window = window_of(np.zeros(number + 1, dtype=int), flux[: number + 1], 1)
    assert len(lost_at) <= 60  # a walk of half steps leaves 16 ranks in some 16^2 x 4 points


def test_of_a_rising_source_the_window_is_lost_after_its_width_and_made_anew() -> None:
    flux = np.arange(300.0)
    _, rebuilt = grown(np.zeros(300, dtype=int), flux, 1, 300)
    assert 300 // WIDTH - 2 <= rebuilt[0] <= 300 // (WIDTH // 2)


def test_whole_windows_hold_the_fluxes_about_the_median() -> None:
    flux = np.random.default_rng(2).permutation(101).astype(float)
    window = window_of(np.zeros(101, dtype=int), flux, 2)
    assert window.below.tolist() == [34, 0]
    assert window.flux_jy[0].tolist() == list(range(34, 34 + WIDTH))
    assert np.isnan(window.flux_jy[1]).all()

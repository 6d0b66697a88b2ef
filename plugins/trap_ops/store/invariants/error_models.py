"""Invariants of the error models: fitted again to the statistics of the light curves."""

from __future__ import annotations

import numpy as np
from sqlalchemy import select

from trap_ops.records.error_model import ErrorModel
from trap_ops.science.error_model import fit_error_model
from trap_ops.store.error_models import Key, list_error_models, load_scatter
from trap_ops.store.invariants.invariant import Breaches, Invariant, Scope, breaches_at, differ
from trap_ops.store.schema import frequencyband


def _models(scope: Scope) -> Breaches:
    if "variability" not in scope.settings:
        return Breaches()  # It was made before there were any.
    stored = list_error_models(scope.connection, scope.dataset)
    systematic = scope.setting("variability", "systematic_flux_error", 0.0)
    right = {
        key: fit_error_model(curves, systematic)
        for key, curves in load_scatter(scope.connection, scope.dataset).items()
    }
    keys = sorted(stored.keys() | right.keys())
    wrong = [_wrong(stored.get(key), right.get(key)) for key in keys]
    names = _band_names(scope)
    return breaches_at(np.array(wrong, dtype=bool), lambda i: _name(keys[i], names))


def _wrong(stored: ErrorModel | None, right: ErrorModel | None) -> bool:
    if stored is None or right is None:
        return True
    pair = (np.array(list(vars(model).values()), dtype=np.float64) for model in (stored, right))
    return bool(differ(*pair).any())


def _band_names(scope: Scope) -> dict[int, str]:
    query = select(frequencyband.c.id, frequencyband.c.freq_central)
    rows = scope.connection.execute(query.where(frequencyband.c.dataset == scope.dataset))
    return {row.id: f"band {row.freq_central / 1e6:.6g} MHz" for row in rows}


def _name(key: Key, names: dict[int, str]) -> str:
    band, stokes = key
    return f"{names.get(band, f'band {band} of another dataset')}, Stokes {stokes}"


INVARIANTS = (
    Invariant(
        "error-models",
        "errormodel has a row for each band and Stokes with light curves of sky sources, with what "
        "their statistics say",
        _models,
        when_finished=True,
    ),
)

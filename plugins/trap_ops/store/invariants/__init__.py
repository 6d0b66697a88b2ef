"""The rules that rows of a dataset keep, one module a noun, and the list of all of them."""

from __future__ import annotations

from trap_ops.store.invariants import (
    candidates,
    error_models,
    flux_statistics,
    forced_fits,
    ids,
    images,
    light_curves,
    measurements,
    new_sources,
    sky_sources,
)
from trap_ops.store.invariants.invariant import Breaches, Invariant, Scope

# In the order in which they are looked at: what others rest on first.
INVARIANTS = (
    *images.INVARIANTS,
    *measurements.INVARIANTS,
    *sky_sources.INVARIANTS,
    *light_curves.INVARIANTS,
    *forced_fits.INVARIANTS,
    *flux_statistics.INVARIANTS,
    *error_models.INVARIANTS,
    *new_sources.INVARIANTS,
    *candidates.INVARIANTS,
    *ids.INVARIANTS,
)

__all__ = ["INVARIANTS", "Breaches", "Invariant", "Scope"]

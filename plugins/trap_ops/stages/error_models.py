"""Compare the scatter of steady sources with their errors, for all bands of a dataset."""

from __future__ import annotations

from sqlalchemy import Connection

from trap_ops.science.error_model import fit_error_model
from trap_ops.stages.context import StageContext, StageTimer
from trap_ops.store import error_models


def fit_error_models(context: StageContext, connection: Connection, timer: StageTimer) -> None:
    """Fit the error model of each band and Stokes, and write them in place of those there were.

    The cost is that of a row a light curve: it does not grow with the number of images.
    """
    dataset = context.run.dataset
    systematic = context.run.configuration.variability.systematic_flux_error
    models = {
        key: fit_error_model(curves, systematic)
        for key, curves in error_models.load_scatter(connection, dataset).items()
    }
    error_models.save_error_models(connection, dataset, models)
    misleading = sum(model.misleading for model in models.values())
    if misleading:
        timer.count("bands with wrong p-values", misleading)

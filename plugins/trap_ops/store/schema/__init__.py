"""Tables of the results database.

Names of the classic TraP schema (version 40) are kept with all their columns, because users' SQL,
notebooks and tools know them. Columns that are new here stand after the classic ones, under a
comment that says so. Units: degrees, arcsec where the name or comment says so, Jy, Hz, seconds,
UTC without zone.
"""

from __future__ import annotations

from trap_ops.store.schema.columns import metadata
from trap_ops.store.schema.images import (
    REJECT_REASONS,
    frequencyband,
    image,
    imagedata,
    noisemodel,
    qualitycheck,
    rejection,
    rejectreason,
    skyregion,
)
from trap_ops.store.schema.runs import (
    CLASSIC_REVISION,
    arrival,
    config,
    dataset,
    datasetlock,
    idblock,
    node,
    outcome,
    run,
    stagerun,
    version,
)
from trap_ops.store.schema.sky import (
    assocskyrgn,
    assocxtrsource,
    candidate,
    errormodel,
    extractedsource,
    forcedfit,
    monitor,
    newsource,
    referenceflux,
    runningcatalog,
    runningcatalog_flux,
    temprunningcatalog,
    varmetric,
)

__all__ = [
    "CLASSIC_REVISION",
    "REJECT_REASONS",
    "arrival",
    "assocskyrgn",
    "assocxtrsource",
    "candidate",
    "config",
    "dataset",
    "datasetlock",
    "errormodel",
    "extractedsource",
    "forcedfit",
    "frequencyband",
    "idblock",
    "image",
    "imagedata",
    "metadata",
    "monitor",
    "newsource",
    "node",
    "noisemodel",
    "outcome",
    "qualitycheck",
    "referenceflux",
    "rejection",
    "rejectreason",
    "run",
    "runningcatalog",
    "runningcatalog_flux",
    "skyregion",
    "stagerun",
    "temprunningcatalog",
    "varmetric",
    "version",
]

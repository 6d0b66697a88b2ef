"""A finished night with everything that results can have, and one fault for each invariant."""
# ruff: noqa: S608 - the statements are put together from constants

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from stages.made_images import Observatory, random_images
from trap_ops.records.runs import MonitorPosition
from trap_ops.store.database import Store

MONITOR = [
    MonitorPosition(0.05, 10.0, "in most"),
    MonitorPosition(359.9, 10.05, "west"),
    MonitorPosition(100.0, -10.0, "far away"),
]


def make_night(store: Store, directory: Path, patch: pytest.MonkeyPatch) -> None:
    """Two datasets: forks, new sources, candidates, rejected images, fits of every kind."""
    observatory = Observatory(store, directory, patch, monitor=MONITOR)
    images = random_images(22, 6)
    observatory.run_all("night", [images[::2], images[1::2]])
    observatory.run("other", random_images(1, 3))


@dataclass(frozen=True)
class Fault:
    """Something wrong in dataset ``night``.

    Attributes
    ----------
    invariant : str
        The rule that it breaks.
    sql : str
        Statements with semicolons between them; foreign keys do not hold them up.
    also : set of str
        Other rules that are broken with it.
    """

    invariant: str
    sql: str
    also: frozenset[str] = frozenset()


NIGHT = "(SELECT id FROM dataset WHERE description = 'night')"
OTHER = "(SELECT id FROM dataset WHERE description = 'other')"
USED = (
    f"(SELECT min(i.id) FROM image i JOIN outcome o ON o.image = i.id WHERE i.dataset = {NIGHT} "
    "AND o.stage = 'associate' AND o.result = 'done')"
)
REJECTED = (
    f"(SELECT min(id) FROM image WHERE dataset = {NIGHT} AND verdict = 'rejected' AND stokes = 1)"
)
SOURCE = (
    f"(SELECT min(id) FROM runningcatalog WHERE dataset = {NIGHT} AND NOT mon_src AND stokes = 1)"
)
FORK = f"(SELECT max(id) FROM runningcatalog WHERE dataset = {NIGHT} AND parent IS NOT NULL)"
SOURCES = f"(SELECT id FROM runningcatalog WHERE dataset = {NIGHT} AND NOT mon_src)"
MONITORED = f"(SELECT id FROM runningcatalog WHERE dataset = {NIGHT} AND mon_src)"


def first(table: str, where: str) -> str:
    """Id of the first row of a table that fulfils a condition."""
    return f"(SELECT min(id) FROM {table} WHERE {where})"


BLIND = (
    f"(SELECT min(e.id) FROM extractedsource e JOIN image i ON i.id = e.image WHERE i.dataset = "
    f"{NIGHT} AND i.id = {USED} AND e.extract_type = 0)"
)
POINT = first("assocxtrsource", f"type = 3 AND eta_int > 0 AND runcat IN {SOURCES}")
FAILED = first("forcedfit", f"dataset = {NIGHT} AND status = 'failed' AND runcat IS NOT NULL")
FITTED = first(
    "forcedfit", f"dataset = {NIGHT} AND status = 'fitted' AND kind = 1 AND link_type = 7"
)
NEW = first("newsource", f"runcat IN {SOURCES}")
STATISTICS = frozenset({"flux-counts", "flux-means", "running-statistics", "varmetric-values"})
COPY = (
    "CREATE TEMP TABLE one_row AS SELECT * FROM {table} WHERE id = {row}; "
    "UPDATE one_row SET {change}; INSERT INTO {table} SELECT * FROM one_row; DROP TABLE one_row"
)

FAULTS = (
    Fault(
        "image-places",
        f"UPDATE image SET skyrgn = {first('skyregion', f'dataset = {OTHER}')} WHERE id = {USED}",
    ),
    Fault("verdicts", f"DELETE FROM rejection WHERE image = {REJECTED}"),
    Fault(
        "rejected-images",
        "INSERT INTO forcedfit (id, dataset, image, kind, runcat, origin, ra, decl, link_type, "
        f"status, reason) SELECT -1, dataset, {REJECTED}, 1, {SOURCE}, -1, ra, decl, 7, "
        f"'failed', 'masked' FROM forcedfit WHERE id = {FAILED}",
    ),
    Fault("searched-images", f"DELETE FROM noisemodel WHERE image = {USED}"),
    Fault(
        "image-outcomes", f"DELETE FROM outcome WHERE stage = 'judge_quality' AND image = {USED}"
    ),
    Fault("finished-runs", f"UPDATE run SET finished_ts = NULL WHERE dataset = {NIGHT}"),
    Fault("measurement-places", f"UPDATE extractedsource SET zone = zone + 1 WHERE id = {BLIND}"),
    Fault("measurement-vectors", f"UPDATE extractedsource SET y = y + 1e-9 WHERE id = {BLIND}"),
    Fault(
        "measurement-kinds",
        COPY.format(table="extractedsource", row=BLIND, change="id = -1, extract_type = NULL"),
    ),
    Fault(
        "measurement-errors",
        f"UPDATE extractedsource SET uncertainty_ew = -uncertainty_ew WHERE id = {BLIND}",
    ),
    Fault(
        "no-doubled-detections",
        COPY.format(table="extractedsource", row=BLIND, change="id = -1"),
    ),
    Fault(
        "founding-measurement",
        f"UPDATE runningcatalog SET founded_ts = '2020-01-01 00:00:00.000000' WHERE id = {SOURCE}",
    ),
    Fault(
        "source-names",
        "UPDATE runningcatalog SET source_name = (SELECT source_name FROM runningcatalog WHERE "
        f"id = {SOURCE}) WHERE id = {FORK}",
    ),
    Fault("no-inactive-sources", f"UPDATE runningcatalog SET inactive = true WHERE id = {SOURCE}"),
    Fault("fork-parents", f"UPDATE runningcatalog SET parent = id WHERE id = {FORK}"),
    Fault("source-places", f"UPDATE runningcatalog SET zone = zone - 1 WHERE id = {SOURCE}"),
    Fault("source-vectors", f"UPDATE runningcatalog SET z = z + 1e-9 WHERE id = {SOURCE}"),
    Fault(
        "mean-positions",
        f"UPDATE runningcatalog SET avg_ra_err = 1.000001 * avg_ra_err WHERE id = {SOURCE}",
    ),
    Fault(
        "region-members",
        f"DELETE FROM assocskyrgn WHERE distance_deg IS NULL AND runcat = {SOURCE}",
    ),
    Fault(
        "monitored-sources",
        f"UPDATE monitor SET ra = ra + 1e-6 WHERE dataset = {NIGHT} AND name = 'in most'",
    ),
    Fault(
        "point-ends",
        "INSERT INTO assocxtrsource (id, runcat, xtrsrc, type, distance_arcsec, r, v_int, eta_int, "
        f"f_datapoints, pending) SELECT -1, {SOURCE}, min(f.xtrsrc), 7, 0, 0, 0, 0, 0, false FROM "
        f"forcedfit f JOIN image i ON i.id = f.image WHERE f.dataset = {OTHER} AND f.kind = 1 AND "
        "i.stokes = 1",
    ),
    Fault(
        "point-types",
        "UPDATE assocxtrsource SET type = 10 WHERE id = "
        + first("assocxtrsource", f"type = 9 AND runcat IN {MONITORED}"),
    ),
    Fault(
        "founding-point",
        "UPDATE assocxtrsource SET type = 4 WHERE id = "
        + first("assocxtrsource", f"type = 6 AND r = 0 AND runcat = {FORK}"),
        frozenset({"fork-parents"}),
    ),
    Fault("datapoints", f"UPDATE runningcatalog SET datapoints = datapoints + 1 WHERE id = {FORK}"),
    Fault(
        "one-point-per-image",
        "INSERT INTO assocxtrsource (id, runcat, xtrsrc, type, distance_arcsec, r, v_int, eta_int, "
        f"f_datapoints, pending) SELECT -1, {SOURCE}, max(e.id), 3, 1, 1, 0, 0, 0, false FROM "
        f"extractedsource e WHERE e.extract_type = 0 AND e.id != {SOURCE} AND e.image = "
        f"(SELECT image FROM extractedsource WHERE id = {SOURCE})",
        STATISTICS | {"flux-extremes", "datapoints", "mean-positions", "reference-fluxes"},
    ),
    Fault(
        "point-stokes",
        "INSERT INTO assocxtrsource (id, runcat, xtrsrc, type, distance_arcsec, r, v_int, eta_int, "
        f"f_datapoints, pending) SELECT -1, {SOURCE}, max(e.id), 3, 1, 1, 0, 0, 1, false FROM "
        "extractedsource e JOIN image i ON i.id = e.image WHERE e.extract_type = 0 AND "
        f"i.stokes = 4 AND i.dataset = {NIGHT}",
        frozenset({"datapoints", "mean-positions", "reference-fluxes", "flux-counts"}),
    ),
    Fault("point-distances", f"UPDATE assocxtrsource SET r = 100 WHERE id = {POINT}"),
    Fault("points-counted", f"UPDATE assocxtrsource SET pending = true WHERE id = {POINT}"),
    Fault("complete-light-curves", f"DELETE FROM forcedfit WHERE id = {FAILED}"),
    Fault(
        "complete-monitoring",
        "DELETE FROM forcedfit WHERE id = "
        + first("forcedfit", f"dataset = {NIGHT} AND status = 'failed' AND kind = 2"),
    ),
    Fault(
        "fit-owners",
        f"UPDATE forcedfit SET kind = 2 WHERE id = {FAILED}",
        frozenset({"complete-light-curves"}),
    ),
    Fault("fit-statuses", f"UPDATE forcedfit SET status = 'failed' WHERE id = {FITTED}"),
    Fault(
        "no-fits-left",
        "INSERT INTO forcedfit (id, dataset, image, kind, runcat, origin, ra, decl, link_type, "
        f"status, reason) SELECT -1, {NIGHT}, image, 3, {SOURCE}, -1, ra, decl, 10, "
        f"'requested', '' FROM extractedsource WHERE id = {SOURCE}",
    ),
    Fault("fit-measurements", f"UPDATE forcedfit SET ra = ra + 1e-9 WHERE id = {FITTED}"),
    Fault("fit-points", f"UPDATE forcedfit SET link_type = 10 WHERE id = {FITTED}"),
    Fault(
        "monitoring-points",
        "DELETE FROM assocxtrsource WHERE id = "
        + first("assocxtrsource", f"type = 9 AND runcat IN {MONITORED}"),
        STATISTICS | {"datapoints"},
    ),
    Fault("measurements-wanted", f"DELETE FROM forcedfit WHERE id = {FITTED}"),
    Fault(
        "measurement-owners",
        f"UPDATE extractedsource SET ff_runcat = {MONITORED[:-1]} LIMIT 1) WHERE id = "
        f"(SELECT xtrsrc FROM forcedfit WHERE id = {FITTED})",
    ),
    Fault(
        "upper-limits",
        f"UPDATE forcedfit SET upper_limit = 1.01 * upper_limit WHERE dataset = {NIGHT}",
    ),
    Fault(
        "flux-counts",
        f"UPDATE runningcatalog_flux SET f_datapoints = f_datapoints + 1 WHERE runcat = {SOURCE}",
    ),
    Fault(
        "flux-means",
        "UPDATE runningcatalog_flux SET avg_f_int_sq = avg_f_int_sq * (1 + 1e-8) WHERE runcat = "
        f"{SOURCE}",
    ),
    Fault(
        "flux-extremes",
        f"UPDATE runningcatalog_flux SET max_int = 2 * max_int WHERE runcat = {SOURCE}",
    ),
    Fault(
        "running-statistics",
        f"UPDATE assocxtrsource SET eta_int = eta_int * (1 + 1e-6) WHERE id = {POINT}",
    ),
    Fault("varmetric-rows", f"DELETE FROM varmetric WHERE runcat = {FORK}"),
    Fault(
        "varmetric-values",
        f"UPDATE varmetric SET all_wmean_int = all_wmean_int * (1 + 1e-8) WHERE runcat = {FORK}",
    ),
    Fault(
        "reference-fluxes",
        f"UPDATE referenceflux SET wmean_int = wmean_int * (1 + 1e-6) WHERE runcat = {SOURCE}",
    ),
    Fault(
        "error-models",
        f"UPDATE errormodel SET curves = curves + 1 WHERE dataset = {NIGHT} AND band = (SELECT "
        f"min(band) FROM errormodel WHERE dataset = {NIGHT})",
    ),
    Fault(
        "new-source-images",
        "UPDATE newsource SET previous_limits_image = (SELECT image FROM extractedsource WHERE id "
        f"= trigger_xtrsrc) WHERE id = {NEW}",
        frozenset({"varmetric-values"}),
    ),
    Fault(
        "new-source-triggers",
        f"UPDATE newsource SET trigger_xtrsrc = (SELECT max(id) FROM extractedsource WHERE "
        f"image = (SELECT image FROM extractedsource WHERE id = trigger_xtrsrc) AND id != "
        f"trigger_xtrsrc AND extract_type = 0) WHERE id = {NEW}",
        frozenset({"varmetric-values"}),
    ),
    Fault(
        "new-source-limits",
        f"UPDATE newsource SET newsource_type = 1 - newsource_type WHERE id = {NEW}",
    ),
    Fault(
        "new-source-rms",
        "UPDATE newsource SET previous_limits_rms = 2 * previous_limits_rms WHERE runcat IN "
        f"{SOURCES}",
    ),
    Fault(
        "candidate-ranks",
        "UPDATE candidate SET rank = rank + 1 WHERE rank = (SELECT max(rank) FROM candidate WHERE "
        f"dataset = {NIGHT}) AND dataset = {NIGHT}",
    ),
    Fault(
        "candidate-reasons",
        f"UPDATE candidate SET reasons = '[]' WHERE dataset = {NIGHT} AND rank = 2",
    ),
    Fault(
        "candidate-sources",
        "UPDATE candidate SET first_image = (SELECT max(e.image) FROM extractedsource e JOIN "
        "assocxtrsource a ON a.xtrsrc = e.id WHERE a.runcat = candidate.runcat) WHERE dataset = "
        f"{NIGHT}",
    ),
    Fault("next-ids", "UPDATE idblock SET next_id = 1 WHERE table_name = 'image'"),
)

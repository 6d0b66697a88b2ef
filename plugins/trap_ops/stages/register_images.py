"""Plan a run: find images, read their headers, give them bands and regions, write them down."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from sqlalchemy import Connection

from trap_ops.config.load import load_configuration
from trap_ops.config.model import Configuration, ImagesConfig
from trap_ops.errors import ImageError
from trap_ops.images.access import LOCAL_ONLY, Access
from trap_ops.images.addresses import kept_input
from trap_ops.images.discovery import FoundFiles, find_files
from trap_ops.images.reading import RulesOf, read_headers
from trap_ops.records.images import Geometry, ImageFile, ImageRow, Region
from trap_ops.records.names import check_name, shown_path
from trap_ops.records.runs import MonitorPosition, RunRecord, RunRequest, StageReport
from trap_ops.science.bands import assign_bands
from trap_ops.science.coordinates import unit_vectors
from trap_ops.science.geometry import geometry
from trap_ops.science.monitoring import checked_position
from trap_ops.science.sky_regions import assign_regions
from trap_ops.stages.context import StageContext, input_hash, plan_batches, stage
from trap_ops.stages.fingerprint import fingerprint, versions
from trap_ops.stages.monitor_positions import refuse_doubles
from trap_ops.stages.removal import Removal, find_removal
from trap_ops.store import datasets, images, monitors, regions, run_requests, runs, withdrawal
from trap_ops.store.database import TURN_OF_PLANNING, Store
from trap_ops.store.outcomes import (
    DONE,
    REJECTED,
    Outcome,
    finished_images,
    forget_files,
    forget_outcomes,
    save_outcomes,
)

logger = logging.getLogger(__name__)

STAGE = "register_images"


@dataclass(frozen=True)
class _Headers:
    """Headers that could be read, in canonical order, and files that are no usable images."""

    good: list[ImageFile]
    bad: list[tuple[str, ImageError]]


@dataclass(frozen=True)
class _Place:
    """Ids of the band and the sky region of an image."""

    band: int
    region: int


def register_images(
    store: Store,
    request: RunRequest,
    configurations: Path,
    output_dir: Path,
    *,
    debugging: bool = False,
    access: Access = LOCAL_ONLY,
) -> tuple[RunRecord, StageReport]:
    """Plan a run and register its images.

    Parameters
    ----------
    store : Store
        An empty database gets the schema.
    request : RunRequest
    configurations : Path
        Directory of the configuration files.
    output_dir : Path
    debugging : bool
        This stage is tried alone: a run that has ended or failed stays as it was planned, and so.
    access : Access
        To remote images.

    Returns
    -------
    run : RunRecord
    report : StageReport
        Its batches hold the images of the dataset whose quality is not measured yet.

    Raises
    ------
    ConfigError
        If there is something that the user must change.
    StoreError
        If another run has the dataset.
    """
    check_name(request.dataset, "a dataset")
    store.prepare()
    with store.read() as connection:
        removal = find_removal(connection, request)
    # What counts as an image file must be known before any header, so before "auto" can choose.
    named = "default" if request.configuration == "auto" else request.configuration
    first = load_configuration(configurations, named, request.overrides)[1].images
    access = access.below(first.data_roots)
    found = FoundFiles((), ())
    if request.images or not _changes_only(store, request):
        found = find_files(request.images, first.suffixes, first.data_roots, access)
    # From here on nothing secret is in it: it is kept with the run, and shown in its report.
    request = replace(
        request,
        images=tuple(map(kept_input, request.images)),
        withdraw=tuple(removal.image_names),
    )
    with store.read() as connection:
        known = _known_files(connection, request, found)
        telescopes = images.telescopes_of(connection, request.dataset)
    headers = _read_headers(
        [path for path in found.paths if path not in known],
        _rules_of(configurations, request),
        access,
    )
    headers.bad[:0] = list(found.refused)
    name, configuration = load_configuration(
        configurations,
        request.configuration,
        request.overrides,
        telescopes | {item.telescope for item in headers.good},
    )
    positions = _positions(store, request, removal)
    record = _plan(store, request, name, configuration, trying=debugging)
    context = StageContext(store, record, output_dir, debugging, access)
    with stage(context, STAGE) as timer:
        registered = _save(context, headers, positions, removal)
        for path, error in headers.bad:
            logger.warning("%s rejected: %s", path, error)
        waiting, measured = _by_measured(context)
        plan_batches(context, timer, waiting, measured)
        timer.count("images registered", registered)
        known_already = sum(path in known for path in found.paths) + len(headers.good) - registered
        timer.count("images known already", known_already)
        timer.count("files rejected", len(headers.bad))
        for what, number in (
            ("images withdrawn", len(removal.images)),
            ("monitoring positions removed", len(removal.monitors)),
        ):
            if number:
                timer.count(what, number)
    return record, timer.report()


def _changes_only(store: Store, request: RunRequest) -> bool:
    """Whether no images are asked for because the run changes a dataset in other ways.

    Raises
    ------
    StoreError
        If there is no such dataset.
    """
    if not (request.monitor or request.withdraw or request.remove_monitors):
        return False
    with store.read() as connection:
        datasets.dataset_id(connection, request.dataset)
    return True


def _positions(store: Store, request: RunRequest, removal: Removal) -> list[MonitorPosition]:
    """Positions to monitor, wrapped and named; a run may name again what the dataset has.

    Raises
    ------
    ConfigError
        If one is not on the sky, or within an arcsec of another that is not equal.
    """
    positions = [checked_position(position) for position in request.monitor]
    going = {item.id for item in removal.monitors}
    with store.read() as connection:
        known = monitors.monitors_of_name(connection, request.dataset)
    stand = [f"position {number}" for number in range(1, len(positions) + 1)]
    refuse_doubles(positions, stand, [item for item in known if item.id not in going], positions)
    return positions


def _known_files(connection: Connection, request: RunRequest, found: FoundFiles) -> set[str]:
    """Files that need not be read, because all their images are in the dataset.

    One of which a plane was withdrawn is read again; :func:`_save` leaves out what is known of it.
    """
    known, with_planes = images.known_files(connection, request.dataset, found.paths)
    if not with_planes:
        return known
    withdrawn = run_requests.withdrawn_images(connection, request.dataset)
    return known - {
        path for path in with_planes if any(name.startswith(f"{path}[") for name in withdrawn)
    }


def _rules_of(configurations: Path, request: RunRequest) -> RulesOf:
    """How images of a telescope are read: by the configuration that they are going to get."""

    @cache
    def rules(telescope: str) -> ImagesConfig:
        return load_configuration(
            configurations, request.configuration, request.overrides, [telescope]
        )[1].images

    return rules


def _read_headers(paths: Sequence[str], rules_of: RulesOf, access: Access) -> _Headers:
    headers = _Headers([], [])
    for path in paths:
        try:
            headers.good.extend(read_headers(path, rules_of, access))
        except ImageError as error:
            headers.bad.append((shown_path(path), error))
    headers.good.sort(
        key=lambda f: (f.start, f.freq_eff_hz, f.stokes, f.file_name, f.header_sha256)
    )
    return headers


def _plan(
    store: Store, request: RunRequest, name: str, configuration: Configuration, *, trying: bool
) -> RunRecord:
    """Write the run, if no other run has the dataset."""
    with store.write() as connection:
        store.wait_turn(connection, TURN_OF_PLANNING)
        known = runs.planned_run(connection, request)
        if trying and known is not None and known.state != runs.RUNNING:
            # No stage comes after it that would end the run or release its dataset.
            return runs.load_run(connection, request.run_key)
        dataset = datasets.open_dataset(store, connection, request.dataset, configuration)
        runs.create_run(
            store,
            connection,
            request,
            dataset,
            name,
            configuration,
            fingerprint(),
            versions(),
        )
        datasets.start_run(connection, dataset)
        record = runs.load_run(connection, request.run_key)
        runs.take_lock(connection, record)
    logger.info("run %s on dataset %s, configuration %s", record.key, request.dataset, name)
    return record


def _save(
    context: StageContext,
    headers: _Headers,
    positions: list[MonitorPosition],
    removal: Removal,
) -> int:
    """Write what the dataset has from now on, and what became of every file, in one transaction.

    That is images with bands and regions, and monitoring positions. What is to go goes first.
    Return the number of new images.
    """
    started = time.perf_counter()
    store, record = context.store, context.run
    measured = [(file, geometry(file)) for file in headers.good]
    with store.write() as connection:
        withdrawal.delete_monitors(connection, [item.id for item in removal.monitors])
        if removal.images:
            gone = [row.id for row in removal.images]
            withdrawal.delete_images(connection, record.dataset, gone)
        names = [file.plane.name_in(file.path) for file, _ in measured]
        known = images.known_names(connection, record.dataset_name, names)
        new = [pair for pair, name in zip(measured, names, strict=True) if name not in known]
        good, shapes = [file for file, _ in new], [shape for _, shape in new]
        latest = images.latest_start(connection, record.dataset)
        if removal.images or (latest is not None and good and good[0].start <= latest):
            existing = images.images_of(connection, record.dataset)
            # Bands and regions follow from the images in time order, never from arrival (D18).
            logger.info(
                "images are withdrawn, or not later than those of the dataset: it is gone through "
                "anew"
            )
            places = _place_all(context, connection, existing, good, shapes)
            forget_outcomes(connection, record.dataset, "associate")
        else:
            places = _place(context, connection, good, shapes, afresh=False)
        ids = images.insert_images(
            store,
            connection,
            record.dataset,
            [
                (file, shape, place.band, place.region)
                for file, shape, place in zip(good, shapes, places, strict=True)
            ],
        )
        monitors.insert_monitors(store, connection, record.dataset, positions)
        seconds = (time.perf_counter() - started) / max(len(ids) + len(headers.bad), 1)
        outcomes = [
            Outcome(STAGE, str(i), i, DONE, file.header_sha256, seconds=seconds)
            for i, file in zip(ids, good, strict=True)
        ]
        outcomes += [
            Outcome(
                STAGE,
                path,
                None,
                REJECTED,
                input_hash(path, error.reason),
                error.reason,
                str(error),
                seconds,
            )
            for path, error in headers.bad
        ]
        # What an earlier run could not use stands in that run's report; it may be mended by now.
        forget_files(connection, record.dataset)
        save_outcomes(connection, record.dataset, record.id, outcomes)
    return len(ids)


def _place_all(
    context: StageContext,
    connection: Connection,
    existing: Sequence[ImageRow],
    new: Sequence[ImageFile],
    shapes: Sequence[Geometry],
) -> list[_Place]:
    """Assign bands and regions anew to all images of the dataset; return those of the new ones."""
    everything: list[tuple[ImageFile | ImageRow, Geometry | ImageRow, str]] = [
        *((row, row, row.header_sha256) for row in existing),
        *((file, shape, file.header_sha256) for file, shape in zip(new, shapes, strict=True)),
    ]
    order = sorted(
        range(len(everything)),
        key=lambda i: (*_natural_order(everything[i][0]), everything[i][2]),
    )
    placed = _place(
        context,
        connection,
        [everything[i][0] for i in order],
        [everything[i][1] for i in order],
        afresh=True,
    )
    places = dict(zip(order, placed, strict=True))
    n_old = len(existing)
    images.set_bands_and_regions(
        connection,
        [row.id for row in existing],
        [places[i].band for i in range(n_old)],
        [places[i].region for i in range(n_old)],
    )
    return [places[n_old + i] for i in range(len(new))]


def _natural_order(item: ImageFile | ImageRow) -> tuple[object, ...]:
    return (item.start, item.freq_eff_hz, item.stokes, item.file_name)


def _place(
    context: StageContext,
    connection: Connection,
    items: Sequence[ImageFile | ImageRow],
    shapes: Sequence[Geometry | ImageRow],
    *,
    afresh: bool,
) -> list[_Place]:
    """Band and region of each image, in canonical order; ``afresh`` forgets which there were."""
    store, record = context.store, context.run
    band_ids, bands = regions.load_bands(connection, record.dataset, in_use=True)
    region_ids, known = regions.load_regions(connection, record.dataset, in_use=True)
    band_index, bands = assign_bands(
        ((item.freq_eff_hz, item.freq_bw_hz) for item in items),
        [] if afresh else bands,
        record.configuration.images.bandwidth_max_hz,
    )
    region_index, known = assign_regions(
        (_covered(shape, record.configuration) for shape in shapes), [] if afresh else known
    )
    vectors = unit_vectors(
        np.array([region.ra_deg for region in known]),
        np.array([region.dec_deg for region in known]),
    )
    every_band = regions.save_bands(store, connection, record.dataset, band_ids, bands)
    every_region = regions.save_regions(
        store, connection, record.dataset, region_ids, known, vectors
    )
    return [
        _Place(every_band[band], every_region[region])
        for band, region in zip(band_index, region_index, strict=True)
    ]


def _covered(shape: Geometry | ImageRow, configuration: Configuration) -> Region:
    """What an image covers: the extraction radius, or, with all of it used, out to its corners."""
    radius_px = configuration.extraction.radius_px
    radius = radius_px * abs(shape.deltax_deg) if radius_px > 0 else shape.corner_distance_deg
    return Region(shape.centre_ra_deg, shape.centre_dec_deg, radius)


def _by_measured(context: StageContext) -> tuple[list[int], list[int]]:
    """Images of the dataset without and with a measured quality, in canonical order."""
    with context.store.read() as connection:
        rows = images.unsettled_images(connection, context.run.dataset)
        ids = [row.id for row in rows]
        done = finished_images(connection, context.run.dataset, "measure_quality", ids)
    return [row.id for row in rows if row.id not in done], [
        row.id for row in rows if row.id in done
    ]

"""Images of a dataset: what their headers say, their quality, verdicts, noise."""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from functools import lru_cache
from pathlib import PurePath
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, ScalarSelect, Select, delete, func, insert, select, update

from trap_ops.errors import StoreError
from trap_ops.records.images import (
    ArrayInfo,
    Autocorrelation,
    Coverage,
    Geometry,
    ImageFile,
    ImageQuality,
    ImageRow,
    NoiseGrid,
    NoiseModel,
    Plane,
    RejectReason,
    Verdict,
)
from trap_ops.store.database import Store
from trap_ops.store.datasets import settled_until
from trap_ops.store.outcomes import ACCEPTED, REJECTED
from trap_ops.store.rows import (
    Values,
    fetch_columns,
    floats,
    id_list,
    insert_rows,
    staged,
    update_rows,
)
from trap_ops.store.schema import REJECT_REASONS, dataset, image, noisemodel, rejection

_COLUMNS = {
    "id": image.c.id,
    "path": image.c.url,
    "file_name": image.c.file_name,
    "file_size": image.c.file_size,
    "file_mtime_ns": image.c.file_mtime_ns,
    "header_sha256": image.c.header_sha256,
    "content_sha256": image.c.content_sha256,
    "telescope": image.c.telescope,
    "start": image.c.taustart_ts,
    "integration_s": image.c.tau_time,
    "band": image.c.band,
    "region": image.c.skyrgn,
    "stokes": image.c.stokes,
    "freq_eff_hz": image.c.freq_eff,
    "freq_bw_hz": image.c.freq_bw,
    "beam_semimajor_deg": image.c.rb_smaj,
    "beam_semiminor_deg": image.c.rb_smin,
    "beam_pa_deg": image.c.rb_pa,
    "deltax_deg": image.c.deltax,
    "deltay_deg": image.c.deltay,
    "centre_ra_deg": image.c.centre_ra,
    "centre_dec_deg": image.c.centre_decl,
    "corner_distance_deg": image.c.corner_distance,
    "nx": image.c.nx,
    "ny": image.c.ny,
    "rms_qc_jy": image.c.rms_qc,
    "nan_fraction": image.c.nan_fraction,
    "data_min_jy": image.c.data_min,
    "data_max_jy": image.c.data_max,
    "rms_min_jy": image.c.rms_min,
    "rms_max_jy": image.c.rms_max,
    "detection_threshold_sigma": image.c.detection_thresh,
    "verdict": image.c.verdict,
    "plane": image.c.plane,
    "array": image.c.array_info,
}
_FILE_COLUMNS = {
    "stokes": "stokes",
    "tau_time": "integration_s",
    "freq_eff": "freq_eff_hz",
    "freq_bw": "freq_bw_hz",
    "taustart_ts": "start",
    "file_name": "file_name",
    "file_size": "file_size",
    "file_mtime_ns": "file_mtime_ns",
    "header_sha256": "header_sha256",
    "telescope": "telescope",
    "nx": "nx",
    "ny": "ny",
}
_GEOMETRY_COLUMNS = {
    "rb_smaj": "beam_semimajor_deg",
    "rb_smin": "beam_semiminor_deg",
    "deltax": "deltax_deg",
    "deltay": "deltay_deg",
    "centre_ra": "centre_ra_deg",
    "centre_decl": "centre_dec_deg",
    "corner_distance": "corner_distance_deg",
}
_NULL_IS_NAN = (
    "rms_qc_jy",
    "nan_fraction",
    "data_min_jy",
    "data_max_jy",
    "rms_min_jy",
    "rms_max_jy",
    "detection_threshold_sigma",
)


def images_of(
    connection: Connection, dataset_id: int, since: datetime | None = None
) -> list[ImageRow]:
    """All images of a dataset in canonical order, or those that start then or later."""
    query = _query().where(image.c.dataset == dataset_id)
    if since is not None:
        query = query.where(image.c.taustart_ts >= since)
    return _rows(connection, query)


def unsettled_images(connection: Connection, dataset_id: int) -> list[ImageRow]:
    """Images of a dataset that a run has to look at, in canonical order.

    With them come those of the latest time step that is settled: a run that has nothing to do
    goes through its stages with these.
    """
    return images_of(connection, dataset_id, settled_until(connection, dataset_id))


def count_images(connection: Connection, dataset_id: int) -> int:
    """Count the images of a dataset."""
    query = select(func.count()).select_from(image).where(image.c.dataset == dataset_id)
    return connection.execute(query).scalar_one()


def shapes_of(connection: Connection, dataset_id: int) -> dict[str, npt.NDArray[np.float64]]:
    """Sizes, pixels and beams of a dataset's accepted images, and the number of those alike."""
    kinds = (
        image.c.nx,
        image.c.ny,
        image.c.deltax.label("deltax_deg"),
        image.c.deltay.label("deltay_deg"),
        image.c.rb_smaj.label("semimajor_deg"),
        image.c.rb_smin.label("semiminor_deg"),
    )
    query = select(*kinds, func.count().label("number")).where(
        image.c.dataset == dataset_id, image.c.verdict == ACCEPTED
    )
    rows = fetch_columns(connection, query.group_by(*kinds))
    return {name: floats(values) for name, values in rows.items()}


def latest_start(connection: Connection, dataset_id: int) -> datetime | None:
    """Start of the latest image of a dataset; None if it has none."""
    query = select(func.max(image.c.taustart_ts)).where(image.c.dataset == dataset_id)
    return connection.execute(query).scalar()


def count_before(connection: Connection, dataset_id: int, start: datetime) -> int:
    """Count the images of a dataset that start earlier."""
    query = select(func.count()).where(image.c.dataset == dataset_id, image.c.taustart_ts < start)
    return connection.execute(query.select_from(image)).scalar_one()


# Canonical order of images, backwards.
LATEST_FIRST = (
    image.c.taustart_ts.desc(),
    image.c.freq_eff.desc(),
    image.c.stokes.desc(),
    image.c.file_name.desc(),
    image.c.content_sha256.desc(),
)


def images_by_id(connection: Connection, ids: Sequence[int]) -> list[ImageRow]:
    """Return some images in canonical order."""
    with id_list(connection, image.c.id, ids) as wanted:
        return _rows(connection, _query().join(wanted, wanted.c.id == image.c.id))


def known_names(connection: Connection, dataset_name: str, names: Collection[str]) -> set[str]:
    """Those of some names (path, and plane) that are of images which a dataset has."""
    with staged(connection, [image.c.url], {"url": list(names)}) as asked:
        query = select(image.c.url).where(
            image.c.dataset == _id_of(dataset_name),
            image.c.url.in_(select(asked.c.url)),
        )
        return set(connection.execute(query).scalars())


def _id_of(dataset_name: str) -> ScalarSelect[int]:
    return select(dataset.c.id).where(dataset.c.description == dataset_name).scalar_subquery()


def known_files(
    connection: Connection, dataset_name: str, paths: Collection[str]
) -> tuple[set[str], set[str]]:
    """Those of some files that a dataset has images of; of these, those with several images."""
    names = sorted({PurePath(path).name for path in paths})
    with staged(connection, [image.c.file_name], {"file_name": names}) as asked:
        query = select(image.c.url, image.c.plane).where(
            image.c.dataset == _id_of(dataset_name),
            image.c.file_name.in_(select(asked.c.file_name)),
        )
        rows = [(row.url, _plane(row.plane)) for row in connection.execute(query)]
    found = {_path(url, plane) for url, plane in rows} & set(paths)
    return found, {_path(url, plane) for url, plane in rows if plane.label} & found


def telescopes_of(connection: Connection, dataset_name: str) -> set[str]:
    """TELESCOP of the images that a dataset has."""
    query = select(image.c.telescope).join(dataset).where(dataset.c.description == dataset_name)
    return set(connection.execute(query.distinct()).scalars())


def insert_images(
    store: Store,
    connection: Connection,
    dataset_id: int,
    images: Sequence[tuple[ImageFile, Geometry, int, int]],
) -> list[int]:
    """Write images: what the file says, its geometry, ids of band and region; return their ids."""
    ids = store.allocate(connection, image, len(images))
    files = [item[0] for item in images]
    shapes = [item[1] for item in images]
    columns: dict[str, Values] = {
        "id": ids,
        "dataset": dataset_id,
        "band": [item[2] for item in images],
        "skyrgn": [item[3] for item in images],
        "rb_pa": [file.beam.bpa_deg for file in files],
        "notes": ["; ".join(file.notes) for file in files],
        "url": [file.plane.name_in(file.path) for file in files],
        "plane": ["" if file.plane == Plane() else file.plane.text for file in files],
        "array_info": [_array_text(file.array) for file in files],
    }
    for name, attribute in _FILE_COLUMNS.items():
        columns[name] = [getattr(file, attribute) for file in files]
    for name, attribute in _GEOMETRY_COLUMNS.items():
        columns[name] = [getattr(shape, attribute) for shape in shapes]
    insert_rows(connection, image, columns)
    return [int(i) for i in ids]


def set_bands_and_regions(
    connection: Connection, ids: Sequence[int], bands: Sequence[int], regions: Sequence[int]
) -> None:
    """Give images other bands and regions."""
    update_rows(
        connection,
        image,
        ["id"],
        {"id": list(ids), "band": list(bands), "skyrgn": list(regions)},
    )


def set_quality(
    connection: Connection, image_id: int, quality: ImageQuality, content_sha256: str
) -> None:
    """Write what was measured of an image's pixels."""

    def number(value: float) -> float | None:
        return None if np.isnan(value) else value

    connection.execute(
        update(image)
        .where(image.c.id == image_id)
        .values(
            rms_qc=number(quality.rms_jy),
            nan_fraction=quality.nan_fraction,
            data_min=number(quality.min_jy),
            data_max=number(quality.max_jy),
            content_sha256=content_sha256,
        )
    )


def set_verdicts(store: Store, connection: Connection, verdicts: Mapping[int, Verdict]) -> None:
    """Write verdicts and the rejections that follow; they replace earlier ones of these images."""
    if not verdicts:
        return
    ids = list(verdicts)
    words = [ACCEPTED if verdicts[i].accepted else REJECTED for i in ids]
    update_rows(connection, image, ["id"], {"id": ids, "verdict": words})
    with id_list(connection, image.c.id, ids) as judged:
        connection.execute(delete(rejection).where(rejection.c.image.in_(select(judged.c.id))))
    rejected = [i for i in ids if not verdicts[i].accepted]
    insert_rows(
        connection,
        rejection,
        {
            "id": store.allocate(connection, rejection, len(rejected)),
            "image": rejected,
            "rejectreason": [int(verdicts[i].reason or 0) for i in rejected],
            "comment": [verdicts[i].comment[:512] for i in rejected],
        },
    )


def rejections_among(connection: Connection, ids: Iterable[int]) -> dict[int, tuple[int, str]]:
    """Reason and comment of those of some images that are rejected, by image id."""
    with id_list(connection, image.c.id, list(ids)) as wanted:
        query = select(rejection.c.image, rejection.c.rejectreason, rejection.c.comment).join(
            wanted, wanted.c.id == rejection.c.image
        )
        rows = connection.execute(query).all()
    return {row.image: (row.rejectreason, row.comment or "") for row in rows}


def rejections_of(connection: Connection, dataset_id: int) -> dict[int, tuple[int, str]]:
    """Reason and comment of rejected images, by image id."""
    query = (
        select(rejection.c.image, rejection.c.rejectreason, rejection.c.comment)
        .join(image)
        .where(image.c.dataset == dataset_id)
    )
    return {row.image: (row.rejectreason, row.comment or "") for row in connection.execute(query)}


def take_back(
    store: Store, connection: Connection, dataset_id: int, reasons: Collection[RejectReason]
) -> None:
    """Accept all images of a dataset that were rejected for one of these reasons."""
    numbers = {int(reason) for reason in reasons}
    rejected = rejections_of(connection, dataset_id)
    accepted = Verdict(accepted=True)
    set_verdicts(
        store, connection, {i: accepted for i, (reason, _) in rejected.items() if reason in numbers}
    )


def reason_text(reason: RejectReason) -> str:
    """Description of a reason for rejection, as table ``rejectreason`` has it."""
    return REJECT_REASONS[reason]


def set_noise(
    connection: Connection,
    image_id: int,
    noise: NoiseModel,
    coverage: Coverage,
    detection_sigma: float,
    analysis_sigma: float,
) -> None:
    """Write what the sources of an image were searched in and measured against.

    It replaces what was written before.
    """
    buffer = io.BytesIO()
    grid = noise.grid
    np.savez(
        buffer,
        background=grid.background,
        rms=grid.rms,
        geometry=np.array([grid.x0, grid.y0, grid.step_x, grid.step_y]),
        correlation=noise.correlation.values,
        measured=np.array(noise.correlation.measured),
        rms_range=np.array([noise.rms_min, noise.rms_max]),
        wcs=np.frombuffer(coverage.wcs.encode("ascii"), dtype=np.uint8),
        shape=np.array([coverage.nx, coverage.ny]),
        beam=np.array(coverage.beam_covariance_px),
        runs=np.frombuffer(_packed(coverage.changes), dtype=np.uint8),
    )
    connection.execute(delete(noisemodel).where(noisemodel.c.image == image_id))
    connection.execute(insert(noisemodel).values(image=image_id, arrays=buffer.getvalue()))
    connection.execute(
        update(image)
        .where(image.c.id == image_id)
        .values(
            rms_min=noise.rms_min,
            rms_max=noise.rms_max,
            detection_thresh=detection_sigma,
            analysis_thresh=analysis_sigma,
        )
    )


def forget_noise(connection: Connection, image_ids: Sequence[int]) -> None:
    """Delete what :func:`set_noise` wrote of some images."""
    with id_list(connection, image.c.id, image_ids) as wanted:
        chosen = select(wanted.c.id)
        connection.execute(delete(noisemodel).where(noisemodel.c.image.in_(chosen)))
        connection.execute(
            update(image)
            .where(image.c.id.in_(chosen))
            .values(rms_min=None, rms_max=None, detection_thresh=None, analysis_thresh=None)
        )


def load_noise(connection: Connection, image_id: int) -> NoiseModel:
    """Return what the sources of an image were measured against.

    Raises
    ------
    StoreError
        If its sources were not extracted.
    """
    stored = _stored_noise(connection, image_id)
    if stored is None:
        msg = f"image {image_id} has no noise model: its sources must be extracted first"
        raise StoreError(msg, image=image_id)
    with np.load(io.BytesIO(stored), allow_pickle=False) as arrays:
        x0, y0, step_x, step_y = arrays["geometry"].tolist()
        rms_min, rms_max = arrays["rms_range"].tolist()
        return NoiseModel(
            grid=NoiseGrid(arrays["background"], arrays["rms"], x0, y0, step_x, step_y),
            correlation=Autocorrelation(arrays["correlation"], bool(arrays["measured"])),
            rms_min=rms_min,
            rms_max=rms_max,
        )


def load_coverage(connection: Connection, image_id: int) -> Coverage | None:
    """Return what an image shows; None if its sources were not extracted."""
    stored = _stored_noise(connection, image_id)
    if stored is None:
        return None
    with np.load(io.BytesIO(stored), allow_pickle=False) as arrays:
        nx, ny = arrays["shape"].tolist()
        return Coverage(
            wcs=arrays["wcs"].tobytes().decode("ascii"),
            nx=nx,
            ny=ny,
            beam_covariance_px=tuple(arrays["beam"].tolist()),
            # Older databases have them as they are.
            changes=_unpacked(arrays["runs"].tobytes())
            if "runs" in arrays
            else arrays["changes"].tobytes(),
        )


def _packed(changes: bytes) -> bytes:
    """Lengths of runs, compressed: a hundredth of the numbers of plain rows, an eighth of holes."""
    lengths = np.diff(np.frombuffer(changes, dtype="<i8"), prepend=0)
    # Level 1 is five times as fast as the usual one, and its result a tenth larger.
    return zlib.compress(lengths.astype("<i8").tobytes(), level=1)


def _unpacked(runs: bytes) -> bytes:
    lengths = np.frombuffer(zlib.decompress(runs), dtype="<i8")
    return np.cumsum(lengths, dtype="<i8").tobytes()


def _stored_noise(connection: Connection, image_id: int) -> bytes | None:
    query = select(noisemodel.c.arrays).where(noisemodel.c.image == image_id)
    return connection.execute(query).scalar()


def _query() -> Select[Any]:
    return select(*(column.label(name) for name, column in _COLUMNS.items()))


def _rows(connection: Connection, query: Select[Any]) -> list[ImageRow]:
    columns = fetch_columns(connection, query)
    for name in _NULL_IS_NAN:
        columns[name] = floats(columns[name]).tolist()
    columns["plane"] = list(map(_plane, columns["plane"]))
    columns["path"] = list(map(_path, columns["path"], columns["plane"]))
    columns["array"] = list(map(_array, columns["array"]))
    values = (columns[field.name] for field in fields(ImageRow))
    return sorted(map(ImageRow, *values), key=lambda item: item.order)


# Most images of a dataset are alike in these.
@lru_cache(maxsize=256)
def _plane(text: str) -> Plane:
    return Plane.parse(text)


@lru_cache(maxsize=256)
def _array(text: str) -> ArrayInfo:
    return ArrayInfo(**json.loads(text or "{}"))


def _path(url: str, plane: Plane) -> str:
    """Return the path of the file that an image is in."""
    return url.removesuffix(f"[{plane.label}]") if plane.label else url


def _array_text(array: ArrayInfo) -> str:
    """JSON of what is known of LOFAR's stations; empty if nothing is."""
    known = {name: value for name, value in vars(array).items() if value is not None}
    return json.dumps(known) if known else ""

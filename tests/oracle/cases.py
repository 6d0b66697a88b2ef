"""Run a worked case through the real stages on a real database, and read back what they made."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import select

from trap_ops.config.model import Configuration
from trap_ops.records.images import (
    Beam,
    Geometry,
    ImageFile,
    ImageQuality,
    ImageRow,
    Region,
    RejectReason,
    Verdict,
)
from trap_ops.records.runs import MonitorPosition, RunRequest
from trap_ops.records.sky import Requests
from trap_ops.records.sources import Sources
from trap_ops.science.bands import assign_bands
from trap_ops.science.coordinates import ra_inflation, separation, unit_vectors
from trap_ops.science.sky_regions import assign_regions
from trap_ops.stages.associate import associate
from trap_ops.stages.context import StageContext
from trap_ops.stages.find_candidates import find_candidates
from trap_ops.stages.fingerprint import fingerprint
from trap_ops.stages.fit_forced import ForcedMeasurements, fit_forced
from trap_ops.stages.measure_variability import measure_variability
from trap_ops.stages.register_images import STAGE as REGISTERED
from trap_ops.store import datasets, detections, images, monitors, regions, runs
from trap_ops.store.database import Store
from trap_ops.store.outcomes import DONE, Outcome, save_outcomes
from trap_ops.store.schema import (
    assocskyrgn,
    assocxtrsource,
    extractedsource,
    forcedfit,
    newsource,
    runningcatalog,
    runningcatalog_flux,
    varmetric,
)
from trap_ops.store.schema import image as image_table

INFINITE_ERROR_RADIUS = 360.0


def load_cases(directory: Path) -> list[dict[str, Any]]:
    """All cases of the oracle files in a directory."""
    return [
        case
        for path in sorted(directory.glob("oracle_*.json"))
        for case in json.loads(path.read_text())["cases"]
    ]


def expected_of(case: dict[str, Any]) -> dict[str, Any]:
    """What a case expects of this project: its own rule where it differs from the classic one."""
    return case["recommended"]["expected"] if "recommended" in case else case["expected"]


@dataclass
class Ran:
    """A case after the stages: image ids in the case's order, and label of each measurement."""

    store: Store
    dataset: int
    image_ids: list[int]
    labels: dict[int, str]


def run_case(store: Store, case: dict[str, Any], *, appended: bool = False) -> Ran:
    """Put a case's images and detections into a dataset and run the stages on them.

    With ``appended`` each time step is a run of its own.
    """
    parameters = case["parameters"]
    configuration = Configuration.model_validate(
        {
            "association": {
                "deruiter_radius": parameters["deruiter_radius"],
                "beamwidths_limit": parameters["beamwidths_limit"],
            },
            "forced_fits": {
                "forward": parameters["forced_fits"],
                "backward": False,
                "expiration": parameters.get("expiration", "none"),
            },
            "new_sources": {"sigma_margin": parameters["new_source_sigma_margin"]},
        }
    )
    name = f"{case['id']}, {'a run a time step' if appended else 'one run'}"
    with store.write() as connection:
        dataset = datasets.open_dataset(store, connection, name, configuration)
        request = RunRequest(run_key=f"oracle {name}", images=(), dataset=name)
        runs.create_run(
            store, connection, request, dataset, "case", configuration, fingerprint(), {}
        )
        record = runs.load_run(connection, request.run_key)
        positions = [MonitorPosition(*p, f"m{i}") for i, p in enumerate(monitor_of(case))]
        monitors.insert_monitors(store, connection, dataset, positions)
    context = StageContext(store, record, Path())
    ran = Ran(store, dataset, [], {})
    steps: list[list[dict[str, Any]]] = []
    for item in case["images"]:
        if appended and steps and steps[-1][0]["taustart_ts"] != item["taustart_ts"]:
            steps.append([])
        if not steps:
            steps.append([])
        steps[-1].append(item)
    for step in steps:
        _insert_images(context, step, ran)
        _run_stages(context, case, ran)
    return ran


def monitor_of(case: dict[str, Any]) -> list[list[float]]:
    positions: list[list[float]] = case.get("monitor_positions", [])
    return positions


def _insert_images(context: StageContext, items: list[dict[str, Any]], ran: Ran) -> None:
    store, dataset = context.store, context.run.dataset
    with store.write() as connection:
        band_ids, bands = regions.load_bands(connection, dataset)
        region_ids, known = regions.load_regions(connection, dataset)
        width = items[0]["freq_bw_max"]
        band_index, bands = assign_bands(
            [(item["freq_eff"], item["freq_bw"]) for item in items], bands, width
        )
        region_index, known = assign_regions(
            [Region(item["centre_ra"], item["centre_decl"], item["xtr_radius"]) for item in items],
            known,
        )
        vectors = unit_vectors([r.ra_deg for r in known], [r.dec_deg for r in known])
        band_ids = regions.save_bands(store, connection, dataset, band_ids, bands)
        region_ids = regions.save_regions(store, connection, dataset, region_ids, known, vectors)
        rows = [
            (_file(item), _geometry(item), band_ids[band], region_ids[region])
            for item, band, region in zip(items, band_index, region_index, strict=True)
        ]
        ids = images.insert_images(store, connection, dataset, rows)
        ran.image_ids += ids
        verdicts = {}
        outcomes = []
        for image_id, item in zip(ids, items, strict=True):
            quality = ImageQuality(item["rms_qc"], 0.0, -1.0, 1.0)
            images.set_quality(connection, image_id, quality, f"content {item['index']}")
            verdicts[image_id] = Verdict(
                not item["rejected"], RejectReason.RMS_INVALID if item["rejected"] else None
            )
            connection.execute(
                image_table.update()
                .where(image_table.c.id == image_id)
                .values(
                    rms_min=item["rms_min"],
                    rms_max=item["rms_max"],
                    detection_thresh=item["detection_thresh"],
                    analysis_thresh=item["analysis_thresh"],
                )
            )
            stages = [REGISTERED, "measure_quality", "judge_quality", "extract_sources"]
            outcomes += [Outcome(s, str(image_id), image_id, DONE, "case") for s in stages]
        images.set_verdicts(store, connection, verdicts)
        save_outcomes(connection, dataset, context.run.id, outcomes)
        for image_id, item in zip(ids, items, strict=True):
            if item["rejected"]:
                continue
            # Extractions without finite flux errors are never stored (SCIENCE.md 4.10).
            usable = [
                e for e in item["blind_extractions"]
                if np.isfinite(float(e["flux_err"])) and np.isfinite(float(e["peak_err"]))
            ]  # fmt: skip
            sources = sources_of(usable)
            new = detections.insert_sources(store, connection, image_id, sources, 0)
            ran.labels |= {int(i): e["label"] for i, e in zip(new, usable, strict=True)}


def _run_stages(context: StageContext, case: dict[str, Any], ran: Ran) -> None:
    supply = {
        image_id: item["forced_fit_supply"]
        for image_id, item in zip(ran.image_ids, case["images"], strict=False)
    }

    def measure(_: StageContext, row: ImageRow, requests: Requests) -> ForcedMeasurements:
        entries = [
            _nearest(supply[row.id], ra, dec)
            for ra, dec in zip(requests.ra_deg, requests.dec_deg, strict=True)
        ]
        placed = [
            {**(entry or NOTHING), "ra": ra, "dec": dec}
            for entry, ra, dec in zip(entries, requests.ra_deg, requests.dec_deg, strict=True)
        ]
        return ForcedMeasurements(
            sources_of(placed), ["" if entry else "not supplied" for entry in entries]
        )

    report = associate(context)
    for batch in report.batches or []:
        fit_forced(context, batch, measure=measure)
    with context.store.read() as connection:
        query = select(
            extractedsource.c.id, extractedsource.c.image, extractedsource.c.ra,
            extractedsource.c.decl,
        ).where(
            extractedsource.c.extract_type != 0, extractedsource.c.image.in_(ran.image_ids)
        )  # fmt: skip
        for row in connection.execute(query):
            entry = _nearest(supply[row.image], row.ra, row.decl)
            assert entry is not None
            ran.labels[row.id] = entry["label"]
    measure_variability(context)
    find_candidates(context)


NOTHING = {
    "ra_fit_err": 1.0, "dec_fit_err": 1.0, "error_radius": 10.0, "ew_sys_err": 1.0,
    "ns_sys_err": 1.0, "peak": np.nan, "peak_err": np.nan, "flux": np.nan, "flux_err": np.nan,
    "sigma": np.nan, "beam_maj": 1.0, "beam_min": 1.0, "beam_angle": 0.0, "chisq": 1.0,
    "reduced_chisq": 1.0, "fit_type": 0,
}  # fmt: skip


def _nearest(supply: list[dict[str, Any]], ra: float, dec: float) -> dict[str, Any] | None:
    """The supplied fit nearest to a position, within an arc minute."""
    if not supply:
        return None
    distance = separation([e["ra"] for e in supply], [e["dec"] for e in supply], ra, dec)
    best = int(np.argmin(distance))
    return supply[best] if distance[best] * 60.0 <= 1.0 else None


def sources_of(entries: list[dict[str, Any]]) -> Sources:
    def column(name: str) -> np.ndarray:
        return np.array([float(entry[name]) for entry in entries], dtype=np.float64)

    ra, dec = column("ra"), column("dec")
    radius = column("error_radius")
    radius[~np.isfinite(radius)] = INFINITE_ERROR_RADIUS
    ew = entries[0]["ew_sys_err"] if entries else 0.0
    ns = entries[0]["ns_sys_err"] if entries else 0.0
    nan = np.full(len(entries), np.nan)
    return Sources(
        ra_deg=ra,
        dec_deg=dec,
        vectors=unit_vectors(ra, dec),
        ra_fit_err_deg=column("ra_fit_err"),
        dec_fit_err_deg=column("dec_fit_err"),
        ra_err_deg=np.hypot(column("ra_fit_err"), ra_inflation(ew / 3600.0, dec)),
        dec_err_deg=np.hypot(column("dec_fit_err"), ns / 3600.0),
        sigma_ew_deg=np.hypot(ew, radius) / 3600.0,
        sigma_ns_deg=np.hypot(ns, radius) / 3600.0,
        error_radius_arcsec=radius,
        ew_sys_err_arcsec=ew,
        ns_sys_err_arcsec=ns,
        semimajor_arcsec=column("beam_maj"),
        semiminor_arcsec=column("beam_min"),
        pa_deg=column("beam_angle"),
        deconvolved_semimajor_arcsec=nan,
        deconvolved_semiminor_arcsec=nan,
        deconvolved_pa_deg=nan,
        semimajor_err_arcsec=nan,
        semiminor_err_arcsec=nan,
        pa_err_deg=nan,
        deconvolved_semimajor_err_arcsec=nan,
        deconvolved_semiminor_err_arcsec=nan,
        deconvolved_pa_err_deg=nan,
        peak_jy=column("peak"),
        peak_err_jy=column("peak_err"),
        flux_jy=column("flux"),
        flux_err_jy=column("flux_err"),
        snr=column("sigma"),
        chisq=column("chisq"),
        reduced_chisq=column("reduced_chisq"),
        rms_jy=nan,
        background_jy=nan,
        x_px=nan,
        y_px=nan,
        resolved_sigma=nan,
        flags=np.zeros(len(entries), dtype=np.int64),
        fit_type=np.array([entry["fit_type"] for entry in entries], dtype=np.int64),
    )


def _file(item: dict[str, Any]) -> ImageFile:
    return ImageFile(
        path=f"/case/{item['index']:03d}.fits",
        file_name=f"{item['index']:03d}.fits",
        file_size=1,
        file_mtime_ns=1,
        header_sha256=f"header {item['index']}",
        telescope="CASE",
        stokes=1,
        freq_eff_hz=item["freq_eff"],
        freq_bw_hz=item["freq_bw"],
        start=datetime.fromisoformat(item["taustart_ts"]),
        integration_s=item["tau_time"],
        beam=Beam(1.0, 1.0, 0.0),
        pixel_matrix_deg=((item["deltax"], 0.0), (0.0, item["deltay"])),
        nx=512,
        ny=512,
        sky_ra_deg=(item["centre_ra"],),
        sky_dec_deg=(item["centre_decl"],),
    )


def _geometry(item: dict[str, Any]) -> Geometry:
    return Geometry(
        deltax_deg=item["deltax"],
        deltay_deg=item["deltay"],
        beam_semimajor_deg=item["beam_smaj_pix"] * abs(item["deltax"]),
        beam_semiminor_deg=item["beam_smin_pix"] * abs(item["deltax"]),
        centre_ra_deg=item["centre_ra"],
        centre_dec_deg=item["centre_decl"],
        corner_distance_deg=item["xtr_radius"],
    )


def read_back(ran: Ran) -> dict[str, Any]:
    """What the stages made, in the form of a case's ``expected``."""
    number = {image_id: index for index, image_id in enumerate(ran.image_ids)}
    with ran.store.read() as connection:
        band_ids, _ = regions.load_bands(connection, ran.dataset)
        region_ids, _ = regions.load_regions(connection, ran.dataset)
        sources = connection.execute(
            select(runningcatalog).where(runningcatalog.c.dataset == ran.dataset)
        ).all()
        mine = [source.id for source in sources]
        measured = select(extractedsource).where(extractedsource.c.image.in_(ran.image_ids))
        extracted = {row.id: row for row in connection.execute(measured)}

        def of_mine(table: Any) -> list[Any]:
            return list(connection.execute(select(table).where(table.c.runcat.in_(mine))).all())

        links, fluxes, members = map(of_mine, (assocxtrsource, runningcatalog_flux, assocskyrgn))
        new, metrics = of_mine(newsource), {row.runcat: row for row in of_mine(varmetric)}
        requests = connection.execute(
            select(forcedfit).where(forcedfit.c.dataset == ran.dataset)
        ).all()
    made = []
    for source in sources:
        curve = [
            {
                "image": number[extracted[link.xtrsrc].image],
                "label": ran.labels[link.xtrsrc],
                "type": link.type,
                "extract_type": extracted[link.xtrsrc].extract_type,
                "r": link.r,
                "distance_arcsec": link.distance_arcsec,
                "v_int": link.v_int,
                "eta_int": link.eta_int,
                "f_datapoints": link.f_datapoints,
            }
            for link in links
            if link.runcat == source.id
        ]
        founding = extracted[source.xtrsrc]
        metric = metrics[source.id]
        made.append(
            {
                "founding_extraction": {
                    "image": number[founding.image],
                    "label": ran.labels[source.xtrsrc],
                },
                "mon_src": bool(source.mon_src),
                "datapoints": source.datapoints,
                "wm_ra": source.wm_ra,
                "wm_decl": source.wm_decl,
                "wm_uncertainty_ew": source.wm_uncertainty_ew,
                "wm_uncertainty_ns": source.wm_uncertainty_ns,
                "forcedfits_count": source.forcedfits_count,
                "skyregions": sorted(
                    region_ids.index(m.skyrgn) for m in members if m.runcat == source.id
                ),
                "lightcurve": sorted(curve, key=lambda p: (p["image"], p["label"])),
                "fluxes": sorted(
                    (
                        {**flux._mapping, "band": band_ids.index(flux.band)}
                        for flux in fluxes
                        if flux.runcat == source.id
                    ),
                    key=lambda flux: flux["band"],
                ),
                "newsource": [
                    {
                        "newsource_type": n.newsource_type,
                        "previous_limits_image": number[n.previous_limits_image],
                        "trigger_image": number[extracted[n.trigger_xtrsrc].image],
                        "trigger": ran.labels[n.trigger_xtrsrc],
                    }
                    for n in new
                    if n.runcat == source.id
                ],
                "varmetric": {
                    **metric._mapping,
                    "band": band_ids.index(metric.band),
                    "is_newsource": metric.newsource is not None,
                },
            }
        )
    made.sort(key=lambda s: (s["mon_src"], [(p["image"], p["label"]) for p in s["lightcurve"]]))
    forced: dict[str, list[list[float]]] = {str(i): [] for i in range(len(ran.image_ids))}
    for request in requests:
        # Copies that a fork inherited are no requests of their own; skipped ones are none at all.
        if request.kind == 1 and request.status != "skipped" and request.link_type == 7:
            forced[str(number[request.image])].append([request.ra, request.decl])
    return {
        "n_runcats": len(sources),
        "n_bands": len(band_ids),
        "n_skyregions": len(region_ids),
        "runcats": made,
        "newsource_rows": len(new),
        "forced_fit_requests": {image: sorted(found) for image, found in forced.items()},
        "monitor_fit_requests_per_image": {
            sum(r.kind == 2 and r.image == image_id for r in requests) for image_id in ran.image_ids
        },
        "null_detection_requests_per_image": {len(found) for found in forced.values()},
    }

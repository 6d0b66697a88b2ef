"""The run report: one HTML file with everything in it, which opens without any network."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from trap_ops.errors import ConfigError, DiskUnavailable, can_pass
from trap_ops.export import quality, tables, wording
from trap_ops.export.candidates import anchor, kind_class, view_candidates
from trap_ops.export.contents import Contents, load_contents
from trap_ops.export.error_models import error_words
from trap_ops.export.light_curves import CurveView, view_light_curve
from trap_ops.export.plots import Cloud, eta_v
from trap_ops.images.access import LOCAL_ONLY, Access
from trap_ops.records.names import visible
from trap_ops.records.runs import RunRecord
from trap_ops.science.candidate_kinds import CandidateKind
from trap_ops.store.database import Store
from trap_ops.store.reports import MonitorSummary
from trap_ops.store.runs import now

_TEMPLATE = "report.html.j2"
_MAX_NAME_LENGTH = 100


def write_report(
    store: Store, run: RunRecord, output_dir: Path, access: Access = LOCAL_ONLY
) -> Path:
    """Write the report of a run, in place of an earlier one.

    Parameters
    ----------
    store : Store
    run : RunRecord
    output_dir : Path
    access : Access
        To remote images, for the cut-outs.

    Returns
    -------
    Path
        ``<output_dir>/reports/<dataset>/<run key>.html``, absolute. Names are changed where they
        could mean something to a file system.

    Raises
    ------
    ConfigError
        If it cannot be written there.
    DiskUnavailable
        If the disk is full, or away.

    Notes
    -----
    The report shows the dataset as it is now. It appears whole or not at all.
    """
    page = render_report(load_contents(store, run), access)
    directory = output_dir.absolute() / "reports" / safe_name(run.dataset_name)
    path = directory / f"{safe_name(run.key)}.html"
    # Another process may write the same report.
    beside = directory / f".{path.name}.{os.getpid()}"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        try:
            # A file name need not be valid text; what is not is written as its code.
            beside.write_bytes(page.encode("utf-8", "backslashreplace"))
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        msg = (
            f"the report cannot be written to {directory} ({error.strerror}); the results are "
            "complete in the database: make the directory writable, make room, or set TRAP_VAR to "
            "another one, then run publish again"
        )
        kind = DiskUnavailable if can_pass(error) else ConfigError
        raise kind(msg, directory=str(directory)) from error
    return path


def safe_name(name: str) -> str:
    """Return a name for a file or directory that stays where it is put.

    Letters, digits and ``._+-`` are kept, others become ``_``. A name that had to be changed or cut
    gets a part of its hash, so that two names never share a file.
    """
    if re.fullmatch(rf"[A-Za-z0-9_][A-Za-z0-9._+-]{{0,{_MAX_NAME_LENGTH - 1}}}", name):
        return name
    kept = re.sub(r"[^A-Za-z0-9._+-]", "_", name).lstrip(".+-")[: _MAX_NAME_LENGTH - 9] or "_"
    digest = hashlib.sha256(name.encode("utf-8", "backslashreplace")).hexdigest()
    return f"{kept}-{digest[:8]}"


def render_report(contents: Contents, access: Access = LOCAL_ONLY) -> str:
    """Return the page."""
    # Everything is escaped, whatever the template is called.
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    written = now().replace(microsecond=0)
    peak_unit, candidates = view_candidates(contents, access)
    fit_statuses, fits = tables.fit_table(contents)
    stages, image_lines = tables.image_table(contents)
    check_names = quality.check_names(contents)
    stage_lines, wall = tables.stage_table(contents.stages)
    return environment.get_template(_TEMPLATE).render(
        dataset=contents.run.dataset_name,
        left_out=contents.n_images - len(contents.images),
        run_key=contents.run.key,
        written=wording.utc(written),
        facts=tables.facts(contents, written),
        tiles=tables.tiles(contents),
        fit_statuses=fit_statuses,
        fits=fits,
        rejected=quality.rejected(contents),
        check_names=check_names,
        checks=quality.check_table(contents),
        warnings=quality.warnings(contents),
        image_checks=quality.image_checks(contents, check_names),
        without_fits=tables.without_fits(contents),
        stages=stages,
        image_lines=image_lines,
        eta_v=_eta_v(contents),
        errors=error_words(contents.error_models, contents.bands),
        peak_unit=peak_unit,
        candidates=candidates,
        monitors=[_view_monitor(contents, item) for item in contents.monitors],
        settings=tables.settings(contents.run.configuration),
        details=contents.details,
        images=list(contents.images.values()),
        utc=wording.utc,
        count=wording.count,
        stage_lines=stage_lines,
        wall=wall,
    )


def _shown(value: object) -> object:
    """What the template writes for a value, before it is escaped."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return visible(value)
    return value


def _eta_v(contents: Contents) -> Markup:
    """Return the plot of all sky sources, candidates in colour; empty without any."""
    sources = contents.sources
    if len(sources.id) == 0:
        return Markup("")
    places = {int(source): row for row, source in enumerate(sources.id.tolist())}
    ranked = {places[item.source]: item for item in contents.candidates if item.source in places}
    others = np.ones(len(sources.id), dtype=bool)
    others[list(ranked)] = False
    titles = [_source_title(contents, row) for row in range(len(sources.id))]
    rest = np.flatnonzero(others)
    clouds = [
        Cloud(
            "source",
            "dot",
            "other sky source",
            sources.eta[rest],
            sources.v[rest],
            [titles[row] for row in rest.tolist()],
        )
    ]
    new = str(CandidateKind.NEW_SOURCE)
    for known, shape, words in (
        (True, "circle", "known source that varies"),
        (False, "diamond", new),
    ):
        rows = [row for row, item in ranked.items() if (item.kind != new) == known]
        clouds.append(
            Cloud(
                kind_class(CandidateKind.VARIABLE if known else new),
                shape,
                words,
                sources.eta[rows],
                sources.v[rows],
                [f"{ranked[row].rank}. {ranked[row].kind}\n{titles[row]}" for row in rows],
                [anchor(ranked[row]) for row in rows],
            )
        )
    return eta_v(clouds, "Eta against V of all sky sources")


def _source_title(contents: Contents, row: int) -> str:
    sources = contents.sources
    return (
        f"{sources.name[row]}\nη {wording.number(float(sources.eta[row]))}, "
        f"V {wording.number(float(sources.v[row]))}, "
        f"p {wording.probability(float(sources.p_value[row]))}, "
        f"{wording.count(int(sources.count[row]), 'point')}"
    )


def _view_monitor(
    contents: Contents, item: MonitorSummary
) -> tuple[str, list[tuple[str, str]], CurveView]:
    """Name, facts and light curve of a monitoring position."""
    ra, dec = wording.sexagesimal(item.ra_deg, item.dec_deg)
    several = (item.count or 0) > 1
    facts = [
        ("RA, Dec", f"{ra} {dec}"),
        ("degrees", f"{item.ra_deg:.5f} {item.dec_deg:+.5f}".replace("-", "\N{MINUS SIGN}")),
        ("η", wording.number(item.eta if several else None)),
        ("V", wording.number(item.v if several else None)),
        ("p-value", wording.probability(item.p_value)),
    ]
    points = contents.points.of(item.source if item.source is not None else -1)
    gaps = contents.monitor_gaps.get(item.id, [])
    label = f"Light curve of {item.name}"
    return (
        item.name,
        facts,
        view_light_curve(points, gaps, contents.every, contents.bands, label),
    )

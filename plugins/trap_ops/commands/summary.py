"""What a run found, in the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ValidationError
from rich.console import Console
from rich.table import Table
from scipy.spatial import cKDTree

from trap_ops.errors import ConfigError
from trap_ops.export.error_models import ErrorWords, error_words
from trap_ops.export.wording import count, number, probability
from trap_ops.records.names import one_line
from trap_ops.science.coordinates import unit_vectors
from trap_ops.store import candidates, datasets, error_models, quality_checks, regions, runs
from trap_ops.store.database import Store
from trap_ops.store.outcomes import rejected_units

_MIN_WIDTH = 160
_MAX_REJECTED = 20
_MAX_CANDIDATES = 25
_MAX_BANDS = 8
# A candidate this close to a simulated source is that source.
_TRUTH_RADIUS_ARCSEC = 15.0


class TrueSource(BaseModel):
    """A source of a simulated series: what the comparison needs of it."""

    name: str
    kind: str
    ra_deg: float
    dec_deg: float


class Truth(BaseModel):
    """``truth.json`` of a simulated series."""

    sources: list[TrueSource]


def read_truth(path: Path) -> Truth:
    """Read the truth of a simulated series.

    Raises
    ------
    ConfigError
        If there is no such file, or it is none.
    """
    try:
        return Truth.model_validate_json(path.read_bytes())
    except OSError as error:
        msg = f"--truth {one_line(str(path))} cannot be read: {error.strerror}"
        raise ConfigError(msg, path=str(path)) from error
    except ValidationError as error:
        msg = (
            f"--truth {one_line(str(path))} is not the truth of a simulated series, which "
            f"`trap-manage simulate` writes as truth.json: {error.errors()[0]['msg']}"
        )
        raise ConfigError(msg, path=str(path)) from error


def make_console() -> Console:
    """Return a console that does not break lines: tables are also read from files and pipes."""
    # No markup: messages and names have brackets of their own.
    console = Console(soft_wrap=True, markup=False)
    console.width = max(console.width, _MIN_WIDTH)
    return console


def print_summary(console: Console, store: Store, run_key: str, truth: Truth | None = None) -> None:
    """Print images, sources, candidates and the path of the report of a run.

    Parameters
    ----------
    console : rich.console.Console
    store : Store
    run_key : str
    truth : Truth, optional
        Of a simulated series: say which of its sources were found.
    """
    with store.read() as connection:
        record = runs.load_run(connection, run_key)
        summary = next(
            item for item in datasets.list_datasets(connection) if item.id == record.dataset
        )
        rejected = rejected_units(connection, record.dataset)
        found = candidates.list_candidates(connection, record.dataset)
        report = runs.report_of(connection, record.id)
        models = error_models.list_error_models(connection, record.dataset)
        bands = dict(zip(*regions.load_bands(connection, record.dataset), strict=True))
        warned = quality_checks.warned_images(connection, record.dataset)
    artefacts = sum(bool(veto) for veto in found["veto"])
    other = f", and {count(artefacts, 'possible artefact')}" if artefacts else ""
    console.print()
    warnings = f" ({warned} with a warning)" if warned else ""
    console.print(
        f"{count(summary.accepted, 'image')} accepted{warnings}, {len(rejected)} rejected; "
        f"{count(summary.sources, 'sky source')}; {count(summary.candidates, 'candidate')}{other} "
        f"(configuration {record.configuration_name})",
        highlight=False,
    )
    for unit in rejected[:_MAX_REJECTED]:
        console.print(f"  rejected: {one_line(unit.message)}", highlight=False)
    if len(rejected) > _MAX_REJECTED:
        console.print(f"  and {len(rejected) - _MAX_REJECTED} more: see the report")
    if found["rank"]:
        console.print(_candidate_table(found))
        if len(found["rank"]) > _MAX_CANDIDATES:
            more = len(found["rank"]) - _MAX_CANDIDATES
            console.print(f"and {more} more: see the report", highlight=False)
    _print_errors(console, error_words(models, bands))
    if truth is not None:
        _compare(console, found, truth)
    console.print(f"Report: {report}", highlight=False)


def _print_errors(console: Console, words: list[ErrorWords]) -> None:
    """Say of each band whether the errors are right; those with wrong p-values come first."""
    ordered = sorted(words, key=lambda item: not item.warning)
    for item in ordered[:_MAX_BANDS]:
        console.print(". ".join(filter(None, (item.found, item.warning))), highlight=False)
    if len(ordered) > _MAX_BANDS:
        console.print(f"and {len(ordered) - _MAX_BANDS} more bands: see the report")


def _candidate_table(found: dict[str, list[Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("#", "candidate", "kind"):
        table.add_column(name, no_wrap=True)
    for name in ("RA", "Dec", "peak mJy", "eta", "V", "p-value"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("expected false", justify="right", no_wrap=True)
    table.add_column("first seen (UTC)", no_wrap=True)
    table.add_column("may be" if any(found["veto"]) else "", no_wrap=True)
    for row in range(min(len(found["rank"]), _MAX_CANDIDATES)):
        value = {name: column[row] for name, column in found.items()}
        table.add_row(
            f"{value['rank']}",
            f"{value['source_name']}",
            f"{value['kind']}",
            f"{value['wm_ra']:.5f}",
            f"{value['wm_decl']:+.5f}",
            number(value["peak_jy"] * 1e3),
            # A source with one point has none of these three.
            number(value["all_eta_int"]),
            number(value["all_v_int"]),
            probability(value["all_p_value"]),
            probability(value["expected_false"]),
            f"{value['first_seen']:%Y-%m-%d %H:%M:%S}",
            f"{value['veto']}",
        )
    return table


def _compare(console: Console, found: dict[str, list[Any]], truth: Truth) -> None:
    """Say which simulated variables and transients are candidates, and what else is.

    Those that may be artefacts do not count.
    """
    sources = truth.sources
    kept = np.array([not veto for veto in found["veto"]], dtype=bool)
    tree = cKDTree(unit_vectors([s.ra_deg for s in sources], [s.dec_deg for s in sources]))
    here = unit_vectors(
        np.array(found["wm_ra"], dtype=float)[kept], np.array(found["wm_decl"], dtype=float)[kept]
    ).reshape(-1, 3)
    chord, nearest = tree.query(here) if len(here) else (np.empty(0), np.empty(0, dtype=int))
    close = np.degrees(chord) * 3600.0 <= _TRUTH_RADIUS_ARCSEC
    names = {sources[i].name for i in nearest[close]}
    parts = []
    for kind in ("transient", "variable"):
        wanted = {source.name for source in sources if source.kind == kind}
        parts.append(f"{len(wanted & names)} of {len(wanted)} {kind}s")
    steady = sum(sources[i].kind == "steady" for i in nearest[close])
    parts.append(f"{steady + int((~close).sum())} false candidates")
    console.print(f"Against the simulated truth: {', '.join(parts)}", highlight=False)

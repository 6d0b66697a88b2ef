"""Small simulated series, and the pipeline on them without Airflow."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stages.forty_images import write_forty_images
from trap_ops import local
from trap_ops.records.runs import StageReport
from trap_ops.simulate.series import SeriesPlan, write_series
from trap_ops.store.checksum import dataset_checksum
from trap_ops.store.database import Store
from trap_ops.store.datasets import dataset_id

SMALL = {
    "extraction": {"detection_threshold_sigma": 6.0, "margin_px": 2},
    "execution": {"parallel_tasks": 2},
}
# Two bands, gaps, jitter, moving pointings, noise that grows outwards: hard light curves.
HARD = SeriesPlan(
    n_epochs=8,
    size_px=160,
    n_steady=14,
    n_variable=2,
    n_transient=2,
    seed=5,
    frequencies_hz=(150e6, 160e6),
    skipped_epochs=(4,),
    position_jitter_arcsec=1.0,
    pointing_jitter_px=4.0,
    noise_gradient=1.5,
    snr_min=5.0,
    edge_px=6,
)
# Some sources are about as bright as the threshold: seen in one image, fitted in the next.
EASY = SeriesPlan(
    n_epochs=5,
    size_px=160,
    n_steady=14,
    n_variable=2,
    n_transient=1,
    seed=3,
    snr_min=5.0,
    snr_max=40.0,
    edge_px=12,
)


@pytest.fixture(scope="session")
def easy(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Five images of one band."""
    return write_series(EASY, tmp_path_factory.mktemp("easy"))


@pytest.fixture(scope="session")
def hard(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Fourteen images of two bands with moving pointings and a gap."""
    return write_series(HARD, tmp_path_factory.mktemp("hard"))


@pytest.fixture(scope="session")
def forty(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Forty images of two bands, a copy of one and a broken file."""
    return write_forty_images(tmp_path_factory.mktemp("forty"))


Run = Callable[..., list[StageReport]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run the pipeline on images with small-series settings."""

    def run_images(
        store: Store,
        images: Iterable[Path],
        dataset: str = "series",
        overrides: dict[str, Any] | None = None,
        **options: Any,
    ) -> list[StageReport]:
        merged = {key: dict(value) for key, value in SMALL.items()}
        for section, values in (overrides or {}).items():
            merged[section] = {**merged.get(section, {}), **values}
        return local.run(
            images,
            dataset,
            store_url=store.url.render_as_string(hide_password=False),
            overrides=merged,
            output_dir=tmp_path / "var",
            **options,
        )

    return run_images


@pytest.fixture(scope="session")
def finished(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A finished night in an SQLite file; tests must not change it."""
    directory = tmp_path_factory.mktemp("night")
    shutil.copy(sqlite_template, directory / "night.db")
    store = Store(f"sqlite:///{directory / 'night.db'}")
    # That module needs this one.
    from stages.consistent_night import make_night

    with pytest.MonkeyPatch.context() as patch:
        make_night(store, directory, patch)
    yield store
    store.close()


@pytest.fixture
def night(finished: Store, tmp_path: Path) -> Iterator[Store]:
    """A copy of it to do anything with."""
    path = tmp_path / "night.db"
    finished.close()
    shutil.copy(str(finished.url.database), path)
    store = Store(f"sqlite:///{path}")
    yield store
    store.close()


def checksum(store: Store, dataset: str = "series") -> str:
    """Checksum of a dataset by name."""
    with store.read() as connection:
        found = dataset_id(connection, dataset)
    return dataset_checksum(store, found)


def counts(reports: list[StageReport], stage: str) -> dict[str, int]:
    """Counts of a stage, summed over its batches."""
    total: dict[str, int] = {}
    for report in reports:
        if report.stage == stage:
            for name, number in report.counts.items():
                total[name] = total.get(name, 0) + number
    return total

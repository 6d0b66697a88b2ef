"""Files that something happens to between two stages of a run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from stages.conftest import Run
from trap_ops import local
from trap_ops.simulate.series import SeriesPlan, write_series
from trap_ops.store.database import Store
from trap_ops.store.datasets import dataset_id
from trap_ops.store.outcomes import rejected_units
from trap_ops.store.schema import forcedfit, image

# A matter of seconds: not part of make test-fast.
pytestmark = pytest.mark.slow

CHANGED = {"file changed"}


def _vanish(path: Path, other: Path) -> None:
    path.unlink()


def _cut(path: Path, other: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _empty(path: Path, other: Path) -> None:
    path.write_bytes(b"")


def _grow(path: Path, other: Path) -> None:
    with path.open("ab") as file:
        file.write(b"\0" * 2880)


def _replace(path: Path, other: Path) -> None:
    """By another image, as large as it was."""
    shutil.copy(other, path)


def _become_a_page(path: Path, other: Path) -> None:
    path.write_text("<html>moved</html>" * 100)


def _become_a_pipe(path: Path, other: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _become_a_directory(path: Path, other: Path) -> None:
    path.unlink()
    path.mkdir()


def _link_to_itself(path: Path, other: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


FATES: dict[Callable[[Path, Path], None], set[str]] = {
    _vanish: {"no such file"},
    _cut: CHANGED | {"truncated"},
    _empty: CHANGED | {"empty file"},
    _grow: CHANGED,
    _replace: CHANGED,
    _become_a_page: CHANGED | {"not a FITS file"},
    _become_a_pipe: CHANGED | {"unreadable file", "not a file"},
    _become_a_directory: CHANGED | {"unreadable file", "not a file"},
    _link_to_itself: {"unreadable file"},
}
PLAN = SeriesPlan(
    n_epochs=len(FATES) + 3, size_px=96, n_steady=5, n_variable=1, n_transient=1, seed=4, edge_px=12
)


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_series(PLAN, tmp_path_factory.mktemp("series"))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    from stages.conftest import SMALL

    def run_images(store: Store, images: list[Path]) -> object:
        return local.run(
            images,
            "series",
            store_url=store.url.render_as_string(hide_password=False),
            overrides={**SMALL, "execution": {"parallel_tasks": 1}},
            output_dir=tmp_path / "var",
        )

    return run_images


def _befall(files: list[Path], other: Path, stage: str, patch: pytest.MonkeyPatch) -> None:
    """Let each fate befall a file of its own before a stage."""
    real = getattr(local, stage)

    def changed(*args: object, **options: object) -> object:
        for fate, path in zip(FATES, files, strict=False):
            if path.is_file() and path.read_bytes() == path.with_suffix(".whole").read_bytes():
                fate(path, other)
        return real(*args, **options)

    patch.setattr(local, stage, changed)


@pytest.fixture
def files(series: list[Path], tmp_path: Path) -> list[Path]:
    made = []
    for path in series[:-1]:
        made.append(Path(shutil.copy(path, tmp_path)))
        shutil.copy(path, made[-1].with_suffix(".whole"))
    return made


@pytest.mark.parametrize("stage", ["measure_quality", "judge_quality", "extract_sources"])
def test_what_befalls_a_file_before_it_is_read_rejects_it(
    stage: str,
    sqlite_store: Store,
    series: list[Path],
    files: list[Path],
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _befall(files, series[-1], stage, monkeypatch)
    run(sqlite_store, files)
    with sqlite_store.read() as connection:
        units = rejected_units(connection, dataset_id(connection, "series"))
    reasons = {unit.name: unit.reason for unit in units}
    assert reasons.keys() == {path.name for path in files[: len(FATES)]}
    for path, (fate, allowed) in zip(files, FATES.items(), strict=False):
        assert reasons[path.name] in allowed, fate.__name__
    for unit in units:
        assert unit.name in unit.message
        assert "\n" not in unit.message


def test_what_befalls_a_file_before_its_forced_fits_is_said_of_them(
    sqlite_store: Store,
    series: list[Path],
    files: list[Path],
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _befall(files, series[-1], "associate", monkeypatch)
    run(sqlite_store, files)
    query = (
        select(image.c.file_name, forcedfit.c.status, forcedfit.c.reason)
        .join(image, image.c.id == forcedfit.c.image)
        .distinct()
    )
    with sqlite_store.read() as connection:
        rows = connection.execute(query).all()
    allowed = {path.name: reasons for path, reasons in zip(files, FATES.values(), strict=False)}
    of_files = [row for row in rows if row.file_name in allowed and row.status != "skipped"]
    assert len({row.file_name for row in of_files}) >= 3
    for row in of_files:
        assert row.status in {"requested", "failed"}, row
        assert row.reason in allowed[row.file_name], row
    assert {row.status for row in rows if row.file_name not in allowed} <= {"fitted", "skipped"}

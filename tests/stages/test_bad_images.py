"""A bad image never stops a run, and never passes silently."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from sqlalchemy import select

from stages.conftest import Run, checksum, counts
from trap_ops.errors import ConfigError
from trap_ops.export.wording import NOT_MEASURED
from trap_ops.records.runs import MonitorPosition
from trap_ops.store import images
from trap_ops.store.database import Store
from trap_ops.store.datasets import dataset_id
from trap_ops.store.forced_fits import count_by_status
from trap_ops.store.outcomes import rejected_units
from trap_ops.store.schema import image, rejection


def rejected(store: Store, dataset: str = "series") -> dict[str, tuple[str, str]]:
    """Stage and message by file name."""
    with store.read() as connection:
        found = rejected_units(connection, dataset_id(connection, dataset))
    return {unit.name: (unit.stage, unit.message) for unit in found}


def changed_copy(source: Path, target: Path, pixels: float | None = None, **cards: object) -> Path:
    """A copy of an image with other pixels or cards; a card that is None is deleted."""
    with fits.open(source) as hdus:
        if pixels is not None:
            hdus[0].data[:] = pixels
        for key, value in cards.items():
            key = key.replace("_", "-")
            if value is None:
                del hdus[0].header[key]
            else:
                hdus[0].header[key] = value
        hdus.writeto(target)
    return target


def test_five_good_and_many_bad(store: Store, easy: list[Path], run: Run, tmp_path: Path) -> None:
    night = tmp_path / "night"
    night.mkdir()
    for path in easy:
        shutil.copy(path, night)
    raw = easy[0].read_bytes()
    (night / "truncated.fits").write_bytes(raw[:40000])
    (night / "header-only.fits").write_bytes(raw[:2000])
    (night / "text.fits").write_text("this is no FITS file\n" * 50)
    (night / "empty.fits").touch()
    changed_copy(easy[1], night / "all-nan.fits", np.nan, DATE_OBS="2026-01-02T01:00:00")
    changed_copy(easy[1], night / "flat.fits", 0.5, DATE_OBS="2026-01-02T02:00:00")
    changed_copy(easy[1], night / "no-beam.fits", BMAJ=None)
    changed_copy(easy[1], night / "no-time.fits", DATE_OBS=None)
    changed_copy(easy[1], night / "long-beam.fits", BMAJ=0.03, DATE_OBS="2026-01-02T03:00:00")
    shutil.copy(easy[2], night / "again.fits")
    (night / "notes.txt").write_text("not an image, and not asked for")

    reports = run(store, [night])

    assert counts(reports, "extract_sources")["images"] == 5
    found = rejected(store)
    expected = {
        "truncated.fits": ("register_images", "truncated: it has 40000 bytes"),
        "header-only.fits": ("register_images", "truncated within its header"),
        "text.fits": ("register_images", "not a FITS file"),
        "empty.fits": ("register_images", "the file is empty"),
        "no-beam.fits": ("register_images", "no BMAJ"),
        "no-time.fits": ("register_images", "no start time"),
        "all-nan.fits": ("judge_quality", "All pixels are NaN"),
        "flat.fits": ("judge_quality", "All pixels are 0.5"),
        "long-beam.fits": ("judge_quality", "Beam too elliptical"),
    }
    # Which of two equal files counts as the first is decided by their names.
    (original,) = found.keys() - expected.keys()
    assert original in {"again.fits", easy[2].name}
    assert "the same bytes as" in found[original][1]
    for name, (stage, words) in expected.items():
        assert found[name][0] == stage, name
        assert words in found[name][1], found[name][1]
    with store.read() as connection:
        rows = connection.execute(select(image.c.file_name, rejection.c.rejectreason).join(image))
        reasons = {row.file_name: row.rejectreason for row in rows}
    assert reasons == {"all-nan.fits": 4, "flat.fits": 5, "long-beam.fits": 1, original: 7}


def test_absurd_headers_do_not_stop_a_run(
    store: Store, easy: list[Path], run: Run, tmp_path: Path
) -> None:
    """Refused where the header is read; what is only unusual goes through all stages."""
    night = tmp_path / "night"
    night.mkdir()
    shutil.copy(easy[0], night)
    absurd: dict[str, dict[str, object]] = {
        "year-0": {"DATE_OBS": "0000.5"},
        "year-1": {"DATE_OBS": "0001-01-01T00:00:00"},
        "last-moment": {"DATE_OBS": "9999-12-31T23:59:59.999999"},
        "after-the-calendar": {"DATE_OBS": "9999-12-31T23:59:59-05:00"},
        "huge-beam": {"BMAJ": 1e300, "BMIN": 1e300},
        "tiny-beam": {"BMAJ": 1e-300, "BMIN": 1e-300},
        "huge-pixels": {"CDELT1": -1e300, "CDELT2": 1e300},
        "frequency": {"CRVAL3": 1e300},
        "stokes": {"CRVAL4": 1e300},
        "projection": {"CTYPE1": "RA---XXX", "CTYPE2": "DEC--XXX"},
    }
    for name, cards in absurd.items():
        changed_copy(easy[1], night / f"{name}.fits", **cards)
    unusual: dict[str, dict[str, object]] = {
        "year-1900": {"DATE_OBS": "1900-01-01T00:00:00"},
        "year-2999": {"DATE_OBS": "2999-12-31T23:59:59.999999"},
        "long-telescope": {"DATE_OBS": "2026-02-01", "TELESCOP": "T" * 68},
        "plate": {"DATE_OBS": "2026-02-02", "CNPIX1": 1},
    }
    for name, cards in unusual.items():
        changed_copy(easy[1], night / f"{name}.fits", **cards)
    reports = run(store, [night])
    found = rejected(store)
    assert {name.removesuffix(".fits") for name in found} == absurd.keys()
    assert {stage for stage, _ in found.values()} == {"register_images"}
    assert counts(reports, "extract_sources")["images"] == 1 + len(unusual)


def test_a_bad_image_changes_nothing_for_the_others(
    store: Store, easy: list[Path], run: Run, tmp_path: Path
) -> None:
    """Sources and light curves are those of the good images alone."""
    bad = changed_copy(easy[1], tmp_path / "nan.fits", np.nan, DATE_OBS="2026-01-01T01:30:00")
    run(store, easy, "clean")
    run(store, [*easy, bad], "dirty")
    from trap_ops.store.schema import runningcatalog, varmetric

    def curves(dataset: str) -> list[tuple[object, ...]]:
        with store.read() as connection:
            query = (
                select(
                    runningcatalog.c.wm_ra,
                    runningcatalog.c.datapoints,
                    varmetric.c.all_eta_int,
                    varmetric.c.all_datapoints,
                )
                .join(varmetric, varmetric.c.runcat == runningcatalog.c.id)
                .where(runningcatalog.c.dataset == dataset_id(connection, dataset))
            )
            return sorted(tuple(row) for row in connection.execute(query))

    assert curves("clean") == curves("dirty")


def test_nothing_to_read_is_an_error(store: Store, run: Run, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file or directory"):
        run(store, [tmp_path / "nowhere"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="no image files"):
        run(store, [tmp_path / "empty"])


def test_only_bad_images_give_a_report_and_no_sources(
    store: Store, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "text.fits").write_text("no FITS")
    reports = run(store, [tmp_path / "text.fits"])
    assert reports[-1].stage == "publish"
    assert list(rejected(store)) == ["text.fits"]


def test_a_file_that_was_mended_is_not_rejected_any_more(
    store: Store, easy: list[Path], run: Run, tmp_path: Path
) -> None:
    night = tmp_path / "night"
    night.mkdir()
    files = [Path(shutil.copy(path, night)) for path in easy]
    files[1].write_bytes(easy[1].read_bytes()[:40000])
    run(store, [night, tmp_path / "mistyped"])
    assert list(rejected(store)) == ["mistyped", files[1].name]
    run(store, [night])
    assert list(rejected(store)) == [files[1].name]
    shutil.copy(easy[1], files[1])
    run(store, [night])
    assert rejected(store) == {}


def test_names_and_headers_of_any_kind_stop_no_run(
    store: Store, easy: list[Path], run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    night = tmp_path / "night"
    night.mkdir()
    changed_copy(easy[0], night / "a.fits", TELESCOP="X" * 300)
    for place, source in ((10, easy[1]), (900, easy[2])):  # In the padding, and in the pixels.
        raw = bytearray(source.read_bytes())
        raw[-place] ^= 1
        (night / f"new\nline-{place}.fits").write_bytes(raw)
    (night / "forged\n.fits").write_bytes(b"SIMPLE")
    nowhere = [f"/{'x' * 3000}", f"/{'日' * 1050}", "/nul\x00", "/no\x1b[31m", "/no\x1b[31m"]
    reports = run(store, [night, *nowhere])
    assert counts(reports, "extract_sources")["images"] == 3
    assert len(rejected(store)) == 5
    shown = [name + message for name, (_, message) in rejected(store).items()]
    shown += [record.getMessage() for record in caplog.records]
    assert any("forged\\u000a.fits" in text for text in shown)
    assert not any(set("\n\x00\x1b") & set(text) for text in shown)
    run(store, [night, *nowhere])
    assert len(rejected(store)) == 5


@pytest.mark.parametrize("name", ["x" * 101, "a\x00b"])
def test_names_that_cannot_be_kept_are_refused(
    name: str, store: Store, easy: list[Path], run: Run
) -> None:
    with pytest.raises(ConfigError, match="the name of a dataset has"):
        run(store, easy[:1], name)
    with pytest.raises(ConfigError, match=r"the monitoring position \(123.0, 35.0\) has"):
        run(store, easy[:1], monitor=[MonitorPosition(123.0, 35.0, name)])


def test_file_that_changes_between_stages_is_rejected(
    store: Store, easy: list[Path], run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trap_ops import local

    night = tmp_path / "night"
    night.mkdir()
    files = [Path(shutil.copy(path, night)) for path in easy]
    real = local.judge_quality

    def judge_then_change(context: object) -> object:
        report = real(context)  # type: ignore[arg-type]
        data = files[1].read_bytes()
        files[1].write_bytes(data[:-2880] + b"\x01" * 2880)  # same size, other pixels
        os.utime(files[2])  # only touched: same content
        return report

    monkeypatch.setattr(local, "judge_quality", judge_then_change)
    run(store, [night])
    found = rejected(store)
    assert list(found) == [files[1].name]
    assert found[files[1].name][0] == "extract_sources"
    assert "changed since it was registered" in found[files[1].name][1]


def test_file_that_was_away_is_used_when_it_is_back(
    store: Store, easy: list[Path], run: Run, tmp_path: Path
) -> None:
    """A passing fault is not remembered for ever: the result is that of a run without it."""
    from trap_ops import local

    run(store, easy, "never away")
    night = tmp_path / "night"
    night.mkdir()
    files = [Path(shutil.copy(path, night)) for path in easy]
    hidden = tmp_path / "hidden.fits"
    real = local.register_images

    def register_then_hide(*args: object, **options: object) -> object:
        result = real(*args, **options)  # type: ignore[arg-type]
        files[1].rename(hidden)
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local, "register_images", register_then_hide)
        run(store, [night], "away")
    assert "cannot be read" in rejected(store, "away")[files[1].name][1]
    hidden.rename(files[1])
    run(store, [night], "away")
    assert rejected(store, "away") == {}
    assert checksum(store, "away") == checksum(store, "never away")


def newest_report(tmp_path: Path) -> str:
    paths = (tmp_path / "var").rglob("*.html")
    return max(paths, key=lambda path: path.stat().st_mtime_ns).read_text(encoding="utf-8")


def requests_by_fate(store: Store, dataset: str) -> Counter[tuple[str, str]]:
    """Number of forced fits by status and reason."""
    found: Counter[tuple[str, str]] = Counter()
    with store.read() as connection:
        rows = images.images_of(connection, dataset_id(connection, dataset))
        by_status = count_by_status(connection, [row.id for row in rows])
    for (_, status, reason), number in by_status.items():
        found[status, reason] += number
    return found


def test_forced_fits_of_a_file_that_was_away_are_made_when_it_is_back(
    store: Store, easy: list[Path], run: Run, tmp_path: Path
) -> None:
    from trap_ops import local

    monitor = [MonitorPosition(123.01, 35.02)]
    run(store, easy, "never away", monitor=monitor)
    night = tmp_path / "night"
    night.mkdir()
    files = [Path(shutil.copy(path, night)) for path in easy]
    hidden = tmp_path / "hidden.fits"
    real = local.associate

    def hide_then_associate(context: object) -> object:
        files[1].rename(hidden)
        return real(context)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local, "associate", hide_then_associate)
        run(store, [night], "away", monitor=monitor)
    waiting = requests_by_fate(store, "away")["requested", "no such file"]
    assert waiting > 1
    text = newest_report(tmp_path)
    assert f"requested: {NOT_MEASURED['no such file']}" in text
    # Tried again, in vain; then it is another file; then it is back.
    run(store, [night], "away", monitor=monitor)
    assert requests_by_fate(store, "away")["requested", "no such file"] == waiting
    files[1].write_bytes(b"another")
    run(store, [night], "away", monitor=monitor)
    assert requests_by_fate(store, "away")["requested", "file changed"] == waiting
    hidden.replace(files[1])
    run(store, [night], "away", monitor=monitor)
    assert requests_by_fate(store, "away") == requests_by_fate(store, "never away")
    assert checksum(store, "away") == checksum(store, "never away")


def test_forced_fits_of_a_damaged_file_say_what_is_wrong_with_it(
    store: Store, easy: list[Path], run: Run, tmp_path: Path
) -> None:
    """Size and time as before, so that it is taken for the file that was registered."""
    from trap_ops import local

    files = [Path(shutil.copy(path, tmp_path)) for path in easy]
    real = local.associate

    def damage_then_associate(context: object) -> object:
        status = files[1].stat()
        files[1].write_bytes(b"x" * status.st_size)
        os.utime(files[1], ns=(status.st_atime_ns, status.st_mtime_ns))
        return real(context)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local, "associate", damage_then_associate)
        run(store, files)
    found = requests_by_fate(store, "series")
    assert found["failed", "not a FITS file"] > 1
    assert not [key for key in found if key[0] == "requested"]

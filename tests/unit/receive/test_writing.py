"""Images as files: complete, whole, never one over another, and nowhere else."""

from __future__ import annotations

import errno
import os
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trap_ops.config.headers import AssumeConfig
from trap_ops.config.model import ImagesConfig
from trap_ops.errors import ConfigError, ImageError
from trap_ops.images.stream import Announcement, parse_header
from trap_ops.receive.buffer import StreamImage
from trap_ops.receive.writing import DISK, Directory, Outcome
from unit.images.fits_files import read_header
from unit.receive.made_streams import at, cards_of, directory_of, files, pixels

NAME = "20120406T034200.000000-150.000000MHz-I.fits"


def image(
    changes: dict[str, Any] | None = None, seed: int = 0, text: bytes | None = None
) -> StreamImage:
    data = pixels(seed).tobytes()
    cards = parse_header(text or cards_of(changes), Announcement(0, len(data)))
    return StreamImage("s", "p", cards, bytearray(data), received_at=0.0)


def test_a_file_has_the_pixels_bit_for_bit_and_is_valid(tmp_path: Path) -> None:
    directory = directory_of(tmp_path)
    saved = directory.save(image())
    assert (saved.path, saved.outcome, saved.lacks) == (tmp_path / NAME, Outcome.WRITTEN, "")
    with fits.open(saved.path) as hdus:
        hdus.verify("exception")
        np.testing.assert_array_equal(hdus[0].data.astype("<f4").view("u4"), pixels().view("u4"))
    assert saved.path.stat().st_size % 2880 == 0
    assert saved.path.stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_an_image_that_is_there_is_not_written_again_and_another_is_beside_it(
    tmp_path: Path,
) -> None:
    directory = directory_of(tmp_path)
    first = directory.save(image()).path
    before = first.stat().st_mtime_ns
    assert directory.save(image()).outcome is Outcome.DUPLICATE
    second = directory.save(image(seed=1))
    assert (second.path.name, second.outcome) == (NAME.replace("I.", "I-2."), Outcome.WRITTEN)
    third = directory.save(image({"OBSERVER": "another header"}))
    assert third.path.name == NAME.replace("I.", "I-3.")
    assert directory.save(image(seed=1)).outcome is Outcome.DUPLICATE
    assert first.stat().st_mtime_ns == before
    assert len(files(tmp_path)) == 3


def test_names_tell_time_frequency_and_stokes(tmp_path: Path) -> None:
    directory = directory_of(tmp_path)
    changes = {"RESTFRQ": "60156250", "DATE-OBS": "2012-04-06T03:42:00.25"}
    path = directory.save(image({**changes, "CTYPE3": "STOKES", "CRVAL3": 4.0})).path
    assert path.name == "20120406T034200.250000-60.156250MHz-V.fits"


def test_what_the_header_lacks_is_written_into_it(tmp_path: Path) -> None:
    values = {"bmaj": 0.5, "bmin": 0.25, "bpa": 3.0, "tau_time": 1.0, "freq_eff": 60e6}
    bare = {"BMAJ": None, "BMIN": None, "BPA": None, "END_UTC": None, "RESTFRQ": None}
    saved = directory_of(tmp_path, values=values).save(image(bare))
    assert saved.lacks == ""
    found = read_header(saved.path)
    assert (found.beam.bmaj_deg, found.beam.bmin_deg, found.beam.bpa_deg) == (0.5, 0.25, 3.0)
    assert (found.integration_s, found.freq_eff_hz) == (1.0, 60e6)


def test_what_the_header_has_is_kept_unless_told(tmp_path: Path) -> None:
    values = {"tau_time": 1.0, "bmaj": 0.5}
    kept = directory_of(tmp_path / "a", values=values).save(image()).path
    assert read_header(kept).beam.bmaj_deg == pytest.approx(30 / 3600)
    over = directory_of(tmp_path / "b", values=values, over=True).save(image()).path
    assert read_header(over).beam.bmaj_deg == 0.5


def test_an_image_without_a_beam_is_kept_and_told(tmp_path: Path) -> None:
    """It can still be said; a stream is not sent again."""
    saved = directory_of(tmp_path).save(image({"BMAJ": None}))
    assert saved.path.exists()
    assert "beam" in saved.lacks


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"DATE-OBS": None, "END_UTC": None}, "no start time"),
        ({"DATE-OBS": "yesterday"}, "'yesterday' is not a date"),
        ({"RESTFRQ": None}, "no frequency"),
        ({"RESTFRQ": -1.0}, "no frequency"),
        ({"GCOUNT": 7}, "truncated"),
    ],
)
def test_an_image_without_a_place_in_a_series_is_refused(
    changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(ImageError, match=said):
        directory_of(tmp_path).save(image(changes))
    assert files(tmp_path) == []


def test_the_configuration_may_say_what_is_missing(tmp_path: Path) -> None:
    entry = AssumeConfig(start=datetime(2020, 1, 1), telescope="SOMETHING")
    directory = Directory(tmp_path, lambda _: ImagesConfig(assume=(entry,)), {})
    path = directory.save(image({"DATE-OBS": None, "END_UTC": None})).path
    assert path.name.startswith("20200101T000000")


@pytest.mark.parametrize("call", ["os.fsync", "pathlib.Path.replace"])
def test_a_full_disk_leaves_nothing_and_the_next_image_is_written(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = directory_of(tmp_path)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(call, full)
        with pytest.raises(ImageError, match="No space left on device") as caught:
            directory.save(image())
    assert caught.value.reason == DISK
    assert [each.name for each in tmp_path.iterdir()] == [".trap-receive.lock"]
    assert directory.save(image()).outcome is Outcome.WRITTEN


def test_bytes_are_on_the_disk_before_their_name_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power failure a name without its bytes would be taken for an image."""
    seen = []
    fsync = os.fsync
    monkeypatch.setattr("os.fsync", lambda file: (seen.append(files(tmp_path)), fsync(file)))
    directory_of(tmp_path).save(image())
    # The bytes, and then the directory.
    assert seen == [[], [NAME]]


def test_one_receiver_writes_into_a_directory(tmp_path: Path) -> None:
    (tmp_path / ".trap-receive.part").write_text("of one that was killed")
    first = directory_of(tmp_path)
    assert not (tmp_path / ".trap-receive.part").exists()
    with pytest.raises(ConfigError, match="another receiver writes there"):
        directory_of(tmp_path)
    first.close()
    directory_of(tmp_path).close()


def test_the_directory_is_below_a_data_root(tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    (root / "out").symlink_to(tmp_path)
    for outside in (tmp_path / "else", root / "out" / "else", root / ".." / "else"):
        with pytest.raises(ImageError, match="outside the data roots"):
            directory_of(outside, data_roots=(str(root),))
    assert not (tmp_path / "else").exists()
    directory_of(root / "night", data_roots=(str(root),)).close()
    with pytest.raises(ConfigError, match="no images can be written there"):
        directory_of(Path("/proc/nowhere"))


BARE = cards_of(at(1))
WORDS = st.sampled_from(
    ["../../x", "/etc/passwd", "a\x7f", "%s", "9" * 40, "-1", "1E400", "NaN", "2012-99-99", "'", ""]
)
KEYS = st.sampled_from(["DATE-OBS", "RESTFRQ", "TELESCOP", "CTYPE1", "CRVAL1", "BMAJ", "OBJECT"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(
    st.lists(st.tuples(KEYS, WORDS), max_size=3),
    st.lists(st.tuples(st.integers(0, len(BARE) - 1), st.integers(32, 126)), max_size=6),
)
def test_no_header_writes_elsewhere_or_breaks_the_writer(
    tmp_path: Path, cards: list[tuple[str, str]], changes: list[tuple[int, int]]
) -> None:
    inside = tmp_path / "a" / "inside"
    directory = directory_of(inside)
    raw = bytearray(BARE)
    for key, value in cards:
        place = raw.find(f"{key:8}=".encode())
        raw[place : place + 80] = f"{key:8}= '{value}'".ljust(80)[:80].encode()
    for place, byte in changes:
        raw[place] = byte
    try:
        assert directory.save(image(text=bytes(raw))).path.parent == inside
    except ImageError:
        pass
    finally:
        directory.close()
    assert [each.name for each in tmp_path.rglob("*") if each.parent != inside] == ["a", "inside"]

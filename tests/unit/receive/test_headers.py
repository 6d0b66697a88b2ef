"""What the pipeline reads of a received file is what it reads of the original."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trap_ops.config.model import ImagesConfig
from trap_ops.errors import ImageError
from trap_ops.images.reading import read_headers
from trap_ops.images.stream import ANNOUNCEMENT_SIZE, parse_announcement, parse_header
from trap_ops.receive.buffer import StreamImage
from trap_ops.records.images import ImageFile
from trap_ops.simulate.headers import Variant, corpus
from trap_ops.simulate.stream import stream_bytes
from unit.receive.made_streams import directory_of

CORPUS = corpus()


def received(path: Path, directory: Path) -> Path:
    raw = stream_bytes(path)
    announced = parse_announcement(raw[:ANNOUNCEMENT_SIZE], len(raw))
    start = ANNOUNCEMENT_SIZE + announced.header_size
    cards = parse_header(raw[ANNOUNCEMENT_SIZE:start], announced)
    image = StreamImage("s", "p", cards, bytearray(raw[start:]), received_at=0.0)
    return directory_of(directory).save(image).path


def read(path: Path) -> ImageFile:
    return read_headers(str(path), lambda _: ImagesConfig())[0]


def check_equal(variant: Variant, directory: Path) -> None:
    original = variant.write(directory)
    first, second = read(original), read(received(original, directory / "night"))
    for name in set(first.__dataclass_fields__) - {
        "path", "file_name", "file_size", "file_mtime_ns", "header_sha256",
    }:  # fmt: skip
        np.testing.assert_equal(getattr(second, name), getattr(first, name), err_msg=name)


@pytest.mark.parametrize("name", ["aartfaac-squasher", "aartfaac-named"])
def test_headers_of_aartfaac(name: str, tmp_path: Path) -> None:
    (variant,) = (each for each in CORPUS if each.name == name)
    check_equal(variant, tmp_path)


@pytest.mark.long
def test_headers_of_all_telescopes(tmp_path: Path) -> None:
    equal = 0
    for number, variant in enumerate(CORPUS):
        directory = tmp_path / str(number)
        directory.mkdir()
        try:
            read(variant.write(directory))
        except ImageError:
            continue  # It needs settings of its own, or cannot be used.
        (directory / variant.file_name).unlink()
        # A stream has no second HDU: neither images there nor tables of beams.
        if not variant.name.startswith(("hdu-", "file-fz", "beams-of-one")):
            check_equal(variant, directory)
            equal += 1
    assert equal > 150

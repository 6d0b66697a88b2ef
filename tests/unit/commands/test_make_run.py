"""`make run`: what it is given reaches trap-manage as it was typed."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from conftest import ROOT
from trap_ops.commands.run import add_parser, parse_settings
from trap_ops.errors import ConfigError

PRINT = """#!/usr/bin/env python3
import json, sys
print(json.dumps(sys.argv[1:]))
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A checkout whose trap-manage prints its arguments, beside images with awkward names."""
    root = tmp_path / "checkout"
    for name in ("bin", ".venv"):
        (root / name).mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", root)
    (root / "requirements.txt").touch()
    (root / ".venv" / ".ready").touch()
    command = root / "bin" / "trap-manage"
    command.write_text(PRINT)
    command.chmod(0o755)
    for name in ("data dir", "a;echo hi", "it's", "cost$HOME", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.fits").touch()
    return root


def make_run(copy: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    # Of the make that runs these tests nothing is handed on.
    outer = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES"}
    return subprocess.run(
        ["make", "run", *(f"{name}={value}" for name, value in variables.items())],
        cwd=copy,
        env={name: value for name, value in os.environ.items() if name not in outer},
        capture_output=True,
        text=True,
        check=False,
    )


def understood(copy: Path, **variables: str) -> argparse.Namespace:
    """What `trap-manage run` makes of its arguments."""
    made = make_run(copy, **{"IMAGES": "/data", "DATASET": "night", **variables})
    assert made.returncode == 0, made.stderr
    (line,) = made.stdout.splitlines()
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    return parser.parse_args(json.loads(line))


@pytest.mark.parametrize(
    ("typed", "given"),
    [
        ("{0}/data dir", ["{0}/data dir"]),
        ("{0}/data dir/*.fits", ["{0}/data dir/*.fits"]),
        ("{0}/a;echo hi", ["{0}/a;echo hi"]),
        ("{0}/it's", ["{0}/it's"]),
        ("{0}/cost$HOME", ["{0}/cost$HOME"]),
        ("{0}/two {0}/it's  /no/*.fits", ["{0}/two", "{0}/it's", "/no/*.fits"]),
        ("{0}/t*/*.fits {0}/two", ["{0}/t*/*.fits", "{0}/two"]),
        ("$(touch {0}/x) `touch {0}/x`", ["$(touch", "{0}/x)", "`touch", "{0}/x`"]),
    ],
)
def test_images_are_what_was_typed(copy: Path, typed: str, given: list[str]) -> None:
    found = understood(copy, IMAGES=typed.format(copy.parent)).images
    assert found == [item.format(copy.parent) for item in given]
    assert not (copy.parent / "x").exists()


@pytest.mark.parametrize("name", ["o'brien", 'a "b"', "-x", "a;b $HOME", "$(x)"])
def test_a_dataset_may_have_any_name(copy: Path, name: str) -> None:
    found = understood(copy, DATASET=name, CONFIG="lofar")
    assert (found.dataset, found.config, found.set) == (name, "lofar", [])


def test_settings_may_hold_spaces(copy: Path) -> None:
    typed = "extraction.margin_px=2 images.suffixes=['.fits', '.a b'] quality.rms_max_jy=1"
    assert understood(copy, SET=typed).set == [
        "extraction.margin_px=2", "images.suffixes=['.fits', '.a b']", "quality.rms_max_jy=1",
    ]  # fmt: skip
    assert understood(copy).config == "auto"


def test_settings_of_sections_within_sections() -> None:
    words = ["images.header.start=['A', 'B:MJD']", "images.hdu=2", "images.header.unit=['U']"]
    assert parse_settings([*words, "images.assume=[{n_core=1}]", "extraction.x=plain word"]) == {
        "images": {
            "header": {"start": ["A", "B:MJD"], "unit": ["U"]},
            "hdu": 2,
            "assume": [{"n_core": 1}],
        },
        "extraction": {"x": "plain word"},
    }
    for wrong in (["x=1"], ["a..b=1"], ["a.b"], [".a=1"], ["images.hdu=2", "images.hdu.x=1"]):
        with pytest.raises(ConfigError):
            parse_settings(wrong)


def test_make_knows_settings_of_sections_within_sections(copy: Path) -> None:
    typed = "images.header.start=['A', 'B'] images.hdu=2"
    assert understood(copy, SET=typed).set == ["images.header.start=['A', 'B']", "images.hdu=2"]


@pytest.mark.parametrize("missing", ["IMAGES", "DATASET"])
def test_what_is_missing_is_said(copy: Path, missing: str) -> None:
    given = {"IMAGES": "/data", "DATASET": "night"}
    del given[missing]
    made = make_run(copy, **given)
    assert made.returncode == 2
    assert made.stdout.startswith("Say which images")

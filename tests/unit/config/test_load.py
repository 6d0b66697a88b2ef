"""Layers of settings and what is said about wrong ones."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from trap_ops.config.load import (
    canonical_json,
    configuration_names,
    dataset_settings,
    load_configuration,
    settings_difference,
    settings_hash,
)
from trap_ops.config.model import NOT_PART_OF_DATASET, Configuration
from trap_ops.errors import ConfigError

DEFAULT = """
description = "all"
[extraction]
detection_threshold_sigma = 7.0
margin_px = 5
[quality]
rms_max_jy = 50.0
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "default.toml").write_text(DEFAULT)
    (tmp_path / "lofar.toml").write_text(
        'telescopes = ["LOFAR", "NenuFAR"]\n[extraction]\nmargin_px = 3\n'
    )
    (tmp_path / "ami-la.toml").write_text('telescopes = ["AMI-LA"]\n[extraction]\nmargin_px = 0\n')
    (tmp_path / "notes.txt").write_text("no configuration")
    return tmp_path


def problems_of(directory: Path, overrides: dict[str, Any], name: str = "default") -> list[str]:
    with pytest.raises(ConfigError) as raised:
        load_configuration(directory, name, overrides)
    problems = raised.value.details["problems"]
    assert isinstance(problems, list)
    # The message holds them all.
    assert all(problem in raised.value.message for problem in problems)
    return problems


# ---- Layers.


def test_later_layers_count(directory: Path) -> None:
    """Built-in < default.toml < named file < parameters of the run."""
    overrides = {"extraction": {"radius_px": 100.0}}
    name, made = load_configuration(directory, "lofar", overrides)
    assert name == "lofar"
    assert made.extraction.analysis_threshold_sigma == 3.0  # built-in
    assert made.extraction.detection_threshold_sigma == 7.0  # default.toml
    assert made.extraction.margin_px == 3  # lofar.toml
    assert made.extraction.radius_px == 100.0  # the run
    # The others are untouched by a section that is given in part.
    assert made.quality.rms_max_jy == 50.0
    assert made.telescopes == ("LOFAR", "NenuFAR")
    assert load_configuration(directory, "lofar", {"extraction": {"margin_px": 8}})[
        1
    ].extraction.margin_px == (8)


def test_the_default_alone(directory: Path) -> None:
    name, made = load_configuration(directory, "default")
    assert (name, made.description, made.extraction.margin_px) == ("default", "all", 5)


def test_names_are_those_of_the_toml_files(directory: Path) -> None:
    assert configuration_names(directory) == ["ami-la", "default", "lofar"]


def test_a_configuration_cannot_be_changed(directory: Path) -> None:
    made = load_configuration(directory, "default")[1]
    with pytest.raises(ValidationError, match="frozen"):
        made.extraction.margin_px = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("telescopes", "name"),
    [
        (["LOFAR"], "lofar"),
        (["lofar ", "LOFAR", "nenufar"], "lofar"),
        (["AMI-LA"], "ami-la"),
        (["WSRT"], "default"),
        ([""], "default"),
        ([], "default"),
    ],
)
def test_auto_chooses_by_telescope(directory: Path, telescopes: list[str], name: str) -> None:
    assert load_configuration(directory, "auto", telescopes=telescopes)[0] == name


@pytest.mark.parametrize(
    ("telescopes", "said"),
    [
        (["LOFAR", "AMI-LA"], "AMI-LA: ami-la"),
        (["LOFAR", "WSRT"], "WSRT: default"),
        (["LOFAR", ""], "no TELESCOP: default"),
    ],
)
def test_auto_does_not_guess(directory: Path, telescopes: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match="cannot choose") as raised:
        load_configuration(directory, "auto", telescopes=telescopes)
    assert said in raised.value.message
    assert "LOFAR: lofar" in raised.value.message


def test_auto_does_not_choose_between_two_files_for_one_telescope(directory: Path) -> None:
    (directory / "lofar2.toml").write_text('telescopes = ["lofar"]')
    with pytest.raises(ConfigError, match="LOFAR: lofar or lofar2"):
        load_configuration(directory, "auto", telescopes=["LOFAR"])
    # Named, it is taken whatever the telescope.
    assert load_configuration(directory, "lofar2", telescopes=["WSRT"])[0] == "lofar2"


# ---- Files that are not there or cannot be read.


@pytest.mark.parametrize(
    ("name", "said"),
    [("lofr", "did you mean 'lofar'"), ("../lofar", "there are: auto, ami-la"), ("", "there are")],
)
def test_an_unknown_name(directory: Path, name: str, said: str) -> None:
    with pytest.raises(ConfigError, match="there is no configuration") as raised:
        load_configuration(directory, name)
    assert said in raised.value.message


def test_a_missing_default(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"default\.toml is missing"):
        load_configuration(tmp_path, "default")


@pytest.mark.parametrize("content", [b"[extraction", b"a = ", b"\xff\xfe", b"a = 1\na = 2"])
def test_a_file_that_is_not_toml(directory: Path, content: bytes) -> None:
    (directory / "lofar.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"lofar\.toml is not valid TOML"):
        load_configuration(directory, "lofar")


def test_files_are_in_utf8_everywhere(directory: Path) -> None:
    (directory / "lofar.toml").write_bytes('description = "Größe"'.encode())
    assert load_configuration(directory, "lofar")[1].description == "Größe"


# ---- Problems.


def test_all_problems_are_reported_together_each_with_its_file(directory: Path) -> None:
    (directory / "lofar.toml").write_text(
        "[quality]\nrms_fraction = 1\n[association]\nradius = 2\n"
    )
    overrides = {"extraction": {"detection_threshold_sigma": -1, "marginpx": 3}, "forced": {}}
    problems = problems_of(directory, overrides, "lofar")
    assert sorted(problems) == [
        "lofar.toml: association.radius is not a setting (did you mean 'deruiter_radius'?)",
        "lofar.toml: quality.rms_fraction = 1: input should be greater than or equal to 2",
        (
            "parameters of this run: extraction.detection_threshold_sigma = -1: input should be "
            "greater than 0"
        ),
        "parameters of this run: extraction.marginpx is not a setting (did you mean 'margin_px'?)",
        "parameters of this run: forced is not a setting (did you mean 'forced_fits'?)",
    ]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            {"extraction": {"margin_px": "ten"}},
            "margin_px = 'ten': input should be a valid integer",
        ),
        ({"extraction": {"margin_px": 2.5}}, "margin_px = 2.5: input should be a valid integer"),
        ({"extraction": {"margin_px": -1}}, "greater than or equal to 0"),
        ({"extraction": {"force_beam": "maybe"}}, "a valid boolean"),
        ({"extraction": {"noise_correlation": "Beam"}}, "'measured', 'beam' or 'smoothed'"),
        ({"extraction": {"ew_sys_err_arcsec": "big"}}, "'auto'"),
        ({"quality": {"rms_max_jy": float("inf")}}, "a finite number"),
        ({"quality": {"rms_max_jy": float("nan")}}, "quality.rms_max_jy = nan"),
        ({"quality": {"nan_max_fraction": 1.0}}, "less than 1"),
        ({"telescopes": [1]}, "telescopes = [1]: input should be a valid string"),
        ({"images": 5}, "images = 5"),
        ({"images": {"suffixes": []}}, "images.suffixes = []"),
        ({"description": {"x": 1}}, "description = {'x': 1}"),
        ({"extraction": {"sub": {"x": 1}}}, "extraction.sub is not a setting"),
        (
            {"images": {"header": {"strat": ["A"]}}},
            "images.header.strat is not a setting (did you mean 'start'?)",
        ),
        ({"images": {"header": {"start": ["A:XX"]}}}, "images.header.start = ['A:XX']: string"),
        ({"images": {"header": {"integration_s": ["A:year"]}}}, "images.header.integration_s"),
        ({"images": {"header": {"beam_deg": [["A", "B"]]}}}, "images.header.beam_deg = [['A', 'B"),
        ({"images": {"header": {"beam_history": ["("]}}}, "'(' is no regular expression"),
        ({"images": {"header": {"beam_history": ["x"]}}}, "'x' lacks a group of bmaj, bmin and"),
        (
            {"images": {"assume": [{}, {"fles": "*"}]}},
            "images.assume[1].fles is not a setting (did you mean 'files'?)",
        ),
        (
            {"images": {"assume": [{"bmaj_deg": -1}]}},
            "images.assume[0].bmaj_deg = -1: input should",
        ),
        (
            {"images": {"assume": [{"bmaj_deg": 1.0}]}},
            "images.assume[0]: a beam needs bmaj_deg and",
        ),
        ({"images": {"assume": [{"start": "soon"}]}}, "images.assume[0].start = 'soon'"),
        ({"images": {"assume": {"files": "*"}}}, "images.assume = {'files': '*'}"),
        ({"images": {"hdu": -1}}, "images.hdu = -1"),
        ({"images": {"channels": "some"}}, "images.channels = 'some': input should be 'only'"),
        ({"images": {"stokes": ["Z"]}}, "images.stokes = ['Z']: input should be 'I', 'Q'"),
    ],
)
def test_wrong_values(directory: Path, overrides: dict[str, Any], said: str) -> None:
    problems = problems_of(directory, overrides)
    assert any(said in problem for problem in problems)
    assert all(problem.startswith("parameters of this run: ") for problem in problems)


def test_contradictions_name_the_file_of_each_setting(directory: Path) -> None:
    overrides = {
        "quality": {"rms_min_jy": 50.0},
        "extraction": {"analysis_threshold_sigma": 7.5, "ns_sys_err_arcsec": -1},
        "forced_fits": {"expiration": 0},
    }
    assert problems_of(directory, overrides) == [
        (
            "quality.rms_min_jy = 50.0 (parameters of this run) must be below "
            "quality.rms_max_jy = 50.0 (default.toml)"
        ),
        (
            "extraction.analysis_threshold_sigma = 7.5 (parameters of this run) must not be above "
            "extraction.detection_threshold_sigma = 7.0 (default.toml)"
        ),
        "extraction.ns_sys_err_arcsec = -1.0 (parameters of this run) must be 'auto' or at least 0",
        "forced_fits.expiration = 0 (parameters of this run) must be 'none' or at least 1",
    ]
    low = {"extraction": {"detection_threshold_sigma": 2.9}}
    assert "analysis_threshold_sigma = 3.0 (built-in)" in problems_of(directory, low)[0]


def test_settings_at_the_edge_are_allowed(directory: Path) -> None:
    overrides = {
        "extraction": {"analysis_threshold_sigma": 7.0, "ew_sys_err_arcsec": 0},
        "forced_fits": {"expiration": 1},
    }
    made = load_configuration(directory, "default", overrides)[1]
    assert made.extraction.ew_sys_err_arcsec == 0.0
    assert made.forced_fits.expiration == 1


def test_a_run_cannot_widen_what_the_site_allows(directory: Path) -> None:
    (directory / "default.toml").write_text('[images]\ndata_roots = ["/data"]')
    assert load_configuration(directory, "default")[1].images.data_roots == ("/data",)
    for roots in ([], ["/"], ["/data"]):
        problems = problems_of(directory, {"images": {"data_roots": roots}})
        assert "images.data_roots guards the site" in problems[0]
    # Files of telescopes cannot widen what the site allows, whichever of them is chosen.
    (directory / "lofar.toml").write_text('[images]\ndata_roots = ["/lofar"]')
    with pytest.raises(ConfigError, match=r"lofar\.toml: images\.data_roots guards the site"):
        load_configuration(directory, "lofar")


# ---- What is kept of them.


def test_canonical_text_is_equal_for_equal_settings(directory: Path) -> None:
    first = load_configuration(directory, "default", {"extraction": {"margin_px": 4}})[1]
    (directory / "default.toml").write_text(
        DEFAULT.replace("margin_px = 5", "margin_px = 4 # other text")
    )
    second = load_configuration(directory, "default")[1]
    text = canonical_json(first)
    assert text == canonical_json(second)
    assert Configuration.model_validate_json(text) == first
    assert list(json.loads(text)) == sorted(json.loads(text))
    other = load_configuration(directory, "lofar")[1]
    assert canonical_json(other) != text


def test_settings_of_a_dataset_leave_out_what_decides_no_result(directory: Path) -> None:
    made = load_configuration(directory, "default")[1]
    settings = dataset_settings(made)
    assert settings.keys() | set(NOT_PART_OF_DATASET) == json.loads(canonical_json(made)).keys()
    assert not settings.keys() & {"execution", "report", "description", "telescopes"}
    changed = made.model_copy(
        update={"execution": made.execution.model_copy(update={"parallel_tasks": 9})}
    )
    assert dataset_settings(changed) == settings
    elsewhere = made.images.model_copy(update={"data_roots": ("/data",)})
    assert dataset_settings(made.model_copy(update={"images": elsewhere})) == settings
    wider = made.images.model_copy(update={"bandwidth_max_hz": 1.0})
    assert dataset_settings(made.model_copy(update={"images": wider})) != settings


def test_how_headers_are_read_is_part_of_a_dataset(directory: Path) -> None:
    made = load_configuration(directory, "default")[1]
    other = load_configuration(
        directory, "default", {"images": {"header": {"start": ["DATE"]}, "assume": [{"n_core": 1}]}}
    )[1]
    first, second = dataset_settings(made), dataset_settings(other)
    assert settings_hash(first) != settings_hash(second)
    differences = settings_difference(first, second)
    assert [line.split(":")[0] for line in differences] == ["images.assume", "images.header.start"]
    assert Configuration.model_validate_json(canonical_json(other)) == other


def test_a_layer_changes_single_keywords(directory: Path) -> None:
    """Sections within sections are merged like the others, lists are replaced."""
    (directory / "lofar.toml").write_text(
        '[images.header]\nstart = ["A"]\n[[images.assume]]\nstart = 2024-01-01T00:00:00\n'
    )
    made = load_configuration(
        directory, "lofar", {"images": {"header": {"end": ["B:JD"]}, "hdu": "SCI"}}
    )[1].images
    assert (made.header.start, made.header.end, made.hdu) == (("A",), ("B:JD",), "SCI")
    assert made.header.middle == Configuration().images.header.middle
    assert [str(entry.start) for entry in made.assume] == ["2024-01-01 00:00:00"]


def test_hash_of_settings() -> None:
    expected = hashlib.sha256(b'{"a":[1,2.5],"b":"x"}').hexdigest()
    assert settings_hash({"b": "x", "a": [1, 2.5]}) == expected
    assert settings_hash({"b": "x", "a": [1, 2.6]}) != expected


def test_differences_of_settings() -> None:
    first = {"a": {"x": 1, "y": 2, "deep": {"z": 0}}, "b": 1, "gone": 3}
    second = {"a": {"x": 1, "y": 3, "deep": {"z": 9}}, "b": 1, "new": 4}
    assert settings_difference(first, second) == [
        "a.deep.z: 0 -> 9",
        "a.y: 2 -> 3",
        "gone: 3 -> absent",
        "new: absent -> 4",
    ]
    assert settings_difference(first, first) == []

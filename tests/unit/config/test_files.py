"""The configuration files that come with the pipeline."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from trap_ops.config.load import configuration_names, load_configuration
from trap_ops.config.model import Configuration

FILES = Path(__file__).resolve().parents[3] / "include" / "configs"
OTHERS = [name for name in configuration_names(FILES) if name != "default"]
# What a file says of itself.
OWN_WORDS = {"description", "telescopes"}


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    made = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            made |= flat(value, f"{prefix}{key}.")
        else:
            made[f"{prefix}{key}"] = value
    return made


def read(name: str) -> dict[str, Any]:
    return flat(tomllib.loads((FILES / f"{name}.toml").read_text(encoding="utf-8")))


def lines_of_keys(text: str) -> Iterator[tuple[str, list[str]]]:
    """Each key or section, and the lines from it up to the blank line above."""
    paragraph: list[str] = []
    for line in text.splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            yield line.split("=")[0].strip(), paragraph[::-1]
        paragraph = [*paragraph, line] if line.strip() else []


def is_comment(line: str) -> bool:
    return line.lstrip().startswith("#")


def test_the_default_file_holds_every_key_with_the_built_in_default() -> None:
    built_in = flat(Configuration().model_dump(mode="json"))
    in_file = read("default")
    assert in_file.keys() == built_in.keys()
    different = {
        key: (value, built_in[key])
        for key, value in in_file.items()
        if value != built_in[key] or type(value) is not type(built_in[key])
    }
    assert different.keys() <= {"description"}


def test_the_default_file_keeps_the_order_of_the_model() -> None:
    assert list(read("default")) == list(flat(Configuration().model_dump(mode="json")))


def test_every_key_has_a_comment_above_it() -> None:
    """Directly above, or above the keys that it shares it with."""
    text = (FILES / "default.toml").read_text(encoding="utf-8")
    seen = []
    for key, above in lines_of_keys(text):
        seen.append(key)
        # Upwards over keys that share a comment; not over a section's name.
        block = iter(above)
        line = next(block, "")
        while line and not is_comment(line) and not line.startswith("["):
            line = next(block, "")
        assert is_comment(line), f"{key} has no comment"
    sections = [key for key in seen if key.startswith("[")]
    assert len(sections) > len(tomllib.loads(text).keys() - OWN_WORDS)
    assert len(seen) == len(read("default")) + len(sections)


def test_every_setting_has_a_description_in_the_model() -> None:
    def fields(section: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str | None]]:
        for name, field in section.model_fields.items():
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                yield from fields(field.annotation, f"{prefix}{name}.")
            else:
                yield f"{prefix}{name}", field.description

    assert [name for name, description in fields(Configuration) if not description] == []


@pytest.mark.parametrize("name", ["default", *OTHERS])
def test_every_file_loads(name: str) -> None:
    chosen, made = load_configuration(FILES, name)
    assert chosen == name
    assert made.description


@pytest.mark.parametrize("name", OTHERS)
def test_other_files_hold_differences_only(name: str) -> None:
    default = read("default")
    same = [k for k, v in read(name).items() if k not in OWN_WORDS and default.get(k) == v]
    assert same == []


def test_each_telescope_has_one_file_and_auto_finds_it() -> None:
    names = {t.upper(): name for name in OTHERS for t in read(name).get("telescopes", [])}
    assert sum(len(read(name).get("telescopes", [])) for name in OTHERS) == len(names)
    for telescope, name in names.items():
        assert load_configuration(FILES, "auto", telescopes=[telescope])[0] == name
    assert load_configuration(FILES, "auto", telescopes=["SIMULATION"])[0] == "default"


def test_values_that_the_decisions_name() -> None:
    """SCIENCE.md section 0."""
    default = load_configuration(FILES, "default")[1]
    assert default.extraction.background_cell_beams == 12.0
    assert default.extraction.radius_px == 0.0
    assert default.extraction.ew_sys_err_arcsec == default.extraction.ns_sys_err_arcsec == "auto"
    assert default.forced_fits.expiration == "none"
    assert default.forced_fits.backward is True
    assert default.extraction.detection_threshold_sigma == 8.0
    assert default.extraction.analysis_threshold_sigma == 3.0
    assert default.extraction.margin_px == 10
    assert default.extraction.force_beam is True
    assert default.association.deruiter_radius == 5.68
    assert default.association.beamwidths_limit == 3.0
    assert default.new_sources.sigma_margin == 1.0
    assert default.quality.beam_max_ratio == 2.0
    assert default.quality.beam_min_px == 2.0
    ami = load_configuration(FILES, "ami-la")[1]
    assert ami.quality.beam_max_ratio == 3.0
    assert ami.extraction.detection_threshold_sigma == 5.0
    assert ami.extraction.margin_px == 0

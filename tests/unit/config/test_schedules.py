"""What runs by itself."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from trap_ops.config.load import configuration_names
from trap_ops.config.schedules import SchedulesConfig, load_schedules, schedules_file
from trap_ops.errors import ConfigError

FILES = Path(__file__).resolve().parents[3] / "include" / "configs"
SERIES = """
[[series]]
name = "{name}"
folder = "{folder}"
dataset = "{dataset}"
when = "night"
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "schedules.toml"
    path.write_text(text)
    return path


def entry(name: str = "a", folder: str = "/data/a", dataset: str = "a") -> str:
    return SERIES.format(name=name, folder=folder, dataset=dataset)


def test_the_file_that_is_here_has_the_defaults_and_no_series() -> None:
    assert load_schedules(FILES / "schedules.toml") == SchedulesConfig()
    assert "schedules" not in configuration_names(FILES)


def test_its_example_can_be_used(tmp_path: Path) -> None:
    lines = (FILES / "schedules.toml").read_text().splitlines()
    start = lines.index("# [[series]]")
    example = "\n".join(line.removeprefix("# ") for line in lines[start:])
    made = load_schedules(written(tmp_path, example)).series[0]
    given = tomllib.loads(example)["series"][0]
    assert set(given) == set(made.model_dump()), "it shows every key"
    assert (made.settle_s, made.images_per_run) == (5.0, 200)


def test_another_file_can_be_named(tmp_path: Path) -> None:
    assert schedules_file(FILES, {}) == FILES / "schedules.toml"
    assert schedules_file(FILES, {"TRAP_SCHEDULES": "/x/y.toml"}) == Path("/x/y.toml")


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    text = entry(folder="data", dataset="{night}") + 'setle_s = 3\nwhere = "x"\n'
    with pytest.raises(ConfigError) as caught:
        load_schedules(written(tmp_path, text))
    for part in ("folder: is not an absolute path", "no other braces", "setle_s: is not a setting"):
        assert part in caught.value.message


@pytest.mark.parametrize(
    ("second", "said"),
    [
        (entry("a", "/data/b"), "several of 'a'"),
        (entry("b", "/data/a/below"), "taken twice"),
        (entry("b", "/data/a"), "taken twice"),
    ],
)
def test_series_are_apart(tmp_path: Path, second: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_schedules(written(tmp_path, entry() + second))
    assert len(load_schedules(written(tmp_path, entry() + entry("b", "/data/ab"))).series) == 2


@pytest.mark.parametrize("name", ["nightly", "maintenance"])
def test_the_dag_has_the_same_default(name: str) -> None:
    """It reads the file without the rest of the pipeline."""
    text = (FILES.parents[1] / "dags" / f"trap_{name}.py").read_text()
    assert f'.get("{name}", {{}}).get("at", "{getattr(SchedulesConfig(), name).at}")' in text

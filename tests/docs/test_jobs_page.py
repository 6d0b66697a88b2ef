"""What docs/jobs.md says of jobs and of classic keys is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from conftest import ROOT
from docs.test_docs import cells, sections, words
from trap_ops.commands.classic.ini_files import read_ini
from trap_ops.commands.classic.job_conversion import ConvertedJob, convert_job, written
from trap_ops.commands.classic.job_keys import KEYS
from trap_ops.commands.environment import CONFIGURATIONS
from trap_ops.commands.jobs import read_job
from trap_ops.config.load import dataset_settings, load_configuration, settings_difference
from trap_ops.errors import ConfigError
from unit.commands.classic_files import JOB_PARAMS

PAGE = (ROOT / "docs" / "jobs.md").read_text(encoding="utf-8")
ROWS = cells(sections(PAGE, 3)["Keys of `job_params.cfg`"])[1:]


@pytest.fixture(scope="module")
def template() -> ConvertedJob:
    return convert_job(read_ini(JOB_PARAMS, "job_params.cfg"), "night1", CONFIGURATIONS)


def test_the_table_has_every_key_and_its_setting() -> None:
    told = {(row[0], name): row for row in ROWS for name in words(row[1])}
    for key in KEYS:
        row = told.pop((key.section, key.name))
        if key.setting:
            assert words(row[2]) == [key.setting]
    older = {place for key in KEYS for place in key.places[1:]}
    assert set(told) <= older
    assert len(told) == 2


def test_the_table_has_the_values_of_the_template(template: ConvertedJob) -> None:
    told = {words(row[2])[0]: words(row[3])[0] for row in ROWS if words(row[3])}
    assert told == {key: written(value) for key, value in template.settings.items()}


def test_the_template_is_the_default_with_the_differences_that_are_told(
    template: ConvertedJob,
) -> None:
    ours = dataset_settings(load_configuration(CONFIGURATIONS, "default")[1])
    made = dataset_settings(load_configuration(CONFIGURATIONS, "default", template.nested())[1])
    told = re.findall(r"^    (\w+\.\w+: .* -> .*)$", PAGE, re.MULTILINE)
    assert settings_difference(ours, made) == told


def test_lofar_has_the_distance_that_is_left_to_it() -> None:
    assert load_configuration(CONFIGURATIONS, "lofar")[1].quality.bright_reject_deg == 10.0


def test_the_message_about_mistakes_is_the_real_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "night1"
    folder.mkdir()
    (folder / "job.toml").write_text('dataset = "night1"\n[extraction]\nmargin = 3\n')
    (folder / "images.txt").touch()
    (folder / "monitor.txt").write_text("#\n\n\n\n\n123.4\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as raised:
        read_job(Path("night1"))
    assert f"trap-manage: {raised.value}\n```" in PAGE
